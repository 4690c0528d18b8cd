"""
Measure one kind of scheduler of one package, in a process of its own.

The scheduler has its memory store and its own default executor, and runs in a small
program of its framework's. The same steps drive all kinds on their own loop, so that
nothing is handed from thread to thread but by the schedulers themselves. Reads the
request as JSON on standard input, answers with JSON on standard output.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from importlib import import_module
from typing import Any

from intervals import add_active, judge
from schedulers import events_of, package_of
from workload import STALL_SECONDS, Faults, job_options, starts

#: What is driven: it asks for so many seconds, and then wants to go on.
Steps = Iterator[float]

CLASSES = {
    "blocking": "BlockingScheduler",
    "background": "BackgroundScheduler",
    "asyncio": "AsyncIOScheduler",
    "gevent": "GeventScheduler",
    "tornado": "TornadoScheduler",
    "twisted": "TwistedScheduler",
    "qt": "QtScheduler",
}

#: Seconds between looks at whether all jobs have run.
LOOK_SECONDS = 0.005

# The steps: what is measured.


def throughput(scheduler, body: str, jobs: int, waves: int, faults: Faults) -> Steps:
    """Let jobs that are due together run, wave after wave; return runs a second."""
    added = [
        scheduler.add_job(**{**job_options(number), "func": body, "args": [number]})
        for number in range(jobs)
    ]
    seconds = []
    # The first wave starts threads and is not counted.
    for _ in range(waves + 1):
        now = datetime.now(timezone.utc)
        for job in added:
            job.modify(next_run_time=now)
        starts.clear()
        begun = time.time()
        scheduler.resume()
        yield from until_all_began(jobs, faults)
        scheduler.pause()
        # For one that would run twice.
        yield 0.02
        check_wave(scheduler, jobs, now)
        seconds.append(max(moment for _, moment in starts) - begun)
    return jobs * waves / sum(seconds[1:])


def until_all_began(jobs: int, faults: Faults) -> Steps:
    """Wait for so many starts; raises RuntimeError when nothing moves any more."""
    before, moved = -1, time.monotonic()
    while len(starts) < jobs:
        if len(starts) != before:
            before, moved = len(starts), time.monotonic()
        elif time.monotonic() - moved > STALL_SECONDS:
            raise RuntimeError(
                f"stopped after {before} of {jobs} runs; first error: "
                f"{faults.first or 'none logged'}"
            )
        yield LOOK_SECONDS


def check_wave(scheduler, jobs: int, now: datetime) -> None:
    """Raise AssertionError unless every job has run once and moved on."""
    counts = Counter(number for number, _ in starts)
    wrong = {number for number in range(jobs) if counts[number] != 1}
    if wrong or len(counts) != jobs:
        raise AssertionError(
            f"expected every job to run once, not so: {sorted(wrong)[:5]}"
        )
    late = [job.id for job in scheduler.get_jobs() if job.next_run_time <= now]
    if late:
        raise AssertionError(f"expected every job to have moved on, not so: {late[:5]}")


def latency(scheduler, body: str, request: dict) -> Steps:
    """Let one-second jobs run, evenly spread; return how late their bodies began."""
    jobs, seconds = request["spread"], request["seconds"]
    scheduler.remove_all_jobs()
    first = add_active(scheduler, request["contender"], jobs, body)
    starts.clear()
    scheduler.resume()
    begin = max(first, time.time()) + request["warm_up"]
    # A second more, in which the last occurrences may still be served.
    yield begin + seconds + 1.2 - time.time()
    scheduler.pause()
    # So that no body is under way when it is shut down.
    yield 0.1
    answer = judge(list(starts), first, jobs, begin, seconds)
    if answer["doubled"]:
        raise AssertionError(f"{answer['doubled']} bodies began twice for one due time")
    return answer


def measure(scheduler, request: dict, faults: Faults, answer: dict) -> Steps:
    """Do all steps with a scheduler that is paused, shut it down, fill in the answer."""
    body = "workload:anote" if request["coroutines"] else "workload:note"
    try:
        answer["throughput"] = yield from throughput(
            scheduler, body, request["jobs"], request["waves"], faults
        )
        answer.update((yield from latency(scheduler, body, request)))
    finally:
        scheduler.shutdown()
    # Some shut down in their loop's next round.
    yield 0.05
    if faults.number:
        raise AssertionError(f"{faults.number} errors logged; first: {faults.first}")


# The programs: where it is measured. Each starts the scheduler and drives the steps.


def sleep_through(steps: Steps, sleep: Callable[[float], Any] = time.sleep) -> None:
    for seconds in steps:
        sleep(seconds)


def on_blocking(scheduler, steps: Steps, events) -> None:
    with ThreadPoolExecutor(1) as pool:
        driven = []
        scheduler.add_listener(
            lambda event: driven.append(pool.submit(sleep_through, steps)),
            events.EVENT_SCHEDULER_STARTED,
        )
        scheduler.start(paused=True)
        driven[0].result()


def on_background(scheduler, steps: Steps, events) -> None:
    scheduler.start(paused=True)
    sleep_through(steps)


def on_asyncio(scheduler, steps: Steps, events) -> None:
    asyncio = import_module("asyncio")
    asyncio.run(awaiting(scheduler, steps, asyncio.sleep))


def on_tornado(scheduler, steps: Steps, events) -> None:
    sleep = import_module("tornado.gen").sleep
    loop = import_module("tornado.ioloop").IOLoop.current()
    loop.run_sync(lambda: awaiting(scheduler, steps, sleep))


async def awaiting(scheduler, steps: Steps, sleep: Callable[[float], Any]) -> None:
    scheduler.start(paused=True)
    for seconds in steps:
        await sleep(seconds)


def on_gevent(scheduler, steps: Steps, events) -> None:
    scheduler.start(paused=True)
    sleep_through(steps, import_module("gevent").sleep)


def on_twisted(scheduler, steps: Steps, events) -> None:
    reactor = import_module("twisted.internet.reactor")
    reactor.callWhenRunning(scheduler.start, paused=True)
    with_timers(steps, reactor.callLater, reactor.run, reactor.stop)


def on_qt(scheduler, steps: Steps, events) -> None:
    core = import_module("PySide6.QtCore")
    application = core.QCoreApplication([])

    def call_later(seconds: float, func: Callable) -> None:
        core.QTimer.singleShot(math.ceil(1000 * seconds), func)

    scheduler.start(paused=True)
    with_timers(steps, call_later, application.exec, application.quit)


def with_timers(steps: Steps, call_later: Callable, run: Callable, stop: Callable):
    """Drive the steps on a loop that offers timers; raises what ends them."""
    errors = []

    def go_on() -> None:
        try:
            call_later(next(steps), go_on)
        except StopIteration:
            stop()
        except BaseException as error:  # noqa: BLE001 (raised below)
            errors.append(error)
            stop()

    call_later(0.0, go_on)
    run()
    if errors:
        raise errors[0]


PROGRAMS = {
    "blocking": on_blocking,
    "background": on_background,
    "asyncio": on_asyncio,
    "gevent": on_gevent,
    "tornado": on_tornado,
    "twisted": on_twisted,
    "qt": on_qt,
}


def main() -> None:
    request = json.load(sys.stdin)
    kind, contender = request["kind"], request["contender"]
    faults = Faults()
    module = import_module(f"{package_of(contender)}.schedulers.{kind}")
    scheduler = getattr(module, CLASSES[kind])(timezone="UTC")
    answer: dict = {}
    steps = measure(scheduler, request, faults, answer)
    PROGRAMS[kind](scheduler, steps, events_of(contender))
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
