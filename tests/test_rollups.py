"""The sums of the execution log: each execution once, whatever happens meanwhile."""

from __future__ import annotations

import random
import threading
from datetime import datetime, timedelta, timezone
from unittest.mock import patch

import pytest
from django.db import DatabaseError, connection
from django.test import TestCase

from django_apscheduler import rollups
from django_apscheduler.models import DjangoJob, DjangoJobExecution, ExecutionRollup
from django_apscheduler.rollups import Histogram, hours, jobs, total

NOON = datetime(2026, 5, 30, 12, 0, tzinfo=timezone.utc)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def run(at=NOON, status="Executed", job="a", late=0.5, took=2.0, **columns):
    """Make an execution; those that ran began ``late`` and took ``took`` seconds."""
    if status in ("Executed", "Error!") and "started_time" not in columns:
        columns["started_time"] = at + timedelta(seconds=late)
        columns["finished_time"] = columns["started_time"] + timedelta(seconds=took)
    return DjangoJobExecution.objects.create(
        job_id=job, status=status, run_time=at, **columns
    )


def add(now=NOON + 2 * HOUR):
    """Add all there is to the sums, as two passes more than a minute apart do."""
    seen = list(rollups.steps("default", now))
    return seen + list(rollups.steps("default", now + 2 * MINUTE))


def counts(since=NOON - 24 * HOUR):
    return {
        hour.strftime("%d %H"): dict(sums.runs)
        for hour, sums in hours("default", since).items()
    }


class WhatIsCounted(TestCase):
    def test_executions_by_the_hour_of_their_run_time_and_how_they_ended(self):
        run(NOON)
        run(NOON + 59 * MINUTE + 59 * SECOND, "Error!")
        run(NOON + 30 * MINUTE)
        run(NOON - SECOND, "Missed!")
        run(NOON + HOUR, "Lost", job=None)
        self.assertEqual(add(), [5])
        self.assertEqual(
            counts(),
            {
                "30 11": {"Missed!": 1},
                "30 12": {"Executed": 2, "Error!": 1},
                "30 13": {"Lost": 1},
            },
        )

    def test_jobs_by_the_day(self):
        DjangoJob.objects.create(id="a")
        DjangoJob.objects.create(id="b", state="paused")
        run(NOON, took=1.0)
        run(NOON + 11 * HOUR, took=4.0)
        run(NOON + 12 * HOUR, "Error!")
        run(NOON, "Missed!", job="b")
        add()
        self.assertEqual(
            {id: dict(sums.runs) for id, sums in jobs("default", NOON).items()},
            {"a": {"Executed": 2, "Error!": 1}, "b": {"Missed!": 1}},
        )
        self.assertEqual(list(jobs("default", NOON, job_ids=["b", "c"])), ["b"])
        self.assertEqual(jobs("default", NOON, job_ids=[]), {})
        first_day = jobs("default", NOON, NOON + 11 * HOUR)["a"]
        self.assertEqual((first_day.seconds, first_day.longest), (5.0, 4.0))
        self.assertEqual((first_day.late_seconds, first_day.latest), (1.0, 0.5))
        days = rollups.days("default", "a", NOON)
        self.assertEqual(
            {day.isoformat(): sums.durations.total() for day, sums in days.items()},
            {"2026-05-30T00:00:00+00:00": 2, "2026-05-31T00:00:00+00:00": 1},
        )
        self.assertEqual(
            dict(jobs("default", NOON + 12 * HOUR)["a"].runs), {"Error!": 1}
        )

    def test_one_offs_count_in_their_hour_and_leave_no_day_of_their_own(self):
        DjangoJob.objects.create(id="done", state="finished")
        run(job="done")
        run(job="gone")
        add()
        self.assertEqual(counts(), {"30 12": {"Executed": 2}})
        self.assertEqual(jobs("default", NOON), {})

    def test_how_long_bodies_took_and_how_late_they_began(self):
        run(late=0.25, took=2.0)
        run(late=0.75, took=6.0)
        run(status="Error!", late=3.0, took=1.0)
        run(status="Lost", started_time=NOON, finished_time=NOON + HOUR)
        run(started_time=None, finished_time=NOON)
        add()
        (sums,) = hours("default", NOON).values()
        self.assertEqual((sums.seconds, sums.longest), (9.0, 6.0))
        self.assertEqual((sums.late_seconds, sums.latest), (4.0, 3.0))
        self.assertEqual(sums.durations.total(), 3)
        self.assertEqual(sums.lateness.total(), 3)

    def test_a_clock_that_went_backwards_makes_no_negative_time(self):
        run(late=-5, took=-3)
        add()
        (sums,) = hours("default", NOON).values()
        self.assertEqual((sums.seconds, sums.late_seconds), (0.0, 0.0))

    def test_rows_that_stand_for_several_occurrences(self):
        run(status="Missed!", occurrences=40)
        run(status="Missed!", occurrences=None)
        add()
        (sums,) = hours("default", NOON).values()
        self.assertEqual(sums.runs["Missed!"], 2)
        self.assertEqual(sums.occurrences["Missed!"], 40 + 1001)


