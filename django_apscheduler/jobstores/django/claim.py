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

from django.db.models import Q

from django_apscheduler import clock, planning
from django_apscheduler.job import ACTIVE, BROKEN, FINISHED, Job
from django_apscheduler.jobstores.base import Batch, Run
from django_apscheduler.jobstores.django.enclosure import Enclosure
from django_apscheduler.jobstores.django.membership import LeaseLost
from django_apscheduler.jobstores.django.records import Advance, Entry, Look
from django_apscheduler.jobstores.django.rows import COLUMNS, Row, explain, in_utc
from django_apscheduler.jobstores.django.sql import Statements, added_note, statements
from django_apscheduler.models import (
    DjangoJob,
    DjangoJobExecution,
    SchedulerProcess,
)
from django_apscheduler.util import utc

if TYPE_CHECKING:
    from django_apscheduler.jobstores.django.store import DjangoJobStore

logger = logging.getLogger(__name__)

#: Jobs of one executor that a single claim takes, however many slots are free.
MOST_JOBS = 500
#: When to look again for what will be due at this very moment.
SOON = timedelta(milliseconds=1)
#: Queued executions looked at in one claim.
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


def of_another_job(key: str | None, uid: UUID) -> bool:
    """
    Tell whether an execution belongs to a job that had this one's id before it.

    :param key: the execution's fire key; runs by hand have none, and run as what bears
        the id
    """
    return key is not None and not key.startswith(uid.hex)


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
        self.moved: list[tuple[str, datetime]] = []
        self.entries: list[Entry] = []
        self.runs: list[tuple[Run, list[str]]] = []
        self.running: dict[str, int] = {}
        self.more = False
        self.capped = {alias for alias, n in free.items() if n > MOST_JOBS}
        self.unresolved = store.still_unresolved()
        self.lead = store.lead if now is None else timedelta(0)

    def run(self) -> Batch:
        """Claim what is due; without anything due, only read."""
        if self.room:
            self.try_to_claim()
            if self.given_now is None and self.batch.now is not None:
                self.batch.now = self.by_now(self.batch.now)
                self.batch.offset = self.store.offset
        return self.batch

    def by_now(self, read: datetime) -> datetime:
        """
        Return the present, for the claim took its time, by which no other must be late.

        What is not due by the database's clock, though it seems so by our estimate, is
        due in a moment: otherwise it would be taken for a job that nobody here may run.
        """
        due = self.batch.next_run_time
        present = max(read, self.store.estimate())
        if due is not None and read < due <= present:
            return max(read, due - SOON)
        return present

    def try_to_claim(self) -> None:
        store = self.store
        with store.private(store.claiming) as connection:
            self.sql = statements(connection)
            if not store.surely_due(self.given_now) and not self.look():
                return
            attempt = clock.monotonic()
            try:
                with store.transaction(fold=True) as sql:
                    self.claim(sql)
            except BaseException:
                # Also reached when the reply to COMMIT was lost: then the rows are
                # ours without our knowing, and reconciliation hands them back.
                self.forget()
                raise
        store.membership.trust(attempt)
        store.note_duration(clock.monotonic() - attempt)
        try:
            ours = store.still_ours()
        except BaseException:
            self.forget()
            raise
        if not ours:
            # The process was stopped between the claim and here, for so long that
            # others have taken over what it claimed.
            self.forget()
            raise LeaseLost

    def forget(self) -> None:
        """Give up all runs of this claim, whether they are ours or not."""
        for run, _ in self.runs:
            self.store.forget(run)
        self.store.doubt()

    # Reading.

    def look(self) -> bool:
        """Read whether there is anything to claim, and when there will be."""
        look = self.note(self.sql.look(self.aliases, self.leave_alone))
        if look.paused:
            return False
        if look.due is not None and look.due <= self.horizon:
            return True
        self.batch.next_run_time = look.due and look.due - self.lead
        self.store.expect(self.batch.next_run_time)
        return look.queued and self.open_queue().exists()

    def note(self, look: Look) -> Look:
        """Go by the time that was read, and claim nothing while all is paused."""
        if self.given_now is not None:
            self.now: datetime = self.given_now
        else:
            self.now = look.now
            self.store.compare_clocks(look.now)
        self.horizon = self.now + self.lead
        self.batch.now = self.now
        if look.paused:
            self.store.expect(None)
        return look

    @property
    def aliases(self) -> list[str]:
        """The executors that have room."""
        return [alias for alias, slots in self.room.items() if slots > 0]

    @property
    def leave_alone(self) -> list[str]:
        """The jobs whose callable cannot be imported here."""
        return sorted(self.unresolved)

    def queued_rows(self) -> Any:
        executions = DjangoJobExecution.objects.using(self.using).active()
        rows = executions.filter(
            status=DjangoJobExecution.QUEUED, executor__in=list(self.room)
        )
        if self.unresolved:
            rows = rows.exclude(job_id__in=self.unresolved)
        return rows.order_by("id")

    def open_queue(self) -> Any:
        """
        Return the queued executions that could be claimed, or given up, oldest first.

        Those that wait for their job's instances are left out: they would hide the
        others, and are no reason to write: on SQLite each write wakes all schedulers,
        and these would wake each other for ever.
        """
        rows = self.queued_rows()
        waiting = rows.order_by().values_list("job_id", flat=True).distinct()
        limits = dict(
            DjangoJob.objects.using(self.using)
            .filter(id__in=list(waiting[:MOST_QUEUED]))
            .values_list("id", "max_instances")
        )
        running = self.sql.count_running(limits.keys())
        busy = [id for id, limit in limits.items() if running.get(id, 0) >= limit]
        lasting = Q(expires_time__isnull=True) | Q(expires_time__gt=self.now)
        return rows.exclude(lasting, job_id__in=busy) if busy else rows

    # Writing.

    def claim(self, sql: Statements) -> None:
        """Inside the transaction."""
        membership = self.store.membership
        look = self.note(
            sql.open_claim(membership, self.given_now, self.aliases, self.leave_alone)
        )
        if look.paused:
            return
        queued, parents = self.lock_queued() if look.queued else ([], {})
        due: list[Row] = []
        for alias, slots in self.room.items():
            found = sql.due(alias, self.horizon, slots, self.leave_alone)
            due += found
            self.more = self.more or len(found) == slots
        # Whoever would add an instance holds the job's row, as we do, so the count can
        # only be too high, never too low.
        self.running = sql.count_running({row.id for row in due} | parents.keys())
        for execution in queued:
            self.take_queued(execution, parents)
        for row in due:
            if self.room[row.executor] > 0:
                self.take_due(row)
        ids, next_due = sql.write(
            self.advances,
            self.entries,
            self.owner_id,
            self.now,
            self.aliases,
            self.leave_alone,
        )
        self.register(ids)
        membership.note_unresolved(set(self.unresolved))
        self.batch.next_run_time = self.earliest(next_due)
        if any(self.room[alias] <= 0 for alias in self.capped):
            # There is room for more than one claim takes, and nobody would wake us.
            self.batch.next_run_time = self.now
        # With all slots filled there may be more, which the next claim need not look for.
        self.store.expect(self.now if self.more else self.batch.next_run_time)

    def earliest(self, next_due: datetime | None) -> datetime | None:
        """Return when to claim next, be it a job that this claim moved on."""
        times = [time - self.lead for alias, time in self.moved if self.room[alias] > 0]
        if next_due is not None:
            # What this claim saw and could not take yet is no reason to hurry.
            seen = next_due <= self.horizon
            times.append(next_due if seen else next_due - self.lead)
        return min(times, default=None)

    @cached_property
    def owner_id(self) -> int:
        owner_id = self.store.membership.id
        assert owner_id is not None
        return owner_id

    def lock_queued(self) -> tuple[list[Any], dict[str, Row]]:
        """Return the queued executions to look at, and their jobs by id, all locked."""
        names = (
            "id", "job_id", "run_time", "attempt", "executor", "expires_time", "fire_key",
        )  # fmt: skip
        rows = list(
            self.store.locked(self.open_queue()).values_list(*names, named=True)[
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
            elif row.job_id in gone or (
                row.job_id in found
                and of_another_job(row.fire_key, found[row.job_id].uid)
            ):
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
            if row.id not in self.unresolved:
                self.give_up(
                    execution.id, f"The job is broken. {self.batch.broken[-1][1]}"
                )
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
                # From now on somebody has it; should he die, it is not too late.
                expires_time=None,
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
        assert row.next_run_time is not None
        early = row.next_run_time > self.now
        if early and self.running.get(row.id, 0) >= row.max_instances:
            # An instance may end before the job is due.
            return
        try:
            # Of several run times that are near, no more than one is due early.
            plan = planning.plan(job, max(self.now, row.next_run_time))
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
        next_run_time = in_utc(plan.next_run_time)
        if next_run_time is not None:
            self.moved.append((job.executor, next_run_time))
        self.advances.append(
            Advance(
                row.id,
                next_run_time,
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
        text = explain(error)
        logger.error("Job %s is parked as broken: %s", row.id, text)
        self.batch.broken.append((row.id, text))
        if row.state != ACTIVE:
            # A pause or an end must not be forgotten for a run beside the schedule.
            return
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
        if row.state != ACTIVE or self.somebody_may_run(row):
            told = "is left to other schedulers for a minute"
        elif self.gone_from_code(row):
            told = "is not declared any more and will be disabled"
        else:
            self.park(row, error)
            return
        logger.warning(
            "Job %s %s; its callable cannot be imported here: %s", row.id, told, error
        )

    def gone_from_code(self, row: Row) -> bool:
        """
        Tell whether the job was declared in code, and no living scheduler declares it.

        After a deploy that is no fault, and the next synchronisation disables it.
        """
        jobs = DjangoJob.objects.using(self.using)
        if not jobs.filter(pk=row.id, declaration__isnull=False).exists():
            return False
        living = SchedulerProcess.objects.using(self.using).filter(
            state=SchedulerProcess.State.ALIVE, lease_until__gt=self.now
        )
        lists = living.values_list("declarations", flat=True)
        declared = [json.loads(text or "[]") for text in lists]
        return any(declared) and not any(row.id in ids for ids in declared)

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
