"""The filters of the lists."""

from __future__ import annotations

from datetime import timedelta

from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

import django_apscheduler
from tests.admin import rows
from tests.admin.rows import JOBS, LOG, NOON
from tests.admin.test_jobs import AdminCase


class ConditionFilterTest(AdminCase):
    def test_every_condition_lists_its_jobs(self):
        rows.job("fine")
        rows.execution("fine", 1)
        rows.job("never")
        for state in ("paused", "finished", "disabled", "broken"):
            rows.job(state, state=state)
            rows.execution(state, 1)
        rows.job("overdue", next_run_time=NOON - timedelta(minutes=1))
        rows.execution("overdue", 1)
        rows.job("failing")
        rows.execution("failing", 1, "Missed!")
        rows.execution("failing", 2, "Error!")
        rows.execution("failing", 3)
        rows.job("recovered")
        rows.execution("recovered", 1)
        rows.execution("recovered", 2, "Error!")
        rows.job("running")
        rows.execution("running", 0, "Started execution")
        rows.execution("running", 1)
        for condition, expected in {
            "running": ["running"],
            "overdue": ["overdue"],
            "failing": ["failing"],
            "never": ["never"],
            "paused": ["paused"],
            "finished": ["finished"],
            "disabled": ["disabled"],
            "broken": ["broken"],
            "active": ["failing", "fine", "never", "overdue", "recovered", "running"],
            "nonsense": [],
        }.items():
            with self.subTest(condition=condition):
                response = self.client.get(reverse(JOBS), {"state": condition})
                self.assertEqual(sorted(rows.listed(response)), expected)

    def test_the_closed_menu_names_the_choice(self):
        rows.job("fine")
        response = self.client.get(reverse(JOBS), {"state": "paused"})
        self.assertContains(response, "<summary>State: <b>Paused</b></summary>")

    def test_executors_in_use_are_offered(self):
        rows.job("one", executor="gpu")
        rows.job("two")
        rows.job("three")
        response = self.client.get(reverse(JOBS), {"executor": "gpu"})
        self.assertEqual(rows.listed(response), ["one"])
        spec = next(
            spec
            for spec in response.context["cl"].filter_specs
            if spec.parameter_name == "executor"
        )
        self.assertEqual(spec.lookup_choices, [("default", "default"), ("gpu", "gpu")])


class JobFilterTest(AdminCase):
    """The filters of the list of jobs beside state and executor."""

    def listed(self, **parameters: str) -> list[str]:
        response = self.client.get(reverse(JOBS), parameters)
        self.assertEqual(response.status_code, 200)
        return sorted(rows.listed(response))

    def test_triggers_are_told_by_their_own_type_however_written(self):
        for pk, trigger in {
            "cron": '{"args":{"hour":"3","timezone":"UTC"},"type":"cron"}',
            "by-hand": '{"type": "cron", "args": {"hour": "3"}}',
            "interval": '{"args":{"hours":1},"type":"interval"}',
            "or": '{"args":{"triggers":[{"args":{"hour":"3"},"type":"cron"},'
            '{"args":{"hours":1},"type":"interval"}]},"type":"or"}',
            "own": '{"args":{},"type":"custom"}',
        }.items():
            rows.job(pk, trigger=trigger)
        for chosen, expected in {
            "cron": ["by-hand", "cron"],
            "interval": ["interval"],
            "or": ["or"],
            "and": [],
            "other": ["own"],
            "nonsense": [],
        }.items():
            with self.subTest(trigger=chosen):
                self.assertEqual(self.listed(trigger=chosen), expected)

    def test_what_a_scheduler_stores_is_found_by_its_type(self):
        scheduler = django_apscheduler.get_scheduler()
        for kind, options in (
            ("cron", {"hour": 3, "timezone": "Europe/Berlin"}),
            ("interval", {"hours": 1}),
            ("date", {"run_date": NOON + timedelta(days=9000)}),
            ("calendarinterval", {"days": 1}),
        ):
            scheduler.add_job(rows.work, kind, id=kind, **options)
            with self.subTest(kind=kind):
                self.assertEqual(self.listed(trigger=kind), [kind])
        self.assertEqual(self.listed(timezone="Europe/Berlin"), ["cron"])

    def test_time_zones_are_named_exactly(self):
        rows.job("berlin", trigger=rows.NIGHTLY.replace("UTC", "Europe/Berlin"))
        rows.job("utc", trigger=rows.NIGHTLY)
        self.assertEqual(self.listed(timezone="Europe/Berlin"), ["berlin"])
        self.assertEqual(self.listed(timezone="Europe"), [])
        self.assertEqual(self.listed(timezone='"'), [])
        response = self.client.get(reverse(JOBS))
        self.assertContains(response, '<option value="Europe/Berlin"></option>')

    def test_callables_are_found_by_name_and_by_module(self):
        rows.job("nightly", func="reports.jobs:nightly")
        rows.job("weekly", func="reports.jobs:weekly")
        rows.job("mail", func="mail:send")
        self.assertEqual(self.listed(callable="reports.jobs:nightly"), ["nightly"])
        self.assertEqual(self.listed(callable="reports."), ["nightly", "weekly"])
        self.assertEqual(self.listed(callable="send"), [])
        response = self.client.get(reverse(JOBS))
        self.assertContains(response, '<option value="mail:send"></option>')

    def test_the_last_status_is_that_of_the_latest_run(self):
        rows.job("fine")
        rows.execution("fine", 1)
        rows.execution("fine", 2, "Error!")
        rows.job("failed")
        rows.execution("failed", 1, "Error!")
        rows.execution("failed", 2)
        rows.job("never")
        self.assertEqual(self.listed(last="Error!"), ["failed"])
        self.assertEqual(self.listed(last="Executed"), ["fine"])
        self.assertEqual(self.listed(last="Lost"), [])

    def test_filters_ask_the_same_number_of_queries_for_any_number_of_jobs(self):
        parameters = {"trigger": "interval", "last": "Executed", "callable": "tests."}

        def queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                self.listed(**parameters)
            return len(captured)

        rows.job("first")
        rows.execution("first", 1)
        few = queries()
        for number in range(30):
            rows.job(f"job-{number}")
            rows.execution(f"job-{number}", 1)
        self.assertEqual(queries(), few)
        self.assertEqual(len(self.listed(**parameters)), 31)


