"""Names, texts and rules of the tables."""

from __future__ import annotations

from datetime import datetime, timedelta
from io import StringIO
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import Permission
from django.core.management import call_command

from django_apscheduler import clock, models
from django_apscheduler.models import (
    DjangoJob,
    DjangoJobExecution,
    SchedulerCommand,
    SchedulerControl,
    SchedulerProcess,
)

pytestmark = pytest.mark.django_db


def test_the_earlier_packages_names_stand_for_the_same_texts():
    assert DjangoJobExecution.SENT == "Started execution"
    assert DjangoJobExecution.SUCCESS == "Executed"
    assert DjangoJobExecution.MISSED == "Missed!"
    assert DjangoJobExecution.MAX_INSTANCES == "Max instances!"
    assert DjangoJobExecution.ERROR == "Error!"
    assert DjangoJobExecution.Status.values == [
        "Queued",
        "Claimed",
        "Started execution",
        "Executed",
        "Error!",
        "Missed!",
        "Max instances!",
        "Coalesced",
        "Lost",
        "Cancelled",
    ]
    assert DjangoJobExecution.ACTIVE == ("Queued", "Claimed", "Started execution")


def test_rows_have_readable_names():
    noon = datetime(2026, 6, 3, 14, 0, 5, 250, tzinfo=ZoneInfo("Europe/Berlin"))
    job = DjangoJob(id="nightly", name="")
    assert str(job) == "nightly"
    job.name = "Nightly report"
    assert str(job) == "Nightly report"
    execution = DjangoJobExecution(
        job_id="nightly", job_name="Nightly", run_time=noon, status="Lost"
    )
    assert str(execution) == "Nightly, 2026-06-03 12:00:05 UTC"
    assert str(SchedulerProcess(host="web1", pid=12)) == "web1:12"
    assert str(SchedulerCommand(kind="run", job_id="nightly")) == "run nightly"
    assert str(SchedulerControl(paused=True)) == "paused"


def test_the_log_outlives_its_job():
    job = DjangoJob.objects.create(id="nightly")
    DjangoJobExecution.objects.create(
        job=job, job_name="Nightly", run_time=clock.now(), status="Executed"
    )
    assert job.djangojobexecution_set.count() == 1
    job.delete()
    kept = DjangoJobExecution.objects.select_related("job").get()
    assert (kept.job_id, kept.job, kept.job_name) == ("nightly", None, "Nightly")


def test_old_executions_are_deleted_by_age_in_small_steps(monkeypatch):
    monkeypatch.setattr(models, "PRUNE_ROWS", 2)
    now = clock.now()
    for days in range(6):
        for status in ("Executed", "Queued"):
            DjangoJobExecution.objects.create(
                run_time=now - timedelta(days=days, hours=1), status=status
            )
    deleted = DjangoJobExecution.objects.delete_old_job_executions(2 * 86400)
    assert deleted == 4
    left = DjangoJobExecution.objects.order_by("run_time")
    assert left.filter(status="Executed").count() == 2
    assert left.active().count() == 6
    assert left.final().count() == 2
    assert DjangoJobExecution.objects.delete_old_job_executions(2 * 86400) == 0


def test_there_is_a_permission_for_everything_staff_may_do():
    codenames = Permission.objects.filter(content_type__app_label="django_apscheduler")
    assert {
        "run_job",
        "pause_job",
        "reschedule_job",
        "cancel_execution",
        "export_execution",
        "view_sensitive",
        "view_djangojob",
        "delete_djangojobexecution",
    } <= set(codenames.values_list("codename", flat=True))


def test_the_migrations_say_what_the_models_say():
    out = StringIO()
    call_command("makemigrations", "django_apscheduler", check=True, dry_run=True,
                 stdout=out)  # fmt: skip
    assert "No changes detected" in out.getvalue()
