"""
Connection hygiene: no run, receiver or tick leaves a dead or forgotten connection.

Django closes old connections around requests; code that runs outside of requests has
to do so itself, or it meets the connection that the server dropped last night.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from asgiref.sync import SyncToAsync
from django.db import connections

logger = logging.getLogger(__name__)


class _Thread(threading.local):
    """
    What this thread knows of its connections.

    :ivar before: for each piece of work now under way, the aliases open as it began
    :ivar kept: aliases left open by earlier work, for CONN_MAX_AGE
    """

    def __init__(self) -> None:
        self.before: list[set[str]] = []
        self.kept: set[str] = set()


_thread = _Thread()
_busy_lock = threading.Lock()
_busy = 0


def before_work() -> None:
    """
    Drop what earlier work left unusable or outlived in this thread's connections.

    Connections that the thread opened for itself are left alone: it may be a user's
    (a view that adds a job), in the middle of reading from its connection.
    """
    global _busy
    if not _thread.before:
        with _busy_lock:
            _busy += 1
        for alias in _thread.kept & _open_aliases():
            _close_if_old(alias)
    _thread.before.append(_open_aliases())


def after_work() -> None:
    """Close the connections that the work opened, unless they are to be kept alive."""
    global _busy
    before = _thread.before.pop() if _thread.before else set()
    opened = (_open_aliases() - before) | (_thread.kept & before)
    for alias in opened:
        if alias not in before and connections[alias].in_atomic_block:
            _abandon(alias)
        else:
            _close_if_old(alias)
    _thread.kept = opened & _open_aliases()
    if not _thread.before:
        _forget_queries(_thread.kept)
        with _busy_lock:
            _busy -= 1
    _after_async_work()


@contextmanager
def clean() -> Iterator[None]:
    """Run the block between `before_work` and `after_work`."""
    try:
        before_work()
        yield
    finally:
        after_work()


def _after_async_work() -> None:
    """
    See to the connections that ``async def`` bodies use.

    Django's asynchronous queries run in one thread that asgiref keeps for the process,
    whatever event loop they come from.
    """
    executor = SyncToAsync.single_thread_executor
    if getattr(executor, "_threads", None):
        try:
            executor.submit(_close_old_in_shared_thread)
        except RuntimeError:
            logger.debug("The interpreter is shutting down; connections close with it")


def _close_old_in_shared_thread() -> None:
    for alias in _open_aliases():
        connection = connections[alias]
        # While other work is under way, a connection that works may be in its hands,
        # between two pieces of a result. A broken one is of use to nobody.
        if connection.errors_occurred or not _busy:
            _close_if_old(alias)
        connection.queries_log.clear()


def _open_aliases() -> set[str]:
    return {
        connection.alias
        for connection in connections.all(initialized_only=True)
        if connection.connection is not None
    }


def _close_if_old(alias: str) -> None:
    connection = connections[alias]
    # Inside a transaction, even a broken connection belongs to whoever began it.
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()


def _abandon(alias: str) -> None:
    """Roll back and replace a connection whose transaction the work never ended."""
    logger.warning(
        "A run or receiver left a transaction open on the database %r; it has been "
        "rolled back. Use `with transaction.atomic():` so that it ends with the code",
        alias,
    )
    connections[alias].close()
    # Closed within a transaction, Django's wrapper refuses all further use.
    del connections[alias]


def _forget_queries(aliases: set[str]) -> None:
    """With DEBUG on, Django remembers each query until the next request begins."""
    for alias in aliases:
        connections[alias].queries_log.clear()
