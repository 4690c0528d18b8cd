"""What every trigger is and offers."""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from functools import lru_cache, partial
from types import FunctionType
from typing import Any

from django_apscheduler.util import astimezone, default_timezone, utc

STATE_VERSION = 1
MICROSECOND = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)

#: Triggers of this package look no further back than this.
EARLIEST = datetime(1970, 1, 1, tzinfo=utc)


class BaseTrigger(ABC):
    """
    Decides when a job runs.

    A custom trigger subclasses this and defines `get_next_fire_time`. It is stored,
    compared and pickled by the arguments its constructor was given.
    """

    _given: tuple[tuple[Any, ...], dict[str, Any]]

    #: the name by which ``add_job(trigger=...)`` knows a built-in trigger
    alias: str | None = None
    #: a run may be late by up to this many seconds, chosen anew for each fire time
    jitter: float | None = None
    #: no fire time, jitter included, is later than this
    end_date: datetime | None = None
    #: the moment a schedule without a start date counts from; None until first asked
    anchor: datetime | None = None

    @abstractmethod
    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        """
        Return the next fire time, without jitter, or None when there is none.

        :param previous_fire_time: the answer is later than this, and may lie before
            ``now``, so that missed times can be listed; None the first time
        :param now: with no previous fire time, the answer is not before this
        :return: aware, in the trigger's time zone
        """

    def __new__(cls, *args: Any, **kwargs: Any) -> BaseTrigger:
        trigger = super().__new__(cls)
        trigger._given = (args, kwargs)
        return trigger

    def get_arguments(self) -> dict[str, Any]:
        """
        Return the constructor's arguments as they were declared, defaults left out.

        ``type(self)(**arguments)`` is a trigger equal to this one.

        :raises TypeError: when the constructor took ``*args``, which have no names
        """
        args, kwargs = self._given
        # Of __init__, as Python 3.10 would show that of __new__ for the class.
        defaults = _named_parameters(type(self).__init__)
        if defaults is None:
            return self._arguments_by_signature()
        # Binding them anew would only repeat what the call of __init__ has checked: those
        # given by place come first.
        given = {**dict(zip(defaults, args)), **kwargs} if args else kwargs
        return {
            name: given[name]
            for name, default in defaults.items()
            if name in given and _differs(given[name], default)
        }

    def _arguments_by_signature(self) -> dict[str, Any]:
        args, kwargs = self._given
        signature = inspect.signature(type(self).__init__)
        bound = signature.bind(self, *args, **kwargs)
        arguments: dict[str, Any] = {}
        for name, value in list(bound.arguments.items())[1:]:
            parameter = signature.parameters[name]
            if parameter.kind is parameter.VAR_KEYWORD:
                arguments.update(value)
            elif parameter.kind in (
                parameter.VAR_POSITIONAL,
                parameter.POSITIONAL_ONLY,
            ):
                raise TypeError(
                    f"{type(self).__qualname__} was given {name!r} by position only; "
                    "give the constructor named parameters or define get_arguments()"
                )
            elif _differs(value, parameter.default):
                arguments[name] = value
        return arguments

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        assert isinstance(other, BaseTrigger)
        return self._comparable() == other._comparable()

    def _comparable(self) -> dict[str, Any]:
        """Return the arguments with time zones in one form: names or objects are one."""
        arguments = self.get_arguments()
        if "timezone" in arguments:
            arguments["timezone"] = astimezone(arguments["timezone"])
        return arguments

    def __hash__(self) -> int:
        # Values may be unhashable (lists) or equal in spite of differing types.
        return hash((type(self), *sorted(self.get_arguments())))

    def __getstate__(self) -> Any:
        return (STATE_VERSION, self.get_arguments(), self.anchor)

    def __setstate__(self, state: Any) -> None:
        version, arguments, anchor = state
        if version != STATE_VERSION:
            raise ValueError(
                f"{type(self).__qualname__} was pickled in format {version}, which "
                f"this release does not know (it reads {STATE_VERSION}); "
                "upgrade django-apscheduler"
            )
        self._given = ((), arguments)
        self.__init__(**arguments)  # type: ignore[misc]
        if anchor is not None:
            self.anchor = anchor


def _differs(value: Any, default: Any) -> bool:
    return value is not default and (
        type(value) is not type(default) or value != default
    )


@lru_cache(maxsize=256)
def _named_parameters(init: Any) -> dict[str, Any] | None:
    """
    Return a constructor's parameters and their defaults, without ``self``.

    None when some have no name or take any number, or when what the signature tells is
    not what the call binds.
    """
    if not isinstance(init, FunctionType) or init.__dict__:
        return None
    parameters = list(inspect.signature(init).parameters.values())[1:]
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    if any(p.kind not in named for p in parameters):
        return None
    return {p.name: p.default for p in parameters}


