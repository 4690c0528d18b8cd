"""The heartbeat: signs of life, and care for what others have left behind."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from django.db import connections

from django_apscheduler import clock
from django_apscheduler.jobstores.django import orphans
from django_apscheduler.jobstores.django.membership import LeaseLost

if TYPE_CHECKING:
    from django_apscheduler.jobstores.django.store import DjangoJobStore

logger = logging.getLogger(__name__)

#: Seconds between looks for schedulers whose lease has run out.
SWEEP_SECONDS = 1.0
#: Seconds between looks for claims whose commit went unanswered.
RECONCILE_SECONDS = 10.0
#: Seconds between attempts to restore broken jobs.
RETRY_SECONDS = 60.0


class Heart:
    """
    A thread with a connection of its own, so that no claim or outcome delays it.

    It goes by the machine's clock, even where tests move the engine's.
    """

    def __init__(self, store: DjangoJobStore):
        self._store = store
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._work, name=f"apscheduler-heart-{store.alias}", daemon=True
        )
        self._reconciled = self._retried = time.monotonic()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _work(self) -> None:
        pause = min(SWEEP_SECONDS, self._store.heartbeat)
        faults = 0
        last = time.monotonic()
        while not self._stop.wait(pause):
            late = time.monotonic() - last - pause
            last = time.monotonic()
            if late > self._store.lease.total_seconds() / 2:
                logger.warning(
                    "The heartbeat came %.1f s late: something held this process. "
                    "Running here: %s. Bodies that hold the interpreter belong on the "
                    "process pool",
                    late,
                    ", ".join(self._store.in_flight()) or "nothing",
                )
            try:
                self._beat()
            except Exception:
                faults += 1
                if faults == 1:
                    logger.exception("The heartbeat failed; it goes on trying")
            else:
                if faults:
                    logger.info("The heartbeat works again after %d failures", faults)
                faults = 0

    def _beat(self) -> None:
        store = self._store
        with store.private(store.beating):
            self._renew()
            if orphans.anything_to_do(store, store.given_now(None)):
                store.note_lost(orphans.sweep(store, store.given_now(None)))
                store.wake()
            now = time.monotonic()
            if now - self._reconciled >= RECONCILE_SECONDS:
                self._reconciled = now
                lost = orphans.reconcile(store, store.given_now(None))
                store.note_lost(lost)
            if store.resume_due():
                store.wake()
            if now - self._retried >= RETRY_SECONDS:
                self._retried = now
                self._housekeep()

    def _renew(self) -> None:
        store = self._store
        membership = store.membership
        attempt = clock.monotonic()
        # A claim renews as well.
        if attempt - membership.renewed < store.heartbeat / 2:
            return
        owner = membership.id
        try:
            with store.writers(connections[store.using]):
                membership.renew(store.given_now(None))
        except LeaseLost:
            store.rejoin(owner)
            store.wake()
        else:
            membership.trust(attempt)

    def _housekeep(self) -> None:
        """Do what is due once a minute."""
        mended = self._store.retry_broken()
        if mended:
            logger.info("These jobs are no longer broken: %s", ", ".join(mended))
            self._store.wake()
