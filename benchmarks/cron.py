"""Cron: how fast the next fire time is found, and whether it is the right one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from datetime import time as clock_time
from functools import cache
from zoneinfo import ZoneInfo

from .databases import Options
from .environments import Environment
from .report import Result, Row
from .rounds import ContenderFailed, alternate, ask

CONTENDERS = ("ours", "apscheduler", "croniter", "cronsim", "celery")
ZONES = ("UTC", "Europe/Berlin")

#: Sequences are compared from both: a spring and an autumn change follow soon. No
#: expression fires at the start itself, as libraries differ on whether it counts.
STARTS = ("2024-03-29T00:00:30", "2024-10-25T00:00:30")

EXPLANATION = """\
Each library computes a chain of fire times, every one from the one before: aware
datetimes in and out, driven in the fastest documented way. Parsing the expression is
not timed. Weekdays are given by name, since the libraries number them differently.
First the answers are compared with a plain list of the matching minutes, but for days
on which the clocks change, where the libraries follow different rules."""


@dataclass(frozen=True)
class Expression:
    """
    A crontab expression and, said independently, what it matches.

    :param length: fire times in one timed chain
    :param compared: fire times to compare
    """

    text: str
    length: int
    compared: int
    minutes: tuple[int, ...] = tuple(range(60))
    hours: tuple[int, ...] = tuple(range(24))
    weekdays: tuple[int, ...] = tuple(range(7))
    day: int | None = None
    month: int | None = None

    def on(self, day: date) -> list[clock_time]:
        """The times of a day at which it fires."""
        if day.weekday() not in self.weekdays:
            return []
        if self.day not in (None, day.day) or self.month not in (None, day.month):
            return []
        return [
            clock_time(hour, minute) for hour in self.hours for minute in self.minutes
        ]


EXPRESSIONS = (
    Expression("* * * * *", 2000, 6000),
    Expression("*/5 * * * *", 2000, 1200, tuple(range(0, 60, 5))),
    Expression("0 9 * * mon-fri", 500, 400, (0,), (9,), (0, 1, 2, 3, 4)),
    Expression("30 2 * * *", 500, 400, (30,), (2,)),
    Expression("0 0 1 * *", 200, 60, (0,), (0,), day=1),
    Expression("0 0 29 2 *", 18, 8, (0,), (0,), day=29, month=2),
)


@cache
def is_quiet(day: date, zone: str) -> bool:
    """Whether the clocks stay as they are from the day's beginning to its end."""
    tz = ZoneInfo(zone)
    begin = datetime.combine(day, clock_time(), tz)
    end = datetime.combine(day + timedelta(days=1), clock_time(), tz)
    return begin.utcoffset() == end.utcoffset()


def expected(
    expression: Expression, zone: str, start: datetime, until: date
) -> Iterator[datetime]:
    """The fire times after start and before a day, leaving out days of changes."""
    day = start.date()
    while day < until:
        if is_quiet(day, zone):
            for moment in expression.on(day):
                fire = datetime.combine(day, moment, ZoneInfo(zone))
                if fire.replace(tzinfo=None) > start:
                    yield fire
        day += timedelta(days=1)


def disagreement(
    expression: Expression, zone: str, start: datetime, answers: list[str]
) -> str | None:
    """
    What is wrong with a library's answers, or None.

    :param answers: its fire times as ISO 8601 texts with offset, in its order
    """
    moments = [datetime.fromisoformat(text) for text in answers]
    # The last day may be cut off in the middle, so it is not compared.
    until = moments[-1].date()
    given = [
        moment.isoformat()
        for moment in moments
        if moment.date() < until and is_quiet(moment.date(), zone)
    ]
    right = [fire.isoformat() for fire in expected(expression, zone, start, until)]
    if given == right:
        return None
    missing = [text for text in right if text not in set(given)]
    extra = [text for text in given if text not in set(right)]
    parts = []
    if missing:
        parts.append(f"leaves out {missing[0]} ({len(missing)} of {len(right)})")
    if extra:
        parts.append(f"has {extra[0]}, which does not match ({len(extra)})")
    return " and ".join(parts) or "gives the right times in the wrong order"


def compare(environment: Environment) -> list[str]:
    """Compare a library's answers in all cases; one line per disagreement."""
    cases = [
        (expression, zone, start)
        for zone in ZONES
        for expression in EXPRESSIONS
        for start in STARTS
    ]
    request = {
        "contender": environment.contender.key,
        "task": "sequences",
        "cases": [
            {
                "expression": expression.text,
                "zone": zone,
                "start": start,
                "length": expression.compared,
            }
            for expression, zone, start in cases
        ],
    }
    try:
        answers = ask(environment, "cron.py", request)["answer"]
    except ContenderFailed as failure:
        return [f"could not be compared: {failure}"]
    lines = []
    for (expression, zone, start), answer in zip(cases, answers, strict=True):
        wrong = disagreement(expression, zone, datetime.fromisoformat(start), answer)
        if wrong:
            lines.append(f"“{expression.text}” in {zone} {wrong}")
    return lines


def run(environments: dict[str, Environment], options: Options) -> list[Result]:
    """Compare the answers, then measure every case in alternating rounds."""
    keys = [key for key in CONTENDERS if key in environments]
    notes: list[str] = []
    faults: list[str] = []
    for key in keys:
        environment = environments[key]
        for line in compare(environment):
            where = faults if environment.contender.is_ours else notes
            where.append(f"{environment.contender.title} {environment.version}: {line}")
    if not notes and not faults:
        notes.append("all answers agreed")
    cases = [(zone, expression) for zone in ZONES for expression in EXPRESSIONS]

    def measure(key: str) -> list[float]:
        request = {
            "contender": key,
            "task": "rates",
            "seconds": 0.03 if options.quick else 0.3,
            "cases": [
                {"expression": e.text, "zone": zone, "length": e.length}
                for zone, e in cases
            ],
        }
        return ask(environments[key], "cron.py", request)["answer"]

    gathered = alternate(keys, options.rounds, measure)
    rows = []
    for place, (zone, expression) in enumerate(cases):
        series = {
            key: gathered[key][place if len(gathered[key]) > 1 else 0] for key in keys
        }
        rows.append(Row(zone, expression.text, series))
    result = Result(
        name="cron",
        title="Cron: the next fire time",
        unit="Fire times a second",
        explanation=EXPLANATION,
        contenders=[environments[key] for key in keys],
        rows=rows,
        means=True,
        notes=notes,
        faults=faults,
    )
    return [result]
