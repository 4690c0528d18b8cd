"""Runs at one wall-clock time, every so many years, months, weeks and days."""

from __future__ import annotations

from bisect import bisect_left
from calendar import monthrange
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Any

from django_apscheduler.triggers.base import (
    SECOND,
    BuiltinTrigger,
    check_jitter,
    check_timezone,
    shown,
)
from django_apscheduler.util import convert_to_datetime, utc

_ONE_DAY = timedelta(days=1)
_LIMITS = {"hour": 23, "minute": 59, "second": 59}
# The days from the first of the calendar to its last.
_LONGEST = date.max.toordinal() - 1


class CalendarIntervalTrigger(BuiltinTrigger):
    """
    Fires at ``hour:minute:second`` on dates that lie a calendar interval apart.

    Years and months are added to the last date first, again and again until the date
    exists; then weeks and days. So without weeks and days the day of the month stays
    the same, and months that lack it are left out (31 January, then 31 March).

    :param years, months, weeks, days: the interval, at least a day long
    :param hour, minute, second: time of day on the wall clock
    :param start_date: first date; without it the date on which the trigger was first
        asked, which `anchor` remembers
    :param end_date: last date
    :param timezone: zone of the wall clock
    :param jitter: delay each run by up to this many seconds

    Daylight saving: a date on which a change of the clock skips the time is left out;
    where a change repeats the time, the first of the two fires.
    """

    alias = "calendarinterval"
    _resolution = SECOND

    def __init__(
        self,
        *,
        years: int = 0,
        months: int = 0,
        weeks: int = 0,
        days: int = 0,
        hour: int = 0,
        minute: int = 0,
        second: int = 0,
        start_date: date | datetime | str | None = None,
        end_date: date | datetime | str | None = None,
        timezone: tzinfo | str | None = None,
        jitter: float | None = None,
    ):
        interval = {"years": years, "months": months, "weeks": weeks, "days": days}
        clock_time = {"hour": hour, "minute": minute, "second": second}
        for name, value in (interval | clock_time).items():
            _check_number(name, value)
        if not any(interval.values()):
            raise ValueError(
                "the interval must be at least 1 day long; give years, months, weeks "
                "or days"
            )
        self.years, self.months, self.weeks, self.days = interval.values()
        self.time = time(hour, minute, second)
        self.timezone = check_timezone(timezone, start_date, end_date)
        self.start_date = self._date(start_date, "start_date")
        self._last_date = self._date(end_date, "end_date")
        if self.start_date and self._last_date and self._last_date < self.start_date:
            raise ValueError(
                f"end_date ({self._last_date}) must not be before start_date "
                f"({self.start_date})"
            )
        if self._last_date is not None:
            last_moment = datetime.combine(self._last_date, time.max)
            self.end_date = last_moment.replace(tzinfo=self.timezone)
        self.jitter = check_jitter(jitter)
        self._needs_anchor = self.start_date is None
        self._known_dates: list[date] = []

    def _date(self, value: Any, name: str) -> date | None:
        """Return the date that a declared date, datetime or text means."""
        moment = convert_to_datetime(value, self.timezone, name)
        if moment is None:
            return None
        if isinstance(value, datetime) and value.tzinfo is not None:
            try:
                return moment.astimezone(self.timezone).date()
            except OverflowError:
                pass
        return moment.date()

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        """
        Return the next fire time.

        Sets `anchor` when the schedule needs one and has none.
        """
        if self._needs_anchor and self.anchor is None:
            self.anchor = self._in_utc(previous_fire_time or now)
        return super().get_next_fire_time(previous_fire_time, now)

    def _fire_at_or_after(self, moment: datetime) -> datetime | None:
        try:
            local = moment.astimezone(self.timezone)
            # The day before, too: a change of the clock at midnight may bring it back.
            earliest = max(local.date(), date.min + _ONE_DAY) - _ONE_DAY
        except OverflowError:
            return None
        start = self.start_date
        if start is None:
            start = self._in_utc(self.anchor or moment).astimezone(self.timezone).date()
        for day in self._dates(start, earliest):
            if self._last_date is not None and day > self._last_date:
                return None
            wall = datetime.combine(day, self.time).replace(tzinfo=self.timezone)
            try:
                instant = wall.astimezone(utc)
                if instant < moment:
                    continue
                if instant.astimezone(self.timezone).replace(tzinfo=None) == (
                    wall.replace(tzinfo=None)
                ):
                    return wall
            except OverflowError:
                return None
        return None

    def _dates(self, start: date, earliest: date) -> Iterator[date]:
        """Yield the dates of the schedule from about ``earliest`` on."""
        months = self.years * 12 + self.months
        days = self.weeks * 7 + self.days
        month = start.year * 12 + start.month - 1
        if not months:
            first, wanted = start.toordinal(), earliest.toordinal()
            ordinal = first + max(0, -((first - wanted) // days)) * days
            while ordinal <= date.max.toordinal():
                yield date.fromordinal(ordinal)
                ordinal += days
            return
        if not days:
            wanted = earliest.year * 12 + earliest.month - 1
            month += max(0, -((month - wanted) // months)) * months
            while month // 12 <= date.max.year:
                day = _on_day(month, start.day)
                if day is not None:
                    yield day
                month += months
            return
        yield from self._mixed_dates(start, earliest)

    def _mixed_dates(self, start: date, earliest: date) -> Iterator[date]:
        # Each date depends on the one before, so those found are kept.
        known = self._known_dates
        if not known or known[0] != start:
            known = self._known_dates = [start]
        place = bisect_left(known, earliest)
        while True:
            if place == len(known):
                following = self._following_date(known[-1])
                if following is None:
                    return
                known.append(following)
            if known[place] >= earliest:
                yield known[place]
            place += 1

    def _following_date(self, day: date) -> date | None:
        """Add years and months until the date exists, then weeks and days."""
        month = day.year * 12 + day.month - 1
        found = None
        while found is None:
            month += self.years * 12 + self.months
            if month // 12 > date.max.year:
                return None
            found = _on_day(month, day.day)
        ordinal = found.toordinal() + self.weeks * 7 + self.days
        return None if ordinal > date.max.toordinal() else date.fromordinal(ordinal)

    def __repr__(self) -> str:
        parts = [
            f"{unit}={getattr(self, unit)}"
            for unit in ("years", "months", "weeks", "days")
            if getattr(self, unit)
        ]
        parts.append(f"time='{self.time}'")
        if self.start_date is not None:
            parts.append(f"start_date='{self.start_date}'")
        if self._last_date is not None:
            parts.append(f"end_date='{self._last_date}'")
        if self.jitter is not None:
            parts.append(f"jitter={self.jitter!r}")
        parts.append(f"timezone='{self.timezone}'")
        return f"CalendarIntervalTrigger({', '.join(parts)})"


def _check_number(name: str, value: Any) -> None:
    limit = _LIMITS.get(name, _LONGEST)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(
            f"{name} must be a whole number in 0-{limit}; got {type(value).__name__}"
        )
    if not 0 <= value <= limit:
        raise ValueError(f"{name} must be in 0-{limit}; got {shown(value)}")


def _on_day(month: int, day: int) -> date | None:
    """Return the date in month number ``month`` since year 0, None if it lacks it."""
    year, month = divmod(month, 12)
    if day > 28 and day > monthrange(year, month + 1)[1]:
        return None
    return date(year, month + 1, day)
