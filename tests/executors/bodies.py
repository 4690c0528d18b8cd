"""Bodies that pools can import by name."""

import asyncio
import logging
import os
import signal
import time

from django_apscheduler import current_run
from django_apscheduler.executors import base


def add(a, b=0):
    return a + b


def fail(message):
    raise ValueError(message)


async def add_later(a, b=0):
    return a + b


def return_coroutine(a, b=0):
    return add_later(a, b)


def who():
    run = current_run()
    return run.job_id, run.run_time, run.attempt, run.execution_id


class Unpicklable(Exception):
    def __init__(self, a, b):
        super().__init__(a)


def fail_unpicklably():
    raise Unpicklable("the reason", lambda: None)


def return_unpicklably():
    return lambda: None


def leave():
    raise SystemExit(3)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def write_pid_and_hang(path):
    # In one step, for somebody waits for it and then reads it.
    new = f"{path}.{os.getpid()}.new"
    with open(new, "w") as file:
        file.write(str(os.getpid()))
    os.replace(new, path)
    time.sleep(600)


def log_and_return_record(message):
    records = []

    class Handler(logging.Handler):
        def emit(self, record):
            records.append(record)

    logger, handler = logging.getLogger("bodies"), Handler()
    logger.addHandler(handler)
    # A program's own name in extra= must not collide with what records carry.
    logger.warning(message, extra={"job_id": "the program's own"})
    logger.removeHandler(handler)
    (record,) = records
    return (
        record.job_id,
        record.apscheduler_job_id,
        record.apscheduler_run_time,
        record.apscheduler_attempt,
        record.apscheduler_execution_id,
    )


def appear(path):
    """Leave a file that says who is there."""
    # In one step, for somebody waits for it and then reads it.
    new = f"{path}.{os.getpid()}.new"
    with open(new, "w") as file:
        file.write(str(os.getpid()))
    os.replace(new, path)


def work_until_cancelled(path):
    run = current_run()
    try:
        appear(path)
        while True:
            run.raise_if_cancelled()
            time.sleep(0.005)
    finally:
        appear(f"{path}.end")


async def wait_until_cancelled(path):
    try:
        appear(path)
        await asyncio.sleep(600)
    finally:
        appear(f"{path}.end")


def go_on_all_the_same(path):
    appear(path)
    run = current_run()
    while not run.cancelled:
        try:
            time.sleep(0.005)
        except base.RunCancelled:
            pass
    return "done"


def be_deaf(path):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    appear(path)
    time.sleep(600)


def rest(path, seconds):
    appear(path)
    time.sleep(seconds)
    return os.getpid()


def cancel_oneself():
    raise base.RunCancelled("on a whim")


def wait_in_a_greenlet(path):
    """Wait as gevent's programs do, until the greenlet is told to end."""
    import gevent

    appear(path)
    try:
        gevent.sleep(600)
    finally:
        appear(f"{path}.end")
