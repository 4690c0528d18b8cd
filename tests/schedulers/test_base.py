"""A scheduler's life, parts, listeners and tick."""

import os
import threading
from datetime import timedelta

import pytest

from django_apscheduler import events as codes
from django_apscheduler.executors.debug import DebugExecutor
from django_apscheduler.executors.pool import ThreadPoolExecutor
from django_apscheduler.jobstores.base import BaseJobStore, Lost
from django_apscheduler.jobstores.memory import MemoryJobStore
from django_apscheduler.schedulers import (
    SchedulerAlreadyRunningError,
    SchedulerNotRunningError,
)
from django_apscheduler.schedulers.base import (
    STATE_PAUSED,
    STATE_RUNNING,
    STATE_STOPPED,
)
from tests.schedulers.conftest import NOON, SteppedScheduler

MINUTE = timedelta(minutes=1)


def body(*args):
    return args


def fail():
    raise ValueError("no such account")


def named(events):
    return [codes.EVENT_NAMES[event.code] for event in events]


# Life.


def test_start_pause_resume_shutdown(scheduler, events):
    assert scheduler.state == STATE_STOPPED and not scheduler.running
    scheduler.start()
    assert scheduler.state == STATE_RUNNING and scheduler.running
    scheduler.pause()
    assert scheduler.state == STATE_PAUSED and scheduler.running
    scheduler.resume()
    assert scheduler.state == STATE_RUNNING
    scheduler.shutdown()
    assert scheduler.state == STATE_STOPPED
    assert named(events) == [
        "JOBSTORE_ADDED",
        "SCHEDULER_STARTED",
        "SCHEDULER_PAUSED",
        "SCHEDULER_RESUMED",
        "SCHEDULER_SHUTDOWN",
    ]


def test_what_needs_a_running_scheduler_says_so(scheduler):
    for call in (scheduler.pause, scheduler.resume, scheduler.shutdown):
        with pytest.raises(
            SchedulerNotRunningError, match="^Scheduler is not running$"
        ):
            call()


def test_what_needs_a_stopped_scheduler_says_so(scheduler):
    scheduler.start()
    for call in (scheduler.start, scheduler.configure):
        with pytest.raises(SchedulerAlreadyRunningError, match="already running"):
            call()


def test_a_scheduler_started_paused_runs_nothing_until_it_is_resumed(scheduler, manual):
    ran = []
    scheduler.add_job(ran.append, "interval", minutes=1, args=[1])
    scheduler.start(paused=True)
    manual.advance(60)
    assert scheduler.process_jobs() is None
    assert ran == []
    scheduler.resume()
    scheduler.process_jobs()
    assert ran == [1]


def test_a_paused_scheduler_that_is_shut_down_leaves_run_times_alone(scheduler, manual):
    store = KeptStore()
    scheduler.add_jobstore(store, "default")
    scheduler.start()
    scheduler.add_job(body, "interval", minutes=1, id="a")
    scheduler.pause()
    manual.advance(3600)
    scheduler.process_jobs()
    scheduler.shutdown()
    assert store.lookup_job("a").next_run_time == NOON + MINUTE


class KeptStore(MemoryJobStore):
    """A memory store that outlives its scheduler."""

    def shutdown(self):
        pass


def test_a_scheduler_can_be_started_again(scheduler, manual):
    ran = []
    scheduler.start()
    scheduler.shutdown()
    scheduler.start()
    scheduler.add_job(ran.append, args=[1])
    scheduler.process_jobs()
    assert ran == [1]


def test_a_start_that_fails_leaves_nothing_half_started(scheduler):
    class Failing(KeptStore):
        def start(self, scheduler, alias):
            raise OSError("disk is gone")

    scheduler.add_jobstore(Failing(), "bad")
    scheduler.add_job(body, "interval", minutes=1, id="a")
    with pytest.raises(OSError, match="disk is gone"):
        scheduler.start()
    assert not scheduler.running
    scheduler.remove_jobstore("bad")
    scheduler.start()
    assert scheduler.get_job("a") is not None


