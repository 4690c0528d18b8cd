"""
What the dashboard's tiles and tables show: what is wrong first, then what is slow.

The number of queries is constant, and none of them reads more of a large installation
than a page has time for.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import Count, F, FloatField, Max, OuterRef, Q, Subquery, Sum
from django.db.models.functions import Cast

from django_apscheduler import rollups
from django_apscheduler.admin import stats
from django_apscheduler.admin.dashboard import timeline
from django_apscheduler.admin.dashboard.figures import NOT_RUN, Tail
from django_apscheduler.db import database_now
from django_apscheduler.models import (
    DjangoJob,
    DjangoJobExecution,
    SchedulerProcess,
)

#: Rows of a table.
ROWS = 8

LATEST_JOBS = 5

#: Jobs with occurrences that did not run, of which it is looked up whether others did.
LEFT_OUT = 200

#: Of more than ALL_JOBS jobs, the slowest of so many of the latest executions are shown.
LATEST_RUNS = 2000

#: Up to so many jobs are all looked at: their last runs, and a week of their sums.
#: Beyond that only those with sums since yesterday are, and those added last are not
#: told: nothing but a look at each job would find them.
ALL_JOBS = 2000

#: Of those with failures since yesterday so many are looked at.
FAILED_JOBS = 1000

#: A pause older than this is shown among the jobs that are quiet.
LONG_PAUSE = timedelta(days=1)

#: Schedulers listed.
PROCESSES = 20


class JobCounts(NamedTuple):
    """
    Jobs by state; ``coming`` of them run within 24 hours.

    :ivar horizon: so far ahead the timeline has to look to find all jobs it can show
    """

    total: int
    active: int
    paused: int
    broken: int
    overdue: int
    coming: int
    horizon: timedelta = timedelta(days=1)


def count_jobs(using: str, now: datetime, lanes: int = timeline.LANES) -> JobCounts:
    """
    Count the jobs, in one query.

    :param lanes: of the timeline
    """
    state = DjangoJob.State
    counts = {
        "total": Q(),
        "active": Q(state=state.ACTIVE),
        "paused": Q(state=state.PAUSED),
        "broken": Q(state=state.BROKEN),
        "overdue": stats.overdue_condition(now),
        "coming": Q(state=state.ACTIVE, next_run_time__lte=now + timedelta(days=1)),
    }
    soon = {
        f"within_{number}": Q(state=state.ACTIVE, next_run_time__lte=now + horizon)
        for number, horizon in enumerate(timeline.HORIZONS)
    }
    found = DjangoJob.objects.using(using).aggregate(
        **{
            f"{name}_count": Count("pk", filter=which)
            for name, which in (counts | soon).items()
        }
    )
    enough = (
        horizon
        for horizon, name in zip(timeline.HORIZONS, soon)
        if found[f"{name}_count"] >= lanes
    )
    return JobCounts(
        *(found[f"{name}_count"] for name in counts),
        horizon=next(enough, timedelta(days=1)),
    )


def tables_since(counts: JobCounts, now: datetime) -> datetime:
    """Return from when on the tables of jobs look at sums of days."""
    return now - timedelta(days=7 if counts.total <= ALL_JOBS else 1)


# Schedulers


@dataclass
class ProcessRow:
    """A scheduler that has not ended."""

    process: SchedulerProcess
    state: str
    executors: dict[str, Any]
    busy: int

    @property
    def slots(self) -> int | None:
        """Return its slots in all; None when it does not say."""
        counts = list(self.executors.values())
        known = counts and all(isinstance(n, int) for n in counts)
        return sum(counts) if known else None


def busy_slots(using: str) -> Counter[int | None]:
    """Return how many runs each scheduler has under way, by its id, in one query."""
    return Counter(
        dict(
            stats.running(using)
            .values_list("owner_id")
            .annotate(runs=Count("pk"))
            .values_list("owner_id", "runs")
        )
    )


def read_processes(using: str, busy: Counter[int | None]) -> list[ProcessRow]:
    """Return the schedulers that have not ended, the latest first, in two queries."""
    present = database_now(using)
    rows = (
        SchedulerProcess.objects.using(using)
        .exclude(state=SchedulerProcess.State.DEAD)
        .defer("declarations", "unresolved", "backends")
        .order_by("-started_time", "-id")
    )
    found = []
    for row in rows[:PROCESSES]:
        state = "silent" if row.lease_until < present else row.state
        found.append(ProcessRow(row, state, _executors(row), busy[row.pk]))
    return found


def _executors(row: SchedulerProcess) -> dict[str, Any]:
    try:
        executors = json.loads(row.executors or "{}")
    except ValueError:
        return {}
    return executors if isinstance(executors, dict) else {}


# Failing jobs


@dataclass
class FailingJob:
    """A job whose latest decisive run failed."""

    job_id: str
    name: str
    execution_id: int
    status: str
    run_time: datetime
    exception: str
    in_row: int = 1


@dataclass
class Failing:
    """
    Failing jobs, the latest failures first.

    :ivar count: how many there are
    :ivar more: whether there may be others that were not looked at
    :ivar capped: whether so many failed lately that not all of these were looked at
    """

    rows: list[FailingJob] = field(default_factory=list)
    count: int = 0
    more: bool = False
    capped: bool = False


def read_failing(using: str, counts: JobCounts, since: datetime, tail: Tail) -> Failing:
    """Return the jobs that fail, in six queries at most."""
    jobs = DjangoJob.objects.using(using).order_by()
    few, capped = counts.total <= ALL_JOBS, False
    if not few:
        lately = _failed_lately(using, since, tail)
        capped = len(lately) == FAILED_JOBS
        jobs = jobs.filter(pk__in=lately)
    runs = DjangoJobExecution.objects.using(using).filter(
        job_id=OuterRef("pk"), status__in=stats.FAILED + stats.SUCCEEDED
    )
    last = runs.order_by("-run_time", "-id")
    # By status first: ids are then looked for, and rows read, of those that fail alone.
    decisive = (
        jobs.alias(last_status=Subquery(last.values("status")[:1]))
        .filter(last_status__in=stats.FAILED)
        .annotate(last_id=Subquery(last.values("id")[:1]))
        .values_list("last_id", flat=True)
    )
    failed = (
        DjangoJobExecution.objects.using(using)
        .filter(
            pk__in=[pk for pk in decisive if pk is not None], status__in=stats.FAILED
        )
        .order_by()
        .values_list("job_id", "job_name", "id", "status", "run_time", "exception")
    )
    found = [FailingJob(*values) for values in failed]
    found.sort(key=lambda row: (row.run_time, row.execution_id), reverse=True)
    failing = Failing(found[:ROWS], len(found), not few, capped)
    names = _jobs(using, (row.job_id for row in failing.rows))
    recent = stats.recent_runs(list(names.values()), using)
    for row in failing.rows:
        row.exception = row.exception or ""
        if row.job_id in names:
            row.name = names[row.job_id].name or row.job_id
            row.in_row = max(recent[row.job_id].failures_in_row, 1)
    return failing


def _failed_lately(using: str, since: datetime, tail: Tail) -> list[str]:
    lately = (
        rollups.rows_since(using, rollups.DAY, since, stats.FAILED)
        .order_by("-start_time")
        .values_list("job_id", flat=True)
    )
    found = dict.fromkeys(
        row.job_id for row in tail.rows if row.job_id and row.status in stats.FAILED
    )
    found.update(dict.fromkeys(lately[:FAILED_JOBS]))
    return list(found)[:FAILED_JOBS]


def _jobs(using: str, ids: Iterable[str]) -> dict[str, DjangoJob]:
    rows = DjangoJob.objects.using(using).filter(pk__in=list(ids))
    return {job.pk: job for job in rows.only("id", "name")}


# Slow jobs


@dataclass
class SlowJob:
    """A job by how long it takes, in seconds."""

    job_id: str
    runs: int
    mean: float
    longest: float
    name: str = ""
    median: float | None = None
    p95: float | None = None


def read_slowest(using: str, since: datetime) -> list[SlowJob]:
    """Return the jobs that take longest on average, over whole days, in one query."""
    rows = (
        rollups.rows_since(using, rollups.DAY, since, rollups.MEASURED)
        .values("job_id")
        .annotate(
            runs_in_all=Sum("runs"),
            longest_of_all=Max("longest"),
            mean=Sum("seconds") / Cast(Sum("runs"), FloatField()),
        )
        .filter(runs_in_all__gt=0)
        .order_by("-mean", "job_id")
        .values_list("job_id", "runs_in_all", "mean", "longest_of_all")
    )
    return [SlowJob(*values) for values in rows[:ROWS]]


def read_slowest_of_latest(using: str) -> list[SlowJob]:
    """
    Return the slowest of the jobs that ran last, in one query.

    For installations whose sums of a day are too many to be ranked by a page.
    """
    rows = (
        DjangoJobExecution.objects.using(using)
        .order_by("-run_time", "-id")
        .values_list("job_id", "status", "started_time", "finished_time")
    )
    lengths: dict[str, list[float]] = {}
    for job_id, status, started, finished in rows[:LATEST_RUNS]:
        took = stats.run_seconds(started, finished)
        if job_id is not None and took is not None and status in rollups.MEASURED:
            lengths.setdefault(job_id, []).append(took)
    found = [
        SlowJob(job_id, len(took), sum(took) / len(took), max(took))
        for job_id, took in lengths.items()
    ]
    found.sort(key=lambda row: (-row.mean, row.job_id))
    return found[:ROWS]


def complete_slowest(using: str, slowest: Sequence[SlowJob], since: datetime) -> None:
    """Add names and percentiles, in two queries."""
    ids = [row.job_id for row in slowest]
    names = _jobs(using, ids)
    durations = rollups.durations(using, ids, since)
    for row in slowest:
        if row.job_id in names:
            row.name = names[row.job_id].name
        row.name = row.name or row.job_id
        known = durations.get(row.job_id)
        if known is not None:
            # A percentile is a tenth off at most, the longest is exact.
            row.median = _at_most(known.percentile(0.5), row.longest)
            row.p95 = _at_most(known.percentile(0.95), row.longest)


def _at_most(seconds: float | None, longest: float) -> float | None:
    return None if seconds is None else min(seconds, longest)


# Quiet jobs


class QuietJob(NamedTuple):
    """
    A job that should have run, or that somebody may have forgotten.

    :ivar reason: ``overdue``, ``not run`` or ``paused``
    :ivar moment: since when; None where only the number is known
    :ivar number: occurrences that did not run
    """

    job_id: str
    name: str
    reason: str
    moment: datetime | None
    number: int = 0
    by: str = ""
    note: str = ""


def read_quiet(
    using: str, now: datetime, since: datetime, runs: bool = True
) -> list[QuietJob]:
    """
    Return overdue jobs, those whose occurrences did not run and old pauses.

    In five queries.

    :param runs: whether the reader may see executions
    """
    jobs = DjangoJob.objects.using(using)
    overdue = (
        jobs.filter(stats.overdue_condition(now))
        .order_by("next_run_time", "id")
        .values_list("id", "name", "next_run_time")
    )
    found = [
        QuietJob(pk, name or pk, "overdue", moment)
        for pk, name, moment in overdue[:ROWS]
    ]
    if runs:
        found += _idle(using, since)
    paused = (
        jobs.filter(state=DjangoJob.State.PAUSED, paused_time__lt=now - LONG_PAUSE)
        .order_by("paused_time", "id")
        .values_list("id", "name", "paused_time", "paused_by", "pause_reason")
    )
    found += [
        QuietJob(pk, name or pk, "paused", moment, 0, by, note)
        for pk, name, moment, by, note in paused[:ROWS]
    ]
    return found[:ROWS]


def _idle(using: str, since: datetime) -> list[QuietJob]:
    """Return jobs of whose occurrences in this time none came to run."""
    # Two queries: the first reads only rows of what did not run, which are few, and
    # the second only those of the jobs that the first has found.
    left_out = dict(
        rollups.rows_since(using, rollups.DAY, since, NOT_RUN)
        .values("job_id")
        .annotate(left_out=Sum("occurrences"))
        .order_by("-left_out", "job_id")
        .values_list("job_id", "left_out")[:LEFT_OUT]
    )
    ran = set(
        rollups.rows_since(using, rollups.DAY, since, stats.SUCCEEDED + stats.FAILED)
        .filter(job_id__in=list(left_out))
        .values_list("job_id", flat=True)
    )
    ids = [pk for pk in left_out if pk not in ran][:ROWS]
    names = _jobs(using, ids)
    return [
        QuietJob(pk, names[pk].name or pk, "not run", None, left_out[pk])
        for pk in ids
        if pk in names
    ]


# The latest


def read_latest_runs(using: str) -> list[DjangoJobExecution]:
    """Return the latest executions, in one query."""
    return list(
        DjangoJobExecution.objects.using(using)
        .order_by("-run_time", "-id")
        .only(
            "id",
            "job_id",
            "job_name",
            "status",
            "run_time",
            "started_time",
            "finished_time",
        )[:ROWS]
    )


def read_latest_jobs(using: str) -> list[DjangoJob]:
    """Return the jobs added last, in one query."""
    return list(
        DjangoJob.objects.using(using)
        .order_by(F("created_time").desc(nulls_last=True), "id")
        .only("id", "name", "state", "created_time")[:LATEST_JOBS]
    )
