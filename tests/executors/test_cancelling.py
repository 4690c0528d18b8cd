"""Cancelling: what waits never begins, and what runs ends if the executor can end it."""

import os
import signal
import threading
import time

import psutil
import pytest

from django_apscheduler.executors import children
from django_apscheduler.executors.asyncio import AsyncIOExecutor
from django_apscheduler.executors.base import RunCancelled
from django_apscheduler.executors.pool import ProcessPoolExecutor, ThreadPoolExecutor
from django_apscheduler.jobstores.base import Run
from tests.executors import bodies
from tests.executors.test_executors import EXECUTORS, NOON, Recorder, job
from tests.schedulers.hosts import host_of


def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        time.sleep(0.005)


@pytest.fixture
def start():
    """Start executors, and shut them down in the end."""
    started = []

    def start(executor):
        executor.start(Recorder(), "x")
        started.append(executor)
        return executor

    yield start
    for executor in started:
        executor.shutdown()


def submit(executor, func, *args, run_times=(NOON,)):
    run = Run(job(func, *args), "default", list(run_times))
    executor.accept(run)
    return run


def ends(executor):
    """Return the statuses by position of the last run, when all have ended."""
    assert executor.wait_until_idle(30)
    told = [o for outcomes in executor._scheduler.outcomes for o in outcomes]
    return {outcome.index: outcome.status for outcome in told}


def on_reactor():
    host_of("twisted")
    return EXECUTORS["twisted"]()


#: Bodies by name, for they need Twisted.
REACTOR_BODIES = "tests.executors.reactor_bodies:"
#: Executors that await coroutines of asyncio's on a loop.
ASYNC = ("asyncio", "tornado")

MAKE = {
    "threadpool": lambda: ThreadPoolExecutor(1),
    "processpool": lambda: ProcessPoolExecutor(1),
    "asyncio": AsyncIOExecutor,
    "tornado": EXECUTORS["tornado"],
    "twisted": on_reactor,
    "gevent": EXECUTORS["gevent"],
}


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("threadpool", bodies.work_until_cancelled),
        ("processpool", bodies.work_until_cancelled),
        ("asyncio", bodies.work_until_cancelled),
        ("asyncio", bodies.wait_until_cancelled),
        ("tornado", bodies.work_until_cancelled),
        ("tornado", bodies.wait_until_cancelled),
        ("twisted", bodies.work_until_cancelled),
        ("twisted", REACTOR_BODIES + "wait_on_reactor"),
        ("twisted", REACTOR_BODIES + "yield_on_reactor"),
        ("twisted", REACTOR_BODIES + "answer_later"),
        ("gevent", bodies.work_until_cancelled),
        ("gevent", bodies.wait_in_a_greenlet),
        ("processpool", bodies.rest),
        ("processpool", bodies.wait_until_cancelled),
    ],
)
def test_a_running_body_ends_and_its_run_is_cancelled(start, tmp_path, kind, body):
    executor = start(MAKE[kind]())
    path = tmp_path / "there"
    arguments = (600,) if body is bodies.rest else ()
    run = submit(executor, body, str(path), *arguments)
    until(path.exists)
    began = time.monotonic()
    executor.cancel(run, 0)
    assert ends(executor) == {0: "Cancelled"}
    assert time.monotonic() - began < children.KILL_SECONDS
    ((outcome,),) = executor._scheduler.outcomes
    assert (outcome.exception, outcome.traceback) == (None, "")
    assert outcome.started_time <= outcome.finished_time
    if body is not bodies.rest:
        assert (tmp_path / "there.end").exists(), "its finally blocks have run"
    # And the executor goes on.
    submit(executor, bodies.add, 1)
    assert executor.wait_until_idle(30)
    assert executor._scheduler.outcomes[-1][0].retval == 1


