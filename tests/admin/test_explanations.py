"""Why a job does not run, and why an occurrence did not."""

from __future__ import annotations

from datetime import timedelta

from django.test import TestCase, override_settings

from django_apscheduler import clock
from django_apscheduler.admin import explanations
from django_apscheduler.models import DjangoJobExecution, SchedulerControl
from tests.admin import rows
from tests.admin.rows import NOON

START = "Start one with “manage.py runapscheduler”."


def minutes(count):
    return timedelta(minutes=count)


@override_settings(TIME_ZONE="UTC")
class JobTest(TestCase):
    def why(self, job, now=NOON):
        return explanations.of_job(job, now, "default")

    def test_a_job_that_nothing_hinders_has_no_reasons(self):
        rows.process()
        job = rows.job("a")
        with self.assertNumQueries(2):
            self.assertEqual(self.why(job), [])

    def test_what_its_own_state_says(self):
        for fields, expected in (
            (
                {
                    "state": "paused",
                    "paused_by": "ana",
                    "paused_time": NOON - timedelta(hours=2),
                    "pause_reason": "Migration of the ledger.",
                    "resume_time": NOON + minutes(30),
                },
                [
                    "It was paused by ana 2 h ago.",
                    "The reason given: Migration of the ledger.",
                    "It resumes by itself at 12:30 UTC (in 30 min).",
                ],
            ),
            (
                {"state": "paused"},
                ["It is paused.", "It stays paused until somebody resumes it."],
            ),
            (
                {"state": "disabled"},
                [
                    "It is disabled: no running scheduler declares it any more.",
                    (
                        "It comes back by itself when a release that declares it is "
                        "deployed."
                    ),
                ],
            ),
            (
                {"state": "finished", "finished_time": NOON - minutes(5)},
                ["Its schedule ended 5 min ago; there are no more runs."],
            ),
            (
                {"state": "broken", "error": "ImportError: no geo\n\nTraceback"},
                [
                    "No scheduler can run it as it is, so it is set aside.",
                    "The reason: ImportError: no geo.",
                ],
            ),
        ):
            with self.subTest(state=fields["state"]), self.assertNumQueries(1):
                job = rows.job(f"a{len(expected)}{fields['state']}", **fields)
                self.assertEqual(self.why(job), expected)

    def test_all_jobs_paused(self):
        rows.process()
        SchedulerControl.objects.update(
            paused=True,
            paused_by="ben",
            paused_time=NOON - minutes(3),
            pause_reason="Restore",
        )
        job = rows.job("a", next_run_time=NOON - minutes(1))
        self.assertEqual(
            self.why(job)[1:],
            ["All jobs were paused by ben 3 min ago.", "The reason given: Restore."],
        )

    def test_nobody_is_there_to_run_it(self):
        job = rows.job("a", next_run_time=NOON - minutes(1))
        none = [f"No scheduler is running. {START}"]
        self.assertEqual(self.why(job)[1:], none)
        rows.process(seconds=-5)
        rows.process(state="dead")
        rows.process(state="draining")
        self.assertEqual(self.why(job)[1:], none)

    def test_what_the_banner_says_is_not_repeated_of_jobs_that_are_not_due(self):
        SchedulerControl.objects.update(paused=True)
        self.assertEqual(self.why(rows.job("a")), [])

    def test_no_running_scheduler_has_its_executor(self):
        job = rows.job("a", executor="gpu")
        rows.process()
        self.assertEqual(
            self.why(job),
            ["The running scheduler, web-1:4121, does not have the executor “gpu”."],
        )
        rows.process(pid=9, executors="not JSON")
        self.assertEqual(
            self.why(job),
            [
                (
                    "None of the running schedulers, web-1:4121, web-1:9, has the executor "
                    "“gpu”."
                )
            ],
        )
        rows.process(pid=10, executors='{"gpu":1}')
        self.assertEqual(self.why(job), [])

    def test_no_running_scheduler_can_import_it(self):
        job = rows.job("a")
        rows.process(unresolved='["a","b"]')
        self.assertEqual(
            self.why(job),
            [
                (
                    "The running scheduler, web-1:4121, cannot import "
                    "tests.admin.rows:work. It tries again each minute."
                )
            ],
        )
        rows.process(pid=9, unresolved='["b"]')
        self.assertEqual(self.why(job), [])

    def test_an_overdue_job_says_how_late_it_is_and_whether_it_still_runs(self):
        rows.process()
        late = NOON - minutes(30)
        soon = (
            "A scheduler is running and should come to it any moment. If it does not, "
            "look into the log of the scheduler."
        )
        for name, grace, told in (
            ("a", None, "It still runs, however late."),
            ("b", 3600, "It still runs if it is begun within its grace time of 1 h."),
            (
                "c",
                60,
                (
                    "That is more than its grace time of 1 min: it will be recorded as "
                    "missed."
                ),
            ),
        ):
            with self.subTest(grace=grace):
                job = rows.job(name, next_run_time=late, misfire_grace_time=grace)
                self.assertEqual(
                    self.why(job),
                    [f"It was due at 11:30:00 UTC and is 30 min late. {told}", soon],
                )
        self.assertEqual(self.why(rows.job("d", next_run_time=NOON)), [])

    def test_an_overdue_job_may_wait_for_busy_workers(self):
        rows.process()
        rows.execution("other", 1, "Started execution")
        job = rows.job("a", next_run_time=NOON - minutes(30))
        self.assertEqual(
            self.why(job)[1:],
            [
                (
                    "A scheduler is running, and 1 run is under way on the executor "
                    "“default”: its workers may all be busy."
                )
            ],
        )

    def test_an_overdue_job_without_scheduler_says_both(self):
        job = rows.job("a", next_run_time=NOON - minutes(30))
        self.assertEqual(
            self.why(job),
            [
                (
                    "It was due at 11:30:00 UTC and is 30 min late. It still runs, however "
                    "late."
                ),
                f"No scheduler is running. {START}",
            ],
        )

    def test_an_active_job_without_next_run(self):
        rows.process()
        job = rows.job("a")
        job.next_run_time = None
        self.assertEqual(
            self.why(job),
            ["No next run is planned for it. Reschedule it, or pause and resume it."],
        )


