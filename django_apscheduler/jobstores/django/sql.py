"""
The statements of claims and outcomes, for any database.

Django's ORM writes many different rows slowly, and a claim or a batch of outcomes is
exactly that. What a database does better in its own way is a subclass in its own file.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence, Sized
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import IntegrityError, connections
from django.db.models import Case, TextField, Value, When
from django.db.models.functions import Concat

from django_apscheduler.jobstores.django.records import (
    Advance,
    Ending,
    Entry,
    Look,
    Start,
)
from django_apscheduler.jobstores.django.rows import COLUMNS, Row
from django_apscheduler.models import (
    DjangoJob,
    DjangoJobExecution,
    SchedulerControl,
    SchedulerProcess,
)
from django_apscheduler.util import utc

if TYPE_CHECKING:
    from django_apscheduler.jobstores.django.membership import Membership

RUNNING = DjangoJobExecution.RUNNING
#: The same as a list in SQL. The statuses are written out, so that planners see that
#: the index over active executions serves.
RUNNING_SQL = ", ".join(f"'{status}'" for status in RUNNING)
#: The condition of that index, which SQLite wants to see repeated word for word.
ACTIVE_SQL = f"status IN ('{DjangoJobExecution.QUEUED}', {RUNNING_SQL})"

#: Jobs added by one statement.
BULK_ROWS = 1000

#: Seconds that a transaction of the engine waits for a lock before it gives up, and
#: that the server lets it sit idle: a frozen scheduler's locks hide jobs from others.
LOCK_SECONDS = 4
IDLE_SECONDS = 5


def aware(value: Any) -> Any:
    """Return an instant as the statements select it, aware, in UTC."""
    if value is None:
        return None
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return value.replace(tzinfo=utc)


def _uuid(value: Any) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)


#: Types of values that every driver takes as they are.
AS_THEY_ARE = {str, int, float, bool, type(None)}


def _marks(values: Sized) -> str:
    return ", ".join(["%s"] * len(values))


def _not_in(values: Sized) -> str:
    return f"NOT IN ({_marks(values)})"


#: What a job's columns need that drivers answer in different ways, by position.
INSTANTS = ("next_run_time", "nominal_time", "anchor_time")
CONVERTERS: list[tuple[int, Callable[[Any], Any]]] = [
    (COLUMNS.index("uid"), _uuid),
    (COLUMNS.index("coalesce"), bool),
    (COLUMNS.index("transactional"), bool),
    *((COLUMNS.index(name), aware) for name in INSTANTS),
]


def _fields(model: Any) -> dict[str, Any]:
    return {field.attname: field for field in model._meta.concrete_fields}


#: What a new job is written from, and the columns that are the same for all of them.
ADDED = COLUMNS[:-2]
ADDED_ALIKE = {
    "revision": "1",
    "error": "''",
    "paused_by": "''",
    "pause_reason": "''",
    "overrides": "'[]'",
}

JOB_FIELDS = _fields(DjangoJob)
EXECUTION_FIELDS = _fields(DjangoJobExecution)


def added_note(text: str) -> Any:
    """Return an expression for a row's note with one more line."""
    return Case(
        When(note="", then=Value(text)),
        default=Concat("note", Value(f"\n{text}"), output_field=TextField()),
        output_field=TextField(),
    )


@lru_cache(maxsize=16)
def insert_job(table: str, now: str, quote: str = '"') -> str:
    """
    Return the statement that adds a job, with marks for `ADDED` and the time.

    :param now: an expression with one mark for the time, or none
    :param quote: what stands around names; one of them, trigger, is a word of SQL
    """
    columns = (*ADDED, *ADDED_ALIKE, "created_time", "changed_time")
    names = ", ".join(f"{quote}{name}{quote}" for name in columns)
    marks = ", ".join(["%s"] * len(ADDED))
    return (
        f"INSERT INTO {table} ({names}) "
        f"VALUES ({marks}, {', '.join(ADDED_ALIKE.values())}, {now}, {now})"
    )


def chunks(items: Sequence, size: int = BULK_ROWS) -> Iterator[Any]:
    """Return an iterator of slices with at most ``size`` items."""
    return (items[start : start + size] for start in range(0, len(items), size))


