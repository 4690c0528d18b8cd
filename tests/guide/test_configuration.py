"""User guide, "Configuring the scheduler" and "Starting the scheduler"."""

from __future__ import annotations

import os
import threading

import pytest
import pytz

from django_apscheduler.executors.pool import ProcessPoolExecutor, ThreadPoolExecutor
from django_apscheduler.jobstores.memory import MemoryJobStore
from django_apscheduler.schedulers import SchedulerAlreadyRunningError
from django_apscheduler.schedulers.background import BackgroundScheduler
from django_apscheduler.schedulers.blocking import BlockingScheduler

from .conftest import NOON, PATIENCE


def method_1() -> BackgroundScheduler:
    from django_apscheduler.jobstores.mongodb import MongoDBJobStore
    from django_apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore

    jobstores = {
        "mongo": MongoDBJobStore(),
        "default": SQLAlchemyJobStore(url="sqlite:///jobs.sqlite"),
    }
    executors = {
        "default": ThreadPoolExecutor(20),
        "processpool": ProcessPoolExecutor(5),
    }
    job_defaults = {"coalesce": False, "max_instances": 3}
    return BackgroundScheduler(
        jobstores=jobstores,
        executors=executors,
        job_defaults=job_defaults,
        timezone=pytz.utc,
    )


def method_2() -> BackgroundScheduler:
    return BackgroundScheduler(
        {
            "apscheduler.jobstores.mongo": {"type": "mongodb"},
            "apscheduler.jobstores.default": {
                "type": "sqlalchemy",
                "url": "sqlite:///jobs.sqlite",
            },
            "apscheduler.executors.default": {
                "class": "django_apscheduler.executors.pool:ThreadPoolExecutor",
                "max_workers": "20",
            },
            "apscheduler.executors.processpool": {
                "type": "processpool",
                "max_workers": "5",
            },
            "apscheduler.job_defaults.coalesce": "false",
            "apscheduler.job_defaults.max_instances": "3",
            "apscheduler.timezone": "UTC",
        }
    )


def method_3() -> BackgroundScheduler:
    from django_apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore

    jobstores = {
        "mongo": {"type": "mongodb"},
        "default": SQLAlchemyJobStore(url="sqlite:///jobs.sqlite"),
    }
    executors = {
        "default": {"type": "threadpool", "max_workers": 20},
        "processpool": ProcessPoolExecutor(max_workers=5),
    }
    job_defaults = {"coalesce": False, "max_instances": 3}
    scheduler = BackgroundScheduler()
    # Something else happens here; perhaps jobs are added.
    scheduler.configure(
        jobstores=jobstores,
        executors=executors,
        job_defaults=job_defaults,
        timezone=pytz.utc,
    )
    return scheduler


#: Where the bodies of the tests below meet: stores keep names, not objects.
together = threading.Barrier(1)


def meet() -> None:
    together.wait(PATIENCE)


METHODS = [method_1, method_2, method_3]


