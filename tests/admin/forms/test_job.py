"""Adding and changing jobs by the form, through whole pages."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from unittest import mock

from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import TestCase, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from django_apscheduler import clock, get_scheduler, registry, serialization
from django_apscheduler.models import DjangoJob
from django_apscheduler.triggers.cron import CronTrigger
from django_apscheduler.triggers.interval import IntervalTrigger
from tests.admin import rows
from tests.admin.browserless import action_of, form_of

ADD = "admin:django_apscheduler_djangojob_add"
PREVIEW = "admin:django_apscheduler_djangojob_preview"
REPORT = "tests.admin.forms.test_job:send_report"
TIDY = "tests.admin.forms.test_job:tidy"
TELL = "tests.admin.forms.test_job:tell"


def send_report(days: int = 30, token: str = "") -> None:
    """Send the report of the last days."""


def tidy(*folders: str) -> None:
    """Tidy folders up."""


def tell(token: str, days: int = 0) -> None:
    """Tell all it is given."""


def unregistered() -> None:
    """Nobody offers this to forms."""


class FormCase(TestCase):
    """Signed in as a superuser; two callables are offered."""

    def setUp(self):
        known = {
            ref: entry
            for ref, entry in registry._callables.items()
            if not ref.startswith("tests.")
        }
        block = mock.patch.dict(registry._callables, known, clear=True)
        block.start()
        self.addCleanup(block.stop)
        registry.register_callable(send_report)
        registry.register_callable(tidy)
        self.sign_in("ana", superuser=True)

    def sign_in(self, name: str, *codenames: str, superuser: bool = False):
        self.user = rows.user(name, *codenames, superuser=superuser)
        self.client.force_login(self.user)

    def add(self, job_id: str = "a", **options) -> DjangoJob:
        """Add a job as a program does."""
        options = {"func": REPORT, "trigger": "interval", "hours": 1, **options}
        get_scheduler().add_job(id=job_id, **options)
        return DjangoJob.objects.get(pk=job_id)

    def page(self, job_id: str = "a") -> str:
        return rows.page("djangojob", job_id)

    def save(self, address: str, values: dict[str, str], **changes: str | None):
        """Send a form with some fields changed; None is a box that is not checked."""
        sent = {**values, **changes}
        return self.client.post(
            address, {name: text for name, text in sent.items() if text is not None}
        )

    def edit(self, job_id: str = "a", **changes: str | None):
        """Open a job's page, change fields, and save."""
        address = self.page(job_id)
        return self.save(address, form_of(self.client.get(address)), **changes)

    def create(self, **changes: str | None):
        address = reverse(ADD)
        return self.save(address, form_of(self.client.get(address)), **changes)

    def assertSaved(self, response):
        if response.status_code != 302:
            self.fail(errors_of(response))

    def assertRefused(self, response, *errors: str):
        self.assertEqual(response.status_code, 200)
        self.assertEqual(errors_of(response), list(errors))


def errors_of(response) -> list[str]:
    return [sentence for _place, sentence in response.context["sentences"]]


CRON = {
    "trigger-type": "cron",
    "trigger-cron-expression": "30 9 * * mon-fri",
    "trigger-cron-timezone": "Europe/Berlin",
}