# Parts.


def test_parts_may_be_instances_aliases_or_dictionaries(scheduler):
    scheduler.add_executor("threadpool", "pool", max_workers="3")
    scheduler.add_executor({"type": "threadpool", "max_workers": 4}, "dict")
    scheduler.add_executor(DebugExecutor(), "instance")
    assert scheduler._executors["pool"].max_workers == 3
    assert scheduler._executors["dict"].max_workers == 4
    scheduler.add_jobstore("memory", "second")
    assert isinstance(scheduler._jobstores["second"], MemoryJobStore)


def test_an_alias_can_be_had_once(scheduler):
    with pytest.raises(ValueError, match='already has the executor "default"'):
        scheduler.add_executor(DebugExecutor())
    scheduler.add_jobstore("memory")
    with pytest.raises(ValueError, match='already has the job store "default"'):
        scheduler.add_jobstore("memory")


@pytest.mark.parametrize(
    ("method", "value", "error", "message"),
    [
        (
            "add_executor",
            "gpu",
            LookupError,
            'No executor by the name "gpu".*threadpool',
        ),
        (
            "add_jobstore",
            "tape",
            LookupError,
            'No job store by the name "tape".*memory',
        ),
        ("add_executor", 5, TypeError, "Expected an instance, a plugin alias"),
        ("add_jobstore", DebugExecutor(), TypeError, "Expected an instance"),
        ("add_jobstore", MemoryJobStore, TypeError, "Expected an instance"),
        ("add_executor", "os:sep", TypeError, "cannot be made"),
    ],
)
def test_bad_parts_are_refused(scheduler, method, value, error, message):
    with pytest.raises(error, match=message):
        getattr(scheduler, method)(value, "new")


def test_bad_options_of_parts_are_told(scheduler):
    with pytest.raises(TypeError, match='"threadpool" cannot be made.*colour'):
        scheduler.add_executor("threadpool", "x", colour="red")


def test_parts_can_be_added_and_removed_while_running(scheduler, events):
    scheduler.start()
    events.clear()
    scheduler.add_executor("debug", "second")
    scheduler.add_jobstore("memory", "second")
    ran = []
    scheduler.add_job(ran.append, args=[1], executor="second", jobstore="second")
    scheduler.process_jobs()
    assert ran == [1]
    scheduler.remove_executor("second")
    scheduler.remove_jobstore("second")
    assert [n for n in named(events) if "JOB_" not in n] == [
        "EXECUTOR_ADDED",
        "JOBSTORE_ADDED",
        "EXECUTOR_REMOVED",
        "JOBSTORE_REMOVED",
    ]
    assert {event.alias for event in events if event.alias} == {"second"}
    with pytest.raises(KeyError, match="No such executor: second"):
        scheduler.remove_executor("second")
    with pytest.raises(KeyError, match="No such job store: second"):
        scheduler.remove_jobstore("second")


# Listeners.


def test_a_listener_gets_what_its_mask_names(scheduler):
    executed, failed = [], []
    scheduler.add_listener(executed.append, codes.EVENT_JOB_EXECUTED)
    scheduler.add_listener(
        failed.append, codes.EVENT_JOB_ERROR | codes.EVENT_JOB_MISSED
    )
    scheduler.start()
    scheduler.add_job(body, id="good", args=[1])
    scheduler.add_job(fail, id="bad")
    scheduler.process_jobs()
    assert [(e.job_id, e.retval, e.exception) for e in executed] == [
        ("good", (1,), None)
    ]
    (event,) = failed
    assert (event.job_id, str(event.exception)) == ("bad", "no such account")
    assert "ValueError: no such account" in event.traceback
    assert event.scheduled_run_time == NOON
    scheduler.remove_listener(executed.append)
    scheduler.add_job(body)
    scheduler.process_jobs()
    assert len(executed) == 1


