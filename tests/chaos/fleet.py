"""A number of scheduler processes, to be killed, frozen and replaced at will."""

from __future__ import annotations

import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

import psutil

from django_apscheduler.clock import OFFSET_VARIABLE
from tests.chaos import failpoints
from tests.chaos.ledger import VARIABLE as LEDGER
from tests.chaos.ledger import Ledger
from tests.databases import child_environment

TAIL = 60


class Member:
    """
    A scheduler process; SIGKILL, SIGSTOP and SIGTERM as the methods say.

    :ivar died_at: when it ended, on the machine's monotonic clock; None while it lives
    """

    def __init__(
        self,
        command: list[str],
        environment: dict[str, str],
        log: pathlib.Path,
        ready: str,
    ):
        self.log = log
        self.died_at: float | None = None
        self._ready = ready
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def _watch(self) -> None:
        self.process.wait()
        self.died_at = time.clock_gettime(time.CLOCK_MONOTONIC)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.died_at is None

    @property
    def is_ready(self) -> bool:
        """Whether it has said that it runs."""
        return self._ready in self.output()

    def await_ready(self, seconds: float = 60.0) -> Member:
        """Wait until it has said that it runs."""
        until = time.monotonic() + seconds
        while not self.is_ready:
            assert self.alive, f"a scheduler did not start:\n{self.tail()}"
            assert time.monotonic() < until, f"not ready in {seconds} s:\n{self.tail()}"
            time.sleep(0.02)
        return self

    def kill(self) -> None:
        """End it as a power failure would, and wait until it is gone."""
        self.process.kill()
        self._watcher.join()

    def freeze(self) -> None:
        """Stop it in mid-motion."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def terminate(self) -> None:
        """Ask it to drain and to end."""
        self.process.terminate()

    def wait(self, seconds: float = 30.0) -> int:
        """Return its exit status once it has ended; ``-9`` after a kill."""
        self._watcher.join(seconds)
        assert not self.alive, f"{self.pid} lives after {seconds} s:\n{self.tail()}"
        return self.process.wait()

    def output(self) -> str:
        """Return what it has printed and logged so far."""
        return self.log.read_text(errors="replace")

    def tail(self) -> str:
        lines = self.output().splitlines()
        return "\n".join([f"--- {self.log.name}", *lines[-TAIL:]])


class Fleet:
    """
    The scheduler processes of one test.

    :param ledger: where their bodies write
    :param env: more variables for all of them
    :ivar members: all that were started, the dead ones too
    """

    def __init__(self, ledger: Ledger, env: dict[str, str] | None = None):
        self.ledger = ledger
        self.members: list[Member] = []
        self._env = dict(env or {})
        self._folder = pathlib.Path(
            tempfile.mkdtemp(prefix="chaos-", dir=ledger.path.parent)
        )

    def start(
        self,
        n: int = 1,
        *,
        executors: dict[str, Any] | None = None,
        store: dict[str, Any] | None = None,
        failpoint: str = "",
        clock_offset: float = 0,
        database: dict[str, Any] | None = None,
        release: str = "",
        env: dict[str, str] | None = None,
        command: list[str] | None = None,
        ready: str = "ready\n",
        wait: bool = True,
    ) -> list[Member]:
        """
        Start ``n`` schedulers; return when all of them run.

        :param executors: as for a scheduler; ten threads by default
        :param store: arguments of their `DjangoJobStore`
        :param failpoint: where each of them ends or freezes, as `failpoints` says
        :param clock_offset: seconds by which their clocks are wrong
        :param database: what of the connection's settings is different for them
        :param release: what their settings say which release this is
        :param env: more variables
        :param command: what follows ``python`` where it shall not be the plain member,
            for instance ``["-m", "django", "runapscheduler"]``
        :param ready: what they print once they run
        :param wait: whether to wait for that
        """
        options: dict[str, Any] = {}
        if executors:
            options["executors"] = executors
        if store:
            options["store"] = store
        environment = {
            **child_environment(),
            "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
            "PYTHONUNBUFFERED": "1",
            LEDGER: str(self.ledger.path),
            failpoints.VARIABLE: failpoint,
            OFFSET_VARIABLE: str(clock_offset),
            "CHAOS_DATABASE": json.dumps(database or {}),
            "CHAOS_RELEASE": release,
            **self._env,
            **(env or {}),
        }
        arguments = command or ["-m", "tests.chaos.member", json.dumps(options)]
        started = []
        for _ in range(n):
            log = self._folder / f"member-{len(self.members) + 1}.log"
            member = Member([sys.executable, *arguments], environment, log, ready)
            self.members.append(member)
            started.append(member)
        if wait:
            for member in started:
                member.await_ready()
        return started

    @property
    def living(self) -> list[Member]:
        return [member for member in self.members if member.alive]

    def deaths(self) -> dict[int, float]:
        """Return when those died that were killed, by process id, as ledgers count."""
        return {
            member.pid: member.died_at
            for member in self.members
            if member.died_at is not None and member.wait() == -signal.SIGKILL
        }

    def close(self) -> None:
        """Kill all that are left."""
        for member in self.living:
            member.kill()

    def tails(self) -> str:
        """Return the ends of all logs, for the report of a test that failed."""
        return "\n".join(member.tail() for member in self.members)


def gone(pid: int) -> bool:
    """Tell whether a process, perhaps nobody's child here, has ended."""
    try:
        # A zombie has ended; that nobody has asked for its status is no matter.
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def children(pid: int) -> list[int]:
    """Return the ids of a process's children."""
    return [child.pid for child in psutil.Process(pid).children()]
