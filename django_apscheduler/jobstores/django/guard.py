"""Gives up connections on which the database has fallen silent."""

from __future__ import annotations

import logging
import threading
import time

from django_apscheduler.db import PrivateConnection
from django_apscheduler.patched import gevent_patched

logger = logging.getLogger(__name__)

#: Seconds between looks.
GUARD_SECONDS = 1.0


class Guard:
    """
    A thread that waits for no database, and ends the waiting of those that do.

    A server that is frozen, or behind a pooler or a firewall that answers for it, keeps
    the connection alive and says nothing. Drivers then wait for ever, and with them the
    claims, the heartbeat and the outcomes.

    :param connections: the connections to watch over
    """

    def __init__(self, name: str, connections: tuple[PrivateConnection, ...]):
        self._connections = connections
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._work, name=f"apscheduler-guard-{name}", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _work(self) -> None:
        due = time.monotonic() + GUARD_SECONDS
        while not self._stop.wait(GUARD_SECONDS):
            late, due = time.monotonic() - due, time.monotonic() + GUARD_SECONDS
            if late > GUARD_SECONDS and gevent_patched():
                # A greenlet held up all others, and answers may be there by now.
                continue
            for connection in self._connections:
                if connection.overdue:
                    logger.warning(
                        "The database %s has not answered for %s s; the connection is "
                        "given up and opened again",
                        connection.alias,
                        connection.patience,
                    )
                    connection.cut()
