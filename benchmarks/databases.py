"""The databases that contenders are measured on, opened when first needed."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import postgresql

DATABASES = ("postgresql", "sqlite")

#: Django's option that takes SQLite's write lock at the beginning of each transaction.
#: It is not Django's default, but the earlier package cannot do without it.
IMMEDIATE = {"transaction_mode": "IMMEDIATE"}


@dataclass(frozen=True)
class Place:
    """
    A kind of database that new empty ones can be made of.

    :param make: makes one with the given options (of SQLite) and answers how contenders
        reach it
    :param server: the server, where there is one
    :param kept: whether databases stay, for the next measurement
    """

    engine: str
    label: str
    make: Callable[..., dict]
    server: postgresql.Server | None = None
    kept: bool = False

    def make_named(self, name: str) -> dict:
        """Make a database, or take the one of that name where they are kept."""
        if self.kept and self.server is not None:
            return self.server.kept_database(name)
        return self.make()

    def make_for(self, key: str) -> dict:
        """Make a database with which the contender with that key can work."""
        if self.engine == "sqlite" and key == "earlier":
            return self.make(IMMEDIATE)
        return self.make()


class Databases:
    """
    What of the wanted databases there is; a context manager that closes them.

    :param wanted: of DATABASES
    :param data: folder for the data; None means the system's temporary one
    :param keep: folder of a PostgreSQL server whose databases stay; None for none
    :ivar notes: what readers of the figures must know
    """

    def __init__(
        self,
        wanted: Sequence[str] = DATABASES,
        data: str | None = None,
        keep: str | None = None,
    ):
        self.keep = keep
        self.wanted = tuple(wanted)
        self.notes: list[str] = []
        self._data = data
        self._stack = contextlib.ExitStack()
        self._places: dict[str, Place] | None = None

    def __enter__(self) -> Databases:
        return self

    def __exit__(self, *error) -> None:
        self._stack.close()

    def places(self) -> list[Place]:
        """Answer all that can be measured on."""
        if self._places is None:
            self._places = {}
            if "postgresql" in self.wanted:
                self._start_postgresql()
            if "sqlite" in self.wanted:
                self._places["sqlite"] = Place("sqlite", "SQLite", self._sqlite_files())
        return list(self._places.values())

    def first(self) -> list[Place]:
        """Answer the first of them alone, for what is measured on PostgreSQL only."""
        return self.places()[:1]

    def _start_postgresql(self) -> None:
        assert self._places is not None
        try:
            server = self._stack.enter_context(postgresql.server(self._data, self.keep))
            facts = server.facts()
        except postgresql.NoServer as reason:
            self.notes.append(f"PostgreSQL was not measured: {reason}")
            return
        said = ", ".join(f"{name} {value}" for name, value in facts.items())
        self.notes.append(f"PostgreSQL: {said}")

        def make(options: dict | None = None) -> dict:
            return server.new_database("benchmark")

        self._places["postgresql"] = Place(
            "postgresql", "PostgreSQL", make, server, kept=self.keep is not None
        )

    def _sqlite_files(self) -> Callable[..., dict]:
        folder = self._stack.enter_context(
            tempfile.TemporaryDirectory(prefix="bench-sqlite-", dir=self._data)
        )
        made: list[Path] = []

        def make(options: dict | None = None) -> dict:
            path = Path(folder) / f"{len(made)}.sqlite3"
            made.append(path)
            connection = sqlite3.connect(path)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.close()
            return {"engine": "sqlite", "name": str(path), "options": options or {}}

        return make


@dataclass
class Options:
    """
    How to measure, for all sections.

    :param rounds: how often each contender has its turn
    :param quick: whether it is only to be seen that everything works
    :param runs: runs of the section endurance; None for its default
    :param idle: idle jobs of the section idle, of ours beside the default
    :param executions: executions of the section admin; None for its default
    :param profile: whether to show where ours spends its time
    :param py_spy: path of the sampling profiler for that; None leaves functions out
    """

    rounds: int
    quick: bool
    databases: Databases
    runs: int | None = None
    idle: int | None = None
    executions: int | None = None
    profile: bool = False
    py_spy: str | None = None
