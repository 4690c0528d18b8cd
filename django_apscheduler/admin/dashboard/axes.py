"""The axes that all charts of bars share: times beneath, numbers beside, releases."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.utils.safestring import SafeString
from django.utils.translation import gettext, pgettext

from django_apscheduler.admin import words
from django_apscheduler.admin.dashboard.drawing import datum, element, text
from django_apscheduler.admin.dashboard.figures import Release, Slot, Span

#: Size of the charts of bars, and the room around what they plot.
WIDTH, HEIGHT = 460.0, 180.0
LEFT, RIGHT, TOP, BOTTOM = 50.0, 8.0, 18.0, 22.0


def slot_name(slot: Slot, span: Span, now: datetime) -> str:
    """Say which time a bar stands for: "13:00–14:00", "Mon 06:00–12:00", "Mon 1 Jun"."""
    start, end = words.local(slot.start), words.local(slot.end)
    if span.hours == 24:
        return words.day_in(pgettext("date format: weekday and day", "D j M"), start)
    hours = f"{start:%H:%M}–{end:%H:%M}"
    if span.days or start.date() != words.local(now).date():
        return f"{words.day_in('D', start)} {hours}"
    return hours


def slot_labels(slots: Sequence[Slot], span: Span) -> list[str]:
    """Return what stands beneath each bar, mostly nothing."""
    labels = []
    for slot in slots:
        start = words.local(slot.start)
        label = ""
        if span.hours == 1 and start.hour % 3 == 0:
            label = f"{start:%H:%M}"
        elif span.hours == 6 and start.hour < 6:
            label = words.day_in("D", start)
        elif span.hours == 24 and start.weekday() == 0:
            label = words.day_in(pgettext("date format: day and month", "j M"), start)
        labels.append(label)
    return labels


def places(slots: Sequence[Slot]) -> tuple[float, float]:
    step = (WIDTH - LEFT - RIGHT) / max(len(slots), 1)
    return step, min(step * 0.68, 16.0)


def beneath(slots: Sequence[Slot], span: Span) -> list[SafeString]:
    step, _bar = places(slots)
    return [
        text(LEFT + (n + 0.5) * step, HEIGHT - 6, label, "dja-axis", "middle")
        for n, label in enumerate(slot_labels(slots, span))
        if label
    ]


def line(y: float, label: str, style: str = "dja-grid") -> list[SafeString]:
    return [
        element("line", class_=style, x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y),
        text(LEFT - 6, y + 4, label, "dja-axis", "end"),
    ]


def release_marks(
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
