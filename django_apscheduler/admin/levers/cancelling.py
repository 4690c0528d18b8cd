"""Ending runs: what an executor can do about one, and the doing of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.http import HttpRequest
from django.utils.translation import gettext, ngettext_lazy

from django_apscheduler import audit, conf
from django_apscheduler.admin.levers.levers import DONE, GONE
from django_apscheduler.db import repeat_deadlocks, resolve_alias
from django_apscheduler.jobstores.base import ExecutionLookupError
from django_apscheduler.models import DjangoJobExecution

ASKED, OVER = "asked", "over"

#: Outcome of cancelling -> how so many of it are said.
COUNTED = {
    DONE: ngettext_lazy("%(count)s cancelled", "%(count)s cancelled", "count"),
    ASKED: ngettext_lazy(
        "%(count)s is asked to end", "%(count)s are asked to end", "count"
    ),
    OVER: ngettext_lazy("%(count)s was over", "%(count)s were over", "count"),
    GONE: ngettext_lazy(
        "%(count)s deleted meanwhile", "%(count)s deleted meanwhile", "count"
    ),
}

_LOGGED = {DONE: "Cancelled.", ASKED: "Asked its scheduler to end it."}


def kind_of(alias: str) -> str:
    """Return what kind of executor the settings have under an alias; "" if none."""
    executor = conf.configuration().executors.get(alias)
    if isinstance(executor, dict):
        return str(executor.get("type") or executor.get("class") or "")
    return "" if executor is None else type(executor).__name__


def remedy(alias: str) -> str:
    """Say what the executor of a run that has begun can do to end it."""
    kind = kind_of(alias).lower()
    if "processpool" in kind:
        return gettext(
            "On the executor “%(executor)s” it has a process of its own. The run gets "
            "RunCancelled wherever it is; if it goes on for five more seconds its "
            "process is killed. What it had done outside the database stays done."
        ) % {"executor": alias}
    if any(loop in kind for loop in ("asyncio", "tornado", "twisted")):
        return gettext(
            "On the executor “%(executor)s” a coroutine gets CancelledError at its "
            "next await. A plain function runs on a thread, which nobody can stop: it "
            "is told, and ends when it next looks."
        ) % {"executor": alias}
    if "thread" in kind or "debug" in kind:
        return gettext(
            "On the executor “%(executor)s” it runs on a thread, which nobody can "
            "stop. The run is told, and ends when it next asks whether it was "
            "cancelled; one that never asks goes on to its end."
        ) % {"executor": alias}
    return gettext(
        "Its executor “%(executor)s” is told; how it ends a run is its own affair."
    ) % {"executor": alias}


def cancel(
    request: HttpRequest, executions: Iterable[DjangoJobExecution]
) -> Counter[str]:
    """
    Cancel runs that wait and have those ended that go on.

    :return: how many of which outcome
    """
    from django_apscheduler import get_scheduler

    scheduler = get_scheduler()
    using = resolve_alias()
    user = request.user.get_username()
    found = list(executions)

    def attempt() -> Counter[str]:
        outcomes: Counter[str] = Counter()
        logged: list[tuple[Any, str]] = []
        with transaction.atomic(using=using):
            for row in found:
                outcome = GONE
                try:
                    status = scheduler.cancel_execution(row.pk, requested_by=user)
                except ExecutionLookupError:
                    pass
                else:
                    outcome = _outcome(row.status, status)
                outcomes[outcome] += 1
                if outcome in _LOGGED:
                    logged.append((row, _LOGGED[outcome]))
            audit.log(
                request.user.pk,
                [row for row, _ in logged],
                message=[message for _, message in logged],
            )
        return outcomes

    return repeat_deadlocks(using, attempt)


def _outcome(before: str, after: str) -> str:
    if before not in DjangoJobExecution.ACTIVE:
        return OVER
    if after == DjangoJobExecution.CANCELLED:
        return DONE
    return ASKED if after in DjangoJobExecution.RUNNING else OVER
