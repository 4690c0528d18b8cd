"""Adding jobs costs few statements, and loses nothing when ids collide."""

from __future__ import annotations

import select
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from django_apscheduler import clock
from django_apscheduler.db import PrivateConnection, database_now
from django_apscheduler.jobstores.base import ConflictingIdError, JobLookupError
from django_apscheduler.jobstores.django import DjangoJobStore
from django_apscheduler.jobstores.django.listening import GATHER_SECONDS, listen
from django_apscheduler.jobstores.django.postgresql import CHANNEL
from django_apscheduler.models import DjangoJob
from django_apscheduler.schedulers.background import BackgroundScheduler
from django_apscheduler.schedulers.remote import RemoteScheduler
from tests.jobstores.django import bodies
from tests.jobstores.django.support import NOON, finish, make_job, make_store, once, row

pytestmark = pytest.mark.django_db(transaction=True)

FAR = datetime(2199, 1, 1, tzinfo=timezone.utc)
PATIENCE = 20
HOUR = timedelta(hours=1)


@pytest.fixture
def store():
    return make_store()


@pytest.fixture
def scheduler():
    return RemoteScheduler(jobstores={"default": {"type": "django"}}, timezone="UTC")


def options(id: str, **more: Any) -> dict[str, Any]:
    return {"func": bodies.note, "trigger": "date", "run_date": FAR, "id": id, **more}


def statements(captured: CaptureQueriesContext) -> list[str]:
    """Return the first word of each statement that was sent."""
    return [query["sql"].split()[0] for query in captured.captured_queries]


def test_a_job_is_added_by_one_statement(scheduler):
    scheduler.add_job(**options("first"))
    with CaptureQueriesContext(connection) as captured:
        scheduler.add_job(**options("second"))
    first, *more = captured.captured_queries
    assert first["sql"].startswith("INSERT INTO")
    if connection.vendor == "mysql":
        # Other processes are told by a number that grows, after the commit.
        assert len(more) <= 4
    else:
        assert more == []
        assert ("pg_notify" in first["sql"]) == (connection.vendor == "postgresql")
    assert DjangoJob.objects.count() == 2


def test_a_job_is_added_by_one_statement_of_the_callers_transaction(scheduler):
    with transaction.atomic():
        scheduler.add_job(**options("first"))
        with CaptureQueriesContext(connection) as captured:
            scheduler.add_job(**options("second"))
        assert len(captured) == 1
        transaction.set_rollback(True)
    assert not DjangoJob.objects.exists()


def test_a_thousand_jobs_are_added_by_a_handful_of_statements(scheduler):
    scheduler.add_job(**options("first"))
    with CaptureQueriesContext(connection) as captured:
        scheduler.add_jobs(options(f"job-{number}") for number in range(1000))
    kinds = [word for word in statements(captured) if word in ("INSERT", "NOTIFY")]
    if connection.vendor == "postgresql":
        assert kinds == ["INSERT", "NOTIFY"]
    assert len(captured) <= 6
    assert DjangoJob.objects.count() == 1001


def test_what_is_stored_is_the_same_alone_and_in_company(scheduler):
    trigger = {"trigger": "interval", "minutes": 5, "start_date": FAR, "jitter": 3}
    shared = {
        "func": bodies.note,
        "args": (1, NOON),
        "kwargs": {"a": None},
        "misfire_grace_time": 7,
        "coalesce": True,
        "max_instances": 4,
        "on_lost": "mark",
        "executor": "gpu",
        **trigger,
    }
    before = database_now("default")
    scheduler.add_job(**shared, id="alone", next_run_time=FAR)
    scheduler.add_jobs([{**shared, "id": id, "next_run_time": FAR} for id in "ab"])
    after = database_now("default")
    own = {"id", "uid", "signature", "created_time", "changed_time"}
    stored = list(DjangoJob.objects.order_by("id").values())
    assert [values["id"] for values in stored] == ["a", "alone", "b"]
    alike = [{k: v for k, v in values.items() if k not in own} for values in stored]
    assert alike[0] == alike[1] == alike[2]
    assert len({values["uid"] for values in stored}) == 3
    for values in stored:
        assert before <= values["created_time"] == values["changed_time"] <= after
    assert stored[0]["misfire_grace_time"] == 7
    assert (stored[0]["coalesce"], stored[0]["transactional"]) == (True, False)
    # Claims verify the signature, so all three can be run as they were stored.
    assert [job.id for job in scheduler.get_jobs()] == ["a", "alone", "b"]


def test_a_paused_job_is_added_without_times(scheduler):
    scheduler.add_jobs([options("a", next_run_time=None), options("b")])
    assert (row("a").state, row("a").next_run_time) == ("paused", None)
    assert (row("b").state, row("b").next_run_time) == ("active", FAR)


def test_a_taken_id_leaves_the_callers_transaction_usable(store):
    store.add_job(make_job("taken"))
    with transaction.atomic():
        store.add_job(make_job("before"))
        with pytest.raises(ConflictingIdError, match=r"\(taken\)"):
            store.add_job(make_job("taken"))
        store.add_job(make_job("after"))
    assert set(DjangoJob.objects.values_list("id", flat=True)) == {
        "taken",
        "before",
        "after",
    }


