"""What a claim takes, in what order, and what it writes."""

from __future__ import annotations

import sys
from datetime import timedelta
from types import ModuleType

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_apscheduler.jobstores.django import claim
from django_apscheduler.models import (
    DjangoJob,
    DjangoJobExecution,
    SchedulerProcess,
)
from django_apscheduler.triggers.base import BaseTrigger
from tests.jobstores.django import bodies
from tests.jobstores.django.support import (
    MINUTE,
    NOON,
    add,
    finish,
    log,
    make_store,
    once,
    row,
    unique,
)

pytestmark = pytest.mark.django_db


def test_a_due_job_is_claimed_advanced_and_logged():
    store = make_store()
    add(store)
    batch = store.claim_due({"default": 5}, NOON)
    (run,) = batch.runs
    assert run.job.id == "job"
    assert run.job.func is bodies.note
    assert run.run_times == [NOON]
    assert (run.attempt, run.confirm_start) == (1, False)
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


def test_nothing_due_is_only_read():
    store = make_store()
    add(store)
    store.claim_due({"default": 5}, NOON - MINUTE)
    lease = SchedulerProcess.objects.get().lease_until
    with CaptureQueriesContext(
        connection,
    ) as queries:
        batch = store.claim_due({"default": 5}, NOON - timedelta(seconds=1))
    assert batch.runs == []
    assert batch.next_run_time == NOON
    assert [q["sql"] for q in queries if not q["sql"].startswith("SELECT")] == []
    assert SchedulerProcess.objects.get().lease_until == lease


def test_each_occurrence_is_claimed_once_by_either_of_two_stores():
    stores = [make_store(), make_store()]
    add(stores[0], coalesce=False, max_instances=100)
    seen = []
    for minute in range(20):
        now = NOON + minute * MINUTE
        for store in (stores[minute % 2], stores[1 - minute % 2]):
            for run in store.claim_due({"default": 5}, now).runs:
                seen += run.run_times
                finish(store, run)
    assert seen == [NOON + minute * MINUTE for minute in range(20)]
    assert log() == [("Executed", NOON + minute * MINUTE, 1) for minute in range(20)]


def test_no_more_is_claimed_than_there_are_slots_oldest_first():
    store = make_store()
    for number in (3, 1, 2, 0):
        add(store, f"job{number}", next_run_time=NOON - number * MINUTE)
    batch = store.claim_due({"default": 2}, NOON)
    assert [run.job.id for run in batch.runs] == ["job3", "job2"]
    assert batch.next_run_time is None
    assert [run.job.id for run in store.claim_due({"default": 9}, NOON).runs] == [
        "job1",
        "job0",
    ]


def test_equally_due_jobs_go_by_id():
    store = make_store()
    for id in ("b", "c", "a"):
        add(store, id)
    assert [run.job.id for run in store.claim_due({"default": 3}, NOON).runs] == [
        "a",
        "b",
        "c",
    ]


def test_a_full_executor_hides_nobody_elses_jobs():
    store = make_store()
    for number in range(5):
        add(store, f"early{number}", next_run_time=NOON - MINUTE)
    add(store, "gpu", executor="gpu")
    batch = store.claim_due({"gpu": 1}, NOON)
    assert [run.job.id for run in batch.runs] == ["gpu"]
    assert store.claim_due({}, NOON).runs == []
    assert len(store.claim_due({"default": 9, "gpu": 9}, NOON).runs) == 5


def test_a_backlog_coalesces_into_one_run_and_one_row():
    store = make_store()
    add(store)
    now = NOON + 10 * MINUTE
    batch = store.claim_due({"default": 5}, now)
    assert [run.run_times for run in batch.runs] == [[now]]
    ((job, skipped),) = batch.skipped
    assert (job.id, skipped.status, skipped.first, skipped.last, skipped.count) == (
        "job",
        "Coalesced",
        NOON,
        NOON + 9 * MINUTE,
        10,
    )
    assert log() == [("Coalesced", NOON, 10), ("Claimed", now, 1)]
    assert (
        DjangoJobExecution.objects.get(status="Coalesced").last_run_time
        == NOON + 9 * MINUTE
    )
    assert row().next_run_time == now + MINUTE