class WhenItIsCounted(TestCase):
    def test_once(self):
        run()
        self.assertEqual(add(), [1])
        self.assertEqual(add(NOON + 3 * HOUR), [])
        run()
        self.assertEqual(add(NOON + 4 * HOUR), [1])
        self.assertEqual(counts(), {"30 12": {"Executed": 2}})

    def test_a_minute_after_it_was_seen(self):
        run()
        self.assertEqual(list(rollups.steps("default", NOON)), [])
        self.assertEqual(list(rollups.steps("default", NOON + 59 * SECOND)), [])
        self.assertEqual(list(rollups.steps("default", NOON + 60 * SECOND)), [1])

    def test_rows_committed_late_are_not_missed(self):
        """An id is given before its transaction commits, so a lower one may follow."""
        late = run()
        run()
        DjangoJobExecution.objects.filter(pk=late.pk).delete()
        list(rollups.steps("default", NOON))
        late.save(force_insert=True)
        list(rollups.steps("default", NOON + 2 * MINUTE))
        self.assertEqual(counts(), {"30 12": {"Executed": 2}})

    def test_one_under_way_when_it_has_ended(self):
        opened = [
            run(status=status) for status in ("Queued", "Claimed", "Started execution")
        ]
        run()
        self.assertEqual(add(), [1])
        for execution, status in zip(opened, ("Cancelled", "Executed")):
            execution.status = status
            execution.save()
        self.assertEqual(sum(add(NOON + 3 * HOUR)), 2)
        self.assertEqual(counts(), {"30 12": {"Executed": 2, "Cancelled": 1}})
        self.assertEqual(rollups.progress("default").open_ids, {opened[2].pk})
        opened[2].delete()
        add(NOON + 4 * HOUR)
        self.assertEqual(rollups.progress("default").open_ids, frozenset())
        self.assertEqual(counts(), {"30 12": {"Executed": 2, "Cancelled": 1}})

    def test_sums_outlive_what_they_count(self):
        run()
        add()
        DjangoJobExecution.objects.all().delete()
        run()
        add(NOON + 3 * HOUR)
        self.assertEqual(counts(), {"30 12": {"Executed": 2}})

    def test_a_long_log_is_added_in_pieces(self):
        pieces = patch.multiple(rollups, STEP_ROWS=1000)
        DjangoJobExecution.objects.bulk_create(
            DjangoJobExecution(
                job_id="a", status="Executed", run_time=NOON + n * MINUTE
            )
            for n in range(2500)
        )
        with pieces:
            self.assertEqual(add(), [1000, 1000, 500])
        found = hours("default", NOON)
        self.assertEqual(len(found), 42)
        self.assertEqual(total(found.values()).runs["Executed"], 2500)

    def test_no_step_writes_many_rows_of_sums(self):
        DjangoJob.objects.bulk_create(DjangoJob(id=f"job-{n}") for n in range(7))
        for number in range(7):
            run(job=f"job-{number}")
        run(status="Queued", job="job-0")
        with patch.multiple(rollups, STEP_SUMS=3, STEP_SUMS_SQLITE=3):
            # The hour's and two jobs' sums, and so on.
            self.assertEqual(add(), [2, 2, 2, 1])
        self.assertEqual(len(jobs("default", NOON)), 7)
        self.assertEqual(counts(), {"30 12": {"Executed": 7}})

    def test_a_step_that_fails_half_way_is_repeated_whole(self):
        run()
        list(rollups.steps("default", NOON))

        def refuse(execute, sql, *rest):
            if sql.startswith("INSERT") and "executionrollup" in sql:
                raise DatabaseError("the plug was pulled")
            return execute(sql, *rest)

        with connection.execute_wrapper(refuse), self.assertRaises(DatabaseError):
            list(rollups.steps("default", NOON + 2 * MINUTE))
        self.assertEqual(counts(), {})
        self.assertEqual(list(rollups.steps("default", NOON + 2 * MINUTE)), [1])
        self.assertEqual(counts(), {"30 12": {"Executed": 1}})

    def test_how_far_it_has_come(self):
        first, second = run(), run(status="Claimed")
        self.assertFalse(rollups.progress("default").has(first.pk))
        add()
        progress = rollups.progress("default")
        self.assertEqual(
            [progress.has(pk) for pk in (first.pk, second.pk, second.pk + 1)],
            [True, False, False],
        )
        self.assertEqual(progress.until, NOON + 2 * HOUR)


