"""What an executor is, and how a body is run inside one."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC
from asyncio import CancelledError
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from traceback import clear_frames, format_exception
from typing import TYPE_CHECKING, Any

from django_apscheduler import clock
from django_apscheduler.events import (
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MISSED,
    JobExecutionEvent,
)
from django_apscheduler.jobstores.base import (
    CANCELLED,
    ERROR,
    EXECUTED,
    MISSED,
    Outcome,
    Run,
    RunTakenOver,
)
from django_apscheduler.patched import run_coroutine
from django_apscheduler.serialization import resolve_arguments, waits_to_resolve

if TYPE_CHECKING:
    from django_apscheduler.job import Job

#: Look-ahead: runs claimed beyond the idle workers are as many as were completed in
#: this many seconds, so that fast jobs flow in batches and slow ones are not hoarded.
#: Half of it has to keep the workers busy while a claim of the other half is made.
LOOK_AHEAD_SECONDS = 0.1
LOOK_AHEAD_LIMIT = 1000


class MaxInstancesReachedError(Exception):
    """Raised when a job is submitted while as many of its runs go on as are allowed."""

    def __init__(self, job: Job):
        super().__init__(
            f'Job "{job.id}" has already reached its maximum number of instances '
            f"({job.max_instances})"
        )


class RunCancelled(BaseException):
    """
    Raised inside a body whose run has been cancelled.

    No `Exception`, like `asyncio.CancelledError`, so that an ``except Exception`` around
    one item of work does not swallow it.
    """


@dataclass(frozen=True, slots=True)
class CurrentRun:
    """
    The run that a body belongs to.

    :ivar run_time: aware; the time the run was due
    :ivar attempt: 1, or more when an earlier attempt was lost with its scheduler
    :ivar execution_id: id in the execution log, None for stores without one; the same
        for all attempts, so it serves as idempotency key
    """

    job_id: str
    run_time: datetime
    attempt: int
    execution_id: int | None
    _asked: Callable[[], bool] | None = field(default=None, repr=False, compare=False)

    @property
    def cancelled(self) -> bool:
        """Whether somebody has cancelled this run, so that the body should end."""
        return self._asked is not None and self._asked()

    def raise_if_cancelled(self) -> None:
        """
        End the body here if its run has been cancelled.

        :raises RunCancelled: when it has
        """
        if self.cancelled:
            raise RunCancelled(
                f"the run of job {self.job_id} for {self.run_time} was cancelled"
            )


_current: ContextVar[tuple[Run, int] | None] = ContextVar("current_run", default=None)
_current_in_child: ContextVar[CurrentRun | None] = ContextVar(
    "current_run_in_child", default=None
)


def current_run() -> CurrentRun | None:
    """Return the run that the calling code is the body of, or None outside of one."""
    current = _current.get()
    if current is None:
        return _current_in_child.get()
    run, index = current
    ids = run.execution_ids
    return CurrentRun(
        run.job.id,
        run.run_times[index],
        run.attempt,
        None if ids is None else ids[index],
        lambda: index in run.cancelled,
    )


_before_run: list[Callable[[], None]] = []
_after_run: list[Callable[[], None]] = []
_at_worker_end: list[Callable[[], None]] = []


def add_run_hooks(
    before: Callable[[], None] | None = None,
    after: Callable[[], None] | None = None,
    ending: Callable[[], None] | None = None,
) -> None:
    """
    Call ``before`` and ``after`` around every body, in the worker that runs it.

    ``ending`` is called by a worker that runs no other body, as greenlets do not. Adding
    the same hook twice is adding it once.
    """
    if before is not None and before not in _before_run:
        _before_run.append(before)
    if after is not None and after not in _after_run:
        _after_run.append(after)
    if ending is not None and ending not in _at_worker_end:
        _at_worker_end.append(ending)


def worker_ends() -> None:
    """Call the hooks for a worker that has run its last body."""
    for hook in _at_worker_end:
        _call_quietly(hook)


def call_between_hooks(func: Callable, /, *args: Any, **kwargs: Any) -> Any:
    """Call ``func`` as a body is called: with the hooks of `add_run_hooks` around it."""
    try:
        for hook in _before_run:
            hook()
        return func(*args, **kwargs)
    finally:
        for hook in _after_run:
            _call_quietly(hook)


def call_body(func: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Call ``func``; an ``async def`` one runs on an event loop of its own."""
    if args or kwargs:
        args, kwargs = resolve_arguments(args, kwargs)
    value = func(*args, **kwargs)
    # By what it gives, for a function that is none itself may return a coroutine, too.
    if value is not None and isinstance(value, Coroutine):
        return run_coroutine(value)
    return value


