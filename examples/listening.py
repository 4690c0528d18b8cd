"""Learn from events how runs ended, and stop after a few."""

from __future__ import annotations

import threading

from django_apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    JobExecutionEvent,
)
from django_apscheduler.schedulers.background import BackgroundScheduler


def divide(dividend: int, divisor: int) -> float:
    return dividend / divisor


def main() -> None:
    both_ran = threading.Barrier(2)

    def listen(event: JobExecutionEvent) -> None:
        if event.exception:
            print(f"{event.job_id} crashed: {event.exception}")
        else:
            print(f"{event.job_id} worked: {event.retval}")
        if event.job_id == "by nothing":
            both_ran.wait()

    # One worker, so that the runs follow one another.
    scheduler = BackgroundScheduler(
        executors={"default": {"type": "threadpool", "max_workers": 1}}
    )
    scheduler.add_listener(listen, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)
    scheduler.start(paused=True)
    # Without a trigger a job runs at once.
    scheduler.add_job(divide, args=[12, 4], id="by four")
    scheduler.add_job(divide, args=[12, 0], id="by nothing")
    scheduler.resume()
    both_ran.wait()
    scheduler.shutdown()


if __name__ == "__main__":
    main()
