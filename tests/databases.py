"""
The database the tests run on: SQLite, or a PostgreSQL or MariaDB server started here.

`TEST_DB=postgres` asks for PostgreSQL. `TEST_PG_HOST` (a socket folder or a host name)
names a server that is already there, with `TEST_PG_PORT`, `TEST_PG_USER` and
`TEST_PG_PASSWORD`. `TEST_DB=mariadb` asks for MariaDB; `TEST_MYSQL_HOST` (a socket or a
host name), `TEST_MYSQL_PORT`, `TEST_MYSQL_USER` and `TEST_MYSQL_PASSWORD` name a server,
and that one may be MySQL as well.

Without a name an own server is started while the settings are imported, so before the
first connection, and stopped when this process ends. The processes that tests start,
xdist's workers among them, find it in the environment they inherit.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable
from typing import Any

from tests.servers import MariaDB, PostgreSQL, start_wheel

VENDOR = {
    "": "sqlite",
    "sqlite": "sqlite",
    "postgres": "postgresql",
    "mariadb": "mysql",
}


def wanted() -> str:
    """Answer the database vendor that `TEST_DB` asks for, as Django names it."""
    name = os.environ.get("TEST_DB", "")
    try:
        return VENDOR[name]
    except KeyError:
        raise SystemExit(
            f"TEST_DB must be 'sqlite', 'postgres' or 'mariadb'; got {name!r}"
        ) from None


def databases() -> dict[str, dict[str, Any]]:
    """Answer Django's `DATABASES` for the tests, starting a server where needed."""
    settings = {"sqlite": _sqlite, "postgresql": _postgresql, "mysql": _mysql}
    return {"default": settings[wanted()]()}


def child_environment() -> dict[str, str]:
    """
    Answer the environment of a process that works on the current test database.

    For the tests that start real processes: with it `DJANGO_SETTINGS_MODULE=tests.settings`
    connects to the database that the running test uses, not to a new one.
    """
    from django.db import connection

    root = str(pathlib.Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "PYTHONPATH": path,
        "TEST_DATABASE_NAME": str(connection.settings_dict["NAME"]),
    }


def _sqlite() -> dict[str, Any]:
    folder = os.environ.get("TEST_SQLITE_DIR")
    if folder is None:
        # A file, because threads and processes of the tests share the database, which
        # SQLite in memory does not offer.
        folder = tempfile.mkdtemp(prefix="apscheduler-tests-")
        os.environ["TEST_SQLITE_DIR"] = folder
        _at_exit(lambda: shutil.rmtree(folder, ignore_errors=True))
    _use_wal()
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("TEST_DATABASE_NAME", f"{folder}/db.sqlite3"),
        "TEST": {"NAME": f"{folder}/test.sqlite3"},
        # SQLite's own transaction mode stays at its default: the harder case.
        "OPTIONS": {"timeout": 20},
    }


def _use_wal() -> None:
    from django.db.backends.signals import connection_created

    # A receiver, because OPTIONS["init_command"] begins with Django 5.1.
    def use_wal(connection: Any, **kwargs: object) -> None:
        if connection.vendor == "sqlite":
            with connection.cursor() as cursor:
                cursor.execute("PRAGMA journal_mode=WAL")
                cursor.execute("PRAGMA synchronous=NORMAL")

    connection_created.connect(use_wal, weak=False, dispatch_uid="tests.databases")


def _postgresql() -> dict[str, Any]:
    if not os.environ.get("TEST_PG_HOST"):
        if PostgreSQL.missing() is None:
            server = PostgreSQL()
            host, stop = server.folder, server.remove
        else:
            host, stop = start_wheel()
        os.environ["TEST_PG_HOST"] = host
        _at_exit(stop)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ.get("TEST_DATABASE_NAME", "postgres"),
        "HOST": os.environ["TEST_PG_HOST"],
        "PORT": os.environ.get("TEST_PG_PORT", ""),
        "USER": os.environ.get("TEST_PG_USER", "postgres"),
        "PASSWORD": os.environ.get("TEST_PG_PASSWORD", ""),
        "TEST": {"NAME": "test_apscheduler"},
    }


def missing_for_mariadb() -> str | None:
    """Answer what has to be installed to test on MariaDB, or None if all is there."""
    if not any(map(importlib.util.find_spec, ("MySQLdb", "pymysql"))):
        return "needs a driver: pip install PyMySQL, or mysqlclient"
    missing = None if os.environ.get("TEST_MYSQL_HOST") else MariaDB.missing()
    return missing and f"{missing}, or set TEST_MYSQL_HOST"


def _mysql() -> dict[str, Any]:
    missing = missing_for_mariadb()
    if missing:
        raise SystemExit(f"MariaDB was asked for; it {missing}")
    if importlib.util.find_spec("MySQLdb") is None:
        import pymysql

        pymysql.install_as_MySQLdb()
    if not os.environ.get("TEST_MYSQL_HOST"):
        server = MariaDB()
        os.environ["TEST_MYSQL_HOST"] = server.socket
        _at_exit(server.remove)
    return {
        "ENGINE": "django.db.backends.mysql",
        "NAME": os.environ.get("TEST_DATABASE_NAME", "apscheduler"),
        "HOST": os.environ["TEST_MYSQL_HOST"],
        "PORT": os.environ.get("TEST_MYSQL_PORT", ""),
        "USER": os.environ.get("TEST_MYSQL_USER", "root"),
        "PASSWORD": os.environ.get("TEST_MYSQL_PASSWORD", ""),
        "TEST": {"NAME": "test_apscheduler", "CHARSET": "utf8mb4"},
        # As the manual asks for with Django 4.2, whose default is MySQL's old "utf8".
        "OPTIONS": {"charset": "utf8mb4"},
    }


def _at_exit(stop: Callable[[], None]) -> None:
    # A test may fork, and the child must not stop the server of its parent.
    starter = os.getpid()
    atexit.register(lambda: stop() if os.getpid() == starter else None)
