"""Every occurrence runs once, however many schedulers share the database."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from tests.chaos import judge, plans
from tests.chaos.ledger import BEGAN, wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

MEMBERS = 4


def mixed(jobs, seconds, start):
    """
    Plan recurring jobs, one-offs and a few crons that are due within ``seconds``.

    Phases are spread, and one in five shares its instants with others.
    """
    found = []
    for n in range(jobs):
        phase = start + timedelta(seconds=n * 0.37 % seconds * (n % 5 > 0))
        left = seconds - (phase - start).total_seconds()
        if n % 25 == 24:
            step = (1, 2, 5)[n // 25 % 3]
            found.append(plans.cron(f"cron-{n}", step, start, seconds // step))
        elif n % 2:
            found.append(plans.once(f"once-{n}", phase))
        else:
            interval = (1.0, 1.5, 2.0, 5.0)[n // 2 % 4] * seconds / 8
            times = int(left / interval) + 1
            found.append(plans.every(f"every-{n}", interval, phase, times))
    return found


def test_four_schedulers_run_every_occurrence_once(fleet, ledger, scale, tell):
    jobs, seconds = scale((150, 8), (1000, 60))
    fleet.start(MEMBERS)
    expected = plans.add(mixed(jobs, seconds, plans.soon()))
    wait_for(plans.all_settled, 4 * seconds + 60)
    entries, rows = ledger.entries(), plans.rows()
    assert judge.faults(entries, rows, expected) == []
    assert judge.gaps(rows, expected, ["Executed"]) == []
    begun = [entry for entry in entries if entry.event == BEGAN]
    # No scheduler died, so nothing is excused from running once.
    assert Counter(entry.key for entry in begun) == Counter(expected)
    assert {entry.attempt for entry in entries} == {1}
    shares = Counter(entry.pid for entry in begun)
    assert shares.keys() == {member.pid for member in fleet.members}
    tell(
        jobs=jobs, occurrences=len(expected), shares=sorted(shares.values()),
        latest=f"{max(e.time - e.run_time.timestamp() for e in begun):.2f} s",
    )  # fmt: skip
