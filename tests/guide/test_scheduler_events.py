"""User guide, "Scheduler events"."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest

from django_apscheduler import events as codes
from django_apscheduler.events import (
    EVENT_JOB_ADDED,
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MODIFIED,
    EVENT_JOB_REMOVED,
    EVENT_JOB_SUBMITTED,
    EVENT_SCHEDULER_PAUSED,
    EVENT_SCHEDULER_RESUMED,
    EVENT_SCHEDULER_SHUTDOWN,
    EVENT_SCHEDULER_STARTED,
    JobEvent,
    JobExecutionEvent,
    JobSubmissionEvent,
    SchedulerEvent,
)

from .conftest import NOON


def crash() -> None:
    raise RuntimeError("the job's own fault")


class TestEvents:
    """User guide, "Scheduler events"."""

    def test_the_guides_example(self, scheduler, capsys):
        """A listener for two kinds of events that tells success from failure by the
        event's exception."""

        def my_listener(event):
            if event.exception:
                print("The job crashed :(")
            else:
                print("The job worked :)")

        scheduler.add_listener(my_listener, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)
        scheduler.start()
        scheduler.add_job(os.getpid)
        scheduler.process_jobs()
        scheduler.add_job(crash)
        scheduler.process_jobs()
        assert capsys.readouterr().out.splitlines() == [
            "The job worked :)",
            "The job crashed :(",
        ]

    def test_a_mask_selects_events_by_oring_constants(self, scheduler):
        """Only the kinds ORed into the mask reach the listener."""
        seen = []
        scheduler.add_listener(seen.append, EVENT_JOB_ADDED | EVENT_JOB_REMOVED)
        scheduler.start()
        job = scheduler.add_job(os.getpid, "interval", minutes=1)
        job.modify(name="other")
        job.remove()
        assert [event.code for event in seen] == [EVENT_JOB_ADDED, EVENT_JOB_REMOVED]

    def test_without_a_mask_a_listener_hears_everything(self, scheduler):
        """The mask may be left out."""
        seen = []
        scheduler.add_listener(seen.append)
        scheduler.start()
        scheduler.pause()
        scheduler.resume()
        scheduler.shutdown()
        codes_seen = [event.code for event in seen]
        wanted = [
            EVENT_SCHEDULER_STARTED,
            EVENT_SCHEDULER_PAUSED,
            EVENT_SCHEDULER_RESUMED,
            EVENT_SCHEDULER_SHUTDOWN,
        ]
        assert [code for code in codes_seen if code in wanted] == wanted

    def test_a_listener_is_called_with_the_event_alone(self, scheduler):
        """One argument: the event object."""
        calls = []
        scheduler.add_listener(
            lambda *args, **kwargs: calls.append((args, kwargs)),
            EVENT_SCHEDULER_STARTED,
        )
        scheduler.start()
        ((args, kwargs),) = calls
        assert (len(args), kwargs) == (1, {})
        assert isinstance(args[0], SchedulerEvent)

    def test_a_removed_listener_hears_nothing_more(self, scheduler):
        """Listeners can be detached again."""
        seen = []
        scheduler.add_listener(seen.append)
        scheduler.remove_listener(seen.append)
        scheduler.start()
        assert seen == []

    def test_a_failing_listener_hurts_nobody(self, scheduler, caplog):
        """An exception in a listener is logged; other listeners and jobs go on."""
        seen = []

        def fail(event):
            raise ValueError("listener at fault")

        scheduler.add_listener(fail, EVENT_JOB_EXECUTED)
        scheduler.add_listener(seen.append, EVENT_JOB_EXECUTED)
        scheduler.start()
        scheduler.add_job(os.getpid)
        scheduler.process_jobs()
        assert len(seen) == 1
        assert "listener at fault" in caplog.text

    def test_job_events_bear_the_job_and_its_store(self, scheduler, events):
        """Events about a job have its id and its job store's alias."""
        scheduler.add_jobstore("memory", "other")
        scheduler.start()
        job = scheduler.add_job(
            os.getpid, "interval", minutes=1, id="it", jobstore="other"
        )
        job.modify(name="n")
        job.remove()
        about = [e for e in events if type(e) is JobEvent]
        assert [(e.code, e.job_id, e.jobstore) for e in about] == [
            (EVENT_JOB_ADDED, "it", "other"),
            (EVENT_JOB_MODIFIED, "it", "other"),
            (EVENT_JOB_REMOVED, "it", "other"),
        ]

    def test_submission_and_execution_events_bear_run_times(
        self, scheduler, clock, events
    ):
        """A submission has the run times, an execution its run time and result."""
        scheduler.start()
        scheduler.add_job(divmod, "interval", args=(9, 4), minutes=1, id="it")
        clock.advance(60)
        scheduler.process_jobs()
        due = NOON + timedelta(minutes=1)
        (submitted,) = [e for e in events if e.code == EVENT_JOB_SUBMITTED]
        assert isinstance(submitted, JobSubmissionEvent)
        assert submitted.scheduled_run_times == [due]
        (executed,) = [e for e in events if e.code == EVENT_JOB_EXECUTED]
        assert isinstance(executed, JobExecutionEvent)
        assert executed.scheduled_run_time == due
        assert executed.retval == (2, 1)
        assert executed.exception is None
        assert executed.traceback is None
        assert events.index(submitted) < events.index(executed)

    def test_error_events_bear_exception_and_traceback(self, scheduler, events):
        """A failed run's event has the exception and its formatted traceback."""
        scheduler.start()
        scheduler.add_job(crash)
        scheduler.process_jobs()
        (failed,) = [e for e in events if e.code == EVENT_JOB_ERROR]
        assert isinstance(failed.exception, RuntimeError)
        assert str(failed.exception) == "the job's own fault"
        assert "in crash" in failed.traceback
        assert failed.retval is None

    def test_component_events_bear_the_alias(self, scheduler, events):
        """Events about job stores and executors have the alias."""
        scheduler.start()
        scheduler.add_executor("debug", "spare")
        scheduler.add_jobstore("memory", "attic")
        scheduler.remove_executor("spare")
        scheduler.remove_jobstore("attic")
        assert [(e.code, e.alias) for e in events if e.alias in ("spare", "attic")] == [
            (codes.EVENT_EXECUTOR_ADDED, "spare"),
            (codes.EVENT_JOBSTORE_ADDED, "attic"),
            (codes.EVENT_EXECUTOR_REMOVED, "spare"),
            (codes.EVENT_JOBSTORE_REMOVED, "attic"),
        ]

    @pytest.mark.parametrize(
        ("name", "code"),
        [
            ("EVENT_SCHEDULER_STARTED", 1),
            ("EVENT_SCHEDULER_START", 1),
            ("EVENT_SCHEDULER_SHUTDOWN", 2),
            ("EVENT_SCHEDULER_PAUSED", 4),
            ("EVENT_SCHEDULER_RESUMED", 8),
            ("EVENT_EXECUTOR_ADDED", 16),
            ("EVENT_EXECUTOR_REMOVED", 32),
            ("EVENT_JOBSTORE_ADDED", 64),
            ("EVENT_JOBSTORE_REMOVED", 128),
            ("EVENT_ALL_JOBS_REMOVED", 256),
            ("EVENT_JOB_ADDED", 512),
            ("EVENT_JOB_REMOVED", 1024),
            ("EVENT_JOB_MODIFIED", 2048),
            ("EVENT_JOB_EXECUTED", 4096),
            ("EVENT_JOB_ERROR", 8192),
            ("EVENT_JOB_MISSED", 16384),
            ("EVENT_JOB_SUBMITTED", 32768),
            ("EVENT_JOB_MAX_INSTANCES", 65536),
        ],
    )
    def test_event_constants_are_bits_within_all(self, name, code):
        """Every published constant keeps its value and is part of EVENT_ALL."""
        assert getattr(codes, name) == code
        assert codes.EVENT_ALL & code == code

    def test_events_read_well(self):
        """An event's repr names its kind and its attributes."""
        assert repr(JobEvent(EVENT_JOB_ADDED, "it", "default")) == (
            "<JobEvent JOB_ADDED (alias=None, job_id='it', jobstore='default')>"
        )
