"""The list of jobs and the page of one."""

from __future__ import annotations

from datetime import datetime, timedelta
from unittest import mock

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.db import connection
from django.test import TestCase, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import override

from django_apscheduler.admin import base, stats
from django_apscheduler.models import DjangoJob, ExecutionRollup
from tests.admin import rows
from tests.admin.rows import JOBS, NOON


class AdminCase(TestCase):
    """Signed in as a superuser, at noon."""

    user: User

    @classmethod
    def setUpTestData(cls):
        cls.user = rows.user("ana", superuser=True)

    def setUp(self):
        self.enterContext(rows.at_noon())
        self.client.force_login(self.user)

    def enterContext(self, manager):
        # unittest has it from Python 3.11 on.
        value = manager.__enter__()
        self.addCleanup(manager.__exit__, None, None, None)
        return value


class JobListTest(AdminCase):
    def test_a_row_tells_what_when_and_how(self):
        rows.job(
            "nightly-report",
            name="Nightly report",
            func="reports.jobs:nightly",
            trigger=rows.NIGHTLY,
            executor="reports",
        )
        run = rows.execution("nightly-report", hours=2)
        response = self.client.get(reverse(JOBS))
        self.assertContains(response, "Nightly report")
        self.assertContains(response, "nightly-report")
        self.assertContains(response, "reports.jobs:nightly")
        self.assertContains(response, "At 03:30 every day")
        self.assertContains(response, "cron[hour=")
        self.assertContains(response, ">in 1 h</time>")
        self.assertContains(response, "13:00 UTC")
        self.assertContains(response, "2 h ago")
        self.assertContains(response, " · 2.0 s")
        self.assertContains(response, 'aria-label="Last run: 1 Executed"')
        self.assertContains(response, "Executor: <code>reports</code>")
        self.assertContains(response, rows.page("djangojobexecution", run.pk))

    def test_an_empty_list_says_what_to_do_next(self):
        response = self.client.get(reverse(JOBS))
        self.assertContains(response, "There are no jobs yet.")
        self.assertContains(response, "python manage.py runapscheduler")
        self.assertContains(response, "Add a job")
        self.assertNotContains(response, 'name="action"')
        self.assertContains(self.client.get(reverse(rows.LOG)), "Nothing has run yet.")
        self.assertContains(
            self.client.get(reverse(rows.SCHEDULERS)), "No scheduler has run yet."
        )

    def test_who_may_not_add_jobs_is_not_told_to(self):
        self.client.force_login(rows.user("eve", "view_djangojob"))
        response = self.client.get(reverse(JOBS))
        self.assertContains(response, "There are no jobs yet.")
        self.assertNotContains(response, "Add a job")

    def test_a_search_without_a_match_leads_back_to_all(self):
        rows.job("here")
        response = self.client.get(reverse(JOBS), {"q": "elsewhere"})
        self.assertContains(response, "Nothing matches the filters and the search.")
        self.assertContains(response, '<a class="dja-button" href="?">Show all</a>')
        self.assertNotContains(response, "There are no jobs yet.")

    def test_the_default_executor_is_not_named_in_each_row(self):
        rows.job("here")
        response = self.client.get(reverse(JOBS))
        self.assertNotContains(response, "Executor: <code>")

    def test_pages_follow_the_order_and_end_with_jobs_that_do_not_come_up(self):
        for number in range(120):
            rows.job(
                f"job-{number:03}",
                next_run_time=NOON + timedelta(minutes=1 + (number * 7) % 115),
                state="paused" if number % 10 == 0 else "active",
            )
        seen = []
        for number in (1, 2, 3):
            response = self.client.get(reverse(JOBS), {"p": number})
            seen += list(response.context["cl"].result_list)
        self.assertContains(response, "120 jobs")
        due = [job.next_run_time for job in seen if job.next_run_time]
        self.assertEqual(len({job.pk for job in seen}), 120)
        self.assertEqual(due, sorted(due))
        self.assertEqual({job.next_run_time for job in seen[len(due) :]}, {None})
        self.assertEqual(len(due), 108)

    def test_addresses_of_pages_that_there_are_not_lead_to_the_first(self):
        for number in range(60):
            rows.job(f"job-{number:02}")
        for page in ("0", "3", "-1", "x", "9" * 9, "9" * 30, "9" * 5000):
            with self.subTest(page=page[:10]):
                response = self.client.get(reverse(JOBS), {"p": page}, follow=True)
                self.assertContains(response, "60 jobs")
                self.assertEqual(rows.listed(response)[0], "job-59")

    def test_all_are_shown_on_one_page_on_request(self):
        for number in range(60):
            rows.job(f"job-{number:02}")
        response = self.client.get(reverse(JOBS), {"all": ""})
        self.assertEqual(rows.listed(response), [f"job-{59 - n:02}" for n in range(60)])

    def test_success_is_told_as_a_share_that_is_never_rounded_to_all(self):
        for succeeded, failed, share, runs in (
            (400, 12, "97 %", "412 runs"),
            (9999, 1, "99 %", "10,000 runs"),
            (3, 0, "100 %", "3 runs"),
            (0, 1, "0 %", "1 run"),
            (1, 999, "1 %", "1,000 runs"),
        ):
            with self.subTest(share=share):
                DjangoJob.objects.all().delete()
                ExecutionRollup.objects.all().delete()
                rows.job("one")
                if succeeded:
                    rows.rollup("one", 1, succeeded)
                if failed:
                    rows.rollup("one", 1, failed, "Lost")
                rows.rollup("one", 1, 5, "Missed!")
                rows.rollup("one", 1, 50, "Error!", days=31)
                response = self.client.get(reverse(JOBS))
                self.assertContains(response, f">30 d: {share}, {runs}</span>")

    def test_the_number_of_queries_does_not_depend_on_the_number_of_jobs(self):
        def queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                self.assertEqual(self.client.get(reverse(JOBS)).status_code, 200)
            return len(captured)

        rows.job("first")
        rows.execution("first", hours=1)
        few = queries()
        for number in range(40):
            rows.job(f"job-{number:02}")
            for hours in range(3):
                rows.execution(f"job-{number:02}", hours=hours)
        self.assertEqual(queries(), few)
        self.assertLessEqual(few, 15)

    def test_an_action_reads_only_what_it_shows(self):
        for pk in ("a", "b", "c"):
            rows.job(pk)
        chosen = {"action": "delete_selected", "_selected_action": ["a", "b"]}
        with CaptureQueriesContext(connection) as captured:
            response = self.client.post(reverse(JOBS), chosen)
        self.assertContains(response, "Are you sure")
        asked = [query["sql"] for query in captured]
        self.assertEqual([sql for sql in asked if "djangojobexecution" in sql], [])
        # Once the list, which Django makes for actions as well, and once the chosen.
        self.assertEqual(sum("anchor_time" in sql for sql in asked), 2)

    def test_a_form_without_an_action_shows_the_list(self):
        rows.job("a")
        self.assertContains(self.client.post(reverse(JOBS)), "No runs yet")

    def test_each_condition_has_its_badge(self):
        rows.job("active")
        rows.execution("active", 1)
        rows.job("never")
        rows.job("paused", state="paused")
        rows.job("finished", state="finished")
        rows.job("disabled", state="disabled")
        rows.job("broken", state="broken", error="Traceback\nImportError: no reports")
        rows.job("overdue", next_run_time=NOON - timedelta(seconds=30))
        rows.execution("overdue", 1)
        rows.job("due", next_run_time=NOON - timedelta(seconds=2))
        rows.execution("due", 1)
        rows.job("running")
        rows.execution("running", 1, "Started execution")
        rows.job("failing")
        for hours in (1, 2, 3):
            rows.execution("failing", hours, "Error!")
        rows.execution("failing", 4)
        response = self.client.get(reverse(JOBS))
        badges = {}
        for job in response.context["cl"].result_list:
            html = response.context["cl"].model_admin.condition(job)
            badges[job.pk] = " ".join(
                part.split("</span>")[0] for part in html.split("</svg>")[1:]
            )
        self.assertEqual(
            badges,
            {
                "active": "Active",
                "never": "Never run",
                "paused": "Paused",
                "finished": "Finished",
                "disabled": "Disabled",
                "broken": "Broken",
                "overdue": "Overdue",
                "due": "Active",
                "running": "Running",
                "failing": "Failing ×3",
            },
        )
        self.assertContains(response, "ImportError: no reports")

    def test_a_pause_says_who_why_and_until_when(self):
        rows.job(
            "stock",
            state="paused",
            paused_by="ben",
            pause_reason="warehouse move",
            paused_time=NOON - timedelta(hours=5),
            resume_time=NOON + timedelta(hours=2),
        )
        self.assertContains(
            self.client.get(reverse(JOBS)),
            "by ben, 5 h ago, until 14:00 UTC: warehouse move",
        )

    def test_what_will_run_next_comes_first_and_paused_jobs_last(self):
        rows.job("later", next_run_time=NOON + timedelta(hours=3))
        rows.job("paused", state="paused")
        rows.job("soon", next_run_time=NOON + timedelta(minutes=3))
        self.assertEqual(
            rows.listed(self.client.get(reverse(JOBS))), ["soon", "later", "paused"]
        )

    def test_search_finds_id_name_and_callable(self):
        rows.job("a-1", name="Nightly report", func="x:y")
        rows.job("b-2", name="Other", func="reports.jobs:run")
        rows.job("c-report", name="Third", func="x:z")
        rows.job("d-4", name="Fourth", func="x:w")
        response = self.client.get(reverse(JOBS), {"q": "report"})
        self.assertEqual(sorted(rows.listed(response)), ["a-1", "b-2", "c-report"])

    def test_a_row_that_cannot_be_read_is_listed_with_the_reason(self):
        rows.job("torn", trigger="{not json")
        rows.job("unknown", trigger='{"type":"moon","args":{}}')
        response = self.client.get(reverse(JOBS))
        self.assertContains(response, "Cannot be read", count=2)
        self.assertEqual(
            self.client.get(rows.page("djangojob", "torn")).status_code, 200
        )

    def test_rows_edited_by_hand_do_not_break_the_pages(self):
        rows.job("odd", state="asleep", overrides="5", declaration="{}")
        rows.job(
            "never",
            next_run_time=datetime(9999, 12, 31, 23, 59, tzinfo=rows.UTC),
            nominal_time=None,
        )
        with override_settings(TIME_ZONE="Asia/Tokyo"):
            self.assertContains(self.client.get(reverse(JOBS)), "asleep")
            for pk in ("odd", "never"):
                response = self.client.get(rows.page("djangojob", pk))
                self.assertEqual(response.status_code, 200)

    def test_a_row_cannot_make_the_admin_import_a_trigger_class(self):
        rows.job("custom", trigger='{"type":"antigravity:Trigger","args":{}}')
        import sys

        response = self.client.get(reverse(JOBS))
        self.assertContains(response, "Custom trigger antigravity:Trigger")
        self.assertNotIn("antigravity", sys.modules)

    def test_text_of_a_row_is_escaped(self):
        rows.job("x", name="<script>alert(1)</script>", func="<b>")
        response = self.client.get(reverse(JOBS))
        self.assertNotContains(response, "<script>alert")
        self.assertNotContains(response, "<b>:")

    @override_settings(USE_TZ=False, TIME_ZONE="America/New_York")
    def test_it_works_without_time_zone_support(self):
        rows.job("nightly")
        rows.execution("nightly", 1)
        response = self.client.get(reverse(JOBS))
        self.assertContains(response, "09:00 EDT")
        detail = self.client.get(rows.page("djangojob", "nightly"))
        self.assertContains(detail, "Wed 3 Jun 2026 09:00 EDT")


