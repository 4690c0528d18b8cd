#!/usr/bin/env python3
"""
Take a picture of every page of the admin: light, dark, and 360 pixels wide.

    python scripts/screenshots.py FOLDER [NAME ...]

A throw-away SQLite database is filled with the jobs and the history of a shop, its clock
is stopped, and Chromium visits the pages of a live server; so two runs give the same
pictures. A NAME takes only the pages whose name begins so. It needs the extra `browser`
(Playwright) and a Chromium; TEST_CHROMIUM names one. With Pillow installed the files
become a third of the size.
"""

from __future__ import annotations

import json
import os
import sys
import types
from collections.abc import Callable
from contextlib import ExitStack
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from unittest import mock
from zoneinfo import ZoneInfo

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
os.environ["TEST_DB"] = "sqlite"
# Playwright keeps an event loop in the thread that fills the database.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.contrib.admin.models import LogEntry  # noqa: E402
from django.contrib.auth import get_user_model  # noqa: E402
from django.contrib.staticfiles.handlers import StaticFilesHandler  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection, connections  # noqa: E402
from django.test.testcases import LiveServerThread  # noqa: E402
from django.test.utils import (  # noqa: E402
    setup_test_environment,
    teardown_test_environment,
)
from django.urls import reverse  # noqa: E402

from django_apscheduler import audit, clock, get_scheduler, registry  # noqa: E402
from django_apscheduler.models import (  # noqa: E402
    DjangoJob,
    DjangoJobExecution,
    ExecutionRollup,
    SchedulerProcess,
)
from django_apscheduler.triggers.calendarinterval import (  # noqa: E402
    CalendarIntervalTrigger,
)
from django_apscheduler.triggers.combining import OrTrigger  # noqa: E402
from django_apscheduler.triggers.cron import CronTrigger  # noqa: E402
from django_apscheduler.triggers.date import DateTrigger  # noqa: E402
from django_apscheduler.triggers.interval import IntervalTrigger  # noqa: E402
from tests.admin import rows, shop  # noqa: E402
from tests.admin.browser import CHROMIUM, elsewhere, signed_in  # noqa: E402

ZONE = "Europe/Berlin"
#: A Tuesday morning in the week that ends with the change to summer time.
NOW = datetime(2026, 3, 24, 10, 12, tzinfo=ZoneInfo(ZONE)).astimezone(timezone.utc)

#: name of the picture -> options of the browser's context
FORMS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1280, "height": 880}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 880}, "color_scheme": "dark"},
    "360": {
        "viewport": {"width": 360, "height": 780},
        "color_scheme": "light",
        "device_scale_factor": 2,
        "is_mobile": True,
        "has_touch": True,
    },
}

LIST = reverse(rows.JOBS)
LOG = reverse(rows.LOG)
ADD = reverse("admin:django_apscheduler_djangojob_add")
DASHBOARD = reverse("admin:django_apscheduler_dashboard")
PAUSE_ALL = reverse("admin:django_apscheduler_djangojob_pause_all")

Visit = Callable[[Any], None]


# The shop


def send_invoices(days: int = 1, currency: str = "EUR", dry_run: bool = False) -> None:
    """
    Send invoices

    Sends the invoices of the last days to customers who bought something.
    """


def offer_callables() -> None:
    """Make the functions of the shop's jobs importable, and offer them to forms."""
    module = types.ModuleType("shop.jobs")
    sys.modules["shop"], sys.modules["shop.jobs"] = types.ModuleType("shop"), module
    names = {work.pk.replace("-", "_"): work.name for work in shop.SHOP}
    names |= {"check_certificates": "Check certificates", "close_month": "Close month"}
    for name, label in names.items():

        def body() -> None:
            pass

        func = send_invoices if name == "send_invoices" else body
        func.__name__ = func.__qualname__ = name
        func.__module__ = "shop.jobs"
        func.__doc__ = func.__doc__ or label
        setattr(module, name, func)
        registry.register_callable(func)


def fill() -> None:
    """Store users, schedulers, the jobs with their history, and a row of each kind."""
    rows.user("ana", superuser=True)
    scheduler = fill_schedulers()
    SCHEDULER.append(scheduler.pk)
    shop.fill(NOW, days=84, zone=ZONE)
    call_command("apscheduler", "resign", *(work.pk for work in shop.SHOP))
    # The admin's log goes by a clock that does not stand still.
    LogEntry.objects.all().delete()
    add_jobs()
    fill_runs(scheduler)
    fill_history()


def fill_history() -> None:
    """Store what the admin's log has of the job that staff rescheduled."""
    ana = get_user_model().objects.get(username="ana")
    job = DjangoJob.objects.get(pk="newsletter")
    change = ("Schedule", "At 08:00 every day", "At 09:00 on Monday and Thursday")
    for days, message in (
        (19, "Paused: new template."),
        (18, "Resumed."),
        (12, audit.changed([change])),
    ):
        audit.log(ana.pk, [job], message=message)
        entry = LogEntry.objects.latest("pk")
        entry.action_time = NOW - timedelta(days=days)
        entry.save()


def fill_schedulers() -> SchedulerProcess:
    """Store one scheduler that is alive and one that has ended; return the former."""
    values = {
        "executors": '{"default": 20, "mails": 4}',
        "version": "0.1.0",
        "lease_until": NOW + timedelta(seconds=5),
    }
    SchedulerProcess.objects.create(
        host="worker-1",
        pid=3977,
        state="dead",
        release="2026.11",
        started_time=NOW - timedelta(days=6),
        tick_time=NOW - timedelta(days=2),
        **values,
    )
    return SchedulerProcess.objects.create(
        host="worker-2",
        pid=4121,
        release="2026.12",
        started_time=NOW - timedelta(days=2),
        tick_time=NOW - timedelta(seconds=1),
        **values,
    )


def add_jobs() -> None:
    """Add a job of every other kind of trigger, and of every state the shop lacks."""
    scheduler = get_scheduler()
    work = "shop.jobs:check_certificates"
    zone = ZoneInfo(ZONE)
    for id, name, trigger in (
        ("certificates", "Check certificates", IntervalTrigger(hours=6, timezone=zone)),
        (
            "close-month",
            "Close the month",
            CalendarIntervalTrigger(
                months=1, start_date=date(2026, 1, 31), hour=4, timezone=zone
            ),
        ),
        (
            "flash-sale",
            "Begin the spring sale",
            DateTrigger(datetime(2026, 3, 27, 8), timezone=zone),
        ),
        (
            "remind-carts",
            "Remind of carts",
            OrTrigger(
                [
                    CronTrigger(day_of_week="mon-fri", hour=18, timezone=zone),
                    CronTrigger(day_of_week="sat,sun", hour=11, timezone=zone),
                ]
            ),
        ),
        (
            "night-prices",
            "Prices of the night",
            CronTrigger(day="13", day_of_week="fri", hour=2, minute=30, timezone=zone),
        ),
    ):
        scheduler.add_job(work, trigger, id=id, name=name)
    scheduler.modify_job("send-invoices", kwargs={"days": 1, "currency": "EUR"})
    DjangoJob.objects.filter(pk="newsletter").update(
        declaration=json.dumps(
            {
                "name": "Newsletter",
                "trigger": json.dumps(
                    {"type": "cron", "args": {"hour": "8", "timezone": ZONE}}
                ),
                "executor": "default",
                "max_instances": 1,
            }
        ),
        overrides='["trigger"]',
    )
    rows.job("old-import", name="Import from the old shop", state="disabled")
    DjangoJob.objects.filter(func="tests.admin.rows:work").update(
        func="shop.jobs:check_certificates", anchor_time=NOW - timedelta(days=90)
    )
    DjangoJob.objects.filter(pk="geo-lookup").update(func="shop.geo:lookup")
    rows.job(
        "move-images",
        name="Move images",
        state="finished",
        finished_time=NOW - timedelta(days=3),
    )


