"""
Programs with a `GeventScheduler`, which tests start in processes of their own.

``python -m tests.schedulers.in_gevent patched count_connections`` runs the function of
that name in a process that gevent has patched before anything else was imported. Each
prints one line of JSON that tells what it saw.
"""

# ruff: noqa: E402 (what gevent patches must not be imported before)
from __future__ import annotations

import sys

PATCHED = sys.argv[1] == "patched"
if PATCHED:
    from gevent import monkey

    monkey.patch_all()

import asyncio
import gc
import json
import os
import sqlite3
import time
from collections import Counter

import django
import gevent
from gevent.event import Event

if "DJANGO_SETTINGS_MODULE" in os.environ:
    django.setup()

from django_apscheduler import current_run
from django_apscheduler import events as codes
from django_apscheduler.patched import real_thread_id
from django_apscheduler.schedulers.gevent import GeventScheduler

BODIES = "tests.schedulers.in_gevent_bodies"


def wait_for(condition, seconds=30.0):
    until = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < until, f"waited {seconds} s in vain"
        gevent.sleep(0.005)
    return answer


class Pauses:
    """
    Measures for how long no greenlet got its turn.

    A real thread counts looks, rather than seconds: on a machine that is busy with
    something else it is as late as the greenlets are.
    """

    LOOK_SECONDS = 0.005

    def __init__(self):
        from gevent import monkey

        self.turns, self.longest, self.over = 0, 0.0, False
        sleep = monkey.get_original("time", "sleep")
        start = monkey.get_original("_thread", "start_new_thread")
        self.greenlet = gevent.spawn(self.turn)
        start(self.look, (sleep,))

    def turn(self):
        while True:
            self.turns += 1
            gevent.sleep(0.001)

    def look(self, sleep):
        seen, looks = 0, 0
        while not self.over:
            sleep(self.LOOK_SECONDS)
            looks = looks + 1 if self.turns == seen else 0
            seen = self.turns
            self.longest = max(self.longest, looks * self.LOOK_SECONDS)

    def stop(self):
        self.over = True
        self.greenlet.kill()
        return self.longest


# In memory.


def run_jobs():
    """Plain and ``async def`` bodies, of several at once, and what becomes of them."""
    scheduler, seen = GeventScheduler(timezone="UTC"), []
    here, main = real_thread_id(), gevent.getcurrent()

    def body():
        gevent.sleep(0.02)
        seen.append(
            [
                current_run().job_id,
                gevent.getcurrent() is not main,
                real_thread_id() == here,
            ]
        )

    async def coroutine():
        await asyncio.sleep(0.02)
        seen.append([current_run().job_id, asyncio.get_running_loop() is not None])

    def fail():
        raise ValueError("no such account")

    codes_seen = Counter()
    scheduler.add_listener(lambda event: codes_seen.update([event.code]))
    greenlet = scheduler.start()
    for name in "ab":
        scheduler.add_job(body, id=name)
    for name in "cd":
        scheduler.add_job(coroutine, id=name)
    scheduler.add_job(fail)
    wait_for(lambda: len(seen) == 4)
    wait_for(lambda: codes_seen[codes.EVENT_JOB_ERROR])
    try:
        asyncio.get_running_loop()
        leaked = True
    except RuntimeError:
        leaked = False
    alive = not greenlet.ready()
    scheduler.shutdown()
    greenlet.join(10)
    return {
        "seen": sorted(seen),
        "executed": codes_seen[codes.EVENT_JOB_EXECUTED],
        "leaked": leaked,
        "ended": [alive, greenlet.ready(), greenlet.exception],
    }


def live():
    """Pausing, shutting down with and without waiting, starting again, killing."""
    scheduler, ran, release = GeventScheduler(timezone="UTC"), [], Event()
    seen = {}
    scheduler.start(paused=True)
    scheduler.add_job(ran.append, args=["paused"])
    gevent.sleep(0.1)
    seen["while paused"] = list(ran)
    scheduler.resume()
    wait_for(lambda: ran)

    def hold(name):
        release.wait(20)
        ran.append(name)

    scheduler.add_job(hold, args=["waited for"], id="hold")
    wait_for(lambda: scheduler.running_jobs() == ["hold"])
    gevent.spawn_later(0.1, release.set)
    scheduler.shutdown()
    seen["after a shutdown"] = list(ran)
    release.clear()
    scheduler.start()
    scheduler.add_job(hold, args=["left alone"], id="hold")
    wait_for(lambda: scheduler.running_jobs() == ["hold"])
    scheduler.shutdown(wait=False)
    seen["after one without waiting"] = list(ran)
    gevent.spawn_later(0.1, release.set)
    greenlet = scheduler.start()
    wait_for(lambda: len(ran) == 3)
    scheduler.add_job(ran.append, args=["started again"])
    wait_for(lambda: len(ran) == 4)
    seen["after another start"] = list(ran)
    greenlet.kill()
    wait_for(lambda: not scheduler.running)
    return seen


