"""What a dead scheduler leaves behind is run again, handed back or lost."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_apscheduler.jobstores.django import orphans
from django_apscheduler.models import DjangoJobExecution, SchedulerProcess
from tests.jobstores.django.support import (
    MINUTE,
    NOON,
    add,
    finish,
    log,
    make_store,
    once,
)

pytestmark = pytest.mark.django_db

LATER = NOON + timedelta(seconds=10)


def die(lease=6, begun=True, **options):
    """Have a store claim a one-off and die, its body begun or not."""
    store = make_store(lease=lease)
    add(store, trigger=once(), **options)
    (run,) = store.claim_due({"default": 5}, NOON).runs
    if begun:
        store.confirm_starts([run])
    return store, run


def test_a_body_that_had_begun_is_run_again_as_the_next_attempt():
    dead, run = die()
    batch = make_store().claim_due({"default": 5}, LATER)
    (again,) = batch.runs
    assert (again.execution_ids, again.run_times) == (run.execution_ids, [NOON])
    assert (again.attempt, again.confirm_start) == (2, True)
    assert batch.lost == []
    execution = DjangoJobExecution.objects.get()
    assert (execution.losses, execution.status) == (1, "Claimed")
    assert "was lost while attempt 1 ran; it runs again" in execution.note
    assert SchedulerProcess.objects.get(pk=run.claim.owner_id).state == "dead"
    # The dead one comes back, and its result is refused.
    assert finish(dead, run) == []
    assert dead.confirm_starts([run]) == []
    assert DjangoJobExecution.objects.get().status == "Claimed"


def test_a_lease_that_holds_is_left_alone():
    die()
    assert (
        make_store().claim_due({"default": 5}, NOON + timedelta(seconds=5)).runs == []
    )
    assert log() == [("Started execution", NOON, 1)]


def test_an_expired_lease_that_nobody_noticed_is_simply_renewed():
    store, run = die()
    store.claim_due({"default": 5}, LATER)
    add(store, "other", next_run_time=LATER)
    assert len(store.claim_due({"default": 5}, LATER).runs) == 1
    assert finish(store, run) != []


def test_a_claim_that_may_have_begun_is_a_new_attempt_but_no_loss():
    die(begun=False)
    (again,) = make_store().claim_due({"default": 5}, LATER).runs
    assert again.attempt == 2
    assert DjangoJobExecution.objects.get().losses == 0


def test_the_third_loss_is_the_last():
    die()
    for losses in (1, 2):
        store = make_store(lease=6)
        now = NOON + losses * MINUTE
        (run,) = store.claim_due({"default": 5}, now).runs
        assert run.attempt == losses + 1
        assert store.confirm_starts([run]) == [run]
    batch = make_store().claim_due({"default": 5}, NOON + 3 * MINUTE)
    assert batch.runs == []
    ((lost),) = batch.lost
    assert (lost.job_id, lost.run_time) == ("job", NOON)
    assert "That was loss 3" in lost.reason
    execution = DjangoJobExecution.objects.get()
    assert (execution.status, execution.losses, execution.attempt) == ("Lost", 3, 3)
    assert execution.note.count("\n") == 2


def test_a_marked_body_that_had_begun_is_lost():
    die(on_lost="mark")
    batch = make_store().claim_due({"default": 5}, LATER)
    assert (batch.runs, len(batch.lost)) == ([], 1)
    assert log() == [("Lost", NOON, 1)]


def test_a_marked_claim_that_had_not_begun_is_handed_back_as_it_was():
    die(on_lost="mark", begun=False)
    (again,) = make_store().claim_due({"default": 5}, LATER).runs
    assert (again.attempt, again.confirm_start) == (1, True)


def test_orphans_of_a_removed_job_are_lost():
    store = make_store(lease=6)
    add(store)
    assert len(store.claim_due({"default": 5}, NOON).runs) == 1
    store.remove_job("job")
    batch = make_store().claim_due({"default": 5}, LATER)
    assert batch.runs == []
    execution = DjangoJobExecution.objects.get(run_time=NOON)
    assert execution.status == "Lost"
    assert "the job has been removed" in execution.note


def test_rows_without_a_living_owner_are_orphans_too():
    die(begun=False)
    DjangoJobExecution.objects.update(owner=None)
    assert len(make_store().claim_due({"default": 5}, NOON).runs) == 1


def test_rows_of_a_scheduler_that_signed_off_are_orphans_at_once():
    store, _ = die()
    store.membership.leave()
    assert len(make_store().claim_due({"default": 5}, NOON).runs) == 1


def test_nothing_to_sweep_is_only_read():
    store = make_store()
    store.claim_due({"default": 1}, NOON)
    with CaptureQueriesContext(connection) as queries:
        assert not orphans.anything_to_do(store, NOON)
    assert all(query["sql"].startswith("SELECT") for query in queries)


def test_a_claim_whose_commit_went_unanswered_is_handed_back():
    store = make_store()
    add(store, trigger=once())
    (run,) = store.claim_due({"default": 5}, NOON).runs
    assert orphans.reconcile(store, LATER) == []
    assert log() == [("Claimed", NOON, 1)]
    store.forget(run)
    assert orphans.reconcile(store, NOON + timedelta(seconds=1)) == []
    assert log() == [("Claimed", NOON, 1)]
    assert orphans.reconcile(store, LATER) == []
    assert log() == [("Queued", NOON, 1)]
    (again,) = store.claim_due({"default": 5}, LATER).runs
    assert (again.attempt, again.execution_ids) == (1, run.execution_ids)


def test_a_finished_run_is_not_handed_back():
    store = make_store()
    add(store, trigger=once())
    finish(store, *store.claim_due({"default": 5}, NOON).runs)
    orphans.reconcile(store, LATER)
    assert log() == [("Executed", NOON, 1)]