class BuiltinTrigger(BaseTrigger):
    """
    A trigger of this package: one that can look back.

    Subclasses define `_fire_at_or_after`, or `get_next_fire_time` itself.
    """

    timezone: tzinfo | None
    #: fire times are multiples of this
    _resolution = MICROSECOND
    #: the schedule counts from `anchor`
    _needs_anchor = False

    def _fire_at_or_after(self, moment: datetime) -> datetime | None:
        """
        Return the earliest fire time that is not before ``moment``.

        :param moment: aware, in UTC
        """
        raise NotImplementedError

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        if previous_fire_time is None:
            return self._fire_at_or_after(self._in_utc(now))
        try:
            after = self._in_utc(previous_fire_time) + MICROSECOND
        except OverflowError:
            return None
        return self._fire_at_or_after(after)

    get_next_fire_time.__doc__ = BaseTrigger.get_next_fire_time.__doc__

    def get_previous_fire_time(self, now: datetime) -> datetime | None:
        """
        Return the latest fire time that is not after ``now``, without jitter.

        Takes a bounded number of steps however long the schedule has been running.

        :param now: aware
        :return: aware, in the trigger's time zone; None when there is none
        """
        latest = self._in_utc(now)
        if self._needs_anchor and self.anchor is None:
            return None
        ask = partial(self.get_next_fire_time, None)
        return latest_fire_time(ask, latest, self._resolution)

    def _in_utc(self, moment: datetime) -> datetime:
        """Return ``moment`` in UTC; a naive one is in the trigger's zone."""
        if not isinstance(moment, datetime):
            raise TypeError(f"expected a datetime; got {type(moment).__name__}")
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=self.timezone or default_timezone())
        try:
            return moment.astimezone(utc)
        except OverflowError:
            # Within a day of year 1 or 9999; no schedule gets there.
            return moment.replace(tzinfo=utc)


def latest_fire_time(
    fire_at_or_after: Callable[[datetime], datetime | None],
    now: datetime,
    resolution: timedelta,
) -> datetime | None:
    """
    Return the latest fire time not after ``now`` from a function that looks forward.

    Looks at ever longer stretches before ``now`` until one holds a fire time, then
    halves the rest: some dozens of questions at most, whatever the schedule.
    """
    stretch = timedelta(minutes=1)
    while True:
        start = now - stretch if now - EARLIEST > stretch else min(now, EARLIEST)
        latest = fire_at_or_after(start)
        if latest is not None and latest.astimezone(utc) <= now:
            break
        if start <= EARLIEST:
            return None
        stretch *= 8
    # The answer is `latest` or lies between floor and ceiling.
    floor, ceiling = latest.astimezone(utc), now
    while floor < ceiling:
        following = fire_at_or_after(floor + resolution)
        if following is None or not floor < following.astimezone(utc) <= now:
            break
        latest, floor = following, following.astimezone(utc)
        middle = floor + (ceiling - floor) / 2
        found = fire_at_or_after(middle)
        if found is not None and found.astimezone(utc) <= now:
            latest, floor = found, found.astimezone(utc)
        else:
            ceiling = middle
    return latest


def check_timezone(timezone: Any, *moments: Any) -> tzinfo:
    """
    Return the zone a trigger calculates in.

    The given one, else that of the first aware datetime among ``moments``, else the
    default.
    """
    zone = astimezone(timezone)
    for moment in moments:
        if zone is None and isinstance(moment, datetime):
            zone = astimezone(moment.tzinfo)
    return zone or default_timezone()


def check_jitter(jitter: Any) -> float | None:
    """Return ``jitter``, a number of seconds not below 0, or None."""
    if jitter is None:
        return None
    if isinstance(jitter, bool) or not isinstance(jitter, (int, float)):
        raise TypeError(
            f"jitter must be a number of seconds or None; got {type(jitter).__name__}"
        )
    if not 0 <= jitter <= MAX_JITTER or math.isnan(jitter):
        raise ValueError(
            f"jitter must be between 0 and {MAX_JITTER} seconds; got {shown(jitter)}"
        )
    return jitter


#: ten years: a longer one is a mistake, and must not overflow a datetime
MAX_JITTER = 315_360_000


def check_order(start: datetime | None, end: datetime | None) -> None:
    """:raises ValueError: when the end lies before the start"""
    if start is not None and end is not None and in_utc(end) < in_utc(start):
        raise ValueError(
            f"end_date ({describe(end)}) must not be before start_date "
            f"({describe(start)})"
        )


def in_utc(moment: datetime) -> datetime:
    """Return ``moment`` in UTC, refusing what the calendar cannot hold."""
    try:
        return moment.astimezone(utc)
    except OverflowError:
        raise ValueError(
            f"expected a time between the years 1 and 9999 in UTC; got {moment}"
        ) from None


def describe(moment: datetime) -> str:
    """Return ``moment`` for people: 2026-05-30 14:00:00 CEST."""
    # Not strftime, which leaves out leading zeros of early years on some platforms.
    return f"{moment.replace(tzinfo=None).isoformat(' ', 'seconds')} {moment.tzname()}"


def shown(value: Any) -> str:
    """Return ``repr(value)``, cut to a length that fits a message."""
    if isinstance(value, int) and value.bit_length() > 128:
        return f"a number of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