class RecentRunsTest(AdminCase):
    def test_a_strip_shows_the_twenty_newest_runs_of_each_job(self):
        busy = rows.job("busy")
        quiet = rows.job("quiet")
        for hours in range(25):
            rows.execution("busy", hours)
        rows.execution("quiet", 3)
        found = stats.recent_runs([busy, quiet], "default")
        self.assertEqual(
            [run.run_time for run in found["busy"].runs],
            [NOON - timedelta(hours=hours) for hours in range(20)],
        )
        self.assertEqual(len(found["quiet"].runs), 1)

    def test_failures_count_until_the_last_success_and_skips_do_not_matter(self):
        job = rows.job("flaky")
        for hours, status in (
            (1, "Error!"),
            (2, "Coalesced"),
            (3, "Lost"),
            (4, "Missed!"),
            (5, "Executed"),
            (6, "Error!"),
        ):
            rows.execution("flaky", hours, status)
        recent = stats.recent_runs([job], "default")["flaky"]
        self.assertEqual(recent.failures_in_row, 2)
        self.assertEqual(recent.last.status, "Error!")

    def test_a_long_run_counts_as_running_behind_many_skips(self):
        job = rows.job("long")
        rows.execution("long", 30, "Started execution")
        for hours in range(25):
            rows.execution("long", hours, "Max instances!")
        self.assertTrue(stats.recent_runs([job], "default")["long"].running)

    def test_it_takes_three_queries(self):
        jobs = [rows.job(f"job-{number}") for number in range(30)]
        with self.assertNumQueries(3):
            stats.recent_runs(jobs, "default")
        with self.assertNumQueries(0):
            stats.recent_runs([], "default")

    def test_running_jobs_are_found_by_their_small_index(self):
        for hours in range(50):
            rows.execution("one", hours)
        under_way = rows.execution("two", 1, "Started execution")
        self.assertEqual(list(stats.running("default")), [under_way])
        # Elsewhere the planner prefers to read so small a table whole.
        if connection.vendor == "sqlite":
            plan = stats.running("default").values("job_id").explain()
            self.assertIn("apscheduler_exec_active", plan)


