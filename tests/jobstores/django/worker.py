"""A scheduler process for the tests: runs jobs until it is told to stop."""

from __future__ import annotations

import sys

import django


def main() -> None:
    """
    Run a scheduler until standard input closes.

    The store's ``poll`` may be given as an argument.
    """
    poll = sys.argv[1] if len(sys.argv) > 1 else "1"
    django.setup()
    from django_apscheduler.schedulers.background import BackgroundScheduler

    scheduler = BackgroundScheduler(
        jobstores={"default": {"type": "django", "poll": poll}},
        executors={
            "default": {"type": "threadpool", "max_workers": 4},
            "processes": {"type": "processpool", "max_workers": 2},
            "loop": {"type": "asyncio"},
        },
        timezone="UTC",
    )
    scheduler.start()
    print("ready", flush=True)
    sys.stdin.read()
    scheduler.shutdown()


if __name__ == "__main__":
    main()