def test_a_failing_listener_hurts_nobody(scheduler, events, caplog):
    def bad(event):
        raise RuntimeError("listener is broken")

    scheduler.add_listener(bad)
    scheduler.start()
    scheduler.add_job(body)
    scheduler.process_jobs()
    assert "JOB_EXECUTED" in named(events)
    assert "listener is broken" in caplog.text
    with pytest.raises(TypeError, match="a listener must be callable"):
        scheduler.add_listener(5)


def test_a_process_wide_hook_sees_every_scheduler(scheduler):
    seen = []

    def hook(which, event):
        seen.append((which, event.code))

    codes.add_hook(hook)
    try:
        scheduler.start()
    finally:
        codes.remove_hook(hook)
    assert (scheduler, codes.EVENT_SCHEDULER_STARTED) in seen


# The tick.


def test_a_tick_runs_what_is_due_and_tells_how_long_to_wait(scheduler, manual, events):
    scheduler.start()
    scheduler.add_job(body, "interval", minutes=1, id="a")
    events.clear()
    assert scheduler.process_jobs() == 60
    assert events == []
    manual.advance(61)
    assert scheduler.process_jobs() == 59
    assert named(events) == ["JOB_SUBMITTED", "JOB_EXECUTED"]
    assert events[0].scheduled_run_times == [NOON + MINUTE]
    assert events[1].scheduled_run_time == NOON + MINUTE


def test_nothing_to_do_is_waited_for_until_woken(scheduler):
    scheduler.start()
    assert scheduler.process_jobs() is None


def test_a_run_whose_executor_is_removed_after_the_claim_fails_alone(
    scheduler, manual, events
):
    def remove(event):
        if event.job_id == "first":
            scheduler.remove_executor("gone")

    scheduler.add_executor("debug", "gone")
    scheduler.start()
    for seconds, id, executor in ((1, "first", "default"), (2, "second", "gone")):
        run_date = NOON + timedelta(seconds=seconds)
        scheduler.add_job(body, "date", run_date=run_date, id=id, executor=executor)
    scheduler.add_listener(remove, codes.EVENT_JOB_SUBMITTED)
    manual.advance(2)
    scheduler.process_jobs()
    ended = {e.job_id: e for e in events if isinstance(e, codes.JobExecutionEvent)}
    assert ended["first"].code == codes.EVENT_JOB_EXECUTED
    assert ended["second"].code == codes.EVENT_JOB_ERROR
    assert ended["second"].exception.args == (
        'executor "gone" was removed after the run was claimed',
    )


def test_a_job_that_ends_is_submitted_removed_and_executed(scheduler, events):
    scheduler.start()
    scheduler.add_job(body, "date", run_date=NOON, id="once")
    events.clear()
    scheduler.process_jobs()
    assert named(events) == ["JOB_SUBMITTED", "JOB_EXECUTED", "JOB_REMOVED"]
    assert scheduler.get_jobs() == []


def test_missed_and_skipped_runs_are_told(scheduler, manual, events):
    scheduler.start()
    scheduler.add_job(
        body, "interval", minutes=1, id="late", misfire_grace_time=5, coalesce=False
    )
    events.clear()
    manual.advance(126)
    scheduler.process_jobs()
    assert [(e.code, e.scheduled_run_time) for e in events] == [
        (codes.EVENT_JOB_MISSED, NOON + MINUTE),
        (codes.EVENT_JOB_MISSED, NOON + 2 * MINUTE),
    ]


def test_max_instances_is_told_with_the_run_times(manual):
    release = threading.Event()
    scheduler = SteppedScheduler(executors={"default": ThreadPoolExecutor(5)})
    seen = []
    scheduler.add_listener(seen.append, codes.EVENT_JOB_MAX_INSTANCES)
    scheduler.start()
    try:
        scheduler.add_job(release.wait, "interval", minutes=1, id="slow")
        for _ in range(2):
            manual.advance(60)
            scheduler.process_jobs()
    finally:
        release.set()
        scheduler.shutdown()
    ((job_id, times),) = [(e.job_id, e.scheduled_run_times) for e in seen]
    assert (job_id, times) == ("slow", [NOON + 2 * MINUTE])


