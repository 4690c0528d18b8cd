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

Gettext = Callable[[str], str]
Ngettext = Callable[[str, str, int], str]

#: Times of day named one by one; more are put as a rule.
LISTED_TIMES = 6

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MONTHS = (
    *("jan", "feb", "mar", "apr", "may", "jun"),
    *("jul", "aug", "sep", "oct", "nov", "dec"),
)
RANGES = {
    "year": (1970, 9999),
    "month": (1, 12),
    "day": (1, 31),
    "week": (1, 53),
    "day_of_week": (0, 6),
    "hour": (0, 23),
    "minute": (0, 59),
    "second": (0, 59),
}
FIELDS = tuple(RANGES)
_DEFAULTS = {
    "year": "*",
    "month": "1",
    "day": "1",
    "week": "*",
    "day_of_week": "*",
    "hour": "0",
    "minute": "0",
    "second": "0",
}


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
        return phrase(trigger, dict(trigger.get_arguments()))

    def date(self, trigger: Any, arguments: dict[str, Any]) -> str:
        _ = self.gettext
        moment = getattr(trigger, "run_date", None) or arguments.get("run_date")
        if moment is None:
            return _("once, at once")
        return _("once on %(time)s") % {"time": self.moment(moment)}

    def interval(self, trigger: Any, arguments: dict[str, Any]) -> str:
        length = getattr(trigger, "interval", None)
        if not isinstance(length, timedelta):
            units = ("weeks", "days", "hours", "minutes", "seconds")
            length = timedelta(**{u: arguments[u] for u in units if u in arguments})
        return self.with_limits(self.every(self.parts(length)), arguments)

    def calendar_interval(self, trigger: Any, arguments: dict[str, Any]) -> str:
        _ = self.gettext
        units = ("years", "months", "weeks", "days")
        parts = [(unit, int(arguments.get(unit) or 0)) for unit in units]
        time = self.clock_time(
            *(int(arguments.get(unit) or 0) for unit in ("hour", "minute", "second"))
        )
        phrase = _("%(frequency)s at %(time)s") % {
            "frequency": self.every([(u, n) for u, n in parts if n]),
            "time": time,
        }
        return self.with_zone(self.with_limits(phrase, arguments), arguments)

    def combined(self, trigger: Any, arguments: dict[str, Any]) -> str:
        _ = self.gettext
        phrases = [self.trigger(child) for child in arguments.get("triggers", ())]
        if len(phrases) == 1:
            return phrases[0]
        if trigger.alias == "or":
            phrase = _("; or ").join(phrases)
        else:
            phrase = _("when these agree: %(schedules)s") % {
                "schedules": _("; and ").join(phrases)
            }
        return self.with_limits(phrase, arguments)

    def cron(self, trigger: Any, arguments: dict[str, Any]) -> str:
        expressions = cron_expressions(trigger, arguments)
        either = bool(
            getattr(trigger, "day_or_weekday", False)
            and expressions["day"] != "*"
            and expressions["day_of_week"] != "*"
        )
        try:
            time = self.time_of_day(expressions)
            days = self.days(expressions, either)
        except _Unknown:
            given = ", ".join(
                f"{name}={text}" for name, text in expressions.items() if text != "*"
            )
            return self.with_zone(
                self.with_limits(
                    self.gettext("when %(fields)s") % {"fields": given}, arguments
                ),
                arguments,
            )
        phrase = " ".join(part for part in (time, days) if part)
        return self.with_zone(self.with_limits(phrase, arguments), arguments)

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
            "years": ngettext("%(count)s year", "%(count)s years", whole),
            "months": ngettext("%(count)s month", "%(count)s months", whole),
            "weeks": ngettext("%(count)s week", "%(count)s weeks", whole),
            "days": ngettext("%(count)s day", "%(count)s days", whole),
            "hours": ngettext("%(count)s hour", "%(count)s hours", whole),
            "minutes": ngettext("%(count)s minute", "%(count)s minutes", whole),
            "seconds": ngettext("%(count)s second", "%(count)s seconds", whole),
        }[unit]
        return template % {"count": count}

    # Times of day.

    def time_of_day(self, expressions: dict[str, str]) -> str:
        hours, minutes, seconds = (
            _numbers(name, expressions[name]) for name in ("hour", "minute", "second")
        )
        if len(hours) * len(minutes) * len(seconds) <= LISTED_TIMES:
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
        step = _step(numbers)
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
        step = _step(hours)
        if step is None:
            times = [self.clock_time(hour, minute, second) for hour in hours]
            return _("at %(times)s") % {"times": self.listed(times)}
        phrase = self.every([("hours", step)])
        if hours[0] == 0 and hours[-1] + step == 24:
            if minute:
                past = self.ngettext(
                    "%(frequency)s at %(count)s minute past",
                    "%(frequency)s at %(count)s minutes past",
                    minute,
                )
                phrase = past % {"frequency": phrase, "count": minute}
            return self.at_second(phrase, second)
        return _("%(frequency)s from %(first)s to %(last)s") % {
            "frequency": phrase,
            "first": self.clock_time(hours[0], minute, second),
            "last": self.clock_time(hours[-1], minute, second),
        }

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
        if not phrases and self.is_time_of_day(expressions):
            phrases.append(_("every day"))
        return " ".join(phrases)

    def is_time_of_day(self, expressions: dict[str, str]) -> bool:
        """Tell whether the time reads "at 09:00", which asks for "every day"."""
        return len(_numbers("hour", expressions["hour"])) < 24

    def month(self, expression: str) -> str:
        numbers = _numbers("month", expression)
        if len(numbers) == 12:
            return ""
        names = [self.month_name(number) for number in numbers]
        return self.spans(names, numbers)

    def day_of_month(self, expression: str, months: str) -> str:
        _ = self.gettext
        if expression == "*":
            return ""
        month = months or _("every month")
        phrases, plain = [], []
        for part in expression.split(","):
            special = self.special_day(part.strip().lower())
            if special:
                phrases.append(special)
            else:
                plain.append(part)
        if plain:
            numbers = _numbers("day", ",".join(plain))
            days = self.spans([str(number) for number in numbers], numbers)
            template = _("day %(days)s") if len(numbers) == 1 else _("days %(days)s")
            phrases.insert(0, template % {"days": days})
        return _("on %(days)s of %(month)s") % {
            "days": self.listed(phrases),
            "month": month,
        }

    def special_day(self, text: str) -> str:
        _ = self.gettext
        if text == "last":
            return _("the last day")
        ordinal, space, weekday = text.partition(" ")
        names = {
            "1st": _("the first %(weekday)s"),
            "2nd": _("the second %(weekday)s"),
            "3rd": _("the third %(weekday)s"),
            "4th": _("the fourth %(weekday)s"),
            "5th": _("the fifth %(weekday)s"),
            "last": _("the last %(weekday)s"),
        }
        weekday = weekday.strip()[:3]
        if not space or ordinal not in names or weekday not in WEEKDAYS:
            return ""
        name = self.weekday_name(WEEKDAYS.index(weekday))
        return names[ordinal] % {"weekday": name}

    def day_of_week(self, expression: str) -> str:
        numbers = _numbers("day_of_week", expression)
        if len(numbers) == 7:
            return ""
        names = [self.weekday_name(number) for number in numbers]
        return self.gettext("on %(weekdays)s") % {
            "weekdays": self.spans(names, numbers)
        }

    def weeks(self, expression: str) -> list[str]:
        _ = self.gettext
        if expression == "*":
            return []
        numbers = _numbers("week", expression)
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
        numbers = _numbers("year", expression)
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

    def with_limits(self, phrase: str, arguments: dict[str, Any]) -> str:
        """Add start, end and jitter, where they are given."""
        _ = self.gettext
        limits = []
        if arguments.get("start_date"):
            limits.append(
                _("from %(time)s") % {"time": self.moment(arguments["start_date"])}
            )
        if arguments.get("end_date"):
            limits.append(
                _("until %(time)s") % {"time": self.moment(arguments["end_date"])}
            )
        if arguments.get("jitter"):
            length = self.length("seconds", arguments["jitter"])
            limits.append(_("up to %(length)s later") % {"length": length})
        return ", ".join([phrase, *limits])

    def with_zone(self, phrase: str, arguments: dict[str, Any]) -> str:
        zone = arguments.get("timezone")
        return f"{phrase}, {_zone_name(zone)}" if zone is not None else phrase


