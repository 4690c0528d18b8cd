"""
Where schedulers live: for each kind a thread that runs its loop as an application does.

A host is made once and serves many schedulers; Twisted's reactor runs only once in the
life of a process.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import threading
from concurrent.futures import Future

import pytest


class Host:
    """
    What the tests need of a place for schedulers; this one is any thread.

    :cvar kind: the scheduler's plugin alias
    :cvar package: what must be installed, and the extra that brings it
    :cvar loops: whether there is an event loop that must not be made to wait
    """

    kind = "background"
    package: tuple[str, str] | None = None
    loops = False

    def options(self):
        """Arguments for the scheduler besides the test's own."""
        return {}

    def start(self, scheduler, paused=False):
        self.call(scheduler.start, paused)

    def call(self, func, *args):
        """Call ``func`` as code of the application's would: on the loop."""
        return func(*args)

    def twin(self, scheduler, method, /, *args, **kwargs):
        """Call ``scheduler.a<method>`` on the loop, and return what it comes to."""
        return getattr(scheduler, method)(*args, **kwargs)

    def close(self):
        """End the loop."""


class BlockingHost(Host):
    kind = "blocking"

    def start(self, scheduler, paused=False):
        thread = threading.Thread(
            target=self._run, args=(scheduler, paused), daemon=True
        )
        thread.start()
        while not scheduler.running and thread.is_alive():
            threading.Event().wait(0.002)

    @staticmethod
    def _run(scheduler, paused):
        try:
            scheduler.start(paused)
        except SystemExit:
            assert scheduler.failure is not None


class LoopHost(Host):
    """A loop in a thread of its own; subclasses tell how to run and reach it."""

    loops = True

    def __init__(self):
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        assert self.ready.wait(20)

    def run(self):
        raise NotImplementedError

    def soon(self, func):
        raise NotImplementedError

    def call(self, func, *args):
        future = Future()

        def act():
            try:
                future.set_result(func(*args))
            except BaseException as error:  # noqa: BLE001
                future.set_exception(error)

        self.soon(act)
        return future.result(30)

    def await_(self, func):
        """Await on the loop what ``func()`` returns."""
        raise NotImplementedError

    def twin(self, scheduler, method, /, *args, **kwargs):
        return self.await_(lambda: getattr(scheduler, f"a{method}")(*args, **kwargs))


class AsyncIOHost(LoopHost):
    kind = "asyncio"

    def run(self):
        async def main():
            self.loop, self.left = asyncio.get_running_loop(), asyncio.Event()
            self.ready.set()
            await self.left.wait()

        asyncio.run(main())

    def soon(self, func):
        self.loop.call_soon_threadsafe(func)

    def await_(self, func):
        async def act():
            return await func()

        return asyncio.run_coroutine_threadsafe(act(), self.loop).result(30)

    def close(self):
        self.soon(self.left.set)
        self.thread.join(20)


class TornadoHost(AsyncIOHost):
    kind = "tornado"
    package = ("tornado", "tornado")


class TwistedHost(LoopHost):
    kind = "twisted"
    package = ("twisted", "twisted")

    def run(self):
        from twisted.internet import reactor

        self.reactor = reactor
        reactor.callWhenRunning(self.ready.set)
        reactor.run(installSignalHandlers=False)

    def soon(self, func):
        self.reactor.callFromThread(func)

    def await_(self, func):
        from twisted.internet.threads import blockingCallFromThread

        return blockingCallFromThread(self.reactor, func)

    def close(self):
        self.soon(self.reactor.stop)
        self.thread.join(20)


class QtHost(LoopHost):
    kind = "qt"
    package = ("PySide6", "qt")

    def __init__(self):
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
        from PySide6 import QtCore

        self.application = QtCore.QCoreApplication.instance()
        if self.application is None:
            self.application = QtCore.QCoreApplication([])
        super().__init__()

    def run(self):
        from PySide6 import QtCore

        class Caller(QtCore.QObject):
            asked = QtCore.Signal(object)

            def call(self, func):
                func()

        self.caller = Caller()
        queued = QtCore.Qt.ConnectionType.QueuedConnection
        self.caller.asked.connect(self.caller.call, queued)
        self.loop = QtCore.QEventLoop()
        self.soon(self.ready.set)
        self.loop.exec()

    def soon(self, func):
        self.caller.asked.emit(func)

    def await_(self, func):
        future = Future()
        self.call(func).then(future.set_result, future.set_exception)
        return future.result(30)

    def close(self):
        self.soon(self.loop.quit)
        self.thread.join(20)


#: Every scheduler that exists. One more takes a line here.
HOSTS = {
    cls.kind: cls
    for cls in (Host, BlockingHost, AsyncIOHost, TornadoHost, TwistedHost, QtHost)
}
LOOPS = [kind for kind, cls in HOSTS.items() if cls.loops]

_hosts: dict[str, Host] = {}


def host_of(kind: str) -> Host:
    """Return the process's host for a kind, or skip the test."""
    cls = HOSTS[kind]
    if cls.package is not None and importlib.util.find_spec(cls.package[0]) is None:
        name, extra = cls.package
        pytest.skip(f"needs {name}: pip install -e '.[{extra}]'")
    if kind not in _hosts:
        _hosts[kind] = cls()
    return _hosts[kind]


def close_hosts() -> None:
    """End the loops of this process."""
    while _hosts:
        _hosts.popitem()[1].close()
