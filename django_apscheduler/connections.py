"""
Connection hygiene: no run, receiver or tick leaves a dead or forgotten connection.

Django closes old connections around requests; code that runs outside of requests has
to do so itself, or it meets the connection that the server dropped last night.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from weakref import WeakKeyDictionary

from asgiref.sync import SyncToAsync
from django.db import connections
from django.db.backends.signals import connection_created
from django.dispatch import receiver

from django_apscheduler.offhub import off_hub_class, stops_greenlets
from django_apscheduler.patched import gevent_patched

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


class _ByGreenlet:
    """
    A `threading.local` of which greenlets that run bodies have one each.

    Where gevent has patched the process all of Django's are like this. Where it has not,
    its greenlets share their thread's, and what one of them did between two statements
    would end up in another one's transaction.

    :param by_thread: what everything but those greenlets uses
    """

    def __init__(self, by_thread: Any, make: Callable[[], Any]):
        self.__dict__.update(_by_thread=by_thread, _make=make, _own=WeakKeyDictionary())

    def _mine(self) -> Any:
        return self._own.get(_greenlet.getcurrent(), self._by_thread)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mine(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._mine(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._mine(), name)

    def _begin(self) -> None:
        self._own.setdefault(_greenlet.getcurrent(), self._make())

    def _is_own(self) -> bool:
        return _greenlet.getcurrent() in self._own

    def _end(self) -> None:
        self._own.pop(_greenlet.getcurrent(), None)


_thread: Any = _Thread()
_greenlet: Any = None
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
    if _in_greenlet():
        if gevent_patched():
            _let_greenlets_go_on()
        else:
            _separate()
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


def end_worker() -> None:
    """Close all connections of a greenlet that ends, however young they are."""
    separate = isinstance(_thread, _ByGreenlet) and _thread._is_own()
    if not (separate or gevent_patched()):
        # It has run nothing itself, and the thread's are in the hands of others.
        return
    for connection in connections.all(initialized_only=True):
        connection.close()
    _thread.kept = []
    if separate:
        handler: Any = connections
        _thread._end()
        handler._connections._end()


def _in_greenlet() -> bool:
    """Tell whether this is a greenlet that runs bodies."""
    module = sys.modules.get("greenlet")
    return module is not None and hasattr(module.getcurrent(), "runs_bodies")


def _let_greenlets_go_on() -> None:
    """Have this greenlet's queries stop no other, whatever the driver."""
    for alias in connections:
        ordinary = connections[alias]
        if ordinary.connection is None and stops_greenlets(ordinary):
            kind = off_hub_class(type(ordinary))
            connections[alias] = kind(ordinary.settings_dict, alias)


def _separate() -> None:
    """Give the greenlet connections of its own."""
    global _greenlet, _thread
    handler: Any = connections
    if _greenlet is None:
        _greenlet = sys.modules["greenlet"]
        _thread = _ByGreenlet(_thread, _Thread)
        handler._connections = _ByGreenlet(handler._connections, SimpleNamespace)
    _thread._begin()
    handler._connections._begin()


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
    for holder in others:
        _left_to_parent.append(holder)
        _mute(getattr(holder, "_wrapper", None))
    for connection in connections.all(initialized_only=True):
        if connection.alias == alias and connection.connection is not None:
            _left_to_parent.append(connection)
            _mute(connection)
            del connections[alias]


def _mute(connection: Any) -> None:
    """
    Have the child say nothing on a connection of the parent's, not even at its end.

    Other drivers know whose connection it is. mysqlclient's takes leave of the server
    when the interpreter ends, which would end the parent's session.
    """
    if connection is None or connection.vendor != "mysql":
        return
    try:
        number = connection.connection.fileno()
    except Exception:
        # PyMySQL's has none; nor has one that was closed, or being made, meanwhile.
        return
    with open(os.devnull, "r+b") as nothing:
        os.dup2(nothing.fileno(), number)
