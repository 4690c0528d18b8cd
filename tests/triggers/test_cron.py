"""The cron trigger: expressions, defaults, limits and what it refuses."""

from __future__ import annotations

import re
import time
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
import pytz

from django_apscheduler.triggers.cron import CronTrigger

UTC = timezone.utc
BERLIN = ZoneInfo("Europe/Berlin")


def fire_times(trigger, start: str, count: int, zone=UTC) -> list[str]:
    now = datetime.fromisoformat(start).replace(tzinfo=zone)
    times: list[str] = []
    previous = None
    for _ in range(count):
        previous = trigger.get_next_fire_time(previous, now)
        if previous is None:
            break
        times.append(previous.strftime("%Y-%m-%d %H:%M:%S"))
    return times


EXPRESSIONS = [
    # Every form of the guide's table "Expression types".
    ("*", {"minute": "*"}, ["2026-01-01 00:00:00", "2026-01-01 00:01:00"]),
    (
        "*/a",
        {"minute": "*/25"},
        [
            "2026-01-01 00:00:00",
            "2026-01-01 00:25:00",
            "2026-01-01 00:50:00",
            "2026-01-01 01:00:00",
        ],
    ),
    (
        "*/a counts from the minimum",
        {"day": "*/10"},
        [
            "2026-01-01 00:00:00",
            "2026-01-11 00:00:00",
            "2026-01-21 00:00:00",
            "2026-01-31 00:00:00",
            "2026-02-01 00:00:00",
        ],
    ),
    (
        "a-b",
        {"hour": "22-23"},
        ["2026-01-01 22:00:00", "2026-01-01 23:00:00", "2026-01-02 22:00:00"],
    ),
    (
        "a-b/c",
        {"hour": "8-20/6"},
        [
            "2026-01-01 08:00:00",
            "2026-01-01 14:00:00",
            "2026-01-01 20:00:00",
            "2026-01-02 08:00:00",
        ],
    ),
    (
        "xth y",
        {"day": "3rd fri"},
        ["2026-01-16 00:00:00", "2026-02-20 00:00:00", "2026-03-20 00:00:00"],
    ),
    (
        "5th, in the months that have it",
        {"day": "5th thu"},
        ["2026-01-29 00:00:00", "2026-04-30 00:00:00", "2026-07-30 00:00:00"],
    ),
    (
        "last x",
        {"day": "last sun"},
        ["2026-01-25 00:00:00", "2026-02-22 00:00:00", "2026-03-29 00:00:00"],
    ),
    (
        "last",
        {"day": "last"},
        ["2026-01-31 00:00:00", "2026-02-28 00:00:00", "2026-03-31 00:00:00"],
    ),
    (
        "x,y,z",
        {"day": "1st mon,15,last"},
        [
            "2026-01-05 00:00:00",
            "2026-01-15 00:00:00",
            "2026-01-31 00:00:00",
            "2026-02-02 00:00:00",
        ],
    ),
    (
        "spaces around commas, capitals",
        {"minute": " 1 , 5-6 ", "day_of_week": "THU"},
        [
            "2026-01-01 00:01:00",
            "2026-01-01 00:05:00",
            "2026-01-01 00:06:00",
            "2026-01-01 01:01:00",
        ],
    ),
    (
        "0 is Monday",
        {"day_of_week": 0},
        ["2026-01-05 00:00:00", "2026-01-12 00:00:00"],
    ),
    (
        "names of weekdays",
        {"day_of_week": "mon-wed/2,sun"},
        [
            "2026-01-04 00:00:00",
            "2026-01-05 00:00:00",
            "2026-01-07 00:00:00",
            "2026-01-11 00:00:00",
        ],
    ),
    (
        "names of months",
        {"month": "feb,nov-dec"},
        [
            "2026-02-01 00:00:00",
            "2026-11-01 00:00:00",
            "2026-12-01 00:00:00",
            "2027-02-01 00:00:00",
        ],
    ),
    (
        "ISO weeks: 2026 has 53, and the first days of 2027 are in the last",
        {"week": 53, "hour": 12, "day_of_week": "fri-sat"},
        [
            "2027-01-01 12:00:00",
            "2027-01-02 12:00:00",
            "2032-12-31 12:00:00",
            "2033-01-01 12:00:00",
        ],
    ),
    (
        "seconds",
        {"second": "*/30"},
        ["2026-01-01 00:00:00", "2026-01-01 00:00:30", "2026-01-01 00:01:00"],
    ),
    (
        "seconds of some minutes",
        {"minute": 59, "second": "58-59"},
        ["2026-01-01 00:59:58", "2026-01-01 00:59:59", "2026-01-01 01:59:58"],
    ),
    ("one year", {"year": 2027}, ["2027-01-01 00:00:00"]),
    (
        "years",
        {"year": "2027-2031/2", "month": 7, "day": 4},
        ["2027-07-04 00:00:00", "2029-07-04 00:00:00", "2031-07-04 00:00:00"],
    ),
    (
        "day and day_of_week must both match",
        {"day": 13, "day_of_week": "fri"},
        ["2026-02-13 00:00:00", "2026-03-13 00:00:00", "2026-11-13 00:00:00"],
    ),
    (
        "either of day and day_of_week, when asked for",
        {"day": 13, "day_of_week": "fri", "day_or": True},
        ["2026-01-02 00:00:00", "2026-01-09 00:00:00", "2026-01-13 00:00:00"],
    ),
    (
        "the guide: third Fridays of June-August, November and December at 00-03",
        {"month": "6-8,11-12", "day": "3rd fri", "hour": "0-3"},
        [
            "2026-06-19 00:00:00",
            "2026-06-19 01:00:00",
            "2026-06-19 02:00:00",
            "2026-06-19 03:00:00",
            "2026-07-17 00:00:00",
        ],
    ),
    (
        "the guide: weekdays at 5:30",
        {"day_of_week": "mon-fri", "hour": 5, "minute": 30},
        ["2026-01-01 05:30:00", "2026-01-02 05:30:00", "2026-01-05 05:30:00"],
    ),
    # Fields finer than the least significant given one are at their minimum, week
    # and day_of_week excepted; coarser ones are open.
    (
        "the guide: day=1, minute=20 is each hour of the first",
        {"day": 1, "minute": 20},
        ["2026-01-01 00:20:00", "2026-01-01 01:20:00", "2026-01-01 02:20:00"],
    ),
    ("month alone", {"month": 5}, ["2026-05-01 00:00:00", "2027-05-01 00:00:00"]),
    (
        "week alone",
        {"week": 2},
        ["2026-01-05 00:00:00", "2026-01-06 00:00:00"],
    ),
    ("nothing", {}, ["2026-01-01 00:00:00", "2026-01-01 00:00:01"]),
]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [case[1:] for case in EXPRESSIONS],
    ids=[case[0] for case in EXPRESSIONS],
)
def test_expressions_of_the_guide(fields, expected):
    trigger = CronTrigger(**fields, timezone="UTC")
    assert fire_times(trigger, "2026-01-01 00:00:00", len(expected)) == expected


