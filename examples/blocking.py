"""Run a job every second in a process that does nothing else, until Ctrl-C."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta

from django_apscheduler.schedulers.blocking import BlockingScheduler

scheduler = BlockingScheduler()


@scheduler.scheduled_job("interval", seconds=1)
def tick() -> None:
    print(f"Tick! The time is {datetime.now().astimezone():%H:%M:%S}", flush=True)


def stop() -> None:
    # Not waiting: this very job is one of those that would be waited for.
    scheduler.shutdown(wait=False)


def main() -> None:
    if len(sys.argv) > 1:
        end = datetime.now().astimezone() + timedelta(seconds=float(sys.argv[1]))
        scheduler.add_job(stop, "date", run_date=end)
    print("Press Ctrl-C to stop", flush=True)
    try:
        scheduler.start()
    except (KeyboardInterrupt, SystemExit):
        pass


if __name__ == "__main__":
    main()
