"""Schedules in words."""

from __future__ import annotations

import pytest

from django_apscheduler.describe import describe
from django_apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from django_apscheduler.triggers.combining import AndTrigger, OrTrigger
from django_apscheduler.triggers.cron import CronTrigger
from django_apscheduler.triggers.date import DateTrigger
from django_apscheduler.triggers.interval import IntervalTrigger


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"seconds": 1}, "every second"),
        ({"minutes": 2}, "every 2 minutes"),
        ({"seconds": 120}, "every 2 minutes"),
        ({"minutes": 90}, "every 1 hour and 30 minutes"),
        (
            {"hours": 1, "minutes": 2, "seconds": 3},
            "every 1 hour, 2 minutes and 3 seconds",
        ),
        ({"days": 1}, "every day"),
        ({"days": 10}, "every 10 days"),
        ({"days": 14}, "every 2 weeks"),
        ({"seconds": 0.5}, "every 0.5 seconds"),
        (
            {"hours": 1, "start_date": "2026-05-30 14:00:00", "jitter": 30},
            "every hour, from 2026-05-30 14:00, up to 30 seconds later",
        ),
        ({"hours": 1, "end_date": "2026-05-30"}, "every hour, until 2026-05-30 00:00"),
    ],
)
def test_intervals(arguments, words):
    assert describe(IntervalTrigger(**arguments)) == words


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "every second"),
        ({"second": "*/10"}, "every 10 seconds"),
        ({"minute": "*"}, "every minute"),
        ({"minute": "*/15"}, "every 15 minutes"),
        ({"minute": "0,30"}, "every 30 minutes"),
        ({"minute": "*/7"}, "every 7 minutes from minute 0 to 56"),
        ({"minute": "5,20,35,50"}, "every 15 minutes from minute 5 to 50"),
        ({"minute": "1,5"}, "at minutes 1 and 5 of the hour"),
        ({"minute": "*", "second": 30}, "every minute at second 30"),
        ({"minute": 0}, "every hour"),
        ({"minute": 5}, "every hour at 5 minutes past"),
        ({"hour": "*/2"}, "every 2 hours"),
        ({"hour": "*/6", "minute": 1}, "every 6 hours at 1 minute past"),
        ({"hour": "*/8"}, "at 00:00, 08:00 and 16:00 every day"),
        ({"hour": 3}, "at 03:00 every day"),
        ({"hour": "9,17", "minute": 30}, "at 09:30 and 17:30 every day"),
        ({"hour": 9, "minute": 0, "second": 5}, "at 09:00:05 every day"),
        ({"hour": "8-18"}, "every hour from 08:00 to 18:00"),
        (
            {"hour": "8-18/2"},
            "at 08:00, 10:00, 12:00, 14:00, 16:00 and 18:00 every day",
        ),
        ({"hour": "8-17", "minute": "*/15"}, "every 15 minutes from 08:00 to 17:45"),
        (
            {"hour": "8-11,14-17", "minute": "*/15"},
            "every 15 minutes from 08:00 to 11:45 and from 14:00 to 17:45",
        ),
        (
            {"hour": "1,2,4,8,16,17,20"},
            ("at 01:00, 02:00, 04:00, 08:00, 16:00, 17:00 and 20:00 every day"),
        ),
        (
            {"minute": "0-5", "second": "*/30"},
            "every 30 seconds in minutes 0 to 5 of the hour",
        ),
        ({"day_of_week": "mon-fri", "hour": 9}, "at 09:00 on Monday to Friday"),
        ({"day_of_week": "0,2", "hour": 9}, "at 09:00 on Monday and Wednesday"),
        (
            {"day_of_week": "sat,sun", "minute": "*/5"},
            "every 5 minutes on Saturday and Sunday",
        ),
        ({"day": 1}, "at 00:00 on day 1 of every month"),
        ({"day": "1,15", "hour": 6}, "at 06:00 on days 1 and 15 of every month"),
        ({"day": "1-7", "month": "*/6"}, "at 00:00 on days 1 to 7 of January and July"),
        ({"day": "last"}, "at 00:00 on the last day of every month"),
        ({"day": "2nd fri", "hour": 8}, "at 08:00 on the second Friday of every month"),
        (
            {"day": "last sun,1", "month": "mar-may"},
            "at 00:00 on day 1 and the last Sunday of March to May",
        ),
        ({"month": 1}, "at 00:00 on day 1 of January"),
        ({"month": "1,2", "day": "*", "hour": 5}, "at 05:00 in January and February"),
        ({"week": 5, "day_of_week": "mon"}, "at 00:00 on Monday in ISO week 5"),
        ({"year": 2030, "month": 2, "day": 3}, "at 00:00 on day 3 of February in 2030"),
        (
            {"day": 13, "day_of_week": "fri", "hour": 1},
            "at 01:00 on day 13 of every month if it is on Friday",
        ),
    ],
)
def test_cron_fields(fields, words):
    assert describe(CronTrigger(**fields)) == words


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("*/5 * * * *", "every 5 minutes"),
        ("0 9 * * 1-5", "at 09:00 on Monday to Friday"),
        ("0 9 * * 7", "at 09:00 on Sunday"),
        ("30 4 1,15 * 5", "at 04:30 on days 1 and 15 of every month or on Friday"),
        ("@monthly", "at 00:00 on day 1 of every month"),
    ],
)
def test_crontab_expressions(expression, words):
    assert describe(CronTrigger.from_crontab(expression)) == words


