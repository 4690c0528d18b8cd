"""Crontab expressions: the standard's meaning, not CronTrigger's."""

from __future__ import annotations

import re
from datetime import datetime, timezone

import pytest

from django_apscheduler.triggers.cron import CronTrigger

UTC = timezone.utc


def fire_times(expression: str, count: int, start: str = "2026-01-01") -> list[str]:
    trigger = CronTrigger.from_crontab(expression, timezone="UTC")
    now = datetime.fromisoformat(start).replace(tzinfo=UTC)
    times: list[str] = []
    previous = None
    while len(times) < count:
        previous = trigger.get_next_fire_time(previous, now)
        times.append(previous.strftime("%a %Y-%m-%d %H:%M"))
    return times


MEANINGS = [
    # 2026-01-01 is a Thursday.
    ("0 0 * * 0", ["Sun 2026-01-04 00:00", "Sun 2026-01-11 00:00"]),
    ("0 0 * * 7", ["Sun 2026-01-04 00:00", "Sun 2026-01-11 00:00"]),
    ("0 0 * * sun", ["Sun 2026-01-04 00:00", "Sun 2026-01-11 00:00"]),
    ("0 0 * * 1", ["Mon 2026-01-05 00:00", "Mon 2026-01-12 00:00"]),
    ("0 9 * * 1-5", ["Thu 2026-01-01 09:00", "Fri 2026-01-02 09:00", "Mon 2026-01-05 09:00"]),
    ("0 0 * * 5-7", ["Fri 2026-01-02 00:00", "Sat 2026-01-03 00:00", "Sun 2026-01-04 00:00", "Fri 2026-01-09 00:00"]),
    ("0 0 * * fri-sun", ["Fri 2026-01-02 00:00", "Sat 2026-01-03 00:00", "Sun 2026-01-04 00:00", "Fri 2026-01-09 00:00"]),
    ("0 0 * * 0-1", ["Sun 2026-01-04 00:00", "Mon 2026-01-05 00:00", "Sun 2026-01-11 00:00"]),
    ("0 0 * * */3", ["Sat 2026-01-03 00:00", "Sun 2026-01-04 00:00", "Wed 2026-01-07 00:00"]),
    ("0 0 * * 1-5/2", ["Fri 2026-01-02 00:00", "Mon 2026-01-05 00:00", "Wed 2026-01-07 00:00"]),
    # Either day when both are restricted ...
    ("0 0 13 * fri", ["Fri 2026-01-02 00:00", "Fri 2026-01-09 00:00", "Tue 2026-01-13 00:00", "Fri 2026-01-16 00:00"]),
    # ... both when one starts with *.
    ("0 0 */2 * fri", ["Fri 2026-01-09 00:00", "Fri 2026-01-23 00:00"]),
    ("0 0 13 * */5", ["Fri 2026-02-13 00:00", "Fri 2026-03-13 00:00"]),
    ("30 4 1,15 * *", ["Thu 2026-01-01 04:30", "Thu 2026-01-15 04:30", "Sun 2026-02-01 04:30"]),
    (" */20  9-10 * JAN-feb * ", ["Thu 2026-01-01 09:00", "Thu 2026-01-01 09:20", "Thu 2026-01-01 09:40", "Thu 2026-01-01 10:00"]),
    ("@yearly", ["Thu 2026-01-01 00:00", "Fri 2027-01-01 00:00"]),
    ("@annually", ["Thu 2026-01-01 00:00", "Fri 2027-01-01 00:00"]),
    ("@monthly", ["Thu 2026-01-01 00:00", "Sun 2026-02-01 00:00"]),
    ("@weekly", ["Sun 2026-01-04 00:00", "Sun 2026-01-11 00:00"]),
    ("@daily", ["Thu 2026-01-01 00:00", "Fri 2026-01-02 00:00"]),
    ("@midnight", ["Thu 2026-01-01 00:00", "Fri 2026-01-02 00:00"]),
    ("@Hourly", ["Thu 2026-01-01 00:00", "Thu 2026-01-01 01:00"]),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "expected"), MEANINGS)
def test_meaning(expression, expected):
    assert fire_times(expression, len(expected)) == expected


REFUSED = [
    ("0 0 * *", ("a crontab expression has 5 fields: minute hour day month day_of_week; "
     "got 4 in '0 0 * *'")),
    ("0 0 * * * *", "got 6 in '0 0 * * * *'"),
    ("", "got 0 in ''"),
    ("@reboot", "'@reboot' is not a crontab macro, expected one of @yearly, @annually"),
    ("75 * * * *", "minute: 75 is outside 0-59 (in expression '75')"),
    ("* 24 * * *", "hour: 24 is outside 0-23 (in expression '24')"),
    ("* * 0 * *", "day: 0 is outside 1-31 (in expression '0')"),
    ("* * * 13 *", "month: 13 is outside 1-12 (in expression '13')"),
    ("* * * * 8", "day_of_week: '8' is outside 0-7 (0 and 7 are Sunday)"),
    ("* * * * 5-1", "day_of_week: the range 5-1 runs backwards"),
    ("* * * * sat-tue", "day_of_week: the range sat-tue runs backwards"),
    ("* * * * mon-", "day_of_week: 'mon-' is not understood, expected a value in 0-7"),
    ("* * * * */7", "day_of_week: the step 7 is outside 1-6"),
    ("* * * * 2/2", "day_of_week: a step needs * or a range, such as 2-7/2"),
    ("* * * * 1,", "day_of_week: '' is not understood"),
    ("*/0 * * * *", "minute: the step 0 is outside 1-59"),
    ("* * last * *", "day: 'last' is not part of the crontab format"),
    ("* * * * funday", ("day_of_week: 'funday' is outside 0-7 (0 and 7 are Sunday) and "
     "none of sun, mon")),
    ("* * * * " + "9" * 4000, "is outside 0-7"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("expression", "message"), REFUSED, ids=[case[0][:20] for case in REFUSED]
)
def test_wrong_expressions_are_refused_with_field_and_range(expression, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        CronTrigger.from_crontab(expression)


@pytest.mark.parametrize("expression", [None, 5, b"* * * * *", ["*"] * 5])
def test_anything_but_text_is_refused(expression):
    with pytest.raises(TypeError, match="expected a crontab expression such as"):
        CronTrigger.from_crontab(expression)


def test_the_trigger_names_weekdays_and_fires_once_over_clock_changes():
    trigger = CronTrigger.from_crontab("30 2 13 * 1-5,0", timezone="Europe/Berlin")
    assert str(trigger) == (
        "cron[month='*', day='13', day_of_week='mon-fri,sun', hour='2', minute='30']"
    )
    assert trigger.get_arguments() == {
        "minute": "30",
        "hour": "2",
        "day": "13",
        "month": "*",
        "day_of_week": "mon-fri,sun",
        "day_or": True,
        "dst": "once",
        "timezone": "Europe/Berlin",
    }


def test_an_equal_trigger_can_be_built_from_the_arguments():
    trigger = CronTrigger.from_crontab("0 0 13 * fri", timezone="UTC")
    copy = CronTrigger(**trigger.get_arguments())
    now = datetime(2026, 1, 10, tzinfo=UTC)
    assert copy == trigger
    assert copy.get_next_fire_time(None, now) == datetime(2026, 1, 13, tzinfo=UTC)
