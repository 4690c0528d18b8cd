"""The date trigger: one moment."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

import pytest

from django_apscheduler import clock
from django_apscheduler.triggers.date import DateTrigger

UTC = timezone.utc
NOON = datetime(2026, 5, 30, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("run_date", "zone", "expected"),
    [
        (date(2026, 5, 30), "Europe/Berlin", "2026-05-30T00:00:00+02:00"),
        (datetime(2026, 5, 30, 14), "Europe/Berlin", "2026-05-30T14:00:00+02:00"),
        ("2026-05-30 14:00:00", "UTC", "2026-05-30T14:00:00+00:00"),
        ("2026-05-30", "Asia/Kolkata", "2026-05-30T00:00:00+05:30"),
        (NOON, "Europe/Berlin", "2026-05-30T12:00:00+00:00"),
    ],
)
def test_run_dates_of_all_kinds(run_date, zone, expected):
    trigger = DateTrigger(run_date, timezone=zone)
    assert trigger.get_next_fire_time(None, NOON).isoformat() == expected


def test_it_fires_once_even_when_late():
    trigger = DateTrigger("2026-05-30", timezone="UTC")
    run_date = datetime(2026, 5, 30, tzinfo=UTC)
    assert trigger.get_next_fire_time(None, NOON) == run_date
    assert trigger.get_next_fire_time(run_date, NOON) is None
    earlier = run_date - timedelta(days=1)
    assert trigger.get_next_fire_time(earlier, earlier) is None


def test_looking_back():
    trigger = DateTrigger(NOON)
    assert trigger.get_previous_fire_time(NOON) == NOON
    assert trigger.get_previous_fire_time(NOON - timedelta(microseconds=1)) is None


def test_without_a_date_it_is_now_and_stays_so():
    with clock.use(clock.ManualClock(NOON)) as manual:
        trigger = DateTrigger(timezone="UTC")
        manual.advance(60)
        assert trigger.get_next_fire_time(None, manual.now()) == NOON
        copy = DateTrigger(**trigger.get_arguments())
    assert copy == trigger
    assert copy.run_date == NOON


@pytest.mark.parametrize(
    ("run_date", "error", "message"),
    [
        ("tomorrow", ValueError, "run_date must look like '2026-05-30' or"),
        ("2026-02-30", ValueError, "run_date is not a valid time: '2026-02-30'"),
        (5, TypeError, "run_date must be a datetime, a date, an ISO 8601 text or None"),
        (b"2026-05-30", TypeError, "run_date must be a datetime"),
    ],
)
def test_wrong_dates_are_refused(run_date, error, message):
    with pytest.raises(error, match=message):
        DateTrigger(run_date)


def test_dates_beyond_the_calendar_are_refused():
    ahead = timezone(timedelta(hours=14))
    with pytest.raises(ValueError, match="between the years 1 and 9999 in UTC"):
        DateTrigger(datetime(1, 1, 1, tzinfo=ahead))


def test_text_and_representation():
    trigger = DateTrigger("2026-05-30 14:00:00", timezone="UTC")
    assert str(trigger) == "date[2026-05-30 14:00:00 UTC]"
    assert repr(trigger) == "<DateTrigger (run_date='2026-05-30 14:00:00 UTC')>"
    summer = DateTrigger("2026-05-30 14:00:00", timezone="Europe/Berlin")
    assert str(summer) == "date[2026-05-30 14:00:00 CEST]"
