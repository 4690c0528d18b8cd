"""Bodies of the jobs of these tests; all of them write to the ledger."""

from __future__ import annotations

import signal
import threading
import time

from tests.chaos import failpoints, ledger


def note() -> None:
    """Begin and end."""
    slow(0)


def slow(seconds: float) -> None:
    """Begin, rest, and end."""
    ledger.write(ledger.BEGAN)
    failpoints.reached("mid-body")
    time.sleep(seconds)
    ledger.write(ledger.ENDED)


def stubborn(seconds: float) -> None:
    """Begin, keep the processor busy without heed to signals, and end."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
    ledger.write(ledger.BEGAN)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass
    ledger.write(ledger.ENDED)


def possessive(rounds: int) -> None:
    """Begin, hold the interpreter's lock in native code all the while, and end."""
    ledger.write(ledger.BEGAN)
    # No other thread of the process runs before this line is through.
    sum(range(rounds))
    ledger.write(ledger.ENDED)


def anything(**kwargs: object) -> None:
    """Begin and end, whatever it is called with."""
    slow(0)
