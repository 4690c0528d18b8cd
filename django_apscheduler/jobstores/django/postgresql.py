"""PostgreSQL: many rows in one statement each, and bounded locks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django_apscheduler.jobstores.django.membership import LeaseLost
from django_apscheduler.jobstores.django.records import (
    Advance,
    Ending,
    Entry,
    Look,
    Start,
)
from django_apscheduler.jobstores.django.rows import Row
from django_apscheduler.jobstores.django.sql import (
    ADDED,
    ADDED_ALIKE,
    IDLE_SECONDS,
    LOCK_SECONDS,
    RUNNING_SQL,
    Statements,
    aware,
    chunks,
    insert_job,
)
from django_apscheduler.models import DjangoJobExecution, SchedulerProcess

if TYPE_CHECKING:
    from django_apscheduler.jobstores.django.membership import Membership

#: The channel on which edits are told; the payload is always empty.
CHANNEL = "django_apscheduler"
#: Schedulers are told of a new job that is due within so many seconds, twice the
#: longest time between polls.
TOLD_SECONDS = 600


#: The types of the columns that a new job is written from.
_TYPES = {
    "uid": "uuid",
    "coalesce": "boolean",
    "misfire_grace_time": "int",
    "max_instances": "int",
    "transactional": "boolean",
    "next_run_time": "timestamptz",
    "nominal_time": "timestamptz",
    "anchor_time": "timestamptz",
}


# STATEMENT_TIMESTAMP(), as in DatabaseNow: a transaction may have begun long ago.
_NOW = "COALESCE(%s::timestamptz, STATEMENT_TIMESTAMP())"


@lru_cache(maxsize=16)
def _add_alone(table: str) -> str:
    # One statement is its own transaction: added and told of, or neither. Schedulers
    # find what is due much later in time by themselves, and notifications are a lock
    # that all who send them share.
    soon = f"next_run_time < {_NOW} + interval '{TOLD_SECONDS} seconds'"
    return (
        f"{insert_job(table, _NOW)} ON CONFLICT (id) DO NOTHING "
        f"RETURNING CASE WHEN {soon} THEN pg_notify('{CHANNEL}', '') END"
    )


@lru_cache(maxsize=256)
def _add(table: str, alike: tuple[str, ...]) -> str:
    """:param alike: columns with one value for all rows, which is sent once"""
    arrays = [name for name in ADDED if name not in alike]
    names = ", ".join((*alike, *arrays))
    constants = "".join(f"%s::{_TYPES.get(name, 'text')}, " for name in alike)
    unnested = ", ".join(f"%s::{_TYPES.get(name, 'text')}[]" for name in arrays)
    return (
        f"INSERT INTO {table} ({', '.join(ADDED_ALIKE)}, created_time, changed_time, "
        f"{names}) SELECT {', '.join(ADDED_ALIKE.values())}, {_NOW}, {_NOW}, "
        f"{constants}new.* FROM unnest({unnested}) AS new({', '.join(arrays)}) "
        "ON CONFLICT (id) DO NOTHING RETURNING id"
    )


#: When a connection began, as a whole number that JSON keeps: numbers are used again.
_SINCE = "(EXTRACT(EPOCH FROM backend_start) * 1000000)::bigint"


def _columns(rows: Sequence[tuple]) -> list[str]:
    """Return the columns of rows, each as the text of an array."""
    return [_array(column) for column in zip(*rows)]


def _array(values: Sequence[Any]) -> str:
    """
    Return values of one type as the text of an array, to be cast to its type.

    psycopg 2 would take longer for a list than the server for the statement, and hold
    the interpreter meanwhile.
    """
    kind = next((type(value) for value in values if value is not None), str)
    encode = next(_ENCODERS[base] for base in kind.__mro__ if base in _ENCODERS)
    elements = ["NULL" if value is None else encode(value) for value in values]
    return f"{{{','.join(elements)}}}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_ENCODERS: dict[type, Callable[[Any], str]] = {
    str: _quoted,
    datetime: datetime.isoformat,
    UUID: lambda value: value.hex,
    object: str,
}


#: The limits on a transaction's locks: LOCAL (true), so that nothing stays behind in a
#: pooler's connection. And no sorting of all due jobs for the sake of the first few: when
#: the table's statistics are older than the jobs (the run times move all the time), the
#: planner expects a single one to be due, and prefers that to the index in their order.
#: Where it has to sort all the same, it takes that for so costly that it would compile
#: the query first, which lasts a fifth of a second; so no compiling either.
_LIMIT_ON_IDLING = (
    f"set_config('idle_in_transaction_session_timeout', '{IDLE_SECONDS}s', true)"
)
LIMITS = (
    f"set_config('lock_timeout', '{LOCK_SECONDS}s', true), {_LIMIT_ON_IDLING}, "
    "set_config('enable_sort', 'off', true), set_config('jit', 'off', true)"
)


class PostgreSQL(Statements):
    """Arrays of columns instead of rows one by one: one round trip for a batch."""

    now = "STATEMENT_TIMESTAMP()"

    def limit_locks(self) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT {LIMITS}")

    def limit_idling(self) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT {_LIMIT_ON_IDLING}")

    def fold_limits(self) -> None:
        self.folded = True

    def _limits(self) -> tuple[str, str]:
        """Return what an UPDATE begins with, and adds to FROM, to set the limits."""
        if not self.folded:
            return "", ""
        self.folded = False
        # Evaluated before the rows are locked, for they are joined to it.
        return f"WITH limits AS MATERIALIZED (SELECT {LIMITS}) ", ", limits"

    @staticmethod
    def instant(column: str) -> str:
        # Without USE_TZ the driver would answer the wall time of the session's zone.
        return f"({column} AT TIME ZONE 'UTC')"

    def adapt_time(self, value: datetime) -> Any:
        return value

    def count_running(self, job_ids: Collection[str]) -> dict[str, int]:
        if not job_ids:
            return {}
        return dict(
            self.rows(
                f"SELECT job_id, COUNT(DISTINCT claim_id) FROM {self.executions} "
                f"WHERE job_id = ANY(%s) AND status IN ({RUNNING_SQL}) GROUP BY job_id",
                [list(job_ids)],
            )
        )

    def open_claim(
        self,
        membership: Membership,
        given_now: datetime | None,
        aliases: Sequence[str],
        unresolved: Sequence[str],
    ) -> Look:
        state, params = self._state(aliases, unresolved)
        limits, source = self._limits()
        now = self.now if given_now is None else "%s::timestamptz"
        given = [] if given_now is None else [given_now]
        renewed = self.rows(
            f"{limits}UPDATE {self.processes} AS process SET "
            f"lease_until = {now} + %s, tick_time = {now}, executors = %s "
            f"FROM (SELECT 1) AS one{source} WHERE process.id = %s "
            f"AND process.state <> '{SchedulerProcess.State.DEAD.value}' "
            f"RETURNING {state}",
            [
                *given,
                membership.lease,
                *given,
                membership.note_executors(),
                membership.id or 0,
                *params,
            ],
        )
        if not renewed:
            raise LeaseLost
        return self._look(renewed[0])

    def write(
        self,
        advances: list[Advance],
        entries: list[Entry],
        owner_id: int,
        now: datetime,
        aliases: Sequence[str],
        unresolved: Sequence[str],
    ) -> tuple[dict[str, int], datetime | None]:
        if not (advances and entries):
            return super().write(advances, entries, owner_id, now, aliases, unresolved)
        update, values = self._advance(advances)
        insert, more = self._insert(entries, owner_id, now)
        # The statement sees the jobs that it moves on as they were before.
        others = [*unresolved, *(row.id for row in advances)] if aliases else []
        columns, params = self._first_due(aliases, others)
        found = self.rows(
            f"WITH advanced AS ({update}) {', '.join([insert, *columns])}",
            [*values, *more, *params],
        )
        if not found:
            # All had been claimed before, and no row says what is due next.
            return {}, self.next_due(aliases, unresolved)
        due = [aware(time) for time in found[0][2:] if time is not None]
        return {row[0]: row[1] for row in found}, min(due, default=None)

    def notify(self) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(f"NOTIFY {CHANNEL}")

    def add_alone(self, row: Row, now: datetime | None) -> bool:
        values = [*row[: len(ADDED)], now, now, now]
        with self.connection.cursor() as cursor:
            cursor.execute(_add_alone(self.jobs), values)
            return cursor.rowcount == 1

    def add(self, rows: Sequence[Row], now: datetime | None) -> Collection[str]:
        # Ids are not looked up first: who waits here for a rival's commit sees its
        # row, and nothing needs a savepoint.
        written: set[str] = set()
        for some in chunks(rows):
            alike: dict[str, Any] = {}
            arrays: list[list] = []
            for name, column in zip(ADDED, zip(*some)):
                if name != "id" and len(set(column)) == 1:
                    alike[name] = column[0]
                else:
                    arrays.append(list(column))
            values = [now, now, *alike.values(), *arrays]
            with self.connection.cursor() as cursor:
                cursor.execute(_add(self.jobs, tuple(alike)), values)
                written.update(id for (id,) in cursor.fetchall())
        return written

    def backends(self, ids: list[int]) -> list[tuple[int, int]]:
        # Behind a pooler the number is the pooler's, and may be a stranger's here.
        name = self.connection.settings_dict["OPTIONS"].get("application_name", "")
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"SELECT pid, {_SINCE} FROM pg_stat_activity WHERE pid = ANY(%s) "
                "AND datname = current_database() AND usename = session_user "
                "AND application_name = left(%s, 63) ORDER BY pid",
                [ids, name],
            )
            return cursor.fetchall()

    def end_backend(self, number: int, since: int) -> bool:
        with self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                f"WHERE pid = %s AND {_SINCE} = %s AND pid <> pg_backend_pid()",
                [number, since],
            )
            return (True,) in cursor.fetchall()

    def advance(self, rows: list[Advance]) -> None:
        if rows:
            with self.connection.cursor() as cursor:
                cursor.execute(*self._advance(rows))

    def _advance(self, rows: list[Advance]) -> tuple[str, list[Any]]:
        return (
            (
                f"UPDATE {self.jobs} AS job SET next_run_time = new.next_run_time, "
                "nominal_time = new.nominal_time, anchor_time = new.anchor_time, "
                "state = new.state, finished_time = new.finished_time "
                "FROM unnest(%s::text[], %s::timestamptz[], %s::timestamptz[], "
                "%s::timestamptz[], %s::text[], %s::timestamptz[]) AS new("
                "id, next_run_time, nominal_time, anchor_time, state, finished_time) "
                "WHERE job.id = new.id"
            ),
            _columns(rows),
        )

    def insert(
        self, entries: list[Entry], owner_id: int, now: datetime
    ) -> dict[str, int]:
        return dict(self.rows(*self._insert(entries, owner_id, now))) if entries else {}

    def _insert(
        self, entries: list[Entry], owner_id: int, now: datetime
    ) -> tuple[str, list[Any]]:
        names = ", ".join(Entry._fields)
        return (
            (
                f"INSERT INTO {self.executions} ({names}, owner_id, claimed_time, "
                "attempt, losses, origin, requested_by) "
                f"SELECT {names}, %s, %s, 1, 0, %s, '' FROM unnest(%s::text[], "
                "%s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[], "
                "%s::int[], %s::timestamptz[], %s::text[], %s::uuid[], %s::text[], "
                f"%s::text[]) AS new({names}) "
                "ON CONFLICT (fire_key) DO NOTHING RETURNING fire_key, id"
            ),
            [
                owner_id,
                now,
                DjangoJobExecution.Origin.SCHEDULE.value,
                *_columns(entries),
            ],
        )

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
                f"AND execution.status IN ({RUNNING_SQL}) RETURNING execution.id",
                [DjangoJobExecution.STARTED, *_columns(rows)],
            )
            return {id for (id,) in cursor.fetchall()}

    def settle(self, rows: list[Ending]) -> set[int]:
        if not rows:
            return set()
        limits, source = self._limits()
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"{limits}UPDATE {self.executions} AS execution "
                "SET status = new.status, "
                "started_time = COALESCE(new.started_time, execution.started_time), "
                "finished_time = new.finished_time, duration = new.duration, "
                "finished = new.finished, exception = new.exception, "
                "traceback = new.traceback FROM unnest(%s::bigint[], %s::bigint[], "
                "%s::int[], %s::text[], %s::timestamptz[], %s::timestamptz[], "
                "%s::numeric[], %s::numeric[], %s::text[], %s::text[]) AS new(id, "
                "owner_id, attempt, status, started_time, finished_time, duration, "
                f"finished, exception, traceback){source} "
                "WHERE execution.id = new.id "
                "AND execution.owner_id = new.owner_id "
                "AND execution.attempt = new.attempt "
                f"AND execution.status IN ({RUNNING_SQL}) RETURNING execution.id",
                _columns(rows),
            )
            return {id for (id,) in cursor.fetchall()}
