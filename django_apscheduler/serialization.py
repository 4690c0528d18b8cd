"""
Triggers and arguments as JSON that a person can read, and back.

The text is canonical (sorted keys, no spaces), so equal values give equal texts, and
texts can be signed and compared. What JSON lacks is written as an object with one key
that begins with ``$``::

    {"$datetime":"2026-03-29T03:30:00+02:00[Europe/Berlin]"}

A dict of the user's own with such a key is wrapped as ``{"$dict":{…}}``.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import pickle as pickle_module
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django_apscheduler.util import (
    astimezone,
    default_timezone,
    obj_to_ref,
    ref_to_obj,
)

#: Containers inside each other; deeper arguments are a mistake, or never end.
MAX_DEPTH = 100

#: What arguments are pickled with, where that is allowed; every Python reads it.
PICKLE_PROTOCOL = 4

#: Parsed triggers kept for rows with the same text.
CACHED_TRIGGERS = 16384

_REMEDY = (
    "pass something simpler, such as a primary key or a text, and look the object up "
    "inside the job"
)


class SerializationError(ValueError):
    """Raised when a trigger or an argument cannot be stored as JSON, or read back."""


@dataclass(frozen=True, eq=True, slots=True)
class Deferred:
    """
    An argument that is loaded just before the body runs, such as a model instance.

    :ivar tag: what kind of thing it is
    :ivar text: canonical JSON of what identifies it
    :ivar loader: reference of the function that loads it from the parsed ``text``;
        a reference, so that it is found in the children of a process pool too
    """

    tag: str
    text: str
    loader: str

    def load(self) -> Any:
        """Return the thing itself; raises what its loader raises."""
        return ref_to_obj(self.loader)(json.loads(self.text))

    def __str__(self) -> str:
        return f"{self.tag} {self.text}"


@dataclass(frozen=True, slots=True)
class _Kind:
    type: type
    tag: str
    encode: Callable[[Any], Any]
    loader: str


_kinds: dict[str, _Kind] = {}


def register(
    type: type, tag: str, encode: Callable[[Any], Any], loader: Callable | str
) -> None:
    """
    Teach the serialiser a type whose values are loaded just before the body runs.

    :param tag: name in the stored text, without the ``$``
    :param encode: turns a value into plain JSON; raises SerializationError if it cannot
    :param loader: importable function (or its reference) that turns the JSON back; what
        it raises fails that run, never the job
    """
    reference = loader if isinstance(loader, str) else obj_to_ref(loader)
    _kinds[tag] = _Kind(type, tag, encode, reference)


def canonical(value: Any) -> str:
    """Return plain JSON data as text: sorted keys, no spaces, no ASCII escapes."""
    return _canonical(value)


_canonical = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
).encode


# Arguments


def dump_arguments(
    arguments: Any,
    name: str | None = None,
    *,
    pickle: bool = False,
    protocol: int = PICKLE_PROTOCOL,
) -> str:
    """
    Return a job's positional or keyword arguments as JSON.

    :param arguments: a sequence or a mapping
    :param name: what to call them in errors; "args" or "kwargs" when None
    :param pickle: whether what JSON cannot carry may be pickled
    :param protocol: of what is pickled
    :raises SerializationError: naming the argument, as in ``args[1]['when']``
    """
    encoder = _Encoder(protocol if pickle else None)
    if isinstance(arguments, Mapping):
        if not arguments:
            return "{}"
        return canonical(encoder.encode(dict(arguments), name or "kwargs"))
    if not arguments:
        return "[]"
    return canonical(encoder.encode(list(arguments), name or "args"))


def load_arguments(text: str, *, pickle: bool = False) -> Any:
    """
    Return the arguments in ``text``: a tuple or a dict, with `Deferred` where needed.

    :raises SerializationError: when the text is not what `dump_arguments` writes
    """
    if text == "[]":
        return ()
    if text == "{}":
        return {}
    try:
        value = _decode(_parse(text, "arguments"), pickle)
    except RecursionError:
        raise SerializationError("arguments are nested too deep to be read") from None
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, dict):
        return value
    raise SerializationError(
        f"arguments must be a JSON array or object; got {text[:100]!r}"
    )


def resolve_arguments(args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict]:
    """
    Return the arguments with everything `Deferred` loaded.

    Called in the worker just before the body; what a loader raises fails the run.
    """
    if _holds_deferred(args):
        args = _resolve(args)
    if _holds_deferred(kwargs):
        kwargs = _resolve(kwargs)
    return args, kwargs


def waits_to_resolve(args: tuple, kwargs: dict[str, Any]) -> bool:
    """Tell whether `resolve_arguments` has something to load, and may take long."""
    return _holds_deferred(args) or _holds_deferred(kwargs)


#: What nearly all arguments are; they are looked at before each body.
_PLAIN = frozenset({type(None), bool, int, float, str})


def _holds_deferred(value: Any) -> bool:
    kind = type(value)
    if kind is dict:
        value = value.values()
    elif kind not in (list, tuple, set, frozenset):
        return kind is Deferred
    for item in value:  # noqa: SIM110 (a generator costs more than all of the rest)
        if type(item) not in _PLAIN and _holds_deferred(item):
            return True
    return False


def _resolve(value: Any) -> Any:
    kind = type(value)
    if kind is Deferred:
        return value.load()
    if kind in (list, tuple, set, frozenset):
        return kind([_resolve(item) for item in value])
    if kind is dict:
        return {key: _resolve(item) for key, item in value.items()}
    return value


def tags() -> frozenset[str]:
    """
    Return the tags that a text written by people may hold, with their ``$``.

    Their values are data, never code: neither pickles nor triggers are among them.
    """
    known = ("$dict", *_COLLECTIONS, *_LOADERS, *(f"${tag}" for tag in _kinds))
    return frozenset(known)


class _Encoder:
    """Turns one set of arguments into plain JSON data."""

    def __init__(self, pickle: int | None = None, triggers: bool = False):
        #: The protocol to pickle with what JSON cannot carry; None to refuse it.
        self.pickle = pickle
        self.triggers = triggers
        self.inside: list[int] = []

    def encode(self, value: Any, path: str) -> Any:
        kind = type(value)
        if value is None or kind is bool or kind is int:
            return value
        if kind is str:
            return self._text(value, path)
        if kind is float:
            if math.isfinite(value):
                return value
            raise SerializationError(
                f"{path} is {value!r}, which JSON has no number for; pass None or a "
                "text instead"
            )
        if kind in _CONTAINERS:
            return self._container(value, path)
        scalar = _SCALARS.get(kind)
        if scalar is not None:
            tag, dump = scalar
            return {tag: dump(value)}
        return self._other(value, path)

    def _text(self, value: str, path: str) -> str:
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise SerializationError(
                    f"{path} holds a text that is not valid Unicode ({error.reason}); "
                    "pass bytes instead"
                ) from None
        return value

    def _container(self, value: Any, path: str) -> Any:
        if id(value) in self.inside:
            raise SerializationError(
                f"{path} contains itself, so it has no end; {_REMEDY}"
            )
        if len(self.inside) >= MAX_DEPTH:
            raise SerializationError(
                f"{path[:200]}… is nested more than {MAX_DEPTH} deep; {_REMEDY}"
            )
        self.inside.append(id(value))
        try:
            if type(value) is dict:
                return self._dict(value, path)
            items = [
                self.encode(item, f"{path}[{index}]")
                for index, item in enumerate(value)
            ]
        finally:
            self.inside.pop()
        if type(value) is list:
            return items
        if type(value) is tuple:
            return {"$tuple": items}
        # Sets have no order of their own; a canonical text needs one.
        return {f"${type(value).__name__}": sorted(items, key=canonical)}

    def _dict(self, value: dict, path: str) -> dict:
        encoded = {}
        for key, item in value.items():
            if type(key) is not str:
                raise SerializationError(
                    f"{path} has the key {key!r}; JSON objects have texts as keys: "
                    "use texts, or a list of pairs"
                )
            self._text(key, f"a key of {path}")
            encoded[key] = self.encode(item, f"{path}[{key!r}]")
        if any(key.startswith("$") for key in encoded):
            return {"$dict": encoded}
        return encoded

    def _other(self, value: Any, path: str) -> Any:
        if isinstance(value, Deferred):
            return {f"${value.tag}": json.loads(value.text)}
        for kind in _kinds.values():
            if isinstance(value, kind.type):
                try:
                    return {f"${kind.tag}": kind.encode(value)}
                except SerializationError as error:
                    raise SerializationError(f"{path}: {error}") from None
        if isinstance(value, tzinfo):
            return {"$timezone": _dump_zone(value, path)}
        if isinstance(value, datetime):
            # Subclasses that fake-time libraries and pandas make.
            return {"$datetime": _dump_datetime(_plain_datetime(value))}
        if self.triggers and callable(getattr(value, "get_next_fire_time", None)):
            return {"$trigger": _encode_trigger(value)}
        if self.pickle is not None:
            return {"$pickle": self._pickled(value, path, self.pickle)}
        raise SerializationError(
            f"{path} is a {_type_name(value)}, which cannot be stored as JSON; "
            f"{_REMEDY}, or let the job store pickle (its option allow_pickle=True)"
        )

    @staticmethod
    def _pickled(value: Any, path: str, protocol: int) -> str:
        try:
            data = pickle_module.dumps(value, protocol)
        except Exception as error:
            raise SerializationError(
                f"{path} is a {_type_name(value)}, which can be stored neither as JSON "
                f"nor as a pickle ({error}); {_REMEDY}"
            ) from error
        return base64.b64encode(data).decode()


def _type_name(value: Any) -> str:
    kind = type(value)
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def _parse(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SerializationError(
            f"{what} must be JSON; {text[:100]!r} is not: {error}"
        ) from None


def _decode(value: Any, pickle: bool = False, triggers: bool = False) -> Any:
    # Making a trigger imports what its text names; arguments have none.
    if type(value) is list:
        return [_decode(item, pickle, triggers) for item in value]
    if type(value) is not dict:
        return value
    if len(value) == 1:
        ((key, inner),) = value.items()
        if key.startswith("$"):
            return _decode_tag(key, inner, pickle, triggers)
    return {key: _decode(item, pickle, triggers) for key, item in value.items()}


def _decode_tag(tag: str, inner: Any, pickle: bool, triggers: bool) -> Any:
    try:
        if tag == "$dict":
            return {key: _decode(item, pickle, triggers) for key, item in inner.items()}
        make = _COLLECTIONS.get(tag)
        if make is not None:
            return make(_decode(item, pickle, triggers) for item in inner)
        load = _LOADERS.get(tag)
        if load is not None:
            return load(inner)
        kind = _kinds.get(tag[1:])
        if kind is not None:
            return Deferred(kind.tag, canonical(inner), kind.loader)
        if tag == "$trigger" and triggers:
            return _build_trigger(inner)
        if tag == "$pickle":
            return _unpickle(inner, pickle)
    except SerializationError:
        raise
    except (
        AttributeError,
        ArithmeticError,
        InvalidOperation,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        raise SerializationError(
            f"{tag} does not accept {str(inner)[:100]!r}: {error}"
        ) from error
    raise SerializationError(
        f"expected a known tag; got {tag!r}, which this version or this project does "
        "not know (is the app that registers it in INSTALLED_APPS?)"
    )


def _unpickle(inner: str, allowed: bool) -> Any:
    if not allowed:
        raise SerializationError(
            "an argument is stored as a pickle, which this job store does not load; "
            "give the store allow_pickle=True or add the job again without it"
        )
    try:
        return pickle_module.loads(base64.b64decode(inner, validate=True))
    except binascii.Error:
        raise
    except Exception as error:
        # Unpickling imports and calls; anything at all can come out of it.
        raise SerializationError(
            f"a pickled argument cannot be loaded: {type(error).__name__}: {error}"
        ) from error


# What JSON lacks


def _dump_zone(zone: tzinfo, path: str) -> str:
    zone = astimezone(zone)  # type: ignore[assignment]
    key = getattr(zone, "key", None)
    if key:
        return key
    if isinstance(zone, timezone):
        return _offset_text(zone.utcoffset(None))
    raise SerializationError(
        f"{path} is a {_type_name(zone)}, a time zone without a name; use "
        "zoneinfo.ZoneInfo('Europe/Berlin') or the like"
    )


def _offset_text(offset: timedelta) -> str:
    if not offset:
        return "UTC"
    # 1970-01-01T00:00:00+05:30 → +05:30
    return datetime(1970, 1, 1, tzinfo=timezone(offset)).isoformat()[19:]


def _load_zone(text: str) -> tzinfo:
    if text[:1] in "+-":
        zone = datetime.fromisoformat(f"1970-01-01T00:00:00{text}").tzinfo
    else:
        zone = astimezone(text)
    assert zone is not None
    return zone


def _plain_datetime(value: datetime) -> datetime:
    return datetime.combine(value.date(), value.timetz()).replace(fold=value.fold)


def _dump_datetime(value: datetime) -> str:
    zone = value.tzinfo
    if zone is not None and not isinstance(zone, (timezone, ZoneInfo)):
        # pytz and the like: the same instant in the zoneinfo zone of that name.
        zone = astimezone(zone)
        if not isinstance(zone, (timezone, ZoneInfo)):
            return value.isoformat()
        value = value.astimezone(zone)
    name = getattr(zone, "key", None)
    return f"{value.isoformat()}[{name}]" if name else value.isoformat()


def _load_datetime(text: str) -> datetime:
    text, bracket, name = text.partition("[")
    value = datetime.fromisoformat(text)
    if not bracket:
        return value
    wall = value.replace(tzinfo=_load_zone(name.rstrip("]")))
    if wall.utcoffset() != value.utcoffset():
        second = wall.replace(fold=1)
        # Where the zone's rules have changed since, the wall time is what was meant.
        return second if second.utcoffset() == value.utcoffset() else wall
    return wall


def _dump_time(value: time) -> str:
    name = getattr(value.tzinfo, "key", None)
    fold = "~" if value.fold else ""
    if name:
        return f"{value.replace(tzinfo=None).isoformat()}{fold}[{name}]"
    return f"{value.isoformat()}{fold}"


def _load_time(text: str) -> time:
    text, bracket, name = text.partition("[")
    value = time.fromisoformat(text.rstrip("~"))
    if text.endswith("~"):
        value = value.replace(fold=1)
    return value.replace(tzinfo=_load_zone(name.rstrip("]"))) if bracket else value


def _dump_timedelta(value: timedelta) -> int | str:
    seconds, rest = divmod(value, timedelta(seconds=1))
    if not rest:
        return seconds
    return str(Decimal(value // timedelta(microseconds=1)) / 1_000_000)


def _load_timedelta(value: int | str) -> timedelta:
    if isinstance(value, str):
        return timedelta(microseconds=int(Decimal(value) * 1_000_000))
    return timedelta(seconds=value)


def _load_bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


_CONTAINERS = frozenset({dict, list, tuple, set, frozenset})

_SCALARS: dict[type, tuple[str, Callable[[Any], Any]]] = {
    datetime: ("$datetime", _dump_datetime),
    date: ("$date", date.isoformat),
    time: ("$time", _dump_time),
    timedelta: ("$timedelta", _dump_timedelta),
    Decimal: ("$decimal", str),
    UUID: ("$uuid", str),
    bytes: ("$bytes", lambda value: base64.b64encode(value).decode()),
}

_COLLECTIONS: dict[str, Callable] = {
    "$tuple": tuple,
    "$set": set,
    "$frozenset": frozenset,
}

_LOADERS: dict[str, Callable[[Any], Any]] = {
    "$datetime": _load_datetime,
    "$date": date.fromisoformat,
    "$time": _load_time,
    "$timedelta": _load_timedelta,
    "$decimal": Decimal,
    "$uuid": UUID,
    "$bytes": _load_bytes,
    "$timezone": _load_zone,
}


# Triggers


def dump_trigger(trigger: Any) -> str:
    """
    Return a trigger as JSON: its alias (or class) and its arguments as declared.

    A trigger class of one's own needs ``get_arguments()``, or state (its ``__dict__``,
    or what ``__getstate__`` returns) that JSON can carry.

    :raises SerializationError: saying what stands in the way
    """
    return canonical(_encode_trigger(trigger))


def load_trigger(text: str, anchor: datetime | None = None) -> Any:
    """
    Return the trigger that `dump_trigger` wrote; equal texts may share one object.

    :param anchor: the moment that an interval without start date counts from
    :raises SerializationError: when the text names no trigger that can be made
    """
    # Triggers without a zone of their own take the default one, so it counts too.
    key = (text, default_timezone())
    trigger = _triggers.get(key)
    if trigger is None:
        trigger = _build_trigger(_parse(text, "trigger"))
        # What combines others holds them, and a class of one's own may change as it
        # pleases: neither can be copied by its attributes.
        if _types(text)[0] not in _COPIED or len(_types(text)) > 1:
            if anchor is not None:
                trigger.anchor = anchor
            return trigger
        if len(_triggers) >= CACHED_TRIGGERS:
            _triggers.clear()
        _triggers[key] = trigger
    if _types(text)[0] in _NEED_NO_ANCHOR:
        return trigger
    # Every job has an anchor of its own, and takes it when first asked.
    twin = object.__new__(type(trigger))
    twin.__dict__.update(trigger.__dict__)
    twin.anchor = anchor
    return twin


_triggers: dict[tuple, Any] = {}
_NEED_NO_ANCHOR = frozenset({"date", "cron"})
_COPIED = _NEED_NO_ANCHOR | {"interval", "calendarinterval"}


@lru_cache(maxsize=CACHED_TRIGGERS)
def trigger_classes(text: str) -> tuple[str, ...]:
    """Return the references of the custom classes in a trigger's JSON, sorted."""
    if not text:
        return ()
    return tuple(sorted({name for name in _types(text) if ":" in name}))


