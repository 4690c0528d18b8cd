"""What open pages ask for."""

from __future__ import annotations

from datetime import timedelta
from unittest import mock

from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from django_apscheduler.admin import paging
from django_apscheduler.models import DjangoJobExecution
from tests.admin import rows
from tests.admin.rows import LOG, NOON
from tests.admin.test_jobs import AdminCase

POLL = "admin:django_apscheduler_djangojobexecution_poll"
JOBS_OF = "admin:django_apscheduler_djangojobexecution_jobs"


class PollTest(AdminCase):
    def ask(self, **parameters):
        response = self.client.get(reverse(POLL), parameters)
        self.assertEqual(response.status_code, 200)
        return response.json()

    def test_new_runs_are_counted_whatever_their_run_time(self):
        rows.job("one")
        rows.execution("one", 1)
        before = self.client.get(reverse(LOG)).context["cl"].watch_address
        after = before.partition("after=")[2]
        self.assertEqual(self.ask(after=after), {"fresh": 0, "said": "", "runs": {}})
        rows.execution("one", 0)
        self.assertEqual(self.ask(after=after)["said"], "1 new run: show")
        rows.execution("one", 5, "Error!")
        self.assertEqual(self.ask(after=after)["said"], "2 new runs: show")
        self.assertEqual(self.ask(after=after, status="Error!")["fresh"], 1)
        self.assertEqual(self.ask(after=after, job="two")["fresh"], 0)
        self.assertEqual(self.ask(after=after, q="one")["fresh"], 2)

    def test_counting_stops(self):
        for _ in range(12):
            rows.execution("one", 0)
        with mock.patch.object(paging, "FRESH_ROWS", 10):
            self.assertEqual(self.ask(after="0")["said"], "10+ new runs: show")

    def test_no_more_new_rows_are_looked_through_than_for_a_page(self):
        first = rows.execution("one", 0)
        for number in range(12):
            rows.execution("one", 0, "Error!" if number == 5 else "Executed")
        for size, expected in ((3, 0), (6, 1), (50, 1)):
            with (
                self.subTest(size=size),
                mock.patch.object(paging, "SCANNED_ROWS", size),
            ):
                asked = self.ask(after=first.pk, status="Error!")
                self.assertEqual(asked["fresh"], expected)

    def test_only_the_newest_page_asks_for_new_runs(self):
        rows.job("one")
        rows.execution("one", 1)
        oldest = self.client.get(reverse(LOG), {"cursor": "oldest"})
        self.assertNotIn("after=", oldest.context["cl"].watch_address)
        self.assertNotIn("cursor", oldest.context["cl"].watch_address)

    def test_runs_under_way_are_told_as_the_list_shows_them(self):
        rows.job("one")
        run = rows.execution("one", 1, "Started execution")
        listed = self.client.get(reverse(LOG))
        self.assertContains(listed, f'data-run="{run.pk}"')
        asked = self.ask(runs=f"{run.pk},999,x,,-1,{'9' * 30}")
        self.assertEqual(list(asked["runs"]), [str(run.pk)])
        for html in asked["runs"][str(run.pk)].values():
            self.assertContains(listed, html)
        run.status = "Executed"
        run.finished_time = run.started_time + timedelta(seconds=4)
        run.save()
        columns = self.ask(runs=run.pk)["runs"][str(run.pk)]
        self.assertIn("Executed", columns["outcome"])
        self.assertNotIn("data-run", columns["outcome"])
        self.assertIn("4.0 s", columns["took"])

    def test_what_is_shown_is_escaped(self):
        rows.job("one")
        run = rows.execution("one", 1, "Error!", exception="<img src=x onerror=a()>")
        columns = self.ask(runs=run.pk)["runs"][str(run.pk)]
        self.assertIn("&lt;img", columns["story"])

    def test_an_answer_that_is_still_the_same_is_not_sent_again(self):
        rows.job("one")
        run = rows.execution("one", 1, "Queued")
        address = rows.page("djangojobexecution", run.pk, "live")
        first = self.client.get(address)
        self.assertIn("no-cache", first["Cache-Control"])
        self.assertIn("private", first["Cache-Control"])
        again = self.client.get(address, headers={"If-None-Match": first["ETag"]})
        self.assertEqual((again.status_code, again.content), (304, b""))
        DjangoJobExecution.objects.update(status="Claimed", claimed_time=NOON)
        changed = self.client.get(address, headers={"If-None-Match": first["ETag"]})
        self.assertEqual(changed.status_code, 200)
        self.assertNotEqual(changed.json()["mark"], first.json()["mark"])

    def test_questions_cost_the_same_number_of_queries(self):
        def queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                ids = DjangoJobExecution.objects.values_list("pk", flat=True)
                self.ask(after="0", runs=",".join(map(str, ids)))
            return len(captured)

        rows.job("one")
        rows.execution("one", 1, "Queued", owner=rows.process())
        few = queries()
        for number in range(30):
            rows.job(f"job-{number}")
            rows.execution(f"job-{number}", 1, "Queued", owner=rows.process())
        self.assertEqual(queries(), few)

    def test_who_may_not_see_the_log_gets_no_answer(self):
        run = rows.execution("one", 1, "Queued")
        addresses = (
            reverse(POLL),
            reverse(JOBS_OF),
            rows.page("djangojobexecution", run.pk, "live"),
        )
        for address in addresses:
            self.assertEqual(self.client.post(address).status_code, 405)
        self.client.force_login(rows.user("ben", "view_djangojob"))
        for address in addresses:
            with self.subTest(address=address):
                self.assertEqual(self.client.get(address).status_code, 403)
        self.client.logout()
        for address in addresses:
            self.assertEqual(self.client.get(address).status_code, 302)

    def test_bad_questions_are_refused_calmly(self):
        for parameters in ({"after": "x"}, {"after": "9" * 40}, {"runs": "a,b"}):
            self.assertEqual(self.ask(**parameters)["fresh"], 0)
        self.assertEqual(self.client.get(reverse(POLL), {"x": "1"}).status_code, 400)
        gone = rows.page("djangojobexecution", 999, "live")
        self.assertEqual(self.client.get(gone).status_code, 404)


