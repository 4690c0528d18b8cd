"""What a job store is: where jobs wait, and where their runs are claimed and settled."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django_apscheduler import clock
from django_apscheduler.planning import Skipped, plan

if TYPE_CHECKING:
    from django_apscheduler.job import Job

#: The statuses of an execution that an outcome can carry, as stored.
EXECUTED = "Executed"
ERROR = "Error!"
MISSED = "Missed!"
MAX_INSTANCES = "Max instances!"
COALESCED = "Coalesced"
LOST = "Lost"
CANCELLED = "Cancelled"


class JobLookupError(KeyError):
    """Raised when a job store has no job with the given id."""

    def __init__(self, job_id: str):
        super().__init__(f"No job by the id of {job_id} was found")

    def __str__(self) -> str:
        # KeyError shows the repr of its argument, which would quote the sentence.
        return str(self.args[0])


class ConflictingIdError(KeyError):
    """Raised when a job is added whose id a job in the store has already."""

    def __init__(self, job_id: str):
        super().__init__(
            f"Job identifier ({job_id}) conflicts with an existing job; choose another "
            "id, or give replace_existing=True to replace that job"
        )

    def __str__(self) -> str:
        return str(self.args[0])


class TransientJobError(ValueError):
    """Raised when a job is added to a persistent store that cannot keep its callable."""

    def __init__(self, job_id: str):
        super().__init__(
            f"Job ({job_id}) cannot be added to this job store because a reference to "
            "the callable could not be determined; schedule a function or class that "
            "can be imported by name (not a lambda, nested function or partial)"
        )


@dataclass(slots=True, eq=False)
class Run:
    """
    A job claimed for one or more of its due run times: one submission to an executor.

    :ivar run_times: aware run times, oldest first, run in succession as one instance
    :ivar execution_ids: the runs' rows in the execution log, parallel to ``run_times``;
        None for stores that keep no log
    :ivar attempt: 1, or more after a recorded loss
    :ivar confirm_start: the store must have recorded the start before the body begins
    :ivar claim: the store's own token
    """

    job: Job
    jobstore: str
    run_times: list[datetime]
    execution_ids: list[int] | None = None
    attempt: int = 1
    confirm_start: bool = False
    claim: Any = None
    started_time: datetime | None = None


@dataclass(slots=True, eq=False)
class Outcome:
    """
    How one run time of a `Run` ended.

    :ivar index: position in ``run.run_times``
    :ivar status: one of Executed, Error!, Missed!, Lost, Cancelled
    :ivar started_time: aware UTC; None when the body did not begin
    """

    run: Run
    index: int
    status: str
    started_time: datetime | None = None
    finished_time: datetime | None = None
    retval: Any = None
    exception: BaseException | None = None
    traceback: str = ""

    @property
    def run_time(self) -> datetime:
        return self.run.run_times[self.index]

    @property
    def execution_id(self) -> int | None:
        ids = self.run.execution_ids
        return None if ids is None else ids[self.index]


@dataclass(slots=True)
class Lost:
    """An execution whose scheduler died, found by the sweep."""

    job_id: str
    execution_id: int
    run_time: datetime
    reason: str


@dataclass(slots=True)
class Batch:
    """
    What one claim brought.

    :ivar runs: to be submitted now
    :ivar skipped: occurrences of a job that will not run, with the reason
    :ivar removed: jobs whose schedule ended with this claim
    :ivar lost: executions given up because their scheduler died
    :ivar broken: jobs parked because they could not be restored, with the reason
    :ivar next_run_time: when the store next has something due, aware; None for never
    """

    runs: list[Run] = field(default_factory=list)
    skipped: list[tuple[Job, Skipped]] = field(default_factory=list)
    removed: list[Job] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    broken: list[tuple[str, str]] = field(default_factory=list)
    next_run_time: datetime | None = None
