"""The trigger editor: what forms say becomes a trigger, and triggers become forms."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from unittest import mock
from zoneinfo import ZoneInfo

from django.http import QueryDict
from django.test import SimpleTestCase, override_settings

from django_apscheduler import serialization
from django_apscheduler.admin.triggers.cron import crontab_of
from django_apscheduler.admin.triggers.editor import MAX_CHILDREN, TriggerEditor
from django_apscheduler.triggers.base import BaseTrigger
from django_apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from django_apscheduler.triggers.combining import AndTrigger, OrTrigger
from django_apscheduler.triggers.cron import CronTrigger
from django_apscheduler.triggers.date import DateTrigger
from django_apscheduler.triggers.interval import IntervalTrigger
from tests.admin import rows

BERLIN = ZoneInfo("Europe/Berlin")


class OwnTrigger(BaseTrigger):
    """A trigger of the project's own."""

    def get_next_fire_time(self, previous_fire_time, now):
        return now

    def __str__(self):
        return "own[]"


def submitted(values: dict[str, str]) -> QueryDict:
    data = QueryDict(mutable=True)
    data.update(values)
    return data


def filled(kind: str, trigger=None, **fields: str) -> TriggerEditor:
    """Return the editor after a browser has sent it with these fields changed."""
    values = TriggerEditor(trigger=trigger).values()
    values["trigger-type"] = kind
    for name, value in fields.items():
        values[f"trigger-{kind}-{name}"] = value
    return TriggerEditor(submitted(values), trigger=trigger)


class EditorCase(SimpleTestCase):
    def setUp(self):
        block = rows.at_noon()
        block.__enter__()
        self.addCleanup(block.__exit__, None, None, None)


#: kind, fields, the trigger as it is stored
MADE = [
    (
        "date",
        {"run_date": "2026-07-01T14:00", "timezone": "Europe/Berlin"},
        (
            '{"args":{"run_date":{"$datetime":"2026-07-01T14:00:00"},'
            '"timezone":{"$timezone":"Europe/Berlin"}},"type":"date"}'
        ),
    ),
    (
        "date",
        {"run_date": "2026-10-25 02:30:00+01:00", "timezone": "Europe/Berlin"},
        (
            '{"args":{"run_date":{"$datetime":"2026-10-25T02:30:00+01:00"},'
            '"timezone":{"$timezone":"Europe/Berlin"}},"type":"date"}'
        ),
    ),
    (
        "interval",
        {"hours": "2", "minutes": "30", "timezone": "UTC"},
        (
            '{"args":{"hours":2,"minutes":30,"timezone":{"$timezone":"UTC"}},'
            '"type":"interval"}'
        ),
    ),
    (
        "interval",
        {
            "seconds": "1.5",
            "start_date": "2026-07-01T00:00:30",
            "end_date": "2026-07-02T00:00",
            "jitter": "3",
            "timezone": "+05:30",
        },
        (
            '{"args":{"end_date":{"$datetime":"2026-07-02T00:00:00"},"jitter":3,'
            '"seconds":1.5,"start_date":{"$datetime":"2026-07-01T00:00:30"},'
            '"timezone":{"$timezone":"+05:30"}},"type":"interval"}'
        ),
    ),
    (
        "cron",
        {"expression": "30 9 * * 1-5", "timezone": "UTC"},
        (
            '{"args":{"day":"*","day_of_week":"mon-fri","dst":"once","hour":"9",'
            '"minute":"30","month":"*","timezone":{"$timezone":"UTC"}},"type":"cron"}'
        ),
    ),
    (
        "cron",
        {"expression": "0 0 13 * fri", "timezone": "UTC"},
        (
            '{"args":{"day":"13","day_of_week":"fri","day_or":true,"dst":"once",'
            '"hour":"0","minute":"0","month":"*","timezone":{"$timezone":"UTC"}},'
            '"type":"cron"}'
        ),
    ),
    (
        "cron",
        {
            "hour": "3",
            "day": "last fri",
            "dst": "wall",
            "year": "2026-2030",
            "timezone": "Europe/Berlin",
        },
        (
            '{"args":{"day":"last fri","dst":"wall","hour":"3",'
            '"timezone":{"$timezone":"Europe/Berlin"},"year":"2026-2030"},"type":"cron"}'
        ),
    ),
    (
        "calendarinterval",
        {
            "months": "1",
            "time": "09:30",
            "start_date": "2026-07-31",
            "timezone": "UTC",
        },
        (
            '{"args":{"hour":9,"minute":30,"months":1,'
            '"start_date":{"$date":"2026-07-31"},"timezone":{"$timezone":"UTC"}},'
            '"type":"calendarinterval"}'
        ),
    ),
]


