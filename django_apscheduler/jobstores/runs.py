"""Runs: what a claim brings, and how it ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from django_apscheduler.planning import Skipped

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


class RunTakenOver(Exception):
    """Raised in a worker whose run is another scheduler's by now; nothing is kept."""


#: How long before its run time, in seconds, a store may hand out a run at most: claims
#: take their time, and who begins them a little early has them in time.
MOST_AHEAD_SECONDS = 0.02


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
    :ivar enclose: for transactional jobs, ``enclose(index, now)`` is a context manager
        around the body that gives a function to write its outcome with; it pickles
    :ivar early: whether the worker has to wait until the run time has come
    :ivar index: position in ``run_times`` of the body that runs, or -1 before the first
    :ivar start_before: on the monotonic clock; nobody takes the run over before
    :ivar cancelled: positions of the run times that somebody has cancelled
    :ivar told: those of them that have been reported as such
    """

    job: Job
    jobstore: str
    run_times: list[datetime]
    execution_ids: list[int] | None = None
    attempt: int = 1
    confirm_start: bool = False
    claim: Any = None
    enclose: Any = None
    started_time: datetime | None = None
    early: bool = False
    index: int = -1
    start_before: float = float("inf")
    cancelled: frozenset[int] = frozenset()
    told: frozenset[int] = frozenset()

    def ahead(self, now: datetime) -> float:
        """Return the seconds from ``now`` until no body of the run can be too early."""
        # No longer than a store may be ahead, should a clock have been set meanwhile.
        return min((self.run_times[-1] - now).total_seconds(), MOST_AHEAD_SECONDS)


@dataclass(slots=True, eq=False)
class Outcome:
    """
    How one run time of a `Run` ended.

    :ivar index: position in ``run.run_times``
    :ivar status: one of Executed, Error!, Missed!, Lost, Cancelled
    :ivar started_time: aware UTC; None when the body did not begin
    :ivar settled: whether it is in the log already, written in the body's transaction
    """

    run: Run
    index: int
    status: str
    started_time: datetime | None = None
    finished_time: datetime | None = None
    retval: Any = None
    exception: BaseException | None = None
    traceback: str = ""
    settled: bool = False

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


class Cancellation(NamedTuple):
    """
    What became of the wish to cancel an execution.

    :ivar status: the execution's status now; one that is still claimed or started ends
        where it runs
    :ivar at_once: whether this very wish has cancelled it
    """

    job_id: str
    run_time: datetime
    status: str
    at_once: bool = False


@dataclass(slots=True)
class Batch:
    """
    What one claim brought.

    :ivar runs: to be submitted when their run time has come; it may be near, but to come
    :ivar skipped: occurrences of a job that will not run, with the reason
    :ivar removed: jobs whose schedule ended with this claim
    :ivar lost: executions given up because their scheduler died
    :ivar cancelled: job id, run time and execution id of executions that were cancelled
        while they waited for a scheduler
    :ivar broken: jobs parked because they could not be restored, with the reason
    :ivar next_run_time: when to claim next, aware; None for never
    :ivar now: the present by the store's own clock, when that is not this process's
    :ivar offset: what to add to this process's clock for the store's
    """

    runs: list[Run] = field(default_factory=list)
    skipped: list[tuple[Job, Skipped]] = field(default_factory=list)
    removed: list[Job] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    cancelled: list[tuple[str, datetime, int]] = field(default_factory=list)
    broken: list[tuple[str, str]] = field(default_factory=list)
    next_run_time: datetime | None = None
    now: datetime | None = None
    offset: timedelta = timedelta(0)