@lru_cache(maxsize=CACHED_TRIGGERS)
def _types(text: str) -> tuple[str, ...]:
    """Return the types named in a trigger's JSON, the outermost one first."""
    return tuple(reversed(_find_types(_parse(text, "trigger")))) or ("",)


def _find_types(value: Any) -> list[str]:
    if isinstance(value, list):
        return [name for item in value for name in _find_types(item)]
    if not isinstance(value, dict):
        return []
    found = [name for item in value.values() for name in _find_types(item)]
    name = value.get("type")
    if isinstance(name, str):
        found.append(name)
    return found


def _encode_trigger(trigger: Any) -> dict[str, Any]:
    kind = type(trigger)
    alias = kind.__dict__.get("alias")
    try:
        name = alias or obj_to_ref(kind)
    except ValueError as error:
        raise SerializationError(f"the trigger cannot be stored: {error}") from None
    get_arguments = getattr(trigger, "get_arguments", None)
    encoder = _Encoder(triggers=True)
    if get_arguments is not None:
        arguments = get_arguments()
        # Combining triggers hold their triggers in a list or a tuple; either is a list.
        arguments = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in arguments.items()
        }
        return {"type": name, "args": encoder.encode(arguments, f"{name} trigger")}
    state = _state_of(trigger)
    return {"type": name, "state": encoder.encode(state, f"the state of {name}")}


