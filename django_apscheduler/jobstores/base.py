"""What a job store is: where jobs wait, and where their runs are claimed and settled."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from django_apscheduler import clock
from django_apscheduler.jobstores.runs import (
    CANCELLED,
    COALESCED,
    ERROR,
    EXECUTED,
    LOST,
    MAX_INSTANCES,
    MISSED,
    MOST_AHEAD_SECONDS,
    Batch,
    Cancellation,
    Lost,
    Outcome,
    Run,
    RunTakenOver,
)
from django_apscheduler.planning import Plan, Skipped, plan
from django_apscheduler.util import utc

if TYPE_CHECKING:
    from django_apscheduler.job import Job

__all__ = [
    "BaseJobStore",
    "Batch",
    "CANCELLED",
    "COALESCED",
    "Cancellation",
    "ConflictingIdError",
    "ERROR",
    "EXECUTED",
    "ExecutionLookupError",
    "JobLookupError",
    "LOST",
    "Lost",
    "MAX_INSTANCES",
    "MISSED",
    "MOST_AHEAD_SECONDS",
    "Outcome",
    "Run",
    "RunTakenOver",
    "TransientJobError",
]

#: What passes between the moment a thread is to wake up and what it does then.
AWAKENING = timedelta(milliseconds=0.5)
_NO_LEAD = timedelta(0)


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


@dataclass(slots=True, eq=False)
class _Claim:
    """
    What a claim makes of one job.

    :ivar due: the job's run time before
    :ivar broken: why the job is parked, when it is
    """

    job: Job
    due: datetime | None
    run: Run | None = None
    skipped: Sequence[Skipped] = ()
    broken: str = ""


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
        #: Claims of which nobody knows whether they were written, because that failed.
        self._in_doubt = []
        #: Runs of those that were, to begin when there is room.
        self._confirmed = []
        return self

    lock: AbstractContextManager
    _running: dict[str, int]
    _running_lock: threading.Lock
    _asked_for: list[Job]
    _in_doubt: list[_Claim]
    _confirmed: list[Run]

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

    def in_transaction(self) -> bool:
        """Tell whether what the caller does here is part of a transaction of its own."""
        return False

    def aside(self) -> AbstractContextManager[None]:
        """Have the block's calls wait without stopping gevent's other greenlets."""
        return nullcontext()

    def hold_still(self) -> None:
        """Keep threads out of what a fork must not copy half way; called before it."""

    def go_on(self) -> None:
        """Undo `hold_still`; called in the parent."""

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
        lead = self.claim_lead() if now is None else _NO_LEAD
        now = now or clock.now()
        batch = Batch()
        room = dict(free)
        with self.lock:
            self._resolve_doubts(batch)
            self._claim_confirmed(room, batch)
            self._claim_asked_for(room, now, batch)
            try:
                self._claim_due(room, now, lead, batch)
                # What was skipped took no slot, and no end of a body will tell of it.
                left = dict(free)
                for run in batch.runs:
                    left[run.job.executor] -= 1
                following = self.get_next_claimable_time(
                    [alias for alias, slots in left.items() if slots > 0]
                )
                if following is not None and following - lead > now:
                    following -= lead
                # Else it was left until its time.
                batch.next_run_time = following
            except Exception:
                if not (batch.runs or batch.skipped or batch.removed or batch.broken):
                    raise
                # What has been claimed must be run; the next turn fails by itself.
                batch.next_run_time = now
        following = batch.next_run_time
        if following is not None and following > now:
            # Should it have fallen due since it was looked for, it is not one that
            # nobody here may run.
            batch.now = min(clock.now(), following - timedelta(microseconds=1))
        return batch

    def claim_lead(self) -> timedelta:
        """Return how long before its run time a run is claimed, to begin in time."""
        if clock.goes_by_itself():
            return getattr(self._scheduler, "lead", _NO_LEAD)
        return _NO_LEAD

    def _claim_due(
        self, room: dict[str, int], now: datetime, lead: timedelta, batch: Batch
    ) -> None:
        claims: list[_Claim] = []
        moved: list[Job] = []
        ended: list[Job] = []
        for job in self.get_claimable_jobs(room, now + lead):
            due = job.next_run_time
            assert due is not None
            present = max(now, due)
            if present > now and self._running.get(job.id, 0) >= job.max_instances:
                # One of them may have ended when its time has come.
                moved.append(job)
                continue
            room[job.executor] -= 1
            claim = _Claim(job, due)
            claims.append(claim)
            try:
                # Of several run times that are near, no more than one is due early.
                planned = plan(job, present)
            except Exception as error:
                self._park(claim, error)
                moved.append(job)
                continue
            if planned.run_times:
                self._take(claim, planned)
            claim.skipped = planned.skipped
            job.next_run_time = planned.next_run_time
            job.nominal_time = planned.nominal_time
            (ended if planned.next_run_time is None else moved).append(job)
        if not moved and not ended:
            return
        try:
            self.advance_jobs(moved, ended)
        except BaseException:
            # The store may have written it and not been able to say so.
            self._in_doubt += claims
            raise
        for claim in claims:
            if claim.run is not None:
                batch.runs.append(claim.run)
            if claim.skipped or claim.job.next_run_time is None:
                self._bring(claim, batch)

    def advance_jobs(self, moved: list[Job], ended: list[Job]) -> None:
        """
        Write what a claim has done to jobs.

        :param moved: whose schedule has moved on, or who are parked as broken
        :param ended: whose schedule has ended, and who are to be removed
        """
        for job in moved:
            self.update_job(job)
        for job in ended:
            self.remove_job(job.id)

    def _take(self, claim: _Claim, planned: Plan) -> None:
        """Claim the planned run times, unless too many instances are running."""
        job = claim.job
        with self._running_lock:
            running = self._running.get(job.id, 0)
            full = running >= job.max_instances
            if not full:
                self._running[job.id] = running + 1
        if full:
            planned.skipped.append(planned.over_the_limit())
        else:
            claim.run = Run(job, self._alias or "", planned.run_times)

    @staticmethod
    def _bring(claim: _Claim, batch: Batch) -> None:
        """Add to a batch what a claim that is written has done, but for its run."""
        batch.skipped += [(claim.job, skipped) for skipped in claim.skipped]
        if claim.broken:
            batch.broken.append((claim.job.id, claim.broken))
        elif claim.job.next_run_time is None:
            batch.removed.append(claim.job)

    def _resolve_doubts(self, batch: Batch) -> None:
        """Find out which claims were written although that seemed to fail."""
        if not self._in_doubt:
            return
        run_times = self.stored_run_times([claim.job.id for claim in self._in_doubt])
        doubts, self._in_doubt = self._in_doubt, []
        for claim in doubts:
            if _same(run_times.get(claim.job.id), claim.due):
                # As before, so it is due still and is claimed anew.
                if claim.run is not None:
                    self._leave(claim.job.id)
                continue
            self._bring(claim, batch)
            if claim.run is not None:
                self._confirmed.append(claim.run)

    def stored_run_times(self, job_ids: list[str]) -> dict[str, datetime | None]:
        """Return the next run times of those jobs that the store has."""
        found = map(self.lookup_job, job_ids)
        return {job.id: job.next_run_time for job in found if job is not None}

    def _claim_confirmed(self, room: dict[str, int], batch: Batch) -> None:
        waiting, self._confirmed = self._confirmed, []
        for run in waiting:
            if room.get(run.job.executor, 0) > 0:
                room[run.job.executor] -= 1
                batch.runs.append(run)
            else:
                self._confirmed.append(run)

    def _leave(self, job_id: str) -> None:
        """Count one running instance of a job less."""
        with self._running_lock:
            self._running[job_id] -= 1
            if self._running[job_id] <= 0:
                del self._running[job_id]

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

    def _park(self, claim: _Claim, error: Exception) -> None:
        """Take a job whose trigger fails out of the running; it alone suffers."""
        job = claim.job
        self._logger.error(
            "Job %s is parked as broken: its trigger failed", job.id, exc_info=error
        )
        job.state = "broken"
        job.error = claim.broken = f"{type(error).__name__}: {error}"
        job.next_run_time = None

    def settle(self, outcomes: list[Outcome]) -> list[Outcome]:
        """
        Take note of how runs ended.

        :return: the outcomes that count; those of runs that another scheduler has taken
            over meanwhile are left out
        """
        for outcome in outcomes:
            # A run of several run times is one instance until its last one ends.
            if outcome.index == len(outcome.run.run_times) - 1:
                self._leave(outcome.run.job.id)
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


def _same(one: datetime | None, other: datetime | None) -> bool:
    """Tell whether two times are one instant, whatever their zones show."""
    if one is None or other is None:
        return one is other
    return one.astimezone(utc) == other.astimezone(utc)