class MakeTest(EditorCase):
    def test_each_kind_of_trigger_is_made_of_its_fields(self):
        for kind, fields, stored in MADE:
            with self.subTest(kind=kind, **fields):
                editor = filled(kind, **fields)
                self.assertTrue(editor.is_valid(), editor.errors)
                text = serialization.dump_trigger(editor.trigger)
                # "wall" is the engine's default and is left out of what is stored.
                self.assertEqual(text, stored.replace('"dst":"wall",', ""))

    def test_the_zone_of_the_settings_is_offered_and_stored(self):
        with override_settings(APSCHEDULER={"timezone": "Asia/Tokyo"}):
            editor = filled("interval", hours="1")
            self.assertTrue(editor.is_valid())
            self.assertEqual(editor.trigger.get_arguments()["timezone"].key, TOKYO)
            emptied = filled("interval", hours="1", timezone="")
            self.assertTrue(emptied.is_valid())
            self.assertEqual(emptied.trigger.get_arguments()["timezone"].key, TOKYO)

    def test_what_is_made_has_not_begun_to_count(self):
        editor = filled("interval", hours="1")
        self.assertTrue(editor.is_valid())
        self.assertIsNone(editor.trigger.anchor)

    def test_triggers_are_combined_three_deep(self):
        values = TriggerEditor().values()
        values.update(
            {
                "trigger-type": "or",
                "trigger-or-jitter": "7",
                "trigger-count": "2",
                "trigger-0-type": "cron",
                "trigger-0-cron-hour": "3",
                "trigger-1-type": "and",
                "trigger-1-count": "2",
                "trigger-1-0-type": "interval",
                "trigger-1-0-interval-hours": "2",
                "trigger-1-1-type": "or",
                "trigger-1-1-count": "1",
                "trigger-1-1-0-type": "cron",
                "trigger-1-1-0-cron-day_of_week": "sat,sun",
            }
        )
        editor = TriggerEditor(submitted(values))
        self.assertTrue(editor.is_valid(), editor.errors)
        self.assertEqual(
            str(editor.trigger),
            "or[cron[hour='3'], and[interval[2:00:00], or[cron[day_of_week='sat,sun']]]]",
        )
        self.assertEqual(editor.trigger.jitter, 7)
        leaf = editor.children[1].children[1].children[0]
        self.assertNotIn("and", leaf.kinds)


TOKYO = "Asia/Tokyo"

EXISTING = [
    DateTrigger(datetime(2026, 8, 1, 9, 0, 0, 123456), timezone=BERLIN),
    DateTrigger("2026-08-01 09:00:00", timezone="Europe/Berlin"),
    DateTrigger(date(2026, 8, 1)),
    DateTrigger(datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1)),
    DateTrigger(datetime(2020, 1, 1, tzinfo=timezone.utc)),
    IntervalTrigger(hours=1),
    IntervalTrigger(seconds=0.25, timezone="Europe/Berlin", jitter=0.5),
    IntervalTrigger(days=1, start_date="2026-06-01", end_date="2026-09-01 12:00:00"),
    IntervalTrigger(minutes=90, start_date=datetime(2026, 6, 1, tzinfo=BERLIN)),
    IntervalTrigger(weeks=2, timezone=timezone(timedelta(hours=5, minutes=30))),
    CronTrigger(hour=3, minute=30),
    CronTrigger(hour="3", dst="once", timezone=BERLIN, jitter=10),
    CronTrigger(),
    CronTrigger(second="*/15", year="2026-2040"),
    CronTrigger(day="2nd fri,last", hour="1-5/2", dst="wall"),
    CronTrigger(day=13, day_of_week="fri", day_or=True, start_date="2026-01-01"),
    CronTrigger(day=13, day_of_week=4),
    CronTrigger(week=1, day_of_week="mon"),
    CronTrigger.from_crontab("*/5 8-18 * * 1-5", timezone="America/St_Johns"),
    CronTrigger.from_crontab("@weekly"),
    CalendarIntervalTrigger(months=1),
    CalendarIntervalTrigger(
        years=1,
        weeks=1,
        hour=23,
        minute=59,
        second=1,
        start_date=date(2026, 1, 31),
        end_date="2030-01-01",
        timezone=BERLIN,
        jitter=60,
    ),
    CalendarIntervalTrigger(
        days=3, start_date=datetime(2026, 1, 31, 15, tzinfo=timezone.utc)
    ),
    AndTrigger([CronTrigger(hour=3), CronTrigger(day_of_week="mon", hour="*")]),
    OrTrigger(
        [
            CronTrigger(hour=3, dst="once"),
            AndTrigger(
                [IntervalTrigger(hours=2), OrTrigger([CronTrigger(day_of_week="sun")])],
                jitter=3,
            ),
        ]
    ),
]