def test_without_coalescing_all_due_times_are_one_submission():
    store = make_store()
    add(store, coalesce=False)
    batch = store.claim_due({"default": 5}, NOON + 2 * MINUTE)
    (run,) = batch.runs
    assert run.run_times == [NOON, NOON + MINUTE, NOON + 2 * MINUTE]
    rows = DjangoJobExecution.objects.order_by("run_time")
    assert run.execution_ids == [execution.pk for execution in rows]
    assert {execution.claim_id for execution in rows} == {run.claim.claim_id}


def test_run_times_beyond_the_grace_are_one_missed_row():
    store = make_store()
    add(store, coalesce=False, misfire_grace_time=90)
    batch = store.claim_due({"default": 5}, NOON + 5 * MINUTE)
    assert [run.run_times for run in batch.runs] == [
        [NOON + 4 * MINUTE, NOON + 5 * MINUTE]
    ]
    assert log() == [
        ("Missed!", NOON, 4),
        ("Claimed", NOON + 4 * MINUTE, 1),
        ("Claimed", NOON + 5 * MINUTE, 1),
    ]


def test_a_job_over_its_limit_in_any_scheduler_is_skipped_with_a_row():
    one, two = make_store(), make_store()
    add(one)
    (run,) = one.claim_due({"default": 5}, NOON).runs
    batch = two.claim_due({"default": 5}, NOON + MINUTE)
    assert batch.runs == []
    assert [(job.id, s.status, s.count) for job, s in batch.skipped] == [
        ("job", "Max instances!", 1)
    ]
    assert row().next_run_time == NOON + 2 * MINUTE
    finish(one, run)
    assert len(two.claim_due({"default": 5}, NOON + 2 * MINUTE).runs) == 1
    assert log() == [
        ("Executed", NOON, 1),
        ("Max instances!", NOON + MINUTE, 1),
        ("Claimed", NOON + 2 * MINUTE, 1),
    ]


def test_several_run_times_of_one_submission_are_one_instance():
    store = make_store()
    add(store, coalesce=False, max_instances=2)
    assert len(store.claim_due({"default": 5}, NOON + 5 * MINUTE).runs) == 1
    assert len(store.claim_due({"default": 5}, NOON + 6 * MINUTE).runs) == 1
    assert store.claim_due({"default": 5}, NOON + 7 * MINUTE).runs == []


def test_a_job_ends_with_its_last_claim_and_its_log_stays():
    store = make_store()
    add(store, trigger=once())
    batch = store.claim_due({"default": 5}, NOON)
    assert [job.id for job in batch.removed] == ["job"]
    assert batch.next_run_time is None
    assert store.lookup_job("job") is None
    assert store.get_all_jobs() == []
    assert (row().state, row().next_run_time, row().finished_time) == (
        "finished",
        None,
        NOON,
    )
    finish(store, *batch.runs)
    DjangoJob.objects.all().delete()
    assert log(job_id="job") == [("Executed", NOON, 1)]
    assert DjangoJobExecution.objects.get().job_name == "note"


def test_an_occurrence_that_has_its_row_already_is_not_run_again(caplog):
    store = make_store()
    job = add(store)
    DjangoJobExecution.objects.create(
        job_id="job",
        status="Executed",
        run_time=NOON,
        fire_key=f"{job.uid.hex}:1:1780142400000000",
    )
    assert store.claim_due({"default": 5}, NOON).runs == []
    assert row().next_run_time == NOON + MINUTE
    assert log() == [("Executed", NOON, 1)]
    assert "had been claimed before" in caplog.text


def test_a_claim_of_what_has_its_rows_already_knows_what_is_due_next():
    store = make_store()
    add(store)
    add(store, "later", now=NOON + MINUTE / 2)
    finish(store, *store.claim_due({"default": 5}, NOON).runs)
    DjangoJob.objects.filter(pk="job").update(next_run_time=NOON, nominal_time=NOON)
    batch = store.claim_due({"default": 5}, NOON)
    assert (batch.runs, batch.next_run_time) == ([], NOON + MINUTE / 2)


def test_a_claim_takes_the_same_number_of_queries_for_one_job_as_for_many():
    store = make_store()
    add(store, "first")
    store.claim_due({"default": 5}, NOON)
    counts = []
    for number in (1, 40):
        jobs = [add(store, f"{number}-{index}") for index in range(number)]
        with CaptureQueriesContext(connection) as queries:
            batch = store.claim_due({"default": 50}, NOON)
        assert len(batch.runs) == len(jobs)
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 16


