"""The execution log and the page of one execution."""

from __future__ import annotations

from datetime import timedelta
from unittest import mock

from django.contrib import admin
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from django_apscheduler.admin import base, outcomes, paging
from django_apscheduler.models import DjangoJobExecution
from tests.admin import rows
from tests.admin.rows import LOG, NOON
from tests.admin.test_jobs import AdminCase


class LogTest(AdminCase):
    def test_a_row_tells_when_how_late_how_long_and_where(self):
        rows.job("report", name="Nightly report")
        owner = rows.process(host="web-7", pid=99)
        rows.execution(
            "report",
            1,
            job_name="Nightly report",
            owner=owner,
            started_time=NOON - timedelta(hours=1) + timedelta(seconds=7),
            finished_time=NOON - timedelta(hours=1) + timedelta(seconds=11),
            origin="manual",
            requested_by="ben",
        )
        response = self.client.get(reverse(LOG))
        for text in (
            "Nightly report",
            "11:00:00 UTC",
            "1 h ago",
            "11:00:07",
            "7.0 s",
            "4.0 s",
            "run now",
            "by ben",
            "web-7:99",
        ):
            with self.subTest(text=text):
                self.assertContains(response, text)
        self.assertContains(response, "dja-late")

    def test_a_run_that_nobody_has_claimed_names_no_node(self):
        rows.execution("one", 0, "Queued", origin="manual", requested_by="ben")
        (row,) = self.client.get(reverse(LOG)).context["cl"].result_list
        shown = str(admin.site._registry[DjangoJobExecution].cause(row))
        self.assertTrue(shown.endswith('run now<span class="dja-sub">by ben</span>'))

    def test_the_newest_run_comes_first_and_ties_go_by_id(self):
        rows.job("one")
        made = [rows.execution("one", hours).pk for hours in (2, 1, 1, 3)]
        self.assertEqual(
            rows.listed(self.client.get(reverse(LOG))),
            [str(pk) for pk in (made[2], made[1], made[0], made[3])],
        )

    def test_the_number_of_queries_does_not_depend_on_the_number_of_rows(self):
        def queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                self.assertEqual(self.client.get(reverse(LOG)).status_code, 200)
            return len(captured)

        owner = rows.process()
        rows.job("one")
        rows.execution("one", 1, owner=owner)
        few = queries()
        for number in range(45):
            rows.job(f"job-{number}")
            rows.execution(f"job-{number}", number, owner=rows.process(pid=number))
        self.assertEqual(queries(), few)
        self.assertLessEqual(few, 14)

    def test_counting_stops_and_the_list_says_so(self):
        rows.job("one")
        for hours in range(30):
            rows.execution("one", hours)
        with (
            mock.patch.object(base, "LISTED_ROWS", 20),
            mock.patch.object(paging, "estimated_rows", return_value=None),
        ):
            with CaptureQueriesContext(connection) as captured:
                response = self.client.get(reverse(LOG))
            self.assertEqual(response.context["cl"].result_count, 20)
            self.assertContains(response, "20+ executions")
            counts = [q["sql"] for q in captured if "COUNT(*)" in q["sql"]]
            self.assertTrue(
                all("LIMIT 20" in sql or "djangojob" in sql for sql in counts), counts
            )
            answer = self.client.post(
                reverse(LOG),
                {
                    "action": "delete_selected",
                    "select_across": "1",
                    "_selected_action": [DjangoJobExecution.objects.first().pk],
                },
                follow=True,
            )
            self.assertContains(answer, "More than 20 rows match.")
        self.assertEqual(DjangoJobExecution.objects.count(), 30)

    def test_search_finds_job_id_name_and_error(self):
        rows.job("one")
        by_id = rows.execution("digest-weekly", 1, job_name="Mail")
        by_name = rows.execution("two", 2, job_name="Weekly digest")
        by_error = rows.execution("three", 3, "Error!", exception="No digest today")
        rows.execution("four", 4)
        response = self.client.get(reverse(LOG), {"q": "digest"})
        self.assertEqual(
            rows.listed(response), [str(x.pk) for x in (by_id, by_name, by_error)]
        )

    def test_the_log_is_neither_added_to_nor_changed(self):
        run = rows.execution("one", 1)
        add = reverse("admin:django_apscheduler_djangojobexecution_add")
        self.assertEqual(self.client.get(add).status_code, 403)
        address = rows.page("djangojobexecution", run.pk)
        self.assertEqual(self.client.post(address, {"status": "Lost"}).status_code, 403)
        run.refresh_from_db()
        self.assertEqual(run.status, "Executed")

    def test_rows_without_owner_job_or_times_are_listed(self):
        DjangoJobExecution.objects.create(status="Executed", run_time=NOON)
        rows.execution("gone", 1, "Lost", owner_id=12345)
        response = self.client.get(reverse(LOG))
        self.assertEqual(len(rows.listed(response)), 2)
        self.assertContains(response, "no longer recorded (no. 12345)", count=1)
        for row in DjangoJobExecution.objects.all():
            detail = self.client.get(rows.page("djangojobexecution", row.pk))
            self.assertEqual(detail.status_code, 200)


