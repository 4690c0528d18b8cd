"""The scheduler that runs in the thread that starts it."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

from django_apscheduler import clock
from django_apscheduler.schedulers.base import STATE_STOPPED, BaseScheduler


class BlockingScheduler(BaseScheduler):
    """
    A scheduler whose `start` returns only when it has been shut down.

    For processes that do nothing else.
    """

    # To wake up and to claim takes some tenths of a millisecond, but at times two.
    lead = timedelta(milliseconds=2)

    def __init__(self, *args: Any, **options: Any):
        self._event = threading.Event()
        self._left = False
        super().__init__(*args, **options)

    def start(self, paused: bool = False) -> None:
        self._left = False
        super().start(paused)
        self._main_loop()

    def leave(self) -> None:
        """Have `start` return, whatever state the scheduler is in."""
        self._left = True
        self._event.set()

    def wakeup(self) -> None:
        self._event.set()

    def disown(self) -> None:
        super().disown()
        # The loop that waited for it may have held its lock.
        self._event = threading.Event()

    def _main_loop(self) -> None:
        try:
            while True:
                # Before the look at the state, for whoever changes that then sets it.
                self._event.clear()
                if self.state == STATE_STOPPED or self._left:
                    return
                clock.wait(self._event, self.process_jobs())
        except BaseException as error:
            # Whoever supervises the process must be able to tell a loop that died
            # from one that was shut down.
            self.failure = error
            self._logger.critical("The scheduler's loop ended", exc_info=True)
            raise
