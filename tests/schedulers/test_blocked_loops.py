"""While a database takes two seconds to answer, no event loop pauses for 50 ms."""

from __future__ import annotations

import sqlite3
import threading
import time

import pytest
from django.contrib.auth.models import Group
from django.db import connection, connections

from django_apscheduler import events as codes
from django_apscheduler import signals
from django_apscheduler.jobstores.django import DjangoJobStore
from django_apscheduler.models import DjangoJob, DjangoJobExecution
from django_apscheduler.schedulers import SCHEDULERS
from django_apscheduler.util import ref_to_obj
from tests.chaos.proxy import Proxy
from tests.schedulers.hosts import LOOPS

SLOWLY = 2.0
#: What is promised, in seconds.
LONGEST_PAUSE = 0.05
EVERY_JOB = {"plain", "coroutine", "of_a_group"}


def longest_pause(host, seconds):
    """Return how long, at most, the loop let a call wait that was given to it."""
    waits = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        given = time.monotonic()
        waits.append(host.call(time.monotonic) - given)
        time.sleep(0.004)
    return max(waits)


class SlowServer:
    """PostgreSQL or MariaDB behind a proxy that holds replies back."""

    def __init__(self):
        self.proxy = Proxy.before(connection)
        # What new connections, those of the scheduler, are opened with.
        self.settings = connections.databases["default"]
        self.before = dict(self.settings)
        changes = self.proxy.database
        options = {**self.settings["OPTIONS"], **changes.pop("OPTIONS", {})}
        self.settings.update(changes, OPTIONS=options)

    def slow_down(self):
        self.proxy.delay = SLOWLY

    def recover(self):
        self.proxy.delay = 0.0

    def close(self):
        self.settings.update(self.before)
        connections.close_all()
        self.proxy.close()


class LockedFile:
    """SQLite's file, whose lock for writers somebody holds."""

    def __init__(self):
        self.name = connection.settings_dict["NAME"]
        self.holder = None

    def slow_down(self):
        held = threading.Event()
        self.over = threading.Event()
        self.holder = threading.Thread(target=self._hold, args=(held,))
        self.holder.start()
        assert held.wait(20)

    def _hold(self, held):
        with sqlite3.connect(self.name, timeout=20, isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            held.set()
            self.over.wait(SLOWLY)
            other.execute("ROLLBACK")
        other.close()

    def recover(self):
        self.over.set()
        self.holder.join(20)

    def close(self):
        pass


@pytest.fixture
def database(transactional_db):
    database = LockedFile() if connection.vendor == "sqlite" else SlowServer()
    yield database
    database.close()


def plain():
    pass


async def coroutine():
    pass


async def of_a_group(group):
    # Loaded by then, though the loop itself asks no database.
    assert group.name == "staff"


def executed():
    """Return the ids of the jobs that have run."""
    rows = DjangoJobExecution.objects.filter(status="Executed")
    return set(rows.values_list("job_id", flat=True))


@pytest.mark.parametrize("host", LOOPS, indirect=True)
def test_the_detector_sees_a_loop_that_is_held_up(host):
    threading.Timer(0.05, host.soon, [lambda: time.sleep(0.2)]).start()
    assert longest_pause(host, 0.2) > 0.1


@pytest.mark.parametrize("host", LOOPS, indirect=True)
def test_the_loop_goes_on_while_the_database_takes_its_time(host, database):
    loop_thread = host.call(threading.get_ident)
    receivers = []

    def receive(sender, event, **kwargs):
        # With queries of its own, which Django refuses on a loop.
        DjangoJob.objects.count()
        receivers.append(threading.get_ident())

    cls = ref_to_obj(SCHEDULERS[host.kind])
    stores = {"default": DjangoJobStore()}
    scheduler = cls(timezone="UTC", jobstores=stores, **host.options())
    signals.scheduler_paused.connect(receive)
    signals.job_executed.connect(receive)
    scheduler.add_listener(
        lambda event: receivers.append(threading.get_ident()), codes.EVENT_ALL
    )
    try:
        host.start(scheduler)
        scheduler.wait_until_started()
        group = Group.objects.create(name="staff")
        for body, *args in ((plain,), (coroutine,), (of_a_group, group)):
            options = {"args": args, "seconds": 0.2, "id": body.__name__}
            host.twin(scheduler, "add_job", body, "interval", **options)
        # On a machine that is busy, a thread waits for a processor now and then. A loop
        # that is blocked is so each time.
        pauses = []
        while len(pauses) < 8 and min(pauses, default=1) >= LONGEST_PAUSE:
            database.slow_down()
            caller = threading.Thread(
                target=host.twin,
                args=(scheduler, "modify_job", "plain"),
                kwargs={"name": "x"},
            )
            caller.start()
            host.call(scheduler.pause)
            host.call(scheduler.resume)
            pauses.append(longest_pause(host, SLOWLY + 0.3))
            database.recover()
            caller.join(30)
        assert min(pauses) < LONGEST_PAUSE, pauses
        assert scheduler.failure is None
        deadline = time.monotonic() + 20
        while executed() != EVERY_JOB and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        signals.scheduler_paused.disconnect(receive)
        signals.job_executed.disconnect(receive)
        host.twin(scheduler, "shutdown")
    assert executed() == EVERY_JOB
    assert receivers
    assert loop_thread not in receivers
