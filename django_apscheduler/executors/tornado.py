"""The executor that runs coroutines on a Tornado application's event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django_apscheduler.executors.asyncio import AsyncIOExecutor
from django_apscheduler.util import missing

try:
    from tornado.gen import is_coroutine_function
except ImportError as error:
    raise missing("tornado", "tornado") from error


class TornadoExecutor(AsyncIOExecutor):
    """
    Awaits ``async def`` and ``@gen.coroutine`` bodies on Tornado's event loop.

    Plain functions run in threads beside it. With a scheduler that is not on a loop, the
    executor keeps one on a thread of its own.

    Plugin alias: ``tornado``

    :param max_workers: the largest number of bodies going on at once; of plain functions
        no more than 32
    """

    def _awaits(self, func: Callable[..., Any]) -> bool:
        return super()._awaits(func) or is_coroutine_function(func)
