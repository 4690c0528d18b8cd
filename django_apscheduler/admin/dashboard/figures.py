"""
What the dashboard's charts show, as numbers.

Everything past is read from the roll-ups and from the little of the log that they do not
have yet, so nothing here grows with the log. Hours are whole hours of UTC; they belong
to the day of the page's time zone in which they begin.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from typing import NamedTuple

from django_apscheduler import rollups
from django_apscheduler.admin import stats
from django_apscheduler.db import current_zone
from django_apscheduler.models import (
    DjangoJobExecution,
    SchedulerProcess,
)
from django_apscheduler.rollups import Counted, Histogram, Totals

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)

#: Executions of the last minute or two that are added to the sums while a page is
#: drawn. Where there are more the page says up to when it has counted.
TAIL_ROWS = 2000

#: Starts of schedulers looked at for new releases.
STARTS = 1000

#: Weeks of the calendar, with the one under way.
CALENDAR_WEEKS = 12

#: Statuses of occurrences that should have run, and did not.
NOT_RUN = (DjangoJobExecution.MISSED, DjangoJobExecution.MAX_INSTANCES)

SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


class Span(NamedTuple):
    """
    A length of time that charts look back over.

    :ivar days: of the page's time zone, today among them; 0 for the last 24 hours
    :ivar hours: per bar
    """

    name: str
    days: int
    hours: int


SPANS = {
    span.name: span
    for span in (Span("24h", 0, 1), Span("7d", 7, 6), Span("30d", 30, 24))
}


@dataclass(slots=True)
class Slot:
    """The sums of one bar: from ``start`` to just before ``end``, aware, in UTC."""

    start: datetime
    end: datetime
    totals: Totals = field(default_factory=Totals)

    @property
    def succeeded(self) -> int:
        return _count(self.totals, stats.SUCCEEDED)

    @property
    def failed(self) -> int:
        return _count(self.totals, stats.FAILED)

    @property
    def not_run(self) -> int:
        """Occurrences that were missed or skipped, at least."""
        return sum(self.totals.occurrences[status] for status in NOT_RUN)


def _count(totals: Totals, statuses: Iterable[str]) -> int:
    return sum(totals.runs[status] for status in statuses)


class Tail(NamedTuple):
    """
    What the roll-ups do not have yet.

    :ivar until: the sums end here, because there was too much to add; None when they
        are complete
    """

    rows: list[Counted]
    until: datetime | None


def read_tail(using: str) -> Tail:
    """Read the end of the log, or find that it is too long to be added up here."""
    mark = rollups.progress(using)
    rows = rollups.uncounted(using, mark, TAIL_ROWS + 1)
    if len(rows) <= TAIL_ROWS:
        return Tail(rows, None)
    # A part of it would look as if the work had decreased.
    return Tail([], min(row.run_time for row in rows))


# Hours, bars and days


def floor_hour(moment: datetime) -> datetime:
    """Return the beginning of an hour of UTC."""
    moment = moment.astimezone(timezone.utc)
    return moment.replace(minute=0, second=0, microsecond=0)


def midnight(day: date) -> datetime:
    """Return the first whole hour of UTC that begins on a day of the page's zone."""
    local = datetime.combine(day, time(), current_zone())
    begin = local.astimezone(timezone.utc)
    floor = floor_hour(begin)
    return floor if floor == begin else floor + HOUR


