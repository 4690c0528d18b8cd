"""Ten thousand jobs through each persistent store, whose server is killed on the way."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections import Counter
from datetime import datetime, timedelta, timezone

import pytest

from django_apscheduler.executors.pool import ThreadPoolExecutor
from django_apscheduler.schedulers.background import BackgroundScheduler
from tests import servers
from tests.databases import missing_for_mariadb

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(120),
    # PyMySQL leaves the sockets of attempts that failed to the garbage collector.
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
    ),
]

JOBS = 10_000
#: The server goes away when so many have run.
KILLED_AFTER = 3_000
#: Seconds in which everything has to be over.
PATIENCE = 90

#: What has run, as the bodies say themselves; no store knows of it.
ledger: Counter[int] = Counter()
_writing = threading.Lock()


def note(number: int) -> None:
    with _writing:
        ledger[number] += 1


class File:
    """SQLite: no server, but somebody who holds the file for longer than one waits."""

    def __init__(self, folder):
        self.path = folder / "jobs.sqlite"
        self.store = {
            "type": "sqlalchemy",
            "url": f"sqlite:///{self.path}",
            "engine_options": {"connect_args": {"timeout": 0.2}},
        }

    def kill(self):
        self.other = sqlite3.connect(self.path, timeout=30, isolation_level=None)
        self.other.execute("BEGIN EXCLUSIVE")

    def start(self):
        self.other.execute("ROLLBACK")
        self.other.close()

    def remove(self):
        """The file goes with its folder."""


def postgresql(folder):
    pytest.importorskip(
        "psycopg2", reason="needs psycopg2: pip install psycopg2-binary"
    )
    missing = servers.PostgreSQL.missing()
    if missing:
        pytest.skip(missing)
    server = servers.PostgreSQL()
    server.store = {
        "type": "sqlalchemy",
        "url": f"postgresql+psycopg2://postgres@/postgres?host={server.folder}",
    }
    return server


def mariadb(folder):
    missing = missing_for_mariadb() or servers.MariaDB.missing()
    if missing:
        pytest.skip(missing)
    import sqlalchemy

    server = servers.MariaDB()
    pytest.importorskip("pymysql", reason="needs PyMySQL: pip install PyMySQL")
    url = f"mysql+pymysql://root@/?unix_socket={server.socket}&charset=utf8mb4"
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE DATABASE jobs"))
    engine.dispose()
    server.store = {"type": "sqlalchemy", "url": url.replace("@/", "@/jobs")}
    return server


def mongodb(folder):
    pytest.importorskip(
        "pymongo", reason="needs pymongo: pip install django-apscheduler[mongodb]"
    )
    missing = servers.MongoDB.missing()
    if missing:
        pytest.skip(missing)
    server = servers.MongoDB()
    server.store = {
        "type": "mongodb",
        "host": server.uri,
        "serverSelectionTimeoutMS": 1000,
    }
    return server


def redis(folder):
    pytest.importorskip(
        "redis", reason="needs redis: pip install django-apscheduler[redis]"
    )
    missing = servers.Redis.missing()
    if missing:
        pytest.skip(missing)
    server = servers.Redis()
    server.store = {"type": "redis", "unix_socket_path": server.socket}
    return server


@pytest.fixture(params=[File, postgresql, mariadb, mongodb, redis])
def server(request, tmp_path):
    """A server of the test's own, whose end hurts nobody else."""
    ledger.clear()
    server = request.param(tmp_path)
    yield server
    server.remove()


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{len(ledger)} jobs have run"
        time.sleep(0.01)


def test_every_job_runs_once_though_the_server_dies_on_the_way(server, caplog):
    caplog.set_level("CRITICAL")
    scheduler = BackgroundScheduler(
        jobstores={"default": server.store},
        executors={"default": ThreadPoolExecutor(20)},
        timezone="UTC",
    )
    scheduler.start(paused=True)
    try:
        past = datetime.now(timezone.utc) - timedelta(minutes=1)
        scheduler.add_jobs(
            {
                "func": note,
                "trigger": "date",
                "run_date": past + timedelta(milliseconds=number),
                "args": [number],
                "id": str(number),
                "misfire_grace_time": None,
            }
            for number in range(JOBS)
        )
        scheduler.resume()
        until(lambda: len(ledger) >= KILLED_AFTER)
        server.kill()
        ran = len(ledger)
        # The scheduler finds out by itself, and goes on trying.
        until(lambda: scheduler._failures.get("default", 0) >= 2)
        assert ran < JOBS
        server.start()
        until(lambda: len(ledger) == JOBS)
        assert set(ledger.values()) == {1}
        assert scheduler.get_jobs() == []
        # One more job, to see that all is as before.
        ledger.clear()
        scheduler.add_job(note, args=[-1])
        until(lambda: ledger == {-1: 1})
    finally:
        with contextlib.suppress(Exception):
            scheduler.remove_all_jobs()
        scheduler.shutdown()
