"""Rescheduling many jobs: what is asked, what the table shows, and what is done."""

from __future__ import annotations

import json
from datetime import timedelta

from django.contrib.admin.models import LogEntry
from django.core import signing
from django.urls import reverse

import django_apscheduler
from django_apscheduler import clock, serialization
from django_apscheduler.admin.levers import rescheduling
from django_apscheduler.models import DjangoJob, DjangoJobExecution
from django_apscheduler.triggers.cron import CronTrigger
from tests.admin import rows
from tests.admin.levers.test_levers import add
from tests.admin.levers.test_pausing import PageCase
from tests.admin.rows import JOBS
from tests.jobstores.django.support import make_store

RESCHEDULE = "admin:django_apscheduler_djangojob_reschedule_selected"


def trigger_of(pk: str):
    job = DjangoJob.objects.get(pk=pk)
    return serialization.load_trigger(job.trigger, job.anchor_time)


def nightly(pk: str, hour: int, **options) -> DjangoJob:
    return add(pk, trigger=CronTrigger(hour=hour, timezone="UTC"), **options)


class RescheduleCase(PageCase):
    def setUp(self):
        self.sign_in(superuser=True)

    def select(self, *pks: str):
        return self.client.post(
            reverse(JOBS), {"action": "reschedule_selected", "_selected_action": pks}
        )

    def table(self, *pks: str, **fields):
        packed = self.select(*pks).context["packed"]
        return self.client.post(reverse(RESCHEDULE), {"rows": packed, **fields})

    def confirm(self, page) -> list[str]:
        fields = {"rows": page.context["packed"], "plan": page.context["plan"]}
        return self.say(page.context["address"], fields)

    def told(self, page) -> list[tuple[str, str, str, str]]:
        return [
            (row.job.pk, row.old, row.new, row.reason) for row in page.context["table"]
        ]