class ExistingTest(EditorCase):
    def test_a_trigger_saved_unchanged_is_the_same_to_the_letter(self):
        for trigger in EXISTING:
            stored = serialization.dump_trigger(trigger)
            loaded = serialization.load_trigger(stored)
            with self.subTest(trigger=stored):
                editor = filled(loaded.alias, loaded)
                self.assertTrue(editor.is_valid(), editor.errors)
                self.assertIs(editor.trigger, loaded)
                self.assertFalse(editor.changed)

    def test_browsers_leave_seconds_out_and_that_changes_nothing(self):
        loaded = DateTrigger(datetime(2026, 8, 1, 9), timezone="UTC")
        editor = filled("date", loaded, run_date="2026-08-01T09:00")
        self.assertTrue(editor.is_valid())
        self.assertIs(editor.trigger, loaded)

    def test_what_was_not_touched_keeps_its_spelling(self):
        changes = {
            "interval": {"minutes": "7"},
            "cron": {"minute": "7"},
            "calendarinterval": {"weeks": "7"},
            "date": {"run_date": "2026-11-11T11:11:11"},
            "and": {"jitter": "7"},
            "or": {"jitter": "7"},
        }
        for trigger in EXISTING:
            ((name, value),) = changes[trigger.alias].items()
            if trigger.alias == "interval" and trigger.interval < timedelta(seconds=1):
                continue
            with self.subTest(trigger=repr(trigger)):
                editor = filled(trigger.alias, trigger, **{name: value})
                self.assertTrue(editor.is_valid(), editor.errors)
                before = trigger.get_arguments()
                after = editor.trigger.get_arguments()
                self.assertTrue(editor.changed)
                for changed in (before, after):
                    changed.pop(name, None)
                self.assertEqual(after, before)
                self.assertEqual(
                    {key: type(value) for key, value in after.items()},
                    {key: type(value) for key, value in before.items()},
                )

    def test_a_new_zone_moves_the_wall_times_with_it(self):
        trigger = IntervalTrigger(
            hours=1,
            start_date=datetime(2026, 7, 1, 9, tzinfo=BERLIN),
            timezone=BERLIN,
        )
        editor = filled("interval", trigger, timezone="Asia/Tokyo")
        self.assertTrue(editor.is_valid(), editor.errors)
        self.assertEqual(
            editor.trigger.start_date,
            datetime(2026, 7, 1, 9, tzinfo=ZoneInfo("Asia/Tokyo")),
        )

    def test_another_kind_replaces_the_trigger(self):
        editor = filled("interval", CronTrigger(hour=3), hours="4")
        self.assertTrue(editor.is_valid())
        self.assertEqual(editor.trigger, IntervalTrigger(hours=4, timezone="UTC"))

    def test_a_trigger_of_the_projects_own_is_kept_and_never_offered(self):
        own = OwnTrigger()
        for trigger in (own, OrTrigger([own])):
            with self.subTest(trigger=trigger):
                editor = TriggerEditor(
                    submitted({"trigger-type": "keep"}), trigger=trigger
                )
                self.assertTrue(editor.is_valid())
                self.assertIs(editor.trigger, trigger)
                self.assertFalse(editor.changed)
                self.assertIn("Leave as it is", str(editor))

    def test_one_that_is_not_loaded_is_kept_by_its_words(self):
        editor = TriggerEditor(
            submitted({"trigger-type": "keep"}), kept="Custom trigger moon:Phase"
        )
        self.assertTrue(editor.is_valid())
        self.assertIsNone(editor.trigger)
        self.assertFalse(editor.changed)
        self.assertIn("Leave as it is: Custom trigger moon:Phase", str(editor))

    def test_a_form_can_name_no_class(self):
        for kind in ("keep", "antigravity:Trigger", "tests.admin.rows:work", ""):
            with self.subTest(kind=kind):
                editor = TriggerEditor(submitted({"trigger-type": kind}))
                self.assertFalse(editor.is_valid())
                self.assertEqual(
                    editor.errors, ["Kind of trigger: choose one of those offered."]
                )

    def test_an_unbound_editor_shows_every_field_that_is_set(self):
        html = str(TriggerEditor(trigger=EXISTING[21]))
        for shown in (
            'value="1"',
            'value="23:59:01"',
            'value="2026-01-31"',
            'value="2030-01-01"',
            'value="Europe/Berlin"',
            'value="60"',
        ):
            self.assertIn(shown, html)


