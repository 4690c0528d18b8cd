"""
The fields of which the trigger editor is made: what is typed, turned into arguments.

Each shows a stored argument as the text that would give it again, and raises errors as
sentences without the field's name, which the form puts before them.
"""

from __future__ import annotations

import difflib
import re
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext

from django_apscheduler.triggers.cron.fields import check_text, field_text
from django_apscheduler.util import astimezone, convert_to_datetime, utc

#: Characters that a field takes; the longest real schedules need a tenth of it.
MAX_TEXT = 200
#: id of the list of time zones that the page offers.
ZONE_LIST = "dja-zones"

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_TIME = re.compile(r"(\d{1,2}):(\d\d)(?::(\d\d))?")
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)")
_NUMBER = re.compile(r"\d{1,15}(\.\d{1,9})?")
_OUTSIDE = re.compile(r"(\S+) is outside (\d+)-(\d+)")
_WHERE = re.compile(r" \(in expression .*\)$", re.DOTALL)


def cut(text: str) -> str:
    """Return a text of the user's as an error quotes it."""
    return text if len(text) <= 60 else f"{text[:57]}…"


class PickerInput(forms.TextInput):
    """The browser's own picker where it can show the value exactly, else plain text."""

    def __init__(self, kind: str, pattern: re.Pattern[str]):
        super().__init__()
        self.kind = kind
        self.pattern = pattern

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        text = context["widget"]["value"] or ""
        if not text or self.pattern.fullmatch(text):
            context["widget"]["type"] = self.kind
            if self.kind != "date":
                context["widget"]["attrs"]["step"] = "1"
        return context


class EditorField(forms.Field):
    """
    A text field of the editor.

    `parse` turns what was typed into an argument and `show` is its inverse. The value
    of an empty field is None.
    """

    widget = forms.TextInput
    longest = MAX_TEXT

    def __init__(self, **options: Any):
        super().__init__(**{"required": False, **options})

    def to_python(self, value: Any) -> Any:
        text = "" if value is None else str(value).strip()
        if not text:
            return None
        if len(text) > self.longest:
            raise ValidationError(
                gettext("expected at most %(most)s characters; got %(length)s.")
                % {"most": self.longest, "length": len(text)}
            )
        if "\0" in text:
            raise ValidationError(gettext("must not hold the character NUL."))
        return self.parse(text)

    def validate(self, value: Any) -> None:
        if self.required and value is None:
            raise ValidationError(self.missing())

    def missing(self) -> str:
        return gettext("is needed.")

    def has_changed(self, initial: Any, data: Any) -> bool:
        return self.normal(initial) != self.normal(data)

    def normal(self, value: Any) -> str:
        """Return the text in the one spelling in which it is compared."""
        return "" if value is None else str(value).strip()

    def parse(self, text: str) -> Any:
        """:raises ValidationError: saying what was expected and what came"""
        return text

    def show(self, value: Any) -> str:
        """Return the text for an argument as it was declared."""
        return "" if value is None else str(value)


class MomentField(EditorField):
    """A date and time: naive ones are in the trigger's zone, an offset may be given."""

    def __init__(self, **options: Any):
        super().__init__(
            **{"widget": PickerInput("datetime-local", _MOMENT), **options}
        )

    def normal(self, value: Any) -> str:
        text = super().normal(value)
        if re.match(r"\d{4}-\d\d-\d\d \d", text):
            text = text.replace(" ", "T", 1)
        # Browsers leave out seconds that are zero.
        return f"{text}:00" if re.fullmatch(r"[\d-]{10}T\d\d:\d\d", text) else text

    def parse(self, text: str) -> datetime:
        try:
            moment = convert_to_datetime(self.normal(text), utc, "")
            assert moment is not None
            moment.astimezone(utc) + timedelta(days=2)
            moment.astimezone(utc) - timedelta(days=2)
        except OverflowError:
            problem = gettext("%(value)s is beyond the calendar.")
            raise ValidationError(problem % {"value": cut(text)}) from None
        except ValueError:
            raise ValidationError(
                gettext(
                    "expected a date and time such as 2026-05-30 14:00:00; got "
                    "“%(value)s”."
                )
                % {"value": cut(text)}
            ) from None
        if re.search(r"(Z|[+-]\d\d:?\d\d)$", text[10:]):
            return moment
        return moment.replace(tzinfo=None)

    def show_in(self, value: Any, zone: tzinfo | None) -> str:
        """Return a declared moment as wall time in ``zone`` where that is exact."""
        if value is None:
            return ""
        if isinstance(value, str):
            return self.normal(value)
        if not isinstance(value, datetime):
            return f"{value.isoformat()}T00:00:00"
        if value.tzinfo is None:
            return value.isoformat()
        if zone is not None:
            wall = value.astimezone(zone)
            naive = wall.replace(tzinfo=None, fold=0)
            # The second of two equal wall times needs its offset to be told apart.
            if naive.replace(tzinfo=zone).utcoffset() == value.astimezone(
                zone
            ).utcoffset() and not (wall.fold and _repeats(naive, zone)):
                return naive.isoformat()
        return value.isoformat()


def _repeats(naive: datetime, zone: tzinfo) -> bool:
    first, second = naive.replace(tzinfo=zone), naive.replace(tzinfo=zone, fold=1)
    return first.utcoffset() != second.utcoffset()


