"""
What triggers other than cron do when the clocks change.

Expected times are written by hand from the zones' rules, which `zones` states.
"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from django_apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from django_apscheduler.triggers.combining import AndTrigger, OrTrigger
from django_apscheduler.triggers.cron import CronTrigger
from django_apscheduler.triggers.date import DateTrigger
from django_apscheduler.triggers.interval import IntervalTrigger
from tests.triggers.zones import (
    APIA,
    BERLIN,
    CAIRO,
    CHATHAM,
    HAVANA,
    KOLKATA,
    LORD_HOWE,
    NEW_YORK,
    SANTIAGO,
    ST_JOHNS,
    TROLL,
    fire_times,
)

CALENDAR = [
    # (zone, interval and time, start, dates and offsets)
    (
        BERLIN,
        {"days": 1, "hour": 2, "minute": 30},
        "2025-03-29 00:00",
        ["2025-03-29 02:30+01:00", "2025-03-31 02:30+02:00"],
    ),
    (
        BERLIN,
        {"days": 1, "hour": 2, "minute": 30},
        "2025-10-25 12:00",
        ["2025-10-26 02:30+02:00", "2025-10-27 02:30+01:00"],
    ),
    (
        NEW_YORK,
        {"weeks": 1, "hour": 2, "minute": 30},
        "2025-03-02 00:00",
        ["2025-03-02 02:30-05:00", "2025-03-16 02:30-04:00"],
    ),
    (
        NEW_YORK,
        {"days": 1, "hour": 1, "minute": 30},
        "2025-11-01 12:00",
        ["2025-11-02 01:30-04:00", "2025-11-03 01:30-05:00"],
    ),
    (
        ST_JOHNS,
        {"days": 1, "hour": 23, "minute": 30},
        "2010-11-06 00:00",
        ["2010-11-06 23:30-02:30", "2010-11-07 23:30-03:30"],
    ),
    (
        LORD_HOWE,
        {"days": 1, "hour": 2, "minute": 15},
        "2025-10-04 00:00",
        ["2025-10-04 02:15+10:30", "2025-10-06 02:15+11:00"],
    ),
    (
        CHATHAM,
        {"days": 1, "hour": 3},
        "2025-04-05 12:00",
        ["2025-04-06 03:00+13:45", "2025-04-07 03:00+12:45"],
    ),
    (
        TROLL,
        {"days": 1, "hour": 2},
        "2025-03-29 12:00",
        ["2025-03-31 02:00+02:00"],
    ),
    (
        SANTIAGO,
        {"days": 1},
        "2025-09-06 00:00",
        ["2025-09-06 00:00-04:00", "2025-09-08 00:00-03:00"],
    ),
    (
        CAIRO,
        {"days": 1},
        "2025-04-24 12:00",
        ["2025-04-26 00:00+03:00"],
    ),
    (
        HAVANA,
        {"days": 1, "hour": 0, "minute": 30},
        "2025-11-01 12:00",
        ["2025-11-02 00:30-04:00", "2025-11-03 00:30-05:00"],
    ),
    (
        APIA,
        {"days": 1, "hour": 9},
        "2011-12-29 00:00",
        ["2011-12-29 09:00-10:00", "2011-12-31 09:00+14:00"],
    ),
    (
        KOLKATA,
        {"days": 2, "hour": 5, "minute": 30},
        "2025-03-30 00:00",
        ["2025-03-30 05:30+05:30", "2025-04-01 05:30+05:30"],
    ),
    (
        "UTC",
        {"days": 1, "hour": 2, "minute": 30},
        "2025-03-30 00:00",
        ["2025-03-30 02:30+00:00", "2025-03-31 02:30+00:00"],
    ),
    (
        BERLIN,
        {"years": 1},
        "2096-02-29 00:00",
        ["2096-02-29 00:00+01:00", "2104-02-29 00:00+01:00"],
    ),
]


@pytest.mark.parametrize(("zone", "arguments", "start", "expected"), CALENDAR)
def test_calendar_interval_leaves_out_skipped_times_and_takes_the_first_repeated(
    zone, arguments, start, expected
):
    trigger = CalendarIntervalTrigger(**arguments, start_date=start[:10], timezone=zone)
    assert fire_times(trigger, start, zone, len(expected)) == expected


INTERVAL = [
    # (zone, interval, start date and times with their offsets: elapsed time is equal)
    (
        BERLIN,
        {"hours": 1},
        "2025-03-30 01:30",
        ["2025-03-30 01:30+01:00", "2025-03-30 03:30+02:00"],
    ),
    (
        BERLIN,
        {"minutes": 30},
        "2025-10-26 02:30",
        [
            "2025-10-26 02:30+02:00",
            "2025-10-26 02:00+01:00",
            "2025-10-26 02:30+01:00",
            "2025-10-26 03:00+01:00",
        ],
    ),
    (
        NEW_YORK,
        {"days": 1},
        "2025-03-08 12:00",
        ["2025-03-08 12:00-05:00", "2025-03-09 13:00-04:00"],
    ),
    (
        ST_JOHNS,
        {"hours": 1},
        "2010-11-06 23:30",
        [
            "2010-11-06 23:30-02:30",
            "2010-11-06 23:30-03:30",
            "2010-11-07 00:30-03:30",
        ],
    ),
    (
        LORD_HOWE,
        {"hours": 1},
        "2025-10-05 01:45",
        ["2025-10-05 01:45+10:30", "2025-10-05 03:15+11:00"],
    ),
    (
        CHATHAM,
        {"hours": 1},
        "2025-09-28 02:00",
        ["2025-09-28 02:00+12:45", "2025-09-28 04:00+13:45"],
    ),
    (
        TROLL,
        {"hours": 1},
        "2025-03-30 00:30",
        ["2025-03-30 00:30+00:00", "2025-03-30 03:30+02:00"],
    ),
    (
        SANTIAGO,
        {"hours": 1},
        "2025-09-06 23:00",
        ["2025-09-06 23:00-04:00", "2025-09-07 01:00-03:00"],
    ),
    (
        CAIRO,
        {"hours": 1},
        "2025-10-30 23:30",
        ["2025-10-30 23:30+03:00", "2025-10-30 23:30+02:00"],
    ),
    (
        HAVANA,
        {"hours": 1},
        "2025-03-08 23:30",
        ["2025-03-08 23:30-05:00", "2025-03-09 01:30-04:00"],
    ),
    (
        APIA,
        {"hours": 12},
        "2011-12-29 13:00",
        [
            "2011-12-29 13:00-10:00",
            "2011-12-31 01:00+14:00",
            "2011-12-31 13:00+14:00",
        ],
    ),
    (
        KOLKATA,
        {"hours": 12},
        "2025-03-30 05:30",
        ["2025-03-30 05:30+05:30", "2025-03-30 17:30+05:30"],
    ),
    (
        "UTC",
        {"days": 366},
        "2099-03-01 00:00",
        ["2099-03-01 00:00+00:00", "2100-03-02 00:00+00:00"],
    ),
]


@pytest.mark.parametrize(("zone", "interval", "start", "expected"), INTERVAL)
def test_interval_counts_elapsed_time(zone, interval, start, expected):
    trigger = IntervalTrigger(**interval, start_date=f"{start}:00", timezone=zone)
    assert fire_times(trigger, start, zone, len(expected)) == expected


DATES = [
    # Skipped: the offset from before the change, so it is later on the wall.
    (BERLIN, "2025-03-30 02:30:00", "2025-03-30 03:30+02:00"),
    (NEW_YORK, "2025-03-09 02:30:00", "2025-03-09 03:30-04:00"),
    (ST_JOHNS, "2010-03-14 00:30:00", "2010-03-14 01:30-02:30"),
    (LORD_HOWE, "2025-10-05 02:15:00", "2025-10-05 02:45+11:00"),
    (CHATHAM, "2025-09-28 03:00:00", "2025-09-28 04:00+13:45"),
    (TROLL, "2025-03-30 01:30:00", "2025-03-30 03:30+02:00"),
    (SANTIAGO, "2025-09-07 00:00:00", "2025-09-07 01:00-03:00"),
    (CAIRO, "2025-04-25", "2025-04-25 01:00+03:00"),
    (HAVANA, "2025-03-09 00:30:00", "2025-03-09 01:30-04:00"),
    (APIA, "2011-12-30 09:00:00", "2011-12-31 09:00+14:00"),
    # Repeated: the first of the two.
    (BERLIN, "2025-10-26 02:30:00", "2025-10-26 02:30+02:00"),
    (NEW_YORK, "2025-11-02 01:30:00", "2025-11-02 01:30-04:00"),
    (ST_JOHNS, "2010-11-06 23:30:00", "2010-11-06 23:30-02:30"),
    (LORD_HOWE, "2025-04-06 01:45:00", "2025-04-06 01:45+11:00"),
    # The second, said with an offset.
    (BERLIN, "2025-10-26 02:30:00+01:00", "2025-10-26 02:30+01:00"),
    (KOLKATA, "2025-10-26 02:30:00", "2025-10-26 02:30+05:30"),
    ("UTC", "2096-02-29", "2096-02-29 00:00+00:00"),
]


@pytest.mark.parametrize(("zone", "run_date", "expected"), DATES)
def test_date_takes_the_later_time_of_a_gap_and_the_first_of_a_repetition(
    zone, run_date, expected
):
    trigger = DateTrigger(run_date, timezone=zone)
    assert fire_times(trigger, "2000-01-01 00:00", zone, 2) == [expected]


def test_date_keeps_the_second_of_two_equal_wall_times():
    second = datetime(2025, 10, 26, 2, 30, fold=1, tzinfo=ZoneInfo(BERLIN))
    assert fire_times(DateTrigger(second), "2000-01-01 00:00", BERLIN, 1) == [
        "2025-10-26 02:30+01:00"
    ]


def test_and_follows_its_triggers_through_a_change():
    trigger = AndTrigger(
        [
            IntervalTrigger(hours=1, start_date="2025-10-26 00:00:00", timezone=BERLIN),
            CronTrigger(hour="2-3", timezone=BERLIN),
        ]
    )
    assert fire_times(trigger, "2025-10-26 00:00", BERLIN, 4) == [
        "2025-10-26 02:00+02:00",
        "2025-10-26 02:00+01:00",
        "2025-10-26 03:00+01:00",
        "2025-10-27 02:00+01:00",
    ]


def test_or_follows_its_triggers_through_a_change():
    trigger = OrTrigger(
        [
            CronTrigger(hour=2, minute=30, timezone=BERLIN),
            CronTrigger(hour=2, minute=45, timezone=BERLIN, dst="once"),
        ]
    )
    assert fire_times(trigger, "2025-03-29 12:00", BERLIN, 3) == [
        "2025-03-30 03:00+02:00",
        "2025-03-31 02:30+02:00",
        "2025-03-31 02:45+02:00",
    ]
    assert fire_times(trigger, "2025-10-26 00:00", BERLIN, 4) == [
        "2025-10-26 02:30+02:00",
        "2025-10-26 02:45+02:00",
        "2025-10-26 02:30+01:00",
        "2025-10-27 02:30+01:00",
    ]
