"""The example for Django views, and the manual's snippets, work inside a project."""

from __future__ import annotations

import importlib.util
import json
import sys
from datetime import timedelta
from pathlib import Path

from django import VERSION
from django.core import mail
from django.db import transaction
from django.test import RequestFactory, TestCase, override_settings
from django.utils import timezone

from django_apscheduler import get_scheduler, signals
from django_apscheduler.models import DjangoJob, DjangoJobExecution
from django_apscheduler.testing import run_due

from .test_quickstart import block

PATH = Path(__file__).resolve().parents[2] / "examples" / "django_view.py"
#: As ADMINS lists people: since Django 6.0 by address alone.
ANN = "ann@example.com" if VERSION >= (6, 0) else ("Ann", "ann@example.com")


def crash() -> None:
    raise RuntimeError("the job's own fault")


class DjangoViewTest(TestCase):
    """``examples/django_view.py``."""

    def setUp(self):
        spec = importlib.util.spec_from_file_location("django_view", PATH)
        self.example = importlib.util.module_from_spec(spec)
        # Rows name callables by module, so the module must be found by name.
        sys.modules["django_view"] = self.example
        self.addCleanup(sys.modules.pop, "django_view")
        spec.loader.exec_module(self.example)

    def post(self, view, **data):
        response = view(RequestFactory().post("/", data), user_id=7)
        self.assertEqual(response.status_code, 200)
        return json.loads(response.content)

    def test_a_view_schedules_a_reminder(self):
        answer = self.post(self.example.schedule_reminder, text="buy milk")
        self.assertEqual(answer["id"], "reminder-7")
        row = DjangoJob.objects.get(pk="reminder-7")
        self.assertEqual(row.func, "django_view:remind")
        self.assertEqual(json.loads(row.args), [7, "buy milk"])
        wait = row.next_run_time - timezone.now()
        self.assertLess(abs(wait - timedelta(hours=1)), timedelta(minutes=1))

    def test_asking_again_moves_the_reminder(self):
        for text in ("buy milk", "buy bread"):
            self.post(self.example.schedule_reminder, text=text)
        (row,) = DjangoJob.objects.all()
        self.assertEqual(json.loads(row.args), [7, "buy bread"])

    def test_the_reminder_can_be_taken_back(self):
        self.post(self.example.schedule_reminder, text="buy milk")
        self.assertEqual(self.post(self.example.cancel_reminder), {"cancelled": True})
        self.assertEqual(self.post(self.example.cancel_reminder), {"cancelled": False})
        self.assertFalse(DjangoJob.objects.exists())

    def test_a_rolled_back_transaction_leaves_no_job(self):
        with self.assertRaisesMessage(RuntimeError, "the order failed"):
            with transaction.atomic():
                get_scheduler().add_job(
                    self.example.remind, "interval", hours=1, args=[7, "x"], id="it"
                )
                self.assertTrue(DjangoJob.objects.filter(pk="it").exists())
                raise RuntimeError("the order failed")
        self.assertFalse(DjangoJob.objects.filter(pk="it").exists())


class SnippetsTest(TestCase):
    """Blocks of the manual that need a database."""

    def test_quickstart_schedule_from_anywhere(self):
        """Pause, reschedule, resume and run now through ``get_scheduler()``."""
        for id in ("stock-levels", "clear-sessions"):
            get_scheduler().add_job("os:getcwd", "interval", minutes=10, id=id)
        beginning = "from django_apscheduler import get_scheduler\n\nscheduler = "
        exec(block("docs/quickstart.md", beginning), {})
        job = DjangoJob.objects.get(pk="stock-levels")
        self.assertEqual(job.state, "active")
        wait = job.next_run_time - timezone.now()
        self.assertLess(abs(wait - timedelta(minutes=30)), timedelta(minutes=1))
        (asked,) = DjangoJobExecution.objects.all()
        self.assertEqual((asked.job_id, asked.status), ("clear-sessions", "Queued"))

    @override_settings(ADMINS=[ANN])
    def test_events_a_receiver_is_told_of_a_failure(self):
        """The receiver of the page on events mails the traceback."""
        space: dict = {}
        exec(block("docs/events.md", "from django.core.mail import mail_admins"), space)
        self.addCleanup(signals.job_error.disconnect, space["tell_somebody"])
        get_scheduler().add_job(crash, id="unlucky")
        (ran,) = run_due(raise_exceptions=False)
        self.assertEqual(ran.status, "Error!")
        (sent,) = mail.outbox
        self.assertIn("unlucky failed", sent.subject)
        self.assertIn("the job's own fault", sent.body)

    def test_jobstores_old_executions_are_deleted(self):
        """The page on job stores deletes what is older than a week."""
        now = timezone.now()
        for days in (6, 8):
            DjangoJobExecution.objects.create(
                status=DjangoJobExecution.SUCCESS, run_time=now - timedelta(days=days)
            )
        exec(block("docs/jobstores.md", "from django_apscheduler.models import"), {})
        (left,) = DjangoJobExecution.objects.all()
        self.assertEqual(left.run_time, now - timedelta(days=6))
