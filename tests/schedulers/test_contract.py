"""
What every scheduler does, run over each of them on its real loop.

Twice: with a job store in memory, on whose loop the scheduler works, and with one that
waits as a database does, which must never be called there.
"""

import asyncio
import threading
from datetime import datetime, timedelta, timezone

import pytest

from django_apscheduler import clock, current_run
from django_apscheduler import events as codes
from django_apscheduler.jobstores.base import JobLookupError
from django_apscheduler.jobstores.memory import MemoryJobStore
from django_apscheduler.schedulers import (
    SCHEDULERS,
    SchedulerAlreadyRunningError,
    SchedulerNotRunningError,
)
from django_apscheduler.util import ref_to_obj
from tests.schedulers.hosts import HOSTS, LOOPS

NOON = datetime(2026, 6, 1, 12, 0, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)


class Memory(MemoryJobStore):
    """A job store that remembers which threads it was called on."""

    def __init__(self):
        super().__init__()
        self.threads = set()

    def _note(self):
        self.threads.add(threading.get_ident())

    def start(self, scheduler, alias):
        self._note()
        super().start(scheduler, alias)

    def add_job(self, job):
        self._note()
        super().add_job(job)

    def lookup_job(self, job_id):
        self._note()
        return super().lookup_job(job_id)

    def get_all_jobs(self):
        self._note()
        return super().get_all_jobs()

    def claim_due(self, free, now=None):
        self._note()
        return super().claim_due(free, now)

    def shutdown(self):
        self._note()
        super().shutdown()


class Waiting(Memory):
    blocking = True

    def _note(self):
        super()._note()
        threading.Event().wait(0.002)


def test_every_scheduler_takes_part():
    # Bodies that hold a thread up, as here, hold up a gevent hub; see test_gevent.
    assert {*HOSTS, "gevent"} == set(SCHEDULERS)


@pytest.fixture(params=[Memory, Waiting], ids=["memory", "waiting"])
def store(request):
    return request.param()


@pytest.fixture
def make(host, store):
    """Makes a scheduler of the kind, on the host, with the job store."""
    made = []

    def make(**options):
        cls = ref_to_obj(SCHEDULERS[host.kind])
        options.setdefault("jobstores", {"default": store})
        scheduler = cls(timezone="UTC", **host.options(), **options)
        made.append(scheduler)
        return scheduler

    yield make
    for scheduler in made:
        if scheduler.running:
            scheduler.shutdown(wait=False)
    if host.loops and store.blocking:
        assert host.call(threading.get_ident) not in store.threads


def pytest_generate_tests(metafunc):
    marks = metafunc.definition.iter_markers("parametrize")
    if "host" in metafunc.fixturenames and all(
        mark.args[0] != "host" for mark in marks
    ):
        metafunc.parametrize("host", HOSTS, indirect=True)


class Runs:
    """A body, plain or not, that notes its runs and can be waited for."""

    def __init__(self):
        self.times, self.begun = [], []
        self.ran = threading.Semaphore(0)

    def plain(self):
        self.begun.append(clock.now())
        self.times.append(current_run().run_time)
        self.ran.release()

    async def coroutine(self):
        self.plain()

    def wait(self):
        assert self.ran.acquire(timeout=20)

    def still(self):
        return not self.ran.acquire(timeout=0.03)


@pytest.mark.parametrize("body", ["plain", "coroutine"])
def test_a_job_runs_at_its_time_and_not_before(host, make, body):
    runs = Runs()
    with clock.use(clock.ManualClock(NOON)) as manual:
        scheduler = make()
        host.start(scheduler)
        scheduler.add_job(getattr(runs, body), "date", run_date=NOON + MINUTE)
        manual.advance(59)
        assert runs.still()
        manual.advance(1)
        runs.wait()
        assert runs.times == [NOON + MINUTE]
        assert scheduler.get_jobs() == []
        scheduler.shutdown()


@pytest.mark.parametrize("body", ["plain", "coroutine"])
def test_what_is_claimed_ahead_begins_at_its_time(host, make, monkeypatch, body):
    scheduler = make()
    monkeypatch.setattr(type(scheduler), "lead", timedelta(milliseconds=15))
    runs = Runs()
    host.start(scheduler)
    due = clock.now() + timedelta(seconds=0.3)
    scheduler.add_job(getattr(runs, body), "date", run_date=due)
    runs.wait()
    assert runs.begun[0] >= due
    scheduler.shutdown()


