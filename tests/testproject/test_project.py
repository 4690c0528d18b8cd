"""The demo project: its own tests, and the command that runs it."""

from __future__ import annotations

import os
import re
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGTERM

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def environment(var: Path, **more: str) -> dict[str, str]:
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(("TEST_", "DJANGO_"))
    }
    return {**kept, "DEMO_VAR": str(var), **more}


def test_the_demos_own_tests_pass(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "manage.py",
            "test",
            "testproject",
            "--noinput",
        ],
        cwd=ROOT,
        env=environment(tmp_path),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ran = re.search(r"Ran (\d+) tests", done.stderr)
    assert ran and int(ran[1]) >= 20, done.stderr


class Demo:
    """A running `testproject/run.py` and what can be seen of it from outside."""

    def __init__(self, process: subprocess.Popen[str], var: Path, log: Path, port: int):
        self.process = process
        self.var = var
        self.log = log
        self.port = port

    @property
    def output(self) -> str:
        return self.log.read_text()

    def rows(self, query: str) -> list[tuple]:
        with closing(sqlite3.connect(self.var / "db.sqlite3", timeout=20)) as database:
            return database.execute(query).fetchall()

    def until(self, what: Callable[[], object], seconds: float = 60) -> None:
        """Wait for something that other processes bring about."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if what():
                    return
            except sqlite3.OperationalError as error:
                if "no such table" not in str(error):
                    raise
            assert self.process.poll() is None, self.output
            time.sleep(0.1)
        raise AssertionError(f"it did not happen within {seconds} s:\n{self.output}")

    def has_run(self, job: str, status: str, minimum: int = 1) -> Callable[[], bool]:
        return lambda: (
            self.rows(
                "SELECT count(*) FROM django_apscheduler_djangojobexecution WHERE "
                f"job_id = '{job}' AND status = '{status}'"
            )[0][0]
            >= minimum
        )

    def children(self) -> dict[str, int]:
        """The process ids of the web server and the scheduler."""
        answer = {}
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        for pid in path.read_text().split():
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            answer["jobs" if b"runapscheduler" in command else "web"] = int(pid)
        return answer

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running(var: Path) -> Iterator[Demo]:
    port = free_port()
    log = var / "output"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "testproject/run.py"],
            cwd=ROOT,
            env=environment(var, PORT=str(port)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
    try:
        yield Demo(process, var, log, port)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="needs Linux: it looks into /proc"
)


@pytest.mark.slow
@needs_proc
class TestRun:
    def test_jobs_run_and_ctrl_c_stops_both_cleanly(self, tmp_path: Path) -> None:
        with running(tmp_path) as demo:
            demo.until(demo.has_run("measure-disk-and-memory", "Executed"))
            demo.until(demo.has_run("measure-response-time", "Executed"))
            demo.until(demo.has_run("count-primes", "Executed"))
            children = demo.children()
            assert demo.end(SIGINT) == 0, demo.output
            output = demo.output
        assert re.search(r"Login   user demo, password \S{12}\n", output)
        assert f"Admin   http://127.0.0.1:{demo.port}/admin/" in output
        assert "\njobs │ " in output
        assert "\nweb  │ " in output
        assert output.endswith("Stopped.\n")
        assert "Traceback" not in output.replace("RatesError", "")
        for pid in children.values():
            assert not Path(f"/proc/{pid}").exists()
        active = demo.rows(
            "SELECT count(*) FROM django_apscheduler_djangojobexecution "
            "WHERE status IN ('Claimed', 'Started execution')"
        )
        assert active == [(0,)]
        ((primes,),) = demo.rows(
            "SELECT primes FROM housekeeping_primecount WHERE upto = 20000000"
        )
        assert primes == 1270607

    @pytest.mark.parametrize(
        ("victim", "message"),
        [
            (
                "jobs",
                "The scheduler was killed by SIGKILL; stopping the web server, too.",
            ),
            (
                "web",
                "The web server was killed by SIGKILL; stopping the scheduler, too.",
            ),
        ],
    )
    def test_the_end_of_one_is_the_end_of_both(
        self, tmp_path: Path, victim: str, message: str
    ) -> None:
        with running(tmp_path) as demo:
            demo.until(demo.has_run("measure-disk-and-memory", "Executed"))
            children = demo.children()
            os.kill(children[victim], SIGKILL)
            assert demo.process.wait(60) == 1
            assert message in demo.output
            for pid in children.values():
                assert not Path(f"/proc/{pid}").exists()

    def test_a_second_run_goes_on_with_what_is_there(self, tmp_path: Path) -> None:
        query = (
            "SELECT id, next_run_time FROM django_apscheduler_djangojob "
            "WHERE id = 'forget-old-readings'"
        )
        with running(tmp_path) as demo:
            demo.until(demo.has_run("measure-disk-and-memory", "Executed", 2))
            children = demo.children()
            before = demo.rows(query)
            demo.process.send_signal(SIGKILL)
            demo.process.wait()
            # The two notice that nobody watches over them any more.
            deadline = time.monotonic() + 60
            while any(Path(f"/proc/{pid}").exists() for pid in children.values()):
                assert time.monotonic() < deadline, demo.output
                time.sleep(0.1)
            count = demo.rows(
                "SELECT count(*) FROM django_apscheduler_djangojobexecution "
                "WHERE job_id = 'measure-disk-and-memory' AND status = 'Executed'"
            )[0][0]
        with running(tmp_path) as demo:
            demo.until(demo.has_run("measure-disk-and-memory", "Executed", count + 1))
            assert demo.rows(query) == before
            assert demo.end(SIGTERM) == 0, demo.output
            assert "password as printed the first time" in demo.output

    def test_a_taken_port_that_was_asked_for_is_an_error(self, tmp_path: Path) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            done = subprocess.run(
                [sys.executable, "testproject/run.py"],
                cwd=ROOT,
                env=environment(tmp_path, PORT=str(port)),
                capture_output=True,
                text=True,
            )
        assert done.returncode == 1
        assert done.stderr == (
            f"Port {port} is taken by another program. Leave PORT out, and a free one "
            "is found.\n"
        )
