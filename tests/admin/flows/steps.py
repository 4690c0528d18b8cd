"""What several flows do and look at."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.urls import reverse

from django_apscheduler.models import DjangoJobExecution
from tests.admin import rows
from tests.admin.browser import follow


def eventually(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Return what a function answers as soon as that is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)
    return found


def noted(ledger: Path, text: str) -> int:
    """Return how many lines of the ledger contain a text."""
    if not ledger.exists():
        return 0
    return sum(text in line for line in ledger.read_text().splitlines())


def enough(ledger: Path) -> None:
    """Let the runs that hold on come to their end."""
    Path(f"{ledger}.enough").touch()


def shown_run(page: Any) -> DjangoJobExecution:
    """Return the row of the run whose page is open."""
    return DjangoJobExecution.objects.get(pk=page.url.rstrip("/").split("/")[-2])


def stay(page: Any) -> None:
    """Mark the page, so that `stayed` notices when another is loaded in its place."""
    page.evaluate("() => { window.marked = true; }")


def stayed(page: Any) -> bool:
    return bool(page.evaluate("() => window.marked === true"))


def message(page: Any) -> str:
    """Return what the page tells about what was just done, line by line."""
    page.wait_for_selector(".messagelist")
    return "\n".join(page.locator(".messagelist li").all_inner_texts())


def row(page: Any, job_id: str) -> Any:
    """Return the row of a job in the list."""
    box = f'input[name="_selected_action"][value="{job_id}"]'
    return page.locator("#result_list tbody tr").filter(has=page.locator(box))


def choose(page: Any, action: str, *job_ids: str, asks: bool = True) -> None:
    """Select jobs in the list and an action for them; most actions ask on a page."""
    page.goto(reverse(rows.JOBS))
    for job_id in job_ids:
        page.check(f'input[name="_selected_action"][value="{job_id}"]')
    page.select_option('select[name="action"]', action)
    follow(page, 'button[name="index"]')
    if asks:
        page.wait_for_selector(".dja-ask")


def press(page: Any) -> None:
    """Do what the page asks about."""
    follow(page, '.dja-decide input[type="submit"]')


def box(page: Any, name: str) -> Any:
    """Return a field of the trigger's editor by its name in there."""
    return page.locator(f'[name="trigger-{name}"]')
