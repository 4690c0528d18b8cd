"""The pages for those who look at them otherwise: narrow, still, high contrast, RTL."""

from __future__ import annotations

import pytest
from django.urls import reverse

from django_apscheduler.models import DjangoJob, DjangoJobExecution
from tests.admin import rows
from tests.admin.flows import bodies
from tests.admin.flows.steps import message, shown_run

ADD = "admin:django_apscheduler_djangojob_add"
DASHBOARD = "admin:django_apscheduler_dashboard"


@pytest.fixture
def pages(site, add_job) -> dict[str, str]:
    """Addresses of the pages, with something to see on each."""
    for number in range(12):
        add_job(
            bodies.quick,
            "interval",
            hours=1 + number,
            id=f"a-rather-long-id-of-a-job-{number}",
            name=f"Reconciliation of all open invoices, part {number}",
        )
    job = "a-rather-long-id-of-a-job-1"
    failed = rows.execution(
        job, status="Error!", exception="ValueError: " + "n/a" * 60, traceback="…"
    )
    for hours in range(30):
        rows.execution(job, hours=hours)
    return {
        "jobs": reverse(rows.JOBS),
        "log": reverse(rows.LOG),
        "schedulers": reverse(rows.SCHEDULERS),
        "dashboard": reverse(DASHBOARD),
        "new job": reverse(ADD),
        "duplicate": f"{reverse(ADD)}?duplicate={job}",
        "job": rows.page("djangojob", job),
        "pause": rows.page("djangojob", job, "pause"),
        "delete": rows.page("djangojob", job, "delete"),
        "run": rows.page("djangojobexecution", failed.pk),
    }


def wider(page) -> int:
    """Return how many pixels the page is wider than the window."""
    return page.evaluate(
        "() => Math.max("
        "document.documentElement.scrollWidth - document.documentElement.clientWidth,"
        "document.querySelector('#content').scrollWidth"
        " - document.querySelector('#content').clientWidth)"
    )


def test_nothing_is_cut_off_at_320_pixels(visit, pages, faults):
    # Which is 1280 pixels wide at a zoom of 400 %.
    page = visit(viewport={"width": 320, "height": 256}, device_scale_factor=4)
    for name, address in pages.items():
        page.goto(address)
        assert wider(page) <= 0, name
        if name in ("jobs", "log", "job"):
            assert faults(page) == [], name


def test_pages_are_mirrored_for_languages_from_right_to_left(visit, pages, settings):
    settings.LANGUAGE_CODE = "he"
    page = visit(locale="he", viewport={"width": 1280, "height": 900})
    for name, address in pages.items():
        page.goto(address)
        assert page.evaluate("() => getComputedStyle(document.body).direction") == "rtl"
        assert wider(page) <= 0, name
    page.set_viewport_size({"width": 360, "height": 900})
    for name in ("jobs", "log", "job", "run", "dashboard"):
        page.goto(pages[name])
        assert wider(page) <= 0, name


def test_nothing_moves_for_those_who_ask_for_that(visit, pages):
    page = visit(reduced_motion="reduce")
    for name in ("dashboard", "jobs", "job"):
        page.goto(pages[name])
        # The admin fades the colours of links, which is no movement.
        moving = page.evaluate(
            """() => [...document.querySelectorAll('#content, #content *')].filter(
              (one) => {
                const style = getComputedStyle(one);
                const fades = style.transitionProperty.split(',').every(
                  (name) => /^ *(color|background.*|none)$/.test(name));
                const lasts = (text) => text.split(',').some(
                  (part) => parseFloat(part) > 0.01);
                return style.animationName !== 'none'
                  || (!fades && lasts(style.transitionDuration));
              }).map((one) => one.outerHTML.slice(0, 120))"""
        )
        assert moving == [], name


def test_statuses_can_be_told_apart_in_forced_colours(visit, pages, faults):
    page = visit(forced_colors="active")
    assert page.evaluate("() => matchMedia('(forced-colors: active)').matches")
    for name in ("jobs", "log", "run", "dashboard"):
        page.goto(pages[name])
        # In words: colours are the user's.
        badges = page.locator("#content .dja-badge")
        for text in badges.all_inner_texts():
            assert text.strip(), name
        # Bars are drawn with colours of the system's, not on themselves.
        unseen = page.evaluate(
            """() => [...document.querySelectorAll('#content svg [fill], #content svg rect')]
              .filter((one) => {
                const fill = getComputedStyle(one).fill;
                const ground = getComputedStyle(document.body).backgroundColor;
                return fill === ground && one.getBBox().width > 0
                  && getComputedStyle(one).stroke === 'none';
              }).map((one) => one.outerHTML.slice(0, 120))"""
        )
        assert unseen == [], name


def test_a_job_is_made_paused_and_run_with_the_keyboard_alone(visit, site):
    page = visit(reverse(rows.JOBS))

    def tab_to(goal: str, most: int = 150) -> None:
        """Press the tab key until an element has the focus."""
        for _ in range(most):
            if page.evaluate("goal => document.activeElement.matches(goal)", goal):
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"{goal} is not reached with the tab key")

    tab_to(".object-tools a.addlink")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    tab_to("#id_id")
    page.keyboard.type("typed")
    tab_to("#id_func")
    while page.input_value("#id_func") != "tests.admin.flows.bodies:quick":
        page.keyboard.press("ArrowDown")
    tab_to("input[name=trigger-type]:checked")
    page.keyboard.press("ArrowDown")
    while not page.is_checked("#id_trigger-type-interval"):
        page.keyboard.press("ArrowDown")
    tab_to("#id_trigger-interval-hours")
    page.keyboard.type("5")
    page.locator("#dja-preview").get_by_text("Every 5 hours").wait_for()
    tab_to("input[name=_save]")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert "was added successfully" in message(page)
    made = DjangoJob.objects.get(pk="typed")
    assert '"hours":5' in made.trigger
    tab_to('a[aria-label^="Pause"]')
    with page.expect_navigation():
        page.keyboard.press("Enter")
    tab_to("#id_reason")
    page.keyboard.type("typed as well")
    tab_to('input[name="until"]:checked')
    page.keyboard.press("ArrowDown")
    tab_to('.dja-decide input[type="submit"]')
    with page.expect_navigation():
        page.keyboard.press("Space")
    assert message(page) == "1 paused."
    made.refresh_from_db()
    assert (made.state, made.pause_reason) == ("paused", "typed as well")
    assert made.resume_time is not None
    tab_to('button[aria-label^="Run now"]')
    with page.expect_navigation():
        page.keyboard.press("Space")
    page.locator(".field-outcome").get_by_text("Queued").wait_for()
    assert shown_run(page).job_id == "typed"
    page.goto(reverse(rows.LOG))
    run = DjangoJobExecution.objects.get()
    tab_to("#result_list tbody th a, #result_list .field-outcome a")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert shown_run(page) == run
