"""Trying runs again and cancelling them, one and many, and who may."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

import django_apscheduler
from django_apscheduler import audit, clock
from django_apscheduler.admin.levers import cancelling
from django_apscheduler.models import (
    DjangoJob,
    DjangoJobExecution,
    SchedulerCommand,
    SchedulerProcess,
)
from tests.admin import rows
from tests.admin.levers.test_levers import add
from tests.admin.levers.test_pausing import PageCase
from tests.admin.rows import LOG

RETRY_SELECTED = "admin:django_apscheduler_djangojobexecution_retry_selected"
CANCEL_SELECTED = "admin:django_apscheduler_djangojobexecution_cancel_selected"
NEW = {"origin": "retry"}


def run(job_id: str = "a", status: str = "Error!", **fields) -> DjangoJobExecution:
    """Store a run that was claimed an hour ago."""
    moment = clock.now() - timedelta(hours=1)
    fields = {"run_time": moment, "claimed_time": moment, **fields}
    return rows.execution(job_id, status=status, **fields)


def page_of(row: DjangoJobExecution, what: str = "change") -> str:
    return rows.page("djangojobexecution", row.pk, what)


class RunCase(PageCase):
    def setUp(self):
        self.sign_in(superuser=True)

    def select(self, action: str, *selected: DjangoJobExecution):
        return self.client.post(
            reverse(LOG),
            {
                "action": f"{action}_selected",
                "_selected_action": [r.pk for r in selected],
            },
        )

    def log(self) -> list[tuple[str, str]]:
        entries = LogEntry.objects.order_by("pk")
        return list(entries.values_list("object_id", "change_message"))


class RetryTest(RunCase):
    def setUp(self):
        super().setUp()
        add("a")
        long_ago = clock.now() - timedelta(days=1)
        DjangoJob.objects.update(changed_time=long_ago)
        rows.process()

    def test_it_queues_a_linked_run_and_leads_to_it(self):
        failed = run()
        page = self.client.get(page_of(failed))
        self.assertContains(page, f'formaction="{page_of(failed, "retry")}"')
        self.assertNotContains(page, "a retry runs it as it is now")
        response = self.client.post(page_of(failed, "retry"), {"token": "t"})
        new = DjangoJobExecution.objects.get(**NEW)
        self.assertRedirects(response, page_of(new))
        self.assertEqual(
            (new.retry_of_id, new.status, new.requested_by, new.job_id),
            (failed.pk, "Queued", str(self.user), "a"),
        )
        failed.refresh_from_db()
        self.assertEqual(failed.status, "Error!")
        self.assertEqual(
            self.log(), [(str(failed.pk), f"Retried (execution {new.pk}).")]
        )

    def test_a_double_click_retries_once(self):
        failed = run()
        for _click in range(2):
            self.client.post(page_of(failed, "retry"), {"token": "t"})
        self.assertEqual(DjangoJobExecution.objects.filter(**NEW).count(), 1)
        self.assertEqual(len(self.log()), 1)
        self.client.post(page_of(failed, "retry"), {"token": "u"})
        self.assertEqual(DjangoJobExecution.objects.filter(**NEW).count(), 2)

    def test_runs_that_cannot_be_retried_have_no_button_and_are_refused(self):
        rows.job("broken", state="broken", error="x\nImportError: gone")
        for row, reason in (
            (run(status="Started execution"), "Not retried: the run is not over yet."),
            (run("deleted"), "Not retried: its job was deleted."),
            (
                run("broken"),
                "Not retried: its job is broken. ImportError: gone",
            ),
        ):
            with self.subTest(reason=reason):
                self.assertNotContains(
                    self.client.get(page_of(row)), page_of(row, "retry")
                )
                self.assertEqual(self.say(page_of(row, "retry")), [reason])
        self.assertFalse(DjangoJobExecution.objects.filter(**NEW).exists())
        self.assertEqual(self.log(), [])

    def test_it_says_who_changed_the_job_since(self):
        failed = run()
        django_apscheduler.get_scheduler().modify_job("a", name="Newer")
        changed = audit.changed([("name", "work", "Newer")])
        audit.log(self.user.pk, [DjangoJob.objects.get()], message=changed)
        said = f"The job was changed by {self.user}, "
        self.assertContains(self.client.get(page_of(failed)), said)
        told = self.say(page_of(failed, "retry"))
        self.assertEqual(told[0], "1 queued to run again.")
        self.assertTrue(told[1].startswith(said), told)
        self.assertTrue(told[1].endswith("; a retry runs it as it is now."), told)
        later = run(claimed_time=clock.now() + timedelta(seconds=5))
        self.assertEqual(self.client.get(page_of(later)).context["lever_note"], "")

    def test_a_change_by_a_program_has_no_name(self):
        failed = run()
        django_apscheduler.get_scheduler().modify_job("a", name="Newer")
        page = self.client.get(page_of(failed))
        self.assertContains(page, "The job was changed ")
        self.assertNotContains(page, "The job was changed by")

    def test_a_pause_is_no_change(self):
        failed = run()
        self.client.post(rows.page("djangojob", "a", "pause"), {"reason": "x"})
        self.assertGreater(DjangoJob.objects.get().changed_time, failed.claimed_time)
        self.assertNotContains(self.client.get(page_of(failed)), "as it is now")

    def test_it_says_when_no_scheduler_will_take_it(self):
        SchedulerProcess.objects.all().delete()
        self.assertEqual(
            self.say(page_of(run(), "retry"))[1:],
            ["No scheduler is running: the run is queued, expires in 5 minutes."],
        )

    def test_many_are_shown_first_and_counted_by_outcome(self):
        rows.job("broken", state="broken")
        one, two = run(), run(status="Missed!")
        others = [run(status="Queued"), run("deleted"), run("broken")]
        page = self.select("retry", one, two, *others)
        self.assertContains(page, "Retry 2 runs")
        for reason in (
            "it is not over yet",
            "its job was deleted",
            "its job is broken",
        ):
            self.assertContains(page, f"Left out: {reason}.")
        self.assertFalse(DjangoJobExecution.objects.filter(**NEW).exists())
        token = page.context["token"]
        for _click in range(2):
            told = self.order(page, token=token)
            self.assertEqual(
                told,
                [
                    (
                        "2 queued to run again, 1 is not over yet, 1 has a broken job, "
                        "the job of 1 was deleted."
                    )
                ],
            )
        retried = DjangoJobExecution.objects.filter(**NEW).values_list("retry_of_id")
        self.assertEqual(sorted(retried), [(one.pk,), (two.pk,)])
        self.assertEqual(sorted(pk for pk, _ in self.log()), [str(one.pk), str(two.pk)])

    def test_the_page_asks_as_often_for_twenty_runs_as_for_one(self):
        for number in range(20):
            add(f"job-{number}")
        runs = [run(f"job-{number}") for number in range(20)]
        self.select("retry", runs[0])
        counts = []
        for some in (runs[:1], runs):
            with self.subTest(runs=len(some)):
                with CaptureQueriesContext(connection) as queries:
                    self.select("retry", *some)
                counts.append(len(queries))
        self.assertEqual(counts[0], counts[1])


class CancelTest(RunCase):
    def setUp(self):
        super().setUp()
        add("a")

    def test_what_waits_is_cancelled_by_one_click(self):
        pk = django_apscheduler.get_scheduler().run_job_now("a")
        row = DjangoJobExecution.objects.get(pk=pk)
        self.assertContains(
            self.client.get(page_of(row)), f'formaction="{page_of(row, "cancel")}"'
        )
        self.assertEqual(self.say(page_of(row, "cancel")), ["The run is cancelled."])
        row.refresh_from_db()
        self.assertEqual(row.status, "Cancelled")
        self.assertIn(f"cancelled by {self.user} before it began", row.note)
        self.assertEqual(self.log(), [(str(pk), "Cancelled.")])

    def test_what_runs_is_asked_to_end_after_a_page_that_says_how(self):
        row = run(status="Started execution")
        self.assertContains(
            self.client.get(page_of(row)), f'href="{page_of(row, "cancel")}"'
        )
        page = self.client.get(page_of(row, "cancel"))
        self.assertContains(page, "which nobody can stop")
        self.assertFalse(SchedulerCommand.objects.exists())
        self.assertEqual(
            self.say(page_of(row, "cancel")),
            ["Its scheduler was asked to end the run."],
        )
        self.assertEqual(SchedulerCommand.objects.get().execution_id, row.pk)
        row.refresh_from_db()
        self.assertIn(f"asked to end by {self.user}", row.note)
        self.assertEqual(self.log(), [(str(row.pk), "Asked its scheduler to end it.")])

    def test_each_executor_says_what_it_can_do(self):
        executors = {
            "threads": {"type": "threadpool"},
            "pool": {"type": "processpool"},
            "loop": {"type": "asyncio"},
            "web": {"type": "tornado"},
            "reactor": {"type": "twisted"},
            "object": {
                "class": "django_apscheduler.executors.pool:ProcessPoolExecutor"
            },
            "celery": {"type": "debug"},
        }
        with override_settings(APSCHEDULER={"executors": executors}):
            for alias, words in (
                ("default", "which nobody can stop. The run is told"),
                ("threads", "which nobody can stop. The run is told"),
                ("pool", "its process is killed"),
                ("object", "its process is killed"),
                ("loop", "CancelledError at its next await"),
                ("web", "CancelledError at its next await"),
                ("reactor", "CancelledError at its next await"),
                ("celery", "which nobody can stop. The run is told"),
                ("gone", "how it ends a run is its own affair"),
            ):
                with self.subTest(executor=alias):
                    self.assertIn(words, cancelling.remedy(alias))

    def test_what_is_over_is_left_as_it_is(self):
        row = run(status="Executed")
        self.assertNotContains(self.client.get(page_of(row)), page_of(row, "cancel"))
        self.assertEqual(
            self.say(page_of(row, "cancel")), ["The run was over already."]
        )
        self.assertRedirects(self.client.get(page_of(row, "cancel")), page_of(row))
        row.refresh_from_db()
        self.assertEqual((row.status, row.note), ("Executed", ""))
        self.assertEqual(self.log(), [])

    def test_many_are_counted_by_outcome(self):
        scheduler = django_apscheduler.get_scheduler()
        waiting = [scheduler.run_job_now("a") for _ in range(2)]
        selected = [
            *DjangoJobExecution.objects.filter(pk__in=waiting),
            run(status="Started execution"),
            ended := run(status="Claimed"),
            run(status="Executed"),
        ]
        page = self.select("cancel", *selected)
        self.assertContains(page, "Cancel 4 runs")
        self.assertContains(page, "2 runs wait for a scheduler")
        self.assertContains(page, "2 runs are with their schedulers")
        self.assertContains(page, "One of the selected runs is over")
        DjangoJobExecution.objects.filter(pk=ended.pk).update(status="Executed")
        self.assertEqual(
            self.order(page), ["2 cancelled, 1 is asked to end, 1 was over."]
        )
        self.assertEqual(len(self.log()), 3)


class RightsTest(RunCase):
    def test_each_takes_its_own_permission(self):
        add("a")
        failed, going = run(), run(status="Started execution")
        packed = self.select("cancel", going).context["packed"]
        cases = (
            ("run_job", page_of(failed, "retry"), RETRY_SELECTED, "retry_selected"),
            (
                "cancel_execution",
                page_of(going, "cancel"),
                CANCEL_SELECTED,
                "cancel_selected",
            ),
        )
        everything = [
            "view_djangojobexecution",
            "view_djangojob",
            "pause_job",
            "delete_djangojobexecution",
            "run_job",
            "cancel_execution",
        ]
        for codename, address, selected, action in cases:
            with self.subTest(permission=codename):
                others = [name for name in everything if name != codename]
                self.client.force_login(rows.user(f"not-{codename}", *others))
                for page in (page_of(failed), page_of(going)):
                    self.assertNotContains(self.client.get(page), address)
                listed = self.client.get(reverse(LOG))
                self.assertNotContains(listed, f'value="{action}"')
                self.assertEqual(self.client.post(address).status_code, 403)
                self.assertEqual(
                    self.client.post(reverse(selected), {"rows": packed}).status_code,
                    403,
                )
                self.select(action.removesuffix("_selected"), failed, going)
                self.client.force_login(
                    rows.user(f"only-{codename}", codename, "view_djangojobexecution")
                )
                listed = self.client.get(reverse(LOG))
                self.assertContains(listed, f'value="{action}"')
        self.assertFalse(SchedulerCommand.objects.exists())
        self.assertFalse(DjangoJobExecution.objects.filter(**NEW).exists())

    def test_addresses_that_change_something_answer_to_posts_only(self):
        add("a")
        failed = run()
        self.assertEqual(self.client.get(page_of(failed, "retry")).status_code, 405)
        for address in (reverse(RETRY_SELECTED), reverse(CANCEL_SELECTED)):
            self.assertEqual(self.client.get(address).status_code, 405)
        self.assertFalse(DjangoJobExecution.objects.filter(**NEW).exists())