class AddTest(FormCase):
    def test_a_job_is_added_with_all_that_the_form_says(self):
        response = self.create(
            id="report",
            name="Report",
            func=REPORT,
            args="[7]",
            kwargs='{"token": "s3cret"}',
            misfire_grace_time="120",
            coalesce=None,
            max_instances="2",
            on_lost="mark",
            **CRON,
        )
        self.assertSaved(response)
        job = DjangoJob.objects.get(pk="report")
        self.assertEqual(
            {
                name: getattr(job, name)
                for name in (
                    "name",
                    "func",
                    "args",
                    "kwargs",
                    "misfire_grace_time",
                    "coalesce",
                    "max_instances",
                    "executor",
                    "on_lost",
                    "transactional",
                    "state",
                )
            },
            {
                "name": "Report",
                "func": REPORT,
                "args": "[7]",
                "kwargs": '{"token":"s3cret"}',
                "misfire_grace_time": 120,
                "coalesce": False,
                "max_instances": 2,
                "executor": "default",
                "on_lost": "mark",
                "transactional": False,
                "state": "active",
            },
        )
        self.assertEqual(
            json.loads(job.trigger)["args"],
            {
                "day": "*",
                "day_of_week": "mon-fri",
                "dst": "once",
                "hour": "9",
                "minute": "30",
                "month": "*",
                "timezone": {"$timezone": "Europe/Berlin"},
            },
        )
        # A scheduler can read it: the signature holds.
        self.assertEqual(get_scheduler().get_job("report").args, (7,))
        self.assertEqual(LogEntry.objects.get().action_flag, 1)

    def test_the_form_offers_the_defaults_of_the_settings(self):
        with override_settings(
            APSCHEDULER={"job_defaults": {"max_instances": 4, "misfire_grace_time": 77}}
        ):
            values = form_of(self.client.get(reverse(ADD)))
        self.assertEqual(
            (values["max_instances"], values["misfire_grace_time"], values["on_lost"]),
            ("4", "77", "rerun"),
        )

    def test_an_id_is_made_of_the_name_and_never_taken_twice(self):
        for job_id in ("nightly-report", "nightly-report-2"):
            self.assertSaved(self.create(name="Nightly report!", func=TIDY, **CRON))
            self.assertTrue(DjangoJob.objects.filter(pk=job_id).exists(), job_id)
        self.assertSaved(self.create(func=TIDY, **CRON))
        self.assertEqual(DjangoJob.objects.get(pk="tidy").name, "tidy")

    def test_a_job_may_be_created_paused(self):
        self.assertSaved(self.create(id="p", func=TIDY, paused="on", **CRON))
        job = DjangoJob.objects.get(pk="p")
        self.assertEqual(
            (job.state, job.next_run_time, job.paused_by), ("paused", None, "ana")
        )

    def test_only_registered_callables_are_offered_and_taken(self):
        page = self.client.get(reverse(ADD))
        self.assertContains(page, "Send the report of the last days")
        self.assertContains(page, "send_report(days: &#x27;int&#x27; = 30")
        for func in ("os:system", "tests.admin.forms.test_job:unregistered", ""):
            with self.subTest(func=func):
                response = self.create(id="x", func=func, **CRON)
                self.assertEqual(response.status_code, 200)
                self.assertEqual(len(errors_of(response)), 1)
                self.assertIn("Callable: ", errors_of(response)[0])
        self.assertFalse(DjangoJob.objects.exists())

    def test_bad_input_is_told_field_by_field_and_kept(self):
        self.add("taken")
        for changes, error in (
            (
                {"id": "taken"},
                "Id: “taken” is the id of another job; choose another one.",
            ),
            (
                {"args": "[1"},
                (
                    "Arguments, line 1: the text ends too early; is a closing "
                    "bracket missing?"
                ),
            ),
            (
                {"kwargs": '{"days": 1\n"x": 2}'},
                "Keyword arguments, line 2: expected ','",
            ),
            (
                {"kwargs": '{"dayz": 1}'},
                (
                    "Keyword arguments: send_report() has no argument 'dayz'; did you mean "
                    "'days'?"
                ),
            ),
            (
                {"args": "[1, 2, 3]"},
                "Arguments: send_report() takes at most 2 positional arguments; got 3.",
            ),
            (
                {"max_instances": "0"},
                "Max instances: 0 is outside 1–2147483647.",
            ),
            (
                {"max_instances": "two"},
                "Max instances: expected a whole number such as 5; got “two”.",
            ),
            ({"max_instances": ""}, "Max instances: is needed."),
            (
                {"misfire_grace_time": "-5"},
                "Grace time in seconds: expected a whole number such as 5; got “-5”.",
            ),
            ({"trigger-cron-expression": "75 * * * *"}, None),
            (
                {"trigger-cron-expression": "", "trigger-cron-minute": "75"},
                "Minute: 75 is outside 0–59.",
            ),
            (
                {"trigger-cron-expression": "0 0 30 2 *"},
                "Never fires: there is no day 30 in February.",
            ),
        ):
            with self.subTest(**changes):
                sent = {"id": "x", "name": "Kept", "func": REPORT, **CRON, **changes}
                response = self.create(**sent)
                self.assertEqual(response.status_code, 200)
                if error is not None:
                    self.assertEqual(errors_of(response), [error])
                kept = form_of(response)
                for name, value in sent.items():
                    self.assertEqual(kept[name], value.replace("\n", "\r\n"), name)
                self.assertContains(response, 'id="dja-summary"')
                self.assertFalse(DjangoJob.objects.filter(pk="x").exists())
        self.assertFalse(LogEntry.objects.exists())

    def test_what_the_scheduler_refuses_is_told_and_kept(self):
        with mock.patch(
            "django_apscheduler.schedulers.base.BaseScheduler.add_job",
            side_effect=ValueError("the store says no"),
        ):
            response = self.create(id="x", name="Kept", func=TIDY, **CRON)
        self.assertRefused(response, "Nothing was saved: the store says no")
        self.assertEqual(form_of(response)["name"], "Kept")

    def test_arguments_need_their_permission(self):
        self.sign_in("ben", "add_djangojob", "view_djangojob")
        page = self.client.get(reverse(ADD))
        self.assertNotIn("args", form_of(page))
        self.assertSaved(
            self.create(id="x", func=TIDY, args='["/"]', kwargs="{}", **CRON)
        )
        self.assertEqual(DjangoJob.objects.get(pk="x").args, "[]")

    def test_nested_triggers_are_added_with_buttons_and_without_script(self):
        address = reverse(ADD)
        values = form_of(self.client.get(address))
        values |= {"id": "n", "name": "Kept", "func": TIDY, "trigger-type": "or"}
        page = self.save(address, values, **{"trigger-add": "1"})
        self.assertEqual(errors_of(page), [])
        values = form_of(page)
        self.assertEqual((values["name"], values["trigger-count"]), ("Kept", "2"))
        values |= {
            "trigger-0-type": "interval",
            "trigger-0-interval-hours": "5",
            "trigger-1-type": "and",
        }
        values = form_of(self.save(address, values, **{"trigger-1-add": "1"}))
        values |= {
            "trigger-1-0-type": "interval",
            "trigger-1-0-interval-minutes": "7",
            "trigger-1-1-cron-day_of_week": "sun",
        }
        self.assertFalse(DjangoJob.objects.exists())
        self.assertSaved(self.save(address, values))
        self.assertEqual(
            str(serialization.load_trigger(DjangoJob.objects.get(pk="n").trigger)),
            "or[interval[5:00:00], and[interval[0:07:00], cron[day_of_week='sun']]]",
        )


