"""What all schedulers have in common: their parts, their life and their tick."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from abc import abstractmethod
from collections.abc import Callable, Mapping
from datetime import tzinfo
from typing import Any

from django_apscheduler import clock, events
from django_apscheduler.events import (
    EVENT_ALL,
    EVENT_EXECUTOR_ADDED,
    EVENT_EXECUTOR_REMOVED,
    EVENT_JOB_BROKEN,
    EVENT_JOB_CANCELLED,
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_LOST,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    EVENT_JOB_REMOVED,
    EVENT_JOB_SUBMITTED,
    EVENT_JOBSTORE_ADDED,
    EVENT_JOBSTORE_REMOVED,
    EVENT_SCHEDULER_PAUSED,
    EVENT_SCHEDULER_RESUMED,
    EVENT_SCHEDULER_SHUTDOWN,
    EVENT_SCHEDULER_STARTED,
    JobEvent,
    JobExecutionEvent,
    JobSubmissionEvent,
    SchedulerEvent,
)
from django_apscheduler.executors.base import BaseExecutor, current_run
from django_apscheduler.executors.pool import ThreadPoolExecutor
from django_apscheduler.jobstores.base import (
    CANCELLED,
    ERROR,
    EXECUTED,
    LOST,
    MISSED,
    BaseJobStore,
    Batch,
    Outcome,
    Run,
)
from django_apscheduler.jobstores.memory import MemoryJobStore
from django_apscheduler.planning import MAX_INSTANCES
from django_apscheduler.schedulers import (
    SchedulerAlreadyRunningError,
    SchedulerNotRunningError,
    configuration,
)
from django_apscheduler.schedulers.jobs import JobMethods
from django_apscheduler.schedulers.plugins import make_plugin
from django_apscheduler.schedulers.settling import BACKLOG_LIMIT, Settler
from django_apscheduler.util import default_timezone

STATE_STOPPED = 0
STATE_RUNNING = 1
STATE_PAUSED = 2

#: Seconds until a tick looks again when something is due but an executor is full; a run
#: that ends wakes the scheduler sooner.
STARVED_SECONDS = 0.05
#: Seconds until a tick looks again when a store has something due that nobody here may
#: run.
NOT_OURS_SECONDS = 0.5

_OUTCOME_EVENTS = {
    EXECUTED: EVENT_JOB_EXECUTED,
    ERROR: EVENT_JOB_ERROR,
    MISSED: EVENT_JOB_MISSED,
    LOST: EVENT_JOB_LOST,
    CANCELLED: EVENT_JOB_CANCELLED,
}


class BaseScheduler(JobMethods):
    """
    Runs jobs when they are due.

    :param gconfig: a dictionary of options, nested or with dotted keys that begin with
        ``prefix``
    :param prefix: what the keys of ``gconfig`` begin with; others are ignored
    :param logger: a logger, or a reference to one
    :param timezone: default time zone of triggers and naive times
    :param jobstore_retry_interval: longest pause, in seconds, before a job store that
        failed is asked again
    :param job_defaults: ``misfire_grace_time``, ``coalesce`` and ``max_instances`` of
        jobs that do not say
    :param jobstores: alias → instance, plugin alias or dictionary of options
    :param executors: alias → instance, plugin alias or dictionary of options
    Source: APScheduler 3 user guide, "Configuring the scheduler".
    """

    def __init__(
        self,
        gconfig: Mapping[str, Any] | None = None,
        prefix: str | None = "apscheduler.",
        **options: Any,
    ):
        self._lock = threading.RLock()
        # Held during a tick, so that whoever shuts down or drains waits for it to end.
        self._tick_lock = threading.RLock()
        self._executors: dict[str, Any] = {}
        self._jobstores: dict[str, Any] = {}
        self._settlers: dict[str, Settler] = {}
        self._failures: dict[str, int] = {}
        self._pending_jobs: list = []
        self._listeners: list[tuple[Callable, int]] = []
        self._event_mask = 0
        self._starved = False
        self._draining = False
        self._pid: int | None = None
        self._finisher: threading.Thread | None = None
        #: What ended the scheduler's loop against its will, or None.
        self.failure: BaseException | None = None
        self.state = STATE_STOPPED
        self.configure(gconfig or {}, prefix, **options)

    # Configuration.

    def configure(
        self,
        gconfig: Mapping[str, Any] | None = None,
        prefix: str | None = "apscheduler.",
        **options: Any,
    ) -> None:
        """
        Set the scheduler's options, as the constructor does.

        :raises SchedulerAlreadyRunningError: when the scheduler has been started
        """
        if self.state != STATE_STOPPED:
            raise SchedulerAlreadyRunningError
        self._configure(configuration.nest(gconfig or {}, prefix, options))

    def _configure(self, config: dict[str, Any]) -> None:
        settings = configuration.read(config)
        if settings.rest:
            raise TypeError(
                f"{type(self).__name__} has no options "
                f"{', '.join(sorted(map(str, settings.rest)))}; expected logger, timezone, "
                "jobstore_retry_interval, job_defaults, executors, jobstores"
            )
        self._logger: logging.Logger = settings.logger
        self._timezone = settings.timezone
        self.jobstore_retry_interval = settings.jobstore_retry_interval
        self._job_defaults = settings.job_defaults
        for alias, executor in settings.executors.items():
            self.add_executor(executor, alias)
        for alias, store in settings.jobstores.items():
            self.add_jobstore(store, alias)

    @property
    def timezone(self) -> tzinfo:
        """The zone of triggers and naive times that name none."""
        if self._timezone is None:
            self._timezone = default_timezone()
        return self._timezone

    # Life.

    @property
    def running(self) -> bool:
        """Whether the scheduler has been started; true while it is paused, too."""
        return self.state != STATE_STOPPED

    def start(self, paused: bool = False) -> None:
        """
        Start the executors, the job stores and the processing of jobs.

        :param paused: whether to wait for `resume` before any job is run
        :raises SchedulerAlreadyRunningError: when it is running already
        """
        if self.state != STATE_STOPPED:
            raise SchedulerAlreadyRunningError
        self._check_uwsgi()
        self._prepare()
        self._start_parts()
        self._started(paused)

    def _prepare(self) -> None:
        """Find out what would fail before anything is started."""
        finisher = self._finisher
        if finisher is not None and finisher is not threading.current_thread():
            # A shutdown(wait=False) before may still be waiting for running bodies.
            finisher.join()
            self._finisher = None
        with self._lock:
            if "default" not in self._executors:
                self.add_executor(self._create_default_executor(), "default")
            if "default" not in self._jobstores:
                self.add_jobstore(self._create_default_jobstore(), "default")
            for job, alias, _ in self._pending_jobs:
                self._check_places(job.executor, alias)
        self._pid = os.getpid()
        self._draining = False
        self.failure = None

    def _start_parts(self) -> None:
        pending = list(self._pending_jobs)
        try:
            with self._lock:
                for alias, executor in self._executors.items():
                    executor.start(self, alias)
                for alias, store in self._jobstores.items():
                    self._start_store(alias, store)
                self._add_pending_jobs()
        except BaseException:
            # Leave nothing half started: the caller may mend the cause and try again.
            self._pending_jobs = pending
            for executor in self._executors.values():
                executor.shutdown(wait=False)
            for alias in tuple(self._settlers):
                self._stop_store(alias, self._jobstores[alias])
            raise

    def _started(self, paused: bool) -> None:
        self.state = STATE_PAUSED if paused else STATE_RUNNING
        self._logger.info("Scheduler started")
        self._dispatch_event(SchedulerEvent(EVENT_SCHEDULER_STARTED))
        if not paused:
            self.wakeup()

    def shutdown(self, wait: bool = True) -> None:
        """
        Stop processing jobs and shut down executors and job stores.

        :param wait: whether to return only when all running bodies have ended. From
            inside a body the call returns at once, for it would wait for itself; the
            rest then follows when the body has ended.
        :raises SchedulerNotRunningError: when it has not been started
        """
        if self.state == STATE_STOPPED:
            raise SchedulerNotRunningError
        wait = wait and current_run() is None
        self.state = STATE_STOPPED
        self.wakeup()
        if wait:
            self._finish(wait=True)
        else:
            for executor in self._executors.values():
                executor.shutdown(wait=False)
            self._finish_later()
        self._logger.info("Scheduler has been shut down")
        self._dispatch_event(SchedulerEvent(EVENT_SCHEDULER_SHUTDOWN))

    def _finish_later(self) -> None:
        if self.running_jobs():
            self._finisher = threading.Thread(
                target=self._finish, name="apscheduler-finish"
            )
            self._finisher.start()
        else:
            self._finish()

    def _finish(self, wait: bool = False) -> None:
        with self._tick_lock:
            self._hand_back()
        for executor in self._executors.values():
            if wait:
                executor.shutdown(wait=True)
            elif isinstance(executor, BaseExecutor):
                executor.wait_until_idle()
        for alias, store in self._jobstores.items():
            self._stop_store(alias, store)

    def drain(self, timeout: float | None = None) -> bool:
        """
        Claim nothing more, hand back what has not begun, and wait for running bodies.

        :param timeout: seconds to wait at most, None for as long as it takes
        :return: whether all bodies have ended
        """
        self._draining = True
        with self._tick_lock:
            self._hand_back()
        deadline = None if timeout is None else clock.monotonic() + timeout
        for executor in self._executors.values():
            if not isinstance(executor, BaseExecutor):
                continue
            left = None if deadline is None else max(0.0, deadline - clock.monotonic())
            if not executor.wait_until_idle(left):
                return False
        return True

    def _hand_back(self) -> None:
        """Give runs that have not begun back to stores that others share."""
        for executor in self._executors.values():
            if not isinstance(executor, BaseExecutor):
                continue
            waiting: dict[str, list[Run]] = {}
            for run in executor.take_back():
                store = self._jobstores.get(run.jobstore)
                if store is not None and store.shared:
                    waiting.setdefault(run.jobstore, []).append(run)
                else:
                    executor.accept(run)
            for alias, runs in waiting.items():
                try:
                    self._jobstores[alias].release(runs)
                except Exception:
                    # They are found as orphans when this process's lease runs out.
                    self._logger.exception("%d runs were not handed back", len(runs))

    def running_jobs(self) -> list[str]:
        """Return the ids of the jobs that executors here are working on."""
        return sorted(
            {
                run.job.id
                for executor in tuple(self._executors.values())
                if isinstance(executor, BaseExecutor)
                for run in executor.runs
            }
        )

    def pause(self) -> None:
        """
        Stop processing jobs until `resume`; running bodies go on.

        :raises SchedulerNotRunningError: when it has not been started
        """
        if self.state == STATE_STOPPED:
            raise SchedulerNotRunningError
        if self.state == STATE_RUNNING:
            self.state = STATE_PAUSED
            self._logger.info("Paused scheduler job processing")
            self._dispatch_event(SchedulerEvent(EVENT_SCHEDULER_PAUSED))

    def resume(self) -> None:
        """
        Process jobs again.

        :raises SchedulerNotRunningError: when it has not been started
        """
        if self.state == STATE_STOPPED:
            raise SchedulerNotRunningError
        if self.state == STATE_PAUSED:
            self.state = STATE_RUNNING
            self._logger.info("Resumed scheduler job processing")
            self._dispatch_event(SchedulerEvent(EVENT_SCHEDULER_RESUMED))
            self.wakeup()

    @abstractmethod
    def wakeup(self) -> None:
        """Have the scheduler look for due jobs at once; safe from any thread."""

    # Parts.

    def add_executor(
        self, executor: Any, alias: str = "default", **options: Any
    ) -> None:
        """
        Add an executor, an instance or a plugin alias with its options.

        :raises ValueError: when the alias is taken
        """
        with self._lock:
            executor = self._add_part(
                "executors", self._executors, executor, alias, options
            )
            if self.state != STATE_STOPPED:
                executor.start(self, alias)
        self._dispatch_event(SchedulerEvent(EVENT_EXECUTOR_ADDED, alias))
        if self.state != STATE_STOPPED:
            self.wakeup()

    def remove_executor(self, alias: str, shutdown: bool = True) -> None:
        """
        Remove an executor.

        :param shutdown: whether to shut it down, which waits for its running bodies
        :raises KeyError: when there is none by that alias
        """
        with self._lock:
            executor = self._lookup_executor(alias)
            del self._executors[alias]
        if shutdown:
            executor.shutdown()
        self._dispatch_event(SchedulerEvent(EVENT_EXECUTOR_REMOVED, alias))

    def add_jobstore(
        self, jobstore: Any, alias: str = "default", **options: Any
    ) -> None:
        """
        Add a job store, an instance or a plugin alias with its options.

        :raises ValueError: when the alias is taken
        """
        with self._lock:
            store = self._add_part(
                "jobstores", self._jobstores, jobstore, alias, options
            )
            if self.state != STATE_STOPPED:
                self._start_store(alias, store)
                self._add_pending_jobs()
        self._dispatch_event(SchedulerEvent(EVENT_JOBSTORE_ADDED, alias))
        if self.state != STATE_STOPPED:
            self.wakeup()

    def remove_jobstore(self, alias: str, shutdown: bool = True) -> None:
        """
        Remove a job store.

        :param shutdown: whether to shut it down as well
        :raises KeyError: when there is none by that alias
        """
        with self._tick_lock, self._lock:
            store = self._lookup_jobstore(alias)
            if shutdown:
                self._stop_store(alias, store)
            del self._jobstores[alias]
        self._dispatch_event(SchedulerEvent(EVENT_JOBSTORE_REMOVED, alias))

    def _add_part(
        self, kind: str, parts: dict[str, Any], part: Any, alias: str, options: dict
    ) -> Any:
        name = kind[:-1]
        if alias in parts:
            raise ValueError(
                f'This scheduler already has a {name} by the alias of "{alias}"; '
                "remove that one first or choose another alias"
            )
        if isinstance(part, str):
            part = make_plugin(kind, part, options)
        else:
            part = configuration.make_component(kind, alias, part)
        parts[alias] = part
        return part

    def _start_store(self, alias: str, store: BaseJobStore) -> None:
        if store.shared:
            store.start(self, alias, run=True)  # type: ignore[call-arg]
        else:
            store.start(self, alias)
        if getattr(store, "logs", False):
            settler = Settler(store, alias, self._tell)
            self._settlers[alias] = settler
            settler.start()

    def _stop_store(self, alias: str, store: BaseJobStore) -> None:
        settler = self._settlers.pop(alias, None)
        if settler is not None:
            settler.stop()
        store.shutdown()

    def _lookup_executor(self, alias: str) -> Any:
        try:
            return self._executors[alias]
        except KeyError:
            raise KeyError(f"No such executor: {alias}") from None

    def _lookup_jobstore(self, alias: str) -> Any:
        try:
            return self._jobstores[alias]
        except KeyError:
            raise KeyError(f"No such job store: {alias}") from None

    def _create_default_executor(self) -> Any:
        return ThreadPoolExecutor()

    def _create_default_jobstore(self) -> Any:
        return MemoryJobStore()

    # Events.

    def add_listener(self, callback: Callable, mask: int = EVENT_ALL) -> None:
        """
        Call ``callback(event)`` for every event whose code is in ``mask``.

        :param mask: event codes ORed together
        """
        if not callable(callback):
            raise TypeError(f"a listener must be callable; got {callback!r}")
        with self._lock:
            self._listeners.append((callback, mask))
            self._event_mask |= mask

    def remove_listener(self, callback: Callable) -> None:
        """Stop calling ``callback``."""
        with self._lock:
            self._listeners = [item for item in self._listeners if item[0] != callback]
            self._event_mask = 0
            for _, mask in self._listeners:
                self._event_mask |= mask

    def _wants(self, code: int) -> bool:
        """Tell whether anybody listens, so that busy paths need not make events."""
        return bool(self._event_mask & code) or events.has_hooks()

    def _dispatch_event(self, event: SchedulerEvent) -> None:
        for callback, mask in tuple(self._listeners):
            if event.code & mask:
                try:
                    callback(event)
                except Exception:
                    self._logger.exception("Error notifying listener of %r", event)
        events.send_to_hooks(self, event)

    # The tick.

    def process_jobs(self) -> float | None:
        """
        Claim and submit what is due; one turn of the scheduler's loop.

        :return: seconds until the next turn, None to wait until woken
        """
        wait: float | None = None
        with self._tick_lock:
            if self.state != STATE_RUNNING or self._draining or self._forked():
                return None
            # Set first: a run that ends from here on, after the free slots have been
            # counted, must wake the loop.
            self._starved = True
            starved = False
            for alias, store in tuple(self._jobstores.items()):
                seconds, full = self._process_store(alias, store)
                starved = starved or full
                if seconds is not None and (wait is None or seconds < wait):
                    wait = seconds
            self._starved = starved
        return wait

    def _process_store(
        self, alias: str, store: BaseJobStore
    ) -> tuple[float | None, bool]:
        """Return the seconds until the store's next turn and whether room ran out."""
        settler = self._settlers.get(alias)
        if settler is not None and settler.backlog > BACKLOG_LIMIT:
            return STARVED_SECONDS, True
        free = {}
        for executor_alias, executor in tuple(self._executors.items()):
            slots = self._free_slots(executor)
            if slots > 0:
                free[executor_alias] = slots
        try:
            batch = store.claim_due(free)
        except Exception:
            self._failures[alias] = failures = self._failures.get(alias, 0) + 1
            pause = min(self.jobstore_retry_interval, 0.05 * 2**failures)
            self._logger.exception(
                'Error getting due jobs from job store "%s"; trying again in %.1f s',
                alias,
                pause,
            )
            return pause, False
        self._failures.pop(alias, None)
        for run in batch.runs:
            free[run.job.executor] -= 1
        full = len(free) < len(self._executors) or not all(free.values())
        self._submit(alias, batch)
        return self._seconds_until(batch, full), full

    @staticmethod
    def _seconds_until(batch: Batch, full: bool) -> float | None:
        if batch.next_run_time is None:
            return None
        now = batch.now or clock.now()
        seconds = (batch.next_run_time - now).total_seconds()
        if seconds > 0 or batch.runs or batch.skipped:
            return max(0.0, seconds)
        return STARVED_SECONDS if full else NOT_OURS_SECONDS

    @staticmethod
    def _free_slots(executor: Any) -> int:
        # An executor not derived from ours tells no slots and has a queue of its own.
        free_slots = getattr(executor, "free_slots", None)
        return free_slots() if free_slots is not None else 1000

    def _submit(self, alias: str, batch: Batch) -> None:
        for lost in batch.lost:
            self._logger.error(
                "Job %s: its run of %s was lost: %s",
                lost.job_id,
                lost.run_time,
                lost.reason,
            )
            self._dispatch_event(
                JobExecutionEvent(
                    EVENT_JOB_LOST,
                    lost.job_id,
                    alias,
                    lost.run_time,
                    execution_id=lost.execution_id,
                )
            )
        for job_id, _ in batch.broken:
            self._dispatch_event(JobEvent(EVENT_JOB_BROKEN, job_id, alias))
        for job, skipped in batch.skipped:
            self._tell_skipped(alias, job, skipped)
        tell = self._wants(EVENT_JOB_SUBMITTED)
        for run in batch.runs:
            if tell:
                self._dispatch_event(
                    JobSubmissionEvent(
                        EVENT_JOB_SUBMITTED, run.job.id, alias, run.run_times
                    )
                )
            self._executors[run.job.executor].accept(run)
        for job in batch.removed:
            self._logger.info("Job %s has ended and is removed", job.id)
            self._dispatch_event(JobEvent(EVENT_JOB_REMOVED, job.id, alias))

    def _tell_skipped(self, alias: str, job: Any, skipped: Any) -> None:
        if skipped.status == MISSED:
            late = clock.now() - skipped.last
            self._logger.warning("Run time of job %s was missed by %s", job, late)
            for run_time in skipped.run_times or (skipped.last,):
                self._dispatch_event(
                    JobExecutionEvent(EVENT_JOB_MISSED, job.id, alias, run_time)
                )
        elif skipped.status == MAX_INSTANCES:
            self._logger.warning(
                "Execution of job %s skipped: maximum number of running instances "
                "reached (%d)",
                job,
                job.max_instances,
            )
            times = list(skipped.run_times) or [skipped.last]
            self._dispatch_event(
                JobSubmissionEvent(EVENT_JOB_MAX_INSTANCES, job.id, alias, times)
            )

    # What executors report.

    def run_begins(self, run: Run) -> bool:
        """Called by executors just before a body; False when it must not begin."""
        settler = self._settlers.get(run.jobstore)
        return True if settler is None else settler.began(run)

    def run_finished(self, run: Run, outcomes: list[Outcome]) -> None:
        """Called by executors when a run has ended."""
        settler = self._settlers.get(run.jobstore)
        if settler is not None:
            settler.finished(run, outcomes)
        else:
            store = self._jobstores.get(run.jobstore)
            self._tell(outcomes if store is None else store.settle(outcomes))

    def room_in_executor(self) -> None:
        """Called by executors when a run has ended and there is room for more."""
        if self._starved:
            self._starved = False
            self.wakeup()

    def _tell(self, outcomes: list[Outcome]) -> None:
        """Log and announce outcomes that have been settled."""
        for outcome in outcomes:
            job = outcome.run.job
            if outcome.status == ERROR:
                self._logger.error(
                    "Job %s raised an exception\n%s", job, outcome.traceback
                )
            code = _OUTCOME_EVENTS[outcome.status]
            if self._wants(code):
                self._dispatch_event(
                    JobExecutionEvent(
                        code,
                        job.id,
                        outcome.run.jobstore,
                        outcome.run_time,
                        outcome.retval,
                        outcome.exception,
                        outcome.traceback or None,
                        outcome.execution_id,
                    )
                )

    # Surroundings.

    def _forked(self) -> bool:
        """Tell whether this process is a fork of the one that started the scheduler."""
        if self._pid is None or self._pid == os.getpid():
            return False
        self._logger.error(
            "This process (%d) is a fork of the one that started the scheduler (%d), "
            "and threads do not survive a fork: nothing runs here. Start the scheduler "
            "after the fork, or run it in a process of its own.",
            os.getpid(),
            self._pid,
        )
        return True

    @staticmethod
    def _check_uwsgi() -> None:
        try:
            import uwsgi
        except ImportError:
            return
        if not getattr(uwsgi, "has_threads", True):
            raise RuntimeError(
                "The scheduler needs threads, which uWSGI has switched off; start uWSGI "
                'with the option "enable-threads"'
            )

    async def _off_loop(self, func: Callable, *args: Any, **kwargs: Any) -> Any:
        """Await ``func`` in a thread, where it may wait for a database."""
        return await asyncio.to_thread(func, *args, **kwargs)

    def __repr__(self) -> str:
        state = {STATE_STOPPED: "stopped", STATE_RUNNING: "running"}
        return f"<{type(self).__name__} ({state.get(self.state, 'paused')})>"
