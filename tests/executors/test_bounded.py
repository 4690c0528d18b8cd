"""Runs that wait for others to end: which worker takes them, and that none is lost."""

import threading
from functools import partial

import pytest

from django_apscheduler import clock
from django_apscheduler.executors.asyncio import AsyncIOExecutor
from django_apscheduler.jobstores.base import Run
from tests.executors.test_executors import NOON, Recorder, job, made_of


def asyncio_executor(max_workers=1):
    return started(AsyncIOExecutor(max_workers))


def gevent_executor():
    return started(made_of("gevent", "GeventExecutor", 1)())


def started(executor):
    executor.start(Recorder(), "bounded")
    return executor


@pytest.fixture(params=[asyncio_executor, gevent_executor])
def executor(request):
    executor = request.param()
    yield executor
    executor.shutdown()


@pytest.fixture
def of_greenlets():
    executor = gevent_executor()
    yield executor
    executor.shutdown()


class Bodies:
    """Bodies that wait for a gate, and then note in which greenlet they are."""

    def __init__(self):
        self.greenlets = []
        self.gate = threading.Event()

    def plain(self):
        self.gate.wait(30)

    def noting(self, then=lambda: None):
        import gevent

        # It holds up the others, which are to wait.
        self.gate.wait(30)
        # Kept, so that none can have the address of another.
        self.greenlets.append(gevent.getcurrent())
        then()


def accept(executor, func, *args):
    run = Run(job(func, *args), "default", [NOON])
    executor.accept(run)
    return run


def statuses(executor):
    return [o.status for told in executor._scheduler.outcomes for o in told]


def test_a_worker_takes_what_waits_for_the_end_of_its_run(of_greenlets, monkeypatch):
    monkeypatch.setattr(of_greenlets, "turn_seconds", 3600)
    bodies = Bodies()
    for _ in range(5):
        accept(of_greenlets, bodies.noting)
    bodies.gate.set()
    assert of_greenlets.wait_until_idle(30)
    assert statuses(of_greenlets) == ["Executed"] * 5
    assert len(set(map(id, bodies.greenlets))) == 1


def test_a_worker_whose_turn_is_over_lets_others_have_theirs(of_greenlets):
    bodies = Bodies()
    with clock.use(clock.ManualClock(NOON)) as moved:
        for _ in range(3):
            accept(of_greenlets, bodies.noting, partial(moved.advance, 1))
        bodies.gate.set()
        assert of_greenlets.wait_until_idle(30)
    assert statuses(of_greenlets) == ["Executed"] * 3
    assert len(set(map(id, bodies.greenlets))) == 3


def test_no_run_is_lost_where_the_end_of_another_cannot_be_told(executor, caplog):
    tell, refused = executor._scheduler.run_finished, []

    def refuse_first(run, outcomes):
        if not refused:
            refused.append(run)
            raise SystemExit("a listener's")
        tell(run, outcomes)

    executor._scheduler.run_finished = refuse_first
    bodies = Bodies()
    first, *others = [accept(executor, bodies.plain) for _ in range(3)]
    bodies.gate.set()
    assert executor.wait_until_idle(30)
    assert refused == [first]
    assert [told[0].run for told in executor._scheduler.outcomes] == others
    assert "Job job: its outcome was not told" in caplog.text


def test_what_waits_can_be_taken_back(executor):
    begun, gate = threading.Event(), threading.Event()

    def body():
        begun.set()
        gate.wait(30)

    first, *waiting = [accept(executor, body) for _ in range(3)]
    assert begun.wait(30)
    assert executor.take_back() == waiting
    gate.set()
    assert executor.wait_until_idle(30)
    assert [told[0].run for told in executor._scheduler.outcomes] == [first]


def test_a_run_that_no_thread_takes_has_failed_and_is_not_taken_back():
    executor = asyncio_executor()
    executor._threads.shutdown()
    accept(executor, Bodies().plain)
    assert statuses(executor) == ["Error!"]
    assert executor.take_back() == []
    executor.shutdown()


def test_a_body_may_submit_another_and_wait_for_it():
    executor = asyncio_executor(2)
    bodies, done = Bodies(), threading.Event()
    bodies.gate.set()

    def outer():
        accept(executor, done.set)
        assert done.wait(30)

    # Its threads have taken what waited before.
    for _ in range(20):
        accept(executor, bodies.plain)
    assert executor.wait_until_idle(30)
    accept(executor, outer)
    assert executor.wait_until_idle(30)
    executor.shutdown()
    assert statuses(executor) == ["Executed"] * 22
