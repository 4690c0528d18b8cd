"""Things done to many jobs and runs in a real browser, with and without script."""

from __future__ import annotations

from functools import partial

import pytest
from django.urls import reverse

import django_apscheduler
from django_apscheduler.models import DjangoJob, DjangoJobExecution
from django_apscheduler.triggers.cron import CronTrigger
from tests.admin import rows
from tests.admin.browser import elsewhere, faults_of, follow, pytestmark, signed_in

__all__ = ["pytestmark"]


@pytest.fixture
def jobs(site):
    """Two more jobs, one of which cannot be moved back by a minute."""
    scheduler = django_apscheduler.get_scheduler()
    for id, fields in (("nightly", {"hour": 3}), ("monthly", {"day": 1, "hour": 0})):
        trigger = CronTrigger(**fields, timezone="UTC")
        elsewhere(partial(scheduler.add_job, rows.work, trigger, id=id, name=id))


def choose(page, site, listing, action, keys):
    page.goto(site + reverse(listing))
    for key in keys:
        page.check(f'input[name="_selected_action"][value="{key}"]')
    page.select_option('select[name="action"]', action)
    follow(page, 'button[name="index"]')
    page.wait_for_selector(".dja-ask")


def press(page):
    follow(page, '.dja-decide input[type="submit"]')


@pytest.mark.parametrize("script", [True, False])
def test_many_jobs_are_paused_and_rescheduled(site, jobs, chromium, script):
    problems: list[str] = []
    page = signed_in(chromium, site, problems, java_script_enabled=script)
    choose(
        page, site, rows.JOBS, "reschedule_selected", ["hourly", "nightly", "monthly"]
    )
    page.fill("#id_amount", "-1")
    press(page)
    page.wait_for_selector(".dja-compare")
    table = page.inner_text(".dja-compare")
    assert "At 02:59 every day" in table
    assert "Left out: It would come to other days of the month" in table
    press(page)
    page.wait_for_selector(".messagelist")
    assert page.inner_text(".messagelist") == "2 rescheduled."
    assert '"minute":"59"' in DjangoJob.objects.get(pk="nightly").trigger
    choose(page, site, rows.JOBS, "pause_selected", ["hourly", "nightly", "stock"])
    page.fill("#id_reason", "stock-taking")
    page.check("text=In 1 hour")
    press(page)
    page.wait_for_selector(".messagelist")
    assert page.inner_text(".messagelist") == "2 paused, 1 already paused."
    assert DjangoJob.objects.get(pk="nightly").pause_reason == "stock-taking"
    assert problems == []


def test_a_failed_run_is_retried_and_the_retry_cancelled(site, jobs, chromium):
    page = signed_in(chromium, site, [])
    failed = DjangoJobExecution.objects.get(status="Error!")
    page.goto(site + rows.page("djangojobexecution", failed.pk))
    follow(page, '.dja-levers button:has-text("Retry")')
    page.wait_for_selector(".messagelist")
    retry = DjangoJobExecution.objects.get(retry_of=failed.pk)
    assert page.url == site + rows.page("djangojobexecution", retry.pk)
    follow(page, '.dja-levers button:has-text("Cancel")')
    page.wait_for_selector("text=The run is cancelled.")
    retry.refresh_from_db()
    assert retry.status == "Cancelled"


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_pages_that_ask_fit_and_are_accessible(
    site, jobs, chromium, width, scheme, axe
):
    problems: list[str] = []
    page = signed_in(
        chromium,
        site,
        problems,
        viewport={"width": width, "height": 900},
        color_scheme=scheme,
    )
    runs = list(DjangoJobExecution.objects.values_list("pk", flat=True))

    def look(name):
        wide = page.evaluate(
            "() => document.querySelector('#content').scrollWidth"
            " - document.querySelector('#content').clientWidth"
        )
        assert wide <= 0, f"{name} is {wide} px wider than its place"
        assert faults_of(page, axe, problems) == [], name

    for listing, action, keys in (
        (rows.JOBS, "pause_selected", ["hourly", "nightly"]),
        (rows.LOG, "retry_selected", runs),
        (rows.LOG, "cancel_selected", runs),
        (rows.JOBS, "reschedule_selected", ["hourly", "monthly", "geo"]),
    ):
        choose(page, site, listing, action, keys)
        look(action)
    for how in ("zone", "trigger", "shift"):
        page.check(f'input[name="how"][value="{how}"]')
        look(f"reschedule by {how}")
    page.fill("#id_amount", "-1")
    press(page)
    page.wait_for_selector(".dja-compare")
    look("old and new")
    assert problems == []
