"""Schedulers that share a database, in threads and in real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import timedelta

import psutil
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, connections

from django_apscheduler.db import moment
from django_apscheduler.jobstores.django.store import DjangoJobStore
from django_apscheduler.models import (
    DjangoJob,
    DjangoJobExecution,
    SchedulerProcess,
)
from django_apscheduler.schedulers.background import BackgroundScheduler
from django_apscheduler.triggers.interval import IntervalTrigger
from tests.jobstores.django import bodies
from tests.jobstores.django.support import (
    UTC,
    Owner,
    add,
    finish,
    make_job,
    make_store,
    once,
    real_now,
    row,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]


def wait_for(condition, seconds=20.0):
    """Wait until ``condition()`` is true; what it depends on happens elsewhere."""
    until = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < until, f"waited {seconds} s for {condition}"
        time.sleep(0.02)
    return answer


@pytest.fixture
def scheduler():
    """A scheduler with threads of its own, in this process."""
    scheduler = BackgroundScheduler(
        jobstores={"default": {"type": "django"}}, timezone="UTC"
    )
    scheduler.start()
    yield scheduler
    scheduler.shutdown()


@pytest.fixture
def workers(child_environment):
    """Start scheduler processes, and end them in the end."""
    started = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.jobstores.django.worker", *arguments],
            env=child_environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.stdin.close()
    for process in started:
        process.wait(20)
        process.stdout.close()


def test_threads_that_claim_at_once_claim_each_occurrence_once(running):
    stores = [running() for _ in range(3)]
    due = real_now() - timedelta(minutes=1)
    stores[0].add_jobs(
        [make_job(f"job{n}", trigger=once(due), now=due) for n in range(150)]
    )
    claimed, faults = [], []

    def work(store):
        try:
            for _ in range(60):
                runs = store.claim_due({"default": 7}).runs
                claimed.extend(run.job.id for run in runs)
                finish(store, *runs)
        except Exception as error:
            faults.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert Counter(claimed) == {f"job{n}": 1 for n in range(150)}
    assert DjangoJobExecution.objects.filter(status="Executed").count() == 150


def test_one_instance_means_one_in_all_threads(running):
    stores = [running() for _ in range(3)]
    start = real_now() - timedelta(hours=1)
    trigger = IntervalTrigger(seconds=1, start_date=start, timezone=UTC)
    job = make_job(trigger=trigger, now=start, coalesce=False, misfire_grace_time=1)
    stores[0].add_job(job)
    inside, most, lock = 0, 0, threading.Lock()

    def work(store):
        nonlocal inside, most
        for _ in range(30):
            for run in store.claim_due({"default": 3}).runs:
                with lock:
                    inside += 1
                    most = max(most, inside)
                time.sleep(0.01)
                with lock:
                    inside -= 1
                finish(store, run)
        connections.close_all()

    threads = [threading.Thread(target=work, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_processes_run_each_occurrence_once(workers, tmp_path):
    path = tmp_path / "ledger"
    path.touch()
    for _ in range(2):
        workers()
    due = real_now()
    jobs = [
        make_job(
            f"job{n}", bodies.append_slowly, once(due), due, args=(str(path), f"job{n}")
        )
        for n in range(60)
    ]
    make_store().add_jobs(jobs)
    executed = DjangoJobExecution.objects.filter(status="Executed")
    wait_for(lambda: executed.count() == 60, 60)
    lines = [line.split() for line in path.read_text().splitlines()]
    assert Counter(name for name, _ in lines) == {f"job{n}": 1 for n in range(60)}
    # Both took part.
    assert len({pid for _, pid in lines}) == 2
    assert DjangoJobExecution.objects.count() == 60


def test_what_a_killed_process_was_running_runs_again_elsewhere(
    workers, scheduler, tmp_path
):
    path = tmp_path / "ledger"
    path.touch()
    scheduler.pause()
    victim = workers()
    add(
        make_store(), func=bodies.append_and_hang_once, args=(str(path), "job"),
        trigger=once(), next_run_time=real_now(),
    )  # fmt: skip
    started = DjangoJobExecution.objects.filter(status="Started execution")
    wait_for(started.exists)
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    # Instead of waiting for the lease to run out.
    SchedulerProcess.objects.filter(pid=victim.pid).update(lease_until=moment(None))
    scheduler.resume()
    executed = DjangoJobExecution.objects.filter(status="Executed")
    wait_for(executed.exists)
    execution = executed.get()
    assert (execution.attempt, execution.losses) == (2, 1)
    assert execution.owner.pid == os.getpid()
    lines = path.read_text().splitlines()
    assert lines == [f"job 1 {victim.pid}", f"job 2 {os.getpid()}"]
    assert SchedulerProcess.objects.get(pid=victim.pid).state == "dead"


def test_a_process_that_was_stopped_comes_back_and_overwrites_nothing(
    workers, scheduler, tmp_path
):
    path = tmp_path / "ledger"
    path.touch()
    scheduler.pause()
    sleeper = workers()
    add(
        make_store(), func=bodies.append_and_rest_once, args=(str(path), "job"),
        trigger=once(), next_run_time=real_now(),
    )  # fmt: skip
    started = DjangoJobExecution.objects.filter(status="Started execution")
    wait_for(started.exists)
    os.kill(sleeper.pid, signal.SIGSTOP)
    try:
        own = SchedulerProcess.objects.filter(pid=sleeper.pid)
        own.update(lease_until=moment(None))
        scheduler.resume()
        executed = DjangoJobExecution.objects.filter(status="Executed")
        wait_for(executed.exists)
        before = executed.values().get()
        assert (before["attempt"], before["losses"]) == (2, 1)
    finally:
        os.kill(sleeper.pid, signal.SIGCONT)
    # Its body ends, its outcome is refused, and it goes on under a new identity.
    wait_for(lambda: own.filter(state="alive").exists())
    time.sleep(1.6)
    assert executed.values().get() == before
    assert [line.split()[1] for line in path.read_text().splitlines()] == ["1", "2"]


def test_what_a_stopped_process_had_claimed_never_begins_there(
    workers, scheduler, tmp_path
):
    path = tmp_path / "ledger"
    path.touch()
    scheduler.pause()
    scheduler.add_executor("threadpool", "processes", max_workers=1)
    sleeper = workers()
    add(
        make_store(), func=bodies.append, args=(str(path), "job"), trigger=once(),
        executor="processes", next_run_time=real_now(),
    )  # fmt: skip
    # The process that is to run it takes its time to start.
    wait_for(DjangoJobExecution.objects.filter(status="Claimed").exists)
    parent = psutil.Process(sleeper.pid)
    parent.suspend()
    stopped = [parent, *parent.children(recursive=True)]
    try:
        for process in stopped[1:]:
            process.suspend()
        assert path.read_text() == "", "the body began before it could be stopped"
        own = SchedulerProcess.objects.filter(pid=sleeper.pid)
        own.update(lease_until=moment(None))
        scheduler.resume()
        executed = DjangoJobExecution.objects.filter(status="Executed")
        wait_for(executed.exists)
        # Until its lease is over by its own reckoning, too.
        time.sleep(6)
    finally:
        for process in stopped:
            process.resume()
    wait_for(lambda: own.filter(state="alive").exists())
    time.sleep(1.5)
    assert path.read_text() == f"job {os.getpid()}\n"
    assert executed.get().owner.pid == os.getpid()


def test_a_job_added_elsewhere_runs_at_once(workers, tmp_path):
    path = tmp_path / "ledger"
    path.touch()
    # Told, it need not wait for its next look, which is half a minute away.
    workers("30")
    time.sleep(0.3)
    add(
        make_store(), func=bodies.append, args=(str(path), "now"),
        trigger=once(), next_run_time=real_now(),
    )  # fmt: skip
    wait_for(DjangoJobExecution.objects.filter(status="Executed").exists, 15)


def test_an_edit_wakes_the_scheduler_long_before_the_poll(running):
    store = running(poll=30)
    wait_for(lambda: store._scheduler.wakes)
    before = store._scheduler.wakes
    began = time.monotonic()
    make_store().add_job(make_job())
    wait_for(lambda: store._scheduler.wakes > before, 5)
    assert time.monotonic() - began < 1


def test_a_running_scheduler_is_there_for_all_to_see(running):
    store = running()
    process = SchedulerProcess.objects.get()
    assert (process.pid, process.state, process.executors) == (
        os.getpid(),
        "alive",
        '{"default": 9}',
    )
    assert process.pk == store.membership.id
    first = process.lease_until
    assert timedelta(seconds=3) < first - real_now() <= timedelta(seconds=6)
    wait_for(lambda: SchedulerProcess.objects.get().lease_until > first)
    store.shutdown()
    assert SchedulerProcess.objects.get().state == "dead"


def test_a_scheduler_taken_for_dead_comes_back_under_a_new_identity(running, caplog):
    store = running()
    add(make_store(), trigger=once(), next_run_time=real_now())
    (run,) = store.claim_due({"default": 1}).runs
    SchedulerProcess.objects.update(state="dead")
    wait_for(lambda: SchedulerProcess.objects.filter(state="alive").exists())
    wait_for(lambda: not store.may_start(run))
    assert "was taken for dead" in caplog.text
    # Its own orphan is claimed anew, as another attempt.
    wait_for(lambda: DjangoJobExecution.objects.filter(status="Queued").exists())
    (again,) = store.claim_due({"default": 1}).runs
    assert (again.attempt, again.execution_ids) == (2, run.execution_ids)
    assert finish(store, run) == []
    assert len(finish(store, again)) == 1


def test_broken_connections_are_replaced(running):
    store = running()
    add(make_store(), trigger=once(), next_run_time=real_now())
    store.claim_due({"gpu": 1})
    if connection.vendor == "postgresql":
        # All but the test's own, so those of its threads as well.
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )
            assert len(cursor.fetchall()) >= 2
    else:
        for own in (store.claiming, store.settling, store.beating):
            with own as wrapper:
                wrapper.ensure_connection()
                wrapper.connection.close()
    runs = []

    def claimed():
        try:
            runs.extend(store.claim_due({"default": 1}).runs)
        except Exception:
            # The scheduler logs it, and tries again after a moment.
            return False
        return runs

    wait_for(claimed)
    wait_for(lambda: settles(store, runs))
    assert DjangoJobExecution.objects.get().status == "Executed"
    lease = SchedulerProcess.objects.get().lease_until
    wait_for(lambda: SchedulerProcess.objects.get().lease_until > lease)
    wakes = store._scheduler.wakes
    make_store().add_job(make_job("other"))
    wait_for(lambda: store._scheduler.wakes > wakes)


def settles(store, runs):
    try:
        return finish(store, *runs)
    except Exception:
        return False


def test_a_claim_whose_commit_went_unanswered_is_found_long_before_its_time(running):
    store = running()
    add(make_store(), trigger=once(), next_run_time=real_now())
    (run,) = store.claim_due({"default": 1}).runs
    # As when the reply to COMMIT was lost: the claim failed, as far as we know.
    store.forget(run)
    store.doubt()
    began = time.monotonic()
    wait_for(DjangoJobExecution.objects.filter(status="Queued").exists)
    assert time.monotonic() - began < 9
    (again,) = store.claim_due({"default": 1}).runs
    assert (again.execution_ids, again.attempt) == (run.execution_ids, 1)


def test_a_claim_that_fails_leaves_nothing_half_done(running, monkeypatch):
    store = running()
    add(make_store(), trigger=once(), next_run_time=(due := real_now()))

    def fail(*args):
        raise RuntimeError("just before the commit")

    monkeypatch.setattr(store.membership, "note_unresolved", fail)
    with pytest.raises(RuntimeError):
        store.claim_due({"default": 1})
    assert row().next_run_time == due
    assert not DjangoJobExecution.objects.exists()
    assert store.here.jobs() == []
    monkeypatch.undo()
    assert len(store.claim_due({"default": 1}).runs) == 1


def test_edits_and_claims_at_once_lose_neither(running):
    """A storm of edits while two stores claim: no deadlock, no lost edit."""
    stores = [running(), running()]
    start = real_now() - timedelta(minutes=5)
    trigger = IntervalTrigger(seconds=1, start_date=start, timezone=UTC)
    for n in range(5):
        add(stores[0], f"job{n}", trigger=trigger, now=start, coalesce=False)
    faults, stop = [], threading.Event()

    def guarded(work):
        try:
            work()
        except Exception as error:
            faults.append(error)
        finally:
            connections.close_all()

    def claims(store):
        while not stop.is_set():
            finish(store, *store.claim_due({"default": 3}).runs)

    def edits(offset):
        for n in range(40):
            job = stores[0].lookup_job(f"job{n % 5}")
            job._modify(max_instances=100 * offset + n + 1)
            stores[0].update_job(job)

    editors = [
        threading.Thread(target=guarded, args=(lambda o=o: edits(o),)) for o in (1, 2)
    ]
    claimers = [
        threading.Thread(target=guarded, args=(lambda s=s: claims(s),)) for s in stores
    ]
    for thread in editors + claimers:
        thread.start()
    for thread in editors:
        thread.join()
    stop.set()
    for thread in claimers:
        thread.join()
    assert faults == []
    assert (
        list(DjangoJob.objects.order_by("id").values_list("revision", flat=True))
        == [17] * 5
    )
    keys = DjangoJobExecution.objects.values_list("job_id", "run_time")
    assert len(keys) == len(set(keys))


def test_a_scheduler_on_a_database_in_memory_is_refused(monkeypatch):
    monkeypatch.setattr(connection, "vendor", "sqlite")
    monkeypatch.setattr(connection, "is_in_memory_db", lambda: True, raising=False)
    store = DjangoJobStore()
    with pytest.raises(ImproperlyConfigured, match="Use a file as NAME"):
        store.start(Owner(), "default", run=True)
    store.start(Owner(), "default")
