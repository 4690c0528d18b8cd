"""``runapscheduler`` as a process: what it shows, how it stops, how it refuses."""

from __future__ import annotations

import os
import re
import signal
import socket
import sqlite3
import subprocess

import pytest

from django_apscheduler.models import DjangoJob, DjangoJobExecution, SchedulerProcess

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]


class TestItsLife:
    def test_a_run_limited_in_time_stops_by_itself_with_status_0(self, run):
        command = run("runapscheduler", "--run-for", "2.5")
        assert command.ended() == 0
        assert 1 <= len(command.noted("tick")) <= 3
        assert "2.5 s are over: stopping" in command.text
        assert re.search(r"^Runs: [123] finished$", command.text, re.MULTILINE)
        assert "Traceback" not in command.text
        assert "Warning" not in command.text

    def test_jobs_may_live_in_memory(self, run):
        command = run("runapscheduler", JOBSTORE="memory", SHOP_JOBS="tick,crunch")
        command.wait_for(lambda: command.noted("tick") and command.noted("crunch"))
        assert not DjangoJob.objects.exists()
        command.signal()
        assert command.ended() == 0
        assert command.output[-2] == "Stopped"

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    def test_a_signal_lets_the_running_job_end(self, run, number):
        command = run("runapscheduler", SHOP_JOBS="slow", SLOW_SECONDS="1.5")
        command.wait_for(lambda: command.noted("slow begins"))
        command.signal(number)
        assert command.ended() == 0
        assert len(command.noted("slow ends")) == len(command.noted("slow begins")) == 1
        name = signal.Signals(number).name
        assert re.search(
            rf"^{name}: stopping; waiting up to 30 s for slow ",
            command.text,
            re.MULTILINE,
        )
        assert re.search(r"  finished   slow +1\.\d s$", command.text, re.MULTILINE)
        assert command.output[-2:] == ["Stopped", "Runs: 1 finished"]

    def test_a_second_signal_ends_at_once_with_its_own_status(self, run):
        command = run("runapscheduler", SHOP_JOBS="slow", SLOW_SECONDS="600")
        command.wait_for(lambda: command.noted("slow begins"))
        command.signal(signal.SIGTERM)
        command.wait_for("SIGTERM: stopping")
        command.signal(signal.SIGINT)
        assert command.ended(5) == 128 + signal.SIGINT
        assert command.output[-1] == "SIGINT again: ended at once"

    def test_the_drain_timeout_ends_the_wait_with_its_own_status(self, run):
        command = run(
            "runapscheduler",
            "--drain-timeout",
            "0.3",
            SHOP_JOBS="slow",
            SLOW_SECONDS="600",
        )
        command.wait_for(lambda: command.noted("slow begins"))
        command.signal()
        assert command.ended(10) == 4
        assert "Stopped after 0.3 s though slow had not ended" in command.text

    def test_every_kind_of_executor_runs_its_jobs(self, run):
        command = run("runapscheduler", SHOP_JOBS="tick,crunch,wait")
        for job in ("tick", "crunch", "wait"):
            command.wait_for(lambda job=job: command.noted(job))
        command.signal()
        assert command.ended() == 0
        (zone, pid, parent) = command.noted("crunch")[0].split()[1:]
        # Django was set up in the child, with the settings of its parent.
        assert zone == "Europe/Berlin"
        assert int(parent) == command.process.pid != int(pid)
        assert "failed" not in command.text

    def test_a_loop_that_cannot_go_on_ends_the_process_with_its_own_status(self, run):
        command = run("runapscheduler", SHOP_JOBS="die")
        assert command.ended() == 3
        assert "The scheduler cannot go on: MemoryError: no memory left" in command.text

    def test_a_job_may_shut_the_scheduler_down(self, run):
        command = run("runapscheduler", SHOP_JOBS="shut_down")
        assert command.ended() == 0
        assert "The scheduler was shut down from inside" in command.text

    def test_a_job_reaches_the_scheduler_that_runs_it(self, run):
        command = run("runapscheduler", SHOP_JOBS="add_child")
        command.wait_for(lambda: command.noted("child"))
        command.signal()
        assert command.ended() == 0


@pytest.fixture(params=["asyncio", "blocking", "tornado", "twisted"])
def kind(request):
    """A kind of scheduler that has the process's main thread."""
    if request.param in ("tornado", "twisted"):
        pytest.importorskip(request.param)
    return request.param


