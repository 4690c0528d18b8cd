"""
Retention: the execution log, finished jobs and dead schedulers do not pile up for ever.

Any number of processes may do this at once: rows that another has deleted meanwhile are
simply gone. Every statement deletes few rows, so that no lock lasts long.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Exists, OuterRef, Q

from django_apscheduler import clock
from django_apscheduler.models import (
    PRUNE_ROWS,
    DjangoJob,
    DjangoJobExecution,
    SchedulerCommand,
    SchedulerProcess,
)


@dataclass
class Deleted:
    """How many rows were deleted, by kind."""

    executions: int = 0
    jobs: int = 0
    processes: int = 0
    commands: int = 0


def prune(
    using: str, retention: Mapping[str, Any], now: datetime | None = None
) -> Deleted:
    """
    Delete what is older, or more, than ``retention`` keeps.

    Executions whose outcome is open stay, and so do the last success and the last
    failure of each job that still exists.

    :param retention: ``days``, ``rows`` (per job) and ``finished_job_days``; None keeps
        everything
    :param now: aware; the present when None
    """
    now = now or clock.now()
    deleted = Deleted()
    days, rows = retention["days"], retention["rows"]
    if days is not None:
        limit = now - timedelta(days=days)
        old = _final(using).filter(run_time__lt=limit)
        deleted.executions += _delete_executions(using, old)
        dead = SchedulerProcess.objects.using(using).filter(
            state=SchedulerProcess.State.DEAD, lease_until__lt=limit
        )
        deleted.processes += _delete_in_pieces(dead)
        done = SchedulerCommand.objects.using(using).filter(created_time__lt=limit)
        deleted.commands += _delete_in_pieces(done)
    if rows is not None:
        deleted.executions += _prune_long_histories(using, rows)
    if retention["finished_job_days"] is not None:
        limit = now - timedelta(days=retention["finished_job_days"])
        deleted.jobs += _delete_finished_jobs(using, limit)
    return deleted


def _final(using: str) -> Any:
    return DjangoJobExecution.objects.using(using).final()


def _prune_long_histories(using: str, rows: int) -> int:
    executions = DjangoJobExecution.objects.using(using)
    long = (
        executions.exclude(job_id=None)
        .order_by()
        .values("job_id")
        .annotate(count=Count("id"))
        .filter(count__gt=rows)
        .values_list("job_id", flat=True)
    )
    deleted = 0
    for job_id in list(long):
        newest_first = executions.filter(job_id=job_id).order_by("-run_time", "-id")
        first_too_many = newest_first.values_list("run_time", "id")[rows : rows + 1]
        for run_time, pk in first_too_many:
            older = Q(run_time__lt=run_time) | Q(run_time=run_time, id__lte=pk)
            surplus = _final(using).filter(older, job_id=job_id)
            deleted += _delete_executions(using, surplus)
    return deleted


def _delete_executions(using: str, rows: Any) -> int:
    """Delete rows, oldest first, but for the last success and failure of each job."""
    executions = DjangoJobExecution.objects.using(using)
    kept: dict[str, set[int]] = {}
    deleted = 0
    after: Any = Q()
    while True:
        piece = list(
            rows.filter(after)
            .order_by("run_time", "id")
            .values_list("run_time", "id", "job_id")[:PRUNE_ROWS]
        )
        if not piece:
            return deleted
        run_time, pk, _ = piece[-1]
        # On from here, for what is kept would otherwise be met again and again.
        after = Q(run_time__gt=run_time) | Q(run_time=run_time, id__gt=pk)
        _look_up_kept(using, {job_id for _, _, job_id in piece} - kept.keys(), kept)
        ids = [pk for _, pk, job_id in piece if pk not in kept[job_id]]
        deleted += executions.filter(id__in=ids).delete()[0]


def _look_up_kept(
    using: str, job_ids: Iterable[str | None], kept: dict[Any, set[int]]
) -> None:
    """Note the ids of the last success and the last failure of each job."""
    job_ids = set(job_ids)
    known = job_ids - {None}
    existing = set(
        DjangoJob.objects.using(using)
        .filter(id__in=known)
        .exclude(state=DjangoJob.State.FINISHED)
        .values_list("id", flat=True)
    )
    for job_id in job_ids:
        kept[job_id] = set()
        if job_id not in existing:
            # One-offs come and go under ever new ids; keeping one row of each would
            # be keeping them all.
            continue
        for status in (DjangoJobExecution.SUCCESS, DjangoJobExecution.ERROR):
            last = (
                DjangoJobExecution.objects.using(using)
                .filter(job_id=job_id, status=status)
                .order_by("-run_time", "-id")
                .values_list("id", flat=True)[:1]
            )
            kept[job_id].update(last)


def _delete_finished_jobs(using: str, limit: datetime) -> int:
    active = DjangoJobExecution.objects.using(using).active()
    jobs = DjangoJob.objects.using(using).filter(
        ~Exists(active.filter(job_id=OuterRef("pk"))),
        state=DjangoJob.State.FINISHED,
        finished_time__lt=limit,
    )
    return _delete_in_pieces(jobs)


def _delete_in_pieces(rows: Any) -> int:
    deleted = 0
    while ids := list(rows.order_by("pk").values_list("pk", flat=True)[:PRUNE_ROWS]):
        # The conditions again: a finished job may have been added anew meanwhile.
        deleted += (count := rows.filter(pk__in=ids).delete()[0])
        if not count:
            break
    return deleted
