"""MySQL and MariaDB: bounded locks, and a number that tells of edits."""

from __future__ import annotations

from django.db import transaction
from django.db.models import F

from django_apscheduler.jobstores.django.sql import (
    IDLE_SECONDS,
    LOCK_SECONDS,
    Statements,
)
from django_apscheduler.models import SchedulerControl

#: Seconds by which two readings of a server's start may differ.
START_SECONDS = 5


class MySQL(Statements):
    """The general statements; edits are told by a number that grows."""

    # InnoDB locks whatever rows it looks at, so any other index would hide the jobs of
    # other schedulers from them.
    by_due = " FORCE INDEX (apscheduler_job_due)"
    # Of more than a few jobs the planner would read the whole history.
    by_active = " FORCE INDEX (apscheduler_exec_active)"
    now = "UTC_TIMESTAMP(6)"
    quote = "`"

    unless_known = "ON DUPLICATE KEY UPDATE id = id"

    def limit_locks(self) -> None:
        # For the session, which is the engine's own, so once is enough.
        connection = self.connection
        if getattr(connection, "apscheduler_limited", None) is connection.connection:
            return
        limits = f"innodb_lock_wait_timeout = {LOCK_SECONDS}"
        if connection.mysql_is_mariadb:
            limits += f", SESSION idle_transaction_timeout = {IDLE_SECONDS}"
        with connection.cursor() as cursor:
            cursor.execute(f"SET SESSION {limits}")
        connection.apscheduler_limited = connection.connection

    def backends(self, ids: list[int]) -> list[tuple[int, int]]:
        if not ids:
            return []
        since = self._server_start()
        with self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT id FROM information_schema.processlist WHERE id IN %s "
                "AND user = SUBSTRING_INDEX(CURRENT_USER(), '@', 1) ORDER BY id",
                [tuple(ids)],
            )
            return [(number, since) for (number,) in cursor.fetchall()]

    def end_backend(self, number: int, since: int) -> bool:
        # A server counts its connections and uses no number twice, but begins again
        # when it is started anew.
        if abs(self._server_start() - since) > START_SECONDS:
            return False
        with self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT id FROM information_schema.processlist WHERE id = %s", [number]
            )
            if not cursor.fetchall():
                return False
            cursor.execute("KILL CONNECTION %s", [number])
            return True

    def _server_start(self) -> int:
        """Return when the server was started, in seconds since 1970."""
        with self.connection.cursor() as cursor:
            cursor.execute("SHOW GLOBAL STATUS LIKE 'Uptime'")
            _, uptime = cursor.fetchone()
            cursor.execute("SELECT UNIX_TIMESTAMP()")
            (now,) = cursor.fetchone()
        return int(now) - int(uptime)

    def notify(self) -> None:
        # After the commit, so that edits do not wait for each other's. The edit stands
        # by then: if this fails, schedulers see it a second later, by themselves.
        transaction.on_commit(
            self._raise_sequence, using=self.connection.alias, robust=True
        )

    def _raise_sequence(self) -> None:
        rows = SchedulerControl.objects.using(self.connection.alias)
        only = rows.filter(pk=SchedulerControl.ROW)
        if not only.update(edit_sequence=F("edit_sequence") + 1):
            rows.get_or_create(pk=SchedulerControl.ROW, defaults={"edit_sequence": 1})