def test_a_job_recurs(host, make):
    runs = Runs()
    with clock.use(clock.ManualClock(NOON)) as manual:
        scheduler = make()
        scheduler.add_job(runs.plain, "interval", minutes=1)
        host.start(scheduler)
        for _ in range(3):
            assert runs.still()
            manual.advance(MINUTE)
            runs.wait()
        assert runs.times == [NOON + i * MINUTE for i in (1, 2, 3)]
        scheduler.shutdown()


def test_jobs_are_changed_while_the_scheduler_runs(host, make):
    runs = Runs()
    with clock.use(clock.ManualClock(NOON)) as manual:
        scheduler = make()
        host.start(scheduler)
        host.twin(scheduler, "add_job", runs.plain, "interval", hours=1, id="a")
        host.twin(scheduler, "reschedule_job", "a", trigger="interval", minutes=1)
        manual.advance(MINUTE)
        runs.wait()
        host.twin(scheduler, "pause_job", "a")
        manual.advance(1.5 * MINUTE)
        assert runs.still()
        host.twin(scheduler, "resume_job", "a")
        manual.advance(0.5 * MINUTE)
        runs.wait()
        host.twin(scheduler, "modify_job", "a", name="another")
        assert host.twin(scheduler, "get_job", "a").name == "another"
        host.twin(scheduler, "remove_job", "a")
        manual.advance(MINUTE)
        assert runs.still()
        with pytest.raises(JobLookupError):
            host.twin(scheduler, "remove_job", "a")
        scheduler.shutdown()


