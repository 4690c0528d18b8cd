"""A hundred thousand random declarations: answers or documented errors, nothing else."""

from __future__ import annotations

import random
import time
from datetime import date, datetime, timedelta, timezone

import pytest

from django_apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from django_apscheduler.triggers.combining import AndTrigger, OrTrigger
from django_apscheduler.triggers.cron import CronTrigger
from django_apscheduler.triggers.date import DateTrigger
from django_apscheduler.triggers.interval import IntervalTrigger

UTC = timezone.utc
LIMITS = {
    "year": (1970, 9999),
    "month": (1, 12),
    "day": (1, 31),
    "week": (1, 53),
    "day_of_week": (0, 6),
    "hour": (0, 23),
    "minute": (0, 59),
    "second": (0, 59),
}
WORDS = [
    "mon",
    "tue",
    "sun",
    "jan",
    "dec",
    "last",
    "1st",
    "2nd",
    "5th",
    "6th",
    "fri",
    "@daily",
    "x",
    "L",
    "W",
    "#",
    "?",
]
JUNK = [
    None,
    True,
    1.5,
    float("nan"),
    float("inf"),
    -1,
    10**30,
    10**5000,
    b"5",
    "",
    " ",
    "\x00",
    "٣",
    "🕐",
    "0-99999999999999999999",
    "*/99999999999999999999",
    "*" * 500,
    "1," * 3000,
    [],
    [1],
    {},
    set(),
    object(),
    date(2026, 1, 1),
    datetime(2026, 1, 1),
    datetime.max,
    datetime.min,
    timedelta(1),
    ...,
    int,
    UTC,
]
ZONES = ["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia", "Asia/Kolkata"]
ALPHABET = "0123456789*/-,  aefjlmnostuy"


