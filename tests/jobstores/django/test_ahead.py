"""Claims that begin a little before a run time, so that the body begins at it."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from django.db import connection

from django_apscheduler.events import EVENT_JOB_EXECUTED
from django_apscheduler.job import FINISHED
from django_apscheduler.jobstores import runs
from django_apscheduler.jobstores.django import DjangoJobStore, edits, timing
from django_apscheduler.jobstores.django.sql import statements
from django_apscheduler.models import DjangoJobExecution
from django_apscheduler.schedulers import STATE_RUNNING
from django_apscheduler.schedulers.background import BackgroundScheduler
from django_apscheduler.schedulers.remote import RemoteScheduler
from django_apscheduler.triggers.interval import IntervalTrigger
from tests.jobstores.django import bodies
from tests.jobstores.django.support import UTC, add, finish, log, once, real_now, row

SECOND = timedelta(seconds=1)
MILLISECOND = timedelta(milliseconds=1)
LEAD = 10 * SECOND

pytestmark = pytest.mark.django_db(transaction=True)


def ahead(store):
    """Have a store claim ten seconds ahead, which no test can miss."""
    store._lead = LEAD - timing.AWAKENING
    store.note_duration = lambda seconds: None
    return store


@pytest.fixture
def early(running, monkeypatch):
    monkeypatch.setattr(timing, "MOST_AHEAD_SECONDS", 60.0)
    return ahead(running())


def every_second(first):
    return {
        "trigger": IntervalTrigger(seconds=1, start_date=first, timezone=UTC),
        "next_run_time": first,
    }


def test_what_is_due_within_the_lead_is_claimed_and_what_is_later_is_not(early):
    now = real_now()
    near, far = now + 5 * SECOND, now + 60 * SECOND
    for run_time in (near, far):
        add(early, id=run_time.isoformat(), trigger=once(run_time))
    batch = early.claim_due({"default": 5})
    assert [run.run_times for run in batch.runs] == [[near]]
    assert log() == [("Claimed", near, 1)]
    # The next claim begins ahead as well.
    assert batch.next_run_time == far - LEAD


def test_of_several_run_times_within_the_lead_one_is_claimed_at_a_time(early):
    first = real_now() + 2 * SECOND
    add(early, max_instances=2, **every_second(first))
    batch = early.claim_due({"default": 5})
    assert [run.run_times for run in batch.runs] == [[first]]
    batch = early.claim_due({"default": 5})
    assert [run.run_times for run in batch.runs] == [[first + SECOND]]
    assert [status for status, *_ in log()] == ["Claimed", "Claimed"]


def test_a_job_at_its_limit_is_skipped_when_its_time_has_come_and_not_before(early):
    first = real_now() + 2 * SECOND
    add(early, **every_second(first))
    (run,) = early.claim_due({"default": 5}).runs
    # Its second run is due within the lead, but the first may end before.
    batch = early.claim_due({"default": 5})
    assert (batch.runs, batch.skipped) == ([], [])
    assert batch.next_run_time == first + SECOND
    finish(early, run)
    (run,) = early.claim_due({"default": 5}).runs
    assert run.run_times == [first + SECOND]


def reschedule(scheduler, trigger):
    scheduler.reschedule_job("job", trigger=trigger)


def pause_and_resume(scheduler, trigger):
    scheduler.pause_job("job")
    scheduler.resume_job("job")


def replace(scheduler, trigger):
    scheduler.add_job(bodies.note, trigger, id="job", replace_existing=True)


@pytest.mark.parametrize("edit", [reschedule, pause_and_resume, replace])
def test_an_edit_does_not_name_a_run_time_again_that_was_claimed_ahead(
    early, monkeypatch, edit
):
    monkeypatch.setattr(edits, "MOST_AHEAD_SECONDS", 60.0)
    first = real_now() + SECOND
    add(early, **every_second(first))
    (run,) = early.claim_due({"default": 5}).runs
    assert run.run_times == [first]
    scheduler = RemoteScheduler(jobstores={"default": {"type": "django"}})
    edit(scheduler, IntervalTrigger(seconds=0.5, start_date=first, timezone=UTC))
    assert real_now() > first
    assert first < row().next_run_time <= real_now() + SECOND


def remove(scheduler):
    scheduler.remove_job("job")


def remove_all(scheduler):
    scheduler.remove_all_jobs()


@pytest.mark.parametrize("removal", [remove, remove_all])
def test_a_job_that_is_added_anew_does_not_have_a_run_time_that_was_claimed_ahead(
    early, monkeypatch, removal
):
    monkeypatch.setattr(edits, "MOST_AHEAD_SECONDS", 60.0)
    first = real_now() + SECOND
    add(early, **every_second(first))
    assert len(early.claim_due({"default": 5}).runs) == 1
    scheduler = RemoteScheduler(jobstores={"default": {"type": "django"}})
    removal(scheduler)
    trigger = IntervalTrigger(seconds=1, start_date=first, timezone=UTC)
    scheduler.add_job(bodies.note, trigger, id="job")
    assert row().next_run_time > first


def test_a_last_run_time_that_was_claimed_ahead_is_not_had_again(early, monkeypatch):
    monkeypatch.setattr(edits, "MOST_AHEAD_SECONDS", 60.0)
    last = real_now() + SECOND
    trigger = IntervalTrigger(seconds=9, start_date=last, end_date=last, timezone=UTC)
    add(early, trigger=trigger, next_run_time=last)
    assert len(early.claim_due({"default": 5}).runs) == 1
    scheduler = RemoteScheduler(jobstores={"default": {"type": "django"}})
    with pytest.raises(ValueError, match="will never fire"):
        scheduler.add_job(bodies.note, trigger, id="job")
    assert row().state == FINISHED


def test_a_run_time_at_this_very_moment_has_not_passed(early, monkeypatch):
    """Also where times are texts, and a whole second has no digits after it."""
    sql = statements(connection)
    second = real_now().replace(microsecond=0)
    add(early, **every_second(second))
    assert len(early.claim_due({"default": 5}, now=second).runs) == 1
    moment = f"'{second:%Y-%m-%d %H:%M:%S}.000000'"
    if connection.vendor == "postgresql":
        moment = f"({moment}::timestamp AT TIME ZONE 'UTC')"
    monkeypatch.setattr(sql, "now", moment, raising=False)
    assert sql.present(["job"]) == (second, second)


def test_an_edit_does_not_wait_for_a_clock_that_was_set_back(early):
    first = real_now() + 9 * SECOND
    add(early, **every_second(first))
    assert len(early.claim_due({"default": 5}).runs) == 1
    early.change_job("job", lambda job: job._modify(max_instances=2))
    assert real_now() < first


def test_a_time_that_is_given_is_the_present(early):
    run_time = real_now() + 5 * SECOND
    add(early, trigger=once(run_time))
    before = early.claim_due({"default": 5}, now=run_time - MILLISECOND)
    assert (before.runs, before.next_run_time) == ([], run_time)
    assert len(early.claim_due({"default": 5}, now=run_time).runs) == 1


def test_the_lead_follows_what_claims_take():
    store = DjangoJobStore()
    store.note_duration(0.008)
    assert store.lead == 4 * MILLISECOND + timing.AWAKENING
    for _ in range(20):
        store.note_duration(0.008)
    risen = store.lead
    assert 7.9 * MILLISECOND < risen - timing.AWAKENING <= 8 * MILLISECOND
    store.note_duration(0)
    # One quick claim says little.
    assert risen * 0.9 < store.lead < risen
    # However long one took, it is soon forgotten again.
    for _ in range(20):
        store.note_duration(9.0)
    assert store.lead == 20 * MILLISECOND
    for _ in range(60):
        store.note_duration(0)
    assert store.lead < MILLISECOND


@pytest.fixture
def waiting(monkeypatch):
    """Return a scheduler at rest whose store claims a second ahead, and the store."""
    monkeypatch.setattr(timing, "MOST_AHEAD_SECONDS", 60.0)
    monkeypatch.setattr(runs, "MOST_AHEAD_SECONDS", 60.0)
    store = DjangoJobStore()
    scheduler = BackgroundScheduler(jobstores={"default": store}, timezone="UTC")
    scheduler.start(paused=True)
    ahead(store)
    yield scheduler, store
    if scheduler.running:
        scheduler.shutdown()


def test_to_wait_for_a_run_time_does_not_delay_the_next_claim(waiting):
    scheduler, store = waiting
    store._lead = 2 * SECOND
    first = real_now() + 1.5 * SECOND
    # The second one is to be claimed when the first is still being waited for.
    for run_time in (first, first + 1.9 * SECOND):
        scheduler.add_job(bodies.note, "date", run_date=run_time)
    # Or the scheduler's own loop might be first.
    with scheduler._tick_lock:
        scheduler.state = STATE_RUNNING
        seconds = scheduler.process_jobs()
        claimed = len(log())
        scheduler.pause()
    assert (claimed, seconds) == (1, 0)


def test_a_run_that_is_waited_for_when_the_scheduler_ends_is_handed_back(waiting):
    scheduler, _ = waiting
    run_time = real_now() + SECOND
    scheduler.add_job(bodies.note, "date", run_date=run_time)
    scheduler.resume()
    until = time.monotonic() + 30
    while not log() and time.monotonic() < until:
        time.sleep(0.01)
    scheduler.shutdown(wait=False)
    assert log() == [("Queued", run_time, 1)]


def test_a_run_that_is_waited_for_when_its_executor_is_removed_is_handed_back(
    waiting,
):
    scheduler, _ = waiting
    scheduler.add_executor("threadpool", "other")
    run_time = real_now() + SECOND
    scheduler.add_job(bodies.note, "date", run_date=run_time, executor="other")
    scheduler.resume()
    until = time.monotonic() + 30
    while not log() and time.monotonic() < until:
        time.sleep(0.01)
    scheduler.remove_executor("other")
    while log() == [("Claimed", run_time, 1)] and time.monotonic() < until:
        time.sleep(0.01)
    assert log() == [("Queued", run_time, 1)]
    assert scheduler.failure is None


def test_no_body_begins_before_its_run_time():
    store = DjangoJobStore()
    scheduler = BackgroundScheduler(jobstores={"default": store}, timezone="UTC")
    ended = []
    scheduler.add_listener(ended.append, EVENT_JOB_EXECUTED)
    scheduler.start()
    seen_ahead, added, until = False, 0, time.monotonic() + 60
    try:
        # A busy machine comes late to all of a round; then there is nothing to see yet.
        while not seen_ahead and time.monotonic() < until:
            scheduler.pause()
            ahead(store)
            first = real_now() + SECOND / 2
            for number in range(10):
                run_time = first + number * 7 * MILLISECOND
                scheduler.add_job(bodies.note, "date", run_date=run_time)
            added += 10
            scheduler.resume()
            while len(ended) < added and time.monotonic() < until:
                time.sleep(0.01)
            rows = DjangoJobExecution.objects.all()
            seen_ahead = any(row.claimed_time < row.run_time for row in rows)
    finally:
        scheduler.shutdown()
    rows = DjangoJobExecution.objects.all()
    assert seen_ahead
    assert [row.status for row in rows] == ["Executed"] * added
    assert all(row.started_time >= row.run_time for row in rows)
