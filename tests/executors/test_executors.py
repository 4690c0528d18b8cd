"""What every executor does, run over each of them."""

import functools
import gc
import importlib
import os
import subprocess
import sys
import threading
import time
import weakref
from datetime import datetime, timedelta, timezone

import psutil
import pytest

from django_apscheduler import clock, current_run
from django_apscheduler.executors import base
from django_apscheduler.executors.asyncio import AsyncIOExecutor
from django_apscheduler.executors.base import BaseExecutor, MaxInstancesReachedError
from django_apscheduler.executors.debug import DebugExecutor
from django_apscheduler.executors.logs import mark_log_records
from django_apscheduler.executors.pool import ProcessPoolExecutor, ThreadPoolExecutor
from django_apscheduler.job import Job
from django_apscheduler.jobstores import runs
from django_apscheduler.jobstores.base import Run
from django_apscheduler.triggers.date import DateTrigger
from tests.executors import bodies
from tests.schedulers.hosts import host_of

UTC = timezone.utc
NOON = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


class Recorder:
    """As much of a scheduler as an executor needs; collects outcomes."""

    timezone = UTC

    def __init__(self):
        self.outcomes = []
        self.done = threading.Semaphore(0)
        self.refuse = False

    def run_begins(self, run):
        return not self.refuse

    def run_finished(self, run, outcomes):
        self.outcomes.append(outcomes)
        self.done.release()

    def room_in_executor(self):
        pass

    def _on_loop(self):
        return False

    def _await_idle(self, executor):
        assert executor.wait_until_idle(30)


def made_of(module, name, *args):
    """Return a maker of an executor that needs an optional package."""

    def make():
        try:
            module_ = importlib.import_module(f"django_apscheduler.executors.{module}")
        except ImportError as error:
            pytest.skip(str(error))
        return getattr(module_, name)(*args)

    return make


def gevent_executor(max_workers=50):
    pytest.importorskip("gevent", reason="needs gevent: pip install -e '.[gevent]'")
    from django_apscheduler.executors.gevent import GeventExecutor

    return GeventExecutor(max_workers)


EXECUTORS = {
    "debug": DebugExecutor,
    "threadpool": lambda: ThreadPoolExecutor(2),
    "processpool": lambda: ProcessPoolExecutor(1),
    "asyncio": AsyncIOExecutor,
    "tornado": made_of("tornado", "TornadoExecutor"),
    "twisted": made_of("twisted", "TwistedExecutor", 2),
    "gevent": gevent_executor,
}


@pytest.fixture(params=EXECUTORS, scope="module")
def kept(request):
    """An executor that lives for all tests of this module: processes start slowly."""
    if request.param == "twisted":
        # It has no loop of its own, like others off their scheduler, but the reactor.
        host_of("twisted")
    executor = EXECUTORS[request.param]()
    executor.start(Recorder(), request.param)
    yield executor
    executor.shutdown()


@pytest.fixture
def executor(kept):
    kept._scheduler = Recorder()
    return kept


def job(func, *args, **options):
    return Job(
        None,
        id="job",
        func=func,
        args=args,
        trigger=DateTrigger(NOON, UTC),
        executor="x",
        max_instances=1,
        **options,
    )


def test_a_coroutine_that_another_function_returns_is_awaited(executor):
    assert run(executor, bodies.return_coroutine, 2, 3)[0].retval == 5


def run(executor, func, *args, run_times=(NOON,), **extra):
    recorder = executor._scheduler
    executor.accept(Run(job(func, *args), "default", list(run_times), **extra))
    assert recorder.done.acquire(timeout=30)
    return recorder.outcomes[-1]


def test_a_body_runs_and_its_value_comes_back(executor):
    (outcome,) = run(executor, bodies.add, 2, 3)
    assert (outcome.status, outcome.retval) == ("Executed", 5)
    assert outcome.run_time == NOON
    assert outcome.started_time <= outcome.finished_time
    assert outcome.started_time.utcoffset() == timedelta(0)


def test_a_failing_body_gives_its_exception_and_traceback(executor):
    (outcome,) = run(executor, bodies.fail, "no such account")
    assert outcome.status == "Error!"
    assert repr(outcome.exception) == "ValueError('no such account')"
    assert outcome.traceback.splitlines()[-1] == "ValueError: no such account"
    assert "in fail" in outcome.traceback


