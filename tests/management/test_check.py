"""``apscheduler check``: the exit status and the line that a probe gets."""

from __future__ import annotations

import re
import signal
import socket
import sqlite3
import time
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command

from django_apscheduler.db import database_now
from django_apscheduler.management.health import Sign, judge
from django_apscheduler.models import SchedulerProcess

HOST = socket.gethostname()


def sign(name="web1:7", state="alive", age=0.25, left=5.0):
    return Sign(name, name.partition(":")[0], state, age, left)


FINE = sign()
HUNG = sign("web1:8", age=12.0)
DRAINING = sign("web1:9", state="draining", age=40.0)
KILLED = sign("web1:3", age=12.0, left=-6.0)
ENDED = sign("web1:2", state="dead", age=90.0, left=-90.0)
OTHER = sign("web2:7", age=0.5)


class TestTheVerdict:
    @pytest.mark.parametrize(
        ("signs", "well", "line"),
        [
            ([FINE, OTHER], True, "web1:7 finished a tick 250 ms ago"),
            ([FINE, KILLED, ENDED], True, "web1:7 finished a tick 250 ms ago"),
            ([DRAINING], True, "web1:9 is draining: it ends what it runs"),
            ([DRAINING, FINE], True, "web1:7 finished a tick 250 ms ago"),
            (
                [FINE, HUNG],
                False,
                (
                    "web1:8 has not finished a tick for 12.0 s; its heart beats, but its "
                    "loop hangs"
                ),
            ),
            ([], False, "no scheduler is alive on web1"),
            ([OTHER], False, "no scheduler is alive on web1; 1 elsewhere (see --any)"),
            (
                [KILLED, ENDED],
                False,
                (
                    "no scheduler is alive on web1 (web1:3 was killed, froze or lost the "
                    "database: its lease ran out 6.0 s ago)"
                ),
            ),
            ([ENDED], False, "no scheduler is alive on web1 (web1:2 ended 90.0 s ago)"),
        ],
    )
    def test_of_one_host(self, signs, well, line):
        assert judge(signs, "web1", 10.0) == (well, line)

    @pytest.mark.parametrize(
        ("signs", "well", "line"),
        [
            (
                [FINE, HUNG, OTHER, KILLED],
                True,
                "2 of 3 schedulers claim jobs; web1:7 finished a tick 250 ms ago",
            ),
            (
                [HUNG, DRAINING],
                False,
                (
                    "web1:8 has not finished a tick for 12.0 s; its heart beats, but its "
                    "loop hangs"
                ),
            ),
            ([DRAINING], False, "no scheduler claims jobs; web1:9 is draining"),
            ([ENDED], False, "no scheduler is alive (web1:2 ended 90.0 s ago)"),
            ([], False, "no scheduler is alive"),
        ],
    )
    def test_of_all(self, signs, well, line):
        assert judge(signs, None, 10.0) == (well, line)

    def test_the_age_that_is_allowed_counts(self):
        assert judge([HUNG], "web1", 12.0)[0] is True
        assert judge([HUNG], "web1", 11.9)[0] is False


@pytest.mark.django_db(transaction=True)
class TestFromTheDatabase:
    def enter(self, tick_age=0.0, **columns):
        now = database_now("default")
        columns.setdefault("host", HOST)
        return SchedulerProcess.objects.create(
            pid=7,
            started_time=now - timedelta(hours=1),
            tick_time=now - timedelta(seconds=tick_age),
            lease_until=now + timedelta(seconds=60),
            **columns,
        )

    def test_a_row_of_this_host_is_enough(self, capsys):
        self.enter()
        call_command("apscheduler", "check")
        told = capsys.readouterr().out
        assert re.fullmatch(rf"Healthy: {HOST}:7 finished a tick .* m?s ago\n", told), (
            told
        )

    def test_a_scheduler_elsewhere_counts_only_when_any_will_do(self, capsys):
        self.enter(host="elsewhere")
        with pytest.raises(CommandError, match="no scheduler is alive on .*; 1 else"):
            call_command("apscheduler", "check")
        call_command("apscheduler", "check", "--any")
        assert "Healthy: 1 of 1 schedulers claim jobs" in capsys.readouterr().out

    def test_stores_that_are_polled_rarely_get_more_time(self, settings):
        self.enter(tick_age=40)
        with pytest.raises(CommandError, match=r"has not finished a tick for 40\.\d s"):
            call_command("apscheduler", "check")
        settings.APSCHEDULER = {
            "jobstores": {"default": {"type": "django", "poll": 20}}
        }
        call_command("apscheduler", "check")

    def test_stores_that_are_not_djangos_cannot_be_asked(self, settings):
        settings.APSCHEDULER = {"jobstores": {"default": {"type": "memory"}}}
        with pytest.raises(CommandError, match="has no Django job store"):
            call_command("apscheduler", "check")


