"""What the rest of the package counts on, for every built-in trigger."""

from __future__ import annotations

import copy
import itertools
import pickle
import subprocess
import sys
from datetime import date, datetime, timedelta, timezone
from importlib import import_module
from zoneinfo import ZoneInfo

import pytest
import pytz

from django_apscheduler.triggers import TRIGGERS
from django_apscheduler.triggers.base import BaseTrigger
from django_apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from django_apscheduler.triggers.combining import AndTrigger, OrTrigger
from django_apscheduler.triggers.cron import CronTrigger
from django_apscheduler.triggers.date import DateTrigger
from django_apscheduler.triggers.interval import IntervalTrigger

UTC = timezone.utc
NOW = datetime(2026, 5, 28, 14, 0, 30, 500, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")

DECLARED = [
    (DateTrigger, {"run_date": "2026-05-30 14:00:00"}),
    (DateTrigger, {"run_date": datetime(2026, 5, 30), "timezone": "Asia/Tokyo"}),
    (IntervalTrigger, {"minutes": 5}),
    (
        IntervalTrigger,
        {
            "weeks": 1,
            "seconds": 0.5,
            "start_date": "2026-01-01",
            "end_date": date(2027, 1, 1),
            "timezone": BERLIN,
            "jitter": 30,
        },
    ),
    (CronTrigger, {}),
    (CronTrigger, {"hour": 9, "minute": "*/5", "dst": "once"}),
    (
        CronTrigger,
        {
            "day": "2nd fri,last",
            "start_date": datetime(2026, 1, 1, tzinfo=UTC),
            "timezone": pytz.timezone("Europe/Berlin"),
            "jitter": 1.5,
            "day_or": True,
        },
    ),
    (CalendarIntervalTrigger, {"months": 1, "hour": 9}),
    (
        CalendarIntervalTrigger,
        {"days": 3, "start_date": "2026-01-31", "end_date": "2027-01-01", "jitter": 2},
    ),
    (
        AndTrigger,
        {
            "triggers": [
                IntervalTrigger(hours=2),
                CronTrigger(day_of_week="sat,sun"),
            ]
        },
    ),
    (
        OrTrigger,
        {
            "triggers": [AndTrigger([CronTrigger(hour=5)]), DateTrigger("2026-06-01")],
            "jitter": 7,
        },
    ),
]
IDS = [f"{cls.__name__}-{len(arguments)}" for cls, arguments in DECLARED]

every_trigger = pytest.mark.parametrize(("cls", "arguments"), DECLARED, ids=IDS)


def times(trigger, count: int = 3) -> list[datetime | None]:
    found = [trigger.get_next_fire_time(None, NOW)]
    while len(found) < count and found[-1] is not None:
        found.append(trigger.get_next_fire_time(found[-1], NOW))
    return found


@every_trigger
def test_arguments_are_given_back_as_declared(cls, arguments):
    trigger = cls(**arguments)
    assert trigger.get_arguments() == arguments
    again = cls(**trigger.get_arguments())
    assert again == trigger
    assert hash(again) == hash(trigger)
    assert times(again) == times(trigger)


@every_trigger
def test_pickling_keeps_arguments_and_anchor(cls, arguments):
    trigger = cls(**arguments)
    expected = times(trigger)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        loaded = pickle.loads(pickle.dumps(trigger, protocol))
        assert loaded == trigger
        assert loaded.anchor == trigger.anchor
        later = NOW + timedelta(days=1, minutes=1)
        assert loaded.get_next_fire_time(None, later) == trigger.get_next_fire_time(
            None, later
        )
        if loaded.anchor is None:
            assert times(loaded) == expected


@every_trigger
def test_copies_are_equal(cls, arguments):
    trigger = cls(**arguments)
    assert copy.copy(trigger) == trigger
    assert copy.deepcopy(trigger) == trigger


@every_trigger
def test_the_anchor_does_not_affect_equality(cls, arguments):
    trigger, other = cls(**arguments), cls(**arguments)
    trigger.anchor = NOW
    assert trigger == other
    assert hash(trigger) == hash(other)


@every_trigger
def test_the_alias_names_the_class(cls, arguments):
    module, _, name = TRIGGERS[cls.alias].partition(":")
    assert getattr(import_module(module), name) is cls


@every_trigger
def test_fire_times_are_aware_and_later_than_the_previous_one(cls, arguments):
    trigger = cls(**arguments)
    previous = trigger.get_next_fire_time(None, NOW)
    for _ in range(5):
        if previous is None:
            break
        assert previous.utcoffset() is not None
        following = trigger.get_next_fire_time(previous, NOW)
        assert following is None or following.astimezone(UTC) > previous.astimezone(UTC)
        previous = following


@every_trigger
def test_looking_back_gives_the_latest_fire_time(cls, arguments):
    trigger = cls(**arguments)
    found = [time for time in times(trigger, 4) if time is not None]
    for earlier, later in itertools.pairwise(found):
        between = later.astimezone(UTC) - timedelta(microseconds=1)
        assert trigger.get_previous_fire_time(between) == earlier
        assert trigger.get_previous_fire_time(later) == later


@every_trigger
def test_only_datetimes_are_understood_as_moments(cls, arguments):
    trigger = cls(**arguments)
    with pytest.raises(TypeError, match="expected a datetime; got date"):
        trigger.get_previous_fire_time(date(2026, 1, 1))


@every_trigger
def test_a_class_equals_only_itself(cls, arguments):
    trigger = cls(**arguments)
    subclass = type("Sub", (cls,), {})
    assert trigger != subclass(**arguments)
    assert trigger != "trigger"


def test_aliases_are_complete():
    assert sorted(TRIGGERS) == [
        "and",
        "calendarinterval",
        "cron",
        "date",
        "interval",
        "or",
    ]


DIFFERENT = [
    (CronTrigger(hour=5), CronTrigger(hour=6)),
    (CronTrigger(hour=5), CronTrigger(hour=5, dst="once")),
    (CronTrigger(hour=5), CronTrigger(hour=5, jitter=1)),
    (CronTrigger(hour=5), CronTrigger(hour=5, timezone="Asia/Tokyo")),
    (IntervalTrigger(hours=1), IntervalTrigger(minutes=60)),
    (AndTrigger([CronTrigger(hour=5)]), OrTrigger([CronTrigger(hour=5)])),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT, ids=str)
def test_different_declarations_are_different(one, other):
    assert one != other


def test_an_unknown_pickle_format_is_refused():
    trigger = CronTrigger(hour=5)
    _, arguments, anchor = trigger.__getstate__()
    with pytest.raises(ValueError, match="pickled in format 99, which this release"):
        trigger.__setstate__((99, arguments, anchor))


class Workdays(CronTrigger):
    """A subclass with arguments of its own."""

    def __init__(self, holidays, **fields):
        super().__init__(day_of_week="mon-fri", **fields)
        self.holidays = holidays

    def get_next_fire_time(self, previous_fire_time, now):
        found = super().get_next_fire_time(previous_fire_time, now)
        while found is not None and found.strftime("%m-%d") in self.holidays:
            found = super().get_next_fire_time(found, now)
        return found


class Every(BaseTrigger):
    """A custom trigger that keeps its argument under another name."""

    def __init__(self, hours: int, label: str = ""):
        self._step = timedelta(hours=hours)

    def get_next_fire_time(self, previous_fire_time, now):
        return (previous_fire_time or now) + self._step


class Named(Every):
    def __init__(self, *, hours: int, label: str = ""):
        super().__init__(hours, label)


@pytest.mark.parametrize(
    ("trigger", "arguments"),
    [
        (
            Workdays(["05-29", "06-01"], hour=9, timezone="UTC"),
            {"holidays": ["05-29", "06-01"], "hour": 9, "timezone": "UTC"},
        ),
        (Every(5), {"hours": 5}),
        (Every(5, label="five"), {"hours": 5, "label": "five"}),
        (Named(label="five", hours=5), {"hours": 5, "label": "five"}),
    ],
    ids=["subclass", "custom", "custom with option", "custom by name only"],
)
def test_custom_triggers_are_stored_by_their_arguments(trigger, arguments):
    assert trigger.get_arguments() == arguments
    loaded = pickle.loads(pickle.dumps(trigger))
    assert loaded == trigger
    assert type(trigger)(**arguments) == trigger
    assert loaded.get_next_fire_time(None, NOW) == trigger.get_next_fire_time(None, NOW)


def test_a_subclass_is_looked_back_through():
    trigger = Workdays(["05-29", "06-01"], hour=9, timezone="UTC")
    assert trigger.get_next_fire_time(None, NOW) == datetime(2026, 6, 2, 9, tzinfo=UTC)
    holiday = datetime(2026, 6, 1, 12, tzinfo=UTC)
    assert trigger.get_previous_fire_time(holiday) == datetime(
        2026, 5, 28, 9, tzinfo=UTC
    )


def test_arguments_without_names_are_refused():
    class Unnamed(Every):
        def __init__(self, *hours):
            super().__init__(hours[0])

    with pytest.raises(TypeError, match=r"was given 'hours' by position only; give"):
        Unnamed(5).get_arguments()


def test_the_triggers_import_no_django():
    modules = sorted({target.partition(":")[0] for target in TRIGGERS.values()})
    code = (
        "import sys; sys.modules['django'] = None\n"
        f"import {', '.join(modules)}\n"
        "print(sorted(name for name in sys.modules if name.startswith('django.')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