def test_leaving_the_interpreter_from_a_body_is_a_failure_of_that_body(executor):
    (outcome,) = run(executor, bodies.leave)
    assert outcome.status == "Error!"
    assert isinstance(outcome.exception, SystemExit)
    assert run(executor, bodies.add, 1)[0].retval == 1, "the worker lives on"


def test_a_coroutine_function_is_awaited(executor):
    assert run(executor, bodies.add_later, 2, 3)[0].retval == 5


def test_run_times_in_succession_have_an_outcome_each(executor):
    times = [NOON, NOON + timedelta(minutes=1)]
    run(executor, bodies.add, 1, run_times=times)
    assert executor.wait_until_idle(30)
    # Each is told as soon as it has ended.
    outcomes = [outcome for (outcome,) in executor._scheduler.outcomes]
    assert [outcome.run_time for outcome in outcomes] == times
    assert [outcome.retval for outcome in outcomes] == [1, 1]


def test_a_body_knows_its_run(executor):
    (outcome,) = run(executor, bodies.who, execution_ids=[77], attempt=2)
    assert outcome.retval == ("job", NOON, 2, 77)
    assert current_run() is None


def test_log_records_made_in_a_body_carry_its_run(executor):
    mark_log_records()
    mark_log_records()
    (outcome,) = run(
        executor, bodies.log_and_return_record, "x", execution_ids=[77], attempt=2
    )
    assert outcome.retval == ("the program's own", "job", NOON, 2, 77)
    outside = bodies.log_and_return_record("x")
    assert outside == ("the program's own", None, None, None, None)


def test_a_run_that_is_not_ours_any_more_never_begins(executor):
    executor._scheduler.refuse = True
    assert run(executor, bodies.add, 1, execution_ids=[77]) == []
    assert executor.runs == []


def test_a_run_may_be_submitted_as_in_apscheduler(executor):
    executor.submit_job(job(bodies.add, 4), [NOON])
    assert executor._scheduler.done.acquire(timeout=30)
    assert executor._scheduler.outcomes[-1][0].retval == 4


@pytest.mark.parametrize("body", [bodies.add, bodies.add_later])
def test_a_run_that_is_handed_over_early_begins_at_its_time(executor, body):
    if not executor.waits_for_time:
        # It runs in the tick, which waits itself.
        assert isinstance(executor, DebugExecutor)
        return
    due = clock.now() + timedelta(milliseconds=15)
    (outcome,) = run(executor, body, 2, 3, run_times=[due], early=True)
    assert (outcome.status, outcome.retval) == ("Executed", 5)
    assert outcome.started_time >= due


def test_a_run_that_waits_for_its_time_can_be_cancelled(executor, monkeypatch):
    if not executor.waits_for_time:
        assert isinstance(executor, DebugExecutor)
        return
    monkeypatch.setattr(runs, "MOST_AHEAD_SECONDS", 0.5)
    due = clock.now() + timedelta(seconds=0.5)
    early = Run(job(bodies.add, 1), "default", [due], early=True)
    executor.accept(early)
    executor.cancel(early, 0)
    assert executor.wait_until_idle(30)
    told = [o for outcomes in executor._scheduler.outcomes for o in outcomes]
    assert [outcome.status for outcome in told] == ["Cancelled"]


# The pools.


@pytest.fixture
def threads():
    executor = ThreadPoolExecutor(2)
    executor.start(Recorder(), "threads")
    yield executor
    executor.shutdown()


def test_two_threads_run_two_bodies_at_once(threads):
    together = threading.Barrier(2, timeout=10)
    for _ in range(2):
        threads.accept(Run(job(together.wait), "default", [NOON]))
    for _ in range(2):
        assert threads._scheduler.done.acquire(timeout=10)
    assert {o[0].status for o in threads._scheduler.outcomes} == {"Executed"}


def test_submitting_more_instances_than_allowed_is_refused(threads):
    release = threading.Event()
    blocked = job(release.wait)
    threads.submit_job(blocked, [NOON])
    with pytest.raises(MaxInstancesReachedError, match=r'"job".*\(1\)'):
        threads.submit_job(blocked, [NOON])
    release.set()
    assert threads.wait_until_idle(10)
    threads.submit_job(blocked, [NOON])
    assert threads.wait_until_idle(10)


