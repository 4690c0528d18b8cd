"""The life of a scheduler in the foreground, apart from the process around it."""

from __future__ import annotations

import io
import signal
import threading
from datetime import datetime, timedelta, timezone

import pytest

from django_apscheduler import registry
from django_apscheduler.management.console import (
    Console,
    duration,
    first_line,
    moment,
    span,
    wants_colour,
)
from django_apscheduler.management.runner import EXIT_FAILED, Duty, Flag, Runner
from django_apscheduler.schedulers.background import BackgroundScheduler
from django_apscheduler.schedulers.blocking import BlockingScheduler

NOW = datetime(2026, 5, 30, 12, 0, tzinfo=timezone.utc)


def console():
    return Console(io.StringIO(), False, 1, timezone.utc)


def runner(scheduler=None, **options):
    options.setdefault("drain_timeout", 5)
    return Runner(scheduler or BackgroundScheduler(), console(), **options)


class TestDuties:
    def test_they_are_done_again_and_again_even_when_one_fails(self, caplog):
        done = []

        def fail():
            done.append("fail")
            raise RuntimeError("the database is away")

        def stop():
            done.append("stop")
            if done.count("stop") == 3:
                made.stop("enough")

        made = runner(duties=[Duty("Cleaning", fail, 0.0), Duty("Counting", stop, 0.0)])
        assert made.run(lambda: None) == 0
        assert done == ["fail", "stop"] * 3
        assert "Cleaning failed; it is tried again" in caplog.text
        assert made.console.stream.getvalue() == "enough: stopping\nStopped\n"

    def test_one_that_hangs_does_not_keep_the_scheduler_from_stopping(
        self, monkeypatch
    ):
        monkeypatch.setattr("django_apscheduler.management.runner.LAST_DUTY_SECONDS", 0)
        released = threading.Event()

        def hang():
            made.stop("enough")
            released.wait(30)

        made = runner(duties=[Duty("Hanging", hang, 0.0)])
        try:
            assert made.run(lambda: None) == 0
            assert not released.is_set()
        finally:
            released.set()


@pytest.mark.parametrize(
    ("scheduler", "blocking"), [(BackgroundScheduler, False), (BlockingScheduler, True)]
)
class TestStarting:
    def test_nothing_runs_before_it_is_ready(self, scheduler, blocking):
        ran = threading.Event()
        seen = []
        made = scheduler()
        made.add_job(ran.set)

        def ready():
            seen.append((ran.is_set(), registry.get_scheduler() is made))

        def look():
            if ran.is_set():
                running.stop("done")

        running = runner(made, blocking=blocking, duties=[Duty("", look, 0.0)])
        assert running.run(ready) == 0
        assert seen == [(False, True)]
        assert registry.get_scheduler() is not made
        registry.set_scheduler(None)

    def test_what_goes_wrong_while_starting_is_raised_and_leaves_nothing_running(
        self, scheduler, blocking
    ):
        made = scheduler()

        def ready():
            raise LookupError("no such job store")

        with pytest.raises(LookupError, match="no such job store"):
            runner(made, blocking=blocking).run(ready)
        assert not made.running

    # The thread of a background scheduler's loop ends with it, as it should.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_a_loop_that_dies_is_a_failure(self, scheduler, blocking):
        made = scheduler()

        def broken():
            raise MemoryError("no memory left")

        running = runner(made, blocking=blocking)
        made.process_jobs = broken
        assert running.run(lambda: None) == EXIT_FAILED
        assert "MemoryError: no memory left" in running.console.stream.getvalue()


def test_signal_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM)
    made = runner()
    made.install_signal_handlers()
    assert signal.getsignal(signal.SIGTERM) == made._on_signal
    made.restore_signal_handlers()
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_signal_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    made = runner()
    try:
        made.install_signal_handlers()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        made.restore_signal_handlers()
        signal.signal(signal.SIGHUP, before)


def test_a_flag_is_noticed_by_who_waits_already():
    flag = Flag()
    assert flag.wait(0) is False
    threading.Timer(0.01, flag.set).start()
    assert flag.wait(30) is True
    assert flag.wait(0) is True


class TestWords:
    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (0.4, "0 s"),
            (59, "59 s"),
            (90, "2 min"),
            (3600, "1 h"),
            (12_000, "3 h 20 min"),
            (86_400, "1 d"),
            (100_000, "1 d 3 h"),
            (864_000, "10 d"),
        ],
    )
    def test_spans(self, seconds, text):
        assert span(seconds) == text

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [(0.0004, "< 1 ms"), (0.0214, "21 ms"), (1.26, "1.3 s"), (150, "2 min")],
    )
    def test_durations(self, seconds, text):
        assert duration(seconds) == text

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (None, "never"),
            (NOW + timedelta(minutes=5), "12:05:00 (in 5 min)"),
            (NOW - timedelta(seconds=1), "11:59:59 (overdue)"),
            (NOW + timedelta(days=2), "Mon 12:00:00 (in 2 d)"),
            (NOW + timedelta(days=60), "2026-07-29 12:00:00 (in 60 d)"),
        ],
    )
    def test_moments(self, value, text):
        assert moment(value, NOW, timezone.utc) == text

    def test_an_exception_is_one_line_of_bounded_length(self):
        assert first_line(ValueError("two\n lines")) == "ValueError: two lines"
        assert first_line(KeyError()) == "KeyError"
        assert first_line(None) == ""
        assert len(first_line(ValueError("x" * 1000))) == 200


class TestColour:
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    def test_only_on_a_terminal_and_only_if_nobody_minds(self, monkeypatch):
        monkeypatch.delenv("NO_COLOR", raising=False)
        monkeypatch.setenv("TERM", "xterm")
        assert wants_colour(self.Terminal())
        assert not wants_colour(io.StringIO())
        assert not wants_colour(self.Terminal(), no_color=True)
        monkeypatch.setenv("NO_COLOR", "1")
        assert not wants_colour(self.Terminal())

    def test_a_coloured_line_is_aligned_like_a_plain_one(self):
        coloured = Console(io.StringIO(), True, 1, timezone.utc)
        plain = console()
        for each in (coloured, plain):
            each.event(NOW, "failed", "job", "ValueError", "bad")
        text = coloured.stream.getvalue()
        assert (
            text == "12:00:00  \x1b[31;1mfailed   \x1b[0m  job           ValueError\n"
        )
        assert (
            plain.stream.getvalue() == "12:00:00  failed     job           ValueError\n"
        )

    def test_a_reader_that_went_away_is_no_error(self):
        class Closed(io.StringIO):
            def write(self, text):
                raise BrokenPipeError

        Console(Closed(), False, 1, timezone.utc).write("anything")
