"""
Schedules in words: "every 2 minutes", "at 09:00 on Monday to Friday, Europe/Berlin".

Plain Python; the Django layer passes its translations, so the phrases below are
complete templates with named placeholders.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta, tzinfo
from typing import Any

from django_apscheduler.triggers.cron.fields import parse_days, parse_numbers
from django_apscheduler.util import default_timezone

Gettext = Callable[[str], str]
Ngettext = Callable[[str, str, int], str]

#: Times of day named one by one; more are put as a rule.
LISTED_TIMES = 6


def describe(
    trigger: Any, gettext: Gettext | None = None, ngettext: Ngettext | None = None
) -> str:
    """
    Return a trigger's schedule in words.

    :param gettext: translates a text; English without it
    :param ngettext: translates singular and plural
    :return: a phrase without capital and full stop; ``str(trigger)`` for triggers that
        are not this package's
    """
    return _Words(gettext or str, ngettext or _english_ngettext).trigger(trigger)


def name_weekdays(numbers: Iterable[int], gettext: Gettext | None = None) -> str:
    """Return weekdays, 0 for Monday, in words: "Tuesday to Saturday"."""
    words = _Words(gettext or str, _english_ngettext)
    ordered = sorted(numbers)
    return words.spans([words.weekday_name(number) for number in ordered], ordered)


def name_months(numbers: Iterable[int], gettext: Gettext | None = None) -> str:
    """Return months, 1 for January, in words: "April, June and September"."""
    words = _Words(gettext or str, _english_ngettext)
    ordered = sorted(numbers)
    return words.spans([words.month_name(number) for number in ordered], ordered)


def name_numbers(numbers: Iterable[int], gettext: Gettext | None = None) -> str:
    """Return whole numbers in words: "1, 5 and 9 to 12"."""
    words = _Words(gettext or str, _english_ngettext)
    ordered = sorted(numbers)
    return words.spans([str(number) for number in ordered], ordered)


def _english_ngettext(singular: str, plural: str, count: int) -> str:
    return singular if count == 1 else plural


class _Words:
    """Turns triggers into phrases of one language."""

    def __init__(self, gettext: Gettext, ngettext: Ngettext):
        self.gettext = gettext
        self.ngettext = ngettext

    # Triggers.

    def trigger(self, trigger: Any) -> str:
        phrase = {
            "date": self.date,
            "interval": self.interval,
            "calendarinterval": self.calendar_interval,
            "cron": self.cron,
            "and": self.combined,
            "or": self.combined,
        }.get(getattr(trigger, "alias", None) or "")
        if phrase is None:
            return str(trigger)
        return phrase(trigger)

    def date(self, trigger: Any) -> str:
        _ = self.gettext
        phrase = _("once on %(time)s") % {"time": self.moment(trigger.run_date)}
        return self.with_zone(phrase, trigger)

    def interval(self, trigger: Any) -> str:
        phrase = self.every(self.parts(trigger.interval))
        return self.with_limits(phrase, trigger)

    def calendar_interval(self, trigger: Any) -> str:
        _ = self.gettext
        arguments = trigger.get_arguments()
        units = ("years", "months", "weeks", "days")
        parts = [(unit, int(arguments.get(unit) or 0)) for unit in units]
        time = self.clock_time(
            *(int(arguments.get(unit) or 0) for unit in ("hour", "minute", "second"))
        )
        phrase = _("%(frequency)s at %(time)s") % {
            "frequency": self.every([(u, n) for u, n in parts if n]),
            "time": time,
        }
        return self.with_zone(self.with_limits(phrase, trigger), trigger)

    def combined(self, trigger: Any) -> str:
        _ = self.gettext
        children = list(trigger.triggers)
        if trigger.alias == "or":
            phrase = _("; or ").join(map(self.trigger, children))
            return self.with_limits(phrase, trigger)
        # Beside other triggers, a cron trigger is a condition on their times.
        clocks = [child for child in children if getattr(child, "alias", "") == "cron"]
        others = [child for child in children if child not in clocks]
        if others and clocks:
            phrases = [self.trigger(child) for child in others]
            conditions = [self.period(child) for child in clocks]
            phrase = _("%(schedule)s, only %(condition)s") % {
                "schedule": _("; and ").join(phrases),
                "condition": self.listed(conditions),
            }
        else:
            phrase = _("; and ").join(map(self.trigger, children))
        return self.with_limits(phrase, trigger)

    def period(self, trigger: Any) -> str:
        """Return the time that a cron trigger's given fields span, as a condition."""
        period = trigger.period
        expressions = {field.name: field.text for field in period.fields}
        days = self.days(expressions, trigger.day_or)
        # Every second of the day goes without saying; every second of an hour does not.
        names = ("hour", "minute", "second")
        if days and all(expressions[name] == "*" for name in names):
            return self.with_zone(days, trigger)
        return self.cron(period)

    def cron(self, trigger: Any) -> str:
        _ = self.gettext
        expressions = {field.name: field.text for field in trigger.fields}
        time = self.time_of_day(expressions)
        days = self.days(expressions, trigger.day_or)
        phrase = time
        if days:
            phrase = _("%(time)s %(days)s") % {"time": time, "days": days}
        elif _names_times(*_clock_numbers(expressions)):
            phrase = _("%(time)s every day") % {"time": time}
        return self.with_zone(self.with_limits(phrase, trigger), trigger)

    # Frequencies.

    def parts(self, length: timedelta) -> list[tuple[str, float]]:
        seconds = length.total_seconds()
        parts: list[tuple[str, float]] = []
        for unit, size in (
            ("weeks", 604800),
            ("days", 86400),
            ("hours", 3600),
            ("minutes", 60),
        ):
            # 14 days are two weeks; 10 days are not "1 week and 3 days".
            if unit == "weeks" and seconds % size:
                continue
            count, seconds = divmod(seconds, size)
            if count:
                parts.append((unit, int(count)))
        if seconds or not parts:
            whole = int(seconds) == seconds
            parts.append(("seconds", int(seconds) if whole else round(seconds, 6)))
        return parts

    def every(self, parts: Sequence[tuple[str, float]]) -> str:
        """Return "every 2 hours", "every day", "every 1 hour and 30 minutes"."""
        _ = self.gettext
        if len(parts) == 1 and parts[0][1] == 1:
            return {
                "years": _("every year"),
                "months": _("every month"),
                "weeks": _("every week"),
                "days": _("every day"),
                "hours": _("every hour"),
                "minutes": _("every minute"),
                "seconds": _("every second"),
            }[parts[0][0]]
        lengths = self.listed([self.length(unit, count) for unit, count in parts])
        return _("every %(length)s") % {"length": lengths}

    def length(self, unit: str, count: float) -> str:
        ngettext = self.ngettext
        whole = int(count) if int(count) == count else 2
        template = {
            "years": lambda: ngettext("%(count)s year", "%(count)s years", whole),
            "months": lambda: ngettext("%(count)s month", "%(count)s months", whole),
            "weeks": lambda: ngettext("%(count)s week", "%(count)s weeks", whole),
            "days": lambda: ngettext("%(count)s day", "%(count)s days", whole),
            "hours": lambda: ngettext("%(count)s hour", "%(count)s hours", whole),
            "minutes": lambda: ngettext("%(count)s minute", "%(count)s minutes", whole),
            "seconds": lambda: ngettext("%(count)s second", "%(count)s seconds", whole),
        }[unit]()
        return template % {"count": count}

    # Times of day.

    def time_of_day(self, expressions: dict[str, str]) -> str:
        hours, minutes, seconds = _clock_numbers(expressions)
        if _names_times(hours, minutes, seconds):
            times = [
                self.clock_time(hour, minute, second)
                for hour in hours
                for minute in minutes
                for second in seconds
            ]
            return self.gettext("at %(times)s") % {"times": self.listed(times)}
        if len(seconds) > 1:
            phrase = self.repeated("seconds", seconds)
            phrase = self.within_minutes(phrase, minutes)
            return self.within_hours(phrase, hours, last_minute=max(minutes))
        if len(minutes) > 1:
            phrase = self.repeated("minutes", minutes)
            phrase = self.at_second(phrase, seconds[0])
            return self.within_hours(phrase, hours, last_minute=max(minutes))
        return self.hourly(hours, minutes[0], seconds[0])

    def repeated(self, unit: str, numbers: list[int]) -> str:
        """Return how often ``numbers`` of 0 to 59 come round."""
        _ = self.gettext
        step = _step(numbers, 60)
        if step is None:
            names = {
                "seconds": _("at seconds %(numbers)s of the minute"),
                "minutes": _("at minutes %(numbers)s of the hour"),
            }
            return names[unit] % {
                "numbers": self.spans([str(n) for n in numbers], numbers)
            }
        phrase = self.every([(unit, step)])
        if numbers[0] == 0 and numbers[-1] + step == 60:
            return phrase
        template = {
            "seconds": _("%(frequency)s from second %(first)s to %(last)s"),
            "minutes": _("%(frequency)s from minute %(first)s to %(last)s"),
        }[unit]
        return template % {
            "frequency": phrase,
            "first": numbers[0],
            "last": numbers[-1],
        }

    def within_minutes(self, phrase: str, minutes: list[int]) -> str:
        _ = self.gettext
        if len(minutes) == 60:
            return phrase
        spans = self.spans([str(minute) for minute in minutes], minutes)
        if len(minutes) == 1:
            return _("%(frequency)s in minute %(minutes)s of the hour") % {
                "frequency": phrase,
                "minutes": spans,
            }
        return _("%(frequency)s in minutes %(minutes)s of the hour") % {
            "frequency": phrase,
            "minutes": spans,
        }

    def within_hours(self, phrase: str, hours: list[int], last_minute: int) -> str:
        _ = self.gettext
        if len(hours) == 24:
            return phrase
        windows = [
            _("from %(first)s to %(last)s")
            % {
                "first": self.clock_time(first, 0, 0),
                "last": self.clock_time(last, last_minute, 0),
            }
            for first, last in _runs(hours)
        ]
        return _("%(frequency)s %(windows)s") % {
            "frequency": phrase,
            "windows": self.listed(windows),
        }

    def hourly(self, hours: list[int], minute: int, second: int) -> str:
        _ = self.gettext
        phrase = self.every([("hours", _step(hours, 24) or 1)])
        if not _all_day(hours):
            return _("%(frequency)s from %(first)s to %(last)s") % {
                "frequency": phrase,
                "first": self.clock_time(hours[0], minute, second),
                "last": self.clock_time(hours[-1], minute, second),
            }
        if minute:
            past = self.ngettext(
                "%(frequency)s at %(count)s minute past",
                "%(frequency)s at %(count)s minutes past",
                minute,
            )
            phrase = past % {"frequency": phrase, "count": minute}
        return self.at_second(phrase, second)

    def at_second(self, phrase: str, second: int) -> str:
        if not second:
            return phrase
        return self.gettext("%(frequency)s at second %(second)s") % {
            "frequency": phrase,
            "second": second,
        }

    def clock_time(self, hour: int, minute: int, second: int) -> str:
        seconds = f":{second:02d}" if second else ""
        return f"{hour:02d}:{minute:02d}{seconds}"

    # Days.

    def days(self, expressions: dict[str, str], either: bool) -> str:
        _ = self.gettext
        month = self.month(expressions["month"])
        day = self.day_of_month(expressions["day"], month)
        weekday = self.day_of_week(expressions["day_of_week"])
        if day and weekday:
            template = (
                _("%(days)s or %(weekdays)s")
                if either
                else _("%(days)s if it is %(weekdays)s")
            )
            phrases = [template % {"days": day, "weekdays": weekday}]
        else:
            phrases = [phrase for phrase in (day, weekday) if phrase]
        if month and not day:
            phrases.append(_("in %(months)s") % {"months": month})
        phrases += self.weeks(expressions["week"])
        phrases += self.years(expressions["year"])
        return " ".join(phrases)

    def month(self, expression: str) -> str:
        numbers = sorted(parse_numbers("month", expression))
        if len(numbers) == 12:
            return ""
        names = [self.month_name(number) for number in numbers]
        return self.spans(names, numbers)

    def day_of_month(self, expression: str, months: str) -> str:
        _ = self.gettext
        if expression == "*":
            return ""
        rule = parse_days(expression)
        phrases = []
        if rule.numbers:
            numbers = sorted(rule.numbers)
            days = self.spans([str(number) for number in numbers], numbers)
            template = _("day %(days)s") if len(numbers) == 1 else _("days %(days)s")
            phrases.append(template % {"days": days})
        phrases += [self.nth_weekday(nth, day) for nth, day in sorted(rule.nth)]
        if rule.last:
            phrases.append(_("the last day"))
        if months:
            template = _("on %(days)s of %(months)s")
            return template % {"days": self.listed(phrases), "months": months}
        return _("on %(days)s of every month") % {"days": self.listed(phrases)}

    def nth_weekday(self, nth: int, weekday: int) -> str:
        _ = self.gettext
        template = {
            1: _("the first %(weekday)s"),
            2: _("the second %(weekday)s"),
            3: _("the third %(weekday)s"),
            4: _("the fourth %(weekday)s"),
            5: _("the fifth %(weekday)s"),
            -1: _("the last %(weekday)s"),
        }[nth]
        return template % {"weekday": self.weekday_name(weekday)}

    def day_of_week(self, expression: str) -> str:
        numbers = sorted(parse_numbers("day_of_week", expression))
        if len(numbers) == 7:
            return ""
        names = [self.weekday_name(number) for number in numbers]
        if len(numbers) > 2 and len(_runs(numbers)) == 1:
            # Apart, as languages have another preposition for a span than for days.
            ends = {"first": names[0], "last": names[-1]}
            return self.gettext("on %(first)s to %(last)s") % ends
        return self.gettext("on %(weekdays)s") % {
            "weekdays": self.spans(names, numbers)
        }

    def weeks(self, expression: str) -> list[str]:
        _ = self.gettext
        if expression == "*":
            return []
        numbers = sorted(parse_numbers("week", expression))
        weeks = self.spans([str(number) for number in numbers], numbers)
        template = (
            _("in ISO week %(weeks)s")
            if len(numbers) == 1
            else _("in ISO weeks %(weeks)s")
        )
        return [template % {"weeks": weeks}]

    def years(self, expression: str) -> list[str]:
        if expression == "*":
            return []
        numbers = sorted(parse_numbers("year", expression))
        years = self.spans([str(number) for number in numbers], numbers)
        return [self.gettext("in %(years)s") % {"years": years}]

    # Small pieces.

    def weekday_name(self, number: int) -> str:
        _ = self.gettext
        return (
            _("Monday"),
            _("Tuesday"),
            _("Wednesday"),
            _("Thursday"),
            _("Friday"),
            _("Saturday"),
            _("Sunday"),
        )[number]

    def month_name(self, number: int) -> str:
        _ = self.gettext
        return (
            _("January"),
            _("February"),
            _("March"),
            _("April"),
            _("May"),
            _("June"),
            _("July"),
            _("August"),
            _("September"),
            _("October"),
            _("November"),
            _("December"),
        )[number - 1]

    def spans(self, names: Sequence[str], numbers: Sequence[int]) -> str:
        """List names, three and more in a row as "Monday to Friday"."""
        _ = self.gettext
        by_number = dict(zip(numbers, names, strict=True))
        phrases = []
        for first, last in _runs(numbers):
            if last - first < 2:
                phrases += [by_number[number] for number in range(first, last + 1)]
            else:
                phrases.append(
                    _("%(first)s to %(last)s")
                    % {"first": by_number[first], "last": by_number[last]}
                )
        return self.listed(phrases)

    def listed(self, phrases: Sequence[str]) -> str:
        """Return "a", "a and b" or "a, b and c"."""
        if len(phrases) == 1:
            return phrases[0]
        return self.gettext("%(first)s and %(last)s") % {
            "first": ", ".join(phrases[:-1]),
            "last": phrases[-1],
        }

    def moment(self, value: Any) -> str:
        if isinstance(value, datetime):
            text = f"{value:%Y-%m-%d %H:%M}"
            if value.second or value.microsecond:
                text = f"{value:%Y-%m-%d %H:%M:%S}"
            return text
        return value.isoformat() if isinstance(value, date) else str(value)

    def with_limits(self, phrase: str, trigger: Any) -> str:
        """Add start, end and jitter, where they are declared."""
        _ = self.gettext
        declared = trigger.get_arguments()
        limits = []
        if declared.get("start_date"):
            limits.append(
                _("from %(time)s") % {"time": self.moment(trigger.start_date)}
            )
        if declared.get("end_date"):
            limits.append(_("until %(time)s") % {"time": self.moment(trigger.end_date)})
        if declared.get("jitter"):
            length = self.length("seconds", declared["jitter"])
            limits.append(_("up to %(length)s later") % {"length": length})
        return ", ".join([phrase, *limits])

    def with_zone(self, phrase: str, trigger: Any) -> str:
        """Add the zone of a wall clock, unless it is everybody's."""
        zone = zone_name(trigger.timezone)
        return phrase if zone == zone_name(default_timezone()) else f"{phrase}, {zone}"


