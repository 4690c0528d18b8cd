"""What the Twisted executor runs on the reactor, and what in its pool."""

import subprocess
import sys
import threading

import pytest

from tests.executors import bodies
from tests.executors.test_executors import EXECUTORS, Recorder, run
from tests.schedulers.hosts import host_of


@pytest.fixture
def host():
    return host_of("twisted")


@pytest.fixture
def executor(host):
    executor = EXECUTORS["twisted"]()
    executor.start(Recorder(), "twisted")
    yield executor
    executor.shutdown()


@pytest.fixture
def reactor_bodies(host):
    from tests.executors import reactor_bodies

    return reactor_bodies


def test_coroutines_and_inline_callbacks_run_on_the_reactor(
    host, executor, reactor_bodies
):
    reactor_thread = host.call(threading.get_ident)
    assert run(executor, reactor_bodies.where_awaiting)[0].retval == reactor_thread
    assert run(executor, reactor_bodies.where_yielding)[0].retval == reactor_thread
    assert run(executor, reactor_bodies.where)[0].retval != reactor_thread


def test_a_deferred_that_a_body_returns_is_waited_for(executor, reactor_bodies):
    assert run(executor, reactor_bodies.return_deferred)[0].retval == "fired"
    for body in (reactor_bodies.return_failing_deferred, reactor_bodies.await_failure):
        (outcome,) = run(executor, body)
        assert repr(outcome.exception) == "ZeroDivisionError('division by zero')"


def test_what_only_asyncio_can_wait_for_says_what_to_do(executor, reactor_bodies):
    (outcome,) = run(executor, reactor_bodies.await_asyncio)
    assert "install twisted.internet.asyncioreactor" in str(outcome.exception)
    assert "thread pool executor" in str(outcome.exception)


def test_slots_are_the_threads_of_the_reactors_pool(host, executor):
    from django_apscheduler.executors.twisted import TwistedExecutor

    by_default = TwistedExecutor()
    by_default.start(Recorder(), "x")
    assert by_default.max_workers == host.reactor.getThreadPool().max
    assert by_default.free_slots() == by_default.max_workers
    by_default.shutdown()
    assert executor.max_workers == 2
    with pytest.raises(ValueError, match="max_workers must be a whole number"):
        TwistedExecutor(0)


def test_runs_that_wait_for_a_thread_can_be_taken_back(host, executor):
    release = threading.Event()
    pool = host.reactor.getThreadPool()
    for _ in range(pool.max):
        pool.callInThread(release.wait)
    from django_apscheduler.jobstores.base import Run
    from tests.executors.test_executors import NOON, job

    waiting = Run(job(bodies.add, 1), "default", [NOON])
    executor.accept(waiting)
    assert executor.take_back() == [waiting]
    assert executor.runs == []
    release.set()


ON_ASYNCIO = """
from twisted.internet import asyncioreactor
asyncioreactor.install()
from twisted.internet import reactor
from django_apscheduler.schedulers.twisted import TwistedScheduler
from tests.executors import reactor_bodies

told = []

def listen(event):
    told.append(event.retval if event.exception is None else repr(event.exception))
    if len(told) == 3:
        reactor.callFromThread(reactor.stop)

scheduler = TwistedScheduler(timezone="UTC")
from django_apscheduler import events
scheduler.add_listener(listen, events.EVENT_JOB_EXECUTED | events.EVENT_JOB_ERROR)
for name in ("await_both", "await_asyncio", "return_deferred"):
    scheduler.add_job(getattr(reactor_bodies, name))
scheduler.start()
reactor.callLater(30, reactor.stop)
reactor.run()
print(sorted(told))
"""


def test_on_the_reactor_of_asyncio_bodies_await_either(host):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ON_ASYNCIO],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == (
        "['fired', 'slept', 'slept, fired and failed']\n",
        "",
    )
