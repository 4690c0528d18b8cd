"""Commands change jobs while schedulers write to the same database."""

from __future__ import annotations

from io import StringIO

from django.core.management import call_command
from django.test import TransactionTestCase

from django_apscheduler import get_scheduler
from django_apscheduler.models import DjangoJob, DjangoJobExecution, SchedulerProcess
from tests.admin import rows
from tests.admin.test_locking import rival


class WhileOthersWrite(TransactionTestCase):
    def setUp(self):
        get_scheduler().add_job(rows.work, "interval", hours=1, id="hourly")
        # Makes the account of the admin's log, in a transaction of its own.
        call_command("apscheduler", "resume", "hourly", stdout=StringIO())

    def command(self, *arguments: str) -> None:
        with rival() as done:
            call_command("apscheduler", *arguments, stdout=StringIO())
        self.assertEqual(len(done), 1)
        self.assertEqual(SchedulerProcess.objects.count(), done.count("written"))

    def state(self) -> str:
        return DjangoJob.objects.get(pk="hourly").state

    def test_a_job_is_paused(self):
        self.command("pause", "hourly")
        self.assertEqual(self.state(), "paused")

    def test_a_job_is_resumed(self):
        get_scheduler().pause_job("hourly")
        self.command("resume", "hourly")
        self.assertEqual(self.state(), "active")

    def test_a_job_is_run(self):
        self.command("run", "hourly")
        self.assertEqual(DjangoJobExecution.objects.active().count(), 1)
