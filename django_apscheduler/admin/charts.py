"""
Pictures drawn on the server: SVG that needs no script, no library and no inline style.

Shape says what colour says, so the pictures read in black and white too.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from html import escape

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import get_language, gettext, ngettext

from django_apscheduler.admin import badges, words
from django_apscheduler.admin.stats import RunMark
from django_apscheduler.models import DjangoJobExecution

STEP, BAR, HEIGHT, LOWEST = 6, 4, 24, 6

#: Seconds that fill the whole height of a strip; shorter runs by logarithm.
TALLEST_SECONDS = 3600.0


def bar_height(seconds: float | None) -> int:
    """Return the height in pixels of a run that took so many seconds (None: unknown)."""
    if seconds is None or seconds <= 0.01:
        return LOWEST
    share = math.log(seconds / 0.01) / math.log(TALLEST_SECONDS / 0.01)
    return round(LOWEST + (HEIGHT - LOWEST) * min(share, 1.0))


# A list shows a thousand marks, of a few hundred shapes and places.
@lru_cache(maxsize=4096)
def _mark(tone: str, height: int, x: int) -> tuple[SafeString, SafeString]:
    """
    Draw one run: its shape by tone, its height by duration.

    :return: what comes before its title, and what comes after
    """
    return (
        format_html('<g class="dja-{}"><title>', tone),
        format_html("</title>{}</g>", _shape(tone, height, x)),
    )


def _shape(tone: str, height: int, x: int) -> SafeString:
    if tone == "fail":
        # A cross above the bar: told from a success without seeing red.
        height = min(max(height, LOWEST), HEIGHT - 8)
        shape = format_html(
            '<rect class="dja-fill" x="{x}" y="{y}" width="{w}" height="{h}" rx="1"/>'
            '<path class="dja-line" d="M{x} {a}l{w} {w}m0 -{w}l-{w} {w}"/>',
            x=x,
            y=HEIGHT - height,
            w=BAR,
            h=height,
            a=HEIGHT - height - 7,
        )
    elif tone == "ok":
        shape = format_html(
            '<rect class="dja-fill" x="{}" y="{}" width="{}" height="{}" rx="1.5"/>',
            x,
            HEIGHT - height,
            BAR,
            height,
        )
    elif tone == "run":
        shape = format_html(
            '<rect class="dja-line" x="{}" y="{}" width="{}" height="{}" rx="1"/>',
            x + 0.5,
            HEIGHT - 15.5,
            BAR - 1,
            15,
        )
    elif tone == "warn":
        shape = format_html(
            '<path class="dja-fill" d="M{} {}l3 5.5h-6z"/>', x + BAR / 2, HEIGHT - 6
        )
    else:
        shape = format_html(
            '<rect class="dja-fill" x="{}" y="{}" width="{}" height="2" rx="1"/>',
            x,
            HEIGHT - 2,
            BAR,
        )
    # The clear box behind makes the tooltip easy to hit.
    return format_html(
        '<rect class="dja-hit" x="{}" y="0" width="{}" height="{}"/>{}',
        x - 1,
        STEP,
        HEIGHT,
        shape,
    )


def summary(runs: Sequence[RunMark]) -> str:
    """Say in words what the strip shows: "Last 20 runs: 17 Executed, 3 Error"."""
    if not runs:
        return gettext("No runs yet")
    counts = Counter(run.status for run in runs)
    parts = ", ".join(
        gettext("%(count)s %(status)s")
        % {"count": count, "status": badges.STATUSES[status].word}
        if status in badges.STATUSES
        else f"{count} {status}"
        for status, count in counts.most_common()
    )
    return ngettext(
        "Last run: %(parts)s", "Last %(count)s runs: %(parts)s", len(runs)
    ) % {"count": len(runs), "parts": parts}


def run_strip(runs: Sequence[RunMark], now: datetime, places: int = 20) -> SafeString:
    """
    Draw a job's latest runs, the newest at the right.

    :param runs: newest first
    """
    marks = []
    said, tell = gettext("%(status)s, %(when)s"), words.teller(now, seconds=True)
    language = get_language()
    shown = {run.status for run in runs} & badges.STATUSES.keys()
    known = {status: str(badges.STATUSES[status].word) for status in shown}
    for place, run in enumerate(runs[:places]):
        title = said % {
            "status": known.get(run.status, run.status),
            "when": tell(run.run_time),
        }
        seconds = run.seconds
        if seconds is not None:
            title += ", " + words.duration(seconds, language)
        tone = badges.STATUSES.get(run.status, badges.CONDITIONS["never"]).tone
        before, after = _mark(
            tone, bar_height(seconds), (places - 1 - place) * STEP + 1
        )
        # Python's own escape() spares a thousand texts what Django does for lazy ones.
        marks.append(f"{before}{escape(title)}{after}")
    return format_html(
        '<svg class="dja-strip" role="img" aria-label="{}" width="{}" height="{}" '
        'viewBox="0 0 {} {}"><path class="dja-base" d="M0 {}h{}"/>{}</svg>',
        summary(runs),
        places * STEP,
        HEIGHT + 1,
        places * STEP,
        HEIGHT + 1,
        HEIGHT + 0.5,
        places * STEP,
        # All of them are safe. To have each one formatted would take as long as all the
        # rest of a list.
        SafeString("".join(reversed(marks))),
    )


#: Width of a duration bar in pixels; the job's median stands in its middle.
BAR_WIDTH, BAR_HEIGHT = 64, 6


def duration_bar(seconds: float, median: float) -> SafeString:
    """Draw how long a run took beside the median of its job's runs."""
    share = seconds / (2 * median) if median > 0 else 1.0
    width = round(max(min(share, 1.0) * BAR_WIDTH, 1), 1)
    told = gettext("Half of the runs take no longer than %(duration)s.") % {
        "duration": words.duration(median)
    }
    return format_html(
        '<svg class="dja-took" role="img" aria-label="{told}" width="{all}" '
        'height="{high}" viewBox="0 0 {all} {high}"><title>{told}</title>'
        '<rect class="dja-track" y="1" width="{all}" height="{bar}" rx="2"/>'
        '<rect class="dja-fill" y="1" width="{width}" height="{bar}" rx="2"/>'
        '{over}<path class="dja-mid" d="M{mid} 0v{high}"/></svg>',
        told=told,
        all=BAR_WIDTH,
        high=BAR_HEIGHT,
        bar=BAR_HEIGHT - 2,
        width=width,
        mid=BAR_WIDTH / 2,
        # An open end: longer than there is room for.
        over=format_html(
            '<path class="dja-over" d="M{0} 0l-3 {1}"/>', BAR_WIDTH - 3, BAR_HEIGHT
        )
        if share > 1
        else "",
    )


