"""Jobs of each kind are made in the form, and run at the very times it announced."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from django.urls import reverse

from django_apscheduler import clock
from django_apscheduler.models import DjangoJob, DjangoJobExecution
from tests.admin import rows
from tests.admin.browser import follow
from tests.admin.flows import bodies
from tests.admin.flows.steps import box, eventually, message, noted

ADD = "admin:django_apscheduler_djangojob_add"
PUNCTUAL = "tests.admin.flows.bodies:punctual"

#: The time it may take to fill in the last fields and to save.
LEAD = timedelta(seconds=8)

#: kind of trigger -> its fields for a moment of UTC
FIELDS = {
    "date": lambda at: {"run_date": f"{at:%Y-%m-%dT%H:%M:%S}"},
    "interval": lambda at: {"hours": "2", "start_date": f"{at:%Y-%m-%dT%H:%M:%S}"},
    "cron": lambda at: {
        "hour": str(at.hour),
        "minute": str(at.minute),
        "second": str(at.second),
    },
    "calendarinterval": lambda at: {
        "days": "1",
        "time": f"{at:%H:%M:%S}",
        "start_date": f"{at:%Y-%m-%d}",
    },
}


def create(page, kind: str) -> datetime:
    """Make a job of this kind in the form; return when the preview had it run first."""
    page.goto(reverse(ADD))
    page.fill("#id_id", kind)
    page.fill("#id_name", kind)
    page.select_option("#id_func", PUNCTUAL)
    page.fill("#id_misfire_grace_time", "")
    page.check(f"#id_trigger-type-{kind}")
    goal = (clock.now() + LEAD).replace(microsecond=0)
    for name, text in FIELDS[kind](goal).items():
        box(page, f"{kind}-{name}").fill(text)
    announced = page.locator("#dja-preview tbody time").first
    eventually(
        lambda: (
            announced.count()
            and datetime.fromisoformat(announced.get_attribute("datetime")) == goal
        )
    )
    follow(page, "input[name=_save]")
    assert f"“{kind}” was added successfully" in message(page)
    return goal


def test_each_kind_of_trigger_runs_when_the_preview_said(visit, runapscheduler, ledger):
    runapscheduler()
    page = visit()
    announced = {}
    for kind in FIELDS:
        announced[kind] = create(page, kind)
        stored = DjangoJob.objects.get(pk=kind)
        # Unless it has run already: then the ledger tells.
        if not noted(ledger, f"{kind} due"):
            assert stored.next_run_time == announced[kind]
    eventually(lambda: noted(ledger, "due") == len(FIELDS))
    lines = dict(line.split(" due ") for line in ledger.read_text().splitlines())
    assert {
        kind: datetime.fromisoformat(text) for kind, text in lines.items()
    } == announced
    eventually(
        lambda: DjangoJobExecution.objects.filter(status="Executed").count() == 4
    )
    for run in DjangoJobExecution.objects.all():
        assert run.run_time == announced[run.job_id]
        assert run.started_time >= run.run_time
    # The page of each run says so as well.
    page.goto(reverse(rows.LOG))
    assert page.locator("#result_list tbody tr").count() == 4
    following = dict(DjangoJob.objects.values_list("pk", "next_run_time"))
    day = timedelta(days=1)
    assert following.pop("date", None) is None
    assert following == {
        "interval": announced["interval"] + timedelta(hours=2),
        "cron": announced["cron"] + day,
        "calendarinterval": announced["calendarinterval"] + day,
    }


def test_a_job_that_runs_every_second_is_made_and_runs(visit, runapscheduler, ledger):
    page = visit(reverse(ADD))
    page.fill("#id_id", "often")
    page.select_option("#id_func", PUNCTUAL)
    box(page, "cron-expression").fill("* * * * *")
    page.locator("#dja-preview").get_by_text("Every minute").first.wait_for()
    box(page, "cron-second").fill("*")
    page.locator("#dja-preview").get_by_text("Every second").first.wait_for()
    follow(page, "input[name=_save]")
    message(page)
    first = DjangoJob.objects.get(pk="often").next_run_time
    runapscheduler()
    eventually(lambda: noted(ledger, "often due") >= 3)
    page.goto(rows.page("djangojob", "often"))
    follow(page, page.get_by_role("link", name="Pause"))
    follow(page, '.dja-decide input[value="Pause"]')
    assert message(page) == "1 paused."
    due = [
        datetime.fromisoformat(line.split(" due ")[1])
        for line in ledger.read_text().splitlines()
    ]
    # The form's grace time decides what became of those before the scheduler came.
    assert due[0] >= first
    assert [later - earlier for earlier, later in zip(due[-3:], due[-2:])] == [
        timedelta(seconds=1)
    ] * 2


def test_wrong_fields_are_told_together_and_nothing_typed_is_lost(
    visit, add_job, faults
):
    add_job(bodies.quick, "interval", hours=1, id="taken")
    page = visit(reverse(ADD))
    page.fill("#id_id", "taken")
    page.select_option("#id_func", PUNCTUAL)
    page.fill("#id_kwargs", '{"days": 30,\n "to" "ben"}')
    box(page, "cron-minute").fill("75")
    page.fill("#id_max_instances", "0")
    follow(page, "input[name=_save]")
    summary = page.locator("#dja-summary")
    summary.wait_for()
    assert page.evaluate("() => document.activeElement.id") == "dja-summary"
    said = summary.locator("li").all_inner_texts()
    assert said == [
        "Id: “taken” is the id of another job; choose another one.",
        "Minute: 75 is outside 0–59.",
        "Max instances: 0 is outside 1–2147483647.",
        "Keyword arguments, line 2: expected ':'",
    ]
    assert faults(page) == []
    assert page.input_value("#id_id") == "taken"
    assert page.input_value("#id_kwargs") == '{"days": 30,\n "to" "ben"}'
    assert box(page, "cron-minute").input_value() == "75"
    assert page.input_value("#id_max_instances") == "0"
    assert page.input_value("#id_func") == PUNCTUAL
    assert DjangoJob.objects.count() == 1
    # Each sentence leads to its field.
    summary.get_by_text("Max instances:").click()
    assert page.evaluate("() => document.activeElement.id") == "id_max_instances"
    page.fill("#id_id", "free")
    page.fill("#id_kwargs", "")
    box(page, "cron-minute").fill("45")
    page.fill("#id_max_instances", "2")
    follow(page, "input[name=_save]")
    assert "was added successfully" in message(page)
    made = DjangoJob.objects.get(pk="free")
    assert (made.func, made.max_instances) == (PUNCTUAL, 2)
    assert '"minute":"45"' in made.trigger
    assert made.next_run_time.minute == 45
    assert made.next_run_time.date() - date.today() <= timedelta(days=1)
