"""Between a job and what is stored of it: values of named columns."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django_apscheduler.job import ACTIVE, PAUSED, Job
from django_apscheduler.jobstores.base import TransientJobError
from django_apscheduler.serialization import (
    PICKLE_PROTOCOL,
    dump_arguments,
    dump_trigger,
    load_arguments,
    load_trigger,
)
from django_apscheduler.util import utc


class Row(NamedTuple):
    """What a job is made from."""

    id: str
    uid: UUID
    name: str
    func: str
    trigger: str
    args: str
    kwargs: str
    signature: str
    executor: str
    coalesce: bool
    misfire_grace_time: int | None
    max_instances: int
    on_lost: str
    transactional: bool
    state: str
    next_run_time: datetime | None
    nominal_time: datetime | None
    anchor_time: datetime | None
    revision: int
    error: str


#: Attributes of a job whose column has the same name and value.
PLAIN = (
    "name",
    "executor",
    "coalesce",
    "misfire_grace_time",
    "max_instances",
    "on_lost",
    "transactional",
)


def explain(error: Exception) -> str:
    """Return why a job is broken: the reason in a line, and how it came to it."""
    told = "".join(traceback.format_exception(error))
    return (
        f"{type(error).__name__}: {error}\n\nIt is tried again every minute; mend "
        "the code or the row, or add the job again with replace_existing=True.\n\n"
        f"{told}"
    )


def to_job(row: Row, *, allow_pickle: bool = False) -> Job:
    """
    Return the job that a row describes, as it is: nothing is verified, and the callable
    is not imported yet.

    :raises SerializationError: when its trigger or arguments cannot be restored
    """
    job = Job.__new__(Job)
    job._scheduler = None
    job._jobstore_alias = None
    job._func = None
    job.func_ref = row.func
    job.id = row.id
    job.uid = row.uid
    job.name = row.name
    job.args = load_arguments(row.args, pickle=allow_pickle)
    job.kwargs = load_arguments(row.kwargs, pickle=allow_pickle)
    job.trigger = load_trigger(row.trigger, row.anchor_time)
    job.executor = row.executor
    job.coalesce = row.coalesce
    job.misfire_grace_time = row.misfire_grace_time
    job.max_instances = row.max_instances
    job.on_lost = row.on_lost
    job.transactional = row.transactional
    job.state = row.state
    job.next_run_time = row.next_run_time if row.state == ACTIVE else None
    job.nominal_time = row.nominal_time
    job.revision = row.revision
    job.error = row.error
    job.changes = set()
    return job


def for_people(job: Job) -> Job:
    """Show the job's times in its trigger's zone, as the trigger itself does."""
    zone = getattr(job.trigger, "timezone", None)
    if zone is not None and job.next_run_time is not None:
        job.next_run_time = job.next_run_time.astimezone(zone)
    return job


def call_columns(
    job: Job, *, allow_pickle: bool = False, protocol: int = PICKLE_PROTOCOL
) -> dict[str, str]:
    """
    Return the columns that say what to run.

    :param protocol: of what is pickled
    :raises TransientJobError: when the callable has no importable name
    :raises SerializationError: naming the argument that cannot be stored
    """
    if job.func_ref is None:
        raise TransientJobError(job.id)
    return {
        "func": job.func_ref,
        "args": dump_arguments(job.stored_args, pickle=allow_pickle, protocol=protocol),
        "kwargs": dump_arguments(job.kwargs, pickle=allow_pickle, protocol=protocol),
    }


def trigger_columns(job: Job) -> dict[str, Any]:
    """Return the columns that say when to run."""
    anchor = getattr(job.trigger, "anchor", None)
    return {"trigger": dump_trigger(job.trigger), "anchor_time": in_utc(anchor)}


def schedule_columns(job: Job) -> dict[str, Any]:
    """Return the columns that say where the schedule stands."""
    if job.next_run_time is None:
        return {"next_run_time": None, "nominal_time": None, "state": PAUSED}
    return {
        "next_run_time": in_utc(job.next_run_time),
        "nominal_time": in_utc(job.nominal_time or job.next_run_time),
        "state": ACTIVE,
    }


def new_columns(
    job: Job, *, allow_pickle: bool = False, protocol: int = PICKLE_PROTOCOL
) -> dict[str, Any]:
    """
    Return the columns of a job that is added, but for its signature.

    :raises TransientJobError: when the callable has no importable name
    :raises SerializationError: naming the argument that cannot be stored
    :raises ValueError: naming an option that a column has no room for
    """
    columns: dict[str, Any] = {"id": job.id, "uid": job.uid}
    columns.update({name: getattr(job, name, None) for name in PLAIN})
    columns.update(call_columns(job, allow_pickle=allow_pickle, protocol=protocol))
    columns.update(trigger_columns(job))
    columns.update(schedule_columns(job))
    check_room(columns)
    return columns


def check_room(columns: Mapping[str, Any]) -> None:
    """
    Check that values fit into their columns, before any database has its own say.

    :raises ValueError: naming the option that does not
    """
    for name, most in _LONGEST.items():
        text = columns.get(name, "")
        if len(text) > most:
            raise ValueError(
                f"{name} must have at most {most} characters to be stored; "
                f"got {len(text)}"
            )
        if "\0" in text:
            raise ValueError(f"{name} must not hold the character NUL; got {text!r}")
    for name in ("misfire_grace_time", "max_instances"):
        number = columns.get(name)
        if number is not None and number > LARGEST:
            raise ValueError(
                f"{name} must be at most {LARGEST} to be stored; got {number}"
            )


_LONGEST = {
    "id": 255,
    "name": 255,
    "func": 500,
    "executor": 100,
    "token": 255,
    "requested_by": 255,
    "paused_by": 255,
    "pause_reason": 255,
}
#: The largest number that an integer column holds.
LARGEST = 2**31 - 1


def in_utc(time: datetime | None) -> datetime | None:
    """Return the same instant in UTC."""
    return None if time is None else time.astimezone(utc)