class Statements:
    """
    The statements in SQL that every database understands.

    They are written by hand because a claim makes six of them, and the ORM takes longer
    to put one together than the database to answer it.

    :ivar folded: whether this transaction's limits on locks are still to be set, by the
        first statement that can carry them along
    """

    #: Names the index of the claim's order, where the database would not take it.
    by_due = ""
    #: Names the index over active executions, likewise.
    by_active = ""
    #: The present by the database's clock, as stored.
    now = "CURRENT_TIMESTAMP"
    #: What stands around names.
    quote = '"'

    @property
    def least_now(self) -> str:
        """The present, no later in the database's order than a column that holds it."""
        return self.now

    #: Ends the insertion of an execution: one whose fire key exists is left as it is.
    #: Not INSERT IGNORE, which on MySQL cuts values short as well.
    unless_known = "ON CONFLICT (fire_key) DO NOTHING"

    def __init__(self, connection: Any):
        self.connection = connection
        self.folded = False
        quote = connection.ops.quote_name
        self.jobs = quote(DjangoJob._meta.db_table)
        self.executions = quote(DjangoJobExecution._meta.db_table)
        self.processes = quote(SchedulerProcess._meta.db_table)
        self.control = quote(SchedulerControl._meta.db_table)
        self.job_columns = ", ".join(
            self.instant(quote(name)) if name in INSTANTS else quote(name)
            for name in COLUMNS
        )
        features = connection.features
        self.locked = (
            " " + connection.ops.for_update_sql(skip_locked=True)
            if features.has_select_for_update
            and features.has_select_for_update_skip_locked
            else ""
        )

    def limit_locks(self) -> None:
        """Bound how long this transaction can wait, or make others wait."""

    def limit_idling(self) -> None:
        """
        Bound how long this transaction may sit idle, where that can be for it alone.

        For those on the user's connections: a process that is frozen in the middle of
        one would hide all jobs that it has locked from the schedulers.
        """

    def fold_limits(self) -> None:
        """Have the next statement bound it, where that saves a round trip."""
        self.limit_locks()

    # Reading.

    @staticmethod
    def instant(column: str) -> str:
        """
        Return how to select an instant: in UTC without a zone.

        The answer is a text or, if the driver makes one, a naive datetime; see `aware`.
        """
        return column

    def rows(self, sql: str, params: Sequence[Any]) -> list[tuple]:
        """Return the rows of a query."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql, params)
            return cursor.fetchall()

    def look(
        self, aliases: Sequence[str], unresolved: Sequence[str], *, due: bool = True
    ) -> Look:
        """
        Read whether there is something to claim for some executors; one query.

        :param unresolved: ids of jobs to leave alone
        :param due: whether to find out when the first job is due
        """
        sql, params = self._state(aliases, unresolved)
        columns = [sql]
        if due:
            first, more = self._first_due(aliases, unresolved)
            columns += first
            params += more
        (row,) = self.rows(f"SELECT {', '.join(columns)}", params)
        return self._look(row)

    def _look(self, row: tuple) -> Look:
        paused, now, queued, *due = row
        times = [aware(time) for time in due if time is not None]
        return Look(bool(paused), aware(now), bool(queued), min(times, default=None))

    def _state(
        self, aliases: Sequence[str], unresolved: Sequence[str]
    ) -> tuple[str, list[Any]]:
        others = f" AND (job_id IS NULL OR job_id {_not_in(unresolved)})"
        return (
            (
                f"(SELECT paused FROM {self.control} WHERE id = {SchedulerControl.ROW}), "
                f"{self.instant(self.now)}, EXISTS (SELECT 1 FROM {self.executions} WHERE {ACTIVE_SQL} "
                f"AND status = '{DjangoJobExecution.QUEUED}' AND executor IN ({_marks(aliases)})"
                f"{others if unresolved else ''})"
            ),
            [*aliases, *unresolved],
        )

    def _first_due(
        self, aliases: Sequence[str], unresolved: Sequence[str]
    ) -> tuple[list[str], list[Any]]:
        others = f" AND id {_not_in(unresolved)}" if unresolved else ""
        query = (
            f"(SELECT {self.instant('next_run_time')} FROM {self.jobs}{self.by_due} "
            "WHERE executor = %s AND next_run_time IS NOT NULL "
            f"AND state = '{DjangoJob.State.ACTIVE.value}'{others} "
            "ORDER BY next_run_time, id LIMIT 1)"
        )
        params = [value for alias in aliases for value in (alias, *unresolved)]
        return [query] * len(aliases), params

    def next_due(
        self, aliases: Sequence[str], unresolved: Sequence[str]
    ) -> datetime | None:
        """Return when the first job of some executors is due, None for never."""
        if not aliases:
            return None
        columns, params = self._first_due(aliases, unresolved)
        (row,) = self.rows(f"SELECT {', '.join(columns)}", params)
        times = [aware(time) for time in row if time is not None]
        return min(times, default=None)

    def present(self, job_ids: Collection[str]) -> tuple[datetime, datetime | None]:
        """Return the present, and the first run time from it on of jobs in the log."""
        if not job_ids:
            return aware(self.rows(f"SELECT {self.instant(self.now)}", [])[0][0]), None
        ((now, first),) = self.rows(
            f"SELECT {self.instant(self.now)}, (SELECT {self.instant('MIN(run_time)')} "
            f"FROM {self.executions} WHERE job_id IN ({_marks(job_ids)}) "
            f"AND run_time >= {self.least_now})",
            list(job_ids),
        )
        return aware(now), aware(first)

    def due(
        self, alias: str, now: datetime, limit: int, unresolved: Sequence[str]
    ) -> list[Row]:
        """
        Return an executor's due jobs, the oldest first, locked; others' are left out.

        The order is that of an index, by which MariaDB locks no more than it answers;
        with the executor in it as well, MariaDB would sort.
        """
        others = f" AND id {_not_in(unresolved)}" if unresolved else ""
        found = self.rows(
            f"SELECT {self.job_columns} FROM {self.jobs}{self.by_due} "
            "WHERE executor = %s AND next_run_time <= %s "
            f"AND state = '{DjangoJob.State.ACTIVE.value}'{others} "
            f"ORDER BY next_run_time, id LIMIT {limit:d}{self.locked}",
            [alias, self.adapt_time(now.astimezone(utc)), *unresolved],
        )
        return [self._row(values) for values in found]

    def _row(self, values: tuple) -> Row:
        converted = list(values)
        for index, convert in CONVERTERS:
            converted[index] = convert(converted[index])
        return Row._make(converted)

    def count_running(self, job_ids: Collection[str]) -> dict[str, int]:
        """
        Return how many instances of each job there are in all schedulers.

        Run times of one submission run in succession, as one instance.
        """
        if not job_ids:
            return {}
        return dict(
            self.rows(
                f"SELECT job_id, COUNT(DISTINCT claim_id) FROM {self.executions}"
                f"{self.by_active} WHERE job_id IN ({_marks(job_ids)}) AND {ACTIVE_SQL} "
                f"AND status IN ({RUNNING_SQL}) GROUP BY job_id",
                list(job_ids),
            )
        )

    # Writing.

    def open_claim(
        self,
        membership: Membership,
        given_now: datetime | None,
        aliases: Sequence[str],
        unresolved: Sequence[str],
    ) -> Look:
        """
        Begin a claim: renew the lease, then look. The answer says nothing of due jobs.

        :raises LeaseLost: when somebody has declared this scheduler dead
        """
        membership.renew(given_now, tick=True)
        return self.look(aliases, unresolved, due=False)

    def write(
        self,
        advances: list[Advance],
        entries: list[Entry],
        owner_id: int,
        now: datetime,
        aliases: Sequence[str],
        unresolved: Sequence[str],
    ) -> tuple[dict[str, int], datetime | None]:
        """
        Write what a claim decided: `advance`, then `insert`.

        :param aliases: executors to read for when one of their jobs is due next
        :return: what `insert` answers, and what `next_due` would, although jobs moved on
            by this very claim may be left out of that
        """
        self.advance(advances)
        ids = self.insert(entries, owner_id, now)
        return ids, self.next_due(aliases, unresolved)

    def notify(self) -> None:
        """Tell all schedulers, on commit, that jobs were edited."""

    def backends(self, ids: list[int]) -> list[tuple[int, int]]:
        """
        Return those of the engine's connections that the server knows by these numbers.

        :return: number and what tells it from a later connection of the same number
        """
        return []

    def end_backend(self, number: int, since: int) -> bool:
        """End a connection that `backends` named; tell whether it was still there."""
        return False

    def adapt(self, fields: dict[str, Any], names: Any, row: tuple) -> list[Any]:
        """Return a row's values as the database's driver takes them."""
        connection = self.connection
        values = []
        for name, value in zip(names, row):
            kind = type(value)
            # What a claim writes thousands of, without asking each field.
            if kind in AS_THEY_ARE:
                values.append(value)
            elif kind is datetime and value.tzinfo is utc:
                values.append(self.adapt_time(value))
            else:
                field = fields[name]
                values.append(field.get_db_prep_value(value, connection))
        return values

    def adapt_time(self, value: datetime) -> Any:
        """Return an instant in UTC as the driver takes it: without its zone."""
        adapt = self.connection.ops.adapt_datetimefield_value
        return adapt(value.replace(tzinfo=None))

    def add_alone(self, row: Row, now: datetime | None) -> bool:
        """
        Add a job in one statement, outside of any transaction or in the caller's.

        :param now: aware; the database's clock when None
        :return: False when its id is taken, and nothing was written
        """
        try:
            with self.connection.cursor() as cursor:
                cursor.execute(*self._insertion([row], now, one=True))
        except IntegrityError:
            return False
        self.notify()
        return True

    def add(self, rows: Sequence[Row], now: datetime | None) -> Collection[str]:
        """
        Add jobs whose ids are free.

        :param now: aware; the database's clock when None
        :return: ids of those that were
        :raises IntegrityError: when another process takes an id at this moment
        """
        jobs = DjangoJob.objects.using(self.connection.alias)
        taken: set[str] = set()
        for some in chunks(rows):
            found = jobs.filter(id__in=[row.id for row in some])
            taken.update(found.values_list("id", flat=True))
        free = [row for row in rows if row.id not in taken]
        for some in chunks(free):
            with self.connection.cursor() as cursor:
                cursor.executemany(*self._insertion(some, now))
        return {row.id for row in free}

    def _insertion(
        self, rows: Sequence[Row], now: datetime | None, one: bool = False
    ) -> tuple[str, list]:
        """Return the statement that adds jobs, and its values for each, or for one."""
        times = self.adapt(JOB_FIELDS, ("created_time",), (now,)) * 2 if now else []
        values = [
            self.adapt(JOB_FIELDS, ADDED, row[: len(ADDED)]) + times for row in rows
        ]
        statement = insert_job(self.jobs, "%s" if now else self.now, self.quote)
        return statement, values[0] if one else values

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
        self.insert_ignoring(entries, owner_id, now)
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

    def insert_ignoring(
        self, entries: list[Entry], owner_id: int, now: datetime
    ) -> None:
        """Write rows of the execution log, except those whose fire key exists."""
        names = (
            *Entry._fields,
            "owner_id", "claimed_time", "attempt", "losses", "origin", "requested_by",
        )  # fmt: skip
        constant = (owner_id, now, 1, 0, DjangoJobExecution.Origin.SCHEDULE.value, "")
        values = [
            self.adapt(EXECUTION_FIELDS, names, (*entry, *constant))
            for entry in entries
        ]
        marks = ", ".join(["%s"] * len(names))
        with self.connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO {self.executions} ({', '.join(names)}) VALUES ({marks}) "
                f"{self.unless_known}",
                values,
            )

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
    """Return the statements for the database of ``connection``, made once for each."""
    made = connection.__dict__.get("apscheduler_statements")
    if made is None:
        made = connection.apscheduler_statements = _class(connection.vendor)(connection)
    return made


def begin_to_write(using: str) -> None:
    """
    Make the transaction that has just begun one that writes.

    On SQLite one that reads first cannot go on to write when a scheduler has written
    meanwhile: "database is locked", at once and whatever the time-out. Other databases
    know no such thing.
    """
    connection = connections[using]
    if connection.vendor == "sqlite":
        statements(connection).limit_locks()


def _class(vendor: str) -> type[Statements]:
    if vendor == "postgresql":
        from django_apscheduler.jobstores.django.postgresql import PostgreSQL

        return PostgreSQL
    if vendor == "mysql":
        from django_apscheduler.jobstores.django.mysql import MySQL

        return MySQL
    if vendor == "sqlite":
        from django_apscheduler.jobstores.django.sqlite import SQLite

        return SQLite
    return Statements
