"""What is kept of the past, and for how long."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from django.db import DatabaseError, connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from django_apscheduler import housekeeping, rollups
from django_apscheduler.housekeeping import Deleted, prune
from django_apscheduler.models import (
    DjangoJob,
    DjangoJobExecution,
    SchedulerCommand,
    SchedulerProcess,
)
from tests.plans import LONG, noting, plan, whole_tables

NOW = datetime(2026, 5, 30, 12, 0, tzinfo=timezone.utc)
KEEP_ALL = {
    "days": None,
    "rows": None,
    "finished_job_days": None,
    "rollup_days": None,
}


def run(days, status="Executed", job="a"):
    """Make an execution whose run time was so many days ago."""
    return DjangoJobExecution.objects.create(
        job_id=job, status=status, run_time=NOW - timedelta(days=days)
    )


def left():
    return [
        round((NOW - row.run_time) / timedelta(days=1))
        for row in DjangoJobExecution.objects.order_by("-run_time", "-id")
    ]


class ByAge(TestCase):
    def prune(self, days=30, **more):
        return prune("default", {**KEEP_ALL, "days": days, **more}, NOW)

    def test_executions_older_than_the_days_go(self):
        for days in (1, 29, 31, 400):
            run(days)
        self.assertEqual(self.prune(), Deleted(executions=2))
        self.assertEqual(left(), [1, 29])

    def test_none_keeps_everything(self):
        run(4000)
        self.assertEqual(self.prune(days=None), Deleted())
        self.assertEqual(left(), [4000])

    def test_runs_whose_outcome_is_open_stay(self):
        for status in ("Queued", "Claimed", "Started execution"):
            run(100, status)
        for status in ("Lost", "Missed!", "Coalesced", "Cancelled", "Max instances!"):
            run(100, status)
        self.assertEqual(self.prune().executions, 5)
        self.assertEqual(left(), [100, 100, 100])

    def test_the_last_success_and_failure_of_a_job_that_exists_stay(self):
        DjangoJob.objects.create(id="a")
        run(100)
        run(90)
        run(80, "Error!")
        run(70, "Error!")
        run(60, "Missed!")
        self.assertEqual(self.prune().executions, 3)
        self.assertEqual(left(), [70, 90])
        self.assertEqual(self.prune().executions, 0)

    def test_nothing_is_kept_for_jobs_that_are_gone_or_finished(self):
        DjangoJob.objects.create(id="done", state="finished", finished_time=NOW)
        run(100, job="done")
        run(100, job="gone")
        run(100, job=None)
        self.assertEqual(self.prune().executions, 3)

    def test_rows_are_deleted_in_pieces(self):
        housekeeping_rows, housekeeping.PRUNE_ROWS = housekeeping.PRUNE_ROWS, 3
        try:
            DjangoJob.objects.create(id="a")
            for number in range(10):
                run(100 - number)
            with CaptureQueriesContext(connection) as queries:
                self.assertEqual(self.prune().executions, 9)
        finally:
            housekeeping.PRUNE_ROWS = housekeeping_rows
        self.assertEqual(left(), [91])
        table = connection.ops.quote_name(DjangoJobExecution._meta.db_table)
        deletes = [q for q in queries if f"DELETE FROM {table}" in q["sql"]]
        # The last piece is the row that stays.
        self.assertEqual(len(deletes), 3)

    def test_dead_schedulers_and_old_commands_go_with_them(self):
        for state, days in (("dead", 31), ("dead", 29), ("alive", 31)):
            SchedulerProcess.objects.create(
                host=f"{state}{days}",
                pid=1,
                state=state,
                started_time=NOW - timedelta(days=40),
                lease_until=NOW - timedelta(days=days),
            )
        for days in (31, 29):
            asked = NOW - timedelta(days=days)
            for token, done in ((f"{days} done", asked), (f"{days} open", None)):
                SchedulerCommand.objects.create(
                    kind="run", token=token, created_time=asked, done_time=done
                )
        self.assertEqual(self.prune(), Deleted(processes=1, commands=2))
        hosts = SchedulerProcess.objects.order_by("host").values_list("host", flat=True)
        self.assertEqual(list(hosts), ["alive31", "dead29"])
        left = set(SchedulerCommand.objects.values_list("token", flat=True))
        self.assertEqual(left, {"29 done", "29 open"})


class ByNumber(TestCase):
    def prune(self, rows):
        return prune("default", {**KEEP_ALL, "rows": rows}, NOW)

    def test_the_newest_rows_of_each_job_stay(self):
        for days in range(5):
            run(days, job="a")
            run(days, "Missed!", job="b")
        run(9, job="c")
        self.assertEqual(self.prune(3), Deleted(executions=4))
        self.assertEqual(left(), [0, 0, 1, 1, 2, 2, 9])
        self.assertEqual(self.prune(3), Deleted())

    def test_the_last_success_stays_beyond_the_number(self):
        DjangoJob.objects.create(id="a")
        run(9)
        run(8)
        for days in range(5):
            run(days, "Missed!")
        self.assertEqual(self.prune(2).executions, 4)
        self.assertEqual(left(), [0, 1, 8])


class FinishedJobs(TestCase):
    def prune(self):
        return prune("default", {**KEEP_ALL, "finished_job_days": 7}, NOW)

    def finished(self, id, days, state="finished"):
        DjangoJob.objects.create(
            id=id, state=state, finished_time=NOW - timedelta(days=days)
        )

    def test_they_go_after_the_days_and_leave_their_history(self):
        self.finished("old", 8)
        self.finished("new", 6)
        self.finished("again", 8, state="active")
        run(8, job="old")
        self.assertEqual(self.prune(), Deleted(jobs=1))
        self.assertEqual(
            set(DjangoJob.objects.values_list("id", flat=True)), {"new", "again"}
        )
        self.assertEqual(left(), [8])

    def test_one_with_a_run_still_open_stays(self):
        self.finished("old", 8)
        execution = run(8, "Started execution", job="old")
        self.assertEqual(self.prune(), Deleted())
        execution.status = "Executed"
        execution.finished_time = NOW - timedelta(days=6)
        execution.save()
        # The days are counted from the end of its last run.
        self.assertEqual(self.prune(), Deleted())
        execution.finished_time = NOW - timedelta(days=8)
        execution.save()
        self.assertEqual(self.prune(), Deleted(jobs=1))


class Turns(TestCase):
    """Of any number of schedulers one keeps house."""

    HOUR = timedelta(hours=1)

    def work(self, now=NOW):
        """Keep house to the end; answer how many rows each step was about."""
        return list(housekeeping.work("default", {**KEEP_ALL, "days": 30}, now))

    def begin(self, now=NOW):
        """Keep house as far as the first step."""
        work = housekeeping.work("default", {**KEEP_ALL, "days": 30}, now)
        next(work)
        return work

    def setUp(self):
        run(31)
        run(32)

    def one_by_one(self):
        rows, housekeeping.PRUNE_ROWS = housekeeping.PRUNE_ROWS, 1
        self.addCleanup(setattr, housekeeping, "PRUNE_ROWS", rows)

    def count(self):
        """Have the roll-ups count what there is."""
        list(rollups.steps("default", NOW - 2 * self.HOUR))
        list(rollups.steps("default", NOW - self.HOUR))

    def test_nobody_else_has_a_turn_while_somebody_is_at_it(self):
        self.count()
        self.one_by_one()
        first = self.begin()
        self.assertEqual(left(), [31])
        self.assertEqual(self.work(), [])
        self.assertEqual(left(), [31])
        self.assertEqual(list(first), [1])
        self.assertEqual(left(), [])

    def test_one_that_died_is_followed_by_another(self):
        self.count()
        self.one_by_one()
        dead = self.begin()
        self.assertEqual(self.work(NOW + housekeeping.TURN), [])
        later = NOW + housekeeping.TURN + timedelta(seconds=1)
        self.assertEqual(self.work(later), [1])
        self.assertEqual(left(), [])
        dead.close()

    def test_one_that_was_overtaken_stops(self):
        self.count()
        self.one_by_one()
        run(33)
        self.count()
        clock = [NOW]
        turn = housekeeping._Turn("default", None)
        turn.now = lambda: clock[0]
        self.assertTrue(turn.take())
        clock[0] += housekeeping.TURN * 0.4
        self.assertTrue(turn.keep())
        clock[0] += housekeeping.TURN * 2
        other = self.begin(clock[0])
        self.assertFalse(turn.keep())
        turn.give_back()
        self.assertEqual(self.work(clock[0]), [])
        other.close()

    def test_one_that_stops_half_way_leaves_the_rest_to_the_next(self):
        self.count()
        self.one_by_one()
        self.begin().close()
        self.assertEqual(left(), [31])
        self.assertEqual(self.work(), [1])

    def test_it_is_done_once_an_hour_by_all_together(self):
        self.count()
        self.assertEqual(self.work(), [2])
        run(40)
        self.count()
        self.assertEqual(self.work(NOW + self.HOUR - timedelta(seconds=1)), [])
        self.assertEqual(left(), [40])
        self.assertEqual(sum(self.work(NOW + self.HOUR)), 1)
        self.assertEqual(left(), [])

    def test_what_the_roll_ups_do_not_have_yet_stays(self):
        self.count()
        run(33)
        self.assertEqual(sum(self.work()), 2)
        self.assertEqual(left(), [33])
        two_minutes = timedelta(minutes=2)
        self.assertEqual(self.work(NOW + two_minutes), [1])
        self.assertEqual(sum(self.work(NOW + self.HOUR)), 1)
        self.assertEqual(left(), [])

    def test_the_log_is_cleared_even_when_it_cannot_be_summed_up(self):
        self.count()
        run(33)
        list(rollups.steps("default", NOW))

        def refuse(execute, sql, *rest):
            if sql.startswith("INSERT") and "executionrollup" in sql:
                raise DatabaseError("no room left")
            return execute(sql, *rest)

        later = NOW + self.HOUR
        with connection.execute_wrapper(refuse), self.assertLogs(level="ERROR") as logs:
            self.assertEqual(sum(self.work(later)), 3)
        self.assertIn("Summing up the execution log failed", logs.output[0])
        self.assertEqual(left(), [])

    def test_sums_are_kept_longer_than_the_log(self):
        list(rollups.steps("default", NOW - 2 * self.HOUR))
        keep = {**KEEP_ALL, "days": 30, "rollup_days": 400}
        list(housekeeping.work("default", keep, NOW))
        self.assertEqual(left(), [])
        month = NOW - timedelta(days=40)
        self.assertEqual(len(rollups.hours("default", month)), 2)
        later = NOW + timedelta(days=400 - 31)
        list(housekeeping.work("default", keep, later))
        self.assertEqual(len(rollups.hours("default", month)), 1)


@pytest.mark.skipif(
    connection.vendor not in ("sqlite", "postgresql"),
    reason="reads the plans of SQLite and PostgreSQL: run it on one of these",
)
@pytest.mark.django_db
class TestPlans:
    """Housekeeping of a million rows finds its way along indexes."""

    @pytest.fixture
    def seen(self):
        with noting() as statements:
            yield statements

    def fill(self):
        DjangoJob.objects.create(id="a")
        DjangoJob.objects.create(
            id="done", state="finished", finished_time=NOW - timedelta(days=8)
        )
        for number in range(12):
            run(36 - number, "Error!" if number % 3 else "Executed")

    def test_clearing(self, seen, monkeypatch):
        monkeypatch.setattr(housekeeping, "PRUNE_ROWS", 2)
        self.fill()
        keep = {"days": 30, "rows": 5, "finished_job_days": 7, "rollup_days": 400}
        deleted = prune("default", keep, NOW)
        assert (deleted.executions, deleted.jobs) == (7, 1)
        statements = list(seen)
        assert len(statements) >= 10
        for sql, params in statements:
            assert whole_tables(plan(sql, params)) == [], sql

    def test_finished_jobs_are_found_by_their_own_index(self, seen):
        self.fill()
        prune("default", {**KEEP_ALL, "finished_job_days": 7}, NOW)
        sql, params = next((s, p) for s, p in seen if "EXISTS" in s)
        assert any("apscheduler_job_finished" in line for line in plan(sql, params))

    def test_summing_up(self, seen):
        self.fill()
        list(rollups.steps("default", NOW))
        list(rollups.steps("default", NOW + timedelta(minutes=2)))
        assert len(rollups.hours("default", NOW - timedelta(days=50))) == 12
        statements = list(seen)
        assert len(statements) >= 3
        for sql, params in statements:
            assert whole_tables(plan(sql, params)) == [], sql

    def test_a_table_read_as_a_whole_would_be_seen(self):
        table = LONG[0]
        lines = [f"SCAN {table}", f"SCAN {table} USING INDEX x", f"Seq Scan on {table}"]
        assert whole_tables(lines) == lines
        assert whole_tables([f"SCAN {table} USING COVERING INDEX x"]) == []


@pytest.mark.django_db
def test_an_empty_database_costs_few_queries(django_assert_max_num_queries):
    with django_assert_max_num_queries(7):
        everything = {
            "days": 30,
            "rows": 10_000,
            "finished_job_days": 7,
            "rollup_days": 400,
        }
        assert prune("default", everything, NOW) == Deleted()
