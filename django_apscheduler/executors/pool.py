"""Executors that run bodies in a pool of threads or of processes."""

from __future__ import annotations

import atexit
import multiprocessing
import threading
import weakref
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from django_apscheduler import clock
from django_apscheduler.executors import base
from django_apscheduler.executors.base import (
    BaseExecutor,
    failed,
    failed_throughout,
    valid_workers,
)
from django_apscheduler.executors.children import (
    LATE,
    TAKEN_OVER,
    Child,
    outcome_of,
)
from django_apscheduler.jobstores.base import CANCELLED, Outcome, Run


class _Pool(BaseExecutor):
    """
    Threads that take runs from a queue.

    They are ours rather than those of concurrent.futures because a Future for each run
    costs more than everything else that the engine does for it.
    """

    encloses = waits_for_time = True
    #: Whether the process, when it ends, waits for bodies that are running.
    waits_at_exit = True
    _thread_name_prefix: str | None = None

    def _reset(self) -> None:
        super()._reset()
        self._queue: SimpleQueue[Run | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._open = True
        # Threads are daemons so that a forgotten scheduler does not keep the process
        # alive for ever; bodies that are running are still waited for at exit.
        atexit.register(_shut_down, weakref.ref(self))

    def submit(self, run: Run) -> None:
        if not self._open:
            raise RuntimeError(f"executor {self._alias!r} has been shut down")
        threads = len(self._threads)
        if threads < self.max_workers and len(self._runs) > threads:
            self._add_thread()
        self._queue.put(run)

    def _add_thread(self) -> None:
        prefix = self._thread_name_prefix or f"apscheduler-{self._alias}"
        thread = threading.Thread(
            target=self._serve, name=f"{prefix}_{len(self._threads)}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:
            if not self._threads:
                raise
            # The system gives no more for now; the next run asks again.
            self._logger.warning(
                "Executor %s has to do with %d threads: %s",
                self._alias,
                len(self._threads),
                error,
            )
        else:
            self._threads.append(thread)

    def _serve(self) -> None:
        """Take runs until told to end; in a thread of the pool."""
        raise NotImplementedError

    def take_back(self) -> list[Run]:
        runs, stops = [], 0
        while True:
            try:
                run = self._queue.get_nowait()
            except Empty:
                break
            if run is None:
                stops += 1
            else:
                runs.append(run)
        for _ in range(stops):
            # The threads still have to end.
            self._queue.put(None)
        self._took_back(runs)
        return runs

    def shutdown(self, wait: bool = True) -> None:
        self._open = False
        for _ in self._threads:
            self._queue.put(None)
        if wait:
            for thread in self._threads:
                if thread is not threading.current_thread():
                    thread.join()


def _shut_down(reference: weakref.ref[_Pool]) -> None:
    executor = reference()
    if executor is not None and executor.waits_at_exit:
        executor.shutdown()


class ThreadPoolExecutor(_Pool):
    """
    Runs bodies in a pool of threads.

    Plugin alias: ``threadpool``

    :param max_workers: the largest number of threads
    :param pool_kwargs: as for `concurrent.futures.ThreadPoolExecutor`:
        ``thread_name_prefix``, ``initializer`` and ``initargs``
    """

    def __init__(self, max_workers: int = 10, pool_kwargs: dict | None = None):
        self.max_workers = valid_workers(max_workers)
        options = dict(pool_kwargs or {})
        self._thread_name_prefix = options.pop("thread_name_prefix", None)
        self._initializer: Callable | None = options.pop("initializer", None)
        self._initargs: tuple = options.pop("initargs", ())
        _refuse("thread_name_prefix, initializer and initargs", options)
        super().__init__()

    def _serve(self) -> None:
        ready = self._initializer is None
        take = self._queue.get
        while (run := take()) is not None:
            try:
                ready = ready or self._initialize(run)
                if ready:
                    self.work(run)
            except Exception:
                # Whatever fails here, a worker less would mean a slot less for ever.
                self._logger.exception("Job %s: its outcome was not told", run.job.id)
            # Nothing of the last run may live on while the thread waits.
            del run

    def _initialize(self, run: Run) -> bool:
        """Get this thread ready for its first run, which fails where that does."""
        assert self._initializer is not None
        try:
            self._initializer(*self._initargs)
        except BaseException as error:  # noqa: BLE001 (the thread must serve the next)
            self._logger.error("No thread for job %s: %s", run.job.id, error)
            self.finished(run, failed_throughout(run, error))
            return False
        return True


def _refuse(known: str, options: dict[str, Any]) -> None:
    if options:
        raise TypeError(
            f"pool_kwargs may have {known}; got {', '.join(sorted(options))}"
        )


class ProcessPoolExecutor(_Pool):
    """
    Runs bodies in a pool of processes, for work that keeps a processor busy.

    The processes are spawned, not forked: threads, locks and database connections do
    not survive a fork. They end within a second of their parent, even a killed one.
    The callable must be importable by name, and its arguments and exceptions pickle.
    A process that dies fails the run it had, and is replaced.

    Plugin alias: ``processpool``

    :param max_workers: the largest number of processes
    :param pool_kwargs: as for `concurrent.futures.ProcessPoolExecutor`:
        ``mp_context``, ``initializer``, ``initargs`` and ``max_tasks_per_child``
    """

    # Processes are for slow bodies: a run is better off with a scheduler that is idle.
    looks_ahead = False

    def __init__(self, max_workers: int = 10, pool_kwargs: dict | None = None):
        self.max_workers = valid_workers(max_workers)
        options = dict(pool_kwargs or {})
        context = options.pop("mp_context", None)
        if context is None or isinstance(context, str):
            context = multiprocessing.get_context(context or "spawn")
        initializer = options.pop("initializer", None)
        self._most_calls: int | None = options.pop("max_tasks_per_child", None)
        # A thread for each process, which waits for it: so one that ends, or is ended,
        # concerns the one run that it had.
        self._make_child = partial(
            Child, context, initializer, options.pop("initargs", ())
        )
        _refuse("mp_context, initializer, initargs and max_tasks_per_child", options)
        super().__init__()

    def _reset(self) -> None:
        super()._reset()
        self._children: dict[Run, Child] = {}

    def _serve(self) -> None:
        child: Child | None = None
        while (run := self._queue.get()) is not None:
            try:
                child = self._run(run, child)
            except Exception:
                self._logger.exception("Job %s: its outcome was not told", run.job.id)
                child = None
            del run
        if child is not None:
            child.close()

    def _run(self, run: Run, child: Child | None) -> Child | None:
        """Have ``child`` run a run's bodies; return the process for the next one."""
        try:
            self._children[run] = self._ready(child)
        except Exception as error:
            self._logger.error("No process for job %s: %s", run.job.id, error)
            self.finished(run, failed_throughout(run, error))
            return None
        try:
            self.work(run, self._call)
        finally:
            child = self._keep(self._children.pop(run))
        return child

    def _ready(self, child: Child | None) -> Child:
        """Return a process that waits for work; before, so that its start costs no lease."""
        child = None if child is None else self._keep(child)
        return self._make_child() if child is None else child

    def _keep(self, child: Child) -> Child | None:
        """Return the process if it may run another body, else end it."""
        if child.spent or (self._most_calls and child.calls >= self._most_calls):
            child.close()
            return None
        return child

    def _call(self, run: Run, index: int) -> Outcome | None:
        """Run a body in the process that waits for it."""
        started = clock.now()
        try:
            child = self._children[run] = self._ready(self._children[run])
            answer = child.call(run, index)
            while answer is not None and answer.status == LATE:
                if not self.begin(run):
                    return None
                answer = child.call(run, index)
        except BaseException as error:  # noqa: BLE001
            if index in run.cancelled and isinstance(error, BrokenProcessPool):
                return Outcome(run, index, CANCELLED, started, clock.now())
            return failed(
                run, index, error, started_time=started, finished_time=clock.now()
            )
        if answer is None:
            self._tell_cancelled(run, index)
            return None
        if answer.status == TAKEN_OVER:
            base.tell_taken_over(run, index)
            return None
        return outcome_of(run, index, answer)

    def interrupt(self, run: Run, index: int) -> None:
        child = self._children.get(run)
        if child is not None:
            child.interrupt(run, index)
