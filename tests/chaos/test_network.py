"""Connections that break, fall silent, or lose the one reply that matters."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from django.db import connection

from django_apscheduler.models import DjangoJobExecution
from tests.chaos import LONG, bodies, judge, plans, survivors
from tests.chaos.ledger import wait_for
from tests.chaos.proxy import Proxy

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.processes,
    pytest.mark.skipif(
        connection.vendor == "sqlite",
        reason="a file has no network; TEST_DB=postgres or mariadb has one",
    ),
]

long_only = pytest.mark.skipif(
    not LONG,
    reason="takes too long beside the other tests: make chaos",
)

#: Short enough for a test, with heartbeats to spare.
HASTY = {"lease": 3, "heartbeat": 0.5}
#: What only a claim, and only the writing of outcomes, says to the database.
CLAIM = r"INSERT .*INTO .django_apscheduler_djangojobexecution"
OUTCOME = r"UPDATE .django_apscheduler_djangojobexecution.*finished_time"


@pytest.fixture
def proxy():
    """A network of its own for some of the schedulers."""
    with Proxy.before(connection) as proxy:
        yield proxy


def judged(ledger, expected):
    """Return all faults of what has run so far."""
    return judge.faults(ledger.entries(), plans.rows(), expected)


def test_dropped_connections_are_opened_again(fleet, ledger, proxy, scale, tell):
    seconds = scale(3, 30)
    fleet.start(3, database=proxy.database)
    expected = plans.add(
        [
            plans.every(f"every-{n}", 0.5, plans.soon(n / 10), 2 * seconds)
            for n in range(10)
        ]
    )
    dropped, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.7)
        dropped += proxy.drop()
    wait_for(plans.all_settled, 60)
    assert dropped > 2 * seconds
    assert judged(ledger, expected) == []
    assert judge.gaps(plans.rows(), expected, ["Executed"]) == []
    # Nobody died, so nothing may have run again.
    assert {entry.attempt for entry in ledger.entries()} == {1}
    survivors.all_run(fleet)
    tell(dropped=dropped, occurrences=len(expected))


@pytest.mark.parametrize(
    "silent",
    [
        pytest.param({"requests": True, "replies": True}, id="both ways"),
        pytest.param(
            {"requests": True, "replies": False}, id="to the server", marks=long_only
        ),
        pytest.param(
            {"requests": False, "replies": True}, id="from the server", marks=long_only
        ),
    ],
)
def test_a_network_that_swallows_everything_is_noticed(
    fleet, ledger, proxy, silent, scale
):
    (cut_off,) = fleet.start(1, database=proxy.database, store=HASTY)
    seconds = scale(4, 30)
    expected = plans.add(
        [
            plans.every(
                f"every-{n}", 1, plans.soon(n / 4), seconds, bodies.slow, args=(0.3,)
            )
            for n in range(4)
        ]
    )
    ledger.wait_for(lambda _: ledger.began(pid=cut_off.pid))
    proxy.hole(**silent)
    # The other one starts now: it could have been the first at every run before.
    fleet.start(1, store=HASTY)
    # Not before everything of its has been given up, of itself.
    wait_for(lambda: cut_off.output().count("has not answered") >= 2, 30)
    lost_in_hole = proxy.connections
    proxy.heal()
    wait_for(plans.all_settled, 60)
    assert judged(ledger, expected) == []
    assert judge.gaps(plans.rows(), expected, ["Executed"]) == []
    assert lost_in_hole >= 2
    survivors.all_run(fleet)


def test_a_claim_whose_commit_goes_unanswered_is_run_once(fleet, ledger, proxy, tell):
    fleet.start(1, database=proxy.database)
    swallow = proxy.swallow(CLAIM)
    expected = plans.add([plans.once("once", plans.soon(0))])
    assert swallow.done.wait(10)
    committed = time.monotonic()
    log = DjangoJobExecution.objects.values_list("status", "attempt")
    assert log.get() == ("Claimed", 1)
    wait_for(plans.all_settled, 20)
    tell(seconds_until_run=f"{time.monotonic() - committed:.1f}")
    assert judged(ledger, expected) == []
    assert log.get() == ("Executed", 1)
    survivors.all_run(fleet)


def test_an_outcome_whose_commit_goes_unanswered_stands(fleet, ledger, proxy):
    fleet.start(1, database=proxy.database)
    swallow = proxy.swallow(OUTCOME)
    expected = plans.add([plans.once("once", plans.soon(0))])
    assert swallow.done.wait(10)
    before = DjangoJobExecution.objects.values().get()
    assert before["status"] == "Executed"
    survivors.all_run(fleet)
    assert DjangoJobExecution.objects.filter(job_id="once").values().get() == before
    assert Counter(e.key for e in ledger.began(job="once")) == Counter(expected)


def test_unanswered_commits_under_load_lose_and_double_nothing(
    fleet, ledger, proxy, scale, tell
):
    seconds, times = scale((4, 4), (40, 60))
    fleet.start(3, database=proxy.database)
    swallows = [proxy.swallow(CLAIM, times), proxy.swallow(OUTCOME, times)]
    expected = plans.add(
        [
            plans.every(f"every-{n}", 0.5, plans.soon(n / 10), 2 * seconds)
            for n in range(10)
        ]
    )
    wait_for(plans.all_settled, 90)
    assert all(swallow.done.is_set() for swallow in swallows)
    assert judged(ledger, expected) == []
    assert judge.gaps(plans.rows(), expected, ["Executed"]) == []
    assert {entry.attempt for entry in ledger.entries()} == {1}
    survivors.all_run(fleet)
    tell(replies_lost=2 * times, occurrences=len(expected))