def test_a_job_with_a_changed_callable_is_parked_and_kept():
    store = make_store()
    add(store)
    DjangoJob.objects.filter(pk="job").update(func="os:abort")
    batch = store.claim_due({"default": 5}, NOON)
    assert batch.runs == []
    assert [id for id, _ in batch.broken] == ["job"]
    broken = row()
    assert (broken.state, broken.next_run_time) == ("broken", None)
    assert "apscheduler resign" in broken.error
    assert store.lookup_job("job") is None
    assert log() == []


@pytest.mark.parametrize(
    "change",
    [{"args": '["more"]'}, {"kwargs": '{"a":1}'}, {"signature": ""}],
)
def test_arguments_are_signed_too(change):
    store = make_store()
    add(store)
    DjangoJob.objects.filter(pk="job").update(**change)
    assert store.claim_due({"default": 5}, NOON).runs == []
    assert row().state == "broken"


def test_schedule_and_options_may_be_edited_by_hand():
    store = make_store()
    add(store)
    DjangoJob.objects.filter(pk="job").update(
        trigger='{"args": {"minutes": 5, "start_date": {"$datetime": '
        '"2026-05-30T12:00:00+00:00"}, "timezone": "UTC"}, "type": "interval"}',
        max_instances=7,
    )
    (run,) = store.claim_due({"default": 5}, NOON).runs
    assert run.job.max_instances == 7
    assert row().next_run_time == NOON + 5 * MINUTE


def test_a_signature_of_an_older_key_holds(settings):
    store = make_store()
    add(store)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another key, which guards nothing either"
    assert len(store.claim_due({"default": 5}, NOON).runs) == 1
    settings.SECRET_KEY_FALLBACKS = []
    assert store.claim_due({"default": 5}, NOON + MINUTE).broken != []


def test_resigning_mends_a_job_where_it_stood():
    store = make_store()
    add(store)
    DjangoJob.objects.filter(pk="job").update(func=f"{bodies.__name__}:other")
    store.claim_due({"default": 5}, NOON)
    assert store.resign() == ["job"]
    mended = row()
    assert (mended.state, mended.next_run_time, mended.error) == ("active", NOON, "")
    (run,) = store.claim_due({"default": 5}, NOON + MINUTE).runs
    assert run.job.func is bodies.other
    assert log() == [("Coalesced", NOON, 1), ("Claimed", NOON + MINUTE, 1)]
    assert store.resign() == []


def test_a_trigger_that_cannot_be_read_breaks_its_job_alone():
    store = make_store()
    add(store)
    add(store, "good")
    DjangoJob.objects.filter(pk="job").update(trigger='{"type":"cron","args":{"x":1}}')
    batch = store.claim_due({"default": 5}, NOON)
    assert [run.job.id for run in batch.runs] == ["good"]
    assert row().state == "broken"
    assert "SerializationError: the trigger 'cron' cannot be made" in row().error
    assert "Traceback" in row().error


class Stubborn(BaseTrigger):
    """A trigger that fails when asked for the time after its first."""

    def get_next_fire_time(self, previous_fire_time, now):
        if previous_fire_time is None:
            return NOON
        raise RuntimeError("out of order")

    def get_arguments(self):
        return {}


def test_a_trigger_that_fails_breaks_its_job_alone():
    store = make_store()
    add(store, trigger=Stubborn())
    add(store, "good")
    batch = store.claim_due({"default": 5}, NOON)
    assert [run.job.id for run in batch.runs] == ["good"]
    assert "RuntimeError: out of order" in row().error


@pytest.fixture
def vanishing():
    """A module with a callable that can be taken away and brought back."""
    module = ModuleType(f"vanishing_{unique()}")
    module.body = lambda: None
    module.body.__module__ = module.__name__
    module.body.__qualname__ = "body"
    sys.modules[module.__name__] = module
    yield module
    del sys.modules[module.__name__]


def test_what_one_process_cannot_import_is_left_to_the_others(vanishing):
    old, new = make_store(), make_store()
    add(old, func=vanishing.body)
    new.claim_due({"default": 1}, NOON - MINUTE)
    body = vanishing.body
    del vanishing.body
    batch = old.claim_due({"default": 5}, NOON)
    assert (batch.runs, batch.broken, batch.next_run_time) == ([], [], None)
    assert (row().state, row().next_run_time) == ("active", NOON)
    assert SchedulerProcess.objects.order_by("-id")[0].unresolved == '["job"]'
    vanishing.body = body
    # It is left alone for a minute even though it could be imported again.
    assert old.claim_due({"default": 5}, NOON).runs == []
    assert len(new.claim_due({"default": 5}, NOON).runs) == 1


