"""One of everything that the admin shows, and what a form would send to each address."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import Any

from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.db import transaction
from django.test import Client
from django.urls import reverse

from django_apscheduler import clock, get_scheduler, registry
from django_apscheduler.admin.levers.levers import pack
from django_apscheduler.models import (
    DjangoJob,
    DjangoJobExecution,
    SchedulerControl,
)
from tests.admin import rows
from tests.admin.browserless import form_of

REPORT = "tests.admin.world:send_report"

#: Everything there is to see, as one who may only look has it.
VIEWS = ("view_djangojob", "view_djangojobexecution", "view_schedulerprocess")
#: Every other codename that the app's pages know.
POWERS = (
    "add_djangojob",
    "change_djangojob",
    "delete_djangojob",
    "run_job",
    "pause_job",
    "reschedule_job",
    "delete_djangojobexecution",
    "cancel_execution",
    "export_execution",
    "view_sensitive",
)


def send_report(days: int = 30, token: str = "", password: str = "") -> None:
    """Send the report of the last days."""


def address(name: str, *args: Any) -> str:
    return reverse(f"admin:django_apscheduler_{name}", args=args)


def stored() -> dict[str, list[tuple]]:
    """Return all rows of all tables of the app, and of the admin's log, whole."""
    models = [*apps.get_app_config("django_apscheduler").get_models(), LogEntry]
    return {
        model.__name__: list(model.objects.order_by("pk").values_list())
        for model in models
    }


@contextmanager
def undone():
    """Run a block whose writes are taken back."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def signed_in(user: Any, **options: Any) -> Client:
    client = Client(**options)
    client.force_login(user)
    return client


class World:
    """
    Jobs, runs and a scheduler; build it within a transaction.

    :ivar ids: name by which tables call a row -> its primary key
    :ivar sent: address's name -> fields that do there what its page is for
    """

    def __init__(self) -> None:
        if REPORT not in registry._callables:
            registry.register_callable(send_report)
        # Tests that empty all tables leave none, and whoever needs the row adds it.
        SchedulerControl.objects.get_or_create(pk=SchedulerControl.ROW)
        scheduler = get_scheduler()
        for pk in ("hourly", "paused", "named", "moved"):
            scheduler.add_job(
                send_report,
                "interval",
                hours=1,
                id=pk,
                name=f"Report {pk}",
                kwargs={"days": 47114711, "token": "hunter2"},
            )
        scheduler.pause_job("paused")
        scheduler.modify_job("named", name="Named by staff")
        trigger = DjangoJob.objects.get(pk="moved").trigger
        moved = json.dumps({"type": "interval", "args": {"hours": 2}})
        for pk, declared, overrides in (
            ("named", {"name": "Named in code", "func": REPORT}, ["name"]),
            ("moved", {"trigger": moved, "func": REPORT}, ["trigger"]),
        ):
            DjangoJob.objects.filter(pk=pk).update(
                declaration=json.dumps({"trigger": trigger, **declared}),
                overrides=json.dumps(overrides),
            )
        process = rows.process()
        now = clock.now()
        failed = rows.execution(
            "hourly",
            status="Error!",
            run_time=now,
            claimed_time=now,
            started_time=now,
            finished_time=now,
            exception="ValueError: no such report",
            traceback="Traceback: line of 3-a-m-secret\nValueError: no such report",
            owner=process,
        )
        self.ids: dict[str, Any] = {
            **{pk: pk for pk in ("hourly", "paused", "named", "moved")},
            "failed": failed.pk,
            "queued": scheduler.run_job_now("hourly"),
            "going": rows.execution(
                "hourly",
                status="Started execution",
                run_time=now,
                claimed_time=now,
                started_time=now,
                owner=process,
            ).pk,
            "process": process.pk,
        }
        self.boss = get_user_model().objects.create_superuser("boss", password="x")
        self.sent = self._fields()

    def row(self, name: str) -> Any:
        """Return the stored row of a run."""
        return DjangoJobExecution.objects.get(pk=self.ids[name])

    def address(self, name: str, of: str = "") -> str:
        """Return an address by the name that its pattern has without the app's."""
        if name.endswith(" redirect"):
            return address(f"{name.split()[0]}_changelist") + f"{self.ids[of]}/"
        if name.startswith("dashboard_series"):
            return address("dashboard_series", name.split()[1])
        return address(name, *([self.ids[of]] if of else []))

    def _fields(self) -> dict[str, dict[str, str]]:
        client = signed_in(self.boss)
        add = form_of(client.get(address("djangojob_add")))
        add |= {"id": "new", "func": REPORT, "trigger-type": "interval"}
        add |= {"trigger-interval-hours": "3"}
        change = form_of(client.get(address("djangojob_change", "hourly")))
        change |= {"name": "Changed", "trigger-interval-hours": "5"}
        select = {"action": "reschedule_selected", "_selected_action": ["hourly"]}
        page = client.post(address("djangojob_changelist"), select)
        shown = {"rows": page.context["packed"]}
        choice = {**shown, "how": "shift", "amount": "15", "unit": "minutes"}
        table = client.post(address("djangojob_reschedule_selected"), choice)
        plan = {**shown, "plan": table.context["plan"]}
        yes = {"post": "yes"}
        return {
            "djangojob_add": add,
            "djangojob_change": change,
            "djangojob_delete": yes,
            "djangojob_pause_selected": shown,
            "djangojob_reschedule_selected": plan,
            "djangojob_preview": {
                "trigger-type": "interval",
                "trigger-interval-hours": "1",
            },
            "djangojobexecution_delete": yes,
            "djangojobexecution_retry_selected": {
                "rows": pack("djangojobexecution", {str(self.ids["failed"]): 0})
            },
            "djangojobexecution_cancel_selected": {
                "rows": pack("djangojobexecution", {str(self.ids["queued"]): 0})
            },
        }
