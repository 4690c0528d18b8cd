"""Two schedulers in two processes on one database, against one alone."""

from __future__ import annotations

import time

from .conversation import Conversation, conversations
from .databases import Options, Place
from .environments import Environment
from .report import Result, Row
from .rounds import ContenderFailed, Series

CONTENDERS = ("ours",)

EXPLANATION = """\
Dispatch as in the section "persistent", but by one process or by two that share the
database, each with a BackgroundScheduler and ten threads; all are resumed at the same
moment, and the time ends with the last executed event of any. Every job must have run
once and be in the log once. The peers cannot share a database."""

JOBS, QUICK_JOBS = 5_000, 200
WARM_UP = 200
PROCESSES = (1, 2)

#: Seconds between questions how far the processes are, and without any run after which
#: there come no more.
POLL_SECONDS, STALL_SECONDS = 0.1, 8.0


def measure(ours: Environment, place: Place, number: int, jobs: int) -> float:
    """Let so many processes run the jobs; answer runs a second of all together."""
    database = place.make()
    with conversations(ours, "member.py", number) as members:
        # One after the other, for the first makes the tables.
        for member in members:
            member.ask({"do": "start", "database": database})
        seconds = 0.0
        for first, count in ((0, WARM_UP), (WARM_UP, jobs)):
            members[0].ask({"do": "add", "first": first, "jobs": count})
            seconds = run_all(members, count)
        log = members[0].ask({"do": "log"})
        for member in members:
            member.ask({"do": "stop"})
    if log != {"rows": WARM_UP + jobs, "jobs": WARM_UP + jobs}:
        raise ContenderFailed(
            f"expected {WARM_UP + jobs} runs in the log, one per job; got {log}"
        )
    return jobs / seconds


def run_all(members: list[Conversation], jobs: int) -> float:
    """Let the processes run that many jobs together; answer the seconds that took."""
    for member in members:
        member.say({"do": "go"})
    begun = min(member.hear() for member in members)
    runs, moved = -1, time.monotonic()
    while True:
        spans = [member.ask({"do": "progress"}) for member in members]
        before, runs = runs, sum(span["runs"] for span in spans)
        if runs != before:
            moved = time.monotonic()
        if runs >= jobs or time.monotonic() - moved > STALL_SECONDS:
            break
        time.sleep(POLL_SECONDS)
    for member in members:
        member.ask({"do": "halt"})
    if runs != jobs:
        each = [span["runs"] for span in spans]
        raise ContenderFailed(f"expected {jobs} runs, the processes ran {each}")
    return max(span["ended"] for span in spans) - begun


def run(environments: dict[str, Environment], options: Options) -> list[Result]:
    """Measure one process and two in turns, on each database."""
    ours = environments["ours"]
    jobs = QUICK_JOBS if options.quick else JOBS
    rows = []
    for place in options.databases.places():
        series = {number: Series() for number in PROCESSES}
        times = Series()
        for _ in range(options.rounds):
            rates = []
            for number in PROCESSES:
                try:
                    rates.append(measure(ours, place, number, jobs))
                except ContenderFailed as failure:
                    series[number].errors.append(str(failure))
                else:
                    series[number].figures.append(rates[-1])
            if len(rates) == len(PROCESSES):
                times.figures.append(rates[1] / rates[0])
        for number in PROCESSES:
            label = "one process" if number == 1 else f"{number} processes"
            rows.append(Row(place.label, label, {"ours": series[number]}))
        label = "2 processes : one"
        rows.append(Row(place.label, label, {"ours": times}, better="", digits=2))
    return [
        Result(
            name="processes",
            title="Two processes on one database",
            unit="Runs a second",
            explanation=EXPLANATION,
            contenders=[ours],
            rows=rows,
            notes=[f"{jobs:,} jobs due together", *options.databases.notes],
        )
    ]
