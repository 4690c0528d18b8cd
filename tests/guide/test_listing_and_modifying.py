"""User guide, "Getting a list of scheduled jobs" and "Modifying jobs"."""

from __future__ import annotations

import io
import os
from datetime import timedelta, timezone

import pytest

from django_apscheduler.job import Job
from django_apscheduler.jobstores.base import JobLookupError
from django_apscheduler.triggers.cron import CronTrigger
from django_apscheduler.triggers.interval import IntervalTrigger

from .conftest import NOON


def myfunc() -> None:
    """The guide's function."""


class TestListing:
    """User guide, "Getting a list of scheduled jobs"."""

    def test_get_jobs_returns_job_instances(self, scheduler):
        """``get_jobs`` gives Job instances, the next due first."""
        scheduler.start()
        scheduler.add_job(myfunc, "interval", hours=2, id="later")
        scheduler.add_job(myfunc, "interval", hours=1, id="sooner")
        jobs = scheduler.get_jobs()
        assert [job.id for job in jobs] == ["sooner", "later"]
        assert all(type(job) is Job for job in jobs)

    def test_get_jobs_of_one_job_store(self, scheduler):
        """A job store's alias restricts the list to that store."""
        scheduler.add_jobstore("memory", "other")
        scheduler.start()
        scheduler.add_job(myfunc, "interval", hours=1, id="here")
        scheduler.add_job(myfunc, "interval", hours=1, id="there", jobstore="other")
        assert [job.id for job in scheduler.get_jobs("other")] == ["there"]
        assert {job.id for job in scheduler.get_jobs()} == {"here", "there"}

    def test_get_jobs_before_the_start_gives_the_pending_ones(self, scheduler):
        """Jobs of a scheduler that does not run yet are listed too."""
        scheduler.add_job(myfunc, "interval", hours=1, id="waiting")
        assert [(job.id, job.pending) for job in scheduler.get_jobs()] == [
            ("waiting", True)
        ]

    def test_print_jobs_lists_jobs_triggers_and_run_times(self, scheduler):
        """``print_jobs`` writes a formatted list of jobs with their triggers and next
        run times."""
        scheduler.add_jobstore("memory", "empty")
        scheduler.start()
        scheduler.add_job(myfunc, "interval", minutes=2, name="every other minute")
        scheduler.add_job(myfunc, "cron", hour=3, name="asleep").pause()
        out = io.StringIO()
        scheduler.print_jobs(out=out)
        lines = [line.strip() for line in out.getvalue().splitlines()]
        assert "Jobstore default:" in lines
        assert "Jobstore empty:" in lines
        assert "No scheduled jobs" in lines
        (running,) = [line for line in lines if line.startswith("every other minute")]
        assert "interval[0:02:00]" in running
        assert "2026-03-02 12:02:00 UTC" in running
        (paused,) = [line for line in lines if line.startswith("asleep")]
        assert "cron[hour='3']" in paused
        assert "paused" in paused

    def test_print_jobs_writes_to_standard_output(self, scheduler, capsys):
        """Without ``out`` the list is printed."""
        scheduler.add_job(myfunc, "interval", minutes=2, name="waiting")
        scheduler.print_jobs()
        printed = capsys.readouterr().out
        assert "Pending jobs:" in printed
        assert "waiting (trigger: interval[0:02:00], pending)" in printed


class TestModifying:
    """User guide, "Modifying jobs"."""

    def test_the_guides_example(self, scheduler):
        """``job.modify(max_instances=6, name='Alternate name')``."""
        scheduler.start()
        job = scheduler.add_job(myfunc, "interval", minutes=2)
        job.modify(max_instances=6, name="Alternate name")
        stored = scheduler.get_job(job.id)
        assert (stored.max_instances, stored.name) == (6, "Alternate name")

    @pytest.mark.parametrize("way", ["job", "scheduler"])
    @pytest.mark.parametrize(
        ("attribute", "value"),
        [
            ("name", "another"),
            ("func", os.path.join),
            ("args", ("a", "b")),
            ("kwargs", {"y": 5}),
            ("trigger", IntervalTrigger(hours=1, timezone="UTC")),
            ("executor", "other"),
            ("coalesce", True),
            ("max_instances", 4),
            ("misfire_grace_time", 77),
            ("misfire_grace_time", None),
            ("next_run_time", NOON + timedelta(days=1)),
        ],
    )
    def test_any_attribute_but_the_id(self, way, attribute, value, scheduler):
        """Either way of modifying changes any attribute of the job …"""
        scheduler.add_executor("debug", "other")
        scheduler.start()
        changes = {attribute: value}
        if attribute == "func":
            changes["args"] = ("a", "b")
        if attribute == "kwargs":
            changes |= {"func": dict, "args": ()}
        if attribute == "args":
            changes["func"] = os.path.join
        job = scheduler.add_job(myfunc, "interval", minutes=2, id="it")
        if way == "job":
            job.modify(**changes)
        else:
            scheduler.modify_job("it", **changes)
        assert getattr(scheduler.get_job("it"), attribute) == value

    def test_the_id_stays(self, scheduler):
        """… except its id."""
        scheduler.start()
        job = scheduler.add_job(myfunc, "interval", minutes=2, id="it")
        with pytest.raises(ValueError, match="id"):
            job.modify(id="other")
        assert [job.id for job in scheduler.get_jobs()] == ["it"]

    def test_what_is_no_attribute_is_refused(self, scheduler):
        """A misspelt attribute is an error that names it."""
        scheduler.start()
        job = scheduler.add_job(myfunc, "interval", minutes=2)
        with pytest.raises(AttributeError, match="max_instanses"):
            job.modify(max_instanses=6)

    def test_an_unknown_id_is_an_error(self, scheduler):
        """Modifying what is not there says so."""
        scheduler.start()
        with pytest.raises(JobLookupError):
            scheduler.modify_job("nobody", name="x")
        with pytest.raises(JobLookupError):
            scheduler.reschedule_job("nobody", trigger="cron", minute=1)

    def test_the_guides_rescheduling_example(self, scheduler, clock):
        """``scheduler.reschedule_job('my_job_id', trigger='cron', minute='*/5')`` makes
        a new trigger and recalculates the next run time from it."""
        scheduler.start()
        scheduler.add_job(myfunc, "interval", days=2, id="my_job_id")
        clock.advance(61)
        scheduler.reschedule_job("my_job_id", trigger="cron", minute="*/5")
        job = scheduler.get_job("my_job_id")
        assert job.trigger == CronTrigger(minute="*/5", timezone=timezone.utc)
        assert job.next_run_time == NOON + timedelta(minutes=5)

    def test_a_job_reschedules_itself(self, scheduler):
        """``Job.reschedule`` does the same."""
        scheduler.start()
        job = scheduler.add_job(myfunc, "interval", days=2)
        job.reschedule("interval", hours=3)
        assert scheduler.get_job(job.id).next_run_time == NOON + timedelta(hours=3)