class TestKindsOfSchedulers:
    def test_a_signal_lets_the_running_job_end(self, run, kind):
        command = run(
            "runapscheduler",
            "--scheduler",
            kind,
            SHOP_JOBS="slow,wait",
            SLOW_SECONDS="1",
        )
        command.wait_for(lambda: command.noted("slow begins"))
        # An async def that asks the database.
        command.wait_for(lambda: command.noted("wait"))
        command.signal()
        assert command.ended() == 0
        begun, ended = command.noted("slow begins"), command.noted("slow ends")
        assert len(begun) == len(ended) >= 1
        assert command.output[-2] == "Stopped"
        assert "Traceback" not in command.text

    def test_the_drain_timeout_ends_the_wait(self, run, kind):
        command = run(
            "runapscheduler",
            f"--scheduler={kind}",
            "--drain-timeout=0.3",
            SHOP_JOBS="slow,wait_long",
            SLOW_SECONDS="600",
        )
        command.wait_for(lambda: command.noted("slow begins"))
        command.wait_for(lambda: command.noted("wait_long begins"))
        command.signal()
        assert command.ended(10) == 4
        assert "though slow, wait_long had not ended" in command.text
        # As if the process had died: what was cut off is for others to find.
        unfinished = DjangoJobExecution.objects.filter(job_id="wait_long")
        assert {row.status for row in unfinished} <= {"Claimed", "Started execution"}

    def test_a_loop_that_cannot_go_on_ends_the_process(self, run, kind):
        command = run("runapscheduler", "--scheduler", kind, SHOP_JOBS="die")
        assert command.ended() == 3
        assert "The scheduler cannot go on: MemoryError: no memory left" in command.text

    def test_a_database_without_the_tables_is_refused(self, run, kind, tmp_path):
        path = tmp_path / "empty.sqlite3"
        sqlite3.connect(path).close()
        command = run(
            "runapscheduler",
            f"--scheduler={kind}",
            TEST_DB="sqlite",
            TEST_DATABASE_NAME=str(path),
        )
        assert command.ended() == 1
        assert "run: manage.py migrate django_apscheduler" in command.text


class TestWhatItShows:
    def test_a_banner_the_jobs_and_a_line_for_each_change(self, run):
        command = run(
            "runapscheduler",
            "--run-for",
            "2.5",
            "--workers",
            "7",
            SHOP_JOBS="tick,fail,nightly",
        )
        assert command.ended() == 0
        text = command.text
        assert re.match(r"django_apscheduler \d+\.\d+\.\d+, Django \d", text)
        vendor = "SQLite|PostgreSQL|MariaDB|MySQL"
        assert re.search(rf"^  database   default: ({vendor}) \d", text, re.M)
        assert (
            "  executors  default (ThreadPool, 7), processpool (ProcessPool, 2)" in text
        )
        assert "  time zone  Europe/Berlin" in text
        assert re.search(r"^  \+ nightly: added, as declared in code$", text, re.M)
        assert re.search(r"^3 jobs$", text, re.M)
        assert re.search(r"^  next run +job +schedule$", text, re.M)
        assert re.search(
            r"^  .*03:00:00 \(in .*\)  nightly  at 03:00 every day$", text, re.M
        )
        assert re.search(r"^  \S+ \(in [01] s\) +tick     every second$", text, re.M)
        assert re.search(r"^\d\d:\d\d:\d\d  started    tick$", text, re.M)
        assert re.search(
            r"^\d\d:\d\d:\d\d  finished   tick  +(< 1|\d+) ms$", text, re.M
        )
        assert re.search(
            r"^\d\d:\d\d:\d\d  failed     fail +(< 1|\d+) ms +ValueError: no such currency$",
            text,
            re.M,
        )
        assert "Traceback" in text
        assert "\x1b" not in text

    def test_quiet_shows_only_what_goes_wrong(self, run):
        command = run(
            "runapscheduler", "--quiet", "--run-for", "2.5", SHOP_JOBS="tick,fail"
        )
        assert command.ended() == 0
        assert "ValueError: no such currency" in command.text
        for word in ("tick", "started", "finished", "django_apscheduler 1"):
            assert word not in command.text

    def test_a_run_that_is_skipped_is_told_once(self, run):
        command = run("runapscheduler", SHOP_JOBS="slow", SLOW_SECONDS="2.2")
        found = command.wait_for(
            r"  skipped    slow  +run of (\d\d:\d\d:\d\d): as many"
        )
        command.signal()
        assert command.ended() == 0
        told = [line for line in command.output if found[1] in line and "skip" in line]
        assert len(told) == 1

    def test_the_log_level_shows_the_engines_records(self, run):
        command = run("runapscheduler", "--run-for", "0.3", "--log-level", "info")
        assert command.ended() == 0
        assert re.search(
            r" INFO django_apscheduler\.scheduler: Scheduler started$",
            command.text,
            re.M,
        )

    def test_a_project_without_jobs_is_told_how_to_declare_one(self, run):
        command = run("runapscheduler", "--run-for", "0.2", SHOP_JOBS="")
        assert command.ended() == 0
        assert "No jobs yet: declare some with @scheduled_job" in command.text


