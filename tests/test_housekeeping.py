"""What is kept of the past, and for how long."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from django_apscheduler import housekeeping
from django_apscheduler.housekeeping import Deleted, prune
from django_apscheduler.models import (
    DjangoJob,
    DjangoJobExecution,
    SchedulerCommand,
    SchedulerProcess,
)

NOW = datetime(2026, 5, 30, 12, 0, tzinfo=timezone.utc)
KEEP_ALL = {"days": None, "rows": None, "finished_job_days": None}


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
        deletes = [
            q
            for q in queries
            if 'DELETE FROM "django_apscheduler_djangojobex' in q["sql"]
        ]
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
            SchedulerCommand.objects.create(
                kind="run", token=str(days), created_time=NOW - timedelta(days=days)
            )
        self.assertEqual(self.prune(), Deleted(processes=1, commands=1))
        hosts = SchedulerProcess.objects.order_by("host").values_list("host", flat=True)
        self.assertEqual(list(hosts), ["alive31", "dead29"])
        self.assertEqual(SchedulerCommand.objects.get().token, "29")


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
        execution.save()
        self.assertEqual(self.prune(), Deleted(jobs=1))


@pytest.mark.django_db
def test_an_empty_database_costs_few_queries(django_assert_max_num_queries):
    with django_assert_max_num_queries(6):
        everything = {"days": 30, "rows": 10_000, "finished_job_days": 7}
        assert prune("default", everything, NOW) == Deleted()
