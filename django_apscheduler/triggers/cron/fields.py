"""
What the fields of a cron expression may say.

Each field's text becomes a set of numbers; the day field also knows the n-th and the
last weekday of a month.
Source: APScheduler 3 user guide, "apscheduler.triggers.cron", "Expression types".
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NamedTuple

from django_apscheduler.triggers.base import shown

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MONTHS = (
    "jan",
    "feb",
    "mar",
    "apr",
    "may",
    "jun",
    "jul",
    "aug",
    "sep",
    "oct",
    "nov",
    "dec",
)

#: from the most to the least significant
FIELD_NAMES = (
    "year",
    "month",
    "day",
    "week",
    "day_of_week",
    "hour",
    "minute",
    "second",
)
LIMITS = {
    "year": (1970, 9999),
    "month": (1, 12),
    "day": (1, 31),
    "week": (1, 53),
    "day_of_week": (0, 6),
    "hour": (0, 23),
    "minute": (0, 59),
    "second": (0, 59),
}
_NAMES = {
    "month": {name: number for number, name in enumerate(MONTHS, 1)},
    "day_of_week": {name: number for number, name in enumerate(WEEKDAYS)},
}
_ORDINALS = {"1st": 1, "2nd": 2, "3rd": 3, "4th": 4, "5th": 5, "last": -1}

#: what a field that is not given says when a finer one is given, or a coarser one
_MINIMA = {"year": "*", "month": "1", "day": "1", "week": "*", "day_of_week": "*"}

# A thousand years one by one; nobody means more.
_LONGEST_TEXT = 5_000
_LIST_COMMA = re.compile(r" ?, ?")
_SPACE = re.compile(r"\s+")
_NUMBER = re.compile(r"[0-9]+")
_ELEMENT = re.compile(
    r"(?:(?P<all>\*)|(?P<first>[0-9]+|[a-z]+)(?:-(?P<last>[0-9]+|[a-z]+))?)"
    r"(?:/(?P<step>[0-9]+))?"
)


class DayRule(NamedTuple):
    """What the day field allows."""

    #: days of the month
    numbers: frozenset[int]
    #: the last day of the month, too
    last: bool
    #: (n, weekday): the n-th such weekday of the month, -1 for the last one
    nth: frozenset[tuple[int, int]]


class Field(NamedTuple):
    """One field of a cron trigger, for showing."""

    name: str
    text: str
    #: not given, so filled in
    is_default: bool

    def __str__(self) -> str:
        return self.text


def field_text(name: str, value: Any) -> str:
    """
    Return a declared value (int or text) as the field's text in its usual spelling.

    :raises TypeError: for anything but whole numbers and text
    """
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise TypeError(
            f"{name} must be a whole number or a text such as {_example(name)}; "
            f"got {type(value).__name__}"
        )
    if isinstance(value, int):
        low, high = LIMITS[name]
        if not low <= value <= high:
            raise ValueError(f"{name}: {shown(value)} is outside {low}-{high}")
        return str(value)
    if len(value) > _LONGEST_TEXT:
        raise ValueError(
            f"{name}: the expression has {len(value)} characters; "
            f"{_LONGEST_TEXT} are allowed"
        )
    text = _SPACE.sub(" ", value.strip().lower())
    return _LIST_COMMA.sub(",", text)


def check_text(name: str, text: str) -> None:
    """:raises ValueError: naming the field and its range, when the text is wrong"""
    if name == "day":
        parse_days(text)
    else:
        parse_numbers(name, text)


def complete(given: dict[str, str]) -> dict[str, str]:
    """
    Return the text of every field, in order of significance.

    Fields finer than the least significant given one take their minimum, week and
    day_of_week excepted; all others are ``*``.
    """
    places = [place for place, name in enumerate(FIELD_NAMES) if name in given]
    finest = max(places, default=len(FIELD_NAMES))
    return {
        name: given.get(name, "*" if place < finest else _MINIMA.get(name, "0"))
        for place, name in enumerate(FIELD_NAMES)
    }


@lru_cache(maxsize=2048)
def parse_numbers(name: str, text: str) -> frozenset[int]:
    """
    Return the numbers that ``text`` allows in the field ``name``.

    :raises ValueError: naming the field and its range
    """
    numbers: set[int] = set()
    for element in text.split(","):
        numbers.update(_element(name, element, text))
    return frozenset(numbers)


@lru_cache(maxsize=2048)
def parse_days(text: str) -> DayRule:
    """Return what ``text`` allows in the field ``day``."""
    numbers: set[int] = set()
    nth: set[tuple[int, int]] = set()
    last = False
    for element in text.split(","):
        ordinal, space, weekday = element.partition(" ")
        if element == "last":
            last = True
        elif space and ordinal in _ORDINALS:
            if weekday not in WEEKDAYS:
                raise ValueError(
                    f"day: {shown(weekday)} is not a weekday, expected one of "
                    f"{', '.join(WEEKDAYS)} {_where(text)}"
                )
            nth.add((_ORDINALS[ordinal], WEEKDAYS.index(weekday)))
        else:
            numbers.update(_element("day", element, text))
    return DayRule(frozenset(numbers), last, frozenset(nth))


def _element(name: str, element: str, text: str) -> range:
    match = _ELEMENT.fullmatch(element)
    low, high = LIMITS[name]
    if not match:
        raise ValueError(
            f"{name}: {shown(element)} is not understood, expected a value in "
            f"{low}-{high} such as {_example(name)} {_where(text)}"
        )
    if match["all"]:
        first, last = low, high
    else:
        first = _value(name, match["first"], text)
        last = first if match["last"] is None else _value(name, match["last"], text)
        if last < first:
            raise ValueError(
                f"{name}: the range {element} runs backwards, the first value must "
                f"not be greater than the last; write two, such as "
                f"{match['first']}-{high},{low}-{match['last']} {_where(text)}"
            )
    if match["step"] is None:
        return range(first, last + 1)
    if not match["all"] and match["last"] is None:
        raise ValueError(
            f"{name}: a step needs * or a range, such as "
            f"{match['first']}-{high}/{match['step'][:10]} {_where(text)}"
        )
    # Eleven digits are too many for any field; int() would work on thousands.
    step = int(match["step"][:11])
    if not 1 <= step <= last - first:
        raise ValueError(
            f"{name}: the step {step} is outside 1-{last - first}, the length of the "
            f"range {first}-{last} {_where(text)}"
        )
    return range(first, last + 1, step)


def _value(name: str, word: str, text: str) -> int:
    low, high = LIMITS[name]
    if _NUMBER.fullmatch(word):
        number = int(word.lstrip("0")[:11] or "0")
        if not low <= number <= high:
            raise ValueError(
                f"{name}: {word[:20]} is outside {low}-{high} {_where(text)}"
            )
        return number
    names = _NAMES.get(name, {})
    if word not in names:
        expected = f"one of {', '.join(names)} or " if names else ""
        raise ValueError(
            f"{name}: {shown(word)} is not understood, expected {expected}"
            f"a number in {low}-{high} {_where(text)}"
        )
    return names[word]


def _where(text: str) -> str:
    return f"(in expression {shown(text)})"


def _example(name: str) -> str:
    low, high = LIMITS[name]
    if name == "day":
        return "'*', '1', '1-15', '*/2', 'last' or '2nd fri'"
    if name in _NAMES:
        first, *_, last = _NAMES[name]
        return f"'*', '{low}', '{first}-{last}' or '*/2'"
    return f"'*', '{low}', '{low}-{high}' or '*/2'"
