"""
What each trigger does when the clocks change.

Expected times are written by hand from the zones' rules, which each table states.
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

BERLIN = "Europe/Berlin"  # +01/+02; 2025-03-30 02:00 -> 03:00, 10-26 03:00 -> 02:00
NEW_YORK = (
    "America/New_York"  # -05/-04; 2025-03-09 02:00 -> 03:00, 11-02 02:00 -> 01:00
)
ST_JOHNS = "America/St_Johns"  # -03:30/-02:30; until 2011 at one minute past midnight:
# 2010-03-14 00:01 -> 01:01, 2010-11-07 00:01 -> 2010-11-06 23:01
LORD_HOWE = "Australia/Lord_Howe"  # +10:30/+11, half an hour;
# 2025-10-05 02:00 -> 02:30, 2025-04-06 02:00 -> 01:30
CHATHAM = "Pacific/Chatham"  # +12:45/+13:45; 2025-09-28 02:45 -> 03:45,
# 2025-04-06 03:45 -> 02:45
TROLL = "Antarctica/Troll"  # +00/+02, two hours; 2025-03-30 01:00 -> 03:00,
# 2025-10-26 03:00 -> 01:00
SANTIAGO = "America/Santiago"  # -04/-03; 2025-09-07 00:00 -> 01:00,
# 2025-04-06 00:00 -> 2025-04-05 23:00
CAIRO = "Africa/Cairo"  # +02/+03; 2025-04-25 00:00 -> 01:00,
# 2025-10-31 00:00 -> 2025-10-30 23:00
HAVANA = "America/Havana"  # -05/-04; 2025-03-09 00:00 -> 01:00, 11-02 01:00 -> 00:00
APIA = "Pacific/Apia"  # 2011-12-30 was left out: 12-29 at -10, then 12-31 at +14
KOLKATA = "Asia/Kolkata"  # +05:30, no changes


def fire_times(trigger, start: str, zone: str, count: int) -> list[str]:
    """Return the first fire times from the wall time ``start`` on."""
    now = datetime.fromisoformat(start).replace(tzinfo=ZoneInfo(zone))
    times = []
    previous = None
    for _ in range(count):
        previous = trigger.get_next_fire_time(previous, now)
        if previous is None:
            break
        times.append(previous.isoformat(" ", "minutes"))
    return times


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
