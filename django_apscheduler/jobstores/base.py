"""What a job store is: where jobs wait, and where their runs are claimed and settled."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from django_apscheduler import clock
from django_apscheduler.planning import Plan, Skipped, plan

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

#: How long before its run time, in seconds, a store may hand out a run at most: claims
#: take their time, and who begins them a little early has them in time.
MOST_AHEAD_SECONDS = 0.02


class JobLookupError(KeyError):
    """Raised when a job store has no job with the given id."""

    def __init__(self, job_id: str):
        super().__init__(f"No job by the id of {job_id} was found")

    def __str__(self) -> str:
        # KeyError shows the repr of its argument, which would quote the sentence.
        return str(self.args[0])


class ExecutionLookupError(KeyError):
    """Raised when no execution log has an execution with the given id."""

    def __init__(self, execution_id: int):
        super().__init__(f"No execution by the id of {execution_id} was found")

    def __str__(self) -> str:
        return str(self.args[0])


class ConflictingIdError(KeyError):
    """
    Raised when a job is added whose id a job in the store has already.

    :ivar job_id: the id
    """

    def __init__(self, job_id: str):
        self.job_id = job_id
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


class RunTakenOver(Exception):
    """Raised in a worker whose run is another scheduler's by now; nothing is kept."""


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
    index: int = -1
    start_before: float = float("inf")
    cancelled: frozenset[int] = frozenset()
    told: frozenset[int] = frozenset()


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


