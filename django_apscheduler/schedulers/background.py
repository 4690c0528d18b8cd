"""The scheduler that runs in a thread of its own."""

from __future__ import annotations

import threading
from typing import Any

from django_apscheduler.schedulers.base import BaseScheduler
from django_apscheduler.schedulers.blocking import BlockingScheduler
from django_apscheduler.util import asbool


class BackgroundScheduler(BlockingScheduler):
    """
    A scheduler that runs in the background of the application; `start` returns at once.

    :param daemon: whether the process may end while the scheduler is running
    """

    _thread: threading.Thread | None = None

    def _configure(self, config: dict[str, Any]) -> None:
        self._daemon = asbool(config.pop("daemon", True))
        super()._configure(config)

    def start(self, paused: bool = False) -> None:
        BaseScheduler.start(self, paused)
        self._thread = threading.Thread(
            target=self._main_loop, name="APScheduler", daemon=self._daemon
        )
        self._thread.start()

    def shutdown(self, wait: bool = True) -> None:
        super().shutdown(wait)
        thread, self._thread = self._thread, None
        # A listener or a debug body may call this on the loop's own thread.
        if wait and thread is not None and thread is not threading.current_thread():
            thread.join()
