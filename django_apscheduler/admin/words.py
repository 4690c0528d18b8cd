"""
Moments and durations in the words staff read: "in 3 h 5 min", "Mon 09:00 CET".

Everything that compares with the present takes ``now``; moments are shown in Django's
current time zone, with its name beside them, and carry the UTC moment as a tooltip.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from functools import cache, lru_cache, wraps
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.utils.formats import date_format, number_format
from django.utils.functional import Promise
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import get_language, gettext, pgettext

from django_apscheduler.db import current_zone

MINUTE, HOUR, DAY = 60, 3600, 86400

#: What stands where there is nothing to show.
NOTHING = "–"


def local(moment: datetime, zone: tzinfo | None = None) -> datetime:
    """
    Return ``moment`` in the time zone of the page.

    :param zone: that zone, where it has been looked up already
    """
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    try:
        return moment.astimezone(zone or current_zone())
    except OverflowError:
        # The last hours of the year 9999, which some use for "never".
        return moment


def seconds_of(length: timedelta | Decimal | float | int) -> float:
    """Return a length of time as seconds."""
    if isinstance(length, timedelta):
        return length.total_seconds()
    return float(length)


def duration(
    length: timedelta | Decimal | float | int | None, language: str | None = None
) -> str:
    """
    Say how long: "< 1 ms", "12 ms", "4.2 s", "3 min 5 s", "2 h 10 min", "3 d 4 h".

    :param language: the active one, where it has been looked up already
    """
    if length is None:
        return NOTHING
    seconds = max(seconds_of(length), 0.0)
    if seconds < 0.0005:
        return gettext("< 1 ms")
    if seconds < 0.9995:
        return _short(round(seconds * 1000), language or get_language())
    if seconds < 9.95:
        return _short(round(seconds, 1) * 1000, language or get_language())
    return coarse(seconds)


# A list shows a thousand of them, and many are the same.
@lru_cache(maxsize=4096)
def _short(milliseconds: float, language: str | None) -> str:
    """
    Say how long, for less than ten seconds.

    :param milliseconds: rounded to what is said
    :param language: the active one
    """
    if milliseconds < 1000:
        return gettext("%(n)s ms") % {"n": milliseconds}
    return gettext("%(n)s s") % {"n": number_format(round(milliseconds / 1000, 1), 1)}


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
    seconds = (local(moment, timezone.utc) - now).total_seconds()
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
    return NOTHING if moment is None else teller(now, seconds)(moment)


def teller(now: datetime, seconds: bool = False) -> Callable[[datetime], str]:
    """Return what says `wall` of one moment after the other, for a thousand of them."""
    chosen = getattr(settings, "APSCHEDULER_DATETIME_FORMAT", None)
    zone, language = current_zone(), get_language()
    today = local(now, zone).toordinal()

    def tell(moment: datetime) -> str:
        here = local(moment, zone)
        if chosen:
            return date_format(here, chosen)
        days = abs(here.toordinal() - today)
        # The same in every language.
        clock = f"{here.hour:02}:{here.minute:02}"
        if seconds:
            clock = f"{clock}:{here.second:02}"
        if days:
            far = (days >= 7) + (days >= 180)
            clock = f"{_day(here.date(), far, language)} {clock}"
        return f"{clock} {here.tzname() or ''}".strip()

    return tell


def _day(day: date, far: int, language: str | None) -> str:
    """
    Name a day: "Mon", "3 Feb", "3 Feb 2026".

    :param language: the active one
    """
    if far == 0:
        return _in_form(day, "D", language)
    if far == 1:
        form = pgettext("date format: day and month", "j M")
    else:
        form = pgettext("date format: with year", "j M Y")
    return _in_form(day, form, language)


def day_in(form: str, day: date) -> str:
    """Return a day in one of Django's date formats, which names no time of day."""
    # Of a datetime, one of the many of its day.
    return _in_form(date(day.year, day.month, day.day), form, get_language())


# Pages tell of a thousand moments, and charts of hundreds, which are of a few days.
@lru_cache(maxsize=1024)
def _in_form(day: date, form: str, language: str | None) -> str:
    return date_format(day, form)


def date_with_year(day: date) -> str:
    """Say a day with its weekday and year, as the language writes it."""
    form = pgettext("date format: weekday and day, with year", "D j M Y")
    return date_format(day, form)


def exact(moment: datetime) -> str:
    """Say when without leaving anything out: date, seconds, zone and offset."""
    here = local(moment)
    offset = here.strftime("%z")
    return f"{here:%Y-%m-%d %H:%M:%S} {here.tzname()} ({offset[:3]}:{offset[3:5]})"


def in_utc(moment: datetime) -> str:
    """Say when in UTC, to the second."""
    return f"{local(moment, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


def time_element(moment: datetime, text: str) -> SafeString:
    """Return a ``<time>`` showing ``text`` with the exact moment as its tooltip."""
    utc = local(moment, timezone.utc)
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


def linked(address: str, content: str, style: str = "") -> SafeString:
    """Return a text that leads to an address; just the text if that is ""."""
    if not (address or style):
        return conditional_escape(content)
    classes = format_html(' class="{}"', style) if style else ""
    if not address:
        return format_html("<span{}>{}</span>", classes, content)
    return format_html('<a{} href="{}">{}</a>', classes, address, content)


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
        @cache
        def label(language: str | None) -> SafeString:
            return format_html(
                '<span class="dja-label" aria-hidden="true">{}</span>',
                capfirst(description),
            )

        @admin.display(description=description, **options)
        @wraps(method)
        def cell(self: Any, row: Any) -> SafeString:
            return label(get_language()) + conditional_escape(method(self, row))

        return cell

    return declare
