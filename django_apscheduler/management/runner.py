"""Runs a scheduler in the foreground until it is told to stop, or cannot go on."""

from __future__ import annotations

import logging
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django_apscheduler.connections import clean
from django_apscheduler.management.console import Console
from django_apscheduler.management.systemd import Systemd
from django_apscheduler.registry import set_scheduler

logger = logging.getLogger(__name__)

#: Exit statuses. Ended by a second signal, it is 128 + the signal's number, as shells
#: report a process that a signal ended.
EXIT_FAILED = 3
EXIT_STILL_RUNNING = 4

#: Seconds between looks at whether the scheduler is still alive.
WATCH_SECONDS = 0.5
#: Seconds after the start at which jobs of a `Duty` are done for the first time.
FIRST_DUTY_SECONDS = 60.0
#: Seconds for which a scheduler that stops waits for a duty that is just being done.
LAST_DUTY_SECONDS = 10.0


@dataclass
class Duty:
    """
    Something to be done now and then while the scheduler runs.

    :ivar what: for the log, when it fails
    :ivar act: does it
    :ivar seconds: between two times
    """

    what: str
    act: Callable[[], Any]
    seconds: float
    due: float = 0.0


class Flag:
    """
    An event that signal handlers may set.

    The lock inside `threading.Event` may be held by the very code that the handler
    interrupts, which would then wait for itself. A pipe has no such lock.
    """

    def __init__(self) -> None:
        self._set = False
        self._reader, self._writer = os.pipe()

    def set(self) -> None:
        self._set = True
        os.write(self._writer, b"!")

    def is_set(self) -> bool:
        return self._set

    def wait(self, timeout: float) -> bool:
        """Wait until set, at most ``timeout`` seconds; return whether it is."""
        select.select([self._reader], [], [], timeout)
        return self._set