def test_what_no_live_process_can_import_is_broken_and_mended_later(vanishing):
    one, two = make_store(), make_store()
    add(one, func=vanishing.body)
    two.claim_due({"default": 1}, NOON - MINUTE)
    body = vanishing.body
    del vanishing.body
    assert one.claim_due({"default": 5}, NOON).broken == []
    assert [id for id, _ in two.claim_due({"default": 5}, NOON).broken] == ["job"]
    assert f"has no 'body' (reference '{vanishing.__name__}:body')" in row().error
    assert one.retry_broken() == []
    vanishing.body = body
    assert one.retry_broken() == ["job"]
    assert (row().state, row().next_run_time) == ("active", NOON)


def test_what_has_gone_from_the_code_is_disabled_and_not_broken(vanishing):
    """The last scheduler that declares it has gone; the next synchronisation is due."""
    store = make_store()
    add(store, func=vanishing.body)
    DjangoJob.objects.update(declaration="{}")
    store.claim_due({"default": 1}, NOON - MINUTE)
    SchedulerProcess.objects.update(declarations='["another"]')
    del vanishing.body
    batch = store.claim_due({"default": 5}, NOON)
    assert (batch.runs, batch.broken, row().state) == ([], [], "active")
    # One that is still declared here, and cannot be imported, is broken.
    SchedulerProcess.objects.update(declarations='["another", "job"]')
    store._ignored.clear()
    assert [id for id, _ in store.claim_due({"default": 5}, NOON).broken] == ["job"]


def test_a_process_without_the_executor_has_no_say(vanishing):
    one, two = make_store(), make_store()
    two._scheduler._executors = {"gpu": object()}
    add(one, func=vanishing.body)
    two.claim_due({"gpu": 1}, NOON)
    del vanishing.body
    assert [id for id, _ in one.claim_due({"default": 5}, NOON).broken] == ["job"]


def test_while_all_is_paused_nothing_is_claimed_and_nothing_lost():
    store = make_store()
    add(store)
    store.pause_all("ann", "maintenance")
    assert store.claim_due({"default": 5}, NOON).runs == []
    store.run_job_now("job")
    assert store.claim_due({"default": 5}, NOON).runs == []
    assert row().next_run_time == NOON
    store.resume_all()
    assert len(store.claim_due({"default": 5}, NOON).runs) == 1


def test_a_reason_that_does_not_fit_pauses_nothing():
    store = make_store()
    add(store)
    with pytest.raises(ValueError, match="pause_reason must have at most 255"):
        store.pause_all("ann", "r" * 256)
    assert len(store.claim_due({"default": 5}, NOON).runs) == 1


def test_marked_jobs_ask_for_a_written_start():
    store = make_store()
    add(store, on_lost="mark")
    (run,) = store.claim_due({"default": 5}, NOON).runs
    assert run.confirm_start
    assert store.confirm_starts([run]) == [run]
    assert log() == [("Started execution", NOON, 1)]


def test_the_next_run_time_is_that_of_whichever_executor_comes_first():
    store = make_store()
    assert store.get_next_run_time() is None
    for minutes, executor in ((3, "default"), (1, "urgent"), (2, "a")):
        add(
            store,
            f"job{minutes}",
            trigger=once(NOON + minutes * MINUTE),
            executor=executor,
            next_run_time=NOON + minutes * MINUTE,
        )
    assert store.get_next_run_time() == NOON + MINUTE


def test_a_paused_job_that_cannot_be_imported_is_run_later_and_stays_paused(vanishing):
    store = make_store()
    add(store, func=vanishing.body, next_run_time=None)
    store.run_job_now("job")
    body = vanishing.body
    del vanishing.body
    batch = store.claim_due({"default": 5}, NOON)
    assert (batch.runs, batch.broken, row().state) == ([], [], "paused")
    vanishing.body = body
    (run,) = make_store().claim_due({"default": 5}, NOON).runs
    finish(store, run)
    assert row().state == "paused"


