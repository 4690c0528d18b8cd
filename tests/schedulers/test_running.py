"""The schedulers that run by themselves: blocking, background, asyncio, remote."""

import asyncio
import os
import subprocess
import sys
import threading
from datetime import datetime, timedelta, timezone

import pytest

from django_apscheduler import clock
from django_apscheduler import events as codes
from django_apscheduler.jobstores.memory import MemoryJobStore
from django_apscheduler.schedulers import (
    SchedulerAlreadyRunningError,
    SchedulerNotRunningError,
)
from django_apscheduler.schedulers.asyncio import AsyncIOScheduler
from django_apscheduler.schedulers.background import BackgroundScheduler
from django_apscheduler.schedulers.blocking import BlockingScheduler
from django_apscheduler.schedulers.remote import RemoteScheduler

NOON = datetime(2026, 6, 1, 12, 0, tzinfo=timezone.utc)


def test_the_background_scheduler_runs_jobs_while_the_program_goes_on():
    ran = threading.Event()
    scheduler = BackgroundScheduler(timezone="UTC")
    scheduler.start()
    scheduler.add_job(ran.set)
    assert ran.wait(10)
    scheduler.shutdown()
    assert not any(t.name == "APScheduler" for t in threading.enumerate())


def test_the_loop_follows_the_clock():
    with clock.use(clock.ManualClock(NOON)) as manual:
        ran = threading.Semaphore(0)
        scheduler = BackgroundScheduler(timezone="UTC")
        scheduler.start()
        scheduler.add_job(ran.release, "interval", hours=1)
        for _ in range(3):
            assert not ran.acquire(timeout=0.02)
            manual.advance(3600)
            assert ran.acquire(timeout=10)
        scheduler.shutdown()


def test_a_job_far_in_the_future_does_not_overflow_the_wait():
    scheduler = BackgroundScheduler(timezone="UTC")
    scheduler.start()
    scheduler.add_job(print, "date", run_date="9999-12-31 23:59:59")
    ran = threading.Event()
    scheduler.add_job(ran.set)
    assert ran.wait(10)
    assert scheduler.failure is None
    scheduler.shutdown()


def test_the_blocking_scheduler_returns_when_it_is_shut_down():
    scheduler = BlockingScheduler(timezone="UTC")
    scheduler.add_job(scheduler.shutdown)
    thread = threading.Thread(target=scheduler.start)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert not scheduler.running


class Fatal(MemoryJobStore):
    def claim_due(self, free, now=None):
        raise SystemExit("out of memory")


def test_a_loop_that_cannot_go_on_says_so():
    scheduler = BlockingScheduler(jobstores={"default": Fatal()}, timezone="UTC")
    with pytest.raises(SystemExit):
        scheduler.start()
    assert isinstance(scheduler.failure, SystemExit)


FORGOTTEN = """
import sys, threading
from django_apscheduler.schedulers.background import BackgroundScheduler
began = threading.Event()
def body():
    began.set()
    threading.Event().wait(0.2)
    print("the body has ended", flush=True)
scheduler = BackgroundScheduler(timezone="UTC")
scheduler.start()
scheduler.add_job(body)
began.wait()
assert "django" not in sys.modules
"""


def test_a_program_that_ends_waits_for_running_bodies_and_not_for_the_scheduler():
    done = subprocess.run(
        [sys.executable, "-c", FORGOTTEN], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        "the body has ended\n",
        "",
    )


# asyncio.


def run_async(main):
    return asyncio.run(asyncio.wait_for(main(), 20))


def test_the_asyncio_scheduler_awaits_bodies_on_its_loop():
    async def main():
        loops, ran = [], asyncio.Event()

        async def body():
            loops.append(asyncio.get_running_loop())
            ran.set()

        scheduler = AsyncIOScheduler(timezone="UTC")
        scheduler.start()
        scheduler.add_job(body)
        await ran.wait()
        await scheduler.ashutdown()
        assert loops == [asyncio.get_running_loop()]
        assert not scheduler.running

    run_async(main)


def test_plain_functions_run_beside_the_loop():
    async def main():
        threads, ran = [], asyncio.Event()
        loop = asyncio.get_running_loop()

        def body():
            threads.append(threading.current_thread())
            loop.call_soon_threadsafe(ran.set)

        scheduler = AsyncIOScheduler(timezone="UTC")
        scheduler.start()
        scheduler.add_job(body)
        await ran.wait()
        await scheduler.ashutdown()
        assert threads[0] is not threading.main_thread()

    run_async(main)


def test_awaiting_the_shutdown_lets_bodies_end():
    async def main():
        began, steps = asyncio.Event(), []

        async def body():
            began.set()
            await asyncio.sleep(0.05)
            steps.append("body")

        scheduler = AsyncIOScheduler(timezone="UTC")
        scheduler.start()
        scheduler.add_job(body)
        await began.wait()
        await scheduler.ashutdown()
        assert steps == ["body"]

    run_async(main)


