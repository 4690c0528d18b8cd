"""Writing outcomes to a job store that keeps a log, off the workers' backs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from django_apscheduler import clock
from django_apscheduler.jobstores.base import BaseJobStore, Outcome, Run

#: A body still running this long after it began is written down as started. Shorter
#: ones go straight from claimed to their outcome, which spares a write each.
START_SECONDS = 0.02
#: Outcomes waiting to be written beyond which no more runs are claimed.
BACKLOG_LIMIT = 2000
#: Pauses between attempts to write, in seconds.
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
#: How long a scheduler that shuts down goes on trying to write, in seconds.
LAST_ATTEMPTS_SECONDS = 10.0

logger = logging.getLogger(__name__)


class Settler:
    """
    The thread that writes starts and outcomes of a store's runs.

    It writes in natural batches: whatever has gathered while the last write ran.
    Outcomes are kept until they are written, through any outage of the database.
    """

    def __init__(
        self,
        store: BaseJobStore,
        alias: str,
        tell: Callable[[list[Outcome]], None],
    ):
        self._store = store
        self._alias = alias
        self._tell = tell
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._began: dict[Run, float] = {}
        self._asked: list[tuple[Run, threading.Event, list[bool]]] = []
        self._outcomes: list[Outcome] = []
        self._stopping_since: float | None = None
        self._thread = threading.Thread(
            target=self._work, name=f"apscheduler-settle-{alias}", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Write what is left, then end."""
        self._stopping_since = clock.monotonic()
        self._wake.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    @property
    def backlog(self) -> int:
        return len(self._outcomes)

    def began(self, run: Run) -> bool:
        """
        Note that the body of ``run`` begins.

        Blocks until that is written when the run asks for it.

        :return: False when another scheduler has taken the run over
        """
        run.started_time = clock.now()
        if run.confirm_start:
            answered, answer = threading.Event(), [False]
            with self._lock:
                self._asked.append((run, answered, answer))
            self._wake.set()
            answered.wait()
            return answer[0]
        if not self._store.may_start(run):
            self._store.forget(run)
            return False
        with self._lock:
            self._began[run] = clock.monotonic()
            first = len(self._began) == 1
        if first:
            self._wake.set()
        return True

    def finished(self, run: Run, outcomes: list[Outcome]) -> None:
        with self._lock:
            self._began.pop(run, None)
            self._outcomes.extend(outcomes)
        self._wake.set()

    def _work(self) -> None:
        while True:
            with self._lock:
                idle = not (self._outcomes or self._asked)
                waiting = bool(self._began)
            if idle:
                if self._stopping_since is not None:
                    return
                self._wake.wait(START_SECONDS if waiting else None)
            self._wake.clear()
            self._write()

    def _write(self) -> None:
        with self._lock:
            outcomes, self._outcomes = self._outcomes, []
            asked, self._asked = self._asked, []
            before = clock.monotonic() - START_SECONDS
            started = [run for run, began in self._began.items() if began <= before]
            for run in started:
                del self._began[run]
        if outcomes:
            self._settle(outcomes)
        if asked or started:
            self._confirm(asked, started)

    def _settle(self, outcomes: list[Outcome]) -> None:
        settled = self._persist(self._store.settle, outcomes)
        try:
            self._tell(settled)
        except Exception:
            logger.exception("Listeners failed on %d outcomes", len(settled))

    def _confirm(self, asked: list, started: list[Run]) -> None:
        runs = [run for run, _, _ in asked] + started
        ours = set(self._persist(self._store.confirm_starts, runs))
        for run, answered, answer in asked:
            answer[0] = run in ours
            answered.set()

    def _persist(self, write: Callable[[list], list], items: list[Any]) -> list[Any]:
        """Write ``items``, trying again until it works; return what was accepted."""
        pause, failures = FIRST_PAUSE, 0
        while True:
            try:
                return write(items)
            except Exception:
                failures += 1
                logger.exception(
                    "Job store %s could not write %d items (attempt %d); "
                    "trying again in %.2f s",
                    self._alias,
                    len(items),
                    failures,
                    pause,
                )
            if failures >= 3 and len(items) > 1:
                return [
                    kept for item in items for kept in self._persist_one(write, item)
                ]
            stopping = self._stopping_since
            late = stopping is not None and (
                clock.monotonic() - stopping > LAST_ATTEMPTS_SECONDS
            )
            if late or (failures >= 3 and self._store_answers()):
                logger.error("Gave up writing %r; its run will count as lost", items)
                for item in items:
                    self._store.forget(item.run if isinstance(item, Outcome) else item)
                return []
            threading.Event().wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _persist_one(self, write: Callable[[list], list], item: Any) -> list[Any]:
        # One item that the database refuses must not hold up the others.
        return self._persist(write, [item])

    def _store_answers(self) -> bool:
        """Tell whether the store works, so that the fault lies with what is written."""
        try:
            self._store.get_next_run_time()
        except Exception:
            return False
        return True
