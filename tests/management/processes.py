"""Starts the commands as the processes that they are in production."""

from __future__ import annotations

import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

SETTINGS = "tests.management.settings"


def _heed_signals() -> None:
    # Under nohup, or in the background of a script, they are ignored, and that is
    # handed down.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


DJANGO = (sys.executable, "-W", "error", "-m", "django")


class Command:
    """
    A ``manage.py`` command, or another program, in a process of its own.

    :param program: what the arguments are given to
    :ivar output: the lines it has printed so far, standard error included
    """

    def __init__(
        self,
        *arguments: str,
        environment: dict[str, str],
        ledger: Any,
        settings: str = SETTINGS,
        program: Sequence[str] = DJANGO,
    ):
        self.ledger = pathlib.Path(ledger)
        self.output: list[str] = []
        self.process = subprocess.Popen(
            [*program, *arguments],
            env={
                **environment,
                "DJANGO_SETTINGS_MODULE": settings,
                "LEDGER": str(ledger),
                "PYTHONUNBUFFERED": "1",
                "COLUMNS": "100",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=_heed_signals,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output.append(line.rstrip("\n"))

    @property
    def text(self) -> str:
        return "\n".join(self.output)

    def wait_for(self, what: str | Callable[[], Any], seconds: float = 30.0) -> Any:
        """Wait until the output matches a pattern, or a function answers truly."""
        deadline = time.monotonic() + seconds
        while True:
            if callable(what):
                found = what()
            else:
                found = re.search(what, self.text, re.MULTILINE)
            if found:
                return found
            if self.process.poll() is not None or time.monotonic() > deadline:
                self._reader.join(2)
                ended = f"status {self.process.poll()}"
                raise AssertionError(f"{what!r} did not come ({ended}):\n{self.text}")
            time.sleep(0.01)

    def noted(self, text: str) -> list[str]:
        """Return the lines of the ledger that contain ``text``."""
        if not self.ledger.exists():
            return []
        return [line for line in self.ledger.read_text().splitlines() if text in line]

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def ended(self, seconds: float = 30.0) -> int:
        """Return the exit status when the process has ended."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running:\n{self.text}") from None
        self._reader.join(5)
        return status

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join(5)
        assert self.process.stdout is not None
        self.process.stdout.close()
