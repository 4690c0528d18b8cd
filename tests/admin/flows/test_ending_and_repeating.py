"""Runs are retried and cancelled, jobs duplicated and deleted; their history stays."""

from __future__ import annotations

from django.urls import reverse

from django_apscheduler.models import DjangoJob, DjangoJobExecution
from tests.admin import rows
from tests.admin.browser import follow
from tests.admin.flows import bodies
from tests.admin.flows.steps import eventually, message, noted, row, shown_run


def outcome(page, text: str) -> None:
    """Wait until the page of a run, which keeps itself up to date, says so."""
    page.locator(".field-outcome").get_by_text(text).wait_for()


def test_a_failed_run_is_retried_and_each_names_the_other(
    visit, add_job, runapscheduler, ledger
):
    add_job(bodies.failing, "date", id="rates")
    runapscheduler()
    page = visit()
    eventually(lambda: DjangoJobExecution.objects.filter(status="Error!").count() == 1)
    # A job that runs once is over with that, and can be tried again even so.
    first = DjangoJobExecution.objects.get()
    page.goto(rows.page("djangojobexecution", first.pk))
    outcome(page, "Error")
    follow(page, page.get_by_role("button", name="Retry"))
    assert "1 queued to run again." in message(page)
    outcome(page, "Error")
    retry = shown_run(page)
    assert (retry.retry_of_id, retry.origin) == (first.pk, "retry")
    assert retry.requested_by == "ana"
    assert noted(ledger, "rates failing") == 2
    with page.expect_navigation():
        page.locator(
            f'#dja-execution a[href="{rows.page("djangojobexecution", first.pk)}"]'
        ).first.click()
    assert page.locator(
        f'#dja-execution a[href="{rows.page("djangojobexecution", retry.pk)}"]'
    ).count()


def test_a_run_that_waits_is_cancelled_at_once_and_never_begins(
    visit, add_job, runapscheduler, ledger
):
    for id in ("unwanted", "wanted"):
        add_job(bodies.quick, "interval", hours=1, id=id)
    page = visit()
    for id in ("unwanted", "wanted"):
        page.goto(reverse(rows.JOBS))
        follow(page, row(page, id).get_by_role("button", name="Run now"))
        message(page)
        outcome(page, "Queued")
        if id == "unwanted":
            follow(page, page.get_by_role("button", name="Cancel"))
            assert message(page) == "The run is cancelled."
            outcome(page, "Cancelled")
            assert shown_run(page).status == "Cancelled"
            assert page.get_by_role("button", name="Cancel").count() == 0
    runapscheduler()
    outcome(page, "Executed")
    assert noted(ledger, "wanted quick") == 1
    assert noted(ledger, "unwanted quick") == 0


def test_a_run_under_way_is_asked_to_end_and_ends(
    visit, add_job, runapscheduler, ledger
):
    add_job(bodies.patient, "date", id="patient")
    scheduler = runapscheduler()
    scheduler.wait_for(lambda: noted(ledger, "patient begins"))
    eventually(
        lambda: DjangoJobExecution.objects.filter(status="Started execution").exists()
    )
    run = DjangoJobExecution.objects.get()
    page = visit(rows.page("djangojobexecution", run.pk))
    outcome(page, "Running")
    follow(page, page.get_by_role("link", name="Cancel"))
    page.wait_for_selector(".dja-ask")
    assert "it runs on a thread, which nobody can stop" in page.inner_text(".dja-ask")
    run.refresh_from_db()
    assert run.status == "Started execution"
    follow(page, '.dja-decide input[type="submit"]')
    assert message(page) == "Its scheduler was asked to end the run."
    outcome(page, "Cancelled")
    assert noted(ledger, "patient is told") == 1
    run.refresh_from_db()
    assert run.status == "Cancelled"
    assert "asked to end by ana" in run.note


def test_a_duplicate_begins_paused_and_a_deleted_job_leaves_its_history(
    visit, add_job, runapscheduler, ledger
):
    add_job(bodies.quick, "interval", minutes=10, id="stock", name="Stock")
    runapscheduler()
    page = visit(rows.page("djangojob", "stock"))
    follow(page, page.get_by_role("button", name="Run now"))
    outcome(page, "Executed")
    run = shown_run(page)
    page.goto(rows.page("djangojob", "stock"))
    follow(page, page.get_by_role("link", name="Duplicate"))
    page.wait_for_url("**duplicate=stock**")
    assert page.is_checked("#id_paused")
    assert page.input_value('[name="trigger-interval-minutes"]') == "10"
    page.fill("#id_id", "twin")
    follow(page, "input[name=_save]")
    message(page)
    assert "by ana" in row(page, "twin").inner_text()
    stock, twin = (DjangoJob.objects.get(pk=id) for id in ("stock", "twin"))
    assert (twin.state, twin.next_run_time) == ("paused", None)
    assert (twin.func, twin.trigger) == (stock.func, stock.trigger)
    page.goto(rows.page("djangojob", "stock"))
    follow(page, page.get_by_role("link", name="Delete"))
    page.get_by_text("The execution log is kept.").wait_for()
    follow(page, '#content form input[type="submit"]')
    assert "was deleted successfully" in message(page)
    assert not DjangoJob.objects.filter(pk="stock").exists()
    page.goto(reverse(rows.LOG) + "?job=stock")
    listed = page.locator("#result_list tbody tr")
    assert listed.count() == 1
    assert "stock, deleted" in listed.inner_text()
    page.goto(rows.page("djangojobexecution", run.pk))
    outcome(page, "Executed")
    assert page.get_by_role("button", name="Retry").count() == 0
    assert noted(ledger, "stock quick") == 1
