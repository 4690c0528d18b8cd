"""
Connection hygiene: no run, receiver or tick leaves a dead or forgotten connection.

Django closes old connections around requests; code that runs outside of requests has
to do so itself, or it meets the connection that the server dropped last night.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from asgiref.sync import SyncToAsync
from django.db import connections
from django.db.backends.signals import connection_created
from django.dispatch import receiver

logger = logging.getLogger(__name__)


class _Thread(threading.local):
    """
    What this thread knows of its connections.

    :ivar opened: connections opened by the work now under way, oldest first
    :ivar marks: for each piece of work now under way, how many were open as it began
    :ivar kept: connections left open by earlier work, for CONN_MAX_AGE
    """

    def __init__(self) -> None:
        self.opened: list[Any] = []
        self.marks: list[int] = []
        self.kept: list[Any] = []


_thread = _Thread()
_busy_lock = threading.Lock()
_busy = 0


def _forget_other_threads() -> None:
    global _busy, _busy_lock
    _busy_lock, _busy = threading.Lock(), int(bool(_thread.marks))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_other_threads)


@receiver(connection_created, dispatch_uid="django_apscheduler.connections")
def _note(connection: Any, **kwargs: Any) -> None:
    if _thread.marks:
        _thread.opened.append(connection)


def before_work() -> None:
    """
    Drop what earlier work left unusable or outlived in this thread's connections.

    Connections that the thread opened for itself are left alone: it may be a user's
    (a view that adds a job), in the middle of reading from its connection.
    """
    global _busy
    if not _thread.marks:
        with _busy_lock:
            _busy += 1
        for connection in _thread.kept:
            _close_if_old(connection)
    _thread.marks.append(len(_thread.opened))


def after_work() -> None:
    """Close the connections that the work opened, unless they are to be kept alive."""
    global _busy
    mark = _thread.marks.pop() if _thread.marks else 0
    opened = _thread.opened[mark:]
    del _thread.opened[mark:]
    for connection in opened:
        if connection.in_atomic_block:
            _abandon(connection)
        else:
            _close_if_old(connection)
    if opened:
        _thread.opened += [c for c in opened if c.connection is not None]
    if not _thread.marks:
        for connection in _thread.kept:
            _close_if_old(connection)
        if _thread.kept or _thread.opened:
            _keep()
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


def _keep() -> None:
    """Remember what stays open; forget what does not."""
    kept = {id(c): c for c in (*_thread.kept, *_thread.opened)}
    _thread.kept = [c for c in kept.values() if c.connection is not None]
    _thread.opened.clear()
    for connection in _thread.kept:
        # With DEBUG on, Django remembers each query until the next request begins.
        connection.queries_log.clear()


def _close_if_old(connection: Any) -> None:
    # Inside a transaction, even a broken connection belongs to whoever began it.
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()


def _abandon(connection: Any) -> None:
    """Roll back and replace a connection whose transaction the work never ended."""
    logger.warning(
        "A run or receiver left a transaction open on the database %r; it has been "
        "rolled back. Use `with transaction.atomic():` so that it ends with the code",
        connection.alias,
    )
    connection.close()
    # Closed within a transaction, Django's wrapper refuses all further use.
    if connections[connection.alias] is connection:
        del connections[connection.alias]


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
    for connection in connections.all(initialized_only=True):
        # While other work is under way, a connection that works may be in its hands,
        # between two pieces of a result. A broken one is of use to nobody.
        if connection.errors_occurred or not _busy:
            _close_if_old(connection)
        connection.queries_log.clear()


# Never emptied: a driver says goodbye when a connection is collected.
_left_to_parent: list[Any] = []


def leave_to_parent(alias: str, others: Iterable[Any]) -> None:
    """
    Have the child of a fork open connections of its own to a database.

    Two processes on one socket read each other's answers, and who closes it ends the
    session of both.

    :param others: what holds further connections of the parent's
    """
    _left_to_parent.extend(others)
    for connection in connections.all(initialized_only=True):
        if connection.alias == alias and connection.connection is not None:
            _left_to_parent.append(connection)
            del connections[alias]
