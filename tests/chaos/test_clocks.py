"""Processes whose clocks disagree by hours."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from tests.chaos import judge, plans, survivors
from tests.chaos.ledger import BEGAN, wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

HOUR = 3600
OFFSETS = (-HOUR, 0, HOUR)
#: Seconds by which a moment may differ for other reasons than a wrong clock.
SLACK = timedelta(seconds=5)


def test_schedulers_an_hour_apart_run_the_same_instants_once(
    fleet, ledger, scale, tell
):
    seconds = scale(4, 60)
    for offset in OFFSETS:
        fleet.start(1, clock_offset=offset, wait=False)
    for member in fleet.members:
        member.await_ready()
    start = plans.soon()
    grace = {"misfire_grace_time": 30}
    expected = plans.add(
        [
            *(
                plans.every(f"every-{n}", 0.5, start, 2 * seconds, **grace)
                for n in range(8)
            ),
            *(plans.cron(f"cron-{n}", 1, start, seconds, **grace) for n in range(4)),
        ]
    )
    wait_for(plans.all_settled, seconds + 60)
    entries, rows = ledger.entries(), plans.rows()
    assert judge.faults(entries, rows, expected) == []
    assert judge.gaps(rows, expected, ["Executed"]) == []
    begun = [entry for entry in entries if entry.event == BEGAN]
    assert Counter(entry.key for entry in begun) == Counter(expected)
    # Whoever was idle meanwhile runs something now.
    for member in fleet.members:
        begun.append(survivors.runs_alone(member, fleet))
    # A body's last word comes before its outcome is written.
    wait_for(plans.all_settled, 30)
    late = max(e.time - e.run_time.timestamp() for e in begun)
    early = min(e.time - e.run_time.timestamp() for e in begun)
    assert -0.1 < early <= late < SLACK.total_seconds()
    for row in plans.rows():
        # The times in the log are the database's, whoever wrote them.
        for moment in (row.claimed_time, row.started_time, row.finished_time):
            assert abs(moment - row.run_time) < SLACK, (row.owner, row.run_time, moment)
    tell(occurrences=len(expected), latest=f"{late:.2f} s")
