"""Deploys under load: `manage.py runapscheduler` stopped and started again and again."""

from __future__ import annotations

import time

import pytest

from tests.chaos import bodies, judge, plans, survivors
from tests.chaos.ledger import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

COMMAND = {"command": ["-m", "django", "runapscheduler"], "ready": "Running; stop with"}


def test_deploys_under_load_lose_nothing_and_begin_nothing_twice(
    fleet, ledger, scale, tell
):
    deploys, seconds = scale((2, 8), (10, 60))
    fleet.start(2, **COMMAND)
    expected = plans.add(
        plans.every(
            f"every-{n}", 0.5, plans.soon(n / 20), 2 * seconds, bodies.slow, args=(0.2,)
        )
        for n in range(20)
    )
    drains = []
    for n in range(deploys):
        ledger.wait_for(lambda entries: len(entries) > 20)
        old = fleet.living[0]
        fleet.start(1, **COMMAND, release=f"release-{n}")
        began = time.monotonic()
        old.terminate()
        assert old.wait() == 0
        drains.append(time.monotonic() - began)
    wait_for(plans.all_settled, seconds + 60)
    entries, rows = ledger.entries(), plans.rows()
    assert judge.faults(entries, rows, expected) == []
    assert judge.gaps(rows, expected, ["Executed"]) == []
    # A run claimed but not begun is handed back, and is nobody's loss.
    assert {row.attempt for row in rows} == {1}
    assert {row.losses for row in rows} == {0}
    survivors.all_run(fleet)
    tell(
        deploys=deploys, occurrences=len(expected),
        handed_back=sum("Handed back" in row.note for row in rows),
        longest_drain=f"{max(drains):.1f} s",
    )  # fmt: skip


def test_what_a_stopping_scheduler_has_not_begun_runs_elsewhere_at_once(
    fleet, ledger, tell
):
    # One thread that was fast takes runs ahead, which then wait behind a slow one.
    one = {"default": {"type": "threadpool", "max_workers": 1}}
    (old,) = fleet.start(1, executors=one)
    fast = [plans.once(f"fast-{n}", plans.soon(0)) for n in range(300)]
    slow = [
        plans.once(f"slow-{n}", plans.soon(0), bodies.slow, args=(1.5,))
        for n in range(40)
    ]
    expected = plans.add([*fast, *slow])
    ledger.wait_for(lambda entries: any(e.job.startswith("slow") for e in entries), 30)
    (new,) = fleet.start(1)
    wait_for(lambda: claimed_by(old) > 0)
    waiting = claimed_by(old)
    old.terminate()
    stopped = time.clock_gettime(time.CLOCK_MONOTONIC)
    assert old.wait() == 0
    wait_for(plans.all_settled, 60)
    assert judge.faults(ledger.entries(), plans.rows(), expected) == []
    back = [row for row in plans.rows() if "Handed back" in row.note]
    assert len(back) >= 1
    assert {row.attempt for row in plans.rows()} == {1}
    ids = {row.pk for row in back}
    begun = [e for e in ledger.began() if e.execution_id in ids]
    assert {e.pid for e in begun} == {new.pid}
    first = min(e.boot for e in begun) - stopped
    assert first < 2
    tell(claimed=waiting, handed_back=len(back), first_after=f"{first:.2f} s")


def claimed_by(member):
    """Return how many runs a process has claimed that have not begun."""
    log = plans.rows()
    return sum(
        row.status == "Claimed" and row.owner.pid == member.pid
        for row in log
        if row.owner_id is not None
    )
