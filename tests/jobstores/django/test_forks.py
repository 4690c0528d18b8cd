"""Forks of a process whose scheduler runs on the shared store."""

from __future__ import annotations

import subprocess
import sys

import pytest

from django_apscheduler.models import DjangoJob, SchedulerProcess

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]

FORK = """
import atexit, logging, os, signal, sys, threading, time
import django

django.setup()
from django.db import connection
from django_apscheduler import get_scheduler
from django_apscheduler.models import DjangoJob, SchedulerProcess
from django_apscheduler.schedulers.background import BackgroundScheduler

logging.basicConfig(format="%(process)d %(levelname)s %(message)s", stream=sys.stdout)
# The connection of this thread is open when it forks, and a transaction's socket would
# be the child's, too.
DjangoJob.objects.count()
inherited = connection.connection
scheduler = BackgroundScheduler(jobstores={"default": {"type": "django"}})
scheduler.start()
atexit.register(scheduler.shutdown)
store = scheduler._jobstores["default"]
private = [c._wrapper for c in (store.claiming, store.settling, store.beating)]
child = os.fork()
if not child:
    import faulthandler
    signal.alarm(30)  # instead of waiting for ever, and says where it waits
    faulthandler.dump_traceback_later(15, file=sys.stdout)
    scheduler.add_job("os:getpid", id="by-the-inherited")
    get_scheduler().add_job("os:getpid", id="by-get-scheduler")
    print("child", connection.connection is not inherited, flush=True)
    scheduler.shutdown()
    sys.exit(0)
status = os.waitpid(child, 0)[1]
deadline = time.monotonic() + 30
while DjangoJob.objects.filter(state="active").exists():
    assert time.monotonic() < deadline
    time.sleep(0.02)
row = SchedulerProcess.objects.get()
print("parent", status, row.pid == os.getpid(), row.state, scheduler.running)
print("parent", connection.connection is inherited)
# What had been open before the fork still is: nobody said goodbye on it.
now = [c._wrapper for c in (store.claiming, store.settling, store.beating)]
print("parent", all(a is b for a, b in zip(private, now) if a is not None))
"""


def test_a_child_uses_no_connection_of_the_parents_and_retires_nobody(
    child_environment,
):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORK],
        # Whole lines, though two processes write.
        env={**child_environment, "PYTHONUNBUFFERED": ""},
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    lines = done.stdout.splitlines()
    said = [line for line in lines if line.startswith(("child", "parent"))]
    assert said == [
        "child True",
        "parent 0 True alive True",
        "parent True",
        "parent True",
    ], done.stdout
    errors = [line for line in lines if not line.startswith(("child", "parent"))]
    assert len(errors) == 1, done.stdout
    assert "is a fork of the one that started the scheduler" in errors[0]
    assert set(DjangoJob.objects.values_list("state", flat=True)) == {"finished"}
    assert SchedulerProcess.objects.get().state == SchedulerProcess.State.DEAD


MANY = """
import os, signal, sys, time
import django

django.setup()
from django_apscheduler.models import DjangoJob
from django_apscheduler.schedulers.background import BackgroundScheduler

scheduler = BackgroundScheduler(jobstores={"default": {"type": "django"}})
scheduler.start()
# Threads are busy with the database all the time.
scheduler.add_job(time.sleep, "interval", args=[0], seconds=0.005, id="busy")
status = 0
for number in range(60):
    child = os.fork()
    if not child:
        signal.alarm(20)  # instead of waiting for ever
        DjangoJob.objects.count()
        os._exit(0)
    status = status or os.waitpid(child, 0)[1]
print(status)
scheduler.shutdown()
"""


def test_no_child_finds_the_database_locked_by_a_thread_that_it_lacks(
    child_environment,
):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", MANY],
        # Whole lines, though two processes write.
        env={**child_environment, "PYTHONUNBUFFERED": ""},
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr
