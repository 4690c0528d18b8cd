"""The pages in a real browser, under a strict content security policy."""

from __future__ import annotations

import pytest
from django.urls import reverse

from django_apscheduler import get_scheduler
from django_apscheduler.models import DjangoJobExecution, SchedulerProcess
from tests.admin import rows
from tests.admin.browser import elsewhere, faults_of, follow, pytestmark, signed_in

__all__ = ["pytestmark"]


def addresses() -> dict[str, str]:
    failed = DjangoJobExecution.objects.get(status="Error!")
    skipped = DjangoJobExecution.objects.get(status="Coalesced")
    running = DjangoJobExecution.objects.get(status="Started execution")
    add = reverse("admin:django_apscheduler_djangojob_add")
    return {
        "jobs": reverse(rows.JOBS),
        "log": reverse(rows.LOG),
        "schedulers": reverse(rows.SCHEDULERS),
        "dashboard": reverse("admin:django_apscheduler_dashboard"),
        "job": rows.page("djangojob", "hourly"),
        "new job": add,
        "duplicate": f"{add}?duplicate=hourly",
        "broken job": rows.page("djangojob", "geo"),
        "failed run": rows.page("djangojobexecution", failed.pk),
        "skipped run": rows.page("djangojobexecution", skipped.pk),
        "running run": rows.page("djangojobexecution", running.pk),
        "searched log": reverse(rows.LOG) + "?q=hourly&status=problems",
        "end of the log": reverse(rows.LOG) + "?cursor=oldest",
        "filtered jobs": reverse(rows.JOBS) + "?trigger=interval&callable=tests.",
        "pause": rows.page("djangojob", "hourly", "pause"),
        "pause all": reverse("admin:django_apscheduler_djangojob_pause_all"),
        "resume all": reverse("admin:django_apscheduler_djangojob_resume_all"),
        "revert": rows.page("djangojob", "declared", "revert"),
        "delete job": rows.page("djangojob", "hourly", "delete"),
        "history of a job": rows.page("djangojob", "hourly", "history"),
        "scheduler": rows.page("schedulerprocess", SchedulerProcess.objects.get().pk),
        "cancel": rows.page("djangojobexecution", running.pk, "cancel"),
        "invalid range": reverse(rows.LOG) + "?duration__range__gte=long",
    }


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_pages_fit_and_have_neither_errors_nor_accessibility_faults(
    site, declared, chromium, width, scheme, axe
):
    problems: list[str] = []
    page = signed_in(
        chromium,
        site,
        problems,
        viewport={"width": width, "height": 900},
        color_scheme=scheme,
    )

    def look(name):
        content = page.evaluate(
            "() => document.querySelector('#content').scrollWidth"
            " - document.querySelector('#content').clientWidth"
        )
        assert content <= 0, f"{name} is {content} px wider than its place"
        for menu in page.query_selector_all("details.dja-filter:not([open]) summary"):
            menu.click()
        assert faults_of(page, axe, problems) == [], name

    for name, address in addresses().items():
        page.goto(site + address)
        look(name)
    page.goto(site + rows.page("djangojob", "hourly"))
    elsewhere(lambda: get_scheduler().modify_job("hourly", name="Theirs"))
    page.fill("#id_name", "Mine")
    page.fill("#id_max_instances", "0")
    follow(page, "input[name=_save]")
    page.wait_for_selector("#dja-summary")
    look("refused form")
    page.fill("#id_max_instances", "1")
    follow(page, "input[name=_save]")
    page.wait_for_selector(".dja-conflicts")
    look("conflict")
    assert problems == []


def test_menus_close_on_escape_and_elsewhere(site, chromium):
    page = signed_in(chromium, site, [])
    page.goto(site + reverse(rows.LOG))
    for leave in (
        lambda: page.keyboard.press("Escape"),
        lambda: page.click("#content h1"),
    ):
        page.click("text=Status: All")
        assert page.locator("details.dja-filter[open]").count() == 1
        leave()
        assert page.locator("details.dja-filter[open]").count() == 0