class JobPageTest(AdminCase):
    def test_the_next_ten_times_come_from_the_trigger(self):
        rows.job("hourly")
        response = self.client.get(rows.page("djangojob", "hourly"))
        for hour in range(13, 23):
            self.assertContains(response, f"Wed 3 Jun 2026 {hour}:00 UTC")
        self.assertNotContains(response, "2026-06-03 23:00:00 UTC")

    def test_a_paused_job_shows_when_it_would_run(self):
        rows.job("nightly", trigger=rows.NIGHTLY, state="paused")
        response = self.client.get(rows.page("djangojob", "nightly"))
        self.assertContains(response, "Thu 4 Jun 2026 03:30 UTC")
        self.assertContains(response, "These are when it would run if it were active.")

    def test_a_broken_job_shows_error_and_remedy(self):
        rows.job(
            "geo",
            state="broken",
            error="Traceback (most recent call last):\nModuleNotFoundError: geo",
        )
        response = self.client.get(rows.page("djangojob", "geo"))
        self.assertContains(response, "ModuleNotFoundError: geo")
        self.assertContains(response, "manage.py apscheduler resign geo")
        self.assertNotContains(response, "Run now")

    def test_arguments_need_their_permission(self):
        rows.job("secret", kwargs='{"customer":"hunter2","token":"t0p"}')
        address = rows.page("djangojob", "secret")
        page = self.client.get(address)
        self.assertContains(page, "hunter2")
        self.assertContains(page, "••••••")
        self.assertNotContains(page, "t0p")
        self.client.force_login(rows.user("ben", "view_djangojob"))
        self.assertNotContains(self.client.get(address), "hunter2")
        self.client.force_login(rows.user("eva", "view_djangojob", "view_sensitive"))
        self.assertContains(self.client.get(address), "hunter2")

    def test_ids_with_any_characters_have_pages(self):
        for pk in ("a/b c", "100%", "ü_?&=#", "x/run"):
            with self.subTest(pk=pk):
                rows.job(pk)
                response = self.client.get(reverse(JOBS), {"q": pk})
                job = response.context["cl"].result_list[0]
                admin = response.context["cl"].model_admin
                html = admin.levers(job)
                address = html.split('formaction="')[1].split('"')[0]
                self.assertEqual(self.client.get(address).status_code, 405)

    def test_addresses_are_those_that_django_finds(self):
        addresses = base.Addresses("admin")
        for pk in ("a/b c", "100%", "ü_?&=#", "x/run", base.STAND_IN, 7):
            with self.subTest(pk=pk):
                self.assertEqual(
                    addresses.of("djangojob_change", pk),
                    reverse(
                        "admin:django_apscheduler_djangojob_change", args=[quote(pk)]
                    ),
                )
                self.assertEqual(
                    addresses.log(job=pk),
                    f"{reverse(rows.LOG)}?{urlencode({'job': pk})}",
                )

    def test_the_box_that_selects_a_job_is_drawn_as_django_draws_it(self):
        mine = admin.site._registry[DjangoJob]
        for language in ("en", "de", "en"):
            for pk in ("report", "a/b c", "<b>\"'&{}%s"):
                with self.subTest(language=language, pk=pk), override(language):
                    job = DjangoJob(pk=pk, name=f"{pk} named")
                    theirs = admin.ModelAdmin.action_checkbox(mine, job)
                    self.assertEqual(mine.action_checkbox(job), theirs)

    def test_a_job_that_is_gone_is_reported(self):
        response = self.client.get(rows.page("djangojob", "nobody"), follow=True)
        self.assertContains(response, "nobody")
        self.assertContains(response, "doesn’t exist")


