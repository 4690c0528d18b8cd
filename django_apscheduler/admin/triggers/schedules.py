"""Schedules of stored jobs for people: the trigger in words, and as declared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from django.utils.text import capfirst
from django.utils.translation import get_language, gettext, ngettext

from django_apscheduler import describe, serialization
from django_apscheduler.models import DjangoJob


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
    return Schedule(trigger, in_words(trigger), str(trigger))


def in_words(trigger: Any) -> str:
    """Return a trigger's schedule in words of the active language."""
    return capfirst(describe.describe(trigger, _translations(get_language()), ngettext))


@lru_cache(maxsize=32)
def _translations(language: str | None) -> Callable[[str], str]:
    """
    Return a gettext() that looks each phrase up once.

    A schedule has a dozen, and pages describe up to a thousand schedules.

    :param language: the active one
    """
    return cache(gettext)