def limit():
    """No more bodies at once than ``max_workers`` and ``max_instances`` say."""
    from django_apscheduler.executors.gevent import GeventExecutor

    executor = GeventExecutor(max_workers=3)
    scheduler = GeventScheduler(executors={"default": executor}, timezone="UTC")
    now, most, ended = Counter(), Counter(), Counter()

    def body(name):
        for key in (name, "all"):
            now[key] += 1
            most[key] = max(most[key], now[key])
        gevent.sleep(0.05)
        for key in (name, "all"):
            now[key] -= 1
            ended[key] += 1

    skipped = []
    scheduler.add_listener(skipped.append, codes.EVENT_JOB_MAX_INSTANCES)
    scheduler.start()
    scheduler.add_job(body, "interval", seconds=0.02, args=["single"])
    for number in range(10):
        scheduler.add_job(body, args=[f"one {number}"])
    wait_for(lambda: ended["all"] >= 13 and skipped)
    scheduler.shutdown()
    return {"all": most["all"], "single": most["single"], "skipped": bool(skipped)}


def use_processes():
    """Bodies in a process of a pool, one after the other, while greenlets go on."""
    executor = {"type": "processpool", "max_workers": 1}
    scheduler, ended = GeventScheduler(executors={"one": executor}), []
    scheduler.add_listener(ended.append, codes.EVENT_JOB_EXECUTED)
    scheduler.start()
    scheduler.add_job(os.getpid, executor="one")
    wait_for(lambda: ended)
    pauses = Pauses()
    scheduler.add_job(time.sleep, args=[0.5], executor="one")
    wait_for(lambda: len(ended) == 2)
    longest = pauses.stop()
    # More than a pipe holds.
    scheduler.add_job(bytes, args=[1_000_000], executor="one")
    wait_for(lambda: len(ended) == 3)
    scheduler.add_job(os.getpid, executor="one")
    wait_for(lambda: len(ended) == 4)
    scheduler.shutdown()
    values = [event.retval for event in ended]
    return {
        "same": values[0] == values[3] != os.getpid(),
        "size": len(values[2]),
        "longest": longest,
    }


# In Django's database.


def make(**options):
    store = {"type": "django", **options}
    return GeventScheduler(
        executors={"default": {"type": "gevent"}, "greenlets": {"type": "gevent"}},
        jobstores={"default": store},
        timezone="UTC",
    )


def settled(**fields):
    from django_apscheduler.models import DjangoJobExecution

    rows = DjangoJobExecution.objects.filter(**fields)
    return Counter(rows.values_list("status", flat=True))


def is_open(raw):
    try:
        raw.total_changes  # noqa: B018
    except sqlite3.ProgrammingError:
        return False
    return True


