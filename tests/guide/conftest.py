"""What the guide's tests share: a clock that stands still, a scheduler stepped by hand."""

from __future__ import annotations

import fcntl
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from django_apscheduler import clock as clocks
from django_apscheduler.events import EVENT_ALL, SchedulerEvent
from django_apscheduler.schedulers.background import BackgroundScheduler
from django_apscheduler.schedulers.base import BaseScheduler
from tests.servers import MongoDB

#: A Monday at noon; every test of the guide begins then.
NOON = datetime(2026, 3, 2, 12, tzinfo=timezone.utc)

#: Seconds after which a test that waits for another thread gives up.
PATIENCE = 20.0


class StepScheduler(BaseScheduler):
    """A scheduler without a loop: it looks for due jobs when a test says so."""

    def wakeup(self) -> None:
        """Do nothing: the test decides when to look."""


@pytest.fixture
def noon() -> datetime:
    return NOON


@pytest.fixture
def clock() -> Iterator[clocks.ManualClock]:
    with clocks.use(clocks.ManualClock(NOON)) as manual:
        yield manual


@pytest.fixture
def scheduler(clock: clocks.ManualClock) -> Iterator[StepScheduler]:
    """Not yet started; its jobs run inside ``process_jobs()``."""
    scheduler = StepScheduler(timezone=timezone.utc)
    scheduler.add_executor("debug")
    yield scheduler
    if scheduler.running:
        scheduler.shutdown()


@pytest.fixture
def events(scheduler: StepScheduler) -> list[SchedulerEvent]:
    """Every event of ``scheduler``, in order, as it happens."""
    seen: list[SchedulerEvent] = []
    scheduler.add_listener(seen.append, EVENT_ALL)
    return seen


@pytest.fixture
def background(
    clock: clocks.ManualClock,
) -> Iterator[Callable[..., BackgroundScheduler]]:
    """Make background schedulers that are shut down when the test ends."""
    made: list[BackgroundScheduler] = []

    def make(*args: object, **options: object) -> BackgroundScheduler:
        scheduler = BackgroundScheduler(*args, **options)
        made.append(scheduler)
        return scheduler

    yield make
    for scheduler in made:
        if scheduler.running:
            scheduler.shutdown()


#: Where MongoDB's clients look when they are told nothing.
MONGODB_PORT = 27017


@pytest.fixture
def mongodb_by_default() -> Iterator[Any]:
    """A MongoDB server where ``MongoDBJobStore()`` looks for it; its collection of jobs."""
    pymongo = pytest.importorskip(
        "pymongo", reason="needs pymongo: pip install django-apscheduler[mongodb]"
    )
    missing = MongoDB.missing()
    if missing:
        pytest.skip(missing)
    # There is one such port for all processes of the tests; they take turns.
    with Path(tempfile.gettempdir(), "apscheduler-tests-27017").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        until = time.monotonic() + PATIENCE
        while _in_use(MONGODB_PORT):
            if time.monotonic() > until:
                pytest.skip(
                    f"needs port {MONGODB_PORT}, on which another server listens: "
                    "stop that one"
                )
            time.sleep(0.1)
        server = MongoDB(MONGODB_PORT)
        try:
            with pymongo.MongoClient() as client:
                yield client["apscheduler"]["jobs"]
        finally:
            server.remove()


def _in_use(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
