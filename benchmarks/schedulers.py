"""Each kind of scheduler beside its counterpart: throughput, and lateness at ease."""

from __future__ import annotations

from dataclasses import dataclass

from .databases import Options
from .environments import Environment
from .report import Result, Row
from .rounds import alternate, ask

CONTENDERS = ("ours", "apscheduler")

EXPLANATION = """\
Each scheduler in a small program of its framework's, on that framework's loop, with the
memory store and the executor it has by default. First 1,000 hourly jobs fall due at the
same moment, wave after wave; timed is from resume() until the last body has begun, and
every job must have run exactly once. Then 40 one-second interval jobs, evenly spread,
for 5 s after 1 s that is not counted; lateness is from the due time to the first line of
the body. Bodies do nothing but note their start; they are plain functions unless the
line says async def. misfire_grace_time=None, coalesce=True."""


@dataclass(frozen=True)
class Case:
    """
    One kind of scheduler with one kind of bodies.

    :param kind: the scheduler's plugin alias
    :param coroutines: whether bodies are ``async def``
    :param script: the contender's script
    """

    label: str
    kind: str
    coroutines: bool = False
    script: str = "every_scheduler.py"


CASES = (
    Case("BlockingScheduler", "blocking"),
    Case("BackgroundScheduler", "background"),
    Case("AsyncIOScheduler", "asyncio"),
    Case("AsyncIOScheduler, async def", "asyncio", coroutines=True),
    Case("GeventScheduler", "gevent"),
    Case("GeventScheduler, patched", "gevent", script="every_scheduler_patched.py"),
    Case("TornadoScheduler", "tornado"),
    Case("TornadoScheduler, async def", "tornado", coroutines=True),
    Case("TwistedScheduler", "twisted"),
    Case("QtScheduler", "qt"),
)

SIZES = {"jobs": 1_000, "waves": 20, "spread": 40, "warm_up": 1.0, "seconds": 5}
QUICK_SIZES = {"jobs": 50, "waves": 2, "spread": 20, "warm_up": 0.2, "seconds": 1}

#: What is measured of each: answer's key, label, which is better, decimals.
FIGURES = (
    ("throughput", "runs a second", "more", 0),
    ("p50_ms", "lateness p50, ms", "less", 2),
    ("p99_ms", "lateness p99, ms", "less", 2),
)


def measure(environment: Environment, case: Case, quick: bool) -> list[float]:
    """Let a contender run one case; answer its figures."""
    request = {
        "contender": environment.contender.key,
        "kind": case.kind,
        "coroutines": case.coroutines,
        **(QUICK_SIZES if quick else SIZES),
    }
    answer = ask(environment, case.script, request)
    return [answer[key] for key, *_ in FIGURES]


def run(environments: dict[str, Environment], options: Options) -> list[Result]:
    """Measure each case in alternating rounds."""
    keys = [key for key in CONTENDERS if key in environments]
    rows = []
    for case in CASES:
        gathered = alternate(
            keys,
            options.rounds,
            lambda key, case=case: measure(environments[key], case, options.quick),
        )
        for place, (_, label, better, digits) in enumerate(FIGURES):
            # One that never succeeded has a single series, which holds its errors.
            series = {
                key: found[place] if len(found) > 1 else found[0]
                for key, found in gathered.items()
                if len(found) > 1 or place == 0
            }
            rows.append(Row(case.label, label, series, better, digits))
    return [
        Result(
            name="schedulers",
            title="Each scheduler",
            unit="As each line says",
            explanation=EXPLANATION,
            contenders=[environments[key] for key in keys],
            rows=rows,
            notes=[
                "gevent: patched is a process in which monkey.patch_all() came first",
                "APScheduler awaits coroutines under asyncio and Tornado alone",
            ],
        )
    ]
