"""Nothing that decides on jobs is read from a replica, which may be late."""

from __future__ import annotations

import pytest
from django.db.utils import ConnectionDoesNotExist

from django_apscheduler import conf, housekeeping, sync
from django_apscheduler.models import DjangoJob, DjangoJobExecution
from django_apscheduler.schedulers.remote import RemoteScheduler
from tests.jobstores.django import bodies
from tests.jobstores.django.support import (
    MINUTE,
    NOON,
    add,
    finish,
    make_store,
    once,
    real_now,
)

pytestmark = pytest.mark.django_db


class Router:
    """Reads go to a replica that does not exist, so that who asks it is found out."""

    def db_for_read(self, model, **hints):
        return "replica"

    def db_for_write(self, model, **hints):
        return "default"


@pytest.fixture(autouse=True)
def replica(settings):
    settings.DATABASE_ROUTERS = [Router()]
    with pytest.raises(ConnectionDoesNotExist):
        DjangoJob.objects.count()


def test_claims_outcomes_and_rescues_ask_the_primary():
    dead, store = make_store(lease=6), make_store()
    add(dead, "rescued", trigger=once())
    (run,) = dead.claim_due({"default": 1}, NOON).runs
    dead.confirm_starts([run])
    (again,) = store.claim_due({"default": 1}, NOON + MINUTE).runs
    assert finish(dead, run) == []
    assert len(finish(store, again)) == 1
    store.release([])
    assert store.retry_broken() == store.resume_due() == []


def test_edits_and_runs_by_hand_ask_the_primary():
    scheduler = RemoteScheduler(
        jobstores={"default": {"type": "django"}}, timezone="UTC"
    )
    scheduler.add_job(bodies.note, "interval", hours=1, id="job")
    scheduler.add_job(bodies.note, "interval", hours=2, id="job", replace_existing=True)
    scheduler.modify_job("job", max_instances=2)
    scheduler.pause_job("job")
    assert scheduler.resume_job("job").max_instances == 2
    assert [job.id for job in scheduler.get_jobs()] == ["job"]
    scheduler.run_job_now("job", token="abc")
    assert len(make_store().claim_due({"default": 1}, real_now()).runs) == 1
    scheduler.remove_job("job")
    assert scheduler.get_job("job") is None
    store = make_store()
    store.pause_all("ann", "maintenance")
    store.resume_all()


def test_synchronisation_and_housekeeping_ask_the_primary():
    assert sync.synchronise().added == []
    housekeeping.prune("default", conf.configuration().retention, NOON)
    assert DjangoJobExecution.objects.delete_old_job_executions(0) == 0
