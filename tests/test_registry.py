"""Declared jobs, registered callables, autodiscovery, and the process's scheduler."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

import pytest
from django.apps import apps
from django.test import override_settings

from django_apscheduler import registry
from django_apscheduler.registry import DeclarationError, DiscoveryError
from django_apscheduler.schedulers.background import BackgroundScheduler
from django_apscheduler.schedulers.remote import RemoteScheduler
from django_apscheduler.triggers.cron import CronTrigger
from django_apscheduler.triggers.interval import IntervalTrigger

HERE = __name__


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch):
    """Each test begins with nothing declared, and leaves nothing behind."""
    monkeypatch.setattr(registry, "_declarations", {})
    monkeypatch.setattr(registry, "_callables", {})
    monkeypatch.setattr(registry, "_discovered", True)
    yield
    registry.set_scheduler(None)


def report(days: int = 30, *, to: str = "all"):
    """
    Write the report of the last days.

    With all its details.
    """


def clean_up():
    pass


class TestDeclaring:
    def test_the_decorated_function_stays_what_it_was(self):
        assert registry.scheduled_job("cron", hour=3)(report) is report

    def test_a_job_is_known_by_module_and_function_unless_it_has_an_id(self):
        registry.scheduled_job("cron", hour=3)(report)
        registry.scheduled_job("interval", minutes=5, id="tidy")(clean_up)
        assert sorted(registry.declarations()) == [f"{HERE}.report", "tidy"]

    def test_options_and_trigger_arguments_are_told_apart(self):
        registry.scheduled_job(
            "interval",
            [7],
            {"to": "boss"},
            "r",
            "Report",
            60,
            minutes=5,
            executor="processpool",
            on_lost="mark",
            coalesce=False,
        )(report)
        (found,) = registry.declarations().values()
        assert found.job_options() == {
            "func": f"{HERE}:report",
            "trigger": IntervalTrigger(minutes=5, timezone=ZoneInfo("UTC")),
            "id": "r",
            "name": "Report",
            "args": (7,),
            "kwargs": {"to": "boss"},
            "misfire_grace_time": 60,
            "coalesce": False,
            "executor": "processpool",
            "on_lost": "mark",
        }
        assert registry.faults(found) == []

    def test_the_zone_of_a_trigger_is_the_one_of_the_settings(self):
        registry.scheduled_job("cron", hour=3, id="r")(report)
        with override_settings(TIME_ZONE="Asia/Kolkata"):
            trigger = registry.declarations()["r"].trigger
        assert str(trigger.timezone) == "Asia/Kolkata"
        with override_settings(APSCHEDULER={"timezone": "Europe/Berlin"}):
            trigger = registry.declarations()["r"].trigger
        assert trigger == CronTrigger(hour=3, timezone=ZoneInfo("Europe/Berlin"))

    def test_looking_at_a_declaration_does_not_start_its_interval(self):
        registry.scheduled_job("interval", hours=1, id="r")(report)
        declaration = registry.declarations()["r"]
        assert registry.faults(declaration) == []
        later = datetime(2030, 1, 1, tzinfo=timezone.utc)
        assert declaration.trigger.get_next_fire_time(None, later) == datetime(
            2030, 1, 1, 1, tzinfo=timezone.utc
        )

    def test_one_function_may_be_declared_under_several_ids(self):
        late = registry.scheduled_job("cron", hour=23, id="late")
        early = registry.scheduled_job("cron", hour=3, id="early")
        early(late(report))
        assert sorted(registry.declarations()) == ["early", "late"]

    def test_an_id_declared_twice_is_refused_naming_both_places(self):
        registry.scheduled_job("cron", hour=3, id="tidy")(clean_up)
        first = _line() - 1
        with pytest.raises(DeclarationError) as raised:
            registry.scheduled_job("cron", hour=4, id="tidy")(report)
        second = _line() - 1
        assert str(raised.value) == (
            f"Two jobs are declared with the id 'tidy': {HERE}:clean_up at "
            f"{__file__}:{first} and {HERE}:report at {__file__}:{second}; give one of "
            "them another id"
        )

    def test_one_function_twice_under_its_default_id_is_refused(self):
        registry.scheduled_job("cron", hour=3)(report)
        with pytest.raises(DeclarationError, match="Two jobs are declared"):
            registry.scheduled_job("cron", hour=4)(report)

    @pytest.mark.parametrize(
        ("trigger", "arguments", "problem"),
        [
            ("corn", {}, 'No trigger by the name "corn" was found'),
            ("cron", {"hour": 25}, "hour: 25 is outside 0-23"),
            ("cron", {"hours": 3}, "hours"),
            (5, {}, "expected a trigger, its alias such as 'cron'"),
            (IntervalTrigger(hours=1), {"hours": 2}, "takes no arguments; got hours"),
        ],
    )
    def test_an_unusable_trigger_is_refused_at_its_line(
        self, trigger, arguments, problem
    ):
        with pytest.raises(DeclarationError) as raised:
            registry.scheduled_job(trigger, id="r", **arguments)(report)
        text = str(raised.value)
        assert text.startswith(f"The job 'r' declared at {__file__}:")
        assert problem in text
        assert registry.declarations() == {}

    def test_a_function_without_importable_name_is_refused(self):
        with pytest.raises(DeclarationError, match="has no importable name"):
            registry.scheduled_job("cron", hour=1)(lambda: None)


class TestFaults:
    def _fault(self, trigger="cron", func=report, **options):
        registry.scheduled_job(trigger, id="r", **options)(func)
        (fault,) = registry.faults(registry.declarations()["r"])
        return fault

    def test_a_schedule_that_never_comes_round(self):
        assert "its trigger never fires: cron[month='2', day='30']" in self._fault(
            month=2, day=30
        )

    def test_arguments_that_the_function_does_not_take(self):
        fault = self._fault(hour=3, kwargs={"until": 5})
        assert "cannot be called with the given arguments" in fault
        assert "until" in fault

    def test_a_function_that_cannot_be_imported_again(self):
        def gone():
            pass

        gone.__qualname__ = "gone"
        assert self._fault(hour=3, func=gone) == (
            f"the module {HERE!r} has no 'gone' (reference '{HERE}:gone')"
        )


class TestRegisteredCallables:
    def test_a_declared_jobs_function_is_offered(self):
        registry.scheduled_job("cron", hour=3)(report)
        assert registry.callables() == {
            f"{HERE}:report": registry.RegisteredCallable(
                f"{HERE}:report",
                report,
                "Write the report of the last days",
                "Write the report of the last days.\n\nWith all its details.",
                "(days: 'int' = 30, *, to: 'str' = 'all')",
            )
        }

    def test_others_are_offered_when_registered(self):
        assert registry.register_callable(clean_up) is clean_up
        assert registry.register_callable(label="Ad hoc")(report) is report
        assert [(c.ref, c.label) for c in registry.callables().values()] == [
            (f"{HERE}:report", "Ad hoc"),
            (f"{HERE}:clean_up", "Clean up"),
        ]


class TestAutodiscovery:
    @pytest.fixture
    def make_app(self, tmp_path, monkeypatch):
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setattr(registry, "_discovered", False)
        made = []

        def make(name, jobs):
            made.append(name)
            (tmp_path / name).mkdir()
            (tmp_path / name / "__init__.py").write_text("")
            (tmp_path / name / "jobs.py").write_text(textwrap.dedent(jobs))

        yield make
        for module in [m for m in sys.modules if m.partition(".")[0] in made]:
            del sys.modules[module]

    JOBS = """
        from django_apscheduler import scheduled_job

        @scheduled_job("interval", minutes=1)
        def job():
            pass
    """

    def test_the_jobs_modules_of_all_apps_are_imported(self, make_app):
        make_app("shop", self.JOBS)
        with override_settings(INSTALLED_APPS=["django_apscheduler", "shop"]):
            assert list(registry.declarations()) == ["shop.jobs.job"]
            assert list(registry.callables()) == ["shop.jobs:job"]

    def test_a_module_that_fails_is_named_and_others_are_still_tried(self, make_app):
        make_app("broken", "import nowhere_to_be_found")
        make_app("shop", self.JOBS)
        make_app("wrong", self.JOBS.replace("minutes=1", "minutes=0"))
        with override_settings(
            INSTALLED_APPS=["django_apscheduler", "broken", "shop", "wrong"]
        ):
            with pytest.raises(DiscoveryError) as raised:
                registry.declarations()
        text = str(raised.value)
        assert text.startswith(
            "Could not import broken.jobs: ModuleNotFoundError: No module named "
            "'nowhere_to_be_found'; wrong.jobs: DeclarationError: The job "
            "'wrong.jobs.job' declared at "
        )
        assert "the interval must be longer than 0" in text

    def test_a_module_that_was_mended_is_imported_on_the_next_call(
        self, make_app, tmp_path
    ):
        make_app("shop", "1 / 0")
        with override_settings(INSTALLED_APPS=["django_apscheduler", "shop"]):
            with pytest.raises(DiscoveryError, match="ZeroDivisionError"):
                registry.autodiscover()
            (tmp_path / "shop" / "jobs.py").write_text(
                textwrap.dedent(self.JOBS) + "\n#"
            )
            assert list(registry.declarations()) == ["shop.jobs.job"]

    def test_a_module_that_is_reloaded_declares_its_jobs_again(self, make_app):
        import importlib

        make_app("shop", self.JOBS)
        with override_settings(INSTALLED_APPS=["django_apscheduler", "shop"]):
            before = registry.declarations()["shop.jobs.job"].func
            module = importlib.reload(sys.modules["shop.jobs"])
            assert registry.declarations()["shop.jobs.job"].func is module.job
            assert module.job is not before

    def test_apps_without_jobs_are_no_error(self, monkeypatch):
        monkeypatch.setattr(registry, "_discovered", False)
        assert apps.is_installed("django.contrib.auth")
        registry.autodiscover()


class TestTheEarlierPackagesDecorator:
    def test_register_job_adds_to_the_given_scheduler(self):
        scheduler = BackgroundScheduler()

        @registry.register_job(scheduler, "interval", seconds=5, id="own")
        def job():
            pass

        registry.register_job(scheduler, "interval", seconds=7)(report)
        assert [(j.id, str(j.trigger)) for j in scheduler.get_jobs()] == [
            ("own", "interval[0:00:05]"),
            (f"{HERE}.report", "interval[0:00:07]"),
        ]


class TestTheProcesssScheduler:
    def test_it_only_writes_unless_one_runs(self):
        assert isinstance(registry.get_scheduler(), RemoteScheduler)

    def test_it_has_the_defaults_of_the_settings(self):
        with override_settings(APSCHEDULER={"job_defaults": {"max_instances": 7}}):
            job_defaults = registry.get_scheduler()._job_defaults
        assert job_defaults == {
            "coalesce": True,
            "max_instances": 7,
            "misfire_grace_time": 3600,
        }

    def test_it_is_one_for_all_threads(self):
        found = []
        threads = [
            threading.Thread(target=lambda: found.append(registry.get_scheduler()))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({id(scheduler) for scheduler in found}) == 1

    def test_the_running_one_takes_its_place(self):
        running = BackgroundScheduler()
        registry.set_scheduler(running)
        assert registry.get_scheduler() is running
        registry.set_scheduler(None)
        assert registry.get_scheduler() is not running

    def test_a_fork_gets_its_own_whatever_the_parents_threads_hold(self):
        # In a process of its own: a fork of the test runner would run on as one.
        done = subprocess.run(
            [sys.executable, "-c", FORK],
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stdout.split() == ["child", "RemoteScheduler", "parent", "True"]
        assert done.returncode == 0, done.stderr


FORK = """
import os, signal, threading
import django

django.setup()
from django_apscheduler import registry
from django_apscheduler.schedulers.background import BackgroundScheduler

running = BackgroundScheduler()
registry.set_scheduler(running)
held, release = threading.Event(), threading.Event()

def hold():
    with registry._lock:
        held.set()
        release.wait()

thread = threading.Thread(target=hold)
thread.start()
held.wait()
child = os.fork()
if not child:
    signal.alarm(20)  # instead of waiting for a lock that nobody will free
    print("child", type(registry.get_scheduler()).__name__, flush=True)
    os._exit(0)
status = os.waitpid(child, 0)[1]
release.set()
thread.join()
print("parent", registry.get_scheduler() is running)
raise SystemExit(status)
"""


def test_register_job_is_where_the_earlier_package_had_it():
    from django_apscheduler import jobstores

    assert jobstores.register_job is registry.register_job


def _line() -> int:
    return sys._getframe(1).f_lineno
