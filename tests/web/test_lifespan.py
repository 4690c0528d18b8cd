"""The lifespan protocol, spoken with an application as a server does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.core.asgi import get_asgi_application

from django_apscheduler import get_scheduler
from django_apscheduler.asgi import with_scheduler
from django_apscheduler.models import SchedulerProcess

pytestmark = pytest.mark.django_db(transaction=True)

STARTUP, SHUTDOWN = {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}
STARTED = {"type": "lifespan.startup.complete"}
STOPPED = {"type": "lifespan.shutdown.complete"}


class Inner:
    """An application with a lifespan of its own, which notes what it is sent."""

    def __init__(self, startup: dict[str, str] = STARTED, early: bool = False):
        self.startup = startup
        self.early = early
        self.noted: list[tuple[str, bool]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await send({"type": "http.response.start", "status": 204})
            await send({"type": "http.response.body"})
            return
        await self.note(receive)
        await send(self.startup)
        if self.early or self.startup is not STARTED:
            return
        await self.note(receive)
        await send(STOPPED)

    async def note(self, receive: Any) -> None:
        message = await receive()
        self.noted.append((message["type"], get_scheduler().running))


def live(application: Any, *messages: dict[str, str]) -> list[Any]:
    """Return what is answered to each message, and whether a scheduler runs then."""

    async def converse() -> list[Any]:
        server = ApplicationCommunicator(application, {"type": "lifespan"})
        answers = []
        for message in messages:
            await server.send_input(message)
            answers.append(await server.receive_output(30))
            answers.append(get_scheduler().running)
        await server.wait(30)
        return answers

    return asyncio.run(converse())


def test_the_scheduler_lives_as_long_as_djangos_lifespan():
    application = with_scheduler(get_asgi_application())
    assert live(application, STARTUP, SHUTDOWN) == [STARTED, True, STOPPED, False]
    assert SchedulerProcess.objects.get().state == SchedulerProcess.State.DEAD


def test_an_application_has_its_own_lifespan_within():
    inner = Inner()
    answers = live(with_scheduler(inner), STARTUP, SHUTDOWN)
    assert answers == [STARTED, True, STOPPED, False]
    assert inner.noted == [("lifespan.startup", True), ("lifespan.shutdown", False)]


def test_an_application_that_returns_early_leaves_the_scheduler_running():
    answers = live(with_scheduler(Inner(early=True)), STARTUP, SHUTDOWN)
    assert answers == [STARTED, True, STOPPED, False]


def test_an_application_that_cannot_start_takes_the_scheduler_along():
    failed = {"type": "lifespan.startup.failed", "message": "no cache"}
    application = with_scheduler(Inner(failed))
    assert live(application, STARTUP)[0] == failed
    assert get_scheduler().running is False


def test_a_scheduler_that_cannot_start_is_said(settings):
    store = {"class": "tests.web.shop.tasks:OwnStore"}
    settings.APSCHEDULER = {"jobstores": {"default": {"type": "django"}, "own": store}}
    answer = live(with_scheduler(get_asgi_application()), STARTUP)[0]
    assert answer["type"] == "lifespan.startup.failed"
    assert "The job stores own cannot be shared" in answer["message"]


def test_everything_else_is_passed_through():
    async def ask() -> list[Any]:
        server = ApplicationCommunicator(with_scheduler(Inner()), {"type": "http"})
        return [await server.receive_output(10) for _ in range(2)]

    assert asyncio.run(ask()) == [
        {"type": "http.response.start", "status": 204},
        {"type": "http.response.body"},
    ]
    assert get_scheduler().running is False