class ChangeTest(FormCase):
    def test_a_page_saved_unchanged_changes_nothing(self):
        triggers = (
            ("interval", {"hours": 1}),
            ("cron", {"hour": 3, "dst": "once"}),
            ("cron", {"day": "2nd fri", "timezone": "Europe/Berlin", "jitter": 5}),
            ("calendarinterval", {"months": 1, "hour": 4}),
            ("date", {"run_date": clock.now() + timedelta(days=3)}),
            (
                "or",
                {
                    "triggers": [
                        CronTrigger(hour=3),
                        IntervalTrigger(hours=5, timezone="Asia/Tokyo"),
                    ]
                },
            ),
        )
        for number, (alias, arguments) in enumerate(triggers):
            with self.subTest(trigger=alias, **arguments):
                job_id = f"job-{number}"
                options = {"hours": 1, **arguments}
                options = arguments
                get_scheduler().add_job(
                    REPORT, alias, id=job_id, args=[7], kwargs={"token": "x"}, **options
                )
                before = DjangoJob.objects.values().get(pk=job_id)
                self.assertSaved(self.edit(job_id))
                self.assertEqual(DjangoJob.objects.values().get(pk=job_id), before)
        self.assertFalse(LogEntry.objects.exists())

    def test_all_changes_are_one_edit_with_one_line_in_the_log(self):
        before = self.add(kwargs={"token": "hunter2"}, misfire_grace_time=60)
        self.assertSaved(
            self.edit(
                name="Better",
                func=TIDY,
                args='["hunter3"]',
                kwargs="",
                misfire_grace_time="",
                max_instances="3",
                coalesce=None,
                on_lost="mark",
                transactional="on",
                **{"trigger-interval-hours": "2"},
            )
        )
        job = DjangoJob.objects.get(pk="a")
        self.assertEqual(
            (job.name, job.func, job.args, job.kwargs, job.misfire_grace_time),
            ("Better", TIDY, '["hunter3"]', "{}", None),
        )
        self.assertEqual(
            (job.max_instances, job.coalesce, job.on_lost, job.transactional),
            (3, False, "mark", True),
        )
        self.assertEqual(json.loads(job.trigger)["args"]["hours"], 2)
        self.assertEqual(job.revision, before.revision + 1)
        self.assertGreater(job.next_run_time, before.next_run_time)
        self.assertEqual(get_scheduler().get_job("a").args, ("hunter3",))
        told = LogEntry.objects.get().get_change_message()
        self.assertIn("Name (send_report → Better)", told)
        self.assertIn("Schedule (Every hour → Every 2 hours)", told)
        self.assertIn("Grace time (60 s → however late)", told)
        self.assertIn("kwargs", told)
        self.assertNotIn("hunter", LogEntry.objects.get().change_message)

    def test_options_leave_the_schedule_as_it_stands(self):
        before = self.add()
        self.assertSaved(self.edit(name="Better"))
        job = DjangoJob.objects.get(pk="a")
        self.assertEqual(
            (job.next_run_time, job.anchor_time, job.trigger),
            (before.next_run_time, before.anchor_time, before.trigger),
        )

    def test_the_page_tells_in_words_what_is_stored_while_it_is_edited(self):
        self.add()
        response = self.edit(**{"trigger-interval-hours": "5", "_preview": "1"})
        self.assertContains(response, "Every hour")
        self.assertContains(response, "Every 5 hours")

    def test_a_paused_job_is_rescheduled_and_stays_paused(self):
        self.add()
        get_scheduler().pause_job("a")
        self.assertSaved(self.edit(**{"trigger-interval-hours": "2"}))
        job = DjangoJob.objects.get(pk="a")
        self.assertEqual((job.state, job.next_run_time), ("paused", None))
        self.assertEqual(json.loads(job.trigger)["args"]["hours"], 2)

    def test_a_box_is_as_high_as_the_arguments_in_it(self):
        for count, rows_of_kwargs in ((0, "3"), (2, "6"), (99, "20")):
            with self.subTest(count=count):
                DjangoJob.objects.all().delete()
                self.add(kwargs={"days": list(range(count))})
                page = self.client.get(self.page()).content.decode()
                boxes = re.findall(r"<textarea ([^>]*)>", page)
                found = {
                    name: rows
                    for box in boxes
                    for name in re.findall(r'name="(\w+)"', box)
                    for rows in re.findall(r'rows="(\d+)"', box)
                }
                self.assertEqual(found, {"args": "2", "kwargs": rows_of_kwargs})

    def test_hidden_values_of_arguments_stay_what_they_are(self):
        self.add(kwargs={"days": 1, "token": "hunter2"})
        values = form_of(self.client.get(self.page()))
        self.assertNotIn("hunter2", values["kwargs"])
        self.assertSaved(
            self.edit(kwargs=values["kwargs"].replace('"days": 1', '"days": 9'))
        )
        self.assertEqual(
            DjangoJob.objects.get(pk="a").kwargs, '{"days":9,"token":"hunter2"}'
        )

    def test_hidden_values_are_not_handed_to_another_callable(self):
        """It might tell them; whoever wants that enters them anew."""
        self.add(kwargs={"days": 1, "token": "hunter2"})
        registry.register_callable(tell)
        refused = self.edit(func=TELL)
        self.assertRefused(
            refused,
            "Keyword arguments: at token, •••••• stands for a hidden value that is "
            "kept, and none is stored there. Enter the value itself.",
        )
        self.assertEqual(DjangoJob.objects.get(pk="a").func, REPORT)
        self.assertSaved(self.edit(func=TELL, kwargs='{"token": "other"}'))
        self.assertEqual(DjangoJob.objects.get(pk="a").kwargs, '{"token":"other"}')

    def test_nothing_is_saved_by_half(self):
        before = self.add()
        for changes in (
            {"trigger-interval-hours": "x"},
            {"max_instances": "0"},
            {"kwargs": "{"},
            {"executor": "nowhere"},
        ):
            with self.subTest(**changes):
                response = self.edit(name="Changed", **changes)
                self.assertEqual(response.status_code, 200)
                self.assertEqual(form_of(response)["name"], "Changed")
                self.assertEqual(
                    DjangoJob.objects.values().get(pk="a"),
                    {f: getattr(before, f) for f in fields_of(before)},
                )
        # The scheduler has taken the change already when this fails.
        DjangoJob.objects.update(declaration='{"name":"In code"}')
        with mock.patch(
            "django_apscheduler.sync.override", side_effect=ValueError("no")
        ):
            response = self.edit(name="Changed")
        self.assertRefused(response, "Nothing was saved: no")
        self.assertEqual(DjangoJob.objects.get(pk="a").name, before.name)
        self.assertFalse(LogEntry.objects.exists())

    def test_fields_smuggled_in_are_not_read(self):
        before = self.add()
        self.assertSaved(
            self.edit(name="Better", state="paused", signature="x", id="b", uid="1")
        )
        job = DjangoJob.objects.get(pk="a")
        self.assertEqual(job.name, "Better")
        for field in ("func", "args", "trigger", "state", "signature", "uid"):
            self.assertEqual(getattr(job, field), getattr(before, field))

    def test_a_callable_that_is_not_offered_is_kept_or_replaced(self):
        self.add(func=unregistered)
        self.assertContains(self.client.get(self.page()), "not offered by this project")
        self.assertSaved(self.edit(name="Better"))
        job = DjangoJob.objects.get(pk="a")
        self.assertEqual(job.func, "tests.admin.forms.test_job:unregistered")
        response = self.edit(args="[1]")
        self.assertRefused(
            response,
            "Callable: “tests.admin.forms.test_job:unregistered” is not one of the "
            "callables that this project offers.",
        )
        self.assertSaved(self.edit(func=TIDY))
        self.assertEqual(DjangoJob.objects.get(pk="a").func, TIDY)

    def test_a_trigger_of_the_projects_own_is_left_alone_and_not_imported(self):
        self.add()
        own = '{"args":{},"type":"antigravity:Trigger"}'
        DjangoJob.objects.filter(pk="a").update(trigger=own)
        page = self.client.get(self.page())
        self.assertContains(page, "Leave as it is: Custom trigger antigravity:Trigger")
        import sys

        self.assertEqual(self.edit(name="x").status_code, 200)
        self.assertNotIn("antigravity", sys.modules)

    def test_a_job_that_cannot_be_read_says_so_and_keeps_what_was_typed(self):
        self.add()
        DjangoJob.objects.filter(pk="a").update(
            signature="", state="broken", next_run_time=None, error="Traceback\nNo!"
        )
        response = self.edit(name="Better")
        self.assertRefused(
            response,
            "Nothing was saved: the job cannot be read as it is stored; its page tells "
            "why under Trouble.",
        )
        self.assertEqual(form_of(response)["name"], "Better")
        self.assertContains(response, "No!")

    def test_a_finished_job_is_only_looked_at(self):
        self.add()
        DjangoJob.objects.filter(pk="a").update(state="finished", next_run_time=None)
        page = self.client.get(self.page())
        self.assertNotContains(page, 'name="_save"')
        response = self.client.post(self.page(), {"name": "x"})
        self.assertEqual(response.status_code, 403)

    def test_the_number_of_queries_is_constant(self):
        self.add()
        for number in range(3):
            rows.execution("a", number)

        def queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                self.assertEqual(self.client.get(self.page()).status_code, 200)
            return len(captured)

        few = queries()
        for number in range(30):
            self.add(f"other-{number}")
            rows.execution("a", 10 + number)
            rows.process(host=f"web-{number}")
        self.assertEqual(queries(), few)
        self.assertLessEqual(few, 18)