class TestWhatItRefuses:
    def _refused(self, command, message, status=1):
        assert command.ended() == status, command.text
        assert message in command.text
        assert "Traceback" not in command.text

    def test_a_database_without_the_tables(self, run, tmp_path):
        path = tmp_path / "empty.sqlite3"
        sqlite3.connect(path).close()
        command = run("runapscheduler", TEST_DB="sqlite", TEST_DATABASE_NAME=str(path))
        self._refused(command, "lacks migrations of django_apscheduler (0001_")
        assert "run: manage.py migrate django_apscheduler" in command.text

    def test_a_database_in_memory(self, run):
        command = run("runapscheduler", TEST_DB="sqlite", TEST_DATABASE_NAME=":memory:")
        self._refused(command, "is SQLite in memory, which no other process sees")

    def test_a_database_that_cannot_be_reached(self, run, tmp_path):
        path = tmp_path / "nowhere" / "db.sqlite3"
        command = run("runapscheduler", TEST_DB="sqlite", TEST_DATABASE_NAME=str(path))
        self._refused(command, "cannot be used: unable to open database file")

    def test_a_jobs_module_that_fails(self, run):
        command = run("runapscheduler", SHOP_JOBS="broken")
        self._refused(
            command,
            "Could not import tests.management.shop.jobs: RuntimeError: this module is "
            "broken",
        )

    def test_a_declared_job_that_never_fires(self, run):
        command = run("runapscheduler", SHOP_JOBS="tick,never")
        self._refused(command, "its trigger never fires")
        assert DjangoJob.objects.count() == 0

    @pytest.mark.parametrize(
        ("option", "value", "message"),
        [
            ("--executor", "default", "expected ALIAS=WORKERS, e.g. default=20"),
            ("--executor", "default=0", "expected a whole number greater than 0"),
            ("--workers", "many", "expected a whole number greater than 0; got 'many'"),
            ("--run-for", "-1", "expected a number of seconds, 0 or more; got '-1'"),
            ("--log-level", "loud", "expected debug, info, warning, error or critical"),
            ("--scheduler", "qt", "invalid choice: 'qt'"),
        ],
    )
    def test_options_that_make_no_sense(self, run, option, value, message):
        self._refused(run("runapscheduler", f"{option}={value}"), message, status=2)

    def test_an_executor_that_is_not_configured(self, run):
        command = run("runapscheduler", "--executor", "gpu=2")
        self._refused(
            command,
            "There is no executor 'gpu'; APSCHEDULER has default, processpool, asyncio",
        )


