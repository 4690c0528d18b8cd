"""
One scheduler process: ``python -m tests.chaos.member [options as JSON]``.

Options: ``executors`` (as for a scheduler) and ``store`` (arguments of `DjangoJobStore`:
``lease``, ``heartbeat``, ``poll``). It prints "ready" once it runs; SIGTERM makes it
drain and end with status 0.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading

import django

EXECUTORS = {"default": {"type": "threadpool", "max_workers": 10}}


def main() -> None:
    """Run a scheduler until SIGTERM."""
    starter = os.getppid()
    options = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(threadName)s %(name)s: %(message)s",
    )
    # A line for each run of each job would bury all others.
    logging.getLogger("django_apscheduler.executors").setLevel(logging.WARNING)
    django.setup()
    from django_apscheduler.schedulers.background import BackgroundScheduler
    from tests.chaos import failpoints

    failpoints.install()
    scheduler = BackgroundScheduler(
        jobstores={"default": {"type": "django", **options.get("store", {})}},
        executors=options.get("executors", EXECUTORS),
        timezone="UTC",
    )
    scheduler.start()
    print("ready", flush=True)
    while not stop.wait(0.5):
        if os.getppid() != starter:
            # The tests were killed, and nobody is left who would end this process.
            os._exit(1)
    scheduler.drain()
    scheduler.shutdown()


if __name__ == "__main__":
    main()
