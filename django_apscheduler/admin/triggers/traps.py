"""
Where a schedule may not mean what its author thinks, told from its parsed fields.

Never from the raw text: `1-5` in a field is Tuesday to Saturday, in a crontab
expression Monday to Friday, and the trigger knows which of the two it was given.
"""

from __future__ import annotations

import itertools
from calendar import monthrange
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.utils.translation import gettext, ngettext

from django_apscheduler import describe
from django_apscheduler.admin import words
from django_apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from django_apscheduler.triggers.combining import AndTrigger
from django_apscheduler.triggers.cron import CronTrigger
from django_apscheduler.triggers.cron.crontab import parse_crontab
from django_apscheduler.triggers.cron.fields import (
    LIMITS,
    check_text,
    field_text,
    parse_days,
    parse_numbers,
)
from django_apscheduler.triggers.date import DateTrigger

#: Any leap year; no month is longer in another.
_LEAP_YEAR = 2000


@dataclass(slots=True)
class Traps:
    """
    Remarks on a schedule, as sentences.

    :ivar warnings: what is probably not meant
    :ivar notes: what is good to know
    """

    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find(
    trigger: Any, times: Sequence[datetime], now: datetime, raw_crontab: str = ""
) -> Traps:
    """
    Return remarks on a trigger.

    :param times: its next fire times
    :param raw_crontab: the crontab expression it was made from, "" when made otherwise
    """
    found = Traps()
    for leaf in leaves(trigger):
        if isinstance(leaf, CronTrigger):
            _weekday_numbers(leaf, found)
            _both_days(leaf, found)
            _left_out_months(leaf, found)
            _every_minute(leaf, found)
            _uneven_steps(leaf, found)
        elif isinstance(leaf, CalendarIntervalTrigger):
            _left_out_dates(leaf, now, found)
        elif isinstance(leaf, DateTrigger):
            _past_date(leaf, now, found)
    _jitter(trigger, times, found)
    if raw_crontab.strip():
        _crontab_numbers(raw_crontab, found)
    found.warnings = list(dict.fromkeys(found.warnings))
    found.notes = list(dict.fromkeys(found.notes))
    return found


def leaves(trigger: Any) -> Iterator[Any]:
    """Yield a trigger, or the triggers that it is combined of."""
    children = getattr(trigger, "triggers", None)
    if children is None:
        yield trigger
        return
    for child in children:
        yield from leaves(child)


def why_never(trigger: Any, now: datetime) -> str:
    """Return why a trigger has no fire time to come, as a sentence."""
    end = getattr(trigger, "end_date", None)
    if end is not None and end < now:
        return gettext("Never fires: its end date, %(moment)s, has passed.") % {
            "moment": words.wall(end, now)
        }
    for leaf in leaves(trigger):
        if isinstance(leaf, CronTrigger) and not leaf.day_or:
            text = _texts(leaf)
            months = parse_numbers("month", text["month"])
            rule = parse_days(text["day"])
            longest = max(map(_longest, months))
            if rule.numbers and not rule.nth and not rule.last:
                if min(rule.numbers) > longest:
                    return gettext(
                        "Never fires: there is no day %(day)s in %(months)s."
                    ) % {
                        "day": min(rule.numbers),
                        "months": describe.name_months(months, gettext),
                    }
            years = parse_numbers("year", text["year"])
            if max(years) < now.year:
                return gettext("Never fires: the year %(year)s has passed.") % {
                    "year": max(years)
                }
    if isinstance(trigger, AndTrigger):
        return gettext("Never fires: its schedules agree on no moment to come.")
    return gettext("Never fires: no moment to come matches.")


def _texts(trigger: CronTrigger) -> dict[str, str]:
    return {field.name: field.text for field in trigger.fields}


def _given(trigger: CronTrigger) -> dict[str, str]:
    """Return the fields that were given, and are not "any"."""
    return {
        field.name: field.text
        for field in trigger.fields
        if not field.is_default and field.text != "*"
    }


