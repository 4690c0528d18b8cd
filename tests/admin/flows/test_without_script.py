"""All of it without JavaScript."""

from __future__ import annotations

import csv
from datetime import timedelta

from django.urls import reverse

from django_apscheduler import clock
from django_apscheduler.models import DjangoJob, DjangoJobExecution
from tests.admin import rows
from tests.admin.browser import follow
from tests.admin.flows import bodies
from tests.admin.flows.steps import (
    box,
    choose,
    eventually,
    message,
    noted,
    press,
    row,
    shown_run,
)

ADD = "admin:django_apscheduler_djangojob_add"


def test_jobs_are_made_changed_paused_and_rescheduled(visit, add_job, faults):
    add_job(bodies.quick, "cron", hour=3, timezone="UTC", id="nightly")
    page = visit(reverse(ADD), java_script_enabled=False)
    page.fill("#id_id", "made")
    page.select_option("#id_func", "tests.admin.flows.bodies:quick")
    page.check("#id_trigger-type-interval")
    box(page, "interval-minutes").fill("-5")
    follow(page, "button[name=_preview]")
    page.get_by_text("-5").first.wait_for()
    assert DjangoJob.objects.count() == 1
    box(page, "interval-minutes").fill("5")
    follow(page, "button[name=_preview]")
    page.locator("#dja-preview").get_by_text("Every 5 minutes").wait_for()
    assert page.locator("#dja-preview tbody tr").count() == 10
    assert page.input_value("#id_id") == "made"
    follow(page, "input[name=_save]")
    assert "was added successfully" in message(page)
    page.goto(rows.page("djangojob", "made"))
    page.fill("#id_name", "Made")
    follow(page, "input[name=_save]")
    assert "was changed successfully" in message(page)
    assert DjangoJob.objects.get(pk="made").name == "Made"
    follow(page, row(page, "made").get_by_role("link", name="Pause"))
    page.fill("#id_reason", "stock-taking")
    page.get_by_label("In 1 hour").check()
    press(page)
    assert message(page) == "1 paused."
    paused = DjangoJob.objects.get(pk="made")
    assert (paused.state, paused.pause_reason) == ("paused", "stock-taking")
    assert paused.resume_time > clock.now()
    assert "stock-taking" in row(page, "made").inner_text()
    follow(page, row(page, "made").get_by_role("button", name="Resume"))
    assert message(page) == "1 resumed."
    assert DjangoJob.objects.get(pk="made").state == "active"
    choose(page, "reschedule_selected", "nightly")
    page.fill("#id_amount", "15")
    press(page)
    assert "At 03:15 every day" in page.inner_text(".dja-compare")
    assert '"minute":"15"' not in DjangoJob.objects.get(pk="nightly").trigger
    press(page)
    assert message(page) == "1 rescheduled."
    assert '"minute":"15"' in DjangoJob.objects.get(pk="nightly").trigger


def test_runs_are_asked_for_followed_and_tried_again(
    visit, add_job, runapscheduler, ledger
):
    add_job(bodies.failing, "interval", hours=1, id="rates")
    runapscheduler()
    page = visit(reverse(rows.JOBS), java_script_enabled=False)
    follow(page, row(page, "rates").get_by_role("button", name="Run now"))
    message(page)
    for attempt in (1, 2):
        run = shown_run(page)
        eventually(lambda pk=run.pk: status_of(pk) == "Error!")
        # The page does not follow the run by itself; its link does.
        refresh = page.get_by_role("link", name="Refresh")
        if refresh.count():
            follow(page, refresh)
        page.locator(".field-outcome").get_by_text("Error").wait_for()
        assert "no rate for XAU" in page.inner_text("#dja-execution")
        if attempt == 1:
            follow(page, page.get_by_role("button", name="Retry"))
            assert "1 queued to run again." in message(page)
    assert noted(ledger, "rates failing") == 2
    assert shown_run(page).retry_of_id == DjangoJobExecution.objects.earliest("id").pk


def status_of(pk: int) -> str:
    return DjangoJobExecution.objects.values_list("status", flat=True).get(pk=pk)


def test_the_log_is_filtered_paged_and_exported(visit, add_job):
    add_job(bodies.quick, "interval", hours=1, id="often")
    now = clock.now()
    DjangoJobExecution.objects.bulk_create(
        DjangoJobExecution(
            job_id=job_id,
            status=status,
            run_time=now - timedelta(minutes=n),
            executor="default",
        )
        for n in range(60)
        for job_id, status in (("often", "Executed"), ("gone", "Missed!"))
    )
    page = visit(reverse(rows.LOG), java_script_enabled=False)
    page.click("text=Job: All")
    page.fill("#id_filter_job", "gone")
    follow(page, "details[open] >> text=Apply")
    page.wait_for_url("**job=gone**")
    page.click("text=Status: All")
    follow(page, ".dja-panel >> text=All problems")
    page.wait_for_url("**status=problems**")
    assert "job=gone" in page.url
    shown = page.locator("#result_list tbody tr")
    assert shown.count() == 50
    follow(page, page.get_by_role("link", name="Older", exact=True))
    page.wait_for_url("**cursor=**")
    assert shown.count() == 10
    with page.expect_download() as download:
        page.get_by_role("link", name="Export CSV").click()
    with open(download.value.path(), encoding="utf-8-sig", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 60
    assert {(line["job_id"], line["status"]) for line in lines} == {("gone", "Missed!")}