class DayField(EditorField):
    """A date."""

    def __init__(self, **options: Any):
        super().__init__(**{"widget": PickerInput("date", _DAY), **options})

    def parse(self, text: str) -> date:
        try:
            if _DAY.fullmatch(text):
                return date.fromisoformat(text)
        except ValueError:
            pass
        raise ValidationError(
            gettext("expected a date such as 2026-05-30; got “%(value)s”.")
            % {"value": cut(text)}
        )

    def show(self, value: Any) -> str:
        if isinstance(value, datetime):
            return value.date().isoformat()
        return value.isoformat() if isinstance(value, date) else super().show(value)


class TimeField(EditorField):
    """A time of day."""

    def __init__(self, **options: Any):
        super().__init__(**{"widget": PickerInput("time", _TIME), **options})

    def normal(self, value: Any) -> str:
        text = super().normal(value)
        return f"{text}:00" if re.fullmatch(r"\d\d:\d\d", text) else text

    def parse(self, text: str) -> time:
        match = _TIME.fullmatch(text)
        try:
            if match:
                hour, minute, second = (int(part or 0) for part in match.groups())
                return time(hour, minute, second)
        except ValueError:
            pass
        raise ValidationError(
            gettext(
                "expected a time of day such as 09:30 or 23:59:59; got “%(value)s”."
            )
            % {"value": cut(text)}
        )


class NumberField(EditorField):
    """
    A number that is not negative.

    :param whole: refuse fractions
    :param least: refuse numbers below
    :param largest: refuse numbers beyond
    """

    longest = 40

    def __init__(
        self, *, whole: bool = False, least: float = 0, largest: float, **options: Any
    ):
        super().__init__(**options)
        self.whole = whole
        self.least = least
        self.largest = largest
        self.widget.attrs["inputmode"] = "numeric" if whole else "decimal"
        self.widget.attrs["autocomplete"] = "off"

    def parse(self, text: str) -> float:
        if not _NUMBER.fullmatch(text) or (self.whole and "." in text):
            if self.whole:
                problem = gettext("expected a whole number such as 5; got “%(value)s”.")
            else:
                problem = gettext(
                    "expected a number such as 5 or 0.5; got “%(value)s”."
                )
            raise ValidationError(problem % {"value": cut(text)})
        number = float(text) if "." in text else int(text)
        if not self.least <= number <= self.largest:
            raise ValidationError(
                gettext("%(value)s is outside %(low)s–%(high)s.")
                % {"value": cut(text), "low": self.least, "high": self.largest}
            )
        return number


class CronPartField(EditorField):
    """One field of a cron trigger, in the form `CronTrigger` takes."""

    def __init__(self, part: str, **options: Any):
        super().__init__(**options)
        self.part = part
        self.widget.attrs.update(
            {"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}
        )

    def normal(self, value: Any) -> str:
        return super().normal(value).lower()

    def parse(self, text: str) -> str:
        try:
            text = field_text(self.part, text)
            check_text(self.part, text)
        except ValueError as error:
            raise ValidationError(cron_problem(self.part, str(error))) from None
        return text


def cron_problem(part: str, message: str) -> str:
    """Return what the engine says of a cron field, for people and without its name."""
    message = _WHERE.sub("", message.removeprefix(f"{part}: "))
    match = _OUTSIDE.match(message)
    if match:
        value, low, high = match.groups()
        return gettext("%(value)s is outside %(low)s–%(high)s.") % {
            "value": value.strip("'"),
            "low": low,
            "high": high,
        }
    return f"{message}." if not message.endswith(".") else message


class ZoneField(EditorField):
    """A time zone by name, or an offset such as +05:30."""

    longest = 64

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.widget.attrs.update(
            {"list": ZONE_LIST, "autocomplete": "off", "spellcheck": "false"}
        )

    def parse(self, text: str) -> tzinfo:
        match = _OFFSET.fullmatch(text)
        try:
            if match:
                length = timedelta(hours=int(match[2]), minutes=int(match[3]))
                return timezone(-length if match[1] == "-" else length)
            zone = astimezone(text)
            assert zone is not None
            return zone
        except ValueError:
            raise ValidationError(unknown_zone(text)) from None

    def show(self, value: Any) -> str:
        if value is None or isinstance(value, str):
            return value or ""
        zone = astimezone(value)
        key = getattr(zone, "key", None)
        if key:
            return key
        if zone is utc:
            return "UTC"
        return datetime(1970, 1, 1, tzinfo=zone).isoformat()[19:]


def unknown_zone(text: str) -> str:
    """Return the error for a time zone that does not exist, with the likely one."""
    names = {name.lower(): name for name in zone_names()}
    near = difflib.get_close_matches(text.lower(), names, n=1)
    if near:
        return gettext("“%(value)s” is no time zone; did you mean “%(likely)s”?") % {
            "value": cut(text),
            "likely": names[near[0]],
        }
    return gettext(
        "expected a time zone such as Europe/Berlin or UTC; got “%(value)s”."
    ) % {"value": cut(text)}


@lru_cache(maxsize=1)
def zone_names() -> tuple[str, ...]:
    """Return the names of the time zones to offer, sorted, UTC first."""
    regions = {
        name
        for name in available_timezones()
        if "/" in name and not name.startswith(("Etc/", "SystemV/", "US/", "posix/"))
    }
    return ("UTC", *sorted(regions))
