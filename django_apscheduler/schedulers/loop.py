"""What all schedulers have in common that run on the event loop of an application."""

from __future__ import annotations

import contextvars
import threading
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from django_apscheduler import clock, events
from django_apscheduler.events import SchedulerEvent
from django_apscheduler.executors.base import (
    BaseExecutor,
    call_between_hooks,
    current_run,
)
from django_apscheduler.jobstores.base import AWAKENING, Outcome, Run
from django_apscheduler.schedulers import (
    STATE_PAUSED,
    STATE_RUNNING,
    STATE_STOPPED,
    SchedulerAlreadyRunningError,
)
from django_apscheduler.schedulers.base import BaseScheduler

#: Seconds for which bodies are waited for on a loop that has stopped: it may be run
#: again, but mostly its program ends.
STOPPED_LOOP_SECONDS = 2.0
#: What passes at most, in general, between the moment for which a loop's timer is set
#: and what happens then: most loops count in milliseconds.
LOOP_AWAKENING = timedelta(milliseconds=2)
#: Threads for calls that wait for a job store beside the loop.
CALL_THREADS = 8


class LoopScheduler(BaseScheduler):
    """
    A scheduler on the event loop of an application, which is never made to wait.

    While no job store is ``blocking``, the scheduler works on the loop itself. Otherwise
    everything that may wait for a database happens on one thread beside it, in order:
    the start, ticks, listeners of what happens on the loop, and a shutdown from there.

    A subclass says how its loop is spoken to: `_find_loop`, `_call_soon`, `_call_later`,
    `_cancel_timer`, `_on_loop`, `_loop_runs`, `_awaitable` and, if a process can be given
    to it, `_run_loop` and `_stop_loop`.
    """

    _beside: Executor | None = None
    _calls: Executor | None = None
    _up: Future | None = None
    _ending: Future | None = None
    _timer: Any = None
    _ticking: Future | None = None
    _again = False
    _woken = False
    _serving = False
    _cut_off = False

    # What subclasses know of their loop.

    @abstractmethod
    def _find_loop(self) -> None:
        """
        Find the loop to run on; called when the scheduler is started.

        :raises RuntimeError: when there is none, telling what to do
        """

    @abstractmethod
    def _call_soon(self, func: Callable, *args: Any) -> None:
        """Have the loop call ``func``, from any thread; nothing when it is closed."""

    @abstractmethod
    def _call_later(self, seconds: float, func: Callable[[], None]) -> Any:
        """Have the loop call ``func`` after a while, and return what cancels that."""

    @abstractmethod
    def _cancel_timer(self, timer: Any) -> None:
        """Cancel what `_call_later` returned, whether or not it is over."""

    @abstractmethod
    def _loop_runs(self) -> bool:
        """Tell whether what is given to `_call_soon` will be called."""

    @abstractmethod
    def _awaitable(self, future: Future) -> Any:
        """Return what the loop's programs can wait with for a thread's result."""

    def _run_loop(self, begin: Callable[[], None]) -> None:
        """Run a loop in this thread, call ``begin`` on it, and go on until `_stop_loop`."""
        raise RuntimeError(f"{type(self).__name__} runs on its application's loop only")

    def _stop_loop(self) -> None:
        """Have `_run_loop` return; called on the loop."""

    def _make_threads(self, number: int, name: str) -> Executor:
        """Return a pool of real threads for what must not be done on the loop."""
        return ThreadPoolExecutor(number, name)

    # Life.

    def start(self, paused: bool = False) -> None:
        """
        Start the scheduler on its loop, and return at once.

        With a job store that waits for a database the start goes on beside the loop.
        What fails there is logged and kept as ``failure``, and stops the scheduler;
        calls of other methods, and whoever awaits `astart`, wait until it is done.

        :param paused: whether to wait for `resume` before any job is run
        :raises SchedulerAlreadyRunningError: when it is running already
        :raises RuntimeError: when there is no event loop to run on
        """
        if self.state != STATE_STOPPED:
            raise SchedulerAlreadyRunningError
        self._check_uwsgi()
        self._find_loop()
        self._prepare()
        self._ticking, self._again, self._woken = None, False, False
        clock.call_when_moved(self.wakeup)
        state = STATE_PAUSED if paused else STATE_RUNNING
        if self._waits() or self._is_ending():
            # First, for whoever sees the scheduler running is to wait for it.
            up: Future = Future()
            self._up = up
            up.add_done_callback(lambda _: self._call_soon(self._came_up))
            self.state = state
            self._do_beside(self._start_beside).add_done_callback(
                lambda done: _pass_on(done, up)
            )
            return
        self._up = None
        self._await_end()
        self._start_parts()
        self.state = state
        self._started()

    def _start_beside(self) -> None:
        try:
            self._await_end()
            self._start_parts()
        except BaseException as error:
            self.state = STATE_STOPPED
            self.failure = error
            self._logger.critical("The scheduler could not start", exc_info=True)
            self.leave()
            raise
        self._started()

    def _came_up(self) -> None:
        if self._opens_stores() and not self._waits():
            # What was added here while stores were not open yet.
            self._add_pending_jobs()
        self._tick()

    def _is_ending(self) -> bool:
        """Tell whether an earlier shutdown still waits for bodies, maybe on this loop."""
        return (self._ending is not None and not self._ending.done()) or (
            self._finisher is not None and self._finisher.is_alive()
        )

    def _is_up(self) -> bool:
        return self._up is None or self._up.done()

    def wait_until_started(self) -> None:
        """
        Wait for what `start` left to be done beside the loop; on the loop, do nothing.

        :raises BaseException: what made it fail
        """
        up = self._up
        if up is not None and not (self._on_loop() or _is_beside(self)):
            up.result()

    def astart(self, paused: bool = False) -> Awaitable[None]:
        """Start like `start`; once awaited, job stores are open, or the error is raised."""
        self.start(paused)
        return self._off_loop(self.wait_until_started)

    def disown(self) -> None:
        super().disown()
        # Their threads are the parent's.
        self._beside = self._calls = self._up = self._ending = None
        self._ticking = self._timer = None
        self._serving = False

    def _opens_stores(self) -> bool:
        if self.state == STATE_STOPPED:
            return super()._opens_stores()
        if not self._is_up() and self._on_loop() and not self._waits():
            # The start waits for an earlier life's end, and will add it.
            return False
        self.wait_until_started()
        return self.state != STATE_STOPPED

    def _shut_down(self, wait: bool, later: bool) -> None:
        self._call_soon(self._stop_timer)
        end = super()._shut_down
        if self._on_loop() and (self._waits() or (wait and self.running_jobs())):
            # The loop is not held up; the interpreter waits for the thread beside it.
            self._ending = self._do_beside(end, wait, later)
            self._ending.add_done_callback(self._complain)
        else:
            if self._up is not None and not _is_beside(self):
                self._up.exception()
            end(wait, later)

    def _finish(self, wait: bool = False) -> None:
        super()._finish(wait)
        # Started again while its last bodies ended, it lives on.
        if self.state == STATE_STOPPED:
            self.leave()

    def _await_idle(self, executor: BaseExecutor) -> None:
        stopped = 0.0
        while not executor.wait_until_idle(0.25):
            # A loop that has ended will not end what it was running.
            stopped = 0.0 if self._loop_runs() else stopped + 0.25
            if stopped >= STOPPED_LOOP_SECONDS:
                self._logger.error(
                    "The event loop has ended before the jobs it was running: %s",
                    ", ".join(sorted({run.job.id for run in executor.runs})),
                )
                return

    def ashutdown(self, wait: bool = True) -> Awaitable[None]:
        """Shut down like `shutdown`, but let the loop run on while bodies end."""
        return self._off_loop(self._drain_and_shut_down, wait)

    def _drain_and_shut_down(self, wait: bool) -> None:
        # Inside a body that would be to wait for oneself.
        if wait and self.state != STATE_STOPPED and current_run() is None:
            self.drain()
        self.shutdown(wait)

    def serve(self, paused: bool = False) -> None:
        """
        Start on a loop in this thread, and return when the scheduler has been shut down.

        For processes that do nothing else.
        """
        self._serving, self._cut_off = True, False
        self._run_loop(lambda: self._start_served(paused))
        if self.failure is not None:
            raise self.failure

    def _start_served(self, paused: bool) -> None:
        try:
            self.start(paused)
        except BaseException as error:  # noqa: BLE001 (raised again by `serve`)
            self._fail(error)

    def leave(self) -> None:
        """
        Have `serve` return, whatever state the scheduler is in.

        What still runs is cut off, and left to others as when a process dies.
        """
        if self._serving:
            self._serving, self._cut_off = False, True
            self._call_soon(self._stop_loop)

    def run_finished(self, run: Run, outcomes: list[Outcome]) -> None:
        if not self._cut_off:
            super().run_finished(run, outcomes)

    # Ticks.

    def wakeup(self) -> None:
        # Once for all who wake it before the loop comes to it.
        if not self._woken:
            self._woken = True
            self._call_soon(self._wake)

    def _wake(self) -> None:
        # First, for what is changed from here on the tick may not see.
        self._woken = False
        self._tick()

    def _tick(self) -> None:
        """Process jobs, here or beside the loop, and set the timer anew."""
        self._stop_timer()
        if self.state == STATE_STOPPED or self.failure is not None or not self._is_up():
            return
        if self._ticking is not None:
            self._again = True
        elif self._waits():
            self._ticking = self._do_beside(self.process_jobs)
            self._ticking.add_done_callback(
                lambda future: self._call_soon(self._ticked, future)
            )
        else:
            try:
                seconds = self.process_jobs()
            except BaseException as error:
                self._fail(error)
                raise
            self._set_timer(seconds)

    def _ticked(self, future: Future) -> None:
        if future is not self._ticking:
            # Of an earlier life, on a loop that is no more.
            return
        self._ticking = None
        again, self._again = self._again, False
        error = future.exception()
        if error is not None:
            self._fail(error)
        elif self.state != STATE_STOPPED:
            self._set_timer(0.0 if again else future.result())

    def _fail(self, error: BaseException) -> None:
        # Whoever supervises the process must be able to tell a scheduler that died
        # from one that has nothing to do.
        self.failure = error
        self._logger.critical("The scheduler's loop ended", exc_info=error)
        self.leave()

    def _set_timer(self, seconds: float | None) -> None:
        self._stop_timer()
        if seconds is not None:
            seconds = min(max(seconds, 0.0), clock.LONGEST_WAIT_SECONDS)
            self._timer = self._call_later(seconds, self._tick)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            self._cancel_timer(timer)

    # Beside the loop.

    @property
    def lead(self) -> timedelta:  # type: ignore[override]
        if self._waits():
            return AWAKENING
        executors = tuple(self._executors.values())
        if all(getattr(executor, "waits_for_time", False) for executor in executors):
            return LOOP_AWAKENING
        return timedelta(0)

    def _wait_for_time(self, run: Run, ahead: float) -> None:
        if self._on_loop():
            run.early = True
        else:
            super()._wait_for_time(run, ahead)

    def _waits(self) -> bool:
        """Tell whether job stores wait for a disk or a network."""
        stores = tuple(self._jobstores.values())
        return any(getattr(store, "blocking", False) for store in stores)

    def _do_beside(self, func: Callable, *args: Any) -> Future:
        """Call ``func`` on the thread beside the loop, after what it has to do already."""
        if self._beside is None:
            self._beside = self._make_threads(1, "apscheduler-store")
        return self._beside.submit(_call_marked, self, func, args)

    def _complain(self, future: Future) -> None:
        error = future.exception()
        if error is not None:
            self._logger.error("What was done beside the loop failed", exc_info=error)

    def _off_loop(self, func: Callable, /, *args: Any, **kwargs: Any) -> Awaitable[Any]:
        # Threads of our own: those of the loop may all be busy with bodies.
        if self._calls is None:
            self._calls = self._make_threads(CALL_THREADS, "apscheduler-call")
        call = contextvars.copy_context().run
        future = self._calls.submit(call, call_between_hooks, func, *args, **kwargs)
        return self._awaitable(future)

    def _dispatch_event(self, event: SchedulerEvent) -> None:
        # Listeners may use the same database as the job stores.
        if (
            (self._listeners or events.has_hooks())
            and self._waits()
            and self._on_loop()
        ):
            done = self._do_beside(super()._dispatch_event, event)
            done.add_done_callback(self._complain)
        else:
            super()._dispatch_event(event)


#: Which scheduler's work beside its loop the current thread is doing.
_working = threading.local()


def _pass_on(done: Future, up: Future) -> None:
    error = done.exception()
    if error is None:
        up.set_result(None)
    else:
        up.set_exception(error)


def _is_beside(scheduler: LoopScheduler) -> bool:
    return getattr(_working, "scheduler", None) is scheduler


def _call_marked(scheduler: LoopScheduler, func: Callable, args: tuple) -> Any:
    _working.scheduler = scheduler
    try:
        return func(*args)
    finally:
        _working.scheduler = None
