"""The processes of a pool do not outlive their scheduler."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

import pytest

from tests.chaos import bodies, plans
from tests.chaos.fleet import children, gone
from tests.chaos.ledger import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

#: Within this time of their parent's end by ``kill -9``.
GONE_SECONDS = 1.0

POOL = {"default": {"type": "processpool", "max_workers": 2}}

# What the processes do when their parent is killed.
IDLE, RESTING = (bodies.note, ()), (bodies.slow, (60.0,))
BUSY, POSSESSED = (bodies.stubborn, (60.0,)), (bodies.possessive, (10**11,))


@pytest.mark.parametrize(
    ("body", "args"),
    [IDLE, RESTING, BUSY, POSSESSED],
    ids=["idle", "resting", "busy and deaf to signals", "holding the interpreter"],
)
def test_processes_of_a_pool_are_gone_within_a_second(fleet, ledger, body, args, tell):
    (member,) = fleet.start(executors=POOL)
    at = plans.soon(0)
    # Two, so that both processes have been started.
    plans.add([plans.once(f"job-{n}", at, body, args=args) for n in range(2)])
    if body is bodies.note:
        wait_for(plans.all_settled)
    began = ledger.wait_for(lambda entries: len(entries) >= 2 and entries)
    workers = {entry.pid for entry in began}
    family = children(member.pid)
    assert workers <= set(family)
    assert member.pid not in workers
    member.kill()
    try:
        wait_for(lambda: all(map(gone, family)), GONE_SECONDS)
    finally:
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    tell(
        processes=len(family),
        gone_after=f"{time.clock_gettime(time.CLOCK_MONOTONIC) - member.died_at:.2f} s",
    )
