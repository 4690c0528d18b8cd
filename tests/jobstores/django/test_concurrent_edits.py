"""Edits that meet each other, and claims, half way: none is lost, none is undone."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import connections, transaction
from django.db.backends.signals import connection_created

from django_apscheduler import clock
from django_apscheduler.events import (
    EVENT_ALL_JOBS_REMOVED,
    EVENT_JOB_MISSED,
    EVENT_JOB_REMOVED,
)
from django_apscheduler.jobstores.base import ConflictingIdError, JobLookupError
from django_apscheduler.models import DjangoJob, DjangoJobExecution
from django_apscheduler.schedulers.remote import RemoteScheduler
from django_apscheduler.triggers.interval import IntervalTrigger
from tests.jobstores.django import bodies
from tests.jobstores.django.support import UTC, make_store, once, real_now, row

SECONDS = timedelta(seconds=20)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]


@pytest.fixture
def scheduler():
    """What a web process edits with."""
    return RemoteScheduler(jobstores={"default": {"type": "django"}}, timezone="UTC")


@contextmanager
def meanwhile(edit, then=lambda: None):
    """
    Make an edit in another thread while the block's transaction holds the job.

    The edit has to wait until that transaction is over, which goes on with ``then``.
    """
    faults, over = [], threading.Event()

    def work():
        try:
            edit()
        except Exception as error:
            faults.append(error)
        finally:
            connections.close_all()
            over.set()

    thread = threading.Thread(target=work)
    with transaction.atomic():
        yield faults
        thread.start()
        assert not over.wait(0.3)
        then()
    thread.join(20)
    assert not thread.is_alive()


def add(scheduler, id="job", **options):
    trigger = IntervalTrigger(hours=1, start_date=real_now(), timezone=UTC)
    options = {"trigger": trigger, "args": (1,), "kwargs": {"b": 1}, **options}
    return scheduler.add_job(bodies.note, id=id, **options)


def test_two_who_change_different_parts_of_a_call_both_have_their_way(scheduler):
    add(scheduler)
    with meanwhile(lambda: scheduler.modify_job("job", args=(2,))) as faults:
        scheduler.modify_job("job", kwargs={"b": 2}, name="Renamed")
    assert faults == []
    job = scheduler.get_job("job")
    assert (job.args, job.kwargs, job.name) == ((2,), {"b": 2}, "Renamed")
    assert row().revision == 3


def test_resuming_a_job_that_another_has_resumed_and_run_does_not_run_it_again(
    scheduler,
):
    add(scheduler)
    scheduler.pause_job("job")
    store = make_store()
    with meanwhile(lambda: scheduler.resume_job("job")) as faults:
        due = scheduler.resume_job("job").next_run_time
        (run,) = store.claim_due({"default": 1}, due).runs
    assert faults == []
    assert run.run_times == [due]
    assert row().next_run_time == due + timedelta(hours=1)


def test_a_job_that_was_removed_meanwhile_cannot_be_changed(scheduler):
    add(scheduler)
    with meanwhile(lambda: scheduler.modify_job("job", max_instances=2)) as faults:
        scheduler.remove_job("job")
    assert [type(fault) for fault in faults] == [JobLookupError]
    assert not DjangoJob.objects.exists()


def test_a_transaction_with_two_edits_does_not_wait_for_who_waits_for_it(scheduler):
    """In one process, as in a threaded web server."""
    add(scheduler, "one")
    add(scheduler, "two")
    with meanwhile(
        lambda: scheduler.modify_job("one", max_instances=3),
        then=lambda: scheduler.modify_job("two", max_instances=2),
    ) as faults:
        scheduler.modify_job("one", max_instances=2)
    assert faults == []
    assert (row("one").max_instances, row("two").max_instances) == (3, 2)


def test_what_became_due_while_an_edit_waited_leaves_a_row(scheduler):
    """The edit goes by the time at which it gets the job, not at which it asked."""
    due = real_now() + timedelta(seconds=0.2)
    add(scheduler, trigger=once(due))
    with meanwhile(lambda: scheduler.pause_job("job")) as faults:
        DjangoJob.objects.select_for_update().get()
        DjangoJob.objects.update(name="held")
    assert faults == []
    execution = DjangoJobExecution.objects.get()
    assert (execution.status, execution.run_time) == ("Cancelled", due)


def test_an_occurrence_claimed_while_a_reschedule_waited_does_not_come_again(scheduler):
    start = real_now() + timedelta(seconds=0.2)
    add(scheduler, trigger=IntervalTrigger(hours=1, start_date=start, timezone=UTC))
    other = IntervalTrigger(hours=2, start_date=start, timezone=UTC)
    with meanwhile(lambda: scheduler.reschedule_job("job", trigger=other)) as faults:
        # What a claim does, that gets the job before the reschedule.
        DjangoJob.objects.update(
            next_run_time=start + timedelta(hours=1),
            nominal_time=start + timedelta(hours=1),
        )
    assert faults == []
    assert row().next_run_time == start + timedelta(hours=2)


def test_a_process_whose_clock_is_wrong_adds_and_resumes_by_the_databases(
    scheduler, monkeypatch
):
    monkeypatch.setattr(clock, "_clock", clock.SystemClock(-3600))
    job = scheduler.add_job(bodies.note, "interval", minutes=30, id="job")
    assert abs(job.next_run_time - real_now() - timedelta(minutes=30)) < SECONDS
    scheduler.pause_job("job")
    assert scheduler.resume_job("job").next_run_time - real_now() > timedelta(0)


def test_events_of_edits_wait_for_the_commit(scheduler):
    told = []
    scheduler.add_listener(lambda event: told.append(event.code))
    add(scheduler, trigger=once(real_now()))
    scheduler.pause_job("job")
    told.clear()
    with transaction.atomic():
        # Its date has passed, so that it is missed and removed.
        assert scheduler.resume_job("job") is None
        scheduler.remove_all_jobs()
        assert told == []
    assert told == [EVENT_JOB_MISSED, EVENT_JOB_REMOVED, EVENT_ALL_JOBS_REMOVED]
    add(scheduler)
    told.clear()
    with transaction.atomic():
        scheduler.remove_all_jobs()
        transaction.set_rollback(True)
    assert told == []


@pytest.mark.parametrize(
    "method", ["pause_job", "resume_job", "reschedule_job", "modify_job", "remove_job"]
)
def test_who_must_not_wait_is_told_what_to_await(scheduler, method):
    async def edit():
        arguments = {"trigger": once()} if method == "reschedule_job" else {}
        getattr(scheduler, method)("job", **arguments)

    add(scheduler)
    with pytest.raises(RuntimeError, match=rf"await scheduler\.a{method}\("):
        asyncio.run(edit())


def test_edits_from_an_event_loop_leave_no_connection_open(scheduler):
    opened = []

    def note(connection, **kwargs):
        opened.append(connection)

    async def edit():
        await asyncio.gather(*(scheduler.aget_jobs() for _ in range(5)))
        # The loop's threads end only with the loop.
        return [connection.connection for connection in opened]

    connection_created.connect(note)
    try:
        found = asyncio.run(edit())
    finally:
        connection_created.disconnect(note)
    assert found
    assert found == [None] * len(found)


def test_jobs_that_two_add_at_once_are_replaced_by_the_later_where_they_may_be(
    scheduler,
):
    def add_both():
        options = {"func": bodies.note, "trigger": "interval", "hours": 1}
        jobs = [{**options, "id": id, "name": "later"} for id in ("job", "other")]
        scheduler.add_jobs(jobs, replace_existing=True)

    with meanwhile(add_both) as faults:
        add(scheduler, name="first")
    assert faults == []
    names = DjangoJob.objects.order_by("id").values_list("id", "name", "revision")
    assert list(names) == [("job", "later", 2), ("other", "later", 1)]


def test_jobs_that_two_add_at_once_conflict_where_they_may_not_be_replaced(scheduler):
    def add_both():
        options = {"func": bodies.note, "trigger": "interval", "hours": 1}
        scheduler.add_jobs([{**options, "id": id} for id in ("job", "other")])

    with meanwhile(add_both) as faults:
        add(scheduler, name="first")
    (fault,) = faults
    assert isinstance(fault, ConflictingIdError)
    assert fault.job_id == "job"
    assert list(DjangoJob.objects.values_list("id", "name")) == [("job", "first")]
