"""Jobs paused, resumed and rescheduled in the admin do so in the running scheduler."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.admin.models import LogEntry
from django.urls import reverse

from django_apscheduler import clock
from django_apscheduler.models import DjangoJob, DjangoJobExecution
from tests.admin import rows
from tests.admin.browser import follow
from tests.admin.flows import bodies
from tests.admin.flows.steps import choose, eventually, message, noted, press, row


def runs_on(ledger, *job_ids: str) -> None:
    """Wait until each of the jobs has run once more."""
    before = {id: noted(ledger, f"{id} ") for id in job_ids}
    eventually(lambda: all(noted(ledger, f"{id} ") > n for id, n in before.items()))


def rests(ledger, *job_ids: str, beside: str) -> None:
    """Assert that none of the jobs runs while one that goes on runs twice more."""
    before = [noted(ledger, f"{id} ") for id in job_ids]
    runs_on(ledger, beside)
    runs_on(ledger, beside)
    assert [noted(ledger, f"{id} ") for id in job_ids] == before


def settled(*job_ids: str) -> None:
    """Wait until no run of the jobs is under way: one claimed before a pause goes on."""
    under_way = DjangoJobExecution.objects.active().filter(job_id__in=job_ids)
    eventually(lambda: not under_way.exists())


def logged(job_id: str) -> list[tuple[str, str]]:
    entries = LogEntry.objects.filter(object_id=job_id).order_by("pk")
    return [(entry.user.username, entry.change_message) for entry in entries]


def test_a_job_rests_from_its_pause_to_its_resumption(
    visit, add_job, runapscheduler, ledger, faults
):
    for id in ("stock", "clock"):
        add_job(bodies.quick, "interval", seconds=1, id=id)
    runapscheduler()
    page = visit(reverse(rows.JOBS))
    runs_on(ledger, "stock")
    follow(page, row(page, "stock").get_by_role("link", name="Pause: stock"))
    page.fill("#id_reason", "stock-taking")
    press(page)
    assert message(page) == "1 paused."
    said = row(page, "stock").locator(".field-condition").inner_text()
    assert "Paused" in said
    assert "ana" in said
    assert "stock-taking" in said
    assert faults(page) == []
    settled("stock")
    rests(ledger, "stock", beside="clock")
    job = DjangoJob.objects.get(pk="stock")
    assert (job.state, job.next_run_time) == ("paused", None)
    assert (job.paused_by, job.pause_reason) == ("ana", "stock-taking")
    follow(page, row(page, "stock").get_by_role("button", name="Resume: stock"))
    assert message(page) == "1 resumed."
    assert "Paused" not in row(page, "stock").locator(".field-condition").inner_text()
    runs_on(ledger, "stock")
    assert logged("stock") == [("ana", "Paused: stock-taking"), ("ana", "Resumed.")]


def test_a_pause_ends_by_itself_at_the_moment_that_was_asked_for(
    visit, add_job, runapscheduler, ledger
):
    add_job(bodies.quick, "interval", seconds=1, id="stock")
    runapscheduler()
    page = visit(reverse(rows.JOBS))
    follow(page, row(page, "stock").get_by_role("link", name="Pause: stock"))
    page.fill("#id_reason", "stock-taking")
    page.get_by_label("In 1 hour").check()
    asked = clock.now()
    press(page)
    message(page)
    said = row(page, "stock").locator(".field-condition").inner_text()
    job = DjangoJob.objects.get(pk="stock")
    hour = timedelta(hours=1)
    assert abs(job.resume_time - asked - hour) < timedelta(seconds=15)
    assert f"{job.resume_time:%H:%M}" in said
    settled("stock")
    # The hour goes by.
    DjangoJob.objects.update(resume_time=clock.now() + timedelta(seconds=1))
    runs_on(ledger, "stock")
    page.reload()
    assert "Paused" not in row(page, "stock").locator(".field-condition").inner_text()
    job.refresh_from_db()
    assert (job.state, job.pause_reason, job.resume_time) == ("active", "", None)


def test_many_jobs_are_paused_and_resumed_in_one_go(
    visit, add_job, runapscheduler, ledger
):
    jobs = ("stock", "rates", "mails")
    for id in (*jobs, "clock"):
        add_job(bodies.quick, "interval", seconds=1, id=id)
    runapscheduler()
    page = visit()
    runs_on(ledger, *jobs)
    choose(page, "pause_selected", "mails")
    press(page)
    choose(page, "pause_selected", *jobs)
    page.fill("#id_reason", "move")
    press(page)
    assert message(page) == "2 paused, 1 already paused."
    settled(*jobs)
    rests(ledger, *jobs, beside="clock")
    reasons = DjangoJob.objects.order_by("pk").values_list("pk", "pause_reason")
    assert dict(reasons) == {"clock": "", "mails": "", "rates": "move", "stock": "move"}
    choose(page, "resume_selected", *jobs, "clock", asks=False)
    assert message(page) == "3 resumed, 1 was not paused."
    runs_on(ledger, *jobs)
    for id in ("rates", "stock"):
        assert logged(id) == [("ana", "Paused: move"), ("ana", "Resumed.")]


def test_a_new_schedule_is_what_the_scheduler_runs_by(
    visit, add_job, runapscheduler, ledger
):
    for id in ("stock", "rates", "mails"):
        add_job(bodies.quick, "interval", hours=1, id=id)
    runapscheduler()
    page = visit()
    choose(page, "reschedule_selected", "stock", "rates")
    page.check('input[name="how"][value="trigger"]')
    page.check("#id_trigger-type-interval")
    page.fill('[name="trigger-interval-seconds"]', "1")
    press(page)
    table = page.locator(".dja-compare")
    assert table.locator("del").first.inner_text() == "Every hour"
    assert table.locator("ins").first.inner_text() == "Every second"
    assert noted(ledger, "quick") == 0
    press(page)
    assert message(page) == "2 rescheduled."
    runs_on(ledger, "stock", "rates")
    # And one by its own form.
    page.goto(rows.page("djangojob", "mails"))
    page.check("#id_trigger-type-interval")
    page.fill('[name="trigger-interval-hours"]', "")
    page.fill('[name="trigger-interval-seconds"]', "1")
    follow(page, "input[name=_save]")
    message(page)
    runs_on(ledger, "mails")
    listed = row(page, "mails").locator(".field-schedule")
    assert "Every second" in listed.inner_text()
    # And back to rest, for all of them.
    choose(page, "reschedule_selected", "stock", "rates", "mails")
    page.check('input[name="how"][value="trigger"]')
    page.check("#id_trigger-type-interval")
    page.fill('[name="trigger-interval-hours"]', "5")
    press(page)
    table.wait_for()
    press(page)
    assert message(page) == "3 rescheduled."
    soon = clock.now() + timedelta(hours=4)
    assert DjangoJob.objects.filter(next_run_time__gt=soon).count() == 3
