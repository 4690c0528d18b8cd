"""
The five-field crontab format, translated into the fields of CronTrigger.

Source: crontab(5) as of Debian's cron.
"""

from __future__ import annotations

import re
from typing import Any

from django_apscheduler.triggers.base import shown
from django_apscheduler.triggers.cron.fields import WEEKDAYS, field_text

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS = ("minute", "hour", "day", "month", "day_of_week")

# Counted from Sunday, which is 7, too.
_NUMBERS = {
    "sun": 0,
    "mon": 1,
    "tue": 2,
    "wed": 3,
    "thu": 4,
    "fri": 5,
    "sat": 6,
}
_ELEMENT = re.compile(
    r"(?:(?P<all>\*)|(?P<first>[0-9]+|[a-z]+)(?:-(?P<last>[0-9]+|[a-z]+))?)"
    r"(?:/(?P<step>[0-9]+))?"
)


def parse_crontab(expression: Any) -> dict[str, Any]:
    """
    Return CronTrigger's arguments for a crontab expression or macro.

    :raises TypeError: when it is not text
    :raises ValueError: naming the field and its range
    """
    if not isinstance(expression, str):
        raise TypeError(
            "expected a crontab expression such as '0 9 * * mon-fri'; "
            f"got {type(expression).__name__}"
        )
    text = expression.strip().lower()
    if text.startswith("@"):
        if text not in MACROS:
            raise ValueError(
                f"{shown(expression)} is not a crontab macro, expected one of "
                f"{', '.join(MACROS)}"
            )
        text = MACROS[text]
    parts = text.split()
    if len(parts) != len(_FIELDS):
        raise ValueError(
            "a crontab expression has 5 fields: minute hour day month day_of_week; "
            f"got {len(parts)} in {shown(expression)}"
        )
    arguments: dict[str, Any] = dict(zip(_FIELDS, parts))
    # "Restricted" in the sense of crontab(5): the field does not start with *.
    if not arguments["day"].startswith("*") and not parts[4].startswith("*"):
        arguments["day_or"] = True
    for name in _FIELDS:
        _refuse_extensions(name, arguments[name])
    arguments["day_of_week"] = _weekdays(field_text("day_of_week", parts[4]))
    return arguments


def _refuse_extensions(name: str, text: str) -> None:
    # Without spaces the only word beyond numbers and names that fits is this one.
    if name == "day" and "last" in text.split(","):
        raise ValueError(
            "day: 'last' is not part of the crontab format, expected a value in 1-31 "
            f"(in expression {shown(text)}); use CronTrigger(day='last', ...)"
        )


def _weekdays(text: str) -> str:
    """Return a crontab's weekdays, counted from Sunday, by name and from Monday."""
    if text == "*":
        return text
    days: set[int] = set()
    for element in text.split(","):
        days.update((number - 1) % 7 for number in _element(element, text))
    return _join(sorted(days))


def _element(element: str, text: str) -> range:
    where = f"(in expression {shown(text)})"
    match = _ELEMENT.fullmatch(element)
    if not match:
        raise ValueError(
            f"day_of_week: {shown(element)} is not understood, expected a value in "
            f"0-7 such as '*', '0', '1-5' or 'mon-fri' {where}"
        )
    if match["all"]:
        first, last = 0, 6
    else:
        first = _value(match["first"], where)
        last = first if match["last"] is None else _value(match["last"], where)
        if match["last"] == "sun" and first:
            last = 7
        if last < first:
            raise ValueError(
                f"day_of_week: the range {element} runs backwards, the first value "
                f"must not be greater than the last {where}"
            )
    if match["step"] is None:
        return range(first, last + 1)
    if not match["all"] and match["last"] is None:
        raise ValueError(
            f"day_of_week: a step needs * or a range, such as {first}-7/2 {where}"
        )
    step = int(match["step"][:11])
    if not 1 <= step <= last - first:
        raise ValueError(
            f"day_of_week: the step {step} is outside 1-{last - first}, the length of "
            f"the range {first}-{last} {where}"
        )
    return range(first, last + 1, step)


def _value(word: str, where: str) -> int:
    if word in _NUMBERS:
        return _NUMBERS[word]
    number = int(word[:11]) if word.isdigit() else -1
    if not 0 <= number <= 7:
        raise ValueError(
            f"day_of_week: {shown(word)} is outside 0-7 (0 and 7 are Sunday) and none "
            f"of {', '.join(_NUMBERS)} {where}"
        )
    return number


def _join(days: list[int]) -> str:
    """Return sorted weekdays as text, three or more in a row as a range."""
    parts = []
    while days:
        run = 1
        while run < len(days) and days[run] == days[0] + run:
            run += 1
        if run >= 3:
            parts.append(f"{WEEKDAYS[days[0]]}-{WEEKDAYS[days[run - 1]]}")
        else:
            parts.extend(WEEKDAYS[day] for day in days[:run])
        days = days[run:]
    return ",".join(parts)
