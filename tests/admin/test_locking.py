"""Staff save and delete while schedulers write to the same database."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from unittest import mock

from django.db import OperationalError, connection
from django.test import Client, TransactionTestCase
from django.urls import reverse

import django_apscheduler
from django_apscheduler import registry
from django_apscheduler.models import DjangoJob, DjangoJobExecution, SchedulerProcess
from tests.admin import rows
from tests.admin.browserless import form_of


@contextmanager
def rival():
    """Have somebody else write after the first statement of each transaction here."""
    done: list[str] = []

    def write() -> None:
        try:
            if connection.vendor == "sqlite":
                with connection.cursor() as cursor:
                    cursor.execute("PRAGMA busy_timeout = 0")
            rows.process()
            done.append("written")
        except OperationalError:
            # Then it has to wait until the transaction is over.
            done.append("must wait")
        finally:
            connection.close()

    def wrapper(execute, sql, params, many, context):
        result = execute(sql, params, many, context)
        if context["connection"].in_atomic_block and not done:
            if not sql.startswith("SAVEPOINT"):
                thread = threading.Thread(target=write)
                thread.start()
                thread.join(10)
        return result

    with connection.execute_wrapper(wrapper):
        yield done


class RivalTest(TransactionTestCase):
    def setUp(self):
        offered = mock.patch.dict(registry._callables, clear=True)
        offered.start()
        self.addCleanup(offered.stop)
        registry.register_callable(rows.work)
        self.client = Client()
        self.client.force_login(rows.user("ana", superuser=True))
        django_apscheduler.get_scheduler().add_job(
            rows.work, "interval", hours=1, id="hourly"
        )

    def post(self, address: str, values: dict[str, str]) -> list[str]:
        with rival() as done:
            response = self.client.post(address, values)
        self.assertEqual(response.status_code, 302)
        self.assertEqual(SchedulerProcess.objects.count(), done.count("written"))
        return done

    def test_a_duplicate_is_added(self):
        address = reverse("admin:django_apscheduler_djangojob_add")
        values = form_of(self.client.get(f"{address}?duplicate=hourly"))
        self.assertEqual(len(self.post(address, {**values, "id": "twin"})), 1)
        self.assertEqual(DjangoJob.objects.filter(pk="twin").count(), 1)

    def test_a_job_is_changed(self):
        address = rows.page("djangojob", "hourly")
        values = form_of(self.client.get(address))
        self.assertEqual(len(self.post(address, {**values, "name": "New"})), 1)
        self.assertEqual(DjangoJob.objects.get(pk="hourly").name, "New")

    def test_a_job_is_deleted(self):
        address = rows.page("djangojob", "hourly", "delete")
        self.assertEqual(len(self.post(address, {"post": "yes"})), 1)
        self.assertEqual(DjangoJob.objects.count(), 0)

    def test_a_run_is_deleted(self):
        run = rows.execution("hourly")
        address = rows.page("djangojobexecution", run.pk, "delete")
        self.assertEqual(len(self.post(address, {"post": "yes"})), 1)
        self.assertEqual(DjangoJobExecution.objects.count(), 0)