@pytest.mark.parametrize("kind", MAKE)
def test_a_body_that_returns_all_the_same_has_run(start, tmp_path, kind):
    executor = start(MAKE[kind]())
    run = submit(executor, bodies.go_on_all_the_same, str(tmp_path / "there"))
    until((tmp_path / "there").exists)
    executor.cancel(run, 0)
    assert ends(executor) == {0: "Executed"}
    assert executor._scheduler.outcomes[0][0].retval == "done"


@pytest.mark.parametrize("kind", MAKE)
def test_only_somebody_elses_wish_cancels_a_run(start, kind):
    executor = start(MAKE[kind]())
    submit(executor, bodies.cancel_oneself)
    assert ends(executor) == {0: "Error!"}
    assert isinstance(executor._scheduler.outcomes[0][0].exception, RunCancelled)


@pytest.mark.parametrize("kind", ["threadpool", "processpool"])
def test_a_run_that_waits_for_a_worker_is_cancelled_at_once(start, tmp_path, kind):
    executor = start(MAKE[kind]())
    busy = submit(executor, bodies.work_until_cancelled, str(tmp_path / "there"))
    waiting = submit(executor, bodies.appear, str(tmp_path / "never"))
    until((tmp_path / "there").exists)
    executor.cancel(waiting, 0)
    ((outcome,),) = executor._scheduler.outcomes
    assert (outcome.run, outcome.status, outcome.started_time) == (
        waiting,
        "Cancelled",
        None,
    )
    executor.cancel(busy, 0)
    assert executor.wait_until_idle(30)
    assert len(executor._scheduler.outcomes) == 3
    assert executor._scheduler.outcomes[2] == []
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("threadpool", bodies.work_until_cancelled),
        ("processpool", bodies.work_until_cancelled),
        ("asyncio", bodies.wait_until_cancelled),
        ("tornado", bodies.wait_until_cancelled),
        ("twisted", REACTOR_BODIES + "wait_on_reactor"),
        ("gevent", bodies.wait_in_a_greenlet),
    ],
)
def test_of_several_run_times_each_is_cancelled_by_itself(start, tmp_path, kind, body):
    executor = start(MAKE[kind]())
    path = tmp_path / "there"
    run = submit(executor, body, str(path), run_times=[NOON] * 3)
    until(path.exists)
    executor.cancel(run, 1)
    path.unlink()
    executor.cancel(run, 0)
    # The third begins.
    until(path.exists)
    executor.cancel(run, 2)
    assert ends(executor) == {0: "Cancelled", 1: "Cancelled", 2: "Cancelled"}
    told = [o for outcomes in executor._scheduler.outcomes for o in outcomes]
    assert [(o.index, o.started_time is None) for o in told] == [
        (1, True),
        (0, False),
        (2, False),
    ]


@pytest.mark.parametrize("kind", MAKE)
def test_cancelling_while_the_start_is_being_written_keeps_the_body_from_it(
    start, tmp_path, kind
):
    executor = start(MAKE[kind]())

    def cancel_first(run):
        executor.cancel(run, 0)
        return True

    executor._scheduler.run_begins = cancel_first
    body = bodies.wait_until_cancelled if kind in ASYNC else bodies.appear
    run = Run(job(body, str(tmp_path / "never")), "default", [NOON], [7])
    executor.accept(run)
    assert ends(executor) == {0: "Cancelled"}
    assert not (tmp_path / "never").exists()


def test_what_has_ended_cannot_be_cancelled_any_more(start):
    executor = start(ThreadPoolExecutor(1))
    run = submit(executor, bodies.add, 1)
    assert ends(executor) == {0: "Executed"}
    executor.cancel(run, 0)
    assert ends(executor) == {0: "Executed"}


# Processes.


def test_a_process_that_does_not_listen_is_killed_and_the_others_live(
    start, tmp_path, monkeypatch
):
    monkeypatch.setattr(children, "KILL_SECONDS", 0.2)
    executor = start(ProcessPoolExecutor(2))
    deaf = submit(executor, bodies.be_deaf, str(tmp_path / "deaf"))
    other = submit(executor, bodies.rest, str(tmp_path / "other"), 1.5)
    until(lambda: all((tmp_path / name).exists() for name in ("deaf", "other")))
    victim = psutil.Process(int((tmp_path / "deaf").read_text()))
    executor.cancel(deaf, 0)
    assert executor.wait_until_idle(30)
    outcomes = {o.run: o for (o,) in executor._scheduler.outcomes}
    assert outcomes[deaf].status == "Cancelled"
    assert outcomes[other].retval == int((tmp_path / "other").read_text())
    until(lambda: not victim.is_running())


