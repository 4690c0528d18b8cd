"""Schedulers that stand still for longer than their lease, and come back."""

from __future__ import annotations

import os
import signal
import time

import psutil
import pytest
from django.db import connection

from django_apscheduler.models import DjangoJobExecution, SchedulerProcess
from tests.chaos import bodies, judge, plans
from tests.chaos.ledger import wait_for
from tests.chaos.survivors import runs_alone

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

#: Short enough for a test, with heartbeats to spare.
HASTY = {"lease": 2, "heartbeat": 0.5}


def frozen(member):
    return psutil.Process(member.pid).status() == psutil.STATUS_STOPPED


def test_a_frozen_schedulers_runs_are_rescued_once_and_its_own_word_comes_too_late(
    fleet, ledger, scale, tell
):
    seconds = scale(6, 30)
    # Stands by, for long enough not to be taken for dead itself.
    (rescuer,) = fleet.start(1, store={"lease": 60, "heartbeat": 0.5})
    rescuer.freeze()
    (sleeper,) = fleet.start(1, store=HASTY)
    expected = plans.add(
        [
            plans.once(f"once-{n}", plans.soon(0), bodies.slow, args=(2,))
            for n in range(5)
        ]
    )
    ledger.wait_for(lambda _: len(ledger.began(pid=sleeper.pid)) == 5)
    log = DjangoJobExecution.objects
    wait_for(lambda: log.filter(status="Started execution").count() == 5)
    sleeper.freeze()
    rescuer.thaw()
    began = time.monotonic()
    ledger.wait_for(lambda _: len(ledger.began(pid=rescuer.pid)) == 5)
    rescued = time.monotonic() - began
    wait_for(plans.all_settled)
    before = list(log.order_by("id").values())
    time.sleep(max(0.0, seconds - (time.monotonic() - began)))
    sleeper.thaw()
    # Its bodies end now, and what it says of them is refused.
    ledger.wait_for(lambda _: len(ledger.ended(pid=sleeper.pid)) == 5)
    own = SchedulerProcess.objects.filter(pid=sleeper.pid)
    wait_for(lambda: own.filter(state="alive").exists())
    wait_for(lambda: "comes too late" in sleeper.output())
    assert list(log.order_by("id").values()) == before
    assert {(r["status"], r["attempt"], r["losses"]) for r in before} == {
        ("Executed", 2, 1)
    }
    assert judge.faults(ledger.entries(), plans.rows(), expected) == []
    assert rescued < 10
    runs_alone(sleeper, fleet)
    runs_alone(rescuer, fleet)
    tell(frozen=f"{seconds} s", rescued_after=f"{rescued:.1f} s")


@pytest.mark.skipif(
    connection.vendor == "sqlite",
    reason="SQLite has one lock, and nobody who takes it from a frozen process",
)
def test_locks_of_a_scheduler_frozen_inside_a_claim_free_themselves(
    fleet, ledger, tell
):
    fleet.start(1)
    (sleeper,) = fleet.start(1, failpoint="before-commit:1:STOP")
    # So that the one with the failpoint claims.
    fleet.members[0].freeze()
    expected = plans.add([plans.once(f"once-{n}", plans.soon(0)) for n in range(5)])
    wait_for(lambda: frozen(sleeper))
    began = time.monotonic()
    fleet.members[0].thaw()
    wait_for(plans.all_settled, 30)
    freed = time.monotonic() - began
    assert freed < 11
    sleeper.thaw()
    assert {e.pid for e in ledger.began()} == {fleet.members[0].pid}
    assert judge.faults(ledger.entries(), plans.rows(), expected) == []
    # Nothing of the claim was committed, so nothing was lost.
    assert {entry.attempt for entry in ledger.entries()} == {1}
    runs_alone(sleeper, fleet)
    runs_alone(fleet.members[0], fleet)
    tell(locks_freed_after=f"{freed:.1f} s")


@pytest.mark.skipif(
    connection.vendor != "sqlite", reason="servers free the locks by themselves"
)
@pytest.mark.parametrize("ending", [signal.SIGCONT, signal.SIGKILL])
def test_others_go_on_when_a_frozen_writer_of_the_file_comes_back_or_dies(
    fleet, ledger, ending
):
    (other,) = fleet.start(1)
    other.freeze()
    (sleeper,) = fleet.start(1, failpoint="before-commit:1:STOP")
    expected = plans.add([plans.once(f"once-{n}", plans.soon(0)) for n in range(5)])
    wait_for(lambda: frozen(sleeper))
    other.thaw()
    time.sleep(1)
    assert not ledger.began()
    os.kill(sleeper.pid, ending)
    wait_for(plans.all_settled, 30)
    assert judge.faults(ledger.entries(), plans.rows(), expected) == []
    assert {entry.attempt for entry in ledger.entries()} == {1}
    if ending == signal.SIGKILL:
        sleeper.wait()
    runs_alone(other, fleet)
