"""
Sums of the execution log, for charts over more rows than a page can count.

Housekeeping adds each execution once, when it has ended: first to its hour, over all
jobs, and then, while its job exists, to the job's day. Hours and days are those of the
run time, in UTC. What is counted stays when the execution is deleted.

`SchedulerUpkeep` says how far this has come: every execution up to ``counted_id`` is in,
but for those in ``open_ids``, which had not ended. A step moves this mark and adds to
the sums in one transaction, so a crash repeats nothing and leaves nothing out; of two
that took the same step the second finds another ``revision`` and adds nothing.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

from django.db import connections, transaction
from django.db.models import F, Max, QuerySet, Sum

from django_apscheduler.db import database_now, writer_lock
from django_apscheduler.models import (
    DjangoJob,
    DjangoJobExecution,
    ExecutionRollup,
    SchedulerUpkeep,
)

#: Executions that one transaction adds at most.
STEP_ROWS = 10_000
#: Rows of sums that one transaction writes, about. On SQLite, where everybody else waits
#: meanwhile, fewer.
STEP_SUMS = 5000
STEP_SUMS_SQLITE = 500
#: How long after it was seen an id counts as one below which no row will appear any
#: more: ids are given before a transaction commits. A run asked for by hand inside a
#: transaction that stays open for longer is missing in the sums.
LAG = timedelta(seconds=60)

HOUR = ExecutionRollup.Period.HOUR.value
DAY = ExecutionRollup.Period.DAY.value

#: The histograms' first bucket ends here, in seconds; four more double the limit.
FINEST = 0.001
PER_DOUBLING = 4

#: Columns of the roll-ups that are sums.
SUMS = (
    "runs",
    "occurrences",
    "seconds",
    "longest",
    "durations",
    "late_seconds",
    "latest",
    "lateness",
)

#: Statuses of executions whose body ran from its start to its end.
MEASURED = (DjangoJobExecution.SUCCESS, DjangoJobExecution.ERROR)


_decode = json.JSONDecoder().raw_decode


class Histogram(Counter[int]):
    """
    How many lengths of time fall into which bucket.

    Bucket 0 ends at `FINEST`, and each is a fifth wider than the one before, so a
    percentile is at most a tenth off.
    """

    def note(self, seconds: float, count: int = 1) -> None:
        """Count a length of time."""
        number = 0
        if seconds >= FINEST:
            number = 1 + math.floor(PER_DOUBLING * math.log2(seconds / FINEST))
        self[number] += count

    def percentile(self, share: float) -> float | None:
        """
        Return how many seconds a share of the lengths do not exceed, about.

        :param share: 0.5 for the median, 0.95, …
        :return: None when nothing was counted
        """
        rank, seen = share * self.total(), 0
        for number, count in sorted(self.items()):
            seen += count
            if count and seen >= rank:
                end = limit(number)
                begin = limit(number - 1) if number else 0.0
                # As if those of one bucket were spread evenly over it.
                return end - (end - begin) * (seen - rank) / count
        return None

    def dump(self) -> str:
        """Return the counts as JSON text."""
        return json.dumps({str(k): v for k, v in sorted(self.items())})

    @classmethod
    def load(cls, text: str) -> Histogram:
        """Return what `dump` has written."""
        found = cls()
        found.add(text)
        return found

    def add(self, text: str) -> None:
        """Add the counts that `dump` has written."""
        if text == "{}":
            return
        get = self.get
        # A dashboard reads thousands: what `json.loads()` looks at beforehand takes it
        # longer than the text.
        for name, count in _decode(text)[0].items():
            number = int(name)
            self[number] = get(number, 0) + count


def limit(number: int) -> float:
    """Return where a bucket of a histogram ends, in seconds."""
    return FINEST * 2.0 ** (number / PER_DOUBLING)


class Key(NamedTuple):
    """Which row of the roll-ups."""

    period: str
    start_time: datetime
    job_id: str
    status: str


@dataclass
class Totals:
    """
    Sums over executions.

    :ivar runs: executions by status
    :ivar occurrences: the same, where one row stands for several; a lower bound where
        that are more than 1,000
    :ivar seconds: time that bodies took, in all
    :ivar longest: the longest of them
    :ivar late_seconds: time from run times to starts, in all
    :ivar latest: the longest of them
    """

    runs: Counter[str] = field(default_factory=Counter)
    occurrences: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    longest: float = 0.0
    durations: Histogram = field(default_factory=Histogram)
    late_seconds: float = 0.0
    latest: float = 0.0
    lateness: Histogram = field(default_factory=Histogram)

    def add(self, other: Totals) -> None:
        """Add the sums over other executions."""
        self.runs.update(other.runs)
        self.occurrences.update(other.occurrences)
        self.seconds += other.seconds
        self.longest = max(self.longest, other.longest)
        self.durations.update(other.durations)
        self.late_seconds += other.late_seconds
        self.latest = max(self.latest, other.latest)
        self.lateness.update(other.lateness)

    def add_row(self, row: Any) -> None:
        """Add a row of the roll-ups."""
        self.add_sums(row.status, *(getattr(row, name) for name in SUMS))

    def add_sums(
        self,
        status: str,
        runs: int,
        occurrences: int,
        seconds: float,
        longest: float,
        durations: str,
        late_seconds: float,
        latest: float,
        lateness: str,
    ) -> None:
        """Add the columns of a row of the roll-ups."""
        self.runs[status] += runs
        self.occurrences[status] += occurrences
        self.seconds += seconds
        self.longest = max(self.longest, longest)
        self.durations.add(durations)
        self.late_seconds += late_seconds
        self.latest = max(self.latest, latest)
        self.lateness.add(lateness)

    def note(self, row: Counted) -> None:
        """Add one execution."""
        self.runs[row.status] += 1
        more_than_known = 1001
        self.occurrences[row.status] += (
            more_than_known if row.occurrences is None else row.occurrences
        )
        if row.status not in MEASURED or not row.started_time or not row.finished_time:
            return
        took = max(0.0, (row.finished_time - row.started_time).total_seconds())
        late = max(0.0, (row.started_time - row.run_time).total_seconds())
        self.seconds += took
        self.longest = max(self.longest, took)
        self.durations.note(took)
        self.late_seconds += late
        self.latest = max(self.latest, late)
        self.lateness.note(late)


class Counted(NamedTuple):
    """What is read of an execution; columns of its table, in this order."""

    id: int
    job_id: str | None
    status: str
    run_time: datetime
    started_time: datetime | None
    finished_time: datetime | None
    occurrences: int | None

    @property
    def open(self) -> bool:
        """Whether it has not ended yet."""
        return self.status in DjangoJobExecution.ACTIVE


@dataclass(frozen=True)
class Progress:
    """
    How far the roll-ups have come.

    :ivar revision: number of steps taken
    :ivar seen_id: the newest execution when one last looked; to be added next
    :ivar until: when that was; who draws a chart may say that it shows the log of then
    """

    revision: int
    counted_id: int
    open_ids: frozenset[int]
    seen_id: int
    until: datetime | None

    def has(self, execution_id: int) -> bool:
        """Tell whether an execution that has ended is in the sums."""
        return execution_id <= self.counted_id and execution_id not in self.open_ids


def progress(using: str) -> Progress:
    """Return how far the roll-ups of a database have come."""
    row = _upkeep(using).first()
    if row is None:
        return Progress(0, 0, frozenset(), 0, None)
    ids = frozenset(json.loads(row.open_ids))
    return Progress(row.revision, row.counted_id, ids, row.seen_id, row.seen_time)


def _upkeep(using: str) -> Any:
    return SchedulerUpkeep.objects.using(using).filter(pk=SchedulerUpkeep.ROW)


# Writing.


def steps(using: str, now: datetime | None = None) -> Iterator[int]:
    """
    Add what has ended, a step at a time, until nothing is left to add.

    Gives the number of executions added by each step. Whoever iterates may stop, and
    pause, between any two.

    :param now: aware; the database's clock when None
    """
    yield from _end_open(using)
    rows: list[Counted] = []
    more = True
    while True:
        at = now or database_now(using)
        mark = progress(using)
        if mark.counted_id >= mark.seen_id:
            _observe(using, mark, at)
            return
        if mark.until is not None and at < mark.until + LAG:
            return
        if not rows:
            rows = _read(using, id__gt=mark.counted_id, id__lte=mark.seen_id)
            more = len(rows) == STEP_ROWS
        sums, added = _sums(using, rows)
        last = rows[added - 1].id if more or added < len(rows) else mark.seen_id
        still_open = {row.id for row in rows[:added] if row.open}
        rows = rows[added:]
        if not _write(using, mark, last, mark.open_ids | still_open, sums):
            return
        yield added - len(still_open)


def _end_open(using: str) -> Iterator[int]:
    """Add executions that had not ended when those beside them were added."""
    left = sorted(progress(using).open_ids)
    while left:
        ids, left = left[:STEP_SUMS_SQLITE], left[STEP_SUMS_SQLITE:]
        mark = progress(using)
        rows = _read(using, id__in=ids)
        still_open = {row.id for row in rows if row.open}
        gone = set(ids) - still_open
        if not gone:
            continue
        sums, _ = _sums(using, [row for row in rows if not row.open])
        if not _write(using, mark, mark.counted_id, mark.open_ids - gone, sums):
            return
        yield len(rows) - len(still_open)


def _read(using: str, **which: Any) -> list[Counted]:
    rows = DjangoJobExecution.objects.using(using).filter(**which).order_by("id")
    return [Counted(*row) for row in rows.values_list(*Counted._fields)[:STEP_ROWS]]


def _observe(using: str, mark: Progress, now: datetime) -> None:
    """Note the newest execution; once `LAG` is over all up to it can be added."""
    executions = DjangoJobExecution.objects.using(using)
    newest = executions.aggregate(newest=Max("id"))["newest"] or 0
    if newest <= mark.seen_id:
        return
    SchedulerUpkeep.objects.using(using).bulk_create(
        [SchedulerUpkeep(pk=SchedulerUpkeep.ROW)], ignore_conflicts=True
    )
    # The rival is another scheduler at the same step.
    _upkeep(using).filter(revision=mark.revision).update(
        revision=F("revision") + 1, seen_id=newest, seen_time=now
    )


def _write(
    using: str,
    mark: Progress,
    counted_id: int,
    open_ids: Iterable[int],
    sums: dict[Key, Totals],
) -> bool:
    """Move the mark and add to the sums; tell whether nobody else has meanwhile."""
    # Read beforehand, for short locks: that the revision is still the same says that
    # nobody has written to them since.
    rows = _added(using, sums)
    with writing(using), transaction.atomic(using=using):
        # The rival is another scheduler at the same step. Written first, so that the
        # transaction holds SQLite's lock before it reads.
        won = (
            _upkeep(using)
            .filter(revision=mark.revision)
            .update(
                revision=F("revision") + 1,
                counted_id=counted_id,
                open_ids=json.dumps(sorted(open_ids)),
            )
        )
        if won and rows:
            _save(using, rows)
    return bool(won)


def writing(using: str) -> AbstractContextManager[Any]:
    """Return what to hold while writing, so that this process's threads take turns."""
    return writer_lock(connections[using])


