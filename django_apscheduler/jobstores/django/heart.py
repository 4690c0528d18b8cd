"""The heartbeat: signs of life, and care for what others have left behind."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from django.db import connections

from django_apscheduler import clock
from django_apscheduler.jobstores.django import backends, orphans
from django_apscheduler.jobstores.django.lifeline import Lifeline
from django_apscheduler.jobstores.django.membership import LeaseLost
from django_apscheduler.jobstores.django.orphans import ADOPTION_SECONDS
from django_apscheduler.offhub import warn_of_stopped_greenlets

if TYPE_CHECKING:
    from django_apscheduler.jobstores.django.store import DjangoJobStore

logger = logging.getLogger(__name__)

#: Seconds between looks for schedulers whose lease has run out.
SWEEP_SECONDS = 1.0
#: Seconds between looks for claims whose commit went unanswered.
RECONCILE_SECONDS = 3.0
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
        self._heard = threading.Event()
        self._thread = threading.Thread(
            target=self._work, name=f"apscheduler-heart-{store.alias}", daemon=True
        )
        self._lifeline = Lifeline(store)
        self._renewed = time.monotonic()
        self._holding_off = False
        self._doubtful = False
        self._reconcile_at = time.monotonic() + RECONCILE_SECONDS
        # At once: this may be the process whose code can run what is broken.
        self._retried = float("-inf")

    def start(self) -> None:
        warn_of_stopped_greenlets(connections[self._store.using])
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._heard.set()
        if self._thread is not threading.current_thread():
            self._thread.join()
        self._lifeline.stop()

    def hear(self) -> None:
        """Look for commands at once instead of with the next beat."""
        self._heard.set()

    def doubt(self) -> None:
        """
        Look for unknown rows with the next beat, and once more when they are of age.

        For after a claim that failed, or the database was gone: a commit may have gone
        unanswered, or been forgotten.
        """
        self._doubtful = True
        self._reconcile_at = time.monotonic()

    def _work(self) -> None:
        pause = min(SWEEP_SECONDS, self._store.heartbeat)
        faults = 0
        due = time.monotonic() + pause
        while True:
            heard = self._heard.wait(max(0.0, due - time.monotonic()))
            self._heard.clear()
            if self._stop.is_set():
                return
            late = time.monotonic() - due
            if late >= 0:
                due += late + pause
            elif not heard:
                continue
            if late > self._store.lease.total_seconds() / 2:
                logger.warning(
                    "The heartbeat came %.1f s late: something held this process. "
                    "Running here: %s. Bodies that hold the interpreter belong on the "
                    "process pool",
                    late,
                    ", ".join(self._store.here.jobs()) or "nothing",
                )
            try:
                self._beat(late >= 0)
            except Exception:
                faults += 1
                self.doubt()
                if faults == 1:
                    logger.exception("The heartbeat failed; it goes on trying")
            else:
                if faults:
                    logger.info("The heartbeat works again after %d failures", faults)
                faults = 0

    def _beat(self, whole: bool) -> None:
        store = self._store
        with store.private(store.beating):
            if whole:
                self._renew()
                self._lifeline.arm()
            store.commands.deliver()
            if not whole:
                return
            backends.note(store)
            found = orphans.anything_to_do(store, store.given_now(None))
            # Asked last, so that an outage during the question counts.
            if self._may_sweep() and found:
                store.note_lost(orphans.sweep(store, store.given_now(None)))
                store.wake()
            now = time.monotonic()
            if now >= self._reconcile_at:
                soon = ADOPTION_SECONDS + SWEEP_SECONDS
                pause = soon if self._doubtful else RECONCILE_SECONDS
                self._doubtful, self._reconcile_at = False, now + pause
                lost = orphans.reconcile(store, store.given_now(None))
                store.note_lost(lost)
            if store.resume_due():
                store.wake()
            if now - self._retried >= RETRY_SECONDS:
                self._retried = now
                self._housekeep()

    def _may_sweep(self) -> bool:
        """
        Tell whether an expired lease is a sign of death; asked in each heartbeat.

        After an outage of the database all leases have run out, and those who held them
        are as alive as this scheduler. They get the time of two heartbeats.
        """
        now = time.monotonic()
        outage = now - self._renewed > self._store.lease.total_seconds() / 2
        self._renewed = now
        if not self._holding_off:
            self._holding_off = outage
            self._sweep_from = now + 2 * self._store.heartbeat
        elif now >= self._sweep_from:
            # Even if that was another outage: among schedulers that are all too slow,
            # somebody has to sweep in the end.
            self._holding_off = False
        return not self._holding_off

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
