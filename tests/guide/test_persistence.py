"""User guide: what it says about persistent job stores, held by DjangoJobStore."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta, timezone

import pytest

from django_apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MISSED,
    EVENT_JOB_REMOVED,
)
from django_apscheduler.jobstores import DjangoJobStore
from django_apscheduler.jobstores.base import TransientJobError
from django_apscheduler.models import DjangoJob, DjangoJobExecution
from django_apscheduler.serialization import SerializationError

from .conftest import NOON, PATIENCE, StepScheduler

pytestmark = pytest.mark.django_db(transaction=True)

MINUTE = timedelta(minutes=1)

calls: list[tuple] = []


def note(*args: object) -> None:
    """The jobs' body: importable, as a persistent store demands."""
    calls.append(args)


@pytest.fixture
def start(clock) -> Iterator[Callable[[], StepScheduler]]:
    """Start the application's scheduler on the database, as at each of its starts."""
    calls.clear()
    started: list[StepScheduler] = []

    def start() -> StepScheduler:
        scheduler = StepScheduler(timezone=timezone.utc)
        scheduler.add_executor("debug")
        scheduler.add_jobstore(DjangoJobStore())
        scheduler.start()
        started.append(scheduler)
        return scheduler

    yield start
    for scheduler in started:
        if scheduler.running:
            scheduler.shutdown()


class Heard:
    """Waits for a number of events."""

    def __init__(self, scheduler: StepScheduler, mask: int):
        self.events: list = []
        self._told = threading.Semaphore(0)
        scheduler.add_listener(self._hear, mask)

    def _hear(self, event: object) -> None:
        self.events.append(event)
        self._told.release()

    def wait(self, count: int = 1) -> list:
        for _ in range(count):
            assert self._told.acquire(timeout=PATIENCE), "no event came"
        return self.events


class TestBasicConcepts:
    """User guide, "Basic concepts", on persistent job stores."""

    def test_jobs_are_serialised_when_saved_and_read_back_when_loaded(self, start):
        """What is loaded equals what was saved and is another object, and what the
        application changes afterwards does not reach the store."""
        scheduler = start()
        argument = [1, 2]
        scheduler.add_job(note, "interval", hours=1, args=[argument], id="it")
        argument.append(3)
        assert scheduler.get_job("it").args == ([1, 2],)
        assert scheduler.get_job("it").args[0] is not argument

    def test_the_store_keeps_no_job_in_memory(self, start):
        """It is a middleman: a change in the database is there at the next look."""
        scheduler = start()
        scheduler.add_job(note, "interval", hours=1, id="it", name="before")
        DjangoJob.objects.filter(pk="it").update(name="after")
        assert scheduler.get_job("it").name == "after"
        assert [job.name for job in scheduler.get_jobs()] == ["after"]

    def test_jobs_are_saved_loaded_updated_and_searched(self, start, clock):
        """All of it happens in the database."""
        scheduler = start()
        job = scheduler.add_job(note, "interval", hours=1, id="it")
        job.modify(max_instances=4)
        stored = DjangoJob.objects.get(pk="it")
        assert (stored.max_instances, stored.next_run_time) == (
            4,
            NOON + timedelta(hours=1),
        )
        job.pause()
        assert DjangoJob.objects.get(pk="it").next_run_time is None
        job.remove()
        assert not DjangoJob.objects.filter(pk="it").exists()

    def test_sharing_a_store_between_schedulers(self, start, clock):
        """The guide forbids it; DjangoJobStore is the exception: two schedulers on one
        database make each run once."""
        first, second = start(), start()
        heard = Heard(first, EVENT_JOB_EXECUTED)
        first.add_job(note, "date", run_date=NOON + MINUTE, args=["once"])
        clock.advance(MINUTE)
        first.process_jobs()
        second.process_jobs()
        heard.wait()
        first.process_jobs()
        second.process_jobs()
        assert calls == [("once",)]
        assert DjangoJobExecution.objects.count() == 1


class TestChoosing:
    """User guide, "Choosing the right scheduler, job stores…", on persistence."""

    def test_jobs_survive_a_restart(self, start, clock):
        """Jobs persist over scheduler restarts, with their next run time."""
        start().add_job(note, "interval", hours=1, args=["x"], id="it")
        clock.advance(10 * MINUTE)
        again = start()
        job = again.get_job("it")
        assert job.args == ("x",)
        assert job.next_run_time == NOON + timedelta(hours=1)


class TestAddingJobs:
    """User guide, "Adding jobs", on persistent job stores."""

    def test_the_callable_must_be_globally_accessible(self, start):
        """A lambda or a nested function is refused, with the reason."""
        scheduler = start()
        with pytest.raises(TransientJobError, match="imported by name"):
            scheduler.add_job(lambda: None, "interval", hours=1)
        assert scheduler.get_jobs() == []

    def test_the_arguments_must_be_serialisable(self, start):
        """An argument that cannot be stored is refused by its name."""
        scheduler = start()
        with pytest.raises(SerializationError, match=r"args\[1\] is a \S*lock"):
            scheduler.add_job(note, "interval", hours=1, args=[1, threading.Lock()])
        assert scheduler.get_jobs() == []

    def test_without_an_id_every_start_adds_another_copy(self, start):
        """Jobs added during the application's initialisation pile up …"""
        for _ in range(3):
            scheduler = start()
            scheduler.add_job(note, "interval", hours=1)
            scheduler.shutdown()
        assert DjangoJob.objects.count() == 3

    def test_an_id_and_replace_existing_keep_one_copy(self, start, clock):
        """… unless they have an explicit id and replace the one of the last start; an
        unchanged schedule goes on where it stood."""
        for _ in range(3):
            scheduler = start()
            scheduler.add_job(
                note, "interval", hours=1, id="mine", replace_existing=True
            )
            scheduler.shutdown()
            clock.advance(10 * MINUTE)
        (job,) = DjangoJob.objects.all()
        assert (job.pk, job.next_run_time) == ("mine", NOON + timedelta(hours=1))