class _Unknown(Exception):
    """An expression that these words cannot put: it is shown as it stands."""


def cron_expressions(trigger: Any, arguments: dict[str, Any]) -> dict[str, str]:
    """
    Return the text of every field of a cron trigger, given or implied.

    Fields before the last one given are ``*``, those after it at their smallest.
    """
    given = {
        name: arguments[name] for name in FIELDS if arguments.get(name) is not None
    }
    last = max((FIELDS.index(name) for name in given), default=-1)
    return {
        name: str(given.get(name, "*" if index < last or last < 0 else _DEFAULTS[name]))
        .strip()
        .lower()
        for index, name in enumerate(FIELDS)
    }


def _numbers(name: str, expression: str) -> list[int]:
    """
    Return the numbers an expression stands for, ascending.

    :raises _Unknown: when it is no plain expression of numbers, names, ranges and steps
    """
    low, high = RANGES[name]
    numbers: set[int] = set()
    for part in expression.split(","):
        span, slash, step_text = part.strip().partition("/")
        if slash and not (step_text.isdigit() and int(step_text)):
            raise _Unknown(part)
        if span == "*":
            first, last = low, high
        else:
            first_text, dash, last_text = span.partition("-")
            first = _number(name, first_text)
            last = _number(name, last_text) if dash else (high if slash else first)
        numbers.update(range(first, last + 1, int(step_text) if slash else 1))
    if not numbers:
        raise _Unknown(expression)
    return sorted(numbers)


def _number(name: str, text: str) -> int:
    text = text.strip()
    if name == "day_of_week" and text[:3] in WEEKDAYS:
        return WEEKDAYS.index(text[:3])
    if name == "month" and text[:3] in MONTHS:
        return MONTHS.index(text[:3]) + 1
    if not text.isdigit():
        raise _Unknown(text)
    return int(text)


def _runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Return first and last of each run of consecutive numbers."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def _step(numbers: Sequence[int]) -> int | None:
    """Return the constant distance between three or more numbers, else None."""
    if len(numbers) < 3:
        return None
    steps = {after - before for before, after in itertools.pairwise(numbers)}
    return steps.pop() if len(steps) == 1 else None


def _zone_name(zone: Any) -> str:
    if isinstance(zone, tzinfo):
        name = getattr(zone, "key", None) or getattr(zone, "zone", None)
        return str(name or zone)
    return str(zone)
