"""What this process knows of the runs it has claimed."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING
from uuid import UUID

from django_apscheduler import clock

if TYPE_CHECKING:
    from django_apscheduler.jobstores.base import Run
    from django_apscheduler.jobstores.django.records import Ending

#: How long outcomes are remembered after they were written, in seconds, and how many at
#: most. A database that crashes without having made its last commits durable, or whose
#: standby takes over before it had them all, forgets seconds of work at the worst.
KEPT_SECONDS = 300.0
KEPT_OUTCOMES = 20_000


class InFlight:
    """
    The runs claimed here and not over, and the outcomes that were written lately.

    Threads share it without a lock: each call is one step on a dictionary or deque.
    """

    def __init__(self) -> None:
        self._runs: dict[UUID, Run] = {}
        self._written: deque[tuple[float, list[Ending]]] = deque()
        self._count = 0

    def __len__(self) -> int:
        return len(self._runs)

    def clear(self) -> None:
        self._runs.clear()

    def remember(self, run: Run) -> None:
        self._runs[run.claim.claim_id] = run

    def forget(self, run: Run) -> None:
        self._runs.pop(run.claim.claim_id, None)

    def find(self, claim_id: UUID) -> Run | None:
        """Return the run that holds a claim, if it is here."""
        return self._runs.get(claim_id)

    def jobs(self) -> list[str]:
        """Return the ids of the jobs that are claimed here and not finished."""
        return sorted({run.job.id for run in tuple(self._runs.values())})

    def keep(self, endings: list[Ending]) -> None:
        """Remember for a while what has been written; called by one thread only."""
        if not endings:
            return
        now = clock.monotonic()
        self._written.append((now, endings))
        self._count += len(endings)
        while self._written and (
            self._written[0][0] < now - KEPT_SECONDS
            or (self._count > KEPT_OUTCOMES and len(self._written) > 1)
        ):
            self._count -= len(self._written.popleft()[1])

    def written(self) -> dict[tuple[int, int, int], Ending]:
        """Return the outcomes written lately, by execution, owner and attempt."""
        return {
            (ending.id, ending.owner_id, ending.attempt): ending
            for _, endings in tuple(self._written)
            for ending in endings
        }
