"""A scheduler's row among those that share the database, and its lease."""

from __future__ import annotations

import json
import logging
import os
import socket
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import F

from django_apscheduler import __version__, clock
from django_apscheduler.db import moment
from django_apscheduler.models import SchedulerProcess

if TYPE_CHECKING:
    from datetime import datetime

    from django_apscheduler.jobstores.django.store import DjangoJobStore

logger = logging.getLogger(__name__)

#: How long before its lease runs out a scheduler stops starting bodies, in seconds:
#: the time that a body may need from the last look at the clock to its first effect.
MARGIN_SECONDS = 1.0


class LeaseLost(Exception):
    """Raised inside a claim when another scheduler has declared this one dead."""


class Membership:
    """
    The `SchedulerProcess` row of one start of a scheduler.

    Whatever is claimed belongs to the row's id. When the lease ran out and another
    scheduler noticed, the row is dead for good, and `register` begins a new life.

    :ivar id: primary key of the row, None before `register`
    :ivar trusted_until: on the monotonic clock; nobody takes this scheduler for dead
        before
    :ivar ticked: when the loop last went round, on the monotonic clock
    :ivar draining: whether this scheduler claims nothing more
    """

    def __init__(self, store: DjangoJobStore):
        self._store = store
        self.id: int | None = None
        self.trusted_until = float("-inf")
        self.renewed = float("-inf")
        self.ticked = clock.monotonic()
        self.draining = False
        self.unresolved: set[str] = set()
        self._executors = ""
        #: The engine's connections that the row names, by the database's numbers.
        self.backends: set[int] = set()

    @property
    def rows(self) -> Any:
        """The row, as a queryset that is empty once somebody declared it dead."""
        return (
            SchedulerProcess.objects.using(self._store.using)
            .filter(pk=self.id or 0)
            .exclude(state=SchedulerProcess.State.DEAD)
        )

    def register(self, now: datetime | None = None) -> None:
        """Enter a new row; what an earlier one said of this process's code is kept."""
        attempt = clock.monotonic()
        before = (
            SchedulerProcess.objects.using(self._store.using).filter(pk=self.id).first()
            if self.id is not None
            else None
        )
        self._executors = self._store.executors_json()
        row = SchedulerProcess(
            host=socket.gethostname(),
            pid=os.getpid(),
            state=self._state(),
            lease_until=moment(now, self._store.lease),
            started_time=before.started_time if before else moment(now),
            tick_time=moment(now),
            executors=self._executors,
            release=self._store.release_label,
            declarations=before.declarations if before else "[]",
            unresolved=json.dumps(sorted(self.unresolved)),
            version=__version__,
        )
        row.save(using=self._store.using, force_insert=True)
        self.id = row.pk
        self.backends = set()
        self.trust(attempt)

    def renew(self, now: datetime | None = None, *, tick: bool = False) -> None:
        """
        Renew the lease, if nobody has declared this scheduler dead.

        :param tick: whether this is the tick itself and not the heartbeat beside it
        :raises LeaseLost: when somebody has
        """
        age = timedelta(0) if tick else self._since_tick()
        changes: dict[str, Any] = {
            "lease_until": moment(now, self._store.lease),
            "tick_time": moment(now, -age),
            "state": self._state(),
        }
        before = self._executors
        executors = self.note_executors()
        if executors != before:
            changes["executors"] = executors
        if not self.rows.update(**changes):
            raise LeaseLost

    @property
    def lease(self) -> timedelta:
        """How long the lease lasts from a renewal on."""
        return self._store.lease

    def note_executors(self) -> str:
        """Return the executors as they are now, as JSON, to be written."""
        self._executors = self._store.executors_json()
        return self._executors

    def _state(self) -> SchedulerProcess.State:
        states = SchedulerProcess.State
        return states.DRAINING if self.draining else states.ALIVE

    def _since_tick(self) -> timedelta:
        return timedelta(seconds=max(0.0, clock.monotonic() - self.ticked))

    def trust(self, attempt: float) -> None:
        """
        Count on the lease that has been renewed.

        :param attempt: when the renewal began, on the monotonic clock: the database
            counts from a later moment, so this errs on the safe side
        """
        lease = self._store.lease.total_seconds()
        self.renewed = attempt
        self.trusted_until = attempt + lease - min(MARGIN_SECONDS, lease / 4)

    @property
    def trusted(self) -> bool:
        """Whether the lease surely still holds."""
        return clock.monotonic() < self.trusted_until

    def note_unresolved(self, job_ids: set[str]) -> None:
        """Write which jobs' callables this process cannot import."""
        if job_ids != self.unresolved:
            self.rows.update(unresolved=json.dumps(sorted(job_ids)))
            self.unresolved = set(job_ids)

    def leave(self) -> None:
        """Mark the row dead: this scheduler runs nothing any more."""
        if self.id is not None:
            self.rows.update(
                state=SchedulerProcess.State.DEAD,
                lease_until=moment(None),
                tick_time=F("tick_time"),
            )
        self.id = None
        self.trusted_until = float("-inf")


def who(process: SchedulerProcess | None) -> str:
    """Return host and process id for notes, for people."""
    return str(process) if process is not None else "a scheduler that is not known"
