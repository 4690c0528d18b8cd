"""
What must be true of a run, whatever happened to the schedulers.

Each function answers a list of faults in words, empty when all is well. The evidence is
the ledger's entries, the rows of the execution log, and the occurrences that the test
expects: pairs of job id and run time.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime

from django_apscheduler.models import DjangoJobExecution
from tests.chaos.ledger import BEGAN, ENDED, Entry

Occurrence = tuple[str, datetime]
Rows = Iterable[DjangoJobExecution]

#: What a note says of an attempt that was given to another scheduler.
LOSS = "was lost"
#: The process id in such a note.
VICTIM = re.compile(rf":(\d+) {LOSS}")


def gaps(
    rows: Rows, expected: Iterable[Occurrence], statuses: Iterable[str] = ()
) -> list[str]:
    """
    Every expected occurrence has a row with its outcome.

    :param statuses: outcomes that count; any final one when empty
    """
    wanted = set(statuses)
    single: dict[Occurrence, str] = {}
    spans: dict[str, list[DjangoJobExecution]] = defaultdict(list)
    for row in rows:
        if row.status in DjangoJobExecution.ACTIVE or (
            wanted and row.status not in wanted
        ):
            continue
        single[_key(row)] = row.status
        if row.last_run_time is not None:
            spans[row.job_id or ""].append(row)
    return [
        f"{_name(key)} has no outcome{f' of {sorted(wanted)}' if wanted else ''}"
        for key in sorted(expected)
        if key not in single
        and not any(
            row.run_time <= key[1] <= row.last_run_time for row in spans[key[0]]
        )
    ]


def doubles(rows: Rows) -> list[str]:
    """No occurrence has more than one row; runs that people asked for do not count."""
    counts = Counter(
        _key(row) for row in rows if row.origin == DjangoJobExecution.Origin.SCHEDULE
    )
    return [f"{_name(key)} has {n} rows" for key, n in counts.items() if n > 1]


def strangers(
    entries: Iterable[Entry], rows: Rows, expected: Iterable[Occurrence]
) -> list[str]:
    """Nothing ran and nothing is in the log that was not expected."""
    known = set(expected)
    return [
        *(f"{_name(e.key)} ran unexpectedly" for e in entries if e.key not in known),
        *(
            f"{_name(_key(row))} is a stray row"
            for row in rows
            if _key(row) not in known
        ),
    ]


def begun_twice(entries: Iterable[Entry]) -> list[str]:
    """No attempt at an occurrence began twice."""
    counts = Counter(
        (entry.key, entry.attempt) for entry in entries if entry.event == BEGAN
    )
    return [
        f"{_name(key)}: attempt {attempt} began {n} times"
        for (key, attempt), n in counts.items()
        if n > 1
    ]


def unexplained(entries: Iterable[Entry], rows: Rows) -> list[str]:
    """An attempt after the first has a row that records the loss of the one before."""
    highest: dict[Occurrence, int] = {}
    for entry in entries:
        highest[entry.key] = max(highest.get(entry.key, 1), entry.attempt)
    faults = []
    for row in rows:
        attempts = max(row.attempt, highest.get(_key(row), 1))
        losses = (row.note or "").count(LOSS)
        if attempts > 1 + losses:
            faults.append(
                f"{_name(_key(row))}: attempt {attempts}, but {losses} losses are "
                f"recorded: {row.note!r}"
            )
        if row.attempt < highest.get(_key(row), 1):
            faults.append(f"{_name(_key(row))}: the row forgot a later attempt")
    return faults


def unfounded(entries: Iterable[Entry], rows: Rows) -> list[str]:
    """A row that says Executed has a body that ended, of the same attempt."""
    ended = {(e.execution_id, e.attempt) for e in entries if e.event == ENDED}
    return [
        f"{_name(_key(row))}: Executed in attempt {row.attempt}, which never ended"
        for row in rows
        if row.status == DjangoJobExecution.SUCCESS
        and (row.pk, row.attempt) not in ended
    ]


def unfinished(rows: Rows) -> list[str]:
    """Nothing waits, is claimed or runs any more."""
    return [
        f"{_name(_key(row))} is still {row.status}"
        for row in rows
        if row.status in DjangoJobExecution.ACTIVE
    ]


def most_at_once(
    entries: Iterable[Entry], deaths: Mapping[int, float] | None = None
) -> dict[str, int]:
    """
    Return how many bodies of each job ran at once at most, in all processes.

    :param deaths: process id → when it was killed, on the machine's monotonic clock:
        its bodies ended then
    """
    deaths = deaths or {}
    begun: dict[tuple, Entry] = {}
    moments: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for entry in entries:
        body = (entry.key, entry.attempt, entry.pid)
        if entry.event == BEGAN:
            begun[body] = entry
        elif body in begun:
            began = begun.pop(body)
            moments[entry.job] += [(began.boot, 1), (entry.boot, -1)]
    for entry in begun.values():
        end = deaths.get(entry.pid, math.inf)
        moments[entry.job] += [(entry.boot, 1), (end, -1)]
    found = {}
    for job, steps in moments.items():
        inside = found[job] = 0
        # At the same moment, an end comes before a begin.
        for _, step in sorted(steps):
            inside += step
            found[job] = max(found[job], inside)
    return found


def overlaps(
    entries: Iterable[Entry],
    limits: Mapping[str, int],
    deaths: Mapping[int, float] | None = None,
) -> list[str]:
    """
    Never more bodies of a job at once than its ``max_instances``.

    :param limits: by job id
    :param deaths: as for `most_at_once`
    """
    most = most_at_once(entries, deaths)
    return [
        f"{job}: {most[job]} bodies at once, {limit} allowed"
        for job, limit in limits.items()
        if most.get(job, 0) > limit
    ]


def repeated(entries: Iterable[Entry], jobs: Iterable[str]) -> list[str]:
    """Bodies of jobs that must run at most once (``on_lost="mark"``) began once."""
    wanted = set(jobs)
    counts = Counter(e.key for e in entries if e.event == BEGAN and e.job in wanted)
    return [f"{_name(key)} began {n} times" for key, n in counts.items() if n > 1]


def takeovers(
    entries: Iterable[Entry], rows: Rows, deaths: Mapping[int, float]
) -> dict[Occurrence, float]:
    """
    Return how long after a process's death what it had claimed began elsewhere.

    Occurrences that were lost more than once are left out: a second scheduler may have
    died with them before their bodies began, which no ledger tells.

    :return: seconds by occurrence; for reports and limits, not a list of faults
    """
    begun: dict[Occurrence, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.event == BEGAN:
            begun[entry.key].append(entry)
    waits: dict[Occurrence, float] = {}
    for row in rows:
        lost = VICTIM.findall(row.note)
        if len(lost) != 1 or int(lost[0]) not in deaths:
            continue
        pid, later = int(lost[0]), begun[_key(row)]
        times = [entry.boot for entry in later if entry.pid != pid]
        if times:
            waits[_key(row)] = min(times) - deaths[pid]
    return waits


def delay(entries: Iterable[Entry]) -> float:
    """
    Return how late nine of ten ordinary runs began at most, in seconds.

    That is how much an overloaded machine adds to whatever is to happen in time.
    """
    first = [e for e in entries if e.event == BEGAN and e.attempt == 1]
    late = sorted(entry.time - entry.run_time.timestamp() for entry in first)
    return max(0.0, late[len(late) * 9 // 10])


def faults(
    entries: Iterable[Entry], rows: Rows, expected: Iterable[Occurrence]
) -> list[str]:
    """All that must be true of every run: no gap, no double, no unexplained rerun."""
    entries, rows, expected = list(entries), list(rows), list(expected)
    return [
        *gaps(rows, expected),
        *doubles(rows),
        *strangers(entries, rows, expected),
        *begun_twice(entries),
        *unexplained(entries, rows),
        *unfounded(entries, rows),
        *unfinished(rows),
    ]


def _key(row: DjangoJobExecution) -> Occurrence:
    return row.job_id or "", row.run_time


def _name(key: Occurrence) -> str:
    return f"{key[0]} at {key[1]:%H:%M:%S.%f}"
