"""Keeps a lease while a greenlet holds the interpreter."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import connections
from django.db.models.sql import UpdateQuery

from django_apscheduler import clock
from django_apscheduler.db import moment, private_wrapper
from django_apscheduler.patched import gevent_patched, start_real_thread

if TYPE_CHECKING:
    from django_apscheduler.jobstores.django.store import DjangoJobStore

logger = logging.getLogger(__name__)

#: Seconds between looks whether the heart has stopped.
LOOK_SECONDS = 0.1
#: Seconds for which a scheduler that stops waits for the thread to end.
LAST_SECONDS = 2.0


class Lifeline:
    """
    A real thread that renews the lease when the heart, a greenlet, does not get to it.

    In a process that gevent has patched a body that computes for ten seconds stops all
    else, and other schedulers would take this one for dead while it runs. The thread
    does no more than send a statement that the heart has prepared: whatever logs, or
    takes a lock that a greenlet may hold, could leave both waiting for ever.
    """

    def __init__(self, store: DjangoJobStore):
        self._store = store
        self._wrapper: Any = None
        self._armed: tuple[int, Callable[[], int]] | None = None
        self._stopping = False
        self._running = False
        self._failed = False

    def arm(self) -> None:
        """
        Prepare the renewal; called by the heart with each of its own.

        Not under a clock that tests move, nor with drivers written in Python.
        """
        owner = self._store.membership.id
        if not gevent_patched() or owner is None or self._store.given_now(None):
            return
        if self._armed is not None and self._armed[0] == owner:
            return
        try:
            if self._armed is None:
                # The first time, or the connection has broken.
                self._close()
                self._wrapper = private_wrapper(connections[self._store.using])
                self._wrapper.ensure_connection()
            send = self._prepare(*self._statement())
        except Exception:
            # The heart has its own connection; the server may allow no more.
            if not self._failed:
                logger.warning(
                    "There is no connection to keep the lease with while a greenlet "
                    "holds the interpreter; it is tried again",
                    exc_info=True,
                )
            self._failed, self._armed = True, None
            return
        if send is None:
            self._close()
            return
        self._armed, self._failed = (owner, send), False
        if not self._running:
            from gevent import monkey

            self._running = True
            sleep = monkey.get_original("time", "sleep")
            start_real_thread(partial(self._work, sleep))

    def stop(self) -> None:
        """Have the thread end, and close its connection."""
        self._stopping = True
        until = time.monotonic() + LAST_SECONDS
        while self._running and time.monotonic() < until:
            time.sleep(LOOK_SECONDS / 4)
        if not self._running:
            # Else a call hangs in the driver, which is not to be touched meanwhile.
            self._close()

    def _close(self) -> None:
        wrapper, self._wrapper = self._wrapper, None
        if wrapper is not None:
            wrapper.close()

    def _statement(self) -> tuple[str, tuple]:
        store = self._store
        query = store.membership.rows.query.chain(UpdateQuery)
        query.add_update_values({"lease_until": moment(None, store.lease)})
        return query.get_compiler(store.using).as_sql()

    def _prepare(self, sql: str, params: tuple) -> Any:
        """Return what sends the statement and answers how many rows it changed."""
        wrapper = self._wrapper
        if wrapper.vendor == "mysql" and wrapper.Database.__name__ == "pymysql":
            return None
        raw = wrapper.connection
        if wrapper.vendor == "postgresql" and hasattr(raw, "pgconn"):
            from psycopg import ClientCursor

            text = ClientCursor(raw).mogrify(sql, params).encode()
            return lambda: raw.pgconn.exec_(text).command_tuples
        cursor = wrapper.create_cursor()

        def send() -> int:
            cursor.execute(sql, params)
            return cursor.rowcount

        return send

    # In the thread.

    def _work(self, sleep: Callable[[float], None]) -> None:
        while not self._stopping:
            sleep(LOOK_SECONDS)
            armed = self._armed
            if armed is not None:
                try:
                    self._renew(*armed)
                except Exception:  # noqa: BLE001 (the heart will find out, and tell)
                    self._armed = None
        self._running = False

    def _renew(self, owner: int, send: Callable[[], int]) -> None:
        membership = self._store.membership
        attempt = clock.monotonic()
        late = attempt - membership.renewed >= 2 * self._store.heartbeat
        if late and owner == membership.id and send():
            membership.trust(attempt)