def test_a_signal_to_all_processes_is_the_parents_to_answer(start, tmp_path):
    executor = start(ProcessPoolExecutor(1))
    submit(executor, bodies.rest, str(tmp_path / "there"), 0.3)
    until((tmp_path / "there").exists)
    pid = int((tmp_path / "there").read_text())
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGINT)
    assert ends(executor) == {0: "Executed"}
    assert executor._scheduler.outcomes[0][0].retval == pid


def test_processes_are_replaced_after_as_many_bodies_as_asked_for(start, tmp_path):
    executor = start(ProcessPoolExecutor(1, {"max_tasks_per_child": 2}))
    for _ in range(3):
        submit(executor, bodies.rest, str(tmp_path / "there"), 0)
        assert executor.wait_until_idle(30)
    first, second, third = (o.retval for (o,) in executor._scheduler.outcomes)
    assert first == second != third


def refuse_to_start():
    raise RuntimeError("no licence")


def test_a_process_that_cannot_start_says_why(start):
    executor = start(ProcessPoolExecutor(1, {"initializer": refuse_to_start}))
    submit(executor, bodies.add, 1)
    assert ends(executor) == {0: "Error!"}
    ((outcome,),) = executor._scheduler.outcomes
    assert "could not start" in str(outcome.exception)
    assert "no licence" in str(outcome.exception)


def test_unknown_options_of_a_process_pool_are_refused():
    with pytest.raises(TypeError, match="max_tasks_per_child; got colour"):
        ProcessPoolExecutor(1, {"colour": "red"})


# The lease, just before a body.


@pytest.mark.parametrize("kind", ["processpool", "asyncio", "gevent"])
def test_a_body_that_gets_its_turn_after_the_lease_asks_once_more(
    start, tmp_path, kind
):
    executor = start(MAKE[kind]())
    asked = []

    def begins(run):
        # The first time the lease runs out before the process, or the loop, gets to it.
        asked.append(run)
        run.start_before = float("-inf") if len(asked) == 1 else float("inf")
        return len(asked) < 3

    executor._scheduler.run_begins = begins
    body = bodies.add_later if kind in ASYNC else bodies.add
    executor.accept(Run(job(body, 1), "default", [NOON], [7]))
    assert ends(executor) == {0: "Executed"}
    assert len(asked) == 2
    executor._scheduler.run_begins = lambda run: (
        asked.append(run)
        or (setattr(run, "start_before", float("-inf")) or len(asked) < 4)
    )
    executor.accept(Run(job(body, 1), "default", [NOON], [8]))
    assert executor.wait_until_idle(30)
    assert executor._scheduler.outcomes[-1] == [], "it is another scheduler's by now"


def test_each_of_several_run_times_asks_before_it_begins(start):
    executor = start(ThreadPoolExecutor(1))
    asked = []
    executor._scheduler.run_begins = lambda run: (
        asked.append(run.index) or (run.index < 2)
    )
    executor.accept(Run(job(bodies.add, 1), "default", [NOON] * 4, [1, 2, 3, 4]))
    assert ends(executor) == {0: "Executed", 1: "Executed"}
    assert asked == [0, 1, 2]


def test_a_fault_on_the_way_to_a_body_costs_no_slot(start):
    executor = start(ThreadPoolExecutor(1))

    def begins(run):
        raise OSError("database is gone")

    executor._scheduler.run_begins = begins
    executor.accept(Run(job(bodies.add, 1), "default", [NOON], [1]))
    assert executor.wait_until_idle(10)
    assert executor.runs == []
    assert threading.active_count() >= 2
