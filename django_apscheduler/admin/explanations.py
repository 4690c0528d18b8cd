"""
Why a job does not run, and why an occurrence did not: reasons in plain sentences.

Told from the rows alone, in a handful of queries whatever their number. What is not
known is not guessed.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from django.utils.translation import gettext, ngettext

from django_apscheduler.admin import stats, words
from django_apscheduler.db import database_now
from django_apscheduler.models import (
    DjangoJob,
    DjangoJobExecution,
    SchedulerControl,
    SchedulerProcess,
)

#: Schedulers and runs named in a sentence.
LISTED = 3

#: Latest rows of a job among which runs that were under way are looked for.
SEARCHED_RUNS = 200


def of_job(job: DjangoJob, now: datetime, using: str) -> list[str]:
    """
    Return what keeps a job from running, as sentences; empty when nothing does.

    That no scheduler is running, or all jobs are paused, is told of jobs that are due;
    of all others the banner tells it.

    :param now: aware
    :param using: database alias of the jobs; two queries are made for an active job,
        two more for one that is overdue
    """
    halted = {
        DjangoJob.State.PAUSED.value: _paused,
        DjangoJob.State.DISABLED.value: _disabled,
        DjangoJob.State.FINISHED.value: _finished,
        DjangoJob.State.BROKEN.value: _broken,
    }.get(job.state)
    if halted is not None:
        return halted(job, now)
    due = job.next_run_time
    if due is None:
        return [
            gettext(
                "No next run is planned for it. Reschedule it, or pause and resume it."
            )
        ]
    late = due < now - timedelta(seconds=stats.OVERDUE_SECONDS)
    reasons = _nobody(job.executor, job.pk, job.func, now, using, banner=not late)
    if not late:
        return reasons
    reasons = _all_paused(now, using) + reasons or _busy(job, now, using)
    return [_overdue(job, due, now), *reasons]


# What a job's own state says


def _paused(job: DjangoJob, now: datetime) -> list[str]:
    said = {
        "user": job.paused_by,
        "age": words.relative(job.paused_time, now),
        "reason": job.pause_reason.rstrip("."),
    }
    if job.paused_by and job.paused_time:
        text = gettext("It was paused by %(user)s %(age)s.")
    elif job.paused_time:
        text = gettext("It was paused %(age)s.")
    elif job.paused_by:
        text = gettext("It was paused by %(user)s.")
    else:
        text = gettext("It is paused.")
    sentences = [text % said]
    if job.pause_reason:
        sentences.append(gettext("The reason given: %(reason)s.") % said)
    if job.resume_time:
        sentences.append(
            gettext("It resumes by itself at %(moment)s (%(when)s).")
            % {
                "moment": words.wall(job.resume_time, now),
                "when": words.relative(job.resume_time, now),
            }
        )
    else:
        sentences.append(gettext("It stays paused until somebody resumes it."))
    return sentences


def _disabled(job: DjangoJob, now: datetime) -> list[str]:
    return [
        gettext("It is disabled: no running scheduler declares it any more."),
        gettext("It comes back by itself when a release that declares it is deployed."),
    ]


def _finished(job: DjangoJob, now: datetime) -> list[str]:
    if job.finished_time is None:
        return [gettext("Its schedule has ended; there are no more runs.")]
    return [
        gettext("Its schedule ended %(age)s; there are no more runs.")
        % {"age": words.relative(job.finished_time, now)}
    ]


def _broken(job: DjangoJob, now: datetime) -> list[str]:
    lines = job.error.strip().splitlines()
    sentences = [gettext("No scheduler can run it as it is, so it is set aside.")]
    if lines:
        sentences.append(
            gettext("The reason: %(error)s") % {"error": lines[0].rstrip(".") + "."}
        )
    return sentences


# Who is there to run it


def _all_paused(now: datetime, using: str) -> list[str]:
    control = SchedulerControl.objects.using(using).filter(paused=True).first()
    if control is None:
        return []
    said = {
        "user": control.paused_by,
        "age": words.relative(control.paused_time, now),
        "reason": control.pause_reason.rstrip("."),
    }
    if control.paused_by and control.paused_time:
        text = gettext("All jobs were paused by %(user)s %(age)s.")
    elif control.paused_time:
        text = gettext("All jobs were paused %(age)s.")
    else:
        text = gettext("All jobs are paused.")
    sentences = [text % said]
    if control.pause_reason:
        sentences.append(gettext("The reason given: %(reason)s.") % said)
    return sentences


def _nobody(
    executor: str,
    job_id: str,
    func: str,
    now: datetime,
    using: str,
    *,
    banner: bool = False,
) -> list[str]:
    """
    Say whether no scheduler can run a job.

    :param banner: what the banner of every page says is left out
    """
    present = database_now(using)
    living = list(
        SchedulerProcess.objects.using(using)
        .filter(state=SchedulerProcess.State.ALIVE, lease_until__gte=present)
        .order_by("id")
    )
    if not living:
        if banner:
            return []
        return [
            gettext(
                "No scheduler is running. Start one with “manage.py runapscheduler”."
            )
        ]
    able = [process for process in living if executor in _loaded(process.executors, {})]
    if not able:
        return [
            ngettext(
                "The running scheduler, %(names)s, does not have the executor "
                "“%(executor)s”.",
                "None of the running schedulers, %(names)s, has the executor "
                "“%(executor)s”.",
                len(living),
            )
            % {"names": _names(living), "executor": executor}
        ]
    if all(job_id in _loaded(process.unresolved, []) for process in able):
        return [
            ngettext(
                "The running scheduler, %(names)s, cannot import %(func)s. It tries "
                "again each minute.",
                "None of the running schedulers, %(names)s, can import %(func)s. They "
                "try again each minute.",
                len(able),
            )
            % {"names": _names(able), "func": func}
        ]
    return []


def _loaded(text: str, otherwise: dict | list) -> dict | list:
    try:
        value = json.loads(text)
    except ValueError:
        return otherwise
    return value if isinstance(value, type(otherwise)) else otherwise


def _names(processes: list[SchedulerProcess]) -> str:
    names = ", ".join(str(process) for process in processes[:LISTED])
    return f"{names}, …" if len(processes) > LISTED else names


def _overdue(job: DjangoJob, due: datetime, now: datetime) -> str:
    said = {
        "moment": words.wall(due, now, seconds=True),
        "late": words.duration(now - due),
        "grace": words.duration(job.misfire_grace_time),
    }
    if job.misfire_grace_time is None:
        text = gettext(
            "It was due at %(moment)s and is %(late)s late. It still runs, however "
            "late."
        )
    elif now - due > timedelta(seconds=job.misfire_grace_time):
        text = gettext(
            "It was due at %(moment)s and is %(late)s late. That is more than its grace "
            "time of %(grace)s: it will be recorded as missed."
        )
    else:
        text = gettext(
            "It was due at %(moment)s and is %(late)s late. It still runs if it is "
            "begun within its grace time of %(grace)s."
        )
    return text % said


def _busy(job: DjangoJob, now: datetime, using: str) -> list[str]:
    """Say what a job waits for that is overdue though a scheduler could run it."""
    running = stats.running(using).filter(executor=job.executor).count()
    if running:
        return [
            ngettext(
                "A scheduler is running, and %(count)s run is under way on the executor "
                "“%(executor)s”: its workers may all be busy.",
                "A scheduler is running, and %(count)s runs are under way on the "
                "executor “%(executor)s”: its workers may all be busy.",
                running,
            )
            % {"count": running, "executor": job.executor}
        ]
    return [
        gettext(
            "A scheduler is running and should come to it any moment. If it does not, "
            "look into the log of the scheduler."
        )
    ]


# What became of an occurrence


def of_execution(
    execution: DjangoJobExecution, job: DjangoJob | None, now: datetime, using: str
) -> list[str]:
    """
    Return why an occurrence did not run, was late in vain or waits, as sentences.

    Adds numbers to what `executions.explain` says. Empty for runs that went their way.

    :param job: None when it has been deleted
    :param using: database alias; three queries at most
    """
    status = execution.status
    if status == DjangoJobExecution.MISSED:
        return _missed(execution, job, now, using)
    if status == DjangoJobExecution.MAX_INSTANCES:
        at = execution.claimed_time or execution.run_time
        return _in_the_way(execution.job_id, at, now, using) + _allowed(job)
    if status == DjangoJobExecution.COALESCED:
        return _came_late(execution, now)
    if status == DjangoJobExecution.LOST:
        return _lost(execution, now)
    if status == DjangoJobExecution.CANCELLED and _expired(execution):
        return _expired_because(execution, now, using)
    if status == DjangoJobExecution.QUEUED:
        return _waits(execution, job, now, using)
    return []


def _came_late(execution: DjangoJobExecution, now: datetime) -> list[str]:
    """Say when a scheduler came to an occurrence, and how late that was."""
    if execution.claimed_time is None:
        return []
    last = execution.last_run_time or execution.run_time
    return [
        gettext("A scheduler came to it at %(moment)s, %(late)s late.")
        % {
            "moment": words.wall(execution.claimed_time, now, seconds=True),
            "late": words.duration(execution.claimed_time - last),
        }
    ]


def _missed(
    execution: DjangoJobExecution, job: DjangoJob | None, now: datetime, using: str
) -> list[str]:
    sentences = _came_late(execution, now)
    if not sentences:
        return []
    last = execution.last_run_time or execution.run_time
    late = execution.claimed_time - last  # type: ignore[operator]
    grace = job.misfire_grace_time if job is not None else None
    if grace is not None:
        said = {"grace": words.duration(grace)}
        if late > timedelta(seconds=grace):
            sentences.append(gettext("Its grace time is %(grace)s.") % said)
        else:
            sentences.append(
                gettext("Its grace time was changed since, and is now %(grace)s.")
                % said
            )
    there = (
        SchedulerProcess.objects.using(using)
        .filter(started_time__lte=last, tick_time__gte=last)
        .exists()
    )
    owner = execution.owner
    if there:
        sentences.append(
            gettext(
                "A scheduler was running when it was due: all jobs may have been paused, "
                "its workers busy, or its executor elsewhere."
            )
        )
    elif owner is not None and owner.started_time > last:
        sentences.append(
            gettext(
                "No scheduler was running when it was due; %(name)s started at "
                "%(moment)s."
            )
            % {
                "name": owner,
                "moment": words.wall(owner.started_time, now, seconds=True),
            }
        )
    return sentences


def _in_the_way(
    job_id: str | None, at: datetime, now: datetime, using: str
) -> list[str]:
    """Name the runs that occupied a job's instances at a moment."""
    sentences = []
    for run in _under_way(job_id, at, using)[:LISTED]:
        said = {"moment": words.wall(run.run_time, now, seconds=True)}
        seconds = stats.run_seconds(run.started_time, run.finished_time)
        if run.finished_time is None:
            text = gettext("The run of %(moment)s was under way, and still is.")
        elif seconds is None:
            text = gettext("The run of %(moment)s was under way.")
        else:
            said["duration"] = words.duration(seconds)
            text = gettext("The run of %(moment)s was under way; it took %(duration)s.")
        sentences.append(text % said)
    return sentences


