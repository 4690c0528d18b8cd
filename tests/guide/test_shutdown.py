"""User guide, "Shutting down the scheduler"."""

from __future__ import annotations

import threading

import pytest

from django_apscheduler.events import EVENT_SCHEDULER_SHUTDOWN
from django_apscheduler.executors.pool import ThreadPoolExecutor
from django_apscheduler.jobstores.memory import MemoryJobStore
from django_apscheduler.schedulers import SchedulerNotRunningError

from .conftest import PATIENCE


class NotingStore(MemoryJobStore):
    """A store that notes its own shutdown."""

    def __init__(self, notes):
        super().__init__()
        self.notes = notes

    def shutdown(self):
        self.notes.append("job store")
        super().shutdown()


class NotingExecutor(ThreadPoolExecutor):
    """An executor that notes its own shutdown."""

    def __init__(self, notes):
        super().__init__(1)
        self.notes = notes

    def shutdown(self, wait=True):
        self.notes.append("executor")
        super().shutdown(wait)


@pytest.fixture
def busy(background):
    """A scheduler whose only job is running; what was shut down; the job's release."""
    notes = []
    started, release, finished = (threading.Event() for _ in range(3))

    def body():
        started.set()
        release.wait(PATIENCE)
        notes.append("body")
        finished.set()

    scheduler = background(
        jobstores={"default": NotingStore(notes)},
        executors={"default": NotingExecutor(notes)},
    )
    scheduler.start()
    scheduler.add_job(body)
    assert started.wait(PATIENCE)
    yield scheduler, notes, release, finished
    release.set()


class TestShuttingDown:
    """User guide, "Shutting down the scheduler"."""

    def test_shutdown_waits_for_running_jobs(self, busy):
        """``shutdown()`` shuts down job stores and executors and returns when all
        running jobs have finished."""
        scheduler, notes, release, _ = busy
        down = threading.Event()

        def shut_down():
            scheduler.shutdown()
            notes.append("returned")
            down.set()

        thread = threading.Thread(target=shut_down)
        thread.start()
        # A tenth of a second for a shutdown that fails to wait to show itself.
        assert not down.wait(0.1)
        release.set()
        assert down.wait(PATIENCE)
        thread.join(PATIENCE)
        assert notes.index("body") < notes.index("returned")
        assert {"job store", "executor"} < set(notes)
        assert not scheduler.running

    def test_shutdown_without_waiting(self, busy):
        """``shutdown(wait=False)`` shuts down job stores and executors too, but returns
        while jobs are running. The store closes when the last of them has ended: it
        has to take note of how."""
        scheduler, notes, release, finished = busy
        scheduler.shutdown(wait=False)
        assert notes == ["executor"]
        assert not scheduler.running
        release.set()
        assert finished.wait(PATIENCE)
        scheduler._finisher.join(PATIENCE)
        assert notes == ["executor", "body", "job store"]

    def test_an_idle_scheduler_shuts_down_at_once(self, background):
        """Without running jobs both ways of shutting down do the same."""
        notes = []
        scheduler = background(
            jobstores={"default": NotingStore(notes)},
            executors={"default": NotingExecutor(notes)},
        )
        scheduler.start()
        scheduler.shutdown(wait=False)
        assert set(notes) == {"job store", "executor"}

    def test_nothing_runs_after_shutdown(self, background, clock):
        """A scheduler that was shut down runs nothing more."""
        calls = []
        scheduler = background()
        scheduler.start()
        scheduler.add_job(calls.append, "interval", args=[1], minutes=1)
        scheduler.shutdown()
        clock.advance(600)
        assert calls == []
        assert not scheduler._thread or not scheduler._thread.is_alive()

    def test_shutdown_is_an_event(self, scheduler, events):
        """Listeners hear of it."""
        scheduler.start()
        scheduler.shutdown()
        assert [e.code for e in events][-1] == EVENT_SCHEDULER_SHUTDOWN

    def test_a_scheduler_that_does_not_run_cannot_be_shut_down(self, scheduler):
        """Shutting down what does not run says so."""
        with pytest.raises(SchedulerNotRunningError):
            scheduler.shutdown()

    def test_a_job_may_shut_its_scheduler_down(self, background):
        """Also from inside a job, without waiting for itself."""
        scheduler = background()
        down = threading.Event()

        def body():
            scheduler.shutdown(wait=False)
            down.set()

        scheduler.start()
        scheduler.add_job(body)
        assert down.wait(PATIENCE)
        assert not scheduler.running
