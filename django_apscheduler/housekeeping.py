"""
Housekeeping: the log is summed up, and does not pile up for ever.

Running schedulers do it, one at a time, a little at a time: every statement writes few
rows, so that no claim waits long, and there is a pause between any two. Whoever has the
turn says so in `SchedulerUpkeep`; when it dies, another takes the turn soon after.
Should two be at it all the same, no harm is done: rows that the other has deleted are
simply gone, and sums are added once (see `rollups`).
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Exists, OuterRef, Q

from django_apscheduler import clock, rollups
from django_apscheduler.db import database_now
from django_apscheduler.models import (
    FINISHED_JOBS,
    PRUNE_ROWS,
    DjangoJob,
    DjangoJobExecution,
    SchedulerCommand,
    SchedulerProcess,
    SchedulerUpkeep,
)

logger = logging.getLogger(__name__)

#: How often what is not kept is deleted.
CLEAR_EVERY = timedelta(hours=1)
#: For how long a turn lasts; it is renewed while there is something to do.
TURN = timedelta(minutes=2)


@dataclass
class Deleted:
    """How many rows were deleted, by kind."""

    executions: int = 0
    jobs: int = 0
    processes: int = 0
    commands: int = 0
    rollups: int = 0

    def __str__(self) -> str:
        counts = ((field.name, getattr(self, field.name)) for field in fields(self))
        return ", ".join(f"{count} {name}" for name, count in counts if count)


# Taking turns.


def work(
    using: str, retention: Mapping[str, Any], now: datetime | None = None
) -> Generator[int, None, None]:
    """
    Do what is due, a step at a time; nothing while another scheduler is at it.

    Gives how many rows each step was about. Whoever iterates may pause between two
    steps, and close this before its end.

    :param now: aware; the database's clock when None
    """
    turn = _Turn(using, now)
    if not turn.take():
        return
    try:
        for count in _work(using, retention, turn, now):
            yield count
            if not turn.keep():
                return
    finally:
        turn.give_back()


def _work(
    using: str, retention: Mapping[str, Any], turn: _Turn, now: datetime | None
) -> Iterator[int]:
    spare: rollups.Progress | None = None
    try:
        yield from rollups.steps(using, now)
        spare = rollups.progress(using)
    except Exception:
        # Charts with a gap are better than a log that grows for ever.
        logger.exception("Summing up the execution log failed; it is tried again")
    if turn.may_clear():
        deleted = Deleted()
        yield from clear(using, retention, deleted, turn.now(), spare)
        turn.cleared()
        if deleted != Deleted():
            logger.info("Housekeeping in %s deleted %s", using, deleted)


class _Turn:
    """One scheduler's right to do the housekeeping of a database, for a while."""

    def __init__(self, using: str, now: datetime | None):
        self.using = using
        self._now = now
        self._until: datetime | None = None

    def now(self) -> datetime:
        """Return the present; by the database's clock, which all schedulers share."""
        return self._now or database_now(self.using)

    @property
    def _row(self) -> Any:
        rows = SchedulerUpkeep.objects.using(self.using)
        return rows.filter(pk=SchedulerUpkeep.ROW)

    def take(self) -> bool:
        """Tell whether it is our turn."""
        now = self.now()
        if not self._row.exists():
            with rollups.writing(self.using):
                SchedulerUpkeep.objects.using(self.using).bulk_create(
                    [SchedulerUpkeep(pk=SchedulerUpkeep.ROW)], ignore_conflicts=True
                )
        # The rival is another scheduler, which sees one of us have changed the row.
        free = self._row.filter(Q(busy_until=None) | Q(busy_until__lt=now))
        self._until = now + TURN
        return self._write(free, busy_until=self._until)

    def _write(self, rows: Any, **columns: Any) -> bool:
        with rollups.writing(self.using):
            return bool(rows.update(**columns))

    def keep(self) -> bool:
        """Renew the turn when half of it is over; tell whether it is still ours."""
        now = self.now()
        if self._until is None or now < self._until - TURN / 2:
            return self._until is not None
        renewed = now + TURN
        won = self._write(self._row.filter(busy_until=self._until), busy_until=renewed)
        self._until = renewed if won else None
        return won

    def give_back(self) -> None:
        """Let somebody else have the next turn."""
        if self._until is not None:
            self._write(self._row.filter(busy_until=self._until), busy_until=None)

    def may_clear(self) -> bool:
        """Tell whether it is time to delete what is not kept."""
        latest = Q(cleared_time=None) | Q(cleared_time__lte=self.now() - CLEAR_EVERY)
        return self._row.filter(latest).exists()

    def cleared(self) -> None:
        """Note that it has been done."""
        self._write(self._row, cleared_time=self.now())


