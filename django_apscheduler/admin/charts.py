"""
Pictures drawn on the server: SVG that needs no script, no library and no inline style.

Shape says what colour says, so the pictures read in black and white too.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext

from django_apscheduler.admin import badges, words
from django_apscheduler.admin.stats import RunMark

STEP, BAR, HEIGHT, LOWEST = 6, 4, 24, 6

#: Seconds that fill the whole height of a strip; shorter runs by logarithm.
TALLEST_SECONDS = 3600.0


def bar_height(seconds: float | None) -> int:
    """Return the height in pixels of a run that took so many seconds (None: unknown)."""
    if seconds is None or seconds <= 0.01:
        return LOWEST
    share = math.log(seconds / 0.01) / math.log(TALLEST_SECONDS / 0.01)
    return round(LOWEST + (HEIGHT - LOWEST) * min(share, 1.0))


def _mark(run: RunMark, x: int, title: str) -> SafeString:
    """Draw one run: its shape by tone, its height by duration."""
    tone = badges.STATUSES.get(run.status, badges.CONDITIONS["never"]).tone
    height = bar_height(run.seconds)
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
        '<g class="dja-{}"><title>{}</title>'
        '<rect class="dja-hit" x="{}" y="0" width="{}" height="{}"/>{}</g>',
        tone,
        title,
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
    for place, run in enumerate(runs[:places]):
        title = gettext("%(status)s, %(when)s") % {
            "status": badges.STATUSES[run.status].word
            if run.status in badges.STATUSES
            else run.status,
            "when": words.wall(run.run_time, now, seconds=True),
        }
        if run.seconds is not None:
            title += ", " + words.duration(run.seconds)
        marks.append((_mark(run, (places - 1 - place) * STEP + 1, title),))
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
        format_html_join("", "{}", reversed(marks)),
    )
