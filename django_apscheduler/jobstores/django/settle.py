"""Starts, outcomes and runs handed back, each fenced by owner, attempt and status."""

from __future__ import annotations

import logging
from collections import defaultdict
from typing import TYPE_CHECKING

from django_apscheduler import clock
from django_apscheduler.jobstores.base import Outcome, Run
from django_apscheduler.jobstores.django.records import Ending, Start
from django_apscheduler.jobstores.django.sql import added_note
from django_apscheduler.models import DjangoJobExecution

if TYPE_CHECKING:
    from django_apscheduler.jobstores.django.store import DjangoJobStore

logger = logging.getLogger(__name__)

#: As long as the column for exceptions.
MOST_CHARACTERS = 1000


def settle(store: DjangoJobStore, outcomes: list[Outcome]) -> list[Outcome]:
    """Write outcomes in one transaction; return those of runs that were still ours."""
    with store.private(store.settling), store.transaction(fold=True) as sql:
        sql_rows = [_ending(store, item) for item in outcomes if not item.settled]
        settled = sql.settle(sql_rows)
        settled |= _settled_before(
            store, [row for row in sql_rows if row.id not in settled]
        )
    store.here.keep([row for row in sql_rows if row.id in settled])
    settled |= {item.execution_id or 0 for item in outcomes if item.settled}
    accepted = []
    for outcome in outcomes:
        token, execution_id = outcome.run.claim, outcome.execution_id
        token.open.discard(execution_id)
        if not token.open:
            store.forget(outcome.run)
        if execution_id in settled:
            accepted.append(outcome)
        else:
            logger.error(
                "Job %s: the outcome %r of its run at %s comes too late; this "
                "scheduler was taken for dead, and what the log says stands",
                outcome.run.job.id,
                outcome.status,
                outcome.run_time,
            )
    return accepted


def _settled_before(store: DjangoJobStore, rows: list[Ending]) -> set[int]:
    """
    Return the ids of rows that already hold these very outcomes.

    That is so when the reply to an earlier COMMIT was lost and the write is repeated.
    """
    if not rows:
        return set()
    stored = DjangoJobExecution.objects.using(store.using).filter(
        id__in=[row.id for row in rows]
    )
    facts = set(stored.values_list("id", "owner_id", "attempt", "status"))
    return {row.id for row in rows if row[:4] in facts}


def _ending(store: DjangoJobStore, outcome: Outcome) -> Ending:
    run = outcome.run
    execution_id = outcome.execution_id
    assert execution_id is not None
    started, finished = outcome.started_time, outcome.finished_time or clock.now()
    seconds = (finished - started).total_seconds() if started is not None else None
    finished = store.by_database(finished)
    exception = outcome.exception
    text = None if exception is None else f"{type(exception).__name__}: {exception}"
    return Ending(
        execution_id,
        run.claim.owner_id,
        run.attempt,
        outcome.status,
        None if started is None else store.by_database(started),
        finished,
        None if seconds is None else round(seconds, 2),
        round(finished.timestamp(), 2),
        None if text is None else _storable(text)[:MOST_CHARACTERS],
        _storable(outcome.traceback) if outcome.traceback else None,
    )


def _storable(text: str) -> str:
    """Return ``text`` without what databases refuse: NUL, halves of surrogates."""
    text = text.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return text.encode("utf-8", "backslashreplace").decode()


def confirm_starts(store: DjangoJobStore, runs: list[Run]) -> list[Run]:
    """Write that bodies have begun; return the runs that are still ours."""
    rows = [
        Start(
            _begun(run),
            run.claim.owner_id,
            run.attempt,
            store.by_database(run.started_time or clock.now()),
        )
        for run in runs
    ]
    with store.private(store.settling), store.transaction() as sql:
        started = sql.start(rows)
    ours = [run for run in runs if _begun(run) in started]
    for run in runs:
        if run not in ours:
            store.forget(run)
    return ours


def _begun(run: Run) -> int:
    """Return the row of the body that begins; the others of its run have yet to."""
    assert run.execution_ids is not None
    return run.execution_ids[max(run.index, 0)]


def release(store: DjangoJobStore, runs: list[Run]) -> None:
    """Hand back claimed runs that have not begun; any scheduler may take them."""
    ids: dict[int, list[int]] = defaultdict(list)
    for run in runs:
        ids[run.claim.owner_id] += run.execution_ids or ()
    with store.private(store.settling), store.transaction() as sql:
        for owner_id, own in ids.items():
            (
                DjangoJobExecution.objects.using(store.using)
                .filter(id__in=own, owner_id=owner_id)
                .filter(status=DjangoJobExecution.CLAIMED)
                .update(
                    status=DjangoJobExecution.QUEUED,
                    owner_id=None,
                    claim_id=None,
                    claimed_time=None,
                    note=added_note(
                        f"Handed back before it began: {store.name} stopped."
                    ),
                )
            )
        sql.notify()
    for run in runs:
        store.forget(run)
