"""Small conversions that every part of the engine needs."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from functools import partial
from importlib import import_module
from types import FunctionType
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

utc = timezone.utc


class _Undefined:
    """The type of `undefined`, which stands for "no argument given"."""

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "<undefined>"

    def __reduce__(self) -> str:
        return "undefined"


undefined = _Undefined()

_TRUE = frozenset({"true", "yes", "on", "y", "t", "1"})
_FALSE = frozenset({"false", "no", "off", "n", "f", "0"})


def asint(value: Any) -> int | None:
    """Return ``value`` as an int, None as None; for options that may be text."""
    return None if value is None else int(value)


def asbool(value: Any) -> bool:
    """
    Return the truth that ``value`` spells: true/yes/on/y/t/1 or false/no/off/n/f/0.

    :raises ValueError: for any other text
    """
    if isinstance(value, str):
        text = value.strip().lower()
        if text in _TRUE:
            return True
        if text in _FALSE:
            return False
        raise ValueError(
            "expected one of true, yes, on, y, t, 1, false, no, off, n, f or 0; "
            f"got {value!r}"
        )
    return bool(value)


_default_timezone: Callable[[], tzinfo] | None = None


def set_default_timezone(provider: Callable[[], tzinfo] | None) -> None:
    """Take the default time zone from ``provider`` instead of from the machine."""
    global _default_timezone
    _default_timezone = provider


def default_timezone() -> tzinfo:
    """
    Return the zone for times that name none: Django's ``TIME_ZONE``, else the machine's.
    """
    if _default_timezone is not None:
        zone = astimezone(_default_timezone())
        assert zone is not None
        return zone
    # Imported late: it reads the machine's files, which nobody may need.
    from tzlocal import get_localzone

    try:
        return get_localzone()
    except (ZoneInfoNotFoundError, ValueError, LookupError, AssertionError):
        # POSIX strings such as TZ=UTC0 name no zone that tzlocal knows.
        return utc


def astimezone(obj: Any) -> tzinfo | None:
    """
    Return a time zone from a zone's name, any tzinfo object, or None.

    pytz zones become their zoneinfo counterparts: wall-clock arithmetic on a pytz zone
    is wrong unless each result is normalised again.

    :raises ValueError: when a name is unknown
    :raises TypeError: for any other kind of object
    """
    if obj is None:
        return None
    if obj is utc:
        return obj
    if isinstance(obj, ZoneInfo):
        return utc if obj.key == "UTC" else obj
    if isinstance(obj, str):
        if obj.upper() == "UTC":
            return utc
        try:
            return ZoneInfo(obj)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(
                "expected the name of a time zone such as 'Europe/Berlin' or 'UTC'; "
                f"got {obj!r}"
            ) from None
    if isinstance(obj, tzinfo):
        name = getattr(obj, "zone", None)
        if name:
            return astimezone(name)
        if type(obj).__module__.partition(".")[0] == "pytz":
            return timezone(obj.utcoffset(None) or timedelta(0))
        return obj
    raise TypeError(
        "expected the name of a time zone, a tzinfo object or None; "
        f"got {type(obj).__name__}"
    )


_DATETIME = re.compile(
    r"(?P<year>\d{4})-(?P<month>\d{1,2})-(?P<day>\d{1,2})"
    r"(?:[ T](?P<hour>\d{1,2}):(?P<minute>\d{1,2}):(?P<second>\d{1,2})"
    r"(?:\.(?P<microsecond>\d{1,6}))?"
    r"(?P<zone>Z|[+-]\d\d:?\d\d)?)?$"
)


def convert_to_datetime(
    value: Any, tz: tzinfo | str | None, arg_name: str
) -> datetime | None:
    """
    Return an aware datetime from a datetime, a date, an ISO 8601 text or None.

    :param tz: zone for values without one
    :param arg_name: the argument's name, for error messages
    :return: naive values in ``tz``; aware values in their own zone
    """
    if value is None:
        return None
    if isinstance(value, datetime):
        moment = value
    elif isinstance(value, date):
        moment = datetime.combine(value, time())
    elif isinstance(value, str):
        moment = _parse_datetime(value, arg_name)
    else:
        raise TypeError(
            f"{arg_name} must be a datetime, a date, an ISO 8601 text or None; "
            f"got {type(value).__name__}"
        )
    if moment.tzinfo is not None:
        zone = astimezone(moment.tzinfo)
        return moment if zone is moment.tzinfo else moment.astimezone(zone)
    zone = astimezone(tz)
    if zone is None:
        raise ValueError(f"{arg_name} has no time zone and none was given: {value!r}")
    return moment.replace(tzinfo=zone)


def _parse_datetime(text: str, arg_name: str) -> datetime:
    match = _DATETIME.match(text.strip())
    if not match:
        raise ValueError(
            f"{arg_name} must look like '2026-05-30' or '2026-05-30 14:00:00' "
            f"(ISO 8601, optionally with fraction and UTC offset); got {text!r}"
        )
    parts = match.groupdict()
    zone = parts.pop("zone")
    fraction = parts.pop("microsecond")
    numbers: dict[str, Any] = {
        name: int(part) for name, part in parts.items() if part is not None
    }
    try:
        moment = datetime(**numbers, microsecond=int((fraction or "0").ljust(6, "0")))
        if zone == "Z":
            return moment.replace(tzinfo=utc)
        if zone:
            sign = -1 if zone[0] == "-" else 1
            offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
            return moment.replace(tzinfo=timezone(sign * offset))
    except ValueError as error:
        raise ValueError(
            f"{arg_name} is not a valid time: {text!r} ({error})"
        ) from None
    return moment


def datetime_to_utc_timestamp(moment: datetime | None) -> float | None:
    """Return seconds since 1970 in UTC, with microseconds as the fraction."""
    return None if moment is None else moment.timestamp()


def utc_timestamp_to_datetime(timestamp: float | None) -> datetime | None:
    """Return the aware UTC datetime for seconds since 1970."""
    return None if timestamp is None else datetime.fromtimestamp(timestamp, utc)


def datetime_ceil(moment: datetime) -> datetime:
    """Return ``moment`` rounded up to the next whole second."""
    if not moment.microsecond:
        return moment
    whole = moment.replace(microsecond=0)
    if moment.tzinfo is None:
        return whole + timedelta(seconds=1)
    return (whole.astimezone(utc) + timedelta(seconds=1)).astimezone(moment.tzinfo)


def get_callable_name(func: Any) -> str:
    """Return a name for people: of a function, class, method, partial or instance."""
    if isinstance(func, partial):
        return get_callable_name(func.func)
    owner = getattr(func, "__self__", None)
    if owner is not None and inspect.ismethod(func):
        cls = owner if inspect.isclass(owner) else type(owner)
        return f"{cls.__qualname__}.{func.__name__}"
    name = getattr(func, "__qualname__", None) or getattr(func, "__name__", None)
    if name:
        return name
    if callable(func):
        return type(func).__qualname__
    raise TypeError(f"expected a callable; got {func!r}")


def obj_to_ref(obj: Any) -> str:
    """
    Return the reference ``module:qualified.name`` that `ref_to_obj` turns back.

    :raises ValueError: when there is no such reference: lambdas, nested functions,
        partials, bound methods of instances
    """
    if isinstance(obj, partial):
        raise ValueError(
            f"{obj!r} is a partial and has no importable name; schedule the function "
            "itself and give its arguments with args and kwargs"
        )
    name = get_callable_name(obj)
    if "<lambda>" in name or "<locals>" in name:
        kind = "lambda" if "<lambda>" in name else "nested function"
        raise ValueError(
            f"{name} is a {kind} and has no importable name; "
            "move it to the top level of a module"
        )
    if type(obj) is FunctionType:
        # What nearly all bodies are: where it says, with nothing to import.
        home = sys.modules.get(obj.__module__)
        if home is not None and home.__dict__.get(name) is obj:
            return f"{obj.__module__}:{name}"
    owner = getattr(obj, "__self__", None)
    if inspect.ismethod(obj) and inspect.isclass(owner):
        module, name = owner.__module__, f"{owner.__qualname__}.{obj.__name__}"
    else:
        module = obj.__module__
    reference = f"{module}:{name}"
    try:
        found = ref_to_obj(reference)
    except (LookupError, ValueError):
        found = undefined
    if found != obj:
        raise ValueError(
            f"{obj!r} cannot be found again as {reference!r}; "
            "schedule a function or class that can be imported by name"
        )
    return reference


def ref_to_obj(ref: str) -> Any:
    """
    Return the object that ``module:name`` (or ``module:name.attribute``) refers to.

    :raises TypeError: when ``ref`` is not text
    :raises ValueError: when it lacks the colon
    :raises LookupError: when the module or the name does not exist
    """
    if not isinstance(ref, str):
        raise TypeError(f"expected a text like 'module:name'; got {ref!r}")
    module_name, colon, name = ref.partition(":")
    if not colon or not module_name or not name:
        raise ValueError(f"expected a reference like 'module:name'; got {ref!r}")
    try:
        obj = import_module(module_name)
    except ImportError as error:
        raise LookupError(
            f"could not import {module_name!r} for the reference {ref!r}: {error}"
        ) from error
    try:
        for part in name.split("."):
            obj = getattr(obj, part)
    except AttributeError:
        raise LookupError(
            f"the module {module_name!r} has no {name!r} (reference {ref!r})"
        ) from None
    return obj


def missing(package: str, extra: str) -> ImportError:
    """Return the error for an optional package that is needed and not installed."""
    return ImportError(
        f"{package} is not installed; install it with: "
        f"pip install django-apscheduler[{extra}]"
    )


def maybe_ref(ref: Any) -> Any:
    """Return the object a textual reference names; anything else as it is."""
    return ref_to_obj(ref) if isinstance(ref, str) else ref


def iscoroutinefunction(func: Any) -> bool:
    """Tell whether calling ``func`` gives a coroutine, looking through partials."""
    if type(func) is FunctionType and not func.__dict__:
        # What nearly all bodies are; asked anew for every run, so worth a short cut.
        return bool(func.__code__.co_flags & inspect.CO_COROUTINE)
    while isinstance(func, partial):
        func = func.func
    if inspect.iscoroutinefunction(func):
        return True
    call = getattr(func, "__call__", None)  # noqa: B004 (instances with async __call__)
    return not inspect.isclass(func) and inspect.iscoroutinefunction(call)


iscoroutinefunction_partial = iscoroutinefunction


def check_callable_args(
    func: Callable, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> None:
    """
    Check that ``func(*args, **kwargs)`` would find all its arguments.

    :raises ValueError: naming what is missing or too much
    """
    call = None
    if type(func) is FunctionType and not func.__dict__:
        # Whether it fits follows from these alone, so equal calls are checked once.
        call = (
            func.__code__,
            len(func.__defaults__ or ()),
            frozenset(func.__kwdefaults__ or ()),
            len(args),
            frozenset(kwargs),
        )
        if call in _fitting_calls:
            return
    try:
        signature = inspect.signature(func)
    except (TypeError, ValueError):
        # Some callables written in C tell no signature; the call itself will tell.
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise ValueError(
            f"{get_callable_name(func)}{signature} cannot be called with the given "
            f"arguments: {error}"
        ) from None
    if call is not None:
        if len(_fitting_calls) >= MOST_FITTING_CALLS:
            _fitting_calls.clear()
        _fitting_calls.add(call)


#: Calls that `check_callable_args` remembers to fit.
MOST_FITTING_CALLS = 1024
_fitting_calls: set[tuple] = set()


def close_old_connections(func: Callable) -> Callable:
    """
    Return ``func`` as it is: every run closes its old database connections by itself.

    The earlier django-apscheduler needed this decorator; code that has it may keep it.
    """
    return func
