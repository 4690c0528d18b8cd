"""
The time: the one module that reads a clock.

Everything that decides takes ``now`` as an argument; whatever needs the present
asks here, so tests and failure drills can move time for a whole process.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone, tzinfo

#: Seconds added to the wall clock of this process. Failure drills set it to prove
#: that schedulers whose clocks disagree still agree on what is due.
OFFSET_VARIABLE = "DJANGO_APSCHEDULER_CLOCK_OFFSET"

#: The longest single sleep, in seconds. Platforms overflow on very long waits, and a
#: sleep does not notice that the wall clock was set or the machine was suspended.
LONGEST_WAIT_SECONDS = 60.0


#: The counter that goes on while the machine is suspended, where there is one: leases
#: run out meanwhile, and whoever wakes up must notice.
_COUNTER = getattr(time, "CLOCK_BOOTTIME", None)


def elapsed() -> float:
    """
    Return the machine's own counter of seconds, whatever clock is in use.

    Processes of one machine may compare theirs.
    """
    return time.monotonic() if _COUNTER is None else time.clock_gettime(_COUNTER)


class SystemClock:
    """The machine's clock, shifted by a fixed number of seconds."""

    def __init__(self, offset: float = 0.0):
        self.offset = timedelta(seconds=offset)

    def now(self) -> datetime:
        moment = datetime.now(timezone.utc)
        return moment + self.offset if self.offset else moment

    def monotonic(self) -> float:
        return elapsed()

    def wait(self, event: threading.Event, timeout: float | None) -> bool:
        return event.wait(
            LONGEST_WAIT_SECONDS
            if timeout is None
            else min(max(timeout, 0.0), LONGEST_WAIT_SECONDS)
        )

    def call_when_moved(self, method: Callable[[], object]) -> None:
        """Do nothing: timers notice by themselves that time goes by."""


class ManualClock:
    """
    A clock that moves only when told to.

    :param start: aware datetime
    """

    def __init__(self, start: datetime):
        self._now = start.astimezone(timezone.utc)
        self._elapsed = 0.0
        self._moved = threading.Condition()
        self._watching: list[weakref.WeakMethod] = []

    def now(self) -> datetime:
        with self._moved:
            return self._now

    def monotonic(self) -> float:
        with self._moved:
            return self._elapsed

    def advance(self, step: float | timedelta) -> None:
        """Move forward by ``step`` (seconds or timedelta) and wake all waiters."""
        if not isinstance(step, timedelta):
            step = timedelta(seconds=step)
        with self._moved:
            self._now += step
            self._elapsed += step.total_seconds()
            self._moved.notify_all()
        self._tell()

    def set(self, moment: datetime) -> None:
        """Set the wall clock, forwards or backwards; elapsed time stands still."""
        with self._moved:
            self._now = moment.astimezone(timezone.utc)
            self._moved.notify_all()
        self._tell()

    def call_when_moved(self, method: Callable[[], object]) -> None:
        """Call a bound method after each move, for as long as its object lives."""
        self._watching.append(weakref.WeakMethod(method))

    def _tell(self) -> None:
        for reference in tuple(self._watching):
            method = reference()
            if method is None:
                self._watching.remove(reference)
            else:
                method()

    def wait(self, event: threading.Event, timeout: float | None) -> bool:
        deadline = None if timeout is None else self.monotonic() + timeout
        while not event.is_set():
            with self._moved:
                if deadline is not None and self._elapsed >= deadline:
                    return False
                # The event is set by other threads without this condition, so look
                # at it again every few milliseconds.
                self._moved.wait(0.005)
        return True


def _system_clock() -> SystemClock:
    text = os.environ.get(OFFSET_VARIABLE, "0")
    try:
        return SystemClock(float(text))
    except ValueError:
        raise ValueError(
            f"{OFFSET_VARIABLE} must be a number of seconds; got {text!r}"
        ) from None


_clock: SystemClock | ManualClock = _system_clock()


def now(tz: tzinfo = timezone.utc) -> datetime:
    """Return the present moment, aware, in ``tz``."""
    moment = _clock.now()
    return moment if tz is timezone.utc else moment.astimezone(tz)


def monotonic() -> float:
    """Return seconds that only ever grow, for measuring durations."""
    return _clock.monotonic()


def goes_by_itself() -> bool:
    """Tell whether the clock in use is the machine's, and not moved by hand."""
    return isinstance(_clock, SystemClock)


def wait(event: threading.Event, timeout: float | None) -> bool:
    """
    Wait until ``event`` is set or about ``timeout`` seconds have passed.

    May return early: callers look at the time again and wait for the rest.

    :return: whether the event was set
    """
    return _clock.wait(event, timeout)


def call_when_moved(method: Callable[[], object]) -> None:
    """
    Call a bound method whenever the clock in use is moved by hand.

    For what waits by the timers of an event loop, which no manual clock moves.
    """
    _clock.call_when_moved(method)


@contextmanager
def use(clock: ManualClock) -> Iterator[ManualClock]:
    """Run the whole process on ``clock`` inside the block."""
    global _clock
    before, _clock = _clock, clock
    try:
        yield clock
    finally:
        _clock = before