def fields_of(job: DjangoJob) -> list[str]:
    return [field.attname for field in job._meta.concrete_fields]


class DeclaredTest(FormCase):
    def setUp(self):
        super().setUp()
        self.add(name="In code", kwargs={"days": 1})
        job = DjangoJob.objects.get(pk="a")
        declaration = {
            "name": "In code",
            "max_instances": 1,
            "trigger": job.trigger,
            "kwargs": job.kwargs,
            "func": REPORT,
        }
        DjangoJob.objects.update(declaration=json.dumps(declaration))

    def test_its_callable_is_defined_in_code(self):
        page = self.client.get(self.page())
        self.assertNotIn("func", form_of(page))
        self.assertContains(page, "Declared in code")
        self.assertSaved(self.edit(func=TIDY, name="Better"))
        self.assertEqual(DjangoJob.objects.get(pk="a").func, REPORT)

    def test_what_staff_changed_holds_against_the_code_and_is_told(self):
        self.assertSaved(
            self.edit(max_instances="3", **{"trigger-interval-hours": "2"})
        )
        job = DjangoJob.objects.get(pk="a")
        self.assertEqual(json.loads(job.overrides), ["max_instances", "trigger"])
        page = self.client.get(self.page())
        self.assertContains(page, "Changed by staff; in code: Every hour")
        self.assertContains(page, "Changed by staff; in code: 1")
        self.assertContains(page, "Changed by staff; in code", count=2)

    def test_arguments_in_code_need_their_permission_too(self):
        self.assertSaved(self.edit(kwargs='{"days": 2}'))
        self.assertContains(self.client.get(self.page()), "{&quot;days&quot;: 1}")
        self.sign_in("ben", "change_djangojob", "view_djangojob")
        self.assertNotContains(self.client.get(self.page()), "days&quot;")


