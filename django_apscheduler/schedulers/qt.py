"""The scheduler that runs on the event loop of a Qt application."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from importlib import import_module
from typing import Any

from django_apscheduler.schedulers.loop import LoopScheduler
from django_apscheduler.util import missing

#: In the order in which they are tried, when the program has imported none.
BINDINGS = ("PySide6", "PyQt6", "PySide2", "PyQt5")


def _import_qtcore() -> Any:
    """Import the binding that the program uses, or else the first that is there."""
    used = [name for name in BINDINGS if f"{name}.QtCore" in sys.modules]
    for name in used or BINDINGS:
        try:
            return import_module(f"{name}.QtCore")
        except ImportError:
            continue
    raise missing(f"a binding of Qt ({', '.join(BINDINGS)})", "qt")


QtCore = _import_qtcore()
_Signal = getattr(QtCore, "Signal", None) or QtCore.pyqtSignal


class _Caller(QtCore.QObject):  # type: ignore[misc, name-defined]
    """Calls functions on the thread whose event loop it belongs to."""

    asked = _Signal(object, object)

    def __init__(self) -> None:
        super().__init__()
        self.asked.connect(self.call, QtCore.Qt.ConnectionType.QueuedConnection)

    def call(self, func: Callable, args: tuple) -> None:
        func(*args)


class QtCall:
    """
    A call that is being made off the event loop.

    On a loop of asyncio's (PySide6's QtAsyncio) it can be awaited.
    """

    def __init__(self, future: Future, call_soon: Callable[..., None], logger: Any):
        self._future = future
        self._call_soon = call_soon
        self._logger = logger

    def then(
        self,
        done: Callable[[Any], Any] | None = None,
        failed: Callable[[BaseException], Any] | None = None,
    ) -> QtCall:
        """
        Have the event loop call ``done(result)``, or ``failed(exception)``.

        An exception that nobody takes is logged.
        """

        def tell() -> None:
            error = self._future.exception()
            if error is None:
                if done is not None:
                    done(self._future.result())
            elif failed is not None:
                failed(error)
            else:
                self._logger.error("A call of the scheduler failed", exc_info=error)

        self._future.add_done_callback(lambda _: self._call_soon(tell))
        return self

    def __await__(self) -> Any:
        return asyncio.wrap_future(self._future).__await__()


class QtScheduler(LoopScheduler):
    """
    A scheduler for Qt applications (PySide6, PyQt6, PySide2, PyQt5).

    It belongs to the thread that starts it, which must have made its application object;
    ticks happen in that thread's event loop, and bodies in a pool of threads. The
    methods that begin with ``a`` call a function of yours when they are done:
    ``scheduler.aadd_job(…).then(show)``.
    """

    _caller: Any = None
    _loop_thread: int | None = None

    def _find_loop(self) -> None:
        if QtCore.QCoreApplication.instance() is None:
            raise RuntimeError(
                "QtScheduler.start() needs an application: make a QApplication or "
                "QCoreApplication first"
            )
        self._caller = _Caller()
        self._loop_thread = threading.get_ident()

    def _call_soon(self, func: Callable, *args: Any) -> None:
        caller = self._caller
        if caller is not None and QtCore.QCoreApplication.instance() is not None:
            # The application may be going away at this moment, and the object with it.
            with contextlib.suppress(RuntimeError):
                caller.asked.emit(func, args)

    def _call_later(self, seconds: float, func: Callable[[], None]) -> Any:
        timer = QtCore.QTimer(self._caller)
        timer.setSingleShot(True)
        timer.setTimerType(QtCore.Qt.TimerType.PreciseTimer)
        timer.timeout.connect(func)
        # Rounded down, for Qt counts milliseconds: what comes early is set again, and
        # the loop goes round for the rest of one, rather than each body being late.
        timer.start(int(seconds * 1000))
        return timer

    def _cancel_timer(self, timer: Any) -> None:
        timer.stop()
        timer.deleteLater()

    def _on_loop(self) -> bool:
        # Before the event loop runs nobody minds a thread that waits.
        return super()._on_loop() or (
            threading.get_ident() == self._loop_thread
            and QtCore.QThread.currentThread().loopLevel() > 0
        )

    def _loop_runs(self) -> bool:
        # Of its loop only the thread itself may ask, and no body depends on that.
        return QtCore.QCoreApplication.instance() is not None

    def _awaitable(self, future: Future) -> QtCall:
        return QtCall(future, self._call_soon, self._logger)

    def _instead(self, method: str) -> str:
        return f"scheduler.a{method}(...).then(done)"