class Flaky(MemoryJobStore):
    failures = 3

    def claim_due(self, free, now=None):
        if self.failures:
            self.failures -= 1
            raise OSError("database is gone")
        return super().claim_due(free, now)


def test_a_failing_store_is_asked_again_with_growing_pauses(scheduler, manual, caplog):
    ran = []
    scheduler.add_jobstore(Flaky(), "default")
    scheduler.start()
    scheduler.add_job(ran.append, args=[1])
    pauses = []
    for _ in range(3):
        pauses.append(scheduler.process_jobs())
        manual.advance(pauses[-1])
    assert pauses == [0.1, 0.2, 0.4]
    assert "database is gone" in caplog.text
    scheduler.process_jobs()
    assert ran == [1], "what was due meanwhile has run"


def test_a_failing_store_is_left_alone_during_its_pause(scheduler, manual):
    flaky = Flaky()
    scheduler.add_jobstore(flaky, "bad")
    scheduler.start()
    assert scheduler.process_jobs() == 0.1
    manual.advance(0.04)
    assert scheduler.process_jobs() == pytest.approx(0.06)
    assert flaky.failures == 2, "another store's edits do not ask it again"
    manual.advance(0.07)
    assert scheduler.process_jobs() == 0.2


def test_a_failing_store_does_not_hold_up_another(scheduler):
    ran = []
    flaky = Flaky()
    flaky.failures = 10**9
    scheduler.add_jobstore(flaky, "bad")
    scheduler.start()
    scheduler.add_job(ran.append, args=[1])
    scheduler.process_jobs()
    assert ran == [1]


def test_a_store_with_its_own_clock_is_waited_for_by_that_clock(scheduler, manual):
    class Ahead(MemoryJobStore):
        def claim_due(self, free, now=None):
            batch = super().claim_due(free, NOON + timedelta(hours=1))
            batch.now = NOON + timedelta(hours=1)
            return batch

    scheduler.add_jobstore(Ahead(), "default")
    scheduler.start()
    run_date = NOON + timedelta(hours=1, seconds=7)
    scheduler.add_job(body, "date", run_date=run_date)
    assert scheduler.process_jobs() == 7


def test_only_what_there_is_room_for_is_claimed_and_the_rest_runs_later(manual):
    release = threading.Event()
    ran = []
    scheduler = SteppedScheduler(executors={"default": ThreadPoolExecutor(1)})
    scheduler.start()
    try:
        scheduler.add_job(release.wait)
        scheduler.add_job(ran.append, args=[1], id="second")
        scheduler.process_jobs()
        assert scheduler.get_job("second") is not None, "it stays in the store"
        woken = scheduler.woken
        release.set()
        assert scheduler._executors["default"].wait_until_idle(10)
        for _ in range(1000):
            if scheduler.woken > woken:
                break
            threading.Event().wait(0.005)
        assert scheduler.woken > woken, "the run that ended woke the scheduler"
        scheduler.process_jobs()
        assert scheduler.drain(10) is True
        assert ran == [1]
    finally:
        release.set()
        scheduler.shutdown()


# Shutting down.


@pytest.fixture
def pooled(manual):
    scheduler = SteppedScheduler(executors={"default": ThreadPoolExecutor(2)})
    scheduler.start()
    yield scheduler
    if scheduler.running:
        scheduler.shutdown()


def test_draining_claims_nothing_more_and_waits_for_running_bodies(pooled):
    release, began, ran = threading.Event(), threading.Event(), []
    pooled.add_job(lambda: (began.set(), release.wait()), id="slow")
    pooled.process_jobs()
    assert began.wait(10)
    assert pooled.running_jobs() == ["slow"]
    assert pooled.drain(timeout=0) is False
    pooled.add_job(ran.append, args=[1])
    assert pooled.process_jobs() is None
    release.set()
    assert pooled.drain(timeout=None) is True
    assert ran == []


