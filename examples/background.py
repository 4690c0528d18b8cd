"""Run a job every second beside the rest of a program, until Ctrl-C."""

from __future__ import annotations

import sys
import time
from datetime import datetime

from django_apscheduler.schedulers.background import BackgroundScheduler


def tick() -> None:
    print(f"Tick! The time is {datetime.now().astimezone():%H:%M:%S}", flush=True)


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else float("inf")
    scheduler = BackgroundScheduler()
    scheduler.add_job(tick, "interval", seconds=1)
    scheduler.start()
    print("Press Ctrl-C to stop", flush=True)
    try:
        # The rest of the program; here it only waits.
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(0.1)
    except KeyboardInterrupt:
        pass
    finally:
        scheduler.shutdown()


if __name__ == "__main__":
    main()
