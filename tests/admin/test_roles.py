"""
Who may do what: every address, method and action of the app's pages, by permission.

The tables say what is needed, as the documentation does. Each line is tried as nobody, as
somebody who is not staff, as staff without a permission, with each permission alone and
with each beside those to look at things, and as a superuser.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.test import RequestFactory

from django_apscheduler.models import DjangoJob, DjangoJobExecution, SchedulerProcess
from tests.admin import rows
from tests.admin.world import POWERS, VIEWS, World, address, signed_in, stored, undone

pytestmark = pytest.mark.django_db

MODELS = (DjangoJob, DjangoJobExecution, SchedulerProcess)

# What is needed. Where several are named each must be had; "a or b" is had by either.
# Who may change jobs or their schedule sees them, too.
JOBS = "view_djangojob or change_djangojob or reschedule_job"
EDIT = "change_djangojob or reschedule_job"
RUNS = "view_djangojobexecution"
PROCESSES = "view_schedulerprocess"
STAFF, NOBODY = "", "nobody"


class Wrong(NamedTuple):
    """The method is not one of those that the address answers to, whoever asks."""


class Does(NamedTuple):
    """A request that changes something for those who have what it needs."""

    needs: str


WRONG = Wrong()


class Line(NamedTuple):
    """An address, of which row, and what GET and POST need."""

    name: str
    of: str
    get: Any
    post: Any


# fmt: off
TABLE = [
    # Jobs
    Line("djangojob_changelist",          "",       JOBS,                     JOBS),
    Line("djangojob_add",                 "",       "add_djangojob",          Does("add_djangojob")),
    Line("djangojob_change",              "hourly", JOBS,                     Does(EDIT)),
    Line("djangojob_delete",              "hourly", "delete_djangojob",       Does("delete_djangojob")),
    Line("djangojob_history",             "hourly", JOBS,                     JOBS),
    Line("djangojob redirect",            "hourly", STAFF,                    STAFF),
    Line("djangojob_preview",             "",       WRONG,                    f"add_djangojob or {EDIT}"),
    Line("djangojob_run",                 "hourly", WRONG,                    Does(f"{JOBS}, run_job")),
    Line("djangojob_pause",               "hourly", f"{JOBS}, pause_job",     Does(f"{JOBS}, pause_job")),
    Line("djangojob_resume",              "paused", WRONG,                    Does(f"{JOBS}, pause_job")),
    Line("djangojob_pause_selected",      "",       WRONG,                    Does(f"{JOBS}, pause_job")),
    Line("djangojob_pause_all",           "",       f"{JOBS}, pause_job",     Does(f"{JOBS}, pause_job")),
    Line("djangojob_resume_all",          "",       f"{JOBS}, pause_job",     f"{JOBS}, pause_job"),
    Line("djangojob_reschedule_selected", "",       WRONG,                    Does("reschedule_job")),
    Line("djangojob_revert",              "named",  "change_djangojob",       Does("change_djangojob")),
    Line("djangojob_revert",              "moved",  EDIT,                     Does(EDIT)),
    # The dashboard
    Line("dashboard",                     "",       JOBS,                     WRONG),
    Line("dashboard_series jobs",         "",       JOBS,                     WRONG),
    Line("dashboard_series timeline",     "",       f"{JOBS}, {RUNS}",        WRONG),
    Line("dashboard_series throughput",   "",       f"{JOBS}, {RUNS}",        WRONG),
    Line("dashboard_series durations",    "",       f"{JOBS}, {RUNS}",        WRONG),
    Line("dashboard_series lateness",     "",       f"{JOBS}, {RUNS}",        WRONG),
    Line("dashboard_series calendar",     "",       f"{JOBS}, {RUNS}",        WRONG),
    # Executions
    Line("djangojobexecution_changelist", "",       RUNS,                     RUNS),
    Line("djangojobexecution_add",        "",       NOBODY,                   NOBODY),
    Line("djangojobexecution_change",     "failed", RUNS,                     NOBODY),
    Line("djangojobexecution_delete",     "failed", "delete_djangojobexecution", Does("delete_djangojobexecution")),
    Line("djangojobexecution_history",    "failed", RUNS,                     RUNS),
    Line("djangojobexecution redirect",   "failed", STAFF,                    STAFF),
    Line("djangojobexecution_poll",       "",       RUNS,                     WRONG),
    Line("djangojobexecution_live",       "going",  RUNS,                     WRONG),
    Line("djangojobexecution_jobs",       "",       RUNS,                     WRONG),
    Line("djangojobexecution_export",     "",       f"{RUNS}, export_execution", WRONG),
    Line("djangojobexecution_retry",      "failed", WRONG,                    Does(f"{RUNS}, run_job")),
    Line("djangojobexecution_cancel",     "queued", f"{RUNS}, cancel_execution", Does(f"{RUNS}, cancel_execution")),
    Line("djangojobexecution_cancel",     "going",  f"{RUNS}, cancel_execution", Does(f"{RUNS}, cancel_execution")),
    Line("djangojobexecution_retry_selected",  "",  WRONG,                    Does(f"{RUNS}, run_job")),
    Line("djangojobexecution_cancel_selected", "",  WRONG,                    Does(f"{RUNS}, cancel_execution")),
    # Scheduler processes
    Line("schedulerprocess_changelist",   "",       PROCESSES,                PROCESSES),
    Line("schedulerprocess_add",          "",       NOBODY,                   NOBODY),
    Line("schedulerprocess_change",       "process", PROCESSES,               NOBODY),
    Line("schedulerprocess_delete",       "process", NOBODY,                  NOBODY),
    Line("schedulerprocess_history",      "process", PROCESSES,               PROCESSES),
    Line("schedulerprocess redirect",     "process", STAFF,                   STAFF),
]

# Action of a list, a row of it, and what it needs. Those that ask first change nothing.
ACTIONS = [
    ("djangojob",          "run_selected",        "hourly", Does(f"{JOBS}, run_job")),
    ("djangojob",          "pause_selected",      "hourly", f"{JOBS}, pause_job"),
    ("djangojob",          "resume_selected",     "paused", Does(f"{JOBS}, pause_job")),
    ("djangojob",          "reschedule_selected", "hourly", "reschedule_job"),
    ("djangojob",          "delete_selected",     "hourly", Does(f"{JOBS}, delete_djangojob")),
    ("djangojobexecution", "retry_selected",      "failed", f"{RUNS}, run_job"),
    ("djangojobexecution", "cancel_selected",     "queued", f"{RUNS}, cancel_execution"),
    ("djangojobexecution", "delete_selected",     "failed", Does(f"{RUNS}, delete_djangojobexecution")),
]
# fmt: on

#: Who tries it: name -> permissions.
ROLES: dict[str, tuple[str, ...]] = {
    "staff": (),
    "reader": VIEWS,
    **{f"only {codename}": (codename,) for codename in (*VIEWS, *POWERS)},
    **{f"reader, {codename}": (*VIEWS, codename) for codename in POWERS},
}
EVERYBODY = ["nobody", "not staff", *ROLES, "superuser"]


def needed(what: Any) -> str:
    return what.needs if isinstance(what, Does) else what


def has(role: str, what: Any) -> bool:
    """Tell whether somebody has what a request needs."""
    if needed(what) == NOBODY or role in ("nobody", "not staff"):
        return False
    if role == "superuser" or needed(what) == STAFF:
        return True
    return all(
        any(codename in ROLES[role] for codename in choice.split(" or "))
        for choice in needed(what).split(", ")
    )


@pytest.fixture
def world():
    return World()


def client_of(role: str, world: World) -> Any:
    from django.test import Client

    if role == "nobody":
        return Client()
    if role == "superuser":
        return signed_in(world.boss)
    if role == "not staff":
        return signed_in(get_user_model().objects.create_user("eve"))
    return signed_in(rows.user("ben", *ROLES[role]))


def problem(role: str, what: Any, response: Any, changed: bool) -> str:
    """Return what is wrong with an answer; "" if it is as the table says."""
    status = response.status_code
    if role in ("nobody", "not staff"):
        if status != 302 or "/login/" not in response["Location"]:
            return f"{status} instead of the page to sign in on"
    elif what is WRONG:
        if status != 405:
            return f"{status} instead of 405"
    elif not has(role, what):
        if status != 403:
            return f"{status} instead of 403"
    elif status not in (200, 302) or "/login/" in response.get("Location", ""):
        return f"{status} to somebody who may"
    does = isinstance(what, Does) and has(role, what)
    if changed != does:
        return "something was changed" if changed else "nothing was changed"
    return ""


def asked(client: Any, world: World, line: Line, method: str) -> Any:
    """Return the answer of an address; a download is written while it is read."""
    sent = world.sent.get(line.name, {}) if method == "post" else {}
    response = getattr(client, method)(world.address(line.name, line.of), sent)
    list(response)
    client.cookies.pop("messages", None)
    return response


#: The roles in parts; those of one part share the rows that they look at.
PARTS = [EVERYBODY[n::4] for n in range(4)]


@pytest.mark.parametrize("roles", PARTS, ids=["a", "b", "c", "d"])
def test_every_address_answers_to_those_who_may_and_to_no_other(roles, world):
    problems = []
    tries = [
        (line, method, getattr(line, method))
        for line in TABLE
        for method in ("get", "post")
    ]
    for role in roles:
        with undone():
            client = client_of(role, world)
            before = stored()
            for line, method, what in tries:
                if isinstance(what, Does) and has(role, what):
                    with undone():
                        response = asked(client, world, line, method)
                        changed = stored() != before
                else:
                    response, changed = asked(client, world, line, method), False
                if found := problem(role, what, response, changed):
                    problems.append(f"{role}: {method} {line.name} {line.of}: {found}")
            # What all those left behind that were refused, or only looked.
            if stored() != before:
                problems.append(f"{role}: something was changed that should not be")
    assert problems == []


@pytest.mark.parametrize("roles", PARTS, ids=["a", "b", "c", "d"])
def test_every_action_is_offered_to_and_done_for_those_who_may(roles, world):
    problems = []
    for role in roles:
        with undone():
            client = client_of(role, world)
            before = stored()
            lists = {
                model: client.get(address(f"{model}_changelist")).content.decode()
                for model in ("djangojob", "djangojobexecution")
            }
            for model, name, of, what in ACTIONS:
                offered = f'value="{name}"' in lists[model]
                sent = {"action": name, "_selected_action": [world.ids[of]]}
                with undone():
                    response = client.post(
                        address(f"{model}_changelist"), {**sent, "post": "yes"}
                    )
                    changed = stored() != before
                    # The page that asks carries what was selected.
                    asks = b'name="rows"' in response.content
                client.cookies.pop("messages", None)
                may = has(role, what)
                does = isinstance(what, Does) and may
                found = (offered, changed, asks)
                if found != (may, does, may and not does):
                    problems.append(
                        f"{role}: {model} {name}: offered, changed, asks: {found}"
                    )
    assert problems == []


def routes(model: Any) -> set[str]:
    """Return the names of all addresses that a model's pages have."""
    label = model._meta.model_name
    return {
        (pattern.name or f"{label} redirect").removeprefix("django_apscheduler_")
        for pattern in admin.site._registry[model].get_urls()
    }


