"""The calendar interval trigger: dates that lie years, months, weeks, days apart."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from django_apscheduler.triggers.calendarinterval import CalendarIntervalTrigger

UTC = timezone.utc


def fire_dates(trigger, now: datetime, count: int) -> list[str]:
    times: list[str] = []
    previous = None
    while len(times) < count:
        previous = trigger.get_next_fire_time(previous, now)
        if previous is None:
            break
        times.append(previous.strftime("%Y-%m-%d %H:%M:%S"))
    return times


CASES = [
    (
        "months without the day are left out",
        {"months": 1, "start_date": "2026-01-31"},
        ["2026-01-31 00:00:00", "2026-03-31 00:00:00", "2026-05-31 00:00:00"],
    ),
    (
        "years without the leap day are left out",
        {"years": 1, "start_date": "2024-02-29"},
        ["2028-02-29 00:00:00", "2032-02-29 00:00:00"],
    ),
    (
        "weeks",
        {"weeks": 2, "start_date": "2025-12-25", "hour": 15, "minute": 3, "second": 9},
        ["2026-01-08 15:03:09", "2026-01-22 15:03:09"],
    ),
    (
        "days",
        {"days": 10, "start_date": "2026-01-01"},
        ["2026-01-01 00:00:00", "2026-01-11 00:00:00", "2026-01-21 00:00:00"],
    ),
    (
        "years and months",
        {"years": 1, "months": 3, "start_date": "2026-01-15"},
        ["2026-01-15 00:00:00", "2027-04-15 00:00:00", "2028-07-15 00:00:00"],
    ),
    (
        "months first, then days: 31 January, 31 March + 3, 3 May + 3",
        {"months": 1, "days": 3, "start_date": "2026-01-31"},
        ["2026-01-31 00:00:00", "2026-04-03 00:00:00", "2026-05-06 00:00:00"],
    ),
    (
        "until the last date, inclusive",
        {"days": 1, "start_date": "2026-01-01", "end_date": "2026-01-02", "hour": 23},
        ["2026-01-01 23:00:00", "2026-01-02 23:00:00"],
    ),
]


@pytest.mark.parametrize(
    ("arguments", "expected"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_dates(arguments, expected):
    trigger = CalendarIntervalTrigger(**arguments, timezone="UTC")
    now = datetime(2026, 1, 1, tzinfo=UTC)
    count = len(expected) + ("end_date" in arguments)
    assert fire_dates(trigger, now, count) == expected


def test_without_a_start_date_the_day_of_the_first_question_counts():
    trigger = CalendarIntervalTrigger(days=2, hour=9, timezone="Asia/Tokyo")
    # It is already the 2nd in Tokyo, 01:00.
    now = datetime(2026, 1, 1, 16, tzinfo=UTC)
    assert fire_dates(trigger, now, 2) == ["2026-01-02 09:00:00", "2026-01-04 09:00:00"]
    assert trigger.anchor == now
    later = CalendarIntervalTrigger(days=2, hour=9, timezone="Asia/Tokyo")
    later.anchor = now
    assert fire_dates(later, now + timedelta(days=3), 1) == ["2026-01-06 09:00:00"]


def test_missed_dates_are_listed_from_the_previous_one():
    trigger = CalendarIntervalTrigger(days=1, start_date="2026-01-01", timezone="UTC")
    previous = datetime(2026, 1, 5, tzinfo=UTC)
    found = trigger.get_next_fire_time(previous, datetime(2026, 6, 1, tzinfo=UTC))
    assert found == datetime(2026, 1, 6, tzinfo=UTC)


def test_looking_back():
    trigger = CalendarIntervalTrigger(
        months=1, start_date="2020-01-31", hour=12, timezone="Europe/Berlin"
    )
    now = datetime(2026, 5, 1, tzinfo=UTC)
    assert trigger.get_previous_fire_time(now).isoformat() == (
        "2026-03-31T12:00:00+02:00"
    )
    assert trigger.get_previous_fire_time(datetime(2020, 1, 31, tzinfo=UTC)) is None


def test_the_end_date_as_a_moment_is_the_end_of_that_day():
    trigger = CalendarIntervalTrigger(days=1, end_date=date(2026, 1, 2), timezone="UTC")
    assert trigger.end_date == datetime(2026, 1, 2, 23, 59, 59, 999_999, tzinfo=UTC)


def test_an_aware_start_is_the_date_in_the_triggers_zone():
    start = datetime(2026, 1, 1, 20, tzinfo=UTC)
    trigger = CalendarIntervalTrigger(days=1, start_date=start, timezone="Asia/Tokyo")
    assert trigger.start_date == date(2026, 1, 2)


@pytest.mark.parametrize(
    "interval",
    [{"days": 3_652_058}, {"months": 3_000_000}, {"years": 9, "days": 3_000_000}],
    ids=str,
)
def test_huge_intervals_fire_once(interval):
    trigger = CalendarIntervalTrigger(
        **interval, start_date="2026-01-01", timezone="UTC"
    )
    now = datetime(2025, 1, 1, tzinfo=UTC)
    assert fire_dates(trigger, now, 2) == ["2026-01-01 00:00:00"]


REFUSED = [
    ({}, ValueError, "the interval must be at least 1 day long; give years, months"),
    ({"days": 0, "hour": 5}, ValueError, "the interval must be at least 1 day long"),
    ({"days": -1}, ValueError, "days must be in 0-3652058; got -1"),
    ({"years": 10**5000}, ValueError, "years must be in 0-3652058; got a number of"),
    ({"days": 1.5}, TypeError, "days must be a whole number in 0-3652058; got float"),
    ({"days": "1"}, TypeError, "days must be a whole number in 0-3652058; got str"),
    ({"days": True}, TypeError, "days must be a whole number in 0-3652058; got bool"),
    ({"days": 1, "hour": 24}, ValueError, "hour must be in 0-23; got 24"),
    ({"days": 1, "minute": 60}, ValueError, "minute must be in 0-59; got 60"),
    ({"days": 1, "second": -1}, ValueError, "second must be in 0-59; got -1"),
    ({"days": 1, "timezone": "Mars"}, ValueError, "expected the name of a time zone"),
    ({"days": 1, "start_date": "soon"}, ValueError, "start_date must look like"),
    (
        {"days": 1, "start_date": "2026-05-30", "end_date": "2026-05-29"},
        ValueError,
        "end_date (2026-05-29) must not be before start_date (2026-05-30)",
    ),
]


@pytest.mark.parametrize(
    ("arguments", "error", "message"), REFUSED, ids=[case[2][:40] for case in REFUSED]
)
def test_wrong_arguments_are_refused_by_name(arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        CalendarIntervalTrigger(**arguments)


def test_text_and_representation():
    trigger = CalendarIntervalTrigger(
        months=1,
        days=2,
        hour=3,
        minute=4,
        second=5,
        start_date="2026-01-31",
        end_date=date(2027, 1, 1),
        timezone=ZoneInfo("Europe/Berlin"),
    )
    expected = (
        "CalendarIntervalTrigger(months=1, days=2, time='03:04:05', "
        "start_date='2026-01-31', end_date='2027-01-01', timezone='Europe/Berlin')"
    )
    assert str(trigger) == expected
    assert repr(trigger) == expected
