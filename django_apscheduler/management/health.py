"""Whether a scheduler does its work, told from the database in one query."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from django.core.management.base import CommandError
from django.db import Error, connections

from django_apscheduler.conf import Configuration
from django_apscheduler.db import DatabaseNow
from django_apscheduler.management import preflight
from django_apscheduler.management.console import duration
from django_apscheduler.models import SchedulerProcess
from django_apscheduler.sync import django_stores, is_django

#: How old the last finished tick may be, in seconds. An idle scheduler's loop goes
#: round each second; as long as this, another one takes over what it has claimed.
MAX_AGE_SECONDS = 10.0
#: How long the database may take to answer, in seconds.
TIMEOUT_SECONDS = 5.0


class Unhealthy(CommandError):
    """Raised when no scheduler works as it should, or that cannot be found out."""


@dataclass(frozen=True, slots=True)
class Sign:
    """
    What a scheduler's row says of it, by the database's clock.

    :ivar age: seconds since its loop last went round
    :ivar left: seconds for which its lease still holds; negative: since when it does not
    """

    name: str
    host: str
    state: str
    age: float
    left: float

    @property
    def breathes(self) -> bool:
        """Whether it has lately renewed its lease."""
        return self.state != SchedulerProcess.State.DEAD and self.left > 0

    @property
    def drains(self) -> bool:
        return self.breathes and self.state == SchedulerProcess.State.DRAINING

    def ticks(self, max_age: float) -> bool:
        """Tell whether it claims: it breathes, does not drain, and its loop turns."""
        return self.breathes and not self.drains and self.age <= max_age


def default_max_age(settings: Configuration) -> float:
    """Return `MAX_AGE_SECONDS`, or more for stores that are polled rarely."""
    polls = [
        float(store.get("poll", 0)) if isinstance(store, dict) else store.poll
        for store in settings.jobstores.values()
        if is_django(store)
    ]
    return max([MAX_AGE_SECONDS, *(3 * poll for poll in polls)])


def check(
    settings: Configuration, anywhere: bool, max_age: float | None, timeout: float
) -> str:
    """
    Return in a line that a scheduler works.

    :param anywhere: whether any scheduler will do; else those on this host are meant
    :param max_age: how many seconds ago its last tick may have ended
    :param timeout: seconds to wait for the database; it answers, or is at fault
    :raises Unhealthy: saying what is wrong
    """
    databases = list(django_stores(settings))
    if not databases:
        raise Unhealthy(
            "APSCHEDULER has no Django job store, and other stores do not tell who "
            "works on them"
        )
    if max_age is None:
        max_age = default_max_age(settings)
    host = None if anywhere else socket.gethostname()
    lines = []
    for using in databases:
        well, line = judge(_bounded(using, timeout), host, max_age)
        if len(databases) > 1:
            line = f"{using}: {line}"
        if not well:
            raise Unhealthy(line)
        lines.append(line)
    return "; ".join(lines)


def judge(signs: Sequence[Sign], host: str | None, max_age: float) -> tuple[bool, str]:
    """
    Return whether schedulers work, and a line that says so or what is wrong.

    :param host: the host whose schedulers must all work; None: any one will do
    """
    if host is None:
        return _judge_all(signs, max_age)
    own = [sign for sign in signs if sign.host == host]
    breathing = [sign for sign in own if sign.breathes]
    for sign in breathing:
        if not sign.drains and not sign.ticks(max_age):
            return False, _wedged(sign)
    if not breathing:
        elsewhere = sum(sign.ticks(max_age) for sign in signs)
        hint = f"; {elsewhere} elsewhere (see --any)" if elsewhere else ""
        return False, f"no scheduler is alive on {host}{_last(own)}{hint}"
    ticking = [sign for sign in breathing if not sign.drains]
    if not ticking:
        return True, f"{breathing[0].name} is draining: it ends what it runs"
    latest = min(ticking, key=lambda sign: sign.age)
    return True, f"{latest.name} finished a tick {duration(latest.age)} ago"


def _judge_all(signs: Sequence[Sign], max_age: float) -> tuple[bool, str]:
    ticking = [sign for sign in signs if sign.ticks(max_age)]
    breathing = [sign for sign in signs if sign.breathes]
    if ticking:
        latest = min(ticking, key=lambda sign: sign.age)
        return True, (
            f"{len(ticking)} of {len(breathing)} schedulers claim jobs; {latest.name} "
            f"finished a tick {duration(latest.age)} ago"
        )
    for sign in breathing:
        if not sign.drains:
            return False, _wedged(sign)
    if breathing:
        return False, f"no scheduler claims jobs; {breathing[0].name} is draining"
    return False, f"no scheduler is alive{_last(signs)}"


def _wedged(sign: Sign) -> str:
    return (
        f"{sign.name} has not finished a tick for {duration(sign.age)}; its heart beats, "
        "but its loop hangs"
    )


def _last(signs: Sequence[Sign]) -> str:
    """Return what became of the scheduler that was alive last, in brackets."""
    if not signs:
        return ""
    last = max(signs, key=lambda sign: sign.left)
    if last.state == SchedulerProcess.State.DEAD:
        return f" ({last.name} ended {duration(-last.left)} ago)"
    return (
        f" ({last.name} was killed, froze or lost the database: its lease ran out "
        f"{duration(-last.left)} ago)"
    )


def _bounded(using: str, timeout: float) -> list[Sign]:
    """Read the signs in a thread that may be left behind: no driver is sure to return."""
    found: list[list[Sign]] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            found.append(_read(using))
        except BaseException as error:  # noqa: BLE001 (raised again by the caller)
            errors.append(error)
        finally:
            connections[using].close()

    thread = threading.Thread(target=work, name="apscheduler-check", daemon=True)
    thread.start()
    thread.join(timeout)
    if found:
        return found[0]
    if errors:
        raise errors[0]
    raise Unhealthy(f"the database {using!r} did not answer within {timeout:g} s")


def _read(using: str) -> list[Sign]:
    present = DatabaseNow()
    rows = SchedulerProcess.objects.using(using).annotate(present=present)
    living = rows.exclude(state=SchedulerProcess.State.DEAD).order_by()
    dead = rows.filter(state=SchedulerProcess.State.DEAD).order_by("-lease_until")
    try:
        signs = [_sign(row) for row in living]
        if not any(sign.breathes for sign in signs):
            # Only to say when the last one ended.
            signs += [_sign(row) for row in dead[:50]]
        return signs
    except Error as error:
        raise Unhealthy(_explain(using, error)) from error


def _sign(row: SchedulerProcess) -> Sign:
    present = row.present  # type: ignore[attr-defined]
    age = (present - (row.tick_time or row.started_time)).total_seconds()
    left = (row.lease_until - present).total_seconds()
    return Sign(str(row), row.host, row.state, max(age, 0.0), left)


def _explain(using: str, error: Error) -> str:
    """Return why the query failed: no database, no tables, or what the database says."""
    reason = " ".join(str(error).split())
    try:
        pending = preflight.pending_migrations(using)
    except Error:
        return f"the database {using!r} cannot be reached: {reason}"
    if pending:
        return (
            f"the database {using!r} lacks migrations of django_apscheduler "
            f"({', '.join(pending)}); run: manage.py migrate django_apscheduler"
        )
    return f"the database {using!r} says: {reason}"