def test_year_week_that_began_in_december_belongs_to_the_old_year():
    # 2024-12-30 is in week 1 of 2025, and in the year field 2024.
    trigger = CronTrigger(year=2024, week=1, timezone="UTC")
    assert fire_times(trigger, "2024-02-01 00:00:00", 3) == [
        "2024-12-30 00:00:00",
        "2024-12-31 00:00:00",
    ]


REFUSED = [
    ({"minute": 75}, "minute: 75 is outside 0-59"),
    ({"minute": "75"}, "minute: 75 is outside 0-59 (in expression '75')"),
    ({"minute": "1,60-70"}, "minute: 60 is outside 0-59 (in expression '1,60-70')"),
    ({"hour": "5-24"}, "hour: 24 is outside 0-23 (in expression '5-24')"),
    ({"hour": -1}, "hour: -1 is outside 0-23"),
    ({"day": "0"}, "day: 0 is outside 1-31 (in expression '0')"),
    ({"month": 13}, "month: 13 is outside 1-12"),
    ({"week": "54"}, "week: 54 is outside 1-53 (in expression '54')"),
    ({"day_of_week": "7"}, "day_of_week: 7 is outside 0-6 (in expression '7')"),
    ({"year": 1969}, "year: 1969 is outside 1970-9999"),
    ({"second": "1e3"}, "second: '1e3' is not understood, expected a value in 0-59"),
    (
        {"minute": "*/0"},
        (
            "minute: the step 0 is outside 1-59, the length of the range 0-59 "
            "(in expression '*/0')"
        ),
    ),
    (
        {"minute": "*/60"},
        "minute: the step 60 is outside 1-59, the length of the range 0-59",
    ),
    ({"minute": "1-5/9"}, "minute: the step 9 is outside 1-4, the length of the"),
    (
        {"hour": "23-5"},
        (
            "hour: the range 23-5 runs backwards, the first value must not be greater "
            "than the last; write two, such as 23-23,0-5 (in expression '23-5')"
        ),
    ),
    ({"day_of_week": "fri-mon"}, "day_of_week: the range fri-mon runs backwards"),
    ({"minute": "5/2"}, "minute: a step needs * or a range, such as 5-59/2"),
    ({"minute": ""}, "minute: '' is not understood"),
    ({"minute": "   "}, "minute: '' is not understood"),
    ({"minute": "1,,2"}, "minute: '' is not understood"),
    ({"minute": ","}, "minute: '' is not understood"),
    ({"minute": "0 0"}, "minute: '0 0' is not understood"),
    ({"minute": "last"}, "minute: 'last' is not understood"),
    ({"minute": "+5"}, "minute: '+5' is not understood"),
    ({"minute": "٣"}, "minute: '٣' is not understood"),
    ({"day": "xyz"}, "day: 'xyz' is not understood"),
    ({"day": "mon"}, "day: 'mon' is not understood"),
    ({"day": "6th mon"}, "day: '6th mon' is not understood"),
    ({"day": "2st mon"}, "day: '2st mon' is not understood"),
    (
        {"day": "last foo"},
        (
            "day: 'foo' is not a weekday, expected one of mon, tue, wed, thu, fri, sat, "
            "sun (in expression 'last foo')"
        ),
    ),
    ({"day_of_week": "1st mon"}, "day_of_week: '1st mon' is not understood"),
    ({"day_of_week": "funday"}, "day_of_week: 'funday' is not understood"),
    ({"month": "month"}, "month: 'month' is not understood, expected one of jan, feb"),
    ({"minute": "9" * 4000}, "minute: 99999999999999999999 is outside 0-59"),
    ({"minute": "0-" + "9" * 4000}, "is outside 0-59"),
    ({"minute": "*/" + "9" * 4000}, "minute: the step 99999999999 is outside 1-59"),
    ({"year": 10**6000}, "year: a number of 19932 bits is outside 1970-9999"),
    ({"second": "1," * 5000 + "1"}, "second: the expression has 10001 characters"),
    ({"hour": 1, "dst": "twice"}, "dst must be 'wall' or 'once'; got 'twice'"),
    (
        {"hour": 1, "timezone": "Europe/Bielefeld"},
        (
            "expected the name of a time zone such as 'Europe/Berlin' or 'UTC'; "
            "got 'Europe/Bielefeld'"
        ),
    ),
    (
        {"start_date": "2026-05-30", "end_date": "2026-05-29", "timezone": "UTC"},
        (
            "end_date (2026-05-29 00:00:00 UTC) must not be before start_date "
            "(2026-05-30 00:00:00 UTC)"
        ),
    ),
    ({"start_date": "tomorrow"}, "start_date must look like '2026-05-30'"),
    ({"end_date": "2026-13-01"}, "end_date is not a valid time: '2026-13-01'"),
    ({"jitter": -1}, "jitter must be between 0 and 315360000 seconds; got -1"),
    ({"jitter": float("nan")}, "jitter must be between 0 and"),
]


