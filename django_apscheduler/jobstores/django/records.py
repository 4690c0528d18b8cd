"""What the statements of claims and outcomes read and write."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID


class Look(NamedTuple):
    """
    What a scheduler has to know before it claims.

    :ivar paused: whether everything is paused
    :ivar now: the present by the database's clock
    :ivar queued: whether an execution waits for one of the executors asked about
    :ivar due: when the first of their jobs is due, None for never or not asked
    """

    paused: bool
    now: datetime
    queued: bool
    due: datetime | None


class Advance(NamedTuple):
    """A job moved on by a claim."""

    id: str
    next_run_time: datetime | None
    nominal_time: datetime | None
    anchor_time: datetime | None
    state: str
    finished_time: datetime | None


class Entry(NamedTuple):
    """A new row of the execution log, written by a claim."""

    job_id: str
    job_name: str
    status: str
    run_time: datetime
    last_run_time: datetime | None
    occurrences: int | None
    nominal_time: datetime | None
    fire_key: str
    claim_id: UUID | None
    executor: str
    note: str = ""


class Ending(NamedTuple):
    """An outcome, as the execution log has it."""

    id: int
    owner_id: int
    attempt: int
    status: str
    started_time: datetime | None
    finished_time: datetime | None
    duration: float | None
    finished: float | None
    exception: str | None
    traceback: str | None


class Start(NamedTuple):
    """A body that has begun."""

    id: int
    owner_id: int
    attempt: int
    started_time: datetime
