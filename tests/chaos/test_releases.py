"""A rolling deploy, and the way back: two releases of a project on one database."""

from __future__ import annotations

import json
import os
import pathlib
import sys
from datetime import timedelta

import pytest

from django_apscheduler.models import DjangoJob
from tests.chaos import judge, plans, releases
from tests.chaos.ledger import BEGAN, wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

FOLDER = pathlib.Path(releases.__file__).parent
STEP = timedelta(seconds=0.2)
#: Runs of a job that mean that all processes have synchronised several times since.
SEVERAL = 5


@pytest.fixture
def release(fleet):
    """Start commands of one of the two releases."""

    def start(name, *arguments, n=1, ready="Running; stop with", **options):
        path = os.pathsep.join([str(FOLDER / name), *sys.path])
        return fleet.start(
            n,
            command=["-m", "tests.chaos.releases.run", *arguments],
            release={"one": "1.9", "two": "1.10"}[name],
            env={
                "DJANGO_SETTINGS_MODULE": "tests.chaos.releases.settings",
                "PYTHONPATH": path,
            },
            ready=ready,
            **options,
        )

    return start


def states():
    return dict(DjangoJob.objects.values_list("id", "state"))


def changed():
    """Return which release's declaration of the changed job holds."""
    job = DjangoJob.objects.get(pk="changed")
    seconds = json.loads(job.trigger)["args"]["seconds"]
    return json.loads(job.kwargs)["release"], seconds


@pytest.mark.timeout(300)
def test_two_releases_share_a_database_on_the_way_there_and_back(
    release, ledger, fleet, tell
):
    def runs(job, members, after):
        pids = {member.pid for member in members}
        return [
            entry
            for entry in ledger.began(job=job)[after.get(job, 0) :]
            if entry.pid in pids
        ]

    def so_far():
        return {job: len(ledger.began(job=job)) for job in states()}

    def both(job, members, after):
        """Wait until a job has run several times since, by these members only."""
        wait_for(lambda: len(runs(job, members, after)) >= SEVERAL, 60)
        strange = {e.pid for e in ledger.began(job=job)[after.get(job, 0) :]}
        assert strange <= {member.pid for member in members}

    def retire(members):
        for member in members:
            member.terminate()
        assert {member.wait(60) for member in members} == {0}

    old = release("one", "runapscheduler", n=2)
    both("removed", old, {})
    assert states() == dict.fromkeys(("kept", "changed", "removed"), "active")
    assert changed() == (1, 0.2)

    # Both releases run. The newer one has the say on what both declare.
    new = release("two", "runapscheduler", n=2)
    before = so_far()
    both("fresh", new, {})
    both("removed", old, before)
    adding = (
        "from django_apscheduler import get_scheduler; "
        "get_scheduler().add_job('storefront.jobs:by_hand', id='by hand')"
    )
    (view,) = release("two", "shell", "-c", adding, wait=False)
    assert view.wait() == 0
    both_pids = {member.pid for member in new}
    wait_for(lambda: ledger.ended(job="by hand"))
    assert {entry.pid for entry in ledger.began(job="by hand")} <= both_pids
    assert changed() == (2, 0.3)
    active = dict.fromkeys(("kept", "changed", "removed", "fresh"), "active")
    assert states() == {**active, "by hand": "finished"}

    # The old release goes: what only it declared is disabled, not broken.
    retire(old)
    wait_for(lambda: states()["removed"] == "disabled", 60)
    before = so_far()
    both("changed", new, before)
    assert ledger.began(job="removed")[before["removed"] :] == []

    # The way back: nothing changes while the newer release is there.
    again = release("one", "runapscheduler", n=2)
    before = so_far()
    both("removed", again, before)
    both("fresh", new, before)
    assert changed() == (2, 0.3)
    retire(new)
    wait_for(lambda: states()["fresh"] == "disabled" and changed() == (1, 0.2), 60)
    both("changed", again, so_far())
    assert states() == {**active, "fresh": "disabled", "by hand": "finished"}
    retire(again)

    entries, rows = ledger.entries(), plans.rows()
    # What the last of all had claimed ahead waits for a scheduler.
    waiting = [row for row in rows if row.status == "Queued"]
    assert len(waiting) <= len(states())
    rows = [row for row in rows if row.status != "Queued"]
    # A run that was due when its job was changed or disabled tells of that.
    assert {row.status for row in rows} <= {"Executed", "Cancelled"}
    assert {row.status for row in rows if row.job_id == "kept"} == {"Executed"}
    assert judge.doubles(rows) + judge.begun_twice(entries) == []
    assert judge.unexplained(entries, rows) + judge.unfinished(rows) == []
    kept = sorted(row.run_time for row in rows if row.job_id == "kept")
    assert kept == [kept[0] + STEP * n for n in range(len(kept))]
    for member in fleet.members:
        assert "Traceback" not in member.output()
        assert "broken" not in member.output()
    tell(runs=len([entry for entry in entries if entry.event == BEGAN]))
