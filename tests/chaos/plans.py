"""Jobs together with the occurrences that arithmetic, not the engine, expects of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from django_apscheduler.job import Job
from django_apscheduler.models import DjangoJob, DjangoJobExecution
from django_apscheduler.triggers.cron import CronTrigger
from django_apscheduler.triggers.date import DateTrigger
from django_apscheduler.triggers.interval import IntervalTrigger
from tests.chaos import bodies
from tests.chaos.judge import Occurrence
from tests.jobstores.django.support import make_job, make_store, real_now

UTC = timezone.utc
SECOND = timedelta(seconds=1)
#: Every occurrence must run, however late the machine is.
PATIENT = {"coalesce": False, "misfire_grace_time": None, "max_instances": 10_000}


@dataclass(frozen=True)
class Plan:
    """A job that is not in the store yet, and all its occurrences."""

    job: Job
    expected: list[Occurrence]


def every(
    id: str,
    seconds: float,
    start: datetime,
    times: int,
    body: Callable[..., Any] = bodies.note,
    **options: Any,
) -> Plan:
    """Plan a job that runs ``times`` times, ``seconds`` apart, from ``start`` on."""
    moments = [start + timedelta(seconds=seconds) * n for n in range(times)]
    trigger = IntervalTrigger(
        seconds=seconds, start_date=start, end_date=moments[-1], timezone=UTC
    )
    return _plan(id, trigger, moments, body, options)


def once(
    id: str, at: datetime, body: Callable[..., Any] = bodies.note, **options: Any
) -> Plan:
    """Plan a one-off."""
    return _plan(id, DateTrigger(run_date=at), [at], body, options)


def cron(
    id: str,
    step: int,
    start: datetime,
    times: int,
    body: Callable[..., Any] = bodies.note,
    **options: Any,
) -> Plan:
    """
    Plan a cron job at each second that ``step`` divides, the first after ``start``.

    :param step: divides 60
    """
    first = start.replace(microsecond=0) + timedelta(seconds=1)
    first += timedelta(seconds=-first.second % step)
    moments = [first + timedelta(seconds=step) * n for n in range(times)]
    trigger = CronTrigger(
        second=f"*/{step}", start_date=first, end_date=moments[-1], timezone=UTC
    )
    return _plan(id, trigger, moments, body, options)


def _plan(
    id: str,
    trigger: Any,
    moments: list[datetime],
    body: Callable[..., Any],
    options: dict[str, Any],
) -> Plan:
    job = make_job(id, body, trigger, moments[0], **{**PATIENT, **options})
    return Plan(job, [(id, moment) for moment in moments])


def add(plans: Iterable[Plan]) -> list[Occurrence]:
    """Put the jobs into the store, all at once; return all their occurrences."""
    plans = list(plans)
    make_store().add_jobs([plan.job for plan in plans])
    return [occurrence for plan in plans for occurrence in plan.expected]


def soon(seconds: float = 1.0) -> datetime:
    """Return a moment that is so near, by the database's clock."""
    return real_now() + timedelta(seconds=seconds)


def rows() -> list[DjangoJobExecution]:
    """Return the execution log, oldest row first."""
    return list(DjangoJobExecution.objects.order_by("run_time", "id"))


def all_settled() -> bool:
    """Tell whether all jobs have come to their end and all runs to their outcome."""
    due = DjangoJob.objects.filter(next_run_time__isnull=False)
    return not (due.exists() or DjangoJobExecution.objects.active().exists())
