"""
What the pages show beyond a row's own fields, read in a bounded number of queries.

The number of queries never depends on the number of jobs on a page.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import F, Max, OuterRef, Q, QuerySet, Subquery

from django_apscheduler import clock, rollups
from django_apscheduler.db import database_now
from django_apscheduler.models import (
    DjangoJob,
    DjangoJobExecution,
    ExecutionRollup,
    SchedulerControl,
    SchedulerProcess,
)

#: Runs shown per job in a strip; failures in a row are counted among these.
STRIP_RUNS = 20

#: A job still unclaimed this long after its run time is overdue: several polls of a
#: healthy scheduler have passed by then.
OVERDUE_SECONDS = 10

#: Statuses that say how a run went; the others say why there was none.
FAILED = (DjangoJobExecution.ERROR, DjangoJobExecution.LOST)
SUCCEEDED = (DjangoJobExecution.SUCCESS,)

#: Statuses that somebody may want to look into.
PROBLEMS = (*FAILED, DjangoJobExecution.MISSED, DjangoJobExecution.MAX_INSTANCES)


def run_seconds(
    started_time: datetime | None, finished_time: datetime | None
) -> float | None:
    """Return how long the body itself took, in seconds; lateness is not part of it."""
    if started_time is None or finished_time is None:
        return None
    return max((finished_time - started_time).total_seconds(), 0.0)


@dataclass(frozen=True, slots=True)
class RunMark:
    """One run as the strips and the last-run column need it."""

    id: int
    status: str
    run_time: datetime
    started_time: datetime | None
    finished_time: datetime | None

    @property
    def seconds(self) -> float | None:
        return run_seconds(self.started_time, self.finished_time)


@dataclass(slots=True)
class RecentRuns:
    """A job's latest runs, newest first, and what follows from them."""

    runs: list[RunMark] = field(default_factory=list)
    running: bool = False

    @property
    def last(self) -> RunMark | None:
        """The latest run that began, else the latest row."""
        for run in self.runs:
            if run.started_time is not None or run.status in FAILED + SUCCEEDED:
                return run
        return self.runs[0] if self.runs else None

    @property
    def failures_in_row(self) -> int:
        """How many of the latest runs failed with no success since (20 at most)."""
        failures = 0
        for run in self.runs:
            if run.status in FAILED:
                failures += 1
            elif run.status in SUCCEEDED:
                break
        return failures


def running(using: str) -> QuerySet[DjangoJobExecution]:
    """Return the executions under way, by way of their own small index."""
    return (
        DjangoJobExecution.objects.using(using)
        .active()
        .filter(status=DjangoJobExecution.STARTED)
        .order_by()
    )


def recent_runs(jobs: Sequence[DjangoJob], using: str) -> dict[str, RecentRuns]:
    """
    Return the latest runs of each job by job id, in three queries.

    The first finds who is running, the second each job's twentieth newest run time by seeking along the index
    (job, run time); the third reads only rows from there on, so that a job with
    millions of runs costs no more than one with twenty.
    """
    found = {job.pk: RecentRuns() for job in jobs}
    if not found:
        return found
    under_way = running(using).filter(job_id__in=list(found))
    for pk in under_way.values_list("job_id", flat=True):
        found[pk].running = True
    executions = DjangoJobExecution.objects.using(using)
    newest = executions.filter(job_id=OuterRef("pk")).order_by("-run_time", "-id")
    marks = (
        DjangoJob.objects.using(using)
        .filter(pk__in=list(found))
        .order_by()
        .annotate(
            oldest_shown=Subquery(
                newest.values("run_time")[STRIP_RUNS - 1 : STRIP_RUNS]
            ),
        )
        .values_list("pk", "oldest_shown")
    )
    few: list[str] = []
    many: list[Q] = []
    for pk, oldest_shown in marks:
        if oldest_shown is None:
            few.append(pk)
        else:
            many.append(Q(job_id=pk, run_time__gte=oldest_shown))
    # At once: each "|" compares with all conditions so far.
    wanted = Q(*many, Q(job_id__in=few), _connector=Q.OR)
    rows = (
        executions.filter(wanted)
        .order_by("job_id", "-run_time", "-id")
        .values_list(
            "job_id", "id", "status", "run_time", "started_time", "finished_time"
        )
    )
    for job_id, *values in rows:
        runs = found[job_id].runs
        if len(runs) < STRIP_RUNS:
            runs.append(RunMark(*values))
    return found


