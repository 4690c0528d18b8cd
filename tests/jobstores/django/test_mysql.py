"""What only MySQL and MariaDB do, or do in a way of their own."""

from __future__ import annotations

import copy
import time
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import DataError, connection, connections

from django_apscheduler.db import private_wrapper
from django_apscheduler.jobstores.django.records import Entry
from django_apscheduler.jobstores.django.sql import statements
from django_apscheduler.models import DjangoJob, DjangoJobExecution, SchedulerControl
from tests.jobstores.django.support import (
    MINUTE,
    NOON,
    UTC,
    add,
    make_store,
    once,
    real_now,
)

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        connection.vendor != "mysql", reason="about MySQL and MariaDB alone"
    ),
]


@pytest.fixture
def other():
    """A second connection with the settings of the engine's own."""
    wrapper = private_wrapper(connections["default"])
    yield wrapper
    wrapper.close()


def ask(wrapper, sql, *params):
    with wrapper.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall())


def entry(fire_key, **values):
    columns = {
        "job_id": "job", "job_name": "job", "status": "Claimed", "run_time": NOON,
        "last_run_time": None, "occurrences": 1, "nominal_time": NOON,
        "fire_key": fire_key, "claim_id": uuid4(), "executor": "default", **values,
    }  # fmt: skip
    return Entry(**columns)


def engines_own(options, **settings):
    """Return the engine's own connection where settings have these OPTIONS."""
    settings = {**copy.deepcopy(connection.settings_dict), **settings}
    settings["OPTIONS"] = options
    return private_wrapper(type(connections["default"])(settings, "default"))


def test_statements_of_the_engine_see_what_is_committed_whatever_settings_say():
    wrapper = engines_own(
        {
            "isolation_level": "repeatable read",
            "init_command": "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        },
        AUTOCOMMIT=False,
    )
    try:
        assert ask(wrapper, "SELECT @@tx_isolation, @@autocommit") == [
            ("READ-COMMITTED", 1)
        ]
    finally:
        wrapper.close()


def test_the_engine_speaks_all_of_unicode_by_itself():
    wrapper = engines_own({})
    try:
        assert ask(wrapper, "SELECT @@character_set_client, %s", "\N{PILE OF POO}") == [
            ("utf8mb4", "\N{PILE OF POO}")
        ]
    finally:
        wrapper.close()


def test_locks_are_bounded_and_that_is_told_once_for_a_connection(other):
    asked = []

    def note(execute, sql, *arguments):
        asked.append(sql)
        return execute(sql, *arguments)

    other.ensure_connection()
    with other.execute_wrapper(note):
        statements(other).limit_locks()
        statements(other).limit_locks()
        assert len(asked) == 1
        assert ask(
            other, "SELECT @@innodb_lock_wait_timeout, @@idle_transaction_timeout"
        ) == [(4, 5)]
        other.close()
        other.connect()
        statements(other).limit_locks()
    assert ask(other, "SELECT @@innodb_lock_wait_timeout") == [(4,)]


def test_an_occurrence_that_is_known_is_left_alone_and_nothing_else_is_forgiven():
    sql = statements(connection)
    known, new = entry("known"), entry("new")
    (first,) = sql.insert([known], 1, NOON).values()
    written = sql.insert([entry("known", note="again"), new], 2, NOON)
    assert list(written) == ["new"]
    kept = DjangoJobExecution.objects.get(fire_key="known")
    assert (kept.pk, kept.owner_id, kept.note) == (first, 1, "")
    with pytest.raises(DataError):
        sql.insert([entry("long", executor="x" * 101)], 1, NOON)
    assert DjangoJobExecution.objects.count() == 2


def test_a_claim_hides_no_job_from_others_but_those_it_takes(other):
    store = make_store()
    for number in range(20):
        # In the order of neither their ids nor their rows.
        due = NOON - MINUTE * (number * 7 % 20)
        add(store, f"job{number}", trigger=once(due), now=due)
    add(store, "paused", next_run_time=None)
    add(store, "elsewhere", executor="gpu")
    ids = "SELECT id FROM django_apscheduler_djangojob FOR UPDATE SKIP LOCKED"
    with store.transaction() as sql:
        taken = {row.id for row in sql.due("default", NOON, 5, ())}
        free = {id for (id,) in ask(other, ids)}
    assert taken == {"job17", "job14", "job11", "job8", "job5"}
    assert free == set(DjangoJob.objects.values_list("id", flat=True)) - taken


def test_an_edit_raises_the_number_that_schedulers_watch():
    SchedulerControl.objects.all().delete()
    store = make_store()
    for expected in (1, 2):
        add(store, f"job{expected}")
        assert SchedulerControl.objects.get().edit_sequence == expected
    store.remove_job("job1")
    assert SchedulerControl.objects.get().edit_sequence == 3


def test_an_edit_stands_although_nobody_could_be_told(monkeypatch, caplog):
    store = make_store()
    monkeypatch.setattr(
        "django_apscheduler.jobstores.django.mysql.MySQL._raise_sequence",
        lambda self: 1 / 0,
    )
    add(store)
    assert store.lookup_job("job") is not None
    assert "ZeroDivisionError" in caplog.text


def test_the_clock_is_utc_whatever_the_session_says(other):
    assert ask(other, "SELECT @@time_zone") != [("+00:00",)]
    for zone in ("+05:30", "-11:00"):
        ask_zone = f"SET SESSION time_zone = '{zone}'"
        with connections["default"].cursor() as cursor:
            cursor.execute(ask_zone)
        try:
            now = real_now()
            add(make_store(), zone, next_run_time=now)
            row = DjangoJob.objects.get(pk=zone)
        finally:
            with connections["default"].cursor() as cursor:
                cursor.execute("SET SESSION time_zone = DEFAULT")
        assert abs(now.timestamp() - time.time()) < 60
        assert now.tzinfo is UTC
        assert timedelta(0) <= row.created_time - now < MINUTE
        assert row.next_run_time == now


def test_long_texts_and_all_of_unicode_are_kept_whole():
    text = "Traceback \N{PILE OF POO} " * 10_000
    made = DjangoJobExecution.objects.create(
        job_id="job", status="Error!", run_time=NOON, traceback=text, note=text
    )
    made.refresh_from_db()
    assert (made.traceback, made.note) == (text, text)
