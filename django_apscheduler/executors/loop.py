"""What executors have in common that await bodies on an event loop."""

from __future__ import annotations

import contextlib
import threading
from abc import abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from django_apscheduler import clock
from django_apscheduler.executors.base import (
    BaseExecutor,
    await_body,
    failed,
    failed_throughout,
)
from django_apscheduler.jobstores.base import Outcome, Run
from django_apscheduler.util import iscoroutinefunction


class LoopExecutor(BaseExecutor):
    """
    Awaits bodies on an event loop; plain functions run in threads beside it.

    A subclass says how its loop is spoken to: `_call_soon`, `_spawn`, `_in_thread`,
    `_queue`, and what `_awaits` of its framework's own kinds of functions.
    """

    def _reset(self) -> None:
        super()._reset()
        self._turns = threading.Lock()
        #: Runs that wait for one of ``max_workers`` others to end, oldest first.
        self._waiting: deque[Run] = deque()
        #: Runs that have had their turn, on the loop or in threads.
        self._begun: set[Run] = set()
        #: Runs on the loop, and what cancels them.
        self._tasks: dict[Run, Any] = {}
        #: Those of them whose body is under way.
        self._awaiting: set[Run] = set()
        #: Runs that wait for a thread, oldest first.
        self._queued: dict[Run, None] = {}

    @abstractmethod
    def _call_soon(self, func: Callable, *args: Any) -> None:
        """Have the loop call ``func``, from any thread."""

    @abstractmethod
    def _spawn(self, run: Run, coroutine: Coroutine) -> Any:
        """
        Begin a coroutine on the loop, and have `_ended` called with its run at its end.

        :return: an object whose ``cancel()`` ends it
        """

    @abstractmethod
    def _in_thread(self, func: Callable, *args: Any) -> Awaitable[Any]:
        """Call ``func`` in a thread that is never long in coming."""

    @abstractmethod
    def _queue(self, func: Callable, *args: Any) -> None:
        """Call ``func`` in one of the threads for bodies, when there is one."""

    def _awaits(self, func: Callable) -> bool:
        """Tell whether a body belongs on the loop."""
        return iscoroutinefunction(func)

    # Turns: coroutines and plain functions share ``max_workers``.

    def submit(self, run: Run) -> None:
        with self._turns:
            self._waiting.append(run)
        self._start_waiting()

    def _start_waiting(self) -> None:
        while True:
            with self._turns:
                if not self._waiting or len(self._begun) >= self.max_workers:
                    return
                run = self._waiting.popleft()
                self._begun.add(run)
            try:
                self._start(run)
            except Exception as error:  # noqa: BLE001 (it may be another one's turn)
                self.finished(run, failed_throughout(run, error))

    def _start(self, run: Run) -> None:
        if self._awaits(run.job.func):
            self._start_soon(run)
        else:
            self._queued[run] = None
            self._queue(self._work_queued, run)

    def finished(self, run: Run, outcomes: list[Outcome]) -> None:
        try:
            super().finished(run, outcomes)
        finally:
            with self._turns:
                self._begun.discard(run)
            self._start_waiting()

    # Plain functions.

    def _work_queued(self, run: Run) -> None:
        try:
            self._queued.pop(run)
        except KeyError:
            # Taken back meanwhile.
            return
        self.work(run)

    def take_back(self) -> list[Run]:
        with self._turns:
            waiting = list(self._waiting)
            self._waiting.clear()
        runs = []
        while self._queued:
            try:
                runs.append(self._queued.popitem()[0])
            except KeyError:
                break
        with self._turns:
            self._begun.difference_update(runs)
        runs.reverse()
        runs += waiting
        self._took_back(runs)
        return runs

    # Coroutines.

    def _start_soon(self, run: Run) -> None:
        """Begin a run on the loop, from any thread."""
        self._call_soon(self._start_run, run)

    def _start_run(self, run: Run) -> None:
        # Loops keep only weak references to what they run, if any.
        self._tasks[run] = None
        task = self._spawn(run, self._run(run))
        if run in self._tasks:
            self._tasks[run] = task

    def _ended(self, run: Run) -> None:
        self._tasks.pop(run, None)
        if run in self._runs:
            # Cancelled before its first step.
            error = RuntimeError("the scheduler was shut down before the body began")
            self.finished(run, failed_throughout(run, error))

    async def _run(self, run: Run) -> None:
        outcomes: list[Outcome] = []
        last = len(run.run_times) - 1
        try:
            for index in range(last + 1):
                run.index = index
                if index not in run.cancelled and not await self._begin(run):
                    break
                if index in run.cancelled:
                    self._tell_cancelled(run, index)
                    continue
                outcomes.append(await self._await_body(run, index))
                if index < last:
                    self._scheduler.run_finished(run, [outcomes.pop()])
        except BaseException as error:  # noqa: BLE001 (cancelled before the body began)
            rest = range(max(run.index, 0), last + 1)
            outcomes = [failed(run, i, error) for i in rest if i not in run.told]
        self.finished(run, outcomes)

    async def _begin(self, run: Run) -> bool:
        """Await `begin`, in a thread where a store may have to ask its database."""
        if run.execution_ids is None:
            return True
        while await self._in_thread(self.begin, run):
            # Others may have held the loop for long before it came back to us.
            if clock.monotonic() < run.start_before:
                return True
        return False

    async def _await_body(self, run: Run, index: int) -> Outcome:
        self._awaiting.add(run)
        try:
            return await await_body(run, index, self._call, self._in_thread)
        finally:
            self._awaiting.discard(run)
            if index in run.cancelled:
                self._forget_cancel()

    def _call(self, run: Run, args: Any, kwargs: Any) -> Awaitable[Any]:
        """Call a body; return what to await for its value."""
        return run.job.func(*args, **kwargs)

    def _forget_cancel(self) -> None:
        """Have a cancelled body not count against the run times that follow."""

    # The end.

    def interrupt(self, run: Run, index: int) -> None:
        self._call_soon(self._cancel_body, run, index)

    def _cancel_body(self, run: Run, index: int) -> None:
        # A plain function runs in a thread, which only looks at the flag.
        if run in self._awaiting and run.index == index:
            self._tasks[run].cancel()

    def shutdown(self, wait: bool = True) -> None:
        if wait and self._may_wait():
            self._scheduler._await_idle(self)
        # A loop that was closed meanwhile has ended what it ran.
        with contextlib.suppress(RuntimeError):
            self._call_soon(self._cancel_all)

    def _may_wait(self) -> bool:
        """Tell whether the calling thread may wait for what runs on the loop."""
        return not self._scheduler._on_loop()

    def _cancel_all(self) -> None:
        with self._turns:
            waiting = list(self._waiting)
            self._waiting.clear()
        for run in waiting:
            error = RuntimeError("the scheduler was shut down before the body began")
            self.finished(run, failed_throughout(run, error))
        for task in tuple(self._tasks.values()):
            if task is not None:
                task.cancel()
