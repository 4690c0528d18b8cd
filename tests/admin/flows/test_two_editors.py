"""Two who edit one job while it runs: merged, asked where they disagree, nothing lost."""

from __future__ import annotations

import json
import re

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse

from django_apscheduler.models import DjangoJob
from tests.admin import rows
from tests.admin.browser import follow
from tests.admin.flows import bodies
from tests.admin.flows.steps import eventually, message, noted


@pytest.fixture
def editors(site, add_job, runapscheduler, visit, ledger):
    """The pages of ana and ben, of whom both edit a job that runs each second."""
    rows.user("ben", superuser=True)
    add_job(bodies.quick, "interval", seconds=1, id="tick", name="Ticks")
    runapscheduler()
    form = rows.page("djangojob", "tick")
    pages = visit(form), visit(form, user="ben")
    ticks(ledger)
    return pages


def ticks(ledger) -> None:
    """Wait until the job has run twice more, so that its row was written meanwhile."""
    before = noted(ledger, "tick ")
    eventually(lambda: noted(ledger, "tick ") >= before + 2)


def save(page) -> None:
    follow(page, "input[name=_save]")


def test_runs_meanwhile_are_no_conflict_and_changes_of_two_are_merged(editors, ledger):
    ana, ben = editors
    ben.fill("#id_max_instances", "7")
    save(ben)
    assert "was changed successfully" in message(ben)
    ticks(ledger)
    ana.fill("#id_name", "Ticks of the clock")
    save(ana)
    assert "was changed successfully" in message(ana)
    job = DjangoJob.objects.get(pk="tick")
    assert (job.name, job.max_instances) == ("Ticks of the clock", 7)
    # Neither edit has moved the schedule.
    assert json.loads(job.trigger)["args"]["seconds"] == 1
    ticks(ledger)
    entries = LogEntry.objects.order_by("pk")
    assert [entry.user.username for entry in entries] == ["ben", "ana"]


def test_where_they_disagree_both_values_are_shown_and_nothing_is_lost(
    editors, ledger, faults
):
    ana, ben = editors
    ben.fill("#id_name", "Ben's name")
    save(ben)
    message(ben)
    ana.fill("#id_name", "Ana's name")
    ana.fill("#id_max_instances", "5")
    save(ana)
    ana.wait_for_selector(".dja-conflicts")
    conflict = ana.locator(".dja-conflict")
    assert conflict.locator("legend").all_inner_texts() == ["Name"]
    mine, theirs = conflict.locator("label").all_inner_texts()
    assert re.fullmatch(r"\s*Yours:\s+Ana's name", mine)
    assert re.fullmatch(r"\s*Saved by ben at .*\d\d:\d\d.*:\s+Ben's name", theirs)
    assert faults(ana) == []
    # Nothing is saved, and nothing that she typed is gone.
    job = DjangoJob.objects.get(pk="tick")
    assert (job.name, job.max_instances) == ("Ben's name", 1)
    assert ana.input_value("#id_name") == "Ana's name"
    assert ana.input_value("#id_max_instances") == "5"
    ticks(ledger)
    ana.check('[name="choose-name"][value=mine]')
    save(ana)
    assert "was changed successfully" in message(ana)
    job.refresh_from_db()
    assert (job.name, job.max_instances) == ("Ana's name", 5)
    ticks(ledger)


def test_a_job_deleted_meanwhile_can_be_added_again_as_it_was_typed(editors, ledger):
    ana, ben = editors
    ben.goto(rows.page("djangojob", "tick", "delete"))
    follow(ben, "input[type=submit]")
    message(ben)
    assert not DjangoJob.objects.filter(pk="tick").exists()
    ana.fill("#id_name", "Ticks of the clock")
    save(ana)
    summary = ana.locator("#dja-summary")
    assert re.search(
        r"The job “tick” was deleted meanwhile, by ben at .*\. "
        r"Save to add it as a new job\.",
        summary.inner_text(),
    )
    assert ana.input_value("#id_name") == "Ticks of the clock"
    assert not DjangoJob.objects.filter(pk="tick").exists()
    ran = noted(ledger, "tick ")
    save(ana)
    assert "was added successfully" in message(ana)
    job = DjangoJob.objects.get(pk="tick")
    assert (job.name, job.func) == (
        "Ticks of the clock",
        "tests.admin.flows.bodies:quick",
    )
    eventually(lambda: noted(ledger, "tick ") > ran)
    ana.goto(reverse(rows.LOG) + "?job=tick")
    assert ana.locator("#result_list tbody tr").count() > 1