def _under_way(
    job_id: str | None, at: datetime, using: str
) -> list[DjangoJobExecution]:
    """Return a job's runs that were claimed before a moment and ended after it."""
    if job_id is None:
        return []
    fields = (
        "id",
        "run_time",
        "started_time",
        "finished_time",
        "claimed_time",
        "status",
    )
    executions = DjangoJobExecution.objects.using(using)
    unfinished = executions.active().filter(job_id=job_id)
    # Along the index, and no further: a job may have millions of runs.
    before = executions.filter(job_id=job_id, run_time__lte=at)
    latest = before.order_by("-run_time", "-id")[:SEARCHED_RUNS]
    rows = {
        row.pk: row for found in (unfinished, latest) for row in found.only(*fields)
    }
    return sorted(
        (
            row
            for row in rows.values()
            if row.claimed_time is not None
            and row.claimed_time <= at
            and (row.started_time or row.status in DjangoJobExecution.RUNNING)
            and (row.finished_time is None or row.finished_time > at)
        ),
        key=lambda row: (row.run_time, row.pk),
    )


def _allowed(job: DjangoJob | None) -> list[str]:
    if job is None:
        return []
    return [
        ngettext(
            "It may have %(count)s run at a time.",
            "It may have %(count)s runs at a time.",
            job.max_instances,
        )
        % {"count": job.max_instances}
    ]