class DurationTest(AdminCase):
    """The bar beside the job's median, and the mark of slow runs."""

    def run_of(self, seconds: float, job_id: str = "one"):
        return rows.execution(
            job_id,
            1,
            started_time=NOON - timedelta(hours=1),
            finished_time=NOON - timedelta(hours=1) + timedelta(seconds=seconds),
        )

    def test_a_run_much_longer_than_nearly_all_of_its_job_is_marked(self):
        rows.job("one")
        rows.rollup("one", 1.0, 25)
        for seconds, expected in ((1.9, 0), (2.5, 1), (60, 1)):
            with self.subTest(seconds=seconds):
                DjangoJobExecution.objects.all().delete()
                self.run_of(seconds)
                self.assertContains(
                    self.client.get(reverse(LOG)), "slower than usual", count=expected
                )

    def test_few_runs_milliseconds_and_failures_mark_nothing(self):
        for job_id, seconds, runs, status, days in (
            ("few", 1.0, 19, "Executed", 1),
            ("quick", 0.01, 500, "Executed", 1),
            ("failing", 1.0, 500, "Error!", 1),
            ("old", 1.0, 500, "Executed", 40),
        ):
            rows.job(job_id)
            rows.rollup(job_id, seconds, runs, status, days)
        self.run_of(60, "few")
        self.run_of(0.9, "quick")
        self.run_of(60, "failing")
        self.run_of(60, "old")
        response = self.client.get(reverse(LOG))
        self.assertNotContains(response, "slower than usual")

    def test_a_run_under_way_is_marked_as_soon_as_it_takes_too_long(self):
        rows.job("one")
        rows.rollup("one", 60.0, 30)
        rows.execution("one", 1, "Started execution")
        response = self.client.get(reverse(LOG))
        self.assertContains(response, "slower than usual")
        self.assertContains(response, "so far")

    def test_the_bar_stands_beside_the_median(self):
        rows.job("one")
        rows.rollup("one", 2.0, 30)
        self.run_of(1.9)
        response = self.client.get(reverse(LOG))
        self.assertContains(response, "Half of the runs take no longer than 1.9 s.")
        rows.execution("other", 1)
        self.assertContains(
            self.client.get(reverse(LOG)), '<svg class="dja-took"', count=1
        )