def fill_runs(scheduler: SchedulerProcess) -> None:
    """Store a run of each outcome, among those of the last hours."""
    DjangoJobExecution.objects.update(owner=scheduler)
    failed = None
    for status, minutes, values in (
        ("Queued", 0, {"origin": "manual", "requested_by": "ana"}),
        ("Missed!", 95, {}),
        ("Max instances!", 62, {}),
        (
            "Coalesced",
            33,
            {"occurrences": 3, "last_run_time": NOW - timedelta(minutes=31)},
        ),
        ("Lost", 118, {"note": "worker-1:3977 was lost while attempt 1 ran."}),
        ("Cancelled", 21, {"requested_by": "ana", "origin": "manual"}),
        (
            "Error!",
            44,
            {
                "exception": "TimeoutError: no answer from mail.example.com in 30 s",
                "traceback": TRACEBACK,
            },
        ),
        ("Executed", 12, {"origin": "retry", "requested_by": "ana"}),
    ):
        run = rows.execution(
            "send-invoices",
            status=status,
            job_name="Send invoices",
            run_time=NOW - timedelta(minutes=minutes),
            owner=None if status == "Queued" else scheduler,
            **times(status, NOW - timedelta(minutes=minutes)),
            retry_of=failed if values.get("origin") == "retry" else None,
            **values,
        )
        if status == "Error!":
            failed = run
        STATUS_RUNS[status] = run.pk


def times(status: str, due: datetime) -> dict[str, datetime | None]:
    """Return when a run that was due then began and ended."""
    if status not in ("Error!", "Executed"):
        return {}
    begun = due + timedelta(milliseconds=210)
    return {
        "claimed_time": due + timedelta(milliseconds=40),
        "started_time": begun,
        "finished_time": begun + timedelta(seconds=31),
    }


TRACEBACK = """Traceback (most recent call last):
  File "/srv/shop/jobs.py", line 61, in send_invoices
    mail.send(invoice.rendered())
  File "/srv/shop/mail.py", line 24, in send
    raise TimeoutError(f"no answer from {self.host} in {self.timeout} s")
TimeoutError: no answer from mail.example.com in 30 s
"""
#: Keys of stored rows: a run by its status, the scheduler.
STATUS_RUNS: dict[str, int] = {}
SCHEDULER: list[int] = []


# The pages


def job(pk: str, what: str = "change") -> str:
    """Return the address of a job's page, or of one of its buttons."""
    return rows.page("djangojob", pk, what)


def run(status: str, what: str = "change") -> str:
    """Return the address of a run with this status, or of one of its buttons."""
    return rows.page("djangojobexecution", STATUS_RUNS[status], what)


def at(address: str, *then: Visit) -> Visit:
    """Visit an address, and do some more there."""

    def visit(page: Any) -> None:
        page.goto(address)
        for step in then:
            step(page)

    return visit


def click(selector: str) -> Visit:
    return lambda page: page.locator(selector).first.click()


def close_sidebar(page: Any) -> None:
    """Close the list of models at the side, where there is room for one."""
    button = page.locator("#toggle-nav-sidebar")
    if button.is_visible() and page.locator("#main.shifted").count():
        button.click()
    page.evaluate("window.scrollTo(0, 0)")


def fill_in(**fields: str) -> Visit:
    """Fill in fields of the schedule, named `cron__hour` for `trigger-cron-hour`."""

    def step(page: Any) -> None:
        for name, value in fields.items():
            box = page.locator(f'[name="trigger-{name.replace("__", "-")}"]')
            if box.evaluate("box => box.tagName") == "SELECT":
                box.select_option(value)
            else:
                box.fill(value)

    return step


def schedule(kind: str, **fields: str) -> Visit:
    """Choose a kind of trigger, fill in its fields, and await the preview."""

    def step(page: Any) -> None:
        page.check(f'input[name="trigger-type"][value="{kind}"]', force=True)
        fill_in(**{f"{kind}__{name}": value for name, value in fields.items()})(page)
        page.wait_for_timeout(1200)
        page.wait_for_selector(
            ".dja-preview-region:not([aria-busy=true])", state="attached"
        )

    return step


def what(page: Any) -> None:
    """Fill in what a new job is to run."""
    page.fill("#id_id", "invoices-of-the-day")
    page.fill("#id_name", "Invoices of the day")
    page.select_option("#id_func", "shop.jobs:send_invoices")


