"""What the tests of the Django store share: stores that edit, stores that claim."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

from django_apscheduler.db import database_now
from django_apscheduler.job import Job
from django_apscheduler.jobstores.base import EXECUTED, Outcome, Run
from django_apscheduler.jobstores.django.store import DjangoJobStore
from django_apscheduler.models import DjangoJob, DjangoJobExecution
from django_apscheduler.planning import first_fire
from django_apscheduler.triggers.date import DateTrigger
from django_apscheduler.triggers.interval import IntervalTrigger
from tests.jobstores.django import bodies

UTC = timezone.utc
NOON = datetime(2026, 5, 30, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Owner:
    """What a store needs of a scheduler: executors to tell of, and to be woken."""

    timezone = UTC

    def __init__(self) -> None:
        self._executors: dict[str, Any] = {"default": type("E", (), {"max_workers": 9})}
        self.wakes = 0
        self.cancelled: list[tuple[Run, int]] = []

    def wakeup(self) -> None:
        self.wakes += 1

    def cancel_run(self, run: Run, index: int) -> None:
        self.cancelled.append((run, index))


def make_store(**options: Any) -> DjangoJobStore:
    """
    Return a store that claims on the test's own connection, without threads.

    Its lease outlasts the minutes by which tests move the time.
    """
    store = DjangoJobStore(**{"lease": 7200, **options})
    store.start(Owner(), "default")
    return store


def make_job(
    id: str = "job",
    func: Any = bodies.note,
    trigger: Any = None,
    now: datetime = NOON,
    **options: Any,
) -> Job:
    """
    Return a job as a scheduler hands it to a store.

    By default it runs every minute from ``now`` on, without a limit on lateness.
    """
    given = "next_run_time" in options
    trigger = trigger or IntervalTrigger(minutes=1, start_date=now, timezone=UTC)
    defaults = {"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
    job = Job(
        Owner(),
        id=id,
        func=func,
        args=options.pop("args", ()),
        kwargs=options.pop("kwargs", {}),
        trigger=trigger,
        executor=options.pop("executor", "default"),
        **{**defaults, **options},
    )
    if not given:
        job.next_run_time, job.nominal_time = first_fire(trigger, job.uid, now)
    return job


def add(store: DjangoJobStore, *args: Any, **options: Any) -> Job:
    """Make a job and add it."""
    job = make_job(*args, **options)
    store.add_job(job)
    job.changes.clear()
    return job


def once(run_time: datetime = NOON) -> DateTrigger:
    """Return the trigger of a one-off."""
    return DateTrigger(run_date=run_time)


def finish(store: DjangoJobStore, *runs: Run, status: str = EXECUTED) -> list[Outcome]:
    """Settle runs as if their bodies had taken a second."""
    outcomes = []
    for run in runs:
        for index, run_time in enumerate(run.run_times):
            end = run_time + timedelta(seconds=1)
            outcomes.append(Outcome(run, index, status, run_time, end))
    return store.settle(outcomes)


def log(**filters: Any) -> list[tuple[str, datetime, int | None]]:
    """Return the execution log, oldest row first, as (status, run time, count)."""
    found = DjangoJobExecution.objects.filter(**filters).order_by("run_time", "id")
    return list(found.values_list("status", "run_time", "occurrences"))


def row(id: str = "job") -> DjangoJob:
    """Return a job's row."""
    return DjangoJob.objects.get(pk=id)


def real_now() -> datetime:
    """Return the database's clock."""
    return database_now("default")


def unique() -> str:
    """Return a text that is used nowhere else."""
    return uuid.uuid4().hex
