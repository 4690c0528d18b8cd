"""
Scheduler events: what happened, told to listeners.

The codes are bits, so that masks are ORed together. An event is sent only in the
process where it happened, after what it tells of is durable.
Source: APScheduler 3 user guide, "Scheduler events".
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

EVENT_SCHEDULER_STARTED = EVENT_SCHEDULER_START = 2**0
EVENT_SCHEDULER_SHUTDOWN = 2**1
EVENT_SCHEDULER_PAUSED = 2**2
EVENT_SCHEDULER_RESUMED = 2**3
EVENT_EXECUTOR_ADDED = 2**4
EVENT_EXECUTOR_REMOVED = 2**5
EVENT_JOBSTORE_ADDED = 2**6
EVENT_JOBSTORE_REMOVED = 2**7
EVENT_ALL_JOBS_REMOVED = 2**8
EVENT_JOB_ADDED = 2**9
EVENT_JOB_REMOVED = 2**10
EVENT_JOB_MODIFIED = 2**11
EVENT_JOB_EXECUTED = 2**12
EVENT_JOB_ERROR = 2**13
EVENT_JOB_MISSED = 2**14
EVENT_JOB_SUBMITTED = 2**15
EVENT_JOB_MAX_INSTANCES = 2**16
# From here on the events are this package's own.
EVENT_JOB_LOST = 2**17
EVENT_JOB_CANCELLED = 2**18
EVENT_JOB_BROKEN = 2**19
EVENT_JOB_PROGRESS = 2**20
EVENT_ALL = 2**21 - 1

#: Event code → name, as in ``EVENT_…`` without the prefix.
EVENT_NAMES = {
    EVENT_SCHEDULER_STARTED: "SCHEDULER_STARTED",
    EVENT_SCHEDULER_SHUTDOWN: "SCHEDULER_SHUTDOWN",
    EVENT_SCHEDULER_PAUSED: "SCHEDULER_PAUSED",
    EVENT_SCHEDULER_RESUMED: "SCHEDULER_RESUMED",
    EVENT_EXECUTOR_ADDED: "EXECUTOR_ADDED",
    EVENT_EXECUTOR_REMOVED: "EXECUTOR_REMOVED",
    EVENT_JOBSTORE_ADDED: "JOBSTORE_ADDED",
    EVENT_JOBSTORE_REMOVED: "JOBSTORE_REMOVED",
    EVENT_ALL_JOBS_REMOVED: "ALL_JOBS_REMOVED",
    EVENT_JOB_ADDED: "JOB_ADDED",
    EVENT_JOB_REMOVED: "JOB_REMOVED",
    EVENT_JOB_MODIFIED: "JOB_MODIFIED",
    EVENT_JOB_EXECUTED: "JOB_EXECUTED",
    EVENT_JOB_ERROR: "JOB_ERROR",
    EVENT_JOB_MISSED: "JOB_MISSED",
    EVENT_JOB_SUBMITTED: "JOB_SUBMITTED",
    EVENT_JOB_MAX_INSTANCES: "JOB_MAX_INSTANCES",
    EVENT_JOB_LOST: "JOB_LOST",
    EVENT_JOB_CANCELLED: "JOB_CANCELLED",
    EVENT_JOB_BROKEN: "JOB_BROKEN",
    EVENT_JOB_PROGRESS: "JOB_PROGRESS",
}


class SchedulerEvent:
    """
    Something that happened to a scheduler, a job store or an executor.

    :ivar code: the event's code, one of the ``EVENT_…`` constants
    :ivar alias: alias of the job store or executor it concerns, or None
    """

    def __init__(self, code: int, alias: str | None = None):
        self.code = code
        self.alias = alias

    def __repr__(self) -> str:
        name = EVENT_NAMES.get(self.code, self.code)
        details = ", ".join(f"{k}={v!r}" for k, v in vars(self).items() if k != "code")
        return f"<{type(self).__name__} {name} ({details})>"


class JobEvent(SchedulerEvent):
    """
    Something that happened to a job.

    :ivar job_id: the job's identifier
    :ivar jobstore: alias of the job store that holds the job
    """

    def __init__(self, code: int, job_id: str, jobstore: str | None):
        super().__init__(code)
        self.job_id = job_id
        self.jobstore = jobstore


class JobSubmissionEvent(JobEvent):
    """
    A job was handed to its executor, or could not be for too many instances.

    :ivar scheduled_run_times: aware run times, oldest first
    """

    def __init__(self, code: int, job_id: str, jobstore: str | None, run_times: list):
        super().__init__(code, job_id, jobstore)
        self.scheduled_run_times = run_times


class JobExecutionEvent(JobEvent):
    """
    A run of a job came to its end, in whatever way.

    :ivar scheduled_run_time: aware run time that the run was for
    :ivar retval: what the callable returned, or None
    :ivar exception: the exception it raised, or None
    :ivar traceback: the formatted traceback, or None
    :ivar execution_id: id of the run's row in the execution log, or None
    """

    def __init__(
        self,
        code: int,
        job_id: str,
        jobstore: str | None,
        scheduled_run_time: Any,
        retval: Any = None,
        exception: BaseException | None = None,
        traceback: str | None = None,
        execution_id: int | None = None,
    ):
        super().__init__(code, job_id, jobstore)
        self.scheduled_run_time = scheduled_run_time
        self.retval = retval
        self.exception = exception
        self.traceback = traceback
        self.execution_id = execution_id


Hook = Callable[[Any, SchedulerEvent], None]

_hooks: list[Hook] = []


def add_hook(hook: Hook) -> None:
    """
    Have every scheduler of this process call ``hook(scheduler, event)``.

    Called after the scheduler's own listeners; adding a hook twice is adding it once.
    """
    if hook not in _hooks:
        _hooks.append(hook)


def remove_hook(hook: Hook) -> None:
    """Stop calling ``hook``; unknown hooks are ignored."""
    if hook in _hooks:
        _hooks.remove(hook)


def send_to_hooks(scheduler: Any, event: SchedulerEvent) -> None:
    """Call every hook; one that fails is logged and hurts nobody."""
    for hook in tuple(_hooks):
        try:
            hook(scheduler, event)
        except Exception:
            logging.getLogger(__name__).exception(
                "Event hook %r failed on %r", hook, event
            )


def has_hooks() -> bool:
    """Tell whether any hook is registered, so that busy paths can skip events."""
    return bool(_hooks)