@override_settings(TIME_ZONE="UTC")
class ExecutionTest(TestCase):
    def setUp(self):
        self.job = rows.job("a", misfire_grace_time=3600)

    def why(self, execution, job=None, now=NOON):
        job = job or self.job
        return explanations.of_execution(execution, job, now, "default")

    def test_runs_that_went_their_way_need_no_reason(self):
        for status in ("Executed", "Error!", "Claimed", "Started execution"):
            with self.subTest(status=status), self.assertNumQueries(1):
                self.assertEqual(self.why(rows.execution("a", 1, status)), [])

    def test_missed_because_no_scheduler_was_there(self):
        run_time = NOON - timedelta(hours=3)
        rows.process(
            state="dead",
            started_time=NOON - timedelta(hours=9),
            tick_time=NOON - timedelta(hours=4),
        )
        owner = rows.process(
            started_time=NOON - minutes(30), tick_time=NOON - minutes(1)
        )
        row = rows.execution(
            "a",
            status="Missed!",
            run_time=run_time,
            last_run_time=run_time + minutes(30),
            claimed_time=NOON - minutes(29),
            owner=owner,
        )
        with self.assertNumQueries(1):
            found = self.why(row)
        self.assertEqual(
            found,
            [
                "A scheduler came to it at 11:31:00 UTC, 2 h 1 min late.",
                "Its grace time is 1 h.",
                (
                    "No scheduler was running when it was due; web-1:4121 started at "
                    "11:30:00 UTC."
                ),
            ],
        )

    def test_missed_though_a_scheduler_was_there(self):
        owner = rows.process(
            started_time=NOON - timedelta(hours=9), tick_time=NOON - minutes(1)
        )
        row = rows.execution(
            "a", 3, "Missed!", claimed_time=NOON - minutes(60), owner=owner
        )
        self.job.misfire_grace_time = 7200 * 2
        self.assertEqual(
            self.why(row),
            [
                "A scheduler came to it at 11:00:00 UTC, 2 h late.",
                "Its grace time was changed since, and is now 4 h.",
                (
                    "A scheduler was running when it was due: all jobs may have been "
                    "paused, its workers busy, or its executor elsewhere."
                ),
            ],
        )

    def test_missed_during_a_pause_has_its_reason_in_its_note(self):
        self.assertEqual(self.why(rows.execution("a", 3, "Missed!")), [])

    def test_skipped_names_the_run_that_was_in_the_way(self):
        hour = timedelta(hours=1)
        rows.execution("a", 4, claimed_time=NOON - 4 * hour)
        rows.execution(
            "a",
            3,
            claimed_time=NOON - 3 * hour,
            started_time=NOON - 3 * hour,
            finished_time=NOON - hour,
        )
        rows.execution("b", 3, "Started execution", claimed_time=NOON - 3 * hour)
        # Asked for before, but begun only later.
        rows.execution(
            "a",
            2.5,
            origin="manual",
            claimed_time=NOON - 0.5 * hour,
            started_time=NOON - 0.5 * hour,
            finished_time=NOON,
        )
        row = rows.execution("a", 2, "Max instances!", claimed_time=NOON - 2 * hour)
        self.assertEqual(
            self.why(row),
            [
                "The run of 09:00:00 UTC was under way; it took 2 h.",
                "It may have 1 run at a time.",
            ],
        )

    def test_skipped_names_a_run_that_has_been_going_on_for_long(self):
        hour = timedelta(hours=1)
        rows.execution("a", 300, "Started execution", claimed_time=NOON - 300 * hour)
        DjangoJobExecution.objects.bulk_create(
            DjangoJobExecution(
                job_id="a",
                status="Max instances!",
                run_time=NOON - number * hour,
                claimed_time=NOON - number * hour,
            )
            for number in range(1, 299)
        )
        row = DjangoJobExecution.objects.get(run_time=NOON - hour)
        with self.assertNumQueries(2):
            found = self.why(row)
        self.assertEqual(
            found[0], "The run of 22 May 00:00:00 UTC was under way, and still is."
        )

    def test_coalesced_says_when_a_scheduler_came(self):
        row = rows.execution(
            "a",
            3,
            "Coalesced",
            last_run_time=NOON - timedelta(hours=1),
            claimed_time=NOON - minutes(10),
        )
        self.assertEqual(
            self.why(row), ["A scheduler came to it at 11:50:00 UTC, 50 min late."]
        )

    def test_lost_says_when_its_scheduler_was_last_heard_of(self):
        owner = rows.process(tick_time=NOON - minutes(7))
        row = rows.execution("a", 1, "Lost", owner=owner, losses=3)
        self.assertEqual(
            self.why(row),
            [
                "The scheduler web-1:4121 was last heard of at 11:53:00 UTC.",
                "It was cut off 3 times, and given up after that.",
            ],
        )

    def test_a_run_now_that_expired_says_what_it_waited_for(self):
        rows.execution(
            "a", 1, "Started execution", claimed_time=NOON - timedelta(hours=1)
        )
        row = rows.execution(
            "a",
            status="Cancelled",
            origin="manual",
            run_time=NOON - minutes(10),
            expires_time=NOON - minutes(5),
            finished_time=NOON - minutes(5),
        )
        self.assertEqual(
            self.why(row),
            [
                (
                    "It was to start by 11:55:00 UTC at the latest, and no scheduler could "
                    "start it by then."
                ),
                "The run of 11:00:00 UTC was under way, and still is.",
            ],
        )
        by_hand = rows.execution("a", status="Cancelled", finished_time=NOON)
        self.assertEqual(self.why(by_hand), [])

    def test_a_waiting_run_says_what_it_waits_for(self):
        row = rows.execution("a", status="Queued", origin="manual")
        self.assertEqual(self.why(row), [f"No scheduler is running. {START}"])
        rows.process()
        self.assertEqual(self.why(row), [])
        rows.execution(
            "a", 1, "Started execution", claimed_time=NOON - timedelta(hours=1)
        )
        self.assertEqual(
            self.why(row),
            [
                "The run of 11:00:00 UTC was under way, and still is.",
                "It may have 1 run at a time.",
            ],
        )

    def test_the_history_of_a_deleted_job_is_explained_as_far_as_it_goes(self):
        row = rows.execution("gone", 3, "Missed!", claimed_time=NOON - minutes(60))
        self.assertEqual(
            explanations.of_execution(row, None, NOON, "default"),
            ["A scheduler came to it at 11:00:00 UTC, 2 h late."],
        )


@override_settings(TIME_ZONE="UTC")
class PageTest(TestCase):
    def setUp(self):
        self.client.force_login(rows.user("ana", superuser=True))
        block = clock.use(clock.ManualClock(NOON))
        block.__enter__()
        self.addCleanup(block.__exit__, None, None, None)

    def test_the_page_of_a_job_says_why_it_does_not_run(self):
        rows.job("a", state="paused", paused_by="<b>ana</b>")
        page = self.client.get(rows.page("djangojob", "a"))
        self.assertContains(page, "Why it does not run:")
        self.assertContains(page, "It was paused by &lt;b&gt;ana&lt;/b&gt;.")

    def test_the_page_of_a_job_that_nothing_hinders_does_not(self):
        rows.process()
        rows.job("a")
        page = self.client.get(rows.page("djangojob", "a"))
        self.assertNotContains(page, "Why it does not run:")

    def test_the_page_of_a_missed_occurrence_has_the_numbers(self):
        rows.job("a", misfire_grace_time=60)
        row = rows.execution("a", 3, "Missed!", claimed_time=NOON - minutes(60))
        page = self.client.get(rows.page("djangojobexecution", row.pk))
        self.assertContains(page, "11:00:00 UTC, 2 h late. Its grace time is 1 min.")
