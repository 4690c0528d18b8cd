"""
The statements that write many rows at once, for any database.

Django's ORM writes many different rows slowly, and a claim or a batch of outcomes is
exactly that. What a database does better in its own way is a subclass in its own file.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Case, TextField, Value, When
from django.db.models.constants import OnConflict
from django.db.models.functions import Concat

from django_apscheduler.models import DjangoJob, DjangoJobExecution
from django_apscheduler.util import utc

RUNNING = DjangoJobExecution.RUNNING

#: Seconds that a transaction of the engine waits for a lock before it gives up, and
#: that the server lets it sit idle: a frozen scheduler's locks hide jobs from others.
LOCK_SECONDS = 4
IDLE_SECONDS = 5


class Advance(NamedTuple):
    """A job moved on by a claim."""

    id: str
    next_run_time: datetime | None
    nominal_time: datetime | None
    anchor_time: datetime | None
    state: str
    finished_time: datetime | None


class Entry(NamedTuple):
    """A new row of the execution log, written by a claim."""

    job_id: str
    job_name: str
    status: str
    run_time: datetime
    last_run_time: datetime | None
    occurrences: int | None
    nominal_time: datetime | None
    fire_key: str
    claim_id: UUID | None
    executor: str
    note: str = ""


class Ending(NamedTuple):
    """An outcome, as the execution log has it."""

    id: int
    owner_id: int
    attempt: int
    status: str
    started_time: datetime | None
    finished_time: datetime | None
    duration: float | None
    finished: float | None
    exception: str | None
    traceback: str | None


class Start(NamedTuple):
    """A body that has begun."""

    id: int
    owner_id: int
    attempt: int
    started_time: datetime


def _fields(model: Any) -> dict[str, Any]:
    return {field.attname: field for field in model._meta.concrete_fields}


JOB_FIELDS = _fields(DjangoJob)
EXECUTION_FIELDS = _fields(DjangoJobExecution)


def added_note(text: str) -> Any:
    """Return an expression for a row's note with one more line."""
    return Case(
        When(note="", then=Value(text)),
        default=Concat("note", Value(f"\n{text}"), output_field=TextField()),
        output_field=TextField(),
    )


class Statements:
    """The statements in SQL that every database understands."""

    def __init__(self, connection: Any):
        self.connection = connection
        quote = connection.ops.quote_name
        self.jobs = quote(DjangoJob._meta.db_table)
        self.executions = quote(DjangoJobExecution._meta.db_table)

    def limit_locks(self) -> None:
        """Bound how long this transaction can wait, or make others wait."""

    def notify(self) -> None:
        """Tell all schedulers, on commit, that jobs were edited."""

    def adapt(self, fields: dict[str, Any], names: Any, row: tuple) -> list[Any]:
        """Return a row's values as the database's driver takes them."""
        connection = self.connection
        adapt_time = connection.ops.adapt_datetimefield_value
        # Only PostgreSQL has columns for instants; elsewhere they are in UTC, without it.
        zone = utc if connection.vendor == "postgresql" else None
        values = []
        for name, value in zip(names, row):
            kind = type(value)
            # What a claim writes thousands of, without asking each field.
            if kind is str or kind is int or value is None:
                values.append(value)
            elif kind is datetime and value.tzinfo is utc:
                values.append(adapt_time(value.replace(tzinfo=zone)))
            else:
                field = fields[name]
                values.append(field.get_db_prep_value(value, connection))
        return values

    def advance(self, rows: list[Advance]) -> None:
        """Write where claimed jobs' schedules stand now."""
        if not rows:
            return
        names = Advance._fields[1:] + Advance._fields[:1]
        values = [self.adapt(JOB_FIELDS, names, row[1:] + row[:1]) for row in rows]
        assignments = ", ".join(f"{name} = %s" for name in names[:-1])
        with self.connection.cursor() as cursor:
            cursor.executemany(
                f"UPDATE {self.jobs} SET {assignments} WHERE id = %s", values
            )

    def insert(
        self, entries: list[Entry], owner_id: int, now: datetime
    ) -> dict[str, int]:
        """
        Write new rows of the execution log; a fire key that exists is left as it is.

        :return: fire key → id of the rows that were written here
        """
        if not entries:
            return {}
        names = (
            *Entry._fields,
            "owner_id", "claimed_time", "attempt", "losses", "origin", "requested_by",
        )  # fmt: skip
        constant = (owner_id, now, 1, 0, DjangoJobExecution.Origin.SCHEDULE.value, "")
        values = [
            self.adapt(EXECUTION_FIELDS, names, (*entry, *constant))
            for entry in entries
        ]
        ops = self.connection.ops
        insert = ops.insert_statement(on_conflict=OnConflict.IGNORE)
        suffix = ops.on_conflict_suffix_sql([], OnConflict.IGNORE, [], [])
        marks = ", ".join(["%s"] * len(names))
        with self.connection.cursor() as cursor:
            cursor.executemany(
                f"{insert} {self.executions} ({', '.join(names)}) VALUES ({marks}) "
                f"{suffix}",
                values,
            )
        written = DjangoJobExecution.objects.using(self.connection.alias).filter(
            fire_key__in=[entry.fire_key for entry in entries]
        )
        claims = {entry.fire_key: entry.claim_id for entry in entries}
        return {
            key: id
            for id, key, claim_id in written.values_list("id", "fire_key", "claim_id")
            # A row with another claim was there before.
            if claims[key] == claim_id
        }

    def start(self, rows: list[Start]) -> set[int]:
        """Write that bodies have begun; return the ids of those still ours."""
        started = set()
        with self.connection.cursor() as cursor:
            for row in rows:
                cursor.execute(
                    f"UPDATE {self.executions} SET status = %s, started_time = %s "
                    "WHERE id = %s AND owner_id = %s AND attempt = %s "
                    "AND status IN (%s, %s)",
                    [
                        DjangoJobExecution.STARTED,
                        *self.adapt(
                            EXECUTION_FIELDS, ("started_time",), (row.started_time,)
                        ),
                        row.id,
                        row.owner_id,
                        row.attempt,
                        *RUNNING,
                    ],
                )
                if cursor.rowcount:
                    started.add(row.id)
        return started

    def settle(self, rows: list[Ending]) -> set[int]:
        """
        Write outcomes of runs that are still ours, and return their ids.

        The rival is the sweep of another scheduler that took this one for dead: it has
        changed owner, attempt or status, and then its word counts.
        """
        settled = set()
        names = Ending._fields[3:]
        with self.connection.cursor() as cursor:
            for row in rows:
                cursor.execute(
                    f"UPDATE {self.executions} SET status = %s, "
                    "started_time = COALESCE(%s, started_time), finished_time = %s, "
                    "duration = %s, finished = %s, exception = %s, traceback = %s "
                    "WHERE id = %s AND owner_id = %s AND attempt = %s "
                    "AND status IN (%s, %s)",
                    [
                        *self.adapt(EXECUTION_FIELDS, names, row[3:]),
                        *row[:3],
                        *RUNNING,
                    ],
                )
                if cursor.rowcount:
                    settled.add(row.id)
        return settled


def statements(connection: Any) -> Statements:
    """Return the statements for the database of ``connection``."""
    if connection.vendor == "postgresql":
        from django_apscheduler.jobstores.django.postgresql import PostgreSQL

        return PostgreSQL(connection)
    if connection.vendor == "mysql":
        from django_apscheduler.jobstores.django.mysql import MySQL

        return MySQL(connection)
    if connection.vendor == "sqlite":
        from django_apscheduler.jobstores.django.sqlite import SQLite

        return SQLite(connection)
    return Statements(connection)
