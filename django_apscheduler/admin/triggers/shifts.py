"""
Moving schedules: by an amount of time, or to another time zone.

A moved trigger fires exactly at the times of the old one, each later by the amount on
the wall clock of its zone (an interval: of elapsed time). Where no trigger says that,
`CannotMove` tells why.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta, tzinfo
from typing import Any

from django.utils.translation import gettext

from django_apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from django_apscheduler.triggers.combining import (
    AndTrigger,
    CombiningTrigger,
)
from django_apscheduler.triggers.cron import CronTrigger
from django_apscheduler.triggers.cron.fields import (
    LIMITS,
    WEEKDAYS,
    parse_days,
    parse_numbers,
)
from django_apscheduler.triggers.date import DateTrigger
from django_apscheduler.triggers.interval import IntervalTrigger
from django_apscheduler.util import utc

#: Clocks are changed in these hours, wherever they are.
_CHANGING_HOURS = frozenset(range(5))
#: Days that every month has.
_COMMON_DAYS = 28
_DAY_FIELDS = ("year", "month", "day", "week", "day_of_week")


class CannotMove(ValueError):
    """Raised, with a sentence for people, for what no trigger can say."""


class ComesToTheSame(CannotMove):
    """Raised for a move after which the times are those of before."""

    def __init__(self) -> None:
        super().__init__(gettext("It would come to the same times as now."))


def shift(trigger: Any, by: timedelta) -> Any:
    """
    Return the trigger whose times are those of another one, later by an amount.

    :param by: whole seconds; negative for earlier
    :raises CannotMove: with the reason
    """
    if not by:
        raise CannotMove(gettext("An amount of zero moves nothing."))
    try:
        return _SHIFTS[type(trigger)](trigger, by)
    except KeyError:
        raise CannotMove(_own_class(trigger)) from None
    except OverflowError:
        raise CannotMove(gettext("That is beyond the calendar.")) from None


def rezone(trigger: Any, zone: tzinfo) -> Any:
    """
    Return the trigger that shows the same times on the clocks of another zone.

    :raises CannotMove: with the reason
    """
    try:
        return _ZONES[type(trigger)](trigger, zone)
    except KeyError:
        raise CannotMove(_own_class(trigger)) from None
    except OverflowError:
        raise CannotMove(gettext("That is beyond the calendar.")) from None


def _own_class(trigger: Any) -> str:
    if trigger is None:
        return gettext("It has no schedule that can be read here.")
    return gettext(
        "What its own kind of trigger, %(name)s, means is not known here."
    ) % {"name": type(trigger).__name__}


# One moment.


def _wall(moment: datetime, by: timedelta, zone: tzinfo) -> datetime:
    """Move a moment by the wall clock of a zone."""
    naive = moment.astimezone(zone).replace(tzinfo=None, fold=0) + by
    return _on_the_clock(naive, zone)


def _on_the_clock(naive: datetime, zone: tzinfo) -> datetime:
    moved = naive.replace(tzinfo=zone)
    if moved.astimezone(utc).astimezone(zone).replace(tzinfo=None) != naive:
        raise CannotMove(
            gettext("%(moment)s does not exist there: the clock is put forward.")
            % {"moment": naive.isoformat(" ", "minutes")}
        )
    return moved


def _shift_date(trigger: DateTrigger, by: timedelta) -> DateTrigger:
    zone = trigger.timezone or utc
    return _made(trigger, run_date=_wall(trigger.run_date, by, zone))


def _rezone_date(trigger: DateTrigger, zone: tzinfo) -> DateTrigger:
    naive = trigger.run_date.astimezone(trigger.timezone).replace(tzinfo=None, fold=0)
    return _made(trigger, run_date=_on_the_clock(naive, zone), timezone=zone)


# Equal stretches.


def _shift_interval(trigger: IntervalTrigger, by: timedelta) -> IntervalTrigger:
    start = trigger.start_date
    if start is None:
        if trigger.anchor is None:
            raise CannotMove(gettext("It has not begun to count yet."))
        # Without a start date the first fire time is one interval after the anchor.
        start = trigger.anchor + trigger.interval
    end = trigger.end_date
    return _made(
        trigger,
        start_date=_elapsed(start, by),
        end_date=None if end is None else _elapsed(end, by),
    )


def _elapsed(moment: datetime, by: timedelta) -> datetime:
    return (moment.astimezone(utc) + by).astimezone(moment.tzinfo)


def _rezone_interval(trigger: IntervalTrigger, zone: tzinfo) -> IntervalTrigger:
    raise CannotMove(
        gettext("It counts elapsed time, which is the same in every time zone.")
    )


# Calendar intervals.


def _shift_calendar(
    trigger: CalendarIntervalTrigger, by: timedelta
) -> CalendarIntervalTrigger:
    clock = datetime.combine(date(2000, 1, 2), trigger.time) + by
    days = (clock.date() - date(2000, 1, 2)).days
    start = _calendar_start(trigger)
    moved = start + timedelta(days=days)
    if days and (trigger.months or trigger.years):
        # The day of the month is that of the start; months may lack it.
        if (start.month, start.year) != (moved.month, moved.year) or max(
            start.day, moved.day
        ) > _COMMON_DAYS:
            raise CannotMove(
                gettext("It would come to other days of the month, or of other months.")
            )
    last = None if trigger.end_date is None else trigger.end_date.date()
    return _made(
        trigger,
        hour=clock.hour,
        minute=clock.minute,
        second=clock.second,
        start_date=moved,
        end_date=None if last is None else last + timedelta(days=days),
    )


def _calendar_start(trigger: CalendarIntervalTrigger) -> date:
    if trigger.start_date is not None:
        return trigger.start_date
    if trigger.anchor is None:
        raise CannotMove(gettext("It has not begun to count yet."))
    return trigger.anchor.astimezone(trigger.timezone).date()


def _rezone_calendar(
    trigger: CalendarIntervalTrigger, zone: tzinfo
) -> CalendarIntervalTrigger:
    last = None if trigger.end_date is None else trigger.end_date.date()
    return _made(
        trigger, timezone=zone, start_date=_calendar_start(trigger), end_date=last
    )


# Cron.


def _shift_cron(trigger: CronTrigger, by: timedelta) -> CronTrigger:
    texts = {field.name: field.text for field in trigger.fields}
    seconds = round(by.total_seconds())
    amounts = {
        "second": seconds % 60,
        "minute": seconds // 60 % 60,
        "hour": seconds // 3600 % 24,
    }
    days = seconds // 86400
    changed: dict[str, str] = {}
    carry: int | None = 0
    for name, coarser in (
        ("second", ("minute", "hour", *_DAY_FIELDS)),
        ("minute", ("hour", *_DAY_FIELDS)),
        ("hour", _DAY_FIELDS),
    ):
        amount = amounts[name] + (carry or 0)
        if not amount:
            carry = 0
            continue
        new, carry = _moved_numbers(name, parse_numbers(name, texts[name]), amount)
        changed[name] = new
        if carry is None:
            # Some of its times come to the next minute, hour or day. That is said only
            # where those are all the same.
            if all(texts[each] == "*" for each in coarser):
                break
            raise CannotMove(_SPLITS[name]())
    if carry is not None and days + carry:
        changed.update(_moved_days(texts, days + carry))
    if not (trigger.start_date or trigger.end_date) and all(
        _allowed(name, text) == _allowed(name, texts[name])
        for name, text in changed.items()
    ):
        raise ComesToTheSame
    return _cron(trigger, changed, by)


def _allowed(name: str, text: str) -> Any:
    return parse_days(text) if name == "day" else parse_numbers(name, text)


_SPLITS = {
    "second": lambda: gettext("Some of its times would come to the next minute."),
    "minute": lambda: gettext("Some of its times would come to the next hour."),
    "hour": lambda: gettext("Some of its times would come to the next day."),
}


def _moved_numbers(
    name: str, numbers: Iterable[int], amount: int
) -> tuple[str, int | None]:
    """Return a field's text, and what all its numbers carry over (None: not the same)."""
    size = LIMITS[name][1] + 1
    moved = [number + amount for number in numbers]
    carries = {number // size for number in moved}
    text = _text(name, {number % size for number in moved})
    return text, carries.pop() if len(carries) == 1 else None


def _moved_days(texts: dict[str, str], days: int) -> dict[str, str]:
    """Return the texts of the day fields that are moved."""
    changed = {}
    if texts["week"] != "*":
        raise CannotMove(
            gettext("It names weeks, and would come to other days of them.")
        )
    if texts["day"] != "*":
        rule = parse_days(texts["day"])
        moved = {number + days for number in rule.numbers}
        if (
            rule.last
            or rule.nth
            or min(moved) < 1
            or (max(moved | rule.numbers) > _COMMON_DAYS)
        ):
            raise CannotMove(
                gettext("It would come to other days of the month, or of other months.")
            )
        changed["day"] = _text("day", moved)
    elif texts["month"] != "*" or texts["year"] != "*":
        raise CannotMove(
            gettext("It would come to other days of the month, or of other months.")
        )
    if texts["day_of_week"] != "*":
        weekdays = parse_numbers("day_of_week", texts["day_of_week"])
        moved = {(number + days) % 7 for number in weekdays}
        changed["day_of_week"] = _text("day_of_week", moved)
    return changed


def _cron(trigger: CronTrigger, changed: dict[str, str], by: timedelta) -> CronTrigger:
    """Return a cron trigger with other fields, and its bounds moved."""
    fields: dict[str, str | None] = {}
    for field in trigger.fields:
        text = changed.get(field.name, field.text)
        given = field.name in changed or not field.is_default
        # Where a finer field is given now, what was filled in must be said.
        fields[field.name] = text if given or text != "*" else None
    if fields["second"] == "0" and trigger.fields[-1].is_default:
        if fields["minute"] is not None and fields["minute"] != "*":
            fields["second"] = None
    bounds = {}
    if by:
        assert trigger.timezone is not None
        for name in ("start_date", "end_date"):
            moment = getattr(trigger, name)
            if moment is not None:
                bounds[name] = _wall(moment, by, trigger.timezone)
    made = _made(trigger, **fields, **bounds)
    hours = parse_numbers("hour", trigger.fields[5].text) | parse_numbers(
        "hour", made.fields[5].text
    )
    if trigger.dst == "once" and hours & _CHANGING_HOURS:
        if _follows_clock(trigger) != _follows_clock(made):
            raise CannotMove(
                gettext("It would mean other times when the clocks are changed.")
            )
    return made


def _follows_clock(trigger: CronTrigger) -> bool:
    """Return whether a ``dst="once"`` trigger goes on by elapsed time in such nights."""
    texts = {field.name: field.text for field in trigger.fields}
    return "*" in texts["hour"] or "*" in texts["minute"]


def _rezone_cron(trigger: CronTrigger, zone: tzinfo) -> CronTrigger:
    bounds = {}
    for name in ("start_date", "end_date"):
        moment = getattr(trigger, name)
        if moment is not None:
            naive = moment.astimezone(trigger.timezone).replace(tzinfo=None, fold=0)
            bounds[name] = _on_the_clock(naive, zone)
    return _made(trigger, timezone=zone, **bounds)


def _text(name: str, numbers: set[int]) -> str:
    """Return the shortest text for a field's numbers."""
    low, high = LIMITS[name]
    ordered = sorted(numbers)
    first, last = ordered[0], ordered[-1]
    if len(ordered) == high - low + 1:
        return "*"
    shown = [
        WEEKDAYS[number] if name == "day_of_week" else str(number) for number in ordered
    ]
    if len(ordered) < 3:
        return ",".join(shown)
    step = ordered[1] - first
    if ordered != list(range(first, last + 1, step)):
        return ",".join(shown)
    return f"{shown[0]}-{shown[-1]}" + (f"/{step}" if step > 1 else "")


# Several.


def _shift_several(trigger: CombiningTrigger, by: timedelta) -> CombiningTrigger:
    _check_alike(trigger)
    children = []
    for child in trigger.triggers:
        try:
            children.append(shift(child, by))
        except ComesToTheSame:
            children.append(child)
    if all(new is old for new, old in zip(children, trigger.triggers, strict=True)):
        raise ComesToTheSame
    return _made(trigger, triggers=children)


def _check_alike(trigger: CombiningTrigger) -> None:
    crons = [isinstance(child, CronTrigger) for child in trigger.triggers]
    if isinstance(trigger, AndTrigger) and any(crons) and not all(crons):
        # There a cron trigger stands for whole hours or days, which its finest field
        # decides.
        raise CannotMove(
            gettext("It combines cron fields with another kind of trigger by “and”.")
        )


def _rezone_several(trigger: CombiningTrigger, zone: tzinfo) -> CombiningTrigger:
    children = []
    for child in trigger.triggers:
        if isinstance(child, IntervalTrigger):
            # With its start said, for a new schedule would begin to count anew.
            children.append(_shift_interval(child, timedelta(0)))
        else:
            children.append(rezone(child, zone))
    if all(isinstance(child, IntervalTrigger) for child in trigger.triggers):
        _rezone_interval(trigger.triggers[0], zone)  # type: ignore[arg-type]
    return _made(trigger, triggers=children)


def _made(trigger: Any, **changed: Any) -> Any:
    """Return a trigger of the same kind with other arguments; None leaves one out."""
    arguments = {**trigger.get_arguments(), **changed}
    given = {name: value for name, value in arguments.items() if value is not None}
    try:
        made = type(trigger)(**given)
    except (ValueError, TypeError) as error:
        raise CannotMove(str(error)) from error
    if trigger.anchor is not None:
        # What counts from a moment goes on counting from it.
        made.anchor = trigger.anchor
    return made


_SHIFTS: dict[type, Any] = {
    DateTrigger: _shift_date,
    IntervalTrigger: _shift_interval,
    CalendarIntervalTrigger: _shift_calendar,
    CronTrigger: _shift_cron,
}
_ZONES: dict[type, Any] = {
    DateTrigger: _rezone_date,
    IntervalTrigger: _rezone_interval,
    CalendarIntervalTrigger: _rezone_calendar,
    CronTrigger: _rezone_cron,
}
for _kind in CombiningTrigger.__subclasses__():
    _SHIFTS[_kind] = _shift_several
    _ZONES[_kind] = _rezone_several