def _as_crontab(text: str) -> frozenset[int] | None:
    """Return the weekdays, 0 for Monday, that a text means in a crontab."""
    try:
        read = parse_crontab(f"* * * * {text.replace(' ', '')}")["day_of_week"]
        return parse_numbers("day_of_week", read)
    except ValueError:
        return None


def _weekday_numbers(trigger: CronTrigger, found: Traps) -> None:
    text = _given(trigger).get("day_of_week")
    if text is None:
        return
    here = parse_numbers("day_of_week", text)
    crontab = _as_crontab(text)
    if crontab is None or crontab == here:
        return
    found.warnings.append(
        gettext(
            "Weekday %(text)s means %(here)s: in this field 0 is Monday. In a "
            "crontab it would mean %(crontab)s; for that, write %(names)s."
        )
        % {
            "text": text,
            "here": describe.name_weekdays(here, gettext),
            "crontab": describe.name_weekdays(crontab, gettext),
            "names": parse_crontab(f"* * * * {text.replace(' ', '')}")["day_of_week"],
        }
    )


def _crontab_numbers(raw: str, found: Traps) -> None:
    """Say where the same words in the fields would be another schedule."""
    try:
        arguments = parse_crontab(raw)
    except ValueError:
        return
    parts = raw.split()
    if len(parts) != 5:
        return
    text = parts[4].lower()
    try:
        check_text("day_of_week", field_text("day_of_week", text))
    except ValueError:
        # Such as 7 for Sunday: the field would refuse it, so nobody is misled.
        pass
    else:
        here = parse_numbers("day_of_week", field_text("day_of_week", text))
        crontab = parse_numbers("day_of_week", arguments["day_of_week"])
        if here != crontab:
            found.notes.append(
                gettext(
                    "In this crontab expression %(text)s means %(crontab)s. In the "
                    "field Weekday the same numbers would mean %(here)s, since "
                    "there 0 is Monday."
                )
                % {
                    "text": text,
                    "here": describe.name_weekdays(here, gettext),
                    "crontab": describe.name_weekdays(crontab, gettext),
                }
            )


def _both_days(trigger: CronTrigger, found: Traps) -> None:
    given = _given(trigger)
    if "day" not in given or "day_of_week" not in given:
        return
    if trigger.day_or:
        found.notes.append(
            gettext(
                "Day of month and weekday are both given: as in a crontab, it runs on days "
                "that match either of them."
            )
        )
    else:
        found.warnings.append(
            gettext(
                "Day of month and weekday are both given: it runs only on days that match "
                "both. In a crontab it would run on days that match either."
            )
        )


def _longest(month: int) -> int:
    return monthrange(_LEAP_YEAR, month)[1]


def _left_out_months(trigger: CronTrigger, found: Traps) -> None:
    text = _texts(trigger)
    rule = parse_days(text["day"])
    if trigger.day_or or rule.nth or rule.last or not rule.numbers:
        return
    months = parse_numbers("month", text["month"])
    day = min(rule.numbers)
    if day <= 28 or day > max(map(_longest, months)):
        return
    _say_left_out(day, months, found, _LAST_DAY)


_LAST_DAY = "last"


def _say_left_out(
    day: int, months: frozenset[int], found: Traps, remedy: str = ""
) -> None:
    without = [month for month in months if _longest(month) < day]
    if without:
        sentence = ngettext(
            "%(months)s has no day %(day)s and is left out.",
            "%(months)s have no day %(day)s and are left out.",
            len(without),
        ) % {"months": describe.name_months(without, gettext), "day": day}
    elif day == 29 and 2 in months:
        sentence = gettext("In February it runs in leap years only.")
    else:
        return
    if remedy:
        sentence += " " + gettext("For the last day of the month write %(text)s.") % {
            "text": remedy
        }
    found.warnings.append(sentence)


