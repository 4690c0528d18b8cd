"""What holds for every trigger, whatever its arguments and the zone."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from django_apscheduler.triggers.combining import AndTrigger, OrTrigger
from django_apscheduler.triggers.cron import CronTrigger
from django_apscheduler.triggers.date import DateTrigger
from django_apscheduler.triggers.interval import IntervalTrigger
from tests.triggers.oracle import CHANGES, cases, utc, walk

UTC = timezone.utc
ZONES = sorted({zone for zone, _ in CHANGES})

quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def in_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


@st.composite
def moments(draw, since: int = 1975, until: int = 2100) -> datetime:
    """Generate aware moments, often near a change of some clock, in various zones."""
    zone = ZoneInfo(draw(st.sampled_from(ZONES)))
    if draw(st.booleans()):
        _, day = draw(st.sampled_from(CHANGES))
        near = timedelta(minutes=draw(st.integers(-2000, 2000)))
        return (utc(day) + near).astimezone(zone)
    first, last = datetime(since, 1, 1), datetime(until, 1, 1)
    return draw(st.datetimes(first, last)).replace(tzinfo=UTC).astimezone(zone)


@st.composite
def crons(draw) -> CronTrigger:
    return CronTrigger(
        **draw(cases()).texts,
        second=draw(st.sampled_from([None, None, "*/20", "5,30"])),
        timezone=draw(st.sampled_from(ZONES)),
        dst=draw(st.sampled_from(["wall", "once"])),
    )


@st.composite
def intervals(draw) -> IntervalTrigger:
    unit = draw(st.sampled_from(["weeks", "days", "hours", "minutes", "seconds"]))
    start = draw(st.none() | moments())
    end = None
    if start is not None and draw(st.booleans()):
        end = in_utc(start) + timedelta(days=draw(st.integers(0, 4000)))
    return IntervalTrigger(
        **{unit: draw(st.integers(1, 100))},
        start_date=start,
        end_date=end,
        timezone=draw(st.sampled_from(ZONES)),
    )


@st.composite
def calendar_intervals(draw) -> CalendarIntervalTrigger:
    units = draw(
        st.sampled_from([("years",), ("months",), ("weeks",), ("days",)])
        | st.just(("months", "days"))
    )
    return CalendarIntervalTrigger(
        **{unit: draw(st.integers(1, 20)) for unit in units},
        hour=draw(st.integers(0, 23)),
        minute=draw(st.integers(0, 59)),
        start_date=draw(st.none() | moments().map(lambda moment: moment.date())),
        timezone=draw(st.sampled_from(ZONES)),
    )


simple_triggers = st.one_of(crons(), intervals(), calendar_intervals())
date_triggers = st.builds(DateTrigger, moments())
triggers = st.recursive(
    simple_triggers | date_triggers,
    lambda inner: (
        st.builds(OrTrigger, st.lists(inner, min_size=1, max_size=3))
        | st.builds(AndTrigger, st.lists(inner, min_size=1, max_size=2))
    ),
    max_leaves=3,
)


def first_times(trigger, now: datetime, count: int) -> list[datetime]:
    times: list[datetime] = []
    while len(times) < count:
        found = trigger.get_next_fire_time(times[-1] if times else None, now)
        if found is None:
            break
        times.append(found)
    return times


@given(triggers, moments())
@quick
def test_fire_times_strictly_increase_and_are_real(trigger, now):
    times = first_times(trigger, now, 12)
    instants = [in_utc(time) for time in times]
    assert instants == sorted(set(instants))
    for time in times:
        assert time.utcoffset() is not None
        back = in_utc(time).astimezone(time.tzinfo)
        assert back.replace(tzinfo=None) == time.replace(tzinfo=None)
        assert back.utcoffset() == time.utcoffset()


@given(simple_triggers, moments())
@quick
def test_the_first_fire_time_is_not_before_now(trigger, now):
    found = trigger.get_next_fire_time(None, now)
    assert found is None or in_utc(found) >= in_utc(now)


@given(triggers, moments(), moments())
@quick
def test_the_next_fire_time_does_not_depend_on_now(trigger, now, later):
    times = first_times(trigger, now, 2)
    if len(times) == 2:
        assert trigger.get_next_fire_time(times[0], later) == times[1]


@given(cases(), moments(), moments(), st.sampled_from(ZONES), moments())
@quick
def test_cron_stays_within_start_and_end(case, one, other, zone, now):
    start, end = sorted([in_utc(one), in_utc(other)])
    trigger = CronTrigger(**case.texts, start_date=start, end_date=end, timezone=zone)
    free = CronTrigger(**case.texts, timezone=zone)
    times = first_times(trigger, now, 5)
    assert all(start <= in_utc(time) <= end for time in times)
    unbounded = first_times(free, max(start, in_utc(now)), 5)
    assert times == [time for time in unbounded if in_utc(time) <= end]


@given(intervals(), moments())
@quick
def test_intervals_stay_within_start_and_end_on_one_grid(trigger, now):
    times = first_times(trigger, now, 5)
    instants = [in_utc(time) for time in times]
    base = in_utc(trigger.start_date or trigger.anchor)
    for instant in instants:
        assert (instant - base) % trigger.interval == timedelta(0)
        assert instant >= base
        assert trigger.end_date is None or instant <= in_utc(trigger.end_date)
    gaps = {later - earlier for earlier, later in itertools.pairwise(instants)}
    assert gaps <= {trigger.interval}


@given(triggers, moments(since=1990))
@quick
def test_looking_back_retraces_looking_ahead(trigger, now):
    times = first_times(trigger, now, 4)
    for earlier, later in itertools.pairwise(times):
        assert in_utc(trigger.get_previous_fire_time(later)) == in_utc(later)
        just_before = in_utc(later) - timedelta(microseconds=1)
        assert in_utc(trigger.get_previous_fire_time(just_before)) == in_utc(earlier)


@given(cases(), st.sampled_from(CHANGES), st.sampled_from(["wall", "once"]), st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_cron_agrees_with_walking_through_every_minute(case, change, dst, data):
    zone, day = change
    begin = utc(day) - timedelta(days=1)
    start = begin + timedelta(seconds=data.draw(st.integers(0, 2 * 86_400)))
    end = begin + timedelta(days=3)
    trigger = CronTrigger(**case.texts, timezone=zone, dst=dst)
    first_minute = start.replace(second=0, microsecond=0)
    if start != first_minute:
        first_minute += timedelta(minutes=1)
    expected = list(walk(case, ZoneInfo(zone), first_minute, end, dst == "once"))

    found = []
    fire_time = trigger.get_next_fire_time(None, start)
    while fire_time is not None and in_utc(fire_time) < end:
        found.append(in_utc(fire_time))
        fire_time = trigger.get_next_fire_time(fire_time, start)
    assert found == expected

    if expected:
        latest = trigger.get_previous_fire_time(end - timedelta(seconds=1))
        assert in_utc(latest) == expected[-1]


@given(cases(), st.sampled_from(ZONES), moments())
@quick
def test_cron_finds_days_far_ahead(case, zone, now):
    trigger = CronTrigger(**case.texts, timezone=zone)
    found = trigger.get_next_fire_time(None, now)
    if found is None:
        return
    # Whole days in between must not match; minutes are checked by the walk.
    day = now.astimezone(ZoneInfo(zone)).date() + timedelta(days=1)
    at = {"hour": min(case.allowed["hour"]), "minute": min(case.allowed["minute"])}
    steps = 0
    while day < found.date() and steps < 3000:
        assert not case.matches(datetime(day.year, day.month, day.day, **at)) or (
            _skipped(datetime(day.year, day.month, day.day, **at), zone)
        )
        day += timedelta(days=1)
        steps += 1


def _skipped(wall: datetime, zone: str) -> bool:
    there = wall.replace(tzinfo=ZoneInfo(zone))
    return in_utc(there).astimezone(ZoneInfo(zone)).replace(tzinfo=None) != wall
