"""The execution log while runs arrive: filtered, paged, exported, kept up to date."""

from __future__ import annotations

import csv
import itertools
from datetime import timedelta
from urllib.parse import urlencode

from django.urls import reverse

from django_apscheduler import clock
from django_apscheduler.models import DjangoJobExecution
from tests.admin import rows
from tests.admin.browser import follow
from tests.admin.flows import bodies
from tests.admin.flows.steps import eventually, message, noted, row, stay, stayed


def listed(page) -> list[int]:
    """Return the ids of the runs on the page, from top to bottom."""
    return page.eval_on_selector_all(
        "#result_list .action-select", "boxes => boxes.map(box => Number(box.value))"
    )


def all_pages(page, arrive=lambda: None) -> list[int]:
    """Go to the end of the log; return the ids of all pages."""
    seen = listed(page)
    older = page.get_by_role("link", name="Older", exact=True)
    while older.count():
        arrive()
        follow(page, older)
        seen += listed(page)
    return seen


def test_pages_have_no_gaps_while_a_scheduler_adds_runs(
    visit, add_job, runapscheduler, ledger
):
    now = clock.now()
    DjangoJobExecution.objects.bulk_create(
        # Many of one moment, so that pages end between them.
        DjangoJobExecution(
            job_id="old", status="Executed", run_time=now - timedelta(hours=1 + n // 40)
        )
        for n in range(130)
    )
    old = list(
        DjangoJobExecution.objects.order_by("-run_time", "-id").values_list(
            "pk", flat=True
        )
    )
    add_job(bodies.quick, "interval", seconds=0.2, id="busy")
    scheduler = runapscheduler()
    scheduler.wait_for(lambda: noted(ledger, "busy"))
    page = visit(reverse(rows.LOG))

    def arrive() -> None:
        before = noted(ledger, "busy")
        eventually(lambda: noted(ledger, "busy") > before + 1)

    seen = all_pages(page, arrive)
    assert len(seen) == len(set(seen))
    assert [pk for pk in seen if pk in set(old)] == old
    times = dict(DjangoJobExecution.objects.values_list("pk", "run_time"))
    assert sorted(seen, key=lambda pk: (times[pk], pk), reverse=True) == seen


def test_new_runs_are_announced_and_rows_stay_where_they_are(
    visit, add_job, runapscheduler, ledger
):
    for number in range(3):
        rows.execution("old", run_time=clock.now() - timedelta(hours=1 + number))
    add_job(bodies.quick, "interval", hours=1, id="asked")
    runapscheduler()
    page = visit(reverse(rows.LOG))
    before = listed(page)
    stay(page)
    other = visit()
    for _ in range(2):
        other.goto(reverse(rows.JOBS))
        follow(other, row(other, "asked").get_by_role("button", name="Run now"))
        message(other)
    eventually(lambda: noted(ledger, "asked quick") == 2)
    announced = page.get_by_text("2 new runs: show")
    announced.wait_for()
    assert listed(page) == before
    assert stayed(page)
    follow(page, announced)
    assert not stayed(page)
    new = listed(page)
    assert new[2:] == before
    assert set(new[:2]) == set(
        DjangoJobExecution.objects.filter(job_id="asked").values_list("pk", flat=True)
    )


def test_each_combination_of_filters_lists_and_exports_the_same(visit):
    now = clock.now()
    made = []
    for number, (job_id, status, origin) in enumerate(
        itertools.product(
            ("import", "report"), ("Executed", "Error!"), ("schedule", "manual")
        )
    ):
        for days in (0.1, 2):
            begun = now - timedelta(days=days, minutes=number)
            made.append(
                DjangoJobExecution(
                    job_id=job_id,
                    job_name=f"=the {job_id}",
                    status=status,
                    origin=origin,
                    executor="default",
                    run_time=begun,
                    started_time=begun,
                    finished_time=begun + timedelta(seconds=number),
                    exception="ValueError: n/a" if status == "Error!" else None,
                )
            )
    DjangoJobExecution.objects.bulk_create(made)
    yesterday = f"{now - timedelta(days=1):%Y-%m-%dT%H:%M}"
    #: parameter -> its value, and whether a run matches
    filters = {
        "job": ("import", lambda run: run.job_id == "import"),
        "status": ("Error!", lambda run: run.status == "Error!"),
        "origin": ("manual", lambda run: run.origin == "manual"),
        "run_time__range__gte": (
            yesterday,
            lambda run: run.run_time > now - timedelta(days=1),
        ),
        "duration__range__gte": (
            "3",
            lambda run: run.finished_time - run.started_time >= timedelta(seconds=3),
        ),
        "q": ("n/a", lambda run: run.exception is not None),
    }
    everything = list(DjangoJobExecution.objects.order_by("-run_time", "-id"))
    page = visit()
    sizes = set()
    for names in [(), *itertools.combinations(filters, 2)]:
        wanted = [
            run.pk for run in everything if all(filters[name][1](run) for name in names)
        ]
        sizes.add(len(wanted))
        query = urlencode({name: filters[name][0] for name in names})
        page.goto(f"{reverse(rows.LOG)}?{query}")
        assert listed(page) == wanted, names
        assert [int(line["id"]) for line in exported(page)] == wanted, names
    assert len(sizes) > 3
    page.goto(reverse(rows.LOG))
    # A name that a spreadsheet would calculate comes disarmed.
    assert {line["job_name"] for line in exported(page)} == {
        "'=the import",
        "'=the report",
    }


def exported(page) -> list[dict[str, str]]:
    """Return what the button of the page downloads."""
    address = page.get_by_role("link", name="Export CSV").get_attribute("href")
    answer = page.request.get(f"{page.url.partition('?')[0]}{address}")
    assert answer.ok, address
    text = answer.body().decode("utf-8-sig")
    return list(csv.DictReader(text.splitlines()))
