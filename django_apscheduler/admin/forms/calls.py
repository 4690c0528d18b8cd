"""
What a job calls: the callables that forms offer, their arguments read, checked, shown.

Forms name callables by reference; only exact references of registered callables are
known here, and nothing that a form says is ever imported.
"""

from __future__ import annotations

import difflib
import inspect
import json
import math
import sys
import types
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext, ngettext

from django_apscheduler import redaction, registry, serialization, util

#: Characters of arguments in a form; what is larger belongs into a table or a file.
LONGEST_TEXT = 100_000

#: Names listed in a message, and messages about names.
LISTED_NAMES = 5


@dataclass(frozen=True, slots=True)
class Choice:
    """
    A callable that a form offers.

    :ivar ref: ``module:name``, the value of the choice
    :ivar label: for people
    :ivar doc: its docstring, or ""
    :ivar signature: such as ``(days: int = 30)``, or "" when it tells none
    """

    ref: str
    label: str
    doc: str
    signature: str


@dataclass(frozen=True, slots=True)
class Offer:
    """
    What a form may offer.

    :ivar choices: ordered by label
    :ivar problem: which jobs modules could not be imported and why, so that their
        callables are missing; "" when all could
    """

    choices: list[Choice]
    problem: str


def offer() -> Offer:
    """Return the registered callables, and why some may be missing."""
    problem = _discover()
    return Offer(
        [
            Choice(entry.ref, entry.label, entry.doc, entry.signature)
            for entry in registry.known_callables().values()
        ],
        problem,
    )


def choices() -> list[Choice]:
    """Return the registered callables, ordered by label."""
    return offer().choices


def _discover() -> str:
    try:
        registry.autodiscover()
    except registry.DiscoveryError as error:
        return str(error)
    return ""


# Arguments as text


def parse_args(
    text: str, stored: str = "", names: Sequence[str] = ()
) -> tuple[Any, ...]:
    """
    Return the positional arguments in a form's text, a JSON list; empty text is none.

    :param stored: the stored arguments that ``••••••`` in the text stands for; "" when
        it stands for nothing, as when the callable was changed
    :param names: names of the callable's parameters, see `parameter_names`
    :raises ValidationError: such as "Arguments, line 2: expected ','"
    """
    what = gettext("Arguments")
    expected = gettext("%(what)s: expected a list such as %(example)s; got %(got)s.")
    data = _data(text, list, what, expected, '[1, "monthly"]')
    return tuple(_values(data, stored, names, what)) if data else ()


def parse_kwargs(text: str, stored: str = "") -> dict[str, Any]:
    """
    Return the keyword arguments in a form's text, a JSON object; empty text is none.

    :param stored: as for `parse_args`
    :raises ValidationError: such as "Keyword arguments, line 2: expected ','"
    """
    what = gettext("Keyword arguments")
    expected = gettext("%(what)s: expected an object such as %(example)s; got %(got)s.")
    data = _data(text, dict, what, expected, '{"days": 30}')
    name = next(iter(data), "")
    if len(data) == 1 and name.startswith("$") and name != "$dict":
        raise ValidationError(
            gettext("%(what)s: “%(name)s” marks a value; it is no name."),
            code="type",
            params={"what": what, "name": name[:100]},
        )
    return _values(data, stored, (), what) if data else {}


def _data(text: str, kind: type, what: str, expected: str, example: str) -> Any:
    """
    Return the JSON list or object in a text; empty when the text is.

    :param expected: the error when it is something else
    """
    data = _read(text, what) if text.strip() else kind()
    if not isinstance(data, kind):
        params = {"what": what, "example": example, "got": _kind(data)}
        raise ValidationError(expected, code="type", params=params)
    return data


def _values(data: Any, stored: str, names: Sequence[str], what: str) -> Any:
    """Return what JSON data stands for, hidden values put back."""
    try:
        data = redaction.restored(data, json.loads(stored) if stored else None, names)
        _check_tags(data)
        values = serialization.load_arguments(serialization.canonical(data))
        serialization.dump_arguments(values, "kwargs" if type(data) is dict else "args")
    except redaction.NothingToKeepError as error:
        raise ValidationError(
            gettext(
                "%(what)s: at %(path)s, %(mark)s stands for a hidden value that is kept, "
                "and none is stored there. Enter the value itself."
            ),
            code="hidden",
            params={"what": what, "path": error.path or "–", "mark": redaction.MARK},
        ) from None
    except (serialization.SerializationError, RecursionError) as error:
        if isinstance(error, RecursionError):
            reason = gettext("nested too deep")
        else:
            reason = str(error)
        raise ValidationError(
            gettext("%(what)s: %(reason)s"),
            code="value",
            params={"what": what, "reason": reason},
        ) from None
    return values


