"""
Adding, changing and removing jobs, from any process and inside its transactions.

Each edit is one transaction that locks the job's row first, so that it and a claim see
each other whole. Only what the caller changed is written.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, connections, transaction
from django.db.models import F

from django_apscheduler import planning
from django_apscheduler.db import ensure_usable, repeat_deadlocks
from django_apscheduler.job import (
    ACTIVE,
    BROKEN,
    DISABLED,
    FINISHED,
    PAUSED,
    Job,
    say_which,
)
from django_apscheduler.jobstores.base import (
    MOST_AHEAD_SECONDS,
    ConflictingIdError,
    JobLookupError,
)
from django_apscheduler.jobstores.django import rows
from django_apscheduler.jobstores.django.claim import fire_key
from django_apscheduler.jobstores.django.rows import COLUMNS, Row, in_utc
from django_apscheduler.jobstores.django.sql import (
    BULK_ROWS,
    Statements,
    added_note,
    begin_to_write,
    chunks,
    statements,
)
from django_apscheduler.models import (
    DjangoJob,
    DjangoJobExecution,
    SchedulerControl,
)
from django_apscheduler.util import utc

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from django_apscheduler.jobstores.django.store import DjangoJobStore

#: How often jobs are added that others add at the same moment.
MOST_ATTEMPTS = 5

#: What a job that is added anew forgets of the finished one under its id.
FRESH: dict[str, Any] = {
    "paused_time": None,
    "paused_by": "",
    "pause_reason": "",
    "resume_time": None,
    "declaration": None,
    "overrides": "[]",
    "finished_time": None,
    "job_state": None,
}


def repeated(edit: Callable[..., Any]) -> Any:
    """Have a method that is one transaction begin again after a deadlock."""

    @wraps(edit)
    def method(self: Edits, *args: Any) -> Any:
        return repeat_deadlocks(self.store.using, partial(edit, self, *args))

    return method


class Edits:
    """One store's edits. Every method is one transaction, or part of the caller's."""

    def __init__(self, store: DjangoJobStore):
        self.store = store

    @property
    def jobs(self) -> Any:
        return DjangoJob.objects.using(self.store.using)

    @property
    def executions(self) -> Any:
        return DjangoJobExecution.objects.using(self.store.using)

    @contextmanager
    def editing(self) -> Iterator[Statements]:
        """Run the block in a transaction that tells the schedulers when it commits."""
        using = self.store.using
        connection = connections[using]
        ensure_usable(connection)
        self.warn_of_other_transactions()
        with self.store.writers(connection), transaction.atomic(using=using):
            begin_to_write(using)
            sql = statements(connection)
            yield sql
            sql.notify()

    def warn_of_other_transactions(self) -> None:
        """Warn when the caller's transaction is on another database than the jobs."""
        using = self.store.using
        if connections[using].in_atomic_block:
            return
        for connection in connections.all(initialized_only=True):
            if connection.alias != using and connection.in_atomic_block:
                logger.warning(
                    "Jobs are edited inside atomic() on the database %r, but they are "
                    "kept in %r: the edit takes effect at once, and stays if that "
                    "transaction is rolled back. Use atomic(using=%r)",
                    connection.alias,
                    using,
                    using,
                )

    def lock(self, job_ids: list[str]) -> dict[str, tuple[Row, datetime, str]]:
        """Lock jobs' rows; return id → row, the present, and its overrides."""
        found = self.store.locked(self.jobs.filter(id__in=job_ids), wait=True)
        names = (*COLUMNS, "overrides")
        locked = list(found.order_by("id").values_list(*names))
        # Only now: the statement may have waited long for the locks, and what fell due
        # meanwhile is due.
        now = self.present([columns[0] for columns in locked])
        return {
            columns[0]: (Row._make(columns), now, overrides)
            for *columns, overrides in locked
        }

    def present(self, job_ids: list[str]) -> datetime:
        """
        Return the present, later than all run times that were claimed of locked jobs.

        Claims begin a little ahead. An edit that counts from now would name such a run
        time again, so it waits until that has passed.
        """
        given = self.store.given_now(None)
        if given is not None:
            return given
        sql = statements(connections[self.store.using])
        while True:
            now, claimed = sql.present(job_ids)
            ahead = (claimed - now).total_seconds() if claimed else -1.0
            # What is further ahead was claimed before the database's clock was set.
            if not 0 <= ahead <= MOST_AHEAD_SECONDS:
                return now
            time.sleep(ahead + 0.001)

    def lock_one(self, job_id: str) -> tuple[Row, datetime]:
        """
        Lock a job's row.

        :raises JobLookupError: when there is none, or the job has finished
        """
        found = self.lock([job_id]).get(job_id)
        if found is None or found[0].state == FINISHED:
            raise JobLookupError(job_id)
        return found[:2]

    # Adding.

    @repeated
    def add(self, jobs: list[Job], replace_existing: bool) -> None:
        """
        Add jobs, all or none.

        :raises ConflictingIdError: when an id is taken, unless existing ones are to be
            replaced
        """
        made = self.dumped(jobs)
        if len(jobs) == 1 and self.add_alone(jobs[0], made[jobs[0].id]):
            return
        for attempt in range(MOST_ATTEMPTS):
            try:
                with self.editing() as sql:
                    self.add_or_meet(sql, jobs, made, replace_existing)
                return
            except IntegrityError:
                # Somebody else added one of them since we looked.
                taken = self.first_taken(list(made))
                if taken is None or attempt == MOST_ATTEMPTS - 1:
                    raise
                if not replace_existing:
                    raise ConflictingIdError(taken) from None

    def add_or_meet(
        self,
        sql: Statements,
        jobs: list[Job],
        made: dict[str, Row],
        replace_existing: bool,
    ) -> None:
        """Inside the transaction."""
        left = {job.id: job for job in jobs}
        while left:
            new = [made[job_id] for job_id in left]
            for job_id in sql.add(new, self.store.given_now(None)):
                self.adopt(left.pop(job_id), made[job_id])
            for some in chunks(list(left)):
                for job_id, found in self.lock(some).items():
                    self.meet(left.pop(job_id), made[job_id], found, replace_existing)
            # What is left now was removed between the two looks, so is free.

    def first_taken(self, job_ids: list[str]) -> str | None:
        """Return one of the ids that a job has already, if any."""
        for some in chunks(job_ids):
            for job_id in self.jobs.filter(id__in=some).values_list("id", flat=True)[
                :1
            ]:
                return job_id
        return None

    def dumped(self, jobs: list[Job]) -> dict[str, Row]:
        """
        Return the rows of new jobs by id, before anything is locked.

        :raises ConflictingIdError: when two of them have one id
        :raises ValueError: saying which job cannot be stored, and why
        """
        pickle = self.store.allow_pickle
        made: dict[str, Row] = {}
        for index, job in enumerate(jobs):
            if job.id in made:
                raise ConflictingIdError(job.id)
            try:
                made[job.id] = rows.new_row(job, allow_pickle=pickle)
            except Exception as error:
                if len(jobs) > 1:
                    say_which(error, index, job.id)
                raise
        return made

    def add_alone(self, job: Job, row: Row) -> bool:
        """Add a job whose id is new, which most are; tell whether it was."""
        connection = connections[self.store.using]
        ensure_usable(connection)
        self.warn_of_other_transactions()
        with self.store.writers(connection):
            sql = statements(connection)
            if not sql.add_alone(row, self.store.given_now(None)):
                return False
        self.adopt(job, row)
        return True

    def meet(
        self,
        job: Job,
        new: Row,
        found: tuple[Row, datetime, str],
        replace_existing: bool,
    ) -> None:
        """
        Add a job whose id another one has, or had.

        :raises ConflictingIdError: when it is neither over nor to be replaced
        """
        row, now, overrides = found
        if row.state == FINISHED or (replace_existing and row.state == BROKEN):
            self.overwrite(job, new, row, now)
        elif replace_existing:
            self.replace(job, new, row, now, overrides)
        else:
            raise ConflictingIdError(job.id)

    def overwrite(self, job: Job, new: Row, row: Row, now: datetime) -> None:
        """Add a job whose id a finished or broken one had."""
        fresh = dict(FRESH)
        if row.state == BROKEN:
            # The same job mended, not another one: what staff did to it stays.
            del fresh["declaration"], fresh["overrides"]
            # So is what has been claimed or handed back of it.
            new = new._replace(uid=row.uid)
            job.uid = row.uid
        elif "next_run_time" not in job.changes:
            if new.next_run_time is not None and new.next_run_time <= now:
                # Reckoned before the lock, and the last job may have had it meanwhile.
                new = new._replace(**self.first(job, new, now))
        new = new._replace(revision=row.revision + 1)
        self.jobs.filter(pk=row.id).update(
            **{**new._asdict(), **fresh}, created_time=now, changed_time=now
        )
        self.adopt(job, new)

    def replace(
        self, job: Job, new: Row, row: Row, now: datetime, overrides: str
    ) -> None:
        """
        Bring an existing job in line with ``job``, and leave alone what is the same.

        Next run time and pause stay unless the trigger changed or a time was given.
        """
        held = set(json.loads(overrides or "[]"))
        columns = new._asdict()
        changed = {
            name: value
            for name, value in columns.items()
            if name in _COMPARED and name not in held and getattr(row, name) != value
        }
        if "trigger" in changed:
            changed["anchor_time"] = new.anchor_time
        given = "next_run_time" in job.changes
        moves = given or ("trigger" in changed and row.state == ACTIVE)
        if moves or row.state == DISABLED:
            reckoned = columns["next_run_time"]
            if not given and reckoned is not None and reckoned <= now:
                # That was before the lock, and the run time may have been claimed since.
                columns.update(self.first(job, row, now))
            changed.update({name: columns[name] for name in _SCHEDULE})
        self.resign_changed(row, changed)
        if changed:
            self.write(row, changed, now, "replaced")
        self.adopt(job, row.changed(changed))
        job.uid = row.uid

    def adopt(self, job: Job, row: Row) -> None:
        """Let the caller's job tell what is stored."""
        job.revision = row.revision
        job.state = row.state
        job.next_run_time = row.next_run_time
        job.nominal_time = row.nominal_time
        job.error = ""
        rows.for_people(job)

    # Changing.

    @repeated
    def update(self, job: Job) -> None:
        """
        Write what was changed in ``job`` since it was loaded.

        :raises JobLookupError: when the job is not there any more
        """
        changed = self.changed_columns(job)
        with self.editing():
            self.apply(job, changed, *self.lock_one(job.id))

    @repeated
    def change(self, job_id: str, change: Callable[[Job], None]) -> Job:
        """
        Have ``change`` change a job that nobody else changes or claims meanwhile.

        :raises JobLookupError: when there is no such job, or it cannot be restored
        """
        with self.editing():
            row, now = self.lock_one(job_id)
            job = self.store.readable(row)
            if job is None:
                raise JobLookupError(job_id)
            change(job)
            self.apply(job, self.changed_columns(job), row, now)
        return job

    def changed_columns(self, job: Job) -> dict[str, Any]:
        """Return the columns that hold what was changed in ``job``."""
        pickle = self.store.allow_pickle
        changed: dict[str, Any] = {
            name: getattr(job, name) for name in rows.PLAIN if name in job.changes
        }
        if job.changes & {"func", "func_ref", "_func", "args", "kwargs"}:
            changed.update(rows.call_columns(job, allow_pickle=pickle))
        if "trigger" in job.changes:
            changed.update(rows.trigger_columns(job))
        if "next_run_time" in job.changes:
            changed.update(rows.schedule_columns(job))
        rows.check_room(changed)
        return changed

    def apply(self, job: Job, changed: dict[str, Any], row: Row, now: datetime) -> None:
        """Write changed columns, and what follows from them, to a row that is locked."""
        if changed.get("trigger") == row.trigger:
            # The same schedule as before goes on as it was.
            del changed["trigger"], changed["anchor_time"]
        elif "trigger" in changed and "state" not in changed:
            changed.update(self.recomputed(job, row, now))
        self.resign_changed(row, changed)
        if changed:
            self.write(row, changed, now, "changed")
        self.adopt(job, row.changed(changed))

    def recomputed(self, job: Job, row: Row, now: datetime) -> dict[str, Any]:
        """Return where a changed schedule stands; paused jobs stay paused."""
        if row.state not in (ACTIVE, BROKEN):
            return {"nominal_time": None}
        anchor = getattr(job.trigger, "anchor", None)
        return {**self.first(job, row, now), "anchor_time": in_utc(anchor)}

    def first(self, job: Job, row: Row, now: datetime) -> dict[str, Any]:
        """
        Return where a schedule stands that begins now.

        :raises ValueError: when it is over
        """
        run_time, nominal = planning.first_fire(job.trigger, row.uid, now)
        if run_time is None:
            raise ValueError(
                f"the trigger {job.trigger} of job {job.id!r} will never fire; correct "
                "it, or remove the job"
            )
        return {
            "next_run_time": in_utc(run_time),
            "nominal_time": in_utc(nominal),
            "state": ACTIVE,
        }

    def resign_changed(self, row: Row, changed: dict[str, Any]) -> None:
        """
        Sign what a change makes of a row, as part of that change.

        What the change leaves as it was must have been signed before: an edit of a
        harmless part must not sign what somebody slipped into another.
        """
        if not changed.keys() & _SIGNED:
            return
        if {"func", "args", "kwargs"} <= changed.keys() or row.signed():
            changed["signature"] = rows.sign(row.id, {**row._asdict(), **changed})
        else:
            changed["signature"] = ""

    def write(
        self, row: Row, changed: dict[str, Any], now: datetime, edit: str
    ) -> None:
        """Write changes under the row's lock; a due run they overtake leaves a row."""
        changed = dict(changed)
        if "next_run_time" in changed:
            new = changed["next_run_time"]
            if new is None and edit == "changed":
                edit = "paused"
            if new is None or (row.next_run_time and new > row.next_run_time):
                self.note_overtaken(row, now, edit)
            changed.update(_pause_columns(changed["state"], now))
            if changed["state"] == ACTIVE:
                changed["error"] = ""
        self.jobs.filter(pk=row.id).update(
            **changed, revision=F("revision") + 1, changed_time=now
        )

    def note_overtaken(self, row: Row, now: datetime, edit: str) -> None:
        """Leave a row for a run that was due, and that nobody had claimed yet."""
        due = row.next_run_time
        if row.state != ACTIVE or due is None or due > now:
            return
        self.executions.bulk_create(
            [
                DjangoJobExecution(
                    job_id=row.id,
                    job_name=row.name,
                    status=DjangoJobExecution.CANCELLED,
                    run_time=due,
                    last_run_time=due,
                    nominal_time=row.nominal_time,
                    fire_key=fire_key(row.uid, row.revision, row.nominal_time or due),
                    executor=row.executor,
                    finished_time=now,
                    note=f"Was due, but the job was {edit} before it could be claimed.",
                )
            ],
            # A claim of the same occurrence would have moved the job on.
            ignore_conflicts=True,
        )

    def note_missed(self, row: Row, now: datetime) -> None:
        """
        Leave a row for the last run times of a paused job, if they have passed.

        A job whose schedule ended during its pause is removed when it is resumed, and
        the log says why it never ran.
        """
        since = self.jobs.values_list("paused_time", flat=True).get(pk=row.id)
        try:
            trigger = self.store.to_job(row).trigger
            first = trigger.get_next_fire_time(None, since) if since else None
            if (
                first is None
                or not since <= first <= now
                or trigger.get_next_fire_time(first, now)
            ):
                return
        except Exception:
            # A job that cannot be restored has no run times to speak of.
            return
        last = planning.latest_fire_time(trigger, first, now) or first
        self.executions.bulk_create(
            [
                DjangoJobExecution(
                    job_id=row.id,
                    job_name=row.name,
                    status=DjangoJobExecution.MISSED,
                    run_time=first.astimezone(utc),
                    last_run_time=last.astimezone(utc),
                    occurrences=1 if last == first else None,
                    nominal_time=first.astimezone(utc),
                    fire_key=fire_key(row.uid, row.revision, first),
                    executor=row.executor,
                    finished_time=now,
                    note="Passed while the job was paused.",
                )
            ],
            ignore_conflicts=True,
        )

    # Removing.

    @repeated
    def remove(self, job_id: str) -> None:
        """
        Remove a job; what it has run stays in the log.

        :raises JobLookupError: when there is none, or it has finished
        """
        with self.editing():
            row, now = self.lock_one(job_id)
            if row.state == PAUSED:
                self.note_missed(row, now)
            self.take_out([row], now)

    @repeated
    def remove_all(self) -> None:
        """Remove all jobs."""
        with self.editing():
            self.take_out(*self.all_rows())

    def all_rows(self) -> tuple[list[Row], datetime]:
        locked = self.store.locked(self.jobs.all(), wait=True).order_by("id")
        found = [Row._make(row) for row in locked.values_list(*COLUMNS)]
        now = self.store.now()
        for some in chunks(found):
            now = self.present([row.id for row in some])
        return found, now

    def take_out(self, removed: list[Row], now: datetime) -> None:
        for row in removed:
            self.note_overtaken(row, now, "removed")
        for start in range(0, len(removed), BULK_ROWS):
            ids = [row.id for row in removed[start : start + BULK_ROWS]]
            self.executions.active().filter(
                job_id__in=ids, status=DjangoJobExecution.QUEUED
            ).update(
                status=DjangoJobExecution.CANCELLED,
                note=added_note("The job was removed before it could run."),
                finished_time=now,
            )
            self.jobs.filter(id__in=ids).delete()

    # Everything at once.

    @repeated
    def set_paused(self, paused: bool, by: str, reason: str) -> None:
        """
        Pause or resume all schedulers of this database.

        :raises ValueError: when a text is too long
        """
        rows.check_room({"paused_by": by, "pause_reason": reason})
        with self.editing():
            SchedulerControl.objects.using(self.store.using).update_or_create(
                pk=SchedulerControl.ROW,
                defaults={
                    "paused": paused,
                    "paused_by": by,
                    "pause_reason": reason,
                    "paused_time": self.store.now() if paused else None,
                },
            )


_SIGNED = {"func", "args", "kwargs", "trigger"}
_SCHEDULE = ("next_run_time", "nominal_time", "state")
_COMPARED = {*rows.PLAIN, "func", "args", "kwargs", "trigger"}


def _pause_columns(state: str, now: datetime) -> dict[str, Any]:
    if state == PAUSED:
        return {"paused_time": now}
    return {
        "paused_time": None,
        "paused_by": "",
        "pause_reason": "",
        "resume_time": None,
    }