def _sums(using: str, rows: list[Counted]) -> tuple[dict[Key, Totals], int]:
    """
    Return sums over executions that have ended, and how many rows were looked at.

    That are fewer than given when there would be too many sums for one transaction.
    """
    ids = {row.job_id for row in rows if row.job_id is not None}
    # One-offs come and go under ever new ids: their days would be as many as their
    # runs.
    kept = set(
        DjangoJob.objects.using(using)
        .filter(id__in=ids)
        .exclude(state=DjangoJob.State.FINISHED)
        .values_list("id", flat=True)
    )
    sums: dict[Key, Totals] = {}
    sqlite = connections[using].vendor == "sqlite"
    most = STEP_SUMS_SQLITE if sqlite else STEP_SUMS
    for number, row in enumerate(rows):
        if len(sums) >= most:
            return sums, number
        if row.open:
            continue
        hour = _hour(row.run_time)
        sums.setdefault(Key(HOUR, hour, "", row.status), Totals()).note(row)
        if row.job_id in kept:
            key = Key(DAY, hour.replace(hour=0), row.job_id or "", row.status)
            sums.setdefault(key, Totals()).note(row)
    return sums, len(rows)


def _added(using: str, sums: dict[Key, Totals]) -> list[ExecutionRollup]:
    """Return the rows of sums as they will be when ``sums`` are added."""
    for row in _rows(
        using,
        start_time__in={key.start_time for key in sums},
        job_id__in={key.job_id for key in sums},
    ):
        key = Key(row.period, row.start_time, row.job_id, row.status)
        if key in sums:
            sums[key].add(_totals(row))
    return [
        ExecutionRollup(
            **key._asdict(),
            runs=totals.runs[key.status],
            occurrences=totals.occurrences[key.status],
            seconds=totals.seconds,
            longest=totals.longest,
            durations=totals.durations.dump(),
            late_seconds=totals.late_seconds,
            latest=totals.latest,
            lateness=totals.lateness.dump(),
        )
        for key, totals in sums.items()
    ]


