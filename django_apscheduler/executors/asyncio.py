"""The executor that runs ``async def`` bodies on an asyncio event loop."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from django_apscheduler.executors.base import (
    BaseExecutor,
    failed,
    run_coroutine_job,
    run_job,
)
from django_apscheduler.jobstores.base import Outcome, Run
from django_apscheduler.util import iscoroutinefunction


class AsyncIOExecutor(BaseExecutor):
    """
    Awaits ``async def`` bodies on an event loop; plain ones run in threads beside it.

    The loop is the scheduler's, if it runs on one; else the executor keeps a loop on a
    thread of its own, so it also serves the background and blocking schedulers.

    Plugin alias: ``asyncio``

    :param max_workers: the largest number of bodies going on at once
    """

    looks_ahead = False

    def __init__(self, max_workers: int = 500):
        self.max_workers = int(max_workers)
        super().__init__()

    def start(self, scheduler: Any, alias: str) -> None:
        super().start(scheduler, alias)
        self._tasks: set[asyncio.Task] = set()
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

    def submit(self, run: Run) -> None:
        self._loop.call_soon_threadsafe(self._spawn, run)

    def _spawn(self, run: Run) -> None:
        task = self._loop.create_task(self._run(run))
        # The loop itself keeps only weak references to its tasks.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, run: Run) -> None:
        outcomes: list[Outcome] = []
        try:
            # A store with a log may have to ask its database.
            if run.execution_ids is None:
                ours = True
            else:
                ours = await asyncio.to_thread(self.begin, run)
            if ours and iscoroutinefunction(run.job.func):
                outcomes = await run_coroutine_job(run)
            elif ours:
                outcomes = await asyncio.to_thread(run_job, run)
        except BaseException as error:  # noqa: BLE001 (cancelled before the body began)
            outcomes = [failed(run, i, error) for i in range(len(run.run_times))]
        self.finished(run, outcomes)

    def shutdown(self, wait: bool = True) -> None:
        if self._thread is not None:
            if wait and threading.current_thread() is not self._thread:
                self.wait_until_idle()
            self._loop.call_soon_threadsafe(self._stop_own_loop)
            if wait and threading.current_thread() is not self._thread:
                self._thread.join()
        elif not self._loop.is_closed():
            # The scheduler's loop cannot be waited for from within itself; who wants to
            # wait awaits scheduler.ashutdown(), which comes here when all is done.
            self._loop.call_soon_threadsafe(self._cancel_all)

    def _cancel_all(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()

    def _stop_own_loop(self) -> None:
        self._cancel_all()

        async def stop() -> None:
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._loop.stop()

        self._stopper = self._loop.create_task(stop())
