"""The pages that ask before jobs are paused, resumed all at once, or reverted."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

from django.contrib.admin.models import LogEntry
from django.contrib.messages import get_messages
from django.test import override_settings
from django.urls import reverse

import django_apscheduler
from django_apscheduler import clock
from django_apscheduler.admin.levers import levers
from django_apscheduler.models import DjangoJob, DjangoJobExecution, SchedulerControl
from tests.admin import rows
from tests.admin.levers.test_levers import LeverCase, add
from tests.admin.rows import JOBS, NOON
from tests.jobstores.django.support import make_store

PAUSE_SELECTED = "admin:django_apscheduler_djangojob_pause_selected"
PAUSE_ALL = "admin:django_apscheduler_djangojob_pause_all"
RESUME_ALL = "admin:django_apscheduler_djangojob_resume_all"


def remind(when: str) -> None:
    """A job with an argument."""


class PageCase(LeverCase):
    def say(self, address: str, fields: dict | None = None) -> list[str]:
        """Post to an address and return the messages of that alone."""
        self.client.cookies.pop("messages", None)
        response = self.client.post(address, fields or {})
        return [str(message) for message in get_messages(response.wsgi_request)]


class OneJobTest(PageCase):
    def setUp(self):
        self.sign_in(superuser=True)
        self.job = add("a")
        self.address = rows.page("djangojob", "a", "pause")

    def stored(self) -> DjangoJob:
        return DjangoJob.objects.get(pk="a")

    def test_one_click_on_the_page_is_enough(self):
        page = self.client.get(self.address, headers={"referer": "/admin/?x=1"})
        self.assertContains(page, "Pause work")
        self.assertContains(page, "Every hour")
        response = self.client.post(self.address, {"until": "", "reason": ""})
        self.assertRedirects(response, reverse(JOBS))
        job = self.stored()
        self.assertEqual(
            (job.state, job.paused_by, job.pause_reason, job.resume_time),
            ("paused", str(self.user), "", None),
        )
        self.assertEqual(LogEntry.objects.get().change_message, "Paused.")

    def test_it_leads_back_to_where_the_user_came_from_and_nowhere_else(self):
        here = "http://testserver"
        for came_from, leads_to in (
            (f"{here}{reverse(JOBS)}?q=x", f"{here}{reverse(JOBS)}?q=x"),
            (f"{here}{self.address}", reverse(JOBS)),
            ("https://elsewhere.example/", reverse(JOBS)),
            ("javascript:alert(1)", reverse(JOBS)),
        ):
            with self.subTest(came_from=came_from):
                DjangoJob.objects.update(state="active", next_run_time=clock.now())
                page = self.client.get(self.address, headers={"referer": came_from})
                self.assertContains(page, f'name="next" value="{leads_to}"')
                response = self.client.post(self.address, {"next": came_from})
                self.assertEqual(response["Location"], leads_to)

    def test_the_quick_choices_end_when_they_say(self):
        # Berlin is two hours ahead of UTC in June.
        for choice, ends in (
            ("hour", NOON + timedelta(hours=1)),
            ("tomorrow", datetime(2026, 6, 4, 6, tzinfo=timezone.utc)),
            ("week", NOON + timedelta(days=7)),
        ):
            with (
                self.subTest(choice=choice),
                override_settings(TIME_ZONE="Europe/Berlin"),
                rows.at_noon(),
            ):
                DjangoJob.objects.update(state="active", next_run_time=NOON)
                self.client.post(self.address, {"until": choice})
                self.assertEqual(self.stored().resume_time, ends)

    def test_a_moment_is_one_of_the_pages_time_zone(self):
        with override_settings(TIME_ZONE="Asia/Kolkata"), rows.at_noon():
            page = self.client.get(self.address)
            self.assertContains(page, "In the time zone Asia/Kolkata.")
            self.client.post(
                self.address,
                {"until": "moment", "moment": "2026-06-05T09:30", "reason": "holidays"},
            )
        ends = datetime(2026, 6, 5, 4, 0, tzinfo=timezone.utc)
        self.assertEqual(self.stored().resume_time, ends)
        self.assertEqual(
            LogEntry.objects.get().change_message,
            "Paused until 2026-06-05 04:00 UTC: holidays",
        )
        with rows.at_noon():
            listed = self.client.get(reverse(JOBS))
        self.assertContains(listed, "until Fri 04:00 UTC: holidays")

    def test_a_moment_that_was_filled_in_is_meant(self):
        moment = (clock.now() + timedelta(days=2)).replace(second=0, microsecond=0)
        self.client.post(
            self.address, {"until": "", "moment": f"{moment:%Y-%m-%dT%H:%M}"}
        )
        self.assertEqual(self.stored().resume_time, moment)

    def test_bad_input_is_named_and_kept_and_nothing_is_paused(self):
        for fields, error in (
            ({"until": "moment", "moment": "2020-01-01T08:00"}, "has passed: it is"),
            ({"until": "moment"}, "Say when the pause ends."),
            ({"until": "moment", "moment": "soon"}, "Enter a valid date/time."),
            ({"until": "never"}, "Select a valid choice."),
            ({"reason": "x" * 256}, "at most 255 characters"),
        ):
            with self.subTest(fields=fields):
                fields = {"reason": "<b>why</b>", **fields}
                page = self.client.post(self.address, fields)
                self.assertContains(page, error)
                self.assertContains(page, "Nothing was paused.")
                self.assertNotContains(page, "<b>why</b>")
                self.assertEqual(self.stored().state, "active")
        self.assertFalse(LogEntry.objects.exists())

    def test_the_store_resumes_it_at_that_moment(self):
        self.client.post(self.address, {"until": "hour"})
        (store,) = django_apscheduler.registry.shared_stores()
        self.assertEqual(store.resume_due(), [])
        DjangoJob.objects.update(resume_time=clock.now() - timedelta(seconds=1))
        self.assertEqual(store.resume_due(), ["a"])
        self.assertEqual(
            (self.stored().state, self.stored().pause_reason), ("active", "")
        )

    def test_pausing_what_is_paused_changes_nobodys_reason(self):
        self.client.post(self.address, {"reason": "first"})
        told = self.say(self.address, {"reason": "second"})
        self.assertEqual(told, ["1 already paused."])
        self.assertEqual(self.stored().pause_reason, "first")


class ManyJobsTest(PageCase):
    def setUp(self):
        self.sign_in(superuser=True)

    def page(self, *pks: str):
        return self.client.post(
            reverse(JOBS), {"action": "pause_selected", "_selected_action": pks}
        )

    def test_every_outcome_is_counted_and_reason_and_moment_are_on_each(self):
        for pk in ("a", "b", "paused", "edited", "gone"):
            add(pk)
        page = self.page("a", "b", "paused", "edited", "gone")
        self.assertContains(page, "Pause 5 jobs")
        scheduler = django_apscheduler.get_scheduler()
        scheduler.pause_job("paused")
        scheduler.modify_job("edited", name="Edited")
        scheduler.remove_job("gone")
        self.assertEqual(
            self.order(page, reason="move", until="week"),
            ["2 paused, 1 already paused, 1 changed meanwhile, 1 deleted meanwhile."],
        )
        self.assertEqual(
            self.states(),
            {"a": "paused", "b": "paused", "paused": "paused", "edited": "active"},
        )
        for pk in ("a", "b"):
            job = DjangoJob.objects.get(pk=pk)
            self.assertEqual(job.pause_reason, "move")
            self.assertAlmostEqual(
                job.resume_time, clock.now() + timedelta(days=7), delta=timedelta(0, 60)
            )
        messages = LogEntry.objects.values_list("object_id", "change_message")
        self.assertEqual(sorted(pk for pk, _ in messages), ["a", "b"])
        self.assertTrue(all(text.endswith("UTC: move") for _, text in messages))

    def test_a_run_meanwhile_is_no_change(self):
        add("a")
        page = self.page("a")
        DjangoJob.objects.update(next_run_time=clock.now() - timedelta(minutes=1))
        make_store().claim_due({"default": 1})
        self.assertEqual(DjangoJobExecution.objects.get().status, "Claimed")
        self.assertEqual(self.order(page), ["1 paused."])

    def test_many_jobs_are_named_in_part(self):
        for number in range(23):
            rows.job(f"job-{number:02}")
        page = self.page(*(f"job-{number:02}" for number in range(23)))
        self.assertContains(page, "Pause 23 jobs")
        self.assertContains(page, "job-19")
        self.assertNotContains(page, "job-20")
        self.assertContains(page, "and 3 more")

    def test_bad_input_keeps_the_selection(self):
        add("a")
        page = self.client.post(
            reverse(PAUSE_SELECTED),
            {"rows": self.page("a").context["packed"], "until": "moment"},
        )
        self.assertContains(page, "Say when the pause ends.")
        self.assertEqual(self.order(page, until="hour"), ["1 paused."])

    def test_a_selection_of_ones_own_making_is_refused(self):
        add("a")
        for jobs in ("", "a", '{"a":1}', levers.pack("djangojob", {"a": 1}) + "x"):
            with self.subTest(jobs=jobs):
                self.assertEqual(
                    self.say(reverse(PAUSE_SELECTED), {"rows": jobs}),
                    ["Nothing was done: the form named no rows. Select them anew."],
                )
        self.assertEqual(self.client.get(reverse(PAUSE_SELECTED)).status_code, 405)
        self.assertEqual(self.states(), {"a": "active"})

    def test_who_may_not_pause_is_refused(self):
        add("a")
        packed = self.page("a").context["packed"]
        for codenames in (("view_djangojob", "run_job"), ("pause_job",)):
            self.client.force_login(rows.user(f"may-{codenames[0]}", *codenames))
            response = self.client.post(reverse(PAUSE_SELECTED), {"rows": packed})
            self.assertEqual(response.status_code, 403)
        self.assertEqual(self.states(), {"a": "active"})

    def test_all_or_none(self):
        add("a")
        add("b")
        page = self.page("a", "b")
        pause = type(django_apscheduler.get_scheduler()).pause_job

        def fail(scheduler, pk, *args):
            if pk == "b":
                raise RuntimeError("the power fails")
            return pause(scheduler, pk, *args)

        scheduler = django_apscheduler.get_scheduler()
        scheduler.pause_job = fail.__get__(scheduler)
        self.addCleanup(scheduler.__dict__.pop, "pause_job")
        with self.assertRaisesMessage(RuntimeError, "the power fails"):
            self.order(page)
        self.assertEqual(self.states(), {"a": "active", "b": "active"})
        self.assertFalse(LogEntry.objects.exists())


class AllJobsTest(PageCase):
    def test_everything_is_paused_and_resumed_with_reason_and_log(self):
        self.sign_in(superuser=True)
        add("a")
        self.assertContains(self.client.get(reverse(JOBS)), reverse(PAUSE_ALL))
        self.assertContains(self.client.get(reverse(PAUSE_ALL)), "No scheduler")
        self.assertFalse(SchedulerControl.objects.filter(paused=True).exists())
        told = self.say(reverse(PAUSE_ALL), {"reason": "new server"})
        self.assertEqual(
            told, ["All jobs are paused. Runs under way go on to their end."]
        )
        control = SchedulerControl.objects.get()
        self.assertEqual(
            (control.paused, control.paused_by, control.pause_reason),
            (True, str(self.user), "new server"),
        )
        self.assertEqual(self.states(), {"a": "active"})
        listed = self.client.get(reverse(JOBS))
        self.assertContains(listed, reverse(RESUME_ALL))
        self.assertNotContains(listed, reverse(PAUSE_ALL))
        told = self.say(reverse(PAUSE_ALL), {"reason": "other"})
        self.assertEqual(told, ["All jobs were paused already."])
        self.assertEqual(SchedulerControl.objects.get().pause_reason, "new server")
        self.client.post(reverse(RESUME_ALL))
        self.assertFalse(SchedulerControl.objects.get().paused)
        told = self.say(reverse(RESUME_ALL))
        self.assertEqual(told, ["All jobs were not paused."])
        self.assertEqual(
            list(
                LogEntry.objects.order_by("pk").values_list(
                    "object_repr", "change_message"
                )
            ),
            [
                ("all jobs", "Paused all jobs: new server"),
                ("all jobs", "Resumed all jobs."),
            ],
        )

    def test_it_takes_the_permission(self):
        self.client.force_login(rows.user("reader", "view_djangojob", "run_job"))
        self.assertNotContains(self.client.get(reverse(JOBS)), reverse(PAUSE_ALL))
        for address in (reverse(PAUSE_ALL), reverse(RESUME_ALL)):
            self.assertEqual(self.client.get(address).status_code, 403)
            self.assertEqual(self.client.post(address).status_code, 403)
        self.assertFalse(SchedulerControl.objects.filter(paused=True).exists())


class RunTest(PageCase):
    """What a run that was asked for waits for is said at once."""

    def setUp(self):
        self.sign_in(superuser=True)

    def run_job(self) -> list[str]:
        return self.say(rows.page("djangojob", "a", "run"))[1:]

    def test_nothing_in_its_way(self):
        add("a")
        rows.process()
        self.assertEqual(self.run_job(), [])

    def test_no_scheduler_is_alive(self):
        add("a")
        rows.process(seconds=-60)
        rows.process(state="draining", pid=2)
        self.assertEqual(
            self.run_job(),
            ["No scheduler is running: the run is queued, expires in 5 minutes."],
        )

    def test_none_has_its_executor(self):
        add("a")
        DjangoJob.objects.update(executor="gpu")
        rows.process()
        self.assertEqual(
            self.run_job(),
            [
                (
                    "No running scheduler has the executor “gpu”: the run is queued, "
                    "expires in 5 minutes."
                )
            ],
        )

    def test_all_is_paused(self):
        add("a")
        rows.process()
        SchedulerControl.objects.update_or_create(pk=1, defaults={"paused": True})
        self.assertEqual(
            self.run_job(),
            ["All jobs are paused: the run is queued, expires in 5 minutes."],
        )

    def test_as_many_instances_as_allowed_are_running(self):
        add("a", max_instances=1)
        rows.process()
        rows.execution("a", status="Started execution")
        self.assertEqual(
            self.run_job(),
            [
                (
                    "1 instance is running, as many as allowed: the run waits for it, "
                    "5 minutes at most."
                )
            ],
        )
        DjangoJob.objects.update(max_instances=3)
        self.assertEqual(self.run_job(), [])

    def test_a_broken_job_is_refused_with_the_reason(self):
        rows.job(
            "a", state="broken", error="Traceback\n  secret\nModuleNotFoundError: x"
        )
        self.assertEqual(self.run_job(), ["The reason: ModuleNotFoundError: x"])
        self.assertFalse(DjangoJobExecution.objects.exists())


class RevertTest(PageCase):
    def setUp(self):
        self.sign_in(superuser=True)
        scheduler = django_apscheduler.get_scheduler()
        scheduler.add_job(
            remind, "interval", hours=1, id="a", args=["now"], name="As in code"
        )
        job = DjangoJob.objects.get()
        self.declared_trigger = job.trigger
        declared = {
            name: getattr(job, name)
            for name in ("func", "trigger", "args", "kwargs", "name", "max_instances")
        }
        scheduler.modify_job("a", name="<i>Mine</i>", args=["later"])
        scheduler.reschedule_job("a", trigger="interval", hours=7)
        DjangoJob.objects.update(
            declaration=json.dumps(declared),
            overrides='["args", "name", "trigger"]',
        )
        self.address = rows.page("djangojob", "a", "revert")

    def test_the_page_tells_each_field_before_and_after(self):
        self.assertContains(self.client.get(rows.page("djangojob", "a")), self.address)
        page = self.client.get(self.address)
        told = [tuple(each) for each in page.context["overrides"]]
        self.assertEqual(
            told,
            [
                ("args", "Arguments", '["later"]', '["now"]'),
                ("name", "Name", "<i>Mine</i>", "As in code"),
                ("trigger", "Trigger", "Every 7 hours", "Every hour"),
            ],
        )
        self.assertNotContains(page, "<i>Mine</i>")
        self.assertEqual(DjangoJob.objects.get().name, "<i>Mine</i>")

    def test_reverting_follows_the_code_again_and_is_logged_without_arguments(self):
        revision = self.client.get(self.address).context["revision"]
        told = self.say(self.address, {"revision": revision})
        self.assertEqual(told, ["3 fields are again as the code says."])
        job = DjangoJob.objects.get()
        self.assertEqual(
            (job.name, job.args, job.trigger, job.overrides),
            ("As in code", '["now"]', self.declared_trigger, "[]"),
        )
        self.assertIsNotNone(django_apscheduler.get_scheduler().get_job("a"))
        self.assertEqual(
            LogEntry.objects.get().get_change_message(),
            "Changed args, name (<i>Mine</i> → As in code) and "
            "trigger (Every 7 hours → Every hour).",
        )
        page = self.client.get(rows.page("djangojob", "a"))
        self.assertNotContains(page, self.address)
        told = self.say(self.address, {"revision": revision})
        self.assertEqual(told, ["Nothing of this job is overridden."])

    def test_a_job_changed_since_is_left_alone(self):
        revision = self.client.get(self.address).context["revision"]
        django_apscheduler.get_scheduler().modify_job("a", max_instances=5)
        told = self.say(self.address, {"revision": revision})
        self.assertEqual(told, ["Nothing was changed: the job was changed meanwhile."])
        self.assertEqual(DjangoJob.objects.get().name, "<i>Mine</i>")
        self.assertFalse(LogEntry.objects.exists())

    def test_it_takes_the_permission_to_change_and_hides_arguments(self):
        for number, codenames in enumerate(
            [
                ("view_djangojob", "run_job", "pause_job", "reschedule_job"),
                ("change_djangojob",),
            ]
        ):
            self.client.force_login(rows.user(f"user-{number}", *codenames))
            may = "change_djangojob" in codenames
            page = self.client.get(rows.page("djangojob", "a"))
            self.assertEqual(self.address in page.content.decode(), may)
            response = self.client.get(self.address)
            if may:
                self.assertContains(response, "(hidden)")
                self.assertNotContains(response, "later")
            else:
                self.assertEqual(response.status_code, 403)
                self.assertEqual(self.client.post(self.address).status_code, 403)
        self.assertEqual(DjangoJob.objects.get().name, "<i>Mine</i>")

    def test_who_may_reschedule_may_revert_a_schedule_alone(self):
        DjangoJob.objects.update(overrides='["trigger"]')
        self.client.force_login(
            rows.user("planner", "view_djangojob", "reschedule_job")
        )
        self.assertContains(self.client.get(rows.page("djangojob", "a")), self.address)
        self.assertEqual(self.say(self.address), ["1 field is again as the code says."])
        job = DjangoJob.objects.get()
        self.assertEqual(
            (job.trigger, job.name), (self.declared_trigger, "<i>Mine</i>")
        )