def failed(run: Run, index: int, error: BaseException, **times: Any) -> Outcome:
    """Return the outcome of a run time whose body, or whose way to it, failed."""
    text = "".join(format_exception(error))
    # The frames' variables would otherwise live as long as somebody keeps the event.
    clear_frames(error.__traceback__)
    return Outcome(run, index, ERROR, exception=error, traceback=text, **times)


def failed_throughout(run: Run, error: BaseException) -> list[Outcome]:
    """Return the outcomes of a run none of whose bodies could begin."""
    return [failed(run, index, error) for index in range(len(run.run_times))]


def ended_by(run: Run, index: int, error: BaseException, started: datetime) -> Outcome:
    """Return the outcome of a body that ended with an exception."""
    finished = clock.now()
    if index in run.cancelled and isinstance(error, (RunCancelled, CancelledError)):
        return Outcome(run, index, CANCELLED, started, finished)
    return failed(run, index, error, started_time=started, finished_time=finished)


def call_enclosed(
    enclose: Any, index: int, started: datetime, func: Callable, args: Any, kwargs: Any
) -> Any:
    """Call a body inside one transaction with its outcome."""
    with enclose(index, started) as complete:
        retval = call_body(func, args, kwargs)
        complete(started, clock.now())
    return retval


def run_body(
    run: Run, index: int, finish: Callable[[Any], Any] | None = None
) -> Outcome | None:
    """
    Run the body for one run time of ``run``, in the calling thread.

    :param finish: makes of what the body returned what the outcome is to hold
    :return: None when the run has become another scheduler's, and nothing is kept
    """
    job, enclose = run.job, run.enclose
    token = _current.set((run, index))
    started = clock.now()
    try:
        for hook in _before_run:
            hook()
        if enclose is None:
            retval = call_body(job.func, job.args, job.kwargs)
            if finish is not None:
                retval = finish(retval)
        else:
            retval = call_enclosed(
                enclose, index, started, job.func, job.args, job.kwargs
            )
    except RunTakenOver:
        tell_taken_over(run, index)
        return None
    except BaseException as error:  # noqa: BLE001 (SystemExit must not end a worker)
        return ended_by(run, index, error, started)
    else:
        finished = clock.now()
        settled = enclose is not None
        return Outcome(run, index, EXECUTED, started, finished, retval, settled=settled)
    finally:
        _current.reset(token)
        for hook in _after_run:
            _call_quietly(hook)


def tell_taken_over(run: Run, index: int) -> None:
    """Log that a run became another scheduler's while its body ran."""
    logging.getLogger(__name__).error(
        "Job %s: its run of %s is another scheduler's by now; what the body wrote in "
        "its transaction has been undone",
        run.job.id,
        run.run_times[index],
    )


async def await_body(
    run: Run,
    index: int,
    call: Callable[[Run, Any, Any], Awaitable[Any]],
    in_thread: Callable[..., Awaitable[Any]],
) -> Outcome:
    """
    Await the body for one run time of ``run``, on an event loop.

    :param call: calls the body with its arguments, and answers what to await
    :param in_thread: calls a function where it may wait for a database
    """
    job = run.job
    token = _current.set((run, index))
    started = clock.now()
    try:
        args, kwargs = job.args, job.kwargs
        if waits_to_resolve(args, kwargs):
            args, kwargs = await in_thread(resolve_arguments, args, kwargs)
        retval = await call(run, args, kwargs)
    except BaseException as error:  # noqa: BLE001 (a cancelled body has an outcome)
        return ended_by(run, index, error, started)
    else:
        return Outcome(run, index, EXECUTED, started, clock.now(), retval)
    finally:
        _current.reset(token)


def _call_quietly(hook: Callable[[], None]) -> None:
    try:
        hook()
    except Exception:
        logging.getLogger(__name__).exception("Hook %r failed after a run", hook)


def valid_workers(value: Any) -> int:
    """
    Return ``max_workers`` as a number.

    :raises ValueError: unless it is a whole number greater than 0
    """
    try:
        workers = int(value)
    except (TypeError, ValueError):
        workers = 0
    if workers < 1 or isinstance(value, bool):
        raise ValueError(
            f"max_workers must be a whole number greater than 0; got {value!r}"
        )
    return workers


