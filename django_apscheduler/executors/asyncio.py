"""The executor that runs ``async def`` bodies on an asyncio event loop."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django_apscheduler.executors.base import call_between_hooks, valid_workers
from django_apscheduler.executors.loop import LoopExecutor
from django_apscheduler.jobstores.base import Run

#: Threads for plain functions, at most; more of them wait for one.
MOST_THREADS = 32
#: Threads that ask the job store whether a body may begin, and load its arguments.
ASKING_THREADS = 4


class AsyncIOExecutor(LoopExecutor):
    """
    Awaits ``async def`` bodies on an event loop; plain ones run in threads beside it.

    The loop is the scheduler's, if it runs on one; else the executor keeps a loop on a
    thread of its own, so it also serves the background and blocking schedulers.

    Plugin alias: ``asyncio``

    :param max_workers: the largest number of bodies going on at once; of plain functions
        no more than 32
    """

    def __init__(self, max_workers: int = 500):
        self.max_workers = valid_workers(max_workers)
        super().__init__()

    def start(self, scheduler: Any, alias: str) -> None:
        super().start(scheduler, alias)
        workers = min(self.max_workers, MOST_THREADS)
        self._threads = ThreadPoolExecutor(workers, f"apscheduler-{alias}")
        self._asking = ThreadPoolExecutor(ASKING_THREADS, f"apscheduler-{alias}-begin")
        self._thread: threading.Thread | None = None
        loop = getattr(scheduler, "_eventloop", None)
        self._loop: asyncio.AbstractEventLoop = loop or asyncio.new_event_loop()
        if loop is None:
            self._thread = threading.Thread(
                target=self._run_loop, name=f"apscheduler-{alias}", daemon=True
            )
            self._thread.start()

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    def _call_soon(self, func: Callable, *args: Any) -> None:
        if _running_loop() is self._loop:
            # It need not be woken, which takes a system call each time.
            self._loop.call_soon(func, *args)
        else:
            self._loop.call_soon_threadsafe(func, *args)

    def _start_soon(self, run: Run) -> None:
        if _running_loop() is self._loop:
            # Its first step comes with the loop's next round anyway.
            self._start_run(run)
        else:
            super()._start_soon(run)

    def _spawn(self, run: Run, coroutine: Coroutine) -> asyncio.Task:
        task = self._loop.create_task(coroutine)
        self._watch(run, task)
        return task

    def _in_thread(self, func: Callable, *args: Any) -> Awaitable[Any]:
        call = contextvars.copy_context().run
        future = self._asking.submit(call, call_between_hooks, func, *args)
        return asyncio.wrap_future(future)

    def _sleep(self, seconds: float) -> Awaitable[None]:
        return asyncio.sleep(seconds)

    def _queue(self, func: Callable, *args: Any) -> None:
        self._threads.submit(func, *args)

    def _forget_cancel(self) -> None:
        uncancel = getattr(asyncio.current_task(), "uncancel", None)
        # New in Python 3.11, and before it nothing was counted.
        if uncancel is not None:
            uncancel()

    def shutdown(self, wait: bool = True) -> None:
        if self._thread is None:
            if not self._loop.is_closed():
                super().shutdown(wait)
            self._close_threads()
            return
        joins = wait and threading.current_thread() is not self._thread
        if joins:
            self.wait_until_idle()
        self._loop.call_soon_threadsafe(self._stop_own_loop)
        if joins:
            self._thread.join()

    def _close_threads(self) -> None:
        # What they are doing goes on; the interpreter waits for it.
        self._threads.shutdown(wait=False)
        self._asking.shutdown(wait=False)

    def _stop_own_loop(self) -> None:
        self._cancel_all()

        async def stop() -> None:
            tasks = [task for task in self._tasks.values() if task is not None]
            await asyncio.gather(*tasks, return_exceptions=True)
            self._close_threads()
            self._loop.stop()

        self._stopper = self._loop.create_task(stop())


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
