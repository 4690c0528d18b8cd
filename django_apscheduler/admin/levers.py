"""
What staff do to jobs: pause, resume, run now.

Every change goes through the scheduler's own methods, so it takes effect in the running
schedulers at once and keeps their rules, and each leaves a line in the admin's log.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import models, transaction
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

from django_apscheduler.db import resolve_alias
from django_apscheduler.jobstores.base import JobLookupError
from django_apscheduler.models import DjangoJob

#: Characters of a token that are looked at.
TOKEN_LENGTH = 64

DONE, SAME, REFUSED, GONE = "done", "same", "refused", "gone"


@dataclass
class Request:
    """
    A lever pulled on one job.

    :ivar token: makes a second click on the same button harmless
    :ivar execution_id: of the run that was queued, if one was
    """

    scheduler: Any
    job: DjangoJob
    user: str
    token: str | None = None
    execution_id: int | None = None


class Lever(NamedTuple):
    """
    Something staff may do to a job.

    :ivar permission: codename, of this app
    :ivar act: does it, and returns DONE, SAME or REFUSED
    :ivar counted: outcome -> how so many of it are said
    :ivar logged: what the admin's log says of a job it was done to
    """

    name: str
    label: Promise
    bulk_label: Promise
    icon: str
    permission: str
    act: Callable[[Request], str]
    counted: dict[str, Any]
    logged: Promise


def _pause(request: Request) -> str:
    if request.job.state == DjangoJob.State.PAUSED:
        return SAME
    if request.job.state != DjangoJob.State.ACTIVE:
        return REFUSED
    request.scheduler.pause_job(request.job.pk)
    # Who paused it is a note that no scheduler reads, so the row alone is told.
    DjangoJob.objects.using(resolve_alias()).filter(
        pk=request.job.pk, state=DjangoJob.State.PAUSED
    ).update(paused_by=request.user)
    return DONE


def _resume(request: Request) -> str:
    if request.job.state == DjangoJob.State.ACTIVE:
        return SAME
    if request.job.state != DjangoJob.State.PAUSED:
        return REFUSED
    request.scheduler.resume_job(request.job.pk)
    return DONE


def _run(request: Request) -> str:
    if request.job.state == DjangoJob.State.BROKEN:
        return REFUSED
    request.execution_id = request.scheduler.run_job_now(
        request.job.pk, token=request.token, requested_by=request.user
    )
    return DONE


_GONE = ngettext_lazy(
    "%(count)s deleted meanwhile", "%(count)s deleted meanwhile", "count"
)

LEVERS = {
    lever.name: lever
    for lever in (
        Lever(
            "run",
            _("Run now"),
            _("Run selected jobs now"),
            "play",
            "run_job",
            _run,
            {
                DONE: ngettext_lazy(
                    "%(count)s queued to run now",
                    "%(count)s queued to run now",
                    "count",
                ),
                REFUSED: ngettext_lazy(
                    "%(count)s is broken and cannot run",
                    "%(count)s are broken and cannot run",
                    "count",
                ),
                GONE: _GONE,
            },
            _("Queued to run now."),
        ),
        Lever(
            "pause",
            _("Pause"),
            _("Pause selected jobs"),
            "pause",
            "pause_job",
            _pause,
            {
                DONE: ngettext_lazy("%(count)s paused", "%(count)s paused", "count"),
                SAME: ngettext_lazy(
                    "%(count)s already paused", "%(count)s already paused", "count"
                ),
                REFUSED: ngettext_lazy(
                    "%(count)s has no schedule to pause",
                    "%(count)s have no schedule to pause",
                    "count",
                ),
                GONE: _GONE,
            },
            _("Paused."),
        ),
        Lever(
            "resume",
            _("Resume"),
            _("Resume selected jobs"),
            "play",
            "pause_job",
            _resume,
            {
                DONE: ngettext_lazy("%(count)s resumed", "%(count)s resumed", "count"),
                SAME: ngettext_lazy(
                    "%(count)s was not paused", "%(count)s were not paused", "count"
                ),
                REFUSED: ngettext_lazy(
                    "%(count)s is finished, disabled or broken and cannot resume",
                    "%(count)s are finished, disabled or broken and cannot resume",
                    "count",
                ),
                GONE: _GONE,
            },
            _("Resumed."),
        ),
    )
}


def new_token() -> str:
    """Return a text that makes a second click on the same button harmless."""
    return uuid.uuid4().hex


def pull(
    lever: Lever,
    jobs: Iterable[DjangoJob],
    request: HttpRequest,
    token: str | None = None,
) -> list[Request]:
    """
    Do to each job what the lever says, all or, on an unexpected error, none.

    Tells the user the exact counts and writes one line to the admin's log per job
    changed.

    :param token: given when there is one job; see `Request`
    :return: the requests that were carried out
    """
    from django_apscheduler import get_scheduler

    scheduler = get_scheduler()
    user = request.user.get_username()
    outcomes: Counter[str] = Counter()
    done = []
    with transaction.atomic(using=resolve_alias()):
        for job in jobs:
            pulled = Request(scheduler, job, user, token)
            try:
                outcome = lever.act(pulled)
            except JobLookupError:
                # Deleted since we read it, or its row cannot be restored.
                outcome = REFUSED if still_there(job) else GONE
            except ValueError:
                # Broken since we read it.
                outcome = REFUSED
            outcomes[outcome] += 1
            if outcome == DONE:
                done.append(pulled)
    log_changes(request, [pulled.job for pulled in done], str(lever.logged))
    text = ", ".join(
        str(said % {"count": outcomes[outcome]})
        for outcome, said in lever.counted.items()
        if outcomes[outcome]
    )
    level = messages.SUCCESS if done else messages.WARNING
    if text:
        messages.add_message(request, level, f"{text}.")
    return done


def still_there(job: DjangoJob) -> bool:
    """Return whether a job's row exists."""
    return DjangoJob.objects.using(resolve_alias()).filter(pk=job.pk).exists()


def log_changes(
    request: HttpRequest, objects: Sequence[models.Model], message: str
) -> None:
    """Write one line per object to the admin's log, in one statement."""
    if not objects:
        return
    content_type = ContentType.objects.get_for_model(objects[0])
    LogEntry.objects.bulk_create(
        LogEntry(
            user_id=request.user.pk,
            content_type_id=content_type.pk,
            object_id=str(obj.pk),
            object_repr=str(obj)[:200],
            action_flag=CHANGE,
            change_message=message,
        )
        for obj in objects
    )
