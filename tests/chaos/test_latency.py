"""Edits from another process take effect at once, not at the next poll."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from django_apscheduler.models import DjangoJobExecution
from tests.chaos import bodies, plans
from tests.chaos.ledger import wait_for
from tests.jobstores.django.support import make_job, make_store, once

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

#: Seconds between polls: what is seen long before has been told.
POLL = 60
#: Seconds that a busy machine may need, far from the poll.
SOON = 5


def seconds_until_run(ledger, id, edit):
    """Make an edit; return how many seconds pass until the job runs."""
    before = len(ledger.began(job=id))
    edited = time.time()
    edit()
    wait_for(lambda: len(ledger.began(job=id)) > before, POLL / 2)
    return ledger.began(job=id)[before].time - edited


def test_whatever_is_edited_elsewhere_is_noticed_at_once(fleet, ledger, tell):
    fleet.start(store={"poll": POLL})
    store = make_store()
    far = plans.soon(86400)
    # Two instances, for the outcome of the first may not be written when it runs again.
    store.add_job(
        make_job(
            *("paused", bodies.note, once(far), far),
            next_run_time=None,
            max_instances=2,
        )
    )
    store.add_job(make_job("later", bodies.note, once(far), far))

    def now(id):
        def change(job):
            job._modify(next_run_time=plans.soon(0), misfire_grace_time=None)

        return lambda: store.change_job(id, change)

    def added():
        due = plans.soon(0)
        store.add_job(make_job("added", bodies.note, once(due), due))

    found = {
        "run by hand": seconds_until_run(
            ledger, "paused", lambda: store.run_job_now("paused")
        ),
        "resumed": seconds_until_run(ledger, "paused", now("paused")),
        "brought forward": seconds_until_run(ledger, "later", now("later")),
        "added": seconds_until_run(ledger, "added", added),
    }
    assert {name: seconds for name, seconds in found.items() if seconds > SOON} == {}
    tell(**{name: f"{1000 * seconds:.1f} ms" for name, seconds in found.items()})


def test_pausing_all_and_resuming_all_is_noticed_at_once(fleet, ledger):
    fleet.start(2, store={"poll": POLL})
    store = make_store()
    store.pause_all("ann", "maintenance")
    due = plans.soon(0)
    store.add_job(make_job("job", bodies.note, once(due), due))
    # A claim that had begun before the pause is over by then.
    time.sleep(0.5)
    assert not DjangoJobExecution.objects.exists()
    assert seconds_until_run(ledger, "job", store.resume_all) < SOON


def test_a_pause_holds_for_all_schedulers_as_soon_as_it_is_made(fleet, ledger):
    fleet.start(2, store={"poll": POLL})
    store = make_store()
    start = plans.soon(0.2)
    plan = plans.every("job", 0.1, start, 600)
    store.add_job(plan.job)
    wait_for(lambda: len(ledger.began()) >= 5)
    store.change_job("job", lambda job: job._modify(next_run_time=None))
    paused = plans.soon(0)
    wait_for(lambda: not DjangoJobExecution.objects.active().exists())
    time.sleep(0.5)
    late = [e for e in ledger.began() if e.run_time > paused + timedelta(seconds=0.01)]
    assert late == []
