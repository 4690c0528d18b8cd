"""Outcomes, starts and runs handed back count only while the run is still ours."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import InterfaceError, connection

from django_apscheduler.jobstores.base import Outcome
from django_apscheduler.models import DjangoJobExecution, SchedulerProcess
from tests.jobstores.django.support import (
    MINUTE,
    NOON,
    add,
    finish,
    log,
    make_store,
    row,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def store():
    return make_store()


def claim(store, **options):
    add(store, **options)
    (run,) = store.claim_due({"default": 5}, NOON).runs
    return run


def test_a_failure_keeps_its_exception_and_traceback(store):
    run = claim(store)
    error = ValueError("x" * 2000)
    outcome = Outcome(
        run, 0, "Error!", NOON, NOON, exception=error, traceback="Tra\x00ce\ud800"
    )
    assert store.settle([outcome]) == [outcome]
    execution = DjangoJobExecution.objects.get()
    assert execution.status == "Error!"
    assert execution.exception == "ValueError: " + "x" * 988
    assert execution.traceback == "Tra\N{REPLACEMENT CHARACTER}ce\\ud800"


def test_a_body_that_did_not_begin_has_no_start(store):
    run = claim(store)
    store.settle([Outcome(run, 0, "Missed!", None, NOON)])
    execution = DjangoJobExecution.objects.get()
    assert (execution.status, execution.started_time, execution.duration) == (
        "Missed!",
        None,
        None,
    )


def test_a_start_is_kept_when_the_outcome_names_none(store):
    run = claim(store)
    run.started_time = NOON + timedelta(seconds=2)
    assert store.confirm_starts([run]) == [run]
    assert log() == [("Started execution", NOON, 1)]
    store.settle([Outcome(run, 0, "Error!", None, NOON)])
    assert DjangoJobExecution.objects.get().started_time == run.started_time


def test_a_batch_is_settled_in_one_go(store):
    for number in range(30):
        add(store, f"job{number}")
    runs = store.claim_due({"default": 50}, NOON).runs
    assert len(finish(store, *runs)) == 30
    assert {status for status, _, _ in log()} == {"Executed"}


@pytest.mark.parametrize(
    "stolen",
    [
        {"status": "Queued", "owner": None, "attempt": 2},
        {"owner_id": 999_999},
        {"attempt": 2},
        {"status": "Lost"},
    ],
)
def test_a_late_outcome_overwrites_nothing(store, stolen, caplog):
    run = claim(store)
    DjangoJobExecution.objects.update(**stolen)
    before = DjangoJobExecution.objects.values().get()
    assert finish(store, run) == []
    assert store.confirm_starts([run]) == []
    assert DjangoJobExecution.objects.values().get() == before
    assert "comes too late" in caplog.text


def test_an_outcome_written_twice_is_accepted_twice(store):
    """As when the database's reply to the first COMMIT was lost."""
    run = claim(store)
    assert len(finish(store, run)) == 1
    assert len(finish(store, run)) == 1
    assert finish(store, run, status="Error!") == []
    assert log() == [("Executed", NOON, 1)]


def test_runs_handed_back_are_claimed_by_another_with_the_same_attempt(store):
    run = claim(store)
    store.release([run])
    execution = DjangoJobExecution.objects.get()
    assert (execution.status, execution.owner, execution.claim_id) == (
        "Queued",
        None,
        None,
    )
    (again,) = make_store().claim_due({"default": 1}, NOON + timedelta(seconds=1)).runs
    assert (again.execution_ids, again.attempt) == (run.execution_ids, 1)
    assert again.run_times == [NOON]


def test_a_run_that_has_begun_is_not_handed_back(store):
    run = claim(store)
    store.confirm_starts([run])
    store.release([run])
    assert log() == [("Started execution", NOON, 1)]


def test_a_scheduler_declared_dead_claims_nothing_and_starts_nothing(store, caplog):
    run = claim(store)
    add(store, "other", next_run_time=NOON + MINUTE)
    assert store.may_start(run)
    SchedulerProcess.objects.update(state="dead")
    batch = store.claim_due({"default": 5}, NOON + MINUTE)
    assert batch.runs == []
    assert row("other").next_run_time == NOON + MINUTE
    assert "was taken for dead" in caplog.text
    assert not store.may_start(run)
    assert store.confirm_starts([run]) == []
    # It goes on under a new identity.
    assert SchedulerProcess.objects.filter(state="alive").count() == 1
    batch = store.claim_due({"default": 5}, NOON + MINUTE)
    assert {run.job.id: run.attempt for run in batch.runs} == {"job": 2, "other": 1}
    assert finish(store, run) == []


def test_past_the_lease_the_database_is_asked_before_anything_starts(store):
    run = claim(store)
    store.membership.trusted_until = float("-inf")
    assert store.may_start(run)
    assert store.membership.trusted
    store.membership.trusted_until = float("-inf")
    SchedulerProcess.objects.update(state="dead")
    assert not store.may_start(run)


def test_a_connection_that_is_gone_takes_no_writes_however_drivers_call_that(store):
    claim(store)

    def refuse(execute, sql, *rest):
        raise InterfaceError(0, "")

    assert store.can_write()
    with connection.execute_wrapper(refuse):
        assert not store.can_write()
