"""A scheduler beside an ASGI application, for as long as the server's lifespan lasts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django_apscheduler import web

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


def with_scheduler(application: Application) -> Application:
    """
    Return an application that also runs the scheduler of the settings, in ``asgi.py``::

        application = with_scheduler(get_asgi_application())

    It starts when the server begins the lifespan, and when the server ends it running
    jobs may end, for ``drain_timeout`` of the settings. The scheduler and its jobs have
    threads of their own: they wait for no event loop, and none waits for them. Whatever
    else the server sends, a lifespan of ``application`` included, is passed on.
    """

    async def scheduled(
        scope: MutableMapping[str, Any], receive: Receive, send: Send
    ) -> None:
        if scope["type"] == "lifespan":
            await _Lifespan(application, scope, receive, send).run()
        else:
            await application(scope, receive, send)

    return scheduled


class _Lifespan:
    """The lifespan of the application within, between a start and a stop of ours."""

    def __init__(
        self,
        application: Application,
        scope: MutableMapping[str, Any],
        receive: Receive,
        send: Send,
    ):
        self._application = application
        self._scope = scope
        self._receive = receive
        self._send = send
        self._startup: Message | None = None
        self._answered = False
        self._over = False

    async def run(self) -> None:
        self._startup = await self._receive()
        try:
            await asyncio.to_thread(web.start)
        except Exception as error:
            logger.exception("The scheduler could not start")
            message = f"The scheduler could not start: {error}"
            await self._send({"type": "lifespan.startup.failed", "message": message})
            return
        try:
            await self._run_application()
        finally:
            await asyncio.to_thread(web.stop)

    async def _run_application(self) -> None:
        try:
            await self._application(self._scope, self.receive, self.send)
        except Exception:
            # Django's raises; the protocol takes that for an application without
            # lifespan. One that has answered is in earnest.
            if self._answered:
                raise
        if not self._answered:
            await self.send({"type": "lifespan.startup.complete"})
        # One that returns early has nothing to do at the end; the scheduler has.
        while not self._over:
            await self.receive()
            if self._over:
                await self.send({"type": "lifespan.shutdown.complete"})

    async def receive(self) -> Message:
        """Receive what the server sends, a shutdown once the scheduler has stopped."""
        if self._startup is not None:
            message, self._startup = self._startup, None
            return message
        message = await self._receive()
        if message["type"] == "lifespan.shutdown":
            await asyncio.to_thread(web.stop)
            self._over = True
        return message

    async def send(self, message: Message) -> None:
        """Pass on what the application within answers."""
        self._answered = True
        self._over = self._over or message["type"] == "lifespan.startup.failed"
        await self._send(message)