# Deleting.


def prune(
    using: str, retention: Mapping[str, Any], now: datetime | None = None
) -> Deleted:
    """
    Delete what is older, or more, than ``retention`` keeps, at once.

    :param retention: as in ``settings.APSCHEDULER``, complete; None in place of a
        number keeps everything
    :param now: aware; the present when None
    """
    deleted = Deleted()
    for _ in clear(using, retention, deleted, now or clock.now()):
        pass
    return deleted


def clear(
    using: str,
    retention: Mapping[str, Any],
    deleted: Deleted,
    now: datetime,
    spare: rollups.Progress | None = None,
) -> Iterator[int]:
    """
    Delete what is older, or more, than ``retention`` keeps, a step at a time.

    Executions whose outcome is open stay, and so do the last success and the last
    failure of each job that still exists.

    :param deleted: to be added to
    :param spare: leave alone what the roll-ups do not have yet
    """

    def before(days: float) -> datetime:
        return now - timedelta(days=days)

    days, rows = retention["days"], retention["rows"]
    executions = _Executions(using, spare)
    if days is not None:
        old = executions.final.filter(run_time__lt=before(days))
        for count in executions.delete(old):
            deleted.executions += count
            yield count
    if rows is not None:
        for count in executions.delete_surplus(rows):
            deleted.executions += count
            yield count
    if retention["finished_job_days"] is not None:
        limit = before(retention["finished_job_days"])
        for count in _in_pieces(using, _finished_jobs(using, limit), "finished_time"):
            deleted.jobs += count
            yield count
    if days is not None:
        for count in _in_pieces(using, _dead_processes(using, before(days))):
            deleted.processes += count
            yield count
        for commands in _old_commands(using, before(days)):
            for count in _in_pieces(using, commands):
                deleted.commands += count
                yield count
    if retention["rollup_days"] is not None:
        with rollups.writing(using):
            deleted.rollups += rollups.clear(using, before(retention["rollup_days"]))


