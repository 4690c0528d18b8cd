"""Run a job every second in a greenlet of a gevent application, until Ctrl-C."""

# First of all, as `gunicorn -k gevent` does, so that waiting is left to gevent everywhere.
# ruff: noqa: E402
from gevent import monkey

monkey.patch_all()

import sys
from datetime import datetime

import gevent

from django_apscheduler.schedulers.gevent import GeventScheduler


def tick() -> None:
    print(f"Tick! The time is {datetime.now().astimezone():%H:%M:%S}", flush=True)


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else None
    scheduler = GeventScheduler()
    scheduler.add_job(tick, "interval", seconds=1)
    greenlet = scheduler.start()
    print("Press Ctrl-C to stop", flush=True)
    # The rest of the application; here it only waits.
    gevent.joinall([greenlet], timeout=seconds)
    scheduler.shutdown()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
