"""The judge finds each fault that it is there to find, and none in what is well."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from django_apscheduler.models import DjangoJobExecution
from tests.chaos import judge
from tests.chaos.ledger import BEGAN, ENDED, Entry

NOON = datetime(2026, 5, 30, 12, tzinfo=timezone.utc)
SECOND = timedelta(seconds=1)


def row(id=1, job="a", run_time=NOON, status="Executed", **columns):
    return DjangoJobExecution(
        id=id, job_id=job, run_time=run_time, status=status, **columns
    )


def entry(event, at, job="a", run_time=NOON, attempt=1, execution_id=1, pid=7):
    return Entry(event, job, run_time, attempt, execution_id, pid, 1e9 + at, at)


def ran(begin=0.0, end=1.0, **about):
    return [entry(BEGAN, begin, **about), entry(ENDED, end, **about)]


def test_a_run_that_went_well_is_not_blamed():
    assert judge.faults(ran(), [row()], [("a", NOON)]) == []


def test_a_rerun_after_a_recorded_loss_is_well():
    entries = [entry(BEGAN, 0), *ran(8, 9, attempt=2, pid=8)]
    rows = [row(attempt=2, losses=1, note="host:7 was lost while attempt 1 ran")]
    assert judge.faults(entries, rows, [("a", NOON)]) == []


def test_occurrences_without_an_outcome_are_gaps():
    rows = [row(), row(2, run_time=NOON + SECOND, status="Claimed")]
    expected = [("a", NOON + n * SECOND) for n in range(3)]
    assert judge.gaps(rows, expected) == [
        "a at 12:00:01.000000 has no outcome",
        "a at 12:00:02.000000 has no outcome",
    ]
    assert judge.unfinished(rows) == ["a at 12:00:01.000000 is still Claimed"]


def test_a_row_for_several_occurrences_covers_them():
    rows = [row(status="Missed!", last_run_time=NOON + 2 * SECOND)]
    expected = [("a", NOON + n * SECOND) for n in range(4)]
    assert judge.gaps(rows, expected) == ["a at 12:00:03.000000 has no outcome"]
    assert len(judge.gaps(rows, expected, ["Executed"])) == 4


def test_a_second_row_for_an_occurrence_is_a_double():
    assert judge.doubles([row(), row(2)]) == ["a at 12:00:00.000000 has 2 rows"]
    assert judge.doubles([row(), row(2, origin="manual")]) == []


def test_what_nobody_expected_is_a_stranger():
    assert judge.strangers(ran(), [row()], []) == [
        "a at 12:00:00.000000 ran unexpectedly",
        "a at 12:00:00.000000 ran unexpectedly",
        "a at 12:00:00.000000 is a stray row",
    ]


def test_an_attempt_that_begins_in_two_processes_is_found():
    found = judge.begun_twice(ran() + ran(pid=8))
    assert found == ["a at 12:00:00.000000: attempt 1 began 2 times"]


def test_a_second_attempt_without_a_recorded_loss_is_found():
    (found,) = judge.unexplained([], [row(attempt=2)])
    assert found.startswith("a at 12:00:00.000000: attempt 2, but 0 losses")
    found = judge.unexplained(ran(attempt=2), [row(note="host was lost")])
    assert found == ["a at 12:00:00.000000: the row forgot a later attempt"]


def test_an_outcome_without_a_body_that_ended_is_unfounded():
    (found,) = judge.unfounded([entry(BEGAN, 0)], [row()])
    assert found.endswith("Executed in attempt 1, which never ended")
    assert judge.unfounded(ran(), [row(attempt=2)]) != []


def test_bodies_at_once_are_counted_over_all_processes():
    entries = sorted(
        [*ran(0, 2, pid=7), *ran(1, 3, pid=8, run_time=NOON + SECOND)],
        key=lambda entry: entry.boot,
    )
    assert judge.overlaps(entries, {"a": 1}) == ["a: 2 bodies at once, 1 allowed"]
    assert judge.overlaps(entries, {"a": 2, "b": 1}) == []


def test_bodies_end_with_their_process():
    entries = [entry(BEGAN, 0), *ran(8, 9, attempt=2, pid=8)]
    assert judge.most_at_once(entries, {7: 1.0}) == {"a": 1}
    # Of a process that lives, a body without an end still runs.
    assert judge.most_at_once(entries) == {"a": 2}


def test_a_second_begin_of_what_runs_at_most_once_is_found():
    entries = [entry(BEGAN, 0), *ran(8, 9, attempt=2, pid=8)]
    assert judge.repeated(entries, ["a"]) == ["a at 12:00:00.000000 began 2 times"]
    assert judge.repeated(entries, ["b"]) == []


def test_takeovers_are_measured_from_the_death():
    entries = [entry(BEGAN, 0), *ran(8.5, 9, attempt=2, pid=8)]
    rows = [row(attempt=2, note="host:7 was lost while attempt 1 ran")]
    assert judge.takeovers(entries, rows, {7: 1.0}) == {("a", NOON): 7.5}
    assert judge.takeovers(entries, rows, {}) == {}
    # What the dead process had claimed and not begun counts as well.
    assert judge.takeovers(entries[1:], rows, {7: 1.0}) == {("a", NOON): 7.5}
    twice = [row(attempt=2, note="host:7 was lost\nhost:8 was lost")]
    assert judge.takeovers(entries, twice, {7: 1.0, 8: 2.0}) == {}


def test_the_delay_is_that_of_ordinary_runs():
    begun = [
        Entry(BEGAN, "a", NOON, 1, n, 7, NOON.timestamp() + late, late)
        for n, late in enumerate([*[0.1] * 8, 2, 9])
    ]
    rerun = Entry(BEGAN, "a", NOON, 2, 1, 7, NOON.timestamp() + 99, 99)
    assert judge.delay([*begun, rerun]) == 9
    assert judge.delay([*begun, *begun[:8], rerun]) == 2
