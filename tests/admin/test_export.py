"""The execution log as CSV."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from unittest import mock

from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from django_apscheduler.admin import export, paging
from django_apscheduler.models import DjangoJobExecution
from tests.admin import rows
from tests.admin.rows import LOG, NOON
from tests.admin.test_jobs import AdminCase

EXPORT = "admin:django_apscheduler_djangojobexecution_export"


class ExportTest(AdminCase):
    def text(self, query: str = "") -> str:
        response = self.client.get(reverse(EXPORT) + query)
        self.assertEqual(response.status_code, 200)
        return b"".join(response.streaming_content).decode()

    def lines(self, query: str = "") -> list[dict[str, str]]:
        return list(
            csv.DictReader(io.StringIO(self.text(query).removeprefix("\ufeff")))
        )

    def test_it_holds_what_the_list_shows_whatever_the_filters(self):
        rows.job("one")
        owner = rows.process(host="web-7")
        for hours in range(12):
            rows.execution(
                "one" if hours % 2 else "gone",
                hours,
                "Error!" if hours % 3 == 0 else "Executed",
                exception="ValueError: n/a" if hours == 9 else None,
                owner=owner if hours == 3 else None,
                origin="manual" if hours == 4 else "schedule",
            )
        rows.execution("one", 1, "Queued")
        for query in (
            "",
            "?job=gone",
            "?status=Error%21",
            "?status=problems&job=one",
            "?status=Queued",
            "?q=valueerror",
            "?node=web-7",
            "?node=web-7%3A4121",
            "?origin=manual",
            "?run_time__range__gte=2026-06-03T05:00&run_time__range__lte=2026-06-03T09:00",
            "?duration__range__gte=1",
            "?duration__range__gte=nonsense",
            "?q=nowhere",
        ):
            for size in (4, 1000):
                with (
                    self.subTest(query=query, size=size),
                    mock.patch.object(paging, "SCANNED_ROWS", size),
                    mock.patch.object(export, "PART_ROWS", 3),
                ):
                    exported = [line["id"] for line in self.lines(query)]
                    with mock.patch.object(paging, "SCANNED_ROWS", 1000):
                        shown = rows.listed(self.client.get(reverse(LOG) + query))
                    self.assertEqual(exported, shown)
        self.assertEqual(len(self.lines("?status=Error%21")), 4)
        self.assertEqual(len(self.lines("?node=web-7%3A4121")), 1)

    def test_a_line_tells_everything_in_utc_and_seconds(self):
        run = rows.execution(
            "one",
            1,
            job_name="Nightly “report”, all",
            owner=rows.process(host="web-7", pid=99),
            requested_by="ben",
            attempt=2,
        )
        with override_settings(TIME_ZONE="Asia/Kolkata"):
            (line,) = self.lines()
        self.assertEqual(
            line,
            {
                "id": str(run.pk),
                "job_id": "one",
                "job_name": "Nightly “report”, all",
                "status": "Executed",
                "origin": "schedule",
                "requested_by": "ben",
                "attempt": "2",
                "retry_of": "",
                "executor": "default",
                "node": "web-7:99",
                "run_time": "2026-06-03T11:00:00.000000Z",
                "last_run_time": "",
                "occurrences": "1",
                "claimed_time": "",
                "started_time": "2026-06-03T11:00:00.500000Z",
                "finished_time": "2026-06-03T11:00:02.500000Z",
                "lateness_seconds": "0.500000",
                "duration_seconds": "2.000000",
                "error": "",
                "note": "",
                "traceback": "",
            },
        )
        self.assertTrue(self.text().startswith("\ufeffid,job_id,"))

    def test_no_text_is_a_formula(self):
        for text in (
            "=1+1",
            "+1",
            "-1",
            "@SUM(A1)",
            "＝1+1",
            "＠SUM(A1)",
            "\t=1",
            "\r=1",
            "\n=1",
            " =1",
            '=HYPERLINK("http://x","y")',
        ):
            with self.subTest(text=text):
                self.assertEqual(export.disarm(text), f"'{text}")
        self.assertEqual(export.disarm("a=1"), "a=1")
        self.assertEqual(export.disarm(None), "")
        rows.execution(
            "=job",
            1,
            "Error!",
            job_name="=name",
            exception="=error",
            note="=note",
            requested_by="=user",
            executor="=gpu",
            traceback="=trace",
        )
        (line,) = self.lines()
        self.assertEqual([cell for cell in line.values() if cell.startswith("=")], [])

    def test_more_rows_than_a_file_holds_are_named_in_its_last_line(self):
        rows.job("one")
        for hours in range(6):
            rows.execution("one", hours)
        with mock.patch.object(export, "MOST_ROWS", 6):
            self.assertNotIn("More than", self.text())
        with mock.patch.object(export, "MOST_ROWS", 4):
            written = self.text().splitlines()
            self.assertEqual(len(written), 1 + 4 + 1)
            self.assertEqual(
                written[-1],
                (
                    "More than 4 executions match. Narrow the filters to export the "
                    "rest."
                ),
            )

    def test_memory_holds_a_part_at_a_time(self):
        rows.job("one")
        for hours in range(20):
            rows.execution("one", hours)
        with mock.patch.object(export, "PART_ROWS", 5):
            response = self.client.get(reverse(EXPORT))
            with CaptureQueriesContext(connection) as captured:
                stream = iter(response)
                for _ in range(4):
                    next(stream)
            self.assertEqual(
                [q["sql"] for q in captured if "LIMIT 5" not in q["sql"]],
                [q["sql"] for q in captured if "OFFSET" in q["sql"]],
            )
            self.assertLessEqual(len(captured), 2)
            self.assertEqual(len(list(stream)), 21 - 4)

    def test_tracebacks_are_for_those_who_may_see_them(self):
        rows.execution("one", 1, "Error!", exception="ValueError", traceback="hunter2")
        self.assertIn("hunter2", self.text())
        self.client.force_login(
            rows.user("ben", "view_djangojobexecution", "export_execution")
        )
        text = self.text()
        self.assertIn("ValueError", text)
        self.assertNotIn("hunter2", text)
        self.assertNotIn("traceback", text)

    def test_it_needs_its_permission_and_that_to_see_the_log(self):
        for name, codenames in (
            ("eve", ["view_djangojobexecution"]),
            ("kim", ["export_execution"]),
        ):
            with self.subTest(name=name):
                self.client.force_login(rows.user(name, *codenames))
                self.assertEqual(self.client.get(reverse(EXPORT)).status_code, 403)
        self.client.force_login(rows.user("joe", "view_djangojobexecution"))
        self.assertNotContains(self.client.get(reverse(LOG)), "Export CSV")
        self.client.force_login(self.user)
        self.assertContains(
            self.client.get(reverse(LOG), {"status": "Error!"}),
            'href="export/?status=Error%21"',
        )
        self.assertEqual(self.client.post(reverse(EXPORT)).status_code, 405)
        self.client.logout()
        self.assertEqual(self.client.get(reverse(EXPORT)).status_code, 302)

    def test_an_unknown_filter_is_refused(self):
        self.assertEqual(self.client.get(reverse(EXPORT), {"x": "1"}).status_code, 400)

    def test_rows_at_one_moment_are_all_there(self):
        DjangoJobExecution.objects.bulk_create(
            DjangoJobExecution(
                job_id="one", status="Executed", run_time=NOON + timedelta(0)
            )
            for _ in range(50)
        )
        with mock.patch.object(export, "PART_ROWS", 7):
            self.assertEqual(len({line["id"] for line in self.lines()}), 50)
