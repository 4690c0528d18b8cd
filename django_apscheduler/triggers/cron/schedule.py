"""
Cron fields compiled into tables: which wall-clock second comes next?

Wall time here is a count of seconds since 1970-01-01 00:00 on the wall, in whatever
zone; no offsets, no gaps. Time of day is a table of 1,440 minutes. Days are a table
per kind of year: weekdays, leap day and ISO weeks fall alike in all years that start
on the same weekday and have the same length, so some twenty tables are all there is.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from datetime import date
from functools import lru_cache

from django_apscheduler.triggers.cron.fields import (
    LIMITS,
    DayRule,
    parse_days,
    parse_numbers,
)
from django_apscheduler.triggers.offsets import DAY, NEVER

_EPOCH_DAY = date(1970, 1, 1).toordinal()
_FIRST_YEAR, _LAST_YEAR = LIMITS["year"]
_NONE = -1

#: the day number of each year's first of January, one year more than can be used
_NEW_YEARS = [
    date(year, 1, 1).toordinal() - _EPOCH_DAY
    for year in range(_FIRST_YEAR, _LAST_YEAR + 1)
]
_NEW_YEARS.append(_NEW_YEARS[-1] + 365)


def _leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


class DayTable:
    """The days that year, month, day, week and day_of_week allow."""

    def __init__(
        self, years: str, months: str, days: str, weeks: str, weekdays: str, any_: bool
    ):
        self._years = parse_numbers("year", years)
        self._months = parse_numbers("month", months)
        self._days: DayRule = parse_days(days)
        self._weeks = parse_numbers("week", weeks)
        self._all_weeks = weeks == "*"
        self._weekdays = parse_numbers("day_of_week", weekdays)
        self._any = any_
        self._tables: dict[tuple[bool, int, bool], array] = {}
        self._no_days = array("h", [_NONE]) * 367
        self._no_year = (0, 0, self._no_days)
        # The year to go on with, by the day after the one that has been used up.
        self._following: dict[int, tuple[int, int, array]] = {}
        #: first day, day after the last, and table of the year looked at last
        self.year = self._year_of(_NEW_YEARS[0])

    def next(self, day: int) -> int:
        """Return the first allowed day not before ``day``, or -1 for none."""
        while True:
            first, end, table = self.year
            if not first <= day < end:
                if day >= _NEW_YEARS[-1]:
                    return _NONE
                first, end, table = self.year = self._year_of(day)
            found = table[day - first]
            if found >= 0:
                return first + found
            following = self._following.get(end)
            if following is None:
                following = self._following[end] = self._next_year(end)
            if following is self._no_year:
                return _NONE
            self.year = following
            day = following[0]

    def _next_year(self, day: int) -> tuple[int, int, array]:
        """Return the first year from the one of ``day`` on that allows any day."""
        while day < _NEW_YEARS[-1]:
            year = self._year_of(day)
            if year[2][0] >= 0:
                return year
            day = year[1]
        return self._no_year

    def _year_of(self, day: int) -> tuple[int, int, array]:
        place = bisect_right(_NEW_YEARS, day) - 1
        first, end = _NEW_YEARS[place], _NEW_YEARS[place + 1]
        year = _FIRST_YEAR + place
        if year not in self._years:
            return first, end, self._no_days
        # Whether January begins in week 52 or 53 depends on the year before.
        kind = (_leap(year), (first + 3) % 7, _leap(year - 1))
        table = self._tables.get(kind)
        if table is None:
            table = self._tables[kind] = self._table(year)
        return first, end, table

    def _table(self, year: int) -> array:
        """Return, for each day of the year from 0, the next allowed one or -1."""
        start = date(year, 1, 1).toordinal()
        length = 366 if _leap(year) else 365
        table = array("h", [_NONE]) * 367
        following = _NONE
        for place in range(length - 1, -1, -1):
            if self._allows(date.fromordinal(start + place), length):
                following = place
            table[place] = following
        return table

    def _allows(self, day: date, length: int) -> bool:
        if day.month not in self._months:
            return False
        if not self._all_weeks and day.isocalendar()[1] not in self._weeks:
            return False
        weekday = day.weekday()
        by_weekday = weekday in self._weekdays
        by_day = self._allows_day(day, weekday, length)
        return by_weekday or by_day if self._any else by_weekday and by_day

    def _allows_day(self, day: date, weekday: int, length: int) -> bool:
        numbers, last, nth = self._days
        if day.day in numbers:
            return True
        month_length = _MONTH_LENGTHS[day.month - 1]
        if day.month == 2 and length == 366:
            month_length = 29
        if last and day.day == month_length:
            return True
        if not nth:
            return False
        in_last_week = day.day + 7 > month_length
        return ((day.day - 1) // 7 + 1, weekday) in nth or (
            in_last_week and (-1, weekday) in nth
        )


_MONTH_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class TimeTable:
    """The times of day that hour, minute and second allow, in seconds from 0."""

    def __init__(self, hours: str, minutes: str, seconds: str):
        allowed_hours = parse_numbers("hour", hours)
        allowed_minutes = parse_numbers("minute", minutes)
        allowed_seconds = parse_numbers("second", seconds)
        #: for each minute of the day the next allowed one; 1,440 for none
        self.minutes = _successors(
            {
                hour * 60 + minute
                for hour in allowed_hours
                for minute in allowed_minutes
            },
            24 * 60,
        )
        self._seconds = _successors(set(allowed_seconds), 60)
        self._first_second = self._seconds[0]
        #: fires at the beginning of minutes only
        self.whole_minutes = allowed_seconds == {0}
        self.first = self.next(0)

    def next(self, second: int) -> int:
        """Return the first allowed second not before ``second``, or 86,400 or more."""
        minute, within = divmod(second, 60)
        if self.minutes[minute] == minute:
            found = self._seconds[within]
            if found < 60:
                return minute * 60 + found
            minute += 1
        return self.minutes[minute] * 60 + self._first_second


def _successors(allowed: set[int], length: int) -> array:
    """Return, for each number up to ``length``, the next allowed one or ``length``."""
    table = array("h")
    for number in sorted(allowed):
        table.extend(array("h", [number]) * (number + 1 - len(table)))
    table.extend(array("h", [length]) * (length + 1 - len(table)))
    return table


class Schedule:
    """The wall-clock seconds at which a set of fields fires."""

    __slots__ = ("days", "times", "_minutes")

    def __init__(self, days: DayTable, times: TimeTable):
        self.days = days
        self.times = times
        self._minutes = times.minutes if times.whole_minutes else None

    def next(self, second: int) -> int:
        """Return the first wall second that fires, not before ``second``, or NEVER."""
        day, second = divmod(second, DAY)
        days = self.days
        first, end, table = days.year
        if first <= day < end and table[day - first] == day - first:
            today = day
        else:
            today = days.next(max(day, 0))
            if today < 0:
                return NEVER
        if today == day:
            if self._minutes is not None:
                found = self._minutes[(second + 59) // 60] * 60
            else:
                found = self.times.next(second)
            if found < DAY:
                return day * DAY + found
            today = days.next(day + 1)
            if today < 0:
                return NEVER
        return today * DAY + self.times.first


@lru_cache(maxsize=512)
def _day_table(
    years: str, months: str, days: str, weeks: str, weekdays: str, any_: bool
) -> DayTable:
    return DayTable(years, months, days, weeks, weekdays, any_)


@lru_cache(maxsize=512)
def _time_table(hours: str, minutes: str, seconds: str) -> TimeTable:
    return TimeTable(hours, minutes, seconds)


@lru_cache(maxsize=1024)
def compile_schedule(
    year: str,
    month: str,
    day: str,
    week: str,
    day_of_week: str,
    hour: str,
    minute: str,
    second: str,
    day_or: bool,
) -> Schedule:
    """
    Return the schedule for the texts of all fields.

    :param day_or: day and day_of_week are alternatives instead of both required
    :raises ValueError: naming the field and its range
    """
    return Schedule(
        _day_table(year, month, day, week, day_of_week, day_or),
        _time_table(hour, minute, second),
    )