class BannerTest(AdminCase):
    def test_no_scheduler_is_an_alert_with_the_command(self):
        rows.job("late", next_run_time=NOON - timedelta(minutes=1))
        response = self.client.get(reverse(JOBS))
        self.assertContains(response, 'role="alert"')
        self.assertContains(response, "No scheduler is running.")
        self.assertContains(response, "<code>manage.py runapscheduler</code>")
        self.assertContains(response, "1 job overdue")
        self.assertContains(response, "?state=overdue")

    def test_schedulers_alive_are_counted(self):
        present = datetime.now(rows.UTC)
        self.enterContext(
            mock.patch.object(stats, "database_now", return_value=present)
        )
        process = rows.process(tick_time=present - timedelta(seconds=1.2))
        rows.process(host="web-2", tick_time=present - timedelta(seconds=3))
        rows.process(state="dead", seconds=-3600)
        rows.job("hourly")
        run = rows.execution("hourly", 1)
        for address in (
            *(reverse(name) for name in (JOBS, rows.LOG, rows.SCHEDULERS)),
            rows.page("djangojob", "hourly"),
            rows.page("djangojobexecution", run.pk),
            rows.page("schedulerprocess", process.pk),
        ):
            with self.subTest(page=address):
                response = self.client.get(address)
                self.assertContains(response, "2 schedulers alive")
                self.assertContains(response, "last heartbeat 1.2 s ago")
                self.assertNotContains(response, "No scheduler is running")

    def test_a_scheduler_without_heartbeat_is_not_alive(self):
        rows.process(seconds=-3)
        response = self.client.get(reverse(JOBS))
        self.assertContains(response, "No scheduler is running.")
        self.assertContains(response, "1 without heartbeat")

    def test_a_pause_of_everything_is_said(self):
        from django_apscheduler.models import SchedulerControl

        rows.process()
        SchedulerControl.objects.update_or_create(
            pk=SchedulerControl.ROW,
            defaults={"paused": True, "paused_by": "ben", "pause_reason": "move"},
        )
        self.assertContains(
            self.client.get(reverse(JOBS)), "all jobs paused by ben: move"
        )
