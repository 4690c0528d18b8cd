"""From adding or editing a job in one process to its start in another."""

from __future__ import annotations

import math
import time

from .conversation import conversations
from .databases import Options, Place
from .environments import Environment
from .report import Result, Row
from .rounds import ContenderFailed, Series, ask

CONTENDERS = ("ours",)

EXPLANATION = """\
One process runs a BackgroundScheduler with nothing else to do. Another, which runs none,
adds jobs that are to run at once with get_scheduler().add_job(), and gives paused jobs
the present as their next run time with modify_job(), every 20 to 60 ms. Timed is from
the beginning of that call, the transaction included, to the first line of the function,
both by the machine's clock; "after the call" is from its return. The peers' running
schedulers never notice what another process adds or edits."""

EDITS, QUICK_EDITS = 100, 10
#: Seconds that the last of them may take.
LAST_SECONDS = 5.0


def percentile(values: list[float], percent: int) -> float:
    """The least of the values that so many percent of them do not exceed."""
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]


def measure(ours: Environment, place: Place, edits: int) -> dict[str, list[float]]:
    """Answer, for jobs added and edited, the milliseconds to the start of each."""
    database = place.make()
    with conversations(ours, "member.py", 1) as (runner,):
        runner.ask({"do": "start", "database": database, "paused": False})
        request = {"database": database, "edits": edits}
        calls = ask(ours, "editing.py", request)
        deadline = time.monotonic() + LAST_SECONDS
        while True:
            noted = runner.ask({"do": "noted"})
            if len(noted) >= len(calls) or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        runner.ask({"do": "stop"})
    starts = dict(noted)
    if len(noted) != len(calls) or len(starts) != len(calls):
        raise ContenderFailed(
            f"expected one run for each of {len(calls)} edits within "
            f"{LAST_SECONDS:.0f} s of the last; got {len(noted)} of {len(starts)} jobs"
        )
    times: dict[str, list[float]] = {"added": [], "edited": [], "after the call": []}
    for text, (begun, returned) in calls.items():
        number = int(text)
        kind = "added" if number < edits else "edited"
        times[kind].append(1000 * (starts[number] - begun))
        times["after the call"].append(1000 * (starts[number] - returned))
    return times


def run(environments: dict[str, Environment], options: Options) -> list[Result]:
    """Measure on each database."""
    ours = environments["ours"]
    edits = QUICK_EDITS if options.quick else EDITS
    rows = []
    for place in options.databases.places():
        series: dict[str, Series] = {}
        errors = []
        for _ in range(options.rounds):
            try:
                times = measure(ours, place, edits)
            except ContenderFailed as failure:
                errors.append(str(failure))
                continue
            for kind, values in times.items():
                for percent in (50, 99):
                    label = f"{kind}, p{percent}"
                    figures = series.setdefault(label, Series()).figures
                    figures.append(percentile(values, percent))
        series = series or {"added, p50": Series()}
        for label, one in series.items():
            one.errors = errors
            rows.append(Row(place.label, label, {"ours": one}, "less", digits=2))
    return [
        Result(
            name="edits",
            title="Jobs added and edited by another process",
            unit="Milliseconds until the function starts",
            explanation=EXPLANATION,
            contenders=[ours],
            rows=rows,
            notes=[f"{edits} jobs added and {edits} edited", *options.databases.notes],
        )
    ]
