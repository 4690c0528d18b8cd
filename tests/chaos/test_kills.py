"""Schedulers are killed; nothing is lost, nothing runs twice without saying so."""

from __future__ import annotations

import random
import time

import pytest

from django_apscheduler.models import DjangoJob
from tests.chaos import LONG, bodies, failpoints, judge, plans
from tests.chaos.ledger import BEGAN, wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

#: Within this time of a kill, what was running runs again elsewhere; on a machine that
#: has no time for its processes, as much later as ordinary runs are late.
TAKEOVER_SECONDS = 10.0


def load(start, seconds, jobs=24):
    """
    Plan jobs whose bodies take long enough to be killed in.

    Every third is marked rather than run again when it is lost, and one may have but
    one instance.
    """
    found = []
    for n in range(jobs):
        marked = n % 3 == 0
        found.append(
            plans.every(
                f"{'mark' if marked else 'rerun'}-{n}",
                1.0,
                start + (n / jobs) * plans.SECOND,
                int(seconds),
                bodies.slow,
                args=(0.25,),
                on_lost="mark" if marked else "rerun",
            )
        )
    single = {"args": (0.4,), "max_instances": 1}
    found.append(
        plans.every("single", 0.5, start, int(seconds * 2), bodies.slow, **single)
    )
    return found


def judged(entries, rows, expected, deaths):
    """Return the faults of a run in which schedulers died."""
    marked = {job for job, _ in expected if job.startswith("mark")}
    return [
        *judge.faults(entries, rows, expected),
        *judge.repeated(entries, marked),
        *judge.overlaps(entries, {"single": 1}, deaths),
    ]


def waited(entries, rows, deaths):
    """
    Return how long takeovers took, by occurrence.

    Without those of the job with one instance: there, another scheduler that died may
    hold the place as long again.
    """
    waits = judge.takeovers(entries, rows, deaths)
    return {key: seconds for key, seconds in waits.items() if key[0] != "single"}


def ready(fleet, ledger):
    """Return the schedulers that have started."""
    return [member for member in fleet.living if member.is_ready]


def busy(fleet, ledger):
    """Return the schedulers that are in a body which runs again when it is lost."""
    over = {(entry.execution_id, entry.attempt) for entry in ledger.ended()}
    pids = {
        entry.pid
        for entry in ledger.began()
        if entry.job.startswith("rerun")
        and (entry.execution_id, entry.attempt) not in over
    }
    return [member for member in ready(fleet, ledger) if member.pid in pids]


def test_killed_schedulers_leave_no_gap(fleet, ledger, scale, tell):
    seconds, kills = scale((7, 3), (60, 24))
    fleet.start(4)
    start = plans.soon()
    expected = plans.add(load(start, seconds))
    began = time.monotonic()
    ledger.wait_for(lambda entries: len(entries) > 20)
    for n in range(1, kills + 1):
        # Over the whole run, and always in the middle of something.
        wait_for(lambda n=n: time.monotonic() - began > n * seconds / (kills + 1), 60)
        # Every other one surely in a body that has to run again.
        victims = busy if n % 2 else ready
        random.choice(wait_for(lambda v=victims: v(fleet, ledger))).kill()
        fleet.start(wait=False)
    wait_for(plans.all_settled, seconds + 120)
    entries, rows, deaths = ledger.entries(), plans.rows(), fleet.deaths()
    assert judged(entries, rows, expected, deaths) == []
    assert len(deaths) == kills
    waits = waited(entries, rows, deaths)
    assert waits, "no kill hit a body that runs again"
    assert max(waits.values()) < TAKEOVER_SECONDS + judge.delay(entries)
    statuses = [row.status for row in rows]
    tell(
        occurrences=len(expected), kills=kills, reruns=len(waits),
        marked_as_lost=statuses.count("Lost"),
        slowest_takeover=f"{max(waits.values()):.1f} s",
    )  # fmt: skip