def _lost(execution: DjangoJobExecution, now: datetime) -> list[str]:
    owner = execution.owner
    sentences = []
    if owner is not None and owner.tick_time is not None:
        sentences.append(
            gettext("The scheduler %(name)s was last heard of at %(moment)s.")
            % {"name": owner, "moment": words.wall(owner.tick_time, now, seconds=True)}
        )
    if execution.losses > 1:
        sentences.append(
            gettext("It was cut off %(count)s times, and given up after that.")
            % {"count": execution.losses}
        )
    return sentences


def _expired(execution: DjangoJobExecution) -> bool:
    return (
        execution.expires_time is not None
        and execution.started_time is None
        and execution.finished_time is not None
        and execution.finished_time >= execution.expires_time
    )


def _expired_because(
    execution: DjangoJobExecution, now: datetime, using: str
) -> list[str]:
    expired: datetime = execution.expires_time  # type: ignore[assignment]
    sentence = gettext(
        "It was to start by %(moment)s at the latest, and no scheduler could start "
        "it by then."
    ) % {"moment": words.wall(expired, now, seconds=True)}
    return [sentence, *_in_the_way(execution.job_id, expired, now, using)]


def _waits(
    execution: DjangoJobExecution, job: DjangoJob | None, now: datetime, using: str
) -> list[str]:
    func = job.func if job is not None else ""
    reasons = _nobody(execution.executor, execution.job_id or "", func, now, using)
    if reasons:
        return reasons
    in_the_way = _in_the_way(execution.job_id, now, now, using)
    return in_the_way + _allowed(job) if in_the_way else []