class CrontabTest(EditorCase):
    def test_the_expression_is_shown_where_there_is_one(self):
        for trigger, expression in (
            (CronTrigger(hour=3, minute=30), "30 3 * * *"),
            (CronTrigger(day_of_week="0-4", hour=9), "0 9 * * mon,tue,wed,thu,fri"),
            (CronTrigger(day_of_week="mon-fri", hour=9), "0 9 * * mon-fri"),
            (CronTrigger(day=13, day_of_week="fri", day_or=True), "0 0 13 * fri"),
            # Crontabs take one of the two for enough.
            (CronTrigger(day=13, day_of_week="fri"), ""),
            (CronTrigger(day="last"), ""),
            (CronTrigger(second=5), ""),
            (CronTrigger(week=5), ""),
            (CronTrigger(year=2030), ""),
        ):
            with self.subTest(trigger=str(trigger)):
                self.assertEqual(crontab_of(trigger), expression)

    def test_the_expression_fills_in_the_fields(self):
        editor = filled("cron", expression="@weekly")
        self.assertTrue(editor.is_valid())
        html = str(editor)
        self.assertIn('name="trigger-cron-day_of_week" value="sun"', html)
        self.assertEqual(editor.raw_crontab, "@weekly")

    def test_fields_that_were_touched_empty_the_expression(self):
        editor = filled("cron", CronTrigger(hour=3), hour="4")
        self.assertTrue(editor.is_valid())
        self.assertEqual(editor.cron_form["expression"].value(), "")
        self.assertEqual(editor.raw_crontab, "")
        self.assertEqual(str(editor.trigger), "cron[hour='4']")

    def test_what_was_shown_again_counts_as_shown(self):
        """Preview an expression, change a field of what it filled in, and save."""
        first = filled("cron", expression="30 9 * * 1-5")
        self.assertTrue(first.is_valid())
        str(first)
        data = first.cron_form.data.copy()
        data["trigger-cron-hour"] = "10"
        second = TriggerEditor(data)
        self.assertTrue(second.is_valid(), second.errors)
        self.assertEqual(
            second.trigger,
            CronTrigger(
                minute="30",
                hour="10",
                day="*",
                month="*",
                day_of_week="mon-fri",
                dst="once",
                timezone="UTC",
            ),
        )
        self.assertEqual(second.cron_form["expression"].value(), "")

    def test_an_expression_that_was_refused_is_refused_again(self):
        """Saving a second time must not fall back to the fields in silence."""
        trigger = CronTrigger(hour=3)
        for fields in (
            {"expression": "75 * * * *"},
            {"expression": "0 9 * * *", "hour": "10"},
        ):
            editor = filled("cron", trigger, **fields)
            for _ in range(3):
                self.assertFalse(editor.is_valid())
                self.assertIn("Crontab expression: ", editor.errors[0])
                str(editor)
                editor = TriggerEditor(editor.cron_form.data, trigger=trigger)

    def test_an_expression_outlives_a_button_that_adds_a_trigger(self):
        values = TriggerEditor().values() | {
            "trigger-type": "or",
            "trigger-count": "1",
            "trigger-0-type": "cron",
            "trigger-0-cron-expression": "0 4 * * *",
            "trigger-add": "1",
        }
        editor = TriggerEditor(submitted(values))
        self.assertTrue(editor.restructured)
        str(editor)
        data = editor.children[0].cron_form.data.copy()
        data["trigger-1-type"] = "interval"
        data["trigger-1-interval-hours"] = "2"
        again = TriggerEditor(data)
        self.assertTrue(again.is_valid(), again.errors)
        self.assertEqual(again.children[0].trigger.fields[5].text, "4")

    def test_expression_and_fields_that_disagree_are_refused(self):
        editor = filled("cron", expression="30 9 * * *", hour="10")
        self.assertFalse(editor.is_valid())
        self.assertEqual(
            editor.errors,
            [
                (
                    "Crontab expression: “30 9 * * *” and the fields below say different "
                    "things. Empty the expression to use the fields, or the fields to use "
                    "the expression."
                )
            ],
        )

    def test_expression_and_fields_may_say_the_same(self):
        editor = filled(
            "cron",
            expression="30 9 * * 1",
            minute="30",
            hour="9",
            day="*",
            month="*",
            day_of_week="mon",
        )
        self.assertTrue(editor.is_valid(), editor.errors)
        self.assertEqual(editor.raw_crontab, "30 9 * * 1")

    def test_an_existing_wall_clock_trigger_stays_one(self):
        editor = filled("cron", CronTrigger(hour=3), expression="0 4 * * *")
        self.assertTrue(editor.is_valid(), editor.errors)
        self.assertEqual(editor.trigger.dst, "wall")


