"""
Fill a database with a log of many executions and time each page of the admin.

Reads the request as JSON on standard input, answers with JSON on standard output.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import admin_seed

HOT_JOB = "job-00000"

urlpatterns: list = []


def set_up(database: dict) -> None:
    """Configure a project whose only page is the admin, and make its tables."""
    import django
    from django.conf import settings
    from django.core.management import call_command

    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": database["name"],
                "USER": database["user"],
                "HOST": database["host"],
            }
        },
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "django.contrib.staticfiles",
            "rangefilter",
            "django_apscheduler",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
        ROOT_URLCONF=__name__,
        STATIC_URL="/static/",
        ALLOWED_HOSTS=["*"],
        SECRET_KEY="only for the benchmark",
        SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
        USE_TZ=True,
        TIME_ZONE="UTC",
    )
    django.setup()
    call_command("migrate", verbosity=0)

    from django.contrib import admin
    from django.urls import path

    urlpatterns.append(path("admin/", admin.site.urls))


def log_pages(log: str, poll: str) -> dict[str, str]:
    """Return the addresses of the execution log by what they show."""
    from django_apscheduler.admin import paging
    from django_apscheduler.models import DjangoJobExecution

    executions = DjangoJobExecution.objects.defer("traceback")
    bounds = executions.order_by("run_time", "id")
    first, last = bounds.first(), bounds.last()
    assert first is not None and last is not None
    middle = executions.filter(pk__gte=(first.pk + last.pk) // 2).order_by("pk")[0]
    deep = paging.Cursor(paging.OLDER, paging.Place.of(middle))
    week = (last.run_time - timedelta(days=7)).strftime("%Y-%m-%dT%H:%M")
    asked = {
        "newest": {},
        "in the middle": {"cursor": str(deep)},
        "oldest": {"cursor": "oldest"},
        "busiest job": {"job": HOT_JOB},
        "busiest job, in the middle": {"job": HOT_JOB, "cursor": str(deep)},
        "a job": {"job": "job-00007"},
        "a job that there is not": {"job": "none"},
        "errors": {"status": "Error!"},
        "all problems": {"status": "problems"},
        "queued": {"status": "Queued"},
        "cancelled, of which there are none": {"status": "Cancelled"},
        "by hand": {"origin": "manual"},
        "one executor": {"executor": "default"},
        "one node": {"node": "web-1"},
        "longer than a minute": {"duration__range__gte": "60"},
        "longer than a day, of which there are none": {"duration__range__gte": "86400"},
        "last 7 days": {"run_time__range__gte": week},
        "until 7 days ago": {"run_time__range__lte": week},
        "search: an error": {"q": "has no address"},
        "search: a job's name": {"q": "Report no. 7"},
        "search: nothing there": {"q": "there is no such text"},
        "search and filters": {"q": "address", "status": "Error!", "node": "web-2"},
    }
    addresses = {f"log, {name}": f"{log}?{urlencode(q)}" for name, q in asked.items()}
    question = urlencode({"after": last.pk - 30, "runs": last.pk})
    addresses["log, question of an open page"] = f"{poll}?{question}"
    return addresses


def job_pages(jobs: str, number: int) -> dict[str, str]:
    """Return the addresses of the list of jobs by what they show."""
    asked = {
        "first page": {},
        "a later page": {"p": str(min(number, 10_000) // 50 // 2)},
        "last page": {"p": str((min(number, 10_000) + 49) // 50)},
        "search: a name": {"q": "Report no. 77"},
        "search: nothing there": {"q": "no such job"},
        "cron": {"trigger": "cron"},
        "callable": {"callable": "workload:"},
        "callable that there is not": {"callable": "reports"},
        "time zone": {"timezone": "Europe/Berlin"},
        "executor": {"executor": "default"},
        "next hour": {
            "next_run_time__range__lte": (
                datetime.now(timezone.utc) + timedelta(hours=1)
            ).strftime("%Y-%m-%dT%H:%M")
        },
        "by id": {"o": "1"},
        "by executor": {"o": "-7"},
        **{
            f"last status {status}": {"last": status}
            for status in ("Error!", "Executed", "Lost", "Coalesced", "Cancelled")
        },
        **{
            f"state {state}": {"state": state}
            for state in (
                "active",
                "running",
                "overdue",
                "failing",
                "never",
                "paused",
                "finished",
                "broken",
            )
        },
    }
    return {f"jobs, {name}": f"{jobs}?{urlencode(q)}" for name, q in asked.items()}


class Page(NamedTuple):
    """An address, with the data of a form where it is posted."""

    address: str
    data: dict[str, Any] | None = None

    def ask(self, client: Any) -> Any:
        if self.data is None:
            return client.get(self.address)
        return client.post(self.address, self.data)


def forms_and_actions(number: int) -> dict[str, Page]:
    """Return the pages that ask, before anything is changed, by what they show."""
    from django.urls import reverse

    from django_apscheduler.admin.levers import rescheduling
    from django_apscheduler.admin.levers.levers import pack
    from django_apscheduler.models import DjangoJob, DjangoJobExecution

    prefix = "admin:django_apscheduler_"
    jobs = reverse(f"{prefix}djangojob_changelist")
    log = reverse(f"{prefix}djangojobexecution_changelist")
    job = ("job-00007",)
    # All that a search finds, as a list lets its users select them.
    found = f"{jobs}?{urlencode({'q': 'job-00'})}"
    failed = f"{log}?{urlencode({'status': 'Error!'})}"
    errors = DjangoJobExecution.objects.filter(status="Error!").order_by("-id")
    some = list(errors.values_list("pk", flat=True)[:50])
    open_runs = DjangoJobExecution.objects.active().values_list("pk", flat=True)
    pages = {
        "form to add a job": Page(reverse(f"{prefix}djangojob_add")),
        "form to add a copy": Page(
            reverse(f"{prefix}djangojob_add") + "?duplicate=job-00007"
        ),
        "preview of a schedule": Page(
            reverse(f"{prefix}djangojob_preview"),
            {"trigger-type": "interval", "trigger-interval-hours": "6"},
        ),
        "history of a job": Page(reverse(f"{prefix}djangojob_history", args=job)),
        "delete a job": Page(reverse(f"{prefix}djangojob_delete", args=job)),
        "pause a job": Page(reverse(f"{prefix}djangojob_pause", args=job)),
        "pause everything": Page(reverse(f"{prefix}djangojob_pause_all")),
        "delete an execution": Page(
            reverse(f"{prefix}djangojobexecution_delete", args=some[:1])
        ),
    }
    for action in ("pause", "reschedule", "delete"):
        chosen = {"action": f"{action}_selected", "_selected_action": list(job)}
        pages[f"{action} 1 selected job"] = Page(jobs, chosen)
        if action != "reschedule":
            pages[f"{action} {min(number, 1000):,} jobs"] = Page(
                found, {**chosen, "select_across": "1"}
            )
    most = DjangoJob.objects.order_by("pk").values_list("pk", "revision")
    pages["reschedule the most jobs, old and new"] = Page(
        reverse(f"{prefix}djangojob_reschedule_selected"),
        {
            "rows": pack("djangojob", dict(most[: rescheduling.MOST_JOBS])),
            "how": "shift",
            "amount": "15",
            "unit": "minutes",
            "preview": "1",
        },
    )
    for action, rows in (("retry", some), ("delete", some), ("cancel", open_runs)):
        chosen = {"action": f"{action}_selected", "_selected_action": list(rows)}
        pages[f"{action} 1 selected execution"] = Page(
            failed if action != "cancel" else log,
            {**chosen, "_selected_action": list(rows)[:1]},
        )
        pages[f"{action} {len(rows)} executions"] = Page(
            failed if action != "cancel" else log, chosen
        )
    return pages


def pages(jobs: int) -> dict[str, Page]:
    """Return what to measure by what it shows."""
    from django.urls import reverse

    from django_apscheduler.admin.dashboard.figures import SPANS
    from django_apscheduler.admin.dashboard.pages import SERIES
    from django_apscheduler.models import DjangoJobExecution

    prefix = "admin:django_apscheduler_"
    log = f"{prefix}djangojobexecution"
    errors = DjangoJobExecution.objects.filter(status="Error!").order_by("-id")
    failed = errors.values_list("pk", flat=True)[0]
    dashboard = reverse(f"{prefix}dashboard")
    addresses = {
        **log_pages(reverse(f"{log}_changelist"), reverse(f"{log}_poll")),
        "log, its first lines as CSV": reverse(f"{log}_export"),
        "log, its errors as CSV": reverse(f"{log}_export") + "?status=Error!",
        "log, completions of a job": reverse(f"{log}_jobs") + "?term=no.+77",
        "an execution": reverse(f"{log}_change", args=[failed]),
        "an execution, live": reverse(f"{log}_live", args=[failed]),
        **job_pages(reverse(f"{prefix}djangojob_changelist"), jobs),
        "a job": reverse(f"{prefix}djangojob_change", args=["job-00007"]),
        "the busiest job": reverse(f"{prefix}djangojob_change", args=[HOT_JOB]),
        "schedulers": reverse(f"{prefix}schedulerprocess_changelist"),
        **{f"dashboard, {span}": f"{dashboard}?range={span}" for span in SPANS},
        **{
            f"dashboard, {name} as JSON": reverse(
                f"{prefix}dashboard_series", args=[name]
            )
            for name in SERIES
        },
    }
    return {
        **{name: Page(address) for name, address in addresses.items()},
        **forms_and_actions(jobs),
    }


class Meter:
    """Where the time of a request goes: statements, and processor time of both sides."""

    def __init__(self, connection: Any):
        self.connection = connection
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            self.server = Path(f"/proc/{cursor.fetchone()[0]}/schedstat")
        self.statements: list[tuple[float, str]] = []

    def _server_ms(self) -> float:
        """Return the processor time of the connection's server process, on Linux."""
        try:
            return int(self.server.read_text().split()[0]) / 1e6
        except OSError:
            return 0.0

    def _note(self, execute, sql, params, many, context) -> Any:
        begun = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            self.statements.append(((time.perf_counter() - begun) * 1000, sql))

    def measure(self, act: Callable[[], None]) -> dict[str, float]:
        """Return milliseconds in all, of statements, and of processors; statements."""
        self.statements = []
        server, own = self._server_ms(), time.process_time()
        begun = time.perf_counter()
        with self.connection.execute_wrapper(self._note):
            act()
        ended, own_ended = time.perf_counter(), time.process_time()
        return {
            "wall_ms": (ended - begun) * 1000,
            "sql_ms": sum(took for took, _sql in self.statements),
            "cpu_ms": (own_ended - own) * 1000,
            "server_cpu_ms": self._server_ms() - server,
            "queries": len(self.statements),
        }


