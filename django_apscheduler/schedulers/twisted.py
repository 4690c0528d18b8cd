"""The scheduler that runs on Twisted's reactor."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from django_apscheduler.executors.twisted import (
    TwistedExecutor,
    awaitable,
    installed_reactor,
)
from django_apscheduler.schedulers.loop import LoopScheduler
from django_apscheduler.util import missing

try:
    from twisted.python.threadable import isInIOThread
except ImportError as error:
    raise missing("twisted", "twisted") from error


class TwistedScheduler(LoopScheduler):
    """
    A scheduler for Twisted applications; its default executor is `TwistedExecutor`.

    It may be started before the reactor runs. The methods that begin with ``a`` return
    Deferreds, for ``await`` and ``yield`` alike; in a task of asyncio's, futures.

    :param reactor: the reactor to run on, the installed one when None
    """

    _reactor: Any = None

    def _configure(self, config: dict[str, Any]) -> None:
        self._given_reactor = config.pop("reactor", None)
        super()._configure(config)

    def _create_default_executor(self) -> Any:
        return TwistedExecutor()

    def _find_loop(self) -> None:
        self._reactor = self._given_reactor or installed_reactor()

    def _call_soon(self, func: Callable, *args: Any) -> None:
        if self._reactor is not None:
            self._reactor.callFromThread(func, *args)

    def _call_later(self, seconds: float, func: Callable[[], None]) -> Any:
        return self._reactor.callLater(seconds, func)

    def _cancel_timer(self, timer: Any) -> None:
        if timer.active():
            timer.cancel()

    def _on_loop(self) -> bool:
        # Before the reactor runs nobody minds a thread that waits.
        return super()._on_loop() or (self._loop_runs() and isInIOThread())

    def _loop_runs(self) -> bool:
        return self._reactor is not None and self._reactor.running

    def _awaitable(self, future: Future) -> Any:
        return awaitable(
            self._reactor or self._given_reactor or installed_reactor(), future
        )

    def _run_loop(self, begin: Callable[[], None]) -> None:
        if (
            self._given_reactor is None
            and "twisted.internet.reactor" not in sys.modules
        ):
            # The one that runs bodies which await something of asyncio's as well.
            from twisted.internet import asyncioreactor

            asyncioreactor.install()
        self._find_loop()
        self._reactor.callWhenRunning(begin)
        self._reactor.run(installSignalHandlers=False)

    def _stop_loop(self) -> None:
        if self._reactor.running:
            self._reactor.stop()
