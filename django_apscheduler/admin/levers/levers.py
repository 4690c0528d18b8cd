"""
What staff do to jobs: pause, resume, run now.

Every change goes through the scheduler's own methods, so it takes effect in the running
schedulers at once and keeps their rules. It is one transaction with its line in the
admin's log, which is English, as its readers may be many.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, NamedTuple

from django.contrib import messages
from django.core import signing
from django.db import transaction
from django.db.models import F
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext, ngettext, ngettext_lazy
from django.utils.translation import gettext_lazy as _

from django_apscheduler import audit
from django_apscheduler.db import database_now, repeat_deadlocks, resolve_alias
from django_apscheduler.jobstores.base import JobLookupError
from django_apscheduler.models import (
    DjangoJob,
    DjangoJobExecution,
    SchedulerCommand,
    SchedulerControl,
    SchedulerProcess,
)

#: Characters of a token that are looked at.
TOKEN_LENGTH = 64
#: Characters of an error that a message shows.
REASON_LENGTH = 200

#: What becomes of one job of those that a lever is pulled on.
DONE, SAME, REFUSED, CHANGED, GONE = "done", "same", "refused", "changed", "gone"
#: Resumed, but its schedule had come to an end during the pause.
ENDED = "ended"

_SELECTION = "django_apscheduler.selection"


@dataclass(frozen=True)
class Wish:
    """
    What somebody wants done to jobs, whichever they are.

    :ivar user: name, for the execution log and the notes of a pause
    :ivar token: makes a second click on the same button harmless
    :ivar reason: of a pause
    :ivar resume_time: aware; when a pause ends by itself, None if by hand only
    :ivar shown: job id -> revision that the user saw; a job that has another one by now
        was changed meanwhile and is left alone. None for what was never shown
    """

    user: str
    token: str | None = None
    reason: str = ""
    resume_time: datetime | None = None
    shown: Mapping[str, int] | None = None


@dataclass
class Request:
    """
    A wish about one job.

    :ivar execution_id: of the run that was queued, if one was
    :ivar ended: whether the job was resumed and its schedule was over
    :ivar repeated: whether the same was asked for before, by a click just before it
    """

    scheduler: Any
    job: DjangoJob
    wish: Wish
    execution_id: int | None = None
    ended: bool = False
    repeated: bool = False

    def hold(self) -> bool:
        """
        Lock the job's row for this transaction, unless the job was changed meanwhile.

        A write rather than SELECT FOR UPDATE, which SQLite does not have. The rivals are
        other people's edits; claims do not count as changes.
        """
        seen = self.job.revision
        if self.wish.shown is not None:
            seen = self.wish.shown.get(self.job.pk, seen)
        rows = DjangoJob.objects.using(resolve_alias())
        return bool(
            rows.filter(pk=self.job.pk, revision=seen).update(revision=F("revision"))
        )


class Lever(NamedTuple):
    """
    Something staff may do to a job.

    :ivar permission: codename, of this app
    :ivar act: does it, and returns what became of it
    :ivar counted: outcome -> how so many of it are said
    :ivar logged: what the admin's log says of a job it was done to
    :ivar asks: whether a page asks for more before it is done
    """

    name: str
    label: Promise
    bulk_label: Promise
    icon: str
    permission: str
    act: Callable[[Request], str]
    counted: dict[str, Any]
    logged: Callable[[Request], str]
    asks: bool = False


def _pause(request: Request) -> str:
    if request.job.state == DjangoJob.State.PAUSED:
        return SAME
    if request.job.state != DjangoJob.State.ACTIVE:
        return REFUSED
    if not request.hold():
        return CHANGED
    request.scheduler.pause_job(request.job.pk)
    # Notes, which schedulers read only when the time to resume has come.
    DjangoJob.objects.using(resolve_alias()).filter(
        pk=request.job.pk, state=DjangoJob.State.PAUSED
    ).update(
        paused_by=request.wish.user,
        pause_reason=request.wish.reason,
        resume_time=request.wish.resume_time,
    )
    return DONE


def _paused(request: Request) -> str:
    until = request.wish.resume_time
    said = "Paused"
    if until is not None:
        said += f" until {until.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"
    return f"{said}: {request.wish.reason}" if request.wish.reason else f"{said}."


def _resume(request: Request) -> str:
    if request.job.state == DjangoJob.State.ACTIVE:
        return SAME
    if request.job.state != DjangoJob.State.PAUSED:
        return REFUSED
    if not request.hold():
        return CHANGED
    # None: its last time passed, and with it the job.
    request.ended = request.scheduler.resume_job(request.job.pk) is None
    return ENDED if request.ended else DONE


def _resumed(request: Request) -> str:
    if request.ended:
        return "Resumed; its schedule had ended during the pause."
    return "Resumed."


def _run(request: Request) -> str:
    if request.job.state == DjangoJob.State.BROKEN:
        return REFUSED
    request.repeated = was_used(request.wish.token, request.job.pk)
    request.execution_id = request.scheduler.run_job_now(
        request.job.pk, token=request.wish.token, requested_by=request.wish.user
    )
    return DONE


GONE_COUNT = ngettext_lazy(
    "%(count)s deleted meanwhile", "%(count)s deleted meanwhile", "count"
)
CHANGED_COUNT = ngettext_lazy(
    "%(count)s changed meanwhile", "%(count)s changed meanwhile", "count"
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
                GONE: GONE_COUNT,
            },
            lambda request: f"Queued to run now (execution {request.execution_id}).",
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
                CHANGED: CHANGED_COUNT,
                REFUSED: ngettext_lazy(
                    "%(count)s has no schedule to pause",
                    "%(count)s have no schedule to pause",
                    "count",
                ),
                GONE: GONE_COUNT,
            },
            _paused,
            asks=True,
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
                ENDED: ngettext_lazy(
                    "%(count)s had ended during its pause and is removed",
                    "%(count)s had ended during their pause and are removed",
                    "count",
                ),
                SAME: ngettext_lazy(
                    "%(count)s was not paused", "%(count)s were not paused", "count"
                ),
                CHANGED: CHANGED_COUNT,
                REFUSED: ngettext_lazy(
                    "%(count)s is finished, disabled or broken and cannot resume",
                    "%(count)s are finished, disabled or broken and cannot resume",
                    "count",
                ),
                GONE: GONE_COUNT,
            },
            _resumed,
        ),
    )
}


def new_token() -> str:
    """Return a text that makes a second click on the same button harmless."""
    return uuid.uuid4().hex


def was_used(token: str | None, job_id: str) -> bool:
    """
    Return whether something was asked for with a token before: a second click.

    Locks the job's row for this transaction: the rival is the first click, which may
    still be under way.
    """
    if not token:
        return False
    using = resolve_alias()
    DjangoJob.objects.using(using).filter(pk=job_id).update(revision=F("revision"))
    return SchedulerCommand.objects.using(using).filter(token=token).exists()


def pull(
    lever: Lever, jobs: Iterable[DjangoJob], request: HttpRequest, wish: Wish
) -> list[Request]:
    """
    Do to each job what the lever says, all or, on an unexpected error, none.

    Tells the user the exact counts and writes one line to the admin's log per job
    changed.

    :return: the requests that were carried out
    """
    from django_apscheduler import get_scheduler

    scheduler = get_scheduler()
    using = resolve_alias()
    found = list(jobs)

    def attempt() -> tuple[Counter[str], list[Request]]:
        outcomes: Counter[str] = Counter()
        done = []
        with transaction.atomic(using=using):
            for job in found:
                pulled = Request(scheduler, job, wish)
                outcome = _outcome(lever, pulled)
                outcomes[outcome] += 1
                if outcome in (DONE, ENDED):
                    done.append(pulled)
            new = [pulled for pulled in done if not pulled.repeated]
            audit.log(
                request.user.pk,
                [pulled.job for pulled in new],
                message=[lever.logged(pulled) for pulled in new],
            )
        return outcomes, done

    outcomes, done = repeat_deadlocks(using, attempt)
    if wish.shown is not None:
        outcomes[GONE] += len(wish.shown.keys() - {job.pk for job in found})
    tell_counts(request, lever.counted, outcomes)
    return done


def _outcome(lever: Lever, pulled: Request) -> str:
    try:
        return lever.act(pulled)
    except JobLookupError:
        # Deleted since we read it, or its row cannot be restored.
        return REFUSED if still_there(pulled.job) else GONE
    except ValueError:
        # Broken since we read it.
        return REFUSED


def tell_counts(
    request: HttpRequest,
    counted: dict[str, Any],
    outcomes: Mapping[str, int],
    good: Iterable[str] = (DONE,),
) -> None:
    """
    Tell the user how many of which outcome there were: "48 paused, 2 already paused."

    :param good: outcomes of which one is enough to call it a success
    """
    text = ", ".join(
        str(said % {"count": outcomes[outcome]})
        for outcome, said in counted.items()
        if outcomes.get(outcome)
    )
    done = any(outcomes.get(outcome) for outcome in good)
    level = messages.SUCCESS if done else messages.WARNING
    if text:
        messages.add_message(request, level, f"{text}.")


def still_there(job: DjangoJob) -> bool:
    """Return whether a job's row exists."""
    return DjangoJob.objects.using(resolve_alias()).filter(pk=job.pk).exists()