class RangeTest(AdminCase):
    def runs(self, **parameters: str):
        return self.client.get(reverse(LOG), parameters)

    def setUp(self):
        super().setUp()
        rows.job("hourly")
        self.runs_by_hour = {
            hours: str(rows.execution("hourly", hours).pk) for hours in range(6)
        }

    def test_both_ends_are_included(self):
        response = self.runs(
            run_time__range__gte="2026-06-03T09:00",
            run_time__range__lte="2026-06-03T11:00",
        )
        self.assertEqual(
            rows.listed(response), [self.runs_by_hour[hours] for hours in (1, 2, 3)]
        )
        self.assertContains(response, "2026-06-03 09:00 – 2026-06-03 11:00")

    def test_one_end_suffices(self):
        response = self.runs(run_time__range__gte="2026-06-03T11:00")
        self.assertEqual(
            rows.listed(response), [self.runs_by_hour[0], self.runs_by_hour[1]]
        )

    def test_the_last_minute_and_the_last_day_count_whole(self):
        late = rows.execution("hourly", run_time=NOON + timedelta(seconds=40.5))
        response = self.runs(run_time__range__lte="2026-06-03T12:00")
        self.assertIn(str(late.pk), rows.listed(response))
        response = self.runs(run_time__range__lte="2026-06-03")
        self.assertEqual(len(rows.listed(response)), 7)
        response = self.runs(run_time__range__lte="2026-06-02")
        self.assertEqual(rows.listed(response), [])

    def test_an_invalid_range_lists_nothing_and_says_why(self):
        for value, other in (
            ("yesterday", ""),
            ("2026-13-01T00:00", ""),
            ("2026-06-03T11:00", "2026-06-03T09:00"),
            ("9" * 500, ""),
        ):
            with self.subTest(value=value):
                response = self.runs(
                    run_time__range__gte=value, run_time__range__lte=other
                )
                self.assertEqual(response.status_code, 200)
                self.assertEqual(rows.listed(response), [])
                self.assertContains(
                    response, "Nothing is listed until this range is valid."
                )
                self.assertContains(response, "errorlist")

    def test_empty_ends_list_everything(self):
        response = self.runs(run_time__range__gte="", run_time__range__lte="")
        self.assertEqual(len(rows.listed(response)), 6)

    def test_inputs_have_labels_and_no_inline_script_or_style(self):
        response = self.runs()
        for text in (
            '<label for="id_filter_run_time__range__gte">From:</label>',
            '<label for="id_filter_duration__range__lte">To, seconds:</label>',
            '<label for="id_filter_job">Job id</label>',
        ):
            self.assertContains(response, text)
        html = response.content.decode()
        main = html[html.index('id="content-main"') :]
        self.assertNotIn("<style", main)
        self.assertNotIn(" style=", main)
        self.assertNotIn("onclick", main)
        for script in main.split("<script")[1:]:
            self.assertIn("src=", script.split(">")[0])

    def test_other_filters_and_the_search_stay(self):
        response = self.client.get(
            reverse(LOG), {"status": "Executed", "q": "hourly", "p": "1"}
        )
        html = response.content.decode()
        form = html[html.index('name="run_time__range__gte"') - 900 :]
        form = form[: form.index("</form>")]
        self.assertIn('<input type="hidden" name="status" value="Executed">', form)
        self.assertIn('<input type="hidden" name="q" value="hourly">', form)
        self.assertNotIn('name="p"', form)

    def test_quick_picks_lead_to_the_last_hours(self):
        response = self.runs()
        self.assertContains(response, "?run_time__range__gte=2026-06-03T11%3A00")
        picked = self.runs(run_time__range__gte="2026-06-03T11:00")
        self.assertEqual(len(rows.listed(picked)), 2)

    def test_moments_are_read_in_the_time_zone_of_the_page(self):
        with override_settings(TIME_ZONE="Asia/Kolkata"):
            response = self.runs(run_time__range__gte="2026-06-03T16:30")
            self.assertEqual(len(rows.listed(response)), 2)

    def test_it_works_without_time_zone_support(self):
        with override_settings(USE_TZ=False, TIME_ZONE="America/New_York"):
            response = self.runs(run_time__range__gte="2026-06-03T07:00")
            self.assertEqual(len(rows.listed(response)), 2)

    def test_coming_runs_are_filtered_and_paused_jobs_left_out(self):
        rows.job("soon", next_run_time=NOON + timedelta(minutes=5))
        rows.job("paused", state="paused")
        response = self.client.get(
            reverse(JOBS), {"next_run_time__range__lte": "2026-06-03T12:30"}
        )
        self.assertEqual(rows.listed(response), ["soon"])
        self.assertContains(response, "2026-06-03T13%3A00")


