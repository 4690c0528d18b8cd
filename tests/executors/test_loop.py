"""Executors on an event loop: whose turn it is, and what happens to those that wait."""

import asyncio
import threading

import pytest

from django_apscheduler.executors.asyncio import AsyncIOExecutor
from django_apscheduler.jobstores.base import Run
from tests.executors.test_executors import NOON, Recorder, job


@pytest.fixture
def executor():
    executor = AsyncIOExecutor(2)
    executor.start(Recorder(), "loop")
    yield executor
    executor.shutdown()


class Bodies:
    """Bodies of both kinds that wait, and count how many of them are under way."""

    def __init__(self):
        self.lock = threading.Lock()
        self.begun = threading.Semaphore(0)
        self.gate = threading.Event()
        self.now = self.most = 0

    def enter(self):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self.begun.release()

    def leave(self):
        with self.lock:
            self.now -= 1

    def plain(self):
        self.enter()
        self.gate.wait(30)
        self.leave()

    async def coroutine(self):
        self.enter()
        try:
            while not self.gate.is_set():
                await asyncio.sleep(0.001)
        finally:
            self.leave()


def accept(executor, func):
    run = Run(job(func), "default", [NOON])
    executor.accept(run)
    return run


def test_coroutines_and_plain_functions_share_the_workers(executor):
    bodies = Bodies()
    for number in range(8):
        accept(executor, bodies.coroutine if number % 2 else bodies.plain)
    for _ in range(2):
        assert bodies.begun.acquire(timeout=30)
    assert not bodies.begun.acquire(timeout=0.05)
    bodies.gate.set()
    assert executor.wait_until_idle(30)
    outcomes = [o for told in executor._scheduler.outcomes for o in told]
    assert [o.status for o in outcomes] == ["Executed"] * 8
    assert bodies.most == 2


def test_what_waits_for_its_turn_can_be_taken_back(executor):
    bodies = Bodies()
    runs = [accept(executor, bodies.coroutine) for _ in range(4)]
    for _ in range(2):
        assert bodies.begun.acquire(timeout=30)
    assert executor.take_back() == runs[2:]
    assert sorted(map(id, executor.runs)) == sorted(map(id, runs[:2]))
    bodies.gate.set()
    assert executor.wait_until_idle(30)
    # There is room again for as many.
    again = [accept(executor, bodies.plain) for _ in range(2)]
    assert executor.wait_until_idle(30)
    assert {told[0].run for told in executor._scheduler.outcomes} == {
        *runs[:2],
        *again,
    }


def test_what_waits_for_its_turn_fails_when_the_loop_is_left():
    executor = AsyncIOExecutor(1)
    executor.start(Recorder(), "loop")
    bodies = Bodies()
    first, second = (accept(executor, bodies.coroutine) for _ in range(2))
    assert bodies.begun.acquire(timeout=30)
    executor.shutdown(wait=False)
    assert executor.wait_until_idle(30)
    ended = {o.run: o for told in executor._scheduler.outcomes for o in told}
    assert isinstance(ended[first].exception, asyncio.CancelledError)
    assert str(ended[second].exception) == (
        "the scheduler was shut down before the body began"
    )


def test_fast_runs_are_claimed_ahead_and_slow_ones_are_not(executor):
    async def nothing():
        pass

    assert executor.free_slots() == 2
    for _ in range(200):
        accept(executor, nothing)
    assert executor.wait_until_idle(30)
    assert executor.free_slots() > 50
    bodies = Bodies()
    slow = AsyncIOExecutor(2)
    slow.start(Recorder(), "slow")
    accept(slow, bodies.coroutine)
    assert slow.free_slots() == 1
    bodies.gate.set()
    slow.shutdown()
