"""What became of an execution, in words."""

from __future__ import annotations

from datetime import datetime

from django.utils.translation import gettext, ngettext

from django_apscheduler.admin import words
from django_apscheduler.models import DjangoJobExecution

#: Characters of an error or a note that a line of the list shows.
LINE_LENGTH = 110


def explain(execution: DjangoJobExecution, now: datetime) -> str:
    """Say why occurrences did not run or still wait; empty for those that ran."""
    count = execution.occurrences
    many = gettext("more than 1,000") if count is None else str(count)
    plural = 1001 if count is None else count
    first = words.wall(execution.run_time, now, seconds=True)
    last = words.wall(execution.last_run_time or execution.run_time, now, seconds=True)
    said = {"count": many, "first": first, "last": last}
    if execution.status == DjangoJobExecution.COALESCED:
        return (
            ngettext(
                "The occurrence of %(first)s was coalesced into the run that followed.",
                "%(count)s occurrences from %(first)s to %(last)s were coalesced into "
                "the run that followed.",
                plural,
            )
            % said
        )
    if execution.status == DjangoJobExecution.MISSED:
        return (
            ngettext(
                "The occurrence of %(first)s was missed: too late to start it.",
                "%(count)s occurrences from %(first)s to %(last)s were missed: too late "
                "to start them.",
                plural,
            )
            % said
        )
    if execution.status == DjangoJobExecution.MAX_INSTANCES:
        return (
            ngettext(
                "The occurrence of %(first)s was skipped: as many instances as allowed "
                "were running.",
                "%(count)s occurrences from %(first)s to %(last)s were skipped: as many "
                "instances as allowed were running.",
                plural,
            )
            % said
        )
    if execution.status == DjangoJobExecution.CANCELLED:
        return (
            ngettext(
                "The occurrence of %(first)s was cancelled.",
                "%(count)s occurrences from %(first)s to %(last)s were cancelled.",
                plural,
            )
            % said
        )
    if execution.status == DjangoJobExecution.QUEUED:
        if execution.expires_time is None:
            return gettext("Waits for a scheduler to claim it.")
        return gettext("Waits for a scheduler to claim it; expires %(when)s.") % {
            "when": words.relative(execution.expires_time, now)
        }
    if execution.status == DjangoJobExecution.LOST:
        return gettext("Its scheduler stopped without reporting how this run ended.")
    return ""


def lateness(execution: DjangoJobExecution) -> float | None:
    """Return how many seconds after its run time a run started; None if it did not."""
    if execution.started_time is None:
        return None
    return max((execution.started_time - execution.run_time).total_seconds(), 0.0)


def first_line(text: str) -> str:
    """Return as much of a text as a line of the list shows."""
    lines = text.strip().splitlines()
    line = lines[0] if lines else ""
    return line if len(line) <= LINE_LENGTH else line[: LINE_LENGTH - 1] + "…"