class DurationRangeTest(AdminCase):
    def setUp(self):
        super().setUp()
        rows.job("one")
        # Half a minute late, two seconds long: lateness is no part of the duration.
        self.late = rows.execution(
            "one",
            1,
            started_time=NOON + timedelta(seconds=30),
            finished_time=NOON + timedelta(seconds=32),
        )
        self.long = rows.execution(
            "one", 2, started_time=NOON, finished_time=NOON + timedelta(minutes=5)
        )
        self.skipped = rows.execution("one", 3, "Missed!")

    def listed(self, low: str = "", high: str = "") -> list[str]:
        return rows.listed(
            self.client.get(
                reverse(LOG),
                {"duration__range__gte": low, "duration__range__lte": high},
            )
        )

    def test_it_filters_by_the_time_the_body_took(self):
        self.assertEqual(self.listed(low="10"), [str(self.long.pk)])
        self.assertEqual(self.listed(high="10"), [str(self.late.pk)])
        self.assertEqual(self.listed(low="2", high="2.0"), [str(self.late.pk)])
        self.assertEqual(len(self.listed()), 3)

    def test_bad_numbers_list_nothing(self):
        for value in ("long", "-1", "nan", "1e999"):
            with self.subTest(value=value):
                self.assertEqual(self.listed(low=value), [])
        self.assertEqual(self.listed(low="1e30"), [])


class LogFilterTest(AdminCase):
    def test_every_status_lists_its_rows(self):
        rows.job("one")
        made = {
            status: str(rows.execution("one", hours, status).pk)
            for hours, status in enumerate(
                (
                    "Queued",
                    "Claimed",
                    "Started execution",
                    "Executed",
                    "Error!",
                    "Missed!",
                    "Max instances!",
                    "Coalesced",
                    "Lost",
                    "Cancelled",
                )
            )
        }
        for status, pk in made.items():
            with self.subTest(status=status):
                response = self.client.get(reverse(LOG), {"status": status})
                self.assertEqual(rows.listed(response), [pk])
        response = self.client.get(reverse(LOG), {"status": "problems"})
        self.assertEqual(
            rows.listed(response),
            [made[s] for s in ("Error!", "Missed!", "Max instances!", "Lost")],
        )

    def test_runs_of_one_job_are_found_after_its_deletion_too(self):
        rows.job("kept")
        rows.execution("kept", 1)
        gone = rows.execution("gone", 2)
        response = self.client.get(reverse(LOG), {"job": "gone"})
        self.assertEqual(rows.listed(response), [str(gone.pk)])
        self.assertContains(response, '<option value="kept"></option>')
        self.assertContains(response, "gone, deleted")

    def test_nodes_are_hosts_and_links_name_processes(self):
        old = rows.execution("one", 1, owner=rows.process(host="web-1", pid=7))
        new = rows.execution("one", 2, owner=rows.process(host="web-1", pid=8))
        rows.execution("one", 3, owner=rows.process(host="web-2"))
        rows.execution("one", 4)
        for node, expected in (
            ("web-1", [str(old.pk), str(new.pk)]),
            ("web-1:8", [str(new.pk)]),
            ("web-1:99999999999", []),
            ("web-3", []),
        ):
            with self.subTest(node=node):
                response = self.client.get(reverse(LOG), {"node": node})
                self.assertEqual(rows.listed(response), expected)
        response = self.client.get(reverse(LOG), {"node": "web-1:8"})
        self.assertContains(response, "<summary>Node: <b>web-1:8</b></summary>")
        self.assertContains(response, "?node=web-2")

    def test_origin_and_executor_filter(self):
        rows.job("one")
        rows.job("two", executor="gpu")
        manual = rows.execution("one", 1, origin="manual")
        other = rows.execution("two", 2, executor="gpu")
        response = self.client.get(reverse(LOG), {"origin": "manual"})
        self.assertEqual(rows.listed(response), [str(manual.pk)])
        response = self.client.get(reverse(LOG), {"executor": "gpu"})
        self.assertEqual(rows.listed(response), [str(other.pk)])