class TestInTheDatabase:
    def test_runs_leave_rows_and_the_process_leaves_in_order(self, run):
        command = run("runapscheduler", SHOP_JOBS="tick,fail", RELEASE="2026.5")
        command.wait_for(lambda: len(command.noted("tick")) >= 2)
        process = SchedulerProcess.objects.get()
        assert (process.pid, process.release, process.declarations) == (
            command.process.pid,
            "2026.5",
            '["fail","tick"]',
        )
        command.signal()
        assert command.ended() == 0
        process.refresh_from_db()
        assert process.state == SchedulerProcess.State.DEAD
        executed = DjangoJobExecution.objects.filter(job_id="tick")
        assert set(executed.values_list("status", flat=True)) == {"Executed"}
        assert executed.count() == len(command.noted("tick"))
        failed = DjangoJobExecution.objects.filter(job_id="fail").first()
        assert failed.status == "Error!"
        assert "no such" in failed.traceback

    def test_a_job_gone_from_the_code_is_disabled_and_comes_back(self, run):
        assert (
            run("runapscheduler", "--run-for=0.2", SHOP_JOBS="tick,nightly").ended()
            == 0
        )
        command = run("runapscheduler", "--run-for=0.2", SHOP_JOBS="tick")
        assert command.ended() == 0
        assert "  - nightly: no longer in the code, disabled" in command.text
        assert DjangoJob.objects.get(id="nightly").state == "disabled"
        command = run("runapscheduler", "--run-for=0.2", SHOP_JOBS="tick,nightly")
        assert command.ended() == 0
        assert "  + nightly: declared in code again, enabled" in command.text
        assert DjangoJob.objects.get(id="nightly").state == "active"

    def test_several_may_start_at_once_and_share_the_work(self, run):
        commands = [
            run("runapscheduler", "--run-for=3", SHOP_JOBS="tick,fail,nightly")
            for _ in range(4)
        ]
        assert [command.ended() for command in commands] == [0, 0, 0, 0]
        assert sum(c.text.count("tick: added, as declared") for c in commands) == 1
        ticks = commands[0].noted("tick")
        assert len(ticks) == len(set(ticks)) > 1
        executed = DjangoJobExecution.objects.filter(job_id="tick", status="Executed")
        assert executed.count() == len(ticks)
        assert "database is locked" not in "".join(c.text for c in commands)

    def test_a_survivor_tells_in_a_line_what_it_takes_over(self, run):
        options = {"SHOP_JOBS": "slow,nightly", "SLOW_SECONDS": "600"}
        killed = run("runapscheduler", **options)
        killed.wait_for(lambda: killed.noted("slow begins"))
        survivor = run("runapscheduler", **options)
        survivor.wait_for("Running; stop with")
        killed.kill()
        survivor.wait_for(r"^\d\d:\d\d:\d\d  started    slow")
        name = f"{socket.gethostname()}:{killed.process.pid}"
        told = [line for line in survivor.output if name in line]
        assert len(told) == 1
        assert re.fullmatch(
            rf"\d\d:\d\d:\d\d  The scheduler {name} has shown no sign of life for "
            r"\d+ s and is taken for dead: slow runs again",
            told[0],
        )
        survivor.wait_for(lambda: len(survivor.noted("slow begins")) == 2)

    def test_a_restart_leaves_the_next_run_time_as_it_was(self, run):
        assert run("runapscheduler", "--run-for=0.2", SHOP_JOBS="nightly").ended() == 0
        before = DjangoJob.objects.get().next_run_time
        assert run("runapscheduler", "--run-for=0.2", SHOP_JOBS="nightly").ended() == 0
        assert DjangoJob.objects.get().next_run_time == before

    def test_no_sync_leaves_the_stored_jobs_alone(self, run):
        command = run(
            "runapscheduler", "--no-sync", "--run-for=0.2", SHOP_JOBS="nightly"
        )
        assert command.ended() == 0
        assert DjangoJob.objects.count() == 0


def test_reload_starts_again_when_the_code_changes(
    run, child_environment, tmp_path, monkeypatch
):
    source = tmp_path / "extra_module.py"
    source.write_text("VALUE = 1\n")
    command = run(
        "runapscheduler",
        "--reload",
        SHOP_JOBS="tick",
        PYTHONPATH=os.pathsep.join([str(tmp_path), child_environment["PYTHONPATH"]]),
        EXTRA="extra_module",
    )
    command.wait_for("Running; stop with a change of the code")
    command.wait_for("finished   tick")
    later = source.stat().st_mtime + 5
    source.write_text("VALUE = 2\n")
    os.utime(source, (later, later))
    command.wait_for(lambda: command.text.count("Running; stop with") == 2)
    first_end = command.text.index("the code changed: stopping")
    assert first_end < command.text.rindex("Running; stop with")
    command.signal()
    assert command.ended() == 0
    left = subprocess.run(
        ["pgrep", "-s", str(command.process.pid)], capture_output=True, text=True
    )
    assert left.stdout == ""
