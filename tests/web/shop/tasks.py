"""The bodies of its jobs. They write what they do into a ledger file."""

from __future__ import annotations

import os
import threading
import time

from django_apscheduler import current_run
from django_apscheduler.jobstores.base import BaseJobStore


def note(text: str) -> None:
    """Append a line; one write, so that lines of several processes do not mix."""
    with open(os.environ["LEDGER"], "a") as ledger:
        ledger.write(f"{text}\n")


def beat() -> None:
    """Note the occurrence, and who ran it."""
    run = current_run()
    note(f"beat {run.run_time.isoformat()} {run.attempt} {os.getpid()}")


def slow(seconds: float) -> None:
    note(f"slow begins {os.getpid()}")
    time.sleep(seconds)
    note(f"slow ends {os.getpid()} {threading.current_thread().name}")


BEGUN, ENOUGH = threading.Event(), threading.Event()


def hold() -> None:
    """Go on until a test in the same process says that it is enough."""
    BEGUN.set()
    ENOUGH.wait(60)


class OwnStore(BaseJobStore):
    """A job store that nobody shares, like one on a key-value server."""

    def no_jobs(self, *arguments: object) -> None:
        """Nothing is asked of it: a web worker refuses it before."""

    lookup_job = get_due_jobs = get_next_run_time = get_all_jobs = no_jobs
    add_job = update_job = remove_job = remove_all_jobs = no_jobs