class TableTest(RescheduleCase):
    def test_nothing_happens_before_it_is_confirmed(self):
        nightly("a", 3)
        before = DjangoJob.objects.get()
        page = self.select("a")
        self.assertContains(page, "Reschedule 1 job")
        page = self.table("a", how="shift", amount="15", unit="minutes")
        self.assertEqual(
            self.told(page), [("a", "At 03:00 every day", "At 03:15 every day", "")]
        )
        self.assertContains(page, "<ins>At 03:15 every day</ins>")
        self.assertRegex(
            page.content.decode(), r"<ins>(\w{3} )?03:15 UTC \(in .+\)</ins>"
        )
        self.assertEqual(DjangoJob.objects.get().revision, before.revision)
        self.assertEqual(self.confirm(page), ["1 rescheduled."])
        after = DjangoJob.objects.get()
        self.assertEqual(f"{after.next_run_time:%H:%M:%S}", "03:15:00")
        self.assertEqual(
            LogEntry.objects.get().get_change_message(),
            "Changed schedule (at 03:00 every day → at 03:15 every day).",
        )

    def test_what_cannot_be_moved_is_left_out_with_the_reason(self):
        nightly("a", 3)
        add("month", trigger=CronTrigger(day=1, hour=0, timezone="UTC"))
        rows.job("over", state="finished")
        rows.job("odd", trigger='{"type":"os:path"}')
        page = self.table("a", "month", "over", "odd", how="shift", amount="-1")
        reasons = {pk: reason for pk, _old, _new, reason in self.told(page)}
        self.assertEqual(
            reasons,
            {
                "a": "",
                "month": (
                    "It would come to other days of the month, or of other months."
                ),
                "over": "It is finished.",
                "odd": "It has no schedule that can be read here.",
            },
        )
        self.assertContains(page, "3 jobs are left out; the table says why.")
        self.assertEqual(self.confirm(page), ["1 rescheduled."])

    def test_another_zone_keeps_the_clock_times(self):
        nightly("a", 3)
        add("b")
        page = self.table("a", "b", how="zone", zone="Asia/Tokyo")
        self.confirm(page)
        self.assertEqual(
            f"{DjangoJob.objects.get(pk='a').next_run_time:%H:%M:%S %Z}",
            "18:00:00 UTC",
        )
        self.assertEqual(trigger_of("b").interval, timedelta(hours=1))

    def test_one_new_schedule_for_all_is_previewed(self):
        nightly("a", 3)
        add("b")
        page = self.table(
            "a",
            "b",
            how="trigger",
            **{"trigger-type": "interval", "trigger-interval-hours": "6"},
        )
        self.assertContains(page, "Every 6 hours")
        self.assertEqual(self.confirm(page), ["2 rescheduled."])
        for pk in ("a", "b"):
            self.assertEqual(trigger_of(pk).interval, timedelta(hours=6))
            self.assertAlmostEqual(
                DjangoJob.objects.get(pk=pk).next_run_time,
                clock.now() + timedelta(hours=6),
                delta=timedelta(minutes=1),
            )

    def test_an_interval_moves_from_where_it_stands(self):
        before = add("b").next_run_time
        self.confirm(self.table("b", how="shift", amount="15", unit="minutes"))
        self.assertEqual(
            DjangoJob.objects.get().next_run_time, before + timedelta(minutes=15)
        )

    def test_a_paused_job_stays_paused(self):
        nightly("a", 3)
        django_apscheduler.get_scheduler().pause_job("a")
        page = self.table("a", how="shift", amount="2", unit="hours")
        self.assertContains(page, "paused")
        self.confirm(page)
        job = DjangoJob.objects.get()
        self.assertEqual((job.state, job.next_run_time), ("paused", None))
        self.assertEqual(str(trigger_of("a")), "cron[hour='5', minute='0']")

    def test_bad_input_is_named_and_kept(self):
        nightly("a", 3)
        for fields, error in (
            ({}, "This field is required."),
            ({"how": "shift"}, "Say by how much, such as 15 or -15."),
            ({"how": "shift", "amount": "0"}, "Say by how much, such as 15 or -15."),
            ({"how": "shift", "amount": "soon"}, "Enter a whole number."),
            ({"how": "shift", "amount": "99999"}, "less than or equal to 10000"),
            ({"how": "shift", "amount": "5", "unit": "eons"}, "Select a valid choice."),
            ({"how": "zone"}, "Name a time zone, such as Europe/Berlin."),
            ({"how": "zone", "zone": "Europe/Atlantis"}, "Atlantis"),
            (
                {
                    "how": "trigger",
                    "trigger-type": "interval",
                    "trigger-interval-hours": "<b>",
                },
                "Hours",
            ),
        ):
            with self.subTest(fields=fields):
                page = self.table("a", **fields)
                self.assertContains(page, error)
                self.assertContains(page, "Please correct what is marked below.")
                self.assertNotIn("plan", page.context)
                self.assertNotContains(page, "<b>")

    def test_too_many_jobs_are_refused(self):
        for number in range(3):
            rows.job(f"job-{number}")
        self.addCleanup(setattr, rescheduling, "MOST_JOBS", rescheduling.MOST_JOBS)
        rescheduling.MOST_JOBS = 2
        self.assertEqual(
            self.act("reschedule", "job-0", "job-1", "job-2"),
            ["Select at most 2 jobs to reschedule at once."],
        )


