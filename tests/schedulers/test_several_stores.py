"""Several job stores in one scheduler: each job is in its own, and runs."""

from __future__ import annotations

import threading
from collections import defaultdict

import pytest

from django_apscheduler.jobstores.base import JobLookupError
from django_apscheduler.schedulers.background import BackgroundScheduler
from tests.jobstores.places import place

PATIENCE = 20.0
STORES = ("memory", "default", "sqlalchemy", "mongodb", "redis")

ran: dict[str, threading.Event] = defaultdict(threading.Event)


def note(name=""):
    ran[name].set()


@pytest.fixture
def scheduler(transactional_db, request):
    """A running scheduler with all of them; "default" is Django's."""
    ran.clear()
    places = {alias: place(alias, request) for alias in STORES[2:]}
    scheduler = BackgroundScheduler(
        jobstores={
            "memory": {"type": "memory"},
            "default": {"type": "django"},
            **{
                alias: {"type": alias, **here.options} for alias, here in places.items()
            },
        },
        timezone="UTC",
    )
    scheduler.start()
    yield scheduler
    scheduler.shutdown()
    for here in places.values():
        here.clear()


def test_each_job_runs_and_is_in_its_own_store(scheduler):
    for alias in STORES:
        scheduler.add_job(note, args=[alias], jobstore=alias)
        scheduler.add_job(note, "cron", hour=3, id=f"{alias}-later", jobstore=alias)
    for alias in STORES:
        assert ran[alias].wait(PATIENCE), alias
    for alias in STORES:
        kept = [job.id for job in scheduler.get_jobs(alias)]
        assert f"{alias}-later" in kept
        assert not any(f"{other}-later" in kept for other in STORES if other != alias)


def test_jobs_are_found_changed_and_removed_wherever_they_are(scheduler):
    for alias in STORES:
        scheduler.add_job(note, "cron", hour=3, id=f"in-{alias}", jobstore=alias)
    for alias in STORES:
        scheduler.pause_job(f"in-{alias}")
        assert scheduler.get_job(f"in-{alias}").next_run_time is None
        scheduler.reschedule_job(f"in-{alias}", trigger="cron", hour=4)
        scheduler.resume_job(f"in-{alias}")
        assert scheduler.get_job(f"in-{alias}").next_run_time.hour == 4
        scheduler.remove_job(f"in-{alias}")
        with pytest.raises(JobLookupError):
            scheduler.remove_job(f"in-{alias}")
    assert scheduler.get_jobs() == []


def test_one_id_may_be_in_several_stores(scheduler):
    for alias in STORES:
        scheduler.add_job(note, "cron", hour=3, id="same", jobstore=alias)
    scheduler.remove_job("same", "redis")
    assert [alias for alias in STORES if scheduler.get_job("same", alias)] == [
        "memory",
        "default",
        "sqlalchemy",
        "mongodb",
    ]
