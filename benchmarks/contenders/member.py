"""
One of several schedulers of ours that share a database.

Reads a line of JSON at a time and answers each with one; ``do`` names the method of
`Member` to call, the other keys are its arguments.
"""

from __future__ import annotations

import json
import sys
import time

from schedulers import events_of, logged, make_scheduler
from workload import Faults, job_options, starts


class Member:
    """The scheduler, and the times at which it told of executed runs."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.last = 0.0
        self.runs = 0

    def start(self, database: dict, paused: bool = True) -> str:
        self.scheduler = make_scheduler("ours", database)
        self.scheduler.start(paused=paused)
        events = events_of("ours")
        self.scheduler.add_listener(self.executed, events.EVENT_JOB_EXECUTED)
        return "ready"

    def executed(self, event) -> None:
        self.runs += 1
        self.last = time.time()

    def add(self, first: int, jobs: int) -> str:
        numbers = range(first, first + jobs)
        self.scheduler.add_jobs([job_options(number) for number in numbers])
        return "added"

    def go(self) -> float:
        """Begin to run what is due; answer when that was."""
        self.runs, begun = 0, time.time()
        self.scheduler.resume()
        return begun

    def progress(self) -> dict:
        """Answer how many runs there were since then, and when the last one ended."""
        return {"runs": self.runs, "ended": self.last}

    def halt(self) -> str:
        self.scheduler.pause()
        return "paused"

    def noted(self) -> list:
        return list(starts)

    def claims(self) -> dict[int, float]:
        """Answer when the run of each job was claimed, by the number in its id."""
        from django_apscheduler.models import DjangoJobExecution

        times = DjangoJobExecution.objects.values_list("job_id", "claimed_time")
        return {
            int(job_id.rpartition("-")[2]): claimed.timestamp()
            for job_id, claimed in times
        }

    def log(self) -> dict:
        counts = logged("ours")
        return {"rows": sum(counts.values()), "jobs": len(counts)}

    def stop(self) -> str:
        self.scheduler.shutdown()
        if self.faults.number:
            raise AssertionError(f"errors were logged; first: {self.faults.first}")
        return "stopped"


def main() -> None:
    member = Member()
    for line in sys.stdin:
        request = json.loads(line)
        answer = getattr(member, request.pop("do"))(**request)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