def _save(using: str, rows: list[ExecutionRollup]) -> None:
    features = connections[using].features
    named = features.supports_update_conflicts_with_target
    ExecutionRollup.objects.using(using).bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=Key._fields if named else None,
        update_fields=SUMS,
    )


def _rows(using: str, **which: Any) -> Any:
    return ExecutionRollup.objects.using(using).filter(
        period__in=(HOUR, DAY), status__in=DjangoJobExecution.Status.values, **which
    )


def _totals(row: Any) -> Totals:
    totals = Totals()
    totals.add_row(row)
    return totals


def clear(using: str, before: datetime) -> int:
    """Delete the sums of hours and days that began before; return how many rows."""
    return _rows(using, start_time__lt=before).delete()[0]


# Reading.


def hours(
    using: str,
    since: datetime,
    until: datetime | None = None,
    found: dict[datetime, Totals] | None = None,
) -> dict[datetime, Totals]:
    """
    Return the sums over all jobs by hour, the oldest first; idle hours are left out.

    :param since: aware; the hour that it falls into is the first
    :param until: aware; the hour that it falls into is the last
    :param found: sums to add to and return; several hours may share theirs
    """
    found = {} if found is None else found
    rows = _between(using, HOUR, since, until)
    for hour, *columns in rows.values_list("start_time", "status", *SUMS):
        if hour not in found:
            found[hour] = Totals()
        found[hour].add_sums(*columns)
    return found


