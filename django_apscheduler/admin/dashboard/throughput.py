"""The chart of how many runs succeeded, failed, and did not run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext

from django_apscheduler.admin import words
from django_apscheduler.admin.dashboard.axes import (
    BOTTOM,
    HEIGHT,
    LEFT,
    TOP,
    WIDTH,
    beneath,
    line,
    places,
    release_marks,
    slot_name,
)
from django_apscheduler.admin.dashboard.drawing import (
    Chart,
    count,
    cross,
    datum,
    drawing,
    element,
    outcomes,
)
from django_apscheduler.admin.dashboard.figures import Release, Slot, Span

FLOOR = HEIGHT - BOTTOM
#: The line of 0: successes stand on it, failures hang from it.
BASE = TOP + (FLOOR - TOP) * 0.68


@dataclass(frozen=True, slots=True)
class Scale:
    """The numbers at the upper and at the lower edge."""

    above: int
    below: int

    @classmethod
    def of(cls, slots: Sequence[Slot]) -> Scale:
        return cls(
            _nice(max((slot.succeeded for slot in slots), default=0)),
            _nice(max((slot.failed + slot.not_run for slot in slots), default=0)),
        )

    def lines(self) -> list[SafeString]:
        return [
            *line(TOP, count(self.above)),
            *line((TOP + BASE) / 2, "" if self.above < 2 else count(self.above // 2)),
            *line(BASE, "0", "dja-zero"),
            *line(FLOOR, count(self.below)),
        ]


def throughput(
    slots: Sequence[Slot],
    span: Span,
    releases: Sequence[Release],
    now: datetime,
    address: Callable[[Slot, str], str],
) -> Chart:
    """
    Draw how many runs succeeded, upwards, and how many did not, downwards.

    :param address: of the log at a bar, with the status "problems" or ""
    """
    scale = Scale.of(slots)
    parts = [*scale.lines(), *beneath(slots, span)]
    rows = []
    for n, slot in enumerate(slots):
        name = slot_name(slot, span, now)
        said = outcomes(slot.succeeded, slot.failed, slot.not_run)
        parts.append(datum(f"{name}: {said}", *_shapes(n, slot, slots, scale)))
        rows.append(_row(slot, name, address))
    parts += release_marks(releases, slots, now)
    said = outcomes(
        sum(slot.succeeded for slot in slots),
        sum(slot.failed for slot in slots),
        sum(slot.not_run for slot in slots),
    )
    label = gettext("Runs and failures by time: %(said)s") % {"said": said}
    return Chart(
        "throughput",
        gettext("Runs and failures"),
        capfirst(said),
        drawing(WIDTH, HEIGHT, label, parts, "dja-bars"),
        [gettext("Time"), gettext("Succeeded"), gettext("Failed"), gettext("Not run")],
        rows,
        [
            ("dja-ok", gettext("Succeeded")),
            ("dja-fail", gettext("Failed")),
            ("dja-warn", gettext("Missed or skipped")),
        ],
    )


def _shapes(
    n: int, slot: Slot, slots: Sequence[Slot], scale: Scale
) -> list[SafeString]:
    """Return what is drawn of one bar, of which there may be three parts."""
    step, width = places(slots)
    x = LEFT + n * step + (step - width) / 2
    up = slot.succeeded / scale.above * (BASE - TOP)
    down = slot.failed / scale.below * (FLOOR - BASE)
    further = slot.not_run / scale.below * (FLOOR - BASE)
    shapes = [
        element(
            "rect",
            class_="dja-hit",
            x=LEFT + n * step,
            y=TOP,
            width=step,
            height=FLOOR - TOP,
        )
    ]
    if slot.succeeded:
        shapes.append(_bar("dja-ok", x, BASE - max(up, 1.5), width, max(up, 1.5)))
    if slot.failed:
        down = max(down, 4.0)
        shapes.append(_bar("dja-fail", x, BASE + 1, width, down))
        r = min(width / 2, down / 2, 3.0)
        shapes.append(cross(x + width / 2, BASE + 1 + down / 2, r))
    if slot.not_run:
        top = BASE + 1 + (down + 1 if slot.failed else 0)
        shapes.append(_bar("dja-warn", x, top, width, max(further, 3.0)))
    return shapes


def _row(slot: Slot, name: str, address: Callable[[Slot, str], str]) -> list[Any]:
    problems = address(slot, "problems") if slot.failed + slot.not_run else ""
    return [
        words.linked(address(slot, ""), name),
        count(slot.succeeded),
        words.linked(problems, count(slot.failed)),
        count(slot.not_run),
    ]


def _bar(tone: str, x: float, y: float, width: float, height: float) -> SafeString:
    return element(
        "rect", class_=f"{tone} dja-fill", x=x, y=y, width=width, height=height, rx=1.5
    )


def _nice(number: float) -> int:
    """Return the next of 1, 2, 5, 10, 20, 50, … that is not less."""
    if number <= 1:
        return 1
    power = 10 ** math.floor(math.log10(number))
    return next(int(n * power) for n in (1, 2, 5, 10) if n * power >= number)
