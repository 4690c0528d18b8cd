"""The clock: one source of time that can be moved."""

import subprocess
import sys
import threading
import time
from datetime import datetime, timedelta, timezone

import pytest

from django_apscheduler import clock

NOON = datetime(2026, 3, 29, 12, 0, tzinfo=timezone.utc)


def test_the_system_clock_tells_aware_utc():
    before = datetime.now(timezone.utc)
    now = clock.now()
    assert before <= now <= datetime.now(timezone.utc)
    assert now.utcoffset() == timedelta(0)


def test_a_manual_clock_moves_only_when_told_to():
    with clock.use(clock.ManualClock(NOON)) as manual:
        assert clock.now() == NOON
        manual.advance(90)
        assert clock.now() == NOON + timedelta(seconds=90)
        assert clock.monotonic() == 90
        manual.set(NOON - timedelta(days=1))
        assert clock.now() == NOON - timedelta(days=1)
        assert clock.monotonic() == 90, "setting the wall clock lets no time pass"
    assert clock.now() > NOON


def test_now_is_given_in_the_zone_asked_for():
    zone = timezone(timedelta(hours=5, minutes=30))
    with clock.use(clock.ManualClock(NOON)):
        assert clock.now(zone).isoformat() == "2026-03-29T17:30:00+05:30"


def test_waiting_on_a_manual_clock_ends_when_it_passes_the_deadline():
    with clock.use(clock.ManualClock(NOON)) as manual:
        answers = []
        waiter = threading.Thread(
            target=lambda: answers.append(clock.wait(threading.Event(), 3600))
        )
        waiter.start()
        manual.advance(3599)
        waiter.join(0.05)
        assert waiter.is_alive()
        manual.advance(1)
        waiter.join(5)
        assert answers == [False]


def test_waiting_ends_when_the_event_is_set():
    event = threading.Event()
    event.set()
    assert clock.wait(event, None) is True
    with clock.use(clock.ManualClock(NOON)):
        assert clock.wait(event, 3600) is True


def test_endless_waits_are_cut_into_pieces_that_platforms_can_count():
    # A wait of years overflows on some platforms; nobody may rely on a single one.
    assert clock.SystemClock().wait(threading.Event(), -5) is False
    assert clock.LONGEST_WAIT_SECONDS < threading.TIMEOUT_MAX


@pytest.mark.parametrize(
    ("offset", "expected"),
    [("3600", "shifted"), ("soon", "must be a number of seconds")],
)
def test_a_process_can_be_given_a_clock_that_is_wrong(offset, expected):
    code = (
        "import time; from django_apscheduler import clock; "
        "print('shifted' if 3590 < clock.now().timestamp() - time.time() < 3610 else '')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"DJANGO_APSCHEDULER_CLOCK_OFFSET": offset, "PYTHONPATH": "."},
        capture_output=True,
        text=True,
    )
    assert expected in done.stdout + done.stderr


@pytest.mark.skipif(
    not hasattr(time, "CLOCK_BOOTTIME"), reason="needs CLOCK_BOOTTIME: run it on Linux"
)
def test_durations_go_on_while_the_machine_is_suspended(monkeypatch):
    real = time.clock_gettime
    suspended = {time.CLOCK_BOOTTIME: 3600}
    before = clock.SystemClock().monotonic()
    monkeypatch.setattr(
        time, "clock_gettime", lambda id: real(id) + suspended.get(id, 0)
    )
    assert 3600 <= clock.SystemClock().monotonic() - before < 3660
