"""The executor that runs ``async def`` bodies on an asyncio event loop."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from django_apscheduler import clock
from django_apscheduler.executors.base import BaseExecutor, await_body, failed
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
        self._tasks: dict[Run, asyncio.Task] = {}
        self._awaiting: set[Run] = set()
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
        if not iscoroutinefunction(run.job.func):
            self._loop.run_in_executor(None, self.work, run)
            return
        task = self._loop.create_task(self._run(run))
        # The loop itself keeps only weak references to its tasks.
        self._tasks[run] = task
        task.add_done_callback(lambda _: self._tasks.pop(run))

    async def _run(self, run: Run) -> None:
        outcomes: list[Outcome] = []
        last = len(run.run_times) - 1
        try:
            for index in range(last + 1):
                run.index = index
                if index not in run.cancelled and not await self._begin(run):
                    break
                if index in run.cancelled:
                    self._tell_cancelled(run, index)
                    continue
                outcomes.append(await self._await_body(run, index))
                if index < last:
                    self._scheduler.run_finished(run, [outcomes.pop()])
        except BaseException as error:  # noqa: BLE001 (cancelled before the body began)
            rest = range(max(run.index, 0), last + 1)
            outcomes = [failed(run, i, error) for i in rest if i not in run.told]
        self.finished(run, outcomes)

    async def _begin(self, run: Run) -> bool:
        """Await `begin`, in a thread where a store may have to ask its database."""
        if run.execution_ids is None:
            return True
        while await asyncio.to_thread(self.begin, run):
            # Other tasks may have held the loop for long before it came back to us.
            if clock.monotonic() < run.start_before:
                return True
        return False

    async def _await_body(self, run: Run, index: int) -> Outcome:
        self._awaiting.add(run)
        try:
            return await await_body(run, index)
        finally:
            self._awaiting.discard(run)
            if index in run.cancelled:
                self._forget_cancel()

    @staticmethod
    def _forget_cancel() -> None:
        """Have the task not count as cancelled for the run times that follow."""
        uncancel = getattr(asyncio.current_task(), "uncancel", None)
        # New in Python 3.11, and before it nothing was counted.
        if uncancel is not None:
            uncancel()

    def interrupt(self, run: Run, index: int) -> None:
        self._loop.call_soon_threadsafe(self._cancel_body, run, index)

    def _cancel_body(self, run: Run, index: int) -> None:
        # A plain function runs in a thread, which only looks at the flag.
        if run in self._awaiting and run.index == index:
            self._tasks[run].cancel()

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
        for task in tuple(self._tasks.values()):
            task.cancel()

    def _stop_own_loop(self) -> None:
        self._cancel_all()

        async def stop() -> None:
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            self._loop.stop()

        self._stopper = self._loop.create_task(stop())
