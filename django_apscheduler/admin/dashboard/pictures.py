"""
The charts of the dashboard: SVG that needs no script, no library and no inline style.

Each chart comes with the same numbers as a table and with a sentence in place of the
picture. What colour says a shape says too. Marks that bear a number are groups of the
class ``dja-datum`` with a title: the script turns these into tooltips for the mouse and
for the arrow keys.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from django.utils.formats import date_format, number_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext, pgettext

from django_apscheduler.admin import words
from django_apscheduler.admin.dashboard.figures import (
    Day,
    Release,
    Slot,
    Span,
    percentiles,
)

#: Size of the charts of bars, and the room around what they plot.
WIDTH, HEIGHT = 460.0, 180.0
LEFT, RIGHT, TOP, BOTTOM = 50.0, 8.0, 18.0, 22.0

#: Lengths of time that an axis names, in seconds.
NAMED_SECONDS = (
    *(0.001, 0.01, 0.1, 1.0, 10.0, 60.0, 600.0),
    *(3600.0, 36_000.0, 86_400.0, 864_000.0, 8_640_000.0, 86_400_000.0),
)

#: The least distance between two names of lines.
LABEL = 14.0

#: Size of a day in the calendar, and the room for the names of days and months.
CELL, CALENDAR_LEFT, CALENDAR_TOP = 22.0, 40.0, 18.0


@dataclass
class Chart:
    """
    A picture, the sentence that says the same, and the same numbers as a table.

    :ivar legend: (class of the swatch, what it means)
    """

    key: str
    title: str
    text: str
    svg: SafeString | str
    head: list[str]
    rows: list[list[Any]]
    legend: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def element(name: str, *children: Any, **attributes: Any) -> SafeString:
    """Return an element; ``class_`` and ``stroke_width`` as SVG spells them."""
    return format_html(
        _template(name, tuple(attributes)),
        *(_short(value) for value in attributes.values()),
        format_html_join("", "{}", ((child,) for child in children))
        if children
        else "",
    )


@lru_cache(maxsize=256)
def _template(name: str, attributes: tuple[str, ...]) -> str:
    # A page has thousands of elements, of a few dozen forms.
    names = (key.strip("_").replace("_", "-") for key in attributes)
    given = "".join(f' {key}="{{}}"' for key in names)
    return f"<{name}{given}>{{}}</{name}>"


def _short(value: Any) -> Any:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value


def datum(title: str, *children: Any, href: str = "") -> SafeString:
    """Return a mark that bears a number, with what it says."""
    mark = format_html(
        '<g class="dja-datum"><title>{}</title>{}</g>',
        title,
        format_html_join("", "{}", ((child,) for child in children)),
    )
    return shortcut(href, mark) if href else mark


def shortcut(href: str, mark: SafeString) -> SafeString:
    """
    Return a part of a picture that leads somewhere, for the mouse.

    A chart is one tab stop and one thing to a screen reader: the script follows the
    link on Enter, and the table has it as well.
    """
    return element("a", mark, href=href, tabindex="-1")


def drawing(
    width: float, height: float, label: str, parts: Sequence[str], style: str
) -> SafeString:
    """Return a chart's SVG: one thing with a name, to who does not see it."""
    linked = any(part.startswith("<a ") for part in parts)
    return element(
        "svg",
        element("g", *parts, aria_hidden="true"),
        class_=f"dja-chart {style}",
        viewBox=f"0 0 {_short(width)} {_short(height)}",
        width=width,
        height=height,
        # An image must have no links in it, not even for the mouse alone.
        role="group" if linked else "img",
        aria_label=label,
    )


def text(
    x: float, y: float, words: str, style: str = "", anchor: str = ""
) -> SafeString:
    """Return a text."""
    attributes: dict[str, Any] = {"x": x, "y": y}
    if style:
        attributes["class_"] = style
    if anchor:
        attributes["text_anchor"] = anchor
    return element("text", words, **attributes)


def count(number: int) -> str:
    """Return a number with the separators of the language."""
    return number_format(number, use_l10n=True, force_grouping=True)


# Names of times


def slot_name(slot: Slot, span: Span, now: datetime) -> str:
    """Say which time a bar stands for: "13:00–14:00", "Mon 06:00–12:00", "Mon 1 Jun"."""
    start, end = words.local(slot.start), words.local(slot.end)
    if span.hours == 24:
        return date_format(start, pgettext("date format: weekday and day", "D j M"))
    hours = f"{date_format(start, 'H:i')}–{date_format(end, 'H:i')}"
    if span.days or start.date() != words.local(now).date():
        return f"{date_format(start, 'D')} {hours}"
    return hours