def expression(rng: random.Random, low: int, high: int) -> str:
    """Return a mostly valid expression for numbers from ``low`` to ``high``."""
    spread = high - low
    slack = max(1, spread // 10) if rng.random() < 0.1 else 0

    def number() -> int:
        return rng.randint(low - slack, high + slack)

    def element() -> str:
        kind = rng.randrange(7)
        if kind == 0:
            return "*"
        if kind == 1:
            return f"*/{rng.randint(0 if slack else 1, spread + slack)}"
        if kind == 2:
            one, other = number(), number()
            if not slack:
                one, other = sorted((one, other))
            step = f"/{rng.randint(1, 4)}" if rng.random() < 0.3 else ""
            return f"{one}-{other}{step}"
        if kind == 3 and rng.random() < 0.3:
            return f"{rng.choice(WORDS)} {rng.choice(WORDS)}"[: rng.randint(1, 9)]
        return str(number())

    return ",".join(element() for _ in range(rng.choice([1, 1, 1, 2, 3])))


def field(rng: random.Random, name: str):
    chance = rng.random()
    if chance < 0.03:
        return rng.choice(JUNK)
    if chance < 0.08:
        return "".join(rng.choices(ALPHABET, k=rng.randint(1, 12)))
    if chance < 0.2:
        return rng.randint(*LIMITS[name])
    return expression(rng, *LIMITS[name])


def moment(rng: random.Random):
    year = rng.choice([1, 1969, 1970, 2025, 2026, 2038, 2100, 9999])
    return datetime(
        year, rng.randint(1, 12), rng.randint(1, 28), rng.randrange(24), tzinfo=UTC
    )


def options(rng: random.Random, names: tuple[str, ...]) -> dict:
    """Return some of the arguments ``names``, a few of them senseless."""
    chosen = {}
    for name in names:
        if rng.random() < 0.15:
            sensible = {
                "timezone": rng.choice(ZONES),
                "jitter": rng.randint(0, 100),
                "dst": rng.choice(["wall", "once"]),
                "day_or": rng.random() < 0.5,
            }.get(name)
            if sensible is None:
                sensible = rng.choice(
                    [moment(rng), "2026-05-30", "2026-05-30 14:00:00"]
                )
            chosen[name] = rng.choice(JUNK) if rng.random() < 0.1 else sensible
    return chosen


def cron(rng: random.Random) -> CronTrigger:
    names = rng.sample(list(LIMITS), rng.choice([1, 2, 2, 3]))
    arguments = {name: field(rng, name) for name in names}
    names = ("start_date", "end_date", "timezone", "jitter", "dst", "day_or")
    return CronTrigger(**arguments, **options(rng, names))


def crontab(rng: random.Random) -> CronTrigger:
    if rng.random() < 0.05:
        return CronTrigger.from_crontab(rng.choice([*JUNK, "@daily", "@never"]))
    names = ["minute", "hour", "day", "month", "day_of_week"]
    parts = [
        "*" if rng.random() < 0.4 else expression(rng, *LIMITS[name]) for name in names
    ]
    if rng.random() < 0.03:
        parts.pop()
    return CronTrigger.from_crontab(" ".join(parts), **options(rng, ("timezone",)))


def amount(rng: random.Random):
    chance = rng.random()
    if chance < 0.1:
        return rng.choice(JUNK)
    if chance < 0.2:
        return rng.choice([0, -5, 10**9, 10**15])
    return rng.randint(1, 400)


def interval(rng: random.Random) -> IntervalTrigger:
    names = rng.sample(["weeks", "days", "hours", "minutes", "seconds"], 2)
    return IntervalTrigger(
        **{name: amount(rng) for name in names},
        **options(rng, ("start_date", "end_date", "timezone", "jitter")),
    )


def calendar_interval(rng: random.Random) -> CalendarIntervalTrigger:
    names = rng.sample(["years", "months", "weeks", "days", "hour", "minute"], 2)
    amounts = {
        name: rng.randint(0, 25) if rng.random() < 0.9 else amount(rng)
        for name in names
    }
    return CalendarIntervalTrigger(
        **amounts, **options(rng, ("start_date", "end_date", "timezone", "jitter"))
    )


def one_date(rng: random.Random) -> DateTrigger:
    run_date = rng.choice([*JUNK, moment(rng), "2026-05-30", "2026-02-30"])
    return DateTrigger(run_date, **options(rng, ("timezone",)))


def combination(rng: random.Random) -> BaseException:
    parts = [rng.choice([cron, interval, calendar_interval])(rng) for _ in range(2)]
    if rng.random() < 0.1:
        parts.append(rng.choice(JUNK))
    kind = AndTrigger if rng.random() < 0.2 else OrTrigger
    return kind(parts, **options(rng, ("jitter",)))


def ask(trigger, rng: random.Random) -> None:
    """Put a few questions; answers must increase."""
    now = moment(rng)
    first = trigger.get_next_fire_time(None, now)
    if first is not None:
        assert first.tzinfo is not None
        second = trigger.get_next_fire_time(first, now)
        if second is not None:
            assert second.astimezone(UTC) > first.astimezone(UTC)


KINDS = [
    (cron, 45_000),
    (crontab, 30_000),
    (interval, 12_000),
    (calendar_interval, 8_000),
    (one_date, 4_000),
    (combination, 1_000),
]


@pytest.mark.parametrize(("make", "count"), KINDS, ids=[k[0].__name__ for k in KINDS])
def test_random_arguments_give_a_trigger_or_a_documented_error(make, count):
    rng = random.Random(f"{make.__name__} 2026")
    made = refused = 0
    messages: set[str] = set()
    slowest = 0.0
    for number in range(count):
        began = time.process_time()
        try:
            trigger = make(rng)
        except (ValueError, TypeError) as error:
            refused += 1
            messages.add(str(error)[:200])
        else:
            made += 1
            assert str(trigger)
            if number % 8 == 0:
                ask(trigger, rng)
        slowest = max(slowest, time.process_time() - began)
    assert all(len(message) > 10 for message in messages)
    # Both kinds occur, and none of them hangs.
    assert min(made, refused) > count * 0.05
    assert slowest < 2
