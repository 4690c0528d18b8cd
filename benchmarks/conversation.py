"""Talk with contenders that work at the same time, a line of JSON at a time."""

from __future__ import annotations

import contextlib
import json
import select
import subprocess
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from .environments import CONTENDERS, Environment
from .rounds import ContenderFailed

#: Seconds within which an answer must come.
ANSWER_SECONDS = 120


class Conversation:
    """A process that reads lines of JSON and answers each with one."""

    def __init__(self, environment: Environment, script: str):
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed in end)
        self._process = subprocess.Popen(
            [str(environment.python), str(CONTENDERS / script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment.variables(),
            cwd=CONTENDERS,
        )

    def say(self, message: Any) -> None:
        """Send a message; raises ContenderFailed when nobody hears it."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except OSError:
            raise ContenderFailed(self._why()) from None

    def hear(self) -> Any:
        """Wait for the next answer; raises ContenderFailed when none comes."""
        assert self._process.stdout is not None
        # One line is answered for each said, so none waits in the buffer.
        ready, _, _ = select.select([self._process.stdout], [], [], ANSWER_SECONDS)
        if not ready:
            raise ContenderFailed(f"did not answer within {ANSWER_SECONDS} s")
        line = self._process.stdout.readline()
        if not line:
            raise ContenderFailed(self._why())
        return json.loads(line)

    def ask(self, message: Any) -> Any:
        """Send a message and wait for the answer."""
        self.say(message)
        return self.hear()

    def end(self) -> None:
        """End the process, by force when it does not heed the end of its input."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def _why(self) -> str:
        deadline = time.monotonic() + 5
        while self._process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        self._errors.seek(0)
        said = [line for line in self._errors.read().splitlines() if line.strip()]
        return said[-1] if said else f"exit status {self._process.poll()}"


@contextlib.contextmanager
def conversations(
    environment: Environment, script: str, number: int
) -> Iterator[list[Conversation]]:
    """Start so many processes of a contender's script, and end them."""
    started: list[Conversation] = []
    try:
        for _ in range(number):
            started.append(Conversation(environment, script))
        yield started
    finally:
        for conversation in started:
            conversation.end()
