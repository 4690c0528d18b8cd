"""Dispatch from a database, with an execution log where the contender keeps one."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from . import postgresql
from .environments import Environment
from .report import Result, Row
from .rounds import alternate, ask

CONTENDERS = ("ours", "apscheduler", "earlier")
DATABASES = ("sqlite", "postgresql")

#: Django's option that takes SQLite's write lock at the beginning of each transaction.
#: It is not Django's default, but the earlier package cannot do without it.
IMMEDIATE = {"transaction_mode": "IMMEDIATE"}

EXPLANATION = """\
BackgroundScheduler, database store, thread pool of 10. A number of hourly jobs, whose
function does nothing but be counted, fall due at the same moment; timed is from
resume() until the executed event of the last. Ours and django-apscheduler write an
execution log, whose rows are counted afterwards: one per run. APScheduler with its
SQLAlchemyJobStore keeps no log, so it has less to do. SQLite: WAL, synchronous=FULL.
PostgreSQL: on a socket of this machine, defaults, fsync and synchronous_commit on;
psycopg2 for all, which is faster than psycopg 3 for both peers."""

MakeDatabase = Callable[[], dict]


@contextlib.contextmanager
def sqlite_files(data: str | None) -> Iterator[Callable[[dict], MakeDatabase]]:
    """Answers what makes new SQLite databases in WAL mode with the given options."""
    with tempfile.TemporaryDirectory(prefix="bench-sqlite-", dir=data) as folder:
        number = 0

        def with_options(options: dict) -> MakeDatabase:
            def make() -> dict:
                nonlocal number
                number += 1
                path = Path(folder) / f"{number}.sqlite3"
                connection = sqlite3.connect(path)
                connection.execute("PRAGMA journal_mode=WAL")
                connection.close()
                return {"engine": "sqlite", "name": str(path), "options": options}

            return make

        yield with_options


def run(
    environments: dict[str, Environment],
    rounds: int,
    quick: bool,
    databases: tuple[str, ...] = DATABASES,
    data: str | None = None,
) -> Result:
    """
    Measure each database in alternating rounds, every run on an empty one.

    :param databases: of DATABASES
    :param data: folder for the databases; None means the system's temporary one
    """
    keys = [key for key in CONTENDERS if key in environments]
    jobs = 200 if quick else 5_000
    rows, notes = [], [f"{jobs:,} jobs due together"]

    def measure(label: str, keys: list[str], make: MakeDatabase) -> None:
        def one(key: str) -> list[float]:
            request = {
                "contender": key,
                "jobs": jobs,
                "warm_up": 50,
                "database": make(),
            }
            return [ask(environments[key], "persistent.py", request)["answer"]]

        gathered = alternate(keys, rounds, one)
        rows.append(Row("", label, {key: gathered[key][0] for key in keys}))

    if "postgresql" in databases:
        try:
            with postgresql.server(data) as server:
                facts = server.facts()
                notes.append(
                    "PostgreSQL: "
                    + ", ".join(f"{name} {value}" for name, value in facts.items())
                )
                measure("PostgreSQL", keys, lambda: server.new_database("benchmark"))
        except postgresql.NoServer as reason:
            notes.append(f"PostgreSQL was not measured: {reason}")
    if "sqlite" in databases:
        with sqlite_files(data) as with_options:
            measure("SQLite", keys, with_options({}))
            django = [key for key in keys if key != "apscheduler"]
            measure(
                "SQLite, transaction_mode IMMEDIATE", django, with_options(IMMEDIATE)
            )
    return Result(
        name="persistent",
        title="Dispatch from a database, with execution log",
        unit="Runs a second",
        explanation=EXPLANATION,
        contenders=[environments[key] for key in keys],
        rows=rows,
        notes=notes,
    )