#: What is usual is what a job did in so many days.
USUAL_DAYS = timedelta(days=30)

#: Fewer runs than these say nothing about what is usual for a job.
USUAL_RUNS = 20

#: A run is slower than usual at so many times the 95th percentile of its job, if that
#: is at least so many seconds more: milliseconds are nobody's concern.
SLOW_TIMES, SLOW_SECONDS = 2.0, 1.0


@dataclass(frozen=True, slots=True)
class Usual:
    """How long a job's successful runs take: half of them, and all but one in twenty."""

    median: float
    p95: float
    runs: int

    def slower(self, seconds: float | None) -> bool:
        """Tell whether a run that took so long was slower than usual."""
        return (
            seconds is not None
            and self.runs >= USUAL_RUNS
            and seconds > SLOW_TIMES * self.p95
            and seconds - self.p95 > SLOW_SECONDS
        )


def usual_durations(
    job_ids: Collection[str], using: str, now: datetime
) -> dict[str, Usual]:
    """Return what is usual for jobs by id, in one query; jobs without runs are left out."""
    found: dict[str, Usual] = {}
    if not job_ids:
        return found
    counts = rollups.durations(using, job_ids, now - USUAL_DAYS, SUCCEEDED)
    for job_id, histogram in counts.items():
        median, p95 = histogram.percentile(0.5), histogram.percentile(0.95)
        if median is not None and p95 is not None:
            found[job_id] = Usual(median, p95, histogram.total())
    return found


@dataclass(frozen=True, slots=True)
class Success:
    """How many of a job's runs that had an outcome succeeded."""

    succeeded: int
    runs: int

    @property
    def percent(self) -> int:
        """The share in percent; 100 and 0 only when it is all and none."""
        share = round(100 * self.succeeded / self.runs)
        if self.succeeded < self.runs:
            share = min(share, 99)
        return max(share, 1) if self.succeeded else share


def success(job_ids: Collection[str], using: str, now: datetime) -> dict[str, Success]:
    """Return the successes of 30 days by job, in one query; idle jobs are left out."""
    found: dict[str, Success] = {}
    if not job_ids:
        return found
    for job_id, totals in rollups.jobs(
        using, now - USUAL_DAYS, job_ids=job_ids
    ).items():
        succeeded = sum(totals.runs[status] for status in SUCCEEDED)
        runs = succeeded + sum(totals.runs[status] for status in FAILED)
        if runs:
            found[job_id] = Success(succeeded, runs)
    return found


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Whether anybody is there to run the jobs."""

    alive: int
    draining: int
    silent: int
    #: Seconds since the latest tick of any scheduler, by the database's clock.
    age: float | None
    overdue: int
    paused: bool
    paused_by: str
    pause_reason: str


def heartbeat(using: str) -> Heartbeat:
    """Read the state of the schedulers and the number of overdue jobs: 4 queries."""
    # Leases are written with the database's clock, so they are judged by it.
    present = database_now(using)
    alive = draining = silent = 0
    age: float | None = None
    processes = (
        SchedulerProcess.objects.using(using)
        .exclude(state=SchedulerProcess.State.DEAD)
        .order_by()
        .values_list("state", "lease_until", "tick_time", "started_time")
    )
    for state, lease_until, tick_time, started_time in processes:
        if lease_until < present:
            silent += 1
        elif state == SchedulerProcess.State.DRAINING:
            draining += 1
        else:
            alive += 1
        ago = max((present - (tick_time or started_time)).total_seconds(), 0.0)
        age = ago if age is None else min(age, ago)
    overdue = (
        DjangoJob.objects.using(using).filter(overdue_condition(clock.now())).count()
    )
    control = (
        SchedulerControl.objects.using(using)
        .values_list("paused", "paused_by", "pause_reason")
        .first()
    ) or (False, "", "")
    return Heartbeat(alive, draining, silent, age, overdue, *control)


def overdue_condition(now: datetime) -> Q:
    """Return the condition of jobs that should have been claimed by now."""
    return Q(
        state=DjangoJob.State.ACTIVE,
        next_run_time__lt=now - timedelta(seconds=OVERDUE_SECONDS),
    )


def condition(job: DjangoJob, recent: RecentRuns, now: datetime) -> str:
    """Return a job's condition, a key of ``badges.CONDITIONS``, the gravest first."""
    if job.state != DjangoJob.State.ACTIVE:
        return job.state
    if recent.running:
        return "running"
    if job.next_run_time is not None and job.next_run_time < now - timedelta(
        seconds=OVERDUE_SECONDS
    ):
        return "overdue"
    if recent.failures_in_row:
        return "failing"
    return "active" if recent.runs else "never"