def jobs(
    using: str,
    since: datetime,
    until: datetime | None = None,
    job_ids: Collection[str] | None = None,
) -> dict[str, Totals]:
    """
    Return the sums by job, over whole days in UTC; without histograms.

    Jobs that did not run, and those that had finished or were removed as they ran, are
    left out.

    :param since: aware; the day that it falls into is the first
    :param until: aware; the day that it falls into is the last
    :param job_ids: only these; None: all
    """
    names = ("runs", "occurrences", "seconds", "late_seconds")
    sums = {name: Sum(name) for name in names}
    days_of_jobs = _between(using, DAY, since, until)
    if job_ids is not None:
        days_of_jobs = days_of_jobs.filter(job_id__in=job_ids)
    rows = (
        days_of_jobs.order_by()
        .values("job_id", "status")
        .annotate(
            longest_of_all=Max("longest"),
            latest_of_all=Max("latest"),
            **{f"{name}_in_all": total for name, total in sums.items()},
        )
    )
    found: dict[str, Totals] = {}
    for row in rows:
        found.setdefault(row["job_id"], Totals()).add(
            Totals(
                runs=Counter({row["status"]: row["runs_in_all"]}),
                occurrences=Counter({row["status"]: row["occurrences_in_all"]}),
                seconds=row["seconds_in_all"],
                longest=row["longest_of_all"],
                late_seconds=row["late_seconds_in_all"],
                latest=row["latest_of_all"],
            )
        )
    return found


