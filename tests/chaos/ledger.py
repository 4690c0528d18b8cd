"""
The ledger: what bodies did, written past the database that is under test.

A file to which each body adds one line when it begins and one when it ends, each with a
single write, so that lines of many processes never mix and a kill leaves no half line.
"""

from __future__ import annotations

import json
import os
import pathlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django_apscheduler import current_run

VARIABLE = "CHAOS_LEDGER"
BEGAN, ENDED = "began", "ended"


@dataclass(frozen=True)
class Entry:
    """
    One line of the ledger.

    :ivar event: ``BEGAN`` or ``ENDED``
    :ivar run_time: aware, UTC
    :ivar time: seconds since 1970 by the machine's clock, whatever offset is injected
    :ivar boot: seconds on the machine's monotonic clock, the same for all processes
    """

    event: str
    job: str
    run_time: datetime
    attempt: int
    execution_id: int | None
    pid: int
    time: float
    boot: float

    @property
    def key(self) -> tuple[str, datetime]:
        return self.job, self.run_time


def write(event: str) -> None:
    """Add a line about the body that is running to the ledger of this process."""
    run = current_run()
    if run is None:
        raise RuntimeError("only the body of a job may write to the ledger")
    line = json.dumps(
        {
            "event": event,
            "job": run.job_id,
            "run_time": run.run_time.isoformat(),
            "attempt": run.attempt,
            "execution_id": run.execution_id,
            "pid": os.getpid(),
            "time": time.time(),
            "boot": time.clock_gettime(time.CLOCK_MONOTONIC),
        }
    )
    descriptor = os.open(
        os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644
    )
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


class Ledger:
    """The ledger as tests read it."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = pathlib.Path(path)
        self.path.touch()

    def entries(self) -> list[Entry]:
        """Return all lines so far, in the order in which they were written."""
        # A line that is being written may be seen in part.
        whole, _, _ = self.path.read_text().rpartition("\n")
        return [_entry(json.loads(line)) for line in whole.splitlines()]

    def began(self, **having: Any) -> list[Entry]:
        """Return the lines of bodies that began, with these values."""
        return self._of(BEGAN, having)

    def ended(self, **having: Any) -> list[Entry]:
        """Return the lines of bodies that ended, with these values."""
        return self._of(ENDED, having)

    def _of(self, event: str, having: dict[str, Any]) -> list[Entry]:
        return [
            entry
            for entry in self.entries()
            if entry.event == event
            and all(getattr(entry, name) == value for name, value in having.items())
        ]

    def wait_for(
        self, predicate: Callable[[list[Entry]], Any], seconds: float = 30.0
    ) -> Any:
        """Wait until ``predicate(entries)`` is true; return what it answered."""
        return wait_for(lambda: predicate(self.entries()), seconds)


def wait_for(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Wait until ``condition()`` is true; what it depends on happens elsewhere."""
    until = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < until, f"waited {seconds} s for {condition}"
        time.sleep(0.02)
    return answer


def _entry(line: dict[str, Any]) -> Entry:
    return Entry(**{**line, "run_time": datetime.fromisoformat(line["run_time"])})
