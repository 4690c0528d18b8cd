"""Adding jobs to a database, one by one and in one call."""

from __future__ import annotations

from .databases import Options, Place
from .environments import Environment
from .profile import profile_of
from .report import Result, Row
from .rounds import alternate, ask

CONTENDERS = ("ours", "inserts", "apscheduler", "earlier", "procrastinate")

EXPLANATION = """\
Hourly jobs with an argument and a keyword argument are added to a scheduler that has
started and is paused. One by one: each add_job is a durable transaction. One call:
add_jobs of ours, which is one transaction; batch_defer of procrastinate, whose jobs are
single tasks without schedule; APScheduler and django-apscheduler have none. "INSERT by
hand" writes the same rows as ours, ready made, by SQL alone, in as many transactions: what
the disk, the server and the driver allow. Afterwards the jobs are read back and counted."""

JOBS, QUICK_JOBS = 10_000, 100


def run(environments: dict[str, Environment], options: Options) -> list[Result]:
    """Measure each database in alternating rounds, every run on an empty one."""
    present = [key for key in CONTENDERS if key in environments]
    jobs = QUICK_JOBS if options.quick else JOBS
    rows, appendices = [], []

    def request_for(key: str, batch: bool) -> dict:
        return {"contender": key, "jobs": jobs, "warm_up": 20, "batch": batch}

    def measure(place: Place, keys: list[str], batch: bool) -> dict:
        def one(key: str) -> list[float]:
            request = {**request_for(key, batch), "database": place.make_for(key)}
            return [ask(environments[key], "adding.py", request)["answer"]]

        gathered = alternate(keys, options.rounds, one)
        return {key: gathered[key][0] for key in keys}

    for place in options.databases.places():
        keys = [
            key
            for key in present
            if key != "procrastinate" or place.engine == "postgresql"
        ]
        rows.append(Row(place.label, "one by one", measure(place, keys, False)))
        keys = [key for key in keys if key in ("ours", "inserts", "procrastinate")]
        rows.append(Row(place.label, "in one call", measure(place, keys, True)))
        if options.profile:
            request = request_for("ours", False)
            appendices.append(
                profile_of(
                    environments["ours"], place, options, "adding.py", request, "job"
                )
            )
    notes = [f"{jobs:,} jobs", "on SQLite, django-apscheduler needs IMMEDIATE"]
    return [
        Result(
            name="adding",
            title="Adding jobs",
            unit="Jobs a second",
            explanation=EXPLANATION,
            contenders=[environments[key] for key in present],
            rows=rows,
            notes=notes + options.databases.notes,
            appendix="\n".join(text for text, _ in appendices),
            details={"profile": [figures for _, figures in appendices]},
        )
    ]
