"""User guide, "Code examples": the programs in ``examples/`` run as they are."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


def run(name: str, *arguments: str, logged: str = "", warnings: str = "error") -> str:
    """
    Run an example as a user would; return what it printed.

    :param logged: what it is to write to standard error among other things
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / name, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=25,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert logged in done.stderr if logged else done.stderr == ""
    return done.stdout


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("background.py", None),
        ("blocking.py", None),
        ("asyncio_scheduler.py", None),
        ("gevent_scheduler.py", "gevent"),
        ("tornado_scheduler.py", "tornado"),
        ("twisted_scheduler.py", "twisted"),
        ("qt_scheduler.py", "PySide6"),
    ],
)
def test_a_scheduler_ticks_until_it_is_told_to_stop(name, package):
    if package is not None and find_spec(package) is None:
        pytest.skip(f"needs {package}: pip install -e '.[{name.partition('_')[0]}]'")
    lines = run(name, "1.5").splitlines()
    assert lines[0] == "Press Ctrl-C to stop"
    assert len(lines) == 2
    assert re.fullmatch(r"Tick! The time is \d\d:\d\d:\d\d", lines[1])


def test_a_listener_tells_success_from_failure():
    assert run("listening.py", logged="ZeroDivisionError").splitlines() == [
        "by four worked: 3.0",
        "by nothing crashed: division by zero",
    ]


def test_threads_and_processes_work_side_by_side():
    assert run("several_executors.py").splitlines() == [
        "light: a%20b",
        "heavy: 1229 primes, in another process: True",
    ]


def test_web_workers_run_jobs_by_turns():
    pytest.importorskip("uvicorn", reason="needs uvicorn: pip install uvicorn")
    # It ends by itself should nothing come of it in so long.
    command = [sys.executable, EXAMPLES / "web_workers.py", "60", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "Press Ctrl-C to stop\n"
        assert re.fullmatch(r"Tick! In worker \d+\n", process.stdout.readline())
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert process.returncode == 0
    assert re.fullmatch(r"(Tick! In worker \d+\n)*", rest)


def test_a_stored_job_is_still_there_when_the_program_runs_again(tmp_path):
    pytest.importorskip(
        "sqlalchemy",
        reason="needs SQLAlchemy: pip install django-apscheduler[sqlalchemy]",
    )
    first = run("persistent_store.py", str(tmp_path)).splitlines()
    assert first[:2] == ["Nothing is stored yet", "Tick, tock!"]
    again = run("persistent_store.py", str(tmp_path)).splitlines()
    assert again[:2] == ["The job is still there", "Tick, tock!"]


def test_every_example_is_listed():
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    programs = [path.name for path in EXAMPLES.glob("*.py")]
    assert [name for name in programs if name not in listed] == []