class RightsTest(FormCase):
    def test_who_may_only_look_gets_texts_and_no_buttons(self):
        self.add(kwargs={"days": 47110815471108})
        self.sign_in("ben", "view_djangojob")
        page = self.client.get(self.page())
        self.assertNotContains(page, 'name="_save"')
        self.assertNotContains(page, 'name="_preview"')
        self.assertNotContains(page, "trigger-type")
        self.assertNotContains(page, "47110815471108")
        self.assertEqual(self.client.post(self.page(), {"name": "x"}).status_code, 403)
        self.assertEqual(self.client.get(reverse(ADD)).status_code, 403)
        self.assertEqual(self.client.post(reverse(ADD), CRON).status_code, 403)

    def test_who_may_reschedule_changes_the_schedule_and_nothing_else(self):
        before = self.add(kwargs={"days": 47110815471108})
        self.sign_in("ben", "reschedule_job", "view_djangojob")
        page = self.client.get(self.page())
        self.assertEqual(
            sorted(n for n in form_of(page) if not n.startswith("trigger-")), ["base"]
        )
        self.assertNotContains(page, "47110815471108")
        self.assertSaved(
            self.edit(
                name="Mine",
                func=TIDY,
                args="[]",
                executor="other",
                max_instances="7",
                **{"trigger-interval-hours": "2"},
            )
        )
        job = DjangoJob.objects.get(pk="a")
        self.assertEqual(json.loads(job.trigger)["args"]["hours"], 2)
        for name in ("name", "func", "args", "kwargs", "executor", "max_instances"):
            self.assertEqual(getattr(job, name), getattr(before, name))
        self.assertEqual(self.client.get(reverse(ADD)).status_code, 403)

    def test_who_may_change_but_not_see_arguments_keeps_them(self):
        before = self.add(kwargs={"days": 47110815471108})
        self.sign_in("ben", "change_djangojob", "view_djangojob")
        page = self.client.get(self.page())
        self.assertNotContains(page, "47110815471108")
        self.assertNotIn("func", form_of(page))
        self.assertSaved(self.edit(name="Better", kwargs="{}", args="[1]", func=TIDY))
        job = DjangoJob.objects.get(pk="a")
        self.assertEqual(
            (job.name, job.kwargs, job.args, job.func),
            ("Better", before.kwargs, "[]", REPORT),
        )

    def test_strangers_see_nothing(self):
        self.add()
        self.sign_in("eve")
        for address in (self.page(), reverse(ADD)):
            self.assertEqual(self.client.get(address).status_code, 403)
            self.assertEqual(self.client.post(address, {}).status_code, 403)
        self.assertEqual(self.client.post(reverse(PREVIEW), CRON).status_code, 403)


