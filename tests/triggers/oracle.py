"""
The slow truth about cron schedules: walk through every minute and look at the clock.

Shares no code with the triggers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo

from hypothesis import strategies as st

MINUTE = timedelta(minutes=1)
THREE_HOURS = timedelta(hours=3)
WEEKDAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
MONTHS = [
    "jan",
    "feb",
    "mar",
    "apr",
    "may",
    "jun",
    "jul",
    "aug",
    "sep",
    "oct",
    "nov",
    "dec",
]

#: zones and the days, in UTC, around which their clocks change
CHANGES = [
    ("Europe/Berlin", "2025-03-30"),
    ("Europe/Berlin", "2025-10-26"),
    ("America/New_York", "2025-03-09"),
    ("America/New_York", "2025-11-02"),
    ("America/St_Johns", "2010-03-14"),
    ("America/St_Johns", "2010-11-07"),
    ("Australia/Lord_Howe", "2025-04-05"),
    ("Australia/Lord_Howe", "2025-10-04"),
    ("Pacific/Chatham", "2025-04-05"),
    ("Pacific/Chatham", "2025-09-27"),
    ("Antarctica/Troll", "2025-03-30"),
    ("Antarctica/Troll", "2025-10-26"),
    ("America/Santiago", "2025-04-06"),
    ("America/Santiago", "2025-09-07"),
    ("Africa/Cairo", "2025-04-24"),
    ("Africa/Cairo", "2025-10-30"),
    ("America/Havana", "2025-03-09"),
    ("America/Havana", "2025-11-02"),
    ("Pacific/Apia", "2011-12-30"),
    ("Asia/Gaza", "2040-10-20"),
    ("America/Noronha", "2000-10-08"),
    ("Asia/Kolkata", "2025-03-30"),
    ("UTC", "2024-02-29"),
]


@dataclass
class Case:
    """A cron schedule: the arguments of a CronTrigger, and what they mean."""

    texts: dict[str, str]
    allowed: dict[str, set[int]]
    last_day: bool
    nth: set[tuple[int, int]]

    def matches(self, wall: datetime) -> bool:
        allowed = self.allowed
        return (
            wall.minute in allowed["minute"]
            and wall.hour in allowed["hour"]
            and wall.month in allowed["month"]
            and wall.weekday() in allowed["day_of_week"]
            and wall.isocalendar()[1] in allowed["week"]
            and self._matches_day(wall)
        )

    def _matches_day(self, wall: datetime) -> bool:
        if wall.day in self.allowed["day"]:
            return True
        ends_month = (wall + timedelta(days=1)).month != wall.month
        if self.last_day and ends_month:
            return True
        for number, weekday in self.nth:
            if wall.weekday() != weekday:
                continue
            if number > 0 and 7 * (number - 1) < wall.day <= 7 * number:
                return True
            if number < 0 and (wall + timedelta(days=7)).month != wall.month:
                return True
        return False


def numbers(low: int, high: int, names: list[str] | None = None) -> st.SearchStrategy:
    """Generate (text, the numbers it means)."""

    def spell(number: int, by_name: bool) -> str:
        return names[number - low] if names and by_name else str(number)

    @st.composite
    def element(draw) -> tuple[str, set[int]]:
        kind = draw(st.sampled_from(["one", "one", "range", "steps", "star steps"]))
        by_name = draw(st.booleans())
        first = draw(st.integers(low, high - 1))
        last = draw(st.integers(first + 1, high))
        if kind == "one":
            return spell(first, by_name), {first}
        if kind == "range":
            text = f"{spell(first, by_name)}-{spell(last, by_name)}"
            return text, set(range(first, last + 1))
        if kind == "steps":
            step = draw(st.integers(1, last - first))
            return f"{first}-{last}/{step}", set(range(first, last + 1, step))
        step = draw(st.integers(1, high - low))
        return f"*/{step}", set(range(low, high + 1, step))

    def join(elements: list[tuple[str, set[int]]]) -> tuple[str, set[int]]:
        return ",".join(e[0] for e in elements), set().union(*(e[1] for e in elements))

    star = st.just(("*", set(range(low, high + 1))))
    return st.one_of(star, st.lists(element(), min_size=1, max_size=3).map(join))


@st.composite
def days(draw) -> tuple[str, set[int], bool, set[tuple[int, int]]]:
    """Generate (text, day numbers, last day?, n-th weekdays) of the day field."""
    text, allowed = draw(numbers(1, 31))
    if draw(st.booleans()):
        return text, allowed, False, set()
    texts, last, nth = [], False, set()
    for _ in range(draw(st.integers(1, 2))):
        number = draw(st.sampled_from([0, 1, 2, 3, 4, 5, -1]))
        weekday = draw(st.integers(0, 6))
        if number == 0:
            texts.append("last")
            last = True
        else:
            word = {1: "1st", 2: "2nd", 3: "3rd", 4: "4th", 5: "5th", -1: "last"}
            texts.append(f"{word[number]} {WEEKDAYS[weekday]}")
            nth.add((number, weekday))
    if draw(st.booleans()):
        return f"{text},{','.join(texts)}", allowed, last, nth
    return ",".join(texts), set(), last, nth


@st.composite
def cases(draw) -> Case:
    """Generate schedules whose fields are mostly open, so that they do fire."""
    fields = {
        "month": numbers(1, 12, MONTHS),
        "week": numbers(1, 53),
        "day_of_week": numbers(0, 6, WEEKDAYS),
        "hour": numbers(0, 23),
        "minute": numbers(0, 59),
    }
    limits = {"month": (1, 12), "week": (1, 53), "day_of_week": (0, 6), "day": (1, 31)}
    texts: dict[str, str] = {}
    allowed = {name: set(range(low, high + 1)) for name, (low, high) in limits.items()}
    last_day, nth = False, set()
    for name, strategy in fields.items():
        often = name in ("hour", "minute") or draw(st.integers(0, 3)) == 0
        if often:
            texts[name], allowed[name] = draw(strategy)
    if draw(st.integers(0, 2)) == 0:
        texts["day"], allowed["day"], last_day, nth = draw(days())
    return Case(texts, allowed, last_day, nth)


def walk(
    case: Case, zone: tzinfo, start: datetime, end: datetime, once: bool
) -> Iterator[datetime]:
    """
    Yield, in UTC, the minutes from ``start`` to before ``end`` at which ``case`` fires.

    :param once: follow Debian's cron (crontab(5) and cron(8)) instead of the wall
        clock: it keeps a clock of its own that neither jumps nor turns back for
        changes of less than three hours; schedules with * in hour or minute ignore it
    """
    fixed = "*" not in case.texts["hour"] and "*" not in case.texts["minute"]
    # Begin early, so that the first minutes are not taken for a repetition.
    moment = start - timedelta(days=2)
    expected = None
    while moment < end:
        wall = moment.astimezone(zone).replace(tzinfo=None)
        fires = case.matches(wall)
        if once and fixed and expected is not None and wall != expected:
            if abs(wall - expected) < THREE_HOURS:
                if wall < expected:
                    fires, wall = False, expected - MINUTE
                else:
                    missed = (wall - expected) // MINUTE
                    fires = any(
                        case.matches(expected + n * MINUTE) for n in range(missed + 1)
                    )
        if fires and moment >= start:
            yield moment
        expected = wall + MINUTE
        moment += MINUTE


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)