def days(
    using: str, job_id: str, since: datetime, until: datetime | None = None
) -> dict[datetime, Totals]:
    """Return the sums over one job by day, otherwise as `hours`."""
    found: dict[datetime, Totals] = {}
    for row in _between(using, DAY, since, until).filter(job_id=job_id):
        found.setdefault(row.start_time, Totals()).add(_totals(row))
    return found


def _hour(moment: datetime) -> datetime:
    moment = moment.astimezone(timezone.utc)
    return moment.replace(minute=0, second=0, microsecond=0)


def day_of(moment: datetime) -> datetime:
    """Return the beginning of the day in UTC that a moment falls into."""
    moment = moment.astimezone(timezone.utc)
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def rows_since(
    using: str,
    period: str,
    since: datetime,
    statuses: Collection[str] = DjangoJobExecution.Status.values,
) -> QuerySet[ExecutionRollup]:
    """
    Return the rows of hours or of days and jobs, in no order.

    :param period: `HOUR` or `DAY`
    :param since: aware; the hour or day in UTC that it falls into is the first
    """
    begin = day_of(since) if period == DAY else _hour(since)
    # Statuses are always named, for the index has them before the time.
    return (
        ExecutionRollup.objects.using(using)
        .filter(period=period, status__in=list(statuses), start_time__gte=begin)
        .order_by()
    )


def _between(using: str, period: str, since: datetime, until: datetime | None) -> Any:
    rows = rows_since(using, period, since)
    if until is not None:
        rows = rows.filter(start_time__lte=until)
    return rows.order_by("start_time")


def total(parts: Iterable[Totals]) -> Totals:
    """Return the sums over several parts, for percentiles over a longer time."""
    whole = Totals()
    for part in parts:
        whole.add(part)
    return whole


def durations(
    using: str,
    job_ids: Iterable[str],
    since: datetime,
    statuses: Iterable[str] = MEASURED,
) -> dict[str, Histogram]:
    """
    Return how long the bodies of jobs took, by job, in one query.

    Jobs of which nothing was measured are left out.

    :param since: aware; the day in UTC that it falls into is the first
    :param statuses: of the executions looked at
    """
    rows = rows_since(using, DAY, since, tuple(statuses)).filter(
        job_id__in=list(job_ids)
    )
    found: dict[str, Histogram] = {}
    for job_id, text in rows.values_list("job_id", "durations"):
        found.setdefault(job_id, Histogram()).update(Histogram.load(text))
    return found


def uncounted(using: str, mark: Progress, most: int) -> list[Counted]:
    """
    Return executions that are not in the sums yet, those that have not ended included.

    The oldest first; where there are more than ``most`` the newest are left out.
    """
    rows = DjangoJobExecution.objects.using(using).order_by("id")
    left: list[Counted] = []
    # Two queries, so that each is a look into the index of the primary key: for one with
    # OR and LIMIT a planner may read the table from its beginning.
    if mark.open_ids:
        some = rows.filter(id__in=sorted(mark.open_ids)[:most])
        left += (Counted(*row) for row in some.values_list(*Counted._fields))
    new = rows.filter(id__gt=mark.counted_id).values_list(*Counted._fields)
    return left + [Counted(*row) for row in new[: max(most - len(left), 0)]]


def note_all(sums: dict[datetime, Totals], rows: Iterable[Counted]) -> None:
    """Add executions that have ended to sums by hour."""
    for row in rows:
        if not row.open:
            sums.setdefault(_hour(row.run_time), Totals()).note(row)
