"""
Points at which a process kills itself as ``kill -9`` would, wrapped in from outside.

``CHAOS_FAILPOINT=name`` or ``name:3`` (the third time it is reached); with
``name:1:STOP`` it freezes there instead, until somebody thaws it:

``before-commit``   a claim has written all it writes, and has not committed
``after-commit``    a claim is committed, and nothing of it submitted
``mid-body``        a body has begun
``before-outcome``  bodies have ended, and nothing of that is written
``after-outcome``   the outcomes are committed, and nobody was told
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any

VARIABLE = "CHAOS_FAILPOINT"
NAMES = (
    "before-commit",
    "after-commit",
    "mid-body",
    "before-outcome",
    "after-outcome",
)

_lock = threading.Lock()
_reached = 0


def wanted() -> tuple[str, int, signal.Signals]:
    """Return at which point, the how-manieth time, and by which signal it ends."""
    name, nth, kind, *_ = *os.environ.get(VARIABLE, "").split(":"), "", ""
    if name and name not in NAMES:
        raise ValueError(f"{VARIABLE} must be one of {', '.join(NAMES)}; got {name!r}")
    return name, int(nth or 1), signal.Signals[f"SIG{kind or 'KILL'}"]


def reached(name: str) -> None:
    """End this process, if this is where it shall end."""
    global _reached
    point, nth, kind = wanted()
    if name != point:
        return
    with _lock:
        _reached += 1
        if _reached == nth:
            os.kill(os.getpid(), kind)
            # The signal may take a moment, in which nothing must happen.
            threading.Event().wait(None if kind == signal.SIGKILL else 0.5)


def install() -> None:
    """Put the wanted point into the job store of this process."""
    from django_apscheduler.jobstores.django.claim import Claim
    from django_apscheduler.jobstores.django.store import DjangoJobStore

    name, _, _ = wanted()
    if name == "before-commit":
        # `claim` is the body of the transaction.
        after(Claim, "claim", name, lambda claim, _: claim.batch.runs)
    elif name == "after-commit":
        after(DjangoJobStore, "claim_due", name, lambda store, batch: batch.runs)
    elif name == "before-outcome":
        before(DjangoJobStore, "settle", name)
    elif name == "after-outcome":
        after(DjangoJobStore, "settle", name, lambda store, settled: settled)


def after(owner: type, method: str, name: str, when: Callable[[Any, Any], Any]) -> None:
    """Reach ``name`` after each call for which ``when(self, answer)`` is true."""
    original = getattr(owner, method)

    @wraps(original)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        answer = original(self, *args, **kwargs)
        if when(self, answer):
            reached(name)
        return answer

    setattr(owner, method, wrapper)


def before(owner: type, method: str, name: str) -> None:
    """Reach ``name`` before each call."""
    original = getattr(owner, method)

    @wraps(original)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        reached(name)
        return original(self, *args, **kwargs)

    setattr(owner, method, wrapper)
