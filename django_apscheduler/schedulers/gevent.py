"""The scheduler for applications that use gevent."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any

from django_apscheduler.events import SchedulerEvent
from django_apscheduler.executors.gevent import GeventExecutor
from django_apscheduler.patched import gevent_patched, real_thread_id
from django_apscheduler.schedulers import STATE_STOPPED
from django_apscheduler.schedulers.loop import LoopScheduler
from django_apscheduler.util import missing

try:
    import gevent
    from gevent.event import AsyncResult, Event
except ImportError as error:
    raise missing("gevent", "gevent") from error


class GeventScheduler(LoopScheduler):
    """
    A scheduler for applications that use gevent; its default executor runs greenlets.

    Its methods may be called in any greenlet, which then waits while others go on, even
    where the job store's driver knows nothing of gevent. Only inside of a transaction
    of the caller's, which a call joins, the call waits as the transaction's own do.

    In a process that gevent has patched everything happens in greenlets. In others, what
    waits for a database happens in threads, and so do listeners if there is such a store.
    The methods that begin with ``a`` return a `gevent.event.AsyncResult`.
    """

    _hub: Any = None
    _ended: Any = None
    _greenlet: Any = None

    def _create_default_executor(self) -> GeventExecutor:
        return GeventExecutor()

    def start(self, paused: bool = False) -> gevent.Greenlet:  # type: ignore[override]
        """
        Start the scheduler on the hub of this thread, and return at once.

        :param paused: whether to wait for `resume` before any job is run
        :return: a greenlet that ends with the scheduler; to wait for, or to get the
            error from that ended it. Killing it is to shut down without waiting. It is
            the same one when the last bodies of an earlier life have not ended yet.
        :raises SchedulerAlreadyRunningError: when it is running already
        """
        super().start(paused)
        if self._has_ended():
            self._greenlet = gevent.spawn(self._live, self._ended)
            self._greenlet.rawlink(self._died)
        return self._greenlet

    def _find_loop(self) -> None:
        self._hub = gevent.get_hub()
        if self._has_ended():
            self._ended = Event()

    def _has_ended(self) -> bool:
        return self._greenlet is None or self._greenlet.ready()

    def _live(self, ended: Any) -> None:
        # A hub that waits for nothing but other threads would call that a deadlock.
        keeper = self._hub.loop.async_()
        keeper.start(lambda: None)
        try:
            while self.failure is None:
                ended.wait()
                ended.clear()
                # Set by an earlier life's end, maybe, when the next one has begun.
                if self.state == STATE_STOPPED:
                    break
        finally:
            keeper.stop()
            keeper.close()
        if self.failure is not None:
            raise self.failure

    def _died(self, greenlet: Any) -> None:
        # Killed, as one ends what runs in a greenlet; maybe before it could begin.
        if greenlet is self._greenlet and isinstance(
            greenlet.value, gevent.GreenletExit
        ):
            gevent.spawn(self._shut_down_if_running)

    def _shut_down_if_running(self) -> None:
        if self.state != STATE_STOPPED:
            self.shutdown(wait=False)

    def leave(self) -> None:
        super().leave()
        if self._ended is not None:
            self._call_soon(self._ended.set)

    # The hub.

    def _call_soon(self, func: Callable, *args: Any) -> None:
        # In a greenlet, for the hub itself must not wait, not even for a moment's lock.
        hub = self._hub
        if hub is not None and hub.loop is not None:
            hub.loop.run_callback_threadsafe(gevent.spawn, func, *args)

    def _call_later(self, seconds: float, func: Callable[[], None]) -> Any:
        timer = self._hub.loop.timer(seconds)
        timer.start(gevent.spawn, func)
        return timer

    def _cancel_timer(self, timer: Any) -> None:
        timer.stop()
        timer.close()

    def _on_loop(self) -> bool:
        # In a patched process whoever waits does so as a greenlet, which is no harm.
        hub = self._hub
        return (
            hub is not None
            and not gevent_patched()
            and hub.thread_ident == real_thread_id()
        )

    def _loop_runs(self) -> bool:
        return self._hub is not None and self._hub.loop is not None

    def _awaitable(self, future: Future) -> Any:
        result, done = AsyncResult(), self._hub.loop.async_()

        def tell() -> None:
            done.stop()
            done.close()
            error = future.exception()
            if error is None:
                result.set(future.result())
            else:
                result.set_exception(error)

        done.start(tell)
        future.add_done_callback(lambda _: done.send())
        return result

    def _run_loop(self, begin: Callable[[], None]) -> None:
        self._left = Event()
        begin()
        self._left.wait()

    def _stop_loop(self) -> None:
        self._left.set()

    def _dispatch_event(self, event: SchedulerEvent) -> None:
        if self._hub is None or gevent_patched() or self._on_loop() or self._waits():
            super()._dispatch_event(event)
        else:
            # Listeners may use gevent's events, which other threads must not touch.
            self._call_soon(super()._dispatch_event, event)

    def _await_end(self) -> None:
        while self._on_loop() and self._finisher and self._finisher.is_alive():
            # It waits for bodies, which end in greenlets of this very thread.
            gevent.sleep(0.01)
        super()._await_end()

    # Calls that wait.

    def _check_off_loop(self, store: Any, method: str) -> None:
        """Let every call through: greenlets wait for them in `_wait`."""

    def _start_beside(self) -> None:
        self._aside(super()._start_beside)

    def _ask(self, func: Callable, /, *args: Any, **kwargs: Any) -> Any:
        """Call ``func``, which waits for a database, as `_wait` does."""
        if self.state == STATE_STOPPED or not self._blocking():
            return func(*args, **kwargs)
        if gevent_patched():
            return self._aside(func, *args, **kwargs)
        return self._wait(func, *args, **kwargs)

    def _wait(self, func: Callable, /, *args: Any, **kwargs: Any) -> Any:
        """Call ``func`` so that other greenlets go on while it waits."""
        if self.state == STATE_STOPPED or not self._on_loop():
            return func(*args, **kwargs)
        if any(store.in_transaction() for store in self._blocking()):
            return func(*args, **kwargs)
        return self._off_loop(func, *args, **kwargs).get()  # type: ignore[attr-defined]

    def _aside(self, func: Callable, /, *args: Any, **kwargs: Any) -> Any:
        """Call ``func`` on connections that do not stop the hub, in a patched process."""
        with ExitStack() as stack:
            for store in self._blocking():
                stack.enter_context(store.aside())
            return func(*args, **kwargs)

    def _blocking(self) -> list[Any]:
        stores = tuple(self._jobstores.values())
        return [store for store in stores if getattr(store, "blocking", False)]


def _wrapped(name: str, around: str) -> Callable:
    base = getattr(LoopScheduler, name)

    @functools.wraps(base)
    def method(self: GeventScheduler, *args: Any, **kwargs: Any) -> Any:
        return getattr(self, around)(base, self, *args, **kwargs)

    return method


# What the job stores answer, and what is written in them.
for _name in (
    "add_job",
    "add_jobs",
    "cancel_execution",
    "export_jobs",
    "get_job",
    "get_jobs",
    "import_jobs",
    "modify_job",
    "pause_job",
    "print_jobs",
    "remove_all_jobs",
    "remove_job",
    "reschedule_job",
    "resume_job",
    "run_job_now",
):
    setattr(GeventScheduler, _name, _wrapped(_name, "_ask"))
# What waits for bodies or for connections of the stores' own. Not beside them: a body
# that is waited for may call for something else.
for _name in (
    "add_jobstore",
    "drain",
    "remove_executor",
    "remove_jobstore",
    "shutdown",
):
    setattr(GeventScheduler, _name, _wrapped(_name, "_wait"))
