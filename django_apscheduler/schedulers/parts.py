"""A scheduler's executors and job stores: adding, removing, starting and stopping."""

from __future__ import annotations

from typing import Any

from django_apscheduler.events import (
    EVENT_EXECUTOR_ADDED,
    EVENT_EXECUTOR_REMOVED,
    EVENT_JOBSTORE_ADDED,
    EVENT_JOBSTORE_REMOVED,
    SchedulerEvent,
)
from django_apscheduler.executors.pool import ThreadPoolExecutor
from django_apscheduler.jobstores.base import BaseJobStore
from django_apscheduler.jobstores.memory import MemoryJobStore
from django_apscheduler.schedulers import STATE_STOPPED, configuration
from django_apscheduler.schedulers.plugins import make_plugin
from django_apscheduler.schedulers.settling import Settler
from django_apscheduler.schedulers.state import SchedulerState


class PartMethods(SchedulerState):
    """The methods of a scheduler that concern its executors and job stores."""

    def add_executor(
        self, executor: Any, alias: str = "default", **options: Any
    ) -> None:
        """
        Add an executor, an instance or a plugin alias with its options.

        :raises ValueError: when the alias is taken
        """
        with self._parts_lock:
            executor = self._make_part(
                "executors", self._executors, executor, alias, options
            )
            if self.state != STATE_STOPPED:
                executor.start(self, alias)
            self._executors[alias] = executor
        self._dispatch_event(SchedulerEvent(EVENT_EXECUTOR_ADDED, alias))
        if self.state != STATE_STOPPED:
            self.wakeup()

    def remove_executor(self, alias: str, shutdown: bool = True) -> None:
        """
        Remove an executor.

        :param shutdown: whether to shut it down, which waits for its running bodies
        :raises KeyError: when there is none by that alias
        """
        with self._parts_lock:
            executor = self._lookup_executor(alias)
            del self._executors[alias]
        if shutdown:
            executor.shutdown()
        self._dispatch_event(SchedulerEvent(EVENT_EXECUTOR_REMOVED, alias))

    def add_jobstore(
        self, jobstore: Any, alias: str = "default", **options: Any
    ) -> None:
        """
        Add a job store, an instance or a plugin alias with its options.

        :raises ValueError: when the alias is taken
        """
        with self._parts_lock:
            store = self._make_part(
                "jobstores", self._jobstores, jobstore, alias, options
            )
            running = self.state != STATE_STOPPED
            if running:
                self._check_off_loop(store, "add_jobstore")
                self._start_store(alias, store)
            self._jobstores[alias] = store
            if running:
                self._add_pending_jobs()
        self._dispatch_event(SchedulerEvent(EVENT_JOBSTORE_ADDED, alias))
        if self.state != STATE_STOPPED:
            self.wakeup()

    def remove_jobstore(self, alias: str, shutdown: bool = True) -> None:
        """
        Remove a job store.

        :param shutdown: whether to shut it down as well
        :raises KeyError: when there is none by that alias
        """
        store = self._lookup_jobstore(alias)
        if self.state != STATE_STOPPED:
            # It waits for the tick under way, too.
            self._check_off_loop(store, "remove_jobstore")
        with self._tick_lock, self._parts_lock:
            store = self._lookup_jobstore(alias)
            if shutdown:
                self._stop_store(alias, store)
            del self._jobstores[alias]
        self._dispatch_event(SchedulerEvent(EVENT_JOBSTORE_REMOVED, alias))

    def _make_part(
        self, kind: str, parts: dict[str, Any], part: Any, alias: str, options: dict
    ) -> Any:
        name = {"executors": "executor", "jobstores": "job store"}[kind]
        if alias in parts:
            raise ValueError(
                f'This scheduler already has the {name} "{alias}"; '
                "remove that one first or choose another alias"
            )
        if isinstance(part, str):
            part = make_plugin(kind, part, options)
        else:
            part = configuration.make_component(kind, alias, part)
        return part

    def _start_store(self, alias: str, store: BaseJobStore) -> None:
        if store.shared:
            store.start(self, alias, run=True)  # type: ignore[call-arg]
        else:
            store.start(self, alias)
        if getattr(store, "logs", False):
            settler = Settler(store, alias, self._tell)
            self._settlers[alias] = settler
            settler.start()

    def _stop_store(self, alias: str, store: BaseJobStore) -> None:
        settler = self._settlers.pop(alias, None)
        if settler is not None:
            settler.stop()
        store.shutdown()

    def _lookup_executor(self, alias: str) -> Any:
        try:
            return self._executors[alias]
        except KeyError:
            raise KeyError(f"No such executor: {alias}") from None

    def _lookup_jobstore(self, alias: str) -> Any:
        try:
            return self._jobstores[alias]
        except KeyError:
            raise KeyError(f"No such job store: {alias}") from None

    def _create_default_executor(self) -> Any:
        return ThreadPoolExecutor()

    def _create_default_jobstore(self) -> Any:
        return MemoryJobStore()