def test_a_zone_is_named_where_it_is_not_the_default():
    trigger = CronTrigger(day_of_week="mon-fri", hour=9, timezone="Europe/Berlin")
    assert describe(trigger) == "at 09:00 on Monday to Friday, Europe/Berlin"


def test_a_date_is_told_in_its_zone():
    assert describe(DateTrigger("2026-05-30 14:00:00")) == "once on 2026-05-30 14:00"
    assert (
        describe(DateTrigger("2026-05-30 14:00:07", "Asia/Kolkata"))
        == "once on 2026-05-30 14:00:07, Asia/Kolkata"
    )


def test_calendar_intervals():
    assert (
        describe(CalendarIntervalTrigger(months=2, hour=9)) == "every 2 months at 09:00"
    )
    assert (
        describe(CalendarIntervalTrigger(weeks=1, start_date="2026-01-31"))
        == "every week at 00:00, from 2026-01-31"
    )


def test_combined_triggers():
    weekend = CronTrigger(day_of_week="sat,sun")
    office = CronTrigger(hour="8-17")
    two_hours = IntervalTrigger(hours=2)
    assert (
        describe(AndTrigger([two_hours, weekend]))
        == "every 2 hours, only on Saturday and Sunday"
    )
    assert (
        describe(AndTrigger([two_hours, office]))
        == "every 2 hours, only every second from 08:00 to 17:59"
    )
    assert (
        describe(OrTrigger([CronTrigger(hour=2), CronTrigger(day="last", hour=3)]))
        == "at 02:00 every day; or at 03:00 on the last day of every month"
    )


def test_a_trigger_of_somebody_else_tells_itself():
    class Tide:
        def __str__(self):
            return "at high tide"

    assert describe(Tide()) == "at high tide"


def test_translations_get_whole_templates():
    german = {
        "every %(length)s": "alle %(length)s",
        "at %(times)s": "um %(times)s",
        "on %(weekdays)s": "am %(weekdays)s",
        "Monday": "Montag",
        "%(count)s minutes": "%(count)s Minuten",
    }

    def words(trigger):
        return describe(
            trigger,
            lambda text: german.get(text, text),
            lambda one, many, count: german[many],
        )

    assert words(IntervalTrigger(minutes=5)) == "alle 5 Minuten"
    assert words(CronTrigger(day_of_week=0, hour=9)) == "um 09:00 am Montag"


def test_every_crontab_field_combination_has_words():
    parts = ["*", "*/5", "3", "1-4", "1,3,6"]
    for minute in parts:
        for hour in parts:
            for day in parts:
                for weekday in parts:
                    expression = f"{minute} {hour} {day} * {weekday}"
                    words = describe(CronTrigger.from_crontab(expression))
                    assert words, expression
                    assert "%" not in words, (expression, words)
