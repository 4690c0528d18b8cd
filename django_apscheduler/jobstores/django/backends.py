"""
The connections of a dead scheduler: ended by whoever takes its work over.

A scheduler that is frozen, or cut off from the network, may hold row locks, and jobs that
are locked are passed over by all others. Only the engine's own connections are known
here; those of bodies, ``transactional=True`` ones included, are their users'.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from django.db import connections, transaction

from django_apscheduler.jobstores.django.sql import statements
from django_apscheduler.models import SchedulerProcess

if TYPE_CHECKING:
    from django_apscheduler.jobstores.django.store import DjangoJobStore

logger = logging.getLogger(__name__)


def note(store: DjangoJobStore) -> None:
    """Have the scheduler's row name its connections as they are now."""
    own = [store.claiming, store.settling, store.beating]
    if store._watch is not None:
        own.append(store._watch.connection)
    numbers = (each.backend for each in own if each is not None)
    ids = {number for number in numbers if number is not None}
    membership = store.membership
    if ids == membership.backends:
        return
    with store.transaction() as sql:
        found = sql.backends(sorted(ids))
        membership.rows.update(backends=json.dumps(found))
    membership.backends = ids


def end(store: DjangoJobStore, process: SchedulerProcess) -> None:
    """End the connections of a scheduler that are there yet, as far as we may."""
    sql = statements(connections[store.using])
    for number, since in json.loads(process.backends or "[]"):
        try:
            # A savepoint in tests, which run in a transaction.
            with transaction.atomic(using=store.using):
                ended = sql.end_backend(number, since)
        except Exception as error:
            logger.warning(
                "The connection %d of the scheduler %s could not be ended; its locks "
                "last until the database gives it up: %s",
                number,
                process,
                error,
            )
        else:
            if ended:
                logger.warning(
                    "The connection %d of the scheduler %s has been ended",
                    number,
                    process,
                )
