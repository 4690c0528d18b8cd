"""
What differs in a process that gevent has patched, as gunicorn's gevent workers are.

All of the threads that Python knows of are greenlets there, of one real thread, and the
locks between them are gevent's. So the engine runs as it is, in greenlets. Two things
need care: calls that wait without gevent's knowledge, as those of most database drivers
do, stop everything else; and asyncio believes that a thread runs one event loop at most.

Real threads are given nothing here but single calls of drivers: gevent's locks (every
logging handler has one) do not hold between greenlets and other real threads, and who
waits for one may wait for ever.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Callable, Coroutine
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

#: Calls that may wait for a database at once, of all stores of the process.
WAITING_THREADS = 32


def gevent_patched() -> bool:
    """Tell whether this process's threads are gevent's greenlets."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and monkey.is_module_patched("threading")


def real_thread_id() -> int:
    """Return the operating system thread's identity, whatever has been patched."""
    return _original_get_ident()()


@lru_cache(maxsize=1)
def _original_get_ident() -> Callable[[], int]:
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None:
        from _thread import get_ident

        return get_ident
    return monkey.get_original("_thread", "get_ident")


def start_real_thread(target: Callable[[], None]) -> None:
    """
    Run ``target`` in a real thread, which does not keep the process from ending.

    It must use no lock that a greenlet may hold: it must not log, nor import.
    """
    from gevent import monkey

    monkey.get_original("_thread", "start_new_thread")(target, ())


_pools: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
_beside: set[int] = set()


def off_hub(func: Callable, *args: Any) -> Any:
    """
    Return what ``func`` returns, called in a real thread where greenlets would wait.

    For calls of drivers that gevent cannot interrupt; meanwhile other greenlets run.
    """
    if not gevent_patched() or real_thread_id() in _beside:
        return func(*args)
    from gevent import get_hub
    from gevent.threadpool import ThreadPool

    hub = get_hub()
    pool = _pools.get(hub)
    if pool is None:
        pool = _pools[hub] = ThreadPool(WAITING_THREADS, hub)
    result = pool.spawn(_call_beside, func, args)
    try:
        return result.get()
    except BaseException:
        while not result.ready():
            # This greenlet was killed, or ran out of time. What the call works on, a
            # connection, must be nobody else's until it has returned.
            _wait_quietly(result)
        raise


def _wait_quietly(result: Any) -> None:
    try:
        result.wait()
    except BaseException:  # noqa: BLE001 (the first reason to end is raised already)
        pass


def _call_beside(func: Callable, args: tuple) -> Any:
    ident = real_thread_id()
    _beside.add(ident)
    try:
        return func(*args)
    finally:
        _beside.discard(ident)


# asyncio.


def run_coroutine(coroutine: Coroutine) -> Any:
    """Run ``coroutine`` to its end on an event loop of its own and return its value."""
    return call_with_loop(asyncio.run, coroutine)


def call_with_loop(func: Callable, *args: Any) -> Any:
    """
    Return what ``func`` returns, which runs an event loop in the calling thread.

    asyncio notes by thread which loop is running. All greenlets of a patched process
    are in one: others could run no loop of theirs meanwhile, and Django would refuse
    them its database. So they get to see it only while it has its turn.
    """
    if not gevent_patched():
        return func(*args)
    outcome: list[tuple[Any, BaseException | None]] = []
    call = contextvars.copy_context().run
    greenlet = _loop_greenlet_class()(call, _call_quietly, outcome, func, args)
    greenlet.start()
    try:
        greenlet.join()
    except BaseException as error:
        # Somebody ends this greenlet; the loop has to end its tasks first.
        greenlet.kill(error)
        raise
    value, failure = outcome[0]
    if failure is not None:
        raise failure
    return value


def _call_quietly(outcome: list, func: Callable, args: tuple) -> None:
    try:
        outcome.append((func(*args), None))
    except BaseException as error:  # noqa: BLE001 (raised again by who waits)
        outcome.append((None, error))


@lru_cache
def _loop_greenlet_class() -> type:
    import gevent

    class LoopGreenlet(gevent.Greenlet):
        #: The running loop, and the thread's hooks of asynchronous generators.
        _state: tuple = (None, (None, None))

        def switch(self, *args: Any) -> Any:
            self._show()
            return super().switch(*args)

        def throw(self, *args: Any) -> Any:
            self._show()
            return super().throw(*args)

        def switch_out(self) -> None:
            """Called by gevent when this greenlet lets others have their turn."""
            self._state = asyncio._get_running_loop(), sys.get_asyncgen_hooks()
            asyncio._set_running_loop(None)
            sys.set_asyncgen_hooks(None, None)

        def _show(self) -> None:
            loop, hooks = self._state
            asyncio._set_running_loop(loop)
            sys.set_asyncgen_hooks(*hooks)

    return LoopGreenlet
