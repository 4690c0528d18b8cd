"""What a claim takes, in what order, and what it writes."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from django_apscheduler.models import (
    DjangoJob,
    DjangoJobExecution,
    SchedulerProcess,
)
from tests.jobstores.django.support import (
    MINUTE,
    NOON,
    add,
    finish,
    log,
    make_store,
    once,
    row,
)

pytestmark = pytest.mark.django_db


def test_a_due_job_is_claimed_advanced_and_logged():
    store = make_store()
    add(store)
    batch = store.claim_due({"default": 5}, NOON)
    (run,) = batch.runs
    assert run.job.id == "job"
    assert run.run_times == [NOON]
    assert run.attempt == 1
    assert row().next_run_time == NOON + MINUTE
    assert batch.next_run_time == NOON + MINUTE
    execution = DjangoJobExecution.objects.get()
    assert run.execution_ids == [execution.pk]
    assert execution.status == "Claimed"
    assert (
        execution.run_time == execution.nominal_time == execution.claimed_time == NOON
    )
    assert execution.owner == SchedulerProcess.objects.get()
    assert execution.fire_key == f"{run.job.uid.hex}:1:1780142400000000"
    finish(store, run)
    execution.refresh_from_db()
    assert execution.status == "Executed"
    assert execution.started_time == NOON
    assert execution.finished_time == NOON + timedelta(seconds=1)
    assert execution.duration == 1
    assert execution.finished == 1780142401