def reason_of(job: DjangoJob) -> str:
    """Return the last line of why a job is broken, which names no arguments."""
    lines = job.error.strip().splitlines()
    return lines[-1][:REASON_LENGTH] if lines else ""


# What a page showed.


def pack(model: str, shown: Mapping[str, int]) -> str:
    """
    Return which rows a page shows as one form field, however many there are.

    :param model: name of theirs; a selection of other rows is none
    :param shown: primary key -> revision, 0 for rows that have none
    """
    return signing.dumps(dict(shown), salt=f"{_SELECTION}.{model}", compress=True)


def unpack(model: str, text: str) -> dict[str, int] | None:
    """Return what `pack` packed; None for anything else."""
    try:
        return signing.loads(text, salt=f"{_SELECTION}.{model}")
    except signing.BadSignature:
        return None


# What keeps a run waiting.


def obstacles(job: DjangoJob, execution_id: int | None = None) -> list[str]:
    """
    Say why a run of a job that was asked for will not begin at once.

    :param execution_id: of that run itself, which occupies no instance
    """
    using = resolve_alias()
    alive = SchedulerProcess.objects.using(using).filter(
        state=SchedulerProcess.State.ALIVE, lease_until__gte=database_now(using)
    )
    offered = [json.loads(text) for text in alive.values_list("executors", flat=True)]
    paused = SchedulerControl.objects.using(using).filter(paused=True).exists()
    if not offered:
        return [
            gettext("No scheduler is running: the run is queued, expires in 5 minutes.")
        ]
    said = []
    if paused:
        said.append(
            gettext("All jobs are paused: the run is queued, expires in 5 minutes.")
        )
    if not any(job.executor in executors for executors in offered):
        said.append(
            gettext(
                "No running scheduler has the executor “%(executor)s”: the run is "
                "queued, expires in 5 minutes."
            )
            % {"executor": job.executor}
        )
    busy = (
        DjangoJobExecution.objects.using(using)
        .active()
        .filter(job_id=job.pk, status__in=DjangoJobExecution.RUNNING)
        .exclude(pk=execution_id)
        .count()
    )
    if busy >= job.max_instances:
        said.append(
            ngettext(
                "%(busy)s instance is running, as many as allowed: the run waits for "
                "it, 5 minutes at most.",
                "%(busy)s instances are running, as many as allowed: the run waits "
                "for one of them, 5 minutes at most.",
                busy,
            )
            % {"busy": busy}
        )
    return said
