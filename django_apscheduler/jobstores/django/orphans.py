"""Executions whose scheduler is gone: run again, handed back, or lost."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django_apscheduler.db import database_now, moment
from django_apscheduler.jobstores.base import Lost
from django_apscheduler.jobstores.django import backends
from django_apscheduler.jobstores.django.claim import of_another_job
from django_apscheduler.jobstores.django.membership import who
from django_apscheduler.jobstores.django.records import Ending
from django_apscheduler.jobstores.django.sql import Statements, added_note
from django_apscheduler.models import DjangoJob, DjangoJobExecution, SchedulerProcess

if TYPE_CHECKING:
    from django_apscheduler.jobstores.django.store import DjangoJobStore

logger = logging.getLogger(__name__)

#: Times that a body may take its scheduler down with it before it is given up.
MOST_LOSSES = 3
#: Seconds after which a claimed row that this process knows nothing of is no claim
#: whose commit is just under way.
ADOPTION_SECONDS = 5
#: Orphans that the log names, of one dead scheduler.
MOST_TOLD = 10
#: How long after its lease a scheduler may still sit in the middle of a claim.
HELD = timedelta(seconds=1)
#: Orphans dealt with in one transaction.
MOST_ORPHANS = 500

LIVING = (SchedulerProcess.State.ALIVE, SchedulerProcess.State.DRAINING)


def expired(store: DjangoJobStore, now: datetime | None) -> Any:
    """Return the other schedulers whose lease has run out, as a queryset."""
    return (
        SchedulerProcess.objects.using(store.using)
        .filter(state__in=LIVING, lease_until__lt=moment(now))
        .exclude(pk=store.membership.id or 0)
        .order_by("id")
    )


def orphans(store: DjangoJobStore) -> Any:
    """Return the executions that belong to no living scheduler, as a queryset."""
    return (
        DjangoJobExecution.objects.using(store.using)
        .active()
        .filter(status__in=DjangoJobExecution.RUNNING)
        .exclude(owner__in=_living(store))
        .order_by("id")
    )


def _living(store: DjangoJobStore) -> Any:
    return (
        SchedulerProcess.objects.using(store.using)
        .filter(state__in=LIVING)
        .values("id")
    )


def anything_to_do(store: DjangoJobStore, now: datetime | None) -> bool:
    """Read whether `sweep` would find anything."""
    return (
        expired(store, now).exists()
        or orphans(store).exists()
        or _expired_requests(store, now).exists()
    )


def _expired_requests(store: DjangoJobStore, now: datetime | None) -> Any:
    executions = DjangoJobExecution.objects.using(store.using).active()
    return executions.filter(
        status=DjangoJobExecution.QUEUED, expires_time__lte=moment(now)
    )


def sweep(store: DjangoJobStore, now: datetime | None = None) -> list[Lost]:
    """
    Free what dead schedulers held, in one transaction.

    :param now: aware; the database's clock when None
    :return: executions that will not run again
    """
    with store.transaction() as sql:
        dead = []
        # Not waiting for one whose claim or heartbeat is under way: it is alive, or its
        # transaction will be ended by the server.
        for process in list(store.locked(expired(store, now))):
            # The rivals are other sweepers, and the process itself: whose update comes
            # first wins, for each names the state it expects.
            won = (
                SchedulerProcess.objects.using(store.using)
                .filter(pk=process.pk, state__in=LIVING, lease_until__lt=moment(now))
                .update(state=SchedulerProcess.State.DEAD)
            )
            if won:
                dead.append(process)
        at = now or database_now(store.using)
        found = _Sweep(store, sql, at, {process.pk: process for process in dead})
        lost = found.run()
        # A claim or a removal that holds some of them decides on those.
        waited = store.locked(_expired_requests(store, now)).values_list(
            "id", flat=True
        )
        requests = DjangoJobExecution.objects.using(store.using)
        cancelled = requests.filter(id__in=list(waited[:MOST_ORPHANS])).update(
            status=DjangoJobExecution.CANCELLED,
            note=added_note("No scheduler could start it before it expired."),
            finished_time=at,
        )
        if dead or cancelled:
            sql.notify()
    for process in dead:
        silent = at - process.lease_until + store.lease
        logger.warning(
            "The scheduler %s has shown no sign of life for %.0f s and is taken for "
            "dead: %s",
            process,
            silent.total_seconds(),
            found.story(process.pk),
        )
    # One whose row is locked sits in the middle of a claim, for good if it is frozen.
    held = [row for row in expired(store, now) if at - row.lease_until > HELD]
    for process in (*dead, *held):
        backends.end(store, process)
    return lost


@dataclass
class _Sweep:
    """The orphans of one transaction."""

    store: DjangoJobStore
    sql: Statements
    now: datetime
    dead: dict[int, SchedulerProcess]
    fates: dict[int | None, list[str]] = field(default_factory=dict)

    def story(self, owner_id: int) -> str:
        """Return what becomes of the executions of a dead scheduler, for people."""
        fates = self.fates.get(owner_id)
        if not fates:
            return "it was running nothing"
        told = ", ".join(fates[:MOST_TOLD])
        more = len(fates) - MOST_TOLD
        return f"{told} and {more} more" if more > 0 else told

    def run(self) -> list[Lost]:
        store = self.store
        ids = list(orphans(store).values_list("id", flat=True)[:MOST_ORPHANS])
        rows = DjangoJobExecution.objects.using(store.using).filter(
            id__in=ids, status__in=DjangoJobExecution.RUNNING
        )
        return self.deal_with(list(store.locked(rows).order_by("id")) if ids else [])

    def deal_with(self, rows: list[DjangoJobExecution]) -> list[Lost]:
        """Decide on orphans, which are locked; return those that will not run again."""
        rows = self.write_again(rows)
        job_ids = {row.job_id for row in rows}
        jobs = DjangoJob.objects.using(self.store.using).filter(id__in=job_ids)
        policies = {
            id: (uid, on_lost)
            for id, uid, on_lost in jobs.values_list("id", "uid", "on_lost")
        }
        lost = []
        for row in rows:
            uid, on_lost = policies.get(row.job_id or "", (None, None))
            if uid is not None and of_another_job(row.fire_key, uid):
                on_lost = None
            reason = self.apply(row, on_lost)
            if reason:
                lost.append(Lost(row.job_id or "", row.pk, row.run_time, reason))
        return lost

    def write_again(self, rows: list[DjangoJobExecution]) -> list[DjangoJobExecution]:
        """
        Write outcomes that we had written and that the database has forgotten.

        It may when it crashes or a standby takes its place. What has run must not run
        again for that.

        :return: the other rows
        """
        if not rows:
            return []
        known: dict[tuple, Ending] = dict(self.store.here.written())
        found = {row.pk: known.get((row.pk, row.owner_id, row.attempt)) for row in rows}
        endings = [ending for ending in found.values() if ending is not None]
        if endings:
            self.sql.settle(endings)
            logger.warning(
                "The database has forgotten how %d runs had ended (a crash, or a standby "
                "that took over); it is written again",
                len(endings),
            )
        return [row for row in rows if found[row.pk] is None]

    def apply(self, row: DjangoJobExecution, on_lost: str | None) -> str:
        """Decide on one orphan; return why it is lost, or "" when it is not."""
        started = row.status == DjangoJobExecution.STARTED
        name = who(self.process(row.owner_id))
        if on_lost is None:
            return self.lose(row, f"{name} was lost, and the job has been removed.")
        if not started:
            # A start is written before the body only for marked jobs and reruns; any
            # other body may have begun a moment before its scheduler died.
            sure = on_lost == "mark" or row.attempt > 1
            return self.requeue(
                row,
                attempt=row.attempt if sure else row.attempt + 1,
                note=f"{name} was lost before it noted a start.",
            )
        if on_lost == "mark":
            return self.lose(row, f"{name} was lost while it ran.")
        row.losses += 1
        if row.losses >= MOST_LOSSES:
            return self.lose(
                row,
                f"{name} was lost while it ran. That was loss {row.losses}, and it is "
                "given up: the job may be what brings its scheduler down.",
            )
        return self.requeue(
            row,
            attempt=row.attempt + 1,
            note=f"{name} was lost while attempt {row.attempt} ran; it runs again.",
        )

    def process(self, owner_id: int | None) -> SchedulerProcess | None:
        if owner_id is not None and owner_id not in self.dead:
            found = SchedulerProcess.objects.using(self.store.using).filter(pk=owner_id)
            self.dead[owner_id] = found.first()  # type: ignore[assignment]
        return self.dead.get(owner_id) if owner_id is not None else None

    def tell(self, row: DjangoJobExecution, fate: str) -> None:
        self.fates.setdefault(row.owner_id, []).append(f"{row.job_id} {fate}")

    def requeue(self, row: DjangoJobExecution, attempt: int, note: str) -> str:
        self.tell(row, "runs again" if attempt > row.attempt else "runs elsewhere")
        self.write(
            row,
            note,
            status=DjangoJobExecution.QUEUED,
            attempt=attempt,
            losses=row.losses,
            owner_id=None,
            claim_id=None,
            claimed_time=None,
            started_time=None,
        )
        return ""

    def lose(self, row: DjangoJobExecution, reason: str) -> str:
        self.tell(row, "is lost")
        self.write(
            row,
            reason,
            status=DjangoJobExecution.LOST,
            losses=row.losses,
            finished_time=self.now,
        )
        return reason

    def write(self, row: DjangoJobExecution, note: str, **columns: Any) -> None:
        stamped = f"{self.now:%Y-%m-%d %H:%M:%S} UTC: {note}"
        notes = f"{row.note}\n{stamped}" if row.note else stamped
        # The owner may come back from a long stop at this very moment; then its write
        # waits for the row's lock, and finds another status.
        DjangoJobExecution.objects.using(self.store.using).filter(
            pk=row.pk, status=row.status, owner_id=row.owner_id, attempt=row.attempt
        ).update(note=notes, **columns)


def reconcile(store: DjangoJobStore, now: datetime | None = None) -> list[Lost]:
    """
    Take up rows that are ours without our knowing.

    That happens when a claim was committed but the reply was lost. The rows would wait
    for ever: their owner lives, and does not know of them.
    """
    before = (now or database_now(store.using)) - timedelta(seconds=ADOPTION_SECONDS)
    rows = (
        DjangoJobExecution.objects.using(store.using)
        .active()
        .filter(status__in=DjangoJobExecution.RUNNING, owner_id=store.membership.id)
        .filter(claimed_time__lt=before)
    )
    claims = set(rows.order_by().values_list("claim_id", flat=True).distinct())
    unknown = {claim for claim in claims if store.here.find(claim) is None}
    if not unknown:
        return []
    with store.transaction() as sql:
        forgotten = list(store.locked(rows.filter(claim_id__in=unknown)).order_by("id"))
        at = now or database_now(store.using)
        sweep = _Sweep(store, sql, at, {})
        left = sweep.write_again(forgotten)
        claimed = [row.pk for row in left if row.status == DjangoJobExecution.CLAIMED]
        handed_back = rows.filter(pk__in=claimed).update(
            status=DjangoJobExecution.QUEUED,
            owner_id=None,
            claim_id=None,
            claimed_time=None,
            note=added_note(
                "Handed back: the database's answer to its claim was lost."
            ),
        )
        lost = sweep.deal_with([row for row in left if row.pk not in claimed])
        sql.notify()
    if handed_back:
        logger.warning(
            "%d claims whose commit went unanswered are handed back", handed_back
        )
    return lost
