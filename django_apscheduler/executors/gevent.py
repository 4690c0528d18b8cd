"""The executor that runs bodies in gevent's greenlets."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from django_apscheduler import clock
from django_apscheduler.executors import base
from django_apscheduler.executors.base import RunCancelled, run_body, valid_workers
from django_apscheduler.executors.bounded import BoundedExecutor
from django_apscheduler.jobstores.base import Outcome, Run
from django_apscheduler.patched import gevent_patched, real_thread_id
from django_apscheduler.util import iscoroutinefunction, missing

try:
    import gevent
    from gevent.event import Event
    from gevent.local import local
    from gevent.threadpool import ThreadPool
except ImportError as error:
    raise missing("gevent", "gevent") from error

#: Real threads, in a process that is not patched, for what would stop the greenlets:
#: questions to the job store and ``async def`` bodies.
THREADS = 32


class _Worker(gevent.Greenlet):
    """A greenlet that is known to run bodies; Django's side looks for that."""

    runs_bodies = True


class GeventExecutor(BoundedExecutor):
    """
    Runs bodies in greenlets, one for each that is under way.

    A greenlet that is done takes what waits for it, but not for long, so that others have
    their turn. They belong to the hub of the scheduler, if that is a `GeventScheduler` or
    the process is patched; else the executor keeps a hub on a thread of its own.

    An ``async def`` body runs on an event loop of its own: in its greenlet where the
    process is patched, else in a real thread beside the hub.

    Plugin alias: ``gevent``

    :param max_workers: the largest number of bodies going on at once; each that uses
        Django's database has a connection of its own
    """

    waits_for_time = True
    turn_seconds = 0.005
    _local = local

    def __init__(self, max_workers: int = 50):
        self.max_workers = valid_workers(max_workers)
        super().__init__()

    def start(self, scheduler: Any, alias: str) -> None:
        super().start(scheduler, alias)
        self._open = True
        self._patched = gevent_patched()
        self._bodies: dict[Run, tuple[gevent.Greenlet, int]] = {}
        self._own: threading.Thread | None = None
        self._threads: ThreadPool | None = None
        hub = getattr(scheduler, "_hub", None)
        if hub is None and not self._patched:
            hub = self._start_own_hub()
        # Not "or": a hub that has had nothing to do yet is false.
        self._hub = gevent.get_hub() if hub is None else hub

    def _start_own_hub(self) -> Any:
        started, hubs = threading.Event(), []

        def serve() -> None:
            hub = gevent.get_hub()
            self._end = Event()
            # What other threads send here must find a loop that goes round.
            keeper = hub.loop.async_()
            keeper.start(lambda: None)
            hubs.append(hub)
            started.set()
            self._end.wait()
            keeper.stop()
            keeper.close()
            hub.destroy(destroy_loop=True)

        self._own = threading.Thread(
            target=serve, name=f"apscheduler-{self._alias}", daemon=True
        )
        self._own.start()
        started.wait()
        return hubs[0]

    def _call_soon(self, func: Callable, *args: Any) -> None:
        """Have the hub call ``func``, which must not wait; from any thread."""
        self._hub.loop.run_callback_threadsafe(func, *args)

    def _on_hub(self) -> bool:
        return self._hub.thread_ident == real_thread_id()

    # Runs.

    def submit(self, run: Run) -> None:
        if not self._open:
            raise RuntimeError(f"executor {self._alias!r} has been shut down")
        super().submit(run)

    def _start(self, run: Run) -> None:
        if self._takes_next(run):
            return
        if self._on_hub():
            self._spawn(run)
        else:
            self._call_soon(self._spawn, run)

    def _spawn(self, run: Run) -> None:
        _Worker(self._work, run).start()

    def _work(self, run: Run) -> None:
        try:
            self._serve(run, self._work_one)
        finally:
            base.worker_ends()

    def _work_one(self, run: Run) -> None:
        if self._patched or not iscoroutinefunction(run.job.func):
            self.work(run, self._call)
        else:
            self._in_thread(self.work, run)

    def _call(self, run: Run, index: int) -> Outcome | None:
        self._bodies[run] = (gevent.getcurrent(), index)
        try:
            return run_body(run, index)
        finally:
            del self._bodies[run]

    def begin(self, run: Run) -> bool:
        if run.execution_ids is None:
            return True
        while self._ask_to_begin(run):
            # Other greenlets may have run for long before this one went on.
            if clock.monotonic() < run.start_before:
                return True
        return False

    def _ask_to_begin(self, run: Run) -> bool:
        # The store may have to ask its database.
        if self._patched or not self._on_hub():
            return super().begin(run)
        return self._in_thread(super().begin, run)

    def _in_thread(self, func: Callable, *args: Any) -> Any:
        """Return what ``func`` returns, called in a real thread beside the hub."""
        if self._threads is None:
            self._threads = ThreadPool(THREADS, self._hub)
        return self._threads.apply(base.call_between_hooks, (func, *args))

    def _wait_for_time(self, seconds: float) -> None:
        if self._on_hub():
            gevent.sleep(seconds)
        else:
            super()._wait_for_time(seconds)

    # Cancelling.

    def interrupt(self, run: Run, index: int) -> None:
        self._call_soon(self._interrupt, run, index)

    def _interrupt(self, run: Run, index: int) -> None:
        # On the hub itself: nothing else happens between the look and the throw.
        greenlet, running = self._bodies.get(run, (None, None))
        if greenlet is not None and running == index:
            greenlet.throw(
                RunCancelled(
                    f"the run of job {run.job.id} for {run.run_times[index]} was "
                    "cancelled"
                )
            )

    # The end.

    def wait_until_idle(self, timeout: float | None = None) -> bool:
        if self._patched or not self._on_hub():
            return super().wait_until_idle(timeout)
        until = None if timeout is None else clock.monotonic() + timeout
        while self._runs:
            if until is not None and clock.monotonic() >= until:
                return False
            gevent.sleep(0.005)
        return True

    def shutdown(self, wait: bool = True) -> None:
        self._open = False
        if wait and base.current_run() is None:
            self.wait_until_idle()
        if self._own is not None:
            self._call_soon(gevent.spawn, self._leave)
            if wait and not self._on_hub():
                self._own.join()

    def _leave(self) -> None:
        self.wait_until_idle()
        self._end.set()
