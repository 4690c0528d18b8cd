"""
Moments and durations in the words staff read: "in 3 h 5 min", "Mon 09:00 CET".

Everything that compares with the present takes ``now``; moments are shown in Django's
current time zone, with its name beside them, and carry the UTC moment as a tooltip.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext, pgettext

from django_apscheduler.db import current_zone

MINUTE, HOUR, DAY = 60, 3600, 86400

#: What stands where there is nothing to show.
NOTHING = "–"


def local(moment: datetime) -> datetime:
    """Return ``moment`` in the time zone of the page."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    try:
        return moment.astimezone(current_zone())
    except OverflowError:
        # The last hours of the year 9999, which some use for "never".
        return moment


def seconds_of(length: timedelta | Decimal | float | int) -> float:
    """Return a length of time as seconds."""
    if isinstance(length, timedelta):
        return length.total_seconds()
    return float(length)


def duration(length: timedelta | Decimal | float | int | None) -> str:
    """Say how long: "< 1 ms", "12 ms", "4.2 s", "3 min 5 s", "2 h 10 min", "3 d 4 h"."""
    if length is None:
        return NOTHING
    seconds = max(seconds_of(length), 0.0)
    if seconds < 0.0005:
        return gettext("< 1 ms")
    if seconds < 0.9995:
        return gettext("%(n)s ms") % {"n": round(seconds * 1000)}
    if seconds < 9.95:
        return gettext("%(n)s s") % {"n": f"{seconds:.1f}"}
    return coarse(seconds)


def coarse(seconds: float) -> str:
    """Say how long in whole units, two of them below ten: "12 s", "3 min 5 s", "45 d"."""
    whole = max(round(seconds), 0)
    if whole < MINUTE:
        return gettext("%(n)s s") % {"n": whole}
    minutes, rest = divmod(whole, MINUTE)
    if whole < 10 * MINUTE and rest:
        return gettext("%(m)s min %(s)s s") % {"m": minutes, "s": rest}
    if whole < HOUR:
        return gettext("%(n)s min") % {"n": minutes}
    hours, minutes = divmod(whole // MINUTE, 60)
    if whole < DAY:
        if minutes and hours < 10:
            return gettext("%(h)s h %(m)s min") % {"h": hours, "m": minutes}
        return gettext("%(n)s h") % {"n": hours}
    days, hours = divmod(whole // HOUR, 24)
    if hours and days < 10:
        return gettext("%(d)s d %(h)s h") % {"d": days, "h": hours}
    return gettext("%(n)s d") % {"n": days}


def relative(moment: datetime | None, now: datetime) -> str:
    """Say when, seen from now: "in 3 h", "2 min 5 s ago", "now"."""
    if moment is None:
        return NOTHING
    seconds = (local(moment) - now).total_seconds()
    if abs(seconds) < 1:
        return pgettext("a moment", "now")
    if seconds > 0:
        return gettext("in %(duration)s") % {"duration": coarse(seconds)}
    return gettext("%(duration)s ago") % {"duration": coarse(-seconds)}


def wall(moment: datetime | None, now: datetime, seconds: bool = False) -> str:
    """
    Say when by the clock, shortest first: "14:05 CET", "Mon 09:00 CET", with the date
    once the weekday alone would be ambiguous.

    The setting ``APSCHEDULER_DATETIME_FORMAT`` (a Django date format) replaces all of
    these forms.
    """
    if moment is None:
        return NOTHING
    here = local(moment)
    chosen = getattr(settings, "APSCHEDULER_DATETIME_FORMAT", None)
    if chosen:
        return date_format(here, chosen)
    days = (here.date() - local(now).date()).days
    clock = date_format(here, "H:i:s" if seconds else "H:i")
    zone = here.tzname() or ""
    if days == 0:
        return f"{clock} {zone}".strip()
    if abs(days) < 7:
        day = date_format(here, "D")
    elif abs(days) < 180:
        day = date_format(here, pgettext("date format: day and month", "j M"))
    else:
        day = date_format(here, pgettext("date format: with year", "j M Y"))
    return f"{day} {clock} {zone}".strip()


def exact(moment: datetime) -> str:
    """Say when without leaving anything out: date, seconds, zone and offset."""
    here = local(moment)
    offset = here.strftime("%z")
    return f"{here:%Y-%m-%d %H:%M:%S} {here.tzname()} ({offset[:3]}:{offset[3:5]})"


def in_utc(moment: datetime) -> str:
    """Say when in UTC, to the second."""
    return f"{local(moment).astimezone(timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


def time_element(moment: datetime, text: str) -> SafeString:
    """Return a ``<time>`` showing ``text`` with the exact moment as its tooltip."""
    utc = local(moment).astimezone(timezone.utc)
    return format_html(
        '<time datetime="{}" title="{} = {}">{}</time>',
        utc.isoformat(),
        exact(moment),
        in_utc(moment),
        text,
    )


def moment_cell(
    moment: datetime | None, now: datetime, seconds: bool = False
) -> SafeString | str:
    """Return a table cell's two lines: relative, and by the clock beneath."""
    if moment is None:
        return NOTHING
    return two_lines(
        time_element(moment, relative(moment, now)), wall(moment, now, seconds)
    )


def two_lines(main: str, beneath: str) -> SafeString:
    """Return a table cell's main line with a quieter one beneath it."""
    return format_html(
        '<span class="dja-main">{}</span><span class="dja-sub">{}</span>', main, beneath
    )


def column(description: Promise, **options: Any) -> Callable[..., Any]:
    """
    Declare a column of a list; its cells carry their own heading for narrow screens,
    where a row is a card without a table head.
    """

    def declare(method: Callable[..., Any]) -> Callable[..., Any]:
        @admin.display(description=description, **options)
        @wraps(method)
        def cell(self: Any, row: Any) -> SafeString:
            return format_html(
                '<span class="dja-label" aria-hidden="true">{}</span>{}',
                capfirst(description),
                method(self, row),
            )

        return cell

    return declare