def test_slots_are_idle_workers_while_bodies_are_slow(threads):
    release = threading.Event()
    assert threads.free_slots() == 2
    threads.accept(Run(job(release.wait), "default", [NOON]))
    assert threads.free_slots() == 1
    release.set()
    assert threads.wait_until_idle(10)


def test_fast_bodies_earn_a_look_ahead_in_proportion_to_their_rate(threads):
    threads._completed = 40
    threads._window_start -= 0.2
    # 40 completions in 200 ms are 20 in 100 ms, besides the two idle workers.
    assert 20 <= threads.free_slots() <= 22
    threads._completed = 1_000_000
    threads._window_start -= 0.2
    assert threads.free_slots() == 1002


def test_runs_that_wait_can_be_taken_back(threads):
    release = threading.Event()
    runs = [Run(job(release.wait), "default", [NOON]) for _ in range(5)]
    started = threading.Semaphore(0)
    threads._scheduler.run_begins = lambda run: started.release() or True
    for item in runs:
        item.execution_ids = [1]
        threads.accept(item)
    for _ in range(2):
        assert started.acquire(timeout=10)
    assert threads.take_back() == runs[2:]
    release.set()
    assert threads.wait_until_idle(10)
    assert len(threads._scheduler.outcomes) == 2


def test_shutdown_waits_for_running_bodies(threads):
    release = threading.Event()
    threads.accept(Run(job(release.wait), "default", [NOON]))
    threading.Timer(0.05, release.set).start()
    threads.shutdown(wait=True)
    assert len(threads._scheduler.outcomes) == 1


def test_what_is_submitted_after_shutdown_has_failed_and_says_so(threads):
    threads.shutdown()
    (outcome,) = run(threads, bodies.add, 1)
    assert outcome.status == "Error!"
    assert "'threads' has been shut down" in str(outcome.exception)


@pytest.mark.parametrize(
    "kind", [ThreadPoolExecutor, ProcessPoolExecutor, gevent_executor]
)
def test_a_pool_without_workers_is_refused(kind):
    for bad in (0, -1, "many", None, True):
        with pytest.raises(ValueError, match="max_workers must be a whole number"):
            kind(bad)
    assert kind("20").max_workers == 20


def test_unknown_pool_options_are_refused():
    with pytest.raises(TypeError, match="got colour"):
        ThreadPoolExecutor(1, {"colour": "red"})


def test_pool_options_reach_the_threads():
    seen = []
    executor = ThreadPoolExecutor(
        1,
        {
            "thread_name_prefix": "mine",
            "initializer": seen.append,
            "initargs": ("started",),
        },
    )
    executor.start(Recorder(), "x")
    (outcome,) = run(executor, lambda: threading.current_thread().name)
    executor.shutdown()
    assert outcome.retval == "mine_0"
    assert seen == ["started"]


def test_a_failed_body_keeps_no_variables_alive(threads):
    class Big:
        pass

    def body():
        big = Big()
        seen.append(weakref.ref(big))
        raise ValueError(big.__class__.__name__)

    seen = []
    (outcome,) = run(threads, body)
    gc.collect()
    assert outcome.exception is not None
    assert seen[0]() is None


def test_hooks_surround_every_body(threads):
    calls = []
    before, after = (functools.partial(calls.append, name) for name in ("in", "out"))
    base.add_run_hooks(before, after)
    base.add_run_hooks(before, after)
    try:
        run(threads, lambda: calls.append("body"))
        run(threads, bodies.fail, "x")
    finally:
        base._before_run.remove(before)
        base._after_run.remove(after)
    assert calls == ["in", "body", "out", "in", "out"]


@pytest.fixture
def processes():
    executor = ProcessPoolExecutor(1)
    executor.start(Recorder(), "processes")
    yield executor
    executor.shutdown()


def test_what_cannot_travel_between_processes_is_told_in_words(processes):
    (outcome,) = run(processes, bodies.fail_unpicklably)
    assert repr(outcome.exception) == "RuntimeError('Unpicklable: the reason')"
    (outcome,) = run(processes, bodies.return_unpicklably)
    assert outcome.retval.startswith("<function return_unpicklably")
    (outcome,) = run(processes, bodies.add, threading.Lock())
    assert outcome.status == "Error!"
    assert "cannot pickle" in str(outcome.exception)
    assert run(processes, bodies.add, 1)[0].retval == 1


