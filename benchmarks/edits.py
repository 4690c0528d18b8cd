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
both by the machine's clock. Where that time goes is shown for both together: "the call"
until it returns, "call to claim" until the scheduler's transaction that claims the run
begins, "claim to start" for that transaction and for handing the run to a thread. The
peers' running schedulers never notice what another process adds or edits."""

EDITS, QUICK_EDITS = 500, 10

#: From the call to the start, and the parts of that time.
KINDS = ("added", "edited", "the call", "call to claim", "claim to start")

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
        claims = runner.ask({"do": "claims"})
        runner.ask({"do": "stop"})
    starts = dict(noted)
    if len(noted) != len(calls) or len(starts) != len(calls):
        raise ContenderFailed(
            f"expected one run for each of {len(calls)} edits within "
            f"{LAST_SECONDS:.0f} s of the last; got {len(noted)} of {len(starts)} jobs"
        )
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for text, (begun, returned) in calls.items():
        number = int(text)
        kind = "added" if number < edits else "edited"
        times[kind].append(1000 * (starts[number] - begun))
        claimed = claims[text]
        times["the call"].append(1000 * (returned - begun))
        times["call to claim"].append(1000 * (claimed - returned))
        times["claim to start"].append(1000 * (starts[number] - claimed))
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
