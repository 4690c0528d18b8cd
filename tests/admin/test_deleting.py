"""What the pages that ask before rows are deleted show."""

from __future__ import annotations

from django.contrib.admin import site
from django.contrib.admin.utils import get_deleted_objects
from django.contrib.auth.models import User
from django.test import RequestFactory

from django_apscheduler.admin import base
from django_apscheduler.models import DjangoJob, DjangoJobExecution, SchedulerProcess
from tests.admin import rows
from tests.admin.test_jobs import AdminCase


class DeletedObjectsTest(AdminCase):
    def test_rows_are_named_and_counted_as_django_does(self):
        rows.job("a/b?c", name="<b>Reports</b> & bills")
        rows.job("plain")
        rows.execution("plain", hours=1)
        rows.execution("plain", hours=2, status="Error!")
        request = RequestFactory().get("/")
        for permitted in (True, False):
            request.user = User.objects.create_user(f"user-{permitted}", is_staff=True)
            request.user.is_superuser = permitted
            for model in (DjangoJob, DjangoJobExecution):
                with self.subTest(model=model, permitted=permitted):
                    found = model.objects.order_by("pk")
                    expected = get_deleted_objects(found, request, site)
                    admin = site._registry[model]
                    shown, counts, needed, protected = admin.get_deleted_objects(
                        found, request
                    )
                    self.assertEqual(list(map(str, shown)), list(map(str, expected[0])))
                    self.assertEqual(
                        (dict(counts), needed, protected),
                        (dict(expected[1]), expected[2], expected[3]),
                    )
                    self.assertEqual(bool(needed), not permitted)

    def test_what_would_be_deleted_along_is_left_to_django(self):
        for model in (DjangoJob, DjangoJobExecution, SchedulerProcess):
            self.assertTrue(base._goes_alone(model), model)
        # Lines of Django's log go with the user.
        self.assertFalse(base._goes_alone(User))

    def test_no_rows_are_nothing_to_delete(self):
        admin = site._registry[DjangoJob]
        found = admin.get_deleted_objects(DjangoJob.objects.none(), None)
        self.assertEqual(found[0], [])