def slots(span: Span, now: datetime) -> list[Slot]:
    """Return the empty bars of a span, the oldest first; the last holds the present."""
    zone = current_zone()
    end = floor_hour(now) + HOUR
    if span.days:
        today = now.astimezone(zone).date()
        begin = midnight(today - timedelta(days=span.days - 1))
    else:
        begin = end - 24 * HOUR
    found: list[Slot] = []
    last = None
    while begin < end:
        local = begin.astimezone(zone)
        # An hour that the clock repeats is a bar of its own among bars of one hour.
        key = (
            (local.date(), local.hour // span.hours)
            if span.hours > 1
            else (begin, local.hour)
        )
        if key == last:
            found[-1].end = begin + HOUR
        else:
            found.append(Slot(begin, begin + HOUR))
            last = key
        begin += HOUR
    return found


def read_slots(using: str, span: Span, now: datetime, tail: Tail) -> list[Slot]:
    """Return the bars of a span with what ran in them, in one query."""
    bars = slots(span, now)
    sums: dict[datetime, Totals] = {}
    for bar in bars:
        hour = bar.start
        while hour < bar.end:
            sums[hour] = bar.totals
            hour += HOUR
    rollups.note_all(rollups.hours(using, bars[0].start, found=sums), tail.rows)
    return bars


def percentiles(histogram: Histogram) -> dict[str, float | None]:
    """Return median, p95 and p99 of a histogram in seconds; None when it is empty."""
    return {name: histogram.percentile(share) for name, share in SHARES.items()}


@dataclass(slots=True)
class Day:
    """One day of the calendar, and what ran on it."""

    day: date
    start: datetime
    end: datetime
    runs: int = 0
    failed: int = 0
    not_run: int = 0


class Past(NamedTuple):
    """
    The calendar, and the sums of the last 24 hours.

    :ivar since: when those 24 hours began
    """

    days: list[Day]
    since: datetime
    runs: int
    failed: int
    not_run: int


def read_past(
    using: str, now: datetime, tail: Tail, weeks: int = CALENDAR_WEEKS
) -> Past:
    """
    Return what ran by day over so many weeks, this one included, in one query.

    The first day is a Monday.
    """
    today = now.astimezone(current_zone()).date()
    first = today - timedelta(days=today.weekday(), weeks=weeks - 1)
    days = [
        Day(day, midnight(day), midnight(day + timedelta(days=1)))
        for day in (first + timedelta(days=n) for n in range((today - first).days + 1))
    ]
    since = floor_hour(now) - 23 * HOUR
    latest = Day(today, since, since + 24 * HOUR)
    zone = current_zone()
    shares_of: dict[datetime, list[Day]] = {}
    for hour, status, runs, occurrences in _by_hour(using, days[0].start, tail):
        if hour not in shares_of:
            place = (hour.astimezone(zone).date() - first).days
            shares = [days[place]] if 0 <= place < len(days) else []
            shares_of[hour] = [*shares, latest] if hour >= since else shares
        for share in shares_of[hour]:
            if status in stats.FAILED:
                share.failed += runs
                share.runs += runs
            elif status in stats.SUCCEEDED:
                share.runs += runs
            elif status in NOT_RUN:
                share.not_run += occurrences
    return Past(days, since, latest.runs, latest.failed, latest.not_run)


def _by_hour(
    using: str, since: datetime, tail: Tail
) -> Iterator[tuple[datetime, str, int, int]]:
    # Without the histograms, which are most of a row.
    yield from rollups.rows_since(using, rollups.HOUR, since).values_list(
        "start_time", "status", "runs", "occurrences"
    )
    sums: dict[datetime, Totals] = {}
    rollups.note_all(sums, tail.rows)
    for hour, totals in sums.items():
        if hour >= since:
            for status, runs in totals.runs.items():
                yield hour, status, runs, totals.occurrences[status]


# The schedulers


class Release(NamedTuple):
    """When a scheduler first ran another release than those before it."""

    moment: datetime
    name: str


def read_releases(using: str, since: datetime) -> list[Release]:
    """
    Return the changes of release since then, the oldest first, in one query.

    A release is what the setting of that name says; schedulers without one are left
    out.
    """
    starts = (
        SchedulerProcess.objects.using(using)
        .exclude(release="")
        .order_by("-started_time", "-id")
        .values_list("started_time", "release")[:STARTS]
    )
    found: list[Release] = []
    before = None
    for moment, name in reversed(starts):
        if before is not None and name != before and moment >= since:
            found.append(Release(moment, name))
        before = name
    return found


# The same as JSON


def slots_json(bars: list[Slot]) -> list[dict[str, object]]:
    """Return bars with their counts."""
    return [
        {
            "start": bar.start.isoformat(),
            "end": bar.end.isoformat(),
            "succeeded": bar.succeeded,
            "failed": bar.failed,
            "not_run": bar.not_run,
        }
        for bar in bars
    ]


def percentiles_json(bars: list[Slot], which: str) -> list[dict[str, object]]:
    """
    Return bars with percentiles in seconds.

    :param which: ``durations`` or ``lateness``
    """
    return [
        {
            "start": bar.start.isoformat(),
            "end": bar.end.isoformat(),
            "runs": histogram.total(),
            **{
                name: None if seconds is None else round(seconds, 4)
                for name, seconds in percentiles(histogram).items()
            },
        }
        for bar in bars
        for histogram in (getattr(bar.totals, which),)
    ]


def releases_json(releases: list[Release]) -> list[dict[str, object]]:
    """Return releases with the moment they were first seen."""
    return [{"time": r.moment.isoformat(), "release": r.name} for r in releases]


def days_json(days: list[Day]) -> list[dict[str, object]]:
    """Return the days of the calendar."""
    return [
        {
            "date": day.day.isoformat(),
            "runs": day.runs,
            "failed": day.failed,
            "not_run": day.not_run,
        }
        for day in days
    ]
