"""How a scheduler learns that somebody has edited jobs: the watching thread."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from django_apscheduler.db import PrivateConnection
from django_apscheduler.jobstores.django.listening import listen
from django_apscheduler.jobstores.django.sql import statements
from django_apscheduler.jobstores.django.sqlite import data_version
from django_apscheduler.models import SchedulerControl

if TYPE_CHECKING:
    from django_apscheduler.jobstores.django.store import DjangoJobStore

logger = logging.getLogger(__name__)

#: Seconds between looks at SQLite's counter, which costs microseconds.
SQLITE_SECONDS = 0.02
#: Seconds between looks at the edit sequence, where the database cannot tell.
SEQUENCE_SECONDS = 0.1
#: Seconds without an answer after which the connection is given up. Fewer than for the
#: others: while the watch waits, it cannot wake the scheduler for its polls.
SILENT_SECONDS = 3.0
#: Seconds after a fault before the watch begins anew.
FAULT_SECONDS = 1.0


class Watch:
    """
    A thread with a connection of its own that wakes the scheduler.

    Besides what it hears it wakes the scheduler every ``poll`` seconds, so that jobs
    changed by plain SQL are noticed too, and a watch gone deaf costs a second at most.
    """

    def __init__(self, store: DjangoJobStore):
        self._store = store
        self.connection = PrivateConnection(store.listening_alias, SILENT_SECONDS)
        self._reading = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._work, name=f"apscheduler-watch-{store.alias}", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def hold(self, seconds: float) -> bool:
        """Keep SQLite from being asked until `let_go`; tell whether that is so."""
        return self._reading.acquire(timeout=seconds)

    def let_go(self) -> None:
        """Undo `hold`."""
        self._reading.release()

    def _work(self) -> None:
        faulty = False
        while not self._stop.is_set():
            try:
                with self.connection as connection:
                    connection.ensure_connection()
                    self.connection.sign()
                    if faulty:
                        logger.info("Watching %s works again", self._store.using)
                        faulty = False
                    # What was missed while nobody watched.
                    self._store.wake()
                    self._watch(connection)
            except Exception:
                if not faulty:
                    logger.exception(
                        "Watching %s for edits fails; the scheduler looks every "
                        "%s s instead",
                        self._store.using,
                        self._store.poll,
                    )
                faulty = True
                self._store.wake()
                self._stop.wait(min(FAULT_SECONDS, self._store.poll))
        self.connection.close()

    def _watch(self, connection: Any) -> None:
        if connection.vendor == "postgresql":
            store, sign = self._store, self.connection.sign
            listen(
                connection,
                self._stop,
                store.poll,
                store.wake,
                store.hear,
                sign,
                self._tell,
            )
        elif connection.vendor == "sqlite":
            self._compare(SQLITE_SECONDS, lambda: self._data_version(connection))
        else:
            self._compare(SEQUENCE_SECONDS, lambda: self._sequence(connection))

    def _tell(self) -> None:
        store = self._store
        with store.private(store.beating) as connection:
            statements(connection).notify()

    def _compare(self, pause: float, read: Any) -> None:
        """Wake the scheduler whenever ``read()`` answers something new."""
        seen, waited = read(), 0.0
        while not self._stop.wait(pause):
            waited += pause
            present = read()
            if present != seen:
                seen, waited = present, 0.0
                self._store.hear()
            elif waited >= self._store.poll:
                waited = 0.0
                self._store.wake()

    def _data_version(self, connection: Any) -> int:
        with self._reading:
            return data_version(connection)

    def _sequence(self, connection: Any) -> int | None:
        rows = SchedulerControl.objects.using(connection.alias)
        return (
            rows.filter(pk=SchedulerControl.ROW)
            .values_list("edit_sequence", flat=True)
            .first()
        )
