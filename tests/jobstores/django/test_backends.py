"""The connections of a scheduler: named in its row, and ended when it is dead."""

from __future__ import annotations

import json
import threading
import time
from datetime import timedelta

import pytest
from django.db import DatabaseError, connection, connections, transaction

from django_apscheduler.db import PrivateConnection, moment
from django_apscheduler.jobstores.django import backends, orphans
from django_apscheduler.jobstores.django.sql import statements
from django_apscheduler.models import DjangoJob, SchedulerProcess
from tests.jobstores.django.support import (
    add,
    finish,
    make_store,
    once,
    real_now,
    row,
)

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.processes,
]


@pytest.fixture(autouse=True)
def _server():
    if connection.vendor == "sqlite":
        pytest.skip(
            "needs a database server, for SQLite has no connections to end: set "
            "TEST_DB=postgres or TEST_DB=mariadb"
        )


def wait_for(condition, seconds=20.0):
    until = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < until, f"waited {seconds} s in vain"
        time.sleep(0.02)
    return answer


def named():
    """Return the connections that the only living scheduler's row names."""
    row = SchedulerProcess.objects.get(state="alive")
    return {number for number, _ in json.loads(row.backends)}


def there():
    """Return the numbers of all connections that the server has."""
    queries = {
        "postgresql": "SELECT pid FROM pg_stat_activity",
        "mysql": "SELECT id FROM information_schema.processlist",
    }
    with connection.cursor() as cursor:
        cursor.execute(queries[connection.vendor])
        return {number for (number,) in cursor.fetchall()}


def kill(number):
    queries = {
        "postgresql": "SELECT pg_terminate_backend(%s)",
        "mysql": "KILL CONNECTION %s",
    }
    with connection.cursor() as cursor:
        cursor.execute(queries[connection.vendor], [number])


def test_a_scheduler_names_the_connections_it_has(running):
    store = running()
    add(make_store(), trigger=once(), next_run_time=real_now())
    finish(store, *store.claim_due({"default": 1}).runs)
    # To claim, to settle, for signs of life, and to watch.
    wait_for(lambda: len(named()) == 4)
    own = {store.claiming.backend, store.settling.backend, store.beating.backend}
    assert own < named() <= there()
    assert connection.connection is not None, "the test's own is not among them"
    # One breaks and is replaced.
    broken = store.claiming.backend
    kill(broken)
    with pytest.raises(DatabaseError):
        store.claim_due({"default": 1})
    store.claim_due({"default": 1})
    wait_for(lambda: store.claiming.backend in named() and broken not in named())
    assert len(named()) == 4


def test_another_identity_names_them_anew(running):
    running()
    before = wait_for(named)
    SchedulerProcess.objects.update(state="dead")
    wait_for(lambda: SchedulerProcess.objects.filter(state="alive").exists())
    wait_for(lambda: before & named())


@pytest.fixture
def foreign():
    """A connection as the engine's own, of a scheduler that is no more."""
    own = PrivateConnection("default")
    with own as wrapper:
        wrapper.ensure_connection()
    yield own
    own.close()


def known_as(own):
    with own as wrapper:
        return statements(wrapper).backends([own.backend])


def dead(*connections):
    return SchedulerProcess.objects.create(
        host="gone", pid=1, state="alive", started_time=real_now(),
        lease_until=moment(None), backends=json.dumps(connections),
    )  # fmt: skip


def test_the_connections_of_a_dead_scheduler_are_ended(foreign, caplog):
    (known,) = known_as(foreign)
    dead(known)
    store = make_store()
    wait_for(lambda: orphans.expired(store, None).exists())
    orphans.sweep(store)
    wait_for(lambda: foreign.backend not in there())
    assert "has been ended" in caplog.text


def test_a_number_that_is_used_again_is_left_alone(foreign):
    ((number, since),) = known_as(foreign)
    process = dead((number, since - 1_000_000), (2**31 - 1, since))
    backends.end(make_store(), process)
    assert number in there()
    with foreign as wrapper, wrapper.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)


def test_a_number_that_is_not_an_engines_connection_is_not_named():
    with connection.cursor() as cursor:
        ids = {"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT 2147483647"}
        cursor.execute(ids[connection.vendor])
        (number,) = cursor.fetchone()
    # The number a pooler gives may be that of anybody on the server.
    with PrivateConnection("default") as wrapper:
        assert statements(wrapper).backends([number]) == []
        wrapper.close()


def test_without_the_right_to_end_connections_the_sweep_goes_on(
    foreign, caplog, monkeypatch
):
    (known,) = known_as(foreign)
    process = dead(known)

    def refuse(self, number, since):
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT no_such_right()")

    monkeypatch.setattr(type(statements(connection)), "end_backend", refuse)
    store = make_store()
    wait_for(lambda: orphans.expired(store, None).exists())
    orphans.sweep(store)
    process.refresh_from_db()
    assert process.state == "dead"
    assert "could not be ended" in caplog.text


def test_a_scheduler_frozen_in_the_middle_of_a_claim_holds_nobody_up(foreign):
    """Its row is locked by its own transaction, and so is the job it was claiming."""
    store = make_store()
    add(store, trigger=once(), next_run_time=real_now())
    (known,) = known_as(foreign)
    frozen = dead(known)
    SchedulerProcess.objects.update(lease_until=moment(None, timedelta(seconds=1)))
    locked, ended, outcome = threading.Event(), threading.Event(), []

    def claim():
        # Without the time-outs by which the server would help itself.
        try:
            with foreign, transaction.atomic():
                SchedulerProcess.objects.filter(pk=frozen.pk).update(tick_time=None)
                list(store.locked(DjangoJob.objects.filter(id="job")))
                locked.set()
                ended.wait(30)
                DjangoJob.objects.update(name="mine")
        except DatabaseError as error:
            outcome.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=claim)
    thread.start()
    try:
        assert locked.wait(20)
        assert store.claim_due({"default": 1}).runs == []

        def rescued():
            return store.claim_due({"default": 1}).runs

        (run,) = wait_for(rescued)
        orphans.sweep(store)
        assert SchedulerProcess.objects.get(pk=frozen.pk).state == "dead"
    finally:
        ended.set()
        thread.join()
    assert len(outcome) == 1
    assert len(finish(store, run)) == 1
    assert row().name != "mine"
