"""The scheduler that runs in the thread that starts it."""

from __future__ import annotations

import threading
from typing import Any

from django_apscheduler import clock
from django_apscheduler.schedulers.base import STATE_STOPPED, BaseScheduler


class BlockingScheduler(BaseScheduler):
    """
    A scheduler whose `start` returns only when it has been shut down.

    For processes that do nothing else.
    """

    def __init__(self, *args: Any, **options: Any):
        self._event = threading.Event()
        super().__init__(*args, **options)

    def start(self, paused: bool = False) -> None:
        super().start(paused)
        self._main_loop()

    def wakeup(self) -> None:
        self._event.set()

    def disown(self) -> None:
        super().disown()
        # The loop that waited for it may have held its lock.
        self._event = threading.Event()

    def _main_loop(self) -> None:
        try:
            while self.state != STATE_STOPPED:
                self._event.clear()
                clock.wait(self._event, self.process_jobs())
        except BaseException as error:
            # Whoever supervises the process must be able to tell a loop that died
            # from one that was shut down.
            self.failure = error
            self._logger.critical("The scheduler's loop ended", exc_info=True)
            raise