class ConfirmTest(RescheduleCase):
    def test_exactly_what_was_shown_is_done(self):
        for pk in ("a", "edited", "gone", "ended"):
            nightly(pk, 3)
        page = self.table(
            "a", "edited", "gone", "ended", how="shift", amount="1", unit="hours"
        )
        scheduler = django_apscheduler.get_scheduler()
        scheduler.modify_job("edited", name="New name")
        scheduler.remove_job("gone")
        DjangoJob.objects.filter(pk="ended").update(state="finished")
        self.assertEqual(
            self.confirm(page),
            [
                (
                    "1 rescheduled, 1 changed meanwhile, 1 could not be rescheduled, "
                    "1 deleted meanwhile."
                )
            ],
        )
        self.assertEqual(trigger_of("a").fields[5].text, "4")
        self.assertEqual(trigger_of("edited").fields[5].text, "3")
        self.assertEqual(LogEntry.objects.get().object_id, "a")

    def test_a_second_click_does_nothing_more(self):
        nightly("a", 3)
        page = self.table("a", how="shift", amount="1", unit="hours")
        self.confirm(page)
        self.assertEqual(self.confirm(page), ["1 had this schedule already."])
        self.assertEqual(trigger_of("a").fields[5].text, "4")
        self.assertEqual(LogEntry.objects.count(), 1)

    def test_a_run_meanwhile_is_no_change(self):
        nightly("a", 3)
        page = self.table("a", how="shift", amount="1", unit="hours")
        DjangoJob.objects.update(next_run_time=clock.now() - timedelta(minutes=1))
        make_store().claim_due({"default": 1})
        self.assertTrue(DjangoJobExecution.objects.exists())
        self.assertEqual(self.confirm(page), ["1 rescheduled."])

    def test_a_declared_job_notes_the_override(self):
        job = nightly("a", 3)
        DjangoJob.objects.update(declaration=json.dumps({"trigger": job.trigger}))
        self.confirm(self.table("a", how="shift", amount="1", unit="hours"))
        self.assertEqual(DjangoJob.objects.get().overrides, '["trigger"]')

    def test_a_plan_of_ones_own_making_is_refused(self):
        job = nightly("a", 3)
        page = self.select("a")
        plan = {"a": [job.revision, '{"type":"os:system","args":{}}']}
        for forged in ("", "x", signing.dumps(plan), signing.dumps(plan, salt="other")):
            with self.subTest(plan=forged):
                fields = {"rows": page.context["packed"], "plan": forged}
                self.assertEqual(
                    self.say(reverse(RESCHEDULE), fields),
                    ["Nothing was done: the form named no rows. Select them anew."],
                )
        self.assertEqual(trigger_of("a").fields[5].text, "3")

    def test_all_or_none(self):
        nightly("a", 3)
        nightly("b", 4)
        page = self.table("a", "b", how="shift", amount="1", unit="hours")
        scheduler = django_apscheduler.get_scheduler()
        change = type(scheduler).reschedule_job

        def fail(self, pk, *args, **options):
            if pk == "b":
                raise RuntimeError("the power fails")
            return change(self, pk, *args, **options)

        scheduler.reschedule_job = fail.__get__(scheduler)
        self.addCleanup(scheduler.__dict__.pop, "reschedule_job")
        with self.assertRaisesMessage(RuntimeError, "the power fails"):
            self.confirm(page)
        self.assertEqual(trigger_of("a").fields[5].text, "3")
        self.assertFalse(LogEntry.objects.exists())

    def test_it_takes_its_own_permission(self):
        nightly("a", 3)
        page = self.table("a", how="shift", amount="1", unit="hours")
        fields = {"rows": page.context["packed"], "plan": page.context["plan"]}
        self.client.force_login(
            rows.user("other", "view_djangojob", "change_djangojob", "pause_job")
        )
        listed = self.client.get(reverse(JOBS))
        self.assertNotContains(listed, "reschedule_selected")
        self.assertEqual(self.client.post(reverse(RESCHEDULE), fields).status_code, 403)
        self.act("reschedule", "a")
        self.assertEqual(trigger_of("a").fields[5].text, "3")
        self.client.force_login(
            rows.user("planner", "view_djangojob", "reschedule_job")
        )
        self.assertContains(self.client.get(reverse(JOBS)), "reschedule_selected")
        self.assertEqual(self.client.get(reverse(RESCHEDULE)).status_code, 405)
        self.assertEqual(self.say(reverse(RESCHEDULE), fields), ["1 rescheduled."])
