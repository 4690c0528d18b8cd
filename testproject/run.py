"""
Start the demo: the web server and `manage.py runapscheduler`, side by side.

    python testproject/run.py          what `make run` calls
    PORT=8001 make run                 another port than 8000

Migrates the SQLite database in testproject/var, makes a staff user, and shows the lines
of both processes, each with its name in front. Ctrl-C stops both. When one ends by itself
the other is stopped, too, and the exit status is 1.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
USER = "demo"
HOST = "127.0.0.1"
DEFAULT_PORT = 8000
# Longer than runapscheduler itself waits for running jobs.
STOP_SECONDS = 40
READY_SECONDS = 15
PR_SET_PDEATHSIG = 1
COLOURS = {"web": "36", "jobs": "35"}


def coloured(code: str, text: str) -> str:
    """Colour a text for a terminal; leave it alone elsewhere, and under NO_COLOR."""
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        return f"\x1b[{code}m{text}\x1b[0m"
    return text


def say(text: str = "") -> None:
    print(text, flush=True)


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the web server does, so that connections that linger do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def answers(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def choose_port(wanted: str) -> int:
    """Answer the port asked for, or the first free one from 8000 on."""
    if wanted:
        if not wanted.isdecimal() or not 0 < int(wanted) < 65536:
            raise SystemExit(f"PORT must be a number from 1 to 65535; got {wanted!r}")
        if not is_free(int(wanted)):
            raise SystemExit(
                f"Port {wanted} is taken by another program. Leave PORT out, and a "
                "free one is found."
            )
        return int(wanted)
    for port in range(DEFAULT_PORT, DEFAULT_PORT + 100):
        if is_free(port):
            if port != DEFAULT_PORT:
                say(
                    f"Port {DEFAULT_PORT} is taken by another program (an earlier "
                    f"`make run`, perhaps): using {port}."
                )
            return port
    raise SystemExit("No free port from 8000 to 8099; name one: make run PORT=9000")


def prepare() -> str | None:
    """Migrate, and make the staff user; answer its password when it is new."""
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0, interactive=False)

    from django.contrib.auth import get_user_model

    users = get_user_model()
    if users.objects.filter(username=USER).exists():
        return None
    password = secrets.token_urlsafe(9)
    users.objects.create_superuser(USER, f"{USER}@example.com", password)
    return password


def die_with_parent() -> None:
    # A parent that is killed cannot stop its children, and a scheduler left behind would
    # go on beside the next one. Linux offers this signal; elsewhere they stay.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Pair:
    """The two processes of the demo, which live and end together."""

    def __init__(self, commands: dict[str, list[str]], environment: dict[str, str]):
        self.commands = commands
        self.environment = environment
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.stopping = threading.Event()
        self.threads: list[threading.Thread] = []

    def start(self, ready: Callable[[], bool]) -> None:
        """Start the first, and the others as soon as that one is ready or has ended."""
        for name, command in self.commands.items():
            if self.processes:
                self.wait_until(ready)
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                # Own sessions: the terminal's Ctrl-C reaches this process alone, which
                # then stops each in its own way.
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
            assert process.stdout is not None
            self.processes[name] = process
            thread = threading.Thread(
                target=self.copy, args=(name, process.stdout), daemon=True
            )
            thread.start()
            self.threads.append(thread)

    def wait_until(self, ready: Callable[[], bool]) -> None:
        until = time.monotonic() + READY_SECONDS
        while not ready() and time.monotonic() < until:
            ended = any(p.poll() is not None for p in self.processes.values())
            if ended or self.stopping.wait(0.1):
                return

    @staticmethod
    def copy(name: str, lines: IO[str]) -> None:
        prefix = coloured(COLOURS[name], f"{name:4} │")
        for line in lines:
            say(f"{prefix} {line.rstrip()}")

    def watch(self) -> str | None:
        """Wait for the stop; answer the name of a process that ended by itself."""
        while not self.stopping.wait(0.2):
            for name, process in self.processes.items():
                if process.poll() is not None:
                    return name
        return None

    def stop(self) -> dict[str, int]:
        """End both, kill what does not end in time; answer their exit statuses."""
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        until = time.monotonic() + STOP_SECONDS
        for name, process in self.processes.items():
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                say(f"{name} did not stop within {STOP_SECONDS} s: killed.")
                process.kill()
                process.wait()
        for thread in self.threads:
            thread.join(2)
        return {name: p.returncode for name, p in self.processes.items()}

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.stopping.is_set():  # the second time: at once
            for process in self.processes.values():
                process.kill()
        self.stopping.set()


def ended(returncode: int) -> str:
    if returncode < 0:
        return f"was killed by {signal.Signals(-returncode).name}"
    return f"ended by itself with status {returncode}"


def announce(port: int, password: str | None) -> None:
    url = coloured("1;4", f"http://{HOST}:{port}/")
    if password is None:
        login = f"user {USER}, password as printed the first time"
        hint = f"forgotten? .venv/bin/python manage.py changepassword {USER}"
    else:
        login = f"user {USER}, password {coloured('1', password)}"
        hint = "shown this once; write it down"
    say()
    say(f"  Demo    {url}")
    say(f"  Admin   {coloured('1;4', f'http://{HOST}:{port}/admin/')}")
    say(f"  Login   {login}")
    say(f"          {coloured('2', hint)}")
    say("  Stop    Ctrl-C")
    say()


def main() -> int:
    sys.path.insert(0, str(ROOT))
    os.environ["DJANGO_SETTINGS_MODULE"] = "testproject.settings"
    port = choose_port(os.environ.get("PORT", ""))
    # The job that measures the site asks for the address of the web server beside it.
    os.environ["DEMO_ADDRESS"] = f"{HOST}:{port}"
    announce(port, prepare())

    manage = [sys.executable, str(ROOT / "manage.py")]
    pair = Pair(
        {
            "web": [*manage, "runserver", "--noreload", f"{HOST}:{port}"],
            "jobs": [*manage, "runapscheduler"],
        },
        {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "PYTHONIOENCODING": "utf-8",
            "DJANGO_RUNSERVER_HIDE_WARNING": "true",  # this is a demo
        },
    )
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, pair.interrupt)
    return run(pair, port)


def run(pair: Pair, port: int) -> int:
    """Run both until they are to stop; answer the exit status."""
    labels: dict[str, str] = {"web": "web server", "jobs": "scheduler"}
    stop: Callable[[], dict[str, int]] = pair.stop
    try:
        # One of the scheduler's jobs asks the web server for a page.
        pair.start(ready=lambda: answers(port))
        first = pair.watch()
    except BaseException:
        stop()
        raise
    if first is None:
        say()
        say("Stopping the scheduler and the web server; running jobs may finish ...")
        statuses = stop()
        # The web server has no clean-up of its own: SIGTERM ends it.
        bad = [n for n, s in statuses.items() if s not in (0, -signal.SIGTERM)]
        for name in bad:
            say(f"The {labels[name]} {ended(statuses[name])}.")
        say("Stopped." if not bad else "Stopped, not cleanly.")
        return 1 if bad else 0
    other = next(name for name in labels if name != first)
    say()
    say(
        f"The {labels[first]} {ended(pair.processes[first].returncode)}; "
        f"stopping the {labels[other]}, too."
    )
    stop()
    return 1


if __name__ == "__main__":
    sys.exit(main())