def test_what_was_handed_back_waits_for_code_that_can_run_it(vanishing):
    """Rolling back a release must not cost the runs that only the new one knows."""
    new, old = make_store(), make_store()
    add(new, func=vanishing.body, trigger=once())
    (run,) = new.claim_due({"default": 1}, NOON).runs
    new.release([run])
    new.membership.leave()
    body = vanishing.body
    del vanishing.body
    assert old.claim_due({"default": 5}, NOON).broken == []
    assert (row().state, log()) == ("finished", [("Queued", NOON, 1)])
    vanishing.body = body
    (again,) = make_store().claim_due({"default": 5}, NOON).runs
    assert again.execution_ids == run.execution_ids


def test_a_paused_job_that_was_tampered_with_is_not_run_and_stays_paused():
    store = make_store()
    add(store, next_run_time=None)
    store.run_job_now("job")
    DjangoJob.objects.update(func="os:abort")
    assert store.claim_due({"default": 5}, NOON).runs == []
    assert row().state == "paused"
    execution = DjangoJobExecution.objects.get()
    assert execution.status == "Cancelled"
    assert "apscheduler resign" in execution.note


def test_a_claim_reads_due_jobs_by_the_index_in_its_order():
    """However long the backlog, neither sorted nor, on MariaDB, locked beyond need."""
    store = make_store()
    for number in range(3):
        add(store, f"job{number}")
    with CaptureQueriesContext(connection) as queries:
        store.claim_due({"default": 2}, NOON)
    (select,) = [
        query["sql"]
        for query in queries
        if query["sql"].startswith("SELECT") and "kwargs" in query["sql"]
    ]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # With three rows a scan of the table would be cheaper.
            cursor.execute("SET LOCAL enable_seqscan = off")
        explain = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
        cursor.execute(f"{explain} {select}")
        plan = str(cursor.fetchall()).lower()
    assert "apscheduler_job_due" in plan
    assert "sort" not in plan, plan
    assert "b-tree" not in plan


@pytest.mark.django_db(transaction=True)
def test_transactions_do_not_sort_a_backlog_that_statistics_know_nothing_of():
    if connection.vendor != "postgresql":
        pytest.skip("needs PostgreSQL: TEST_DB=postgres")
    with make_store().transaction() as sql:
        assert sql.rows("SHOW enable_sort", []) == [("off",)]
    with connection.cursor() as cursor:
        cursor.execute("SHOW enable_sort")
        assert cursor.fetchall() == [("on",)]


def test_runs_asked_for_of_a_busy_job_do_not_hide_those_of_others(monkeypatch):
    monkeypatch.setattr(claim, "MOST_QUEUED", 3)
    store = make_store()
    add(store, "busy", next_run_time=None)
    add(store, "idle", next_run_time=None)
    for _ in range(5):
        store.run_job_now("busy")
    (running,) = store.claim_due({"default": 9}, NOON).runs
    assert running.job.id == "busy"
    store.run_job_now("idle")
    assert [r.job.id for r in store.claim_due({"default": 9}, NOON).runs] == ["idle"]
    finish(store, running)
    assert [r.job.id for r in store.claim_due({"default": 9}, NOON).runs] == ["busy"]


def test_a_claim_knows_when_the_jobs_that_it_moved_on_are_due_again():
    store = make_store()
    for number, minutes in ((1, 1), (2, 5), (3, 9)):
        add(store, f"job{number}", next_run_time=NOON + minutes * MINUTE)
    batch = store.claim_due({"default": 5}, NOON + MINUTE)
    assert [run.job.id for run in batch.runs] == ["job1"]
    assert batch.next_run_time == NOON + 2 * MINUTE
    batch = store.claim_due({"default": 5}, NOON + 4.5 * MINUTE)
    assert [run.job.id for run in batch.runs] == []
    assert batch.next_run_time == NOON + 5 * MINUTE


def test_with_room_for_more_than_one_claim_takes_the_next_follows_at_once(monkeypatch):
    monkeypatch.setattr(claim, "MOST_JOBS", 2)
    store = make_store()
    for number in range(5):
        add(store, f"job{number}")
    batch = store.claim_due({"default": 5}, NOON)
    assert (len(batch.runs), batch.next_run_time) == (2, NOON)
    batch = store.claim_due({"default": 3}, NOON)
    assert (len(batch.runs), batch.next_run_time) == (2, NOON)
    # Now an executor is full: a run that ends wakes the scheduler.
    assert store.claim_due({"default": 1}, NOON).next_run_time is None
