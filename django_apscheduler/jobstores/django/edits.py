"""
Adding, changing and removing jobs, from any process and inside its transactions.

Each edit is one transaction that locks the job's row first, so that it and a claim see
each other whole. Only what the caller changed is written.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, connections, transaction
from django.db.models import F

from django_apscheduler import planning
from django_apscheduler.db import DatabaseNow, ensure_usable, moment
from django_apscheduler.job import ACTIVE, BROKEN, DISABLED, FINISHED, PAUSED, Job
from django_apscheduler.jobstores.base import ConflictingIdError, JobLookupError
from django_apscheduler.jobstores.django import rows
from django_apscheduler.jobstores.django.claim import fire_key
from django_apscheduler.jobstores.django.rows import COLUMNS, Row, in_utc
from django_apscheduler.jobstores.django.sql import Statements, added_note, statements
from django_apscheduler.models import (
    DjangoJob,
    DjangoJobExecution,
    SchedulerCommand,
    SchedulerControl,
)
from django_apscheduler.util import utc

if TYPE_CHECKING:
    from django_apscheduler.jobstores.django.store import DjangoJobStore

#: How long a run-now waits for a scheduler and for the job's other instances.
RUN_NOW_EXPIRES = timedelta(minutes=5)

#: Rows written by one statement when many jobs are added.
BULK_ROWS = 1000

#: What a job that is added anew forgets of the finished one under its id.
FRESH: dict[str, Any] = {
    "error": "",
    "paused_time": None,
    "paused_by": "",
    "pause_reason": "",
    "resume_time": None,
    "declaration": None,
    "overrides": "[]",
    "finished_time": None,
    "job_state": None,
}


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
        self.store.warn_of_other_transactions()
        with self.store.writers(connection), transaction.atomic(using=using):
            sql = statements(connection)
            if connection.vendor == "sqlite":
                sql.limit_locks()
            yield sql
            sql.notify()

    def lock(self, job_ids: list[str]) -> dict[str, tuple[Row, datetime, str]]:
        """Lock jobs' rows; return id → row, the present, and its overrides."""
        found = self.store.locked(self.jobs.filter(id__in=job_ids), wait=True)
        names = (*COLUMNS, "overrides")
        result = {}
        for values in found.order_by("id").values_list(*names, DatabaseNow()):
            *columns, overrides, now = values
            now = self.store.given_now(None) or now
            result[columns[0]] = (Row._make(columns), now, overrides)
        return result

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

    def add(self, jobs: list[Job], replace_existing: bool) -> None:
        """
        Add jobs, all or none.

        :raises ConflictingIdError: when an id is taken, unless existing ones are to be
            replaced
        """
        pickle = self.store.allow_pickle
        columns = {job.id: rows.all_columns(job, allow_pickle=pickle) for job in jobs}
        if len(columns) < len(jobs):
            ids = [job.id for job in jobs]
            raise ConflictingIdError(next(id for id in ids if ids.count(id) > 1))
        new: list[Job] = []
        try:
            with self.editing():
                known = self.lock(list(columns))
                for job in jobs:
                    found = known.get(job.id)
                    if found is None:
                        new.append(job)
                    elif found[0].state == FINISHED:
                        self.overwrite(job, found[0], found[1], columns[job.id])
                    elif replace_existing:
                        self.replace(job, *found, columns[job.id])
                    else:
                        raise ConflictingIdError(job.id)
                self.insert(new, columns)
        except IntegrityError:
            # Somebody else added one of them since we looked.
            taken = self.jobs.filter(id__in=[job.id for job in new])
            for job_id in taken.values_list("id", flat=True)[:1]:
                raise ConflictingIdError(job_id) from None
            raise

    def insert(self, jobs: list[Job], columns: dict[str, dict[str, Any]]) -> None:
        given = self.store.given_now(None)
        # One job does without asking for the time first; many are written faster with
        # plain values.
        now = moment(given) if len(jobs) == 1 else given or self.store.now()
        made = [
            DjangoJob(
                id=job.id,
                uid=job.uid,
                created_time=now,
                changed_time=now,
                **columns[job.id],
            )
            for job in jobs
        ]
        if len(made) == 1:
            made[0].save(using=self.store.using, force_insert=True)
        elif made:
            self.jobs.bulk_create(made, batch_size=BULK_ROWS)
        for job in jobs:
            self.adopt(job, columns[job.id], revision=1)

    def overwrite(
        self, job: Job, row: Row, now: datetime, columns: dict[str, Any]
    ) -> None:
        """Add a job whose id a finished or broken one had."""
        fresh = dict(FRESH)
        if row.state == BROKEN:
            # The same job mended, not another one: what staff did to it stays.
            del fresh["declaration"], fresh["overrides"]
        self.jobs.filter(pk=job.id).update(
            **columns,
            **fresh,
            uid=job.uid,
            revision=row.revision + 1,
            created_time=now,
            changed_time=now,
        )
        self.adopt(job, columns, revision=row.revision + 1)

    def replace(
        self,
        job: Job,
        row: Row,
        now: datetime,
        overrides: str,
        columns: dict[str, Any],
    ) -> None:
        """
        Bring an existing job in line with ``job``, and leave alone what is the same.

        Next run time and pause stay unless the trigger changed or a time was given.
        """
        if row.state == BROKEN:
            self.overwrite(job, row, now, columns)
            return
        held = set(json.loads(overrides or "[]"))
        changed = {
            name: value
            for name, value in columns.items()
            if name in _COMPARED and name not in held and getattr(row, name) != value
        }
        if "trigger" in changed:
            changed["anchor_time"] = columns["anchor_time"]
        given = "next_run_time" in job.changes
        moves = given or ("trigger" in changed and row.state == ACTIVE)
        if moves or row.state == DISABLED:
            changed.update({name: columns[name] for name in _SCHEDULE})
        if changed.keys() & _SIGNED:
            merged = {**row._asdict(), **changed}
            changed["signature"] = self.resigned(row, merged, set(changed))
        if changed:
            self.write(row, changed, now, "replaced")
        self.adopt(job, {**row._asdict(), **changed}, row.revision + bool(changed))
        job.uid = row.uid

    def adopt(self, job: Job, columns: dict[str, Any], revision: int) -> None:
        """Let the caller's job tell what is stored."""
        job.revision = revision
        job.state = columns["state"]
        job.next_run_time = columns["next_run_time"]
        job.nominal_time = columns["nominal_time"]
        job.error = ""
        rows.for_people(job)

    # Changing.

    def update(self, job: Job) -> None:
        """
        Write what was changed in ``job`` since it was loaded.

        :raises JobLookupError: when the job is not there any more
        """
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
        with self.editing():
            row, now = self.lock_one(job.id)
            if changed.get("trigger") == row.trigger:
                # The same schedule as before goes on as it was.
                del changed["trigger"], changed["anchor_time"]
            elif "trigger" in changed and "state" not in changed:
                changed.update(self.recomputed(job, row, now))
            if changed.keys() & _SIGNED:
                merged = {**row._asdict(), **changed}
                changed["signature"] = self.resigned(row, merged, set(changed))
            if changed:
                self.write(row, changed, now, "changed")
            stored = {**row._asdict(), **changed}
            self.adopt(job, stored, row.revision + bool(changed))

    def recomputed(self, job: Job, row: Row, now: datetime) -> dict[str, Any]:
        """Return where a changed schedule stands; paused jobs stay paused."""
        if row.state not in (ACTIVE, BROKEN):
            return {"nominal_time": None}
        run_time, nominal = planning.first_fire(job.trigger, row.uid, now)
        if run_time is None:
            raise ValueError(
                f"the trigger {job.trigger} of job {job.id!r} will never fire; correct "
                "it, or remove the job"
            )
        anchor = getattr(job.trigger, "anchor", None)
        return {
            "next_run_time": in_utc(run_time),
            "nominal_time": in_utc(nominal),
            "anchor_time": in_utc(anchor),
            "state": ACTIVE,
        }

    def resigned(self, row: Row, merged: dict[str, Any], changed: set[str]) -> str:
        """
        Return the signature of a changed row.

        What the change leaves as it was must have been signed before: an edit of a
        harmless part must not sign what somebody slipped into another.
        """
        if not {"func", "args", "kwargs"} <= changed and not row.signed():
            return ""
        return rows.sign(row.id, merged)

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

    def remove_all(self) -> None:
        """Remove all jobs."""
        with self.editing():
            self.take_out(*self.all_rows())

    def all_rows(self) -> tuple[list[Row], datetime]:
        found = self.store.locked(self.jobs.all(), wait=True).order_by("id")
        return [Row._make(row) for row in found.values_list(*COLUMNS)], self.store.now()

    def take_out(self, removed: list[Row], now: datetime) -> None:
        for row in removed:
            self.note_overtaken(row, now, "removed")
        for start in range(0, len(removed), BULK_ROWS):
            ids = [row.id for row in removed[start : start + BULK_ROWS]]
            self.executions.filter(
                job_id__in=ids, status=DjangoJobExecution.QUEUED
            ).update(
                status=DjangoJobExecution.CANCELLED,
                note=added_note("The job was removed before it could run."),
                finished_time=now,
            )
            self.jobs.filter(id__in=ids).delete()

    # Running by hand.

    def run_now(self, job_id: str, token: str | None, requested_by: str) -> int:
        """
        Queue a run of a job beside its schedule.

        :param token: asking twice with the same token is asking once
        :return: id of the execution
        :raises JobLookupError: when there is no such job
        :raises ValueError: when the job is broken
        """
        with self.editing():
            row, now, _ = self.lock([job_id]).get(job_id) or (None, None, None)
            if row is None or now is None:
                raise JobLookupError(job_id)
            known = self.commands.filter(token=token).first() if token else None
            if known is not None:
                return known.execution_id
            if row.state == BROKEN:
                raise ValueError(f"The job {job_id!r} is broken. {row.error}")
            execution = DjangoJobExecution(
                job_id=row.id,
                job_name=row.name,
                status=DjangoJobExecution.QUEUED,
                run_time=now,
                executor=row.executor,
                origin=DjangoJobExecution.Origin.MANUAL,
                requested_by=requested_by,
                expires_time=now + RUN_NOW_EXPIRES,
            )
            execution.save(using=self.store.using, force_insert=True)
            self.command(
                SchedulerCommand.Kind.RUN,
                row.id,
                execution.pk,
                token,
                requested_by,
                now,
            )
            return execution.pk

    @property
    def commands(self) -> Any:
        return SchedulerCommand.objects.using(self.store.using)

    def command(
        self,
        kind: str,
        job_id: str,
        execution_id: int,
        token: str | None,
        requested_by: str,
        now: datetime,
    ) -> None:
        self.commands.create(
            kind=kind,
            token=token or uuid.uuid4().hex,
            job_id=job_id,
            execution_id=execution_id,
            requested_by=requested_by,
            created_time=now,
            expires_time=now + RUN_NOW_EXPIRES,
            done_time=now,
        )

    def cancel(self, execution_id: int, requested_by: str) -> bool:
        """Cancel an execution that nobody has claimed; tell whether it was in time."""
        by = f" by {requested_by}" if requested_by else ""
        with self.editing():
            now = self.store.now()
            # The rival is a claim, which expects the row to be queued as well.
            cancelled = self.executions.filter(
                pk=execution_id, status=DjangoJobExecution.QUEUED
            ).update(
                status=DjangoJobExecution.CANCELLED,
                note=added_note(f"Cancelled{by} before it began."),
                finished_time=now,
            )
        return bool(cancelled)

    def set_paused(self, paused: bool, by: str, reason: str) -> None:
        """Pause or resume all schedulers of this database."""
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
