"""The pages in a real browser, under a strict content security policy."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connections
from django.urls import reverse

import django_apscheduler
from django_apscheduler import clock
from django_apscheduler.models import DjangoJob, DjangoJobExecution
from tests.admin import rows

CHROMIUM = next(
    filter(
        None,
        (
            os.environ.get("TEST_CHROMIUM"),
            shutil.which("chromium"),
            shutil.which("chromium-browser"),
            shutil.which("google-chrome"),
        ),
    ),
    None,
)
AXE_VERSION = "4.10.3"

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None,
        reason="no Chromium: install chromium (Debian: apt-get install chromium) or "
        "name the browser in TEST_CHROMIUM",
    ),
]


@pytest.fixture
def chromium(monkeypatch):
    api = pytest.importorskip(
        "playwright.sync_api", reason="needs playwright: pip install playwright"
    )
    # Playwright keeps an event loop in this thread, which Django takes for async code.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"]
        )
        yield browser
        browser.close()
        # Beside that loop the test has connections of its own; Django closes the others.
        connections.close_all()


@pytest.fixture
def site(live_server, settings):
    """The address of a live server with rows of every kind, and a superuser "ana"."""
    settings.MIDDLEWARE = ["tests.admin.csp.StrictPolicy", *settings.MIDDLEWARE]
    rows.user("ana", superuser=True)
    owner = rows.process(seconds=3600)
    now = clock.now()
    # Signed, as a job is that a program adds.
    django_apscheduler.get_scheduler().add_job(
        rows.work, "interval", hours=1, id="hourly", name="work"
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


def signed_in(chromium, site, problems, **options):
    """Return a page whose console errors and exceptions gather in ``problems``."""
    page = chromium.new_context(**options).new_page()
    page.on(
        "console",
        lambda message: (
            message.type == "error"
            and "favicon" not in str(message.location)
            and problems.append(message.text)
        ),
    )
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(site + reverse("admin:login"))
    page.fill("#id_username", "ana")
    page.fill("#id_password", "secret")
    page.click("input[type=submit]")
    page.wait_for_selector("#user-tools")
    return page


def addresses() -> dict[str, str]:
    failed = DjangoJobExecution.objects.get(status="Error!")
    skipped = DjangoJobExecution.objects.get(status="Coalesced")
    return {
        "jobs": reverse(rows.JOBS),
        "log": reverse(rows.LOG),
        "schedulers": reverse(rows.SCHEDULERS),
        "job": rows.page("djangojob", "hourly"),
        "broken job": rows.page("djangojob", "geo"),
        "failed run": rows.page("djangojobexecution", failed.pk),
        "skipped run": rows.page("djangojobexecution", skipped.pk),
        "invalid range": reverse(rows.LOG) + "?duration__range__gte=long",
    }


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_pages_fit_and_report_no_error(site, chromium, width, scheme):
    problems: list[str] = []
    page = signed_in(
        chromium,
        site,
        problems,
        viewport={"width": width, "height": 900},
        color_scheme=scheme,
    )
    for name, address in addresses().items():
        page.goto(site + address)
        content = page.evaluate(
            "() => document.querySelector('#content').scrollWidth"
            " - document.querySelector('#content').clientWidth"
        )
        assert content <= 0, f"{name} is {content} px wider than its place"
    assert problems == []


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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_have_no_accessibility_fault_of_ours(site, chromium, scheme, axe):
    page = signed_in(chromium, site, [], color_scheme=scheme)
    for name, address in addresses().items():
        page.goto(site + address)
        for menu in page.query_selector_all("details.dja-filter:not([open]) summary"):
            menu.click()
        page.evaluate(axe)
        found = page.evaluate(
            "() => axe.run('#content', {runOnly: ['wcag2a', 'wcag2aa']})"
        )
        faults = [
            (fault["id"], node["html"][:200])
            for fault in found["violations"]
            for node in fault["nodes"]
        ]
        assert faults == [], name


def test_everything_works_without_script(site, chromium):
    page = signed_in(chromium, site, [], java_script_enabled=False)
    page.goto(site + reverse(rows.JOBS))
    page.click("text=State: All")
    page.click(".dja-panel >> text=Active")
    page.wait_for_url("**state=active**")
    page.click('button[aria-label="Pause: work"]')
    page.wait_for_selector(".messagelist")
    assert DjangoJob.objects.get(pk="hourly").state == "paused"
    page.goto(site + reverse(rows.LOG))
    page.click("text=Duration: All")
    page.fill("#id_filter_duration__range__gte", "1")
    page.click("details[open] >> text=Apply")
    page.wait_for_url("**duration__range__gte=1**")
    assert page.locator("#result_list tbody tr").count() == 2


def test_menus_close_on_escape_and_elsewhere(site, chromium):
    page = signed_in(chromium, site, [])
    page.goto(site + reverse(rows.LOG))
    for leave in (
        lambda: page.keyboard.press("Escape"),
        lambda: page.click("#content h1"),
    ):
        page.click("text=Status: All")
        assert page.locator("details.dja-filter[open]").count() == 1
        leave()
        assert page.locator("details.dja-filter[open]").count() == 0