def test_a_taken_id_among_many_leaves_the_callers_transaction_usable(store):
    store.add_job(make_job("taken"))
    with transaction.atomic():
        store.add_job(make_job("before"))
        with pytest.raises(ConflictingIdError, match=r"\(taken\)"):
            store.add_jobs([make_job("new"), make_job("taken")])
    assert set(DjangoJob.objects.values_list("id", flat=True)) == {"taken", "before"}


def test_new_finished_and_replaced_jobs_are_added_in_one_call(store):
    store.add_job(make_job("old"))
    store.add_job(make_job("over", trigger=once()))
    (run,) = [
        r for r in store.claim_due({"default": 9}, NOON).runs if r.job.id == "over"
    ]
    finish(store, run)
    before = row("old")
    uid = row("over").uid
    jobs = [
        make_job("old", max_instances=3),
        make_job("over", trigger=once()),
        make_job("new"),
    ]
    store.add_jobs(jobs, replace_existing=True)
    assert (row("old").max_instances, row("old").uid) == (3, before.uid)
    assert row("old").next_run_time == before.next_run_time
    assert (row("over").state, row("over").uid == uid) == ("active", False)
    assert [job.revision for job in jobs] == [
        before.revision + 1,
        row("over").revision,
        1,
    ]
    assert row("over").uid == jobs[1].uid


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("commits", [False, True])
def test_an_id_that_another_transaction_is_taking_is_waited_for(store, many, commits):
    results: list[str] = []

    def rival() -> None:
        jobs = [make_job("job", name="Second"), make_job("other")]
        try:
            if many:
                store.add_jobs(jobs)
            else:
                store.add_job(jobs[0])
            results.append("added")
        except ConflictingIdError as error:
            results.append(str(error))
        finally:
            connection.close()

    thread = threading.Thread(target=rival)
    with transaction.atomic():
        store.add_job(make_job("job", name="First"))
        thread.start()
        thread.join(0.2)
        assert results == []
        transaction.set_rollback(not commits)
    thread.join(PATIENCE)
    if commits:
        (told,) = results
        assert told.startswith("Job identifier (job) conflicts")
        assert row().name == "First"
        assert not DjangoJob.objects.filter(id="other").exists()
    else:
        assert results == ["added"]
        assert row().name == "Second"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": "n" * 256}, "name must have at most 255 characters.*got 256"),
        ({"executor": "e" * 101}, "executor must have at most 100 characters"),
        ({"name": "a\0b"}, "name must not hold the character NUL"),
        ({"max_instances": 2**31}, "max_instances must be at most 2147483647"),
        ({"misfire_grace_time": 2**31}, "misfire_grace_time must be at most"),
    ],
)
def test_what_a_column_has_no_room_for_is_refused_by_name(scheduler, wrong, message):
    with transaction.atomic():
        with pytest.raises(ValueError, match=message):
            scheduler.add_job(**options("wrong", **wrong))
        job = scheduler.add_job(**options("right"))
    with pytest.raises(ValueError, match=message):
        job.modify(**wrong)
    assert list(DjangoJob.objects.values_list("id", "name")) == [("right", "note")]


def test_a_job_that_takes_effect_later_is_told_of_when_it_does(scheduler):
    told: list[Any] = []
    scheduler.add_listener(lambda event: told.append(event.job_id))
    with transaction.atomic():
        scheduler.add_jobs([options("a"), options("b")])
        scheduler.add_job(**options("c"))
        assert told == []
    assert told == ["a", "b", "c"]
    with transaction.atomic():
        scheduler.add_job(**options("never"))
        transaction.set_rollback(True)
    assert told == ["a", "b", "c"]


def test_times_follow_a_moved_clock(scheduler):
    with clock.use(clock.ManualClock(NOON + timedelta(hours=1))):
        scheduler.add_job(**options("alone"))
        scheduler.add_jobs([options("a"), options("b")])
    times = set(DjangoJob.objects.values_list("created_time", "changed_time"))
    assert times == {(NOON + timedelta(hours=1),) * 2}


