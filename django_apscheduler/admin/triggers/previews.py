"""
What a schedule is going to do: its next fire times, changes of the clocks, traps.

Everything comes from the engine's own trigger, under a deadline. Nothing is stored,
and the trigger given is not changed.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from django.template.loader import render_to_string
from django.utils.formats import date_format
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext

from django_apscheduler import clock, describe
from django_apscheduler.admin import badges, words
from django_apscheduler.admin.triggers import clock_changes, schedules, traps
from django_apscheduler.db import current_zone
from django_apscheduler.models import DjangoJob
from django_apscheduler.util import utc

#: How many fire times a preview shows, and for how many seconds it may look for them.
PREVIEW_TIMES = 10
PREVIEW_SECONDS = 1.0

#: Parts of a combined schedule that a preview looks at.
MOST_PARTS = 50

TEMPLATE = "admin/django_apscheduler/preview.html"


@dataclass(frozen=True, slots=True)
class FireTime:
    """
    One fire time for people.

    :ivar moment: in UTC
    :ivar local: on the wall clock of the schedule's zone, with the zone's abbreviation
    :ivar offset: from UTC, such as ``+02:00``
    :ivar relative: seen from now, such as "in 3 h"
    :ivar utc: the moment in UTC, as text
    :ivar note: what a change of the clocks does to it, or ""
    """

    moment: datetime
    local: str
    offset: str
    relative: str
    utc: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Preview:
    """
    What a schedule is going to do.

    :ivar text: the schedule in words
    :ivar times: the next fire times, ten at most
    :ivar notes: what is good to know, as sentences
    :ivar warnings: what is probably not meant, as sentences
    :ivar error: why it does not fire at all, or could not be asked; "" otherwise
    :ivar zone: name of the time zone of the local times
    """

    text: str
    times: tuple[FireTime, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    error: str = ""
    zone: str = ""


def preview(
    trigger: Any,
    now: datetime,
    *,
    anchor: datetime | None = None,
    nominal_time: datetime | None = None,
    next_run_time: datetime | None = None,
    raw_crontab: str = "",
) -> Preview:
    """
    Return what a trigger is going to do.

    :param now: aware
    :param anchor: the moment that an interval without start date counts from; None for
        a new schedule, which counts from ``now``
    :param nominal_time: the fire time that is planned next, of a job whose schedule is
        not being changed; the list begins with it
    :param next_run_time: the same with jitter, shown in its place
    :param raw_crontab: the crontab expression the trigger was made from, if it was
    """
    if excess := _too_large(trigger):
        return Preview(gettext("Combined schedule"), error=excess)
    try:
        own = _copy(trigger, anchor)
        text = schedules.in_words(own)
        search = _Search(own, now, nominal_time, next_run_time)
        moments = search.result(PREVIEW_SECONDS)
    except Exception as error:
        # What the trigger of a user raises must not hide the page.
        reason = gettext("This schedule cannot be asked for its times: %(error)s") % {
            "error": f"{type(error).__name__}: {error}"[:300]
        }
        return Preview(str(trigger)[:300], error=reason)
    zone = getattr(own, "timezone", None) or current_zone()
    if not search.done:
        # It is still being asked, elsewhere, and can be asked nothing else.
        return _unfinished(text, _fire_times(moments, zone, now, {}), zone)
    found = traps.find(own, moments, now, raw_crontab)
    notes, reason = [*found.notes], ""
    times: tuple[FireTime, ...] = ()
    if moments:
        effects = clock_changes.effects(own, now, _timer(PREVIEW_SECONDS))
        times = _fire_times(moments, zone, now, effects.marks)
        notes = [*effects.notes, *notes, *_jitter_notes(own, next_run_time)]
        notes += _last_notes(moments)
    else:
        reason = traps.why_never(own, now)
    return Preview(
        text, times, tuple(notes), tuple(found.warnings), reason, _name(zone)
    )


def _too_large(trigger: Any) -> str:
    """Say that a combined schedule has more parts than are looked at; "" if not."""
    parts = len(list(traps.leaves(trigger)))
    if parts <= MOST_PARTS:
        return ""
    message = ngettext(
        "A preview looks at %(limit)s part of a schedule; this one has %(count)s.",
        "A preview looks at %(limit)s parts of a schedule; this one has %(count)s.",
        MOST_PARTS,
    )
    return message % {"limit": MOST_PARTS, "count": parts}


def _unfinished(text: str, times: tuple[FireTime, ...], zone: tzinfo) -> Preview:
    """Return what was found of a schedule within the deadline."""
    late = gettext("Looking for more times took longer than %(duration)s.") % {
        "duration": words.duration(PREVIEW_SECONDS)
    }
    if times:
        return Preview(text, times, (late,), zone=_name(zone))
    return Preview(text, error=late, zone=_name(zone))


def _last_notes(moments: list[datetime]) -> list[str]:
    if len(moments) >= PREVIEW_TIMES:
        return []
    return [
        gettext("There is no run after this one.")
        if len(moments) == 1
        else gettext("There are no runs after these.")
    ]


def of_job(job: DjangoJob, trigger: Any, now: datetime) -> Preview:
    """
    Return what a stored job is going to do.

    :param trigger: the job's, restored
    """
    return preview(
        trigger,
        now,
        anchor=job.anchor_time,
        nominal_time=job.nominal_time,
        next_run_time=job.next_run_time,
    )


def render(preview: Preview, *, with_text: bool = True) -> SafeString:
    """
    Return a preview as HTML.

    :param with_text: with the schedule in words, where the page does not show it
    """
    return render_to_string(
        TEMPLATE,
        {
            "preview": preview,
            "with_text": with_text,
            "alarm": badges.icon("alarm"),
            "clock": badges.icon("clock"),
            "cross": badges.icon("cross"),
        },
    )


def _copy(trigger: Any, anchor: datetime | None) -> Any:
    """Return a trigger that may be asked without changing the one given."""
    own = copy.deepcopy(trigger)
    if anchor is not None:
        own.anchor = anchor
    return own


class _Search:
    """
    Asks a trigger for its next fire times, in a thread that can be left alone.

    One question may take seconds: combined schedules that never agree are looked for
    until the year 9999, and a trigger of the user may do anything.
    """

    def __init__(
        self,
        trigger: Any,
        now: datetime,
        nominal_time: datetime | None,
        next_run_time: datetime | None,
    ):
        self.trigger = trigger
        self.now = now
        self.previous = nominal_time or next_run_time
        self.found: list[datetime] = []
        self.failure: Exception | None = None
        self.done = False
        if self.previous is not None:
            self.found.append((next_run_time or self.previous).astimezone(utc))
            # What was missed meanwhile is not still to come.
            self.previous = max(self.previous, now)

    def result(self, seconds: float) -> list[datetime]:
        """
        Return the fire times in UTC, those that were found within so many seconds.

        Raises what the trigger raises.
        """
        thread = threading.Thread(target=self._run, name="preview", daemon=True)
        thread.start()
        thread.join(seconds)
        if self.failure is not None:
            raise self.failure
        return list(self.found)

    def _run(self) -> None:
        try:
            self._ask()
        except Exception as error:
            self.failure = error
        self.done = True

    def _ask(self) -> None:
        previous = self.previous
        while len(self.found) < PREVIEW_TIMES:
            moment = self.trigger.get_next_fire_time(previous, previous or self.now)
            # In UTC: two moments of one zone compare by the wall clock, on which the
            # second of two equal times is not later.
            if moment is None or (
                previous is not None
                and moment.astimezone(utc) <= previous.astimezone(utc)
            ):
                break
            self.found.append(moment.astimezone(utc))
            previous = moment


def _timer(seconds: float) -> Callable[[], bool]:
    """Return a function that tells whether so many seconds have not passed."""
    deadline = clock.monotonic() + seconds
    return lambda: clock.monotonic() < deadline


def _jitter_notes(trigger: Any, next_run_time: datetime | None) -> list[str]:
    jitter = getattr(trigger, "jitter", None)
    if not jitter:
        return []
    if next_run_time is None:
        text = gettext("Each run may be up to %(jitter)s later than shown (jitter).")
    else:
        text = gettext(
            "Each run but the first may be up to %(jitter)s later than shown (jitter)."
        )
    return [text % {"jitter": words.duration(jitter)}]


def _fire_times(
    moments: list[datetime], zone: tzinfo, now: datetime, marks: dict[datetime, str]
) -> tuple[FireTime, ...]:
    local = [_in_zone(moment, zone) for moment in moments]
    form = "H:i:s" if any(moment.second for moment in local) else "H:i"
    return tuple(
        FireTime(
            moment=moment,
            local=" ".join(
                (
                    words.date_with_year(here),
                    date_format(here, form),
                    here.tzname() or "",
                )
            ).strip(),
            offset=_offset(here),
            relative=words.relative(moment, now),
            utc=words.in_utc(moment),
            note=marks.get(moment, ""),
        )
        for moment, here in zip(moments, local, strict=True)
    )


def _in_zone(moment: datetime, zone: tzinfo) -> datetime:
    try:
        return moment.astimezone(zone)
    except OverflowError:
        return moment


def _offset(moment: datetime) -> str:
    text = moment.strftime("%z")
    return f"{text[:3]}:{text[3:5]}" if text else ""


def _name(zone: tzinfo) -> str:
    return describe.zone_name(zone)
