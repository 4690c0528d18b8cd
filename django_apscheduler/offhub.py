"""Connections that wait for the database without stopping gevent's greenlets."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.db.backends.utils import debug_transaction

from django_apscheduler.patched import gevent_patched, off_hub

logger = logging.getLogger(__name__)


def stops_greenlets(connection: Any) -> bool:
    """
    Tell whether queries on a connection hold up all greenlets of the process.

    Not those of psycopg 3 and PyMySQL, which wait in Python where gevent takes over,
    nor those of psycopg 2 once it was told how to wait, as psycogreen does.
    """
    if not gevent_patched():
        return False
    if connection.vendor == "postgresql":
        from django.db.backends.postgresql.psycopg_any import is_psycopg3

        if is_psycopg3:
            return False
        from psycopg2.extensions import get_wait_callback

        return get_wait_callback() is None
    if connection.vendor == "mysql":
        return connection.Database.__name__ != "pymysql"
    return True


def warn_of_stopped_greenlets(connection: Any) -> None:
    """Say what gevent's greenlets had better not do with a database, if anything."""
    if stops_greenlets(connection):
        logger.warning(
            "gevent does not know when %s waits. The scheduler lets other greenlets go on "
            "meanwhile, but one that waits outside of jobs stops all others, and if that "
            "is for a lock of a transaction of theirs, they wait until the database's "
            "time limit ends it. On PostgreSQL use psycopg 3 or psycogreen, on MySQL and "
            "MariaDB PyMySQL; with SQLite, do not write outside of jobs",
            connection.Database.__name__,
        )


class _Cursor:
    """A driver's cursor of whose calls a real thread makes those that wait."""

    def __init__(self, cursor: Any):
        self._cursor = cursor

    def execute(self, *args: Any) -> Any:
        return off_hub(self._cursor.execute, *args)

    def executemany(self, *args: Any) -> Any:
        return off_hub(self._cursor.executemany, *args)

    def fetchmany(self, *args: Any) -> Any:
        return off_hub(self._cursor.fetchmany, *args)

    def fetchall(self) -> Any:
        return off_hub(self._cursor.fetchall)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def __iter__(self) -> Any:
        return iter(self._cursor)


class OffHub:
    """
    What to put before a `DatabaseWrapper`, so that a real thread waits in its place.

    Only the driver is called there: nothing that logs, for locks of logging are gevent's.
    """

    def get_new_connection(self, conn_params: Any) -> Any:
        return off_hub(super().get_new_connection, conn_params)  # type: ignore[misc]

    def init_connection_state(self: Any) -> None:
        # Django's own statements at the start are for the thread that made the wrapper.
        self.inc_thread_sharing()
        try:
            off_hub(super().init_connection_state)  # type: ignore[misc]
        finally:
            self.dec_thread_sharing()

    def make_cursor(self, cursor: Any) -> Any:
        return super().make_cursor(_Cursor(cursor))  # type: ignore[misc]

    def make_debug_cursor(self, cursor: Any) -> Any:
        return super().make_debug_cursor(_Cursor(cursor))  # type: ignore[misc]

    def is_usable(self) -> bool:
        return off_hub(super().is_usable)  # type: ignore[misc]

    def _set_autocommit(self, autocommit: bool) -> None:
        off_hub(super()._set_autocommit, autocommit)  # type: ignore[misc]

    def _commit(self) -> None:
        self._end(self.connection.commit, "COMMIT")  # type: ignore[attr-defined]

    def _rollback(self) -> None:
        self._end(self.connection.rollback, "ROLLBACK")  # type: ignore[attr-defined]

    def _end(self: Any, end: Callable, name: str) -> None:
        with debug_transaction(self, name), self.wrap_database_errors:
            off_hub(end)

    def _close(self) -> None:
        off_hub(super()._close)  # type: ignore[misc]


_classes: dict[Any, Any] = {}


def off_hub_class(cls: Any) -> Any:
    """Return a class of wrappers like ``cls``, none of whose calls stops greenlets."""
    if issubclass(cls, OffHub):
        return cls
    if cls not in _classes:
        _classes[cls] = _subclass(cls)
    return _classes[cls]


def _subclass(cls: Any) -> Any:
    return type(cls.__name__, (OffHub, cls), {"__module__": cls.__module__})


def call_driver(connection: Any, func: Callable, *args: Any) -> Any:
    """Return ``func(*args)``, which waits for the database of ``connection``."""
    if isinstance(connection, OffHub):
        return off_hub(func, *args)
    return func(*args)