def open_connections():
    """Return how many connections to the test's database this process has."""
    from django.db import connection

    if connection.vendor == "sqlite":
        # Files tell nothing: SQLite closes them when nobody here holds a lock.
        gc.collect()
        found = [o for o in gc.get_objects() if isinstance(o, sqlite3.Connection)]
        return sum(map(is_open, found))
    query = {
        "postgresql": "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database()",
        "mysql": "SELECT count(*) FROM information_schema.processlist "
        "WHERE db = database()",
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()[0]


def count_connections():
    """Hundreds of jobs that use the database, and the connections before and after."""
    from tests.schedulers.in_gevent_bodies import ran

    scheduler = make()
    scheduler.start()
    scheduler.add_job(f"{BODIES}:count_jobs")
    wait_for(lambda: settled(status="Executed")["Executed"] == 1)
    gevent.sleep(0.3)
    before = open_connections()
    scheduler.add_jobs([{"func": f"{BODIES}:count_jobs"} for _ in range(300)])
    wait_for(lambda: settled(status="Executed")["Executed"] == 301)
    gevent.sleep(0.3)
    after = open_connections()
    scheduler.add_job(f"{BODIES}:count_jobs_later")
    wait_for(lambda: ran["later"])
    scheduler.shutdown()
    return {"ran": ran["plain"], "more": after - before, "all": dict(settled())}


def keep_apart():
    """Bodies that leave transactions open while others run, each in its own."""
    from django.db import connection, transaction

    from tests.schedulers.in_gevent_bodies import seen

    scheduler = make()
    scheduler.start()
    scheduler.add_jobs(
        [
            {"func": f"{BODIES}:meet_in_transactions", "args": [name, 3]}
            for name in "abc"
        ]
    )
    wait_for(lambda: settled(status="Executed")["Executed"] == 3)
    # What ends while this greenlet has a transaction open leaves its connection alone.
    with transaction.atomic():
        connection.ensure_connection()
        waiting = gevent.spawn(end_bodies, scheduler)
        while not waiting.ready():
            gevent.sleep(0.005)
        waiting.get()
        untouched = not connection.closed_in_transaction
    scheduler.shutdown()
    return {
        "connections": len({number for number, _ in seen.values()}),
        "savepoints": sorted(depth for _, depth in seen.values()),
        "untouched": untouched,
    }


def end_bodies(scheduler):
    """Have a body of each kind begin and end."""
    from tests.schedulers.in_gevent_bodies import ran

    for body in ("count_jobs", "count_jobs_later"):
        scheduler.aadd_job(f"{BODIES}:{body}").get()
    wait_for(lambda: ran["plain"] and ran["later"])
    wait_for(lambda: not scheduler.running_jobs())
    gevent.sleep(0.1)


def cancel():
    scheduler = make()
    scheduler.start()
    job = scheduler.add_job(f"{BODIES}:wait_for_ever", next_run_time=None)
    execution_id = scheduler.run_job_now(job.id)
    wait_for(lambda: settled(status="Started execution"))
    scheduler.cancel_execution(execution_id)
    wait_for(lambda: settled(status="Cancelled"))
    from tests.schedulers.in_gevent_bodies import ran

    scheduler.shutdown()
    return {"all": dict(settled()), "cleaned up": ran["cleaned up"]}


def join_transactions():
    """Edits inside of ``atomic()`` are undone with it; others are not."""
    from django.db import transaction

    scheduler = make()
    scheduler.start(paused=True)
    scheduler.wait_until_started()
    try:
        with transaction.atomic():
            scheduler.add_job(f"{BODIES}:count_jobs", id="undone")
            inside = [job.id for job in scheduler.get_jobs()]
            raise LookupError
    except LookupError:
        pass
    greenlets = [
        gevent.spawn(scheduler.add_job, f"{BODIES}:count_jobs", id=name)
        for name in "abc"
    ]
    gevent.joinall(greenlets, raise_error=True)
    kept = sorted(job.id for job in scheduler.get_jobs())
    twin = scheduler.aget_job("a").get().id
    scheduler.shutdown()
    return {"inside": inside, "kept": kept, "twin": twin}


def face_a_slow_database():
    """Jobs and edits while the database does not answer for two seconds."""
    scheduler = make()
    scheduler.start()
    # Where gevent has not patched, what a body itself waits for holds up all others.
    body = "count_jobs" if PATCHED else "do_nothing"
    scheduler.add_job(f"{BODIES}:{body}", "interval", seconds=0.1)
    wait_for(lambda: settled(status="Executed")["Executed"] >= 2)
    edited = []

    def edit():
        scheduler.add_job(f"{BODIES}:do_nothing", id="edit", replace_existing=True)
        edited.append(time.monotonic())

    edit()
    pauses = Pauses()
    print("go", flush=True)
    # Read in a real thread: nothing else here must stop the greenlets.
    gevent.get_hub().threadpool.apply(sys.stdin.readline)
    began = time.monotonic()
    edit()
    took = time.monotonic() - began
    longest = pauses.stop()
    wait_for(lambda: settled(job_id="edit", status="Executed"))
    scheduler.shutdown()
    return {"longest": longest, "took": took}


def burn():
    """A body that computes for longer than the lease lasts."""
    scheduler = make(lease=3, heartbeat=0.5)
    scheduler.start()
    scheduler.wait_until_started()
    gevent.sleep(1)
    print("go", flush=True)
    gevent.get_hub().threadpool.apply(sys.stdin.readline)
    scheduler.add_job(f"{BODIES}:burn", args=[5], id="burn", executor="greenlets")
    wait_for(lambda: settled(job_id="burn", status="Executed"))
    gevent.sleep(1)
    scheduler.shutdown()
    return {"all": dict(settled(job_id="burn"))}


def serve():
    """Run what is due until standard input closes."""
    scheduler = make()
    scheduler.start()
    scheduler.wait_until_started()
    print("ready", flush=True)
    gevent.get_hub().threadpool.apply(sys.stdin.read)
    scheduler.shutdown()
    return {}


if __name__ == "__main__":
    answer = globals()[sys.argv[2]]()
    print(json.dumps(answer), flush=True)
