"""Bodies of jobs that run in greenlets and use Django's database."""

import asyncio
import os
import time
from collections import Counter

import gevent
from django.db import connection, transaction

from django_apscheduler import current_run
from django_apscheduler.models import DjangoJob

ran: Counter = Counter()
seen: dict = {}


def do_nothing():
    pass


def count_jobs():
    DjangoJob.objects.count()
    ran["plain"] += 1


async def count_jobs_later():
    await asyncio.sleep(0.01)
    await DjangoJob.objects.acount()
    ran["later"] += 1


def meet_in_transactions(name, number):
    """Leave a transaction open until as many bodies have one."""
    with transaction.atomic():
        DjangoJob.objects.count()
        seen[name] = id(connection.connection), len(connection.savepoint_ids)
        while len(seen) < number:
            gevent.sleep(0.005)


def wait_for_ever():
    try:
        gevent.sleep(600)
    finally:
        ran["cleaned up"] += 1


def burn(seconds):
    """Hold the interpreter, and with it all greenlets."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sum(range(1000))


def tell(path):
    """Append who ran which run to a file, in one write."""
    run = current_run()
    line = f"{run.execution_id} {run.attempt} {os.getpid()}\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line.encode())
    os.close(descriptor)


def tell_and_hang(path):
    """Hang the first time only."""
    tell(path)
    if current_run().attempt == 1:
        gevent.sleep(600)
