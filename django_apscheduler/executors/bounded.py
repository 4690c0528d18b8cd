"""What executors have in common that keep runs waiting for others to end."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any

from django_apscheduler import clock
from django_apscheduler.executors.base import BaseExecutor, failed_throughout
from django_apscheduler.jobstores.base import Outcome, Run


class BoundedExecutor(BaseExecutor):
    """
    Begins ``max_workers`` runs at most, and the others when one of those has ended.

    A subclass says how a run is begun: `_start`. What has waited for the end of a run is
    taken by that one's worker, if `_serve` serves it: to begin another costs more than
    most bodies do.

    :cvar turn_seconds: for how long a worker goes on, as others may wait for it
    """

    turn_seconds = 0.02
    _local: Callable[[], Any] = threading.local

    def _reset(self) -> None:
        super()._reset()
        # These two, like what `BaseExecutor` counts, change under ``_count_lock``.
        #: Runs that wait for one of ``max_workers`` others to end, oldest first.
        self._waiting: deque[Run] = deque()
        #: Runs that have had their turn.
        self._begun: set[Run] = set()
        #: The present worker: what it does next, and until when it takes anything.
        self._worker = self._local()

    @abstractmethod
    def _start(self, run: Run) -> None:
        """Begin a run, from any thread; `finished` must follow exactly once."""

    def submit(self, run: Run) -> None:
        with self._count_lock:
            if self._waiting or len(self._begun) >= self.max_workers:
                self._waiting.append(run)
                return
            self._begun.add(run)
        self._start(run)

    def _start_waiting(self) -> None:
        worker = self._worker
        worker.is_free = clock.monotonic() < getattr(worker, "until", 0.0)
        while True:
            with self._count_lock:
                if not self._waiting or len(self._begun) >= self.max_workers:
                    break
                run = self._waiting.popleft()
                self._begun.add(run)
            try:
                self._start(run)
            except Exception as error:  # noqa: BLE001 (told of by the run's own outcome)
                self.finished(run, failed_throughout(run, error))
        worker.is_free = False

    def _takes_next(self, run: Run) -> bool:
        """Tell whether the present worker is done with its run, and takes this one."""
        worker = self._worker
        if not getattr(worker, "is_free", False):
            return False
        worker.is_free, worker.following = False, run
        return True

    def _serve(self, run: Run | None, call: Callable[[Run], None]) -> None:
        """Call ``call`` with a run, and with those that this worker takes after it."""
        worker = self._worker
        worker.until = clock.monotonic() + self.turn_seconds
        while run is not None:
            worker.following = None
            try:
                call(run)
            except BaseException:  # noqa: BLE001 (the run that follows must not be lost)
                self._logger.exception("Job %s: its outcome was not told", run.job.id)
            run = worker.following

    def finished(self, run: Run, outcomes: list[Outcome]) -> None:
        try:
            super().finished(run, outcomes)
        finally:
            if self._waiting:
                self._start_waiting()

    def _forget(self, run: Run) -> None:
        super()._forget(run)
        self._begun.discard(run)

    def _take_waiting(self) -> list[Run]:
        """Return the runs that have not had their turn, and never will."""
        with self._count_lock:
            waiting = list(self._waiting)
            self._waiting.clear()
        return waiting

    def take_back(self) -> list[Run]:
        runs = self._take_waiting()
        self._took_back(runs)
        return runs
