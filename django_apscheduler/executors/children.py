"""The processes of a pool: one `Child` in the parent, `serve` in the process itself."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from datetime import datetime
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from traceback import format_exception
from typing import Any, NamedTuple

from django_apscheduler import clock
from django_apscheduler.executors import base
from django_apscheduler.executors.base import CurrentRun, RunCancelled
from django_apscheduler.executors.logs import mark_log_records
from django_apscheduler.jobstores.base import (
    CANCELLED,
    ERROR,
    EXECUTED,
    Outcome,
    Run,
    RunTakenOver,
)
from django_apscheduler.patched import gevent_patched
from django_apscheduler.util import ref_to_obj

#: References (``module:callable``) of what each process of a pool calls at its start.
child_initializers: list[str] = []

#: Seconds that a cancelled body has to end before its process is killed.
KILL_SECONDS = 5.0
#: Seconds between looks whether a silent process is still there.
LOOK_SECONDS = 1.0

#: What a process answers instead of a status: the run is another scheduler's; the lease
#: may have run out on the way to the process, so that the body did not begin.
TAKEN_OVER = "taken over"
LATE = "late"


class Call(NamedTuple):
    """
    What a process needs to run a body.

    :ivar start_before: on `clock.elapsed`; the body must not begin afterwards
    """

    func: Callable | str
    args: tuple
    kwargs: dict
    current: CurrentRun
    enclose: Any = None
    position: int = 0
    start_before: float = float("inf")


class Answer(NamedTuple):
    """What became of a body: status, times, and value or error."""

    status: str
    started: datetime
    finished: datetime
    result: Any
    text: str


class Child:
    """
    A process of a pool, seen from the only thread that gives it work.

    :raises BrokenProcessPool: when the process cannot start, with what it said
    :ivar calls: bodies it has run
    :ivar spent: whether it must not be used any more
    """

    # With the fork method a process that starts between would inherit the ends of
    # another's pipe, and keep them from telling its death.
    _starting = threading.Lock()

    def __init__(
        self, context: BaseContext, initializer: Callable | None, initargs: tuple
    ):
        self.calls = 0
        self.spent = False
        self._lock = threading.Lock()
        self._current: tuple[Run, int] | None = None
        references = tuple(child_initializers)
        with self._starting:
            self._pipe, theirs = context.Pipe()
            if gevent_patched():
                # gevent makes sockets that do not wait, and these are made of such.
                os.set_blocking(self._pipe.fileno(), True)
                os.set_blocking(theirs.fileno(), True)
            self._process = context.Process(  # type: ignore[attr-defined]
                target=serve,
                args=(theirs, references, list(sys.path), initializer, initargs),
            )
            self._process.start()
            theirs.close()
        try:
            fault = self._receive()
        except BrokenProcessPool:
            fault = "it ended at once"
        if fault:
            self.close()
            raise BrokenProcessPool(f"a process of the pool could not start: {fault}")

    def call(self, run: Run, index: int) -> Answer | None:
        """
        Have the process run a body, and wait for it.

        :return: None when the run was cancelled before the body began
        :raises BrokenProcessPool: when the process has died
        :raises Exception: when the callable or its arguments do not pickle
        """
        message = pickle.dumps(self._make_call(run, index))
        with self._lock:
            if index in run.cancelled:
                return None
            self._current = (run, index)
            self.calls += 1
            try:
                self._pipe.send_bytes(message)
            except OSError:
                self.spent = True
                raise _died() from None
        try:
            return self._receive()
        finally:
            with self._lock:
                self._current = None

    @staticmethod
    def _make_call(run: Run, index: int) -> Call:
        job, ids = run.job, run.execution_ids
        current = CurrentRun(
            job.id, run.run_times[index], run.attempt, ids[index] if ids else None
        )
        # In this order: a pause between the two can only shorten what is left.
        until = clock.elapsed() + (run.start_before - clock.monotonic())
        return Call(
            job.func_ref or job.func,
            job.stored_args,
            job.kwargs,
            current,
            run.enclose,
            index,
            until,
        )

    def _receive(self) -> Any:
        try:
            # What the body has started may hold on to the other end of the pipe, so
            # that its closing does not tell of the death of the process.
            while not self._pipe.poll(LOOK_SECONDS):
                if not self._process.is_alive() and not self._pipe.poll(0):
                    raise EOFError
            message = self._pipe.recv_bytes()
        except (EOFError, OSError):
            self.spent = True
            raise _died() from None
        return pickle.loads(message)

    def interrupt(self, run: Run, index: int) -> None:
        """Have the body that runs end: SIGTERM, and SIGKILL some seconds later."""
        with self._lock:
            if self._current != (run, index):
                return
            # Whatever the body was doing when it was interrupted, the process may be
            # in a state that nobody foresaw.
            self.spent = True
            try:
                # Tells this signal from one that a supervisor sends to all processes.
                self._pipe.send_bytes(b"")
                self._process.terminate()
            except OSError:
                return
        killer = threading.Timer(KILL_SECONDS, self._kill, args=(run, index))
        killer.daemon = True
        killer.start()

    def _kill(self, run: Run, index: int) -> None:
        with self._lock:
            if self._current == (run, index):
                self._process.kill()

    def close(self) -> None:
        """End the process, which is at rest."""
        self._pipe.close()
        self._process.join(KILL_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()


def _died() -> BrokenProcessPool:
    return BrokenProcessPool(
        "the process that ran the job ended abruptly (killed, out of memory, or a crash "
        "in native code)"
    )


def outcome_of(run: Run, index: int, answer: Answer) -> Outcome:
    """Return the outcome that a process's answer tells."""
    outcome = Outcome(run, index, answer.status, answer.started, answer.finished)
    if answer.status == EXECUTED:
        outcome.retval = answer.result
        outcome.settled = run.enclose is not None
    elif answer.status == ERROR:
        outcome.exception, outcome.traceback = answer.result, answer.text
    return outcome


