"""Two people, and running schedulers, at one job."""

from __future__ import annotations

import json
import threading
from datetime import timedelta

from django.core import signing
from django.db import connections
from django.test import Client, TransactionTestCase, override_settings

from django_apscheduler import audit, clock, get_scheduler, testing
from django_apscheduler.admin.forms import conflicts
from django_apscheduler.models import DjangoJob
from tests.admin import rows
from tests.admin.browserless import form_of
from tests.admin.forms.test_job import REPORT, FormCase, errors_of


class ConflictCase(FormCase):
    """Ana and ben have the page of one job open."""

    def setUp(self):
        super().setUp()
        self.add(name="Report", max_instances=1, kwargs={"days": 1, "token": "hunter2"})
        self.ben = Client()
        self.ben_user = rows.user("ben", superuser=True)
        self.ben.force_login(self.ben_user)
        self.values = form_of(self.client.get(self.page()))

    def other(self, **changes: str):
        """Have ben save, on a page that he has just opened."""
        values = form_of(self.ben.get(self.page()))
        self.assertSaved(self.ben.post(self.page(), {**values, **changes}))

    def mine(self, **changes: str):
        return self.save(self.page(), self.values, **changes)

    def job(self) -> DjangoJob:
        return DjangoJob.objects.get(pk="a")


class MergeTest(ConflictCase):
    def test_different_fields_are_merged_without_a_word(self):
        self.other(max_instances="5", **{"trigger-interval-hours": "7"})
        self.assertSaved(self.mine(name="Mine", coalesce="on"))
        job = self.job()
        self.assertEqual((job.name, job.max_instances), ("Mine", 5))
        self.assertEqual(json.loads(job.trigger)["args"]["hours"], 7)

    def test_arguments_that_another_changed_are_merged_too(self):
        self.other(kwargs='{"days": 9, "token": "••••••"}')
        self.assertSaved(self.mine(name="Mine"))
        self.assertEqual(self.job().kwargs, '{"days":9,"token":"hunter2"}')

    def test_the_same_value_twice_is_no_conflict(self):
        self.other(name="Same", **{"trigger-interval-hours": "2"})
        self.assertSaved(self.mine(name="Same", **{"trigger-interval-hours": "2"}))
        self.assertEqual(self.job().name, "Same")

    def test_schedulers_that_run_the_job_meanwhile_are_no_conflict(self):
        before = self.job()
        for hours in (2, 4, 6):
            testing.run_due(clock.now() + timedelta(hours=hours))
        self.assertNotEqual(self.job().next_run_time, before.next_run_time)
        moved = self.job().next_run_time
        self.assertSaved(self.mine(name="Mine"))
        self.assertEqual((self.job().name, self.job().next_run_time), ("Mine", moved))

    def test_what_was_saved_by_a_program_is_merged(self):
        get_scheduler().modify_job("a", executor="other")
        self.assertSaved(self.mine(name="Mine"))
        self.assertEqual((self.job().name, self.job().executor), ("Mine", "other"))


