"""Executors that run bodies in a pool of threads or of processes."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import pickle
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import ProcessPoolExecutor as Pool
from concurrent.futures.process import BrokenProcessPool
from datetime import datetime
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue
from traceback import format_exception
from typing import Any

from django_apscheduler import clock
from django_apscheduler.executors import base
from django_apscheduler.executors.base import BaseExecutor, CurrentRun, failed, run_job
from django_apscheduler.executors.logs import mark_log_records
from django_apscheduler.jobstores.base import (
    ERROR,
    EXECUTED,
    Outcome,
    Run,
    RunTakenOver,
)
from django_apscheduler.util import ref_to_obj


def _valid_workers(value: Any) -> int:
    try:
        workers = int(value)
    except (TypeError, ValueError):
        workers = 0
    if workers < 1 or isinstance(value, bool):
        raise ValueError(
            f"max_workers must be a whole number greater than 0; got {value!r}"
        )
    return workers


class ThreadPoolExecutor(BaseExecutor):
    """
    Runs bodies in a pool of threads.

    Plugin alias: ``threadpool``

    :param max_workers: the largest number of threads
    :param pool_kwargs: as for `concurrent.futures.ThreadPoolExecutor`:
        ``thread_name_prefix``, ``initializer`` and ``initargs``
    """

    def __init__(self, max_workers: int = 10, pool_kwargs: dict | None = None):
        self.max_workers = _valid_workers(max_workers)
        options = dict(pool_kwargs or {})
        self._thread_name_prefix = options.pop("thread_name_prefix", None)
        self._initializer: Callable | None = options.pop("initializer", None)
        self._initargs: tuple = options.pop("initargs", ())
        if options:
            raise TypeError(
                "pool_kwargs may have thread_name_prefix, initializer and initargs; "
                f"got {', '.join(sorted(options))}"
            )
        super().__init__()

    encloses = True

    # The threads are ours rather than those of concurrent.futures because a Future for
    # each run costs more than everything else that the engine does for it.

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
            target=self._work, name=f"{prefix}_{len(self._threads)}", daemon=True
        )
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        if self._initializer is not None:
            self._initializer(*self._initargs)
        take = self._queue.get
        while (run := take()) is not None:
            try:
                self.finished(run, run_job(run) if self.begin(run) else [])
            except Exception:
                # Whatever fails here, a worker less would mean a slot less for ever.
                self._logger.exception("Job %s: its outcome was not told", run.job.id)
            # Nothing of the last run may live on while the thread waits.
            del run

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


def _shut_down(reference: weakref.ref[ThreadPoolExecutor]) -> None:
    executor = reference()
    if executor is not None:
        executor.shutdown()


#: References (``module:callable``) of what each process of a pool calls at its start.
child_initializers: list[str] = []

#: What a process answers instead of a status when the run is another scheduler's.
TAKEN_OVER = "taken over"


def _start_child(
    references: tuple[str, ...],
    path: list[str],
    pipe: Connection,
    initializer: Callable | None,
    initargs: tuple,
) -> None:
    """Make a new process of the pool ready for bodies."""
    threading.Thread(target=_end_with_parent, args=(pipe,), daemon=True).start()
    sys.path[:] = path
    mark_log_records()
    for reference in references:
        ref_to_obj(reference)()
    if initializer is not None:
        initializer(*initargs)


def _end_with_parent(pipe: Connection) -> None:
    # Only the parent holds the other end. Its death, kill -9 included, closes it; an
    # orphan would go on with a run that another scheduler has taken over.
    try:
        pipe.recv()
    except (EOFError, OSError):
        pass
    os._exit(1)


def _run_in_child(
    func: Callable | str,
    args: tuple,
    kwargs: dict,
    current: CurrentRun,
    enclose: Any,
    index: int,
) -> tuple[str, datetime, datetime, Any, str]:
    """Run one body in a process of the pool; return status, times, value or error."""
    token = base._current_in_child.set(current)
    started = clock.now()
    try:
        body: Callable = ref_to_obj(func) if isinstance(func, str) else func
        for hook in base._before_run:
            hook()
        if enclose is None:
            result: Any = base.call_body(body, args, kwargs)
        else:
            result = base.call_enclosed(enclose, index, started, body, args, kwargs)
        status, text = EXECUTED, ""
    except RunTakenOver:
        status, result, text = TAKEN_OVER, None, ""
    except BaseException as error:  # noqa: BLE001 (SystemExit must not end the process)
        status, text = ERROR, "".join(format_exception(error))
        result = _portable(error)
    finally:
        base._current_in_child.reset(token)
        for hook in base._after_run:
            base._call_quietly(hook)
    if status == EXECUTED:
        result = _portable_value(result)
    return status, started, clock.now(), result, text


def _portable(error: BaseException) -> BaseException:
    """Return ``error``, or what says the same, if it cannot travel between processes."""
    error = error.with_traceback(None)
    error.__cause__ = error.__context__ = None
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__qualname__}: {error}")
    return error


def _portable_value(value: Any) -> Any:
    try:
        pickle.dumps(value)
    except Exception:
        return repr(value)
    return value


class ProcessPoolExecutor(BaseExecutor):
    """
    Runs bodies in a pool of processes, for work that keeps a processor busy.

    The processes are spawned, not forked: threads, locks and database connections do
    not survive a fork. They end within a second of their parent, even a killed one.
    The callable must be importable by name, and its arguments and exceptions pickle.

    Plugin alias: ``processpool``

    :param max_workers: the largest number of processes
    :param pool_kwargs: as for `concurrent.futures.ProcessPoolExecutor`:
        ``mp_context``, ``initializer``, ``initargs`` and ``max_tasks_per_child``
    """

    # A run that waits in the pool's queue counts as begun, so none may wait there.
    looks_ahead = False
    encloses = True

    def __init__(self, max_workers: int = 10, pool_kwargs: dict | None = None):
        self.max_workers = _valid_workers(max_workers)
        self._pool_kwargs = dict(pool_kwargs or {})
        self._pool: Pool | None = None
        self._pool_lock = threading.Lock()
        super().__init__()

    def start(self, scheduler: Any, alias: str) -> None:
        super().start(scheduler, alias)
        self._open = True
        self._pool = None

    def _get_pool(self) -> Pool:
        """Return the pool, made when the first run needs it or after it broke."""
        with self._pool_lock:
            if not self._open:
                raise RuntimeError(f"executor {self._alias!r} has been shut down")
            if self._pool is None:
                self._pool = self._make_pool()
            return self._pool

    def _make_pool(self) -> Pool:
        options = dict(self._pool_kwargs)
        context = options.pop("mp_context", None)
        if context is None or isinstance(context, str):
            context = multiprocessing.get_context(context or "spawn")
        # The reading end goes to the children; the writing end is never written to,
        # only kept for as long as the pool.
        reader, writer = context.Pipe(duplex=False)
        initargs = (
            tuple(child_initializers),
            list(sys.path),
            reader,
            options.pop("initializer", None),
            options.pop("initargs", ()),
        )
        pool = Pool(
            self.max_workers, context, _start_child, initargs=initargs, **options
        )
        pool.lifeline = writer  # type: ignore[attr-defined]
        return pool

    def submit(self, run: Run) -> None:
        if not self.begin(run):
            self.finished(run, [])
            return
        self._submit_next(run, [])

    def _submit_next(self, run: Run, outcomes: list[Outcome]) -> None:
        """Send the next run time of ``run`` to the pool, or report when all are done."""
        index = len(outcomes)
        if index == len(run.run_times):
            self.finished(run, outcomes)
            return
        job = run.job
        func = job.func_ref or job.func
        ids = run.execution_ids
        current = CurrentRun(
            job.id, run.run_times[index], run.attempt, ids[index] if ids else None
        )
        # concurrent.futures pickles on a thread of its own, and what fails there can
        # wedge the pool; fail here, where the run can be told.
        pickle.dumps((func, job.args, job.kwargs))
        call = (func, job.stored_args, job.kwargs, current, run.enclose, index)
        pool = self._get_pool()
        try:
            future = pool.submit(_run_in_child, *call)
        except BrokenProcessPool:
            # Broken by an earlier run and not used since.
            self._discard(pool)
            pool = self._get_pool()
            future = pool.submit(_run_in_child, *call)
        future.add_done_callback(lambda done: self._one_done(done, pool, run, outcomes))

    def _one_done(
        self, future: Future, pool: Pool, run: Run, outcomes: list[Outcome]
    ) -> None:
        index = len(outcomes)
        try:
            status, started, finished, result, text = future.result()
        except BaseException as error:  # noqa: BLE001
            if isinstance(error, BrokenProcessPool):
                self._discard(pool)
                error = BrokenProcessPool(
                    "the process that ran the job ended abruptly (killed, out of "
                    "memory, or a crash in native code)"
                )
            outcomes.append(
                failed(
                    run,
                    index,
                    error,
                    started_time=run.started_time,
                    finished_time=clock.now(),
                )
            )
        else:
            if status == TAKEN_OVER:
                base.tell_taken_over(run, index)
                self.finished(run, outcomes)
                return
            outcome = Outcome(run, index, status, started, finished)
            if status == EXECUTED:
                outcome.retval = result
                outcome.settled = run.enclose is not None
            else:
                outcome.exception, outcome.traceback = result, text
            outcomes.append(outcome)
        try:
            self._submit_next(run, outcomes)
        except BaseException as error:  # noqa: BLE001
            rest = range(len(outcomes), len(run.run_times))
            outcomes.extend(failed(run, i, error) for i in rest)
            self.finished(run, outcomes)

    def _discard(self, pool: Pool) -> None:
        # A broken pool ends its processes by itself. Shutting it down from here would
        # wait for a lock that its own thread holds while it tells of the breakage.
        with self._pool_lock:
            if self._pool is pool:
                self._logger.warning("The process pool broke and is made anew")
                self._pool = None

    def shutdown(self, wait: bool = True) -> None:
        if wait:
            # A run of several run times comes back to submit its next one.
            self.wait_until_idle()
        with self._pool_lock:
            self._open = False
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=wait)
