"""User guide, "Adding jobs"."""

from __future__ import annotations

import os
import threading
from datetime import timedelta
from functools import partial

import pytest

from django_apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED
from django_apscheduler.job import Job
from django_apscheduler.jobstores.base import ConflictingIdError

from .conftest import NOON, PATIENCE


class TestAddingJobs:
    """User guide, "Adding jobs"."""

    def test_add_job_returns_the_job(self, scheduler):
        """``add_job`` returns a Job, through which it can be modified or removed."""
        scheduler.start()
        job = scheduler.add_job(os.getpid, "interval", minutes=2)
        assert isinstance(job, Job)
        job.modify(name="renamed")
        assert scheduler.get_job(job.id).name == "renamed"
        job.remove()
        assert scheduler.get_jobs() == []

    def test_a_function_can_be_decorated(self, scheduler, clock):
        """``scheduled_job`` declares a job by decorating a function, which stays a
        function that can be called."""
        calls = []

        @scheduler.scheduled_job("interval", id="tick", minutes=1)
        def tick():
            calls.append(clock.now())
            return "ticked"

        scheduler.start()
        assert tick() == "ticked"
        clock.advance(60)
        scheduler.process_jobs()
        assert calls == [NOON, NOON + timedelta(minutes=1)]

    def test_jobs_can_be_added_at_any_time(self, scheduler, clock):
        """Jobs may be added before the start, after it and while it runs jobs."""
        calls = []

        def add_another():
            calls.append("running")
            scheduler.add_job(calls.append, args=["from a job"])

        scheduler.add_job(calls.append, args=["before start"])
        scheduler.start()
        scheduler.add_job(add_another)
        scheduler.process_jobs()
        scheduler.process_jobs()
        assert calls == ["before start", "running", "from a job"]

    def test_jobs_added_before_the_start_are_tentative(self, scheduler, clock):
        """A job added to a scheduler that does not run is pending and has no run time;
        its first run time counts from the scheduler's start."""
        job = scheduler.add_job(os.getpid, "interval", minutes=5)
        assert job.pending
        assert job.next_run_time is None
        clock.advance(timedelta(hours=1))
        scheduler.start()
        assert not job.pending
        assert job.next_run_time == NOON + timedelta(hours=1, minutes=5)

    @pytest.mark.parametrize("trigger", ["date", None])
    def test_a_job_without_trigger_runs_immediately(self, trigger, scheduler, clock):
        """Omitting the trigger runs the job at once, and once only."""
        calls = []
        scheduler.start()
        scheduler.add_job(calls.append, trigger, args=[1])
        scheduler.process_jobs()
        clock.advance(timedelta(days=1))
        scheduler.process_jobs()
        assert calls == [1]
        assert scheduler.get_jobs() == []

    def test_the_memory_store_takes_any_callable_and_argument(self, scheduler):
        """Of the built-in job stores only MemoryJobStore does not serialise: nested
        functions, partials and arguments that no serialiser carries are fine."""
        heard = []

        def nested(argument):
            heard.append(argument)

        lock = threading.Lock()
        scheduler.start()
        scheduler.add_job(nested, args=[lock])
        scheduler.add_job(partial(nested, "partial"))
        scheduler.process_jobs()
        assert heard == [lock, "partial"]

    @pytest.mark.parametrize(
        ("func", "args"),
        [(lambda: None, []), (str, [threading.Lock()])],
        ids=["callable that is not global", "argument that cannot be serialised"],
    )
    def test_the_process_pool_serialises_jobs(self, func, args, background):
        """Of the built-in executors only ProcessPoolExecutor serialises jobs: the
        callable must be globally accessible and the arguments serialisable, else the
        run fails; the job and the pool survive it."""
        outcomes = {}
        done = threading.Semaphore(0)

        def note(event):
            outcomes[event.job_id] = event.code
            done.release()

        scheduler = background(executors={"default": {"type": "processpool"}})
        scheduler.add_listener(note, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)
        scheduler.start()
        scheduler.add_job(func, args=args, id="bad")
        assert done.acquire(timeout=PATIENCE * 2)
        scheduler.add_job(os.getpid, id="good")
        assert done.acquire(timeout=PATIENCE * 2)
        assert outcomes == {"bad": EVENT_JOB_ERROR, "good": EVENT_JOB_EXECUTED}

    def test_threads_take_any_callable_and_argument(self, background):
        """Executors other than the process pool pass the objects themselves."""
        lock = threading.Lock()
        heard = []
        done = threading.Event()

        def nested(argument):
            heard.append(argument)
            done.set()

        scheduler = background()
        scheduler.start()
        scheduler.add_job(nested, args=[lock])
        assert done.wait(PATIENCE)
        assert heard == [lock]

    def test_an_explicit_id_can_be_given_only_once(self, scheduler):
        """A second job with the same id is refused …"""
        scheduler.start()
        scheduler.add_job(os.getpid, "interval", minutes=1, id="mine")
        with pytest.raises(ConflictingIdError, match="mine"):
            scheduler.add_job(os.getpid, "interval", minutes=2, id="mine")
        assert len(scheduler.get_jobs()) == 1

    def test_replace_existing_replaces_the_job_of_that_id(self, scheduler):
        """… unless it is to replace the first."""
        scheduler.start()
        scheduler.add_job(os.getpid, "interval", minutes=1, id="mine", name="old")
        scheduler.add_job(
            os.getppid,
            "interval",
            minutes=2,
            id="mine",
            name="new",
            replace_existing=True,
        )
        (job,) = scheduler.get_jobs()
        assert (job.name, job.func) == ("new", os.getppid)
        assert job.trigger.interval == timedelta(minutes=2)

    def test_jobs_without_an_id_are_new_each_time(self, scheduler):
        """Without an explicit id every call adds another job."""
        scheduler.start()
        for _ in range(3):
            scheduler.add_job(os.getpid, "interval", minutes=1)
        assert len({job.id for job in scheduler.get_jobs()}) == 3

    def test_a_callable_may_be_given_by_reference(self, scheduler):
        """A text like ``module:function`` names the callable as well."""
        scheduler.start()
        job = scheduler.add_job("os.path:basename", args=["a/b"])
        assert job.func is os.path.basename

    def test_arguments_must_fit_the_callable(self, scheduler):
        """Arguments the callable cannot take are refused when the job is added."""
        scheduler.start()
        with pytest.raises(ValueError, match="path"):
            scheduler.add_job("os.path:expanduser")
        assert scheduler.get_jobs() == []
