"""Every change that staff make leaves one line in the admin's log, and nothing else does."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import CommandError, call_command

from django_apscheduler import get_scheduler, registry
from django_apscheduler.models import DjangoJob, DjangoJobExecution
from tests.admin import rows
from tests.admin.test_roles import TABLE, Does
from tests.admin.world import World, address, send_report, signed_in, stored, undone

pytestmark = pytest.mark.django_db

ADDED, CHANGED, DELETED = 1, 2, 3
JOB, RUN, ALL = "djangojob", "djangojobexecution", "schedulercontrol"

# Address, of which row -> the line: kind of object, its id, flag, what the log shows.
# "#" stands for the id of a run that was made by it, and for a moment.
# fmt: off
CHANGES = [
    ("djangojob_add", "",            JOB, "new", ADDED, "Added."),
    ("djangojob_change", "hourly",   JOB, "hourly", CHANGED,
     "Changed Name (Report hourly → Changed) and Schedule (Every hour → Every 5 hours)."),
    ("djangojob_delete", "hourly",   JOB, "hourly", DELETED, ""),
    ("djangojob_run", "hourly",      JOB, "hourly", CHANGED, "Queued to run now (execution #)."),
    ("djangojob_pause", "hourly",    JOB, "hourly", CHANGED, "Paused."),
    ("djangojob_resume", "paused",   JOB, "paused", CHANGED, "Resumed."),
    ("djangojob_pause_selected", "", JOB, "hourly", CHANGED, "Paused."),
    ("djangojob_pause_all", "",      ALL, "1", CHANGED, "Paused all jobs."),
    ("djangojob_reschedule_selected", "", JOB, "hourly", CHANGED,
     "Changed schedule (every hour → every hour, from #)."),
    ("djangojob_revert", "named",    JOB, "named", CHANGED,
     "Changed name (Named by staff → Named in code)."),
    ("djangojob_revert", "moved",    JOB, "moved", CHANGED,
     "Changed trigger (Every hour → Every 2 hours)."),
    ("djangojobexecution_delete", "failed", RUN, "failed", DELETED, ""),
    ("djangojobexecution_retry", "failed",  RUN, "failed", CHANGED, "Retried (execution #)."),
    ("djangojobexecution_cancel", "queued", RUN, "queued", CHANGED, "Cancelled."),
    ("djangojobexecution_cancel", "going",  RUN, "going", CHANGED,
     "Asked its scheduler to end it."),
    ("djangojobexecution_retry_selected", "",  RUN, "failed", CHANGED, "Retried (execution #)."),
    ("djangojobexecution_cancel_selected", "", RUN, "queued", CHANGED, "Cancelled."),
]
# fmt: on


@pytest.fixture
def world():
    return World()


def lines() -> list[tuple[Any, ...]]:
    """Return who, kind of object, its id, flag and text of each line."""
    return [
        (
            entry.user.get_username(),
            entry.content_type.model,
            entry.object_id,
            entry.action_flag,
            re.sub(
                r"(execution|from) \d[\d: -]*\b", r"\1 #", entry.get_change_message()
            ),
        )
        for entry in LogEntry.objects.select_related("user").order_by("pk")
    ]


@pytest.mark.parametrize("line", CHANGES, ids=lambda line: f"{line[0]} {line[1]}")
def test_each_change_is_one_line(line, world):
    name, of, kind, object_id, flag, said = line
    client = signed_in(rows.user("ann", superuser=True))
    response = client.post(world.address(name, of), world.sent.get(name, {}))
    assert response.status_code == 302
    object_id = str(world.ids.get(object_id, object_id))
    assert lines() == [("ann", kind, object_id, flag, said)]
    (entry,) = LogEntry.objects.all()
    assert str(entry) != ""
    for secret in ("47114711", "hunter2"):
        assert secret not in entry.change_message + entry.object_repr


def test_what_was_not_deleted_is_not_said_to_be(world, monkeypatch):
    client = signed_in(world.boss)
    before = stored()
    remove = type(get_scheduler()).remove_job

    def stumble(scheduler, job_id, *args):
        if job_id == "paused":
            raise OSError("the network is away")
        remove(scheduler, job_id, *args)

    monkeypatch.setattr(type(get_scheduler()), "remove_job", stumble)
    sent = {"action": "delete_selected", "post": "yes"}
    with pytest.raises(OSError, match="away"):
        client.post(
            address("djangojob_changelist"),
            {**sent, "_selected_action": ["hourly", "paused"]},
        )
    assert stored() == before


def test_the_history_of_a_row_shows_its_lines(world):
    client = signed_in(world.boss)
    client.post(address("djangojob_pause", "hourly"), {"reason": "stock-taking"})
    client.post(address("djangojob_resume", "hourly"))
    run = world.ids["queued"]
    client.post(address("djangojobexecution_cancel", run))
    for place, said in (
        (address("djangojob_history", "hourly"), ["Paused: stock-taking", "Resumed."]),
        (address("djangojobexecution_history", run), ["Cancelled."]),
        (address("djangojob_history", "paused"), []),
    ):
        shown = client.get(place).context["action_list"]
        assert [line.get_change_message() for line in shown] == said


def test_no_change_is_missing_from_the_table():
    changing = {(line.name, line.of) for line in TABLE if isinstance(line.post, Does)}
    assert {(name, of) for name, of, *_ in CHANGES} == changing


def test_resuming_all_is_a_line(world):
    client = signed_in(world.boss)
    client.post(address("djangojob_pause_all"), {"reason": "new server"})
    client.post(address("djangojob_resume_all"))
    assert [line[1:] for line in lines()] == [
        (ALL, "1", CHANGED, "Paused all jobs: new server"),
        (ALL, "1", CHANGED, "Resumed all jobs."),
    ]


@pytest.mark.parametrize(
    ("model", "name", "of", "flag", "said"),
    [
        (JOB, "run", ("hourly", "paused"), CHANGED, "Queued to run now (execution #)."),
        (JOB, "resume", ("paused",), CHANGED, "Resumed."),
        (JOB, "delete", ("hourly", "moved", "named"), DELETED, ""),
        (RUN, "delete", ("failed", "queued"), DELETED, ""),
    ],
)
def test_an_action_is_one_line_for_each_object(model, name, of, flag, said, world):
    ids = [str(world.ids[row]) for row in of]
    sent = {"action": f"{name}_selected", "_selected_action": ids, "post": "yes"}
    client = signed_in(rows.user("ann", superuser=True))
    client.post(address(f"{model}_changelist"), sent)
    assert sorted(lines()) == sorted(("ann", model, pk, flag, said) for pk in ids)


@pytest.mark.parametrize(
    ("name", "of", "sent"),
    [
        ("djangojob_pause", "paused", {}),
        ("djangojob_resume", "hourly", {}),
        ("djangojob_resume_all", "", {}),
        ("djangojob_pause", "hourly", {"until": "moment", "moment": "soon"}),
        ("djangojob_change", "hourly", {"name": ""}),
        ("djangojob_add", "", {}),
        ("djangojob_delete", "hourly", {}),
        ("djangojob_preview", "", {"trigger-type": "interval"}),
        ("djangojob_reschedule_selected", "", {"rows": "x"}),
        ("djangojobexecution_retry", "queued", {}),
        ("djangojobexecution_cancel", "failed", {}),
    ],
)
def test_what_changes_nothing_is_no_line(name, of, sent, world):
    before = stored()
    signed_in(world.boss).post(world.address(name, of), sent)
    assert lines() == []
    assert stored() == before


def test_a_form_saved_as_it_was_is_no_line(world):
    from tests.admin.browserless import form_of

    client = signed_in(world.boss)
    place = address("djangojob_change", "hourly")
    before = stored()
    assert client.post(place, form_of(client.get(place))).status_code == 302
    assert stored() == before


def test_a_second_click_is_no_second_line(world):
    client = signed_in(world.boss)
    for name, of in (
        ("djangojob_run", "hourly"),
        ("djangojobexecution_retry", "failed"),
    ):
        with undone():
            for _click in range(2):
                client.post(world.address(name, of), {"token": "t"})
            assert len(lines()) == 1


def test_who_may_not_leaves_no_line(world):
    client = signed_in(rows.user("ben", "view_djangojob", "view_djangojobexecution"))
    for name, of, *_ in CHANGES:
        client.post(world.address(name, of), world.sent.get(name, {}))
    assert lines() == []


# Subcommand with its arguments -> lines: kind, id, flag, text. Names in braces are rows.
COMMANDS = [
    ("pause hourly --reason stock", [(JOB, "hourly", CHANGED, "Paused: stock")]),
    ("resume paused", [(JOB, "paused", CHANGED, "Resumed.")]),
    (
        "pause hourly named",
        [(JOB, "hourly", CHANGED, "Paused."), (JOB, "named", CHANGED, "Paused.")],
    ),
    ("pause --all", [(ALL, "1", CHANGED, "Paused all jobs.")]),
    ("run hourly", [(JOB, "hourly", CHANGED, "Queued to run now (execution #).")]),
    ("cancel {queued}", [(RUN, "{queued}", CHANGED, "Cancelled.")]),
    ("cancel {going}", [(RUN, "{going}", CHANGED, "Asked its scheduler to end it.")]),
    ("resign edited", [(JOB, "edited", CHANGED, "Signed anew.")]),
    # Nothing is done by these.
    ("list", []),
    ("sync --dry-run", []),
    ("pause paused", []),
    ("resume hourly", []),
    ("resume --all", []),
    ("resign hourly", []),
    ("cancel {failed}", []),
    ("run none", []),
    ("pause none", []),
]


@pytest.mark.parametrize(
    ("typed", "told"), COMMANDS, ids=[typed for typed, _ in COMMANDS]
)
def test_the_command_line_leaves_the_same_lines(typed, told, world, monkeypatch):
    monkeypatch.setattr(registry, "_declarations", {})
    monkeypatch.setattr(registry, "_discovered", True)
    get_scheduler().add_job(send_report, "interval", hours=1, id="edited")
    DjangoJob.objects.filter(pk="edited").update(kwargs='{"days":1}')
    rows.user("ann")
    arguments = typed.format(**world.ids).split()
    if arguments[0] not in ("list",):
        arguments += ["--user", "ann"]
    before = stored()
    try:
        call_command("apscheduler", *arguments, verbosity=0)
    except CommandError:
        assert told == []
    expected = [
        ("ann", kind, pk.format(**world.ids), flag, said)
        for kind, pk, flag, said in told
    ]
    assert lines() == expected
    if not told:
        assert stored() == before
    assert DjangoJobExecution.objects.exists()
