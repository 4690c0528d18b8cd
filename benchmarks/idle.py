"""Lateness of a few active jobs among very many idle ones."""

from __future__ import annotations

from .databases import Options, Place
from .environments import Environment
from .intervals import run_intervals
from .latency import PERCENTILES, percentile_rows
from .report import Result, Row
from .rounds import alternate

CONTENDERS = ("ours", "apscheduler", "earlier")

EXPLANATION = """\
10 one-second interval jobs, evenly spread, beside 100 or 100,000 jobs that are due in a
year; 10 s are counted after 2 s that are not. Lateness is from the due time to the first
line of the function. One idle job is added through the scheduler, the others are copies
of its row, followed by ANALYZE. On PostgreSQL only. --idle N measures ours with N idle
jobs as well."""

ACTIVE = 10
IDLE, QUICK_IDLE = (100, 100_000), (100, 1_000)


def run(environments: dict[str, Environment], options: Options) -> list[Result]:
    """Measure on PostgreSQL in alternating rounds."""
    keys = [key for key in CONTENDERS if key in environments]
    rows: list[Row] = []

    def measure(place: Place, idle: int, keys: list[str]) -> None:
        def one(key: str) -> list[float]:
            answer = run_intervals(
                environments[key], place, ACTIVE, options.quick, idle
            )
            return [answer[f"{percentile}_ms"] for percentile in PERCENTILES]

        gathered = alternate(keys, options.rounds, one)
        rows.extend(percentile_rows(f"{idle:,} idle jobs", gathered))

    notes = []
    places = [p for p in options.databases.places() if p.engine == "postgresql"]
    for place in places:
        for idle in QUICK_IDLE if options.quick else IDLE:
            measure(place, idle, keys)
        if options.idle:
            measure(place, options.idle, ["ours"])
    if not places:
        notes.append("measured on PostgreSQL only, which was not there or not wanted")
    return [
        Result(
            name="idle",
            title="Lateness among idle jobs",
            unit="Milliseconds",
            explanation=EXPLANATION,
            contenders=[environments[key] for key in keys],
            rows=rows,
            notes=notes + options.databases.notes,
        )
    ]
