"""Tells on the console what the scheduler's events say."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import Any

from django_apscheduler import clock, events
from django_apscheduler.management.console import Console, duration, first_line

#: Runs whose start is remembered, so that their duration can be told. More than this
#: many at once are told without.
REMEMBERED_RUNS = 10_000


class Narrator:
    """
    A listener for all events of a scheduler.

    :ivar counts: how many runs ended in which way, by word
    """

    def __init__(self, console: Console):
        self.console = console
        self.counts: dict[str, int] = {}
        self._lock = threading.Lock()
        self._started: dict[tuple[str, Any], datetime] = {}
        self._tellers = {
            events.EVENT_JOB_SUBMITTED: self.submitted,
            events.EVENT_JOB_EXECUTED: self.executed,
            events.EVENT_JOB_ERROR: self.failed,
            events.EVENT_JOB_MISSED: self.missed,
            events.EVENT_JOB_MAX_INSTANCES: self.full,
            events.EVENT_JOB_LOST: self.lost,
            events.EVENT_JOB_CANCELLED: self.cancelled,
            events.EVENT_JOB_BROKEN: self.broken,
            events.EVENT_JOB_ADDED: self.edited("added"),
            events.EVENT_JOB_MODIFIED: self.edited("changed"),
            events.EVENT_JOB_REMOVED: self.edited("removed"),
            events.EVENT_ALL_JOBS_REMOVED: self.all_removed,
        }

    def __call__(self, event: Any) -> None:
        teller = self._tellers.get(event.code)
        if teller is not None:
            teller(event)

    def tell(
        self,
        word: str,
        event: Any,
        text: str = "",
        style: str = "",
        verbosity: int = 1,
    ) -> None:
        with self._lock:
            self.counts[word] = self.counts.get(word, 0) + 1
        if self.console.verbosity >= verbosity:
            self.console.event(clock.now(), word, event.job_id, text, style)

    def submitted(self, event: Any) -> None:
        now = clock.now()
        with self._lock:
            for run_time in event.scheduled_run_times:
                if len(self._started) < REMEMBERED_RUNS:
                    self._started[event.job_id, run_time] = now
        first = event.scheduled_run_times[0]
        late = (now - first).total_seconds()
        text = f"due {self._wall(first)}, {duration(late)} late" if late >= 1 else ""
        if len(event.scheduled_run_times) > 1:
            text = f"{len(event.scheduled_run_times)} runs, first {text or 'due now'}"
        self.tell("started", event, text, "quiet")

    def executed(self, event: Any) -> None:
        self.tell("finished", event, self._took(event), "good")

    def failed(self, event: Any) -> None:
        text = f"{self._took(event):<8}  {first_line(event.exception)}".strip()
        self.tell("failed", event, text, "bad", verbosity=0)

    def missed(self, event: Any) -> None:
        due = self._wall(event.scheduled_run_time)
        self.tell("missed", event, f"was due {due}", "doubtful", verbosity=0)

    def full(self, event: Any) -> None:
        due = self._wall(event.scheduled_run_times[0])
        text = f"run of {due}: as many runs as allowed are still going on"
        self.tell("skipped", event, text, "doubtful", verbosity=0)

    def lost(self, event: Any) -> None:
        due = self._wall(event.scheduled_run_time)
        text = f"run of {due}: its scheduler died"
        self.tell("lost", event, text, "bad", verbosity=0)

    def cancelled(self, event: Any) -> None:
        self.tell("cancelled", event, "", "doubtful")

    def broken(self, event: Any) -> None:
        text = first_line(getattr(event, "exception", None))
        self.tell("broken", event, text, "bad", verbosity=0)

    def edited(self, word: str) -> Any:
        return lambda event: self.tell(word, event, verbosity=2)

    def all_removed(self, event: Any) -> None:
        self.console.say("All jobs were removed")

    def _took(self, event: Any) -> str:
        started = getattr(event, "started_time", None)
        with self._lock:
            submitted = self._started.pop(
                (event.job_id, event.scheduled_run_time), None
            )
        started = started or submitted
        if started is None:
            return ""
        ended = getattr(event, "finished_time", None) or clock.now()
        return duration(max((ended - started).total_seconds(), 0))

    def _wall(self, value: datetime | None) -> str:
        if value is None:
            return "?"
        local = value.astimezone(self.console.zone)
        today = clock.now(self.console.zone).date()
        return f"{local:%H:%M:%S}" if local.date() == today else f"{local:%c}"