def chosen(listing: str, action: str, *keys: Any) -> Visit:
    """Choose rows of a list and an action for them."""

    def visit(page: Any) -> None:
        page.goto(listing)
        for key in keys:
            page.check(f'input[name="_selected_action"][value="{key}"]')
        page.select_option('select[name="action"]', action)
        page.click('button[name="index"]')

    return visit


def conflict(page: Any) -> None:
    """Save a form after somebody else did."""
    page.goto(job("certificates"))
    rename("Certificates of the shop")
    page.fill("#id_name", "Check all certificates")
    page.click("input[name=_save]")
    page.wait_for_selector("#dja-summary")
    rename("Check certificates")


def rename(name: str) -> None:
    """Change the name of a job as a program would."""
    elsewhere(lambda: get_scheduler().modify_job("certificates", name=name))


def pages() -> dict[str, Visit]:
    """Return the pages of a filled database, by the name of the picture."""
    errors = (
        what,
        schedule("cron", minute="75"),
        lambda page: page.fill("#id_kwargs", '{"dayz": 2}'),
        click("input[name=_save]"),
    )
    shift = chosen(LIST, "reschedule_selected", "send-invoices", "nightly-backup")
    runs = [STATUS_RUNS[status] for status in ("Error!", "Executed", "Missed!")]
    return {
        # Those of the README and the manual: what one sees at first.
        "image-dashboard": at(DASHBOARD, close_sidebar),
        "image-jobs": at(LIST, close_sidebar),
        "image-executions": at(LOG, close_sidebar),
        "image-form": at(
            ADD,
            close_sidebar,
            what,
            schedule("cron", expression="30 2 * * *", timezone=ZONE),
            lambda page: page.evaluate(WHEN),
        ),
        "index": at(reverse("admin:index")),
        "app-index": at(reverse("admin:app_list", args=("django_apscheduler",))),
        "dashboard": at(DASHBOARD),
        "dashboard-7d": at(DASHBOARD + "?range=7d"),
        "dashboard-30d": at(DASHBOARD + "?range=30d"),
        "jobs": at(LIST),
        "jobs-sidebar-closed": at(LIST, close_sidebar),
        "jobs-filters": at(LIST, click("text=State: All")),
        "jobs-none-found": at(LIST + "?q=nothing-like-this"),
        "job-cron": at(job("send-invoices")),
        "job-interval": at(job("certificates")),
        "job-calendarinterval": at(job("close-month")),
        "job-date": at(job("flash-sale")),
        "job-or": at(job("remind-carts")),
        "job-trap": at(job("night-prices")),
        "job-failing": at(job("currency-rates")),
        "job-paused": at(job("loyalty-points")),
        "job-broken": at(job("geo-lookup")),
        "job-disabled": at(job("old-import")),
        "job-finished": at(job("move-images")),
        "job-declared": at(job("newsletter")),
        "add": at(ADD),
        "add-cron": at(
            ADD, what, schedule("cron", expression="30 2 * * *", timezone=ZONE)
        ),
        "add-cron-trap": at(
            ADD, what, schedule("cron", day="1", day_of_week="1-5", timezone=ZONE)
        ),
        "add-interval": at(ADD, what, schedule("interval", hours="24")),
        "add-calendarinterval": at(
            ADD, what, schedule("calendarinterval", months="1", timezone=ZONE)
        ),
        "add-date": at(ADD, what, schedule("date", run_date="2026-03-27T08:00")),
        "add-and": at(ADD, what, schedule("and")),
        "errors": at(ADD, *errors),
        "conflict": conflict,
        "history": at(job("newsletter", "history")),
        "delete": at(job("loyalty-points", "delete")),
        "pause": at(job("send-invoices", "pause")),
        "pause-selected": chosen(LIST, "pause_selected", "payouts", "newsletter"),
        "pause-all": at(PAUSE_ALL),
        "revert": at(job("newsletter", "revert")),
        "reschedule": shift,
        "reschedule-zone": lambda page: (shift(page), how(page, "zone")),
        "reschedule-trigger": lambda page: (shift(page), how(page, "trigger")),
        "reschedule-table": lambda page: (
            shift(page),
            page.fill("#id_amount", "15"),
            page.click('.dja-decide input[type="submit"]'),
        ),
        "log": at(LOG),
        "log-filters": at(LOG, click("text=Run time:")),
        "log-none-found": at(LOG + "?q=nothing-like-this"),
        "log-range-error": at(LOG + "?duration__range__gte=long"),
        "retry-selected": chosen(LOG, "retry_selected", *runs[:2]),
        "cancel": at(run("Queued", "cancel")),
        "schedulers": at(reverse(rows.SCHEDULERS)),
        "scheduler": at(rows.page("schedulerprocess", SCHEDULER[0])),
        **{
            f"run-{status.strip('!').lower().replace(' ', '-')}": at(run(status))
            for status in STATUS_RUNS
        },
    }