# In the process itself.


def serve(
    pipe: Connection,
    references: tuple[str, ...],
    path: list[str],
    initializer: Callable | None,
    initargs: tuple,
) -> None:
    """Get ready, then run one body after the other until the parent hangs up."""
    server = _Server(pipe)
    signal.signal(signal.SIGINT, server.ignore)
    signal.signal(signal.SIGTERM, server.interrupt)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        sys.path[:] = path
        mark_log_records()
        for reference in references:
            ref_to_obj(reference)()
        if initializer is not None:
            initializer(*initargs)
    except BaseException as error:  # noqa: BLE001 (the parent is to know)
        pipe.send_bytes(pickle.dumps("".join(format_exception(error))))
        return
    pipe.send_bytes(pickle.dumps(""))
    while True:
        try:
            message = pipe.recv_bytes()
        except EOFError:
            return
        # An empty one was to interrupt a body that had ended just before.
        if message:
            pipe.send_bytes(pickle.dumps(server.answer(message)))


def _end_with_parent() -> None:
    # An orphan would go on with a run that another scheduler has taken over.
    parent = parent_process()
    assert parent is not None
    if sys.platform == "linux":
        _have_kernel_kill(parent.sentinel)
    # Elsewhere, and for a parent that died before that.
    parent.join()
    os._exit(1)


def _have_kernel_kill(sentinel: int) -> None:
    """
    Have the kernel end this process once the pipe from its parent breaks.

    No thread could while a body holds the interpreter, in native code for instance.
    """
    import fcntl

    fcntl.fcntl(sentinel, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(sentinel, fcntl.F_SETSIG, signal.SIGKILL)
    flags = fcntl.fcntl(sentinel, fcntl.F_GETFL)
    fcntl.fcntl(sentinel, fcntl.F_SETFL, flags | os.O_ASYNC)


class _Server:
    """The process's only worker."""

    def __init__(self, pipe: Connection):
        self.pipe = pipe
        self.pid = os.getpid()
        self.busy = False
        self.cancelled = False

    # Signals. A terminal and supervisors send them to all processes of a program; then
    # it is the parent that decides, and waits for bodies. What a body forks is not
    # ours: there signals do what they do by default.

    def ignore(self, number: int, frame: Any) -> None:
        if os.getpid() != self.pid:
            signal.default_int_handler(number, frame)

    def interrupt(self, number: int, frame: Any) -> None:
        if os.getpid() != self.pid:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif self.busy and self.pipe.poll(0):
            self.pipe.recv_bytes()
            self.cancelled = True
            raise RunCancelled("the run was cancelled")

    def answer(self, message: bytes) -> Answer:
        started = clock.now()
        try:
            call: Call = pickle.loads(message)
        except BaseException as error:  # noqa: BLE001 (of a class of the user's)
            text = "".join(format_exception(error))
            return Answer(ERROR, started, clock.now(), _portable(error), text)
        if clock.elapsed() >= call.start_before:
            return Answer(LATE, started, started, None, "")
        return self.run(call._replace(current=self.aware(call.current)))

    def aware(self, current: CurrentRun) -> CurrentRun:
        """Return the same run, which knows whether it has been cancelled."""
        return CurrentRun(
            current.job_id,
            current.run_time,
            current.attempt,
            current.execution_id,
            lambda: self.cancelled,
        )

    def run(self, call: Call) -> Answer:
        self.busy = True
        try:
            answer = run_call(call)
        except RunCancelled as error:
            # Before or after the body itself.
            now = clock.now()
            answer = Answer(ERROR, now, now, error, "")
        finally:
            self.busy = False
        if self.cancelled and isinstance(answer.result, RunCancelled):
            answer = answer._replace(status=CANCELLED, result=None, text="")
        return answer


def run_call(call: Call) -> Answer:
    """Run one body, in a process of a pool."""
    token = base._current_in_child.set(call.current)
    started = clock.now()
    try:
        func = call.func
        body: Callable = ref_to_obj(func) if isinstance(func, str) else func
        for hook in base._before_run:
            hook()
        if call.enclose is None:
            result: Any = base.call_body(body, call.args, call.kwargs)
        else:
            result = base.call_enclosed(
                call.enclose, call.position, started, body, call.args, call.kwargs
            )
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
    return Answer(status, started, clock.now(), result, text)


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
