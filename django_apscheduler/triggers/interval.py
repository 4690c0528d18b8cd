"""Runs with equal stretches of elapsed time between them."""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta, tzinfo
from typing import Any

from django_apscheduler.triggers.base import (
    BuiltinTrigger,
    check_jitter,
    check_order,
    check_timezone,
    describe,
    in_utc,
    shown,
)
from django_apscheduler.util import convert_to_datetime, utc

_UNITS = ("weeks", "days", "hours", "minutes", "seconds")


class IntervalTrigger(BuiltinTrigger):
    """
    Fires every ``weeks + days + hours + minutes + seconds``.

    :param start_date: the first fire time; without it the first fire time is one
        interval after the trigger was first asked, which `anchor` remembers
    :param end_date: no fire time is later than this
    :param timezone: zone of the answers and of dates that name none
    :param jitter: delay each run by up to this many seconds

    Daylight saving: intervals are elapsed time. A change of the clock neither skips
    nor repeats a fire time; ``days=1`` moves by an hour on the wall clock. For the
    same wall time every day use CronTrigger or CalendarIntervalTrigger.
    """

    alias = "interval"

    def __init__(
        self,
        weeks: float = 0,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
        start_date: datetime | date | str | None = None,
        end_date: datetime | date | str | None = None,
        timezone: tzinfo | str | None = None,
        jitter: float | None = None,
    ):
        amounts = dict(zip(_UNITS, (weeks, days, hours, minutes, seconds)))
        self.interval = _interval(amounts)
        self.timezone = check_timezone(timezone, start_date, end_date)
        self.start_date = convert_to_datetime(start_date, self.timezone, "start_date")
        self.end_date = convert_to_datetime(end_date, self.timezone, "end_date")
        check_order(self.start_date, self.end_date)
        self.jitter = check_jitter(jitter)
        self._start = None if self.start_date is None else in_utc(self.start_date)
        self._end = None if self.end_date is None else in_utc(self.end_date)
        self._needs_anchor = self._start is None

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        """
        Return the next fire time on the grid of the start date or `anchor`.

        Sets `anchor` when the schedule needs one and has none: to the previous fire
        time, else to ``now``.
        """
        if self._needs_anchor and self.anchor is None:
            self.anchor = self._in_utc(previous_fire_time or now)
        return super().get_next_fire_time(previous_fire_time, now)

    def get_previous_fire_time(self, now: datetime) -> datetime | None:
        """Return the latest fire time that is not after ``now``."""
        if type(self).get_next_fire_time is not IntervalTrigger.get_next_fire_time:
            # A subclass that changes the schedule must be asked.
            return super().get_previous_fire_time(now)
        moment = self._in_utc(now)
        if self._needs_anchor and self.anchor is None:
            return None
        if self._end is not None:
            moment = min(moment, self._end)
        base, first = self._base(moment)
        count = (moment - base) // self.interval
        return self._fire_time(base, count) if count >= first else None

    def _fire_at_or_after(self, moment: datetime) -> datetime | None:
        base, first = self._base(moment)
        # Rounded up: floor division of the negated distance.
        count = max(first, -((base - moment) // self.interval))
        return self._fire_time(base, count)

    def _base(self, moment: datetime) -> tuple[datetime, int]:
        """Return the moment the grid counts from and the first count that fires."""
        if self._start is not None:
            return self._start, 0
        return self._in_utc(self.anchor or moment), 1

    def _fire_time(self, base: datetime, count: int) -> datetime | None:
        try:
            moment = base + self.interval * count
            if self._end is not None and moment > self._end:
                return None
            return moment if self.timezone is utc else moment.astimezone(self.timezone)
        except OverflowError:
            return None

    def __str__(self) -> str:
        return f"interval[{self.interval}]"

    def __repr__(self) -> str:
        parts = [f"interval={self.interval!r}"]
        if self.start_date is not None:
            parts.append(f"start_date='{describe(self.start_date)}'")
        if self.end_date is not None:
            parts.append(f"end_date='{describe(self.end_date)}'")
        if self.jitter is not None:
            parts.append(f"jitter={self.jitter!r}")
        return f"<IntervalTrigger ({', '.join(parts)}, timezone='{self.timezone}')>"


def _interval(amounts: dict[str, Any]) -> timedelta:
    for unit, amount in amounts.items():
        if isinstance(amount, bool) or not isinstance(amount, (int, float)):
            raise TypeError(f"{unit} must be a number; got {type(amount).__name__}")
        if amount < 0 or (isinstance(amount, float) and not math.isfinite(amount)):
            raise ValueError(f"{unit} must be 0 or more; got {shown(amount)}")
    try:
        interval = timedelta(**amounts)
    except OverflowError:
        raise ValueError(
            f"the interval must be at most {timedelta.max.days} days; got "
            + ", ".join(f"{unit}={shown(n)}" for unit, n in amounts.items() if n)
        ) from None
    if not interval:
        raise ValueError(
            "the interval must be longer than 0; give weeks, days, hours, minutes or "
            "seconds"
        )
    return interval
