"""The banner tells which schedulers are alive, and what became of the dead ones' runs."""

from __future__ import annotations

import signal
from datetime import timedelta

from django.urls import reverse

from django_apscheduler import clock
from django_apscheduler.models import DjangoJob, DjangoJobExecution, SchedulerProcess
from tests.admin import rows
from tests.admin.browser import follow
from tests.admin.flows import bodies
from tests.admin.flows.steps import enough, eventually, noted


def reload_until(page, text: str):
    """Load the page again until its banner says so; banners are as old as their page."""
    banner = page.locator(".dja-banner")

    def said():
        page.reload()
        return text in banner.inner_text()

    eventually(said)
    return banner


def test_without_a_scheduler_it_says_how_to_start_one(
    visit, add_job, runapscheduler, faults
):
    add_job(bodies.quick, "interval", hours=1, id="late")
    DjangoJob.objects.update(next_run_time=clock.now() - timedelta(minutes=5))
    page = visit(reverse(rows.JOBS))
    banner = page.get_by_role("alert")
    said = banner.inner_text()
    assert "No scheduler is running." in said
    assert "Start one with manage.py runapscheduler" in said
    assert faults(page) == []
    follow(page, banner.get_by_role("link", name="1 job overdue"))
    page.wait_for_url("**state=overdue**")
    assert page.locator("#result_list tbody tr").count() == 1
    # The advice is good.
    runapscheduler()
    page.goto(reverse(rows.JOBS))
    banner = reload_until(page, "1 scheduler alive")
    assert "last heartbeat" in banner.inner_text()
    eventually(lambda: not DjangoJob.objects.filter(next_run_time__lt=clock.now()))
    banner = reload_until(page, "1 scheduler alive")
    assert banner.get_attribute("role") == "status"
    assert "overdue" not in banner.inner_text()


def test_a_killed_scheduler_is_told_and_its_runs_are_lost_or_run_again(
    visit, add_job, runapscheduler, ledger
):
    for on_lost in ("rerun", "mark"):
        add_job(bodies.hold, "date", id=on_lost, on_lost=on_lost)
    scheduler = runapscheduler()
    page = visit(reverse(rows.JOBS))
    scheduler.wait_for(lambda: noted(ledger, "hold begins") == 2)
    eventually(
        lambda: (
            DjangoJobExecution.objects.filter(status="Started execution").count() == 2
        )
    )
    reload_until(page, "1 scheduler alive")
    scheduler.signal(signal.SIGKILL)
    banner = reload_until(page, "1 without heartbeat")
    assert "No scheduler is running." in banner.inner_text()
    assert banner.get_attribute("role") == "alert"
    page.goto(reverse(rows.SCHEDULERS))
    assert page.locator("#result_list .dja-badge").inner_text() == "No heartbeat"
    another = runapscheduler()
    another.wait_for(lambda: noted(ledger, "rerun hold begins") == 2)
    enough(ledger)
    rerun, marked = (
        DjangoJobExecution.objects.get(job_id=id) for id in ("rerun", "mark")
    )
    page.goto(rows.page("djangojobexecution", marked.pk))
    outcome = page.locator(".field-outcome")
    assert "Lost" in outcome.inner_text()
    assert "Its scheduler stopped without reporting how this run ended." in (
        page.locator(".field-explanation").inner_text()
    )
    page.goto(rows.page("djangojobexecution", rerun.pk))
    page.locator(".field-outcome >> text=Executed").wait_for()
    assert "2, 1 loss before it" in page.locator(".field-attempt_text").inner_text()
    assert noted(ledger, "mark hold begins") == 1
    assert noted(ledger, "rerun hold ends") == 1
    statuses = DjangoJobExecution.objects.values_list("job_id", "status", "attempt")
    assert set(statuses) == {("rerun", "Executed", 2), ("mark", "Lost", 1)}
    page.goto(reverse(rows.JOBS))
    banner = reload_until(page, "1 scheduler alive")
    assert "without heartbeat" not in banner.inner_text()
    states = SchedulerProcess.objects.order_by("started_time")
    assert list(states.values_list("state", flat=True)) == ["dead", "alive"]
