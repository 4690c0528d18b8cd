"""The example for Django views works inside a project, as the manual says it does."""

from __future__ import annotations

import importlib.util
import json
import sys
from datetime import timedelta
from pathlib import Path

from django.db import transaction
from django.test import RequestFactory, TestCase
from django.utils import timezone

from django_apscheduler import get_scheduler
from django_apscheduler.models import DjangoJob

PATH = Path(__file__).resolve().parents[2] / "examples" / "django_view.py"


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
