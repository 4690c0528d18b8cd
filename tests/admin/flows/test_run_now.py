"""A run asked for in the admin is made by whichever scheduler comes, and is followed."""

from __future__ import annotations

import threading
from datetime import timedelta

from django.contrib.admin.models import LogEntry
from django.urls import reverse

from django_apscheduler import clock
from django_apscheduler.admin.levers import on_jobs
from django_apscheduler.models import DjangoJob, DjangoJobExecution
from tests.admin import rows
from tests.admin.browser import follow
from tests.admin.flows import bodies
from tests.admin.flows.steps import (
    enough,
    eventually,
    message,
    noted,
    row,
    shown_run,
    stay,
    stayed,
)


def run_now(page, job_id: str) -> None:
    """Press the button in the job's row of the list; the page of the run follows."""
    page.goto(reverse(rows.JOBS))
    follow(page, row(page, job_id).get_by_role("button", name=f"Run now: {job_id}"))
    page.wait_for_url("**/djangojobexecution/*/change/")


def outcome(page):
    return page.locator("#dja-execution .field-outcome")


def becomes(page, status: str) -> None:
    """Wait until the page of a run says so by itself."""
    outcome(page).get_by_text(status, exact=True).wait_for()
    page.locator(".dja-said", has_text=f"The run is now: {status}").wait_for()


def test_a_run_queued_without_a_scheduler_is_followed_to_its_result(
    visit, add_job, runapscheduler, ledger, faults
):
    add_job(bodies.hold, "interval", hours=1, id="hold")
    planned = DjangoJob.objects.get(pk="hold").next_run_time
    page = visit()
    run_now(page, "hold")
    told = message(page)
    assert "1 queued to run now." in told
    assert "No scheduler is running: the run is queued, expires in 5 minutes." in told
    assert "Queued" in outcome(page).inner_text()
    assert faults(page) == []
    stay(page)
    runapscheduler()
    becomes(page, "Running")
    enough(ledger)
    becomes(page, "Executed")
    assert stayed(page)
    run = shown_run(page)
    assert (run.job_id, run.status, run.origin, run.requested_by) == (
        *("hold", "Executed", "manual", "ana"),
    )
    assert (noted(ledger, "hold begins"), noted(ledger, "hold ends")) == (1, 1)
    assert DjangoJob.objects.get(pk="hold").next_run_time == planned
    entry = LogEntry.objects.get(object_id="hold")
    assert entry.user.username == "ana"
    assert entry.change_message == f"Queued to run now (execution {run.pk})."


def test_a_failure_is_shown_with_its_error_and_traceback(
    visit, add_job, runapscheduler, ledger
):
    add_job(bodies.failing, "interval", hours=1, id="rates")
    page = visit()
    run_now(page, "rates")
    stay(page)
    runapscheduler()
    becomes(page, "Error")
    assert stayed(page)
    error = page.locator(".field-error_line")
    assert "ValueError: no rate for XAU" in error.inner_text()
    traceback = page.locator(".dja-traceback pre").inner_text()
    assert 'raise ValueError("no rate for XAU")' in traceback
    assert shown_run(page).status == "Error!"
    assert noted(ledger, "failing") == 1


def test_a_double_click_makes_one_run(
    visit, add_job, runapscheduler, ledger, monkeypatch
):
    add_job(bodies.quick, "interval", hours=1, id="once")
    # A server that is slow enough for both clicks to be under way at once.
    clicks = threading.Barrier(2)
    arrived, queued = [], []
    pull = on_jobs.pull

    def slowly(*args):
        arrived.append(args)
        clicks.wait(10)
        done = pull(*args)
        queued.append(done[0].execution_id)
        return done

    monkeypatch.setattr(on_jobs, "pull", slowly)
    page = visit(reverse(rows.JOBS))
    button = row(page, "once").get_by_role("button", name="Run now: once")
    button.scroll_into_view_if_needed()
    box = button.bounding_box()
    for number in (1, 2):
        # The bare mouse: a click on the button itself waits for the page to come.
        page.mouse.click(box["x"] + 5, box["y"] + 5)
        eventually(lambda n=number: len(arrived) == n)
    outcome(page).wait_for()
    run = shown_run(page)
    eventually(lambda: len(queued) == 2)
    assert queued == [run.pk, run.pk]
    runapscheduler()
    outcome(page).get_by_text("Executed", exact=True).wait_for()
    assert list(DjangoJobExecution.objects.values_list("job_id", "status")) == [
        ("once", "Executed")
    ]
    assert noted(ledger, "quick") == 1
    assert LogEntry.objects.count() == 1


def test_beyond_max_instances_it_says_so_and_runs_afterwards_or_expires(
    visit, add_job, runapscheduler, ledger
):
    add_job(bodies.hold, "interval", hours=1, id="hold", max_instances=1)
    scheduler = runapscheduler()
    first = visit()
    run_now(first, "hold")
    scheduler.wait_for(lambda: noted(ledger, "hold begins") == 1)
    eventually(lambda: shown_run(first).status == "Started execution")
    waits, expires = visit(), visit()
    for page in (waits, expires):
        run_now(page, "hold")
        assert (
            "1 instance is running, as many as allowed: the run waits for it, 5 minutes "
            "at most." in message(page)
        )
        assert "Queued" in outcome(page).inner_text()
    # Five minutes go by for one of them.
    past = clock.now() - timedelta(seconds=1)
    expired = shown_run(expires)
    DjangoJobExecution.objects.filter(pk=expired.pk).update(expires_time=past)
    becomes(expires, "Cancelled")
    assert shown_run(expires).status == "Cancelled"
    assert shown_run(waits).status == "Queued"
    enough(ledger)
    becomes(waits, "Executed")
    assert [shown_run(page).status for page in (first, waits)] == ["Executed"] * 2
    assert noted(ledger, "hold ends") == 2


def test_a_paused_job_runs_and_stays_paused(visit, add_job, runapscheduler, ledger):
    add_job(bodies.quick, "interval", hours=1, id="paused")
    DjangoJob.objects.update(state="paused", next_run_time=None, paused_by="ben")
    runapscheduler()
    page = visit()
    run_now(page, "paused")
    outcome(page).get_by_text("Executed", exact=True).wait_for()
    assert noted(ledger, "quick") == 1
    page.goto(reverse(rows.JOBS))
    listed = row(page, "paused")
    assert "Paused" in listed.locator(".field-condition").inner_text()
    assert "Executed" in listed.locator(".field-last_run").inner_text()
    job = DjangoJob.objects.get(pk="paused")
    assert (job.state, job.next_run_time) == ("paused", None)
