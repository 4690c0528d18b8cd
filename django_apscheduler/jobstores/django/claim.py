"""
The claim: one transaction that takes due jobs and moves their schedules on.

It begins by renewing the scheduler's own lease, so that a scheduler taken for dead
claims nothing; every claimer holds the rows of the jobs it decides on, so each
occurrence is decided once, whatever number of schedulers look at the same moment.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from django.db.models import Count

from django_apscheduler import clock, planning
from django_apscheduler.db import DatabaseNow, database_now
from django_apscheduler.job import ACTIVE, BROKEN, FINISHED, Job
from django_apscheduler.jobstores.base import Batch, Run
from django_apscheduler.jobstores.django.enclosure import Enclosure
from django_apscheduler.jobstores.django.membership import LeaseLost
from django_apscheduler.jobstores.django.rows import COLUMNS, Row, in_utc
from django_apscheduler.jobstores.django.sql import (
    Advance,
    Entry,
    Statements,
    added_note,
)
from django_apscheduler.models import (
    DjangoJob,
    DjangoJobExecution,
    SchedulerControl,
    SchedulerProcess,
)
from django_apscheduler.util import utc

if TYPE_CHECKING:
    from django_apscheduler.jobstores.django.store import DjangoJobStore

logger = logging.getLogger(__name__)

#: Jobs of one executor that a single claim takes, however many slots are free.
MOST_JOBS = 500
#: Queued executions looked at in one claim; those whose job is busy stay queued.
MOST_QUEUED = 500


@dataclass(slots=True)
class Token:
    """What ties a run to the rows that were claimed for it."""

    owner_id: int
    claim_id: UUID
    open: set[int] = field(default_factory=set)


def fire_key(uid: UUID, revision: int, nominal: datetime) -> str:
    """Return the unique key of an occurrence: it is claimed once in all eternity."""
    moment = nominal.astimezone(utc)
    microseconds = (moment - _EPOCH) // timedelta(microseconds=1)
    return f"{uid.hex}:{revision}:{microseconds}"


_EPOCH = datetime(1970, 1, 1, tzinfo=utc)


class Claim:
    """
    One call of ``claim_due``.

    :param free: free slots by executor alias
    :param now: aware; the database's clock when None
    """

    def __init__(self, store: DjangoJobStore, free: dict[str, int], now: Any):
        self.store = store
        self.using = store.using
        self.room = {alias: min(n, MOST_JOBS) for alias, n in free.items() if n > 0}
        self.given_now = now
        self.batch = Batch()
        self.advances: list[Advance] = []
        self.entries: list[Entry] = []
        self.runs: list[tuple[Run, list[str]]] = []
        self.running: dict[str, int] = {}
        self.more = False
        self.unresolved = store.still_unresolved()

    def run(self) -> Batch:
        """Claim what is due; without anything due, only read."""
        store = self.store
        if not self.room:
            return self.batch
        with store.private(store.claiming):
            if not store.surely_due(self.given_now) and not self.look():
                return self.batch
            attempt = clock.monotonic()
            try:
                with store.transaction() as sql:
                    store.membership.renew(self.given_now, tick=True)
                    self.claim(sql)
            except BaseException:
                # Also reached when the reply to COMMIT was lost: then the rows are
                # ours without our knowing, and reconciliation hands them back.
                for run, _ in self.runs:
                    store.forget(run)
                raise
        store.membership.trust(attempt)
        self.finish()
        return self.batch

    def finish(self) -> None:
        """After the commit: hold on to what is still ours."""
        if not self.store.still_ours():
            # The process was stopped between the claim and here, for so long that
            # others have taken over what it claimed.
            for run in self.batch.runs:
                self.store.forget(run)
            raise LeaseLost

    # Reading.

    def look(self) -> bool:
        """Read whether there is anything to claim, and when there will be."""
        paused = self.read_control()
        batch = self.batch
        batch.now = self.now
        if paused:
            self.store.expect(None)
            return False
        batch.next_run_time = self.next_due()
        self.store.expect(batch.next_run_time)
        if batch.next_run_time is not None and batch.next_run_time <= self.now:
            return True
        return self.queue_can_move()

    def read_control(self) -> bool:
        """Read the clock and whether everything is paused."""
        row = (
            SchedulerControl.objects.using(self.using)
            .filter(pk=SchedulerControl.ROW)
            .values_list("paused", DatabaseNow())
            .first()
        )
        paused, now = row if row is not None else (False, None)
        if self.given_now is not None:
            self.now: datetime = self.given_now
        else:
            self.now = now or database_now(self.using)
            self.store.compare_clocks(self.now)
        return paused

    def due_rows(self, alias: str) -> Any:
        """Return the executor's scheduled jobs in the order in which they are claimed."""
        rows = DjangoJob.objects.using(self.using).filter(
            executor=alias, next_run_time__isnull=False, state=ACTIVE
        )
        if self.unresolved:
            rows = rows.exclude(id__in=self.unresolved)
        return rows.order_by("executor", "next_run_time", "id")

    def next_due(self) -> datetime | None:
        """Return when the executors with room next have something to do."""
        times = [
            self.due_rows(alias).values_list("next_run_time", flat=True).first()
            for alias, slots in self.room.items()
            if slots > 0
        ]
        return min((time for time in times if time is not None), default=None)

    def queued_rows(self) -> Any:
        rows = DjangoJobExecution.objects.using(self.using).filter(
            status=DjangoJobExecution.QUEUED, executor__in=list(self.room)
        )
        if self.unresolved:
            rows = rows.exclude(job_id__in=self.unresolved)
        return rows.order_by("id")

    def queue_can_move(self) -> bool:
        """
        Read whether a queued execution could be claimed, or given up.

        One that waits for its job's instances is no reason to write: on SQLite each
        write wakes all schedulers, and these would wake each other for ever.
        """
        names = ("job_id", "expires_time", "job__max_instances")
        queued = list(self.queued_rows().values_list(*names)[:MOST_QUEUED])
        self.count_running({job_id for job_id, _, _ in queued})
        return any(
            limit is None
            or self.running.get(job_id, 0) < limit
            or (expires is not None and expires <= self.now)
            for job_id, expires, limit in queued
        )

    # Writing.

    def claim(self, sql: Statements) -> None:
        """Inside the transaction, after the lease was renewed."""
        if self.read_control():
            self.batch.now = self.now
            self.store.expect(None)
            return
        queued, parents = self.lock_queued()
        due: list[Row] = []
        for alias, slots in self.room.items():
            rows = self.due_rows(alias).filter(next_run_time__lte=self.now)
            found = list(self.store.locked(rows).values_list(*COLUMNS)[:slots])
            due += map(Row._make, found)
            self.more = self.more or len(found) == slots
        self.count_running({row.id for row in due} | parents.keys())
        for execution in queued:
            self.take_queued(execution, parents)
        for row in due:
            if self.room[row.executor] > 0:
                self.take_due(row)
        sql.advance(self.advances)
        self.register(sql.insert(self.entries, self.owner_id, self.now))
        self.store.membership.note_unresolved(set(self.unresolved))
        self.batch.now = self.now
        self.batch.next_run_time = self.next_due()
        # With all slots filled there may be more, which the next claim need not look for.
        self.store.expect(self.now if self.more else self.batch.next_run_time)

    @cached_property
    def owner_id(self) -> int:
        owner_id = self.store.membership.id
        assert owner_id is not None
        return owner_id

    def lock_queued(self) -> tuple[list[Any], dict[str, Row]]:
        """Return the queued executions to look at, and their jobs by id, all locked."""
        names = ("id", "job_id", "run_time", "attempt", "executor", "expires_time")
        rows = list(
            self.store.locked(self.queued_rows()).values_list(*names, named=True)[
                :MOST_QUEUED
            ]
        )
        if not rows:
            return [], {}
        wanted = {row.job_id for row in rows}
        jobs = DjangoJob.objects.using(self.using).filter(id__in=wanted)
        parents = map(Row._make, self.store.locked(jobs).values_list(*COLUMNS))
        found = {row.id: row for row in parents}
        gone = wanted - found.keys()
        gone -= set(jobs.filter(id__in=gone).values_list("id", flat=True))
        open_rows = []
        for row in rows:
            if row.expires_time is not None and row.expires_time <= self.now:
                self.give_up(row.id, "No scheduler could start it before it expired.")
            elif row.job_id in gone:
                self.give_up(row.id, "The job was removed before it could run.")
            elif row.job_id in found:
                # Otherwise another scheduler is deciding on the job at this moment.
                open_rows.append(row)
        return open_rows, found

    def give_up(self, execution_id: int, note: str) -> None:
        DjangoJobExecution.objects.using(self.using).filter(pk=execution_id).update(
            status=DjangoJobExecution.CANCELLED,
            note=added_note(note),
            finished_time=self.now,
        )

    def count_running(self, job_ids: set[str]) -> None:
        """
        Count the jobs' instances in all schedulers.

        Whoever would add one holds the job's row, as we do, so the count can only be
        too high, never too low.
        """
        if not job_ids:
            return
        counts = (
            DjangoJobExecution.objects.using(self.using)
            .filter(job_id__in=job_ids, status__in=DjangoJobExecution.RUNNING)
            .order_by()
            .values_list("job_id")
            # Run times of one submission run in succession, as one instance.
            .annotate(Count("claim_id", distinct=True))
        )
        self.running = dict(counts)

    def restore(self, row: Row) -> Job | None:
        """Return the row's job with its callable; park or ignore it if that fails."""
        try:
            job = self.store.to_job(row)
        except Exception as error:
            if isinstance(error.__cause__, LookupError):
                # A trigger class that newer code brings, for instance.
                self.ignore(row, error)
            else:
                self.park(row, error)
            return None
        try:
            job._func = self.store.resolve(row.func)
        except Exception as error:
            self.ignore(row, error)
            return None
        self.unresolved.discard(row.id)
        return job

    def take_queued(self, execution: Any, parents: dict[str, Row]) -> None:
        """Claim a queued execution, if its executor and its job have room."""
        row = parents[execution.job_id]
        if self.room.get(execution.executor, 0) <= 0 or row.id in self.unresolved:
            return
        if self.running.get(row.id, 0) >= row.max_instances:
            return
        if row.state == BROKEN:
            self.give_up(execution.id, f"The job is broken. {row.error}")
            return
        job = self.restore(row)
        if job is None:
            return
        run = self.make_run(job, [execution.run_time.astimezone(utc)])
        run.attempt = execution.attempt
        run.confirm_start = run.confirm_start or run.attempt > 1
        run.execution_ids = [execution.id]
        # The executor of the row counts: that of the job may have been edited since.
        job.executor = execution.executor
        taken = (
            DjangoJobExecution.objects.using(self.using)
            .filter(pk=execution.id, status=DjangoJobExecution.QUEUED)
            .update(
                status=DjangoJobExecution.CLAIMED,
                owner_id=self.owner_id,
                claim_id=run.claim.claim_id,
                claimed_time=self.now,
            )
        )
        if taken:
            self.count(job)
            self.runs.append((run, []))
            self.accept(run)

    def take_due(self, row: Row) -> None:
        """Plan a due job, and note all that follows from the plan."""
        job = self.restore(row)
        if job is None:
            return
        try:
            plan = planning.plan(job, self.now)
        except Exception as error:
            self.park(row, error)
            return
        if plan.run_times and self.running.get(row.id, 0) >= job.max_instances:
            plan.skipped.append(plan.over_the_limit())
        elif plan.run_times:
            self.submit(job, plan)
        for skipped in plan.skipped:
            self.note_skipped(job, skipped)
        self.advance(job, row, plan)

    def make_run(self, job: Job, run_times: list[datetime]) -> Run:
        run = Run(job, self.store.alias, run_times)
        run.claim = Token(self.owner_id, uuid4())
        run.confirm_start = job.on_lost == "mark" or job.transactional
        return run

    def count(self, job: Job) -> None:
        self.running[job.id] = self.running.get(job.id, 0) + 1
        self.room[job.executor] -= 1

    def submit(self, job: Job, plan: planning.Plan) -> None:
        run = self.make_run(job, plan.run_times)
        self.count(job)
        keys = []
        for run_time, nominal in zip(plan.run_times, plan.nominal_times):
            key = fire_key(job.uid, job.revision, nominal)
            keys.append(key)
            self.entries.append(
                Entry(
                    job.id,
                    job.name,
                    DjangoJobExecution.CLAIMED,
                    run_time.astimezone(utc),
                    None,
                    1,
                    nominal.astimezone(utc),
                    key,
                    run.claim.claim_id,
                    job.executor,
                )
            )
        self.runs.append((run, keys))

    def note_skipped(self, job: Job, skipped: planning.Skipped) -> None:
        self.batch.skipped.append((job, skipped))
        first = skipped.first.astimezone(utc)
        # With a letter, for this is a run time: with jitter, another occurrence's
        # nominal time may be the same.
        key = f"{fire_key(job.uid, job.revision, first)}:{skipped.status[:2].lower()}"
        self.entries.append(
            Entry(
                job.id,
                job.name,
                skipped.status,
                first,
                skipped.last.astimezone(utc),
                skipped.count,
                None,
                key,
                # Tells our row from one that was there before.
                uuid4(),
                job.executor,
            )
        )

    def advance(self, job: Job, row: Row, plan: planning.Plan) -> None:
        ended = plan.next_run_time is None
        anchor = getattr(job.trigger, "anchor", None)
        self.advances.append(
            Advance(
                row.id,
                in_utc(plan.next_run_time),
                in_utc(plan.nominal_time),
                in_utc(anchor) or row.anchor_time,
                FINISHED if ended else ACTIVE,
                self.now if ended else None,
            )
        )
        job.next_run_time = plan.next_run_time
        job.nominal_time = plan.nominal_time
        if ended:
            job.state = FINISHED
            self.batch.removed.append(job)

    def register(self, ids: dict[str, int]) -> None:
        """Give the runs the ids of their rows; drop what had been claimed before."""
        for run, keys in self.runs:
            if not keys:
                continue
            kept = [index for index, key in enumerate(keys) if key in ids]
            if len(kept) < len(keys):
                logger.error(
                    "Job %s: %d of its run times had been claimed before under the "
                    "same key, and do not run again; the job moves on",
                    run.job.id,
                    len(keys) - len(kept),
                )
                run.run_times = [run.run_times[index] for index in kept]
                if not kept:
                    continue
            run.execution_ids = [ids[keys[index]] for index in kept]
            self.accept(run)

    def accept(self, run: Run) -> None:
        ids = tuple(run.execution_ids or ())
        run.claim.open.update(ids)
        if run.job.transactional:
            offset = self.store.clock_offset
            run.enclose = Enclosure(self.using, ids, self.owner_id, run.attempt, offset)
        # Before the commit, lest reconciliation find rows that it knows nothing of.
        self.store.remember(run)
        self.batch.runs.append(run)

    # What cannot be run.

    def park(self, row: Row, error: Exception) -> None:
        """Set a job aside that no scheduler can restore; it alone suffers."""
        text = self.store.explain(error)
        logger.error("Job %s is parked as broken: %s", row.id, text)
        self.batch.broken.append((row.id, text))
        DjangoJob.objects.using(self.using).filter(pk=row.id).update(
            state=BROKEN,
            next_run_time=None,
            # Kept, so that once mended the job goes on from where it stood.
            nominal_time=row.nominal_time or row.next_run_time,
            error=text,
            changed_time=self.now,
        )

    def ignore(self, row: Row, error: Exception) -> None:
        """Leave a job alone that this process's code cannot run; others' may."""
        self.store.ignore(row.id)
        self.unresolved.add(row.id)
        if self.somebody_may_run(row):
            logger.warning(
                "Job %s is left to other schedulers for a minute; here its callable "
                "cannot be imported: %s",
                row.id,
                error,
            )
        else:
            self.park(row, error)

    def somebody_may_run(self, row: Row) -> bool:
        """Tell whether a live scheduler with the job's executor has not refused it."""
        living = (
            SchedulerProcess.objects.using(self.using)
            .filter(state=SchedulerProcess.State.ALIVE, lease_until__gt=self.now)
            .exclude(pk=self.owner_id)
        )
        return any(
            row.executor in json.loads(process.executors or "{}")
            and row.id not in json.loads(process.unresolved or "[]")
            for process in living
        )
