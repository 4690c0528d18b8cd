"""Nothing runs that the project did not offer: not by a form, not by an edited row."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry

from django_apscheduler import clock, get_scheduler, registry
from django_apscheduler.models import DjangoJob, DjangoJobExecution
from tests.admin import rows
from tests.admin.browserless import form_of
from tests.admin.world import REPORT, address, send_report, signed_in
from tests.jobstores.django.support import make_store

pytestmark = pytest.mark.django_db

MODULE, NAME = REPORT.split(":")
MARK: list[str] = []


def mark(*args: object, **kwargs: object) -> None:
    """Nobody offers this; whoever runs it is found out."""
    MARK.append("ran")


@pytest.fixture
def client(monkeypatch):
    monkeypatch.setattr(registry, "_callables", {})
    registry.register_callable(send_report)
    registry.register_callable(signed_in)
    get_scheduler().add_job(send_report, "interval", hours=1, id="a", name="A")
    MARK.clear()
    return signed_in(rows.user("ann", superuser=True))


NOT_OFFERED = {
    "a function of the system": "os:system",
    "its package": "subprocess:run",
    "a builtin": "builtins:eval",
    "another function of an offered module": f"{MODULE}:stored",
    "what an offered module imports": f"{MODULE}:get_user_model",
    "an attribute of the offered one": f"{REPORT}.__globals__",
    "a blank before it": f" {REPORT}",
    "a blank after it": f"{REPORT} ",
    "a line end after it": f"{REPORT}\n",
    "a tab within": REPORT.replace(":", ":\t"),
    "no colon": REPORT.replace(":", "."),
    "two colons": REPORT.replace(":", "::"),
    "capital letters": REPORT.upper(),
    "a Cyrillic letter": REPORT.replace("e", "\u0435", 1),
    "a full-width colon": REPORT.replace(":", "\uff1a"),
    "a ligature that normalises to it": REPORT.replace("s", "\u017f", 1),
    "a zero-width blank": f"{MODULE}\u200b:{NAME}",
    "a byte of nought": f"{REPORT}\x00",
    "two at once": f"{REPORT},os:system",
    "nothing": "",
    "the module alone": MODULE,
}


@pytest.mark.parametrize("func", NOT_OFFERED.values(), ids=NOT_OFFERED.keys())
def test_forms_take_no_callable_that_is_not_offered(func, client):
    before = list(DjangoJob.objects.values())
    add = {
        **form_of(client.get(address("djangojob_add"))),
        "id": "new",
        "func": func,
        "trigger-type": "interval",
        "trigger-interval-hours": "1",
    }
    change = {
        **form_of(client.get(address("djangojob_change", "a"))),
        "name": "Changed",
        "func": func,
    }
    for place, sent in (
        (address("djangojob_add"), add),
        (address("djangojob_change", "a"), change),
    ):
        response = client.post(place, sent)
        assert response.status_code == 200
        (told,) = (sentence for _id, sentence in response.context["sentences"])
        assert told in (
            f"Callable: “{func}” is not one of those that are offered.",
            "Callable: choose one.",
        )
    assert list(DjangoJob.objects.values()) == before
    assert not LogEntry.objects.exists()


def due_now(**columns: object) -> None:
    """Change a row as somebody with access to the database does."""
    late = clock.now() - timedelta(seconds=1)
    columns = {"next_run_time": late, "nominal_time": late, **columns}
    DjangoJob.objects.filter(pk="a").update(misfire_grace_time=None, **columns)


@pytest.mark.parametrize(
    "columns",
    [
        {"func": "os:abort"},
        {"func": f"{__name__}:mark"},
        # Registered, and yet not what was signed.
        {"func": f"{MODULE}:signed_in"},
        {"kwargs": '{"days":{"$model":"auth.user","pk":1}}'},
        {"args": f'["{__name__}:mark"]'},
        {"signature": ""},
        {"func": f"{__name__}:mark", "signature": "x" * 64},
    ],
    ids=str,
)
def test_a_row_edited_by_hand_is_parked_and_not_run(columns, client):
    due_now(**columns)
    batch = make_store().claim_due({"default": 5})
    assert batch.runs == []
    assert [job_id for job_id, _why in batch.broken] == ["a"]
    assert MARK == []
    assert not DjangoJobExecution.objects.exists()
    job = DjangoJob.objects.get(pk="a")
    assert (job.state, job.next_run_time) == ("broken", None)

    page = client.get(address("djangojob_change", "a")).content.decode()
    assert "signature does not match its callable and arguments" in page
    assert "apscheduler resign" in page
    listed = client.get(address("djangojob_changelist")).content.decode()
    assert "signature does not match" in listed
    # Nor by hand: neither at once, nor by giving it a schedule again.
    client.post(address("djangojob_run", "a"))
    client.post(address("djangojob_resume", "a"))
    changed = form_of(client.get(address("djangojob_change", "a"))) | {"name": "B"}
    assert client.post(address("djangojob_change", "a"), changed).status_code == 200
    assert DjangoJob.objects.get(pk="a").state == "broken"
    assert not DjangoJobExecution.objects.exists()
    assert not LogEntry.objects.exists()
    assert MARK == []


def test_a_row_put_in_by_hand_is_parked_and_not_run(client):
    copied = DjangoJob.objects.get(pk="a")
    copied.pk, copied.uid, copied.func = "b", uuid.uuid4(), f"{__name__}:mark"
    copied.next_run_time = copied.nominal_time = clock.now() - timedelta(seconds=1)
    copied.misfire_grace_time = None
    copied.save(force_insert=True)
    batch = make_store().claim_due({"default": 5})
    assert (batch.runs, [job_id for job_id, _ in batch.broken]) == ([], ["b"])
    assert MARK == []


def test_the_row_as_it_was_runs(client):
    """Without this, the tests above would be content with a store that claims nothing."""
    due_now()
    (run,) = make_store().claim_due({"default": 5}).runs
    assert run.job.func is send_report