def test_a_plain_shutdown_on_the_loop_cancels_what_it_cannot_wait_for():
    async def main():
        began, ended = asyncio.Event(), asyncio.Event()
        loop, failures = asyncio.get_running_loop(), []

        def listen(event):
            failures.append(event.exception)
            loop.call_soon_threadsafe(ended.set)

        async def body():
            began.set()
            await asyncio.sleep(600)

        scheduler = AsyncIOScheduler(timezone="UTC")
        scheduler.add_listener(listen, codes.EVENT_JOB_ERROR)
        scheduler.start()
        scheduler.add_job(body)
        await began.wait()
        scheduler.shutdown(wait=False)
        await ended.wait()
        assert isinstance(failures[0], asyncio.CancelledError)

    run_async(main)


def test_starting_without_a_loop_says_where_to_start():
    with pytest.raises(RuntimeError, match=r"on a running event loop.*event_loop="):
        AsyncIOScheduler(timezone="UTC").start()


class SlowStore(MemoryJobStore):
    """A memory store that takes its time, as a database does."""

    blocking = True
    threads: set

    def claim_due(self, free, now=None):
        self.threads = {*getattr(self, "threads", ()), threading.current_thread()}
        threading.Event().wait(0.2)
        return super().claim_due(free, now)


def test_a_store_that_blocks_never_runs_on_the_loop():
    async def main():
        store, ran = SlowStore(), asyncio.Event()

        async def body():
            ran.set()

        pauses = []

        async def watch():
            loop = asyncio.get_running_loop()
            while True:
                before = loop.time()
                await asyncio.sleep(0.005)
                pauses.append(loop.time() - before)

        watcher = asyncio.create_task(watch())
        scheduler = AsyncIOScheduler(jobstores={"default": store}, timezone="UTC")
        scheduler.start()
        while not scheduler.running:
            await asyncio.sleep(0.005)
        with pytest.raises(RuntimeError, match=r"await scheduler.aadd_job\(\.\.\.\)"):
            scheduler.add_job(body, id="sync")
        await scheduler.aadd_job(body, id="async")
        await ran.wait()
        assert [job.id for job in await scheduler.aget_jobs()] == []
        await scheduler.ashutdown()
        watcher.cancel()
        assert threading.main_thread() not in store.threads
        assert max(pauses) < 0.15, "a claim of 200 ms held up the loop"

    run_async(main)


class Unreachable(MemoryJobStore):
    blocking = True

    def start(self, scheduler, alias):
        raise OSError("no route to the database")


def test_a_start_that_fails_beside_the_loop_is_told_to_who_awaits_it():
    async def main():
        store = {"default": Unreachable()}
        scheduler = AsyncIOScheduler(jobstores=store, timezone="UTC")
        with pytest.raises(OSError, match="no route"):
            await scheduler.astart()
        assert not scheduler.running
        assert str(scheduler.failure) == "no route to the database"
        scheduler.remove_jobstore("default")
        await scheduler.astart()
        assert scheduler.running
        assert scheduler.failure is None
        await scheduler.ashutdown()

    run_async(main)


def test_a_scheduler_that_is_being_started_is_running():
    async def main():
        store = {"default": SlowStore()}
        scheduler = AsyncIOScheduler(jobstores=store, timezone="UTC")
        scheduler.start(paused=True)
        assert scheduler.running
        with pytest.raises(SchedulerAlreadyRunningError):
            scheduler.start()
        await scheduler.aadd_job(print, "interval", hours=1, id="a")
        assert [job.id for job in await scheduler.aget_jobs()] == ["a"]
        scheduler.shutdown()
        scheduler.start(paused=True)
        # The jobs of a memory store end with it: the shutdown came before the start.
        assert await scheduler.aget_jobs() == []
        await scheduler.aadd_job(print, "interval", hours=1, id="b")
        assert [job.id for job in await scheduler.aget_jobs()] == ["b"]
        await scheduler.ashutdown()

    run_async(main)


def test_what_falls_due_while_the_store_is_asked_is_looked_at_again_at_once():
    store = MemoryJobStore()
    scheduler = BackgroundScheduler({}, jobstores={"default": store}, timezone="UTC")
    scheduler.start(paused=True)
    due = datetime.now(timezone.utc) - timedelta(seconds=1)
    scheduler.add_job(print, "interval", hours=1, next_run_time=due)
    batch = store.claim_due({"default": 1}, due - timedelta(seconds=1))
    assert (batch.runs, batch.next_run_time) == ([], due)
    assert 0 < scheduler._seconds_until(batch, False) < 0.001
    scheduler.shutdown()


