"""Let waiting go on in threads and computing in processes."""

from __future__ import annotations

import os
import threading
from typing import Any
from urllib.parse import quote

from django_apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    JobExecutionEvent,
)
from django_apscheduler.schedulers.background import BackgroundScheduler


def count_primes(limit: int) -> tuple[int, int]:
    """Return how many primes are below ``limit``, and the process that counted."""
    sieve = bytearray([1]) * limit
    sieve[:2] = b"\0\0"
    for number in range(2, int(limit**0.5) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(
                len(range(number * number, limit, number))
            )
    return sum(sieve), os.getpid()


def main() -> None:
    done = threading.Semaphore(0)
    results: dict[str, Any] = {}

    def listen(event: JobExecutionEvent) -> None:
        results[event.job_id] = event.exception or event.retval
        done.release()

    scheduler = BackgroundScheduler(
        executors={
            "default": {"type": "threadpool", "max_workers": 20},
            "processes": {"type": "processpool", "max_workers": 2},
        }
    )
    scheduler.add_listener(listen, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)
    scheduler.start()
    scheduler.add_job(quote, args=["a b"], id="light")
    scheduler.add_job(count_primes, args=[10_000], executor="processes", id="heavy")
    for _ in ("light", "heavy"):
        done.acquire()
    scheduler.shutdown()
    primes, process = results["heavy"]
    print(f"light: {results['light']}")
    print(f"heavy: {primes} primes, in another process: {process != os.getpid()}")


if __name__ == "__main__":
    main()
