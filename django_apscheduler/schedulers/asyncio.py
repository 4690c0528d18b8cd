"""The scheduler that runs on an asyncio event loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django_apscheduler import clock
from django_apscheduler.executors.asyncio import AsyncIOExecutor
from django_apscheduler.schedulers import SchedulerAlreadyRunningError
from django_apscheduler.schedulers.base import STATE_STOPPED, BaseScheduler


class AsyncIOScheduler(BaseScheduler):
    """
    A scheduler for applications that use asyncio; its default executor awaits bodies.

    `start` must be called on the event loop, unless ``event_loop`` is given. Job stores
    that wait for a database are called on a thread beside the loop; use the methods
    that begin with ``a`` (``await scheduler.aadd_job(…)``) with them.

    :param event_loop: the loop to run on, the running one when None
    """

    _eventloop: asyncio.AbstractEventLoop | None = None
    _timer: asyncio.TimerHandle | None = None
    _thread: ThreadPoolExecutor | None = None
    _ticking: Any = None
    _again = False

    def _configure(self, config: dict[str, Any]) -> None:
        self._given_loop = config.pop("event_loop", None)
        super()._configure(config)

    def _create_default_executor(self) -> AsyncIOExecutor:
        return AsyncIOExecutor()

    def start(self, paused: bool = False) -> None:
        if self.state != STATE_STOPPED:
            raise SchedulerAlreadyRunningError
        self._eventloop = self._given_loop or self._running_loop()
        self._check_uwsgi()
        self._prepare()
        if any(getattr(store, "blocking", False) for store in self._jobstores.values()):
            self._thread = ThreadPoolExecutor(1, "apscheduler-store")
            self._thread.submit(self._start_on_thread, paused)
        else:
            self._start_parts()
            self._started(paused)

    @staticmethod
    def _running_loop() -> asyncio.AbstractEventLoop:
        try:
            return asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                "AsyncIOScheduler.start() must be called on a running event loop, from "
                "a coroutine or callback; or give the loop as event_loop="
            ) from None

    def _start_on_thread(self, paused: bool) -> None:
        try:
            self._start_parts()
            self._started(paused)
        except BaseException as error:
            self.failure = error
            self._logger.critical("The scheduler could not start", exc_info=True)

    def shutdown(self, wait: bool = True) -> None:
        loop = self._eventloop
        super().shutdown(wait)
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._stop_timer)
        if self._thread is not None:
            self._thread.shutdown(wait=False)
            self._thread = None

    async def ashutdown(self, wait: bool = True) -> None:
        """Shut down like `shutdown`, but let the loop run on while bodies end."""
        if wait and self.state != STATE_STOPPED:
            await self._off_loop(self.drain)
        await self._off_loop(self.shutdown, wait)

    def wakeup(self) -> None:
        loop = self._eventloop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._tick)

    def _tick(self) -> None:
        """Process jobs, here or on the stores' thread, and set the timer anew."""
        self._stop_timer()
        if self.state == STATE_STOPPED:
            return
        if self._thread is None:
            self._set_timer(self.process_jobs())
        elif self._ticking is not None:
            self._again = True
        else:
            self._ticking = self._thread.submit(self.process_jobs)
            self._ticking.add_done_callback(self._ticked)

    def _ticked(self, future: Any) -> None:
        loop = self._eventloop
        assert loop is not None
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._after_tick, future)

    def _after_tick(self, future: Any) -> None:
        self._ticking = None
        again, self._again = self._again, False
        if self.state == STATE_STOPPED or future.cancelled():
            return
        self._set_timer(0.0 if again else future.result())

    def _set_timer(self, seconds: float | None) -> None:
        self._stop_timer()
        if seconds is not None and self._eventloop is not None:
            seconds = min(seconds, clock.LONGEST_WAIT_SECONDS)
            self._timer = self._eventloop.call_later(seconds, self._tick)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
