"""The memory store: what is its own."""

import time
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from django_apscheduler import clock
from django_apscheduler.jobstores.base import Outcome
from django_apscheduler.jobstores.memory import MemoryJobStore
from django_apscheduler.schedulers.background import BackgroundScheduler
from django_apscheduler.schedulers.blocking import BlockingScheduler
from django_apscheduler.triggers.date import DateTrigger
from django_apscheduler.triggers.interval import IntervalTrigger
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


class Waits:
    """As much of a scheduler as a store asks whether it may claim ahead."""

    lead = timedelta(minutes=1)


@pytest.fixture
def early():
    """A store that claims a minute ahead, which no test can miss."""
    store = MemoryJobStore()
    store.start(Waits(), "default")
    return store


def soon(seconds):
    return datetime.now(timezone.utc) + timedelta(seconds=seconds)


def test_jobs_are_claimed_a_moment_ahead_and_not_before(early):
    due, later = soon(30), soon(90)
    early.add_job(make("due", due, DateTrigger(due)))
    early.add_job(make("later", later, DateTrigger(later), executor="other"))
    batch = early.claim_due({"default": 1, "other": 1})
    assert [(run.job.id, run.run_times) for run in batch.runs] == [("due", [due])]
    assert batch.next_run_time == later - timedelta(minutes=1)


def test_no_more_than_one_run_time_of_a_job_is_claimed_ahead(early):
    first = soon(30)
    early.add_job(make("often", first, IntervalTrigger(seconds=2, start_date=first)))
    (run,) = early.claim_due({"default": 5}).runs
    assert run.run_times == [first]
    assert early.lookup_job("often").next_run_time == first + timedelta(seconds=2)


def test_a_job_whose_last_run_goes_on_is_not_skipped_before_its_time(early):
    first, second = soon(-1), soon(30)
    early.add_job(make("slow", first, IntervalTrigger(hours=1)))
    (run,) = early.claim_due({"default": 5}).runs
    early.change_job("slow", lambda job: setattr(job, "next_run_time", second))
    batch = early.claim_due({"default": 5})
    assert (batch.runs, batch.skipped, batch.next_run_time) == ([], [], second)
    early.settle([Outcome(run, 0, "Executed")])
    assert early.claim_due({"default": 5}).runs[0].run_times == [second]


def test_nothing_is_claimed_ahead_for_a_scheduler_that_does_not_want_it(
    early, monkeypatch
):
    monkeypatch.setattr(Waits, "lead", timedelta(0))
    due = soon(30)
    early.add_job(make("due", due, DateTrigger(due)))
    batch = early.claim_due({"default": 1})
    assert (batch.runs, batch.next_run_time) == ([], due)


def test_nothing_is_claimed_ahead_on_a_clock_that_is_moved_by_hand(early):
    due = NOON + timedelta(seconds=30)
    early.add_job(make("due", due, DateTrigger(due)))
    with clock.use(clock.ManualClock(NOON)):
        assert early.claim_due({"default": 1}).runs == []


@pytest.mark.parametrize("make_scheduler", [BackgroundScheduler, BlockingScheduler])
def test_what_is_claimed_ahead_does_not_begin_before_its_time(
    make_scheduler, monkeypatch
):
    monkeypatch.setattr(make_scheduler, "lead", timedelta(milliseconds=15))
    begun, due = [], [soon(0.2 + number / 20) for number in range(5)]
    scheduler = make_scheduler(timezone="UTC")

    def body():
        begun.append(datetime.now(timezone.utc))
        if len(begun) == len(due):
            scheduler.shutdown(wait=False)

    for moment in due:
        scheduler.add_job(body, "date", run_date=moment)
    scheduler.start()
    deadline = time.monotonic() + 30
    while scheduler.running and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(begun) == len(due)
    assert [moment for moment, time_ in zip(due, begun) if time_ < moment] == []
