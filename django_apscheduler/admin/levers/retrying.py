"""Trying runs again: what may be, what has changed since, and the doing of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone as django_timezone
from django.utils.translation import gettext, ngettext_lazy

from django_apscheduler import audit
from django_apscheduler.admin import words
from django_apscheduler.admin.levers.levers import DONE, GONE, REFUSED, was_used
from django_apscheduler.db import repeat_deadlocks, resolve_alias
from django_apscheduler.jobstores.base import ExecutionLookupError, JobLookupError
from django_apscheduler.models import DjangoJob, DjangoJobExecution

OPEN = "open"

#: Outcome of a retry -> how so many of it are said.
COUNTED = {
    DONE: ngettext_lazy(
        "%(count)s queued to run again", "%(count)s queued to run again", "count"
    ),
    OPEN: ngettext_lazy(
        "%(count)s is not over yet", "%(count)s are not over yet", "count"
    ),
    REFUSED: ngettext_lazy(
        "%(count)s has a broken job", "%(count)s have a broken job", "count"
    ),
    GONE: ngettext_lazy(
        "the job of %(count)s was deleted",
        "the jobs of %(count)s were deleted",
        "count",
    ),
}

#: What the admin's log says of a job without its having been changed.
_HARMLESS = ("Paused", "Resumed", "Queued to run", "Retried")
#: A line of that log is written in the transaction of the change; clocks may differ.
_SAME_MOMENT = timedelta(seconds=2)
#: Lines of that log looked at.
MOST_ENTRIES = 500


def changed_since(
    execution: DjangoJobExecution,
    job: DjangoJob,
    now: datetime,
    entries: list[Any] | None = None,
) -> str:
    """
    Say who changed a job since one of its runs was claimed; "" if nobody did.

    Pauses do not count.

    :param entries: what `entries_since` returns for a list of runs; asked for if not
        given, unless the job was not changed
    """
    since = _claimed(execution)
    if job.changed_time is None or job.changed_time <= since:
        return ""
    if entries is None:
        entries = entries_since([execution])
    later = [
        entry
        for entry in entries
        if entry.object_id == job.pk and _aware(entry.action_time) > since
    ]
    real = [entry for entry in later if not _harmless(entry)]
    if real:
        return gettext(
            "The job was changed by %(user)s, %(moment)s; a retry runs it as it is now."
        ) % {
            "user": real[0].user.get_username(),
            "moment": words.wall(_aware(real[0].action_time), now),
        }
    if any(
        abs(_aware(entry.action_time) - job.changed_time) < _SAME_MOMENT
        for entry in later
    ):
        return ""
    return gettext("The job was changed %(moment)s; a retry runs it as it is now.") % {
        "moment": words.wall(job.changed_time, now)
    }


def entries_since(executions: Iterable[DjangoJobExecution]) -> list[Any]:
    """
    Return what the admin's log has of the jobs of runs since the first was claimed.

    One query; the newest first.
    """
    rows = [row for row in executions if row.job_id is not None]
    if not rows:
        return []
    since = min(map(_claimed, rows))
    if not settings.USE_TZ:
        since = django_timezone.make_naive(
            since, django_timezone.get_default_timezone()
        )
    found = LogEntry.objects.filter(
        content_type=ContentType.objects.get_for_model(DjangoJob),
        object_id__in={row.job_id for row in rows},
        action_time__gt=since,
    )
    return list(found.select_related("user").order_by("-action_time")[:MOST_ENTRIES])


def _claimed(execution: DjangoJobExecution) -> datetime:
    # A run claimed before a change ran as the job had been.
    return execution.claimed_time or execution.run_time


def _harmless(entry: Any) -> bool:
    return entry.change_message.startswith(_HARMLESS)


def _aware(moment: datetime) -> datetime:
    if django_timezone.is_naive(moment):
        return django_timezone.make_aware(
            moment, django_timezone.get_default_timezone()
        )
    return moment


def retryable(execution: DjangoJobExecution, job: DjangoJob | None) -> str:
    """Return DONE for a run that can be tried again, else what is in its way."""
    if execution.status in DjangoJobExecution.ACTIVE:
        return OPEN
    if job is None:
        return GONE
    return REFUSED if job.state == DjangoJob.State.BROKEN else DONE


def retry(
    request: HttpRequest, executions: Iterable[DjangoJobExecution], token: str
) -> tuple[Counter[str], list[int]]:
    """
    Queue a retry of each run that is over, all or, on an unexpected error, none.

    :param token: a text that makes retrying the same runs with it again harmless
    :return: how many of which outcome, and the ids of the new runs
    """
    from django_apscheduler import get_scheduler

    scheduler = get_scheduler()
    using = resolve_alias()
    user = request.user.get_username()
    found = list(executions)
    # One token for each, of which no two pages have the same.
    tokens = {row.pk: f"{token}:{row.pk}" if token else None for row in found}

    def attempt() -> tuple[Counter[str], list[int]]:
        outcomes: Counter[str] = Counter()
        logged, new = [], []
        with transaction.atomic(using=using):
            for row in found:
                outcome = OPEN if row.status in DjangoJobExecution.ACTIVE else DONE
                if row.job_id is None:
                    outcome = GONE
                elif outcome == DONE:
                    repeated = was_used(tokens[row.pk], row.job_id)
                    try:
                        new.append(
                            scheduler.run_job_now(
                                row.job_id,
                                token=tokens[row.pk],
                                requested_by=user,
                                retry_of=row.pk,
                            )
                        )
                    except (JobLookupError, ExecutionLookupError):
                        outcome = GONE
                    except ValueError:
                        outcome = REFUSED
                    else:
                        if not repeated:
                            logged.append((row, f"Retried (execution {new[-1]})."))
                outcomes[outcome] += 1
            audit.log(
                request.user.pk,
                [row for row, _ in logged],
                message=[message for _, message in logged],
            )
        return outcomes, new

    return repeat_deadlocks(using, attempt)
