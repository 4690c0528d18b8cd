"""A job as named values that a store keeps: checked when read, plain when written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django_apscheduler.jobstores.rows import Row
from django_apscheduler.util import utc

#: What a store keeps of a job, by name. These stores know no transactions and count no
#: edits.
FIELDS = tuple(
    name for name in Row._fields if name not in ("transactional", "revision")
)
#: Those that a claim changes.
SCHEDULE = ("state", "next_run_time", "nominal_time", "anchor_time", "error")

_TEXTS = (
    "id", "name", "func", "trigger", "args", "kwargs", "signature", "executor",
    "on_lost", "state", "error",
)  # fmt: skip
_TIMES = ("next_run_time", "nominal_time", "anchor_time")

Fields = Mapping[str, Any]


class Damaged(ValueError):
    """Raised for what is stored and is no job."""


def printable(text: str) -> str:
    """Return a text without what some databases refuse."""
    return text.replace("\0", "\\0").encode("utf-8", "replace").decode()


def checked(name: str, value: Any) -> Any:
    """
    Return a stored value as `Row` has it.

    :raises Damaged: when it is something else
    """
    try:
        if name in _TEXTS:
            if isinstance(value, str):
                return value
        elif name in _TIMES:
            if value is None or isinstance(value, datetime):
                return value
            if isinstance(value, str):
                return parsed_time(value)
        elif name == "uid":
            return value if isinstance(value, UUID) else UUID(value)
        elif name == "coalesce":
            if value in (True, False):
                return bool(value)
        elif isinstance(value, int) or (value is None and name == "misfire_grace_time"):
            return value
    except (AttributeError, TypeError, ValueError):
        pass
    raise Damaged(f"what is stored as {name} is not what a job has: {value!r:.100}")


def plain(row: Row | Fields) -> dict[str, Any]:
    """
    Return a job's fields as JSON has them: ids and times as texts.

    Times have a fixed width and are in UTC, so their texts sort as they do.
    """
    fields: Mapping[str, Any] = row._asdict() if isinstance(row, Row) else row
    found = {name: fields[name] for name in FIELDS}
    found["uid"] = str(found["uid"])
    for name in _TIMES:
        if found[name] is not None:
            found[name] = time_text(found[name])
    return found


def time_text(time: datetime) -> str:
    """Return a time as text, as in 2026-06-01T12:00:00.000000Z."""
    naive = time.astimezone(utc).replace(tzinfo=None)
    return f"{naive.isoformat(timespec='microseconds')}Z"


def parsed_time(text: str) -> datetime:
    """
    Return the time that a text says, in UTC unless it says otherwise.

    :raises ValueError: when it is none
    """
    time = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return time if time.tzinfo else time.replace(tzinfo=utc)


def chunks(items: Iterable[Any], size: int = 500) -> list[list[Any]]:
    """Return items in lists of a bearable length."""
    every = list(items)
    return [every[start : start + size] for start in range(0, len(every), size)]
