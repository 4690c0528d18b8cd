"""What is looked at before a scheduler starts, so that a mistake is told in one line."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError
from django.db import DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor

from django_apscheduler.conf import Configuration
from django_apscheduler.sync import django_stores

APP_LABEL = "django_apscheduler"


def check_databases(settings: Configuration) -> list[str]:
    """
    Look at each database that holds jobs.

    :return: a line on each, for the banner
    :raises CommandError: naming the first that cannot be used, and the remedy
    """
    return [_check_database(using) for using in django_stores(settings)]


def _check_database(using: str) -> str:
    connection: Any = connections[using]
    name = connection.settings_dict["NAME"]
    if connection.vendor == "sqlite" and connection.is_in_memory_db():
        raise CommandError(
            f"The database {using!r} is SQLite in memory, which no other process sees "
            "and which ends with this one; name a file in DATABASES, for example "
            "'NAME': BASE_DIR / 'db.sqlite3'"
        )
    was_open = connection.connection is not None
    try:
        connection.ensure_connection()
        pending = pending_migrations(using)
        line = f"{using}: {_server(using)}, {name}"
    except DatabaseError as error:
        reason = " ".join(str(error).split())
        raise CommandError(
            f"The database {using!r} ({connection.vendor}, {name}) cannot be used: "
            f"{reason}"
        ) from error
    finally:
        if not was_open:
            connection.close()
    if pending:
        raise CommandError(
            f"The database {using!r} lacks migrations of {APP_LABEL} "
            f"({', '.join(pending)}); run: manage.py migrate {APP_LABEL}"
            + ("" if using == "default" else f" --database {using}")
        )
    return line


def pending_migrations(using: str) -> list[str]:
    """Return the names of our migrations that the database lacks, oldest first."""
    executor = MigrationExecutor(connections[using])
    targets = [
        node for node in executor.loader.graph.leaf_nodes() if node[0] == APP_LABEL
    ]
    return [migration.name for migration, _ in executor.migration_plan(targets)]


def _server(using: str) -> str:
    connection: Any = connections[using]
    if connection.vendor == "sqlite":
        from sqlite3 import sqlite_version

        with connection.cursor() as cursor:
            cursor.execute("PRAGMA journal_mode")
            (mode,) = cursor.fetchone()
        return f"SQLite {sqlite_version} ({mode.upper()})"
    version = ".".join(map(str, connection.get_database_version()))
    return f"{connection.display_name} {version}"