class _Executions:
    """
    The execution log of a database, to be shortened.

    :param spare: leave alone what the roll-ups do not have yet
    """

    def __init__(self, using: str, spare: rollups.Progress | None):
        self.using = using
        self.spare = spare
        self.all = DjangoJobExecution.objects.using(using)
        self.final = self.all.final()
        self.existing: dict[str, bool] = {}
        self.last: dict[tuple[str, str], int | None] = {}

    def delete(self, rows: Any) -> Iterator[int]:
        """Delete rows, oldest first, but for the last success and failure of jobs."""
        after = Q()
        while True:
            piece = list(
                rows.filter(after)
                .order_by("run_time", "id")
                .values_list("run_time", "id", "job_id", "status")[:PRUNE_ROWS]
            )
            if not piece:
                return
            run_time, pk, _, _ = piece[-1]
            # On from here, for what is kept would otherwise be met again and again.
            # The first condition alone would do, but for the index.
            after = Q(run_time__gte=run_time) & (
                Q(run_time__gt=run_time) | Q(id__gt=pk)
            )
            self._look_up({job_id for _, _, job_id, _ in piece if job_id is not None})
            ids = [
                pk for _, pk, job_id, status in piece if self._goes(pk, job_id, status)
            ]
            with rollups.writing(self.using):
                count = self.all.filter(id__in=ids).delete()[0]
            yield count

    def delete_surplus(self, rows: int) -> Iterator[int]:
        """Delete all but the newest ``rows`` rows of each job."""
        long = (
            self.all.exclude(job_id=None)
            .order_by()
            .values("job_id")
            .annotate(count=Count("id"))
            .filter(count__gt=rows)
            .values_list("job_id", flat=True)
        )
        for job_id in list(long):
            newest_first = self.all.filter(job_id=job_id).order_by("-run_time", "-id")
            first_too_many = newest_first.values_list("run_time", "id")[rows : rows + 1]
            for run_time, pk in first_too_many:
                older = Q(run_time__lte=run_time) & (
                    Q(run_time__lt=run_time) | Q(id__lte=pk)
                )
                yield from self.delete(self.final.filter(older, job_id=job_id))

    def _look_up(self, job_ids: set[str]) -> None:
        """Note which jobs still exist."""
        unknown = job_ids - self.existing.keys()
        if not unknown:
            return
        found = (
            DjangoJob.objects.using(self.using)
            .filter(id__in=unknown)
            # One-offs come and go under ever new ids; keeping one row of each would
            # be keeping them all.
            .exclude(state=DjangoJob.State.FINISHED)
            .values_list("id", flat=True)
        )
        self.existing.update(dict.fromkeys(unknown, False))
        self.existing.update(dict.fromkeys(found, True))

    def _goes(self, pk: int, job_id: str | None, status: str) -> bool:
        """Tell whether a row is to be deleted that is old enough, or one too many."""
        if self.spare is not None and not self.spare.has(pk):
            return False
        if job_id is None or not self.existing[job_id]:
            return True
        if status not in (DjangoJobExecution.SUCCESS, DjangoJobExecution.ERROR):
            return True
        # Asked only when a row may be it: a job that never failed has no last failure,
        # and to find that out one has to read all its rows.
        if (job_id, status) not in self.last:
            newest = self.all.filter(job_id=job_id, status=status)
            newest = newest.order_by("-run_time", "-id").values_list("id", flat=True)
            self.last[job_id, status] = newest.first()
        return self.last[job_id, status] != pk


def _finished_jobs(using: str, limit: datetime) -> Any:
    """Return the jobs whose schedule and whose last execution ended before."""
    executions = DjangoJobExecution.objects.using(using).filter(job_id=OuterRef("pk"))
    late = executions.filter(finished_time__gte=limit)
    return DjangoJob.objects.using(using).filter(
        ~Exists(executions.active()),
        ~Exists(late),
        FINISHED_JOBS.condition_written_out,
        state=DjangoJob.State.FINISHED,
        finished_time__lt=limit,
    )


def _dead_processes(using: str, limit: datetime) -> Any:
    return SchedulerProcess.objects.using(using).filter(
        state=SchedulerProcess.State.DEAD, lease_until__lt=limit
    )


def _old_commands(using: str, limit: datetime) -> Iterable[Any]:
    """Return those that were done before, and those that nobody did for as long."""
    commands = SchedulerCommand.objects.using(using)
    yield commands.filter(done_time__lt=limit)
    yield commands.filter(done_time=None, created_time__lt=limit)


def _in_pieces(using: str, rows: Any, order: str = "pk") -> Iterator[int]:
    ids_of = rows.order_by(order).values_list("pk", flat=True)
    while ids := list(ids_of[:PRUNE_ROWS]):
        with rollups.writing(using):
            # The conditions again: a finished job may have been added anew meanwhile.
            count = rows.filter(pk__in=ids).delete()[0]
        yield count
        if not count:
            return
