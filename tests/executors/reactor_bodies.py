"""Bodies for Twisted's reactor; importing them imports Twisted, but no reactor."""

import asyncio
import threading

from twisted.internet.defer import inlineCallbacks
from twisted.internet.task import deferLater

from django_apscheduler import current_run
from tests.executors.bodies import appear


def later(seconds, value=None):
    """Return a Deferred that fires with ``value``."""
    from twisted.internet import reactor

    return deferLater(reactor, seconds, lambda: value)


async def wait_on_reactor(path):
    try:
        appear(path)
        await later(600)
    finally:
        appear(f"{path}.end")


@inlineCallbacks
def yield_on_reactor(path):
    try:
        appear(path)
        yield later(600)
    finally:
        appear(f"{path}.end")


def answer_later(path):
    """Return a Deferred from a thread of the pool."""
    appear(path)
    waiting = later(600)

    def end(result):
        appear(f"{path}.end")
        return result

    return waiting.addBoth(end)


def where():
    return threading.get_ident()


async def where_awaiting():
    before = threading.get_ident(), current_run().job_id
    assert await later(0.001, "fired") == "fired"
    assert (threading.get_ident(), current_run().job_id) == before
    return before[0]


@inlineCallbacks
def where_yielding():
    before = threading.get_ident(), current_run().job_id
    assert (yield later(0.001, "fired")) == "fired"
    assert (threading.get_ident(), current_run().job_id) == before
    return before[0]


async def await_failure():
    await later(0.001).addCallback(lambda _: 1 / 0)


async def await_asyncio():
    await asyncio.sleep(0.001)
    return "slept"


async def await_both():
    await asyncio.sleep(0.001)
    fired = await later(0.001, "fired")
    try:
        await await_failure()
    except ZeroDivisionError:
        return f"slept, {fired} and failed"


def return_failing_deferred():
    return later(0.001).addCallback(lambda _: 1 / 0)


def return_deferred():
    return later(0.001, "fired")
