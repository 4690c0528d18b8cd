"""The interval trigger: its grid, its anchor, its limits."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
import pytz

from django_apscheduler.triggers.interval import IntervalTrigger

UTC = timezone.utc
NOW = datetime(2026, 5, 30, 14, 0, 30, 500, tzinfo=UTC)


def test_without_a_start_the_first_fire_time_is_one_interval_after_the_first_question():
    trigger = IntervalTrigger(minutes=2, timezone="UTC")
    assert trigger.anchor is None
    first = trigger.get_next_fire_time(None, NOW)
    assert first == NOW + timedelta(minutes=2)
    assert trigger.anchor == NOW
    later = NOW + timedelta(minutes=5)
    assert trigger.get_next_fire_time(None, later) == NOW + timedelta(minutes=6)
    assert trigger.anchor == NOW


def test_an_anchor_that_was_stored_is_kept():
    trigger = IntervalTrigger(hours=1, timezone="UTC")
    trigger.anchor = NOW
    later = NOW + timedelta(days=3, minutes=20)
    expected = NOW + timedelta(days=3, hours=1)
    assert trigger.get_next_fire_time(None, later) == expected


def test_without_an_anchor_a_previous_fire_time_becomes_it():
    trigger = IntervalTrigger(hours=1, timezone="UTC")
    later = NOW + timedelta(days=1)
    assert trigger.get_next_fire_time(NOW, later) == NOW + timedelta(hours=1)
    assert trigger.anchor == NOW


def test_the_start_date_is_the_first_fire_time():
    trigger = IntervalTrigger(
        minutes=2, start_date="2026-05-30 14:00:00", timezone="UTC"
    )
    start = datetime(2026, 5, 30, 14, tzinfo=UTC)
    assert trigger.get_next_fire_time(None, start - timedelta(days=1)) == start
    assert trigger.get_next_fire_time(None, start) == start
    after = start + timedelta(seconds=1)
    assert trigger.get_next_fire_time(None, after) == start + timedelta(minutes=2)
    assert trigger.anchor is None


def test_a_previous_fire_time_off_the_grid_leads_back_to_it():
    trigger = IntervalTrigger(
        minutes=2, start_date="2026-05-30 14:00:00", timezone="UTC"
    )
    previous = datetime(2026, 5, 30, 14, 1, tzinfo=UTC)
    expected = datetime(2026, 5, 30, 14, 2, tzinfo=UTC)
    assert trigger.get_next_fire_time(previous, previous) == expected


def test_the_end_date_is_inclusive():
    trigger = IntervalTrigger(
        hours=1,
        start_date="2026-05-30 14:00:00",
        end_date="2026-05-30 16:00:00",
        timezone="UTC",
    )
    last = datetime(2026, 5, 30, 16, tzinfo=UTC)
    assert trigger.get_next_fire_time(last - timedelta(hours=1), last) == last
    assert trigger.get_next_fire_time(last, last) is None
    assert trigger.get_previous_fire_time(last + timedelta(days=1)) == last


def test_looking_back():
    trigger = IntervalTrigger(days=1, start_date="2026-01-01", timezone="UTC")
    start = datetime(2026, 1, 1, tzinfo=UTC)
    assert trigger.get_previous_fire_time(start - timedelta(seconds=1)) is None
    assert trigger.get_previous_fire_time(start) == start
    assert trigger.get_previous_fire_time(NOW) == datetime(2026, 5, 30, tzinfo=UTC)


def test_looking_back_before_the_first_question_finds_nothing_and_sets_no_anchor():
    trigger = IntervalTrigger(days=1, timezone="UTC")
    assert trigger.get_previous_fire_time(NOW) is None
    assert trigger.anchor is None


def test_a_subclass_that_changes_the_schedule_is_looked_back_through():
    class Weekdays(IntervalTrigger):
        def get_next_fire_time(self, previous_fire_time, now):
            found = super().get_next_fire_time(previous_fire_time, now)
            while found is not None and found.weekday() >= 5:
                found = super().get_next_fire_time(found, now)
            return found

    trigger = Weekdays(days=1, start_date="2026-05-01", timezone="UTC")
    sunday = datetime(2026, 5, 31, 12, tzinfo=UTC)
    assert trigger.get_previous_fire_time(sunday) == datetime(2026, 5, 29, tzinfo=UTC)


def test_units_add_up_and_may_be_fractions():
    trigger = IntervalTrigger(weeks=1, days=1, hours=1, minutes=1, seconds=0.5)
    assert trigger.interval == timedelta(days=8, hours=1, minutes=1, milliseconds=500)


def test_answers_are_in_the_triggers_zone():
    zone = pytz.timezone("America/New_York")
    trigger = IntervalTrigger(hours=1, start_date="2026-01-01 12:00:00", timezone=zone)
    found = trigger.get_next_fire_time(None, NOW)
    assert found.tzinfo is ZoneInfo("America/New_York")
    assert found.isoformat() == "2026-05-30T11:00:00-04:00"


def test_the_end_of_the_calendar_ends_the_schedule():
    trigger = IntervalTrigger(weeks=1, start_date="9999-12-30", timezone="UTC")
    start = datetime(9999, 12, 30, tzinfo=UTC)
    assert trigger.get_next_fire_time(None, NOW) == start
    assert trigger.get_next_fire_time(start, start) is None
    long = IntervalTrigger(days=999_999_999, start_date="2026-01-01", timezone="UTC")
    assert long.get_next_fire_time(None, NOW) is None


REFUSED = [
    ({}, ValueError, "the interval must be longer than 0; give weeks, days, hours"),
    ({"seconds": 0}, ValueError, "the interval must be longer than 0"),
    ({"seconds": 1e-9}, ValueError, "the interval must be longer than 0"),
    ({"seconds": -1}, ValueError, "seconds must be 0 or more; got -1"),
    (
        {"days": 1, "hours": -25},
        ValueError,
        "hours must be 0 or more; got -25",
    ),
    ({"hours": float("nan")}, ValueError, "hours must be 0 or more; got nan"),
    ({"hours": float("inf")}, ValueError, "hours must be 0 or more; got inf"),
    (
        {"weeks": 10**12},
        ValueError,
        "the interval must be at most 999999999 days; got weeks=1000000000000",
    ),
    ({"weeks": 10**6000}, ValueError, "got weeks=a number of 19932 bits"),
    ({"minutes": "5"}, TypeError, "minutes must be a number; got str"),
    ({"minutes": None}, TypeError, "minutes must be a number; got NoneType"),
    ({"minutes": True}, TypeError, "minutes must be a number; got bool"),
    ({"minutes": b"5"}, TypeError, "minutes must be a number; got bytes"),
    (
        {"minutes": 5, "timezone": "Mars"},
        ValueError,
        "expected the name of a time zone",
    ),
    ({"minutes": 5, "start_date": 7}, TypeError, "start_date must be a datetime"),
    (
        {
            "minutes": 5,
            "start_date": "2026-05-30",
            "end_date": "2026-05-29",
            "timezone": "UTC",
        },
        ValueError,
        "end_date (2026-05-29 00:00:00 UTC) must not be before start_date",
    ),
    ({"minutes": 5, "jitter": -1}, ValueError, "jitter must be between 0 and"),
]


@pytest.mark.parametrize(
    ("arguments", "error", "message"), REFUSED, ids=[case[2][:40] for case in REFUSED]
)
def test_wrong_arguments_are_refused_by_name(arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        IntervalTrigger(**arguments)


def test_text_and_representation():
    trigger = IntervalTrigger(minutes=2, timezone="UTC")
    assert str(trigger) == "interval[0:02:00]"
    assert repr(trigger) == (
        "<IntervalTrigger (interval=datetime.timedelta(seconds=120), timezone='UTC')>"
    )
    trigger = IntervalTrigger(
        days=2,
        hours=3,
        start_date="2026-05-30 14:00:00",
        end_date="2027-01-01",
        timezone="Europe/Berlin",
        jitter=3,
    )
    assert str(trigger) == "interval[2 days, 3:00:00]"
    assert repr(trigger) == (
        "<IntervalTrigger (interval=datetime.timedelta(days=2, seconds=10800), "
        "start_date='2026-05-30 14:00:00 CEST', end_date='2027-01-01 00:00:00 CET', "
        "jitter=3, timezone='Europe/Berlin')>"
    )