def _runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Return first and last of each run of consecutive numbers."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def _clock_numbers(expressions: dict[str, str]) -> tuple[list[int], ...]:
    """Return the hours, minutes and seconds that a cron trigger's fields name."""
    names = ("hour", "minute", "second")
    return tuple(sorted(parse_numbers(name, expressions[name])) for name in names)


def _names_times(hours: list[int], minutes: list[int], seconds: list[int]) -> bool:
    """Tell whether the times of day are best named one by one."""
    if len(minutes) == len(seconds) == 1:
        if _step(hours, 24) is None:
            return True
        return len(hours) < 4 or (len(hours) <= LISTED_TIMES and not _all_day(hours))
    return len(hours) * len(minutes) * len(seconds) <= LISTED_TIMES


def _all_day(hours: list[int]) -> bool:
    """Tell whether hours in equal steps go round the clock, midnight included."""
    return hours[0] == 0 and hours[-1] + (_step(hours, 24) or 24) == 24


def _step(numbers: Sequence[int], period: int) -> int | None:
    """Return the distance between numbers in equal steps, None for others."""
    if len(numbers) == 2 and 2 * (numbers[1] - numbers[0]) == period:
        return numbers[1] - numbers[0]
    steps = {after - before for before, after in itertools.pairwise(numbers)}
    return steps.pop() if len(numbers) > 2 and len(steps) == 1 else None


def zone_name(zone: tzinfo) -> str:
    """Return a time zone's name for people: ``Europe/Berlin``, ``UTC``, ``UTC+02:00``."""
    return str(getattr(zone, "key", None) or zone)
