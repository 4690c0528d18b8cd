"""A scheduler's tick: claim what is due, submit it, and tell how it ended."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from django_apscheduler import clock
from django_apscheduler.events import (
    EVENT_JOB_BROKEN,
    EVENT_JOB_CANCELLED,
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_LOST,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    EVENT_JOB_REMOVED,
    EVENT_JOB_SUBMITTED,
    JobEvent,
    JobExecutionEvent,
    JobSubmissionEvent,
)
from django_apscheduler.executors.base import BaseExecutor, failed_throughout
from django_apscheduler.jobstores.base import (
    CANCELLED,
    ERROR,
    EXECUTED,
    LOST,
    MISSED,
    BaseJobStore,
    Batch,
    Outcome,
    Run,
)
from django_apscheduler.planning import MAX_INSTANCES
from django_apscheduler.schedulers import STATE_RUNNING, STATE_STOPPED
from django_apscheduler.schedulers.settling import BACKLOG_LIMIT
from django_apscheduler.schedulers.state import SchedulerState

#: Seconds until a tick looks again when something is due but an executor is full; a run
#: that ends wakes the scheduler sooner.
STARVED_SECONDS = 0.05
#: Seconds until a tick looks again when a store has something due that nobody here may
#: run.
NOT_OURS_SECONDS = 0.5

_OUTCOME_EVENTS = {
    EXECUTED: EVENT_JOB_EXECUTED,
    ERROR: EVENT_JOB_ERROR,
    MISSED: EVENT_JOB_MISSED,
    LOST: EVENT_JOB_LOST,
    CANCELLED: EVENT_JOB_CANCELLED,
}


def _last_run_time(run: Run) -> datetime:
    return run.run_times[-1]


class TickMethods(SchedulerState):
    """The methods of a scheduler that claim, submit and report runs."""

    def process_jobs(self) -> float | None:
        """
        Claim and submit what is due; one turn of the scheduler's loop.

        :return: seconds until the next turn, None to wait until woken
        """
        wait: float | None = None
        with self._tick_lock:
            if self._forked():
                return None
            if self.state != STATE_RUNNING or self._draining:
                for store in tuple(self._jobstores.values()):
                    store.turned()
                self.turns += 1
                return None
            # Set first: a run that ends from here on, after the free slots have been
            # counted, must wake the loop.
            self._starved = True
            starved = False
            for alias, store in tuple(self._jobstores.items()):
                seconds, full = self._process_store(alias, store)
                starved = starved or full
                if seconds is not None and (wait is None or seconds < wait):
                    wait = seconds
            self._starved = starved
            self.turns += 1
        return wait

    def _process_store(
        self, alias: str, store: BaseJobStore
    ) -> tuple[float | None, bool]:
        """Return the seconds until the store's next turn and whether room ran out."""
        rest = self._retry_times.get(alias, 0.0) - clock.monotonic()
        if rest > 0:
            # To ask it again may take long, and what woke the loop concerns another.
            return rest, False
        settler = self._settlers.get(alias)
        if settler is not None and settler.backlog > BACKLOG_LIMIT:
            return STARVED_SECONDS, True
        free = {}
        for executor_alias, executor in tuple(self._executors.items()):
            slots = self._free_slots(executor)
            if slots > 0:
                free[executor_alias] = slots
        try:
            batch = store.claim_due(free)
        except Exception:
            self._failures[alias] = failures = self._failures.get(alias, 0) + 1
            pause = min(self.jobstore_retry_interval, 0.05 * 2**failures)
            self._retry_times[alias] = clock.monotonic() + pause
            self._logger.exception(
                'Error getting due jobs from job store "%s"; trying again in %.1f s',
                alias,
                pause,
            )
            return pause, False
        self._failures.pop(alias, None)
        self._retry_times.pop(alias, None)
        for run in batch.runs:
            free[run.job.executor] -= 1
        full = len(free) < len(self._executors) or not all(free.values())
        began = clock.monotonic()
        self._submit(alias, batch)
        seconds = self._seconds_until(batch, full)
        if seconds is not None:
            # To wait for the runs' time may have taken as long as the lead.
            seconds = max(0.0, seconds - (clock.monotonic() - began))
        return seconds, full

    @staticmethod
    def _seconds_until(batch: Batch, full: bool) -> float | None:
        if batch.next_run_time is None:
            return None
        now = batch.now or clock.now()
        seconds = (batch.next_run_time - now).total_seconds()
        if seconds > 0 or batch.runs or batch.skipped:
            return max(0.0, seconds)
        return STARVED_SECONDS if full else NOT_OURS_SECONDS

    @staticmethod
    def _free_slots(executor: Any) -> int:
        # An executor not derived from ours tells no slots and has a queue of its own.
        free_slots = getattr(executor, "free_slots", None)
        return free_slots() if free_slots is not None else 1000

    def _submit(self, alias: str, batch: Batch) -> None:
        for lost in batch.lost:
            self._logger.error(
                "Job %s: its run of %s was lost: %s",
                lost.job_id,
                lost.run_time,
                lost.reason,
            )
            self._dispatch_event(
                JobExecutionEvent(
                    EVENT_JOB_LOST,
                    lost.job_id,
                    alias,
                    lost.run_time,
                    execution_id=lost.execution_id,
                )
            )
        code = EVENT_JOB_CANCELLED
        for job_id, run_time, execution_id in batch.cancelled:
            self._dispatch_event(
                JobExecutionEvent(
                    code, job_id, alias, run_time, execution_id=execution_id
                )
            )
        for job_id, _ in batch.broken:
            self._dispatch_event(JobEvent(EVENT_JOB_BROKEN, job_id, alias))
        for job, skipped in batch.skipped:
            self._tell_skipped(alias, job, skipped)
        tell = self._wants(EVENT_JOB_SUBMITTED)
        shared, late = self._jobstores[alias].shared, []
        present = clock.now() + batch.offset
        for run in sorted(batch.runs, key=_last_run_time):
            if run.run_times[-1] > present:
                present = clock.now() + batch.offset
                self._wait_for_time(run, run.ahead(present))
            executor = self._executors.get(run.job.executor)
            if shared and (self._has_ended() or executor is None):
                # Shut down meanwhile without waiting, or this executor was removed.
                late.append(run)
                continue
            if tell:
                self._dispatch_event(
                    JobSubmissionEvent(
                        EVENT_JOB_SUBMITTED, run.job.id, alias, run.run_times
                    )
                )
            self._hand_over(run, executor)
        if late:
            self._release(alias, late)
        for job in batch.removed:
            self._logger.info("Job %s has ended and is removed", job.id)
            self._dispatch_event(JobEvent(EVENT_JOB_REMOVED, job.id, alias))

    def _wait_for_time(self, run: Run, ahead: float) -> None:
        """Let no body begin before its time, which is so many seconds ahead."""
        if ahead > 0:
            time.sleep(ahead)

    def _hand_over(self, run: Run, executor: Any) -> None:
        """Submit a claimed run; where that cannot be, it has failed, and no more."""
        try:
            if executor is None:
                raise LookupError(
                    f'executor "{run.job.executor}" was removed after the run was claimed'
                )
            executor.accept(run)
        except Exception as error:
            self._logger.exception("Job %s could not be submitted", run.job.id)
            self.run_finished(run, failed_throughout(run, error))

    def _has_ended(self) -> bool:
        """Tell whether the scheduler was shut down while it claimed."""
        return self.state == STATE_STOPPED

    def _release(self, alias: str, runs: list[Run]) -> None:
        """Give runs that will not begin here back to a store that others share."""
        try:
            self._jobstores[alias].release(runs)
        except Exception:
            # They are found as orphans when this process's lease runs out.
            self._logger.exception("%d runs were not handed back", len(runs))

    def _tell_skipped(self, alias: str, job: Any, skipped: Any) -> None:
        if skipped.status == MISSED:
            late = clock.now() - skipped.last
            self._logger.warning(
                "Job %s: its run of %s was missed by %s", job.id, skipped.last, late
            )
            for run_time in skipped.run_times or (skipped.last,):
                self._dispatch_event(
                    JobExecutionEvent(EVENT_JOB_MISSED, job.id, alias, run_time)
                )
        elif skipped.status == MAX_INSTANCES:
            self._logger.warning(
                "Job %s: its run of %s is skipped: maximum number of running instances "
                "reached (%d)",
                job.id,
                skipped.last,
                job.max_instances,
            )
            times = list(skipped.run_times) or [skipped.last]
            self._dispatch_event(
                JobSubmissionEvent(EVENT_JOB_MAX_INSTANCES, job.id, alias, times)
            )

    # What executors report.

    def run_begins(self, run: Run) -> bool:
        """Called by executors just before a body; False when it must not begin."""
        settler = self._settlers.get(run.jobstore)
        return True if settler is None else settler.began(run)

    def run_finished(self, run: Run, outcomes: list[Outcome]) -> None:
        """Called by executors when a run has ended."""
        settler = self._settlers.get(run.jobstore)
        if settler is not None:
            settler.finished(run, outcomes)
        else:
            store = self._jobstores.get(run.jobstore)
            self._tell(outcomes if store is None else store.settle(outcomes))

    def cancel_run(self, run: Run, index: int) -> None:
        """Called by stores when somebody wants a run time of ``run`` to end."""
        executor = self._executors.get(run.job.executor)
        if isinstance(executor, BaseExecutor):
            executor.cancel(run, index)

    def room_in_executor(self) -> None:
        """Called by executors when a run has ended and there is room for more."""
        if self._starved:
            self._starved = False
            self.wakeup()

    def _tell(self, outcomes: list[Outcome]) -> None:
        """Log and announce outcomes that have been settled."""
        for outcome in outcomes:
            job = outcome.run.job
            if outcome.status == ERROR:
                self._logger.error(
                    "Job %s: its run of %s raised an exception\n%s",
                    job.id,
                    outcome.run_time,
                    outcome.traceback,
                )
            code = _OUTCOME_EVENTS[outcome.status]
            if self._wants(code):
                self._dispatch_event(
                    JobExecutionEvent(
                        code,
                        job.id,
                        outcome.run.jobstore,
                        outcome.run_time,
                        outcome.retval,
                        outcome.exception,
                        outcome.traceback or None,
                        outcome.execution_id,
                    )
                )
