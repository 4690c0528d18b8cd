"""The scheduler that runs on an asyncio event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from django_apscheduler.executors.asyncio import AsyncIOExecutor
from django_apscheduler.schedulers.loop import LoopScheduler


class AsyncIOScheduler(LoopScheduler):
    """
    A scheduler for applications that use asyncio; its default executor awaits bodies.

    `start` must be called on the event loop, unless ``event_loop`` is given. Job stores
    that wait for a database are called on a thread beside the loop; use the methods
    that begin with ``a`` (``await scheduler.aadd_job(…)``) with them.

    :param event_loop: the loop to run on, the running one when None
    """

    _eventloop: asyncio.AbstractEventLoop | None = None

    def _configure(self, config: dict[str, Any]) -> None:
        self._given_loop = config.pop("event_loop", None)
        super()._configure(config)

    def _create_default_executor(self) -> Any:
        return AsyncIOExecutor()

    def _find_loop(self) -> None:
        if self._given_loop is not None:
            self._eventloop = self._given_loop
        else:
            self._eventloop = self._running_loop()

    @staticmethod
    def _running_loop() -> asyncio.AbstractEventLoop:
        try:
            return asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                "AsyncIOScheduler.start() must be called on a running event loop, from "
                "a coroutine or callback; or give the loop as event_loop="
            ) from None

    def _call_soon(self, func: Callable, *args: Any) -> None:
        loop = self._eventloop
        if loop is not None and not loop.is_closed():
            try:
                loop.call_soon_threadsafe(func, *args)
            except RuntimeError:
                # Closed meanwhile by its own thread; any other error is to be seen.
                if not loop.is_closed():
                    raise

    def _call_later(self, seconds: float, func: Callable[[], None]) -> Any:
        assert self._eventloop is not None
        return self._eventloop.call_later(seconds, func)

    def _cancel_timer(self, timer: Any) -> None:
        timer.cancel()

    def _loop_runs(self) -> bool:
        return self._eventloop is not None and self._eventloop.is_running()

    def _awaitable(self, future: Future) -> Any:
        return asyncio.wrap_future(future)

    def _run_loop(self, begin: Callable[[], None]) -> None:
        async def main() -> None:
            self._left = asyncio.Event()
            begin()
            await self._left.wait()

        asyncio.run(main())

    def _stop_loop(self) -> None:
        self._left.set()
