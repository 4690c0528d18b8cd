"""The charts of durations and of lateness: how they are spread, over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.safestring import SafeString
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
    datum,
    drawing,
    element,
)
from django_apscheduler.admin.dashboard.figures import (
    Release,
    Slot,
    Span,
    percentiles,
)

FLOOR = HEIGHT - BOTTOM

#: Lengths of time that an axis names, in seconds.
NAMED_SECONDS = (
    *(0.001, 0.01, 0.1, 1.0, 10.0, 60.0, 600.0),
    *(3600.0, 36_000.0, 86_400.0, 864_000.0, 8_640_000.0, 86_400_000.0),
)

#: The least distance between two names of lines.
LABEL = 14.0


@dataclass(frozen=True, slots=True)
class Scale:
    """A logarithmic axis from one named length of time to another, in seconds."""

    low: float
    high: float

    @classmethod
    def around(cls, low: float, high: float) -> Scale:
        """Return the axis between the named lengths that others lie between."""
        below = [named for named in NAMED_SECONDS if named <= low]
        above = [named for named in NAMED_SECONDS if named >= high]
        start = below[-1] if below else NAMED_SECONDS[0]
        end = above[0] if above else NAMED_SECONDS[-1]
        if end <= start:
            following = [named for named in NAMED_SECONDS if named > start]
            end = following[0] if following else start * 10
        return cls(start, end)

    def place(self, seconds: float) -> float:
        share = math.log(max(seconds, self.low) / self.low)
        return FLOOR - share / math.log(self.high / self.low) * (FLOOR - TOP)

    def lines(self) -> list[SafeString]:
        parts: list[SafeString] = []
        free = math.inf
        for named in NAMED_SECONDS:
            if not self.low <= named <= self.high:
                continue
            style = "dja-zero" if named == self.low else "dja-grid"
            y = self.place(named)
            # Over many powers of ten the names of all lines would not fit.
            label = words.duration(named) if free - y >= LABEL else ""
            free = y if label else free
            parts += line(y, label, style)
        return parts


def lengths(
    key: str,
    title: str,
    slots: Sequence[Slot],
    span: Span,
    releases: Sequence[Release],
    now: datetime,
) -> Chart:
    """
    Draw p50, p95 and p99 of durations or of lateness, over a logarithmic axis.

    :param key: ``durations`` or ``lateness``
    """
    known = [percentiles(getattr(slot.totals, key)) for slot in slots]
    seen = [p for found in known for p in found.values() if p is not None]
    scale = Scale.around(min(seen, default=0.01), max(seen, default=1.0))
    step, width = places(slots)
    parts = [*scale.lines(), *beneath(slots, span)]
    rows = []
    for n, (slot, found) in enumerate(zip(slots, known)):
        name = slot_name(slot, span, now)
        runs = getattr(slot.totals, key).total()
        values = (words.duration(value) for value in found.values())
        rows.append([name, count(runs), *values])
        shapes = _shapes(LEFT + (n + 0.5) * step, step, width, scale, found)
        if shapes:
            parts.append(datum(f"{name}: {_said(found)}", *shapes))
    parts += release_marks(releases, slots, now)
    said = _said(percentiles(_together(slots, key))) if seen else gettext("No runs")
    label = gettext("%(title)s by time: %(said)s") % {"title": title, "said": said}
    return Chart(
        key,
        title,
        said,
        drawing(WIDTH, HEIGHT, label, parts, "dja-lengths"),
        [gettext("Time"), gettext("Runs"), "p50", "p95", "p99"],
        rows,
        [
            ("dja-key-p50", gettext("p50, the median")),
            ("dja-key-p95", "p95"),
            ("dja-key-p99", "p99"),
        ],
    )


def _shapes(
    x: float, step: float, width: float, scale: Scale, found: dict[str, float | None]
) -> list[SafeString]:
    """Return what is drawn around the middle of a bar; nothing if nothing ran."""
    p50, p95, p99 = found.values()
    if p50 is None or p95 is None or p99 is None:
        return []
    median, most, last = (scale.place(seconds) for seconds in (p50, p95, p99))
    left, height = x - width / 2, max(median - most, 1.0)
    return [
        element(
            "rect",
            class_="dja-hit",
            x=x - step / 2,
            y=TOP,
            width=step,
            height=FLOOR - TOP,
        ),
        element("line", class_="dja-p99", x1=x, x2=x, y1=most, y2=last),
        _level("dja-p99", x, width / 3, last),
        element(
            "rect", class_="dja-p95", x=left, y=most, width=width, height=height, rx=1.5
        ),
        _level("dja-p50", x, width / 2, median),
    ]


def _level(style: str, x: float, half: float, y: float) -> SafeString:
    return element("line", class_=style, x1=x - half, x2=x + half, y1=y, y2=y)


def _together(slots: Sequence[Slot], key: str) -> Any:
    histograms = [getattr(slot.totals, key) for slot in slots]
    whole = type(histograms[0])()
    for histogram in histograms:
        whole.update(histogram)
    return whole


def _said(found: dict[str, float | None]) -> str:
    return ", ".join(f"{name} {words.duration(value)}" for name, value in found.items())
