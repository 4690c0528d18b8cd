"""The calendar of the last weeks: a square for each day."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext, pgettext

from django_apscheduler.admin import words
from django_apscheduler.admin.dashboard.drawing import (
    Chart,
    count,
    cross,
    datum,
    drawing,
    element,
    outcomes,
    text,
)
from django_apscheduler.admin.dashboard.figures import Day

#: Size of a day, and the room for the names of days and months.
CELL, LEFT, TOP = 22.0, 40.0, 18.0


def calendar(days: Sequence[Day], address: Callable[[Day], str]) -> Chart:
    """
    Draw a square for each day, the darker the more ran; a cross says that runs failed.

    :param days: the first is a Monday
    :param address: of the log of a day
    """
    worked = [day.runs for day in days if day.runs]
    least, most = min(worked, default=0), max(worked, default=0)
    weeks = (len(days) + 6) // 7
    parts = [*_names_of_days(days), *_names_of_months(days)]
    rows = []
    for n, day in enumerate(days):
        form = pgettext("date format: weekday and day", "D j M")
        name = words.day_in(form, day.day)
        said = outcomes(day.runs - day.failed, day.failed, day.not_run)
        link = address(day)
        shapes = _shapes(n, day, _level(day.runs, least, most))
        parts.append(datum(f"{name}: {said}", *shapes, href=link))
        numbers = (day.runs, day.failed, day.not_run)
        rows.append([words.linked(link, name), *map(count, numbers)])
    said = _said(days)
    rows.reverse()
    return Chart(
        "calendar",
        gettext("The last twelve weeks"),
        capfirst(said),
        drawing(
            LEFT + max(weeks, 1) * CELL,
            TOP + 7 * CELL,
            gettext("Runs by day: %(said)s") % {"said": said},
            parts,
            "dja-calendar",
        ),
        [gettext("Day"), gettext("Runs"), gettext("Failed"), gettext("Not run")],
        rows,
        [
            ("dja-key-less", gettext("Few runs")),
            ("dja-key-more", gettext("Many runs")),
            ("dja-key-cross", gettext("Failures")),
            ("dja-key-dash", gettext("Not run")),
        ],
    )


def _names_of_days(days: Sequence[Day]) -> list[SafeString]:
    return [
        text(
            LEFT - 6,
            TOP + row * CELL + CELL * 0.65,
            words.day_in("D", days[row].day),
            "dja-axis",
            "end",
        )
        for row in (0, 2, 4, 6)
        if row < len(days)
    ]


def _names_of_months(days: Sequence[Day]) -> list[SafeString]:
    parts = []
    month = None
    for n in range(0, len(days), 7):
        day = days[n].day
        if day.month == month:
            continue
        month = day.month
        # Two names side by side would touch.
        if n + 7 >= len(days) or days[n + 7].day.month == month:
            x = LEFT + n // 7 * CELL
            parts.append(text(x, 12.0, words.day_in("M", day), "dja-axis"))
    return parts


def _shapes(n: int, day: Day, level: int) -> list[SafeString]:
    """Return what is drawn of the day with the number ``n``."""
    column, row = divmod(n, 7)
    x, y, size = LEFT + column * CELL, TOP + row * CELL, CELL - 3
    square = element(
        "rect",
        class_=f"dja-day dja-level-{level}",
        x=x,
        y=y,
        width=size,
        height=size,
        rx=3,
    )
    if not (day.failed or day.not_run):
        return [square]
    tone = "dja-fail" if day.failed else "dja-warn"
    cx, cy, r = x + size / 2, y + size / 2, 2.5
    dash = f"M{cx - r:.1f} {cy:.1f}h{2 * r}"
    return [
        square,
        # On a ground of its own: no colour of a day must hide it.
        element("circle", class_=f"{tone} dja-fill", cx=cx, cy=cy, r=5.5),
        cross(cx, cy, r) if day.failed else element("path", class_="dja-cross", d=dash),
    ]


def _said(days: Sequence[Day]) -> str:
    runs = sum(day.runs for day in days)
    return gettext("%(runs)s; failures on %(bad)s of %(days)s days") % {
        "runs": ngettext("%(count)s run", "%(count)s runs", runs)
        % {"count": count(runs)},
        "bad": sum(1 for day in days if day.failed),
        "days": len(days),
    }


def _level(runs: int, least: int, most: int) -> int:
    """Return how dark a day is: 0 for none, 1 for the fewest runs, 4 for the most."""
    if not runs:
        return 0
    return 3 if least == most else 1 + round(3 * (runs - least) / (most - least))
