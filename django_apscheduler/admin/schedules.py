"""Schedules for people: the trigger in words, as declared, and its next fire times."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext

from django_apscheduler import clock, describe, serialization
from django_apscheduler.models import DjangoJob

#: How many fire times a preview shows, and for how many seconds it may look for them.
PREVIEW_TIMES = 10
PREVIEW_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """A job's trigger, restored, or the reason why it could not be."""

    trigger: Any
    text: str
    raw: str
    error: str = ""


def schedule_of(job: DjangoJob) -> Schedule:
    """Return a job's schedule; a row that cannot be read says so instead of raising."""
    if not job.trigger:
        return Schedule(None, gettext("No schedule"), "")
    try:
        own = serialization.trigger_classes(job.trigger)
        if own:
            # Only a scheduler that has verified the row's signature may import what a
            # row names.
            text = gettext("Custom trigger %(name)s") % {"name": ", ".join(own)}
            return Schedule(None, text, job.trigger)
        trigger = serialization.load_trigger(job.trigger, job.anchor_time)
    except Exception as error:
        # A trigger class of the user's own may raise anything; the list must show.
        return Schedule(None, gettext("Cannot be read"), job.trigger, str(error))
    return Schedule(
        trigger, capfirst(describe.describe(trigger, gettext, ngettext)), str(trigger)
    )


def next_times(schedule: Schedule, job: DjangoJob, now: datetime) -> list[datetime]:
    """
    Return the job's next fire times, from its real trigger, ten at most.

    A job's jitter is not added, except to the first, which is the one planned.
    """
    if schedule.trigger is None:
        return []
    deadline = clock.monotonic() + PREVIEW_SECONDS
    times: list[datetime] = []
    previous = job.nominal_time or job.next_run_time
    if job.next_run_time is not None:
        times.append(job.next_run_time)
    else:
        previous = None
    while len(times) < PREVIEW_TIMES and clock.monotonic() < deadline:
        try:
            moment = schedule.trigger.get_next_fire_time(previous, previous or now)
        except Exception:
            # As above: what the trigger of a user raises must not hide the page.
            break
        if moment is None or (previous is not None and moment <= previous):
            break
        times.append(moment)
        previous = moment
    return times
