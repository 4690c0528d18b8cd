"""The chart of the next 24 hours: a lane for each job, and how many run at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext

from django_apscheduler.admin import words
from django_apscheduler.admin.dashboard.drawing import (
    Chart,
    count,
    datum,
    drawing,
    element,
    shortcut,
    text,
)
from django_apscheduler.admin.dashboard.figures import HOUR
from django_apscheduler.admin.dashboard.timeline import (
    Overlap,
    Stretch,
    Timeline,
    ZoneChange,
)

#: Size of the timeline: its width, the room for names, a lane, the axis above.
TIMELINE, NAMES, LANE, AXIS = 900.0, 160.0, 22.0, 46.0
#: The strip above the lanes that says how many run at once.
STRIP_TOP, STRIP = 20.0, 22.0
NAME_LENGTH = 24


def timeline(
    found: Timeline, job_address: Callable[[str], str], more_address: str = ""
) -> Chart:
    """Draw the next 24 hours, a lane for each job."""
    length = found.end - found.start
    height = AXIS + max(len(found.lanes), 1) * LANE + 6

    def place(moment: datetime) -> float:
        share = (min(max(moment, found.start), found.end) - found.start) / length
        return NAMES + share * (TIMELINE - NAMES - 8)

    parts = _hours(found, place, height)
    rows = []
    for n, lane in enumerate(found.lanes):
        y = AXIS + n * LANE
        name = lane.name
        shown = name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH - 1]}…"
        link = job_address(lane.job_id)
        parts.append(element("line", class_="dja-grid", x1=0, x2=TIMELINE, y1=y, y2=y))
        parts.append(
            shortcut(link, text(4, y + 15, shown)) if link else text(4, y + 15, shown)
        )
        for stretch in lane.stretches:
            if stretch.start < found.end:
                parts.append(_stretch(stretch, lane.name, place, y, found.now))
        rows.append(
            [
                words.linked(link, name),
                lane.schedule,
                count(len(lane.times))
                if lane.complete
                else gettext("%(count)s or more") % {"count": count(len(lane.times))},
                words.wall(lane.times[0], found.now) if lane.times else words.NOTHING,
                words.duration(lane.seconds),
            ]
        )
    x = place(found.now)
    parts.append(element("line", class_="dja-now", x1=x, x2=x, y1=16, y2=height))
    return Chart(
        "timeline",
        gettext("The next 24 hours"),
        _timeline_words(found),
        drawing(
            TIMELINE,
            height,
            gettext("Runs of the next 24 hours: %(said)s")
            % {"said": _timeline_words(found)},
            parts,
            "dja-lanes",
        )
        if found.lanes
        else "",
        [
            gettext("Job"),
            gettext("Schedule"),
            gettext("Runs"),
            gettext("First"),
            gettext("Median duration"),
        ],
        rows,
        [
            ("dja-key-run", gettext("A run, as long as its median duration")),
            ("dja-key-band", gettext("Many runs, close to one another")),
            ("dja-key-overlap", gettext("How many overlap, where two or more do")),
            ("dja-key-now", gettext("Now")),
        ],
        _timeline_notes(found, more_address),
    )


def _hours(
    found: Timeline, place: Callable[[datetime], float], height: float
) -> list[SafeString]:
    """Return the axis, the shades of overlaps and the changes of the clock."""
    parts = _overlaps(found, place, height)
    moment = found.start
    while moment <= found.end:
        local = words.local(moment)
        if local.hour % 3 == 0:
            x = place(moment)
            label = f"{local:%H:%M}"
            if local.hour == 0:
                label = f"{words.day_in('D', local)} {label}"
            parts.append(
                element("line", class_="dja-grid", x1=x, x2=x, y1=18, y2=height)
            )
            parts.append(text(x, 12.0, label, "dja-axis", "middle"))
        moment += HOUR
    parts += (_change(change, place(change.moment), height) for change in found.changes)
    return parts


def _overlaps(
    found: Timeline, place: Callable[[datetime], float], height: float
) -> list[SafeString]:
    """Return the strip that says how many run at once."""
    parts: list[SafeString] = []
    most = max((o.runs for o in found.overlaps), default=0)
    if most:
        parts.append(text(4, STRIP_TOP + STRIP - 5, gettext("At once"), "dja-axis"))
    numbered = -math.inf
    for overlap in found.overlaps:
        x, end = place(overlap.start), place(overlap.end)
        width, high = max(end - x, 2.0), STRIP * overlap.runs / most
        top = STRIP_TOP + STRIP - high
        shapes = [
            element(
                "rect", class_="dja-hit", x=x, y=STRIP_TOP, width=width, height=STRIP
            ),
            element("rect", class_="dja-overlap", x=x, y=top, width=width, height=high),
        ]
        if overlap.runs == most:
            # Where most run at once, all the way down: one sees which they are.
            y = STRIP_TOP + STRIP
            shapes.append(
                element(
                    "rect", class_="dja-most", x=x, y=y, width=width, height=height - y
                )
            )
            if x - numbered > 26:
                middle, numbered = (x + end) / 2, x
                shapes.append(
                    text(middle, STRIP_TOP + 10, str(most), "dja-most-flag", "middle")
                )
        parts.append(datum(_overlap_words(overlap, found.now), *shapes))
    return parts


def _overlap_words(overlap: Overlap, now: datetime) -> str:
    return gettext("%(start)s–%(end)s: at most %(count)s runs at once") % {
        "start": f"{words.local(overlap.start):%H:%M}",
        "end": words.wall(overlap.end, now),
        "count": overlap.runs,
    }


def _change(change: ZoneChange, x: float, height: float) -> SafeString:
    """Return the mark of a change of the clocks."""
    return datum(
        gettext("The clocks change from %(before)s to %(after)s")
        % {
            "before": f"{change.before:%H:%M}",
            "after": f"{change.after:%H:%M} {change.after.tzname()}",
        },
        element("rect", class_="dja-hit", x=x - 5, y=14, width=10, height=height),
        element("line", class_="dja-clocks", x1=x, x2=x, y1=16, y2=height),
        text(x + 4, 26.0, f"{change.before:%H:%M} → {change.after:%H:%M}", "dja-flag"),
    )


def _stretch(
    stretch: Stretch,
    name: str,
    place: Callable[[datetime], float],
    y: float,
    now: datetime,
) -> SafeString:
    x, end = place(stretch.start), place(stretch.end)
    when = words.wall(stretch.start, now)
    if stretch.gap is None:
        took = (stretch.end - stretch.start).total_seconds()
        title = gettext("%(job)s: %(when)s") % {"job": name, "when": when}
        if took > 1:
            title = gettext("%(job)s: %(when)s, about %(duration)s") % {
                "job": name,
                "when": when,
                "duration": words.coarse(took),
            }
        style, top, high = "dja-run-mark", y + 5, LANE - 10
    else:
        said = {
            "job": name,
            "start": when,
            "end": f"{words.local(stretch.end):%H:%M}",
            "gap": words.duration(stretch.gap),
            "count": stretch.runs,
        }
        title = (
            gettext("%(job)s: every %(gap)s, %(start)s–%(end)s") % said
            if stretch.runs is None
            else gettext("%(job)s: every %(gap)s, %(start)s–%(end)s, %(count)s runs")
            % said
        )
        style, top, high = "dja-band", y + 7, LANE - 14
    width = max(end - x, 3.0)
    # In one piece: there may be a thousand of them.
    return format_html(
        '<g class="dja-datum"><title>{}</title>'
        '<rect class="dja-hit" x="{}" y="{}" width="{}" height="{}"/>'
        '<rect class="{}" x="{}" y="{}" width="{}" height="{}" rx="1.5"/></g>',
        title,
        *(f"{n:.1f}" for n in (x - 2, y, width + 4, LANE)),
        style,
        *(f"{n:.1f}" for n in (x, top, width, high)),
    )


def _timeline_words(found: Timeline) -> str:
    if not found.lanes:
        return gettext("No job is going to run.")
    said = ngettext("%(count)s job runs.", "%(count)s jobs run.", found.jobs) % {
        "count": count(found.jobs)
    }
    if found.most >= 2 and found.most_time is not None:
        said += " " + gettext("At most %(count)s runs at once, first at %(when)s.") % {
            "count": found.most,
            "when": words.wall(found.most_time, found.now),
        }
    else:
        said += " " + gettext("No two of them overlap.")
    return said


def _timeline_notes(found: Timeline, more_address: str) -> list[str]:
    notes: list[str] = []
    others = found.jobs - len(found.lanes)
    if others > 0:
        said = ngettext(
            "%(count)s other job runs later and has no lane here.",
            "%(count)s other jobs run later and have no lane here.",
            others,
        ) % {"count": count(others)}
        notes.append(words.linked(more_address, said))
    for change in found.changes:
        notes.append(
            gettext(
                "The clocks change from %(before)s to %(after)s: jobs of the hours "
                "around it may run twice or not at all."
            )
            % {
                "before": f"{change.before:%H:%M}",
                "after": f"{change.after:%H:%M} {change.after.tzname()}",
            }
        )
    return notes