def row(command):
    return SchedulerProcess.objects.get(pid=command.process.pid)


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
class TestRealSchedulers:
    def check(self, run, *options):
        """Return the exit status and the last line of a real check."""
        command = run("apscheduler", "check", *options)
        return command.ended(), command.output[-1]

    def name(self, command):
        return f"{HOST}:{command.process.pid}"

    def test_one_that_works_then_drains_then_has_ended(self, run, ledger):
        command = run("runapscheduler", "--drain-timeout=100", SHOP_JOBS="hold")
        command.wait_for(lambda: command.noted("hold begins"))
        status, line = self.check(run)
        assert (status, line[:9]) == (0, "Healthy: ")
        assert f"{self.name(command)} finished a tick" in line
        assert len(line.splitlines()) == 1
        command.signal()
        command.wait_for(lambda: row(command).state == "draining")
        assert self.check(run) == (
            0,
            f"Healthy: {self.name(command)} is draining: it ends what it runs",
        )
        assert self.check(run, "--any") == (
            1,
            f"Unhealthy: no scheduler claims jobs; {self.name(command)} is draining",
        )
        ledger.with_name(f"{ledger.name}.enough").touch()
        assert command.ended() == 0
        status, line = self.check(run)
        assert status == 1
        assert line.startswith(
            f"Unhealthy: no scheduler is alive on {HOST} ({self.name(command)} ended "
        )

    def test_one_whose_workers_are_all_busy(self, run):
        command = run(
            "runapscheduler", "--workers=1", SHOP_JOBS="slow,tick", SLOW_SECONDS="600"
        )
        command.wait_for(lambda: command.noted("slow begins"))
        began = database_now("default")
        command.wait_for(lambda: row(command).tick_time - began > timedelta(seconds=4))
        status, line = self.check(run, "--max-age=3")
        assert (status, line[:9]) == (0, "Healthy: ")

    def test_one_whose_loop_hangs_while_its_heart_beats(self, run):
        command = run("runapscheduler", SHOP_JOBS="wedge,tick")
        command.wait_for(lambda: command.noted("wedged"))

        def hangs():
            found = row(command)
            return found.lease_until - found.tick_time > timedelta(seconds=6 + 4)

        command.wait_for(hangs)
        status, line = self.check(run, "--max-age=3")
        assert status == 1
        assert re.fullmatch(
            rf"Unhealthy: {self.name(command)} has not finished a tick for \d+\.\d s; "
            "its heart beats, but its loop hangs",
            line,
        ), line

    def test_one_that_is_paused_goes_round_all_the_same(self, run):
        command = run("runapscheduler", SHOP_JOBS="pause")
        command.wait_for(lambda: command.noted("paused"))
        began = database_now("default")
        command.wait_for(lambda: row(command).tick_time - began > timedelta(seconds=3))

    def test_one_that_is_frozen_comes_back_and_is_killed(self, run):
        command = run("runapscheduler", SHOP_JOBS="nightly")
        command.wait_for("Running; stop with")
        command.signal(signal.SIGSTOP)
        command.wait_for(lambda: row(command).lease_until < database_now("default"))
        status, line = self.check(run)
        gone = (
            rf"Unhealthy: no scheduler is alive on {HOST} \({self.name(command)} was "
            r"killed, froze or lost the database: its lease ran out \d+.* m?s ago\)"
        )
        assert status == 1
        assert re.fullmatch(gone, line), line
        command.signal(signal.SIGCONT)
        command.wait_for(lambda: row(command).lease_until > database_now("default"))
        assert self.check(run)[0] == 0
        command.process.kill()
        command.process.wait()
        deadline = time.monotonic() + 20
        while row(command).lease_until >= database_now("default"):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        status, line = self.check(run)
        assert status == 1
        assert re.fullmatch(gone, line), line


@pytest.mark.processes
@pytest.mark.django_db
class TestDatabasesThatFail:
    def refused(self, command, message):
        assert command.ended(20) == 1, command.text
        assert command.output[-1].startswith(f"Unhealthy: {message}"), command.text
        assert "Traceback" not in command.text

    def test_one_that_accepts_connections_and_never_answers(self, run):
        pytest.importorskip("psycopg2", reason="needs psycopg2: pip install psycopg2")
        with socket.create_server(("127.0.0.1", 0)) as server:
            command = run(
                "apscheduler",
                "check",
                "--timeout=1",
                TEST_DB="postgres",
                TEST_PG_HOST="127.0.0.1",
                TEST_PG_PORT=str(server.getsockname()[1]),
            )
            message = "the database 'default' did not answer within 1 s"
            self.refused(command, message)

    def test_one_that_cannot_be_reached(self, run, tmp_path):
        path = tmp_path / "nowhere" / "db.sqlite3"
        command = run(
            "apscheduler", "check", TEST_DB="sqlite", TEST_DATABASE_NAME=str(path)
        )
        message = "the database 'default' cannot be reached: unable to open"
        self.refused(command, message)

    def test_one_without_the_tables(self, run, tmp_path):
        path = tmp_path / "empty.sqlite3"
        sqlite3.connect(path).close()
        command = run(
            "apscheduler", "check", TEST_DB="sqlite", TEST_DATABASE_NAME=str(path)
        )
        message = "the database 'default' lacks migrations of django_apscheduler (0001_"
        self.refused(command, message)
        assert command.text.endswith("run: manage.py migrate django_apscheduler")
