"""Web servers for the tests: the real ones, with several workers."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import urllib.request
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import pytest

from django_apscheduler.models import SchedulerProcess
from tests.management.processes import DJANGO, Command

SETTINGS = "tests.web.shop.settings"
PYTHON = (sys.executable, "-m")


class Server(Command):
    """A web server with the shop; ``{address}`` in an argument is where it listens."""

    def __init__(self, *arguments: str, **options: Any):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{taken.getsockname()[1]}"
        super().__init__(
            *(
                argument.format(address=self.address, port=self.address.split(":")[1])
                for argument in arguments
            ),
            settings=SETTINGS,
            **options,
        )

    def ask(self, path: str) -> dict[str, Any]:
        """Return what a view answers."""
        with urllib.request.urlopen(
            f"http://{self.address}/{path}", timeout=20
        ) as page:
            return json.load(page)

    def answers(self) -> bool:
        """Tell whether the server takes connections."""
        host, port = self.address.split(":")
        with socket.socket() as attempt:
            return attempt.connect_ex((host, int(port))) == 0

    def beats(self) -> list[tuple[str, str, int]]:
        """Return run time, attempt and process id of each beat so far, as it was run."""
        lines = [line.split() for line in self.noted("beat ")]
        return [(time, attempt, int(pid)) for _, time, attempt, pid in lines]

    def stop(self) -> int:
        """Stop it as its supervisor does; return the exit status."""
        self.signal(signal.SIGTERM)
        return self.ended(60)


def schedulers() -> set[int]:
    """Return the process ids of the schedulers that live."""
    living = SchedulerProcess.objects.exclude(state=SchedulerProcess.State.DEAD)
    return set(living.values_list("pid", flat=True))


PROGRAMS: dict[str, tuple[str, ...]] = {
    "gunicorn": (*PYTHON, "gunicorn"),
    "uvicorn": (*PYTHON, "uvicorn"),
    "uwsgi": (os.path.join(os.path.dirname(sys.executable), "uwsgi"),),
    "django": DJANGO,
}


@pytest.fixture
def serve(child_environment, tmp_path) -> Iterator[Callable[..., Server]]:
    """Start a server on the test's database; upper-case keywords are variables."""
    started: list[Server] = []

    def serve(name: str, *arguments: str, **variables: str) -> Server:
        if name in ("gunicorn", "uvicorn") and find_spec(name) is None:
            pytest.skip(f"needs {name}: pip install {name}")
        if name == "uwsgi" and not os.path.exists(PROGRAMS["uwsgi"][0]):
            pytest.skip("needs uWSGI: pip install pyuwsgi")
        if "uvicorn_worker.UvicornWorker" in arguments and not find_spec(
            "uvicorn_worker"
        ):
            pytest.skip("needs uvicorn-worker: pip install uvicorn-worker")
        server = Server(
            *arguments,
            program=PROGRAMS[name],
            environment={**child_environment, **variables},
            ledger=tmp_path / "ledger.txt",
        )
        started.append(server)
        return server

    yield serve
    for server in started:
        server.kill()
