"""
Measure dispatch from a database with one package, in a process of its own.

A ``BackgroundScheduler`` with its database store and a thread pool of 10. A first
small wave opens threads and connections and is not counted. The clock runs from
``resume()`` until the event of the last run, which each of the packages that keep an
execution log sends after the log was written; the log is then counted. Reads the
request as JSON on standard input, answers with JSON on standard output.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter

from schedulers import add_all, events_of, logged, make_scheduler
from workload import Faults, Finish, bodies, job_options


class Executed:
    """A listener that counts the executed runs of each job."""

    def __init__(self) -> None:
        self.finish = Finish()
        self.jobs: list[str] = []
        self.before = lambda: None

    def __call__(self, event) -> None:
        self.jobs.append(event.job_id)
        self.finish.count()


def run_all(scheduler, numbers: range, executed: Executed, faults: Faults) -> float:
    """Add one due job per number, let each run once, answer the seconds from resume."""
    scheduler.pause()
    add_all(scheduler, [job_options(number) for number in numbers])
    executed.finish.await_more(len(numbers))
    executed.before()
    begun = time.perf_counter()
    scheduler.resume()
    executed.finish.wait(faults)
    return executed.finish.time - begun


def verify(contender: str, total: int, executed: Executed, faults: Faults) -> int:
    """Check that each job ran and was logged exactly once; answer the log's rows."""
    expected = Counter(f"job-{number}" for number in range(total))
    # Without the error that explains it a difference says little.
    because = f"; first error: {faults.first}" if faults.first else ""
    if bodies.reached != total or Counter(executed.jobs) != expected:
        raise AssertionError(
            f"expected {total} runs, one per job; {bodies.reached} bodies ran and "
            f"{len(set(executed.jobs))} jobs were reported executed{because}"
        )
    log = logged(contender)
    if contender != "apscheduler" and log != expected:
        raise AssertionError(
            f"expected {total} executed runs in the log, one per job; it holds "
            f"{sum(log.values())} of {len(log)} jobs{because}"
        )
    return sum(log.values())


def main() -> None:
    request = json.load(sys.stdin)
    faults = Faults()
    contender = request["contender"]
    scheduler = make_scheduler(contender, request["database"])
    events = events_of(contender)
    executed = Executed()
    profile = None
    if "profile" in request:
        from profile_of_ours import Profile

        profile = Profile(**request["profile"])
    scheduler.start(paused=True)
    # Listeners are called in the order they came, so this one hears of a run after
    # the one that writes the earlier package's log.
    scheduler.add_listener(executed, events.EVENT_JOB_EXECUTED)
    warm_up, jobs = request["warm_up"], request["jobs"]
    run_all(scheduler, range(warm_up), executed, faults)
    numbers = range(warm_up, warm_up + jobs)
    if profile is not None:
        executed.before = profile.start
    seconds = run_all(scheduler, numbers, executed, faults)
    answer = {"answer": jobs / seconds, "runs": jobs}
    if profile is not None:
        answer["profile"] = profile.stop(jobs, seconds)
    scheduler.shutdown()
    answer["log_rows"] = verify(contender, warm_up + jobs, executed, faults)
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