class BaseJobStore(ABC):
    """
    Where jobs wait.

    A subclass implements the abstract methods; `claim_due` and `settle` stand on them
    and serve one scheduler. A store that several schedulers share overrides those two.

    :cvar shared: whether several schedulers may use the store at once
    :cvar blocking: whether calls wait for a disk or a network, so that they must stay
        off event loops
    :cvar logs: whether each run leaves a row, so that its outcome must be settled
    :cvar transactional: whether jobs with ``transactional=True`` are possible
    """

    shared = False
    blocking = False
    logs = False
    transactional = False

    _scheduler: Any = None
    _alias: str | None = None
    _logger = logging.getLogger("django_apscheduler.jobstores")

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        # Here rather than in __init__, which stores written elsewhere may not call.
        self = super().__new__(cls)
        #: Held by claims and by the scheduler's edits of a store that is not shared. A
        #: shared one has its database's locks: whoever held this one while waiting for
        #: those could wait for a transaction that waits for this.
        self.lock = nullcontext() if cls.shared else threading.RLock()
        #: Runs going on, by job id.
        self._running = {}
        self._running_lock = threading.Lock()
        #: Jobs that `run_job_now` wants run as soon as there is room.
        self._asked_for = []
        return self

    lock: AbstractContextManager
    _running: dict[str, int]
    _running_lock: threading.Lock
    _asked_for: list[Job]

    def start(self, scheduler: Any, alias: str) -> None:
        """
        Get ready for use; called when the scheduler starts or is given the store.

        :param alias: the store's alias in the scheduler
        """
        self._scheduler = scheduler
        self._alias = alias
        self._logger = logging.getLogger(f"django_apscheduler.jobstores.{alias}")

    def shutdown(self) -> None:
        """Free what the store holds; called when the scheduler shuts down."""

    def disown(self) -> None:
        """
        Let go of what belongs to the parent; called in the child of a fork.

        Locks may be held by threads that the child lacks, and connections must not even
        be closed, for that would say goodbye in the parent's name. Afterwards the store
        is open for edits.
        """
        if not self.shared:
            self.lock = threading.RLock()
        self._running, self._running_lock = {}, threading.Lock()

    def turned(self) -> None:
        """Called when the loop has gone round without claiming, because it is paused."""

    def retire(self) -> None:
        """Called when nothing more will be claimed; runs may still be under way."""

    def claim_due(self, free: dict[str, int], now: datetime | None = None) -> Batch:
        """
        Take the due jobs that there is room for, and move their schedules on.

        :param free: free slots by executor alias; others' jobs are left alone
        :param now: aware; the present when None
        """
        now = now or clock.now()
        batch = Batch()
        room = dict(free)
        with self.lock:
            if self._asked_for:
                self._claim_asked_for(room, now, batch)
            for job in self.get_claimable_jobs(room, now):
                room[job.executor] -= 1
                try:
                    planned = plan(job, now)
                except Exception as error:
                    self._park(job, error, batch)
                    continue
                if planned.run_times:
                    self._take(job, planned, batch)
                for skipped in planned.skipped:
                    batch.skipped.append((job, skipped))
                job.next_run_time = planned.next_run_time
                job.nominal_time = planned.nominal_time
                if planned.next_run_time is None:
                    self.remove_job(job.id)
                    batch.removed.append(job)
                else:
                    self.update_job(job)
            batch.next_run_time = self.get_next_claimable_time(
                [alias for alias, slots in room.items() if slots > 0]
            )
        return batch

    def _take(self, job: Job, planned: Plan, batch: Batch) -> None:
        """Claim the planned run times, unless too many instances are running."""
        with self._running_lock:
            running = self._running.get(job.id, 0)
            full = running >= job.max_instances
            if not full:
                self._running[job.id] = running + 1
        if full:
            planned.skipped.append(planned.over_the_limit())
        else:
            batch.runs.append(Run(job, self._alias or "", planned.run_times))

    def get_next_claimable_time(self, executors: list[str]) -> datetime | None:
        """Return the earliest run time of the executors' jobs, as far as is known."""
        return self.get_next_run_time()

    def get_claimable_jobs(self, free: dict[str, int], now: datetime) -> list[Job]:
        """Return due jobs, oldest first, no more per executor than it has slots."""
        room = dict(free)
        jobs = []
        for job in self.get_due_jobs(now):
            if room.get(job.executor, 0) > 0:
                room[job.executor] -= 1
                jobs.append(job)
        return jobs

    def _park(self, job: Job, error: Exception, batch: Batch) -> None:
        """Take a job whose trigger fails out of the running; it alone suffers."""
        self._logger.exception("Job %s is parked as broken: its trigger failed", job.id)
        job.state = "broken"
        job.error = f"{type(error).__name__}: {error}"
        job.next_run_time = job.nominal_time = None
        self.update_job(job)
        batch.broken.append((job.id, job.error))

    def settle(self, outcomes: list[Outcome]) -> list[Outcome]:
        """
        Take note of how runs ended.

        :return: the outcomes that count; those of runs that another scheduler has taken
            over meanwhile are left out
        """
        with self._running_lock:
            for outcome in outcomes:
                # A run of several run times is one instance until its last one ends.
                if outcome.index == len(outcome.run.run_times) - 1:
                    job_id = outcome.run.job.id
                    self._running[job_id] -= 1
                    if self._running[job_id] <= 0:
                        del self._running[job_id]
        return outcomes

    def may_start(self, run: Run) -> bool:
        """
        Tell whether a claimed run is surely still ours, so that its body may begin.

        Sets ``run.start_before``.
        """
        return True

    def can_write(self) -> bool:
        """Tell whether the store takes writes, so that a failure lies with its content."""
        try:
            self.get_next_run_time()
        except Exception:
            return False
        return True

    def forget(self, run: Run) -> None:
        """Note that nothing more will be told of a run; its row is for the sweep."""

    def confirm_starts(self, runs: list[Run]) -> list[Run]:
        """
        Record durably that the runs' bodies begin; return those that are still ours.

        Of a run of several run times it is the body at ``run.index``.
        """
        return runs

    def now(self) -> datetime:
        """Return the present by the clock that decides what is due."""
        return clock.now()

    def present(self) -> datetime:
        """Return the same, well enough for a job that is new, and sooner."""
        return self.now()

    def change_job(self, job_id: str, change: Callable[[Job], None]) -> Job:
        """
        Load a job, have ``change`` change it, and write that; no other edit in between.

        :raises JobLookupError: when the store does not have it
        """
        with self.lock:
            job = self.lookup_job(job_id)
            if job is None:
                raise JobLookupError(job_id)
            change(job)
            self.update_job(job)
        return job

    def add_jobs(self, jobs: list[Job], replace_existing: bool = False) -> None:
        """
        Put new jobs into the store, all or none.

        The caller holds `lock`, so no claim comes between.

        :param replace_existing: whether jobs with the same ids are replaced
        :raises ConflictingIdError: when an id is taken and may not be replaced
        """
        undo: list[Callable[[], None]] = []
        try:
            for job in jobs:
                existing = self.lookup_job(job.id)
                if existing is None or not replace_existing:
                    self.add_job(job)
                    undo.append(partial(self.remove_job, job.id))
                else:
                    self._replace(existing, job)
                    undo.append(partial(self.update_job, existing))
        except BaseException:
            for take_back in reversed(undo):
                take_back()
            raise

    def _replace(self, existing: Job, job: Job) -> None:
        if job.trigger == existing.trigger and "next_run_time" not in job.changes:
            # The same schedule declared once more, as at each start of a process:
            # neither its timing nor a pause begins anew.
            job.trigger = existing.trigger
            job.next_run_time = existing.next_run_time
            job.nominal_time = existing.nominal_time
        self.update_job(job)

    def run_job_now(
        self,
        job_id: str,
        token: str | None = None,
        requested_by: str = "",
        retry_of: int | None = None,
    ) -> int | None:
        """
        Have the next claim run a job, whatever its schedule says.

        :param retry_of: id of an execution that the run is a retry of
        :return: the run's id in the execution log, None without one
        :raises ExecutionLookupError: for any ``retry_of`` in a store without a log
        """
        if retry_of is not None:
            raise ExecutionLookupError(retry_of)
        job = self.lookup_job(job_id)
        if job is None:
            raise JobLookupError(job_id)
        with self.lock:
            if not any(job.id == waiting.id for waiting in self._asked_for):
                self._asked_for.append(job)
        return None

    def _claim_asked_for(
        self, room: dict[str, int], now: datetime, batch: Batch
    ) -> None:
        for job in tuple(self._asked_for):
            if room.get(job.executor, 0) <= 0:
                continue
            with self._running_lock:
                if self._running.get(job.id, 0) >= job.max_instances:
                    continue
                self._running[job.id] = self._running.get(job.id, 0) + 1
            self._asked_for.remove(job)
            room[job.executor] -= 1
            batch.runs.append(Run(job, self._alias or "", [now]))

    def cancel_execution(
        self, execution_id: int, token: str | None = None, requested_by: str = ""
    ) -> Cancellation:
        """
        Cancel an execution that waits, or have the one who runs it end it.

        :param token: asking twice with the same one is asking once
        :raises ExecutionLookupError: when there is no such execution
        """
        raise ExecutionLookupError(execution_id)

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when the edits made so far are durable."""
        callback()

    def release(self, runs: list[Run]) -> None:
        """Hand back claimed runs that have not begun."""
        raise NotImplementedError(f"{type(self).__name__} cannot take runs back")

    # APScheduler's interface.

    @abstractmethod
    def lookup_job(self, job_id: str) -> Job | None:
        """Return the job with the given id, or None."""

    @abstractmethod
    def get_due_jobs(self, now: datetime) -> list[Job]:
        """Return jobs with ``next_run_time`` not after ``now``, oldest first."""

    @abstractmethod
    def get_next_run_time(self) -> datetime | None:
        """Return the earliest run time of all jobs, or None."""

    @abstractmethod
    def get_all_jobs(self) -> list[Job]:
        """Return all jobs by next run time, paused jobs last."""

    @abstractmethod
    def add_job(self, job: Job) -> None:
        """
        Put a new job into the store.

        :raises ConflictingIdError: when its id is taken
        """

    @abstractmethod
    def update_job(self, job: Job) -> None:
        """
        Write a job's changes.

        :raises JobLookupError: when the store does not have it
        """

    @abstractmethod
    def remove_job(self, job_id: str) -> None:
        """
        Take a job out of the store.

        :raises JobLookupError: when the store does not have it
        """

    @abstractmethod
    def remove_all_jobs(self) -> None:
        """Take all jobs out of the store."""

    def _fix_paused_jobs_sorting(self, jobs: list[Job]) -> None:
        """Move paused jobs, which sort first by their missing run time, to the end."""
        paused = [job for job in jobs if job.next_run_time is None]
        jobs[:] = [job for job in jobs if job.next_run_time is not None] + paused

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"
