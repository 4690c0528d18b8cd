"""
The work that dispatch is measured with: many jobs falling due at the same moment.

``N`` hourly jobs are due now, each is to run once, and the clock stops when the last
one has: the top of the hour in a busy installation. The schedulers measured here have
the same interface, so the same code drives them all, with the same arguments.
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import datetime, timezone

#: Seconds without one more run after which a scheduler counts as stuck.
STALL_SECONDS = 8.0


class Finish:
    """Knows when the awaited number of runs has been reached."""

    def __init__(self) -> None:
        self._runs: list[None] = []
        self._target = 0
        self._done = threading.Event()
        self.time = 0.0

    def await_more(self, runs: int) -> None:
        """Set the target this many runs beyond the present number."""
        self._done.clear()
        self._target = self.reached + runs

    def count(self) -> None:
        """Count one run; called from any thread."""
        # Appending is atomic, so no lock of ours slows the threads down.
        self._runs.append(None)
        if len(self._runs) >= self._target and not self._done.is_set():
            self.time = time.perf_counter()
            self._done.set()

    @property
    def reached(self) -> int:
        return len(self._runs)

    def wait(self, faults: Faults) -> None:
        """
        Block until the target is reached.

        Raises RuntimeError with the first logged error when nothing moves any more.
        """
        before = self.reached
        while not self._done.wait(STALL_SECONDS):
            if self.reached == before:
                raise RuntimeError(
                    f"stopped after {before} of {self._target} runs; first error: "
                    f"{faults.first or 'none logged'}"
                )
            before = self.reached


class Faults(logging.Handler):
    """Remembers the first error that was logged or that ended a thread."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.first = ""
        self.number = 0
        logging.getLogger().addHandler(self)
        threading.excepthook = self._thread_died

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self._note(repr(record.exc_info[1]))
        elif record.levelno >= logging.ERROR:
            self._note(record.getMessage())

    def _thread_died(self, arguments: threading.ExceptHookArgs) -> None:
        self._note(f"thread died: {arguments.exc_value!r}")

    def _note(self, text: str) -> None:
        self.number += 1
        self.first = self.first or text


#: Counts the runs of :func:`body`.
bodies = Finish()


def body() -> None:
    """Do nothing but be counted."""
    bodies.count()


#: The starts of :func:`note`: which job, and when, in seconds since 1970.
starts: list[tuple[int, float]] = []


def note(number: int) -> None:
    """Note the start of a job's body."""
    starts.append((number, time.time()))


async def anote(number: int) -> None:
    """Note the start of a job's body, a coroutine."""
    note(number)


def nothing() -> None:
    """Do nothing."""


def body_of(number: int, report: str) -> None:
    """Do nothing with arguments."""


def job_options(number: int) -> dict:
    """The arguments of ``add_job`` for one job that is due now, then hourly."""
    return {
        "func": "workload:body",
        "trigger": "interval",
        "hours": 1,
        "id": f"job-{number}",
        "next_run_time": datetime.now(timezone.utc),
        "misfire_grace_time": None,
        "coalesce": True,
        "max_instances": 3,
    }