class Runner:
    """
    The life of ``runapscheduler``: start, watch, drain, shut down.

    :param scheduler: configured, not started
    :param blocking: whether it keeps the thread, by ``start()`` or by ``serve()``
    :param drain_timeout: seconds to wait for running jobs after the first signal
    :param run_for: seconds after which to stop by itself, or None
    :param duties: done now and then; one that fails is logged and tried again
    :param systemd: told when the scheduler has started, that it works and that it stops
    """

    def __init__(
        self,
        scheduler: Any,
        console: Console,
        *,
        blocking: bool = False,
        drain_timeout: float,
        run_for: float | None = None,
        duties: Sequence[Duty] = (),
        systemd: Systemd | None = None,
    ):
        self.scheduler = scheduler
        self.console = console
        self.blocking = blocking
        self.drain_timeout = drain_timeout
        self.run_for = run_for
        self.duties = duties
        self.systemd = systemd
        self.stopping = Flag()
        self.reason = ""
        self._stop_lock = threading.Lock()
        self._status: int | None = None
        self._over = threading.Event()
        self._dutiful: threading.Thread | None = None
        self._handlers: dict[int, Any] = {}

    def install_signal_handlers(self) -> None:
        """
        Stop gracefully on the first SIGTERM, SIGINT or SIGHUP, at once on the second.

        Only the main thread may; elsewhere it is for the caller to call `stop`.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        for name in ("SIGTERM", "SIGINT", "SIGHUP"):
            number = getattr(signal, name, None)
            # `nohup` ignores SIGHUP, and means it.
            if number is not None and signal.getsignal(number) != signal.SIG_IGN:
                self._handlers[number] = signal.signal(number, self._on_signal)

    def restore_signal_handlers(self) -> None:
        """Undo `install_signal_handlers`."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()

    def _on_signal(self, number: int, frame: Any) -> None:
        name = signal.Signals(number).name
        if self.stopping.is_set():
            # Bodies may hang for ever, and threads cannot be ended one by one. What is
            # cut off here is found by the other schedulers, or at the next start.
            # No console: this may have interrupted a thread that holds its lock.
            os.write(2, f"{name} again: ended at once\n".encode())
            os._exit(128 + number)
        self.reason = name
        self.stopping.set()

    def stop(self, reason: str) -> None:
        """Have `run` drain, shut down and return."""
        self.reason = self.reason or reason
        self.stopping.set()

    def run(self, ready: Callable[[], None]) -> int:
        """
        Start the scheduler and return the exit status when it has ended.

        :param ready: called once the scheduler has started, before any job runs; what
            it raises ends the scheduler, and is raised
        """
        set_scheduler(self.scheduler)
        try:
            if self.blocking:
                return self._run_blocking(ready)
            self.scheduler.start(paused=True)
            self._begin(ready)
            self._watch()
            return self.finish()
        finally:
            set_scheduler(None)

    def _begin(self, ready: Callable[[], None]) -> None:
        try:
            with clean():
                ready()
        except BaseException:
            self.scheduler.shutdown(wait=False)
            raise
        if not self.stopping.is_set():
            self.scheduler.resume()
            if self.systemd is not None:
                self.systemd.watch(self.scheduler)

    def _run_blocking(self, ready: Callable[[], None]) -> int:
        """Let the scheduler have this thread, and watch it from another."""
        errors: list[BaseException] = []

        def supervise() -> None:
            while not self.scheduler.running and self.scheduler.failure is None:
                if self.stopping.wait(0.02):
                    return
            try:
                # Which raises what has failed, if it has.
                self.scheduler.wait_until_started()
                self._begin(ready)
                self._watch()
                self.finish()
            except BaseException as error:  # noqa: BLE001 (raised again by the caller)
                errors.append(error)
            finally:
                # It was shut down, unless jobs are still running.
                self.scheduler.leave()

        supervisor = threading.Thread(target=supervise, name="apscheduler-supervisor")
        supervisor.start()
        keep = getattr(self.scheduler, "serve", self.scheduler.start)
        try:
            keep(paused=True)
        except Exception as error:
            # The supervisor sees to a loop that failed; not so to a start that did.
            if self.scheduler.failure is None:
                errors.append(error)
                self.stopping.set()
        supervisor.join()
        if errors:
            raise errors[0]
        return EXIT_FAILED if self._status is None else self._status

    def stop_now(self, reason: str) -> None:
        """Stop from another thread, and wait until that is done."""
        self.stop(reason)
        if self.scheduler.running:
            self.finish()

    def _watch(self) -> None:
        """Return when the scheduler is to stop, or has stopped by itself."""
        deadline = None if self.run_for is None else time.monotonic() + self.run_for
        self._dutiful = threading.Thread(
            target=self._do_duties, name="apscheduler-duties", daemon=True
        )
        self._dutiful.start()
        while not self.stopping.is_set():
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                self.stop(f"{self.run_for:g} s are over")
                return
            if not self.alive():
                return
            wait = WATCH_SECONDS
            if deadline is not None:
                wait = min(wait, max(deadline - now, 0.001))
            self.stopping.wait(wait)

    def alive(self) -> bool:
        """Tell whether the scheduler's loop is still turning."""
        return bool(self.scheduler.running) and self.scheduler.failure is None

    def _do_duties(self) -> None:
        """Do what is due until the scheduler stops; in a thread, for it may take long."""
        for duty in self.duties:
            duty.due = time.monotonic() + min(FIRST_DUTY_SECONDS, duty.seconds)
        while not self._over.wait(WATCH_SECONDS):
            for duty in self.duties:
                if time.monotonic() >= duty.due and not self._over.is_set():
                    self._do(duty)

    def _do(self, duty: Duty) -> None:
        try:
            with clean():
                duty.act()
        except Exception:
            logger.exception("%s failed; it is tried again", duty.what)
        duty.due = time.monotonic() + duty.seconds

    def finish(self) -> int:
        """Drain and shut down; return the exit status. A second call returns it only."""
        with self._stop_lock:
            if self._status is None:
                self._status = self._finish()
        return self._status

    def _finish(self) -> int:
        self._over.set()
        failure = self.scheduler.failure
        if failure is not None:
            why = f"The scheduler cannot go on: {type(failure).__name__}: {failure}"
            self._announce(why)
            self.console.write(why, "bad")
            if self._drain():
                self._shut_down()
            return EXIT_FAILED
        if not self.scheduler.running:
            self._announce("The scheduler was shut down from inside")
            self.console.say("The scheduler was shut down from inside")
            return 0
        running = self.scheduler.running_jobs()
        waiting = f"; waiting for {', '.join(running)}" if running else ""
        self._announce(f"{self.reason}: stopping{waiting}")
        if running:
            self.console.say(
                f"{self.reason}: stopping; waiting up to {self.drain_timeout:g} s for "
                f"{', '.join(running)} (a second signal ends at once)"
            )
        else:
            self.console.say(f"{self.reason}: stopping")
        if self._drain():
            self._shut_down()
            self.console.say("Stopped")
            return 0
        left = ", ".join(self.scheduler.running_jobs()) or "a job"
        self.console.write(
            f"Stopped after {self.drain_timeout:g} s though {left} had not ended; other "
            "schedulers, or the next start, deal with it as its on_lost option says",
            "bad",
        )
        # Not shut down: that would wait for the job, and would end the lease as if all
        # was in order. The caller ends the process, and the lease runs out.
        return EXIT_STILL_RUNNING

    def _announce(self, why: str) -> None:
        if self.systemd is not None:
            self.systemd.stopping(why)

    def _drain(self) -> bool:
        try:
            return self.scheduler.drain(self.drain_timeout)
        except Exception:
            logger.exception("Waiting for running jobs failed")
            return False

    def _shut_down(self) -> None:
        if self._dutiful is not None:
            # It may be using the scheduler. One that hangs is left behind.
            self._dutiful.join(LAST_DUTY_SECONDS)
        if not self.scheduler.running:
            return
        try:
            self.scheduler.shutdown()
        except Exception:
            logger.exception("The scheduler did not shut down cleanly")
