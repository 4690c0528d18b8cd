"""Running schedulers keep house by themselves, whoever has started them."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from django_apscheduler import housekeeping, rollups
from django_apscheduler.jobstores.django import upkeep
from django_apscheduler.models import DjangoJobExecution
from tests.chaos.ledger import wait_for
from tests.jobstores.django.support import real_now

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(upkeep, "UPKEEP_SECONDS", 0.01)


def upkeeps():
    return [t for t in threading.enumerate() if "apscheduler-upkeep" in t.name]


def test_a_scheduler_deletes_what_is_not_kept(running, monkeypatch):
    # Before a row is deleted it is summed up, for which it has to be of age; and what
    # is not of age yet waits an hour.
    monkeypatch.setattr(rollups, "LAG", timedelta(0))
    monkeypatch.setattr(housekeeping, "CLEAR_EVERY", timedelta(0))
    for days in (1, 100):
        then = real_now() - timedelta(days=days)
        DjangoJobExecution.objects.create(
            job_id=None, job_name="gone", status="Executed", run_time=then,
            finished_time=then, fire_key=f"key-{days}",
        )  # fmt: skip
    running()
    log = DjangoJobExecution.objects
    wait_for(lambda: not log.filter(fire_key="key-100").exists())
    assert [row.fire_key for row in log.all()] == ["key-1"]


def test_it_ends_at_the_next_step_when_the_scheduler_stops(running, monkeypatch):
    told = []

    def work(using, retention):
        try:
            for number in range(1_000_000):
                told.append(number)
                yield number
        finally:
            told.append("closed")

    monkeypatch.setattr(housekeeping, "work", work)
    store = running()
    wait_for(lambda: len(told) > 2)
    store.shutdown()
    assert told[:3] == [0, 1, 2]
    assert told[-1] == "closed"
    assert upkeeps() == []


def test_a_failure_is_logged_and_it_is_tried_again(running, monkeypatch, caplog):
    calls = []

    def work(using, retention):
        calls.append(using)
        raise RuntimeError("the disk is full")
        yield

    monkeypatch.setattr(housekeeping, "work", work)
    running()
    wait_for(lambda: len(calls) > 2)
    assert "Housekeeping failed; it is tried again" in caplog.text
