"""A live site, a browser for whoever signs in, and real schedulers on its database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from django_apscheduler import get_scheduler, registry
from tests.admin import rows
from tests.admin.browser import CHROMIUM, elsewhere, faults_of, signed_in
from tests.admin.flows import bodies
from tests.management.processes import Command

#: Seconds for which a page is given the chance to show what it should: schedulers start
#: meanwhile, on machines that do much else.
PATIENCE = 30


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.processes)
            item.add_marker(pytest.mark.django_db(transaction=True))
            item.add_marker(
                pytest.mark.skipif(
                    CHROMIUM is None,
                    reason="no Chromium: install chromium (Debian: apt-get install "
                    "chromium) or name the browser in TEST_CHROMIUM",
                )
            )


@pytest.fixture
def site(
    transactional_db: None, live_server: Any, monkeypatch: Any, settings: Any
) -> str:
    """The address of a live server that offers the flows' callables; with "ana"."""
    # Pages follow a run for as long as a test looks at them.
    settings.APSCHEDULER_RUN_NOW_TIMEOUT = 4 * PATIENCE
    monkeypatch.setattr(registry, "_callables", {})
    for body in bodies.CALLABLES:
        registry.register_callable(body)
    rows.user("ana", superuser=True)
    return live_server.url


@pytest.fixture
def problems() -> list[str]:
    """
    What browsers complained of: console errors, exceptions, pages without policy.

    It is empty when the pages of `visit` are closed, or the test fails; a test that
    provokes a complaint on purpose takes it out.
    """
    return []


@pytest.fixture
def visit(
    chromium: Any, site: str, problems: list[str]
) -> Iterator[Callable[..., Any]]:
    """
    Open a page: ``visit(address="", user="ana", **options of the browser's context)``.

    Each visit is a session of its own. Pages are closed when the test ends.
    """
    opened = []

    def visit(address: str = "", user: str = "ana", **options: Any) -> Any:
        page = signed_in(chromium, site, problems, user, base_url=site, **options)
        opened.append(page)
        page.set_default_timeout(PATIENCE * 1000)
        if address:
            page.goto(address)
        return page

    yield visit
    for page in opened:
        page.context.close()
    assert problems == []


@pytest.fixture
def faults(axe: str, problems: list[str]) -> Callable[[Any], list[tuple[str, str]]]:
    """Find what the checker axe has against the content of a page: ``faults(page)``."""
    return lambda page: faults_of(page, axe, problems)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """The file into which the bodies of the jobs write."""
    return tmp_path / "ledger.txt"


@pytest.fixture
def runapscheduler(
    transactional_db: None, child_environment: dict[str, str], ledger: Path
) -> Iterator[Callable[..., Command]]:
    """
    Start a scheduler in a process of its own; it answers before that one is ready.

    None outlives the test, whose rows go with it.
    """
    started = []

    def start(*arguments: str, **variables: str) -> Command:
        command = Command(
            "runapscheduler",
            *arguments,
            environment={**child_environment, **variables},
            ledger=ledger,
            settings="tests.settings",
        )
        started.append(command)
        return command

    yield start
    for command in started:
        command.kill()


@pytest.fixture
def add_job(site: str) -> Callable[..., None]:
    """Add a job as a program does; its name is its id unless one is given."""

    def add_job(func: Callable[..., None], *args: Any, id: str, **options: Any) -> None:
        options.setdefault("name", id)
        elsewhere(lambda: get_scheduler().add_job(func, *args, id=id, **options))

    return add_job
