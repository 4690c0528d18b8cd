"""What the parts of a scheduler's class know of each other."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from datetime import timedelta, tzinfo
from typing import TYPE_CHECKING, Any

from django_apscheduler.events import SchedulerEvent

if TYPE_CHECKING:
    from django_apscheduler.jobstores.base import BaseJobStore, Outcome
    from django_apscheduler.schedulers.settling import Settler


class SchedulerState(ABC):
    """
    The attributes of a scheduler, and the methods its parts call in each other.

    :ivar state: STATE_STOPPED, STATE_RUNNING or STATE_PAUSED
    :ivar jobstore_retry_interval: longest pause, in seconds, before a job store that
        failed is asked again
    :ivar turns: how often the loop has gone round, to tell a loop that hangs
    :cvar lead: how long before its run time a run is claimed, to begin in time
    """

    lead = timedelta(0)

    state: int
    turns: int
    jobstore_retry_interval: float
    _lock: threading.RLock
    _parts_lock: threading.RLock
    _tick_lock: threading.RLock
    _logger: logging.Logger
    _executors: dict[str, Any]
    _jobstores: dict[str, Any]
    _settlers: dict[str, Settler]
    _job_defaults: dict[str, Any]
    _pending_jobs: list
    _failures: dict[str, int]
    _retry_times: dict[str, float]
    _event_mask: int
    _starved: bool
    _draining: bool

    @property
    @abstractmethod
    def timezone(self) -> tzinfo:
        """The zone of triggers and naive times that name none."""

    @abstractmethod
    def wakeup(self) -> None:
        """Have the scheduler look for due jobs at once; safe from any thread."""

    @abstractmethod
    def _on_loop(self) -> bool:
        """Tell whether the calling thread runs an event loop, which must not wait."""

    @abstractmethod
    def _dispatch_event(self, event: SchedulerEvent) -> None: ...

    @abstractmethod
    def _wants(self, code: int) -> bool: ...

    @abstractmethod
    def _forked(self) -> bool: ...

    @abstractmethod
    def _is_fork(self) -> bool: ...

    @abstractmethod
    def _tell(self, outcomes: list[Outcome]) -> None: ...

    @abstractmethod
    def _lookup_jobstore(self, alias: str) -> Any: ...

    @abstractmethod
    def _add_pending_jobs(self) -> None: ...

    @abstractmethod
    def _check_off_loop(self, store: BaseJobStore, method: str) -> None: ...
