"""
The gevent scheduler, in processes that gevent has patched and in others.

Nothing is patched in the tests' own process; the programs are in `in_gevent`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from importlib.util import find_spec

import pytest
from django.db import connection

from django_apscheduler.models import (
    DjangoJob,
    DjangoJobExecution,
    SchedulerProcess,
)
from django_apscheduler.schedulers.background import BackgroundScheduler

BODIES = "tests.schedulers.in_gevent_bodies"
pytestmark = pytest.mark.skipif(
    find_spec("gevent") is None, reason="needs gevent: pip install -e '.[gevent]'"
)
database = [pytest.mark.django_db(transaction=True), pytest.mark.processes]


def uses_database(test):
    for mark in database:
        test = mark(test)
    return test


@pytest.fixture(params=["patched", "unpatched"])
def mode(request):
    return request.param


@pytest.fixture
def start(mode, child_environment):
    """Start programs of `in_gevent`, and end them in the end."""
    started = []

    def start(name, environment=child_environment):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.schedulers.in_gevent", mode, name],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def answer(process):
    """Return what a program saw; nothing may go wrong on the way."""
    output, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    return json.loads(output.splitlines()[-1])


# In memory.


def test_bodies_run_in_greenlets_and_coroutines_on_loops(start, mode):
    assert answer(start("run_jobs")) == {
        "seen": [["a", True, True], ["b", True, True], ["c", True], ["d", True]],
        "executed": 4,
        "leaked": False,
        "ended": [True, True, None],
    }


def test_it_pauses_stops_and_starts_again(start):
    assert answer(start("live")) == {
        "while paused": [],
        "after a shutdown": ["paused", "waited for"],
        "after one without waiting": ["paused", "waited for"],
        "after another start": [
            "paused",
            "waited for",
            "left alone",
            "started again",
        ],
    }


def test_bodies_at_once_are_limited(start):
    assert answer(start("limit")) == {"all": 3, "single": 1, "skipped": True}


@pytest.mark.parametrize("mode", ["patched"], indirect=True)
def test_a_process_of_a_pool_is_waited_for_and_used_again(start):
    process = start("use_processes")
    output, errors = process.communicate(timeout=100)
    assert (process.returncode, errors) == (0, "")
    seen = json.loads(output.splitlines()[-1])
    assert (seen["same"], seen["size"]) == (True, 1_000_000)
    assert seen["longest"] < 0.2


# In Django's database.


@uses_database
def test_hundreds_of_jobs_leave_no_connection_behind(start):
    seen = answer(start("count_connections"))
    assert (seen["ran"], seen["all"]) == (301, {"Executed": 302})
    assert seen["more"] <= 2, "one for calls of the scheduler's methods at once"


@uses_database
def test_each_body_has_a_connection_of_its_own(start):
    assert answer(start("keep_apart")) == {
        "connections": 3,
        "savepoints": [0, 0, 0],
        "untouched": True,
    }


@uses_database
def test_cancelling_ends_the_greenlet_of_a_body(start):
    assert answer(start("cancel")) == {"all": {"Cancelled": 1}, "cleaned up": 1}


@uses_database
def test_edits_join_the_transaction_of_the_greenlet(start):
    assert answer(start("join_transactions")) == {
        "inside": ["undone"],
        "kept": ["a", "b", "c"],
        "twin": "a",
    }


def hold_the_database(seconds, then):
    """Have nobody else write to, and on servers read from, the jobs for a while."""
    table = connection.ops.quote_name(DjangoJob._meta.db_table)
    begin, end = {
        "sqlite": ("BEGIN IMMEDIATE", "ROLLBACK"),
        "postgresql": (
            f"BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE",
            "ROLLBACK",
        ),
        "mysql": (f"LOCK TABLES {table} WRITE", "UNLOCK TABLES"),
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(begin)
        then()
        time.sleep(seconds)
        cursor.execute(end)


@pytest.fixture
def driver_in_c():
    if connection.vendor == "mysql" and connection.Database.__name__ == "pymysql":
        # It computes in Python, on the hub, and no real thread can call it.
        pytest.skip("needs a driver in C: pip install mysqlclient")


@uses_database
@pytest.mark.usefixtures("driver_in_c")
def test_a_slow_database_does_not_stop_other_greenlets(start):
    # On a machine that is busy the hub waits for a processor now and then. One that is
    # blocked is so each time.
    longest = []
    while len(longest) < 5 and min(longest, default=1) >= 0.05:
        process = start("face_a_slow_database")
        assert process.stdout.readline() == "go\n", process.stderr.read()
        hold_the_database(2, partial(tell, process))
        seen = answer(process)
        assert seen["took"] > 1, "the call waited for the database"
        longest.append(seen["longest"])
    assert min(longest) < 0.05, longest


def tell(process):
    process.stdin.write("\n")
    process.stdin.flush()


@uses_database
@pytest.mark.usefixtures("driver_in_c")
@pytest.mark.parametrize("mode", ["patched"], indirect=True)
def test_a_body_that_computes_for_longer_than_the_lease_keeps_it(start):
    process = start("burn")
    assert process.stdout.readline() == "go\n", process.stderr.read()
    other = BackgroundScheduler(
        jobstores={"default": {"type": "django"}}, timezone="UTC"
    )
    other.start()
    try:
        tell(process)
        assert answer(process) == {"all": {"Executed": 1}}
    finally:
        other.shutdown()
    (execution,) = DjangoJobExecution.objects.all()
    assert (execution.attempt, execution.note) == (1, "")
    assert SchedulerProcess.objects.count() == 2, "nobody had to begin a new life"


@uses_database
def test_it_shares_jobs_with_other_schedulers(start, tmp_path):
    path = tmp_path / "told"
    process = start("serve")
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    other = BackgroundScheduler(
        jobstores={"default": {"type": "django"}}, timezone="UTC"
    )
    other.start()
    try:
        for number in range(20):
            other.add_job(
                f"{BODIES}:tell",
                "interval",
                seconds=0.2,
                args=[str(path)],
                id=f"{number}",
                misfire_grace_time=None,
                coalesce=False,
            )
        time.sleep(2.5)
        other.remove_all_jobs()
    finally:
        other.shutdown()
    answer(process)
    told = [line.split() for line in path.read_text().splitlines()]
    times = Counter((execution, attempt) for execution, attempt, _ in told)
    assert max(times.values()) == 1
    assert len({pid for _, _, pid in told}) == 2, "both had a share"
    ran = DjangoJobExecution.objects.filter(status="Executed")
    assert {str(pk) for pk in ran.values_list("pk", flat=True)} == {
        execution for execution, _, _ in told
    }


@uses_database
@pytest.mark.parametrize("mode", ["patched"], indirect=True)
def test_what_a_killed_one_was_running_is_taken_over(start, tmp_path):
    path = tmp_path / "told"
    process = start("serve")
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    other = BackgroundScheduler(
        jobstores={"default": {"type": "django"}},
        executors={"greenlets": {"type": "gevent"}},
        timezone="UTC",
    )
    other.add_job(f"{BODIES}:tell_and_hang", args=[str(path)], executor="greenlets")
    other.start(paused=True)
    try:
        until(lambda: path.exists() and path.read_text())
        process.kill()
        other.resume()
        until(lambda: len(path.read_text().splitlines()) == 2)
        assert [line.split()[1] for line in path.read_text().splitlines()] == ["1", "2"]
    finally:
        other.shutdown()


def until(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        time.sleep(0.02)


def test_methods_take_every_argument_by_its_name():
    program = """
from django_apscheduler.schedulers.gevent import GeventScheduler
scheduler = GeventScheduler(timezone="UTC")
scheduler.start(paused=True)
job = scheduler.add_job(func=print, trigger="interval", hours=1, id="a")
print(job.id, job.func is print)
scheduler.shutdown()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("a True\n", "")
