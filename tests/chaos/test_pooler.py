"""Schedulers behind PgBouncer, which gives each transaction another connection."""

from __future__ import annotations

import os
import pathlib
import signal
import socket
import time

import pytest
from django.db import connection

from tests.chaos import bodies, judge, plans
from tests.chaos.ledger import wait_for
from tests.jobstores.django.support import make_job, make_store, once
from tests.servers import PostgreSQL, program

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

#: Seconds in which nothing but a notification, or the poll that takes its place, can
#: have told of an edit.
POLL = 60
PORT = 6432


class PgBouncer(PostgreSQL):
    """A PgBouncer in transaction mode before the test's PostgreSQL server."""

    name = "PgBouncer"
    prefix = "apscheduler-pb-"
    ending = signal.SIGINT

    @staticmethod
    def missing():
        if program("pgbouncer") is None:
            return "needs PgBouncer: apt install pgbouncer"
        return None

    @property
    def socket(self):
        return f"{self.folder}/.s.PGSQL.{PORT}"

    def install(self):
        settings = connection.settings_dict
        target = f"host={settings['HOST']} user={settings['USER'] or 'postgres'}"
        if settings["PORT"]:
            target += f" port={settings['PORT']}"
        pathlib.Path(self.folder, "ini").write_text(
            f"[databases]\n* = {target}\n[pgbouncer]\npool_mode = transaction\n"
            f"unix_socket_dir = {self.folder}\nlisten_port = {PORT}\n"
            "listen_addr =\nauth_type = any\n"
        )
        os.chmod(self.folder, 0o777)

    def command(self):
        return [str(program("pgbouncer")), f"{self.folder}/ini"]

    def answers(self):
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(self.socket) == 0


@pytest.fixture
def pooler():
    """A PgBouncer of the test's own; its address as Django's settings have it."""
    if connection.vendor != "postgresql":
        pytest.skip("needs PostgreSQL: TEST_DB=postgres")
    if PgBouncer.missing():
        pytest.skip(PgBouncer.missing())
    server = PgBouncer()
    yield {"HOST": server.folder, "PORT": str(PORT)}
    server.remove()


def run_one(ledger, id):
    """Add a job past the pooler; return how many seconds pass until it runs."""
    due = plans.soon(0)
    make_store().add_job(make_job(id, bodies.note, once(due), due))
    added = time.time()
    wait_for(lambda: ledger.began(job=id))
    return ledger.began(job=id)[0].time - added


def test_a_scheduler_that_hears_nothing_says_so_and_looks_more_often(
    fleet, ledger, pooler, tell
):
    (member,) = fleet.start(database=pooler, store={"poll": POLL})
    wait_for(lambda: "Notifications of PostgreSQL do not come" in member.output())
    found = [run_one(ledger, f"job-{n}") for n in range(3)]
    assert max(found) < 5
    tell(seconds=[round(seconds, 3) for seconds in found])


def test_many_runs_through_a_pooler_run_once(fleet, ledger, pooler):
    fleet.start(2, database=pooler)
    start = plans.soon()
    expected = plans.add(plans.every(f"job-{n}", 0.5, start, 6) for n in range(20))
    wait_for(plans.all_settled, 60)
    assert judge.faults(ledger.entries(), plans.rows(), expected) == []