class PreviewTest(FormCase):
    def test_it_tells_times_and_fills_in_the_cron_fields(self):
        answer = self.client.post(reverse(PREVIEW), CRON).json()
        self.assertEqual(answer["errors"], [])
        self.assertIn("At 09:30 on Monday to Friday", answer["html"])
        self.assertEqual(answer["html"].count("<tr>"), 11)
        self.assertEqual(answer["cron"]["id_trigger-cron-day_of_week"], "mon-fri")
        self.assertEqual(answer["cron"]["id_trigger-cron-second"], "")

    def test_errors_are_sentences(self):
        sent = {"trigger-type": "cron", "trigger-cron-minute": "75<b>"}
        answer = self.client.post(reverse(PREVIEW), sent).json()
        self.assertEqual(len(answer["errors"]), 1)
        self.assertIn("75&lt;b&gt;", answer["html"])

    def test_it_writes_nothing_and_takes_only_posts_with_a_token(self):
        from django.test import Client

        self.add()
        before = DjangoJob.objects.values().get()
        values = form_of(self.client.get(self.page()))
        values["trigger-interval-hours"] = "5"
        with CaptureQueriesContext(connection) as captured:
            self.client.post(reverse(PREVIEW), values)
        for query in captured:
            self.assertTrue(query["sql"].startswith("SELECT"), query["sql"])
        self.assertEqual(DjangoJob.objects.values().get(), before)
        self.assertEqual(self.client.get(reverse(PREVIEW)).status_code, 405)
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(self.user)
        self.assertEqual(strict.post(reverse(PREVIEW), values).status_code, 403)

    def test_any_of_three_permissions_is_enough(self):
        for number, codename in enumerate(
            ("add_djangojob", "change_djangojob", "reschedule_job")
        ):
            self.sign_in(f"user-{number}", codename)
            self.assertEqual(self.client.post(reverse(PREVIEW), CRON).status_code, 200)
        self.sign_in("viewer", "view_djangojob", "run_job", "pause_job")
        self.assertEqual(self.client.post(reverse(PREVIEW), CRON).status_code, 403)

    def test_the_button_shows_it_without_script_and_saves_nothing(self):
        self.add()
        response = self.edit(
            name="Kept", **{"trigger-interval-hours": "5", "_preview": "1"}
        )
        self.assertEqual(response.status_code, 200)
        self.assertContains(response, "Every 5 hours")
        self.assertEqual(form_of(response)["name"], "Kept")
        self.assertEqual(errors_of(response), [])
        self.assertNotEqual(DjangoJob.objects.get(pk="a").name, "Kept")
        # From there it can be saved.
        self.assertSaved(self.save(self.page(), form_of(response)))
        job = DjangoJob.objects.get(pk="a")
        self.assertEqual(job.name, "Kept")
        self.assertEqual(json.loads(job.trigger)["args"]["hours"], 5)

    def test_a_forged_base_is_not_believed(self):
        sent = {**CRON, "base": "forged"}
        self.assertEqual(self.client.post(reverse(PREVIEW), sent).status_code, 200)


