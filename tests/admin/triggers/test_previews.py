"""What previews tell: fire times, changes of the clocks, traps."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta, timezone
from unittest import mock
from zoneinfo import ZoneInfo

from django.test import SimpleTestCase, override_settings
from django.utils import translation

from django_apscheduler.admin.triggers import clock_changes, previews
from django_apscheduler.triggers.base import BaseTrigger
from django_apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from django_apscheduler.triggers.combining import AndTrigger, OrTrigger
from django_apscheduler.triggers.cron import CronTrigger
from django_apscheduler.triggers.date import DateTrigger
from django_apscheduler.triggers.interval import IntervalTrigger

UTC = timezone.utc
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
BERLIN = "Europe/Berlin"
NEW_YORK = "America/New_York"
LORD_HOWE = "Australia/Lord_Howe"


def cron(zone=BERLIN, **fields):
    return CronTrigger(**fields, timezone=zone)


@override_settings(TIME_ZONE="UTC")
class TimesTest(SimpleTestCase):
    def test_ten_times_are_told_in_four_ways(self):
        shown = previews.preview(cron(hour=9, minute=30), NOW)
        self.assertEqual(shown.text, "At 09:30 every day, Europe/Berlin")
        self.assertEqual(shown.zone, BERLIN)
        self.assertEqual(len(shown.times), 10)
        self.assertEqual(
            shown.times[0],
            previews.FireTime(
                moment=datetime(2026, 11, 24, 8, 30, tzinfo=UTC),
                local="Tue 24 Nov 2026 09:30 CET",
                offset="+01:00",
                relative="in 23 h",
                utc="2026-11-24 08:30:00 UTC",
            ),
        )
        self.assertEqual(
            [time.moment for time in shown.times],
            [datetime(2026, 11, 24 + day, 8, 30, tzinfo=UTC) for day in range(7)]
            + [datetime(2026, 12, 1 + day, 8, 30, tzinfo=UTC) for day in range(3)],
        )
        self.assertEqual(shown.error, "")

    def test_seconds_are_shown_where_there_are_any(self):
        shown = previews.preview(cron(second="0,30"), NOW)
        self.assertEqual(shown.times[0].local, "Mon 23 Nov 2026 10:00:00 CET")

    def test_an_interval_counts_from_its_anchor_and_the_trigger_stays_as_it_was(self):
        trigger = IntervalTrigger(hours=1, timezone=UTC)
        anchored = previews.preview(trigger, NOW, anchor=NOW - timedelta(minutes=20))
        self.assertEqual(anchored.times[0].relative, "in 40 min")
        self.assertEqual(previews.preview(trigger, NOW).times[0].relative, "in 1 h")
        self.assertIsNone(trigger.anchor)

    def test_a_planned_run_comes_first_and_the_rest_follow_its_nominal_time(self):
        trigger = cron(hour="*/6", jitter=600)
        shown = previews.preview(
            trigger,
            NOW,
            nominal_time=datetime(2026, 11, 23, 11, tzinfo=UTC),
            next_run_time=datetime(2026, 11, 23, 11, 4, tzinfo=UTC),
        )
        self.assertEqual(
            [time.local for time in shown.times[:3]],
            [
                "Mon 23 Nov 2026 12:04 CET",
                "Mon 23 Nov 2026 18:00 CET",
                "Tue 24 Nov 2026 00:00 CET",
            ],
        )
        self.assertIn(
            "Each run but the first may be up to 10 min later than shown (jitter).",
            shown.notes,
        )

    def test_what_was_missed_is_not_still_to_come(self):
        due = NOW - timedelta(hours=5)
        shown = previews.preview(
            cron(minute=0), NOW, nominal_time=due, next_run_time=due
        )
        self.assertEqual(
            [time.relative for time in shown.times[:3]], ["5 h ago", "in 1 h", "in 2 h"]
        )

    def test_the_end_of_a_schedule_is_told(self):
        shown = previews.preview(DateTrigger(NOW + timedelta(hours=2)), NOW)
        self.assertEqual(len(shown.times), 1)
        self.assertEqual(shown.notes, ("There is no run after this one.",))
        shown = previews.preview(cron(hour=9, end_date="2026-11-26"), NOW)
        self.assertEqual(len(shown.times), 2)
        self.assertEqual(shown.notes, ("There are no runs after these.",))

    def test_a_schedule_that_never_fires_says_why(self):
        even = IntervalTrigger(minutes=2, start_date="2026-01-01", timezone=UTC)
        odd = IntervalTrigger(minutes=2, start_date="2026-01-01 00:00:01", timezone=UTC)
        for trigger, reason in (
            (cron(day=30, month=2), "there is no day 30 in February."),
            (cron(day=31, month="4,6"), "there is no day 31 in April and June."),
            (cron(year=2025), "the year 2025 has passed."),
            (cron(week=53, month=3), "no moment to come matches."),
            (
                cron(hour=3, end_date="2026-03-01"),
                "its end date, 28 Feb 2026 23:00 UTC, has passed.",
            ),
            (
                AndTrigger([cron(hour=3), cron(hour=4)]),
                "its schedules agree on no moment to come.",
            ),
            (AndTrigger([even, odd]), "its schedules agree on no moment to come."),
        ):
            with self.subTest(trigger=str(trigger)):
                shown = previews.preview(trigger, NOW)
                self.assertEqual(shown.times, ())
                self.assertEqual(shown.error, f"Never fires: {reason}")
                self.assertEqual(shown.warnings, ())

    def test_what_a_trigger_of_the_user_raises_is_shown(self):
        class Own(BaseTrigger):
            timezone = UTC

            def get_next_fire_time(self, previous_fire_time, now):
                raise ZeroDivisionError("by zero")

        shown = previews.preview(Own(), NOW)
        self.assertEqual(
            shown.error,
            "This schedule cannot be asked for its times: ZeroDivisionError: by zero",
        )

    def test_a_trigger_of_the_user_that_stands_still_ends_the_list(self):
        class Own(BaseTrigger):
            timezone = UTC

            def get_next_fire_time(self, previous_fire_time, now):
                return NOW + timedelta(hours=1)

        self.assertEqual(len(previews.preview(Own(), NOW).times), 1)

    def test_a_preview_of_the_worst_schedule_is_bounded(self):
        pairs = [
            AndTrigger(
                [
                    IntervalTrigger(minutes=2, start_date="2026-01-01", timezone=UTC),
                    IntervalTrigger(
                        minutes=2, start_date="2026-01-01 00:00:01", timezone=UTC
                    ),
                ]
            )
            for _ in range(20)
        ]
        self.assertEqual(previews.preview(OrTrigger(pairs), NOW).times, ())
        many = OrTrigger([cron(minute=n) for n in range(51)])
        self.assertEqual(
            previews.preview(many, NOW).error,
            "A preview looks at 50 parts of a schedule; this one has 51.",
        )
        far = previews.preview(
            CalendarIntervalTrigger(
                months=1, days=1, start_date="0002-01-01", timezone=UTC
            ),
            NOW,
        )
        self.assertEqual(len(far.times), 10)
        last = previews.preview(cron(year="9999", day="last"), NOW)
        self.assertEqual(len(last.times), 10)

    def test_a_schedule_that_takes_its_time_does_not_hold_the_page_up(self):
        go_on = threading.Event()
        self.addCleanup(go_on.set)

        class Slow(BaseTrigger):
            timezone = UTC

            def __init__(self, quick):
                self.quick = quick

            def get_next_fire_time(self, previous_fire_time, now):
                if previous_fire_time is None and not self.quick:
                    go_on.wait(60)
                if previous_fire_time is not None:
                    go_on.wait(60)
                return (previous_fire_time or now) + timedelta(hours=1)

        with mock.patch.object(previews, "PREVIEW_SECONDS", 0.2):
            never = previews.preview(Slow(False), NOW)
            once = previews.preview(Slow(True), NOW)
        late = "Looking for more times took longer than 200 ms."
        self.assertEqual((never.times, never.error), ((), late))
        self.assertEqual([time.relative for time in once.times], ["in 1 h"])
        self.assertEqual((once.notes, once.error), ((late,), ""))


def notes(trigger, **options):
    found = previews.preview(trigger, NOW, **options).notes
    return [note for note in found if not note.startswith("There ")]


@override_settings(TIME_ZONE="UTC")
class ClockChangeTest(SimpleTestCase):
    def test_a_daily_time_around_each_change(self):
        """What a time does when it is skipped, and when it comes twice."""
        berlin = ("Sun 28 Mar 2027", "Sun 31 Oct 2027", BERLIN, "CEST", "CET")
        new_york = ("Sun 14 Mar 2027", "Sun 7 Nov 2027", NEW_YORK, "EDT", "EST")
        for zone, skipped, twice, instead in (
            (berlin, "02:30", "02:30", "03:00"),
            (new_york, "02:30", "01:30", "03:00"),
            (
                ("Sun 3 Oct 2027", "Sun 4 Apr 2027", LORD_HOWE, "UTC+11", "UTC+1030"),
                "02:15",
                "01:45",
                "02:30",
            ),
        ):
            spring, autumn, name, first, last = zone
            for dst in ("wall", "once"):
                with self.subTest(zone=name, dst=dst):
                    hour, minute = map(int, skipped.split(":"))
                    trigger = cron(name, hour=hour, minute=minute, dst=dst)
                    gap = f"On {spring} {skipped} does not exist in {name}: "
                    gap += (
                        "that run is left out."
                        if dst == "wall"
                        else f"it runs at {instead} instead."
                    )
                    self.assertIn(gap, notes(trigger))
                    hour, minute = map(int, twice.split(":"))
                    trigger = cron(name, hour=hour, minute=minute, dst=dst)
                    fold = f"On {autumn} {twice} comes twice in {name}: "
                    fold += (
                        f"it runs both times, in {first} and in {last}."
                        if dst == "wall"
                        else f"it runs the first time only, in {first}."
                    )
                    self.assertIn(fold, notes(trigger))

    def test_the_notes_are_what_the_trigger_does(self):
        """An independent look at the fire times of the days in question."""
        zone = ZoneInfo(BERLIN)
        for dst, spring, autumn in (
            ("wall", [], ["02:30 CEST", "02:30 CET"]),
            ("once", ["03:00 CEST"], ["02:30 CEST"]),
        ):
            trigger = cron(hour=2, minute=30, dst=dst)
            for day, expected in (
                (datetime(2027, 3, 28, tzinfo=zone), spring),
                (datetime(2027, 10, 31, tzinfo=zone), autumn),
            ):
                with self.subTest(dst=dst, day=day):
                    shown = previews.preview(trigger, day)
                    fired = [
                        time.local.partition(f"{day.year} ")[2]
                        for time in shown.times
                        if time.moment.astimezone(zone).date() == day.date()
                    ]
                    self.assertEqual(fired, expected)

    def test_fire_times_on_the_day_of_a_change_are_marked(self):
        day = datetime(2027, 10, 30, 12, tzinfo=UTC)
        times = previews.preview(cron(hour=2, minute=30), day).times
        self.assertEqual(
            [(time.local, time.note) for time in times[:3]],
            [
                ("Sun 31 Oct 2027 02:30 CEST", "the first 02:30 of this day"),
                ("Sun 31 Oct 2027 02:30 CET", "the second 02:30 of this day"),
                ("Mon 1 Nov 2027 02:30 CET", ""),
            ],
        )
        day = datetime(2027, 3, 27, 12, tzinfo=UTC)
        times = previews.preview(cron(hour=2, minute=30, dst="once"), day).times
        self.assertEqual(
            (times[0].local, times[0].note),
            ("Sun 28 Mar 2027 03:00 CEST", "instead of 02:30, which the clocks skip"),
        )

    def test_other_triggers_around_the_changes_in_berlin(self):
        gone = "On Sun 28 Mar 2027 02:30 does not exist in Europe/Berlin: "
        twice = "On Sun 31 Oct 2027 02:30 comes twice in Europe/Berlin: "
        drift = (
            "A day is 24 hours of elapsed time here: once the clocks have changed on "
            "Sun 28 Mar 2027 it runs at 10:00 instead of 09:00, Europe/Berlin. For the "
            "same time every day use cron or a calendar interval."
        )
        daily = cron(hour=2, minute=30)
        for trigger, expected in (
            (
                CalendarIntervalTrigger(days=1, hour=2, minute=30, timezone=BERLIN),
                [
                    gone + "that run is left out.",
                    twice + "it runs the first time only, in CEST.",
                ],
            ),
            (
                # Every second day from 24 November: 28 March is one, 31 October not.
                CalendarIntervalTrigger(
                    days=2,
                    hour=2,
                    minute=30,
                    start_date="2026-11-24",
                    timezone=BERLIN,
                ),
                [gone + "that run is left out."],
            ),
            (
                IntervalTrigger(
                    days=1, start_date="2026-11-01 09:00:00", timezone=BERLIN
                ),
                [drift],
            ),
            (
                IntervalTrigger(
                    hours=1, start_date="2026-11-01 09:00:00", timezone=BERLIN
                ),
                [],
            ),
            (
                DateTrigger("2027-03-28 02:30:00", timezone=BERLIN),
                [gone + "it runs at 03:30 instead."],
            ),
            (
                DateTrigger("2027-10-31 02:30:00", timezone=BERLIN),
                [twice + "it runs the first time only, in CEST."],
            ),
            (DateTrigger("2027-10-31 03:30:00", timezone=BERLIN), []),
            (DateTrigger("2026-10-25 02:30:00", timezone=BERLIN), []),
            (
                AndTrigger([daily, cron(hour=2, minute=30, day_of_week="sun")]),
                [
                    gone + "that run is left out.",
                    twice + "it runs both times, in CEST and in CET.",
                ],
            ),
            (AndTrigger([daily, cron(hour=2, minute=30, day_of_week="mon")]), []),
            (
                OrTrigger([cron(hour=12), cron(hour=2, minute=30, dst="once")]),
                [
                    gone + "it runs at 03:00 instead.",
                    twice + "it runs the first time only, in CEST.",
                ],
            ),
        ):
            with self.subTest(trigger=repr(trigger)):
                self.assertEqual(notes(trigger), expected)

    def test_times_are_listed_together(self):
        self.assertEqual(
            notes(cron(hour=2, minute="0,30", dst="once")),
            [
                (
                    "On Sun 28 Mar 2027 02:00 and 02:30 do not exist in Europe/Berlin: it "
                    "runs at 03:00 instead."
                ),
                (
                    "On Sun 31 Oct 2027 02:00 and 02:30 come twice in Europe/Berlin: it "
                    "runs the first time only, in CEST."
                ),
            ],
        )
        self.assertEqual(
            notes(cron(hour=2, minute="*/10"))[0],
            "On Sun 28 Mar 2027 02:00 to 02:50 do not exist in Europe/Berlin: those "
            "runs are left out.",
        )

    def test_schedules_that_no_change_touches_have_no_notes(self):
        for trigger in (
            cron("UTC", hour=2, minute=30),
            cron(hour=12),
            cron(minute="*/5"),
            cron(second="*/10"),
            cron(hour="*", minute=15),
            cron(LORD_HOWE, minute=0),
            cron(hour="*", minute=15, dst="once"),
            cron(hour=2, minute=30, day_of_week="mon"),
            cron(hour=2, minute=30, month=6),
            cron(hour=2, minute=30, end_date="2027-03-01"),
            cron(hour=2, minute=30, start_date="2028-01-01"),
            cron("Asia/Kolkata", hour=2, minute=30),
            IntervalTrigger(days=1, timezone="UTC"),
        ):
            with self.subTest(trigger=repr(trigger)):
                self.assertEqual(notes(trigger), [])

    def test_changes_of_the_clocks_are_found(self):
        found = list(
            clock_changes.changes(ZoneInfo(BERLIN), NOW, NOW + timedelta(days=427))
        )
        self.assertEqual(
            [(change.moment, change.skips, change.wall) for change in found],
            [
                (datetime(2027, 3, 28, 1, tzinfo=UTC), True, datetime(2027, 3, 28, 2)),
                (
                    datetime(2027, 10, 31, 1, tzinfo=UTC),
                    False,
                    datetime(2027, 10, 31, 2),
                ),
            ],
        )


@override_settings(TIME_ZONE="UTC")
class TrapTest(SimpleTestCase):
    def warnings(self, trigger, **options):
        return list(previews.preview(trigger, NOW, **options).warnings)

    def test_numbers_of_weekdays(self):
        for text, here, crontab, names in (
            ("1-5", "Tuesday to Saturday", "Monday to Friday", "mon-fri"),
            ("0", "Monday", "Sunday", "sun"),
            ("5,6", "Saturday and Sunday", "Friday and Saturday", "fri,sat"),
        ):
            with self.subTest(text=text):
                self.assertEqual(
                    self.warnings(cron(day_of_week=text)),
                    [
                        (
                            f"Weekday {text} means {here}: in this field 0 is Monday. "
                            f"In a crontab it would mean {crontab}; for that, write "
                            f"{names}."
                        )
                    ],
                )
        for trigger in (
            cron(day_of_week="mon-fri"),
            cron(day_of_week="0-6"),
            CronTrigger.from_crontab("0 9 * * 1-5"),
            CronTrigger.from_crontab("0 9 * * 0,6"),
        ):
            with self.subTest(trigger=repr(trigger)):
                self.assertEqual(self.warnings(trigger), [])

    def test_a_crontab_expression_tells_what_its_numbers_would_mean_as_fields(self):
        expression = "0 9 * * 1-5"
        trigger = CronTrigger.from_crontab(expression, timezone="UTC")
        self.assertEqual(
            notes(trigger, raw_crontab=expression),
            [
                (
                    "In this crontab expression 1-5 means Monday to Friday. In the field "
                    "Weekday the same numbers would mean Tuesday to Saturday, since "
                    "there 0 is Monday."
                )
            ],
        )
        for same in ("0 9 * * mon-fri", "@weekly", "0 9 * * 7", "nonsense"):
            with self.subTest(same=same):
                self.assertEqual(notes(trigger, raw_crontab=same), [])

    def test_day_and_day_of_week_together(self):
        self.assertEqual(
            self.warnings(cron(day=13, day_of_week="fri")),
            [
                (
                    "Day of month and weekday are both given: it runs only on days that match "
                    "both. In a crontab it would run on days that match either."
                )
            ],
        )
        trigger = CronTrigger.from_crontab("0 9 13 * fri", timezone="UTC")
        self.assertEqual(self.warnings(trigger), [])
        self.assertEqual(
            notes(trigger),
            [
                (
                    "Day of month and weekday are both given: as in a crontab, it runs on days "
                    "that match either of them."
                )
            ],
        )
        self.assertEqual(self.warnings(cron(day="*", day_of_week="fri")), [])

    def test_days_that_not_every_month_has(self):
        last = " For the last day of the month write last."
        for trigger, expected in (
            (
                cron(day=31),
                "February, April, June, September and November have no day 31 and are "
                "left out." + last,
            ),
            (cron(day=30), "February has no day 30 and is left out." + last),
            (cron(day=29), "In February it runs in leap years only." + last),
            (cron(day=28), None),
            (cron(day="1,31"), None),
            (cron(day="last"), None),
            (cron(day=31, month="jan,mar"), None),
            (CronTrigger.from_crontab("0 0 31 * mon", timezone="UTC"), None),
            (
                CalendarIntervalTrigger(
                    months=3, start_date="2026-11-30", timezone=UTC
                ),
                "February has no day 30 and is left out.",
            ),
            (
                CalendarIntervalTrigger(years=1, start_date="2028-02-29", timezone=UTC),
                "In February it runs in leap years only.",
            ),
            (CalendarIntervalTrigger(days=31, start_date="2026-12-31"), None),
        ):
            with self.subTest(trigger=repr(trigger)):
                self.assertEqual(
                    self.warnings(trigger), [] if expected is None else [expected]
                )

    def test_every_minute_and_every_second(self):
        for trigger, expected in (
            (
                cron(hour=3, minute="*"),
                (
                    "Minute is *: it runs every minute of hour 3, not once. Write 0 for "
                    "once on the hour."
                ),
            ),
            (
                cron(hour="3,15", minute="*"),
                (
                    "Minute is *: it runs every minute of the hours 3 and 15, not once "
                    "each. Write 0 for once on the hour."
                ),
            ),
            (
                cron(second="*"),
                (
                    "Second is *: it runs every second of the minutes that match. Write 0 "
                    "for once a minute."
                ),
            ),
            (cron(hour=3), None),
            (cron(minute=0), None),
            (cron(hour="9-17", minute="*"), None),
            (cron(minute="*"), None),
        ):
            with self.subTest(trigger=repr(trigger)):
                self.assertEqual(
                    self.warnings(trigger), [] if expected is None else [expected]
                )

    def test_steps_that_do_not_divide_their_unit(self):
        for trigger, expected in (
            (
                cron(minute="*/7"),
                (
                    "Minute */7 starts anew each hour: after 56 comes 0, less than 7 "
                    "minutes later. For an even pace use an interval."
                ),
            ),
            (
                cron(hour="*/5"),
                (
                    "Hour */5 starts anew each day: after 20 comes 0, less than 5 hours "
                    "later. For an even pace use an interval."
                ),
            ),
            (
                cron(second="0-59/25"),
                (
                    "Second 0-59/25 starts anew each minute: after 50 comes 0, less than "
                    "25 seconds later. For an even pace use an interval."
                ),
            ),
            (
                cron(day="*/2"),
                (
                    "Day */2 starts anew each month on day 1. For an even pace use a "
                    "calendar interval."
                ),
            ),
            (cron(minute="*/15"), None),
            (cron(minute="0-30/7"), None),
            (cron(minute="0,7,14"), None),
            (cron(hour="*/6"), None),
        ):
            with self.subTest(trigger=repr(trigger)):
                self.assertEqual(
                    self.warnings(trigger), [] if expected is None else [expected]
                )

    def test_a_date_in_the_past(self):
        trigger = DateTrigger("2026-11-23 08:00:00", timezone=UTC)
        self.assertEqual(
            self.warnings(trigger),
            [
                (
                    "2026-11-23 08:00:00 UTC (+00:00) has passed (1 h ago): it runs at once "
                    "if that is within the misfire grace time, else it is recorded as "
                    "missed."
                )
            ],
        )

    def test_jitter_longer_than_the_time_between_runs(self):
        self.assertEqual(
            self.warnings(IntervalTrigger(hours=1, jitter=7200)),
            [
                (
                    "The jitter of up to 2 h is longer than the 1 h between two runs: they "
                    "may come close together, or overtake each other."
                )
            ],
        )
        self.assertEqual(self.warnings(IntervalTrigger(hours=1, jitter=60)), [])


@override_settings(TIME_ZONE="UTC")
class RenderTest(SimpleTestCase):
    def test_the_page_shows_words_remarks_and_a_table_with_headings(self):
        html = previews.render(
            previews.preview(cron(hour=2, minute=30, day_of_week="6"), NOW)
        )
        self.assertIn("At 02:30 on Sunday, Europe/Berlin", html)
        self.assertIn("<b>Warning:</b> Weekday 6 means Sunday", html)
        self.assertIn("<b>Note:</b> On Sun 28 Mar 2027 02:30 does not exist", html)
        self.assertEqual(html.count('<th scope="col">'), 4)
        self.assertEqual(html.count("<tr>"), 11)
        self.assertIn('<time datetime="2026-11-29T01:30:00+00:00">', html)

    def test_a_schedule_in_utc_says_its_times_once(self):
        html = previews.render(previews.preview(cron("UTC", hour=9), NOW))
        self.assertEqual(html.count('<th scope="col">'), 2)
        self.assertIn("Next runs, local time in UTC", html)

    def test_a_schedule_without_times_has_its_reason_and_no_table(self):
        html = previews.render(previews.preview(cron(day=30, month=2), NOW))
        self.assertIn(
            "<b>Error:</b> Never fires: there is no day 30 in February.", html
        )
        self.assertNotIn("<table", html)

    def test_what_triggers_say_is_escaped(self):
        class Own(BaseTrigger):
            timezone = UTC

            def get_next_fire_time(self, previous_fire_time, now):
                raise ValueError("<script>")

            def __str__(self):
                return "<b>own</b>"

        html = previews.render(previews.preview(Own(), NOW))
        self.assertIn("ValueError: &lt;script&gt;", html)
        self.assertIn("&lt;b&gt;own&lt;/b&gt;", html)

    def test_dates_follow_the_language(self):
        with translation.override("de"):
            shown = previews.preview(cron(hour=9), NOW)
        self.assertEqual(shown.times[0].local, "Di, 24. Nov 2026 09:00 CET")