class TestRemovingJobs:
    """User guide, "Removing jobs", on persistent job stores."""

    def test_a_job_whose_schedule_has_ended_is_removed(self, start, clock):
        """It is gone for the scheduler; what it did stays in the log."""
        scheduler = start()
        removed = Heard(scheduler, EVENT_JOB_REMOVED)
        executed = Heard(scheduler, EVENT_JOB_EXECUTED)
        scheduler.add_job(note, "date", run_date=NOON + MINUTE, id="once")
        clock.advance(MINUTE)
        scheduler.process_jobs()
        executed.wait()
        assert [event.job_id for event in removed.wait()] == ["once"]
        assert scheduler.get_job("once") is None
        assert scheduler.get_jobs() == []
        (run,) = DjangoJobExecution.objects.filter(job_id="once")
        assert (run.status, run.run_time) == ("Executed", NOON + MINUTE)


def write_and_fail() -> None:
    DjangoJob.objects.filter(pk="it").update(name="written by the body")
    raise RuntimeError("after writing")


class TestPromises:
    """The manual, "What is promised": bodies in one transaction with their outcome."""

    @pytest.mark.parametrize(
        ("transactional", "name"), [(True, "before"), (False, "written by the body")]
    )
    def test_of_a_transactional_run_that_fails_nothing_remains(
        self, transactional, name, start, clock
    ):
        """What the body wrote is undone; without the option it stays."""
        scheduler = start()
        failed = Heard(scheduler, EVENT_JOB_ERROR)
        scheduler.add_job(
            write_and_fail,
            "interval",
            minutes=1,
            id="it",
            name="before",
            transactional=transactional,
        )
        clock.advance(MINUTE)
        scheduler.process_jobs()
        failed.wait()
        assert DjangoJob.objects.get(pk="it").name == name
        (run,) = DjangoJobExecution.objects.all()
        assert run.status == "Error!"
        assert "after writing" in run.exception

    def test_a_transactional_job_needs_a_store_with_a_log(self, background):
        """Where it cannot be kept the promise is refused."""
        scheduler = background()
        scheduler.start()
        with pytest.raises(ValueError, match="cannot have transactional=True"):
            scheduler.add_job(note, "interval", minutes=1, transactional=True)
        assert scheduler.get_jobs() == []


class TestMisfires:
    """User guide, "Missed job executions and coalescing": the most common case."""

    def down_for(self, start, clock, minutes, **options):
        """Add a job, run it each minute, and be down for a while."""
        scheduler = start()
        scheduler.add_job(note, "interval", minutes=1, id="it", **options)
        scheduler.shutdown()
        clock.advance(minutes * MINUTE)
        return start()

    def test_what_passed_while_the_scheduler_was_down_is_missed(self, start, clock):
        """A run whose grace is over when the scheduler is back is not made; an event
        and a row tell of it."""
        scheduler = self.down_for(start, clock, 1.9, misfire_grace_time=30)
        missed = Heard(scheduler, EVENT_JOB_MISSED)
        scheduler.process_jobs()
        (event,) = missed.wait()
        assert (event.job_id, event.scheduled_run_time) == ("it", NOON + MINUTE)
        assert calls == []
        (row,) = DjangoJobExecution.objects.all()
        assert (row.status, row.run_time) == ("Missed!", NOON + MINUTE)

    def test_runs_within_the_grace_are_made_in_succession(self, start, clock):
        """Several late runs follow one another, each with its row."""
        scheduler = self.down_for(
            start, clock, 3, misfire_grace_time=600, coalesce=False
        )
        executed = Heard(scheduler, EVENT_JOB_EXECUTED)
        scheduler.process_jobs()
        made = [event.scheduled_run_time for event in executed.wait(3)]
        assert made == [NOON + n * MINUTE for n in (1, 2, 3)]
        rows = DjangoJobExecution.objects.order_by("run_time")
        assert [(row.status, row.run_time) for row in rows] == [
            ("Executed", NOON + n * MINUTE) for n in (1, 2, 3)
        ]

    def test_coalescing_makes_one_run_of_them(self, start, clock):
        """With coalescing there is one run, no misfire event, and one row that says
        how many were rolled into it."""
        scheduler = self.down_for(
            start, clock, 5, misfire_grace_time=600, coalesce=True
        )
        heard = Heard(scheduler, EVENT_JOB_EXECUTED | EVENT_JOB_MISSED)
        scheduler.process_jobs()
        (event,) = heard.wait()
        assert event.code == EVENT_JOB_EXECUTED
        assert event.scheduled_run_time == NOON + 5 * MINUTE
        assert len(calls) == 1
        coalesced, executed = DjangoJobExecution.objects.order_by("run_time")
        assert (coalesced.status, coalesced.occurrences) == ("Coalesced", 4)
        assert (coalesced.run_time, coalesced.last_run_time) == (
            NOON + MINUTE,
            NOON + 4 * MINUTE,
        )
        assert (executed.status, executed.run_time) == ("Executed", NOON + 5 * MINUTE)
