"""SQLite: one writer at a time, and a counter that tells of others' writes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django_apscheduler.jobstores.django.records import Ending, Entry
from django_apscheduler.jobstores.django.sql import (
    EXECUTION_FIELDS,
    RUNNING_SQL,
    Statements,
)
from django_apscheduler.models import SchedulerControl


class SQLite(Statements):
    """The general statements, in transactions that are writers from the start."""

    # Without statistics it would count along a job's whole history.
    by_active = " INDEXED BY apscheduler_exec_active"
    # Six digits, as Django writes them: the column is compared as text.
    now = "(STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'now') || '000')"

    @property
    def least_now(self) -> str:
        # Django writes a whole second without digits, which as a text comes before the
        # same second with six zeros.
        return f"RTRIM(RTRIM({self.now}, '0'), '.')"

    def limit_locks(self) -> None:
        # A transaction that reads first and then writes fails at once when another has
        # written between. This changes no row, and makes the transaction a writer.
        table = self.connection.ops.quote_name(SchedulerControl._meta.db_table)
        with self.connection.cursor() as cursor:
            cursor.execute(f"UPDATE {table} SET paused = paused WHERE id < 0")

    def adapt_time(self, value: datetime) -> str:
        # As Django writes them.
        return str(value.replace(tzinfo=None))

    # There is one writer at a time, and these are in its transaction: what one statement
    # finds, the next one changes, and nobody else comes between.

    def insert(
        self, entries: list[Entry], owner_id: int, now: datetime
    ) -> dict[str, int]:
        if not entries:
            return {}
        ((last,),) = self.rows(f"SELECT MAX(id) FROM {self.executions}", [])
        self.insert_ignoring(entries, owner_id, now)
        written = f"SELECT fire_key, id FROM {self.executions} WHERE id > %s"
        return dict(self.rows(written, [last or 0]))

    def settle(self, rows: list[Ending]) -> set[int]:
        ours = self._ours([row[:3] for row in rows])
        names = Ending._fields[3:]
        values = [
            [*self.adapt(EXECUTION_FIELDS, names, row[3:]), row.id]
            for row in rows
            if row.id in ours
        ]
        with self.connection.cursor() as cursor:
            cursor.executemany(
                f"UPDATE {self.executions} SET status = %s, "
                "started_time = COALESCE(%s, started_time), finished_time = %s, "
                "duration = %s, finished = %s, exception = %s, traceback = %s "
                "WHERE id = %s",
                values,
            )
        return ours

    def _ours(self, claims: list[tuple[int, int, int]]) -> set[int]:
        """Return the ids of those among (id, owner, attempt) that are still running."""
        ids = ", ".join(str(int(id)) for id, _, _ in claims)
        found = self.rows(
            f"SELECT id, owner_id, attempt FROM {self.executions} "
            f"WHERE id IN ({ids}) AND status IN ({RUNNING_SQL})",
            [],
        )
        return {id for id, _, _ in set(claims).intersection(found)}


def data_version(connection: Any) -> int:
    """Return a number that changes when another connection has written."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA data_version")
        return cursor.fetchone()[0]