def _left_out_dates(
    trigger: CalendarIntervalTrigger, now: datetime, found: Traps
) -> None:
    if trigger.weeks or trigger.days or not (trigger.months or trigger.years):
        return
    anchor = (trigger.anchor or now).astimezone(trigger.timezone).date()
    start = trigger.start_date or anchor
    if start.day <= 28:
        return
    step = trigger.years * 12 + trigger.months
    months = frozenset((start.month - 1 + step * n) % 12 + 1 for n in range(12))
    _say_left_out(start.day, months, found)


def _every_minute(trigger: CronTrigger, found: Traps) -> None:
    text, given = _texts(trigger), _given(trigger)
    seconds = parse_numbers("second", text["second"])
    if len(seconds) == 60:
        found.warnings.append(
            gettext(
                "Second is %(text)s: it runs every second of the minutes that match. "
                "Write 0 for once a minute."
            )
            % {"text": text["second"]}
        )
    minutes = parse_numbers("minute", text["minute"])
    # Hours one by one are times of day; a range such as 9-17 is a time to be busy.
    if len(minutes) == 60 and "hour" in given and not set("-*") & set(given["hour"]):
        found.warnings.append(
            ngettext(
                "Minute is %(text)s: it runs every minute of hour %(hours)s, not once. "
                "Write 0 for once on the hour.",
                "Minute is %(text)s: it runs every minute of the hours %(hours)s, not "
                "once each. Write 0 for once on the hour.",
                len(parse_numbers("hour", text["hour"])),
            )
            % {
                "text": text["minute"],
                "hours": describe.name_numbers(
                    parse_numbers("hour", text["hour"]), gettext
                ),
            }
        )


def _uneven_steps(trigger: CronTrigger, found: Traps) -> None:
    for name, text in _given(trigger).items():
        if "/" not in text or "," in text or name not in _RESTARTS:
            continue
        low, high = LIMITS[name]
        numbers = sorted(
            parse_days(text).numbers if name == "day" else parse_numbers(name, text)
        )
        if len(numbers) < 2 or numbers[0] != low:
            continue
        step = numbers[1] - numbers[0]
        whole = numbers[-1] + step > high
        if whole and (high - low + 1) % step:
            found.warnings.append(
                _RESTARTS[name]()
                % {"text": text, "last": numbers[-1], "first": low, "step": step}
            )


#: How a step that does not divide its unit is told, by field.
_RESTARTS = {
    "second": lambda: gettext(
        "Second %(text)s starts anew each minute: after %(last)s comes 0, less than "
        "%(step)s seconds later. For an even pace use an interval."
    ),
    "minute": lambda: gettext(
        "Minute %(text)s starts anew each hour: after %(last)s comes 0, less than "
        "%(step)s minutes later. For an even pace use an interval."
    ),
    "hour": lambda: gettext(
        "Hour %(text)s starts anew each day: after %(last)s comes 0, less than "
        "%(step)s hours later. For an even pace use an interval."
    ),
    "day": lambda: gettext(
        "Day %(text)s starts anew each month on day %(first)s. For an even pace use a "
        "calendar interval."
    ),
}


def _past_date(trigger: DateTrigger, now: datetime, found: Traps) -> None:
    if trigger.run_date >= now:
        return
    found.warnings.append(
        gettext(
            "%(moment)s has passed (%(age)s): it runs at once if that is within the "
            "misfire grace time, else it is recorded as missed."
        )
        % {
            "moment": words.exact(trigger.run_date),
            "age": words.relative(trigger.run_date, now),
        }
    )


def _jitter(trigger: Any, times: Sequence[datetime], found: Traps) -> None:
    jitter = getattr(trigger, "jitter", None)
    if not jitter:
        return
    gaps = [
        (after - before).total_seconds() for before, after in itertools.pairwise(times)
    ]
    if gaps and jitter > min(gaps):
        found.warnings.append(
            gettext(
                "The jitter of up to %(jitter)s is longer than the %(gap)s between two "
                "runs: they may come close together, or overtake each other."
            )
            % {"jitter": words.duration(jitter), "gap": words.duration(min(gaps))}
        )
