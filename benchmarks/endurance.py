"""Whether memory stays flat over very many runs."""

from __future__ import annotations

from .databases import Options
from .environments import Environment
from .report import Result, Row
from .rounds import alternate, ask

CONTENDERS = ("ours",)

EXPLANATION = """\
5,000 hourly jobs fall due together and are made due again as soon as all have run, wave
after wave, with the execution log and nothing but a counting listener; the log is
emptied between waves when it has 100,000 rows, and summed up beside. Resident memory of
the process is read after a garbage collection; the growth is the slope of the line with
the least squares, from a fifth of the runs on. --runs N takes another number of runs.
Linux only."""

RUNS, QUICK_RUNS = 200_000, 4_000
JOBS, QUICK_JOBS = 5_000, 500
#: Samples a table shows; memory is read at least as often as every 100,000 runs.
SAMPLES = 10


def run(environments: dict[str, Environment], options: Options) -> list[Result]:
    """Measure on PostgreSQL, or on the only database wanted."""
    ours = environments["ours"]
    jobs = QUICK_JOBS if options.quick else JOBS
    runs = options.runs or (QUICK_RUNS if options.quick else RUNS)
    # Whole waves, and a whole number of them between two samples.
    every = max(1, min(runs // SAMPLES, 100_000) // jobs) * jobs
    runs = max(4 * every, runs // every * every)
    rows: list[Row] = []
    for place in options.databases.first():
        labels: list[str] = []

        def one(key: str, place=place, labels=labels) -> list[float]:
            request = {
                "runs": runs,
                "jobs": jobs,
                "every": every,
                "warm_up": runs // 5,
                "database": place.make(),
            }
            answer = ask(ours, "endurance.py", request, seconds=4 * 3600)
            kib = [value for _, value in answer["samples"]]
            labels[:] = [f"KiB after {done:,} runs" for done, _ in answer["samples"]]
            growth = answer["growth_per_run"] * 100_000
            return [answer["answer"], growth, *kib]

        series = alternate(["ours"], options.rounds, one)["ours"]
        names = ["runs a second", "growth, KiB per 100,000 runs", *labels]
        for name, figures in zip(names, series):
            better = "more" if name == names[0] else ""
            rows.append(Row(place.label, name, {"ours": figures}, better=better))
    return [
        Result(
            name="endurance",
            title="Memory over many runs",
            unit="As each line says",
            explanation=EXPLANATION,
            contenders=[ours],
            rows=rows,
            notes=[f"{runs:,} runs of {jobs:,} jobs", *options.databases.notes],
        )
    ]
