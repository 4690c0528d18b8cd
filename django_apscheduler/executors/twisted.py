"""The executor that runs bodies on Twisted's reactor, and in its thread pool."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from django_apscheduler.executors.base import (
    RunCancelled,
    call_between_hooks,
    run_body,
    valid_workers,
)
from django_apscheduler.executors.loop import LoopExecutor
from django_apscheduler.jobstores.base import Outcome, Run
from django_apscheduler.util import missing

try:
    from twisted.internet.defer import CancelledError, Deferred
    from twisted.internet.task import deferLater
    from twisted.python.failure import Failure
    from twisted.python.threadable import isInIOThread
except ImportError as error:
    raise missing("twisted", "twisted") from error

#: Threads that ask the job store whether a body may begin, and load its arguments.
ASKING_THREADS = 4
#: Seconds between looks at whether the reactor, on which a thread waits, has stopped.
LOOK_SECONDS = 0.25


class TwistedExecutor(LoopExecutor):
    """
    Runs coroutines on the reactor, and other functions in the reactor's thread pool.

    On the reactor run ``async def`` bodies and those decorated with
    ``@inlineCallbacks``. They may await Deferreds; when the reactor is asyncio's, also
    what asyncio awaits. The Deferred that any other function returns is waited for.

    Plugin alias: ``twisted``

    :param max_workers: the largest number of bodies going on at once; as many as the
        reactor's pool has threads when None
    """

    def __init__(self, max_workers: int | None = None):
        self._given_workers = (
            None if max_workers is None else valid_workers(max_workers)
        )
        if self._given_workers is not None:
            self.max_workers = self._given_workers
        super().__init__()

    def start(self, scheduler: Any, alias: str) -> None:
        super().start(scheduler, alias)
        self._reactor = getattr(scheduler, "_reactor", None) or installed_reactor()
        self._pool = self._reactor.getThreadPool()
        if self._given_workers is None:
            self.max_workers = self._pool.max
        self._asking = ThreadPoolExecutor(ASKING_THREADS, f"apscheduler-{alias}-begin")
        self._closing = threading.Event()
        # Threads of the pool must not wait for a reactor that waits for them to end.
        self._trigger = self._reactor.addSystemEventTrigger(
            "before", "shutdown", self._closing.set
        )

    def _reset(self) -> None:
        super()._reset()
        #: Deferreds for which threads wait.
        self._deferreds: dict[Run, Deferred] = {}

    def _call_soon(self, func: Callable, *args: Any) -> None:
        self._reactor.callFromThread(func, *args)

    def _awaits(self, func: Callable) -> bool:
        return super()._awaits(func) or is_inline_callbacks(func)

    def _spawn(self, run: Run, coroutine: Coroutine) -> Any:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            # Deferred.fromCoroutine would run it in the reactor's own context.
            context = contextvars.copy_context()
            return context.run(Deferred.fromCoroutine, coroutine)
        task = loop.create_task(awaiting_deferreds(coroutine))
        self._watch(run, task)
        return task

    def _in_thread(self, func: Callable, *args: Any) -> Awaitable[Any]:
        call = contextvars.copy_context().run
        future = self._asking.submit(call, call_between_hooks, func, *args)
        return awaitable(self._reactor, future)

    def _sleep(self, seconds: float) -> Awaitable[Any]:
        if _current_task() is not None:
            return asyncio.sleep(seconds)
        return deferLater(self._reactor, seconds)

    def _queue(self, func: Callable, *args: Any) -> None:
        self._pool.callInThread(func, *args)

    def work(
        self, run: Run, call: Callable[[Run, int], Outcome | None] = run_body
    ) -> None:
        super().work(run, partial(run_body, finish=partial(self._wait_for, run)))

    async def _call(self, run: Run, args: Any, kwargs: Any) -> Any:
        try:
            return await run.job.func(*args, **kwargs)
        except CancelledError as error:
            if run.index not in run.cancelled:
                raise
            raise RunCancelled("the run was cancelled") from error
        except RuntimeError as error:
            if str(error) != "no running event loop":
                raise
            raise RuntimeError(
                f"{run.job.name} awaits something of asyncio's, which this reactor does "
                "not run: install twisted.internet.asyncioreactor before the first "
                "import of the reactor, or give the job a thread pool executor"
            ) from error

    def _forget_cancel(self) -> None:
        task = _current_task()
        uncancel = getattr(task, "uncancel", None)
        # New in Python 3.11, and before it nothing was counted.
        if uncancel is not None:
            uncancel()

    def _wait_for(self, run: Run, value: Any) -> Any:
        """Return what a body answered; for a Deferred, in a thread, what it fires with."""
        if not isinstance(value, Deferred):
            return value
        results: list[Any] = []
        fired = threading.Event()

        def take(result: Any) -> None:
            results.append(result)
            fired.set()

        self._deferreds[run] = value
        try:
            self._call_soon(value.addBoth, take)
            if run.index in run.cancelled:
                self._call_soon(value.cancel)
            while not fired.wait(LOOK_SECONDS):
                if self._closing.is_set():
                    raise RuntimeError("the reactor stopped before the Deferred fired")
        finally:
            del self._deferreds[run]
        (result,) = results
        if not isinstance(result, Failure):
            return result
        if result.check(CancelledError) and run.index in run.cancelled:
            raise RunCancelled("the run was cancelled") from result.value
        raise result.value  # type: ignore[misc]

    def _cancel_body(self, run: Run, index: int) -> None:
        super()._cancel_body(run, index)
        deferred = self._deferreds.get(run)
        if deferred is not None and run.index == index:
            deferred.cancel()

    def _may_wait(self) -> bool:
        return self._reactor.running and not isInIOThread()

    def shutdown(self, wait: bool = True) -> None:
        super().shutdown(wait)
        self._call_soon(self._forget_trigger)
        self._asking.shutdown(wait=False)

    def _forget_trigger(self) -> None:
        trigger, self._trigger = self._trigger, None
        if trigger is not None and not self._closing.is_set():
            self._reactor.removeSystemEventTrigger(trigger)


def installed_reactor() -> Any:
    """Return the reactor; as importing it installs one, not before it is needed."""
    from twisted.internet import reactor

    return reactor


def is_inline_callbacks(func: Any) -> bool:
    """Tell whether a function is decorated with ``@inlineCallbacks``."""
    while isinstance(func, partial):
        func = func.func
    if inspect.isgeneratorfunction(func):
        return False
    inner = getattr(func, "__wrapped__", None)
    return inner is not None and inspect.isgeneratorfunction(inspect.unwrap(inner))


def awaitable(reactor: Any, future: Future) -> Any:
    """Return what code on the reactor, or a task of asyncio's on it, can await."""
    if _current_task() is not None:
        return asyncio.wrap_future(future)
    deferred: Deferred[Any] = Deferred(lambda _: None)

    def fire() -> None:
        if deferred.called:
            # Cancelled meanwhile.
            return
        error = future.exception()
        if error is None:
            deferred.callback(future.result())
        else:
            deferred.errback(Failure(error))

    future.add_done_callback(lambda _: reactor.callFromThread(fire))
    return deferred


def _current_task() -> asyncio.Task | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


async def awaiting_deferreds(coroutine: Coroutine) -> Any:
    """Run a coroutine as a task of asyncio's that may await Deferreds as well."""
    return await _steps(coroutine)


@types.coroutine
def _steps(coroutine: Coroutine) -> Generator[Any, Any, Any]:
    step: Callable[[Any], Any] = coroutine.send
    value: Any = None
    while True:
        try:
            awaited = step(value)
        except StopIteration as done:
            return done.value
        step, value = coroutine.send, None
        try:
            if isinstance(awaited, Deferred):
                yield from _fired(awaited)
            else:
                value = yield awaited
        except GeneratorExit:
            coroutine.close()
            raise
        except BaseException as error:  # noqa: BLE001 (the coroutine is to have it)
            if isinstance(awaited, Deferred):
                awaited.cancel()
            step, value = coroutine.throw, error


def _fired(deferred: Deferred) -> asyncio.Future:
    """Return a future for when a Deferred has its result, which it keeps."""
    future = asyncio.get_running_loop().create_future()

    def note(result: Any) -> Any:
        if not future.done():
            future.set_result(None)
        return result

    deferred.addBoth(note)
    return future
