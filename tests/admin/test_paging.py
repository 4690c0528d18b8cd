"""The pages of the execution log."""

from __future__ import annotations

import random
from datetime import timedelta
from unittest import mock

import pytest
from django.db import connection
from django.test import SimpleTestCase
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from django_apscheduler.admin import base, paging
from django_apscheduler.models import DjangoJobExecution
from tests.admin import rows
from tests.admin.rows import LOG, NOON
from tests.admin.test_jobs import AdminCase


def many(number: int, status: str = "Executed", **fields) -> list[int]:
    """Store executions, three at each second back from noon, out of order."""
    made = [
        DjangoJobExecution(
            **{
                "job_id": "one",
                "status": status,
                "run_time": NOON - timedelta(seconds=place // 3),
                **fields,
            }
        )
        for place in range(number)
    ]
    random.Random(7).shuffle(made)
    return [row.pk for row in DjangoJobExecution.objects.bulk_create(made)]


def in_order(**conditions) -> list[str]:
    """Return the ids of the log's rows, the newest first."""
    listed = DjangoJobExecution.objects.filter(**conditions).values_list(
        "run_time", "id"
    )
    return [str(pk) for _moment, pk in sorted(listed, reverse=True)]


class PlaceTest(SimpleTestCase):
    def test_an_address_is_read_as_it_was_written(self):
        place = paging.Place(NOON + timedelta(microseconds=123_457), 42)
        for cursor in (
            paging.Cursor(),
            paging.Cursor("newer"),
            paging.Cursor("older", place),
            paging.Cursor("newer", place),
        ):
            with self.subTest(cursor=str(cursor)):
                self.assertEqual(paging.Cursor.parse(str(cursor)), cursor)
        self.assertEqual(
            str(paging.Cursor("older", place)), "older.1780488000123457.42"
        )

    def test_anything_else_is_refused(self):
        for text in (
            "2",
            "older",
            "older.1.2.3",
            "older.x.2",
            "older.1.-2",
            "later.1.2",
            "older.999999999999999999.1",
            "older.1.9999999999999999999",
            "older.١.2",
            "newer.1.2\n",
            "\x00",
        ):
            with self.subTest(text=text), self.assertRaises(paging.BadCursor):
                paging.Cursor.parse(text)

    def test_estimates_are_rounded_to_two_digits(self):
        for number, expected in ((7, 7), (10_499, 10_000), (9_987_654, 10_000_000)):
            self.assertEqual(paging.rounded(number), expected)


class WalkTest(AdminCase):
    """From page to page by the links of the pages."""

    def setUp(self):
        super().setUp()
        rows.job("one")
        self.enterContext(
            mock.patch(
                "django_apscheduler.admin.executions.ExecutionAdmin.list_per_page", 7
            )
        )

    def page(self, query: str = "", **parameters):
        response = self.client.get(reverse(LOG) + query, parameters)
        self.assertEqual(response.status_code, 200)
        return response

    def walk(self, way: str, query: str = "", between=lambda: None):
        """Follow the links of one way and return the ids of each page."""
        pages = []
        while True:
            response = self.page(query)
            pages.append(rows.listed(response))
            query = getattr(response.context["cl"], f"{way}_link")
            if not query:
                return pages
            self.assertContains(response, query.replace("&", "&amp;"))
            self.assertLess(len(pages), 100)
            between()

    def test_every_row_is_on_one_page_there_and_back(self):
        many(45)
        expected = in_order()
        there = self.walk("older")
        self.assertEqual([pk for page in there for pk in page], expected)
        self.assertEqual([len(page) for page in there], [7] * 6 + [3])
        back = self.walk("newer", "?cursor=oldest")
        self.assertEqual([pk for page in reversed(back) for pk in page], expected)

    def test_back_and_forth_leads_to_the_same_rows(self):
        many(45)
        first = self.page()
        second = self.page(first.context["cl"].older_link)
        third = self.page(second.context["cl"].older_link)
        again = self.page(third.context["cl"].newer_link)
        self.assertEqual(rows.listed(again), rows.listed(second))
        self.assertEqual(
            rows.listed(self.page(again.context["cl"].newer_link)), rows.listed(first)
        )
        self.assertEqual(
            rows.listed(self.page(third.context["cl"].newest_link)), rows.listed(first)
        )
        self.assertEqual(first.context["cl"].newer_link, "")

    def test_rows_that_arrive_or_go_hide_and_repeat_none(self):
        many(45)
        expected = in_order()

        def arrive():
            many(11, run_time=NOON + timedelta(seconds=1))
            # The end of the page before, which the next address names.
            DjangoJobExecution.objects.filter(pk=int(seen[-1])).delete()

        seen: list[str] = []
        query = ""
        while True:
            response = self.page(query)
            seen += rows.listed(response)
            query = response.context["cl"].older_link
            if not query:
                break
            arrive()
        self.assertEqual(seen, expected)

    def test_filters_that_no_index_serves_find_every_row_in_windows(self):
        for status in ("Executed", "Error!"):
            many(40, status, run_time=NOON - timedelta(days=status == "Error!"))
        many(40, "Error!", exception="ValueError: n/a")
        many(80)
        for size in (13, 1000):
            for query, conditions in (
                ("?status=Error%21", {"status": "Error!"}),
                ("?q=valueerror", {"exception": "ValueError: n/a"}),
                ("?origin=manual", {"origin": "manual"}),
                ("?job=one&status=Executed", {"status": "Executed"}),
            ):
                with (
                    self.subTest(size=size, query=query),
                    mock.patch.object(paging, "SCANNED_ROWS", size),
                ):
                    expected = in_order(**conditions)
                    there = self.walk("older", query)
                    self.assertEqual([pk for page in there for pk in page], expected)
                    back = self.walk("newer", query + "&cursor=oldest")
                    self.assertEqual(
                        [pk for page in reversed(back) for pk in page], expected
                    )

    def test_a_page_says_how_far_it_has_looked(self):
        many(40)
        many(2, "Error!", run_time=NOON - timedelta(hours=1))
        with mock.patch.object(paging, "SCANNED_ROWS", 30):
            response = self.page(status="Error!")
            self.assertEqual(rows.listed(response), [])
            self.assertContains(
                response,
                "0 matches among 30 executions, looked through back to 11:59:51 UTC.",
            )
            self.assertContains(response, "Look further back")
            response = self.page(response.context["cl"].older_link)
            self.assertEqual(len(rows.listed(response)), 2)
            self.assertContains(response, "2 executions")
            self.assertNotContains(response, "Look further back")

    def test_job_run_time_and_unfinished_runs_need_no_window(self):
        many(40)
        waiting = many(1, "Queued", run_time=NOON - timedelta(hours=1))
        with mock.patch.object(paging, "SCANNED_ROWS", 10):
            for query in (
                "",
                "?job=one",
                "?run_time__range__gte=2026-06-03T11:00",
                "?status=Queued",
                "?duration__range__gte=",
            ):
                with self.subTest(query=query):
                    self.assertFalse(self.page(query).context["cl"].looks)
            self.assertEqual(
                rows.listed(self.page("?status=Queued")), [str(waiting[0])]
            )
            self.assertTrue(self.page("?job_name=x").context["cl"].looks)

    def test_an_address_that_names_no_page_is_explained(self):
        many(9)
        for text in ("2", "older.x", "older.999999999999999999.1", "<b>\x00"):
            with self.subTest(text=text):
                response = self.page(cursor=text)
                self.assertContains(response, "The address names no page of the log")
                self.assertNotContains(response, "<b>\x00")
                self.assertEqual(rows.listed(response), in_order()[:7])

    def test_filters_and_search_forget_the_page_and_pages_keep_them(self):
        many(20)
        response = self.page(q="one", status="Executed")
        older = response.context["cl"].older_link
        self.assertIn("q=one", older)
        self.assertIn("status=Executed", older)
        response = self.page(older)
        html = response.content.decode()
        self.assertNotIn('name="cursor"', html)
        menu = html[html.index("dja-panel") :]
        self.assertNotIn("cursor=", menu[: menu.index("</ul>")])

    def test_the_order_is_not_for_the_address_to_say(self):
        many(9)
        self.assertEqual(rows.listed(self.page("?o=3")), in_order()[:7])

    def test_deep_pages_skip_and_count_nothing(self):
        many(40)
        with CaptureQueriesContext(connection) as first:
            response = self.page()
        for _ in range(3):
            address = response.context["cl"].older_link
            with CaptureQueriesContext(connection) as deep:
                response = self.page(address)
        self.assertEqual(len(deep), len(first))
        self.assertEqual([q["sql"] for q in deep if "OFFSET" in q["sql"]], [])

    def test_all_that_match_are_acted_on_as_the_page_counts_them(self):
        many(20)
        many(5, "Error!", run_time=NOON - timedelta(hours=1))
        with mock.patch.object(paging, "SCANNED_ROWS", 22):
            response = self.page(status="Error!")
            self.assertContains(response, "2 matches among 22 executions")
            self.client.post(
                reverse(LOG) + "?status=Error%21",
                {
                    "action": "delete_selected",
                    "select_across": "1",
                    "_selected_action": rows.listed(response)[0],
                    "post": "yes",
                },
            )
        self.assertEqual(DjangoJobExecution.objects.filter(status="Error!").count(), 3)

    def test_a_search_leads_to_the_jobs_of_that_name(self):
        rows.job("digest-weekly", name="Weekly digest")
        response = self.page(q="DIGEST")
        self.assertContains(response, '<a href="?job=digest-weekly">Weekly digest</a>')
        self.assertNotContains(self.page(q="nothing"), "Jobs with this name")


@pytest.mark.slow
class PlanTest(AdminCase):
    """What PostgreSQL does for each page above many rows."""

    def setUp(self):
        super().setUp()
        if connection.vendor != "postgresql":
            self.skipTest("needs PostgreSQL: TEST_DB=postgres")
        rows.job("one")
        owner = rows.process(host="web-1")
        table = DjangoJobExecution._meta.db_table
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {table} (job_id, job_name, status, run_time, attempt, "
                "losses, owner_id, executor, origin, requested_by, started_time, "
                "finished_time, exception, note) "
                "SELECT CASE WHEN n %% 3 = 0 THEN 'one' ELSE 'job-' || n %% 500 END, "
                "'', CASE WHEN n %% 200 = 7 THEN 'Error!' ELSE 'Executed' END, "
                "%s::timestamptz - n * interval '1 second', 1, 0, %s, 'default', "
                "'schedule', '', now(), now(), NULL, '' "
                "FROM generate_series(1, 60000) AS n",
                [NOON, owner.pk],
            )
            cursor.execute(f"ANALYZE {table}")
        rows.execution("one", 1, "Queued")
        self.enterContext(mock.patch.object(paging, "SCANNED_ROWS", 300))
        self.enterContext(mock.patch.object(base, "LISTED_ROWS", 200))

    def plans(self, address: str) -> list[str]:
        """Return the plans of all statements that read executions."""
        with CaptureQueriesContext(connection) as captured:
            self.assertEqual(self.client.get(address).status_code, 200)
        found = []
        for query in captured:
            sql = query["sql"]
            if f'FROM "{DjangoJobExecution._meta.db_table}"' not in sql:
                continue
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN {sql}")
                found.append("\n".join(line for (line,) in cursor.fetchall()))
        self.assertNotEqual(found, [])
        return found

    def test_no_page_reads_or_sorts_the_whole_log(self):
        middle = DjangoJobExecution.objects.order_by("run_time")[30_000:30_001].get()
        deep = f"cursor={paging.Cursor('older', paging.Place.of(middle))}"
        poll = reverse("admin:django_apscheduler_djangojobexecution_poll")
        for address in (
            *(
                reverse(LOG) + query
                for query in (
                    "",
                    f"?{deep}",
                    f"?{deep.replace('older', 'newer')}",
                    "?cursor=oldest",
                    "?job=one",
                    f"?job=one&{deep}",
                    "?job=job-7",
                    "?job=none",
                    "?status=Error%21",
                    f"?status=Error%21&{deep}",
                    "?status=problems",
                    "?status=Queued",
                    "?status=Cancelled",
                    "?origin=manual",
                    "?executor=default",
                    "?executor=gpu",
                    "?node=web-1",
                    "?duration__range__gte=60",
                    "?run_time__range__gte=2026-06-03T00:00",
                    "?run_time__range__lte=2026-06-03T00:00",
                    "?run_time__range__lte=2026-06-03T00:00&status=Error%21",
                    "?q=address",
                    f"?q=address&job=one&{deep}",
                )
            ),
            f"{poll}?after={middle.pk}&runs={middle.pk}",
            f"{poll}?after={middle.pk}&status=Error%21&q=address",
        ):
            with self.subTest(address=address):
                for plan in self.plans(address):
                    self.assertNotIn("Seq Scan on django_apscheduler_djangojobex", plan)
                    self.assert_sorts_few(plan)

    def assert_sorts_few(self, plan: str) -> None:
        for line in plan.splitlines():
            if "Sort  (" in line and "Incremental" not in line:
                number = int(line.split(" rows=")[1].split(" ")[0])
                self.assertLess(number, 2000, plan)


class CountTest(AdminCase):
    def test_numbers_are_as_exact_as_they_are_cheap(self):
        rows.job("one")
        many(30)
        for most, query, expected in (
            (100, "", "30 executions"),
            (20, "", "20+ executions"),
            (20, "?job=one", "20+ executions"),
        ):
            with (
                self.subTest(most=most, query=query),
                mock.patch.object(base, "LISTED_ROWS", most),
                mock.patch.object(paging, "estimated_rows", return_value=None),
            ):
                self.assertContains(self.client.get(reverse(LOG) + query), expected)

    def test_postgresql_estimates_the_whole_log(self):
        if connection.vendor != "postgresql":
            self.skipTest("needs PostgreSQL: TEST_DB=postgres")
        many(300)
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE {DjangoJobExecution._meta.db_table}")
        table = DjangoJobExecution._meta.db_table
        self.assertEqual(paging.estimated_rows("default", table), 300)
        with mock.patch.object(base, "LISTED_ROWS", 200):
            response = self.client.get(reverse(LOG))
            self.assertContains(response, "about 300 executions")
            response = self.client.get(reverse(LOG), {"job": "one"})
            self.assertContains(response, "200+ executions")