# What must be true of a run whose scheduler died at a point: which attempts began, what
# the log says in the end, and of which attempt.
ONCE, AGAIN = ([1], "Executed", 1), ([1, 2], "Executed", 2)
LOST = ([1], "Lost", 1)
RERUN, MARK, ENCLOSED = {}, {"on_lost": "mark"}, {"transactional": True}
# A scheduler each, with its failpoint and the jobs that meet their end in it together.
VICTIMS = [
    ("before-commit", [(RERUN, ONCE), (MARK, ONCE), (ENCLOSED, ONCE)]),
    (
        "after-commit",
        [
            # The log does not tell that the body had not begun, so the attempt counts.
            (RERUN, ([2], "Executed", 2)),
            (ENCLOSED, ([2], "Executed", 2)),
            # Its start would have been written first, so it surely had not begun.
            (MARK, ONCE),
        ],
    ),
    ("mid-body:2", [(RERUN, AGAIN), (MARK, LOST)]),
    ("mid-body", [(ENCLOSED, AGAIN)]),
    ("before-outcome", [(RERUN, AGAIN)]),
    ("before-outcome", [(MARK, LOST)]),
    # The outcome is part of the body's transaction.
    ("before-outcome", [(ENCLOSED, ONCE)]),
    ("after-outcome", [(RERUN, ONCE)]),
    ("after-outcome", [(MARK, ONCE)]),
    ("after-outcome", [(ENCLOSED, ONCE)]),
]


@pytest.mark.parametrize("round", range(6 if LONG else 1))
def test_a_death_at_each_point_has_the_consequence_that_is_promised(
    fleet, ledger, round, tell
):
    pool = {"type": "threadpool", "max_workers": 3}
    # An executor each, so that each job meets the scheduler that is to die with it.
    names = [f"{n}-{point}" for n, (point, _) in enumerate(VICTIMS)]
    victims = [
        fleet.start(executors={name: pool}, failpoint=point, wait=False)[0]
        for name, (point, _) in zip(names, VICTIMS)
    ]
    for victim in victims:
        victim.await_ready()
    at, wanted, jobs = plans.soon(0), {}, []
    for name, (_, cases) in zip(names, VICTIMS):
        for n, (options, what) in enumerate(cases):
            wanted[f"{name}-{n}"] = what
            # Those in transactions must not keep SQLite's others from writing.
            seconds = 0.0 if options == ENCLOSED else 1.0
            body = {"args": (seconds,), "executor": name, **options}
            jobs.append(plans.once(f"{name}-{n}", at, bodies.slow, **body))
    expected = plans.add(jobs)
    assert [victim.wait() for victim in victims] == [-9] * len(VICTIMS)
    fleet.start(executors=dict.fromkeys(names, pool))
    wait_for(plans.all_settled, 60)
    entries, rows = ledger.entries(), plans.rows()
    found = {row.job_id: ([], row.status, row.attempt) for row in rows}
    for entry in entries:
        if entry.event == BEGAN:
            found[entry.job][0].append(entry.attempt)
    assert found == wanted
    assert judge.faults(entries, rows, expected) == []
    tell(runs=len(jobs), deaths=len(victims))


def test_deaths_at_all_points_under_load_leave_no_gap(fleet, ledger, scale, tell):
    seconds = scale(5, 60)

    def doom(point):
        name = f"{point}:{random.randint(1, 4)}"
        return fleet.start(failpoint=name, wait=False)[0]

    fleet.start(1)
    doomed = {point: doom(point) for point in failpoints.NAMES}
    for member in doomed.values():
        member.await_ready()
    expected = plans.add(load(plans.soon(), seconds))
    hit = set()
    # As long as there are jobs, each that dies has a successor with the same fate.
    while DjangoJob.objects.filter(next_run_time__isnull=False).exists():
        for point, member in doomed.items():
            if not member.alive:
                hit.add(point)
                if LONG:
                    doomed[point] = doom(point)
        time.sleep(0.1)
    wait_for(plans.all_settled, seconds + 120)
    entries, rows, deaths = ledger.entries(), plans.rows(), fleet.deaths()
    assert judged(entries, rows, expected, deaths) == []
    assert hit == set(failpoints.NAMES)
    waits = waited(entries, rows, deaths)
    assert waits
    assert max(waits.values()) < TAKEOVER_SECONDS + judge.delay(entries)
    tell(
        occurrences=len(expected), deaths=len(deaths), reruns=len(waits),
        marked_as_lost=[row.status for row in rows].count("Lost"),
        slowest_takeover=f"{max(waits.values()):.1f} s",
    )  # fmt: skip