def how(page: Any, value: str) -> None:
    page.check(f'input[name="how"][value="{value}"]')


def empty_pages() -> dict[str, Visit]:
    """Return the pages of a database in which there is nothing yet."""
    return {
        "empty-dashboard": at(DASHBOARD),
        "empty-jobs": at(LIST),
        "empty-log": at(LOG),
        "empty-schedulers": at(reverse(rows.SCHEDULERS)),
    }


# The camera


def shoot(browser: Any, site: str, folder: Path, visits: dict[str, Visit]) -> None:
    """Visit the pages in each form, and store what is seen."""
    wanted = tuple(sys.argv[2:])
    for form, options in FORMS.items():
        problems: list[str] = []
        page = signed_in(browser, site, problems, base_url=site, **options)
        page.clock.install()
        page.set_default_timeout(15_000)
        for name, visit in visits.items():
            if wanted and not name.startswith(wanted):
                continue
            path = folder / f"{name}-{form}.png"
            try:
                visit(page)
                page.wait_for_load_state()
                image = name.startswith("image-")
                if not image:
                    page.evaluate("window.scrollTo(0, 0)")
                wide = page.evaluate(WIDER)
                if wide > 0:
                    print(f"{name} ({form}): {wide} px wider than the window")
                page.screenshot(path=path, full_page=not image, animations="disabled")
                shrink(path)
            except Exception as error:
                print(f"{name} ({form}): {error}")
        for problem in problems:
            print(f"{form}: {problem}")
        page.context.close()


#: Takes the focus away, and begins the picture where the schedule does.
WHEN = """() => {
  document.activeElement.blur();
  const editor = document.querySelector(".dja-editor").closest("fieldset.module");
  window.scrollTo(0, editor.getBoundingClientRect().top + window.scrollY - 12);
}"""

WIDER = "() => document.documentElement.scrollWidth - window.innerWidth"


def shrink(path: Path) -> None:
    """Store a picture with a palette, where Pillow can."""
    try:
        from PIL import Image
    except ImportError:
        return
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def stopped_database_clock(block: ExitStack) -> None:
    """Let the database's clock stand still as well, wherever it is asked."""

    def stopped(*arguments: Any) -> datetime:
        return clock.now()

    for name, module in list(sys.modules.items()):
        if name.startswith("django_apscheduler") and hasattr(module, "database_now"):
            block.enter_context(mock.patch.object(module, "database_now", stopped))


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sys.exit("Playwright is missing: python -m pip install -e '.[browser]'")
    settings.TIME_ZONE = ZONE
    setup_test_environment()
    name = connection.settings_dict["NAME"]
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    server = LiveServerThread("localhost", StaticFilesHandler, connections_override={})
    try:
        with ExitStack() as block:
            block.enter_context(clock.use(clock.ManualClock(NOW)))
            # Loads every module of the admin.
            reverse("admin:index")
            stopped_database_clock(block)
            offer_callables()
            fill()
            server.daemon = True
            server.start()
            server.is_ready.wait()
            if server.error:
                raise server.error
            site = f"http://{server.host}:{server.port}"
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=CHROMIUM, args=["--no-sandbox"]
                )
                shoot(browser, site, folder, pages())
                for model in (
                    DjangoJobExecution,
                    DjangoJob,
                    ExecutionRollup,
                    SchedulerProcess,
                ):
                    model.objects.all().delete()
                shoot(browser, site, folder, empty_pages())
                browser.close()
    finally:
        server.terminate()
        connections.close_all()
        connection.creation.destroy_test_db(name, verbosity=0)
        teardown_test_environment()


if __name__ == "__main__":
    main()
