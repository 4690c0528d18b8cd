"""What staff may do to jobs, and that it happens."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.admin.utils import quote
from django.contrib.messages import get_messages
from django.test import TestCase
from django.urls import reverse

import django_apscheduler
from django_apscheduler import clock
from django_apscheduler.models import DjangoJob, DjangoJobExecution
from tests.admin import rows
from tests.admin.rows import JOBS, LOG


def add(pk: str, **options) -> DjangoJob:
    """Add a job the way programs do, so that its row is signed."""
    options.setdefault("trigger", "interval")
    if options["trigger"] == "interval":
        options.setdefault("hours", 1)
    django_apscheduler.get_scheduler().add_job(rows.work, id=pk, **options)
    return DjangoJob.objects.get(pk=pk)


class LeverCase(TestCase):
    def sign_in(self, *codenames: str, superuser: bool = False) -> None:
        self.user = rows.user(
            f"user-{self.id()[-20:]}", *codenames, superuser=superuser
        )
        self.client.force_login(self.user)

    def act(self, name: str, *pks: str, **more: str) -> list[str]:
        """Run a bulk action and return its messages."""
        self.client.cookies.pop("messages", None)
        response = self.client.post(
            reverse(JOBS),
            {"action": f"{name}_selected", "_selected_action": pks, **more},
        )
        return [str(message) for message in get_messages(response.wsgi_request)]

    def pause(self, *pks: str, **fields: str) -> list[str]:
        """Pause jobs by the page that the bulk action shows; return its messages."""
        page = self.client.post(
            reverse(JOBS), {"action": "pause_selected", "_selected_action": pks}
        )
        return self.order(page, **fields)

    def order(self, page, **fields: str) -> list[str]:
        """Post the form of a page that asks, and return the messages."""
        self.client.cookies.pop("messages", None)
        packed = page.context["packed"]
        response = self.client.post(page.context["address"], {"rows": packed, **fields})
        return [str(message) for message in get_messages(response.wsgi_request)]

    def states(self) -> dict[str, str]:
        return dict(DjangoJob.objects.values_list("pk", "state"))


class BulkTest(LeverCase):
    def test_pausing_counts_exactly_and_logs_each_change(self):
        self.sign_in(superuser=True)
        for pk in ("a", "b", "c"):
            add(pk)
        django_apscheduler.get_scheduler().pause_job("c")
        self.assertEqual(self.pause("a", "b", "c"), ["2 paused, 1 already paused."])
        self.assertEqual(self.states(), {"a": "paused", "b": "paused", "c": "paused"})
        self.assertEqual(DjangoJob.objects.get(pk="a").paused_by, str(self.user))
        self.assertEqual(
            sorted(
                LogEntry.objects.values_list(
                    "object_id", "action_flag", "change_message"
                )
            ),
            [("a", CHANGE, "Paused."), ("b", CHANGE, "Paused.")],
        )

    def test_resuming_gives_back_a_next_run_time(self):
        self.sign_in(superuser=True)
        add("a")
        add("b")
        self.pause("a")
        self.assertIsNone(DjangoJob.objects.get(pk="a").next_run_time)
        self.assertEqual(self.act("resume", "a", "b"), ["1 resumed, 1 was not paused."])
        job = DjangoJob.objects.get(pk="a")
        self.assertEqual(job.state, "active")
        self.assertGreater(job.next_run_time, clock.now())

    def test_a_job_that_ended_during_its_pause_is_told_apart(self):
        self.sign_in(superuser=True)
        add("a")
        add("once", trigger="date", run_date=clock.now() + timedelta(days=1))
        self.pause("a", "once")
        DjangoJob.objects.filter(pk="once").update(
            trigger='{"type":"date","args":{"run_date":"2026-01-01T00:00:00Z"}}'
        )
        self.assertEqual(
            self.act("resume", "a", "once"),
            ["1 resumed, 1 had ended during its pause and is removed."],
        )
        self.assertEqual(self.states(), {"a": "active"})
        missed = DjangoJobExecution.objects.filter(job_id="once")
        self.assertFalse(missed.exclude(status="Missed!").exists())
        self.assertEqual(
            LogEntry.objects.filter(object_id="once").latest("pk").change_message,
            "Resumed; its schedule had ended during the pause.",
        )

    def test_running_now_queues_one_run_and_leaves_the_schedule(self):
        self.sign_in(superuser=True)
        before = add("a").next_run_time
        self.assertEqual(self.act("run", "a"), ["1 queued to run now."])
        run = DjangoJobExecution.objects.get(job_id="a")
        self.assertEqual(
            (run.status, run.origin, run.requested_by),
            ("Queued", "manual", str(self.user)),
        )
        self.assertEqual(DjangoJob.objects.get(pk="a").next_run_time, before)
        self.assertEqual(
            LogEntry.objects.get().change_message,
            f"Queued to run now (execution {run.pk}).",
        )

    def test_a_paused_job_runs_now_and_stays_paused(self):
        self.sign_in(superuser=True)
        add("a")
        self.pause("a")
        self.act("run", "a")
        self.assertEqual(DjangoJobExecution.objects.get(job_id="a").status, "Queued")
        self.assertEqual(self.states(), {"a": "paused"})

    def test_jobs_that_cannot_do_it_are_counted_apart(self):
        self.sign_in(superuser=True)
        rows.job("finished", state="finished")
        rows.job("broken", state="broken")
        self.assertEqual(
            self.pause("finished", "broken"), ["2 have no schedule to pause."]
        )
        self.assertEqual(self.act("run", "broken"), ["1 is broken and cannot run."])
        self.assertEqual(LogEntry.objects.count(), 0)

    def test_a_row_signed_by_nobody_is_refused_not_reported_as_deleted(self):
        self.sign_in(superuser=True)
        rows.job("forged")
        self.assertEqual(self.pause("forged"), ["1 has no schedule to pause."])
        self.assertEqual(LogEntry.objects.count(), 0)

    def test_deleting_keeps_the_history(self):
        self.sign_in(superuser=True)
        add("a")
        add("b")
        run = rows.execution("a", 1)
        question = self.client.post(
            reverse(JOBS),
            {"action": "delete_selected", "_selected_action": ["a"]},
        )
        self.assertContains(question, "The execution log is kept.")
        self.client.post(
            reverse(JOBS),
            {
                "action": "delete_selected",
                "_selected_action": ["a"],
                "post": "yes",
            },
        )
        self.assertEqual(self.states(), {"b": "active"})
        run.refresh_from_db()
        self.assertEqual(run.status, "Executed")
        self.assertEqual(
            LogEntry.objects.filter(action_flag=DELETION).get().object_id, "a"
        )
        self.assertContains(self.client.get(reverse(LOG), {"job": "a"}), "a, deleted")

    def test_finished_and_broken_jobs_can_be_deleted(self):
        self.sign_in(superuser=True)
        for state in ("finished", "broken", "disabled"):
            with self.subTest(state=state):
                rows.job("old", state=state)
                self.client.post(
                    rows.page("djangojob", "old", "delete"), {"post": "yes"}
                )
                self.assertEqual(self.states(), {})


class ButtonTest(LeverCase):
    def test_buttons_do_what_they_say(self):
        self.sign_in(superuser=True)
        add("a")
        for name, state in (
            ("pause", "paused"),
            ("resume", "active"),
            ("run", "active"),
        ):
            with self.subTest(button=name):
                response = self.client.post(rows.page("djangojob", "a", name))
                if name != "run":
                    self.assertRedirects(response, reverse(JOBS))
                self.assertEqual(self.states(), {"a": state})
        run = DjangoJobExecution.objects.get()
        self.assertRedirects(response, rows.page("djangojobexecution", run.pk))

    def test_it_goes_back_to_where_the_button_stood(self):
        self.sign_in(superuser=True)
        add("a")
        for back, goes in (
            ("http://testserver/admin/django_apscheduler/djangojob/?q=x", None),
            ("http://elsewhere.example/", reverse(JOBS)),
        ):
            response = self.client.post(
                rows.page("djangojob", "a", "resume"), headers={"referer": back}
            )
            self.assertEqual(response["Location"], goes or back)

    def test_a_double_click_queues_one_run_and_leads_to_it(self):
        self.sign_in(superuser=True)
        add("a")
        page = self.client.get(reverse(JOBS)).content.decode()
        button = page[page.index(rows.page("djangojob", "a", "run")) :]
        token = button.split('value="')[1].split('"')[0]
        for _click in range(2):
            response = self.client.post(
                rows.page("djangojob", "a", "run"), {"token": token}
            )
        run = DjangoJobExecution.objects.get()
        self.assertRedirects(response, rows.page("djangojobexecution", run.pk))
        self.assertEqual(LogEntry.objects.count(), 1)
        self.client.post(rows.page("djangojob", "a", "run"), {"token": "x" * 5000})
        self.assertEqual(DjangoJobExecution.objects.count(), 2)

    def test_reading_an_address_changes_nothing(self):
        self.sign_in(superuser=True)
        add("a")
        for name in ("run", "resume"):
            response = self.client.get(rows.page("djangojob", "a", name))
            self.assertEqual(response.status_code, 405)
        self.client.get(rows.page("djangojob", "a", "pause"))
        self.assertEqual(
            self.client.delete(rows.page("djangojob", "a", "pause")).status_code, 405
        )
        self.assertEqual(self.states(), {"a": "active"})
        self.assertFalse(DjangoJobExecution.objects.exists())

    def test_a_foreign_form_is_refused(self):
        from django.test import Client

        self.sign_in(superuser=True)
        add("a")
        client = Client(enforce_csrf_checks=True)
        client.force_login(self.user)
        response = client.post(rows.page("djangojob", "a", "pause"))
        self.assertEqual(response.status_code, 403)
        self.assertEqual(self.states(), {"a": "active"})

    def test_a_job_that_is_gone_is_reported(self):
        self.sign_in(superuser=True)
        response = self.client.post(rows.page("djangojob", "none", "run"), follow=True)
        self.assertContains(response, "doesn’t exist")


class RightsTest(LeverCase):
    """Each permission alone, against each lever, as an action and as a direct POST."""

    MAY = {
        "view_djangojob": set(),
        "change_djangojob": set(),
        "delete_djangojob": set(),
        "run_job": {"run"},
        "pause_job": {"pause", "resume"},
        "reschedule_job": set(),
    }

    def test_each_permission_allows_its_levers_only(self):
        for codename, allowed in self.MAY.items():
            for name in ("run", "pause", "resume"):
                with self.subTest(permission=codename, lever=name):
                    DjangoJob.objects.all().delete()
                    DjangoJobExecution.objects.all().delete()
                    add("a")
                    if name == "resume":
                        django_apscheduler.get_scheduler().pause_job("a")
                    before = self.states()
                    self.client.force_login(
                        rows.user(f"{codename}-{name}", "view_djangojob", codename)
                    )
                    page = self.client.get(reverse(JOBS)).content.decode()
                    address = rows.page("djangojob", "a", name)
                    self.assertEqual(
                        f'"{address}"' in page, name in allowed, "its button"
                    )
                    self.assertEqual(
                        f'value="{name}_selected"' in page, name in allowed
                    )
                    response = self.client.post(address)
                    self.assertEqual(
                        response.status_code, 302 if name in allowed else 403
                    )
                    changed = (
                        self.states() != before or DjangoJobExecution.objects.exists()
                    )
                    self.assertEqual(changed, name in allowed)

    def test_an_action_posted_without_its_permission_does_nothing(self):
        add("a")
        self.client.force_login(rows.user("reader", "view_djangojob"))
        for name in ("run", "pause", "resume"):
            self.act(name, "a")
        self.client.post(
            reverse(JOBS),
            {"action": "delete_selected", "_selected_action": ["a"], "post": "yes"},
        )
        self.assertEqual(self.states(), {"a": "active"})
        self.assertFalse(DjangoJobExecution.objects.exists())
        self.assertEqual(
            self.client.post(
                rows.page("djangojob", "a", "delete"), {"post": "yes"}
            ).status_code,
            403,
        )

    def test_readers_see_no_dead_buttons_and_no_form(self):
        add("a")
        self.client.force_login(rows.user("reader", "view_djangojob"))
        page = self.client.get(reverse(JOBS))
        self.assertNotContains(page, "formaction")
        self.assertNotContains(page, 'name="action"')
        detail = self.client.get(rows.page("djangojob", "a"))
        self.assertNotContains(detail, "formaction")
        self.assertNotContains(detail, 'name="_save"')
        self.assertEqual(
            self.client.post(rows.page("djangojob", "a"), {"name": "x"}).status_code,
            403,
        )

    def test_duplicate_leads_to_the_form_for_those_who_may_add(self):
        add("a/b")
        for codenames, offered in (
            (("view_djangojob", "add_djangojob"), True),
            (("view_djangojob", "change_djangojob", "run_job"), False),
        ):
            with self.subTest(codenames=codenames):
                self.client.force_login(rows.user(codenames[1], *codenames))
                page = self.client.get(rows.page("djangojob", quote("a/b")))
                address = reverse("admin:django_apscheduler_djangojob_add")
                duplicate = f"{address}?duplicate=a%2Fb"
                self.assertEqual(duplicate in page.content.decode(), offered)
                answer = self.client.get(duplicate).status_code
                self.assertEqual(answer, 200 if offered else 403)

    def test_a_lever_without_the_right_to_look_is_refused(self):
        add("a")
        self.client.force_login(rows.user("blind", "pause_job"))
        response = self.client.post(rows.page("djangojob", "a", "pause"))
        self.assertEqual(response.status_code, 403)
        self.assertEqual(self.states(), {"a": "active"})

    def test_strangers_are_sent_to_the_login(self):
        add("a")
        addresses = [
            reverse(JOBS),
            reverse(LOG),
            rows.page("djangojob", "a"),
            *(rows.page("djangojob", "a", n) for n in ("run", "pause", "resume")),
        ]
        for address in addresses:
            with self.subTest(address=address):
                response = self.client.post(address)
                self.assertEqual(response.status_code, 302)
                self.assertIn("/login/", response["Location"])
        self.assertEqual(self.states(), {"a": "active"})
