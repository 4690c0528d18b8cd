"""What the service manager hears of a scheduler, over a real socket."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import time
import uuid
from datetime import timezone

import pytest

from django_apscheduler.management.systemd import Systemd

pytestmark = pytest.mark.skipif(
    not hasattr(socket, "AF_UNIX"), reason="needs Unix sockets: run on Linux"
)


class Manager:
    """The end that systemd holds."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.heard = []

    def listen(self, until, seconds=30.0):
        """Take in messages until one contains a text; return that message's lines."""
        deadline = time.monotonic() + seconds
        while True:
            left = deadline - time.monotonic()
            assert left > 0, f"{until!r} did not come: {self.heard}"
            self.socket.settimeout(left)
            try:
                lines = self.socket.recv(4096).decode().split("\n")
            except TimeoutError:
                continue
            self.heard.append(lines)
            if any(until in line for line in lines):
                return lines


@pytest.fixture(params=["path", "abstract"])
def address(request, tmp_path):
    if request.param == "path":
        return str(tmp_path / "notify")
    return f"@apscheduler-{uuid.uuid4().hex}"


@pytest.fixture
def manager(address):
    made = Manager(address.replace("@", "\0", 1))
    yield made
    made.socket.close()


class TestTheEnvironment:
    def systemd(self, **environ):
        self.left = environ
        return Systemd.from_environment(environ, timezone.utc)

    def test_without_a_socket_nobody_is_told(self):
        assert self.systemd() is None
        assert self.systemd(NOTIFY_SOCKET="") is None
        assert self.systemd(NOTIFY_SOCKET="vsock:2:1234") is None

    def test_children_do_not_inherit_it(self):
        made = self.systemd(
            NOTIFY_SOCKET="/run/x",
            WATCHDOG_USEC="30000000",
            WATCHDOG_PID=str(os.getpid()),
            HOME="/root",
        )
        assert (made.address, made.watchdog, made.pause) == ("/run/x", 30.0, 5.0)
        assert self.left == {"HOME": "/root"}

    def test_it_is_fed_three_times_within_the_watchdogs_time(self):
        made = self.systemd(NOTIFY_SOCKET="@x", WATCHDOG_USEC="6000000")
        assert (made.address, made.pause) == ("\0x", 2.0)

    @pytest.mark.parametrize(
        "watchdog", [{}, {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}]
    )
    def test_a_watchdog_that_is_not_for_us(self, watchdog):
        assert self.systemd(NOTIFY_SOCKET="/run/x", **watchdog).watchdog is None


def test_that_nobody_hears_is_logged_once(tmp_path, caplog):
    made = Systemd(str(tmp_path / "nobody"), None, timezone.utc)
    with caplog.at_level(logging.WARNING):
        made.tell("READY=1")
        made.tell("READY=1")
    assert [record.message for record in caplog.records] == [
        "systemd could not be told 'READY=1': [Errno 2] No such file or directory"
    ]


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
class TestARealScheduler:
    def start(self, run, address, **more):
        return run(
            "runapscheduler", NOTIFY_SOCKET=address, WATCHDOG_USEC="1500000", **more
        )

    def test_it_is_ready_lives_and_stops(self, run, manager, address, ledger):
        command = self.start(run, address, SHOP_JOBS="hold")
        ready = manager.listen("READY=1")
        assert manager.heard == [ready]
        assert "Running; stop with" in command.text
        assert ready[:2] == ["READY=1", "WATCHDOG=1"]
        alive = manager.listen("1 job under way: hold")
        assert re.fullmatch(
            r"STATUS=Running; 1 job under way: hold; last tick \d\d:\d\d:\d\d", alive[1]
        ), alive
        assert alive[0] == "WATCHDOG=1"
        command.signal(signal.SIGTERM)
        assert manager.listen("STOPPING=1") == [
            "STOPPING=1",
            "STATUS=SIGTERM: stopping; waiting for hold",
        ]
        ledger.with_name(f"{ledger.name}.enough").touch()
        assert command.ended() == 0

    def test_an_idle_one_shows_that_it_would_wake(self, run, manager, address):
        # Without a database nothing wakes its loop for hours.
        command = self.start(run, address, SHOP_JOBS="nightly", JOBSTORE="memory")
        manager.listen("READY=1")
        assert manager.listen("STATUS=")[0] == "WATCHDOG=1"
        assert manager.listen("STATUS=")[0] == "WATCHDOG=1"
        command.signal()
        assert command.ended() == 0

    def test_a_loop_that_hangs_feeds_the_watchdog_no_more(self, run, manager, address):
        command = self.start(run, address, SHOP_JOBS="wedge,tick")
        command.wait_for(lambda: command.noted("wedged"))
        # A slow machine may have looked as if it hung before; this does not end.
        hangs, times = manager.listen("The loop hangs"), 1
        while times < 4:
            heard = manager.listen("STATUS=")
            hangs, times = heard, times + 1 if heard == hangs else 0
        (line,) = hangs
        assert re.fullmatch(
            r"STATUS=The loop hangs: no tick since \d\d:\d\d:\d\d", line
        )

    def test_a_scheduler_that_cannot_start_is_never_ready(self, run, manager, address):
        command = self.start(run, address, SHOP_JOBS="tick,never")
        assert command.ended() == 1
        manager.socket.settimeout(0.1)
        with pytest.raises(TimeoutError):
            manager.socket.recv(4096)
