"""A storm of edits from several processes, while schedulers run the very jobs."""

from __future__ import annotations

import json
from datetime import timedelta, timezone

import pytest

from django_apscheduler.models import DjangoJob, DjangoJobExecution
from django_apscheduler.triggers.interval import IntervalTrigger
from tests.chaos import judge, plans, storm, writer
from tests.chaos.ledger import BEGAN, wait_for
from tests.jobstores.django.support import make_job, make_store

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

EXECUTORS = {
    alias: {"type": "threadpool", "max_workers": 5}
    for alias in ("default", "even", "odd")
}


def add_jobs(writers):
    """Add what the writers expect to be there."""
    start = plans.soon(0)
    every = {"trigger": _five_a_second(start), "now": start, "max_instances": 5}
    jobs = [
        make_job(writer.WHOLE, storm.even, args=(0,), kwargs={"again": 0},
                 executor="even", **every),
        make_job(writer.ASKED, "tests.chaos.bodies:note", max_instances=50,
                 next_run_time=None),
    ]  # fmt: skip
    for job_id in writer.SHARED:
        jobs.append(make_job(job_id, "tests.chaos.bodies:anything", **every))
    for number in range(writers):
        for kind in ("toggled", "swung"):
            jobs.append(
                make_job(f"{kind}-{number}", "tests.chaos.bodies:note", **every)
            )
    make_store().add_jobs(jobs)


def _five_a_second(start):
    return IntervalTrigger(seconds=0.2, start_date=start, timezone=timezone.utc)


def last_words(journals):
    """Return (job, option) → the last value of the one writer that owns it."""
    words, faults, whole = {}, [], set()
    for path in journals:
        for line in map(json.loads, path.read_text().splitlines()):
            if "fault" in line:
                faults.append(f"{path.name}, edit {line['edit']}: {line['fault']}")
            elif line["job"] == writer.WHOLE:
                last = line["value"]
            else:
                words[line["job"], line["option"]] = line["value"]
        whole.add(last)
    return words, faults, whole


def lost_edits(words):
    """Return which last words do not stand, as sentences."""
    rows = {job.pk: job for job in DjangoJob.objects.all()}

    def stands(job_id, option):
        row = rows.get(job_id)
        if option == "there":
            return row is not None
        if option == "paused":
            return row.state == "paused"
        if option == "seconds":
            return json.loads(row.trigger)["args"]["seconds"]
        if option == "kwargs":
            return json.loads(row.kwargs)
        return getattr(row, option)

    return [
        f"{job_id}: {option} is {stands(job_id, option)!r}, not {value!r}"
        for (job_id, option), value in words.items()
        if job_id != writer.ASKED and stands(job_id, option) != value
    ]


def half_applied(told, rows):
    """Return the runs in which parts of two edits met, as sentences."""
    executors = {row.pk: row.executor for row in rows}
    span = timedelta(seconds=writer.SPAN)
    times = {row.pk: row.run_time for row in rows}
    faults = []
    for line in map(json.loads, told.read_text().splitlines()):
        n, parity = line["n"], ("even", "odd")[line["n"] % 2]
        whole_second = times[line["id"]].replace(microsecond=0)
        rest = (times[line["id"]] - whole_second) % span
        found = (line["body"], line["again"], executors[line["id"]], rest)
        if n and found != (parity, n, parity, timedelta(microseconds=n)):
            faults.append(f"execution {line['id']} of {n}: {found}")
    return faults


def test_a_storm_of_edits_loses_none_and_applies_none_by_half(
    fleet, ledger, scale, tell, monkeypatch
):
    writers, seconds = scale((3, 5), (4, 60))
    monkeypatch.setenv("CHAOS_LEDGER", str(ledger.path))
    add_jobs(writers)
    schedulers = fleet.start(2, executors=EXECUTORS)
    journals = [ledger.path.with_name(f"journal-{n}") for n in range(writers)]
    editors = [
        fleet.start(
            command=["-m", "tests.chaos.writer", str(path), str(n), str(seconds)],
            wait=False,
        )[0]
        for n, path in enumerate(journals)
    ]
    assert [editor.wait(4 * seconds + 60) for editor in editors] == [0] * writers
    words, faults, whole = last_words(journals)
    assert faults == []
    assert lost_edits(words) == []
    job = DjangoJob.objects.get(pk=writer.WHOLE)
    (n,) = json.loads(job.args)
    assert n in whole

    asked = {option: id for (id_, option), id in words.items() if id_ == writer.ASKED}
    executions = DjangoJobExecution.objects.filter(pk__in=asked.values())
    wait_for(lambda: not executions.active().exists(), 60)
    for member in schedulers:
        member.terminate()
    assert [member.wait(60) for member in schedulers] == [0, 0]

    entries, rows = ledger.entries(), plans.rows()
    assert {row.status for row in executions} == {"Executed"}
    began = [entry.execution_id for entry in entries if entry.event == BEGAN]
    assert sorted(e for e in began if e in set(asked.values())) == sorted(
        asked.values()
    )
    assert half_applied(storm.told(), rows) == []
    assert judge.doubles(rows) == []
    assert judge.begun_twice(entries) == []
    assert judge.unfounded(entries, rows) == []
    for member in schedulers:
        assert "Traceback" not in member.output()
        assert "deadlock" not in member.output().lower()
    seen = len(storm.told().read_text().splitlines())
    assert seen >= seconds
    tell(edits=sum(len(p.read_text().splitlines()) for p in journals),
         runs_by_hand=len(asked), runs=len(began), seen_whole=seen)  # fmt: skip