class WhatIsNotCountedYet(TestCase):
    def test_it_can_be_added_to_the_sums_that_are_read(self):
        waiting = run(NOON, "Started execution")
        run(NOON)
        add()
        new = run(NOON + HOUR, "Error!")
        mark = rollups.progress("default")
        left = rollups.uncounted("default", mark, 10)
        self.assertEqual([row.id for row in left], [waiting.id, new.id])
        self.assertEqual([row.open for row in left], [True, False])
        sums = hours("default", NOON)
        rollups.note_all(sums, left)
        self.assertEqual(
            {hour: dict(found.runs) for hour, found in sums.items()},
            {NOON: {"Executed": 1}, NOON + HOUR: {"Error!": 1}},
        )

    def test_no_more_than_asked_for_is_read_and_the_oldest_come_first(self):
        rows = [run(NOON) for _ in range(4)]
        left = rollups.uncounted("default", rollups.progress("default"), 3)
        self.assertEqual([row.id for row in left], [row.id for row in rows[:3]])


class HowLongJobsTake(TestCase):
    def test_by_job_over_days_from_what_ran_to_its_end(self):
        for pk in "abc":
            DjangoJob.objects.create(id=pk)
        run(NOON - 24 * HOUR, took=900.0)
        run(NOON, took=1.0)
        run(NOON + 12 * HOUR, "Error!", took=4.0)
        run(NOON, "Lost", job="b")
        run(NOON, job="c")
        add()
        found = rollups.durations("default", ["a", "b"], NOON)
        self.assertEqual({pk: sums.total() for pk, sums in found.items()}, {"a": 2})
        self.assertAlmostEqual(found["a"].percentile(1.0), 4.0, delta=0.8)
        successes = rollups.durations("default", ["a"], NOON, ["Executed"])
        self.assertEqual(successes["a"].total(), 1)


class Histograms(TestCase):
    def test_percentiles_are_at_most_a_tenth_off(self):
        chance = random.Random(7)
        lengths = sorted(chance.lognormvariate(0, 3) for _ in range(20_000))
        histogram = Histogram()
        for length in lengths:
            histogram.note(length)
        for share in (0.05, 0.5, 0.95, 0.99):
            exact = lengths[int(share * len(lengths))]
            found = histogram.percentile(share)
            self.assertLess(abs(found - exact) / exact, 0.1, share)

    def test_short_and_long_ones(self):
        histogram = Histogram()
        for seconds in (0.0, 0.0005, 0.001, 86_400.0):
            histogram.note(seconds)
        self.assertEqual(sorted(histogram), [0, 1, 106])
        self.assertLess(histogram.percentile(0.5), 0.0011)
        self.assertAlmostEqual(histogram.percentile(1.0), 86_400, delta=9_000)

    def test_of_nothing_there_is_none(self):
        self.assertIsNone(Histogram().percentile(0.5))

    def test_they_survive_the_database(self):
        histogram = Histogram({0: 2, 17: 3})
        self.assertEqual(Histogram.load(histogram.dump()), histogram)


@pytest.mark.django_db(transaction=True)
def test_several_at_once_add_each_execution_once(monkeypatch):
    monkeypatch.setattr(rollups, "STEP_ROWS", 20)
    DjangoJob.objects.create(id="a")
    for number in range(300):
        run(NOON + number * MINUTE, "Error!" if number % 3 == 0 else "Executed")
    list(rollups.steps("default", NOON))
    barrier = threading.Barrier(4)
    added, errors = [], []

    def work():
        try:
            barrier.wait()
            while rollups.progress("default").counted_id < last:
                added.extend(rollups.steps("default", NOON + 2 * MINUTE))
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    last = DjangoJobExecution.objects.order_by("id").last().pk
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sum(added) == 300
    assert dict(total(hours("default", NOON).values()).runs) == {
        "Error!": 100,
        "Executed": 200,
    }
    assert dict(jobs("default", NOON)["a"].runs) == {"Error!": 100, "Executed": 200}


@pytest.mark.django_db
def test_a_row_of_the_sums_has_a_name():
    row = ExecutionRollup(
        period="day", start_time=NOON, job_id="nightly", status="Executed"
    )
    assert str(row) == f"nightly {NOON} (Executed)"