def measure(pages: dict[str, Page], repeat: int) -> dict[str, dict[str, float]]:
    """
    Ask for each page and answer its figures: milliseconds and numbers of statements.

    The first request of a page counts as ``first_ms`` alone: it finds caches cold.
    """
    from django.contrib.auth import get_user_model
    from django.db import connection
    from django.test import Client

    client = Client()
    users = get_user_model().objects
    client.force_login(
        users.filter(username="ana").first() or users.create_superuser("ana")
    )
    # Whatever is loaded by the first page of all.
    client.get("/admin/")
    meter = Meter(connection)
    figures = {}
    for name, page in pages.items():

        def ask(name: str = name, page: Page = page) -> None:
            response = page.ask(client)
            # Of a download, what its reader has to wait for.
            streams = response.streaming and not hasattr(response, "render")
            body = next(iter(response)) if streams else response.content
            if response.status_code != 200 or not body:
                raise AssertionError(
                    f"{name}: expected status 200, got {response.status_code}"
                )

        first = meter.measure(ask)
        taken = [meter.measure(ask) for _ in range(repeat)]
        figures[name] = {
            "median_ms": statistics.median(one["wall_ms"] for one in taken),
            "worst_ms": max(one["wall_ms"] for one in taken),
            "first_ms": first["wall_ms"],
            **{
                key: statistics.median(one[key] for one in taken)
                for key in ("sql_ms", "cpu_ms", "server_cpu_ms", "queries")
            },
        }
    return figures


def main() -> None:
    request = json.load(sys.stdin)
    set_up(request["database"])
    begun = time.perf_counter()
    if admin_seed.is_filled():
        admin_seed.freshen()
    else:
        admin_seed.fill(request["executions"], request["jobs"])
    seconds = time.perf_counter() - begun
    figures = measure(pages(request["jobs"]), request["repeat"])
    json.dump({"fill_seconds": seconds, "pages": figures}, sys.stdout)


if __name__ == "__main__":
    main()
