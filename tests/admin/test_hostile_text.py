"""Texts, ids and addresses that mean harm, or are merely odd, on every page."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth import get_user_model
from django.utils.html import escape

from django_apscheduler import clock, get_scheduler, registry
from django_apscheduler.admin.levers.levers import pack
from django_apscheduler.models import DjangoJob, DjangoJobExecution, SchedulerControl
from tests.admin import rows
from tests.admin.browserless import form_of
from tests.admin.test_roles import TABLE, WRONG
from tests.admin.world import (
    REPORT,
    World,
    address,
    send_report,
    signed_in,
    stored,
    undone,
)

pytestmark = pytest.mark.django_db

EVIL = "<script>alert(1)</script>\"'"
RAW = "<script>alert(1)"


class EvilWorld(World):
    """A world in which every text that somebody can choose is a script."""

    def __init__(self) -> None:
        super().__init__()
        scheduler = get_scheduler()
        for pk in (EVIL, f"paused {EVIL}"):
            scheduler.add_job(
                send_report,
                "interval",
                hours=1,
                id=pk,
                name=EVIL,
                executor=EVIL,
                kwargs={"days": EVIL},
            )
        scheduler.pause_job(f"paused {EVIL}")
        jobs = DjangoJob.objects.filter(executor=EVIL)
        jobs.update(
            paused_by=EVIL,
            pause_reason=EVIL,
            declaration=json.dumps({"name": f"code {EVIL}", EVIL: EVIL}),
            overrides=json.dumps(["name", EVIL]),
        )
        broken = {"func": EVIL, "error": f"Traceback\n{EVIL}", "trigger": EVIL}
        rows.job(f"broken {EVIL}", name=EVIL, state="broken", **broken)
        process = rows.process(
            host=EVIL,
            release=EVIL,
            version=EVIL[:20],
            executors=json.dumps({EVIL: 5}),
            unresolved=json.dumps([EVIL]),
        )
        now = clock.now()
        texts = dict.fromkeys(
            ("job_name", "exception", "traceback", "note", "requested_by"), EVIL
        )
        common = {**texts, "executor": EVIL, "owner": process, "run_time": now}
        failed = rows.execution(EVIL, status="Error!", claimed_time=now, **common)
        going = rows.execution(
            EVIL, status="Started execution", claimed_time=now, **common
        )
        rows.execution("gone" + EVIL, status="Missed!", **common)
        rows.execution(EVIL, status=EVIL[:20], **common)
        SchedulerControl.objects.update_or_create(
            pk=SchedulerControl.ROW,
            defaults={"paused": True, "paused_by": EVIL[:20], "pause_reason": EVIL},
        )
        self.boss = get_user_model().objects.create_superuser(EVIL, password="x")
        self.ids |= {
            "hourly": EVIL,
            "paused": f"paused {EVIL}",
            "named": EVIL,
            "moved": f"broken {EVIL}",
            "failed": failed.pk,
            "queued": scheduler.run_job_now(EVIL, requested_by=EVIL),
            "going": going.pk,
            "process": process.pk,
        }
        client = signed_in(self.boss)
        change = form_of(client.get(address("djangojob_change", quote(EVIL))))
        jobs_shown = dict.fromkeys((EVIL, f"paused {EVIL}"), 10000)
        select = {"action": "reschedule_selected", "_selected_action": [EVIL]}
        page = client.post(address("djangojob_changelist"), select)
        self.sent |= {
            "djangojob_change": {**change, "max_instances": EVIL},
            "djangojob_add": {**self.sent["djangojob_add"], "id": EVIL, "func": EVIL},
            "djangojob_pause_selected": {
                "rows": pack("djangojob", jobs_shown),
                "reason": EVIL * 20,
            },
            "djangojob_pause": {"reason": EVIL * 20, "until": EVIL, "moment": EVIL},
            "djangojob_pause_all": {"reason": EVIL * 20},
            "djangojob_reschedule_selected": {
                "rows": page.context["packed"],
                "how": "zone",
                "zone": EVIL,
                "amount": EVIL,
                "unit": EVIL,
            },
            "djangojob_preview": {"trigger-type": "cron", "trigger-cron-minute": EVIL},
            "djangojobexecution_retry_selected": {
                "rows": pack("djangojobexecution", {str(failed.pk): 0})
            },
            "djangojobexecution_cancel_selected": {
                "rows": pack("djangojobexecution", {str(going.pk): 0})
            },
        }

    def address(self, name: str, of: str = "") -> str:
        if of and isinstance(self.ids[of], str) and not name.endswith(" redirect"):
            return address(name, quote(self.ids[of]))
        if name == "djangojob redirect":
            listed = address("djangojob_changelist")
            return f"{listed}{quote(self.ids[of])}/"
        return super().address(name, of)


def check(what: str, response: Any) -> list[str]:
    """Return what is wrong with an answer."""
    if response.status_code >= 500:
        return [f"{what}: {response.status_code}"]
    kind = response.get("Content-Type", "")
    text = b"".join(response).decode()
    if kind.startswith("text/html"):
        return [f"{what}: not escaped"] if RAW in text else []
    if response["X-Content-Type-Options"] != "nosniff":
        return [f"{what}: a browser may take {kind} for a page"]
    if kind == "application/json":
        # Texts are data there; what is to become part of a page is not.
        answer = json.loads(text)
        parts = [answer.get("html", ""), json.dumps(answer.get("runs", ""))]
        return [f"{what}: not escaped"] if any(RAW in part for part in parts) else []
    return [] if kind.startswith("text/csv") else [f"{what}: {kind}"]


def test_a_script_is_text_on_every_page():
    world = EvilWorld()
    client = signed_in(world.boss)
    problems = []
    for line in TABLE:
        for method in ("get", "post"):
            if getattr(line, method) is WRONG:
                continue
            sent = world.sent.get(line.name, {}) if method == "post" else {}
            with undone():
                response = getattr(client, method)(
                    world.address(line.name, line.of), sent, follow=True
                )
                assert (
                    response.status_code < 400
                    or line.get == "nobody"
                    or (method == "post" and line.post == "nobody")
                ), (line, response.status_code)
                problems += check(f"{method} {line.name} {line.of}", response)
    assert problems == []


def test_pages_of_the_script_show_it_escaped():
    """Without this, the test above would be content with pages that show nothing."""
    world = EvilWorld()
    client = signed_in(world.boss)
    shown = {
        line.name
        for line in TABLE
        if line.get is not WRONG
        and escape(EVIL)
        in b"".join(client.get(world.address(line.name, line.of), follow=True)).decode()
    }
    assert shown >= {
        "djangojob_changelist",
        "djangojob_change",
        "djangojob_delete",
        "djangojob_pause",
        "djangojob_revert",
        "dashboard",
        "djangojobexecution_changelist",
        "djangojobexecution_change",
        "djangojobexecution_cancel",
        "schedulerprocess_changelist",
        "schedulerprocess_change",
    }


def test_actions_name_a_script_as_text():
    world = EvilWorld()
    client = signed_in(world.boss)
    for name in ("run", "pause", "resume", "delete"):
        of = "paused" if name == "resume" else "hourly"
        sent = {"action": f"{name}_selected", "_selected_action": [world.ids[of]]}
        with undone():
            response = client.post(address("djangojob_changelist"), sent, follow=True)
            assert check(name, response) == []


#: What a page reads from its address beside its filters.
PARAMETERS = {
    "djangojob_changelist": ["q", "p", "o", "e", "all", "func", "unknown"],
    "djangojob_add": ["duplicate", "name", "unknown"],
    "dashboard": ["range", "unknown"],
    "djangojobexecution_changelist": ["q", "cursor", "after", "o", "unknown"],
    "djangojobexecution_poll": ["q", "cursor", "after", "runs", "unknown"],
    "djangojobexecution_export": ["q", "cursor", "unknown"],
    "djangojobexecution_jobs": ["term"],
    "schedulerprocess_changelist": ["q", "p", "o", "unknown"],
}


def filters_of(client: Any, name: str) -> list[str]:
    """Return the parameters of the filters of a list."""
    shown = client.get(address(name)).context["cl"]
    return [one for spec in shown.filter_specs for one in spec.expected_parameters()]


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_text(name):
    world = EvilWorld()
    client = signed_in(world.boss)
    parameters = list(PARAMETERS[name])
    if name.startswith("djangojobexecution_") and "cursor" in parameters:
        # The questions and the download take the filters of the list.
        parameters += filters_of(client, "djangojobexecution_changelist")
        assert {"status", "job", "run_time__range__gte"} <= set(parameters)
    elif name == "djangojob_changelist":
        parameters += filters_of(client, name)
    problems = []
    for parameter in parameters:
        for value in (EVIL, "\x00", "9" * 40, "é" * 3000):
            response = client.get(address(name), {parameter: value}, follow=True)
            problems += check(f"{name}?{parameter}={value[:30]!r}", response)
    assert problems == []


ELSEWHERE = [
    "https://evil.example/",
    "//evil.example/",
    "///evil.example",
    "\\\\evil.example",
    "javascript:alert(1)",
    "http:evil.example",
    " https://evil.example",
    "https://testserver@evil.example/",
    "\thttps://evil.example",
]
#: Address, of which row: where a form leads on.
LEADING = [
    ("djangojob_run", "hourly"),
    ("djangojob_pause", "hourly"),
    ("djangojob_resume", "paused"),
    ("djangojob_pause_all", ""),
    ("djangojob_resume_all", ""),
    ("djangojob_revert", "named"),
    ("djangojob_pause_selected", ""),
    ("djangojob_reschedule_selected", ""),
    ("djangojobexecution_retry", "failed"),
    ("djangojobexecution_cancel", "queued"),
    ("djangojobexecution_retry_selected", ""),
    ("djangojobexecution_cancel_selected", ""),
]


@pytest.mark.parametrize("way", ["next", "referer"])
def test_nobody_is_led_away_from_the_site(way):
    world = World()
    client = signed_in(world.boss)
    # Every address is tried, with one place elsewhere after the other in turn, and one
    # address, for all of them go by the same rule, with every place.
    tries = [
        (*LEADING[n % len(LEADING)], ELSEWHERE[n % len(ELSEWHERE)]) for n in range(36)
    ]
    tries += [("djangojob_pause", "hourly", place) for place in ELSEWHERE]
    for name, of, elsewhere in tries:
        sent = dict(world.sent.get(name, {}))
        headers = {}
        if way == "next":
            sent["next"] = elsewhere
        else:
            headers["HTTP_REFERER"] = elsewhere
        with undone():
            response = client.post(world.address(name, of), sent, **headers)
            assert response.status_code == 302, name
            assert response["Location"].startswith("/admin/django_apscheduler/"), name
            shown = client.get(world.address(name, of), **headers)
            assert b"evil.example" not in shown.content, name
            assert b"javascript:" not in shown.content, name


ODD_IDS = [
    "a/b",
    "a//b/",
    "../../etc/passwd",
    "..",
    ".",
    "two  spaces",
    "with \"double\" and 'single' quotes",
    "Zeitplan für größere Läufe ☃ 日本語",
    "_5F_underscores__",
    "percent%2Fencoded%00",
    "question?mark=1&and#hash",
    "a;b,c:d|e",
    "add",
    "dashboard",
    "_all/pause",
    "_selected/pause",
    "preview",
    "run",
    "history",
    "x" * 255,
]


@pytest.mark.parametrize("pk", ODD_IDS)
def test_a_job_of_any_id_is_seen_and_steered(pk):
    if REPORT not in registry.known_callables():
        registry.register_callable(send_report)
    get_scheduler().add_job(send_report, "interval", hours=1, id=pk, name="Odd")
    get_scheduler().add_job(send_report, "interval", hours=1, id="other")
    other = DjangoJob.objects.values().get(pk="other")
    client = signed_in(rows.user("ann", superuser=True))
    quoted = quote(pk)

    listed = client.get(address("djangojob_changelist"))
    assert escape(address("djangojob_change", quoted)) in listed.content.decode()
    page = client.get(address("djangojob_change", quoted))
    assert page.status_code == 200
    assert page.context["original"].pk == pk
    for name in ("history", "delete", "pause"):
        shown = client.get(address(f"djangojob_{name}", quoted))
        assert shown.status_code == 200, name
    redirected = client.get(f"{address('djangojob_changelist')}{quoted}/")
    if redirected.status_code == 302:
        assert redirected["Location"] == address("djangojob_change", quoted)

    def state() -> str:
        return DjangoJob.objects.get(pk=pk).state

    client.post(address("djangojob_pause", quoted))
    assert state() == "paused"
    client.post(address("djangojob_resume", quoted))
    assert state() == "active"
    response = client.post(address("djangojob_run", quoted))
    run = DjangoJobExecution.objects.get()
    assert (run.job_id, response.status_code) == (pk, 302)
    saved = client.post(
        address("djangojob_change", quoted), {**form_of(page), "name": "Odder"}
    )
    assert saved.status_code == 302
    assert DjangoJob.objects.get(pk=pk).name == "Odder"
    log = client.get(address("djangojobexecution_changelist"), {"job": pk})
    assert rows.listed(log) == [str(run.pk)]
    assert client.get(address("djangojobexecution_change", run.pk)).status_code == 200
    copy = client.get(address("djangojob_add"), {"duplicate": pk})
    assert form_of(copy)["duplicate"] == pk
    client.post(address("djangojob_delete", quoted), {"post": "yes"})
    assert list(DjangoJob.objects.values()) == [other]


#: Ids of no row.
NOWHERE = ["none", "a/b", "../x", "x" * 3000, "\x00", "9" * 40, "-1", EVIL, "é", "%"]


def test_rows_that_are_not_there_are_told_and_nothing_breaks():
    world = World()
    client = signed_in(world.boss)
    before = stored()
    for line, pk in itertools.product(TABLE, NOWHERE):
        if not line.of or line.name.endswith(" redirect"):
            continue
        if line.name.endswith("_live") and not pk.isdigit():
            continue
        for method in ("get", "post"):
            if getattr(line, method) in (WRONG, "nobody"):
                continue
            sent = world.sent.get(line.name, {}) if method == "post" else {}
            place = address(line.name, quote(pk))
            if "/../" in place:
                continue
            response = getattr(client, method)(place, sent, follow=True)
            what = f"{method} {line.name}"
            assert response.status_code in (200, 404), what
            assert check(what, response) == []
    assert stored() == before


def test_selections_of_another_list_are_no_selections():
    world = World()
    client = signed_in(world.boss)
    before = stored()
    packed = pack("djangojob", {"hourly": DjangoJob.objects.get(pk="hourly").revision})
    for name in ("retry_selected", "cancel_selected"):
        response = client.post(
            address(f"djangojobexecution_{name}"), {"rows": packed}, follow=True
        )
        assert response.status_code == 200
        assert [str(m) for m in response.context["messages"]] == [
            "Nothing was done: the form named no rows. Select them anew."
        ]
    assert stored() == before
