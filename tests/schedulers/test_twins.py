"""How programs of each framework call what may wait for a database."""

import asyncio
import subprocess
import sys
import threading

import pytest

from django_apscheduler.jobstores.base import JobLookupError
from django_apscheduler.jobstores.memory import MemoryJobStore
from django_apscheduler.schedulers import SCHEDULERS
from django_apscheduler.schedulers.asyncio import AsyncIOScheduler
from django_apscheduler.schedulers.background import BackgroundScheduler
from django_apscheduler.util import ref_to_obj
from tests.schedulers.hosts import host_of


class Waiting(MemoryJobStore):
    blocking = True


@pytest.fixture
def made():
    schedulers = []

    def make(kind):
        host = host_of(kind)
        cls = ref_to_obj(SCHEDULERS[kind])
        scheduler = cls(timezone="UTC", jobstores={"default": Waiting()})
        host.start(scheduler, paused=True)
        schedulers.append(scheduler)
        return host, scheduler

    yield make
    for scheduler in schedulers:
        scheduler.shutdown()


def test_inline_callbacks_yield_twins_and_coroutines_await_them(made):
    host, scheduler = made("twisted")
    from twisted.internet.defer import Deferred, inlineCallbacks

    @inlineCallbacks
    def yielding():
        job = yield scheduler.aadd_job(print, "interval", hours=1, id="a")
        try:
            yield scheduler.aremove_job("b")
        except JobLookupError as error:
            return job.id, str(error)

    assert host.await_(yielding) == ("a", "No job by the id of b was found")

    async def here():
        return [job.id for job in await scheduler.aget_jobs()], threading.get_ident()

    found = host.await_(lambda: Deferred.fromCoroutine(here()))
    assert found == (["a"], host.call(threading.get_ident))


@pytest.mark.parametrize("cls", [AsyncIOScheduler, BackgroundScheduler])
def test_twins_take_every_argument_by_its_name(cls):
    async def main():
        scheduler = cls(timezone="UTC")
        scheduler.start(paused=True)
        job = await scheduler.aadd_job(func=print, trigger="interval", hours=1, id="a")
        assert (job.id, job.func) == ("a", print)
        scheduler.shutdown()

    asyncio.run(main())


def test_on_qt_twins_call_functions_on_the_loop(made):
    host, scheduler = made("qt")
    told, both = [], threading.Semaphore(0)

    def note(value):
        told.append((value, threading.get_ident()))
        both.release()

    def act():
        scheduler.aget_jobs().then(note)
        scheduler.aremove_job("b").then(failed=note)

    host.call(act)
    assert both.acquire(timeout=20)
    assert both.acquire(timeout=20)
    assert {thread for _, thread in told} == {host.call(threading.get_ident)}
    assert sorted(repr(value) for value, _ in told) == [
        "JobLookupError('No job by the id of b was found')",
        "[]",
    ]


def test_on_qt_an_error_that_nobody_takes_is_logged(made, caplog):
    host, scheduler = made("qt")
    host.call(lambda: scheduler.aremove_job("b").then())
    for _ in range(2000):
        if caplog.records:
            break
        threading.Event().wait(0.005)
    (record,) = caplog.records
    assert record.message == "A call of the scheduler failed"
    assert isinstance(record.exc_info[1], JobLookupError)


def test_qt_wants_an_application_first():
    code = (
        "from django_apscheduler.schedulers.qt import QtScheduler\n"
        "try: QtScheduler().start()\n"
        "except RuntimeError as error: print(error)"
    )
    host_of("qt")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == (
        "QtScheduler.start() needs an application: make a QApplication or "
        "QCoreApplication first\n"
    )


def test_tornado_wants_its_thread_or_its_loop():
    pytest.importorskip("tornado")
    from tornado.ioloop import IOLoop

    from django_apscheduler.schedulers.tornado import TornadoScheduler

    errors = []

    def start():
        try:
            TornadoScheduler().start()
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join(20)
    (error,) = errors
    assert error == (
        "TornadoScheduler.start() must be called on the thread of Tornado's event loop; "
        "or give the loop as io_loop="
    )

    async def main():
        ran, loops = asyncio.Event(), []

        async def body():
            loops.append(IOLoop.current())
            ran.set()

        scheduler = TornadoScheduler(io_loop=IOLoop.current(), timezone="UTC")
        await asyncio.to_thread(scheduler.start)
        await asyncio.to_thread(scheduler.add_job, body)
        await asyncio.wait_for(ran.wait(), 20)
        await scheduler.ashutdown()
        assert loops == [IOLoop.current()]

    asyncio.run(main())


def test_functions_of_tornados_run_on_the_loop():
    host = host_of("tornado")
    from tornado import gen

    from django_apscheduler.schedulers.tornado import TornadoScheduler

    threads, ran = [], threading.Event()

    @gen.coroutine
    def body():
        yield gen.sleep(0.001)
        threads.append(threading.get_ident())
        ran.set()

    scheduler = TornadoScheduler(timezone="UTC")
    host.start(scheduler)
    scheduler.add_job(body)
    assert ran.wait(20)
    scheduler.shutdown()
    assert threads == [host.call(threading.get_ident)]
