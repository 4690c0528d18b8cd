"""In-memory dispatch: how many due jobs a second a scheduler runs."""

from __future__ import annotations

from .databases import Options
from .environments import Environment
from .report import Result, Row
from .rounds import alternate, ask

CONTENDERS = ("ours", "apscheduler")

EXPLANATION = """\
BackgroundScheduler, memory store, thread pool of 10. A number of hourly jobs, whose
function does nothing but be counted, fall due at the same moment; timed is from
resume() until the last one has run, wave after wave. The same code with the same
arguments drives both (misfire_grace_time=None, coalesce=True). After each wave every
job must have run once and moved on."""

#: Jobs that are due together, and waves of them in one round.
SIZES = {100: 200, 1_000: 20, 10_000: 3}
QUICK_SIZES = {100: 20, 1_000: 2}


def run(environments: dict[str, Environment], options: Options) -> list[Result]:
    """Measure each number of jobs in alternating rounds."""
    keys = [key for key in CONTENDERS if key in environments]
    rows = []
    for jobs, waves in (QUICK_SIZES if options.quick else SIZES).items():

        def measure(key: str, jobs: int = jobs, waves: int = waves) -> list[float]:
            request = {"contender": key, "jobs": jobs, "waves": waves}
            return [ask(environments[key], "memory.py", request)["answer"]]

        gathered = alternate(keys, options.rounds, measure)
        series = {key: gathered[key][0] for key in keys}
        rows.append(Row("", f"{jobs:,} jobs due together", series))
    result = Result(
        name="memory",
        title="Dispatch in memory",
        unit="Runs a second",
        explanation=EXPLANATION,
        contenders=[environments[key] for key in keys],
        rows=rows,
    )
    return [result]