class WatchedPageTest(AdminCase):
    def test_a_run_under_way_is_watched_until_it_ends(self):
        run = rows.execution("one", 1, "Started execution")
        address = rows.page("djangojobexecution", run.pk)
        response = self.client.get(address)
        live = rows.page("djangojobexecution", run.pk, "live")
        self.assertContains(response, f'data-state="{live}"')
        self.assertContains(response, 'data-seconds="0"')
        self.assertContains(response, f'<a class="dja-button" href="{address}">Refresh')
        state = self.client.get(live).json()
        self.assertContains(response, f'data-mark="{state["mark"]}"')
        self.assertEqual(
            {name: state[name] for name in ("final", "said", "so_far")},
            {"final": False, "said": "The run is now: Running", "so_far": "1 h"},
        )
        DjangoJobExecution.objects.update(status="Executed", finished_time=NOON)
        self.assertTrue(self.client.get(live).json()["final"])
        self.assertNotContains(self.client.get(address), "data-state")

    @override_settings(APSCHEDULER_RUN_NOW_TIMEOUT=7)
    def test_the_wait_for_a_run_asked_for_has_an_end(self):
        run = rows.execution("one", 0, "Queued", origin="manual")
        response = self.client.get(rows.page("djangojobexecution", run.pk))
        self.assertContains(response, 'data-seconds="7"')


class CompletionTest(AdminCase):
    def test_ids_and_names_are_searched_on_the_server(self):
        for number in range(30):
            rows.job(f"job-{number:02}", name=f"Report {number}")
        found = self.client.get(reverse(JOBS_OF), {"term": "REPORT 2"}).json()["jobs"]
        self.assertEqual(
            [job["id"] for job in found],
            ["job-02", *(f"job-{n}" for n in range(20, 30))],
        )
        self.assertEqual(found[0]["name"], "Report 2")
        self.assertEqual(
            len(self.client.get(reverse(JOBS_OF), {"term": ""}).json()["jobs"]), 20
        )
        self.assertEqual(
            self.client.get(reverse(JOBS_OF), {"term": "\x00"}).json(), {"jobs": []}
        )
        response = self.client.get(reverse(LOG))
        self.assertContains(response, f'data-completions="{reverse(JOBS_OF)}"')