def test_many_calls_that_wake_a_loop_at_once_are_one_tick():
    ran = []

    async def body():
        ran.append(asyncio.get_running_loop())

    async def life():
        scheduler.start()
        await asyncio.sleep(0)
        before = scheduler.turns
        for number in range(50):
            scheduler.add_job(body, id=f"{number}")
        while len(ran) < 50:
            await asyncio.sleep(0.001)
        # One for the jobs, and one for each that ends while there was no room.
        assert scheduler.turns - before < 10
        scheduler.shutdown()

    scheduler = AsyncIOScheduler(timezone="UTC")
    for _ in range(2):
        ran.clear()
        loop = asyncio.new_event_loop()
        loop.run_until_complete(life())
        # The loop is closed before it comes to this.
        scheduler.wakeup()
        loop.close()


def test_a_scheduler_serves_one_loop_after_another():
    stores = {"default": SlowStore()}
    scheduler = AsyncIOScheduler(jobstores=stores, timezone="UTC")

    async def life():
        ran = asyncio.Event()

        async def body():
            ran.set()

        scheduler.start()
        await scheduler.aadd_job(body)
        await ran.wait()
        scheduler.wakeup()
        while scheduler._ticking is None:
            await asyncio.sleep(0.001)
        # And the loop ends at once, in the middle of a tick.
        scheduler.shutdown()

    for _ in range(3):
        run_async(life)
        if scheduler._ticking is not None:
            # When it is over there is no loop to tell.
            scheduler._ticking.result(20)
    assert scheduler.failure is None


def test_serving_goes_on_until_the_scheduler_is_shut_down():
    for store in (MemoryJobStore(), SlowStore()):
        steps = []
        scheduler = AsyncIOScheduler(jobstores={"default": store}, timezone="UTC")

        async def body(steps=steps, scheduler=scheduler):
            steps.append("body")
            scheduler.shutdown()

        scheduler.add_job(body)
        scheduler.serve()
        assert steps == ["body"]
        assert not scheduler.running


def test_serving_ends_with_the_error_of_a_loop_that_cannot_go_on():
    for base in (MemoryJobStore, SlowStore):
        store = type("Fatal", (Fatal, base), {})()
        scheduler = AsyncIOScheduler(jobstores={"default": store}, timezone="UTC")
        with pytest.raises(SystemExit, match="out of memory"):
            scheduler.serve()
    scheduler = AsyncIOScheduler(jobstores={"default": Unreachable()}, timezone="UTC")
    with pytest.raises(OSError, match="no route"):
        scheduler.serve()


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_fork_of_a_process_with_a_scheduler_on_a_loop_only_writes():
    async def main():
        scheduler = AsyncIOScheduler(jobstores={"default": SlowStore()}, timezone="UTC")
        await scheduler.astart()
        await scheduler.aadd_job(print, "interval", hours=1, id="a")
        await asyncio.to_thread(fork, scheduler)
        assert [job.id for job in await scheduler.aget_jobs()] == ["a"]
        await scheduler.ashutdown()

    def fork(scheduler):
        child = os.fork()
        if child == 0:
            # With threads of its own; those of the parent are not here.
            scheduler.add_job(print, "interval", hours=1, id="b")
            found = {job.id for job in scheduler.get_jobs()}
            ended = threading.Event()
            scheduler._do_beside(ended.set)
            ok = found == {"a", "b"} and not scheduler.running and ended.wait(5)
            os._exit(0 if ok else 1)
        assert os.waitpid(child, 0)[1] == 0

    run_async(main)


def test_an_error_in_a_tick_beside_the_loop_is_noticed():
    class FatalDatabase(Fatal):
        blocking = True

    async def main():
        stores = {"default": FatalDatabase()}
        scheduler = AsyncIOScheduler(jobstores=stores, timezone="UTC")
        scheduler.start()
        while scheduler.failure is None:
            await asyncio.sleep(0.005)
        assert isinstance(scheduler.failure, SystemExit)
        await scheduler.ashutdown()

    run_async(main)


# Remote.


class SharedMemory(MemoryJobStore):
    shared = True
    opened = 0

    def start(self, scheduler, alias, run=False):
        assert run is False
        self.opened += 1
        super().start(scheduler, alias)


def test_the_remote_scheduler_writes_and_runs_nothing():
    store = SharedMemory()
    scheduler = RemoteScheduler(jobstores={"default": store}, timezone="UTC")
    job = scheduler.add_job(print, "date", run_date=clock.now(), id="a")
    assert not job.pending
    assert store.lookup_job("a") is job
    assert scheduler.get_jobs() == [job]
    scheduler.modify_job("a", next_run_time=clock.now() + timedelta(days=1))
    job.remove()
    assert scheduler.get_jobs() == []
    assert store.opened == 1
    for call in (scheduler.pause, scheduler.resume, scheduler.shutdown):
        with pytest.raises(SchedulerNotRunningError):
            call()
    with pytest.raises(RuntimeError, match="runapscheduler"):
        scheduler.start()
