"""Proof that a scheduler works, whatever it has been through."""

from __future__ import annotations

from functools import partial

from tests.chaos import plans
from tests.chaos.fleet import Fleet, Member
from tests.chaos.ledger import Entry, wait_for


def runs_alone(member: Member, fleet: Fleet, seconds: float = 10) -> Entry:
    """
    Wait until a fresh one-off has run in ``member``, with all others standing still.

    :return: what its body wrote at its end
    """
    others = [other for other in fleet.living if other is not member]
    for other in others:
        other.freeze()
    try:
        job = f"fresh-{len(fleet.ledger.entries())}-{member.pid}"
        plans.add([plans.once(job, plans.soon(0))])
        ended = partial(fleet.ledger.ended, job=job, pid=member.pid)
        return wait_for(ended, seconds)[0]
    finally:
        for other in others:
            other.thaw()


def all_run(fleet: Fleet, seconds: float = 10) -> None:
    """Wait until each living scheduler has run something by itself: none is wedged."""
    for member in fleet.living:
        runs_alone(member, fleet, seconds)