def test_no_address_is_missing_from_the_table():
    from django_apscheduler.admin.dashboard.pages import SERIES

    found = set().union(*map(routes, MODELS))
    found.remove("dashboard_series")
    found |= {f"dashboard_series {name}" for name in SERIES}
    assert found == {line.name for line in TABLE}


def test_no_page_of_the_app_is_missing_from_the_table():
    shown = {
        model
        for model in admin.site._registry
        if model._meta.app_label == "django_apscheduler"
    }
    assert shown == set(MODELS)


def test_no_action_is_missing_from_the_table(world):
    request = RequestFactory().get("/")
    request.user = world.boss
    found = {
        (model._meta.model_name, name)
        for model in MODELS
        for name in admin.site._registry[model].get_actions(request)
    }
    assert found == {(model, name) for model, name, _of, _what in ACTIONS}


def test_no_permission_is_missing_from_the_table():
    from django.contrib.auth.models import Permission

    own = Permission.objects.filter(content_type__app_label="django_apscheduler")
    names = set(own.values_list("codename", flat=True))
    # Django makes four for each table; these have no page, or no such thing on it.
    idle = {
        name
        for name in names
        if re.match("(add|change)_(djangojobexec|scheduler)", name)
    }
    idle |= {
        name
        for name in names
        if name.endswith(("control", "command", "upkeep", "executionrollup"))
    }
    idle.add("delete_schedulerprocess")
    assert names - idle == {*VIEWS, *POWERS}


def test_every_post_needs_a_token_of_the_site(world):
    client = signed_in(world.boss, enforce_csrf_checks=True)
    before = stored()
    posts = [line for line in TABLE if line.post is not WRONG and line.post != NOBODY]
    assert len(posts) > 20
    for line in posts:
        sent = world.sent.get(line.name, {})
        response = client.post(world.address(line.name, line.of), sent)
        assert response.status_code == 403, line
        assert b"CSRF" in response.content, line
    for model, name, of, _what in ACTIONS:
        sent = {"action": name, "_selected_action": [world.ids[of]], "post": "yes"}
        response = client.post(address(f"{model}_changelist"), sent)
        assert response.status_code == 403, name
    assert stored() == before


@pytest.mark.parametrize("method", ["head", "options", "put", "patch", "delete"])
def test_other_methods_change_nothing(method, world):
    client = signed_in(world.boss)
    before = stored()
    for line in TABLE:
        response = getattr(client, method)(world.address(line.name, line.of))
        assert response.status_code < 500, line
    assert stored() == before
