"""The form of a job in a real browser, under a strict content security policy."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
from django.urls import reverse

from django_apscheduler import get_scheduler, registry
from django_apscheduler.models import DjangoJob
from tests.admin import rows
from tests.admin.browser import elsewhere, faults_of, follow, pytestmark, signed_in

__all__ = ["pytestmark"]

ADD = "admin:django_apscheduler_djangojob_add"
REPORT = "tests.admin.forms.test_browser:send_report"


def send_report(days: int = 30, token: str = "") -> None:
    """Send the report of the last days."""


@pytest.fixture
def site(live_server, monkeypatch):
    """The address of a live server with one job, one callable, and "ana"."""
    monkeypatch.setattr(registry, "_callables", {})
    registry.register_callable(send_report)
    rows.user("ana", superuser=True)
    rows.process(seconds=3600)
    options = {"id": "nightly", "name": "Nightly report", "hour": 3, "dst": "once"}
    elsewhere(lambda: get_scheduler().add_job(send_report, "cron", **options))
    return live_server.url


def opened(chromium, site, problems, address, **options):
    page = signed_in(chromium, site, problems, **options)
    page.goto(site + address)
    return page


def trigger_of(job_id: str) -> str:
    """Return the stored trigger of a job, as its scheduler reads it."""
    return elsewhere(lambda: str(get_scheduler().get_job(job_id).trigger))


def save(page) -> None:
    """Save the form, which must succeed."""
    follow(page, "input[name=_save]")
    page.wait_for_selector(".messagelist .success, #dja-summary")
    refused = page.locator("#dja-summary li").all_inner_texts()
    assert refused == []


def box(page, name: str):
    return page.locator(f'[name="trigger-{name}"]')


#: kind, fields, words of the preview, the stored trigger's arguments
KINDS = [
    (
        "cron",
        {"cron-expression": "30 9 * * 1-5", "cron-timezone": "Europe/Berlin"},
        "At 09:30 on Monday to Friday",
        {
            "day": "*",
            "day_of_week": "mon-fri",
            "dst": "once",
            "hour": "9",
            "minute": "30",
            "month": "*",
            "timezone": {"$timezone": "Europe/Berlin"},
        },
    ),
    (
        "interval",
        {"interval-hours": "5"},
        "Every 5 hours",
        {"hours": 5, "timezone": {"$timezone": "UTC"}},
    ),
    (
        "calendarinterval",
        {"calendarinterval-months": "1", "calendarinterval-time": "09:30"},
        "Every month at 09:30",
        {"hour": 9, "minute": 30, "months": 1, "timezone": {"$timezone": "UTC"}},
    ),
    (
        "date",
        {"date-run_date": "2048-02-29T12:00"},
        "2048",
        {
            "run_date": {"$datetime": "2048-02-29T12:00:00"},
            "timezone": {"$timezone": "UTC"},
        },
    ),
]


def test_a_job_of_each_kind_is_made_with_a_live_preview(site, chromium):
    problems: list[str] = []
    page = signed_in(chromium, site, problems)
    for kind, fields, words, stored in KINDS:
        page.goto(site + reverse(ADD))
        page.fill("#id_id", kind)
        page.select_option("#id_func", REPORT)
        page.check(f"#id_trigger-type-{kind}")
        for name, text in fields.items():
            box(page, name).fill(text)
        region = page.locator("#dja-preview")
        region.get_by_text(words, exact=False).first.wait_for()
        first = region.locator("tbody time").first.get_attribute("datetime")
        save(page)
        job = DjangoJob.objects.get(pk=kind)
        assert json.loads(job.trigger)["args"] == stored
        # What the preview said is when it will run; intervals count from the saving.
        if kind != "interval":
            assert datetime.fromisoformat(first) == job.next_run_time
    assert problems == []


def test_triggers_are_combined_without_a_new_page(site, chromium):
    problems: list[str] = []
    page = opened(chromium, site, problems, reverse(ADD))
    page.fill("#id_id", "made")
    page.select_option("#id_func", REPORT)
    page.check("#id_trigger-type-or")
    page.evaluate("() => { window.samePage = true; }")
    box(page, "add").click()
    box(page, "1-type").first.wait_for()
    box(page, "0-cron-expression").fill("0 3 * * *")
    page.check("#id_trigger-1-type-and")
    box(page, "1-add").click()
    box(page, "1-1-type").first.wait_for()
    page.check("#id_trigger-1-0-type-interval")
    box(page, "1-0-interval-hours").fill("2")
    box(page, "1-1-cron-day_of_week").fill("sat,sun")
    box(page, "1-add").click()
    box(page, "1-2-type").first.wait_for()
    box(page, "1-2-remove").click()
    box(page, "1-2-type").first.wait_for(state="detached")
    assert page.evaluate("() => window.samePage") is True
    assert page.input_value("#id_id") == "made"
    save(page)
    assert trigger_of("made") == (
        "or[cron[month='*', day='*', day_of_week='*', hour='3', minute='0'], "
        "and[interval[2:00:00], cron[day_of_week='sat,sun']]]"
    )
    assert problems == []


def test_expression_and_fields_follow_each_other(site, chromium):
    page = opened(chromium, site, [], rows.page("djangojob", "nightly"))
    assert box(page, "cron-expression").input_value() == "0 3 * * *"
    box(page, "cron-expression").fill("15 4 * * sun")
    page.wait_for_function(
        "() => document.querySelector('[name=trigger-cron-minute]').value === '15'"
    )
    assert box(page, "cron-day_of_week").input_value() == "sun"
    box(page, "cron-hour").fill("5")
    assert box(page, "cron-expression").input_value() == ""
    page.locator("#dja-preview").get_by_text("05:15").first.wait_for()
    save(page)
    assert trigger_of("nightly") == (
        "cron[month='*', day='*', day_of_week='sun', hour='5', minute='15']"
    )


def test_errors_come_with_the_typing_and_are_led_to(site, chromium):
    problems: list[str] = []
    page = opened(chromium, site, problems, rows.page("djangojob", "nightly"))
    box(page, "cron-minute").fill("75")
    page.locator("#dja-preview").get_by_text("Minute: 75 is outside 0–59.").wait_for()
    follow(page, "input[name=_save]")
    page.wait_for_selector("#dja-summary")
    assert page.evaluate("() => document.activeElement.id") == "dja-summary"
    assert box(page, "cron-minute").input_value() == "75"
    page.locator("#dja-summary").get_by_text("Minute: 75 is outside 0–59.").click()
    assert page.evaluate("() => document.activeElement.name") == "trigger-cron-minute"
    assert problems == []


def test_it_works_without_script(site, chromium):
    page = opened(
        chromium, site, [], rows.page("djangojob", "nightly"), java_script_enabled=False
    )
    # Only the chosen kind is in sight even so.
    assert box(page, "cron-hour").is_visible()
    assert not box(page, "interval-hours").is_visible()
    page.check("#id_trigger-type-interval")
    assert box(page, "interval-hours").is_visible()
    box(page, "interval-hours").fill("7")
    follow(page, "button[name=_preview]")
    page.locator("#dja-preview").get_by_text("Every 7 hours").wait_for()
    assert box(page, "interval-hours").input_value() == "7"
    page.check("#id_trigger-type-or")
    follow(page, box(page, "add"))
    assert box(page, "1-type").count() > 0
    page.check("#id_trigger-0-type-interval")
    box(page, "0-interval-hours").fill("2")
    follow(page, box(page, "1-remove"))
    assert box(page, "1-type").count() == 0
    # Enter in a field saves, and is none of the buttons before it.
    page.press("#id_name", "Enter")
    page.wait_for_selector(".messagelist .success")
    assert trigger_of("nightly") == "or[interval[2:00:00]]"


def test_two_in_conflict_see_both_values(site, chromium):
    page = opened(chromium, site, [], rows.page("djangojob", "nightly"))
    elsewhere(lambda: get_scheduler().modify_job("nightly", name="Theirs"))
    page.fill("#id_name", "Mine")
    follow(page, "input[name=_save]")
    page.wait_for_selector(".dja-conflicts")
    assert page.locator(".dja-conflict code").all_inner_texts() == ["Mine", "Theirs"]
    page.check('[name="choose-name"][value=theirs]')
    save(page)
    assert DjangoJob.objects.get(pk="nightly").name == "Theirs"


def test_the_form_has_no_accessibility_fault_and_fits(site, chromium, axe):
    for address, scheme in (
        (reverse(ADD), "light"),
        (rows.page("djangojob", "nightly"), "dark"),
    ):
        page = signed_in(chromium, site, [], color_scheme=scheme)
        for kind in ("cron", "interval", "calendarinterval", "date", "or"):
            page.set_viewport_size({"width": 1280, "height": 900})
            page.goto(site + address)
            page.check(f"#id_trigger-type-{kind}")
            if kind == "or":
                box(page, "add").click()
                box(page, "1-type").first.wait_for()
            assert faults_of(page, axe, []) == [], (address, kind)
            page.set_viewport_size({"width": 360, "height": 900})
            wider = page.evaluate(
                "() => document.querySelector('#content').scrollWidth"
                " - document.querySelector('#content').clientWidth"
            )
            assert wider <= 0, f"{address} with {kind} is {wider} px wider"


def test_what_the_preview_says_is_read_on_a_phone(site, chromium):
    page = opened(
        chromium, site, [], reverse(ADD), viewport={"width": 360, "height": 800}
    )
    page.check("#id_trigger-type-interval")
    box(page, "interval-hours").fill("24")
    box(page, "interval-timezone").fill("Europe/Berlin")
    note = page.locator("#dja-preview .dja-remark").first
    note.wait_for()
    place = note.bounding_box()
    assert place["x"] + place["width"] <= 360
    # All columns of the table can be reached: it is the table that moves.
    assert page.locator("#dja-preview .dja-scroll").evaluate(
        "one => one.scrollWidth > one.clientWidth && one.clientWidth <= 360"
    )
