"""Cancelling an execution, wherever it is, and running a job by hand."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from unittest import mock

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_apscheduler.db import moment
from django_apscheduler.events import EVENT_JOB_CANCELLED
from django_apscheduler.jobstores.base import ExecutionLookupError
from django_apscheduler.models import (
    DjangoJobExecution,
    SchedulerCommand,
    SchedulerProcess,
)
from django_apscheduler.schedulers.remote import RemoteScheduler
from tests.jobstores.django import bodies
from tests.jobstores.django.support import (
    MINUTE,
    NOON,
    add,
    finish,
    log,
    make_store,
    once,
    real_now,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def store():
    return make_store()


def claim(store, **options):
    add(store, trigger=once(), **options)
    (run,) = store.claim_due({"default": 5}, NOON).runs
    return run, run.execution_ids[0]


def execution():
    return DjangoJobExecution.objects.get()


def command():
    return SchedulerCommand.objects.get()


def test_what_waits_is_cancelled_at_once(store):
    add(store)
    waiting = store.run_job_now("job")
    answer = store.cancel_execution(waiting, requested_by="ann")
    assert (answer.status, answer.at_once, answer.job_id) == ("Cancelled", True, "job")
    assert execution().status == "Cancelled"
    assert execution().note.endswith(" UTC: cancelled by ann before it began.")
    assert execution().finished_time is not None
    assert store.claim_due({"default": 5}, NOON - MINUTE).runs == []
    kinds = SchedulerCommand.objects.filter(done_time__isnull=False)
    assert sorted(kinds.values_list("kind", flat=True)) == ["cancel", "run"]


def test_what_is_claimed_is_passed_on_to_its_scheduler_once(store):
    run, id = claim(store)
    other = make_store()
    answer = other.cancel_execution(id, requested_by="ann")
    assert (answer.status, answer.at_once) == ("Claimed", False)
    assert execution().note.endswith(" UTC: asked to end by ann.")
    other.claim_due({"gpu": 1}, NOON)
    other.commands.deliver()
    assert other._scheduler.cancelled == [], "it is not its run"
    for _ in range(2):
        store.commands.deliver()
    assert store._scheduler.cancelled == [(run, 0)]
    assert command().claimed_by_id == run.claim.owner_id
    assert command().done_time is None
    finish(store, run, status="Cancelled")
    store.commands.deliver()
    assert (command().note, command().done_time is None) == ("Cancelled.", False)
    assert execution().status == "Cancelled"


def test_news_have_the_heart_look_for_commands_only_while_something_runs_here(store):
    heart = store._heart = mock.Mock()
    store.hear()
    assert not heart.hear.called
    run, _ = claim(store)
    store.hear()
    assert heart.hear.call_count == 1
    finish(store, run)
    store.hear()
    assert heart.hear.call_count == 1


def test_a_wish_that_comes_too_late_changes_nothing_and_says_so(store):
    run, id = claim(store)
    store.cancel_execution(id)
    finish(store, run)
    make_store().commands.deliver()
    assert execution().status == "Executed"
    assert command().note == "Came too late: it had ended as 'Executed'."
    answer = store.cancel_execution(id)
    assert (answer.status, answer.at_once) == ("Executed", False)
    assert SchedulerCommand.objects.count() == 1, "there is nothing to ask for"


def test_a_wish_outlives_the_scheduler_it_was_for():
    dead = make_store(lease=6)
    run, id = claim(dead, id="job")
    dead.confirm_starts([run])
    dead.cancel_execution(id)
    store = make_store()
    # Swept, without anything being claimed.
    store.claim_due({"gpu": 1}, NOON + MINUTE)
    assert execution().status == "Queued"
    store.commands.deliver()
    assert execution().status == "Cancelled"
    assert "was lost while attempt 1 ran" in execution().note
    assert command().note == "Cancelled."
    # Told by the loop, for a listener that takes long must not hold up the heart.
    batch = store.claim_due({"default": 5}, NOON + MINUTE)
    assert (batch.cancelled, batch.runs) == ([("job", NOON, id)], [])
    assert store.claim_due({"default": 5}, NOON + MINUTE).cancelled == []


def test_what_others_have_closed_is_not_remembered(store):
    run, id = claim(store)
    store.cancel_execution(id)
    store.commands.deliver()
    assert store.commands._delivered == {(command().pk, run.claim.claim_id)}
    finish(store, run, status="Cancelled")
    make_store().commands.deliver()
    assert command().note == "Cancelled."
    store.commands.deliver()
    assert store.commands._delivered == set()


def test_an_executor_that_cannot_cancel_does_not_hold_up_the_next_command(
    store, caplog
):
    add(store, id="a", trigger=once())
    add(store, id="b", trigger=once())
    first, second = store.claim_due({"default": 5}, NOON).runs
    for run in (first, second):
        store.cancel_execution(run.execution_ids[0])
    cancelled = []

    def cancel_run(run, index):
        if run is first:
            raise RuntimeError("no such task")
        cancelled.append(run)

    store._scheduler.cancel_run = cancel_run
    store.commands.deliver()
    store.commands.deliver()
    assert cancelled == [second]
    assert caplog.text.count("could not cancel its run") == 1


def test_a_run_claimed_anew_is_cancelled_anew(store):
    run, id = claim(store)
    store.cancel_execution(id)
    store.commands.deliver()
    store.release([run])
    (again,) = store.claim_due({"default": 5}, NOON + MINUTE).runs
    store.commands.deliver()
    assert store._scheduler.cancelled == [(run, 0), (again, 0)]


def test_asking_twice_is_asking_once(store):
    _, id = claim(store)
    for token in ("a", "a", None, "b"):
        assert store.cancel_execution(id, token=token).status == "Claimed"
    assert command().token == "a"
    assert execution().note.count("asked to end") == 1
    add(store, "other", now=NOON + timedelta(hours=1))
    waiting = store.run_job_now("other", token="c")
    with pytest.raises(ValueError, match="'a' was used for the execution"):
        store.cancel_execution(waiting, token="a")


def test_a_command_for_an_execution_that_is_deleted_is_closed(store):
    _, id = claim(store)
    store.cancel_execution(id)
    DjangoJobExecution.objects.all().delete()
    store.commands.deliver()
    assert command().note == "There is no such execution any more."


def test_an_execution_that_does_not_exist_is_an_error(store):
    with pytest.raises(ExecutionLookupError, match="by the id of 77 was found"):
        store.cancel_execution(77)


def test_looking_for_commands_where_there_are_none_is_one_reading(store):
    with CaptureQueriesContext(connection) as queries:
        store.commands.deliver()
    (query,) = queries
    assert query["sql"].startswith("SELECT")


def test_the_scheduler_of_a_view_cancels_and_tells(store):
    remote = RemoteScheduler(
        jobstores={"memory": "memory", "default": "django"}, timezone="UTC"
    )
    events = []
    remote.add_listener(events.append, EVENT_JOB_CANCELLED)
    add(store)
    waiting = store.run_job_now("job")
    assert remote.cancel_execution(waiting, requested_by="ann") == "Cancelled"
    with pytest.raises(ExecutionLookupError):
        remote.cancel_execution(waiting + 1)
    with pytest.raises(ExecutionLookupError):
        remote.cancel_execution(waiting, jobstore="memory")
    assert remote.cancel_execution(waiting) == "Cancelled"
    # On commit, which a test's transaction never reaches.
    assert events == []
    connection.run_on_commit, callbacks = [], list(connection.run_on_commit)
    for _, callback, _ in callbacks:
        callback()
    assert [(e.job_id, e.execution_id) for e in events] == [("job", waiting)]


# In real processes.


def wait_for(condition, seconds=30.0):
    until = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < until, (
            f"waited {seconds} s; the log says {log()} {list(notes())}"
        )
        time.sleep(0.02)
    return answer


def notes():
    return DjangoJobExecution.objects.values_list("note", flat=True)


@pytest.fixture
def worker(child_environment):
    """Start scheduler processes, and end them in the end."""
    started = []

    def start():
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.jobstores.django.worker"],
            env=child_environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.stdin.close()
    for process in started:
        process.wait(20)
        process.stdout.close()


real = pytest.mark.parametrize(
    ("executor", "body"),
    [
        ("default", bodies.heed),
        ("loop", bodies.heed_later),
        ("processes", bodies.heed),
    ],
)


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
@real
def test_a_running_body_is_ended_where_it_runs(worker, tmp_path, executor, body):
    path = tmp_path / "ledger"
    worker()
    worker()
    store = make_store()
    add(
        store, func=body, args=(str(path),), trigger=once(), executor=executor,
        next_run_time=real_now(),
    )  # fmt: skip
    wait_for(lambda: path.exists() and path.read_text())
    asked = time.monotonic()
    store.cancel_execution(execution().pk, requested_by="ann")
    cancelled = DjangoJobExecution.objects.filter(status="Cancelled")
    wait_for(cancelled.exists)
    assert time.monotonic() - asked < 4
    assert [line.split()[0] for line in path.read_text().splitlines()] == [
        "began",
        "ended",
    ]
    row = cancelled.get()
    assert row.finished_time > row.started_time
    assert "asked to end by ann." in row.note
    assert row.exception is None
    wait_for(lambda: command().done_time)
    assert command().note == "Cancelled."
    assert command().claimed_by_id == row.owner_id


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_a_body_that_does_not_heed_keeps_its_outcome(worker, tmp_path):
    path = tmp_path / "ledger"
    worker()
    store = make_store()
    add(
        store, func=bodies.ignore_all, args=(str(path), 1.5), trigger=once(),
        next_run_time=real_now(),
    )  # fmt: skip
    wait_for(path.exists)
    store.cancel_execution(execution().pk)
    wait_for(lambda: command().done_time)
    assert command().note == "Came too late: it had ended as 'Executed'."
    assert execution().status == "Executed"


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("executor", ["default", "processes"])
def test_what_a_cancelled_transactional_body_wrote_is_undone(
    worker, tmp_path, executor
):
    if connection.vendor == "sqlite":
        pytest.skip(
            "needs a database with several writers, for nobody else can write on SQLite "
            "while such a body runs: set TEST_DB=postgres"
        )
    path = tmp_path / "ledger"
    worker()
    store = make_store()
    add(
        store, func=bodies.write_and_heed, args=(str(path), "paid"), trigger=once(),
        executor=executor, transactional=True, next_run_time=real_now(),
    )  # fmt: skip
    wait_for(path.exists)
    store.cancel_execution(execution().pk)
    wait_for(DjangoJobExecution.objects.filter(status="Cancelled").exists)
    assert not Group.objects.exists()


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_a_run_by_hand_goes_to_whichever_scheduler_is_there_and_runs_once(
    worker, tmp_path
):
    path = tmp_path / "ledger"
    path.touch()
    one, two = worker(), worker()
    store = make_store()
    # One that is paused, one that is over, and one whose schedule goes on.
    add(store, "paused", bodies.append, args=(str(path), "paused"), next_run_time=None)
    add(
        store, "over", bodies.append, args=(str(path), "over"), trigger=once(),
        next_run_time=real_now(),
    )  # fmt: skip
    tomorrow = real_now() + timedelta(days=1)
    add(
        store, "later", bodies.append, args=(str(path), "later"), trigger=once(tomorrow),
        next_run_time=tomorrow,
    )  # fmt: skip
    executed = DjangoJobExecution.objects.filter(status="Executed")
    wait_for(executed.filter(job_id="over").exists)
    os.kill(one.pid, signal.SIGSTOP)
    try:
        # Neither the lease of the one nor its claim is in the way of the other.
        ids = {
            job_id: {store.run_job_now(job_id, token=f"once {job_id}") for _ in "ab"}
            for job_id in ("paused", "over", "later")
        }
        wait_for(lambda: executed.filter(origin="manual").count() == 3)
    finally:
        os.kill(one.pid, signal.SIGCONT)
    assert [len(found) for found in ids.values()] == [1, 1, 1]
    owners = executed.filter(origin="manual").values_list("owner__pid", flat=True)
    assert set(owners) == {two.pid}
    lines = sorted(line.split()[0] for line in path.read_text().splitlines())
    assert lines == ["later", "over", "over", "paused"]
    assert store.lookup_job("later").next_run_time == tomorrow
    assert store.lookup_job("paused").next_run_time is None


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_a_run_by_hand_waits_for_the_instance_in_another_process(worker, tmp_path):
    path = tmp_path / "ledger"
    worker()
    worker()
    store = make_store()
    add(
        store, func=bodies.heed, args=(str(path),), trigger=once(),
        next_run_time=real_now(),
    )  # fmt: skip
    wait_for(path.exists)
    first = execution().pk
    second = store.run_job_now("job")
    rows = DjangoJobExecution.objects
    # Both look each second, and at once when they are told.
    time.sleep(1.5)
    assert rows.get(pk=second).status == "Queued"
    store.cancel_execution(first)
    wait_for(lambda: rows.get(pk=second).status in ("Claimed", "Started execution"))
    assert rows.get(pk=first).status == "Cancelled"
    store.cancel_execution(second)
    wait_for(lambda: rows.get(pk=second).status == "Cancelled")


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_a_run_by_hand_that_nobody_has_the_executor_for_expires(worker):
    store = make_store()
    add(store, executor="gpu", next_run_time=None)
    waiting = store.run_job_now("job")
    worker()
    rows = DjangoJobExecution.objects.filter(pk=waiting)
    expires = rows.get().expires_time - rows.get().run_time
    assert expires == timedelta(minutes=5)
    # Instead of waiting for that long.
    rows.update(expires_time=moment(None))
    wait_for(lambda: rows.get().status == "Cancelled")
    assert "before it expired" in rows.get().note
    assert SchedulerProcess.objects.filter(state="alive").exists()


def test_texts_that_do_not_fit_are_refused_before_anything_is_written(store):
    _, id = claim(store)
    for options, message in (
        ({"token": "t" * 256}, "token must have at most 255 characters"),
        ({"requested_by": "u" * 256}, "requested_by must have at most 255 characters"),
        ({"token": "a\0b"}, "token must not hold the character NUL"),
    ):
        with pytest.raises(ValueError, match=message):
            store.run_job_now("job", **options)
        with pytest.raises(ValueError, match=message):
            store.cancel_execution(id, **options)
    assert SchedulerCommand.objects.count() == 0
