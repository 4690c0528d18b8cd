"""Jobs for the tests of the commands. They write what they do into a ledger file."""

from __future__ import annotations

import asyncio
import os
import time

from django_apscheduler import current_run, get_scheduler, scheduled_job
from django_apscheduler.events import EVENT_JOB_SUBMITTED

WANTED = os.environ.get("SHOP_JOBS", "tick").split(",")


def note(text: str) -> None:
    """Append a line; one write, so that lines of several processes do not mix."""
    with open(os.environ["LEDGER"], "a") as ledger:
        ledger.write(f"{text}\n")


def tick():
    """Count the seconds."""
    note(f"tick {current_run().run_time.isoformat()}")


def fail():
    raise ValueError("no such\ncurrency")


def slow():
    note("slow begins")
    time.sleep(float(os.environ.get("SLOW_SECONDS", "3")))
    note("slow ends")


def crunch():
    from django.conf import settings

    note(f"crunch {settings.TIME_ZONE} {os.getpid()} {os.getppid()}")


async def wait():
    from django_apscheduler.models import DjangoJob

    note(f"wait {await DjangoJob.objects.acount()}")


async def wait_long():
    note("wait_long begins")
    await asyncio.sleep(600)


def die():
    """Break the scheduler's loop, as nothing should."""

    def broken():
        raise MemoryError("no memory left")

    get_scheduler().process_jobs = broken
    get_scheduler().wakeup()


def hold():
    """Go on until the test says that it is enough, by a file."""
    note("hold begins")
    while not os.path.exists(os.environ["LEDGER"] + ".enough"):
        time.sleep(0.05)


def wedge():
    """Have the scheduler's loop hang, in a listener that never returns."""
    get_scheduler().add_listener(lambda event: time.sleep(600), EVENT_JOB_SUBMITTED)
    note("wedged")


def pause():
    get_scheduler().pause()
    note("paused")


def shut_down():
    get_scheduler().shutdown()


def add_child():
    get_scheduler().add_job(child, id="child", replace_existing=True)


def child():
    note("child")


if os.environ.get("EXTRA"):
    __import__(os.environ["EXTRA"])

if "tick" in WANTED:
    scheduled_job("interval", seconds=1, id="tick")(tick)
if "fail" in WANTED:
    scheduled_job("interval", seconds=1, id="fail")(fail)
if "slow" in WANTED:
    scheduled_job("interval", seconds=1, id="slow")(slow)
if "crunch" in WANTED:
    scheduled_job("interval", seconds=1, id="crunch", executor="processpool")(crunch)
if "wait" in WANTED:
    scheduled_job("interval", seconds=1, id="wait", executor="asyncio")(wait)
if "wait_long" in WANTED:
    scheduled_job("interval", seconds=1, id="wait_long", executor="asyncio")(wait_long)
for name, func in (
    ("die", die),
    ("pause", pause),
    ("hold", hold),
    ("wedge", wedge),
    ("shut_down", shut_down),
    ("add_child", add_child),
):
    if name in WANTED:
        scheduled_job("interval", seconds=1, id=name)(func)
if "nightly" in WANTED:
    scheduled_job("cron", hour=3, id="nightly", name="Nightly report")(tick)
if "never" in WANTED:
    scheduled_job("cron", month=2, day=30, id="never")(tick)
if "broken" in WANTED:
    raise RuntimeError("this module is broken")
