"""A real browser, the checker axe, and a live server with rows of every kind."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

import django_apscheduler
from django_apscheduler import clock
from django_apscheduler.models import DjangoJobExecution
from tests.admin import rows
from tests.admin.browser import CHROMIUM, elsewhere

AXE_VERSION = "4.10.3"


@pytest.fixture(scope="module")
def started_chromium() -> Iterator[Any]:
    """A browser for the tests of a module; its event loop must not outlive them."""
    api = pytest.importorskip(
        "playwright.sync_api", reason="needs playwright: pip install playwright"
    )
    with pytest.MonkeyPatch.context() as patch:
        # Playwright keeps an event loop in this thread, which Django takes for async
        # code.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        with api.sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=CHROMIUM, args=["--no-sandbox"]
            )
            yield browser
            browser.close()
            # Beside that loop the tests have connections of their own; Django closes
            # the others.
            connections.close_all()


@pytest.fixture
def chromium(started_chromium: Any) -> Iterator[Any]:
    """That browser for one test, whose pages are closed when it ends."""
    yield started_chromium
    for context in started_chromium.contexts:
        context.close()


@pytest.fixture
def site(live_server):
    """The address of a live server with rows of every kind, and a superuser "ana"."""
    rows.user("ana", superuser=True)
    owner = rows.process(seconds=3600)
    now = clock.now()
    # Signed, as a job is that a program adds.
    scheduler = django_apscheduler.get_scheduler()
    elsewhere(
        lambda: scheduler.add_job(
            rows.work, "interval", hours=1, id="hourly", name="work"
        )
    )
    rows.job(
        "stock",
        state="paused",
        paused_by="ben",
        pause_reason="move",
        paused_time=now,
    )
    rows.job("geo", state="broken", error="Traceback\nModuleNotFoundError: geo")
    rows.job("late", next_run_time=now - timedelta(minutes=5))
    rows.rollup("hourly", 0.2, 40)
    for number, (status, _label) in enumerate(DjangoJobExecution.Status.choices):
        run_time = now - timedelta(minutes=number)
        rows.execution(
            "hourly",
            status=status,
            run_time=run_time,
            owner=owner,
            exception="ValueError: n/a" if status == "Error!" else None,
            traceback="Traceback\nValueError: n/a" if status == "Error!" else None,
        )
    return live_server.url


@pytest.fixture
def declared(site):
    """A job of the code of which staff changed the name."""
    rows.job(
        "declared",
        name="Changed by staff",
        declaration='{"name":"Said in code"}',
        overrides='["name"]',
    )


@pytest.fixture(scope="session")
def axe(request):
    """The accessibility checker axe, from npm, kept in pytest's cache."""
    named = os.environ.get("TEST_AXE")
    if named:
        return Path(named).read_text()
    folder = Path(request.config.cache.mkdir("axe"))
    script = folder / f"axe-{AXE_VERSION}.min.js"
    if not script.exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("no npm to fetch axe-core with: install npm, or set TEST_AXE")
        fetched = subprocess.run(
            [npm, "pack", "--silent", f"axe-core@{AXE_VERSION}"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=90,
        )
        if fetched.returncode:
            pytest.skip(
                "no axe-core: npm could not fetch it; set TEST_AXE to axe.min.js"
            )
        with tarfile.open(folder / f"axe-core-{AXE_VERSION}.tgz") as archive:
            script.write_bytes(archive.extractfile("package/axe.min.js").read())
    return script.read_text()
