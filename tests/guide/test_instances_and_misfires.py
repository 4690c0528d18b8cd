"""User guide, "Limiting the number of … instances", "Missed job executions…"."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from django_apscheduler.events import (
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    EVENT_JOB_SUBMITTED,
)

from .conftest import NOON, PATIENCE

MINUTE = timedelta(minutes=1)


def of(events, code):
    return [event for event in events if event.code == code]


@pytest.fixture
def threads(scheduler, events):
    """A stepped scheduler with a thread pool, and a job that runs until released."""
    scheduler.remove_executor("default")
    scheduler.add_executor("threadpool", max_workers=10)
    started, release = threading.Semaphore(0), threading.Event()

    def body():
        started.release()
        release.wait(PATIENCE)

    yield body, started, release
    release.set()


class TestInstances:
    """User guide, "Limiting the number of concurrently executing instances"."""

    def test_by_default_one_instance_runs_at_a_time(
        self, threads, scheduler, clock, events
    ):
        """While a run has not finished the next one is not started: it is a misfire,
        told by its own event that bears the run time."""
        body, started, _ = threads
        scheduler.start()
        scheduler.add_job(body, "interval", minutes=1, id="slow")
        clock.advance(MINUTE)
        scheduler.process_jobs()
        assert started.acquire(timeout=PATIENCE)
        clock.advance(MINUTE)
        scheduler.process_jobs()
        (event,) = of(events, EVENT_JOB_MAX_INSTANCES)
        assert event.job_id == "slow"
        assert event.scheduled_run_times == [NOON + 2 * MINUTE]
        assert len(of(events, EVENT_JOB_SUBMITTED)) == 1

    def test_after_the_run_has_finished_the_next_one_starts(
        self, threads, scheduler, clock, events
    ):
        """The limit counts running instances only."""
        body, started, release = threads
        finished = threading.Event()
        scheduler.add_listener(lambda event: finished.set(), EVENT_JOB_EXECUTED)
        scheduler.start()
        scheduler.add_job(body, "interval", minutes=1)
        clock.advance(MINUTE)
        scheduler.process_jobs()
        assert started.acquire(timeout=PATIENCE)
        release.set()
        assert finished.wait(PATIENCE)
        clock.advance(MINUTE)
        scheduler.process_jobs()
        assert started.acquire(timeout=PATIENCE)
        assert of(events, EVENT_JOB_MAX_INSTANCES) == []

    def test_max_instances_lets_more_run_at_once(
        self, threads, scheduler, clock, events
    ):
        """``max_instances=3`` lets three run at the same time, and no fourth."""
        body, started, _ = threads
        scheduler.start()
        scheduler.add_job(body, "interval", minutes=1, max_instances=3)
        for _ in range(3):
            clock.advance(MINUTE)
            scheduler.process_jobs()
            assert started.acquire(timeout=PATIENCE)
        clock.advance(MINUTE)
        scheduler.process_jobs()
        (event,) = of(events, EVENT_JOB_MAX_INSTANCES)
        assert event.scheduled_run_times == [NOON + 4 * MINUTE]


class TestMisfires:
    """User guide, "Missed job executions and coalescing"."""

    def add(self, scheduler, **options):
        runs = []
        scheduler.add_job(
            lambda: runs.append(1), "interval", minutes=1, id="it", **options
        )
        return runs

    def test_a_run_beyond_the_jobs_grace_is_missed(self, scheduler, clock, events):
        """A run later than the job's ``misfire_grace_time`` is not made, and an event
        says which."""
        scheduler.start()
        runs = self.add(scheduler, misfire_grace_time=30)
        clock.advance(MINUTE + timedelta(seconds=31))
        scheduler.process_jobs()
        assert runs == []
        (event,) = of(events, EVENT_JOB_MISSED)
        assert event.job_id == "it"
        assert event.scheduled_run_time == NOON + MINUTE

    def test_a_run_within_the_jobs_grace_is_made(self, scheduler, clock, events):
        """One that is late by no more than the grace is made."""
        scheduler.start()
        runs = self.add(scheduler, misfire_grace_time=30)
        clock.advance(MINUTE + timedelta(seconds=30))
        scheduler.process_jobs()
        assert runs == [1]
        assert of(events, EVENT_JOB_MISSED) == []

    def test_the_grace_can_be_set_for_the_whole_scheduler(
        self, scheduler, clock, events
    ):
        """``misfire_grace_time`` in the job defaults holds for jobs without their own."""
        scheduler.configure(job_defaults={"misfire_grace_time": 30}, timezone="UTC")
        scheduler.start()
        runs = self.add(scheduler)
        clock.advance(MINUTE + timedelta(seconds=31))
        scheduler.process_jobs()
        assert runs == []
        clock.set(NOON + 2 * MINUTE + timedelta(seconds=29))
        scheduler.process_jobs()
        assert runs == [1]

    def test_the_default_grace_is_one_second(self, scheduler, clock, events):
        """Without any setting a run may be one second late."""
        scheduler.start()
        runs = self.add(scheduler)
        clock.advance(MINUTE + timedelta(seconds=1))
        scheduler.process_jobs()
        assert runs == [1]
        clock.set(NOON + 2 * MINUTE + timedelta(seconds=1.5))
        scheduler.process_jobs()
        assert runs == [1]

    def test_missed_runs_within_the_grace_are_made_in_succession(
        self, scheduler, clock, events
    ):
        """Each missed run time is checked by itself, so several runs may follow one
        another."""
        scheduler.start()
        runs = self.add(scheduler, coalesce=False, misfire_grace_time=150)
        clock.advance(4 * MINUTE)
        scheduler.process_jobs()
        assert runs == [1, 1, 1]
        made = [e.scheduled_run_time for e in of(events, EVENT_JOB_EXECUTED)]
        assert made == [NOON + n * MINUTE for n in (2, 3, 4)]
        missed = [e.scheduled_run_time for e in of(events, EVENT_JOB_MISSED)]
        assert missed == [NOON + MINUTE]

    def test_without_grace_limit_every_run_is_made(self, scheduler, clock):
        """``misfire_grace_time=None`` makes up for every run, however late."""
        scheduler.start()
        runs = self.add(scheduler, coalesce=False, misfire_grace_time=None)
        clock.advance(20 * MINUTE)
        scheduler.process_jobs()
        assert len(runs) == 20

    def test_coalescing_rolls_missed_runs_into_one(self, scheduler, clock, events):
        """With ``coalesce=True`` the job runs once for all of them, and there are no
        misfire events for the bypassed ones."""
        scheduler.start()
        runs = self.add(scheduler, coalesce=True, misfire_grace_time=None)
        clock.advance(20 * MINUTE)
        scheduler.process_jobs()
        assert runs == [1]
        assert of(events, EVENT_JOB_MISSED) == []
        (event,) = of(events, EVENT_JOB_EXECUTED)
        assert event.scheduled_run_time == NOON + 20 * MINUTE
        assert scheduler.get_job("it").next_run_time == NOON + 21 * MINUTE

    def test_a_scheduler_that_was_paused_finds_the_misfires(
        self, scheduler, clock, events
    ):
        """Runs that passed while the scheduler did not process jobs are misfires when
        it does so again."""
        scheduler.start()
        runs = self.add(scheduler, misfire_grace_time=30)
        scheduler.pause()
        clock.advance(MINUTE + timedelta(seconds=45))
        scheduler.process_jobs()
        assert (runs, of(events, EVENT_JOB_MISSED)) == ([], [])
        scheduler.resume()
        scheduler.process_jobs()
        assert runs == []
        assert len(of(events, EVENT_JOB_MISSED)) == 1

    def test_a_job_that_waited_too_long_for_a_worker_is_missed(
        self, threads, scheduler, clock, events
    ):
        """When every worker is busy a run may come too late and is skipped then; more
        workers or a longer grace avoid it."""
        body, started, release = threads
        scheduler.remove_executor("default")
        scheduler.add_executor("threadpool", max_workers=1)
        scheduler.start()
        finished = threading.Event()
        scheduler.add_listener(
            lambda event: event.job_id == "hog" and finished.set(), EVENT_JOB_EXECUTED
        )
        scheduler.add_job(body, id="hog")
        scheduler.process_jobs()
        assert started.acquire(timeout=PATIENCE)
        late = self.add(scheduler, misfire_grace_time=30)
        in_time = []
        scheduler.add_job(
            in_time.append,
            "date",
            args=[1],
            run_date=NOON + MINUTE,
            misfire_grace_time=600,
            id="patient",
        )
        clock.advance(MINUTE)
        scheduler.process_jobs()
        clock.advance(40)
        made = threading.Event()
        scheduler.add_listener(
            lambda event: event.job_id == "patient" and made.set(), EVENT_JOB_EXECUTED
        )
        release.set()
        assert finished.wait(PATIENCE)
        for _ in range(200):
            scheduler.process_jobs()
            if made.wait(0.05):
                break
        assert in_time == [1]
        assert late == []
        missed = [e.scheduled_run_time for e in of(events, EVENT_JOB_MISSED)]
        assert missed == [NOON + MINUTE]
