"""How a store goes by the database's clock without asking for it all the time."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from django_apscheduler import clock
from django_apscheduler.jobstores.django import DjangoJobStore
from tests.jobstores.django.support import NOON, Owner, add, once, real_now

SECOND = timedelta(seconds=1)
MILLISECOND = timedelta(milliseconds=1)


def test_of_several_answers_the_quickest_tells_the_databases_clock():
    store = DjangoJobStore()
    with clock.use(clock.ManualClock(NOON)) as manual:
        for lag in (5, 2, 9):
            store.compare_clocks(NOON + SECOND - lag * MILLISECOND)
        assert store.estimate() == NOON + SECOND - 2 * MILLISECOND
        manual.advance(61)
        store.compare_clocks(clock.now() + SECOND - 4 * MILLISECOND)
        assert store.estimate() == clock.now() + SECOND - 4 * MILLISECOND


@pytest.mark.parametrize("seconds", [-3600, -1, 1, 3600])
def test_a_clock_that_was_set_is_followed_at_once(seconds):
    store = DjangoJobStore()
    with clock.use(clock.ManualClock(NOON)) as manual:
        store.compare_clocks(NOON)
        manual.set(NOON + seconds * SECOND)
        store.compare_clocks(NOON)
        assert store.estimate() == NOON


@pytest.mark.django_db(transaction=True)
def test_the_time_a_claim_takes_does_not_delay_the_next_one(monkeypatch):
    store = DjangoJobStore()
    store.start(Owner(), "default", run=True)
    try:
        add(store, trigger=once(), next_run_time=real_now())
        note = store.membership.note_unresolved
        monkeypatch.setattr(
            store.membership,
            "note_unresolved",
            # A slow database; no clock to move, since it is the database's that counts.
            lambda job_ids: (time.sleep(0.3), note(job_ids)),
        )
        before = real_now()
        batch = store.claim_due({"default": 1})
        assert len(batch.runs) == 1
        assert batch.now >= before + timedelta(seconds=0.29)
    finally:
        store.shutdown()


@pytest.mark.django_db(transaction=True)
def test_what_is_due_by_the_estimate_alone_is_looked_for_in_a_moment(monkeypatch):
    """Otherwise it would wait as long as a job that nobody here may run."""
    store = DjangoJobStore()
    store.start(Owner(), "default", run=True)
    try:
        due = real_now() + 60 * SECOND
        add(store, trigger=once(due), next_run_time=due)
        monkeypatch.setattr(store, "estimate", lambda: due + SECOND)
        batch = store.claim_due({"default": 1})
        assert batch.runs == []
        assert due - 20 * MILLISECOND <= batch.next_run_time <= due
        assert timedelta(0) < batch.next_run_time - batch.now <= MILLISECOND
    finally:
        store.shutdown()
