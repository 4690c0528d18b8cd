"""Between a job and its row: as for other stores, and the signature."""

from __future__ import annotations

from typing import Any

from django_apscheduler.job import Job
from django_apscheduler.jobstores import rows
from django_apscheduler.jobstores.django import (
    arguments,  # noqa: F401 (teaches the serialiser model instances)
    signing,
)
from django_apscheduler.jobstores.rows import (
    LARGEST,
    PLAIN,
    call_columns,
    check_room,
    for_people,
    in_utc,
    schedule_columns,
    trigger_columns,
)

__all__ = [
    "COLUMNS",
    "LARGEST",
    "PLAIN",
    "Row",
    "Unsigned",
    "call_columns",
    "check_room",
    "explain",
    "for_people",
    "in_utc",
    "new_row",
    "schedule_columns",
    "sign",
    "to_job",
    "trigger_columns",
]


class Row(rows.Row):
    """What a job is made from: columns of `DjangoJob`, in this order."""

    __slots__ = ()

    def signed(self) -> bool:
        """Tell whether the row's signature holds for what it says to run."""
        return signing.verify(
            self.signature, self.id, self.func, self.args, self.kwargs, self.trigger
        )

    def changed(self, columns: dict[str, Any]) -> Row:
        """Return the row as an edit of ``columns`` leaves it."""
        if not columns:
            return self
        return self._replace(**columns, revision=self.revision + 1)


COLUMNS = Row._fields


class Unsigned(ValueError):
    """Raised for a row that says to run what no code of this project has written."""

    def __init__(self) -> None:
        super().__init__(signing.INVALID)


def explain(error: Exception) -> str:
    """Return why a job is broken: the reason in a line, and how it came to it."""
    return str(error) if isinstance(error, Unsigned) else rows.explain(error)


def to_job(row: Row, *, allow_pickle: bool = False) -> Job:
    """
    Return the job that a row describes. Its callable is not imported yet.

    :raises Unsigned: when its signature does not hold
    :raises SerializationError: when its trigger or arguments cannot be restored
    """
    if not row.signed():
        raise Unsigned
    return rows.to_job(row, allow_pickle=allow_pickle)


def new_row(job: Job, *, allow_pickle: bool = False) -> Row:
    """
    Return the row of a job that is added, signed.

    :raises TransientJobError: when the callable has no importable name
    :raises SerializationError: naming the argument that cannot be stored
    :raises ValueError: naming an option that a column has no room for
    """
    columns = rows.new_columns(job, allow_pickle=allow_pickle)
    signature = sign(job.id, columns)
    return Row(signature=signature, revision=1, error="", **columns)


def sign(job_id: str, columns: dict[str, Any]) -> str:
    """Return the signature for columns that hold func, args, kwargs and trigger."""
    return signing.sign(
        job_id,
        columns["func"],
        columns["args"],
        columns["kwargs"],
        columns["trigger"],
    )
