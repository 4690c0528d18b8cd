"""SQLite: one writer at a time, and a counter that tells of others' writes."""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from typing import Any

from django_apscheduler.jobstores.django.sql import Statements
from django_apscheduler.models import SchedulerControl

#: One lock per database file. Threads of this process that write take turns here;
#: SQLite itself would have them sleep and try again, up to its time-out.
WRITERS: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)

# A fork has only one thread, and nobody there would release what another one held.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=WRITERS.clear)


class SQLite(Statements):
    """The general statements, in transactions that are writers from the start."""

    def limit_locks(self) -> None:
        # A transaction that reads first and then writes fails at once when another has
        # written between. This changes no row, and makes the transaction a writer.
        table = self.connection.ops.quote_name(SchedulerControl._meta.db_table)
        with self.connection.cursor() as cursor:
            cursor.execute(f"UPDATE {table} SET paused = paused WHERE id < 0")


def writer_lock(connection: Any) -> threading.RLock:
    """Return the lock that this process's writers to the database share."""
    return WRITERS[str(connection.settings_dict["NAME"])]


def data_version(connection: Any) -> int:
    """Return a number that changes when another connection has written."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA data_version")
        return cursor.fetchone()[0]