#: kind, fields, errors
BAD = [
    ("date", {}, ["Date and time: is needed."]),
    (
        "date",
        {"run_date": "tomorrow"},
        [
            (
                "Date and time: expected a date and time such as 2026-05-30 14:00:00; got "
                "“tomorrow”."
            )
        ],
    ),
    (
        "date",
        {"run_date": "2026-02-30T10:00:00"},
        [
            (
                "Date and time: expected a date and time such as 2026-05-30 14:00:00; got "
                "“2026-02-30T10:00:00”."
            )
        ],
    ),
    (
        "date",
        {"run_date": "2026-06-03T11:59:59"},
        ["Date and time: 2026-06-03 11:59:59 UTC has passed; expected a time to come."],
    ),
    (
        "date",
        {"run_date": "9999-12-31T23:59:59"},
        ["Date and time: 9999-12-31T23:59:59 is beyond the calendar."],
    ),
    (
        "date",
        {"run_date": "2026-07-01T00:00:00", "timezone": "Europe/Berln"},
        ["Time zone: “Europe/Berln” is no time zone; did you mean “Europe/Berlin”?"],
    ),
    (
        "date",
        {"run_date": "2026-07-01T00:00:00", "timezone": "../../etc/passwd"},
        [
            (
                "Time zone: expected a time zone such as Europe/Berlin or UTC; got "
                "“../../etc/passwd”."
            )
        ],
    ),
    (
        "interval",
        {},
        [
            (
                "Interval: expected weeks, days, hours, minutes or seconds; all of them "
                "are empty or 0."
            )
        ],
    ),
    (
        "interval",
        {"hours": "-1"},
        ["Hours: expected a number such as 5 or 0.5; got “-1”."],
    ),
    (
        "interval",
        {"hours": "1e9"},
        ["Hours: expected a number such as 5 or 0.5; got “1e9”."],
    ),
    (
        "interval",
        {"hours": "1,5"},
        ["Hours: expected a number such as 5 or 0.5; got “1,5”."],
    ),
    ("interval", {"weeks": "1000001"}, ["Weeks: 1000001 is outside 0–1000000."]),
    (
        "interval",
        {"seconds": "0.5"},
        ["Interval: 0.5 s is shorter than 1 s, the shortest that can be given here."],
    ),
    (
        "interval",
        {
            "hours": "1",
            "start_date": "2026-07-02T00:00:00",
            "end_date": "2026-07-01T00:00:00",
        },
        ["End: 2026-07-01T00:00:00 is before the start, 2026-07-02T00:00:00."],
    ),
    (
        "interval",
        {"hours": "1", "end_date": "2026-06-03T11:00:00"},
        ["Never fires: its end date, 11:00 UTC, has passed."],
    ),
    (
        "interval",
        {"hours": "1", "jitter": "999999999"},
        ["Jitter: 999999999 is outside 0–315360000."],
    ),
    ("cron", {"minute": "75"}, ["Minute: 75 is outside 0–59."]),
    ("cron", {"hour": "24", "minute": "61"}, None),
    ("cron", {"month": "foo"}, None),
    ("cron", {"hour": "5-1"}, None),
    ("cron", {"minute": "*/0"}, None),
    (
        "cron",
        {"minute": "1," * 150},
        ["Minute: expected at most 200 characters; got 300."],
    ),
    ("cron", {"minute": "1-" + "9" * 99}, None),
    (
        "cron",
        {"day": "30", "month": "feb"},
        ["Never fires: there is no day 30 in February."],
    ),
    (
        "cron",
        {"expression": "0 0 30 2 *"},
        ["Never fires: there is no day 30 in February."],
    ),
    (
        "cron",
        {"expression": "75 * * * *"},
        ["Crontab expression: Minute: 75 is outside 0–59."],
    ),
    (
        "cron",
        {"expression": "* * *"},
        [
            (
                "Crontab expression: A crontab expression has 5 fields: minute hour day "
                "month day_of_week; got 3 in '* * *'."
            )
        ],
    ),
    ("cron", {"expression": "@reboot"}, None),
    (
        "cron",
        {"expression": "1" * 300},
        ["Crontab expression: expected at most 200 characters; got 300."],
    ),
    (
        "cron",
        {"year": "2020"},
        ["Never fires: the year 2020 has passed."],
    ),
    (
        "cron",
        {},
        [
            (
                "Cron: expected an expression such as 30 9 * * mon-fri, or at least one "
                "field; all of them are empty."
            )
        ],
    ),
    (
        "calendarinterval",
        {},
        [
            (
                "Calendar interval: expected years, months, weeks or days; all of them "
                "are empty or 0."
            )
        ],
    ),
    (
        "calendarinterval",
        {"days": "1.5"},
        ["Days: expected a whole number such as 5; got “1.5”."],
    ),
    (
        "calendarinterval",
        {"days": "1", "time": "25:00"},
        ["Time of day: expected a time of day such as 09:30 or 23:59:59; got “25:00”."],
    ),
    (
        "calendarinterval",
        {"days": "1", "start_date": "2026-02-30"},
        ["First date: expected a date such as 2026-05-30; got “2026-02-30”."],
    ),
    (
        "calendarinterval",
        {"days": "1", "start_date": "2026-07-02", "end_date": "2026-07-01"},
        ["Last date: 2026-07-01 is before the first date, 2026-07-02."],
    ),
    (
        "and",
        {},
        ["All of several: expected at least one trigger; add one."],
    ),
]


