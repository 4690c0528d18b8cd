"""The scheduler that runs on a Tornado application's event loop."""

from __future__ import annotations

import threading
from typing import Any

from django_apscheduler.executors.tornado import TornadoExecutor
from django_apscheduler.schedulers.asyncio import AsyncIOScheduler
from django_apscheduler.util import missing

try:
    from tornado.ioloop import IOLoop
except ImportError as error:
    raise missing("tornado", "tornado") from error


class TornadoScheduler(AsyncIOScheduler):
    """
    A scheduler for Tornado applications; its default executor awaits coroutines.

    Tornado's loop is asyncio's, so everything else is as in `AsyncIOScheduler`.

    :param io_loop: the loop to run on, the current one when None
    """

    _ioloop: Any = None

    def _configure(self, config: dict[str, Any]) -> None:
        self._given_ioloop = config.pop("io_loop", None)
        super()._configure(config)

    def _create_default_executor(self) -> Any:
        return TornadoExecutor()

    def _find_loop(self) -> None:
        self._ioloop = self._given_ioloop or self._current()
        self._eventloop = self._ioloop.asyncio_loop

    def _current(self) -> IOLoop:
        # The main thread's is made if need be: programs start their scheduler, then it.
        main = threading.current_thread() is threading.main_thread()
        loop = IOLoop.current(instance=main or self._on_loop())
        if loop is None:
            raise RuntimeError(
                "TornadoScheduler.start() must be called on the thread of Tornado's "
                "event loop; or give the loop as io_loop="
            )
        return loop
