"""The memory store: what is its own."""

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from django_apscheduler.jobstores.memory import MemoryJobStore
from django_apscheduler.triggers.date import DateTrigger
from tests.jobstores.test_contract import make

NOON = datetime(2026, 6, 1, 12, 0, tzinfo=timezone.utc)


def test_jobs_are_kept_as_they_are_without_serialising():
    store = MemoryJobStore()
    job = make("a")
    store.add_job(job)
    assert store.lookup_job("a") is job


def test_jobs_end_with_the_store():
    store = MemoryJobStore()
    store.add_job(make("a"))
    store.shutdown()
    assert store.get_all_jobs() == []


def test_a_job_edited_very_often_leaves_nothing_behind():
    store = MemoryJobStore()
    job = make("a")
    store.add_job(job)
    for second in range(10_000):
        job.next_run_time = NOON + timedelta(seconds=second)
        store.update_job(job)
    assert sum(map(len, store._heaps.values())) < 200
    assert store.get_next_run_time() == NOON + timedelta(seconds=9999)


def test_jobs_are_ordered_by_instant_in_the_hour_that_autumn_shows_twice():
    berlin = ZoneInfo("Europe/Berlin")
    store = MemoryJobStore()
    summer = datetime(2025, 10, 26, 2, 30, tzinfo=berlin)
    winter = datetime(2025, 10, 26, 2, 0, tzinfo=berlin, fold=1)
    store.add_job(make("later", winter))
    store.add_job(make("sooner", summer))
    assert [job.id for job in store.get_all_jobs()] == ["sooner", "later"]
    assert store.get_next_run_time() == summer
    due = store.get_due_jobs(datetime(2025, 10, 26, 0, 30, tzinfo=timezone.utc))
    assert [job.id for job in due] == ["sooner"]


def test_a_job_that_changes_executors_is_claimed_by_the_new_one_only():
    store = MemoryJobStore()
    job = make("a", executor="old")
    store.add_job(job)
    job.executor = "new"
    store.update_job(job)
    assert store.claim_due({"old": 1}, NOON).runs == []
    assert [run.job.id for run in store.claim_due({"new": 1}, NOON).runs] == ["a"]


def test_what_was_added_and_replaced_before_a_failure_is_taken_back():
    class Full(MemoryJobStore):
        def add_job(self, job):
            if job.id == "refused":
                raise ValueError("no room")
            super().add_job(job)

    store = Full()
    old = make("old")
    store.add_job(old)
    replacing = make("old", NOON + timedelta(minutes=1), DateTrigger(NOON))
    with pytest.raises(ValueError, match="no room"):
        store.add_jobs([replacing, make("new"), make("refused")], replace_existing=True)
    assert store.get_all_jobs() == [old]
    assert store.lookup_job("old") is old
    assert [run.job for run in store.claim_due({"default": 9}, NOON).runs] == [old]