class ExplanationTest(AdminCase):
    def test_rows_of_runs_that_did_not_happen_explain_themselves(self):
        for status, count, last, expected in (
            (
                "Coalesced",
                37,
                36,
                (
                    "37 occurrences from 11:00:00 UTC to 11:36:00 UTC were coalesced into "
                    "the run that followed."
                ),
            ),
            (
                "Coalesced",
                1,
                None,
                (
                    "The occurrence of 11:00:00 UTC was coalesced into the run that "
                    "followed."
                ),
            ),
            (
                "Missed!",
                None,
                50,
                (
                    "more than 1,000 occurrences from 11:00:00 UTC to 11:50:00 UTC were "
                    "missed: too late to start them."
                ),
            ),
            (
                "Max instances!",
                2,
                1,
                (
                    "2 occurrences from 11:00:00 UTC to 11:01:00 UTC were skipped: as many "
                    "instances as allowed were running."
                ),
            ),
            (
                "Cancelled",
                1,
                None,
                "The occurrence of 11:00:00 UTC was cancelled.",
            ),
            (
                "Lost",
                1,
                None,
                "Its scheduler stopped without reporting how this run ended.",
            ),
            ("Executed", 1, None, ""),
            ("Claimed", 1, None, ""),
            ("Queued", 1, None, "Waits for a scheduler to claim it."),
        ):
            with self.subTest(status=status, count=count):
                first = NOON - timedelta(hours=1)
                row = DjangoJobExecution(
                    status=status,
                    run_time=first,
                    occurrences=count,
                    last_run_time=last and first + timedelta(minutes=last),
                )
                self.assertEqual(outcomes.explain(row, NOON), expected)

    def test_a_run_now_that_waits_says_until_when(self):
        row = DjangoJobExecution(
            status="Queued", run_time=NOON, expires_time=NOON + timedelta(minutes=5)
        )
        self.assertEqual(
            outcomes.explain(row, NOON),
            "Waits for a scheduler to claim it; expires in 5 min.",
        )

    def test_the_note_stands_beneath(self):
        rows.execution("one", 1, "Cancelled", note="Overtaken by an edit.\nMore")
        response = self.client.get(reverse(LOG))
        self.assertContains(
            response, '<span class="dja-sub">Overtaken by an edit.</span>'
        )

    def test_coalesced_occurrences_lead_to_the_run_that_took_them(self):
        rows.job("hourly")
        row = rows.execution(
            "hourly",
            5,
            "Coalesced",
            occurrences=3,
            last_run_time=NOON - timedelta(hours=3),
        )
        took = rows.execution("hourly", 2)
        rows.execution("hourly", 1)
        response = self.client.get(rows.page("djangojobexecution", row.pk))
        self.assertContains(response, rows.page("djangojobexecution", took.pk))
        self.assertContains(response, "The run of 10:00:00 UTC")


