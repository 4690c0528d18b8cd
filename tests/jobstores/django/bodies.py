"""Callables for the jobs of these tests; each leaves its traces in a list or a file."""

from __future__ import annotations

import asyncio
import os
import time

from django_apscheduler.executors.base import current_run

calls: list[tuple] = []


def note(*args: object, **kwargs: object) -> None:
    """Remember the call."""
    calls.append((args, kwargs))


def other(*args: object, **kwargs: object) -> None:
    """Be another callable than `note`."""


def append(path: str, text: str) -> None:
    """Add a line to a file: the ledger that real processes write."""
    with open(path, "a") as ledger:
        ledger.write(f"{text} {os.getpid()}\n")


def append_slowly(path: str, text: str) -> None:
    """Add a line to a file, and take long enough for others to get some work."""
    append(path, text)
    time.sleep(0.1)


def append_and_hang_once(path: str, text: str) -> None:
    """Add a line to a file; the first attempt then takes a minute."""
    run = current_run()
    assert run is not None
    append(path, f"{text} {run.attempt}")
    if run.attempt == 1:
        time.sleep(60)


def append_and_rest_once(path: str, text: str) -> None:
    """Add a line to a file; the first attempt then takes a second and a half."""
    run = current_run()
    assert run is not None
    append(path, f"{text} {run.attempt}")
    if run.attempt == 1:
        time.sleep(1.5)


def heed(path: str) -> None:
    """Add a line to a file, then work until somebody cancels the run."""
    run = current_run()
    assert run is not None
    append(path, "began")
    try:
        while True:
            run.raise_if_cancelled()
            time.sleep(0.01)
    finally:
        append(path, "ended")


async def heed_later(path: str) -> None:
    """Do the same on an event loop."""
    append(path, "began")
    try:
        await asyncio.sleep(600)
    finally:
        append(path, "ended")


def ignore_all(path: str, seconds: float) -> None:
    """Add a line to a file and take some time, whatever anybody says."""
    append(path, "began")
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.01)


def write_and_heed(path: str, name: str) -> None:
    """Write to the database, and then work until somebody cancels the run."""
    from django.contrib.auth.models import Group

    Group.objects.create(name=name)
    heed(path)