class BadInputTest(EditorCase):
    def test_each_error_names_the_field_and_says_what_was_expected(self):
        for kind, fields, errors in BAD:
            with self.subTest(kind=kind, **fields):
                editor = filled(kind, **fields)
                self.assertFalse(editor.is_valid())
                self.assertIsNone(editor.trigger)
                if errors is not None:
                    self.assertEqual(editor.errors, errors)
                self.assertTrue(editor.errors)
                for error in editor.errors:
                    self.assertRegex(error, r"^\w.*: .*[.?]$")
                    self.assertLess(len(error), 330)
                shown = str(editor)
                for problem in editor.problems:
                    self.assertIn(f'id="{problem.place}"', shown)

    def test_each_error_leads_to_its_field(self):
        for editor, place in (
            (filled("cron", minute="75"), "id_trigger-cron-minute"),
            (filled("interval"), "id_trigger-interval-weeks"),
            (filled("date", run_date="2001-01-01"), "id_trigger-date-run_date"),
            (filled("cron", month="2", day="30"), "trigger-editor"),
            (filled("and"), "trigger-editor"),
            (filled("nothing"), "id_trigger-type-cron"),
        ):
            with self.subTest(place=place):
                self.assertFalse(editor.is_valid())
                self.assertEqual([each.place for each in editor.problems], [place])

    def test_what_was_typed_is_shown_again(self):
        for kind, fields, _errors in BAD:
            with self.subTest(kind=kind, **fields):
                editor = filled(kind, **fields)
                editor.is_valid()
                html = str(editor)
                for name, value in fields.items():
                    self.assertIn(f'name="trigger-{kind}-{name}" value="{value}"', html)

    def test_errors_stand_beside_the_fields_of_the_chosen_kind_only(self):
        values = TriggerEditor().values()
        values |= {
            "trigger-type": "interval",
            "trigger-interval-hours": "x",
            "trigger-cron-minute": "75",
        }
        editor = TriggerEditor(submitted(values))
        self.assertFalse(editor.is_valid())
        html = str(editor)
        self.assertEqual(html.count("errorlist"), 1)
        self.assertIn('value="75"', html)

    def test_text_of_the_user_is_escaped(self):
        editor = filled("cron", hour='"><script>alert(1)</script>')
        self.assertFalse(editor.is_valid())
        self.assertNotIn("<script>alert", str(editor))

    def test_errors_of_nested_triggers_say_which(self):
        values = TriggerEditor().values()
        values |= {
            "trigger-type": "or",
            "trigger-count": "2",
            "trigger-0-type": "cron",
            "trigger-0-cron-minute": "75",
            "trigger-1-type": "and",
            "trigger-1-count": "1",
            "trigger-1-0-type": "interval",
        }
        editor = TriggerEditor(submitted(values))
        self.assertFalse(editor.is_valid())
        self.assertEqual(
            editor.errors,
            [
                "Trigger 1: Minute: 75 is outside 0–59.",
                (
                    "Trigger 2: Trigger 1: Interval: expected weeks, days, hours, minutes "
                    "or seconds; all of them are empty or 0."
                ),
            ],
        )
        self.assertEqual(
            [problem.place for problem in editor.problems],
            ["id_trigger-0-cron-minute", "id_trigger-1-0-interval-weeks"],
        )

    def test_triggers_that_never_agree_are_refused_soon(self):
        values = TriggerEditor().values()
        values |= {
            "trigger-type": "and",
            "trigger-count": "2",
            "trigger-0-type": "interval",
            "trigger-0-interval-hours": "2",
            "trigger-0-interval-start_date": "2026-07-01T00:00:00",
            "trigger-1-type": "interval",
            "trigger-1-interval-hours": "2",
            "trigger-1-interval-start_date": "2026-07-01T01:00:00",
        }
        editor = TriggerEditor(submitted(values))
        self.assertFalse(editor.is_valid())
        self.assertEqual(
            editor.errors, ["Never fires: its schedules agree on no moment to come."]
        )

    def test_no_input_makes_more_triggers_than_fit(self):
        values = {"trigger-type": "or", "trigger-count": "9999"}
        for first in range(MAX_CHILDREN):
            values[f"trigger-{first}-type"] = "or"
            values[f"trigger-{first}-count"] = "9999"
            for second in range(MAX_CHILDREN):
                values[f"trigger-{first}-{second}-type"] = "or"
                values[f"trigger-{first}-{second}-count"] = "9999"
        with mock.patch(
            "django_apscheduler.admin.triggers.editor.TriggerEditor.__html__"
        ):
            editor = TriggerEditor(submitted(values))
            self.assertFalse(editor.is_valid())
        self.assertGreaterEqual(editor.left, 0)
        self.assertEqual(len(editor.children), MAX_CHILDREN)


