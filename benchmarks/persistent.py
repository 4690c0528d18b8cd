"""Dispatch from a database, with an execution log where the contender keeps one."""

from __future__ import annotations

from .databases import Options, Place
from .environments import Environment
from .profile import profile_of
from .report import Result, Row
from .rounds import alternate, ask

CONTENDERS = ("ours", "handwritten500", "handwritten100", "apscheduler", "earlier")

EXPLANATION = """\
BackgroundScheduler, database store, thread pool of 10. A number of hourly jobs, whose
function does nothing but be counted, fall due at the same moment; timed is from
resume() until the executed event of the last. Ours and django-apscheduler write an
execution log, whose rows are counted afterwards: one per run. APScheduler with its
SQLAlchemyJobStore keeps no log, so it has less to do. "SQL by hand" is no scheduler
but a loop of hand-written SQL on the same tables, which does the same durable steps
(lease, SKIP LOCKED, instances, unique key, log, fenced outcome) in batches of 500 or
100, with the bodies on 10 threads: the ceiling. SQLite: WAL, synchronous=FULL.
PostgreSQL: on a socket of this machine, defaults, fsync and synchronous_commit on;
psycopg2 for all, which is faster than psycopg 3 for both peers."""

#: Jobs due together. The earlier package gets fewer, for it takes ten times as long.
JOBS = {"earlier": 2_000}
MOST_JOBS, QUICK_JOBS = 5_000, 200


def run(environments: dict[str, Environment], options: Options) -> list[Result]:
    """Measure each database in alternating rounds, every run on an empty one."""
    keys = [key for key in CONTENDERS if key in environments]
    rows = []

    def measure(label: str, keys: list[str], place: Place, sqlite: dict) -> None:
        def one(key: str) -> list[float]:
            request = request_for(key, options.quick)
            request["database"] = place.make(sqlite)
            return [ask(environments[key], script_of(key), request)["answer"]]

        gathered = alternate(keys, options.rounds, one)
        rows.append(Row("", label, {key: gathered[key][0] for key in keys}))

    appendices = []
    for place in options.databases.places():
        measure(place.label, keys, place, {})
        if place.engine == "sqlite":
            django = [key for key in keys if key in ("ours", "earlier")]
            label = "SQLite, transaction_mode IMMEDIATE"
            measure(label, django, place, {"transaction_mode": "IMMEDIATE"})
        if options.profile:
            appendices.append(profile(environments["ours"], place, options))
    jobs = QUICK_JOBS if options.quick else MOST_JOBS
    notes = [f"{jobs:,} jobs due together"]
    if not options.quick and "earlier" in keys:
        notes[0] += f", {JOBS['earlier']:,} for django-apscheduler"
    return [
        Result(
            name="persistent",
            title="Dispatch from a database, with execution log",
            unit="Runs a second",
            explanation=EXPLANATION,
            contenders=[environments[key] for key in keys],
            rows=rows,
            notes=notes + options.databases.notes,
            appendix="\n".join(text for text, _ in appendices),
            details={"profile": [answer for _, answer in appendices]},
        )
    ]


def script_of(key: str) -> str:
    return "handwritten.py" if key.startswith("handwritten") else "persistent.py"


def request_for(key: str, quick: bool) -> dict:
    """What a contender is asked to do, all but the database."""
    jobs = QUICK_JOBS if quick else JOBS.get(key, MOST_JOBS)
    request = {"contender": key, "jobs": jobs, "warm_up": 50}
    if key.startswith("handwritten"):
        request["batch"] = int(key.removeprefix("handwritten"))
    return request


def profile(ours: Environment, place: Place, options: Options) -> tuple[str, dict]:
    """Let ours work once more under the profiler; answer the tables and the figures."""
    request = request_for("ours", options.quick)
    if not options.quick:
        # Long enough for samples of all that takes a percent.
        request["jobs"] *= 4
    return profile_of(ours, place, options, "persistent.py", request)
