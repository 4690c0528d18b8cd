"""The execution log in a real browser: deep pages, and pages that keep up to date."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse

from django_apscheduler import clock
from django_apscheduler.models import DjangoJobExecution
from tests.admin import rows
from tests.admin.browser import pytestmark, signed_in

__all__ = ["pytestmark"]


def listed(page) -> list[str]:
    return page.eval_on_selector_all(
        "#result_list .action-select", "boxes => boxes.map(box => box.value)"
    )


def test_every_row_is_reached_by_the_links_to_older_pages(site, chromium):
    now = clock.now()
    DjangoJobExecution.objects.bulk_create(
        DjangoJobExecution(
            job_id="hourly", status="Executed", run_time=now - timedelta(hours=n // 3)
        )
        for n in range(170)
    )
    problems: list[str] = []
    page = signed_in(chromium, site, problems, java_script_enabled=False)
    page.goto(site + reverse(rows.LOG))
    seen = listed(page)
    older = page.get_by_role("link", name="Older", exact=True)
    while older.count():
        with page.expect_navigation():
            older.click()
        assert listed(page)[0] not in seen
        seen += listed(page)
    assert len(seen) == len(set(seen)) == DjangoJobExecution.objects.count()
    with page.expect_navigation():
        page.get_by_role("link", name="Newest", exact=True).click()
    assert listed(page) == seen[:50]
    assert problems == []


def test_the_list_announces_new_runs_and_follows_those_under_way(site, chromium):
    problems: list[str] = []
    page = signed_in(chromium, site, problems)
    page.goto(site + reverse(rows.LOG))
    before = listed(page)
    running = DjangoJobExecution.objects.get(status="Started execution")
    rows.execution("hourly", run_time=clock.now())
    rows.execution("stock", run_time=clock.now(), status="Error!")
    DjangoJobExecution.objects.filter(pk=running.pk).update(
        status="Error!", finished_time=clock.now(), exception="ValueError: too late"
    )
    page.wait_for_selector("text=2 new runs: show", timeout=15_000)
    row = page.locator(f'tr:has(.action-select[value="{running.pk}"])')
    row.locator("text=ValueError: too late").wait_for(timeout=15_000)
    assert row.locator(".field-outcome >> text=Error").count() == 1
    # Nothing has moved so far.
    assert listed(page) == before
    with page.expect_navigation():
        page.click("text=2 new runs: show")
    assert listed(page)[2:] == before
    assert problems == []


def test_the_page_of_a_run_follows_it_to_its_end(site, chromium):
    run = rows.execution("hourly", run_time=clock.now(), status="Queued")
    problems: list[str] = []
    page = signed_in(chromium, site, problems)
    page.goto(site + rows.page("djangojobexecution", run.pk))
    page.wait_for_selector("text=Refresh")
    now = clock.now()
    DjangoJobExecution.objects.filter(pk=run.pk).update(
        status="Started execution", claimed_time=now, started_time=now
    )
    page.wait_for_selector("text=The run is now: Running", timeout=15_000)
    page.wait_for_selector("#dja-execution .dja-sub >> text=so far")
    DjangoJobExecution.objects.filter(pk=run.pk).update(
        status="Executed", finished_time=clock.now()
    )
    page.wait_for_selector("text=The run is now: Executed", timeout=15_000)
    assert page.locator("text=Refresh").count() == 0
    assert page.locator("#dja-execution .field-outcome >> text=Executed").count() == 1
    assert problems == []


def test_a_page_goes_on_looking_now_and_then_for_a_run_that_comes_late(
    site, chromium, settings
):
    settings.APSCHEDULER_RUN_NOW_TIMEOUT = 1
    run = rows.execution(
        "hourly", run_time=clock.now(), status="Queued", origin="manual"
    )
    page = signed_in(chromium, site, [])
    asked = []
    page.on("request", lambda request: "/live/" in request.url and asked.append(1))
    page.clock.install()
    page.goto(site + rows.page("djangojobexecution", run.pk))
    page.clock.run_for(2_000)
    page.get_by_text("This page goes on looking, every 30 seconds.").wait_for()
    assert page.locator("text=Refresh").count() == 1
    with page.expect_response("**/live/"):
        page.clock.run_for(30_000)
    before = len(asked)
    page.clock.run_for(20_000)
    assert len(asked) == before
    DjangoJobExecution.objects.filter(pk=run.pk).update(
        status="Executed", finished_time=clock.now()
    )
    page.clock.run_for(11_000)
    page.get_by_text("The run is now: Executed").wait_for()


def test_job_ids_are_completed_by_the_server(site, chromium):
    rows.job("zz-quarterly", name="Quarterly report")
    page = signed_in(chromium, site, [])
    page.goto(site + reverse(rows.LOG))
    page.click("text=Job: All")
    page.fill("#id_filter_job", "quarterly rep")
    offered = page.locator("#dja-offered-job option")
    expect = pytest.importorskip("playwright.sync_api").expect
    expect(offered).to_have_count(1)
    assert offered.get_attribute("value") == "zz-quarterly"
