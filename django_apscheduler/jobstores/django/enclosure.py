"""
One transaction around a body and its outcome, for ``transactional=True`` jobs.

Either both are in the database or neither is, so what the body writes there happens
exactly once, although the body itself may begin again after a loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connections, transaction

from django_apscheduler.jobstores.base import EXECUTED, RunTakenOver
from django_apscheduler.jobstores.django.records import Ending, Start
from django_apscheduler.jobstores.django.sql import statements

Complete = Callable[[datetime, datetime], None]


@dataclass(frozen=True)
class Enclosure:
    """
    What a worker, in this process or a pool's, needs to write an outcome itself.

    :ivar using: alias of the database with the log; the body's own connection is used
    :ivar execution_ids: the run's rows in the log
    :ivar owner_id: the scheduler that claimed the run
    :ivar attempt: which attempt was claimed
    :ivar offset: what to add to this machine's clock to have the database's
    """

    using: str
    execution_ids: tuple[int, ...]
    owner_id: int
    attempt: int
    offset: timedelta

    @contextmanager
    def __call__(self, index: int, now: datetime) -> Iterator[Complete]:
        """
        Run the block in one transaction with the outcome of the run time ``index``.

        The block calls what it is given, with the times of the body, when the body has
        ended well.

        :raises RunTakenOver: when the run is another scheduler's by now, and what the
            body wrote has been undone
        """
        fence = (self.execution_ids[index], self.owner_id, self.attempt)
        connection = connections[self.using]
        with transaction.atomic(using=self.using):
            if connection.vendor == "sqlite":
                # A transaction that reads first cannot begin to write once another
                # writer has committed, however long it waits.
                start = Start(*fence, now + self.offset)
                if not statements(connection).start([start]):
                    raise RunTakenOver

            def complete(started: datetime, finished: datetime) -> None:
                ending = Ending(
                    *fence,
                    EXECUTED,
                    started + self.offset,
                    finished + self.offset,
                    round((finished - started).total_seconds(), 2),
                    round((finished + self.offset).timestamp(), 2),
                    None,
                    None,
                )
                if not statements(connection).settle([ending]):
                    raise RunTakenOver

            yield complete
