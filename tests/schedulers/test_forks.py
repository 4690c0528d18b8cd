"""Forks of a process whose scheduler runs: real ones, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys

MEMORY = """
import logging, os, sys, threading, time
from django_apscheduler.schedulers.background import BackgroundScheduler

logging.basicConfig(format="%(process)d %(levelname)s %(message)s", stream=sys.stdout)
logging.getLogger("django_apscheduler").setLevel("INFO")
ran = threading.Semaphore(0)
scheduler = BackgroundScheduler(timezone="UTC")
scheduler.start()
import atexit
atexit.register(scheduler.shutdown)
busy = threading.Event()

def body():
    busy.set()
    ran.release()
    time.sleep(0.2)

scheduler.add_job(body, "interval", seconds=0.3, id="body")
busy.wait()

held, release = threading.Event(), threading.Event()

def hold():
    with scheduler._lock, scheduler._tick_lock, scheduler._jobstores["default"].lock:
        held.set()
        release.wait()

thread = threading.Thread(target=hold)
thread.start()
held.wait()
child = os.fork()
if not child:
    import signal
    signal.alarm(20)  # instead of waiting for a lock that nobody will free
    release.set()
    print("child", scheduler.running, scheduler.running_jobs(), flush=True)
    scheduler.add_job(print, "interval", hours=1, id="mine")
    scheduler.add_job(print, "interval", hours=1, id="too")
    print("child", sorted(job.id for job in scheduler.get_jobs()), flush=True)
    if "restart" in sys.argv:
        scheduler.start()
        while not ran.acquire(timeout=10):
            pass
        print("child", scheduler.running, flush=True)
    sys.exit(0)
release.set()
status = os.waitpid(child, 0)[1]
while ran.acquire(blocking=False):
    pass
print("parent", status, scheduler.running, ran.acquire(timeout=10))
print("parent", [job.id for job in scheduler.get_jobs()])
"""


SEVERAL = """
import logging, os, sys
from django_apscheduler.schedulers.background import BackgroundScheduler

logging.basicConfig(format="%(levelname)s %(message)s", stream=sys.stdout)
scheduler = BackgroundScheduler(timezone="UTC")
scheduler.start()
for number in range(3):
    child = os.fork()
    if not child:
        scheduler.add_job(print, "interval", hours=1)
        os._exit(0)
    os.waitpid(child, 0)
scheduler.shutdown()
"""


def run(script: str, *arguments: str) -> list[str]:
    """Return the lines that a program prints, its children's among them."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *arguments],
        # Whole lines, though two processes write.
        env={**os.environ, "PYTHONUNBUFFERED": ""},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_a_child_only_writes_and_ends_whatever_the_parents_threads_hold():
    lines = run(MEMORY)
    said = [line for line in lines if line.startswith(("child", "parent"))]
    assert said == [
        "child False []",
        "child ['body', 'mine', 'too']",
        "parent 0 True True",
        "parent ['body']",
    ]
    errors = [line for line in lines if " ERROR " in line]
    assert len(errors) == 1
    assert "Start the scheduler after the fork" in errors[0]
    told = [line for line in lines if "A process was forked" in line]
    assert len(told) == 1


def test_a_child_may_start_the_scheduler_anew():
    lines = run(MEMORY, "restart")
    assert "child True" in lines
    assert "parent 0 True True" in lines


def test_each_of_several_children_is_told():
    lines = run(SEVERAL)
    assert len([line for line in lines if line.startswith("ERROR")]) == 3
