"""The scheduler of processes that only change what other processes run."""

from __future__ import annotations

import os
from typing import Any

from django_apscheduler.schedulers import SchedulerNotRunningError
from django_apscheduler.schedulers.base import BaseScheduler


class RemoteScheduler(BaseScheduler):
    """
    Reads and writes the jobs of shared job stores, and runs nothing.

    What web processes and shells get from ``get_scheduler()``: jobs added, changed or
    removed here take effect in the schedulers that run on the same database.
    """

    def __init__(self, *args: Any, **options: Any):
        self._open_pid: int | None = None
        super().__init__(*args, **options)

    def _opens_stores(self) -> bool:
        with self._lock:
            # A fork must not use what its parent opened.
            if self._open_pid != os.getpid():
                if "default" not in self._executors:
                    self.add_executor(self._create_default_executor(), "default")
                for alias, store in self._jobstores.items():
                    store.start(self, alias)
                self._open_pid = os.getpid()
        return True

    def start(self, paused: bool = False) -> None:
        raise RuntimeError(
            "this scheduler only changes jobs; they are run by "
            "`manage.py runapscheduler`, or by a BackgroundScheduler of your own"
        )

    def shutdown(self, wait: bool = True) -> None:
        raise SchedulerNotRunningError

    def wakeup(self) -> None:
        """Do nothing: the stores tell the schedulers that run."""
