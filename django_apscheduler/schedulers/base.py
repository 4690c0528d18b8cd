"""What all schedulers have in common: their parts, their life and their tick."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Mapping
from datetime import tzinfo
from typing import Any

from django_apscheduler import clock, events
from django_apscheduler.events import (
    EVENT_ALL,
    EVENT_SCHEDULER_PAUSED,
    EVENT_SCHEDULER_RESUMED,
    EVENT_SCHEDULER_SHUTDOWN,
    EVENT_SCHEDULER_STARTED,
    SchedulerEvent,
)
from django_apscheduler.executors.base import (
    BaseExecutor,
    call_between_hooks,
    current_run,
)
from django_apscheduler.executors.logs import mark_log_records
from django_apscheduler.jobstores.base import Run
from django_apscheduler.schedulers import (
    STATE_PAUSED,
    STATE_RUNNING,
    STATE_STOPPED,
    SchedulerAlreadyRunningError,
    SchedulerNotRunningError,
    configuration,
    forks,
)
from django_apscheduler.schedulers.jobs import JobMethods
from django_apscheduler.schedulers.parts import PartMethods
from django_apscheduler.schedulers.settling import Settler
from django_apscheduler.schedulers.tick import TickMethods
from django_apscheduler.util import default_timezone


class BaseScheduler(PartMethods, TickMethods, JobMethods):
    """
    Runs jobs when they are due.

    :param gconfig: a dictionary of options, nested or with dotted keys that begin with
        ``prefix``
    :param prefix: what the keys of ``gconfig`` begin with; others are ignored
    :param logger: a logger, its name, or a reference to one (``module:name``)
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
        # Held for moments only, for event loops take it, too.
        self._lock = threading.RLock()
        # Held while parts come and go, which may wait for a database.
        self._parts_lock = threading.RLock()
        # Held during a tick, so that whoever shuts down or drains waits for it to end.
        self._tick_lock = threading.RLock()
        self._executors: dict[str, Any] = {}
        self._jobstores: dict[str, Any] = {}
        self._settlers: dict[str, Settler] = {}
        self._failures: dict[str, int] = {}
        self._retry_times: dict[str, float] = {}
        self._pending_jobs: list = []
        self._listeners: list[tuple[Callable, int]] = []
        self._event_mask = 0
        self._starved = False
        self._draining = False
        # The process that started the scheduler, and whether it was said that this one
        # is another.
        self._pid: int | None = None
        self._fork_told = False
        self.turns = 0
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
        # Configuring again replaces what was configured before under the same aliases.
        for alias, executor in settings.executors.items():
            self._executors.pop(alias, None)
            self.add_executor(executor, alias)
        for alias, store in settings.jobstores.items():
            self._jobstores.pop(alias, None)
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
        self._await_end()
        self._prepare()
        self._start_parts()
        self.state = STATE_PAUSED if paused else STATE_RUNNING
        self._started()

    def wait_until_started(self) -> None:
        """Do nothing: when `start` has returned, everything is done."""

    def _await_end(self) -> None:
        """Wait for bodies that an earlier ``shutdown(wait=False)`` left running."""
        finisher = self._finisher
        if finisher is not None and finisher is not threading.current_thread():
            finisher.join()
            self._finisher = None

    def _prepare(self) -> None:
        """Find out what would fail before anything is started."""
        if "default" not in self._executors:
            self.add_executor(self._create_default_executor(), "default")
        if "default" not in self._jobstores:
            self.add_jobstore(self._create_default_jobstore(), "default")
        for job, alias, _ in tuple(self._pending_jobs):
            self._check_places(job.executor, alias)
        mark_log_records()
        self._pid, self._fork_told = os.getpid(), False
        forks.watch(self)
        self._draining = False
        self.failure = None

    def _start_parts(self) -> None:
        pending = list(self._pending_jobs)
        started = []
        try:
            with self._parts_lock:
                for alias, executor in self._executors.items():
                    executor.start(self, alias)
                for alias, store in self._jobstores.items():
                    self._start_store(alias, store)
                    started.append(alias)
                self._add_pending_jobs()
        except BaseException:
            # Leave nothing half started: the caller may mend the cause and try again.
            with self._lock:
                self._pending_jobs = pending
            for executor in self._executors.values():
                executor.shutdown(wait=False)
            for alias in started:
                # The memory store's jobs would end with it, and they are not to blame.
                if getattr(self._jobstores[alias], "blocking", False):
                    self._stop_store(alias, self._jobstores[alias])
            raise

    def _started(self) -> None:
        # Those that other threads took for tentative until a moment ago.
        self._add_pending_jobs()
        self._logger.info("Scheduler started")
        self._dispatch_event(SchedulerEvent(EVENT_SCHEDULER_STARTED))
        if self.state == STATE_RUNNING:
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
            if self._is_fork():
                # Registered with atexit, say, before the fork. It runs in the parent.
                return
            raise SchedulerNotRunningError
        # From inside a body, the waiting is done later and elsewhere.
        later = not wait or current_run() is not None
        self.state = STATE_STOPPED
        self._shut_down(wait, later)

    def _shut_down(self, wait: bool, later: bool) -> None:
        self._retire()
        self.wakeup()
        if not wait:
            for executor in self._executors.values():
                executor.shutdown(wait=False)
        if later:
            self._finish_later(wait)
        else:
            self._finish(wait)
        self._logger.info("Scheduler has been shut down")
        self._dispatch_event(SchedulerEvent(EVENT_SCHEDULER_SHUTDOWN))

    def _finish_later(self, wait: bool) -> None:
        if self.running_jobs():
            self._finisher = threading.Thread(
                target=self._finish, args=(wait,), name="apscheduler-finish"
            )
            self._finisher.start()
        else:
            self._finish(wait)

    def _finish(self, wait: bool = False) -> None:
        with self._tick_lock:
            self._hand_back()
        for executor in self._executors.values():
            if wait:
                executor.shutdown(wait=True)
            elif isinstance(executor, BaseExecutor):
                self._await_idle(executor)
        for alias, store in self._jobstores.items():
            self._stop_store(alias, store)

    def _await_idle(self, executor: BaseExecutor) -> None:
        """Wait until no body runs in ``executor``, or none can end any more."""
        executor.wait_until_idle()

    def drain(self, timeout: float | None = None) -> bool:
        """
        Claim nothing more, hand back what has not begun, and wait for running bodies.

        :param timeout: seconds to wait at most, None for as long as it takes
        :return: whether all bodies have ended
        """
        self._draining = True
        self._retire()
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

    def _retire(self) -> None:
        """Have the stores tell others that nothing more is claimed here."""
        for store in self._jobstores.values():
            store.retire()

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
                self._release(alias, runs)

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
                    # Like a body, for a listener may use a database, too.
                    call_between_hooks(callback, event)
                except Exception:
                    self._logger.exception("Error notifying listener of %r", event)
        events.send_to_hooks(self, event)

    # Surroundings.

    def _is_fork(self) -> bool:
        return self._pid is not None and self._pid != os.getpid()

    def _forked(self) -> bool:
        """Tell, and log once, whether this is a fork of the process that started it."""
        if not self._is_fork():
            return False
        if not self._fork_told:
            self._fork_told = True
            self._logger.error(
                "This process (%d) is a fork of the one that started the scheduler "
                "(%d), and threads do not survive a fork: nothing runs here, jobs are "
                "only written. Start the scheduler after the fork, or run it in a "
                "process of its own.",
                os.getpid(),
                self._pid,
            )
        return True

    def hold_still(self) -> None:
        """Have job stores keep still; called before a fork."""
        for store in tuple(self._jobstores.values()):
            if hasattr(store, "hold_still"):
                store.hold_still()

    def disown(self) -> None:
        """
        Leave everything that runs to the parent; called in the child of a fork.

        Job stores stay open for writing. `start` makes it a scheduler of the child's.
        """
        self._lock, self._tick_lock = threading.RLock(), threading.RLock()
        self._parts_lock = threading.RLock()
        for part in (*self._executors.values(), *self._jobstores.values()):
            # Parts that are not derived from ours may know nothing of forks.
            if hasattr(part, "disown"):
                part.disown()
        if self.state == STATE_STOPPED:
            self._pid = None
        self.state = STATE_STOPPED
        # What the parent has told of an earlier fork says nothing of this one.
        self._fork_told = False
        self._settlers = {}
        self._finisher = None

    def note_fork(self) -> None:
        """Go on, and say once where jobs run; called in the parent after a fork."""
        for store in tuple(self._jobstores.values()):
            if hasattr(store, "go_on"):
                store.go_on()
        if self.state != STATE_STOPPED and not self._fork_told:
            self._fork_told = True
            self._logger.info(
                "A process was forked after the scheduler had been started: jobs run "
                "in this one (%d) only, and the child just writes them",
                os.getpid(),
            )

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
        if forks.before_uwsgi_forks(uwsgi):
            raise RuntimeError(
                "uWSGI has yet to fork its workers, and threads do not survive a fork: "
                'start the scheduler after it, with the option "lazy-apps" or in a '
                "function decorated with uwsgidecorators.postfork"
            )

    def _off_loop(self, func: Callable, /, *args: Any, **kwargs: Any) -> Awaitable[Any]:
        """Have ``func`` called in a thread, where it may wait for a database."""
        # Like a body, for nobody else sees to the connections of the loop's threads.
        return asyncio.to_thread(call_between_hooks, func, *args, **kwargs)

    def _on_loop(self) -> bool:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return False
        return True

    def __repr__(self) -> str:
        state = {STATE_STOPPED: "stopped", STATE_RUNNING: "running"}
        return f"<{type(self).__name__} ({state.get(self.state, 'paused')})>"
