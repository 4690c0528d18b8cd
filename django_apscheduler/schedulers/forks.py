"""
Keeps the children of a fork from taking their parent's schedulers for their own.

A child has copies of everything but the threads: locks that nobody will release,
connections whose other end talks to the parent, schedulers that look as if they ran.
"""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django_apscheduler.schedulers.base import BaseScheduler

_known: weakref.WeakSet[BaseScheduler] = weakref.WeakSet()


def watch(scheduler: BaseScheduler) -> None:
    """Have ``scheduler`` give up in each child what belongs to the parent."""
    _known.add(scheduler)


def before_uwsgi_forks(uwsgi: Any) -> bool:
    """
    Tell whether this is the process from which uWSGI is going to fork its workers.

    Its forks are not Python's: no hook of ``os.register_at_fork`` is called.

    :param uwsgi: the module that exists inside uWSGI only
    """
    if uwsgi.worker_id() or uwsgi.mule_id():
        return False
    # Without a master, the process that loads the application is the first worker.
    return bool(uwsgi.masterpid()) or uwsgi.numproc > 1


def _before() -> None:
    for scheduler in tuple(_known):
        scheduler.hold_still()


def _in_child() -> None:
    for scheduler in tuple(_known):
        scheduler.disown()


def _in_parent() -> None:
    for scheduler in tuple(_known):
        scheduler.note_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before, after_in_child=_in_child, after_in_parent=_in_parent
    )
