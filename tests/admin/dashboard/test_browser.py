"""The dashboard in a real browser, under a strict content security policy."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse

from django_apscheduler import clock
from django_apscheduler.models import DjangoJob
from tests.admin import rows, shop
from tests.admin.browser import pytestmark, signed_in

__all__ = ["pytestmark"]

PAGE = "admin:django_apscheduler_dashboard"


@pytest.fixture
def site(live_server):
    """The address of a live server with two days of a shop, and "ana"."""
    rows.user("ana", superuser=True)
    shop.fill(clock.now(), days=2)
    rows.process(seconds=3600, release="2026.6")
    return live_server.url


def opened(chromium, site, problems, **options):
    page = signed_in(chromium, site, problems, **options)
    page.goto(site + reverse(PAGE))
    return page


def test_a_chart_is_one_tab_stop_and_read_with_the_arrow_keys(site, chromium):
    problems: list[str] = []
    page = opened(chromium, site, problems)
    chart = page.locator("svg.dja-bars")
    assert page.locator("svg.dja-chart").count() == 5
    assert chart.locator("[tabindex='0']").count() == 0
    chart.focus()
    tip = page.locator("figure[data-dja-part=throughput] .dja-tip")
    assert tip.is_hidden()
    page.keyboard.press("End")
    last = tip.inner_text()
    page.keyboard.press("Home")
    first = tip.inner_text()
    page.keyboard.press("ArrowRight")
    second = tip.inner_text()
    assert len({first, second, last}) == 3
    assert "succeeded" in first
    page.keyboard.press("ArrowLeft")
    assert tip.inner_text() == first
    page.keyboard.press("Escape")
    assert tip.is_hidden()
    assert problems == []


def test_a_day_of_the_calendar_is_followed_with_enter(site, chromium):
    page = opened(chromium, site, [])
    page.locator("svg.dja-calendar").focus()
    page.keyboard.press("End")
    today = page.locator("svg.dja-calendar a").last.get_attribute("href")
    page.keyboard.press("Enter")
    page.wait_for_url("**/djangojobexecution/?**")
    assert page.url == site + today
    assert "run_time__range__gte" in today


def test_the_mouse_shows_what_a_mark_says(site, chromium):
    page = opened(chromium, site, [])
    mark = page.locator("svg.dja-lengths .dja-datum").first
    mark.hover()
    tip = page.locator(".dja-tip:not([hidden])")
    assert "p50" in tip.inner_text()
    box, frame = tip.bounding_box(), page.locator("#content").bounding_box()
    assert box["x"] >= frame["x"]
    assert box["x"] + box["width"] <= frame["x"] + frame["width"]


def test_the_table_has_the_numbers_of_the_chart(site, chromium):
    page = opened(chromium, site, [])
    figure = page.locator("figure[data-dja-part=throughput]")
    figure.locator("summary").click()
    assert figure.locator("tbody tr").count() == 24
    total = sum(
        int(text) for text in figure.locator("tbody td:nth-child(2)").all_inner_texts()
    )
    assert f"{total} runs succeeded" in figure.locator("figcaption").inner_text()


def test_it_refreshes_in_place_and_says_what_changed(site, chromium):
    problems: list[str] = []
    page = opened(chromium, site, problems)
    page.evaluate("window.scrollTo(0, 600)")
    page.evaluate("window.stays = true")
    DjangoJob.objects.filter(pk="payouts").update(state="paused", next_run_time=None)
    page.locator("[data-dja-refresh]").evaluate("link => link.click()")
    page.wait_for_selector("[data-dja-tile=Paused] b:text-is('2')")
    assert page.evaluate("window.stays") is True
    assert page.evaluate("window.scrollY") == 600
    announced = page.locator(".dja-announce").inner_text()
    assert "Active 11" in announced
    assert "Paused 2" in announced
    # The charts that came anew can be read as before.
    page.locator("svg.dja-lanes").focus()
    page.keyboard.press("Home")
    assert page.locator("figure[data-dja-part=timeline] .dja-tip").inner_text()
    assert problems == []


def test_refreshing_by_itself_is_off_when_switched_off(site, chromium):
    page = opened(chromium, site, [])
    switch = page.get_by_label("Refresh by itself")
    assert switch.is_checked()
    switch.uncheck()
    page.reload()
    assert not page.get_by_label("Refresh by itself").is_checked()


def test_it_refreshes_by_itself_but_not_what_is_in_use(site, chromium):
    page = signed_in(chromium, site, [])
    page.clock.install()
    page.goto(site + reverse(PAGE))
    figure = page.locator("figure[data-dja-part=timeline]")
    figure.locator("summary").click()
    lanes = figure.locator("tbody tr").count()
    DjangoJob.objects.filter(pk="payouts").delete()
    page.clock.run_for(16_000)
    page.wait_for_selector("[data-dja-tile=Active] b:text-is('11')")
    assert figure.locator("tbody tr").count() == lanes > 1


def test_it_is_whole_without_script(site, chromium):
    page = opened(chromium, site, [], java_script_enabled=False)
    assert page.locator("svg.dja-chart").count() == 5
    assert page.get_by_label("Refresh by itself").is_hidden()
    page.locator("figure[data-dja-part=durations] summary").click()
    assert page.locator("figure[data-dja-part=durations] tbody tr").count() == 24
    page.click("text=7 days")
    page.wait_for_url("**?range=7d")
    failing = int(page.locator("[data-dja-tile=Failing] b").inner_text())
    assert failing > 0
    page.click("[data-dja-tile=Failing] a")
    page.wait_for_url("**state=failing**")
    assert page.locator("#result_list tbody tr").count() == failing


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(site, chromium, scheme):
    problems: list[str] = []
    DjangoJob.objects.filter(pk="payouts").update(
        next_run_time=clock.now() - timedelta(hours=1), name="A" * 120
    )
    page = opened(
        chromium,
        site,
        problems,
        viewport={"width": 360, "height": 800},
        color_scheme=scheme,
    )
    wider = page.evaluate(
        "() => document.documentElement.scrollWidth - window.innerWidth"
    )
    assert wider <= 0
    # What is cut off of the past is its beginning.
    for chart in ("bars", "lengths"):
        canvas = page.locator(f".dja-canvas:has(.dja-{chart})").first
        last = canvas.locator(".dja-hit").last.bounding_box()
        frame = canvas.bounding_box()
        assert last["x"] + last["width"] <= frame["x"] + frame["width"] + 1
    assert problems == []
