"""
What the cron trigger does when the clocks change.

Expected times are written by hand from the zones' rules, which `zones` states.
"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
import pytz

from django_apscheduler.triggers.cron import CronTrigger
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

CRON_WALL = [
    # A skipped time does not fire.
    (
        BERLIN,
        {"hour": 2, "minute": 30},
        "2025-03-29 00:00",
        ["2025-03-29 02:30+01:00", "2025-03-31 02:30+02:00"],
    ),
    (
        NEW_YORK,
        {"hour": 2, "minute": 30},
        "2025-03-08 00:00",
        ["2025-03-08 02:30-05:00", "2025-03-10 02:30-04:00"],
    ),
    (
        ST_JOHNS,
        {"hour": 0, "minute": "0,30"},
        "2010-03-13 00:00",
        [
            "2010-03-13 00:00-03:30",
            "2010-03-13 00:30-03:30",
            "2010-03-14 00:00-03:30",
            "2010-03-15 00:00-02:30",
        ],
    ),
    (
        LORD_HOWE,
        {"hour": 2, "minute": 15},
        "2025-10-04 00:00",
        ["2025-10-04 02:15+10:30", "2025-10-06 02:15+11:00"],
    ),
    (
        LORD_HOWE,
        {"hour": 2, "minute": 30},
        "2025-10-04 00:00",
        ["2025-10-04 02:30+10:30", "2025-10-05 02:30+11:00"],
    ),
    (
        CHATHAM,
        {"hour": 3, "minute": 0},
        "2025-09-27 00:00",
        ["2025-09-27 03:00+12:45", "2025-09-29 03:00+13:45"],
    ),
    (
        TROLL,
        {"hour": "1-3", "minute": 30},
        "2025-03-30 00:00",
        [
            "2025-03-30 03:30+02:00",
            "2025-03-31 01:30+02:00",
            "2025-03-31 02:30+02:00",
        ],
    ),
    (
        SANTIAGO,
        {"hour": 0},
        "2025-09-06 00:00",
        [
            "2025-09-06 00:00-04:00",
            "2025-09-08 00:00-03:00",
            "2025-09-09 00:00-03:00",
        ],
    ),
    (
        CAIRO,
        {"hour": 0},
        "2025-04-24 00:00",
        ["2025-04-24 00:00+02:00", "2025-04-26 00:00+03:00"],
    ),
    (
        HAVANA,
        {"hour": 0, "minute": 30},
        "2025-03-08 00:00",
        ["2025-03-08 00:30-05:00", "2025-03-10 00:30-04:00"],
    ),
    (
        APIA,
        {"hour": 9},
        "2011-12-28 10:00",
        [
            "2011-12-29 09:00-10:00",
            "2011-12-31 09:00+14:00",
            "2012-01-01 09:00+14:00",
        ],
    ),
    (APIA, {"year": 2011, "month": 12, "day": 30}, "2011-12-01 00:00", []),
    # A repeated time fires twice.
    (
        BERLIN,
        {"hour": 2, "minute": 30},
        "2025-10-25 12:00",
        [
            "2025-10-26 02:30+02:00",
            "2025-10-26 02:30+01:00",
            "2025-10-27 02:30+01:00",
        ],
    ),
    (
        NEW_YORK,
        {"hour": 1, "minute": 30},
        "2025-11-01 12:00",
        [
            "2025-11-02 01:30-04:00",
            "2025-11-02 01:30-05:00",
            "2025-11-03 01:30-05:00",
        ],
    ),
    (
        # The repetition goes back over midnight.
        ST_JOHNS,
        {"hour": "0,23", "minute": "0,30"},
        "2010-11-06 23:00",
        [
            "2010-11-06 23:00-02:30",
            "2010-11-06 23:30-02:30",
            "2010-11-07 00:00-02:30",
            "2010-11-06 23:30-03:30",
            "2010-11-07 00:00-03:30",
            "2010-11-07 00:30-03:30",
            "2010-11-07 23:00-03:30",
        ],
    ),
    (
        LORD_HOWE,
        {"hour": 1, "minute": 45},
        "2025-04-05 12:00",
        [
            "2025-04-06 01:45+11:00",
            "2025-04-06 01:45+10:30",
            "2025-04-07 01:45+10:30",
        ],
    ),
    (
        CHATHAM,
        {"hour": 3, "minute": 0},
        "2025-04-05 12:00",
        [
            "2025-04-06 03:00+13:45",
            "2025-04-06 03:00+12:45",
            "2025-04-07 03:00+12:45",
        ],
    ),
    (
        TROLL,
        {"hour": "1-3", "minute": 30},
        "2025-10-26 00:00",
        [
            "2025-10-26 01:30+02:00",
            "2025-10-26 02:30+02:00",
            "2025-10-26 01:30+00:00",
            "2025-10-26 02:30+00:00",
            "2025-10-26 03:30+00:00",
        ],
    ),
    (
        SANTIAGO,
        {"hour": 23, "minute": 30},
        "2025-04-05 12:00",
        [
            "2025-04-05 23:30-03:00",
            "2025-04-05 23:30-04:00",
            "2025-04-06 23:30-04:00",
        ],
    ),
    (
        CAIRO,
        {"hour": 23, "minute": 30},
        "2025-10-30 12:00",
        [
            "2025-10-30 23:30+03:00",
            "2025-10-30 23:30+02:00",
            "2025-10-31 23:30+02:00",
        ],
    ),
    (
        HAVANA,
        {"hour": 0, "minute": 30},
        "2025-11-01 12:00",
        [
            "2025-11-02 00:30-04:00",
            "2025-11-02 00:30-05:00",
            "2025-11-03 00:30-05:00",
        ],
    ),
    # Nothing changes.
    (
        KOLKATA,
        {"hour": 5, "minute": 30},
        "2025-03-30 00:00",
        ["2025-03-30 05:30+05:30", "2025-03-31 05:30+05:30"],
    ),
    (
        "UTC",
        {"hour": 2, "minute": 30},
        "2025-03-30 00:00",
        ["2025-03-30 02:30+00:00", "2025-03-31 02:30+00:00"],
    ),
    # 2100 is no leap year.
    (
        BERLIN,
        {"month": 2, "day": 29},
        "2096-01-01 00:00",
        [
            "2096-02-29 00:00+01:00",
            "2104-02-29 00:00+01:00",
            "2108-02-29 00:00+01:00",
        ],
    ),
]

CRON_ONCE = [
    # A skipped time fires at the first moment after the change.
    (
        BERLIN,
        {"hour": 2, "minute": 30},
        "2025-03-29 00:00",
        [
            "2025-03-29 02:30+01:00",
            "2025-03-30 03:00+02:00",
            "2025-03-31 02:30+02:00",
        ],
    ),
    (
        # Several skipped times fire once, together with one that falls there.
        BERLIN,
        {"hour": "2-3", "minute": "0,30"},
        "2025-03-30 00:00",
        [
            "2025-03-30 03:00+02:00",
            "2025-03-30 03:30+02:00",
            "2025-03-31 02:00+02:00",
        ],
    ),
    (
        NEW_YORK,
        {"hour": 2, "minute": 30},
        "2025-03-08 12:00",
        ["2025-03-09 03:00-04:00", "2025-03-10 02:30-04:00"],
    ),
    (
        ST_JOHNS,
        {"hour": 0, "minute": 30},
        "2010-03-13 12:00",
        ["2010-03-14 01:01-02:30", "2010-03-15 00:30-02:30"],
    ),
    (
        LORD_HOWE,
        {"hour": 2, "minute": 15},
        "2025-10-04 12:00",
        ["2025-10-05 02:30+11:00", "2025-10-06 02:15+11:00"],
    ),
    (
        CHATHAM,
        {"hour": 3, "minute": 0},
        "2025-09-27 12:00",
        ["2025-09-28 03:45+13:45", "2025-09-29 03:00+13:45"],
    ),
    (
        TROLL,
        {"hour": "1-2", "minute": 30},
        "2025-03-29 12:00",
        ["2025-03-30 03:00+02:00", "2025-03-31 01:30+02:00"],
    ),
    (
        SANTIAGO,
        {"hour": 0},
        "2025-09-06 12:00",
        ["2025-09-07 01:00-03:00", "2025-09-08 00:00-03:00"],
    ),
    (
        CAIRO,
        {"hour": 0},
        "2025-04-24 12:00",
        ["2025-04-25 01:00+03:00", "2025-04-26 00:00+03:00"],
    ),
    (
        HAVANA,
        {"hour": 0, "minute": 30},
        "2025-03-08 12:00",
        ["2025-03-09 01:00-04:00", "2025-03-10 00:30-04:00"],
    ),
    # A day left out at the date line is no daylight saving.
    (
        APIA,
        {"hour": 9},
        "2011-12-29 00:00",
        ["2011-12-29 09:00-10:00", "2011-12-31 09:00+14:00"],
    ),
    # A repeated time fires the first time only.
    (
        BERLIN,
        {"hour": 2, "minute": 30},
        "2025-10-25 12:00",
        ["2025-10-26 02:30+02:00", "2025-10-27 02:30+01:00"],
    ),
    (
        NEW_YORK,
        {"hour": 1, "minute": 30},
        "2025-11-01 12:00",
        ["2025-11-02 01:30-04:00", "2025-11-03 01:30-05:00"],
    ),
    (
        ST_JOHNS,
        {"hour": "0,23", "minute": "0,30"},
        "2010-11-06 23:00",
        [
            "2010-11-06 23:00-02:30",
            "2010-11-06 23:30-02:30",
            "2010-11-07 00:00-02:30",
            "2010-11-07 00:30-03:30",
            "2010-11-07 23:00-03:30",
        ],
    ),
    (
        LORD_HOWE,
        {"hour": 1, "minute": 45},
        "2025-04-05 12:00",
        ["2025-04-06 01:45+11:00", "2025-04-07 01:45+10:30"],
    ),
    (
        CHATHAM,
        {"hour": 3, "minute": 0},
        "2025-04-05 12:00",
        ["2025-04-06 03:00+13:45", "2025-04-07 03:00+12:45"],
    ),
    (
        TROLL,
        {"hour": "1-3", "minute": 30},
        "2025-10-26 00:00",
        [
            "2025-10-26 01:30+02:00",
            "2025-10-26 02:30+02:00",
            "2025-10-26 03:30+00:00",
        ],
    ),
    (
        SANTIAGO,
        {"hour": 23, "minute": 30},
        "2025-04-05 12:00",
        ["2025-04-05 23:30-03:00", "2025-04-06 23:30-04:00"],
    ),
    (
        CAIRO,
        {"hour": 23, "minute": 30},
        "2025-10-30 12:00",
        ["2025-10-30 23:30+03:00", "2025-10-31 23:30+02:00"],
    ),
    (
        HAVANA,
        {"hour": 0, "minute": 30},
        "2025-11-01 12:00",
        ["2025-11-02 00:30-04:00", "2025-11-03 00:30-05:00"],
    ),
    # Wildcards and their steps follow elapsed time.
    (
        BERLIN,
        {"hour": "*", "minute": 30},
        "2025-03-30 01:00",
        ["2025-03-30 01:30+01:00", "2025-03-30 03:30+02:00"],
    ),
    (
        BERLIN,
        {"minute": "*/30"},
        "2025-10-26 02:00",
        [
            "2025-10-26 02:00+02:00",
            "2025-10-26 02:30+02:00",
            "2025-10-26 02:00+01:00",
            "2025-10-26 02:30+01:00",
            "2025-10-26 03:00+01:00",
        ],
    ),
    (
        BERLIN,
        {"hour": "*/2"},
        "2025-03-30 00:00",
        [
            "2025-03-30 00:00+01:00",
            "2025-03-30 04:00+02:00",
            "2025-03-30 06:00+02:00",
        ],
    ),
    (
        KOLKATA,
        {"hour": 2, "minute": 30},
        "2025-03-30 00:00",
        ["2025-03-30 02:30+05:30", "2025-03-31 02:30+05:30"],
    ),
    (
        "UTC",
        {"hour": 2, "minute": 30},
        "2025-10-26 00:00",
        ["2025-10-26 02:30+00:00", "2025-10-27 02:30+00:00"],
    ),
    (
        NEW_YORK,
        {"month": 2, "day": 29},
        "2096-03-01 00:00",
        ["2104-02-29 00:00-05:00"],
    ),
]


@pytest.mark.parametrize(("zone", "fields", "start", "expected"), CRON_WALL)
def test_cron_skips_and_repeats_with_the_wall_clock(zone, fields, start, expected):
    trigger = CronTrigger(**fields, timezone=zone)
    assert fire_times(trigger, start, zone, max(len(expected), 1)) == expected


@pytest.mark.parametrize(("zone", "fields", "start", "expected"), CRON_ONCE)
def test_cron_with_dst_once_fires_once(zone, fields, start, expected):
    trigger = CronTrigger(**fields, timezone=zone, dst="once")
    assert fire_times(trigger, start, zone, len(expected)) == expected


@pytest.mark.parametrize("table", [CRON_WALL, CRON_ONCE], ids=["wall", "once"])
def test_cron_looks_back_to_the_same_times(table):
    for zone, fields, _start, expected in table:
        dst = "wall" if table is CRON_WALL else "once"
        trigger = CronTrigger(**fields, timezone=zone, dst=dst)
        last = datetime.fromisoformat(expected[-1]) if expected else None
        found = []
        moment = last
        while moment is not None and len(found) < len(expected):
            moment = trigger.get_previous_fire_time(moment)
            found.insert(0, moment.isoformat(" ", "minutes"))
            moment = datetime.fromtimestamp(moment.timestamp() - 1, moment.tzinfo)
        assert found == expected, (zone, fields)


class TestFaultsOfOthers:
    """Faults of APScheduler 3.11 that must not return."""

    def test_midnight_after_a_spring_change_fires(self):
        trigger = CronTrigger(hour=0, timezone="Europe/Berlin")
        now = datetime(2025, 3, 30, 1, tzinfo=ZoneInfo(BERLIN))
        found = trigger.get_next_fire_time(None, now)
        assert found.isoformat() == "2025-03-31T00:00:00+02:00"

    def test_the_first_of_the_month_after_a_spring_change_fires(self):
        # Berlin changed on 2024-03-31.
        trigger = CronTrigger(day=1, timezone="Europe/Berlin")
        now = datetime(2024, 3, 2, tzinfo=ZoneInfo(BERLIN))
        found = trigger.get_next_fire_time(None, now)
        assert found.isoformat() == "2024-04-01T00:00:00+02:00"

    def test_the_monday_after_a_spring_change_fires(self):
        trigger = CronTrigger(day_of_week="mon", timezone="Europe/Berlin")
        now = datetime(2025, 3, 25, tzinfo=ZoneInfo(BERLIN))
        found = trigger.get_next_fire_time(None, now)
        assert found.isoformat() == "2025-03-31T00:00:00+02:00"

    def test_no_fire_time_is_imaginary(self):
        trigger = CronTrigger(minute="*/15", timezone="Europe/Berlin")
        now = datetime(2025, 3, 30, 1, 30, tzinfo=ZoneInfo(BERLIN))
        assert fire_times(trigger, "2025-03-30 01:30", BERLIN, 4) == [
            "2025-03-30 01:30+01:00",
            "2025-03-30 01:45+01:00",
            "2025-03-30 03:00+02:00",
            "2025-03-30 03:15+02:00",
        ]
        imaginary = datetime(2025, 3, 30, 2, 15, tzinfo=ZoneInfo(BERLIN))
        found = trigger.get_next_fire_time(imaginary, now)
        assert found.isoformat() == "2025-03-30T03:30:00+02:00"

    def test_an_hour_repeated_across_midnight_fires_twice(self):
        zone = ZoneInfo("America/Santiago")
        trigger = CronTrigger(hour=23, timezone=zone)
        first = trigger.get_next_fire_time(None, datetime(2025, 4, 5, 20, tzinfo=zone))
        second = trigger.get_next_fire_time(first, first)
        assert [first.isoformat(), second.isoformat()] == [
            "2025-04-05T23:00:00-03:00",
            "2025-04-05T23:00:00-04:00",
        ]

    def test_the_search_at_a_clock_change_ends(self):
        # AP#1021: an endless loop at the boundary.
        for fold in (0, 1):
            trigger = CronTrigger(hour=2, minute=59, timezone="Europe/Berlin")
            previous = datetime(2025, 10, 26, 2, 59, fold=fold, tzinfo=ZoneInfo(BERLIN))
            found = trigger.get_next_fire_time(previous, previous)
            day = 26 if fold == 0 else 27
            assert found.isoformat() == f"2025-10-{day}T02:59:00+01:00"

    def test_pytz_zones_need_no_private_attributes(self):
        zone = pytz.timezone("Europe/Berlin")
        trigger = CronTrigger(
            hour=9,
            start_date=zone.localize(datetime(2026, 5, 30, 14)),
            timezone=zone,
        )
        found = trigger.get_next_fire_time(None, zone.localize(datetime(2026, 1, 1)))
        assert found.isoformat() == "2026-05-31T09:00:00+02:00"
