"""What executors have in common that await bodies on an event loop."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from django_apscheduler import clock
from django_apscheduler.executors.base import await_body, failed, failed_throughout
from django_apscheduler.executors.bounded import BoundedExecutor
from django_apscheduler.jobstores.base import Outcome, Run
from django_apscheduler.util import iscoroutinefunction


class LoopExecutor(BoundedExecutor):
    """
    Awaits bodies on an event loop; plain functions run in threads beside it.

    Both kinds share ``max_workers``. A subclass says how its loop is spoken to:
    `_call_soon`, `_spawn`, `_in_thread`, `_queue`, `_sleep`, and what `_awaits` of its
    framework's own kinds of functions.
    """

    waits_for_time = True

    def _reset(self) -> None:
        super()._reset()
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
        Begin a coroutine on the loop; as a task of asyncio's, with `_watch` on it.

        :return: an object whose ``cancel()`` ends it
        """

    @abstractmethod
    def _in_thread(self, func: Callable, *args: Any) -> Awaitable[Any]:
        """Call ``func`` in a thread that is never long in coming."""

    @abstractmethod
    def _sleep(self, seconds: float) -> Awaitable[Any]:
        """Return what a coroutine on the loop waits with for so many seconds."""

    @abstractmethod
    def _queue(self, func: Callable, *args: Any) -> None:
        """Call ``func`` in one of the threads for bodies, when there is one."""

    def _awaits(self, func: Callable) -> bool:
        """Tell whether a body belongs on the loop."""
        return iscoroutinefunction(func)

    def _start(self, run: Run) -> None:
        if self._awaits(run.job.func):
            self._start_soon(run)
            return
        self._queued[run] = None
        if not self._takes_next(run):
            self._queue(self._serve, run, self._work_queued)

    def _forget(self, run: Run) -> None:
        super()._forget(run)
        # Where no thread took it, it must not be taken back as well.
        self._queued.pop(run, None)

    # Plain functions.

    def _work_queued(self, run: Run) -> None:
        try:
            self._queued.pop(run)
        except KeyError:
            # Taken back meanwhile.
            return
        self.work(run)

    def take_back(self) -> list[Run]:
        waiting, runs = self._take_waiting(), []
        while self._queued:
            try:
                runs.append(self._queued.popitem()[0])
            except KeyError:
                break
        with self._count_lock:
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

    def _watch(self, run: Run, task: Any) -> None:
        """Note a task of asyncio's, which can be cancelled before its first step."""
        if run.index < 0:
            # Only until that step, for a callback costs a turn of the loop.
            task.add_done_callback(self._never_began)

    def _never_began(self, task: Any) -> None:
        for run, own in tuple(self._tasks.items()):
            if own is task:
                del self._tasks[run]
                self._cut_off(run)

    def _cut_off(self, run: Run) -> None:
        error = RuntimeError("the scheduler was shut down before the body began")
        self.finished(run, failed_throughout(run, error))

    async def _run(self, run: Run) -> None:
        task = self._tasks[run]
        if task is not None:
            task.remove_done_callback(self._never_began)
        outcomes: list[Outcome] = []
        last = len(run.run_times) - 1
        try:
            if run.early:
                await self._sleep(max(0.0, run.ahead(clock.now())))
            for index in range(last + 1):
                run.index = index
                if index not in run.cancelled and not (
                    run.execution_ids is None or await self._begin(run)
                ):
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
        self._tasks.pop(run, None)
        self.finished(run, outcomes)

    async def _begin(self, run: Run) -> bool:
        """Await `begin`, in a thread, for a store may have to ask its database."""
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
        for run in self._take_waiting():
            self._cut_off(run)
        for task in tuple(self._tasks.values()):
            if task is not None:
                task.cancel()