class DuplicateTest(FormCase):
    def test_a_duplicate_is_prefilled_and_paused(self):
        source = self.add(
            kwargs={"days": 1, "token": "hunter2"}, max_instances=5, name="Source"
        )
        address = f"{reverse(ADD)}?duplicate=a"
        page = self.client.get(address)
        self.assertNotContains(page, "hunter2")
        self.assertSaved(self.save(address, form_of(page), id="b"))
        copy = DjangoJob.objects.get(pk="b")
        self.assertEqual(
            (copy.name, copy.func, copy.kwargs, copy.max_instances, copy.state),
            ("Copy of Source", REPORT, source.kwargs, 5, "paused"),
        )
        self.assertEqual(copy.trigger, source.trigger)
        self.assertNotEqual(copy.uid, source.uid)
        self.assertIsNone(copy.declaration)

    def test_arguments_are_copied_for_those_who_may_see_them(self):
        self.add(kwargs={"days": 47110815471108})
        self.sign_in("ben", "add_djangojob", "view_djangojob")
        address = f"{reverse(ADD)}?duplicate=a"
        page = self.client.get(address)
        self.assertNotContains(page, "47110815471108")
        self.assertSaved(self.save(address, form_of(page), id="b"))
        self.assertEqual(DjangoJob.objects.get(pk="b").kwargs, "{}")

    def test_what_one_may_not_look_at_is_not_duplicated(self):
        self.add(name="Secret plan")
        self.sign_in("ben", "add_djangojob")
        page = self.client.get(f"{reverse(ADD)}?duplicate=a")
        self.assertNotContains(page, "Secret plan")

    def test_a_job_that_is_gone_leaves_an_empty_form(self):
        page = self.client.get(f"{reverse(ADD)}?duplicate=nobody")
        self.assertEqual(form_of(page)["name"], "")