class ExecutionPageTest(AdminCase):
    def test_the_timeline_tells_the_gaps(self):
        due = NOON - timedelta(hours=1)
        run = rows.execution(
            "one",
            1,
            claimed_time=due + timedelta(milliseconds=20),
            started_time=due + timedelta(milliseconds=50),
            finished_time=due + timedelta(seconds=90),
        )
        response = self.client.get(rows.page("djangojobexecution", run.pk))
        for text in ("+20 ms", "+30 ms", "+1 min 30 s", "2026-06-03 11:00:00 UTC"):
            self.assertContains(response, text)

    def test_the_page_is_named_after_job_and_local_time(self):
        rows.job("one", name="Nightly report")
        run = rows.execution("one", 1, job_name="Nightly report")
        response = self.client.get(rows.page("djangojobexecution", run.pk))
        self.assertEqual(response.context["subtitle"], "Nightly report, 11:00:00 UTC")
        self.assertNotContains(response, "Traceback")
        self.assertNotContains(response, "Explanation")

    def test_neighbours_of_the_same_job_are_linked(self):
        rows.job("one")
        before = rows.execution("one", 3)
        run = rows.execution("one", 2, retry_of=before)
        after = rows.execution("one", 1, "Error!")
        rows.execution("other", 2)
        response = self.client.get(rows.page("djangojobexecution", run.pk))
        content = response.content.decode()
        for pk, label in (
            (before.pk, "Previous run"),
            (after.pk, "Next run"),
            (before.pk, "First try"),
        ):
            address = rows.page("djangojobexecution", pk)
            self.assertIn(f'<a href="{address}">{label}</a>', content)

    def test_the_traceback_needs_its_permission(self):
        run = rows.execution(
            "one",
            1,
            "Error!",
            exception="ValueError: n/a",
            traceback='Traceback\n  token = "hunter2"\nValueError: n/a',
        )
        address = rows.page("djangojobexecution", run.pk)
        self.assertContains(self.client.get(address), "hunter2")
        self.client.force_login(rows.user("ben", "view_djangojobexecution"))
        response = self.client.get(address)
        self.assertContains(response, "ValueError: n/a")
        self.assertNotContains(response, "hunter2")
        self.assertContains(response, "You may not see tracebacks.")

    def test_a_run_under_way_tells_how_long_so_far(self):
        run = rows.execution(
            "one", 1, "Started execution", started_time=NOON - timedelta(minutes=6)
        )
        response = self.client.get(rows.page("djangojobexecution", run.pk))
        self.assertContains(response, "6 min")
        self.assertContains(response, "so far")

    def test_the_run_of_a_deleted_job_names_it(self):
        run = rows.execution("gone", 1, job_name="Old newsletter")
        response = self.client.get(rows.page("djangojobexecution", run.pk))
        self.assertContains(response, "Old newsletter")
        self.assertContains(response, "gone, deleted")

    def test_retries_are_linked_from_the_run_they_repeat(self):
        rows.job("one")
        first = rows.execution("one", 3, "Error!")
        retry = rows.execution("one", 2, origin="retry", retry_of=first)
        other = rows.execution("one", 1)
        response = self.client.get(rows.page("djangojobexecution", first.pk))
        content = response.content.decode()
        field = content[content.index("field-retries") :]
        field = field[: field.index("</ul>")]
        self.assertIn(rows.page("djangojobexecution", retry.pk), field)
        self.assertNotIn(rows.page("djangojobexecution", other.pk), field)
        alone = self.client.get(rows.page("djangojobexecution", other.pk))
        self.assertNotContains(alone, "field-retries")

    def test_arguments_are_for_those_who_may_see_them(self):
        rows.job("one", kwargs='{"city":"Oslo","token":"hunter2"}')
        run = rows.execution("one", 1)
        address = rows.page("djangojobexecution", run.pk)
        response = self.client.get(address)
        self.assertContains(response, "Oslo")
        self.assertNotContains(response, "hunter2")
        self.client.force_login(rows.user("ben", "view_djangojobexecution"))
        self.assertNotContains(self.client.get(address), "Oslo")

    def test_the_picture_says_in_words_what_it_shows(self):
        due = NOON - timedelta(hours=1)
        for status, moments, expected in (
            (
                "Executed",
                {
                    "claimed_time": due + timedelta(seconds=2),
                    "started_time": due + timedelta(seconds=3),
                    "finished_time": due + timedelta(seconds=63),
                },
                "until claimed 2.0 s, until started 1.0 s, running 1 min",
            ),
            (
                # Claimed and started ahead, as due runs are.
                "Executed",
                {
                    "claimed_time": due - timedelta(milliseconds=20),
                    "started_time": due,
                    "finished_time": due + timedelta(seconds=4),
                },
                "running 4.0 s",
            ),
            (
                "Started execution",
                {"started_time": due + timedelta(minutes=30)},
                "until started 30 min, running so far 30 min",
            ),
            ("Queued", {}, "until started 1 h"),
        ):
            with self.subTest(expected=expected):
                moments = {"started_time": None, "finished_time": None, **moments}
                run = rows.execution("one", 1, status, **moments)
                response = self.client.get(rows.page("djangojobexecution", run.pk))
                self.assertContains(response, f'aria-label="{expected}"')
        missed = rows.execution("one", 1, "Missed!")
        response = self.client.get(rows.page("djangojobexecution", missed.pk))
        self.assertNotContains(response, "dja-line-chart")