def _check_tags(data: Any) -> None:
    """
    Refuse tags whose values are more than data: pickles, and triggers of any class.

    Walks as `serialization.load_arguments` does, which trusts what it is given.
    """
    if isinstance(data, list):
        for item in data:
            _check_tags(item)
        return
    if not isinstance(data, dict):
        return
    if len(data) == 1:
        ((tag, inner),) = data.items()
        if tag.startswith("$"):
            known = serialization.tags()
            if tag not in known:
                raise serialization.SerializationError(
                    gettext("“%(tag)s” is not a known mark; known are %(known)s")
                    % {"tag": tag, "known": ", ".join(sorted(known))}
                )
            if tag != "$dict" or not isinstance(inner, dict):
                _check_tags(inner)
                return
            data = inner
    for value in data.values():
        _check_tags(value)


class _Refused(ValueError):
    """A text that is JSON for Python, but not for us."""


def _read(text: str, what: str) -> Any:
    if len(text) > LONGEST_TEXT:
        raise ValidationError(
            gettext(
                "%(what)s: %(length)s characters are too many; %(limit)s are allowed. "
                "Store large data in a table and pass its key."
            ),
            code="length",
            params={"what": what, "length": len(text), "limit": LONGEST_TEXT},
        )
    try:
        return json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_float,
            parse_int=_integer,
        )
    except json.JSONDecodeError as error:
        raise ValidationError(
            gettext("%(what)s, line %(line)s: %(reason)s"),
            code="json",
            params={"what": what, "line": error.lineno, "reason": _reason(error)},
        ) from None
    except RecursionError:
        reason = gettext("nested too deep")
    except _Refused as error:
        reason = str(error)
    raise ValidationError(
        gettext("%(what)s: %(reason)s"),
        code="json",
        params={"what": what, "reason": reason},
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        (twice, _), *_ = counts.most_common(1)
        raise _Refused(gettext("“%(name)s” occurs twice") % {"name": twice})
    return found


def _refuse_constant(name: str) -> Any:
    raise _Refused(
        gettext("%(name)s is no number that can be stored; use null or a text")
        % {"name": name}
    )


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _Refused(
            gettext("the number %(number)s is too large") % {"number": text[:40]}
        )
    return number


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        # Python refuses to read integers of thousands of digits.
        raise _Refused(
            gettext("a number of %(count)s digits is too large") % {"count": len(text)}
        ) from None


def _reason(error: json.JSONDecodeError) -> str:
    """Return what is wrong with a text that is not JSON, and the likely slip."""
    rest = error.doc[error.pos :].lstrip()
    before = error.doc[: error.pos].rstrip()
    for word, right in (("True", "true"), ("False", "false"), ("None", "null")):
        if rest.startswith(word):
            return gettext("write %(right)s instead of %(word)s") % {
                "right": right,
                "word": word,
            }
    if rest.startswith(("'", "‘", "’", "“", "”", "„")):
        return gettext('texts and names go in straight double quotes, "like this"')
    if (before.endswith(",") and rest[:1] in ("}", "]")) or (
        "trailing comma" in error.msg
    ):
        return gettext("there is a comma too many before the closing bracket")
    if not rest and "Unterminated" not in error.msg:
        return gettext("the text ends too early; is a closing bracket missing?")
    for message, reason in (
        ("',' delimiter", gettext("expected ','")),
        ("':' delimiter", gettext("expected ':'")),
        ("property name", gettext("expected a name in double quotes")),
        ("Unterminated string", gettext("a text is not closed; expected '\"'")),
        ("control character", gettext(r"a text holds a line break or tab; write \n")),
        ("escape", gettext(r"a text holds a backslash; write \\")),
        ("Extra data", gettext("expected nothing more after the closing bracket")),
    ):
        if message in error.msg:
            return reason
    return gettext("expected a value, such as 1, true, null or a text in double quotes")


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return gettext("a text")
    if isinstance(value, (int, float)):
        return gettext("a number")
    return gettext("a list") if isinstance(value, list) else gettext("an object")


# Whether a call fits


def check(
    ref: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, list[ValidationError]]:
    """
    Return what is wrong with a call, by form field: ``func``, ``args``, ``kwargs``.

    Empty when the callable is registered under exactly this reference and would find
    all its arguments.
    """
    _discover()
    entry = registry.known_callables().get(ref)
    if entry is None:
        message = gettext(
            "“%(ref)s” is not one of the callables that this project offers."
        )
        return {"func": [ValidationError(message, "unknown", {"ref": ref[:200]})]}
    try:
        signature = inspect.signature(entry.func)
    except (TypeError, ValueError):
        # Some callables written in C tell no signature; the call itself will tell.
        return {}
    name = f"{util.get_callable_name(entry.func)}()"
    found: dict[str, list[ValidationError]] = {}
    if too_many := _too_many(name, signature, args):
        found["args"] = [too_many]
    wrong = _wrong_names(name, signature, args, kwargs)
    missing = _missing(name, signature, args, kwargs)
    if wrong or missing:
        found["kwargs"] = wrong + missing
    return found


def parameter_names(ref: str) -> tuple[str, ...]:
    """
    Return the names of a callable's positional parameters, in order.

    Those of a function that is not registered are known if its module happens to be
    loaded; nothing is imported for them.
    """
    _discover()
    entry = registry.known_callables().get(ref)
    if entry is not None:
        return redaction.parameter_names(entry.func)
    module, _colon, name = ref.partition(":")
    found = vars(sys.modules[module]).get(name) if module in sys.modules else None
    # Of anything else the signature may be whatever it likes to compute.
    known = isinstance(found, types.FunctionType)
    return redaction.parameter_names(found) if known else ()


_POSITIONAL = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def _has(signature: inspect.Signature, kind: Any) -> bool:
    return any(p.kind is kind for p in signature.parameters.values())


def _positional(signature: inspect.Signature) -> list[inspect.Parameter]:
    return [p for p in signature.parameters.values() if p.kind in _POSITIONAL]


def _too_many(
    name: str, signature: inspect.Signature, args: Sequence[Any]
) -> ValidationError | None:
    most = len(_positional(signature))
    if len(args) <= most or _has(signature, inspect.Parameter.VAR_POSITIONAL):
        return None
    if not most:
        message = gettext("%(name)s takes no positional arguments; got %(given)s.")
    else:
        message = ngettext(
            "%(name)s takes at most %(count)s positional argument; got %(given)s.",
            "%(name)s takes at most %(count)s positional arguments; got %(given)s.",
            most,
        )
    params = {"name": name, "count": most, "given": len(args)}
    return ValidationError(message, "too_many", params)


def _wrong_names(
    name: str,
    signature: inspect.Signature,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> list[ValidationError]:
    """Return an error for each keyword that the callable lacks or has already."""
    by_place = [p.name for p in _positional(signature)[: len(args)]]
    parameters = signature.parameters
    names = [p.name for p in parameters.values() if p.kind in _NAMED]
    any_name = _has(signature, inspect.Parameter.VAR_KEYWORD)
    errors: list[ValidationError] = []
    for key in kwargs:
        if len(errors) == LISTED_NAMES:
            # A form may hold thousands, and looking for the likely name takes time.
            break
        if key in names and key in by_place:
            message = gettext("%(name)s gets '%(key)s' twice: by place and by name.")
        elif key in names or any_name:
            continue
        elif key in parameters and parameters[key].kind is _POSITIONAL[0]:
            message = gettext(
                "%(name)s takes '%(key)s' by place only; put it into the arguments."
            )
        else:
            free = [n for n in names if n not in kwargs and n not in by_place]
            errors.append(_unknown(name, key, free))
            continue
        errors.append(ValidationError(message, "twice", {"name": name, "key": key}))
    return errors


def _unknown(name: str, key: str, free: list[str]) -> ValidationError:
    params = {"name": name, "key": key[:100]}
    near = difflib.get_close_matches(key[:100], free, n=1)
    if near:
        params["near"] = near[0]
        message = gettext(
            "%(name)s has no argument '%(key)s'; did you mean '%(near)s'?"
        )
    elif free:
        params["names"] = ", ".join(free[:LISTED_NAMES])
        message = gettext(
            "%(name)s has no argument '%(key)s'; it also takes %(names)s."
        )
    else:
        message = gettext("%(name)s has no argument '%(key)s'.")
    return ValidationError(message, "unknown", params)


def _missing(
    name: str,
    signature: inspect.Signature,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> list[ValidationError]:
    by_place = [p.name for p in _positional(signature)[: len(args)]]
    missing = [
        p.name
        for p in signature.parameters.values()
        if p.kind in (*_POSITIONAL, inspect.Parameter.KEYWORD_ONLY)
        and p.default is p.empty
        and p.name not in by_place
        and (p.name not in kwargs or p.kind is inspect.Parameter.POSITIONAL_ONLY)
    ]
    if not missing:
        return []
    message = ngettext(
        "%(name)s needs the argument %(names)s.",
        "%(name)s needs the arguments %(names)s.",
        len(missing),
    )
    names = ", ".join(f"'{argument}'" for argument in missing)
    return [ValidationError(message, "missing", {"name": name, "names": names})]


# Arguments shown


def shown_args(text: str, ref: str = "") -> str:
    """
    Return stored positional arguments for people: indented JSON, secrets hidden.

    :param text: as stored
    :param ref: the job's callable, whose parameters name the arguments
    :return: "" for no arguments
    """
    return _shown(text, lambda data: redaction.redacted(data, parameter_names(ref)))


def shown_kwargs(text: str) -> str:
    """Return stored keyword arguments likewise."""
    return _shown(text, redaction.redacted)


def _shown(text: str, redact: Callable[[Any], Any]) -> str:
    if text in ("", "[]", "{}"):
        return ""
    try:
        return json.dumps(redact(json.loads(text)), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        # A row edited by hand; whether it holds a secret cannot be told.
        return gettext("Cannot be read: not JSON.")
