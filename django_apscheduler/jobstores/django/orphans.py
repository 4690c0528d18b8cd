"""Executions whose scheduler is gone: run again, handed back, or lost."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django_apscheduler.db import database_now, moment
from django_apscheduler.jobstores.base import Lost
from django_apscheduler.jobstores.django.membership import who
from django_apscheduler.jobstores.django.sql import added_note
from django_apscheduler.models import DjangoJob, DjangoJobExecution, SchedulerProcess

if TYPE_CHECKING:
    from django_apscheduler.jobstores.django.store import DjangoJobStore

logger = logging.getLogger(__name__)

#: Times that a body may take its scheduler down with it before it is given up.
MOST_LOSSES = 3
#: Seconds after which a claimed row that this process knows nothing of is no claim
#: whose commit is just under way.
ADOPTION_SECONDS = 5
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
    return DjangoJobExecution.objects.using(store.using).filter(
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
        for process in list(expired(store, now)):
            # The rivals are other sweepers, and the process itself: whose update comes
            # first wins, for each names the state it expects.
            won = (
                SchedulerProcess.objects.using(store.using)
                .filter(pk=process.pk, state__in=LIVING, lease_until__lt=moment(now))
                .update(state=SchedulerProcess.State.DEAD)
            )
            if won:
                dead.append(process)
                logger.warning(
                    "The scheduler %s has not renewed its lease since %s and is taken "
                    "for dead; what it was running is taken over",
                    process,
                    process.lease_until,
                )
        at = now or database_now(store.using)
        lost = _Sweep(store, at, {process.pk: process for process in dead}).run()
        requests = _expired_requests(store, now).update(
            status=DjangoJobExecution.CANCELLED,
            note=added_note("No scheduler could start it before it expired."),
            finished_time=at,
        )
        if dead or requests:
            sql.notify()
    return lost


@dataclass
class _Sweep:
    """The orphans of one transaction."""

    store: DjangoJobStore
    now: datetime
    dead: dict[int, SchedulerProcess]

    def run(self) -> list[Lost]:
        store = self.store
        ids = list(orphans(store).values_list("id", flat=True)[:MOST_ORPHANS])
        rows = DjangoJobExecution.objects.using(store.using).filter(
            id__in=ids, status__in=DjangoJobExecution.RUNNING
        )
        return self.deal_with(list(store.locked(rows).order_by("id")) if ids else [])

    def deal_with(self, rows: list[DjangoJobExecution]) -> list[Lost]:
        job_ids = {row.job_id for row in rows}
        jobs = DjangoJob.objects.using(self.store.using).filter(id__in=job_ids)
        policies = dict(jobs.values_list("id", "on_lost"))
        lost = []
        for row in rows:
            reason = self.apply(row, policies.get(row.job_id or ""))
            if reason:
                lost.append(Lost(row.job_id or "", row.pk, row.run_time, reason))
        return lost

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

    def requeue(self, row: DjangoJobExecution, attempt: int, note: str) -> str:
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
        .filter(status__in=DjangoJobExecution.RUNNING, owner_id=store.membership.id)
        .filter(claimed_time__lt=before)
    )
    claims = set(rows.order_by().values_list("claim_id", flat=True).distinct())
    unknown = {claim for claim in claims if not store.knows(claim)}
    if not unknown:
        return []
    with store.transaction() as sql:
        forgotten = rows.filter(claim_id__in=unknown)
        handed_back = forgotten.filter(status=DjangoJobExecution.CLAIMED).update(
            status=DjangoJobExecution.QUEUED,
            owner_id=None,
            claim_id=None,
            claimed_time=None,
            note=added_note(
                "Handed back: the database's answer to its claim was lost."
            ),
        )
        at = now or database_now(store.using)
        lost = _Sweep(store, at, {}).deal_with(list(forgotten))
        sql.notify()
    logger.warning(
        "%d claims whose commit went unanswered are handed back", handed_back
    )
    return lost
