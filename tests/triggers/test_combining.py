"""Triggers made of triggers: agreement, alternatives, and an end to every search."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta, timezone

import pytest

from django_apscheduler.triggers.base import BaseTrigger
from django_apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from django_apscheduler.triggers.combining import AndTrigger, OrTrigger
from django_apscheduler.triggers.cron import CronTrigger
from django_apscheduler.triggers.date import DateTrigger
from django_apscheduler.triggers.interval import IntervalTrigger

UTC = timezone.utc
# A Thursday.
NOW = datetime(2026, 5, 28, 14, 0, 30, 500, tzinfo=UTC)


def cron(**fields) -> CronTrigger:
    return CronTrigger(**fields, timezone="UTC")


def interval(start: str | None = "2026-01-01", **amounts) -> IntervalTrigger:
    return IntervalTrigger(**amounts, start_date=start, timezone="UTC")


def fire_times(trigger, count: int, now: datetime = NOW) -> list[str]:
    times: list[str] = []
    previous = None
    while len(times) < count:
        previous = trigger.get_next_fire_time(previous, now)
        if previous is None:
            break
        times.append(previous.strftime("%a %m-%d %H:%M:%S"))
    return times


def test_the_manuals_example_fires_every_two_hours_on_saturdays_and_sundays():
    trigger = AndTrigger([interval(None, hours=2), cron(day_of_week="sat,sun")])
    times = fire_times(trigger, 25)
    # Counted from Thursday 14:00:30.0005, so always at half a minute past.
    assert times[0] == "Sat 05-30 00:00:30"
    assert times[1] == "Sat 05-30 02:00:30"
    assert times[23] == "Sun 05-31 22:00:30"
    assert times[24] == "Sat 06-06 00:00:30"
    assert trigger.anchor == NOW
    assert trigger.get_next_fire_time(None, NOW).microsecond == 500


def test_the_interval_keeps_its_anchor_when_asked_later():
    trigger = AndTrigger([interval(None, hours=5), cron(day_of_week="sat,sun")])
    first = fire_times(trigger, 3)
    again = fire_times(trigger, 3, NOW + timedelta(hours=30))
    # 14:00:30 + 35 h, + 40 h, ...
    assert first == ["Sat 05-30 01:00:30", "Sat 05-30 06:00:30", "Sat 05-30 11:00:30"]
    assert again == first


def test_cron_triggers_agree_on_the_second():
    trigger = AndTrigger([cron(hour="9-11"), cron(minute="0,30", second="*")])
    assert fire_times(trigger, 3) == [
        "Fri 05-29 09:00:00",
        "Fri 05-29 10:00:00",
        "Fri 05-29 11:00:00",
    ]


def test_cron_periods_follow_their_given_fields():
    hours = AndTrigger([interval(minutes=20), cron(hour="9-10", day_of_week="fri")])
    assert fire_times(hours, 7) == [
        "Fri 05-29 09:00:00",
        "Fri 05-29 09:20:00",
        "Fri 05-29 09:40:00",
        "Fri 05-29 10:00:00",
        "Fri 05-29 10:20:00",
        "Fri 05-29 10:40:00",
        "Fri 06-05 09:00:00",
    ]
    exact = AndTrigger([interval(minutes=20), cron(hour=9, minute="10-30", second=0)])
    assert fire_times(exact, 2) == ["Fri 05-29 09:20:00", "Sat 05-30 09:20:00"]


def test_intervals_agree_on_their_common_multiples():
    trigger = AndTrigger([interval(minutes=4), interval(minutes=6)])
    assert fire_times(trigger, 3) == [
        "Thu 05-28 14:12:00",
        "Thu 05-28 14:24:00",
        "Thu 05-28 14:36:00",
    ]


def test_calendar_intervals_and_weekdays():
    every_third_day = CalendarIntervalTrigger(
        days=3, hour=9, start_date="2026-05-28", timezone="UTC"
    )
    trigger = AndTrigger([every_third_day, cron(day_of_week="mon-fri")])
    # 28 Thu (over), 31 Sun (no), 3 Wed, 6 Sat (no), 9 Tue
    assert fire_times(trigger, 2) == ["Wed 06-03 09:00:00", "Tue 06-09 09:00:00"]


def test_and_ends_with_the_first_of_its_triggers():
    ending = IntervalTrigger(
        hours=1,
        start_date="2026-05-28",
        end_date="2026-05-28 16:00:00",
        timezone="UTC",
    )
    trigger = AndTrigger([ending, interval(minutes=30)])
    assert fire_times(trigger, 9) == ["Thu 05-28 15:00:00", "Thu 05-28 16:00:00"]
    assert trigger.end_date == datetime(2026, 5, 28, 16, tzinfo=UTC)


def test_and_with_a_date_fires_then_or_never():
    date = DateTrigger("2026-05-30 12:00:00", timezone="UTC")
    assert fire_times(AndTrigger([date, interval(hours=1)]), 2) == [
        "Sat 05-30 12:00:00"
    ]
    assert fire_times(AndTrigger([date, interval(hours=5)]), 2) == []
    past = DateTrigger("2026-05-01 12:00:00", timezone="UTC")
    assert fire_times(AndTrigger([past, interval(hours=1)]), 2) == []


NEVER = [
    AndTrigger([interval(hours=2), interval("2026-01-01 01:00:00", hours=2)]),
    AndTrigger([interval(seconds=3), interval("2026-01-01 00:00:01", seconds=3)]),
    AndTrigger([cron(minute=5), cron(minute=6)]),
    AndTrigger([cron(month=2, day=30), interval(seconds=1)]),
    AndTrigger([cron(hour=9, day_of_week="mon"), cron(hour=9, day_of_week="tue")]),
    AndTrigger([interval(days=1), cron(hour=5)]),
    AndTrigger(
        [
            AndTrigger([interval(hours=2), interval("2026-01-01 01:00:00", hours=2)]),
            interval(seconds=1),
        ]
    ),
    AndTrigger(
        [
            OrTrigger(
                [
                    AndTrigger([interval(weeks=2), interval("2026-01-08", weeks=2)]),
                    interval(hours=2),
                ]
            ),
            interval("2026-01-01 01:00:00", hours=2),
        ]
    ),
    OrTrigger([AndTrigger([cron(minute=5), cron(minute=6)]), cron(month=2, day=30)]),
]


@pytest.mark.parametrize("trigger", NEVER, ids=lambda trigger: str(trigger)[:60])
def test_triggers_that_never_agree_answer_none_in_bounded_time(trigger):
    began = time.perf_counter()
    assert trigger.get_next_fire_time(None, NOW) is None
    assert trigger.get_next_fire_time(NOW, NOW) is None
    assert trigger.get_previous_fire_time(NOW) is None
    assert time.perf_counter() - began < 5


def test_after_disagreeing_the_search_goes_on():
    # APScheduler 3.11 never returned here once the triggers had disagreed.
    trigger = AndTrigger([interval(hours=2), cron(day_of_week="sat,sun")])
    saturday = datetime(2026, 5, 30, tzinfo=UTC)
    assert trigger.get_next_fire_time(saturday, saturday) == datetime(
        2026, 5, 30, 2, tzinfo=UTC
    )
    sunday = datetime(2026, 5, 31, 22, tzinfo=UTC)
    assert trigger.get_next_fire_time(sunday, sunday) == datetime(
        2026, 6, 6, tzinfo=UTC
    )


def test_or_fires_for_each_on_its_own_grid():
    trigger = OrTrigger([interval(minutes=20), interval(minutes=50)])
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert fire_times(trigger, 9, now) == [
        "Thu 01-01 00:00:00",
        "Thu 01-01 00:20:00",
        "Thu 01-01 00:40:00",
        "Thu 01-01 00:50:00",
        "Thu 01-01 01:00:00",
        "Thu 01-01 01:20:00",
        "Thu 01-01 01:40:00",
        "Thu 01-01 02:00:00",
        "Thu 01-01 02:20:00",
    ]


def test_or_does_not_starve_the_longer_interval():
    trigger = OrTrigger([interval(None, seconds=10), interval(None, seconds=25)])
    times = fire_times(trigger, 5)
    assert [time[-5:] for time in times] == [
        "00:40",
        "00:50",
        "00:55",
        "01:00",
        "01:10",
    ]


def test_or_ends_when_all_have_ended():
    date = DateTrigger("2026-05-30", timezone="UTC")
    later = DateTrigger("2026-06-30", timezone="UTC")
    past = DateTrigger("2026-01-30", timezone="UTC")
    trigger = OrTrigger([later, date, past])
    assert fire_times(trigger, 3) == ["Sat 05-30 00:00:00", "Tue 06-30 00:00:00"]
    assert trigger.end_date is None


def test_or_compares_moments_not_wall_times():
    berlin = CronTrigger(hour=9, timezone="Europe/Berlin")
    new_york = CronTrigger(hour=4, timezone="America/New_York")
    trigger = OrTrigger([new_york, berlin])
    found = trigger.get_next_fire_time(None, NOW)
    assert found.isoformat() == "2026-05-29T09:00:00+02:00"
    following = trigger.get_next_fire_time(found, NOW)
    assert following.isoformat() == "2026-05-29T04:00:00-04:00"


def test_looking_back():
    trigger = AndTrigger([interval(hours=2), cron(day_of_week="sat,sun")])
    assert trigger.get_previous_fire_time(NOW) == datetime(2026, 5, 24, 22, tzinfo=UTC)
    either = OrTrigger([cron(day=1), cron(day_of_week="mon")])
    assert either.get_previous_fire_time(NOW) == datetime(2026, 5, 25, tzinfo=UTC)


def test_setting_the_anchor_reaches_all_triggers():
    inner = interval(None, hours=2)
    trigger = OrTrigger([AndTrigger([inner, cron(day_of_week="sat")]), cron(hour=5)])
    trigger.anchor = NOW
    assert inner.anchor == NOW
    assert trigger.anchor == NOW


def test_no_anchor_is_set_where_none_is_needed():
    trigger = OrTrigger([interval(hours=2), cron(hour=5)])
    trigger.get_next_fire_time(None, NOW)
    assert trigger.anchor is None


def test_jitter_is_the_own_or_the_largest_of_the_triggers():
    jittery = [
        CronTrigger(hour=1, jitter=5),
        IntervalTrigger(hours=1, jitter=20),
        DateTrigger(NOW),
    ]
    assert AndTrigger(jittery).jitter == 20
    assert OrTrigger(jittery, jitter=3).jitter == 3
    assert OrTrigger([DateTrigger(NOW)]).jitter is None


class Hourly(BaseTrigger):
    """A custom trigger; it begins in the past, as custom triggers may."""

    def __init__(self, start: datetime):
        self.start = start

    def get_next_fire_time(self, previous_fire_time, now):
        if previous_fire_time is None:
            return self.start
        return previous_fire_time + timedelta(hours=1)


def test_custom_triggers_can_be_combined():
    custom = Hourly(datetime(2026, 5, 28, tzinfo=UTC))
    trigger = AndTrigger([custom, cron(day_of_week="sat")])
    assert fire_times(trigger, 2) == ["Sat 05-30 00:00:00", "Sat 05-30 01:00:00"]
    either = OrTrigger([custom, cron(minute=30)])
    assert fire_times(either, 2) == ["Thu 05-28 14:30:00", "Thu 05-28 15:00:00"]


def test_a_custom_trigger_stuck_in_the_past_counts_as_ended():
    class Stuck(BaseTrigger):
        def get_next_fire_time(self, previous_fire_time, now):
            return datetime(2000, 1, 1, tzinfo=UTC)

    assert AndTrigger([Stuck(), cron(hour=1)]).get_next_fire_time(None, NOW) is None


def nested(depth: int) -> BaseTrigger:
    trigger: BaseTrigger = interval(hours=1)
    for _ in range(depth):
        trigger = OrTrigger([trigger])
    return trigger


REFUSED = [
    (lambda: AndTrigger([]), ValueError, "AndTrigger expects at least one trigger"),
    (lambda: OrTrigger(()), ValueError, "OrTrigger expects at least one trigger"),
    (lambda: AndTrigger(None), TypeError, "expects a list of triggers; got NoneType"),
    (lambda: AndTrigger("cron"), TypeError, "expects a list of triggers; got str"),
    (lambda: AndTrigger(["cron"]), TypeError, "of triggers; one of them is 'cron'"),
    (
        lambda: AndTrigger(cron(hour=1)),
        TypeError,
        "expects a list of triggers; got CronTrigger",
    ),
    (lambda: OrTrigger([cron(hour=1)], jitter=-1), ValueError, "jitter must be"),
    (
        lambda: nested(11),
        ValueError,
        "combining triggers may be nested 10 deep; got 11",
    ),
]


@pytest.mark.parametrize(
    ("make", "error", "message"), REFUSED, ids=[case[2] for case in REFUSED]
)
def test_wrong_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=re.escape(message)):
        make()


def test_text_and_representation():
    trigger = AndTrigger([interval(hours=2), cron(day_of_week="sat,sun")])
    assert str(trigger) == "and[interval[2:00:00], cron[day_of_week='sat,sun']]"
    assert repr(trigger) == (
        "<AndTrigger([<IntervalTrigger (interval=datetime.timedelta(seconds=7200), "
        "start_date='2026-01-01 00:00:00 UTC', timezone='UTC')>, "
        "<CronTrigger (day_of_week='sat,sun', timezone='UTC')>])>"
    )
    either = OrTrigger([cron(hour="9")], jitter=4)
    assert str(either) == "or[cron[hour='9']]"
    assert repr(either) == (
        "<OrTrigger([<CronTrigger (hour='9', timezone='UTC')>], jitter=4)>"
    )
