"""Whether schedulers can run on a database, and what to do where they cannot."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections

from django_apscheduler.models import SchedulerProcess


def refuse_memory(using: str) -> None:
    """
    Check that threads and processes can share the database ``using``.

    :raises ImproperlyConfigured: for SQLite in memory
    """
    connection: Any = connections[using]
    if connection.vendor == "sqlite" and connection.is_in_memory_db():
        raise ImproperlyConfigured(
            f"A scheduler cannot run on the database {using!r}: it is SQLite in "
            "memory, which threads and processes cannot share. Use a file as NAME; in "
            "tests, give the database a TEST NAME, or call "
            "django_apscheduler.testing.run_due() instead of starting a scheduler"
        )


def refuse_missing_tables(using: str, error: Exception) -> None:
    """
    Check whether ``error`` comes from a database that has not been migrated.

    :raises ImproperlyConfigured: when it does
    """
    table = SchedulerProcess._meta.db_table
    try:
        tables = connections[using].introspection.table_names()
    except DatabaseError:
        # The database does not answer at all, which the first error tells better.
        return
    if table not in tables:
        option = "" if using == DEFAULT_DB_ALIAS else f" --database {using}"
        raise ImproperlyConfigured(
            f"The database {using!r} has no table {table!r}; run "
            f"`manage.py migrate{option}` first"
        ) from error
