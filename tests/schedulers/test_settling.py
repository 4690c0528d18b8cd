"""The settler: natural batches, starts, outages, and what cannot be written."""

import threading
from datetime import datetime, timezone

import pytest

from django_apscheduler.jobstores.base import Outcome, Run
from django_apscheduler.jobstores.memory import MemoryJobStore
from django_apscheduler.schedulers import settling
from django_apscheduler.schedulers.settling import Settler
from tests.jobstores.test_contract import make

NOON = datetime(2026, 6, 1, 12, 0, tzinfo=timezone.utc)


class LoggingStore(MemoryJobStore):
    """A store that writes down what it is asked to write, when the gate is open."""

    def __init__(self):
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.batches = []
        self.started = []
        self.forgotten = []
        self.failures = 0
        self.poison = self.refused = None
        self.takes_writes = True
        self.answers = True

    def settle(self, outcomes):
        self.entered.release()
        self.gate.wait(10)
        if self.failures:
            self.failures -= 1
            raise OSError("database is gone")
        if self.poison in outcomes:
            raise ValueError("value too long")
        if any(outcome.run is self.refused for outcome in outcomes):
            raise ValueError("constraint violated")
        self.batches.append(outcomes)
        return outcomes

    def forget(self, run):
        self.forgotten.append(run)

    def confirm_starts(self, runs):
        self.started += runs
        return [run for run in runs if run.attempt != 99]

    def get_next_run_time(self):
        if not self.answers:
            raise OSError("database is gone")

    def can_write(self):
        return self.takes_writes and super().can_write()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(settling, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(settling, "LONGEST_PAUSE", 0.002)


@pytest.fixture
def store():
    return LoggingStore()


@pytest.fixture
def settler(store):
    told = []
    settler = Settler(store, "default", told.extend)
    settler.told = told
    settler.start()
    yield settler
    if settler._thread.is_alive():
        settler.stop()


def outcome(**extra):
    run = Run(make("a"), "default", [NOON], execution_ids=[1], **extra)
    return Outcome(run, 0, "Executed")


def until(condition):
    """Wait until ``condition()`` holds: the settler works on a thread of its own."""
    for _ in range(2000):
        if condition():
            return
        threading.Event().wait(0.005)
    raise AssertionError("waited 10 s in vain")


def finish(settler, item):
    settler.finished(item.run, [item])


def test_what_gathers_during_one_write_is_the_next_batch(settler, store):
    store.gate.clear()
    items = [outcome() for _ in range(6)]
    finish(settler, items[0])
    assert store.entered.acquire(timeout=10)
    for item in items[1:]:
        finish(settler, item)
    assert settler.backlog == 5
    store.gate.set()
    settler.stop()
    assert store.batches == [items[:1], items[1:]]
    assert settler.told == items


def test_stopping_writes_what_is_left(settler, store):
    items = [outcome() for _ in range(3)]
    for item in items:
        finish(settler, item)
    settler.stop()
    assert [item for batch in store.batches for item in batch] == items


def test_a_body_that_goes_on_is_written_as_started_and_a_short_one_is_not(
    settler, store, monkeypatch
):
    monkeypatch.setattr(settling, "START_SECONDS", 0.005)
    slow, short = outcome(), outcome()
    settler.began(short.run)
    finish(settler, short)
    settler.began(slow.run)
    for _ in range(1000):
        if store.started:
            break
        threading.Event().wait(0.005)
    finish(settler, slow)
    settler.stop()
    assert store.started == [slow.run]


@pytest.mark.parametrize(("attempt", "ours"), [(2, True), (99, False)])
def test_a_start_that_must_be_confirmed_is_written_before_the_body(
    settler, store, attempt, ours
):
    run = outcome(confirm_start=True, attempt=attempt).run
    assert settler.began(run) is ours
    assert store.started == [run]


def test_a_body_of_a_run_that_may_be_somebody_elses_does_not_begin(settler, store):
    run = outcome().run
    store.may_start = lambda asked: asked is not run
    assert settler.began(run) is False
    assert settler.began(outcome().run) is True


def test_outcomes_are_kept_through_an_outage(settler, store):
    store.failures, store.answers = 40, False
    items = [outcome() for _ in range(3)]
    for item in items:
        finish(settler, item)
    settler.stop()
    assert sorted(map(id, settler.told)) == sorted(map(id, items))


def test_one_outcome_that_the_database_refuses_does_not_hold_up_others(settler, store):
    store.gate.clear()
    first, bad, good = outcome(), outcome(), outcome()
    store.poison = bad
    finish(settler, first)
    assert store.entered.acquire(timeout=10)
    finish(settler, bad)
    finish(settler, good)
    store.gate.set()
    settler.stop()
    assert settler.told == [first, bad, good]
    assert store.forgotten == []
    assert store.batches[1][0].status == "Executed"


def test_an_outcome_whose_texts_are_refused_is_written_without_them(settler, store):
    failed = outcome()
    failed.status, failed.exception = "Error!", ValueError("\u2603")
    failed.traceback = "Traceback: \u2603"
    store.poison = failed
    finish(settler, failed)
    settler.stop()
    ((written,),) = store.batches
    assert (written.run, written.status, written.traceback) == (
        failed.run,
        "Error!",
        "",
    )
    assert str(written.exception) == "ValueError, whose text could not be stored"
    # Listeners are told of the exception itself.
    assert settler.told == [failed]


def test_an_outcome_that_is_refused_altogether_is_tried_again_beside_others(
    settler, store, monkeypatch
):
    monkeypatch.setattr(settling, "REFUSED_SECONDS", 0.01)
    bad, good = outcome(), outcome()
    store.refused = bad.run
    finish(settler, bad)
    finish(settler, good)
    until(lambda: settler.told == [good])
    assert store.forgotten == []
    store.refused = None
    until(lambda: settler.told == [good, bad])


def test_an_outcome_that_is_refused_to_the_end_counts_as_lost_and_is_told_so(
    settler, store, caplog
):
    bad = outcome()
    store.refused = bad.run
    finish(settler, bad)
    settler.stop()
    assert settler.told == []
    assert store.forgotten == [bad.run]
    assert "its run counts as lost" in caplog.text


def test_a_database_that_takes_no_writes_at_all_is_an_outage(settler, store):
    store.failures, store.takes_writes = 20, False
    item = outcome()
    finish(settler, item)
    until(lambda: settler.told == [item])
    assert store.batches == [[item]]


def test_a_start_that_cannot_be_written_leaves_the_running_body_known(
    settler, store, monkeypatch
):
    monkeypatch.setattr(settling, "START_SECONDS", 0.001)
    tried = []
    store.confirm_starts = lambda runs: tried.append(runs) or [][1]
    run = outcome().run
    settler.began(run)
    until(lambda: len(tried) >= 3)
    settler.stop()
    assert store.forgotten == []


def test_a_body_does_not_begin_while_nobody_can_say_whose_run_it_is(settler, store):
    def may_start(run):
        raise OSError("database is gone")

    store.may_start = may_start
    run = outcome().run
    assert settler.began(run) is False
    assert store.forgotten == [run]


def test_a_start_confirmed_too_late_does_not_begin(settler, store):
    store.may_start = lambda run: False
    run = outcome(confirm_start=True).run
    assert settler.began(run) is False
    assert store.started == [run]


def test_a_store_that_is_gone_for_good_does_not_keep_a_process_from_ending(
    settler, store, monkeypatch
):
    monkeypatch.setattr(settling, "LAST_ATTEMPTS_SECONDS", 0.05)
    store.failures, store.answers = 10**9, False
    finish(settler, outcome())
    settler.stop()
    assert settler.told == []


def test_outcomes_are_given_up_together_when_time_is_out(settler, store, monkeypatch):
    monkeypatch.setattr(settling, "LAST_ATTEMPTS_SECONDS", 0.05)
    tried = []

    def settle(outcomes):
        tried.append(list(outcomes))
        raise OSError("database is gone")

    store.settle, store.answers = settle, False
    items = [outcome() for _ in range(9)]
    settler.finished(items[0].run, items)
    settler.stop()
    # All together, then the first alone until time was out; the others not once.
    assert {len(batch) for batch in tried} == {9, 1}
    assert [batch for batch in tried if batch[0] is not items[0]] == []
    assert store.forgotten == [item.run for item in items]
    assert settler.told == []
