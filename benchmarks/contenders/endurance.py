"""
Let ours work without a pause and watch its memory, in a process of its own.

Hourly jobs fall due together, and as soon as all have run they are made due again, by a
connection of its own, until the wanted number of runs is reached. Between the waves the
log is emptied once it is large, so that the disk stays small. Resident memory is read
from ``/proc`` after every so many runs. Reads the request as JSON on standard input,
answers with JSON on standard output.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import sys
import threading
import time
from datetime import datetime, timezone
from pathlib import Path

from schedulers import events_of, make_scheduler
from workload import STALL_SECONDS, Faults

#: Rows of the log at which it is emptied.
MOST_ROWS = 100_000


class Waves:
    """Counts executed runs without keeping anything of them."""

    def __init__(self, jobs: int):
        self.done = threading.Event()
        self._jobs = jobs
        self._numbers = itertools.count(1)

    def __call__(self, event) -> None:
        if next(self._numbers) % self._jobs == 0:
            self.done.set()


def resident_kib() -> float:
    """This process's resident memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


def slope(points: list[tuple[float, float]]) -> float:
    """The slope of the line with the least squares through the points."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread


def make_due(jobs: int) -> None:
    """Make all jobs due, and empty a large log."""
    from django.db import connection

    from django_apscheduler.models import DjangoJob, DjangoJobExecution

    last = DjangoJobExecution.objects.order_by("id").last()
    if last is not None and DjangoJobExecution.objects.count() > MOST_ROWS:
        with connection.cursor() as cursor:
            verb = "TRUNCATE" if connection.vendor == "postgresql" else "DELETE FROM"
            cursor.execute(f"{verb} {DjangoJobExecution._meta.db_table}")
    now = datetime.now(timezone.utc)
    moved = DjangoJob.objects.update(next_run_time=now, nominal_time=now)
    if moved != jobs:
        raise AssertionError(f"expected {jobs} jobs, got {moved}")


def main() -> None:
    request = json.load(sys.stdin)
    runs, jobs = request["runs"], request["jobs"]
    faults = Faults()
    scheduler = make_scheduler("ours", request["database"])
    waves = Waves(jobs)
    scheduler.start(paused=True)
    scheduler.add_listener(waves, events_of("ours").EVENT_JOB_EXECUTED)
    scheduler.add_jobs(
        [
            {
                "func": "workload:nothing",
                "trigger": "interval",
                "hours": 1,
                "id": f"job-{number}",
                "misfire_grace_time": None,
            }
            for number in range(jobs)
        ]
    )
    samples = [(0, resident_kib())]
    working = 0.0
    for done in range(jobs, runs + 1, jobs):
        make_due(jobs)
        waves.done.clear()
        begun = time.perf_counter()
        scheduler.resume()
        if not waves.done.wait(STALL_SECONDS + jobs / 100):
            raise RuntimeError(
                f"stopped before {done} runs; first error: {faults.first or 'none'}"
            )
        working += time.perf_counter() - begun
        scheduler.pause()
        if done % request["every"] == 0:
            gc.collect()
            samples.append((done, resident_kib()))
    scheduler.shutdown()
    if faults.number:
        raise AssertionError(f"{faults.number} errors logged; first: {faults.first}")
    settled = [sample for sample in samples if sample[0] >= request["warm_up"]]
    answer = {
        "samples": samples,
        "growth_per_run": slope(settled),
        "answer": runs / working,
    }
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