def _slot_labels(slots: Sequence[Slot], span: Span) -> list[str]:
    """Return what stands beneath each bar, mostly nothing."""
    labels = []
    for slot in slots:
        start = words.local(slot.start)
        label = ""
        if span.hours == 1 and start.hour % 3 == 0:
            label = date_format(start, "H:i")
        elif span.hours == 6 and start.hour < 6:
            label = date_format(start, "D")
        elif span.hours == 24 and start.weekday() == 0:
            label = date_format(start, pgettext("date format: day and month", "j M"))
        labels.append(label)
    return labels


# Charts of bars


def _places(slots: Sequence[Slot]) -> tuple[float, float]:
    step = (WIDTH - LEFT - RIGHT) / max(len(slots), 1)
    return step, min(step * 0.68, 16.0)


def _beneath(slots: Sequence[Slot], span: Span) -> list[SafeString]:
    step, _bar = _places(slots)
    return [
        text(LEFT + (n + 0.5) * step, HEIGHT - 6, label, "dja-axis", "middle")
        for n, label in enumerate(_slot_labels(slots, span))
        if label
    ]


def _line(y: float, label: str, style: str = "dja-grid") -> list[SafeString]:
    return [
        element("line", class_=style, x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y),
        text(LEFT - 6, y + 4, label, "dja-axis", "end"),
    ]


def _release_marks(
    releases: Sequence[Release], slots: Sequence[Slot], now: datetime
) -> list[SafeString]:
    """Return a line where the schedulers first ran another release."""
    begin, end = slots[0].start, slots[-1].end
    found = []
    for moment, name in releases:
        if not begin <= moment < end:
            continue
        x = LEFT + (WIDTH - LEFT - RIGHT) * ((moment - begin) / (end - begin))
        shown = name if len(name) <= 12 else f"{name[:11]}…"
        anchor, gap = ("start", 3) if x < WIDTH * 0.8 else ("end", -3)
        found.append(
            datum(
                gettext("Release %(name)s since %(when)s")
                % {"name": name, "when": words.wall(moment, now)},
                element("rect", class_="dja-hit", x=x - 4, y=0, width=8, height=TOP),
                element(
                    "line", class_="dja-release", x1=x, x2=x, y1=4, y2=HEIGHT - BOTTOM
                ),
                text(x + gap, 11.0, shown, "dja-flag", anchor),
            )
        )
    return found


