"""User guide, "Removing jobs" and "Pausing and resuming jobs"."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest

from django_apscheduler.events import EVENT_JOB_REMOVED
from django_apscheduler.jobstores.base import JobLookupError

from .conftest import NOON

MINUTE = timedelta(minutes=1)


def myfunc() -> None:
    """The guide's function."""


class TestRemovingJobs:
    """User guide, "Removing jobs"."""

    def test_a_job_is_removed_through_its_instance(self, scheduler):
        """The guide's first example."""
        scheduler.start()
        job = scheduler.add_job(myfunc, "interval", minutes=2)
        job.remove()
        assert scheduler.get_job(job.id) is None

    def test_a_job_is_removed_by_its_id(self, scheduler):
        """The guide's second example."""
        scheduler.start()
        scheduler.add_job(myfunc, "interval", minutes=2, id="my_job_id")
        scheduler.remove_job("my_job_id")
        assert scheduler.get_job("my_job_id") is None

    def test_a_job_is_removed_by_its_id_and_job_store(self, scheduler):
        """``remove_job`` takes the job store's alias after the id."""
        scheduler.add_jobstore("memory", "other")
        scheduler.start()
        scheduler.add_job(myfunc, "interval", minutes=2, id="twin")
        scheduler.add_job(myfunc, "interval", minutes=2, id="twin", jobstore="other")
        scheduler.remove_job("twin", "other")
        assert [job.id for job in scheduler.get_jobs("default")] == ["twin"]
        assert scheduler.get_jobs("other") == []

    def test_a_removed_job_is_not_executed_any_more(self, scheduler, clock):
        """It is gone from its store and does not run, even if it was due."""
        calls = []
        scheduler.start()
        job = scheduler.add_job(calls.append, "interval", args=[1], minutes=1)
        clock.advance(MINUTE)
        scheduler.process_jobs()
        assert calls == [1]
        clock.advance(MINUTE)
        job.remove()
        scheduler.process_jobs()
        assert calls == [1]

    def test_decorated_jobs_are_removed_by_id(self, scheduler):
        """Jobs made with ``scheduled_job`` leave no instance: the id is the way."""

        @scheduler.scheduled_job("interval", id="decorated", minutes=1)
        def decorated():
            """Do nothing."""

        scheduler.start()
        scheduler.remove_job("decorated")
        assert scheduler.get_jobs() == []

    def test_a_pending_job_can_be_removed(self, scheduler):
        """So can a job of a scheduler that has not been started."""
        scheduler.add_job(myfunc, "interval", minutes=2, id="my_job_id")
        scheduler.remove_job("my_job_id")
        scheduler.start()
        assert scheduler.get_jobs() == []

    def test_an_unknown_id_is_an_error(self, scheduler):
        """Removing what is not there says so."""
        scheduler.start()
        with pytest.raises(
            JobLookupError, match="^No job by the id of nobody was found"
        ):
            scheduler.remove_job("nobody")

    def test_a_job_is_removed_when_its_schedule_ends(self, scheduler, clock, events):
        """When the trigger gives no further run time the job is removed by itself."""
        calls = []
        scheduler.start()
        scheduler.add_job(
            calls.append,
            "interval",
            args=[1],
            minutes=1,
            end_date=NOON + 2 * MINUTE,
            id="short",
        )
        for _ in range(5):
            clock.advance(MINUTE)
            scheduler.process_jobs()
        assert calls == [1, 1]
        assert scheduler.get_job("short") is None
        removed = [e.job_id for e in events if e.code == EVENT_JOB_REMOVED]
        assert removed == ["short"]

    def test_a_job_whose_schedule_never_begins_is_refused(self, scheduler):
        """A trigger that can never fire is refused, with the reason, when added."""
        scheduler.start()
        with pytest.raises(ValueError, match="never"):
            scheduler.add_job(myfunc, "cron", month=2, day=30)
        assert scheduler.get_jobs() == []


@pytest.fixture
def ticking(scheduler):
    """A started scheduler's job that runs each minute and counts its calls."""
    calls = []
    scheduler.start()
    job = scheduler.add_job(calls.append, "interval", args=[1], minutes=1, id="tick")
    return job, calls


class TestPausingAndResuming:
    """User guide, "Pausing and resuming jobs"."""

    def pause(self, way, scheduler, job):
        job.pause() if way == "job" else scheduler.pause_job("tick")

    def resume(self, way, scheduler, job):
        return job.resume() if way == "job" else scheduler.resume_job("tick")

    @pytest.mark.parametrize("way", ["job", "scheduler"])
    def test_pausing_clears_the_next_run_time(self, way, ticking, scheduler, clock):
        """Either way of pausing clears the next run time, and none is calculated until
        the job is resumed."""
        job, calls = ticking
        self.pause(way, scheduler, job)
        for _ in range(3):
            clock.advance(MINUTE)
            scheduler.process_jobs()
        assert scheduler.get_job("tick").next_run_time is None
        assert calls == []

    @pytest.mark.parametrize("way", ["job", "scheduler"])
    def test_resuming_computes_the_next_run_time_from_now(
        self, way, ticking, scheduler, clock
    ):
        """Either way of resuming calculates a run time after the present moment; what
        passed during the pause is not made up for."""
        job, calls = ticking
        job.pause()
        clock.advance(10.5 * 60)
        self.resume(way, scheduler, job)
        resumed = scheduler.get_job("tick").next_run_time
        assert NOON + 10.5 * MINUTE < resumed <= NOON + 11.5 * MINUTE
        clock.set(resumed)
        scheduler.process_jobs()
        assert calls == [1]

    def test_pausing_and_resuming_return_the_job(self, ticking):
        """The job's methods can be chained."""
        job, _ = ticking
        assert job.pause() is job
        assert job.resume() is job

    def test_an_unknown_id_is_an_error(self, scheduler):
        """Pausing or resuming what is not there says so."""
        scheduler.start()
        with pytest.raises(JobLookupError):
            scheduler.pause_job("nobody")
        with pytest.raises(JobLookupError):
            scheduler.resume_job("nobody")

    def test_a_job_can_be_added_paused(self, scheduler):
        """``next_run_time=None`` adds a job that waits for its resumption."""
        scheduler.start()
        job = scheduler.add_job(os.getpid, "interval", minutes=1, next_run_time=None)
        assert job.next_run_time is None
        job.resume()
        assert job.next_run_time == NOON + MINUTE
