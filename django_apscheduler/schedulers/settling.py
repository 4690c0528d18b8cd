"""Writing outcomes to a job store that keeps a log, off the workers' backs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
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
#: Seconds between attempts to write what the database refuses while it takes the rest.
REFUSED_SECONDS = 10.0

logger = logging.getLogger(__name__)


class Unstorable(Exception):
    """Stands in the log for an exception whose text the database refuses."""


class Settler:
    """
    The thread that writes starts and outcomes of a store's runs.

    It writes in natural batches: whatever has gathered while the last write ran.
    Outcomes are kept until they are written, through any outage of the database. One
    that the database refuses is written without its texts, and if even that fails it is
    kept and tried again, apart from the others.
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
        self._resting = False
        self._asked: list[tuple[Run, threading.Event, list[bool]]] = []
        self._outcomes: list[Outcome] = []
        self._refused: list[Outcome] = []
        self._tried = clock.monotonic()
        self._failing = False
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
        Note that the body of ``run`` at ``run.index`` begins.

        Blocks until that is written when the run asks for it.

        :return: False when another scheduler has taken the run over, or may have
        """
        run.started_time = clock.now()
        if run.confirm_start:
            answered, answer = threading.Event(), [False]
            with self._lock:
                self._asked.append((run, answered, answer))
            self._wake.set()
            answered.wait()
            # The write may have taken long.
            return answer[0] and self._may_start(run)
        if not self._may_start(run):
            return False
        with self._lock:
            self._began[run] = clock.monotonic()
            resting, self._resting = self._resting, False
        if resting:
            # Otherwise it looks at what has begun once its writing is done.
            self._wake.set()
        return True

    def _may_start(self, run: Run) -> bool:
        try:
            ours = self._store.may_start(run)
        except Exception:
            # The row stays ours without our knowing; reconciliation hands it back.
            logger.exception(
                "Job %s: its run does not begin, for it cannot be made sure that no "
                "other scheduler has taken it over",
                run.job.id,
            )
            ours = False
        if not ours:
            self._store.forget(run)
        return ours

    def finished(self, run: Run, outcomes: list[Outcome]) -> None:
        """Note how bodies of ``run`` have ended."""
        with self._lock:
            # One cancelled before it could begin says nothing of the one that runs.
            if not outcomes or outcomes[-1].index >= run.index:
                self._began.pop(run, None)
            self._outcomes.extend(outcomes)
            self._resting = False
        self._wake.set()

    def _work(self) -> None:
        while True:
            with self._lock:
                idle = not (self._outcomes or self._asked)
                waiting = bool(self._began)
                # Nothing would wake the thread when a body has run for long enough.
                self._resting = idle and not waiting
            if self._refused and (
                self._stopping_since is not None
                or clock.monotonic() - self._tried >= REFUSED_SECONDS
            ):
                self._try_refused()
            if idle:
                if self._stopping_since is not None:
                    self._give_up(self._refused)
                    return
                self._wake.wait(
                    START_SECONDS
                    if waiting
                    else (REFUSED_SECONDS if self._refused else None)
                )
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
        self._announce(self._persist(self._store.settle, outcomes))

    def _announce(self, settled: list[Outcome]) -> None:
        try:
            self._tell(settled)
        except Exception:
            logger.exception("Listeners failed on %d outcomes", len(settled))

    def _confirm(self, asked: list, started: list[Run]) -> None:
        runs = [run for run, _, _ in asked] + started
        ours = set(self._persist(self._store.confirm_starts, runs))
        for run, answered, answer in asked:
            answer[0] = run in ours
            if not answer[0]:
                self._store.forget(run)
            answered.set()

    def _persist(self, write: Callable[[list], list], items: list[Any]) -> list[Any]:
        """Write ``items``, trying again until it works; return what was accepted."""
        pause, failures = FIRST_PAUSE, 0
        while True:
            try:
                written = write(items)
                self._failing = False
                return written
            except Exception:
                self._failing = True
                failures += 1
                logger.exception(
                    "Job store %s could not write %d items (attempt %d); "
                    "trying again in %.2f s",
                    self._alias,
                    len(items),
                    failures,
                    pause,
                )
            if self._out_of_time():
                self._give_up(items)
                return []
            if failures >= 3 and len(items) > 1:
                # One item that the database refuses must not hold up the others.
                return [kept for item in items for kept in self._single(write, item)]
            if failures >= 3 and self._store.can_write():
                return self._refuse(items[0])
            threading.Event().wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _single(self, write: Callable[[list], list], item: Any) -> list[Any]:
        """Write one of several items that were not written together."""
        if self._failing and self._out_of_time():
            # A server that is out of reach takes seconds to say so, for each of them.
            self._give_up([item])
            return []
        return self._persist(write, [item])

    def _out_of_time(self) -> bool:
        """Tell whether this scheduler ends, and must not go on trying."""
        stopping = self._stopping_since
        return stopping is not None and (
            clock.monotonic() - stopping > LAST_ATTEMPTS_SECONDS
        )

    def _refuse(self, item: Any) -> list[Any]:
        """Deal with what the database does not take, though it takes other writes."""
        if not isinstance(item, Outcome):
            # Only the note that a body has begun, and its outcome will say so too.
            return []
        written = self._write_bare(item)
        if written is not None:
            return written
        logger.error(
            "Job %s: the database refuses the outcome %r of its run at %s; it is kept, "
            "and tried again every %.0f s",
            item.run.job.id,
            item.status,
            item.run_time,
            REFUSED_SECONDS,
        )
        self._refused.append(item)
        return []

    def _write_bare(self, outcome: Outcome) -> list[Outcome] | None:
        """
        Write an outcome without what a database may dislike.

        :return: it alone, or nothing if the run was taken over; None if that failed, too
        """
        error = outcome.exception
        if error is not None:
            text = f"{type(error).__name__}, whose text could not be stored"
            error = Unstorable(text.encode("ascii", "backslashreplace").decode())
        try:
            bare = replace(outcome, exception=error, traceback="")
            return [outcome] if self._store.settle([bare]) else []
        except Exception:
            logger.exception("The outcome was refused without its texts as well")
            return None

    def _try_refused(self) -> None:
        self._tried = clock.monotonic()
        refused, self._refused = self._refused, []
        for outcome in refused:
            written = self._write_bare(outcome)
            if written is None:
                self._refused.append(outcome)
            else:
                self._announce(written)

    def _give_up(self, items: list[Any]) -> None:
        """Leave rows as they are, for other schedulers to find as orphans."""
        for item in items:
            if isinstance(item, Outcome):
                logger.error(
                    "Gave up writing the outcome %r of job %s, run time %s, as this "
                    "scheduler ends; its run counts as lost with it",
                    item.status,
                    item.run.job.id,
                    item.run_time,
                )
                self._store.forget(item.run)