class TestConfiguring:
    """User guide, "Configuring the scheduler"."""

    def test_without_options_there_is_one_memory_store_and_ten_threads(
        self, background
    ):
        """No configuration gives a MemoryJobStore and a ThreadPoolExecutor, each named
        "default", the latter with at most ten threads."""
        scheduler = background()
        scheduler.start()
        assert {a: type(s) for a, s in scheduler._jobstores.items()} == {
            "default": MemoryJobStore
        }
        assert {a: type(e) for a, e in scheduler._executors.items()} == {
            "default": ThreadPoolExecutor
        }
        together = threading.Barrier(11)
        for _ in range(10):
            scheduler.add_job(together.wait, args=[PATIENCE])
        # Eleven meet only if ten bodies run at the same time.
        together.wait(PATIENCE)

    def test_an_eleventh_job_waits_for_a_thread(self, background, clock):
        """The default maximum is ten threads: an eleventh job has to wait."""
        scheduler = background()
        scheduler.start()
        started, release = threading.Semaphore(0), threading.Event()
        eleventh = threading.Event()

        def body():
            started.release()
            release.wait(PATIENCE)

        for _ in range(10):
            scheduler.add_job(body)
        for _ in range(10):
            assert started.acquire(timeout=PATIENCE)
        scheduler.add_job(eleventh.set)
        scheduler.process_jobs()
        assert not eleventh.is_set()
        release.set()
        assert eleventh.wait(PATIENCE)

    @pytest.mark.parametrize("method", METHODS)
    def test_the_three_methods_are_equivalent(
        self, method, clock, mongodb_by_default, tmp_path, monkeypatch
    ):
        """The three ways to configure give the same stores, executors, worker counts,
        job defaults and time zone: MongoDB where it is by default and an SQLite file in
        the working directory, each with its own job."""
        from django_apscheduler.jobstores.mongodb import MongoDBJobStore
        from django_apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore

        monkeypatch.chdir(tmp_path)
        scheduler = method()
        scheduler.start(paused=True)
        try:
            job = scheduler.add_job(os.getpid, "cron", hour=3, id="here")
            scheduler.add_job(os.getpid, "cron", hour=4, id="there", jobstore="mongo")
            assert {a: type(s) for a, s in scheduler._jobstores.items()} == {
                "default": SQLAlchemyJobStore,
                "mongo": MongoDBJobStore,
            }
            assert {a: type(e) for a, e in scheduler._executors.items()} == {
                "default": ThreadPoolExecutor,
                "processpool": ProcessPoolExecutor,
            }
            workers = {a: e.max_workers for a, e in scheduler._executors.items()}
            assert workers == {"default": 20, "processpool": 5}
            assert str(scheduler.timezone) == "UTC"
            assert (job.coalesce, job.max_instances) == (False, 3)
            assert job.next_run_time == NOON.replace(day=3, hour=3)
            assert [job.id for job in scheduler.get_jobs("default")] == ["here"]
            assert [job.id for job in scheduler.get_jobs("mongo")] == ["there"]
            assert mongodb_by_default.distinct("_id") == ["there"]
            assert (tmp_path / "jobs.sqlite").exists()
        finally:
            scheduler.shutdown()

    @pytest.mark.parametrize("method", METHODS)
    def test_configured_workers_run_jobs_of_both_stores_at_the_same_time(
        self, method, mongodb_by_default, tmp_path, monkeypatch
    ):
        """A worker count of 20, as number or as text, lets twenty jobs run at once."""
        monkeypatch.chdir(tmp_path)
        monkeypatch.setitem(globals(), "together", threading.Barrier(21))
        scheduler = method()
        scheduler.start()
        try:
            for number in range(20):
                alias = "mongo" if number % 2 else "default"
                scheduler.add_job(meet, jobstore=alias)
            together.wait(PATIENCE)
        finally:
            together.abort()
            scheduler.shutdown()

    def test_options_may_be_keyword_arguments_with_names_of_their_own(self, background):
        """A configuration dictionary and keyword arguments may be used together, and
        keyword arguments win."""
        scheduler = background(
            {"apscheduler.timezone": "Europe/Berlin"}, timezone="Asia/Kolkata"
        )
        assert str(scheduler.timezone) == "Asia/Kolkata"

    def test_keys_without_the_prefix_are_not_ours(self, background):
        """The prefix "apscheduler." is fixed: other keys of a dictionary, say of a whole
        application's configuration, are left alone."""
        scheduler = background(
            {"timezone": "Asia/Kolkata", "apscheduler.timezone": "Europe/Berlin"}
        )
        assert str(scheduler.timezone) == "Europe/Berlin"

    def test_job_defaults_reach_jobs_added_before_configuring(self, background, clock):
        """One can add jobs first and configure afterwards: defaults are applied when
        the scheduler starts."""
        scheduler = background()
        job = scheduler.add_job(os.getpid, "interval", hours=1)
        scheduler.configure(job_defaults={"max_instances": 7})
        scheduler.start()
        assert job.max_instances == 7

    def test_an_option_that_is_not_true_or_false_is_refused(self, background):
        """Text options are converted, or refused with what was expected."""
        with pytest.raises(ValueError, match="perhaps"):
            background({"apscheduler.job_defaults.coalesce": "perhaps"})


class TestStarting:
    """User guide, "Starting the scheduler"."""

    def test_start_returns_immediately(self, background):
        """``start()`` returns at once, and jobs may be added after it."""
        ran = threading.Event()
        scheduler = background()
        scheduler.start()
        scheduler.add_job(ran.set)
        assert ran.wait(PATIENCE)

    def test_blocking_scheduler_is_started_last(self, clock):
        """BlockingScheduler's ``start()`` comes after all other initialisation, since
        it returns only when the scheduler has been shut down."""
        scheduler = BlockingScheduler()
        returned = threading.Event()
        ran = threading.Event()
        scheduler.add_job(ran.set)

        def main():
            scheduler.start()
            returned.set()

        thread = threading.Thread(target=main)
        thread.start()
        assert ran.wait(PATIENCE)
        assert not returned.is_set()
        scheduler.shutdown()
        assert returned.wait(PATIENCE)
        thread.join(PATIENCE)

    def test_settings_are_locked_after_start(self, background):
        """A started scheduler's settings can no longer be altered."""
        scheduler = background()
        scheduler.start()
        with pytest.raises(SchedulerAlreadyRunningError):
            scheduler.configure(timezone="Europe/Berlin")
        assert str(scheduler.timezone) != "Europe/Berlin"

    def test_a_scheduler_starts_once(self, background):
        """Starting twice is an error."""
        scheduler = background()
        scheduler.start()
        with pytest.raises(SchedulerAlreadyRunningError):
            scheduler.start()