#: Size of an execution's timeline, and the least a part of it is drawn at.
LINE_WIDTH, LINE_HEIGHT, LINE_LEAST = 600, 14, 4


def _parts(row: DjangoJobExecution, now: datetime) -> list[tuple[str, str, float]]:
    """Return the parts of an execution's time: (tone, name, seconds)."""
    under_way = row.status in DjangoJobExecution.ACTIVE
    begun = row.started_time or (now if under_way else row.claimed_time)
    begun = begun or row.run_time
    parts = []
    waiting = row.run_time
    if row.claimed_time is not None:
        claimed = min(max(row.claimed_time, row.run_time), begun)
        parts.append(("quiet", gettext("until claimed"), claimed - row.run_time))
        waiting = claimed
    parts.append(("wait", gettext("until started"), begun - waiting))
    if row.started_time is not None:
        ended = row.finished_time or (now if under_way else row.started_time)
        tone = badges.STATUSES.get(row.status, badges.STATUSES["Executed"]).tone
        name = gettext("running so far") if under_way else gettext("running")
        parts.append((tone, name, ended - row.started_time))
    return [
        (tone, name, length.total_seconds())
        for tone, name, length in parts
        if length > timedelta(0)
    ]


def run_timeline(row: DjangoJobExecution, now: datetime) -> SafeString:
    """Draw an execution's waiting and running to scale; "" when there is neither."""
    parts = _parts(row, now)
    whole = sum(length for _tone, _name, length in parts)
    if not whole:
        return SafeString("")
    room = LINE_WIDTH - LINE_LEAST * len(parts)
    x, shapes, legend = 0.0, [], []
    for tone, name, length in parts:
        width = LINE_LEAST + room * length / whole
        text = f"{name} {words.duration(length)}"
        shapes.append((tone, text, round(x, 1), round(max(width - 1, 1), 1)))
        legend.append((tone, name, words.duration(length)))
        x += width
    return format_html(
        '<svg class="dja-line-chart" role="img" aria-label="{}" '
        'viewBox="0 0 {} {}" preserveAspectRatio="none">{}</svg>'
        '<ul class="dja-legend">{}</ul>',
        ", ".join(text for _tone, text, _x, _width in shapes),
        LINE_WIDTH,
        LINE_HEIGHT,
        format_html_join(
            "",
            '<g class="dja-{}"><title>{}</title>'
            '<rect class="dja-fill" x="{}" width="{}" height="14"/></g>',
            shapes,
        ),
        format_html_join(
            "",
            '<li class="dja-{}"><svg class="dja-key" width="10" height="10" '
            'aria-hidden="true"><rect class="dja-fill" width="10" height="10" rx="2"/>'
            "</svg>{} <b>{}</b></li>",
            legend,
        ),
    )
