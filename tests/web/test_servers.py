"""Real web servers with several workers, each of which runs a scheduler."""

from __future__ import annotations

import os
import signal
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from django_apscheduler.models import DjangoJobExecution
from tests.databases import wanted
from tests.web.conftest import Server, schedulers

pytestmark = [
    pytest.mark.processes,
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
]

WORKERS = 2
CONF = str(Path(__file__).parent / "shop" / "gunicorn.conf.py")
GUNICORN = ("--config", CONF, "--workers", str(WORKERS), "--bind", "{address}")
UWSGI = (
    *("--master", "--processes", str(WORKERS), "--http-socket", "{address}"),
    *("--module", "tests.web.shop.wsgi_starting", "--die-on-term"),
)
WSGI, ASGI = "tests.web.shop.wsgi", "tests.web.shop.asgi:application"

SERVERS = {
    "gunicorn-gthread": ("gunicorn", *GUNICORN, "--threads", "2", WSGI),
    "gunicorn-sync-preload": ("gunicorn", *GUNICORN, "--preload", WSGI),
    # Its lifespan starts the scheduler; no hooks.
    "gunicorn-uvicorn": (
        *("gunicorn", *GUNICORN[2:], "-k", "uvicorn_worker.UvicornWorker", ASGI),
    ),
    "uvicorn": ("uvicorn", "--workers", str(WORKERS), "--port", "{port}", ASGI),
    "uwsgi": ("uwsgi", *UWSGI),
    "uwsgi-lazy-apps": ("uwsgi", *UWSGI, "--lazy-apps"),
}
#: Those of which a worker is killed, and the server starts another.
KILLED = {"gunicorn-gthread", "uvicorn"}
#: The others: all where it costs least, and one that forks on every other database.
PEACEFUL = SERVERS.keys() - KILLED if wanted() == "sqlite" else {"uwsgi"}


def all_have_started(server: Server) -> set[int]:
    """Return the process ids of the workers, once each has a scheduler that runs."""
    server.wait_for(lambda: len(schedulers()) == WORKERS and server.answers(), 60)
    return schedulers()


def assert_each_run_once(server: Server) -> None:
    """Each second from the first to the last was run, by one worker, and logged."""
    beats = [(time, attempt) for time, attempt, _ in server.beats()]
    # A worker killed between a body and the note of its end has it run again, as told.
    assert len(beats) == len(set(beats)), server.text
    times = sorted(datetime.fromisoformat(time) for time in {time for time, _ in beats})
    second = timedelta(seconds=1)
    assert times == [times[0] + second * n for n in range(len(times))], server.text
    logged = DjangoJobExecution.objects.filter(job_id="beat", status="Executed")
    assert sorted(logged.values_list("run_time", flat=True)) == times


def pause_and_drain(server: Server) -> None:
    """Pause the job through a view, and stop the server while a slow one is running."""
    server.ask("pause")
    beats = len(server.beats())
    server.ask("add-slow?seconds=1")
    server.wait_for(lambda: server.noted("slow begins"))
    if "uWSGI" in server.text:
        # The answer is here, but a worker that has not logged it counts as busy, and
        # ends without its exit handlers.
        server.wait_for(lambda: "/add-slow" in server.text)
    server.signal(signal.SIGTERM)
    server.ended(60)
    assert len(server.noted("slow ends")) == 1, server.text
    # A run that was under way when the view answered may have ended after it.
    assert len(server.beats()) <= beats + 1
    assert schedulers() == set()
    assert "Traceback" not in server.text


@pytest.mark.parametrize("name", sorted(PEACEFUL))
def test_workers_share_the_jobs_and_drain(serve, name):
    server = serve(*SERVERS[name])
    workers = all_have_started(server)
    answer = server.ask("who")
    assert (answer["running"], answer["pid"] in workers) == (True, True)
    server.ask("add")
    server.wait_for(lambda: len(server.beats()) >= 3)
    assert {pid for _, _, pid in server.beats()} <= workers
    pause_and_drain(server)
    assert_each_run_once(server)
    # Nothing was started before a fork, or twice.
    assert "fork of the one" not in server.text
    assert "has been started in this process" not in server.text


@pytest.mark.parametrize("name", sorted(KILLED))
def test_a_killed_worker_is_replaced(serve, name):
    server = serve(*SERVERS[name])
    workers = all_have_started(server)
    server.ask("add")
    server.wait_for(lambda: len(server.beats()) >= 2)
    victim = min(workers)
    os.kill(victim, signal.SIGKILL)
    now = datetime.now(timezone.utc).isoformat()

    def others_go_on() -> bool:
        return any(pid != victim and time > now for time, _, pid in server.beats())

    server.wait_for(others_go_on)
    # What the victim had claimed has been taken over by then, too.
    server.wait_for(
        lambda: victim not in schedulers() and len(schedulers()) == WORKERS, 60
    )
    assert workers - {victim} < schedulers()
    pause_and_drain(server)
    assert_each_run_once(server)


def test_a_scheduler_started_before_uwsgi_forks_is_refused(serve):
    arguments = [argument.replace("wsgi_starting", "wsgi_own") for argument in UWSGI]
    server = serve("uwsgi", *arguments, "--need-app")
    server.ended(60)
    assert 'with the option "lazy-apps"' in server.text
    assert schedulers() == set()


def test_jobs_of_a_gunicorn_that_forked_after_the_start_run_in_the_master(serve):
    own = "tests.web.shop.wsgi_own"
    server = serve("gunicorn", *GUNICORN[2:], "--preload", own)
    server.wait_for(lambda: len(schedulers()) == 1 and server.answers(), 60)
    assert schedulers() == {server.process.pid}
    server.ask("add-by-own")
    server.wait_for(lambda: len(server.beats()) >= 2)
    assert {pid for _, _, pid in server.beats()} == {server.process.pid}
    # Kill a worker that used it: no row is signed off, and the master goes on.
    os.kill(server.ask("who")["pid"], signal.SIGTERM)
    beats = len(server.beats())
    server.wait_for(lambda: len(server.beats()) > beats)
    assert schedulers() == {server.process.pid}
    server.stop()
    assert schedulers() == set()
    assert_each_run_once(server)
    assert "A process was forked after the scheduler had been started" in server.text
    assert server.text.count("is a fork of the one that started") == 1