class ExecutorTest(FormCase):
    def test_the_page_tells_which_executors_live_schedulers_offer(self):
        rows.process(executors='{"default":20,"gpu":1}')
        self.add(executor="reports")
        page = self.client.get(self.page())
        self.assertContains(page, "reports (no live scheduler offers it)")
        self.assertContains(page, ">gpu</option>")
        response = self.client.get(self.page())
        response = self.save(self.page(), form_of(response), name="x")
        told = [str(m) for m in self.client.get(self.page()).context["messages"]]
        self.assertIn(
            "No live scheduler offers the executor “reports”: the job runs once one "
            "does.",
            told,
        )


class DeletedTest(FormCase):
    def test_a_job_that_was_deleted_meanwhile_loses_no_input(self):
        self.add()
        values = form_of(self.client.get(self.page()))
        get_scheduler().remove_job("a")
        response = self.save(
            self.page(), values, name="Kept", **{"trigger-interval-hours": "3"}
        )
        self.assertRefused(
            response,
            "The job “a” was deleted meanwhile. Save to add it as a new job.",
        )
        kept = form_of(response)
        self.assertEqual((kept["name"], kept["id"]), ("Kept", "a"))
        self.assertSaved(self.save(action_of(response), kept, func=REPORT))
        job = DjangoJob.objects.get(pk="a")
        self.assertEqual(job.name, "Kept")
        self.assertEqual(json.loads(job.trigger)["args"]["hours"], 3)

    def test_it_says_who_deleted_it(self):
        self.add()
        values = form_of(self.client.get(self.page()))
        self.client.post(rows.page("djangojob", "a", "delete"), {"post": "yes"})
        response = self.save(self.page(), values)
        self.assertRegex(
            errors_of(response)[0],
            r"The job “a” was deleted meanwhile, by ana at \d\d:\d\d UTC\.",
        )

    def test_who_may_not_add_jobs_gets_what_was_typed_as_text(self):
        self.add()
        self.sign_in("ben", "change_djangojob", "view_djangojob")
        values = form_of(self.client.get(self.page()))
        get_scheduler().remove_job("a")
        response = self.save(self.page(), values, name="Kept <b>")
        self.assertContains(response, "Kept &lt;b&gt;", status_code=410)
        self.assertFalse(DjangoJob.objects.exists())
