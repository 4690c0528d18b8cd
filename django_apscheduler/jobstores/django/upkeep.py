"""The housekeeping of a running scheduler: sums for charts, and retention."""

from __future__ import annotations

import logging
import threading
from contextlib import closing
from typing import TYPE_CHECKING

from django_apscheduler import housekeeping
from django_apscheduler.connections import clean

if TYPE_CHECKING:
    from django_apscheduler.jobstores.django.store import DjangoJobStore

logger = logging.getLogger(__name__)

#: Seconds between looks at what is due, and before the first.
UPKEEP_SECONDS = 60.0
#: Seconds between two steps, for whoever else wants to write.
STEP_SECONDS = 0.02
#: Seconds for which a scheduler that stops waits for the step that is just being done.
LAST_STEP_SECONDS = 10.0


class Upkeep:
    """
    A thread that does what is due, a step at a time; of all schedulers one at a time.

    Its connection is an ordinary one of its thread's: to look through a long log may take
    longer than the engine's own connections wait for an answer.
    """

    def __init__(self, store: DjangoJobStore):
        self._store = store
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._work, name=f"apscheduler-upkeep-{store.alias}", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not threading.current_thread():
            self._thread.join(LAST_STEP_SECONDS)

    def _work(self) -> None:
        while not self._stop.wait(UPKEEP_SECONDS):
            try:
                with clean(), self._store.aside():
                    self._keep_house()
            except Exception:
                logger.exception("Housekeeping failed; it is tried again")

    def _keep_house(self) -> None:
        retention = self._store.retention
        if retention is None:
            return
        with closing(housekeeping.work(self._store.using, retention)) as steps:
            for _ in steps:
                if self._stop.wait(STEP_SECONDS):
                    return
