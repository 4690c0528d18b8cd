"""What pages keep to themselves, what they escape, and where they lead."""

from __future__ import annotations

from datetime import timedelta
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from django.urls import resolve

from django_apscheduler import clock
from django_apscheduler.models import DjangoJob
from tests.admin import rows
from tests.admin.test_roles import ROLES, TABLE, WRONG, client_of, has
from tests.admin.world import (
    VIEWS,
    World,
    address,
    signed_in,
    undone,
)

pytestmark = pytest.mark.django_db

#: The arguments of a job, a line of a traceback; both are in the world.
ARGUMENTS, TRACEBACK = ("47114711", "hunter2"), ("3-a-m-secret",)


@pytest.fixture
def world():
    return World()


def answers(client: Any, world: World):
    """Yield every answer of the app's pages, GET and POST, as (what, text)."""
    for line in TABLE:
        for method in ("get", "post"):
            if getattr(line, method) is WRONG:
                continue
            sent = world.sent.get(line.name, {}) if method == "post" else {}
            with undone():
                response = getattr(client, method)(
                    world.address(line.name, line.of), sent, follow=True
                )
                text = b"".join(response).decode()
            yield f"{method} {line.name} {line.of}", text


def found_in(client: Any, world: World, words: tuple[str, ...]) -> set[str]:
    return {
        what
        for what, text in answers(client, world)
        if any(word in text for word in words)
    }


class TestWhatIsSensitive:
    @pytest.mark.parametrize(
        "role",
        ["reader", "reader, change_djangojob", "reader, export_execution"],
    )
    def test_is_on_no_page_without_its_permission(self, role, world):
        client = client_of(role, world)
        assert found_in(client, world, ARGUMENTS + TRACEBACK) == set()

    def test_is_where_it_is_meant_to_be_with_it(self, world):
        client = signed_in(
            rows.user("ann", *VIEWS, "view_sensitive", "export_execution")
        )
        assert found_in(client, world, ("47114711",)) == {
            "get djangojob_change hourly",
            "get djangojob redirect hourly",
            "post djangojob redirect hourly",
            "get djangojobexecution_change failed",
            "get djangojobexecution redirect failed",
            "post djangojobexecution redirect failed",
        }
        assert found_in(client, world, TRACEBACK) == {
            "get djangojobexecution_change failed",
            "get djangojobexecution redirect failed",
            "post djangojobexecution redirect failed",
            "get djangojobexecution_export ",
        }

    def test_a_value_whose_name_is_secret_is_hidden_from_superusers_too(self, world):
        assert found_in(signed_in(world.boss), world, ("hunter2",)) == set()

    @pytest.mark.parametrize(
        "lookup",
        [
            "kwargs__contains",
            "kwargs__startswith",
            "args",
            "error__contains",
            "signature",
            "declaration__contains",
            "job_state__isnull",
            "djangojobexecution__traceback__contains",
        ],
    )
    def test_jobs_are_not_searched_by_what_one_may_not_see(self, lookup, world):
        self.refused(f"{address('djangojob_changelist')}?{lookup}=4711", world)

    @pytest.mark.parametrize(
        "lookup", ["traceback__contains", "traceback", "job__kwargs__contains"]
    )
    def test_nor_are_executions(self, lookup, world):
        for page in ("changelist", "poll", "export"):
            found = address(f"djangojobexecution_{page}")
            self.refused(f"{found}?{lookup}=3-a-m-secret", world)

    def refused(self, asked: str, world: World) -> None:
        with undone():
            reader = rows.user("ben", *VIEWS, "export_execution")
            for user in (reader, world.boss):
                response = signed_in(user).get(asked)
                # Where there is no such filter Django leads to the whole list.
                refused = 400, None
                unknown = 302, f"{urlsplit(asked).path}?e=1"
                found = response.status_code, response.get("Location")
                assert found in (refused, unknown), asked


class _Links(HTMLParser):
    """Collects where a page leads: by links, and by forms and their buttons."""

    def __init__(self) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.posts: set[str] = set()
        self.method = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "a" and "href" in given:
            self.links.add(given["href"])
        if tag == "form":
            self.method = given.get("method", "get").lower()
            if given.get("action"):
                self.add(given["action"])
        if "formaction" in given:
            self.posts.add(given["formaction"])

    def add(self, place: str) -> None:
        (self.posts if self.method == "post" else self.links).add(place)


def needs_of(path: str, method: str) -> Any:
    """Return what the tables of roles say that an address needs."""
    found = resolve(path)
    name = (found.url_name or "").removeprefix("django_apscheduler_")
    name += "".join(f" {series}" for series in [found.kwargs.get("series")] if series)
    # "moved" is the one of two jobs to revert that more people may.
    lines = [line for line in TABLE if line.name == name and line.of != "moved"]
    return getattr(lines[0], method)


#: Who has no page but those of Django, which names the list in their headers.
DELETERS = {"only delete_djangojob", "only delete_djangojobexecution"}


@pytest.mark.parametrize(
    "role", [*(name for name in ROLES if name not in DELETERS), "superuser"]
)
def test_no_link_and_no_button_leads_where_one_may_not_go(role, world):
    # Overdue, which the banner of every page links to.
    late = clock.now() - timedelta(hours=3)
    DjangoJob.objects.filter(pk="hourly").update(next_run_time=late)
    client = client_of(role, world)
    dead, alive = set(), 0
    for line in TABLE:
        if line.get is WRONG or not has(role, line.get):
            continue
        shown = world.address(line.name, line.of)
        response = client.get(shown)
        if not response.get("Content-Type", "").startswith("text/html"):
            continue
        page = _Links()
        page.feed(b"".join(response).decode())
        for method, places in (("get", page.links), ("post", page.posts)):
            for place in places:
                path = urlsplit(urljoin(shown, place)).path
                if "/django_apscheduler/" not in path or path == shown:
                    continue
                if path.endswith("/django_apscheduler/"):
                    continue
                alive += 1
                what = needs_of(path, method)
                if what is WRONG or not has(role, what):
                    dead.add(f"{line.name} {line.of}: {method} {path}")
    assert sorted(dead) == []
    if set(VIEWS) & set(ROLES.get(role, VIEWS)):
        assert alive >= 5
