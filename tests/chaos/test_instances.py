"""A job's ``max_instances`` counts in all schedulers together."""

from __future__ import annotations

import pytest

from tests.chaos import bodies, judge, plans
from tests.chaos.ledger import BEGAN, wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

MEMBERS = 4


def test_max_instances_holds_over_all_schedulers(fleet, ledger, scale, tell):
    seconds = scale(5, 45)
    fleet.start(
        MEMBERS, executors={"default": {"type": "threadpool", "max_workers": 3}}
    )
    start, limits = plans.soon(), {"one": 1, "three": 3}
    expected = plans.add(
        # Due three times as often as the bodies allow.
        plans.every(
            id, 0.1, start, seconds * 10, bodies.slow,
            args=(0.3 * limit,), max_instances=limit,
        )
        for id, limit in limits.items()
    )  # fmt: skip
    wait_for(plans.all_settled, 3 * seconds + 60)
    entries, rows = ledger.entries(), plans.rows()
    assert judge.overlaps(entries, limits) == []
    assert judge.faults(entries, rows, expected) == []
    # The limits were reached, and it was not one scheduler that kept them alone.
    assert judge.most_at_once(entries) == limits
    begun = [entry for entry in entries if entry.event == BEGAN]
    assert len({entry.pid for entry in begun}) > 1
    skipped = [row for row in rows if row.status == "Max instances!"]
    assert skipped
    tell(occurrences=len(expected), ran=len(begun), skipped=len(skipped))
