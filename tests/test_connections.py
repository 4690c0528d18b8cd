"""Connections of the threads that run bodies."""

from __future__ import annotations

import threading

import pytest
from django.db import OperationalError, connection, connections, transaction

from django_apscheduler.connections import clean
from django_apscheduler.events import EVENT_JOB_EXECUTED
from django_apscheduler.models import DjangoJob
from django_apscheduler.schedulers.background import BackgroundScheduler
from tests.chaos.ledger import wait_for

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def worker():
    """Run functions in one thread that lives on, as the workers of a pool do."""
    from concurrent.futures import ThreadPoolExecutor

    def run(func):
        def work():
            with clean():
                return func()

        return pool.submit(work).result(30)

    with ThreadPoolExecutor(1) as pool:
        run.look = lambda func: pool.submit(func).result(30)
        yield run
        pool.submit(connections.close_all).result(30)


def query():
    return DjangoJob.objects.count()


def ask(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def wrapper():
    return connections["default"]


def test_a_body_leaves_no_connection_behind(worker):
    assert worker(query) == 0
    assert worker.look(lambda: connection.connection) is None


def test_a_body_that_fails_leaves_none_either(worker):
    def fail():
        query()
        raise LookupError("no such currency")

    with pytest.raises(LookupError, match="no such currency"):
        worker(fail)
    assert worker.look(lambda: connection.connection) is None


def test_a_connection_to_be_kept_serves_the_next_body(worker, monkeypatch):
    monkeypatch.setitem(worker.look(wrapper).settings_dict, "CONN_MAX_AGE", None)
    worker(query)
    kept = worker.look(lambda: connection.connection)
    assert kept is not None
    worker(query)
    assert worker.look(lambda: connection.connection) is kept


@pytest.mark.skipif(
    connection.vendor == "sqlite",
    reason="SQLite has no server that could drop a connection",
)
def test_a_kept_connection_that_the_server_dropped_is_replaced(worker, monkeypatch):
    monkeypatch.setitem(worker.look(wrapper).settings_dict, "CONN_MAX_AGE", None)
    worker(query)
    mysql = connection.vendor == "mysql"
    own = "SELECT CONNECTION_ID()" if mysql else "SELECT pg_backend_pid()"
    end = "KILL CONNECTION %s" if mysql else "SELECT pg_terminate_backend(%s, 5000)"
    pid = worker.look(lambda: ask(own))
    with connection.cursor() as cursor:
        cursor.execute(end, [pid])
    with pytest.raises(OperationalError):
        worker(query)
    # The run that met it failed; the next one does not.
    assert worker(query) == 0


def test_a_body_inside_a_callers_transaction_leaves_it_open():
    with transaction.atomic():
        with clean():
            DjangoJob.objects.create(id="a")
        assert connection.in_atomic_block
        transaction.set_rollback(True)
    assert not DjangoJob.objects.exists()


def test_queries_are_not_remembered_for_ever(worker, settings):
    settings.DEBUG = True
    worker.look(wrapper).settings_dict["CONN_MAX_AGE"] = None
    try:
        worker(query)
        assert len(worker.look(lambda: connection.queries)) == 0
    finally:
        worker.look(wrapper).settings_dict["CONN_MAX_AGE"] = 0


def test_the_number_of_connections_stays_the_same_over_many_runs():
    opened = []
    done = threading.Semaphore(0)

    def body():
        query()
        opened.append(connections["default"])
        done.release()

    scheduler = BackgroundScheduler()
    scheduler.start()
    try:
        for _ in range(200):
            scheduler.add_job(body)
        for _ in range(200):
            assert done.acquire(timeout=30)
    finally:
        scheduler.shutdown()
    assert len(opened) == 200
    assert [wrapper for wrapper in opened if wrapper.connection is not None] == []


def test_a_listener_leaves_no_connection_behind():
    used = []

    def listener(event):
        query()
        used.append(connections["default"])

    scheduler = BackgroundScheduler()
    scheduler.add_listener(listener, EVENT_JOB_EXECUTED)
    scheduler.start()
    try:
        scheduler.add_job(query)
        wait_for(lambda: used)
        wait_for(lambda: used[0].connection is None)
    finally:
        scheduler.shutdown()
