"""
Arguments that look secret: shown as ``••••••`` wherever arguments are shown.

Works on the stored JSON, so nothing that a row names is imported, loaded or unpickled.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings

from django_apscheduler import serialization

SETTING = "APSCHEDULER_REDACT_ARGUMENTS"

#: What stands for a value that is not shown.
MARK = "••••••"

#: An argument whose name contains one of these is not shown. Compared without case,
#: underscores and hyphens: ``api_key`` is also in ``X-Api-Key`` and ``stripeApiKey``.
DEFAULT_PARTS = (
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "api_key",
    "access_key",
    "private_key",
    "authorization",
    "credential",
    "cookie",
)

_SEPARATORS = re.compile(r"[\W_]+")


class NothingToKeepError(ValueError):
    """
    Raised when ``••••••`` stands where no hidden value is stored.

    :ivar path: where, such as ``connection.password``
    """

    def __init__(self, path: str):
        super().__init__(
            f"{path} is {MARK}, which stands for a stored value, and there is none"
        )
        self.path = path


def name_parts() -> tuple[str, ...]:
    """Return what the setting says, in the form in which names are compared."""
    given = getattr(settings, SETTING, DEFAULT_PARTS)
    if setting_problem():
        # The system check tells; meanwhile nothing is shown that should not be.
        given = DEFAULT_PARTS
    return tuple(_plain(part) for part in given)


def setting_problem() -> str:
    """Return what is wrong with the setting; "" when nothing is."""
    given = getattr(settings, SETTING, DEFAULT_PARTS)
    if isinstance(given, (str, bytes)) or not isinstance(given, Sequence):
        return (
            f"{SETTING} must be a list of parts of argument names, such as "
            f"['password', 'token']; got {given!r}"
        )
    for part in given:
        if not isinstance(part, str) or not _plain(part):
            return (
                f"{SETTING} must hold parts of argument names, each a text with at "
                f"least one letter or digit; got {part!r}"
            )
    return ""


def is_secret(name: str) -> bool:
    """Return whether an argument or key of this name is to be hidden."""
    plain = _plain(name)
    return any(part in plain for part in name_parts())


def _plain(name: str) -> str:
    return _SEPARATORS.sub("", name).lower()


def parameter_names(func: Any) -> tuple[str, ...]:
    """Return the names that a callable's positional arguments have, in order."""
    try:
        parameters = inspect.signature(func).parameters.values()
    except (TypeError, ValueError):
        return ()
    kinds = (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    )
    return tuple(parameter.name for parameter in parameters if parameter.kind in kinds)


def redacted(data: Any, names: Sequence[str] = ()) -> Any:
    """
    Return JSON data with what looks secret replaced by ``••••••``, at any depth.

    None is shown as it is: that no password is set is no secret.

    :param data: args (a list), kwargs (a dict) or any part of them, as stored; it is
        not changed
    :param names: for args, the names of the callable's parameters
    """
    if isinstance(data, list):
        shown = [redacted(item) for item in data]
        for place, name in enumerate(names[: len(data)]):
            if data[place] is not None and is_secret(name):
                shown[place] = MARK
        return shown
    if not isinstance(data, Mapping):
        return data
    tagged = _tag(data) is not None
    return {
        key: MARK
        if not tagged and value is not None and is_secret(key)
        else redacted(value)
        for key, value in data.items()
    }


def _tag(data: Mapping[str, Any]) -> str | None:
    """Return the tag of a value that JSON lacks, None for plain data."""
    if len(data) == 1:
        (key,) = data
        if key in serialization.tags():
            return key
    return None


def restored(data: Any, stored: Any, names: Sequence[str] = ()) -> Any:
    """
    Return JSON data with each ``••••••`` replaced by the stored value it stands for.

    In a list, an element that holds hidden values and was moved keeps its own; if it
    was changed besides, nobody can tell whose values it should keep.

    :param data: what somebody edited, made by `redacted` from ``stored``
    :param stored: the stored JSON data
    :param names: for args, the names of the callable's parameters
    :raises NothingToKeepError: where nothing is stored to put in its place
    """
    if not _holds_mark(data):
        return data
    if names and isinstance(data, list) and isinstance(stored, list):
        # Each positional argument has its own name, so its place is its identity.
        shown = redacted(stored, names)
        return [
            _restored(
                item,
                stored[place] if place < len(stored) else None,
                shown[place] if place < len(shown) else None,
                f"[{place}]",
            )
            for place, item in enumerate(data)
        ]
    return _restored(data, stored, redacted(stored), "")


def _restored(data: Any, stored: Any, shown: Any, path: str) -> Any:
    if data == MARK and isinstance(data, str):
        if shown != MARK:
            raise NothingToKeepError(path)
        return stored
    if not _holds_mark(data):
        return data
    if isinstance(data, list):
        if not isinstance(stored, list) or not isinstance(shown, list):
            stored, shown = [], []
        return [
            _element(item, place, len(data) == len(stored), stored, shown, path)
            for place, item in enumerate(data)
        ]
    if not isinstance(stored, dict) or not isinstance(shown, dict):
        stored, shown = {}, {}
    return {
        key: _restored(
            value, stored.get(key), shown.get(key), f"{path}.{key}" if path else key
        )
        for key, value in data.items()
    }


def _element(
    item: Any,
    place: int,
    same_length: bool,
    stored: list[Any],
    shown: list[Any],
    path: str,
) -> Any:
    if not _holds_mark(item):
        return item
    if same_length and shown[place] == item:
        return stored[place]
    candidates = [stored[n] for n, other in enumerate(shown) if other == item]
    if candidates and all(value == candidates[0] for value in candidates):
        return candidates[0]
    if same_length and item not in shown and isinstance(item, dict):
        others = [n for n, other in enumerate(shown) if n != place]
        if not any(_holds_mark(shown[n]) for n in others):
            # The only element with hidden values, edited where it stands.
            return _restored(item, stored[place], shown[place], f"{path}[{place}]")
    raise NothingToKeepError(f"{path}[{place}]")


def _holds_mark(data: Any) -> bool:
    if isinstance(data, str):
        return data == MARK
    if isinstance(data, list):
        return any(_holds_mark(item) for item in data)
    if isinstance(data, Mapping):
        return any(_holds_mark(value) for value in data.values())
    return False