@pytest.mark.parametrize(
    ("arguments", "message"), REFUSED, ids=[case[1][:40] for case in REFUSED]
)
def test_wrong_values_are_refused_with_field_and_range(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        CronTrigger(**arguments)
    assert len(str(caught.value)) < 400


WRONG_TYPES = [
    ({"minute": 1.5}, "minute must be a whole number or a text such as '*', '0',"),
    ({"minute": b"5"}, "got bytes"),
    ({"minute": True}, "minute must be a whole number or a text"),
    ({"minute": [1, 2]}, "got list"),
    ({"minute": {1}}, "got set"),
    ({"day": date(2026, 1, 1)}, "day must be a whole number or a text"),
    ({"timezone": 1}, "expected the name of a time zone, a tzinfo object or None"),
    ({"start_date": 1}, "start_date must be a datetime, a date, an ISO 8601 text"),
    ({"jitter": "5"}, "jitter must be a number of seconds or None; got str"),
    ({"jitter": True}, "jitter must be a number of seconds or None; got bool"),
    ({"day_or": "yes"}, "day_or must be True or False; got 'yes'"),
]


@pytest.mark.parametrize(
    ("arguments", "message"), WRONG_TYPES, ids=[case[1][:40] for case in WRONG_TYPES]
)
def test_wrong_types_are_refused_by_name(arguments, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        CronTrigger(**arguments)


@pytest.mark.parametrize(
    "fields",
    [
        {"month": 2, "day": 30},
        {"month": "4,6,9,11", "day": 31},
        {"month": 2, "day": "5th mon", "year": "2025-2027"},
        {"year": 2020, "week": 1, "month": 7},
        {"week": 53, "month": 6},
        {"year": 2025, "month": 2, "day": 29},
    ],
    ids=str,
)
def test_a_trigger_that_never_fires_answers_none_at_once(fields):
    trigger = CronTrigger(**fields, timezone="Europe/Berlin")
    now = datetime(2026, 1, 1, tzinfo=UTC)
    began = time.perf_counter()
    assert trigger.get_next_fire_time(None, now) is None
    assert trigger.get_next_fire_time(now, now) is None
    assert trigger.get_previous_fire_time(now) is None
    assert time.perf_counter() - began < 1


def test_now_is_rounded_up_to_a_whole_second():
    trigger = CronTrigger(second="*", timezone="UTC")
    now = datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
    found = trigger.get_next_fire_time(None, now)
    assert found == datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC)


def test_now_itself_is_a_fire_time():
    trigger = CronTrigger(minute=0, timezone="UTC")
    now = datetime(2026, 1, 1, 5, tzinfo=UTC)
    assert trigger.get_next_fire_time(None, now) == now


def test_missed_fire_times_are_listed_from_the_previous_one():
    trigger = CronTrigger(hour="*", timezone="UTC")
    previous = datetime(2026, 1, 1, 5, tzinfo=UTC)
    now = datetime(2026, 2, 1, tzinfo=UTC)
    found = trigger.get_next_fire_time(previous, now)
    assert found == datetime(2026, 1, 1, 6, tzinfo=UTC)


def test_a_previous_time_between_two_fire_times_gives_the_later_one():
    trigger = CronTrigger(hour="*", timezone="UTC")
    previous = datetime(2026, 1, 1, 5, 30, 0, 1, tzinfo=UTC)
    found = trigger.get_next_fire_time(previous, previous)
    assert found == datetime(2026, 1, 1, 6, tzinfo=UTC)


def test_start_and_end_are_inclusive():
    trigger = CronTrigger(
        hour=9,
        start_date="2026-05-30 09:00:00",
        end_date="2026-06-01 09:00:00",
        timezone="Europe/Berlin",
    )
    assert fire_times(trigger, "2026-01-01 00:00:00", 9) == [
        "2026-05-30 09:00:00",
        "2026-05-31 09:00:00",
        "2026-06-01 09:00:00",
    ]


def test_start_with_a_fraction_of_a_second_excludes_that_second():
    trigger = CronTrigger(start_date=datetime(2026, 1, 1, 0, 0, 0, 1), timezone="UTC")
    assert fire_times(trigger, "2025-01-01 00:00:00", 1) == ["2026-01-01 00:00:01"]


def test_the_end_ends_the_schedule_whatever_is_asked():
    trigger = CronTrigger(hour=9, end_date="2026-06-01", timezone="UTC")
    late = datetime(2026, 6, 1, tzinfo=UTC)
    assert trigger.get_next_fire_time(None, late) is None
    assert trigger.get_next_fire_time(late, late) is None
    assert trigger.get_previous_fire_time(datetime(2030, 1, 1, tzinfo=UTC)) == (
        datetime(2026, 5, 31, 9, tzinfo=UTC)
    )


def test_nothing_fired_before_the_start():
    trigger = CronTrigger(hour=9, start_date="2026-06-01", timezone="UTC")
    early = datetime(2026, 6, 1, 8, 59, tzinfo=UTC)
    assert trigger.get_previous_fire_time(early) is None


@pytest.mark.parametrize(
    "zone",
    ["Europe/Berlin", ZoneInfo("Europe/Berlin"), pytz.timezone("Europe/Berlin")],
    ids=["text", "zoneinfo", "pytz"],
)
def test_zones_of_all_kinds_answer_with_zoneinfo(zone):
    trigger = CronTrigger(hour=9, timezone=zone)
    found = trigger.get_next_fire_time(None, datetime(2026, 6, 1, tzinfo=UTC))
    assert found == datetime(2026, 6, 1, 9, tzinfo=BERLIN)
    assert found.tzinfo is BERLIN


def test_pytz_moments_are_understood():
    zone = pytz.timezone("America/New_York")
    trigger = CronTrigger(hour=9, timezone="America/New_York")
    previous = zone.localize(datetime(2025, 3, 8, 9))
    found = trigger.get_next_fire_time(previous, previous)
    assert found.isoformat() == "2025-03-09T09:00:00-04:00"


def test_naive_moments_are_in_the_triggers_zone():
    trigger = CronTrigger(hour=9, timezone="Europe/Berlin")
    found = trigger.get_next_fire_time(None, datetime(2026, 6, 1, 9))
    assert found.isoformat() == "2026-06-01T09:00:00+02:00"


def test_fixed_offsets_are_zones():
    zone = timezone(timedelta(hours=5, minutes=45))
    trigger = CronTrigger(hour=0, timezone=zone)
    found = trigger.get_next_fire_time(None, datetime(2026, 1, 1, 12, tzinfo=UTC))
    assert found.isoformat() == "2026-01-02T00:00:00+05:45"


def test_the_zone_of_the_start_date_is_used_when_no_other_is_given():
    start = datetime(2026, 5, 30, 14, tzinfo=ZoneInfo("Asia/Tokyo"))
    trigger = CronTrigger(hour=9, start_date=start)
    found = trigger.get_next_fire_time(None, start)
    assert found.isoformat() == "2026-05-31T09:00:00+09:00"


@pytest.mark.parametrize("year", [1, 1969, 9998, 9999])
def test_the_ends_of_the_calendar_are_no_error(year):
    moment = datetime(year, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    for zone in ("UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"):
        trigger = CronTrigger(hour=9, timezone=zone)
        found = trigger.get_next_fire_time(moment, moment)
        if year < 1970:
            assert found.year == 1970
        else:
            assert found is None or found.year == 9999
        trigger.get_previous_fire_time(moment)


def test_a_backlog_of_millions_is_looked_through_at_once():
    trigger = CronTrigger(second="*", timezone="Europe/Berlin")
    now = datetime(2026, 6, 1, 12, 0, 0, 5, tzinfo=UTC)
    began = time.perf_counter()
    found = trigger.get_previous_fire_time(now)
    assert time.perf_counter() - began < 0.5
    assert found == datetime(2026, 6, 1, 12, tzinfo=UTC)
    yearly = CronTrigger(month=2, day=29, timezone="Europe/Berlin")
    assert yearly.get_previous_fire_time(now).isoformat() == "2024-02-29T00:00:00+01:00"


def test_fields_can_be_listed():
    trigger = CronTrigger(hour="9", minute="0")
    assert [(f.name, str(f), f.is_default) for f in trigger.fields] == [
        ("year", "*", True),
        ("month", "*", True),
        ("day", "*", True),
        ("week", "*", True),
        ("day_of_week", "*", True),
        ("hour", "9", False),
        ("minute", "0", False),
        ("second", "0", True),
    ]


TEXTS = [
    (
        {"hour": 9, "minute": "0", "timezone": "UTC"},
        "cron[hour='9', minute='0']",
        "<CronTrigger (hour='9', minute='0', timezone='UTC')>",
    ),
    (
        {
            "day_of_week": "MON-fri",
            "month": "jan",
            "start_date": "2026-05-30 14:00:00",
            "end_date": "2027-01-01",
            "jitter": 5,
            "timezone": "Europe/Berlin",
        },
        "cron[month='jan', day_of_week='mon-fri']",
        (
            "<CronTrigger (month='jan', day_of_week='mon-fri', "
            "start_date='2026-05-30 14:00:00 CEST', end_date='2027-01-01 00:00:00 CET', "
            "jitter=5, timezone='Europe/Berlin')>"
        ),
    ),
    (
        {"day": "2nd fri, last", "dst": "once", "day_or": True, "timezone": "UTC"},
        "cron[day='2nd fri,last']",
        "<CronTrigger (day='2nd fri,last', dst='once', day_or=True, timezone='UTC')>",
    ),
    ({"timezone": "UTC"}, "cron[]", "<CronTrigger (timezone='UTC')>"),
]


@pytest.mark.parametrize(("arguments", "text", "representation"), TEXTS)
def test_text_and_representation(arguments, text, representation):
    trigger = CronTrigger(**arguments)
    assert str(trigger) == text
    assert repr(trigger) == representation