def _nice(number: float) -> int:
    """Return the next of 1, 2, 5, 10, 20, 50, … that is not less."""
    if number <= 1:
        return 1
    power = 10 ** math.floor(math.log10(number))
    return next(int(n * power) for n in (1, 2, 5, 10) if n * power >= number)


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
    succeeded = sum(slot.succeeded for slot in slots)
    failed = sum(slot.failed for slot in slots)
    not_run = sum(slot.not_run for slot in slots)
    above = _nice(max((slot.succeeded for slot in slots), default=0))
    below = _nice(max((slot.failed + slot.not_run for slot in slots), default=0))
    floor = HEIGHT - BOTTOM
    base = TOP + (floor - TOP) * 0.68
    step, bar = _places(slots)
    parts = [
        *_line(TOP, count(above)),
        *_line((TOP + base) / 2, "" if above < 2 else count(above // 2)),
        *_line(base, "0", "dja-zero"),
        *_line(floor, count(below)),
        *_beneath(slots, span),
    ]
    rows = []
    for n, slot in enumerate(slots):
        x = LEFT + n * step + (step - bar) / 2
        up = slot.succeeded / above * (base - TOP)
        down = slot.failed / below * (floor - base)
        further = slot.not_run / below * (floor - base)
        shapes = [
            element(
                "rect",
                class_="dja-hit",
                x=LEFT + n * step,
                y=TOP,
                width=step,
                height=floor - TOP,
            )
        ]
        if slot.succeeded:
            shapes.append(_bar("dja-ok", x, base - max(up, 1.5), bar, max(up, 1.5)))
        if slot.failed:
            down = max(down, 4.0)
            shapes.append(_bar("dja-fail", x, base + 1, bar, down))
            # A cross in the bar, for those who see no red.
            r = min(bar / 2, down / 2, 3.0)
            shapes.append(_cross(x + bar / 2, base + 1 + down / 2, r))
        if slot.not_run:
            top = base + 1 + (down + 1 if slot.failed else 0)
            shapes.append(_bar("dja-warn", x, top, bar, max(further, 3.0)))
        name = slot_name(slot, span, now)
        said = _outcomes(slot.succeeded, slot.failed, slot.not_run)
        parts.append(datum(f"{name}: {said}", *shapes))
        problems = slot.failed + slot.not_run
        rows.append(
            [
                linked(address(slot, ""), name),
                count(slot.succeeded),
                linked(
                    address(slot, "problems") if problems else "", count(slot.failed)
                ),
                count(slot.not_run),
            ]
        )
    parts += _release_marks(releases, slots, now)
    said = _outcomes(succeeded, failed, not_run)
    return Chart(
        "throughput",
        gettext("Runs and failures"),
        capfirst(said),
        drawing(
            WIDTH,
            HEIGHT,
            gettext("Runs and failures by time: %(said)s") % {"said": said},
            parts,
            "dja-bars",
        ),
        [gettext("Time"), gettext("Succeeded"), gettext("Failed"), gettext("Not run")],
        rows,
        [
            ("dja-ok", gettext("Succeeded")),
            ("dja-fail", gettext("Failed")),
            ("dja-warn", gettext("Missed or skipped")),
        ],
    )


def _bar(tone: str, x: float, y: float, width: float, height: float) -> SafeString:
    return element(
        "rect", class_=f"{tone} dja-fill", x=x, y=y, width=width, height=height, rx=1.5
    )


def _cross(x: float, y: float, r: float) -> SafeString:
    d = f"M{x - r:.1f} {y - r:.1f}l{2 * r:.1f} {2 * r:.1f}m0 {-2 * r:.1f}l{-2 * r:.1f} {2 * r:.1f}"
    return element("path", class_="dja-cross", d=d)


def linked(address: str, words: str) -> SafeString | str:
    """Return words that lead to an address, or the words alone where it is ""."""
    return format_html('<a href="{}">{}</a>', address, words) if address else words


def _outcomes(succeeded: int, failed: int, not_run: int) -> str:
    """Say how many runs ended in which way."""
    if not (succeeded or failed or not_run):
        return gettext("no runs")
    parts = [
        ngettext("%(count)s run succeeded", "%(count)s runs succeeded", succeeded)
        % {"count": count(succeeded)},
        ngettext("%(count)s failed", "%(count)s failed", failed)
        % {"count": count(failed)},
    ]
    if not_run:
        parts.append(
            ngettext("%(count)s did not run", "%(count)s did not run", not_run)
            % {"count": count(not_run)}
        )
    return ", ".join(parts)


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
    low, high = _named_around(min(seen, default=0.01), max(seen, default=1.0))
    floor = HEIGHT - BOTTOM

    def place(seconds: float) -> float:
        share = math.log(max(seconds, low) / low) / math.log(high / low)
        return floor - share * (floor - TOP)

    step, bar = _places(slots)
    parts: list[SafeString] = []
    free = math.inf
    for named in NAMED_SECONDS:
        if low <= named <= high:
            style = "dja-zero" if named == low else "dja-grid"
            # Over many powers of ten the names of all lines would not fit.
            label = words.duration(named) if free - place(named) >= LABEL else ""
            free = place(named) if label else free
            parts += _line(place(named), label, style)
    parts += _beneath(slots, span)
    rows = []
    for n, (slot, found) in enumerate(zip(slots, known)):
        name = slot_name(slot, span, now)
        runs = getattr(slot.totals, key).total()
        values = list(found.values())
        rows.append([name, count(runs), *(words.duration(value) for value in values)])
        p50, p95, p99 = values
        if p50 is None or p95 is None or p99 is None:
            continue
        x = LEFT + (n + 0.5) * step
        parts.append(
            datum(
                f"{name}: {_percentile_words(found)}",
                element(
                    "rect",
                    class_="dja-hit",
                    x=x - step / 2,
                    y=TOP,
                    width=step,
                    height=floor - TOP,
                ),
                element(
                    "line", class_="dja-p99", x1=x, x2=x, y1=place(p95), y2=place(p99)
                ),
                element(
                    "line",
                    class_="dja-p99",
                    x1=x - bar / 3,
                    x2=x + bar / 3,
                    y1=place(p99),
                    y2=place(p99),
                ),
                element(
                    "rect",
                    class_="dja-p95",
                    x=x - bar / 2,
                    y=place(p95),
                    width=bar,
                    height=max(place(p50) - place(p95), 1.0),
                    rx=1.5,
                ),
                element(
                    "line",
                    class_="dja-p50",
                    x1=x - bar / 2,
                    x2=x + bar / 2,
                    y1=place(p50),
                    y2=place(p50),
                ),
            )
        )
    parts += _release_marks(releases, slots, now)
    whole = percentiles(_together(slots, key))
    said = _percentile_words(whole) if seen else gettext("No runs")
    return Chart(
        key,
        title,
        said,
        drawing(
            WIDTH,
            HEIGHT,
            gettext("%(title)s by time: %(said)s") % {"title": title, "said": said},
            parts,
            "dja-lengths",
        ),
        [gettext("Time"), gettext("Runs"), "p50", "p95", "p99"],
        rows,
        [
            ("dja-key-p50", gettext("p50, the median")),
            ("dja-key-p95", "p95"),
            ("dja-key-p99", "p99"),
        ],
    )


def _together(slots: Sequence[Slot], key: str) -> Any:
    histograms = [getattr(slot.totals, key) for slot in slots]
    whole = type(histograms[0])()
    for histogram in histograms:
        whole.update(histogram)
    return whole


def _named_around(low: float, high: float) -> tuple[float, float]:
    """Return the named lengths of time between which all others lie."""
    below = [named for named in NAMED_SECONDS if named <= low]
    above = [named for named in NAMED_SECONDS if named >= high]
    start = below[-1] if below else NAMED_SECONDS[0]
    end = above[0] if above else NAMED_SECONDS[-1]
    if end <= start:
        following = [named for named in NAMED_SECONDS if named > start]
        end = following[0] if following else start * 10
    return start, end


def _percentile_words(found: dict[str, float | None]) -> str:
    return ", ".join(f"{name} {words.duration(value)}" for name, value in found.items())


# The calendar


def calendar(days: Sequence[Day], address: Callable[[Day], str]) -> Chart:
    """
    Draw a square for each day, the darker the more ran; a cross says that runs failed.

    :param days: the first is a Monday
    :param address: of the log of a day
    """
    worked = [day.runs for day in days if day.runs]
    least, most = min(worked, default=0), max(worked, default=0)
    weeks = (len(days) + 6) // 7
    parts: list[SafeString] = []
    for row in (0, 2, 4, 6):
        if row < len(days):
            parts.append(
                text(
                    CALENDAR_LEFT - 6,
                    CALENDAR_TOP + row * CELL + CELL * 0.65,
                    date_format(days[row].day, "D"),
                    "dja-axis",
                    "end",
                )
            )
    month = None
    rows = []
    for n, day in enumerate(days):
        column, row = divmod(n, 7)
        x, y = CALENDAR_LEFT + column * CELL, CALENDAR_TOP + row * CELL
        if row == 0 and day.day.month != month:
            month = day.day.month
            # Two names side by side would touch.
            if n + 7 >= len(days) or days[n + 7].day.month == month:
                parts.append(text(x, 12.0, date_format(day.day, "M"), "dja-axis"))
        size = CELL - 3
        shapes = [
            element(
                "rect",
                class_=f"dja-day dja-level-{_level(day.runs, least, most)}",
                x=x,
                y=y,
                width=size,
                height=size,
                rx=3,
            )
        ]
        if day.failed or day.not_run:
            # On a ground of its own: no colour of a day must hide it.
            tone = "dja-fail" if day.failed else "dja-warn"
            at, r = (x + size / 2, y + size / 2), 2.5
            shapes.append(
                element("circle", class_=f"{tone} dja-fill", cx=at[0], cy=at[1], r=5.5)
            )
            shapes.append(
                _cross(*at, r)
                if day.failed
                else element(
                    "path",
                    class_="dja-cross",
                    d=f"M{at[0] - r:.1f} {at[1]:.1f}h{2 * r}",
                )
            )
        name = date_format(day.day, pgettext("date format: weekday and day", "D j M"))
        said = _outcomes(day.runs - day.failed, day.failed, day.not_run)
        link = address(day)
        parts.append(datum(f"{name}: {said}", *shapes, href=link))
        rows.append(
            [
                linked(link, name),
                count(day.runs),
                count(day.failed),
                count(day.not_run),
            ]
        )
    runs = sum(day.runs for day in days)
    bad = sum(1 for day in days if day.failed)
    said = gettext("%(runs)s; failures on %(bad)s of %(days)s days") % {
        "runs": ngettext("%(count)s run", "%(count)s runs", runs)
        % {"count": count(runs)},
        "bad": bad,
        "days": len(days),
    }
    rows.reverse()
    return Chart(
        "calendar",
        gettext("The last twelve weeks"),
        capfirst(said),
        drawing(
            CALENDAR_LEFT + max(weeks, 1) * CELL,
            CALENDAR_TOP + 7 * CELL,
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


def _level(runs: int, least: int, most: int) -> int:
    """Return how dark a day is: 0 for none, 1 for the fewest runs, 4 for the most."""
    if not runs:
        return 0
    return 3 if least == most else 1 + round(3 * (runs - least) / (most - least))
