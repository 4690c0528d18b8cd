"""A database server that crashes under load and comes back, and one that hangs up."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from django.core.management import call_command
from django.db import connection, connections

from tests import servers
from tests.chaos import bodies, judge, plans, survivors
from tests.chaos.ledger import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

KINDS = {"postgresql": servers.PostgreSQL, "mysql": servers.MariaDB}


@pytest.fixture
def server(transactional_db: None) -> Iterator[servers.Server]:
    """A server that may crash, and this thread's connection to it as the ordinary one."""
    kind = KINDS.get(connection.vendor)
    if kind is None:
        pytest.skip("a file has no server; TEST_DB=postgres or mariadb has one")
    missing = kind.missing()
    if missing:
        pytest.skip(missing)
    server = kind()
    ordinary = connections["default"]
    try:
        connections["default"] = own = type(ordinary)(
            {**ordinary.settings_dict, **login(server)}, "default"
        )
        if own.vendor == "mysql":
            create(own)
        call_command("migrate", "django_apscheduler", verbosity=0)
        yield server
    finally:
        connections["default"].close()
        connections["default"] = ordinary
        server.remove()


def login(server):
    """Return what is different in a connection's settings for the server."""
    if isinstance(server, servers.PostgreSQL):
        host = {"HOST": server.folder, "USER": "postgres", "NAME": "postgres"}
    else:
        host = {"HOST": server.socket, "USER": "root", "NAME": "apscheduler"}
    return {**host, "PORT": "", "PASSWORD": ""}


def create(own):
    """Create the database of a connection that has none yet."""
    name = own.settings_dict["NAME"]
    own.settings_dict["NAME"] = ""
    with own.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    own.close()
    own.settings_dict["NAME"] = name


def crash(server, seconds):
    """Crash the server, leave it down for some seconds, and start it again."""
    server.kill()
    time.sleep(seconds)
    server.start()
    # The connection of this test has died as well.
    connections["default"].close()


def test_schedulers_survive_a_server_that_crashes_under_load(
    server, fleet, ledger, scale, tell
):
    crashes, pause, seconds = scale((2, 1.0, 12), (10, 3.0, 60))
    fleet.start(3, database=login(server))
    expected = plans.add(
        plans.every(
            f"every-{n}", 0.5, plans.soon(n / 10), 2 * seconds, bodies.slow, args=(0.1,)
        )
        for n in range(10)
    )
    pids = {member.pid for member in fleet.members}
    resumed = []
    for _ in range(crashes):
        time.sleep(pause)
        crash(server, 0.5)
        up = time.time()
        # One that was due after that must have been claimed after it as well.
        ledger.wait_for(
            lambda _, up=up: any(e.run_time.timestamp() > up for e in ledger.began()),
            15,
        )
        resumed.append(time.time() - up)
    wait_for(plans.all_settled, seconds + 60)
    entries, rows = ledger.entries(), plans.rows()
    assert judge.faults(entries, rows, expected) == []
    assert judge.gaps(rows, expected, ["Executed"]) == []
    # All of them are still the processes that were started, and none was lost.
    assert {member.pid for member in fleet.living} == pids
    assert {entry.attempt for entry in entries} == {1}
    assert max(resumed) < 8
    survivors.all_run(fleet)
    tell(
        crashes=crashes, occurrences=len(expected),
        longest_until_a_new_claim_ran=f"{max(resumed):.1f} s",
    )  # fmt: skip


def test_an_outage_longer_than_the_lease_makes_nobody_take_others_for_dead(
    server, fleet, ledger
):
    hasty = {"lease": 3, "heartbeat": 0.5}
    fleet.start(3, database=login(server), store=hasty)
    expected = plans.add(
        plans.once(f"once-{n}", plans.soon(0), bodies.slow, args=(7,)) for n in range(9)
    )
    ledger.wait_for(lambda _: len(ledger.began()) == 9)
    crash(server, 4)
    wait_for(plans.all_settled)
    assert judge.faults(ledger.entries(), plans.rows(), expected) == []
    # Their bodies went on meanwhile, and so nothing ran again.
    assert {entry.attempt for entry in ledger.entries()} == {1}
    assert judge.gaps(plans.rows(), expected, ["Executed"]) == []
    survivors.all_run(fleet)


def hang_up():
    """Have the server end all connections but this one; return how many."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )
            return len(cursor.fetchall())
        cursor.execute(
            "SELECT id FROM information_schema.processlist WHERE db = DATABASE() "
            "AND id <> CONNECTION_ID()"
        )
        ids = [id for (id,) in cursor.fetchall()]
        for id in ids:
            cursor.execute(f"KILL {id}")
        return len(ids)


@pytest.mark.skipif(connection.vendor == "sqlite", reason="a file has no connections")
def test_schedulers_survive_a_storm_of_hung_up_connections(fleet, ledger, scale, tell):
    seconds = scale(4, 30)
    fleet.start(3)
    expected = plans.add(
        plans.every(f"every-{n}", 0.5, plans.soon(n / 10), 2 * seconds)
        for n in range(10)
    )
    ended, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.5)
        ended += hang_up()
    wait_for(plans.all_settled, 60)
    assert ended > 3 * seconds
    assert judge.faults(ledger.entries(), plans.rows(), expected) == []
    assert judge.gaps(plans.rows(), expected, ["Executed"]) == []
    assert {entry.attempt for entry in ledger.entries()} == {1}
    survivors.all_run(fleet)
    tell(connections_ended=ended, occurrences=len(expected))