def test_shutdown_without_waiting_returns_while_bodies_run(pooled):
    release, began, done = threading.Event(), threading.Event(), []
    pooled.add_listener(done.append, codes.EVENT_JOB_EXECUTED)
    pooled.add_job(lambda: (began.set(), release.wait()))
    pooled.process_jobs()
    assert began.wait(10)
    pooled.shutdown(wait=False)
    assert not pooled.running and done == []
    release.set()
    pooled._finisher.join(10)
    assert len(done) == 1, "the outcome of the body is still told"


def test_a_body_may_shut_its_scheduler_down(pooled):
    ended = threading.Event()
    pooled.add_listener(lambda event: ended.set(), codes.EVENT_JOB_EXECUTED)
    pooled.add_job(pooled.shutdown)
    pooled.process_jobs()
    assert ended.wait(10)
    assert not pooled.running


def test_a_shutdown_without_waiting_ends_the_threads_of_the_pool(pooled):
    release, began = threading.Event(), threading.Event()
    pooled.add_job(lambda: (began.set(), release.wait()))
    pooled.process_jobs()
    assert began.wait(10)
    pooled.shutdown(wait=False)
    release.set()
    pooled._finisher.join(10)
    for thread in pooled._executors["default"]._threads:
        thread.join(10)
        assert not thread.is_alive()


class SharedStore(KeptStore):
    """A store that takes back what has not begun, as shared stores do."""

    shared = True

    def start(self, scheduler, alias, run=False):
        super().start(scheduler, alias)
        self.released = []

    def release(self, runs):
        self.released += [run.job.id for run in runs]


def test_runs_that_have_not_begun_are_handed_back_to_a_shared_store(manual):
    store, release = SharedStore(), threading.Event()
    scheduler = SteppedScheduler(
        executors={"default": ThreadPoolExecutor(1)}, jobstores={"default": store}
    )
    scheduler.start()
    # As if bodies had been so fast that two more runs were claimed ahead.
    scheduler._executors["default"]._completed = 2
    for id in "abc":
        scheduler.add_job(release.wait, id=id, next_run_time=NOON)
    scheduler.process_jobs()
    assert scheduler.running_jobs() == ["a", "b", "c"]
    for _ in range(1000):
        if scheduler._executors["default"]._queue.qsize() == 2:
            break
        threading.Event().wait(0.005)
    assert scheduler.drain(timeout=0) is False
    assert store.released == ["b", "c"]
    release.set()
    scheduler.shutdown()


# Surroundings.


def test_a_fork_of_the_scheduler_runs_nothing_and_says_so(scheduler, caplog):
    ran = []
    scheduler.start()
    scheduler.add_job(ran.append, args=[1])
    scheduler._pid = os.getpid() + 1
    assert scheduler.process_jobs() is None
    assert ran == []
    assert "threads do not survive a fork" in caplog.text


def test_uwsgi_without_threads_is_refused(scheduler, monkeypatch):
    import sys
    from types import ModuleType

    uwsgi = ModuleType("uwsgi")
    uwsgi.has_threads = False
    monkeypatch.setitem(sys.modules, "uwsgi", uwsgi)
    with pytest.raises(RuntimeError, match='"enable-threads"'):
        scheduler.start()


def test_a_store_that_is_none_is_refused():
    assert issubclass(MemoryJobStore, BaseJobStore)
    with pytest.raises(TypeError, match="abstract"):
        BaseJobStore()


def test_a_tick_tells_of_what_was_lost_and_cancelled_elsewhere(scheduler, events):
    class Store(MemoryJobStore):
        def claim_due(self, free, now=None):
            batch = super().claim_due(free, now)
            batch.lost.append(Lost("a", 1, NOON, "its scheduler died"))
            batch.cancelled.append(("b", NOON + MINUTE, 2))
            return batch

    scheduler.add_jobstore(Store(), "default")
    scheduler.start()
    events.clear()
    scheduler.process_jobs()
    facts = [
        (e.job_id, e.jobstore, e.scheduled_run_time, e.execution_id) for e in events
    ]
    assert named(events) == ["JOB_LOST", "JOB_CANCELLED"]
    assert facts == [("a", "default", NOON, 1), ("b", "default", NOON + MINUTE, 2)]