class TrueConflictTest(ConflictCase):
    def test_both_values_are_shown_with_who_and_nothing_is_saved(self):
        self.other(name="Ben’s", **{"trigger-interval-hours": "7"})
        before = DjangoJob.objects.values().get()
        response = self.mine(
            name="Mine", max_instances="4", **{"trigger-interval-hours": "2"}
        )
        self.assertRefused(
            response,
            "Somebody else saved other values meanwhile. Nothing of yours is lost and "
            "nothing was saved: choose below, and save again.",
        )
        self.assertEqual(DjangoJob.objects.values().get(), before)
        found = response.context["job_form"].conflicts
        self.assertEqual(
            [(c.name, c.label, c.mine, c.theirs) for c in found],
            [
                ("name", "Name", "Mine", "Ben’s"),
                ("trigger", "Schedule", "Every 2 hours", "Every 7 hours"),
            ],
        )
        for conflict in found:
            self.assertRegex(conflict.who, r"^saved by ben at \d\d:\d\d UTC$")
        kept = form_of(response)
        self.assertEqual(
            (kept["name"], kept["max_instances"], kept["trigger-interval-hours"]),
            ("Mine", "4", "2"),
        )

    def test_saving_again_wins_knowingly(self):
        self.other(name="Ben’s", executor="default", max_instances="9")
        page = self.mine(name="Mine")
        self.assertSaved(self.save(self.page(), form_of(page)))
        # What ben alone changed stays.
        self.assertEqual((self.job().name, self.job().max_instances), ("Mine", 9))

    def test_the_other_value_can_be_chosen_field_by_field(self):
        self.other(name="Ben’s", **{"trigger-interval-hours": "7"})
        page = self.mine(
            name="Mine", max_instances="4", **{"trigger-interval-hours": "2"}
        )
        choice = {"choose-trigger": "theirs"}
        self.assertSaved(self.save(self.page(), form_of(page), **choice))
        job = self.job()
        self.assertEqual((job.name, job.max_instances), ("Mine", 4))
        self.assertEqual(json.loads(job.trigger)["args"]["hours"], 7)

    def test_a_third_save_meanwhile_is_a_conflict_again(self):
        self.other(name="Ben’s")
        page = self.mine(name="Mine")
        self.other(name="Ben’s second")
        again = self.save(self.page(), form_of(page))
        self.assertEqual(
            [c.theirs for c in again.context["job_form"].conflicts], ["Ben’s second"]
        )
        self.assertEqual(self.job().name, "Ben’s second")

    def test_hidden_values_stay_hidden_in_a_conflict(self):
        self.other(kwargs='{"days": 2, "token": "hunter3"}')
        page = self.mine(kwargs='{"days": 3, "token": "••••••"}')
        self.assertNotContains(page, "hunter")
        self.assertEqual(len(page.context["job_form"].conflicts), 1)
        self.assertEqual(self.job().kwargs, '{"days":2,"token":"hunter3"}')

    def test_what_others_changed_is_shown_beside_the_conflict(self):
        self.other(name="Ben’s", max_instances="9", **{"trigger-interval-hours": "7"})
        kept = form_of(self.mine(name="Mine"))
        self.assertEqual(
            (kept["name"], kept["max_instances"], kept["trigger-interval-hours"]),
            ("Mine", "9", "7"),
        )

    def test_who_changed_it_by_program_is_not_made_up(self):
        get_scheduler().modify_job("a", name="Program’s")
        page = self.mine(name="Mine")
        self.assertEqual(
            [c.who for c in page.context["job_form"].conflicts], ["saved meanwhile"]
        )

    def test_a_schedule_that_was_moved_from_the_list_is_told_too(self):
        job = self.job()
        text = audit.changed([("schedule", "Every hour", "Every 7 hours")])
        get_scheduler().reschedule_job("a", trigger="interval", hours=7)
        audit.log(self.ben_user.pk, [job], message=text)
        page = self.mine(**{"trigger-interval-hours": "2"})
        (conflict,) = page.context["job_form"].conflicts
        self.assertRegex(conflict.who, "^saved by ben at ")

    @override_settings(USE_TZ=False, TIME_ZONE="America/New_York")
    def test_it_works_without_time_zone_support(self):
        self.other(name="Ben’s")
        (conflict,) = self.mine(name="Mine").context["job_form"].conflicts
        self.assertRegex(conflict.who, r"^saved by ben at \d\d:\d\d E[SD]T$")

    def test_text_of_the_other_is_escaped(self):
        self.other(name="<script>alert(1)</script>")
        self.assertNotContains(self.mine(name="Mine"), "<script>alert")


class BaseTest(ConflictCase):
    def test_what_travels_with_the_form_tells_no_argument(self):
        told = signing.loads(self.values["base"], salt=conflicts.SALT)
        self.assertNotIn("hunter2", json.dumps(told))

    def test_a_base_of_another_job_or_of_nobody_counts_as_now(self):
        self.add("b", name="Other")
        other = form_of(self.client.get(self.page("b")))["base"]
        for number, base in enumerate((other, "forged", "")):
            with self.subTest(base=base[:10]):
                name = f"Mine {number}"
                self.assertSaved(self.mine(name=name, base=base))
                self.assertEqual(self.job().name, name)


class LockTest(TransactionTestCase):
    """Two submissions at the very same moment."""

    def test_of_two_saves_at_once_one_is_asked(self):
        rows.user("ana", superuser=True)
        get_scheduler().add_job(REPORT, "interval", id="a", hours=1)
        address = rows.page("djangojob", "a")
        answers: dict[str, object] = {}
        start = threading.Barrier(2)

        def save(name: str) -> None:
            client = Client()
            client.login(username="ana", password="secret")
            values = form_of(client.get(address))
            start.wait(30)
            try:
                answers[name] = client.post(address, {**values, "name": name})
            finally:
                connections.close_all()

        threads = [threading.Thread(target=save, args=(n,)) for n in ("one", "two")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        saved = DjangoJob.objects.get(pk="a").name
        loser = "two" if saved == "one" else "one"
        self.assertEqual(answers[saved].status_code, 302)
        self.assertEqual(answers[loser].status_code, 200)
        self.assertEqual(
            [c.theirs for c in answers[loser].context["job_form"].conflicts], [saved]
        )
        self.assertEqual(len(errors_of(answers[loser])), 1)
