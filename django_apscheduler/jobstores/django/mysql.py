"""MySQL and MariaDB: bounded locks."""

from __future__ import annotations

from django.db import transaction
from django.db.models import F

from django_apscheduler.jobstores.django.sql import (
    IDLE_SECONDS,
    LOCK_SECONDS,
    Statements,
)
from django_apscheduler.models import SchedulerControl


class MySQL(Statements):
    """The general statements; edits are told by a number that grows."""

    def limit_locks(self) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(f"SET SESSION innodb_lock_wait_timeout = {LOCK_SECONDS}")
            if self.connection.mysql_is_mariadb:
                cursor.execute(f"SET SESSION idle_transaction_timeout = {IDLE_SECONDS}")

    def notify(self) -> None:
        def grow() -> None:
            # After the commit, so that edits do not wait for each other's.
            rows = SchedulerControl.objects.using(self.connection.alias)
            control, _ = rows.get_or_create(pk=SchedulerControl.ROW)
            rows.filter(pk=control.pk).update(edit_sequence=F("edit_sequence") + 1)

        transaction.on_commit(grow, using=self.connection.alias)
