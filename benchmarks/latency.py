"""From due time to the start of the function, at light load."""

from __future__ import annotations

from .databases import Options
from .environments import Environment
from .intervals import run_intervals
from .report import Result, Row
from .rounds import alternate

CONTENDERS = ("ours", "apscheduler", "earlier")

EXPLANATION = """\
40 one-second interval jobs, evenly spread, so one falls due every 25 ms; 10 s are
counted after 2 s that are not. Lateness is from the due time to the first line of the
function, both by the machine's clock. On SQLite, django-apscheduler needs the option
transaction_mode IMMEDIATE; the others have Django's or SQLAlchemy's default."""

JOBS = 40
PERCENTILES = ("p50", "p99")


def run(environments: dict[str, Environment], options: Options) -> list[Result]:
    """Measure on each database in alternating rounds."""
    keys = [key for key in CONTENDERS if key in environments]
    rows = []
    for place in options.databases.places():

        def one(key: str, place=place) -> list[float]:
            answer = run_intervals(environments[key], place, JOBS, options.quick)
            return [answer[f"{percentile}_ms"] for percentile in PERCENTILES]

        gathered = alternate(keys, options.rounds, one)
        rows += percentile_rows(place.label, gathered)
    return [
        Result(
            name="latency",
            title="Due time to function start",
            unit="Milliseconds",
            explanation=EXPLANATION,
            contenders=[environments[key] for key in keys],
            rows=rows,
            notes=options.databases.notes,
        )
    ]


def percentile_rows(group: str, gathered: dict, names=PERCENTILES) -> list[Row]:
    """A row for each percentile; a contender that failed has its errors in the first."""
    return [
        Row(
            group,
            name,
            {
                key: found[place] if len(found) > 1 else found[0]
                for key, found in gathered.items()
                if len(found) > 1 or place == 0
            },
            better="less",
            digits=2,
        )
        for place, name in enumerate(names)
    ]
