"""Tables of stored jobs for the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import F

from django_apscheduler import clock, serialization
from django_apscheduler.conf import Configuration
from django_apscheduler.describe import describe
from django_apscheduler.management.console import Console, moment
from django_apscheduler.models import DjangoJob
from django_apscheduler.sync import django_stores


@dataclass(frozen=True, slots=True)
class Entry:
    """
    A job as a table shows it.

    :ivar state: "" for jobs that are active
    """

    id: str
    schedule: str
    next_run_time: datetime | None
    state: str


def stored_jobs(
    settings: Configuration, limit: int | None, finished: bool = False
) -> tuple[list[Entry], int]:
    """
    Return the jobs in the Django stores, those that run next first.

    :param limit: how many at most, None for all
    :param finished: whether jobs whose schedule has ended are listed, too
    :return: the entries, and how many jobs there are
    """
    entries: list[Entry] = []
    total = 0
    for using in django_stores(settings):
        rows = DjangoJob.objects.using(using).order_by(
            F("next_run_time").asc(nulls_last=True), "id"
        )
        if not finished:
            rows = rows.exclude(state=DjangoJob.State.FINISHED)
        total += rows.count()
        rows = rows.only(
            "id", "trigger", "anchor_time", "next_run_time", "state", "error"
        )
        entries += [_entry(row) for row in rows[:limit]]
    return entries[:limit], total


def _entry(row: DjangoJob) -> Entry:
    try:
        words = describe(serialization.load_trigger(row.trigger, row.anchor_time))
    except Exception as error:
        # A trigger of the user's own may raise anything; the list must show.
        words = f"cannot be read: {error}"
    state = "" if row.state == DjangoJob.State.ACTIVE else row.state
    if row.state == DjangoJob.State.BROKEN:
        words = row.error.strip().rpartition("\n")[2] or words
    return Entry(row.id, words, row.next_run_time, state)


def show(
    console: Console,
    entries: Sequence[Entry],
    total: int,
    more: str = "manage.py apscheduler list",
) -> None:
    """
    Print a table of jobs, and how many it leaves out.

    :param more: which command shows the rest
    """
    now = clock.now()
    console.say(f"{total} job{'' if total == 1 else 's'}", "title")
    rows = [
        (
            entry.state or moment(entry.next_run_time, now, console.zone),
            entry.id,
            entry.schedule,
        )
        for entry in entries
    ]
    console.table(("next run", "job", "schedule"), rows)
    if total > len(entries):
        console.say(f"  and {total - len(entries)} more ({more})")
