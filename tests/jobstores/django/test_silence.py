"""A database that falls silent, or was away: what a scheduler does by itself."""

from __future__ import annotations

import logging
import threading
import time
from datetime import timedelta

import pytest
from django.db import (
    DatabaseError,
    InterfaceError,
    OperationalError,
    connection,
    connections,
)

from django_apscheduler import db
from django_apscheduler.db import PrivateConnection, moment
from django_apscheduler.jobstores.django import (
    DjangoJobStore,
    guard,
    listening,
    wakeup,
)
from django_apscheduler.jobstores.django.membership import Membership
from django_apscheduler.models import SchedulerProcess
from tests.chaos.ledger import wait_for
from tests.chaos.proxy import Proxy
from tests.jobstores.django.support import (
    Owner,
    add,
    make_job,
    make_store,
    once,
    real_now,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

needs_network = pytest.mark.skipif(
    connection.vendor == "sqlite",
    reason="a file has no network; TEST_DB=postgres or mariadb has one",
)


@pytest.fixture
def proxy(monkeypatch):
    """A network between the stores' own connections and the server."""
    monkeypatch.setattr(db, "SILENT_SECONDS", 1)
    monkeypatch.setattr(wakeup, "SILENT_SECONDS", 1)
    monkeypatch.setattr(guard, "GUARD_SECONDS", 0.1)
    monkeypatch.setattr(listening, "CHECK_SECONDS", 1)
    for vendor in ("postgresql", "mysql"):
        options = dict.fromkeys(db.SILENCE_OPTIONS[vendor], 1)
        # The shortest time limit that libpq takes.
        options["connect_timeout"] = 2
        monkeypatch.setitem(db.SILENCE_OPTIONS, vendor, options)
    with Proxy.before(connection) as proxy:
        # The dictionary that connections of new threads are made from as well.
        settings = connections.settings["default"]
        for name, value in proxy.database.items():
            monkeypatch.setitem(settings, name, value)
        connection.close()
        yield proxy
    connection.close()


@needs_network
def test_a_silent_server_holds_nobody_for_ever(proxy, running, caplog):
    caplog.set_level(logging.INFO, "django_apscheduler")
    store = running(lease=60, heartbeat=0.2)
    add(make_store(), trigger=once(), next_run_time=real_now())
    connection.close()
    wait_for(lambda: proxy.connections >= 2)
    proxy.hole()
    began = time.monotonic()
    with pytest.raises(DatabaseError):
        store.claim_due({"default": 1})
    # One patience for the connection, or one time limit for opening another.
    assert time.monotonic() - began < 4
    wait_for(lambda: "The heartbeat failed" in caplog.text)
    wait_for(lambda: "Watching default for edits fails" in caplog.text)
    proxy.heal()
    wait_for(lambda: "The heartbeat works again" in caplog.text)
    wait_for(lambda: "Watching default works again" in caplog.text)
    assert len(store.claim_due({"default": 1}).runs) == 1
    wakes = store._scheduler.wakes
    make_store(poll=30).add_job(make_job("other"))
    wait_for(lambda: store._scheduler.wakes > wakes)


@needs_network
def test_a_statement_that_takes_its_time_is_not_taken_for_silence(proxy):
    sleep = {"postgresql": "SELECT pg_sleep(%s)", "mysql": "SELECT SLEEP(%s)"}
    own = PrivateConnection("default", patience=1)
    watch = guard.Guard("test", (own,))
    watch.start()
    try:
        with own as wrapper, wrapper.cursor() as cursor:
            # Longer than the patience, but with signs of life in between.
            for _ in range(4):
                cursor.execute(sleep[connection.vendor], [0.4])
                assert cursor.fetchone() is not None
            assert not own.overdue
    finally:
        watch.stop()
        own.close()


def test_after_an_outage_others_get_the_time_to_say_that_they_live(
    running, monkeypatch, caplog
):
    caplog.set_level(logging.INFO, "django_apscheduler")
    store = running(lease=2, heartbeat=0.2)
    renew = store.membership.renew
    outage = OperationalError("the database is away")

    def fail(*args, **kwargs):
        raise outage

    monkeypatch.setattr(store.membership, "renew", fail)
    others = [
        SchedulerProcess.objects.create(
            host=name, state="alive", pid=1, executors="{}", tick_time=moment(None),
            started_time=moment(None), lease_until=moment(None, timedelta(seconds=-1)),
        )
        for name in ("slow", "dead")
    ]  # fmt: skip
    time.sleep(1.3)
    assert "The heartbeat failed" in caplog.text
    me = SchedulerProcess.objects.filter(host=store.name.partition(":")[0])
    monkeypatch.setattr(store.membership, "renew", renew)
    # With the second the first beat is over, and all that it does to others.
    for _ in range(2):
        before = me.get().lease_until
        wait_for(lambda before=before: me.get().lease_until > before)
    # Comes back a heartbeat later than this one, and finds itself alive.
    slow = SchedulerProcess.objects.filter(pk=others[0].pk, state="alive")
    assert slow.update(lease_until=moment(None, timedelta(minutes=1))) == 1
    dead = SchedulerProcess.objects.filter(pk=others[1].pk)
    wait_for(lambda: dead.get().state == "dead", 5)
    assert slow.exists()


def test_runs_claimed_just_before_the_database_went_away_are_handed_back(
    running, monkeypatch
):
    store = running()
    add(make_store(), trigger=once(), next_run_time=real_now())

    def fail():
        raise OperationalError("the database is away")

    monkeypatch.setattr(store, "still_ours", fail)
    with pytest.raises(OperationalError):
        store.claim_due({"default": 1})
    # Claimed, and known to nobody: what reconciliation looks for.
    assert len(store.here) == 0


def test_a_claim_that_was_refused_leaves_the_threads_own_connection_alone(running):
    # The heart does not notice first.
    store = running(lease=1000, heartbeat=400)
    add(make_store(), trigger=once(), next_run_time=real_now())
    SchedulerProcess.objects.update(state="dead")
    connection.close()
    assert store.claim_due({"default": 1}).runs == []
    # That one has no time limit, and the loop would wait with it for ever.
    assert connection.connection is None
    assert SchedulerProcess.objects.filter(state="alive").exists()


def test_a_start_that_fails_leaves_no_thread_behind(monkeypatch):
    def register(self, now=None):
        raise InterfaceError("connection already closed")

    before = set(threading.enumerate())
    with monkeypatch.context() as patch:
        patch.setattr(Membership, "register", register)
        store = DjangoJobStore()
        with pytest.raises(InterfaceError, match="already closed"):
            store.start(Owner(), "default", run=True)
    assert set(threading.enumerate()) == before
    assert (store.running, store.beating) == (False, None)