def test_other_threads_change_jobs(host, make):
    runs = Runs()
    scheduler = make()
    host.start(scheduler)
    threads = [
        threading.Thread(target=scheduler.add_job, args=(runs.plain,), daemon=True)
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for _ in threads:
        runs.wait()
    scheduler.shutdown()


def test_bodies_add_jobs(host, make):
    runs = Runs()
    scheduler = make()

    def body():
        scheduler.add_job(runs.plain)

    host.start(scheduler)
    host.twin(scheduler, "add_job", body)
    runs.wait()
    scheduler.shutdown()


def test_listeners_add_jobs(host, make):
    runs = Runs()
    scheduler = make()

    def listen(event):
        if event.job_id == "first":
            scheduler.add_job(runs.plain, id="second")

    scheduler.add_listener(listen, codes.EVENT_JOB_EXECUTED)
    host.start(scheduler)
    host.twin(scheduler, "add_job", Runs().plain, id="first")
    runs.wait()
    scheduler.shutdown()


def test_code_on_the_loop_adds_jobs(host, make, store):
    runs = Runs()
    scheduler = make()
    host.start(scheduler)
    if host.loops and store.blocking:
        with pytest.raises(RuntimeError, match=r"scheduler\.aadd_job\(\.\.\.\)"):
            host.call(scheduler.add_job, runs.plain)
    else:
        host.call(scheduler.add_job, runs.plain)
        runs.wait()
    scheduler.shutdown()


def fail():
    raise ValueError("no such account")


async def fail_later():
    raise ValueError("no such account")


@pytest.mark.parametrize("body", [fail, fail_later])
def test_a_body_that_fails_is_told_of_and_the_scheduler_goes_on(host, make, body):
    runs, errors = Runs(), []
    told = threading.Event()
    scheduler = make()

    def listen(event):
        errors.append(repr(event.exception))
        told.set()

    scheduler.add_listener(listen, codes.EVENT_JOB_ERROR)
    host.start(scheduler)
    scheduler.add_job(body)
    assert told.wait(20)
    assert errors == ["ValueError('no such account')"]
    scheduler.add_job(runs.plain)
    runs.wait()
    assert scheduler.failure is None
    scheduler.shutdown()


def test_events_come_in_the_order_of_what_happened(host, make):
    seen, threads, over = [], set(), threading.Event()

    def listen(event):
        seen.append(event.code)
        threads.add(threading.get_ident())
        if event.code == codes.EVENT_SCHEDULER_SHUTDOWN:
            over.set()

    scheduler = make()
    scheduler.add_listener(
        listen,
        codes.EVENT_SCHEDULER_STARTED
        | codes.EVENT_SCHEDULER_PAUSED
        | codes.EVENT_SCHEDULER_RESUMED
        | codes.EVENT_SCHEDULER_SHUTDOWN,
    )
    host.start(scheduler)
    host.call(scheduler.pause)
    host.call(scheduler.resume)
    host.call(scheduler.shutdown)
    assert over.wait(20)
    assert seen == [
        codes.EVENT_SCHEDULER_STARTED,
        codes.EVENT_SCHEDULER_PAUSED,
        codes.EVENT_SCHEDULER_RESUMED,
        codes.EVENT_SCHEDULER_SHUTDOWN,
    ]
    blocking = any(store.blocking for store in scheduler._jobstores.values())
    if host.loops and blocking:
        assert host.call(threading.get_ident) not in threads


def test_a_paused_scheduler_runs_nothing(host, make):
    runs = Runs()
    scheduler = make()
    host.start(scheduler, paused=True)
    scheduler.add_job(runs.plain)
    assert runs.still()
    host.call(scheduler.resume)
    runs.wait()
    scheduler.shutdown()


class Held:
    """A body that goes on until it is let go."""

    def __init__(self):
        self.began, self.release = threading.Event(), threading.Event()
        self.ended = threading.Event()

    def body(self):
        self.began.set()
        self.release.wait(20)
        self.ended.set()


def test_a_shutdown_waits_for_running_bodies(host, make):
    held = Held()
    scheduler = make()
    host.start(scheduler)
    scheduler.add_job(held.body)
    assert held.began.wait(20)
    threading.Timer(0.05, held.release.set).start()
    scheduler.shutdown()
    assert held.ended.is_set()


def test_a_shutdown_need_not_wait(host, make):
    held = Held()
    scheduler = make()
    host.start(scheduler)
    scheduler.add_job(held.body)
    assert held.began.wait(20)
    scheduler.shutdown(wait=False)
    assert not held.ended.is_set()
    held.release.set()
    assert held.ended.wait(20)


@pytest.mark.parametrize("host", LOOPS, indirect=True)
def test_a_shutdown_on_the_loop_does_not_hold_it_up(host, make):
    held, over = Held(), threading.Event()
    scheduler = make()
    scheduler.add_listener(lambda event: over.set(), codes.EVENT_SCHEDULER_SHUTDOWN)
    host.start(scheduler)
    scheduler.add_job(held.body)
    assert held.began.wait(20)
    # It comes back though the body goes on.
    host.call(scheduler.shutdown)
    assert not scheduler.running
    assert not held.ended.is_set()
    held.release.set()
    assert over.wait(20)
    assert held.ended.is_set()


def test_awaiting_the_shutdown_is_to_wait_for_bodies(host, make):
    held = Held()
    scheduler = make()
    host.start(scheduler)
    scheduler.add_job(held.body)
    assert held.began.wait(20)
    threading.Timer(0.05, held.release.set).start()
    host.twin(scheduler, "shutdown")
    assert held.ended.is_set()
    assert not scheduler.running


def test_a_body_may_shut_the_scheduler_down(host, make):
    scheduler, over = make(), threading.Event()
    scheduler.add_listener(lambda event: over.set(), codes.EVENT_SCHEDULER_SHUTDOWN)
    host.start(scheduler)
    scheduler.add_job(scheduler.shutdown)
    assert over.wait(20)
    assert not scheduler.running


def test_a_body_that_shuts_the_scheduler_down_goes_on_to_its_end(host, make):
    outcomes, told = [], threading.Event()
    scheduler = make()

    def listen(event):
        outcomes.append(event.exception or event.retval)
        told.set()

    async def body():
        scheduler.shutdown()
        if host.kind == "twisted":
            await later(0.01)
        else:
            await asyncio.sleep(0.01)
        return "ended"

    if host.kind == "twisted":
        from tests.executors.reactor_bodies import later
    scheduler.add_listener(listen, codes.EVENT_JOB_EXECUTED | codes.EVENT_JOB_ERROR)
    host.start(scheduler)
    scheduler.add_job(body)
    assert told.wait(20)
    assert outcomes == ["ended"]


def test_a_scheduler_can_be_started_again(host, make):
    runs = Runs()
    scheduler = make()
    for _ in range(3):
        host.start(scheduler)
        scheduler.add_job(runs.plain)
        runs.wait()
        host.call(scheduler.shutdown)
    assert len(runs.times) == 3


def test_a_start_waits_for_bodies_that_an_earlier_life_left_running(host, make):
    held, runs = Held(), Runs()
    scheduler = make()
    host.start(scheduler)
    scheduler.add_job(held.body)
    assert held.began.wait(20)
    scheduler.shutdown(wait=False)
    threading.Timer(0.05, held.release.set).start()
    host.start(scheduler)
    if not (host.loops and any(s.blocking for s in scheduler._jobstores.values())):
        host.call(scheduler.add_job, runs.plain)
    else:
        host.twin(scheduler, "add_job", runs.plain)
    runs.wait()
    assert held.ended.is_set()
    scheduler.shutdown()


@pytest.mark.parametrize("host", ["asyncio", "tornado"], indirect=True)
def test_coroutines_that_a_shutdown_ends_do_not_hold_up_a_start(host, make):
    runs, began = Runs(), threading.Event()

    async def body():
        began.set()
        await asyncio.Event().wait()

    scheduler = make()
    host.start(scheduler)
    scheduler.add_job(body)
    assert began.wait(20)

    def restart():
        scheduler.shutdown(wait=False)
        scheduler.start()

    host.call(restart)
    scheduler.add_job(runs.coroutine)
    runs.wait()
    scheduler.shutdown()


def test_draining_hands_back_nothing_and_waits(host, make):
    held = Held()
    scheduler = make()
    host.start(scheduler)
    scheduler.add_job(held.body)
    assert held.began.wait(20)
    assert scheduler.drain(0.01) is False
    held.release.set()
    assert host.twin(scheduler, "drain", 20) is True
    scheduler.shutdown()


def test_starting_twice_and_stopping_twice_are_refused(host, make):
    scheduler = make()
    with pytest.raises(SchedulerNotRunningError):
        host.call(scheduler.shutdown)
    host.start(scheduler)
    with pytest.raises(SchedulerAlreadyRunningError):
        host.call(scheduler.start)
    scheduler.shutdown()
    with pytest.raises(SchedulerNotRunningError):
        host.call(scheduler.shutdown)


def test_a_job_far_in_the_future_does_not_overflow_a_timer(host, make):
    runs = Runs()
    scheduler = make()
    host.start(scheduler)
    scheduler.add_job(print, "date", run_date="9999-12-31 23:59:59")
    scheduler.add_job(runs.plain)
    runs.wait()
    assert scheduler.failure is None
    scheduler.shutdown()


def test_a_job_store_that_fails_and_comes_back(host, make, store):
    runs, broken = Runs(), threading.Event()
    claim_due = store.claim_due

    def claim(free, now=None):
        if broken.is_set():
            raise OSError("the server went away")
        return claim_due(free, now)

    store.claim_due = claim
    broken.set()
    scheduler = make(jobstore_retry_interval=0.1)
    host.start(scheduler)
    scheduler.add_job(runs.plain)
    assert runs.still()
    broken.clear()
    runs.wait()
    assert scheduler.failure is None
    scheduler.shutdown()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_loop_that_cannot_go_on_is_noticed(host, make):
    def fail(*args):
        raise OSError("nothing works")

    scheduler = make()
    # What a job store raises is tried again, so it is the scheduler's own step.
    scheduler._process_store = fail
    if host.kind == "blocking":
        with pytest.raises(OSError, match="nothing works"):
            scheduler.start()
    else:
        host.start(scheduler)
        for _ in range(2000):
            if scheduler.failure is not None:
                break
            threading.Event().wait(0.005)
    assert str(scheduler.failure) == "nothing works"
    for thread in threading.enumerate():
        if thread.name == "APScheduler":
            # Its error is this test's.
            thread.join(20)
