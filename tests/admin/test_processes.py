"""The list of schedulers."""

from __future__ import annotations

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from tests.admin import rows
from tests.admin.rows import SCHEDULERS
from tests.admin.test_jobs import AdminCase


class SchedulerListTest(AdminCase):
    def test_each_state_has_its_badge(self):
        rows.process(host="alive")
        rows.process(host="silent", seconds=-3)
        rows.process(host="stopping", state="draining")
        rows.process(host="ended", state="dead", seconds=-3600)
        response = self.client.get(reverse(SCHEDULERS))
        admin = response.context["cl"].model_admin
        shown = {
            process.host: admin.condition(process).split("</svg>")[1].split("<")[0]
            for process in response.context["cl"].result_list
        }
        self.assertEqual(
            shown,
            {
                "alive": "Alive",
                "silent": "No heartbeat",
                "stopping": "Stopping",
                "ended": "Ended",
            },
        )

    def test_a_row_tells_where_and_with_which_executors(self):
        process = rows.process(
            executors='{"default":20,"gpu":2}',
            release="2026-05-30",
            unresolved='["reports.jobs:gone"]',
        )
        response = self.client.get(reverse(SCHEDULERS))
        for text in ("web-1:4121", "2026-05-30", "<code>gpu</code> (2)"):
            self.assertContains(response, text)
        # On a phone a row is a card, without the table's head.
        for label in ("Started", "Last tick", "Executors", "Release", "Version"):
            self.assertContains(
                response, f'<span class="dja-label" aria-hidden="true">{label}</span>'
            )
        detail = self.client.get(rows.page("schedulerprocess", process.pk))
        self.assertContains(detail, "<code>reports.jobs:gone</code>")

    def test_unreadable_texts_do_not_hide_the_row(self):
        process = rows.process(executors="{torn", unresolved="torn")
        self.assertContains(self.client.get(reverse(SCHEDULERS)), "{torn")
        detail = self.client.get(rows.page("schedulerprocess", process.pk))
        self.assertEqual(detail.status_code, 200)

    def test_it_is_read_only(self):
        process = rows.process()
        for what in ("change", "delete"):
            address = rows.page("schedulerprocess", process.pk, what)
            self.assertEqual(self.client.post(address, {}).status_code, 403)
        add = reverse("admin:django_apscheduler_schedulerprocess_add")
        self.assertEqual(self.client.get(add).status_code, 403)

    def test_the_number_of_queries_is_constant(self):
        def queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                self.client.get(reverse(SCHEDULERS))
            return len(captured)

        rows.process()
        few = queries()
        for number in range(20):
            rows.process(pid=number)
        self.assertEqual(queries(), few)
