"""
States and statuses as badges: an icon, a word and a colour, in that order of weight.

The tone (``ok``, ``fail``, ``warn``, ``run``, ``wait``, ``quiet``) is a CSS class; its
colours, light and dark, are in ``static/django_apscheduler/admin.css``.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import NamedTuple

from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import pgettext_lazy

#: Drawn on a 16 x 16 grid, stroked in the colour of the text around them.
ICONS = {
    "check": "M3 8.5 6.5 12 13 4.5",
    "cross": "M4 4l8 8M12 4l-8 8",
    "play": "M5 3.5v9l7.5-4.5z",
    "pause": "M5.5 3.5v9M10.5 3.5v9",
    "clock": "M8 4.5V8l2.5 1.5M8 2a6 6 0 1 1 0 12A6 6 0 0 1 8 2z",
    "alarm": "M8 5v3.5M8 11h.01M8 2 14.5 13.5h-13z",
    "stack": "M3 5.5h7.5V13H3zM5.5 5.5V3H13v7.5h-2.5",
    "merge": "M3 4h3l4 8h3M3 12h3l1.2-2.4M8.8 6.4 10 4h3",
    "ghost": "M6 6a2 2 0 1 1 3 1.7c-.7.4-1 .8-1 1.8M8 12.5h.01",
    "slash": "M8 2a6 6 0 1 1 0 12A6 6 0 0 1 8 2zM4 4l8 8",
    "flag": "M4 14V3h8l-2 3 2 3H4",
    "wrench": "M2.5 13.5 8 8M8 8a3.5 3.5 0 0 1 4.5-4.5L10.5 5.5 11 8l2-1.5A3.5 "
    "3.5 0 0 1 8 8z",
    "circle": "M8 4.5a3.5 3.5 0 1 1 0 7 3.5 3.5 0 0 1 0-7z",
    "hourglass": "M4 2.5h8M4 13.5h8M4.8 2.5c0 4 6.4 7 6.4 11M11.2 2.5c0 4-6.4 7-6.4 11",
    "inbox": "M2.5 9 4.5 3.5h7L13.5 9v4h-11zM2.5 9H6l.8 1.5h2.4L10 9h3.5",
}


class Look(NamedTuple):
    """How one state or status is shown."""

    tone: str
    icon: str
    word: Promise | str


#: Execution status, as stored -> how it is shown.
STATUSES: dict[str, Look] = {
    "Queued": Look("wait", "inbox", pgettext_lazy("status of a run", "Queued")),
    "Claimed": Look("wait", "flag", pgettext_lazy("status of a run", "Claimed")),
    "Started execution": Look(
        "run", "play", pgettext_lazy("status of a run", "Running")
    ),
    "Executed": Look("ok", "check", pgettext_lazy("status of a run", "Executed")),
    "Error!": Look("fail", "cross", pgettext_lazy("status of a run", "Error")),
    "Missed!": Look("warn", "alarm", pgettext_lazy("status of a run", "Missed")),
    "Max instances!": Look(
        "warn", "stack", pgettext_lazy("status of a run", "Max instances")
    ),
    "Coalesced": Look("quiet", "merge", pgettext_lazy("status of a run", "Coalesced")),
    "Lost": Look("fail", "ghost", pgettext_lazy("status of a run", "Lost")),
    "Cancelled": Look("quiet", "slash", pgettext_lazy("status of a run", "Cancelled")),
}

#: Condition of a job -> how it is shown. The first six are seen from its rows.
CONDITIONS: dict[str, Look] = {
    "active": Look("ok", "clock", pgettext_lazy("state of a job", "Active")),
    "running": Look("run", "play", pgettext_lazy("state of a job", "Running")),
    "overdue": Look("warn", "alarm", pgettext_lazy("state of a job", "Overdue")),
    "failing": Look("fail", "cross", pgettext_lazy("state of a job", "Failing")),
    "never": Look("quiet", "circle", pgettext_lazy("state of a job", "Never run")),
    "paused": Look("wait", "pause", pgettext_lazy("state of a job", "Paused")),
    "finished": Look("quiet", "flag", pgettext_lazy("state of a job", "Finished")),
    "disabled": Look("quiet", "slash", pgettext_lazy("state of a job", "Disabled")),
    "broken": Look("fail", "wrench", pgettext_lazy("state of a job", "Broken")),
}

#: State of a scheduler process -> how it is shown.
PROCESSES: dict[str, Look] = {
    "alive": Look("ok", "check", pgettext_lazy("state of a scheduler", "Alive")),
    "draining": Look(
        "wait", "pause", pgettext_lazy("state of a scheduler", "Stopping")
    ),
    "silent": Look(
        "fail", "alarm", pgettext_lazy("state of a scheduler", "No heartbeat")
    ),
    "dead": Look("quiet", "cross", pgettext_lazy("state of a scheduler", "Ended")),
}


@cache
def icon(name: str) -> SafeString:
    """Return one icon as inline SVG, hidden from screen readers."""
    return format_html(
        '<svg class="dja-icon" viewBox="0 0 16 16" width="14" height="14" '
        'aria-hidden="true" focusable="false"><path d="{}"/></svg>',
        ICONS[name],
    )


def badge(look: Look, detail: str = "", title: str = "") -> SafeString:
    """
    Return a badge.

    :param detail: said after the word, as in "Failing ×3"
    :param title: tooltip
    """
    words = f"{look.word} {detail}" if detail else str(look.word)
    return _badge(look.tone, look.icon, words, title)


# A list shows a hundred, most of them the same.
@lru_cache(maxsize=512)
def _badge(tone: str, icon_name: str, words: str, title: str) -> SafeString:
    attribute = format_html(' title="{}"', title) if title else ""
    return format_html(
        '<span class="dja-badge dja-{}"{}>{}{}</span>',
        tone,
        attribute,
        icon(icon_name),
        words,
    )


def condition_badge(condition: str, detail: str = "") -> SafeString:
    """Return the badge of a job's condition; one unknown here is shown as stored."""
    look = CONDITIONS.get(condition, Look("quiet", "circle", condition))
    return badge(look, detail)


def status_badge(status: str, title: str = "") -> SafeString:
    """Return the badge of an execution status; one unknown here is shown as stored."""
    return badge(STATUSES.get(status, Look("quiet", "circle", status)), title=title)
