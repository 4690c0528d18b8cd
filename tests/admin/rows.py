"""Rows and users that the tests of the admin share."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.urls import reverse

from django_apscheduler import clock
from django_apscheduler.models import (
    DjangoJob,
    DjangoJobExecution,
    ExecutionRollup,
    SchedulerProcess,
)
from django_apscheduler.rollups import Histogram

UTC = timezone.utc
NOON = datetime(2026, 6, 3, 12, tzinfo=UTC)
EVERY_HOUR = '{"type":"interval","args":{"hours":1}}'
NIGHTLY = '{"type":"cron","args":{"hour":"3","minute":"30","timezone":"UTC"}}'

JOBS = "admin:django_apscheduler_djangojob_changelist"
LOG = "admin:django_apscheduler_djangojobexecution_changelist"
SCHEDULERS = "admin:django_apscheduler_schedulerprocess_changelist"


def work() -> None:
    """What the jobs of these tests run."""


def job(pk: str, **fields: Any) -> DjangoJob:
    """Store a job that is due an hour after noon, unless the fields say otherwise."""
    values: dict[str, Any] = {
        "name": pk,
        "func": "tests.admin.rows:work",
        "trigger": EVERY_HOUR,
        "anchor_time": NOON,
        "next_run_time": NOON + timedelta(hours=1),
        "nominal_time": NOON + timedelta(hours=1),
        **fields,
    }
    if values.get("state", "active") != "active":
        values["next_run_time"] = values["nominal_time"] = None
    return DjangoJob.objects.create(pk=pk, **values)


def execution(
    job_id: str, hours: float = 0, status: str = "Executed", **fields: Any
) -> DjangoJobExecution:
    """Store an execution that was due so many hours before noon and took two seconds."""
    run_time = NOON - timedelta(hours=hours)
    values: dict[str, Any] = {
        "job_name": job_id,
        "status": status,
        "run_time": run_time,
        "executor": "default",
    }
    if status in ("Executed", "Error!"):
        values["started_time"] = run_time + timedelta(milliseconds=500)
        values["finished_time"] = run_time + timedelta(milliseconds=2500)
    elif status == "Started execution":
        values["started_time"] = run_time + timedelta(milliseconds=500)
    return DjangoJobExecution.objects.create(job_id=job_id, **{**values, **fields})


def rollup(
    job_id: str, seconds: float, runs: int, status: str = "Executed", days: int = 1
) -> ExecutionRollup:
    """Store that a job ran so often for so long, so many days before noon's day."""
    durations = Histogram()
    durations.note(seconds, runs)
    return ExecutionRollup.objects.create(
        period="day",
        start_time=(clock.now() - timedelta(days=days)).replace(
            hour=0, minute=0, second=0, microsecond=0
        ),
        job_id=job_id,
        status=status,
        runs=runs,
        occurrences=runs,
        seconds=seconds * runs,
        longest=seconds,
        durations=durations.dump(),
    )


def process(seconds: float = 5, **fields: Any) -> SchedulerProcess:
    """Store a scheduler whose lease ends so many seconds from the real present."""
    now = datetime.now(UTC)
    values = {
        "host": "web-1",
        "pid": 4121,
        "lease_until": now + timedelta(seconds=seconds),
        "started_time": now - timedelta(hours=2),
        "tick_time": now + timedelta(seconds=seconds - 6),
        "executors": '{"default":20}',
        **fields,
    }
    return SchedulerProcess.objects.create(**values)


def user(name: str, *codenames: str, superuser: bool = False) -> Any:
    """Store a staff user with these of the app's permissions."""
    model = get_user_model()
    if superuser:
        return model.objects.create_superuser(name, password="secret")
    made = model.objects.create_user(name, password="secret", is_staff=True)
    for codename in codenames:
        made.user_permissions.add(
            Permission.objects.get(
                codename=codename, content_type__app_label="django_apscheduler"
            )
        )
    return made


def page(model: str, pk: Any, what: str = "change") -> str:
    """Return the address of a row's page, or of one of its buttons."""
    return reverse(f"admin:django_apscheduler_{model}_{what}", args=(pk,))


def listed(response: Any) -> list[str]:
    """Return the primary keys of the rows that a list shows, in order."""
    return [str(row.pk) for row in response.context["cl"].result_list]


class at_noon:
    """Run a block at noon of the tests' day."""

    def __enter__(self) -> clock.ManualClock:
        self.block = clock.use(clock.ManualClock(NOON))
        return self.block.__enter__()

    def __exit__(self, *error: Any) -> None:
        self.block.__exit__(*error)
