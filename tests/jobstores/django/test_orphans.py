"""What a dead scheduler leaves behind is run again, handed back or lost."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_apscheduler import clock
from django_apscheduler.jobstores.base import Outcome
from django_apscheduler.jobstores.django import inflight, orphans
from django_apscheduler.jobstores.django.inflight import InFlight
from django_apscheduler.jobstores.django.records import Ending
from django_apscheduler.models import DjangoJob, DjangoJobExecution, SchedulerProcess
from tests.jobstores.django.support import (
    MINUTE,
    NOON,
    add,
    finish,
    log,
    make_job,
    make_store,
    once,
    real_now,
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


def test_of_several_run_times_in_succession_only_the_one_that_began_is_lost():
    store = make_store(lease=6)
    add(store, on_lost="mark", coalesce=False)
    (run,) = store.claim_due({"default": 5}, NOON + 2 * MINUTE).runs
    assert len(run.run_times) == 3
    for run.index in (0, 1):
        assert store.confirm_starts([run]) == [run]
    store.settle([Outcome(run, 0, "Executed", NOON, NOON)])
    batch = make_store().claim_due({"default": 5}, NOON + 2.5 * MINUTE)
    assert [lost.run_time for lost in batch.lost] == [NOON + MINUTE]
    assert [(run.run_times, run.attempt) for run in batch.runs] == [
        ([NOON + 2 * MINUTE], 1)
    ]
    assert [status for status, _, _ in log()] == ["Executed", "Lost", "Claimed"]


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


def crash(status="Started execution"):
    """Have the database forget the last moments before it crashed."""
    rows = DjangoJobExecution.objects.filter(status="Executed")
    assert rows.update(status=status, finished_time=None, duration=None, finished=None)


@pytest.mark.parametrize("status", ["Claimed", "Started execution"])
def test_outcomes_that_a_crash_of_the_database_undid_are_written_again(status, caplog):
    store = make_store()
    add(store, trigger=once())
    (run,) = store.claim_due({"default": 5}, NOON).runs
    finish(store, run)
    before = DjangoJobExecution.objects.values().get()
    assert before["status"] == "Executed"
    crash(status)
    assert orphans.reconcile(store, LATER) == []
    assert DjangoJobExecution.objects.values().get() == before
    assert "has forgotten how 1 runs had ended" in caplog.text
    assert store.claim_due({"default": 5}, LATER).runs == []


def test_outcomes_of_an_identity_that_a_crash_undid_are_written_again():
    store = make_store()
    add(store, trigger=once())
    finish(store, *store.claim_due({"default": 5}, NOON).runs)
    crash()
    # The standby had not seen the scheduler's last sign of life, and another one took it
    # for dead; but it is the first to look at the orphans.
    SchedulerProcess.objects.update(state="dead")
    store.rejoin(store.membership.id, NOON)
    assert store.claim_due({"default": 5}, LATER).runs == []
    assert log() == [("Executed", NOON, 1)]


def test_an_outcome_of_an_earlier_attempt_is_not_that_of_a_later_one():
    store = make_store()
    add(store, trigger=once())
    (run,) = store.claim_due({"default": 5}, NOON).runs
    finish(store, run)
    crash()
    DjangoJobExecution.objects.update(attempt=2)
    orphans.reconcile(store, LATER)
    row = DjangoJobExecution.objects.get()
    assert (row.status, row.attempt, row.losses) == ("Queued", 3, 1)


def test_written_outcomes_are_remembered_for_some_minutes_and_not_without_bounds(
    monkeypatch,
):
    with clock.use(clock.ManualClock(NOON)) as manual:
        here = InFlight()
        endings = [
            Ending(n, 1, 1, "Executed", NOON, NOON, 1.0, 1.0, None, None)
            for n in range(4)
        ]
        here.keep(endings[:1])
        manual.advance(299)
        here.keep(endings[1:2])
        assert {ending.id for ending in here.written().values()} == {0, 1}
        manual.advance(2)
        here.keep([])
        here.keep(endings[2:3])
        assert list(here.written()) == [(1, 1, 1), (2, 1, 1)]
        monkeypatch.setattr(inflight, "KEPT_OUTCOMES", 2)
        here.keep(endings[3:])
        assert list(here.written()) == [(2, 1, 1), (3, 1, 1)]


def test_a_finished_run_is_not_handed_back():
    store = make_store()
    add(store, trigger=once())
    finish(store, *store.claim_due({"default": 5}, NOON).runs)
    orphans.reconcile(store, LATER)
    assert log() == [("Executed", NOON, 1)]


def test_a_run_by_hand_is_run_again_however_long_ago_it_was_asked_for():
    """What expires is the wait for a scheduler, and that was over."""
    store = make_store(lease=6)
    add(store, trigger=once(real_now() + timedelta(days=1)))
    execution_id = store.run_job_now("job")
    asked = DjangoJobExecution.objects.get().run_time
    (run,) = store.claim_due({"default": 5}, asked).runs
    store.confirm_starts([run])
    (again,) = make_store().claim_due({"default": 5}, asked + 10 * MINUTE).runs
    assert (again.execution_ids, again.attempt) == ([execution_id], 2)


@pytest.mark.parametrize("begun", [True, False])
def test_orphans_do_not_run_as_another_job_that_has_their_id_by_now(begun):
    store, run = die(begun=begun, args=("old",))
    add(store, trigger=once(LATER), args=("new",))
    batch = make_store().claim_due({"default": 5}, LATER)
    assert [again.job.args for again in batch.runs] == [("new",)]
    execution = DjangoJobExecution.objects.get(pk=run.execution_ids[0])
    assert execution.status == "Lost"
    assert "the job has been removed" in execution.note


def test_what_was_handed_back_does_not_run_as_another_job_either():
    store, run = die(begun=False, args=("old",))
    store.release([run])
    add(store, trigger=once(LATER), args=("new",))
    batch = store.claim_due({"default": 5}, LATER)
    assert [again.job.args for again in batch.runs] == [("new",)]
    assert DjangoJobExecution.objects.get(pk=run.execution_ids[0]).note.endswith(
        "The job was removed before it could run."
    )


def test_what_was_handed_back_runs_though_its_job_was_broken_and_is_mended():
    store, run = die(begun=False)
    store.release([run])
    DjangoJob.objects.update(state="broken", nominal_time=NOON + MINUTE)
    store.add_job(make_job(trigger=once(NOON + MINUTE)), replace_existing=True)
    (again,) = store.claim_due({"default": 5}, LATER).runs
    assert again.execution_ids == run.execution_ids