class BaseExecutor(ABC):
    """
    Runs the bodies of jobs.

    A subclass overrides `submit`, and has `work` called where the bodies are to run; one
    written for APScheduler 3 overrides ``_do_submit_job`` and calls ``_run_job_success``
    or ``_run_job_error`` when done.

    :ivar max_workers: bodies that can run at once
    :cvar waits_for_time: whether its workers wait with a run that is ``early``
    :cvar looks_ahead: whether runs may wait in the executor beyond its idle workers
    :cvar encloses: whether a transaction can be put around a body
    """

    max_workers: int = 10
    waits_for_time = False
    looks_ahead = True
    encloses = False

    _scheduler: Any = None
    _alias: str | None = None
    _logger = logging.getLogger("django_apscheduler.executors")

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._count_lock = threading.Lock()
        self._idle = threading.Condition(self._count_lock)
        self._cancel_lock = threading.Lock()
        self._runs: set[Run] = set()
        self._completed = 0
        self._wake_below = 0
        self._window_start = clock.monotonic()
        self._look_ahead = 0
        self._direct: Counter[str] = Counter()
        self._handed_over: dict[str, list[Run]] = {}

    def start(self, scheduler: Any, alias: str) -> None:
        """Get ready to run bodies for ``scheduler`` under ``alias``."""
        self._scheduler = scheduler
        self._alias = alias
        self._logger = logging.getLogger(f"django_apscheduler.executors.{alias}")
        self._reset()

    def shutdown(self, wait: bool = True) -> None:
        """
        Accept no more runs.

        :param wait: whether to return only when all running bodies have ended
        """

    def disown(self) -> None:
        """Forget runs and threads, which are the parent's; called in a fork's child."""
        self._reset()

    # Slots.

    def free_slots(self) -> int:
        """Return how many more runs the executor has room for."""
        with self._count_lock:
            if self.looks_ahead:
                elapsed = clock.monotonic() - self._window_start
                if elapsed >= LOOK_AHEAD_SECONDS:
                    rate = self._completed / elapsed
                    self._look_ahead = int(rate * LOOK_AHEAD_SECONDS)
                    self._completed = 0
                    self._window_start += elapsed
                ahead = min(max(self._look_ahead, self._completed), LOOK_AHEAD_LIMIT)
            else:
                ahead = 0
            # A scheduler that waits for room is woken when half of the look-ahead has
            # been worked off, so that it claims batches rather than single runs.
            self._wake_below = self.max_workers + ahead // 2
            return max(0, self.max_workers + ahead - len(self._runs))

    @property
    def runs(self) -> list[Run]:
        """The runs that have been submitted and have not ended."""
        with self._count_lock:
            return list(self._runs)

    def wait_until_idle(self, timeout: float | None = None) -> bool:
        """Wait until nothing is running; return False when time ran out."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._runs, timeout)

    # Runs.

    def accept(self, run: Run) -> None:
        """Submit ``run`` and count it; a run that cannot be submitted has failed."""
        with self._count_lock:
            self._runs.add(run)
        try:
            self.submit(run)
        except BaseException as error:  # noqa: BLE001
            self._logger.exception(
                "Job %s could not be submitted to executor %s", run.job.id, self._alias
            )
            self.finished(run, failed_throughout(run, error))

    def submit(self, run: Run) -> None:
        """Start ``run`` or queue it; `finished` must follow exactly once."""
        # Whether and when it begins is not ours to know.
        run.index = 0
        self._handed_over.setdefault(run.job.id, []).append(run)
        self._do_submit_job(run.job, run.run_times)

    def begin(self, run: Run) -> bool:
        """
        Tell the store that the body is about to begin; blocks for ``confirm_start``.

        :return: False when the run is no longer ours, and the body must not begin
        """
        if run.execution_ids is None:
            return True
        return self._scheduler.run_begins(run)

    def finished(self, run: Run, outcomes: list[Outcome]) -> None:
        """
        Report that ``run`` has ended, and how.

        :param outcomes: those not reported yet; none for what was not ours any more
        """
        try:
            self._scheduler.run_finished(run, outcomes)
        finally:
            with self._idle:
                self._forget(run)
                if not self._runs:
                    self._idle.notify_all()
                room = len(self._runs) < self._wake_below
        if room:
            self._scheduler.room_in_executor()

    def _forget(self, run: Run) -> None:
        """Count a run that has ended no more; called under ``_count_lock``."""
        self._runs.discard(run)
        self._completed += 1
        if self._direct and run.job.id in self._direct:
            self._direct[run.job.id] -= 1

    def work(
        self, run: Run, call: Callable[[Run, int], Outcome | None] = run_body
    ) -> None:
        """
        Run the bodies of ``run`` one after the other and report how each ended.

        :param call: runs one of them, and answers how it ended
        """
        outcomes: list[Outcome] = []
        try:
            for index in self._beginning(run):
                outcome = call(run, index)
                if outcome is not None:
                    outcomes.append(outcome)
                if outcomes and index < len(run.run_times) - 1:
                    # Not kept until the others have ended, for if this process dies
                    # meanwhile nobody would know of it.
                    told, outcomes = outcomes, []
                    self._scheduler.run_finished(run, told)
        except Exception:
            self._logger.exception(
                "Job %s: a run of it could not be told of", run.job.id
            )
        finally:
            self.finished(run, outcomes)

    def _beginning(self, run: Run) -> Iterator[int]:
        """Give the positions of the run times whose body is to begin right now."""
        if run.early:
            self._wait_for_time(max(0.0, run.ahead(clock.now())))
        for index in range(len(run.run_times)):
            run.index = index
            if index not in run.cancelled and not self.begin(run):
                return
            if index in run.cancelled:
                self._tell_cancelled(run, index)
            else:
                yield index

    def _wait_for_time(self, seconds: float) -> None:
        """Wait in a worker, for a moment, so that no body begins too early."""
        time.sleep(seconds)

    # Cancelling.

    def cancel(self, run: Run, index: int) -> None:
        """
        Have one run time of ``run`` not begin or, if its body runs, end.

        A body can only be asked, unless the executor can do more; see `interrupt`.
        """
        with self._cancel_lock:
            run.cancelled |= {index}
        if run.index < index:
            self._tell_cancelled(run, index)
        elif run.index == index:
            self.interrupt(run, index)

    def interrupt(self, run: Run, index: int) -> None:
        """End the running body of a cancelled run, in executors that can."""

    def _tell_cancelled(self, run: Run, index: int) -> None:
        """Report a run time that did not begin; who cancels and the worker may both."""
        with self._cancel_lock:
            if index in run.told:
                return
            run.told |= {index}
        finished = clock.now()
        self._scheduler.run_finished(
            run, [Outcome(run, index, CANCELLED, finished_time=finished)]
        )

    def take_back(self) -> list[Run]:
        """Return the runs that have not begun, which then never will, to be released."""
        return []

    def _took_back(self, runs: list[Run]) -> None:
        with self._idle:
            self._runs.difference_update(runs)
            if not self._runs:
                self._idle.notify_all()

    # APScheduler's interface.

    def submit_job(self, job: Job, run_times: list[datetime]) -> None:
        """
        Run ``job`` once for each of ``run_times``.

        :raises MaxInstancesReachedError: when as many of its runs go on as are allowed
        """
        with self._count_lock:
            if self._direct[job.id] >= job.max_instances:
                raise MaxInstancesReachedError(job)
            self._direct[job.id] += 1
        self.accept(Run(job, job._jobstore_alias or "", list(run_times)))

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        raise NotImplementedError(
            f"{type(self).__name__} must override submit() or _do_submit_job()"
        )

    def _run_job_success(self, job_id: str, events: list[JobExecutionEvent]) -> None:
        """Report a run by the events of its run times."""
        run = self._take_handed_over(job_id, [e.scheduled_run_time for e in events])
        statuses = {EVENT_JOB_EXECUTED: EXECUTED, EVENT_JOB_MISSED: MISSED}
        outcomes = [
            Outcome(
                run,
                index,
                statuses.get(event.code, ERROR),
                finished_time=clock.now(),
                retval=event.retval,
                exception=event.exception,
                traceback=str(event.traceback or ""),
            )
            for index, event in enumerate(events)
        ]
        self.finished(run, outcomes)

    def _run_job_error(
        self, job_id: str, exc: BaseException, traceback: Any = None
    ) -> None:
        """Report a run that failed as a whole."""
        run = self._take_handed_over(job_id, None)
        if traceback is not None:
            exc = exc.with_traceback(traceback)
        self.finished(run, failed_throughout(run, exc))

    def _take_handed_over(self, job_id: str, run_times: list[datetime] | None) -> Run:
        runs = self._handed_over[job_id]
        for run in runs:
            if run_times is None or run.run_times == run_times:
                runs.remove(run)
                if not runs:
                    del self._handed_over[job_id]
                return run
        raise LookupError(
            f"no run of job {job_id!r} for {run_times!r} was handed to {self!r}"
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} (max_workers={self.max_workers})>"