class RestructureTest(EditorCase):
    def test_the_first_button_adds_two_and_each_further_one_more(self):
        values = TriggerEditor().values() | {"trigger-type": "or", "trigger-add": "1"}
        editor = TriggerEditor(submitted(values))
        self.assertTrue(editor.restructured)
        self.assertFalse(editor.is_valid())
        self.assertEqual(editor.errors, [])
        self.assertEqual(len(editor.children), 2)
        html = str(editor)
        self.assertIn('name="trigger-1-cron-hour"', html)
        self.assertNotIn("errorlist", html)
        values |= {"trigger-count": "2"}
        self.assertEqual(len(TriggerEditor(submitted(values)).children), 3)

    def test_a_trigger_is_removed_and_those_after_it_move_up(self):
        values = TriggerEditor(trigger=EXISTING[-1]).values()
        values["trigger-0-remove"] = "1"
        editor = TriggerEditor(submitted(values), trigger=EXISTING[-1])
        self.assertTrue(editor.restructured)
        self.assertEqual([child.chosen for child in editor.children], ["and"])
        html = str(editor)
        self.assertIn('name="trigger-0-0-interval-hours" value="2"', html)
        self.assertNotIn('name="trigger-1-type"', html)
        # Saved like that, it is what is left.
        values = {
            name: value
            for name, value in editor.data.items()
            if name != "trigger-0-remove"
        }
        saved = TriggerEditor(submitted(values), trigger=EXISTING[-1])
        self.assertTrue(saved.is_valid(), saved.errors)
        self.assertEqual(
            str(saved.trigger),
            "or[and[interval[2:00:00], or[cron[day_of_week='sun']]]]",
        )

    def test_the_root_has_no_button_that_removes_it(self):
        editor = TriggerEditor(submitted({"trigger-remove": "1"}))
        self.assertEqual(editor.data.get("trigger-type"), None)
        self.assertNotIn('name="trigger-remove"', str(TriggerEditor()))
