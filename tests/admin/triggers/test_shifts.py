"""Schedules moved by an amount or to another zone: where to, and what cannot be."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from django_apscheduler.admin.triggers.shifts import CannotMove, rezone, shift
from django_apscheduler.triggers.base import BaseTrigger
from django_apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from django_apscheduler.triggers.combining import AndTrigger, OrTrigger
from django_apscheduler.triggers.cron import CronTrigger
from django_apscheduler.triggers.date import DateTrigger
from django_apscheduler.triggers.interval import IntervalTrigger

BERLIN = ZoneInfo("Europe/Berlin")
TOKYO = ZoneInfo("Asia/Tokyo")
UTC = timezone.utc
#: No clock is changed between this and the end of October.
JUNE = datetime(2026, 6, 3, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


class Own(BaseTrigger):
    def get_next_fire_time(self, previous_fire_time, now):
        return None


def cron(**fields):
    return CronTrigger(**{"timezone": BERLIN, **fields})


def crontab(text):
    return CronTrigger.from_crontab(text, BERLIN)


def fields(trigger):
    """Return the fields of a cron trigger that say something."""
    return {f.name: f.text for f in trigger.fields if not f.is_default}


def times(trigger, start, count):
    """Return the first so many fire times as wall-clock times of Berlin."""
    found, previous = [], None
    while len(found) < count:
        previous = trigger.get_next_fire_time(previous, start)
        if previous is None:
            break
        found.append(previous.astimezone(BERLIN).replace(tzinfo=None))
    return found


def anchored(trigger):
    trigger.anchor = JUNE - 100 * MINUTE
    return trigger


@pytest.mark.parametrize(
    ("before", "by", "after"),
    [
        (cron(hour=3), 15 * MINUTE, {"hour": "3", "minute": "15"}),
        (cron(hour=3), -15 * MINUTE, {"hour": "2", "minute": "45"}),
        (cron(hour="9-17"), HOUR, {"hour": "10-18", "minute": "0"}),
        (cron(hour="9,13,17"), 30 * MINUTE, {"hour": "9,13,17", "minute": "30"}),
        (cron(minute="*/15"), 5 * MINUTE, {"minute": "5-50/15"}),
        (cron(minute="*/5"), 7 * MINUTE, {"minute": "2-57/5"}),
        (cron(minute="0"), 90 * MINUTE, {"minute": "30"}),
        (cron(second="*/20"), timedelta(seconds=5), {"second": "5-45/20"}),
        (
            cron(hour=9, minute=30, second=50),
            timedelta(seconds=20),
            {"hour": "9", "minute": "31", "second": "10"},
        ),
        # Over midnight.
        (
            cron(day_of_week="mon-fri", hour=23, minute=50),
            15 * MINUTE,
            {"day_of_week": "tue-sat", "hour": "0", "minute": "5"},
        ),
        (
            cron(day_of_week="sun", hour=0),
            -MINUTE,
            {"day_of_week": "sat", "hour": "23", "minute": "59"},
        ),
        (
            cron(day_of_week="mon,wed,sun", hour=8),
            3 * DAY,
            {"day_of_week": "wed,thu,sat", "hour": "8", "minute": "0"},
        ),
        (
            cron(day_of_week="mon", hour=8),
            -8 * DAY,
            {"day_of_week": "sun", "hour": "8", "minute": "0"},
        ),
        (
            cron(day="1,15", hour=23, minute=45),
            30 * MINUTE,
            {"day": "2,16", "hour": "0", "minute": "15"},
        ),
        (
            cron(month="jan,jul", day=5),
            DAY + HOUR,
            {"month": "jan,jul", "day": "6", "hour": "1", "minute": "0"},
        ),
        (cron(hour=23), 2 * HOUR, {"hour": "1", "minute": "0"}),
        (crontab("30 6 * * 1-5"), DAY, {"minute": "30", "hour": "6"}),
        (crontab("0 6 13 * 5"), DAY, {"day": "14", "day_of_week": "sat"}),
        (cron(day="last", hour=20), HOUR, {"day": "last", "hour": "21"}),
        (cron(day="2nd fri", hour=20), HOUR, {"day": "2nd fri", "hour": "21"}),
        (cron(week="10-20", hour=20), HOUR, {"week": "10-20", "hour": "21"}),
        (cron(year="2026", month=7, day=4), HOUR, {"year": "2026", "hour": "1"}),
    ],
)
def test_cron_fields_move_by_the_wall_clock(before, by, after):
    moved = shift(before, by)
    said = fields(moved)
    assert {name: said[name] for name in after} == after
    expected = [moment + by for moment in times(before, JUNE - by, 40)]
    assert times(moved, JUNE, 40) == expected
    assert (moved.dst, moved.day_or, moved.timezone) == (
        before.dst,
        before.day_or,
        before.timezone,
    )


@pytest.mark.parametrize(
    "before",
    [
        anchored(IntervalTrigger(hours=7, timezone=BERLIN)),
        IntervalTrigger(minutes=50, start_date="2026-06-03 14:10:00", timezone=BERLIN),
        anchored(CalendarIntervalTrigger(days=3, hour=10, timezone=BERLIN)),
        CalendarIntervalTrigger(
            weeks=2, hour=10, start_date="2026-06-05", timezone=BERLIN
        ),
        CalendarIntervalTrigger(
            months=1, hour=10, start_date="2026-06-05", timezone=BERLIN
        ),
        DateTrigger("2026-07-01 10:00:00", BERLIN),
        OrTrigger([cron(hour=9), IntervalTrigger(hours=9, start_date=JUNE)]),
        AndTrigger([cron(hour="9-12"), cron(day_of_week="mon-fri", hour="*")]),
        cron(hour=9, start_date="2026-06-10 08:00:00", end_date="2026-06-20 09:30:00"),
    ],
)
@pytest.mark.parametrize("by", [15 * MINUTE, -HOUR, 20 * HOUR, DAY])
def test_other_kinds_move_the_same_way(before, by):
    try:
        moved = shift(before, by)
    except CannotMove:
        # Each hour of some days: a part of them would come to other days.
        assert isinstance(before, AndTrigger)
        assert by in (-HOUR, 20 * HOUR)
        return
    start = JUNE - 10 * DAY if before.anchor is None else JUNE
    expected = [moment + by for moment in times(before, start - by, 12)]
    assert len(expected) >= 1
    assert times(moved, start, len(expected)) == expected
    assert type(moved) is type(before)


def test_what_it_counted_from_is_not_forgotten():
    trigger = anchored(IntervalTrigger(hours=7, timezone=BERLIN))
    moved = shift(trigger, 15 * MINUTE)
    copy = type(moved)(**moved.get_arguments())
    assert times(copy, JUNE, 3) == times(moved, JUNE, 3)
    # 14:00 in Berlin less 100 minutes, and then 7 hours and a quarter.
    assert times(moved, JUNE, 1) == [datetime(2026, 6, 3, 19, 35)]


def test_the_bounds_move_along():
    before = cron(hour=9, start_date="2026-06-10", end_date="2026-06-20")
    moved = shift(before, 2 * HOUR)
    assert str(moved.start_date) == "2026-06-10 02:00:00+02:00"
    assert str(moved.end_date) == "2026-06-20 02:00:00+02:00"
    assert (before.end_date - before.start_date) == (moved.end_date - moved.start_date)


def test_jitter_stays():
    assert shift(cron(hour=9, jitter=30), HOUR).jitter == 30


@pytest.mark.parametrize(
    ("trigger", "by", "reason"),
    [
        (cron(hour="9-17", minute="*/15"), 20 * MINUTE, "come to the next hour"),
        (cron(hour=9, minute="*"), MINUTE, "come to the next hour"),
        (cron(minute=5, second="*"), timedelta(seconds=1), "come to the next minute"),
        (cron(day_of_week="mon", hour="22,23"), 90 * MINUTE, "to the next day"),
        (cron(day="last", hour=23), 2 * HOUR, "other days of the month"),
        (cron(day="1st mon", hour=8), DAY, "other days of the month"),
        (cron(day=28, hour=23), 2 * HOUR, "other days of the month"),
        (cron(day=1, hour=0), -HOUR, "other days of the month"),
        (cron(month=6, day="*", hour=23), 2 * HOUR, "other days of the month"),
        (cron(week=10, hour=23), 2 * HOUR, "It names weeks"),
        (
            cron(hour="0-3", minute="*/15", dst="once"),
            5 * MINUTE,
            "when the clocks are changed",
        ),
        (
            CalendarIntervalTrigger(months=1, start_date="2026-01-31", hour=23),
            2 * HOUR,
            "other days of the month",
        ),
        (IntervalTrigger(hours=1), HOUR, "has not begun to count"),
        (CalendarIntervalTrigger(days=1), HOUR, "has not begun to count"),
        (
            DateTrigger("2026-03-28 02:30:00", BERLIN),
            DAY,
            "2026-03-29 02:30 does not exist there: the clock is put forward.",
        ),
        (
            AndTrigger([cron(day_of_week="sat"), IntervalTrigger(hours=2)]),
            HOUR,
            "combines cron fields with another kind of trigger",
        ),
        (OrTrigger([cron(hour=1), Own()]), HOUR, "its own kind of trigger, Own"),
        (None, HOUR, "no schedule that can be read"),
        (DateTrigger("9999-12-30", UTC), 400 * DAY, "beyond the calendar"),
        (crontab("*/15 * * * *"), 30 * MINUTE, "to the same times as now"),
        (OrTrigger([cron(minute=5), cron(minute=7)]), HOUR, "the same times as now"),
        (cron(minute=5), 3 * HOUR, "to the same times as now"),
        (cron(day_of_week="mon", hour=8), 7 * DAY, "to the same times as now"),
        (cron(hour=1), timedelta(0), "An amount of zero moves nothing."),
    ],
)
def test_what_cannot_be_said_exactly_is_refused(trigger, by, reason):
    with pytest.raises(CannotMove) as raised:
        shift(trigger, by)
    assert reason in str(raised.value)


def test_a_move_over_a_change_of_the_clock_keeps_the_wall_clock():
    """Daily at 09:00 is daily at 09:30 before and after the clocks change."""
    moved = shift(cron(hour=9), 30 * MINUTE)
    march = datetime(2026, 3, 28, tzinfo=UTC)
    assert times(moved, march, 3) == [
        datetime(2026, 3, day, 9, 30) for day in (28, 29, 30)
    ]
    date = shift(DateTrigger("2026-03-28 09:00:00", BERLIN), DAY)
    assert str(date.run_date) == "2026-03-29 09:00:00+02:00"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (cron(hour=9, minute=30), "2026-06-04 09:30:00+09:00"),
        (DateTrigger("2026-07-01 10:00:00", BERLIN), "2026-07-01 10:00:00+09:00"),
        (
            CalendarIntervalTrigger(
                days=2, hour=10, start_date="2026-06-05", timezone=BERLIN
            ),
            "2026-06-05 10:00:00+09:00",
        ),
        (
            cron(hour=9, start_date="2026-06-10 00:00:00"),
            "2026-06-10 09:00:00+09:00",
        ),
        (OrTrigger([cron(hour=9), cron(hour=17)]), "2026-06-04 09:00:00+09:00"),
        (
            OrTrigger([cron(hour=9), IntervalTrigger(hours=1, start_date=JUNE)]),
            "2026-06-03 14:00:00+02:00",
        ),
    ],
)
def test_another_zone_has_the_same_wall_clock(before, after):
    moved = rezone(before, TOKYO)
    first = moved.get_next_fire_time(None, JUNE)
    if first.tzinfo is not TOKYO:
        first = first.astimezone(BERLIN)
    assert str(first) == after


@pytest.mark.parametrize(
    ("trigger", "reason"),
    [
        (IntervalTrigger(hours=1), "the same in every time zone"),
        (OrTrigger([IntervalTrigger(hours=1, start_date=JUNE)]), "in every time zone"),
        (None, "no schedule that can be read"),
        (Own(), "its own kind of trigger, Own"),
    ],
)
def test_what_has_no_wall_clock_has_no_other_zone(trigger, reason):
    with pytest.raises(CannotMove) as raised:
        rezone(trigger, TOKYO)
    assert reason in str(raised.value)