def test_edits_in_quick_succession_are_heard_together():
    if connection.vendor != "postgresql":
        pytest.skip("only PostgreSQL notifies: TEST_DB=postgres")
    heard: list[float] = []
    stop = threading.Event()

    def nothing() -> None:
        pass

    def hear() -> None:
        heard.append(time.monotonic())

    def tell() -> None:
        other = PrivateConnection("default")
        with other as private, private.cursor() as cursor:
            cursor.execute(f"NOTIFY {CHANNEL}")
        other.close()

    def work() -> None:
        with PrivateConnection("default") as own:
            own.ensure_connection()
            listen(own, stop, 60, nothing, hear, nothing, tell)
            own.close()

    def await_hearing(since: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while len(heard) == since:
            assert time.monotonic() < deadline, "the notification was not heard"
            stop.wait(0.001)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        with connection.cursor() as cursor:
            deadline = time.monotonic() + PATIENCE
            while not heard:
                assert time.monotonic() < deadline, "nothing was heard"
                cursor.execute(f"NOTIFY {CHANNEL}")
                stop.wait(0.05)
            before = len(heard)
            for _ in range(300):
                cursor.execute(f"NOTIFY {CHANNEL}")
            await_hearing(before)
            burst = heard[before:]
            gaps = [later - earlier for earlier, later in pairwise(burst)]
            assert len(burst) < 300
            assert all(gap >= GATHER_SECONDS * 0.9 for gap in gaps)
            stop.wait(0.1)
            before = len(heard)
            cursor.execute(f"NOTIFY {CHANNEL}")
            await_hearing(before)
    finally:
        stop.set()
        thread.join(PATIENCE)
    assert not thread.is_alive()


def test_only_a_job_that_is_due_soon_wakes_its_scheduler_by_itself():
    woken: list[str] = []

    class Woken(BackgroundScheduler):
        def wakeup(self) -> None:
            woken.append(threading.current_thread().name)
            super().wakeup()

    scheduler = Woken(jobstores={"default": {"type": "django"}}, timezone="UTC")
    scheduler.start(paused=True)
    me = threading.current_thread().name
    try:
        woken.clear()
        scheduler.add_job(**options("far"))
        scheduler.add_jobs([options("farther"), options("never", next_run_time=None)])
        assert woken.count(me) == 0
        scheduler.add_job(bodies.note, id="now")
        assert woken.count(me) == 1
    finally:
        scheduler.shutdown()


def test_a_job_without_a_date_is_due_now_by_the_databases_clock(scheduler, monkeypatch):
    """By this process's own clock, an hour behind, it would have been due long ago."""
    present = "django_apscheduler.jobstores.django.store.DjangoJobStore.present"
    before = clock.now()
    monkeypatch.setattr(present, lambda self: clock.now() + HOUR)
    job = scheduler.add_job(bodies.note, id="now")
    assert before + HOUR <= job.next_run_time <= clock.now() + HOUR
    assert scheduler.get_job("now").trigger.run_date == job.next_run_time
    # A date that is given is nobody's present.
    given = before + 2 * HOUR
    job = scheduler.add_job(bodies.note, "date", run_date=given, id="then")
    assert job.next_run_time == job.trigger.run_date == given


def test_processes_that_add_and_remove_one_job_at_once_hurt_nobody(scheduler):
    """InnoDB ends deadlocks among INSERTs of one id that has just been deleted."""

    def come_and_go():
        met = set()
        try:
            for _ in range(40):
                try:
                    scheduler.add_job(**options("contested"))
                    scheduler.remove_job("contested")
                except (ConflictingIdError, JobLookupError) as error:
                    met.add(type(error))
        finally:
            connections.close_all()
        return met

    with ThreadPoolExecutor(3) as pool:
        done = [pool.submit(come_and_go) for _ in range(3)]
    assert [future.exception() for future in done] == [None] * 3
    assert any(future.result() for future in done)


def test_schedulers_are_told_of_new_jobs_that_are_due_before_their_next_poll(scheduler):
    if connection.vendor != "postgresql":
        pytest.skip("only PostgreSQL notifies: TEST_DB=postgres")
    with PrivateConnection("default") as own:
        own.ensure_connection()
        raw = own.connection
        raw.autocommit = True
        raw.cursor().execute(f"LISTEN {CHANNEL}")
        raw.cursor().execute("LISTEN the_end")

        def told(**more: Any) -> int:
            """Add a job; return how often schedulers were told of it."""
            scheduler.add_job(**options(f"job-{DjangoJob.objects.count()}", **more))
            with connection.cursor() as cursor:
                # Notifications come in the order of their commits.
                cursor.execute("NOTIFY the_end")
            channels = iter(notifications(raw))
            return sum(1 for _ in iter(lambda: next(channels), "the_end"))

        soon = database_now("default")
        assert told(run_date=soon + HOUR) == 0
        assert told(next_run_time=None) == 0
        assert told(next_run_time=soon + timedelta(minutes=11)) == 0
        assert told(run_date=soon + timedelta(minutes=9)) == 1
        assert told(run_date=soon + HOUR, next_run_time=soon) == 1
        own.close()


def notifications(raw: Any) -> Any:
    """Give the channels of a connection's notifications."""
    if callable(raw.notifies):  # psycopg 3
        yield from (found.channel for found in raw.notifies(timeout=PATIENCE))
    else:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            select.select([raw], [], [], 1)
            raw.poll()
            while raw.notifies:
                yield raw.notifies.pop(0).channel
    raise AssertionError("the notification was not heard")


def test_a_poll_is_no_longer_than_schedulers_may_be_left_without_notice():
    for poll in (0, -1, 301):
        with pytest.raises(ValueError, match=f"at most 300 seconds; got {poll}"):
            DjangoJobStore(poll=poll)
    assert DjangoJobStore(poll=300).poll == 300
