"""``manage.py runserver`` and its autoreloader."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.web.conftest import Server, schedulers

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]


def started(serve, *options: str, **variables: str) -> Server:
    return serve("django", "runserver", "{address}", *options, **variables)


def root() -> str:
    return str(Path(__file__).resolve().parents[2])


def child_of(server: Server) -> int:
    (child,) = psutil.Process(server.process.pid).children()
    return child.pid


def test_the_child_alone_runs_jobs_and_a_reload_replaces_it(serve, tmp_path):
    package = tmp_path / "extra"
    package.mkdir()
    (package / "__init__.py").touch()
    environment = {"SHOP_APPS": "extra", "SHOP_DEBUG": "1"}
    server = started(serve, PYTHONPATH=f"{tmp_path}:{root()}", **environment)
    server.wait_for(lambda: len(schedulers()) == 1 and server.answers(), 60)
    first = child_of(server)
    assert schedulers() == {first}
    server.ask("add")
    server.wait_for(lambda: len(server.beats()) >= 2)
    (package / "__init__.py").write_text("changed = True\n")
    server.wait_for(lambda: schedulers() - {first}, 60)
    second = child_of(server)
    server.wait_for(lambda: any(pid == second for _, _, pid in server.beats()))
    assert schedulers() == {second}, server.text
    assert "Traceback" not in server.text
    # Ctrl-C reaches both. Django gives its child a quarter of a second.
    os.killpg(server.process.pid, signal.SIGINT)
    server.ended(30)
    psutil.wait_procs([psutil.Process(second)] if psutil.pid_exists(second) else [], 30)
    assert not psutil.pid_exists(second)
    assert not server.answers()
    beats = server.beats()
    assert {pid for _, _, pid in beats} == {first, second}
    assert len({time for time, _, _ in beats}) == len(beats)


def test_without_the_reloader_there_is_one_process(serve):
    server = started(serve, "--noreload")
    server.wait_for(lambda: len(schedulers()) == 1 and server.answers(), 60)
    assert schedulers() == {server.process.pid}
    server.signal(signal.SIGINT)
    server.ended(30)
    assert schedulers() == set()


def test_a_scheduler_started_in_ready_is_told_of_the_second_one(serve, tmp_path):
    package = tmp_path / "eager"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "apps.py").write_text(EAGER)
    server = started(
        serve, SHOP_APPS="eager", SHOP_DEBUG="1", PYTHONPATH=f"{tmp_path}:{root()}"
    )
    server.wait_for(lambda: len(server.noted("eager")) == 2 and server.answers(), 60)
    warnings = [line for line in server.output if "runserver's autoreloader" in line]
    assert len(warnings) == 1
    assert f"({server.process.pid})" in warnings[0]
    assert "wsgi.py" in warnings[0]
    server.signal(signal.SIGTERM)
    server.ended(30)


EAGER = """
import os
from django.apps import AppConfig

class Eager(AppConfig):
    name = "eager"

    def ready(self):
        from django_apscheduler.schedulers.background import BackgroundScheduler
        from tests.web.shop.tasks import note

        scheduler = BackgroundScheduler()
        scheduler.start()
        note(f"eager {os.getpid()}")
"""
