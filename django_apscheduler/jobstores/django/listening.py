"""LISTEN on PostgreSQL, with psycopg 2 and psycopg 3."""

from __future__ import annotations

import logging
import select
import threading
import time
from collections.abc import Callable
from typing import Any

from django_apscheduler.jobstores.django.postgresql import CHANNEL
from django_apscheduler.offhub import call_driver

logger = logging.getLogger(__name__)

#: Seconds between polls where notifications do not come through, as behind a pooler
#: that hands each transaction another connection.
DEAF_SECONDS = 0.2
#: Seconds within which the thread notices that it is to stop.
STOP_SECONDS = 0.25
#: Seconds in which notifications that follow one another are gathered into one: each
#: has the scheduler read, and somebody may be adding thousands of jobs one by one.
GATHER_SECONDS = 0.005
#: Seconds within which our own notification must come back.
ECHO_SECONDS = 2.0
#: Seconds between the checks that the socket still hears.
CHECK_SECONDS = 15.0


def listen(
    connection: Any,
    stop: threading.Event,
    poll: float,
    wake: Callable[[], None],
    hear: Callable[[], None],
    sign: Callable[[], None],
    tell: Callable[[], None],
) -> None:
    """
    Call ``hear`` when there are notifications, and ``wake`` every ``poll`` seconds.

    :param connection: a private wrapper of Django's, connected; used for nothing else
    :param sign: called often, as long as no answer of the server's is waited for
    :param tell: sends a notification on the way that edits take; through a pooler, a
        connection may hear its own and nobody else's
    :raises ConnectionError: when our own notification does not come back any more
    """
    raw = connection.connection
    raw.autocommit = True
    receive = _receive3 if callable(raw.notifies) else _receive2
    call_driver(connection, _execute, raw, f"LISTEN {CHANNEL}")
    heard = _echo(raw, receive, stop, tell)
    if not heard and not stop.is_set():
        logger.warning(
            "Notifications of PostgreSQL do not come through (a pooler in transaction "
            "mode?); looking every %s s instead. Name a direct connection with "
            "listen_using to be told at once.",
            DEAF_SECONDS,
        )
    pause = poll if heard else min(poll, DEAF_SECONDS)
    checked = woken = time.monotonic()
    while not stop.is_set():
        sign()
        # In short pieces, so that stopping need not wait for a whole one.
        told = receive(raw, min(pause, STOP_SECONDS))
        now = time.monotonic()
        if told or now - woken >= pause:
            woken = now
            hear() if told else wake()
            if told:
                # The first one is heard at once, those that follow a little later.
                stop.wait(GATHER_SECONDS)
        if heard and now - checked > CHECK_SECONDS:
            if not _echo(raw, receive, stop, tell) and not stop.is_set():
                raise ConnectionError("the connection that listens has gone deaf")
            # The echo may have swallowed somebody else's notification.
            hear()
            checked = now


def _echo(
    raw: Any, receive: Callable, stop: threading.Event, tell: Callable[[], None]
) -> bool:
    """Notify ourselves; return whether anything was heard."""
    tell()
    until = time.monotonic() + ECHO_SECONDS
    while time.monotonic() < until and not stop.is_set():
        if receive(raw, 0.1):
            return True
    return False


def _execute(raw: Any, statement: str) -> None:
    cursor = raw.cursor()
    try:
        cursor.execute(statement)
    finally:
        cursor.close()


def _receive2(raw: Any, seconds: float) -> bool:
    """Wait for notifications with psycopg 2; return whether one came."""
    if not raw.notifies:
        select.select([raw], [], [], seconds)
        raw.poll()
    heard = bool(raw.notifies)
    raw.notifies.clear()
    return heard


def _receive3(raw: Any, seconds: float) -> bool:
    """Wait for notifications with psycopg 3; return whether one came."""
    heard = False
    for _ in raw.notifies(timeout=seconds, stop_after=1):
        heard = True
    return heard
