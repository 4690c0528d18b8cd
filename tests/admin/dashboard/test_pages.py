"""The dashboard: its numbers, its page and its series."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from unittest import mock
from zoneinfo import ZoneInfo

from django.db import connection
from django.test import SimpleTestCase, TestCase, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from django_apscheduler import rollups
from django_apscheduler.admin.dashboard import figures, tables, timeline
from django_apscheduler.admin.dashboard.figures import SPANS
from django_apscheduler.models import DjangoJob
from tests.admin import rows, shop
from tests.admin.rows import NOON, UTC
from tests.admin.test_jobs import AdminCase

PAGE = "admin:django_apscheduler_dashboard"
BERLIN = "Europe/Berlin"
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def series(name: str, query: str = "") -> str:
    address = reverse("admin:django_apscheduler_dashboard_series", args=(name,))
    return address + query


def sum_up(now: datetime = NOON) -> None:
    """Have the roll-ups count all there is."""
    list(rollups.steps("default", now - 2 * MINUTE))
    list(rollups.steps("default", now))


def daily(hour: int, minute: int = 0, zone: str = "UTC") -> str:
    fields = {"hour": str(hour), "minute": str(minute), "timezone": zone}
    return json.dumps({"type": "cron", "args": fields})


class SlotsTest(TestCase):
    def bars(self, name: str = "24h") -> list[figures.Slot]:
        tail = figures.read_tail("default")
        return figures.read_slots("default", SPANS[name], NOON, tail)

    def test_runs_stand_in_the_hour_they_were_due(self):
        rows.execution("a", hours=0)
        rows.execution("a", hours=0.25, status="Error!")
        rows.execution("a", hours=1, status="Lost")
        rows.execution("a", hours=23, status="Missed!", occurrences=7)
        rows.execution("a", hours=23, status="Max instances!")
        rows.execution("a", hours=23.5)
        rows.execution("a", hours=2, status="Coalesced")
        sum_up()
        bars = self.bars()
        self.assertEqual(len(bars), 24)
        self.assertEqual(bars[0].start, NOON - 23 * HOUR)
        self.assertEqual(bars[-1].end, NOON + HOUR)
        self.assertEqual(
            [(bar.succeeded, bar.failed, bar.not_run) for bar in bars],
            [(0, 0, 8), *[(0, 0, 0)] * 21, (0, 2, 0), (1, 0, 0)],
        )

    def test_what_is_not_in_the_sums_yet_is_added_once(self):
        rows.execution("a", hours=0)
        sum_up()
        rows.execution("a", hours=0.1)
        rows.execution("a", hours=0.2, status="Started execution")
        self.assertEqual(sum(bar.succeeded for bar in self.bars()), 2)

    def test_too_long_a_tail_is_left_out_and_said(self):
        first = rows.execution("a", hours=2)
        for _ in range(3):
            rows.execution("a", hours=1)
        with mock.patch.object(figures, "TAIL_ROWS", 3):
            tail = figures.read_tail("default")
        self.assertEqual(tail, ([], first.run_time))

    @override_settings(TIME_ZONE=BERLIN)
    def test_days_are_those_of_the_page(self):
        # In Berlin these are 00:30 of the 3rd and 23:30 of the 2nd.
        rows.execution("a", hours=13.5)
        rows.execution("a", hours=14.5, status="Error!")
        sum_up()
        bars = self.bars("30d")
        self.assertEqual(len(bars), 30)
        self.assertEqual(bars[-1].start, datetime(2026, 6, 2, 22, tzinfo=UTC))
        found = [(bar.succeeded, bar.failed) for bar in bars[-2:]]
        self.assertEqual(found, [(0, 1), (1, 0)])

    @override_settings(TIME_ZONE=BERLIN)
    def test_a_day_with_a_change_of_the_clock_is_one_bar(self):
        now = datetime(2026, 3, 30, 12, tzinfo=UTC)
        bars = figures.slots(SPANS["30d"], now)
        lengths = [(bar.end - bar.start) // HOUR for bar in bars[:-1]]
        self.assertEqual((len(bars), lengths[-1], set(lengths[:-1])), (30, 23, {24}))
        quarters = figures.slots(SPANS["7d"], now)
        self.assertEqual(
            [(b.end - b.start) // HOUR for b in quarters[20:25]], [5, 6, 6, 6, 6]
        )

    @override_settings(TIME_ZONE="Asia/Kolkata")
    def test_a_zone_of_half_hours_has_as_many_days(self):
        bars = figures.slots(SPANS["30d"], NOON)
        self.assertEqual(len(bars), 30)
        self.assertEqual(bars[-1].start, datetime(2026, 6, 2, 19, tzinfo=UTC))

    def test_percentiles_of_durations_and_lateness(self):
        for seconds in (1, 1, 1, 1, 1, 1, 1, 1, 1, 100):
            rows.execution(
                "a",
                started_time=NOON + timedelta(seconds=4),
                finished_time=NOON + timedelta(seconds=4 + seconds),
            )
        sum_up()
        (bar,) = figures.percentiles_json(self.bars()[-1:], "durations")
        self.assertEqual(bar["runs"], 10)
        self.assertAlmostEqual(bar["p50"], 1.0, delta=0.1)
        self.assertAlmostEqual(bar["p95"], 100.0, delta=10)
        (bar,) = figures.percentiles_json(self.bars()[-1:], "lateness")
        self.assertAlmostEqual(bar["p99"], 4.0, delta=0.4)
        (idle,) = figures.percentiles_json(self.bars()[:1], "lateness")
        self.assertEqual((idle["runs"], idle["p50"]), (0, None))


class CalendarTest(TestCase):
    def test_each_day_of_twelve_weeks_has_its_counts(self):
        rows.execution("a", hours=1)
        rows.execution("a", hours=1, status="Error!")
        rows.execution("a", hours=30)
        rows.execution("a", hours=24 * 79 + 12, status="Missed!", occurrences=3)
        rows.execution("a", hours=24 * 79 + 13)
        sum_up()
        rows.execution("a", hours=0.5)
        tail = figures.read_tail("default")
        past = figures.read_past("default", NOON, tail)
        # 3 June 2026 is a Wednesday.
        self.assertEqual(len(past.days), 11 * 7 + 3)
        self.assertEqual(past.days[0].day.isoformat(), "2026-03-16")
        found = {
            day.day.isoformat(): (day.runs, day.failed, day.not_run)
            for day in past.days
            if day.runs or day.not_run
        }
        self.assertEqual(
            found,
            {
                "2026-03-16": (0, 0, 3),
                "2026-06-02": (1, 0, 0),
                "2026-06-03": (3, 1, 0),
            },
        )
        self.assertEqual((past.runs, past.failed, past.not_run), (3, 1, 0))


class ReleasesTest(TestCase):
    def test_only_changes_count(self):
        for days, release in (
            (9, "1"),
            (5, "1"),
            (4, "2"),
            (3, "2"),
            (2, ""),
            (1, "1"),
        ):
            rows.process(
                release=release, started_time=NOON - timedelta(days=days), state="dead"
            )
        found = figures.read_releases("default", NOON - timedelta(days=8))
        self.assertEqual(
            found,
            [(NOON - timedelta(days=4), "2"), (NOON - timedelta(days=1), "1")],
        )
        self.assertEqual(
            figures.read_releases("default", NOON - timedelta(days=2)), found[1:]
        )


class TimelineTest(TestCase):
    def lanes(self, durations: dict[str, float] | None = None) -> timeline.Timeline:
        known = {}
        for pk, seconds in (durations or {}).items():
            known[pk] = rollups.Histogram()
            known[pk].note(seconds)
        jobs = timeline.read_jobs("default", NOON)
        return timeline.build(jobs, known, NOON)

    def test_runs_are_those_of_the_real_trigger(self):
        at = datetime(2026, 6, 4, 3, 30, tzinfo=UTC)
        rows.job("nightly", trigger=rows.NIGHTLY, next_run_time=at, nominal_time=at)
        found = self.lanes({"nightly": 600.0})
        (lane,) = found.lanes
        self.assertEqual((lane.times, lane.complete), ([at], True))
        ((start, end, runs, gap),) = lane.stretches
        self.assertEqual((start, runs, gap), (at, 1, None))
        self.assertAlmostEqual((end - start).total_seconds(), 600, delta=60)
        self.assertEqual((found.start, found.end), (NOON, NOON + 24 * HOUR))

    def test_runs_close_to_one_another_are_a_band_with_its_holes(self):
        first = datetime(2026, 6, 3, 14, tzinfo=UTC)
        fields = {"hour": "14-16,20", "minute": "*/5", "timezone": "UTC"}
        rows.job(
            "often",
            trigger=json.dumps({"type": "cron", "args": fields}),
            next_run_time=first,
            nominal_time=first,
        )
        (lane,) = self.lanes().lanes
        self.assertEqual(len(lane.times), 48)
        second = timedelta(seconds=1)
        self.assertEqual(
            lane.stretches,
            [
                (first, first + 175 * MINUTE + second, 36, 300.0),
                (first + 6 * HOUR, first + 6 * HOUR + 55 * MINUTE + second, 12, 300.0),
            ],
        )

    def test_of_very_frequent_jobs_holes_are_found_by_samples(self):
        first = datetime(2026, 6, 3, 14, tzinfo=UTC)
        fields = {"hour": "14,20", "minute": "*", "second": "*", "timezone": "UTC"}
        rows.job(
            "always",
            trigger=json.dumps({"type": "cron", "args": fields}),
            next_run_time=first,
            nominal_time=first,
        )
        (lane,) = self.lanes().lanes
        self.assertFalse(lane.complete)
        self.assertLess(len(lane.times), 300)
        early, late = lane.stretches
        self.assertEqual((early.start, early.runs, early.gap), (first, None, 1.0))
        self.assertLess(first + HOUR - early.end, timedelta(minutes=11))
        self.assertGreater(early.end, first)
        self.assertEqual(late.start, first + 6 * HOUR)

    def test_overlaps_are_counted_where_they_are(self):
        for pk, hour, minute in (("a", 2, 0), ("b", 2, 15), ("c", 2, 20), ("d", 5, 0)):
            at = datetime(2026, 6, 4, hour, minute, tzinfo=UTC)
            rows.job(pk, trigger=daily(hour, minute), next_run_time=at, nominal_time=at)
        # a 02:00-02:30, b 02:15-02:27, c 02:20-02:21, about.
        found = self.lanes({"a": 1800.0, "b": 720.0, "c": 60.0, "d": 60.0})
        self.assertEqual(found.most, 3)
        self.assertEqual(found.most_time, datetime(2026, 6, 4, 2, 20, tzinfo=UTC))
        spans = [(f"{o.start:%H:%M}", f"{o.end:%H:%M}", o.runs) for o in found.overlaps]
        self.assertEqual(
            spans, [("02:15", "02:20", 2), ("02:20", "02:25", 3), ("02:25", "02:30", 2)]
        )

    def test_an_overdue_job_is_due_now_and_its_backlog_is_not_drawn(self):
        late = NOON - timedelta(days=3, minutes=30)
        rows.job("late", anchor_time=late, next_run_time=late, nominal_time=late)
        (lane,) = self.lanes().lanes
        self.assertEqual(lane.times[:3], [NOON, NOON + 30 * MINUTE, NOON + 90 * MINUTE])
        self.assertEqual(len(lane.times), 25)

    def test_a_long_backlog_costs_no_time(self):
        years = NOON - timedelta(days=900)
        minutely = '{"type":"interval","args":{"minutes":1}}'
        rows.job(
            "late",
            trigger=minutely,
            anchor_time=years,
            next_run_time=years,
            nominal_time=years,
        )
        (lane,) = self.lanes().lanes
        self.assertEqual(lane.times[1], NOON + MINUTE)
        (band,) = lane.stretches
        self.assertGreater(band.end, NOON + timedelta(hours=23, minutes=45))

    def test_jobs_go_on_when_the_clock_goes_back(self):
        noon = datetime(2026, 10, 24, 12, tzinfo=UTC)
        fields = {"hour": "*/1", "minute": "30", "timezone": BERLIN}
        first = noon + 30 * MINUTE
        rows.job(
            "hourly",
            trigger=json.dumps({"type": "cron", "args": fields}),
            next_run_time=first,
            nominal_time=first,
        )
        jobs = timeline.read_jobs("default", noon)
        (lane,) = timeline.build(jobs, {}, noon).lanes
        self.assertEqual(lane.times, [first + n * HOUR for n in range(24)])

    def test_an_unreadable_trigger_shows_its_next_run_only(self):
        rows.job("odd", trigger='{"type":"shop.triggers:Moon","args":{}}')
        rows.job("torn", trigger="{")
        odd, torn = self.lanes().lanes
        for lane in (odd, torn):
            self.assertEqual((lane.times, lane.complete), ([NOON + HOUR], False))

    def test_without_time_to_search_the_next_runs_are_shown(self):
        rows.job("a")
        jobs = timeline.read_jobs("default", NOON)
        found = timeline.build(jobs, {}, NOON, search_seconds=0)
        self.assertEqual([lane.times for lane in found.lanes], [[NOON + HOUR]])

    def test_only_jobs_of_the_next_day_have_lanes_the_soonest_first(self):
        rows.job("later", next_run_time=NOON + 25 * HOUR)
        rows.job("paused", state="paused")
        for number in range(4):
            rows.job(f"job-{number}", next_run_time=NOON + (4 - number) * HOUR)
        jobs = timeline.read_jobs("default", NOON, lanes=3)
        self.assertEqual([job.pk for job in jobs], ["job-3", "job-2", "job-1"])


class ZoneChangeTest(SimpleTestCase):
    def test_a_change_is_found_to_the_minute(self):
        for zone, start, moment, before, after in (
            (BERLIN, (2026, 3, 28, 12), (2026, 3, 29, 1), "02:00", "03:00"),
            (BERLIN, (2026, 10, 24, 12), (2026, 10, 25, 1), "03:00", "02:00"),
            (
                "Australia/Lord_Howe",
                (2026, 4, 4, 3),
                (2026, 4, 4, 15),
                "02:00",
                "01:30",
            ),
        ):
            with self.subTest(zone=zone, start=start):
                begin = datetime(*start, tzinfo=UTC)
                (change,) = timeline.zone_changes(
                    begin, begin + 24 * HOUR, ZoneInfo(zone)
                )
                self.assertEqual(change.moment, datetime(*moment, tzinfo=UTC))
                self.assertEqual(f"{change.before:%H:%M}", before)
                self.assertEqual(f"{change.after:%H:%M}", after)

    def test_other_days_have_none(self):
        self.assertEqual(
            timeline.zone_changes(NOON, NOON + 24 * HOUR, ZoneInfo(BERLIN)), []
        )
        self.assertEqual(
            timeline.zone_changes(NOON, NOON + 24 * HOUR, timezone.utc), []
        )


class TablesTest(TestCase):
    def counts(self) -> tables.JobCounts:
        return tables.count_jobs("default", NOON)

    def failing(self) -> tables.Failing:
        return tables.read_failing(
            "default",
            self.counts(),
            NOON - timedelta(days=7),
            figures.read_tail("default"),
        )

    def test_jobs_are_counted_by_state(self):
        rows.job("soon")
        rows.job("later", next_run_time=NOON + 48 * HOUR)
        rows.job("late", next_run_time=NOON - HOUR)
        rows.job("paused", state="paused")
        rows.job("geo", state="broken")
        rows.job("done", state="finished")
        self.assertEqual(self.counts(), (6, 3, 1, 1, 1, 2, timedelta(days=1)))

    def test_the_timeline_looks_no_further_than_it_must(self):
        def add(name: str, jobs: int, minutes: int) -> None:
            at = NOON + timedelta(minutes=minutes)
            DjangoJob.objects.bulk_create(
                DjangoJob(id=f"{name}-{number}", next_run_time=at)
                for number in range(jobs)
            )

        def horizon() -> timedelta:
            return tables.count_jobs("default", NOON, lanes=4).horizon

        add("soon", 2, 1)
        add("later", 1, 10)
        add("tonight", 9, 61)
        self.assertEqual(horizon(), timedelta(days=1))
        add("this-hour", 1, 60)
        self.assertEqual(horizon(), timedelta(hours=1))
        found = timeline.read_jobs("default", NOON, 4, horizon())
        self.assertEqual(
            [job.pk for job in found], ["soon-0", "soon-1", "later-0", "this-hour-0"]
        )
        add("last", 1, 10)
        self.assertEqual(horizon(), timedelta(minutes=10))
        add("at-once", 2, 1)
        self.assertEqual(horizon(), timedelta(minutes=1))

    def fail(self) -> None:
        for pk in ("bad", "worse", "mended", "missed"):
            rows.job(pk, name=pk.title())
        rows.execution("bad", hours=2)
        rows.execution("bad", hours=1, status="Error!", exception="ValueError: n/a")
        for hours in (5, 4, 3):
            rows.execution("worse", hours=hours, status="Error!")
        rows.execution("worse", hours=2, status="Missed!")
        rows.execution("mended", hours=3, status="Error!")
        rows.execution("mended", hours=2)
        rows.execution("missed", hours=2, status="Missed!")

    def test_failing_are_those_whose_last_run_failed(self):
        self.fail()
        found = self.failing()
        self.assertEqual((found.count, found.more), (2, False))
        self.assertEqual(
            [(row.job_id, row.name, row.in_row, row.exception) for row in found.rows],
            [("bad", "Bad", 1, "ValueError: n/a"), ("worse", "Worse", 3, "")],
        )

    def test_of_many_jobs_only_those_that_failed_lately_are_looked_at(self):
        self.fail()
        DjangoJob.objects.filter(pk="bad").update(name="Bad")
        rows.job("long ago")
        rows.execution("long ago", hours=24 * 20, status="Error!")
        sum_up()
        rows.job("just now")
        rows.execution("just now", hours=0.1, status="Lost")
        with mock.patch.object(tables, "ALL_JOBS", 5):
            found = self.failing()
        self.assertEqual(
            [row.job_id for row in found.rows], ["just now", "bad", "worse"]
        )
        self.assertTrue(found.more)
        self.assertFalse(found.capped)

    def test_the_slowest_come_first_with_exact_sums(self):
        for pk, lengths in {"a": (1, 3), "b": (10,), "c": (2, 2, 2)}.items():
            rows.job(pk)
            for seconds in lengths:
                rows.execution(
                    pk,
                    started_time=NOON,
                    finished_time=NOON + timedelta(seconds=seconds),
                )
        rows.execution("a", hours=24 * 9, started_time=NOON, finished_time=NOON + HOUR)
        sum_up()
        found = tables.read_slowest("default", NOON - timedelta(days=7))
        self.assertEqual(
            [(row.job_id, row.runs, row.mean, row.longest) for row in found],
            [("b", 1, 10.0, 10.0), ("a", 2, 2.0, 3.0), ("c", 3, 2.0, 2.0)],
        )

    def test_of_many_jobs_the_slowest_are_those_of_the_latest_runs(self):
        rows.job("a", name="Ann")
        for pk, hours, seconds in (("a", 1, 4), ("a", 2, 2), ("b", 3, 9), ("c", 4, 99)):
            due = NOON - hours * HOUR
            rows.execution(
                pk,
                hours,
                started_time=due,
                finished_time=due + timedelta(seconds=seconds),
            )
        rows.execution("d", hours=0, status="Lost", started_time=NOON - HOUR)
        with mock.patch.object(tables, "LATEST_RUNS", 4):
            found = tables.read_slowest_of_latest("default")
        self.assertEqual(
            [(row.job_id, row.runs, row.mean, row.longest) for row in found],
            [("b", 1, 9.0, 9.0), ("a", 2, 3.0, 4.0)],
        )
        tables.complete_slowest("default", found, NOON)
        self.assertEqual([row.name for row in found], ["b", "Ann"])

    def test_quiet_are_the_overdue_the_skipped_and_the_long_paused(self):
        rows.job("late", next_run_time=NOON - HOUR)
        rows.job("skipped")
        rows.execution("skipped", status="Missed!", occurrences=5)
        rows.execution("skipped", hours=2, status="Max instances!")
        rows.job("some", name="Some")
        rows.execution("some", status="Missed!")
        rows.execution("some", hours=1)
        rows.job(
            "old",
            state="paused",
            paused_time=NOON - timedelta(days=2),
            paused_by="ben",
            pause_reason="move",
        )
        rows.job("new", state="paused", paused_time=NOON - HOUR)
        sum_up()
        since = NOON - timedelta(days=7)
        self.assertEqual(
            tables.read_quiet("default", NOON, since),
            [
                ("late", "late", "overdue", NOON - HOUR, 0, "", ""),
                ("skipped", "skipped", "not run", None, 6, "", ""),
                ("old", "old", "paused", NOON - timedelta(days=2), 0, "ben", "move"),
            ],
        )
        without = tables.read_quiet("default", NOON, since, runs=False)
        self.assertEqual([job.job_id for job in without], ["late", "old"])


class PageTest(AdminCase):
    def tiles(self, response) -> dict[str, str]:
        return {tile.key: tile.number for tile in response.context["tiles"]}

    def test_an_empty_database_has_a_page(self):
        response = self.client.get(reverse(PAGE))
        self.assertContains(response, "No scheduler is running.")
        self.assertContains(response, "No job is going to run.")
        self.assertContains(response, "There are no jobs yet.")
        self.assertContains(response, "Nothing has run yet.", count=2)
        self.assertEqual(set(self.tiles(response).values()), {"0"})

    def test_a_page_of_very_many_jobs_says_what_it_leaves_out(self):
        for number in range(4):
            rows.job(f"job-{number}")
            rows.execution(f"job-{number}", hours=1, status="Error!")
        sum_up()
        response = self.client.get(reverse(PAGE))
        self.assertContains(response, "Latest jobs")
        self.assertEqual(self.tiles(response)["failing"], "4")
        with (
            mock.patch.object(tables, "ALL_JOBS", 3),
            mock.patch.object(tables, "FAILED_JOBS", 2),
        ):
            response = self.client.get(reverse(PAGE))
        self.assertNotContains(response, "Latest jobs")
        # Nor are they read, which is a look at each of the many.
        self.assertEqual(response.context["latest_jobs"], [])
        self.assertEqual(self.tiles(response)["failing"], "2+")

    def test_tiles_lead_to_as_many_rows_as_they_say(self):
        shop.fill(NOON, days=2)
        rows.job("late", next_run_time=NOON - HOUR)
        response = self.client.get(reverse(PAGE))
        tiles = {tile.key: tile for tile in response.context["tiles"]}
        for key in ("active", "running", "overdue", "failing", "broken", "paused"):
            with self.subTest(key):
                listed = self.client.get(tiles[key].url).context["cl"].result_count
                self.assertEqual(tiles[key].number, str(listed))
                self.assertGreater(listed, 0)
        listed = self.client.get(tiles["runs"].url).context["cl"].queryset
        decided = listed.filter(status__in=["Executed", "Error!", "Lost"])
        self.assertEqual(tiles["runs"].number, str(decided.count()))
        failures = self.client.get(tiles["failures"].url).context["cl"].queryset
        failed = failures.filter(status__in=["Error!", "Lost"]).count()
        self.assertGreater(failed, 0)
        self.assertEqual(tiles["failures"].number, str(failed))

    def test_a_day_of_the_calendar_leads_to_its_runs(self):
        rows.job("a")
        inside = rows.execution("a", hours=36.5)
        rows.execution("a", hours=12.5 + 24)
        rows.execution("a", hours=37)
        rows.execution("a", hours=12)
        rows.execution("a", hours=61)
        response = self.client.get(reverse(PAGE))
        chart = response.context["charts"][3]
        today, yesterday, before = chart.rows[:3]
        self.assertEqual(
            [row[1] for row in (today, yesterday, before)], ["1", "0", "3"]
        )
        address = before[0].split('"')[1].replace("&amp;", "&")
        listed = self.client.get(address).context["cl"].result_list
        self.assertEqual(len(listed), 3)
        self.assertIn(inside, listed)

    def test_charts_say_in_words_and_in_a_table_what_they_show(self):
        rows.job("a", name="Invoices & co")
        rows.execution("a")
        rows.execution("a", hours=1, status="Error!")
        response = self.client.get(reverse(PAGE))
        self.assertContains(
            response,
            'aria-label="Runs and failures by time: 1 run succeeded, 1 failed"',
        )
        self.assertContains(response, "11:00–12:00: 0 runs succeeded, 1 failed")
        self.assertContains(response, "View as table", count=5)
        self.assertContains(response, "1 job runs. No two of them overlap.")
        self.assertContains(response, "Invoices &amp; co: 13:00 UTC</title>")
        self.assertNotContains(response, "Invoices & co")
        self.assertNotContains(response, "style=")

    def test_the_number_of_queries_does_not_depend_on_the_number_of_rows(self):
        def queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                self.assertEqual(self.client.get(reverse(PAGE)).status_code, 200)
            return len(captured)

        def one_of_each(number: int) -> None:
            rows.job(f"{number}")
            rows.job(f"late {number}", next_run_time=NOON - HOUR)
            rows.job(f"paused {number}", state="paused", paused_time=NOON - 48 * HOUR)
            rows.execution(f"{number}", hours=1)
            rows.execution(f"{number}", status="Error!")
            rows.execution(f"late {number}", status="Missed!")
            rows.process()

        one_of_each(0)
        rows.execution("0", status="Started execution")
        sum_up()
        few = queries()
        for number in range(1, 15):
            one_of_each(number)
        sum_up()
        self.assertEqual(queries(), few)
        self.assertLessEqual(few, 36)

    def test_without_permission_for_executions_nothing_of_them_shows(self):
        rows.job("a", name="Invoices")
        rows.execution("a", status="Error!", exception="ValueError: secret")
        rows.job("skipped")
        rows.execution("skipped", status="Missed!")
        sum_up()
        self.client.force_login(rows.user("ben", "view_djangojob"))
        response = self.client.get(reverse(PAGE))
        self.assertEqual(
            list(self.tiles(response)), ["active", "overdue", "broken", "paused"]
        )
        self.assertContains(response, "Invoices")
        for hidden in ("secret", "Failing", "Runs and failures", "Latest runs"):
            self.assertNotContains(response, hidden)
        self.assertNotIn("processes", response.context)
        self.assertNotContains(response, "djangojobexecution")

    def test_who_may_not_view_jobs_is_refused(self):
        self.client.force_login(rows.user("eve", "view_djangojobexecution"))
        self.assertEqual(self.client.get(reverse(PAGE)).status_code, 403)
        self.assertNotContains(self.client.get(reverse(rows.LOG)), "Dashboard</a>")
        self.client.logout()
        response = self.client.get(reverse(PAGE))
        self.assertRedirects(response, f"{reverse('admin:login')}?next={reverse(PAGE)}")

    def test_it_is_read_only(self):
        self.assertEqual(self.client.post(reverse(PAGE)).status_code, 405)
        self.assertEqual(self.client.post(series("jobs")).status_code, 405)

    def test_the_lists_lead_to_it(self):
        link = f'href="{reverse(PAGE)}">Dashboard</a>'
        for page in (rows.JOBS, rows.LOG, rows.SCHEDULERS):
            self.assertContains(self.client.get(reverse(page)), link)

    def test_all_jobs_can_be_paused_from_it_by_those_who_may(self):
        address = reverse("admin:django_apscheduler_djangojob_pause_all")
        self.assertContains(self.client.get(reverse(PAGE)), f'href="{address}"')
        self.client.force_login(rows.user("ben", "view_djangojob"))
        self.assertNotContains(self.client.get(reverse(PAGE)), address)

    def test_other_ranges_are_chosen_by_links_and_bad_ones_are_the_first(self):
        for query, label in (
            ("", "24 hours"),
            ("?range=7d", "7 days"),
            ("?range=x", "24 hours"),
        ):
            response = self.client.get(reverse(PAGE) + query)
            self.assertContains(response, f'aria-current="true">{label}</a>')

    def test_schedulers_show_how_busy_they_are(self):
        owner = rows.process(seconds=3600, release="2026.6", executors='{"default":3}')
        rows.process(state="dead", host="gone")
        rows.execution("a", status="Started execution", owner=owner)
        response = self.client.get(reverse(PAGE))
        self.assertContains(response, ">1 / 3</td>")
        self.assertContains(response, "2026.6")
        self.assertNotContains(response, "gone:")


class SeriesTest(AdminCase):
    def test_each_is_json_and_says_which_it_is(self):
        shop.fill(NOON, days=2)
        for name, key in (
            ("jobs", "overdue"),
            ("timeline", "lanes"),
            ("throughput", "bars"),
            ("durations", "bars"),
            ("lateness", "bars"),
            ("calendar", "days"),
        ):
            with self.subTest(name):
                response = self.client.get(series(name))
                self.assertEqual(response["Content-Type"], "application/json")
                self.assertEqual(response.json()["series"], name)
                self.assertIn(key, response.json())

    def test_jobs_are_counted_and_nothing_else(self):
        rows.job("a")
        rows.job("b", state="paused")
        self.assertEqual(
            self.client.get(series("jobs")).json(),
            {
                "series": "jobs",
                "total": 2,
                "active": 1,
                "paused": 1,
                "broken": 0,
                "overdue": 0,
                "coming": 1,
            },
        )

    def test_numbers_are_those_of_the_page(self):
        rows.execution("a", hours=1)
        rows.execution("a", hours=1, status="Error!")
        sum_up()
        answer = self.client.get(series("throughput", "?range=7d")).json()
        self.assertEqual(len(answer["bars"]), 27)
        self.assertEqual(
            answer["bars"][-2],
            {
                "start": "2026-06-03T06:00:00+00:00",
                "end": "2026-06-03T12:00:00+00:00",
                "succeeded": 1,
                "failed": 1,
                "not_run": 0,
            },
        )
        self.assertEqual((answer["range"], answer["counted_until"]), ("7d", None))

    def test_what_has_not_changed_is_not_sent_again(self):
        rows.job("a")
        first = self.client.get(series("timeline"))
        again = self.client.get(series("timeline"), HTTP_IF_NONE_MATCH=first["ETag"])
        self.assertEqual((again.status_code, again.content), (304, b""))
        self.assertIn("private", first["Cache-Control"])
        rows.job("b")
        changed = self.client.get(series("timeline"), HTTP_IF_NONE_MATCH=first["ETag"])
        self.assertEqual(changed.status_code, 200)

    def test_bad_parameters_are_answered_with_what_was_expected(self):
        for name, query, error in (
            (
                "throughput",
                "?range=1y",
                "range must be one of 24h, 7d, 30d; got '1y'",
            ),
            ("throughput", "?range=", "range must be one of 24h, 7d, 30d; got ''"),
            (
                "calendar",
                "?weeks=53",
                "weeks must be a whole number from 1 to 52; got '53'",
            ),
            (
                "calendar",
                "?weeks=-1",
                "weeks must be a whole number from 1 to 52; got '-1'",
            ),
            (
                "timeline",
                "?lanes=" + "9" * 30,
                f"lanes must be a whole number from 1 to 100; got '{'9' * 30}'",
            ),
            ("jobs", "?weeks=1", "expected no parameter; got weeks"),
            (
                "calendar",
                "?range=7d",
                "expected only the parameter weeks; got range",
            ),
        ):
            with self.subTest(name=name, query=query):
                response = self.client.get(series(name, query))
                self.assertEqual(response.status_code, 400)
                self.assertEqual(response.json(), {"error": error})

    def test_an_unknown_one_names_those_there_are(self):
        response = self.client.get(series("secrets"))
        self.assertEqual(response.status_code, 404)
        self.assertIn("jobs, timeline, throughput", response.json()["error"])

    def test_who_may_not_is_refused_in_json(self):
        self.client.force_login(rows.user("ben", "view_djangojob"))
        self.assertEqual(self.client.get(series("jobs")).status_code, 200)
        for name in ("timeline", "throughput", "durations", "lateness", "calendar"):
            with self.subTest(name):
                response = self.client.get(series(name))
                self.assertEqual(response.status_code, 403)
                self.assertIn("view_djangojobexecution", response.json()["error"])
        self.client.force_login(rows.user("eve", "view_djangojobexecution"))
        self.assertEqual(self.client.get(series("jobs")).status_code, 403)
        self.client.logout()
        self.assertEqual(self.client.get(series("jobs")).status_code, 302)

    def test_nothing_sensitive_is_among_them(self):
        rows.job("a", kwargs='{"password":"hunter2"}')
        rows.execution("a", status="Error!", exception="hunter2", traceback="hunter2")
        for name in ("jobs", "timeline", "throughput", "calendar"):
            self.assertNotContains(self.client.get(series(name)), "hunter2")
