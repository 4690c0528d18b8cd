"""Around changes of the clocks, pages show what the preview announced."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from django.urls import reverse

from django_apscheduler import clock, testing
from django_apscheduler.models import DjangoJob, DjangoJobExecution
from tests.admin import rows
from tests.admin.browser import elsewhere, follow
from tests.admin.flows.steps import box, eventually, message

ADD = "admin:django_apscheduler_djangojob_add"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


#: zone, the moment at which the form is filled in, the first runs at 02:30, a sentence
CHANGES = [
    (
        # The clocks go from 02:00 to 03:00 on the 28th.
        "Europe/Berlin",
        "2027-03-26 12:00",
        ["2027-03-27 01:30", "2027-03-28 01:00", "2027-03-29 00:30"],
        ["Sat 27 Mar 2027 02:30 CET", "Sun 28 Mar 2027 03:00 CEST"],
        "02:30 does not exist in Europe/Berlin",
    ),
    (
        # The clocks go from 02:00 back to 01:00 on the 1st.
        "America/New_York",
        "2026-10-30 12:00",
        ["2026-10-31 06:30", "2026-11-01 07:30", "2026-11-02 07:30"],
        ["Sat 31 Oct 2026 02:30 EDT", "Sun 1 Nov 2026 02:30 EST"],
        "02:30 does not exist in America/New_York",
    ),
    (
        "Asia/Kolkata",
        "2027-03-26 12:00",
        ["2027-03-26 21:00", "2027-03-27 21:00", "2027-03-28 21:00"],
        ["Sat 27 Mar 2027 02:30 IST", "Sun 28 Mar 2027 02:30 IST"],
        "",
    ),
]


def moments(page) -> list[datetime]:
    """Return the times of the table of next runs."""
    return [
        datetime.fromisoformat(text)
        for text in page.eval_on_selector_all(
            "#dja-preview tbody time", "all => all.map(one => one.dateTime)"
        )
    ]


@pytest.mark.parametrize(
    ("zone", "start", "expected", "local", "note"),
    CHANGES,
    ids=[change[0] for change in CHANGES],
)
def test_the_preview_holds_when_the_clocks_change(
    visit, settings, zone, start, expected, local, note
):
    settings.TIME_ZONE = zone
    times = [utc(text) for text in expected]
    with clock.use(clock.ManualClock(utc(start))) as moved:
        page = visit(reverse(ADD))
        page.fill("#id_id", "early")
        page.select_option("#id_func", "tests.admin.flows.bodies:unnoted")
        box(page, "cron-timezone").fill(zone)
        box(page, "cron-expression").fill("30 2 * * *")
        eventually(lambda: moments(page)[:3] == times)
        announced = moments(page)
        table = page.inner_text("#dja-preview tbody")
        for text in local:
            assert text in table
        remarks = page.locator("#dja-preview .dja-remark").all_inner_texts()
        assert bool(remarks) == bool(note)
        assert note in "\n".join(remarks)
        follow(page, "input[name=_save]")
        message(page)
        for number, moment in enumerate(times):
            assert DjangoJob.objects.get().next_run_time == moment
            page.goto(reverse(rows.JOBS))
            cell = page.locator("#result_list .field-next_run time")
            assert datetime.fromisoformat(cell.get_attribute("datetime")) == moment
            page.goto(rows.page("djangojob", "early"))
            assert moments(page)[: 10 - number] == announced[number:]
            if number < len(local):
                assert local[number] in page.inner_text("#dja-preview tbody")
            moved.set(moment + timedelta(seconds=1))
            elsewhere(lambda: testing.run_due(clock.now()))
        runs = DjangoJobExecution.objects.order_by("run_time")
        assert [(run.run_time, run.status) for run in runs] == [
            (moment, "Executed") for moment in times
        ]