def test_a_process_that_dies_fails_its_run_and_is_replaced(processes):
    (outcome,) = run(processes, bodies.die)
    assert outcome.status == "Error!"
    assert "ended abruptly" in str(outcome.exception)
    assert run(processes, bodies.add, 1)[0].retval == 1


PARENT = """
import sys, threading
from datetime import datetime, timezone
from django_apscheduler.schedulers.background import BackgroundScheduler
from tests.executors import bodies
from tests.schedulers.hosts import host_of
if __name__ == "__main__":
    s = BackgroundScheduler(executors={"default": {"type": "processpool"}}, timezone="UTC")
    s.add_job(bodies.write_pid_and_hang, args=[sys.argv[1]])
    s.start()
    threading.Event().wait()
"""


def test_processes_of_a_pool_end_within_a_second_of_a_killed_parent(tmp_path):
    path = tmp_path / "pid"
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, str(script), str(path)],
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    try:
        deadline = time.monotonic() + 30
        while not (path.exists() and path.read_text()) and time.monotonic() < deadline:
            threading.Event().wait(0.02)
        child = psutil.Process(int(path.read_text()))
    finally:
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 1
    while not ended(child) and time.monotonic() < deadline:
        threading.Event().wait(0.02)
    assert ended(child)


def ended(process):
    try:
        # Where nobody reaps orphans, what has ended stays on as a zombie.
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class ForApscheduler(BaseExecutor):
    """An executor written against APScheduler's interface."""

    def _do_submit_job(self, job, run_times):
        self.submitted.append((job, run_times))

    submitted = ()


def test_an_executor_written_for_apscheduler_works():
    from django_apscheduler.events import EVENT_JOB_EXECUTED, JobExecutionEvent

    executor = ForApscheduler()
    executor.submitted = []
    executor.start(Recorder(), "theirs")
    executor.accept(Run(job(bodies.add, 1), "default", [NOON]))
    ((submitted, run_times),) = executor.submitted
    event = JobExecutionEvent(EVENT_JOB_EXECUTED, "job", "default", NOON, retval=9)
    executor._run_job_success(submitted.id, [event])
    assert executor._scheduler.outcomes[-1][0].retval == 9
    executor.accept(Run(job(bodies.add, 1), "default", [NOON]))
    executor._run_job_error("job", ValueError("pool is gone"))
    (outcome,) = executor._scheduler.outcomes[-1]
    assert (outcome.status, str(outcome.exception)) == ("Error!", "pool is gone")
    assert run_times == [NOON]
    assert executor.runs == []


def test_an_initializer_that_fails_fails_a_run_and_is_tried_again_by_the_next():
    errors = [OSError("no licence server"), SystemExit(1)]

    def initialize():
        if errors:
            raise errors.pop(0)

    executor = ThreadPoolExecutor(1, {"initializer": initialize})
    executor.start(Recorder(), "x")
    first, second, third = (run(executor, lambda: 7)[0] for _ in range(3))
    executor.shutdown()
    assert (first.status, str(first.exception)) == ("Error!", "no licence server")
    assert (second.status, type(second.exception)) == ("Error!", SystemExit)
    assert (third.status, third.retval) == ("Executed", 7)


def test_a_pool_that_gets_no_further_thread_goes_on_with_those_it_has(caplog):
    executor = ThreadPoolExecutor(2)
    executor.start(Recorder(), "x")
    gate = threading.Event()
    executor.accept(Run(job(gate.wait), "default", [NOON]))
    before = threading.stack_size()
    # More than any address space has.
    threading.stack_size(1 << 46)
    try:
        executor.accept(Run(job(lambda: 7), "default", [NOON]))
    finally:
        threading.stack_size(before)
    gate.set()
    assert executor.wait_until_idle(30)
    executor.shutdown()
    outcomes = [o for told in executor._scheduler.outcomes for o in told]
    assert [o.status for o in outcomes] == ["Executed", "Executed"]
    assert "has to do with 1 threads" in caplog.text
