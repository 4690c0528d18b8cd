"""PostgreSQL: many rows in one statement each, and bounded locks."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django_apscheduler.jobstores.django.sql import (
    IDLE_SECONDS,
    LOCK_SECONDS,
    RUNNING,
    Advance,
    Ending,
    Entry,
    Start,
    Statements,
)
from django_apscheduler.models import DjangoJobExecution

#: The channel on which edits are told; the payload is always empty.
CHANNEL = "django_apscheduler"


def _columns(rows: list, count: int) -> list[list[Any]]:
    return [[row[index] for row in rows] for index in range(count)]


class PostgreSQL(Statements):
    """Arrays of columns instead of rows one by one: one round trip for a batch."""

    def limit_locks(self) -> None:
        # LOCAL, so that nothing stays behind in a pooler's connection.
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'; "
                f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'"
            )

    def notify(self) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(f"NOTIFY {CHANNEL}")

    def advance(self, rows: list[Advance]) -> None:
        if not rows:
            return
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE {self.jobs} AS job SET next_run_time = new.next_run_time, "
                "nominal_time = new.nominal_time, anchor_time = new.anchor_time, "
                "state = new.state, finished_time = new.finished_time "
                "FROM unnest(%s::text[], %s::timestamptz[], %s::timestamptz[], "
                "%s::timestamptz[], %s::text[], %s::timestamptz[]) AS new("
                "id, next_run_time, nominal_time, anchor_time, state, finished_time) "
                "WHERE job.id = new.id",
                _columns(rows, 6),
            )

    def insert(
        self, entries: list[Entry], owner_id: int, now: datetime
    ) -> dict[str, int]:
        if not entries:
            return {}
        names = ", ".join(Entry._fields)
        columns = _columns(entries, len(Entry._fields))
        claim = Entry._fields.index("claim_id")
        columns[claim] = [None if id is None else str(id) for id in columns[claim]]
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {self.executions} ({names}, owner_id, claimed_time, "
                "attempt, losses, origin, requested_by) "
                f"SELECT {names}, %s, %s, 1, 0, %s, '' FROM unnest(%s::text[], "
                "%s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[], "
                "%s::int[], %s::timestamptz[], %s::text[], %s::uuid[], %s::text[], "
                f"%s::text[]) AS new({names}) "
                "ON CONFLICT (fire_key) DO NOTHING RETURNING fire_key, id",
                [owner_id, now, DjangoJobExecution.Origin.SCHEDULE.value, *columns],
            )
            return dict(cursor.fetchall())

    def start(self, rows: list[Start]) -> set[int]:
        if not rows:
            return set()
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE {self.executions} AS execution SET status = %s, "
                "started_time = new.started_time FROM unnest(%s::bigint[], "
                "%s::bigint[], %s::int[], %s::timestamptz[]) "
                "AS new(id, owner_id, attempt, started_time) "
                "WHERE execution.id = new.id AND execution.owner_id = new.owner_id "
                "AND execution.attempt = new.attempt "
                "AND execution.status IN (%s, %s) RETURNING execution.id",
                [DjangoJobExecution.STARTED, *_columns(rows, 4), *RUNNING],
            )
            return {id for (id,) in cursor.fetchall()}

    def settle(self, rows: list[Ending]) -> set[int]:
        if not rows:
            return set()
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE {self.executions} AS execution SET status = new.status, "
                "started_time = COALESCE(new.started_time, execution.started_time), "
                "finished_time = new.finished_time, duration = new.duration, "
                "finished = new.finished, exception = new.exception, "
                "traceback = new.traceback FROM unnest(%s::bigint[], %s::bigint[], "
                "%s::int[], %s::text[], %s::timestamptz[], %s::timestamptz[], "
                "%s::numeric[], %s::numeric[], %s::text[], %s::text[]) AS new(id, "
                "owner_id, attempt, status, started_time, finished_time, duration, "
                "finished, exception, traceback) WHERE execution.id = new.id "
                "AND execution.owner_id = new.owner_id "
                "AND execution.attempt = new.attempt "
                "AND execution.status IN (%s, %s) RETURNING execution.id",
                [*_columns(rows, 10), *RUNNING],
            )
            return {id for (id,) in cursor.fetchall()}
