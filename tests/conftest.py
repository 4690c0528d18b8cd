"""What every test shares: the chosen database, and what counts as a missing server."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import databases, servers

DATABASE_FIXTURES = {"db", "transactional_db", "django_db_setup", "live_server"}
# How a skip begins whose reason is something this machine lacks.
MISSING = ("needs ", "no ", "could not import ")


def pytest_report_header(config: pytest.Config) -> str:
    from django import VERSION, get_version
    from django.db import connection

    if connection.vendor != databases.wanted():
        raise pytest.UsageError(
            f"asked for {databases.wanted()}, got {connection.vendor}: the settings "
            "were loaded before TEST_DB was read"
        )
    text = f"django: {get_version()}; database: {connection.vendor}"
    if connection.vendor == "postgresql":
        from django.db.backends.postgresql.psycopg_any import is_psycopg3

        text += f", psycopg {3 if is_psycopg3 else 2}" if VERSION >= (4, 2) else ""
    if connection.vendor == "mysql":
        # "MySQLdb" is that of mysqlclient.
        text += f", driver {connection.Database.__name__}"
    return text


def touches_database(item: pytest.Item) -> bool:
    """Tell whether a test belongs into the second run, on PostgreSQL."""
    from django.test import TransactionTestCase

    if item.get_closest_marker("django_db") or item.get_closest_marker("processes"):
        return True
    if DATABASE_FIXTURES.intersection(getattr(item, "fixturenames", ())):
        return True
    cls = getattr(item, "cls", None)
    # TestCase derives from TransactionTestCase; SimpleTestCase does not.
    return isinstance(cls, type) and issubclass(cls, TransactionTestCase)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # First of all hooks, so that `-m database` sees the marks made here.
    for item in items:
        if touches_database(item):
            item.add_marker(pytest.mark.database)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Any:
    outcome = yield
    report = outcome.get_result()
    if not report.skipped or not os.environ.get("REQUIRE_ALL"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
    reason = reason.removeprefix("Skipped: ")
    if reason.startswith(MISSING):
        report.outcome = "failed"
        report.longrepr = f"REQUIRE_ALL is set, and this test was skipped: {reason}"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    # `python -m tests` adds its runs up from this, and tries what failed once more.
    path = os.environ.get("TEST_COUNTS")
    if path:
        stats = terminalreporter.stats
        counts = {
            kind: sum(getattr(r, "count_towards_summary", True) for r in reports)
            for kind, reports in stats.items()
            if kind in ("passed", "failed", "skipped", "error", "xfailed")
        }
        bad = [*stats.get("failed", ()), *stats.get("error", ())]
        failed = sorted({report.nodeid for report in bad})
        Path(path).write_text(json.dumps({"counts": counts, "failed": failed}))


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Drop the test database even when a process of a test has just been killed."""
    yield
    from django.db import connection

    # PostgreSQL notices late that the other end is gone, and refuses to drop meanwhile;
    # and a process that is just ending must not connect once more.
    if connection.vendor == "postgresql":
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            cursor.execute(
                "UPDATE pg_database SET datallowconn = false "
                "WHERE datname = current_database()"
            )
            cursor.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
    # A test may have had this thread's connection replaced; what drops the database
    # then closes the old one only.
    connection.close()


@pytest.fixture
def child_environment() -> dict[str, str]:
    """The environment of a process that shares this test's database."""
    return databases.child_environment()


def _server(kind: type[servers.Server], package: str) -> Iterator[servers.Server]:
    pytest.importorskip(
        package, reason=f"needs {package}: pip install django-apscheduler[{kind.extra}]"
    )
    missing = kind.missing()
    if missing:
        pytest.skip(missing)
    server = kind()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def mongodb_server() -> Iterator[servers.Server]:
    """A MongoDB server of this process's; who kills it starts it again."""
    yield from _server(servers.MongoDB, "pymongo")


@pytest.fixture(scope="session")
def redis_server() -> Iterator[servers.Server]:
    """A Redis server of this process's; who kills it starts it again."""
    yield from _server(servers.Redis, "redis")
