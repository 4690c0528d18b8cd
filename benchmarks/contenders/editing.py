"""
Add and edit jobs of ours from a process that runs none, as a view would.

Each job is added to run at once, or has been added paused and is then given the present
as its next run time; pauses between them are of changing length, so that no poll of the
scheduler keeps step. Reads the request as JSON on standard input, answers with JSON on
standard output: for each job's number when the call began and when it had returned.
"""

from __future__ import annotations

import json
import random
import sys
import time
from datetime import datetime, timezone

from schedulers import set_up_django


def main() -> None:
    request = json.load(sys.stdin)
    set_up_django(request["database"])
    from django_apscheduler import get_scheduler

    scheduler = get_scheduler()
    edits = request["edits"]
    scheduler.add_jobs(
        [
            {
                "func": "workload:note",
                "trigger": "interval",
                "hours": 1,
                "id": f"edited-{number}",
                "args": [number],
                "next_run_time": None,
            }
            for number in range(edits, 2 * edits)
        ]
    )
    pause = random.Random(1)
    calls = {}
    for number in range(2 * edits):
        time.sleep(pause.uniform(0.02, 0.06))
        begun = time.time()
        if number < edits:
            scheduler.add_job("workload:note", args=[number], id=f"added-{number}")
        else:
            now = datetime.now(timezone.utc)
            scheduler.modify_job(f"edited-{number}", next_run_time=now)
        calls[number] = begun, time.time()
    json.dump(calls, sys.stdout)


if __name__ == "__main__":
    main()
