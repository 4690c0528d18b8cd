"""What the tests in a real browser share: where it is, and how somebody signs in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connections
from django.test import Client

from tests.admin.csp import POLICY

T = TypeVar("T")

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
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None,
        reason="no Chromium: install chromium (Debian: apt-get install chromium) or "
        "name the browser in TEST_CHROMIUM",
    ),
]


def signed_in(chromium, site, problems, user="ana", **options):
    """
    Return a page on which a user is signed in.

    :param problems: console errors, exceptions and pages without the content security
        policy gather in this list
    :param user: user name
    :param options: of the browser's context
    """
    context = chromium.new_context(**options)
    client = Client()
    client.force_login(get_user_model().objects.get(username=user))
    cookie = client.cookies[settings.SESSION_COOKIE_NAME]
    context.add_cookies([{"name": cookie.key, "value": cookie.value, "url": site}])
    page = context.new_page()
    page.on(
        "console",
        lambda message: (
            message.type == "error"
            and "favicon" not in str(message.location)
            and problems.append(message.text)
        ),
    )
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "response",
        lambda response: (
            response.request.resource_type == "document"
            and response.headers.get("content-security-policy") != POLICY
            and problems.append(f"no policy: {response.url}")
        ),
    )
    return page


def follow(page, goal):
    """
    Click what leads to another page, and wait until that has come whole.

    A click alone returns when the answer begins: what is counted or read right after it
    may be the old page's, or of half the new one.

    :param goal: a locator, or a selector
    """
    with page.expect_navigation():
        (page.locator(goal) if isinstance(goal, str) else goal).click()


def faults_of(page, axe, problems):
    """
    Return what the checker axe has against the content of a page: rule and element.

    :param problems: as for `signed_in`; what axe itself provokes there goes away
    """
    page.evaluate(axe)
    before = list(problems)
    found = page.evaluate("() => axe.run('#content', {runOnly: ['wcag2a', 'wcag2aa']})")
    # It sets styles for a moment, which the policy forbids to it as well. Complaints
    # of the page's own had come before.
    problems[:] = before + [
        problem
        for problem in problems[len(before) :]
        if not problem.startswith("Applying inline style violates")
    ]
    return [
        (fault["id"], node["html"][:200])
        for fault in found["violations"]
        for node in fault["nodes"]
    ]


def elsewhere(act: Callable[[], T]) -> T:
    """Return what ``act`` does in a thread without Playwright's event loop."""

    def alone() -> T:
        try:
            return act()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(alone).result(60)
