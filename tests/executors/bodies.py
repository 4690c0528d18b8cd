"""Bodies that pools can import by name."""

import logging
import os
import signal
import time

from django_apscheduler import current_run


def add(a, b=0):
    return a + b


def fail(message):
    raise ValueError(message)


async def add_later(a, b=0):
    return a + b


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
    with open(path, "w") as file:
        file.write(str(os.getpid()))
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