def _state_of(trigger: Any) -> Any:
    # Python 3.11 gives every object a __getstate__; 3.10 only those that define it.
    get_state = getattr(trigger, "__getstate__", None)
    state = get_state() if get_state is not None else vars(trigger)
    return dict(state) if isinstance(state, Mapping) else state


def _build_trigger(data: Any) -> Any:
    if not isinstance(data, dict) or not isinstance(data.get("type"), str):
        raise SerializationError(
            'a trigger must look like {"type":"cron","args":{"hour":3}}; '
            f"got {str(data)[:100]!r}"
        )
    name = data["type"]
    try:
        kind = _trigger_class(name)
        if "state" in data:
            return _with_state(kind, _decode(data["state"], triggers=True))
        return kind(**_decode(data.get("args", {}), triggers=True))
    except SerializationError:
        raise
    except Exception as error:
        # A class of one's own may raise anything; the job is parked with the reason.
        raise SerializationError(
            f"the trigger {name!r} cannot be made: {type(error).__name__}: {error}"
        ) from error


def _trigger_class(name: str) -> Any:
    from django_apscheduler.triggers import TRIGGERS

    kind = ref_to_obj(TRIGGERS.get(name, name))
    # Made from what a row says: calling something else could be anything.
    if not isinstance(kind, type) or not callable(
        getattr(kind, "get_next_fire_time", None)
    ):
        raise SerializationError(
            f"a trigger must be a class with get_next_fire_time; {name!r} is {kind!r}"
        )
    return kind


def _with_state(kind: Any, state: Any) -> Any:
    trigger = kind.__new__(kind)
    if hasattr(trigger, "__setstate__"):
        trigger.__setstate__(state)
    else:
        trigger.__dict__.update(state)
    return trigger
