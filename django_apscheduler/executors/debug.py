"""The executor that runs bodies in the scheduler's own thread."""

from __future__ import annotations

from django_apscheduler.executors.base import BaseExecutor
from django_apscheduler.jobstores.base import Run


class DebugExecutor(BaseExecutor):
    """
    Runs each body at once, where it is submitted, instead of in a pool.

    Plugin alias: ``debug``
    """

    # Runs end before the next one is submitted, so any number fits into one claim.
    max_workers = 100
    looks_ahead = False
    encloses = True

    def submit(self, run: Run) -> None:
        self.work(run)