def with_condition(
    queryset: QuerySet[DjangoJob], wanted: str, now: datetime
) -> QuerySet[DjangoJob]:
    """
    Narrow jobs to those in one condition; an unknown one leaves none.

    Conditions overlap: a running job may be failing as well, and both lists have it.
    """
    runs = DjangoJobExecution.objects.using(queryset.db).filter(job_id=OuterRef("pk"))
    if wanted in DjangoJob.State.values:
        return queryset.filter(state=wanted)
    if wanted == "running":
        return queryset.filter(pk__in=running(queryset.db).values("job_id"))
    if wanted == "overdue":
        return queryset.filter(overdue_condition(now))
    if wanted == "never":
        # A look into the log only for those without sums: as "exists", which planners
        # turn into a join, both would be looked at for all.
        summed = _sums_of_late(queryset.db, now).values("job_id")
        any_run = Subquery(runs.order_by().values("pk")[:1])
        return queryset.alias(any_run=any_run).filter(~Q(pk__in=summed), any_run=None)
    if wanted == "failing":
        return _with_latest(queryset, FAILED, FAILED + SUCCEEDED, now)
    return queryset.none()


def with_last_status(
    queryset: QuerySet[DjangoJob], status: str, now: datetime
) -> QuerySet[DjangoJob]:
    """Narrow jobs to those whose latest execution has a status."""
    return _with_latest(queryset, (status,), DjangoJobExecution.Status.values, now)


# A job's latest run is a look into the log, and fifty thousand of those take a second,
# or many when they must be read from disk. The sums of two days tell of most jobs that
# they are no case, or surely one; only for the rest the log is looked at.

#: Executions looked at that the sums do not have yet. Where there are more, the log is
#: looked at for all jobs.
UNCOUNTED = 2000


def _with_latest(
    queryset: QuerySet[DjangoJob],
    wanted: Sequence[str],
    among: Sequence[str],
    now: datetime,
) -> QuerySet[DjangoJob]:
    """
    Narrow jobs by their latest run: it is to have one of the wanted statuses.

    :param among: the statuses of the runs that count
    """
    runs = DjangoJobExecution.objects.using(queryset.db).filter(
        job_id=OuterRef("pk"), status__in=among
    )
    last = Subquery(runs.order_by("-run_time", "-id").values("status")[:1])
    jobs, is_wanted = queryset.alias(latest=last), Q(latest__in=wanted)
    others = [status for status in among if status not in wanted]
    # Most jobs succeeded, so there the few that did not are looked for.
    usual = set(wanted) <= set(SUCCEEDED)
    rare, common = (others, wanted) if usual else (wanted, others)
    unsure = _unsure(queryset.db, rare, common, now)
    if unsure is None:
        return jobs.filter(is_wanted)
    # In this order, for databases look no further than they must.
    return jobs.filter(~unsure | is_wanted if usual else unsure & is_wanted)


def _unsure(
    using: str, rare: Sequence[str], common: Sequence[str], now: datetime
) -> Q | None:
    """
    Return the condition of jobs whose latest run may have one of the rare statuses.

    All jobs but those that had a common one on a later day than any rare one. None when
    too many runs are not in the sums yet.
    """
    uncounted = rollups.uncounted(using, rollups.progress(using), UNCOUNTED + 1)
    if len(uncounted) > UNCOUNTED:
        return None
    new = {row.job_id for row in uncounted if row.job_id and row.status in rare}
    sure = (
        _sums_of_late(using, now)
        .values("job_id")
        .annotate(
            last_rare=Max("start_time", filter=Q(status__in=rare)),
            last_common=Max("start_time", filter=Q(status__in=common)),
        )
        .filter(
            Q(last_common__gt=F("last_rare"))
            | Q(last_rare=None, last_common__isnull=False)
        )
    )
    return ~Q(pk__in=sure.values("job_id")) | Q(pk__in=new)


def _sums_of_late(using: str, now: datetime) -> QuerySet[ExecutionRollup]:
    """Return the sums by job of yesterday and today."""
    return rollups.rows_since(using, rollups.DAY, now - timedelta(days=1))
