"""Signals: each event of any scheduler reaches Django receivers, and hurts nobody."""

from __future__ import annotations

import logging
import threading

import pytest
from django.db import connection, transaction

from django_apscheduler import connections, events, signals
from django_apscheduler.schedulers.background import BackgroundScheduler


class Scheduler:
    """Stands for any scheduler class: signals carry it, and ask nothing of it."""


@pytest.fixture
def received():
    """Connect one receiver to every signal; a list of (signal, kwargs)."""
    calls: list = []

    def receiver(signal, **kwargs):
        calls.append((signal, kwargs))

    for signal in signals.SIGNALS.values():
        signal.connect(receiver)
    yield calls
    for signal in signals.SIGNALS.values():
        signal.disconnect(receiver)


def test_there_is_one_signal_for_each_event():
    assert {
        name: code
        for code, signal in signals.SIGNALS.items()
        for name, value in vars(signals).items()
        if value is signal
    } == {name.lower(): code for code, name in events.EVENT_NAMES.items()}


@pytest.mark.parametrize(
    ("event", "signal", "job_id"),
    [
        (
            events.JobExecutionEvent(events.EVENT_JOB_ERROR, "a", "default", None),
            "job_error",
            "a",
        ),
        (events.JobEvent(events.EVENT_JOB_ADDED, "b", "default"), "job_added", "b"),
        (
            events.JobSubmissionEvent(
                events.EVENT_JOB_MAX_INSTANCES, "c", "default", []
            ),
            "job_max_instances",
            "c",
        ),
        (
            events.SchedulerEvent(events.EVENT_SCHEDULER_STARTED),
            "scheduler_started",
            None,
        ),
        (
            events.SchedulerEvent(events.EVENT_ALL_JOBS_REMOVED),
            "all_jobs_removed",
            None,
        ),
    ],
)
def test_an_event_is_sent_with_its_class_job_and_scheduler(
    received, event, signal, job_id
):
    scheduler = Scheduler()
    events.send_to_hooks(scheduler, event)
    assert received == [
        (
            getattr(signals, signal),
            {
                "sender": Scheduler,
                "event": event,
                "job_id": job_id,
                "scheduler": scheduler,
            },
        )
    ]


def test_receivers_may_ask_for_one_class_of_scheduler():
    calls = []

    def receiver(**kwargs):
        calls.append(kwargs["sender"])

    signals.job_added.connect(receiver, sender=Scheduler)
    try:
        event = events.JobEvent(events.EVENT_JOB_ADDED, "a", "default")
        signals.send(Scheduler(), event)
        signals.send(object(), event)
    finally:
        signals.job_added.disconnect(receiver, sender=Scheduler)
    assert calls == [Scheduler]


def test_a_failing_receiver_is_logged_and_the_others_are_called(received, caplog):
    def failing(**kwargs):
        raise RuntimeError("the mail server is away")

    signals.job_error.connect(failing)
    try:
        with caplog.at_level(logging.ERROR):
            signals.send(
                Scheduler(),
                events.JobExecutionEvent(events.EVENT_JOB_ERROR, "a", "default", None),
            )
    finally:
        signals.job_error.disconnect(failing)
    assert [kwargs["job_id"] for _, kwargs in received] == ["a"]
    assert "the mail server is away" in caplog.text


def _send_with(receiver):
    signals.job_added.connect(receiver)
    try:
        signals.send(
            Scheduler(), events.JobEvent(events.EVENT_JOB_ADDED, "a", "default")
        )
    finally:
        signals.job_added.disconnect(receiver)


@pytest.mark.django_db(transaction=True)
class TestConnectionsOfReceivers:
    def test_a_connection_that_a_receiver_opened_is_closed_after_it(self):
        connection.close()

        def receiver(**kwargs):
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")

        _send_with(receiver)
        assert connection.connection is None

    def test_the_callers_own_connection_stays_open(self):
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        before = connection.connection
        connection.close_at = 0

        _send_with(lambda **kwargs: connection.ensure_connection())
        assert connection.connection is before

    def test_nothing_is_closed_inside_a_transaction(self):
        with transaction.atomic():
            before = connection.connection
            connection.close_at = 0
            _send_with(lambda **kwargs: None)
            assert connection.connection is before

    def test_a_persistent_connection_is_closed_once_it_has_outlived_its_age(self):
        connection.close()

        def receiver(**kwargs):
            connection.ensure_connection()
            connection.close_at = None

        _send_with(receiver)
        kept = connection.connection
        assert kept is not None
        _send_with(lambda **kwargs: None)
        assert connection.connection is kept
        connection.close_at = 0
        _send_with(lambda **kwargs: None)
        assert connection.connection is None

    def test_a_transaction_left_open_is_rolled_back_and_reported(self, caplog):
        connection.close()

        def receiver(**kwargs):
            transaction.atomic().__enter__()

        with caplog.at_level(logging.WARNING):
            _send_with(receiver)
        assert not connection.in_atomic_block
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            assert cursor.fetchone() == (1,)
        connections.connections["default"].close()
        assert "left a transaction open on the database 'default'" in caplog.text


class TestRealSchedulers:
    def test_a_users_own_scheduler_sends_signals_too(self):
        done = threading.Event()
        received = []

        def receiver(signal, sender, job_id, event, **kwargs):
            received.append((sender, job_id, event.retval))
            done.set()

        signals.job_executed.connect(receiver)
        scheduler = BackgroundScheduler()
        scheduler.start()
        try:
            scheduler.add_job(str, args=["x"], id="own")
            assert done.wait(30)
        finally:
            scheduler.shutdown()
            signals.job_executed.disconnect(receiver)
        assert received == [(BackgroundScheduler, "own", "x")]

    @pytest.mark.django_db(transaction=True)
    def test_an_edit_in_a_transaction_is_told_once_it_is_durable(self, received):
        from django_apscheduler import get_scheduler

        def told():
            return [(s, k["job_id"]) for s, k in received if k["job_id"] is not None]

        with transaction.atomic():
            get_scheduler().add_job(sorted, "interval", args=[[]], hours=1, id="kept")
            assert told() == []
        assert told() == [(signals.job_added, "kept")]
        with transaction.atomic():
            get_scheduler().add_job(sorted, "interval", args=[[]], hours=1, id="gone")
            transaction.set_rollback(True)
        assert told() == [(signals.job_added, "kept")]
