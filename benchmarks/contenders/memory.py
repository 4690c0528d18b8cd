"""
Measure in-memory dispatch with one scheduler package, in a process of its own.

A ``BackgroundScheduler`` with its memory store and a thread pool of 10. The jobs are
made due again wave after wave while the scheduler is paused; only the time from
``resume()`` to the last body counts. Reads the request as JSON on standard input,
answers with JSON on standard output.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime, timezone
from importlib import import_module

from workload import Faults, bodies, job_options

PACKAGES = {"ours": "django_apscheduler", "apscheduler": "apscheduler"}


def wave(scheduler, jobs: list, faults: Faults) -> float:
    """Make all jobs due, let each run once, and answer the seconds that took."""
    now = datetime.now(timezone.utc)
    for job in jobs:
        job.modify(next_run_time=now)
    bodies.await_more(len(jobs))
    begun = time.perf_counter()
    scheduler.resume()
    bodies.wait(faults)
    scheduler.pause()
    late = [job.id for job in scheduler.get_jobs() if job.next_run_time <= now]
    if late:
        raise AssertionError(f"expected every job to have moved on, not so: {late[:5]}")
    return bodies.time - begun


def main() -> None:
    request = json.load(sys.stdin)
    faults = Faults()
    package = PACKAGES[request["contender"]]
    scheduler_class = import_module(
        f"{package}.schedulers.background"
    ).BackgroundScheduler
    pool_class = import_module(f"{package}.executors.pool").ThreadPoolExecutor
    scheduler = scheduler_class(executors={"default": pool_class(10)}, timezone="UTC")
    scheduler.start(paused=True)
    jobs = [
        scheduler.add_job(**job_options(number)) for number in range(request["jobs"])
    ]
    # The first wave starts the pool's threads and is not counted.
    seconds = [wave(scheduler, jobs, faults) for _ in range(request["waves"] + 1)][1:]
    scheduler.shutdown()
    expected = request["jobs"] * (request["waves"] + 1)
    if bodies.reached != expected:
        raise AssertionError(f"expected {expected} runs, got {bodies.reached}")
    if faults.number:
        raise AssertionError(f"{faults.number} errors logged; first: {faults.first}")
    runs = request["jobs"] * request["waves"]
    json.dump({"answer": runs / sum(seconds), "runs": runs}, sys.stdout)


if __name__ == "__main__":
    main()
