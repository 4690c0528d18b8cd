"""Declared jobs and the job store: what changes, what stays, who has the say."""

from __future__ import annotations

import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from unittest import mock

import pytest
from django.db import connection, connections
from django.test import TestCase, override_settings

from django_apscheduler import clock, registry, serialization, sync
from django_apscheduler.db import database_now
from django_apscheduler.models import DjangoJob, SchedulerProcess
from django_apscheduler.sync import synchronise

NOW = datetime(2026, 5, 30, 12, 0, tzinfo=timezone.utc)


def report(days=30):
    pass


def clean_up():
    pass


class SyncCase(TestCase):
    def setUp(self):
        held = {}
        for name, empty in (
            ("_declarations", {}),
            ("_callables", {}),
            ("_discovered", True),
        ):
            held[name] = getattr(registry, name)
            setattr(registry, name, empty)
        self.addCleanup(lambda: [setattr(registry, n, v) for n, v in held.items()])
        self.addCleanup(registry.set_scheduler, None)
        self.clock = clock.ManualClock(NOW)
        self.enterContext_(clock.use(self.clock))

    def enterContext_(self, manager):
        # unittest's own begins with Python 3.11.
        manager.__enter__()
        self.addCleanup(manager.__exit__, None, None, None)

    def declare(self, func=report, *, trigger="interval", id="r", **options):
        """Declare a job as the code of the next release does."""
        if trigger == "interval":
            options.setdefault("hours", 1)
        registry._declarations.pop(id, None)
        registry.scheduled_job(trigger, id=id, **options)(func)

    def drop(self, id="r"):
        del registry._declarations[id]

    def job(self, id="r"):
        return DjangoJob.objects.get(id=id)


class Adding(SyncCase):
    def test_a_declared_job_is_added_with_the_settings_defaults(self):
        self.declare(kwargs={"days": 7}, name="The report")
        found = synchronise()
        self.assertEqual(found, sync.Report(added=["r"]))
        job = self.job()
        self.assertEqual(
            (job.func, job.kwargs, job.name, job.executor, job.state),
            (f"{__name__}:report", '{"days":7}', "The report", "default", "active"),
        )
        self.assertEqual(
            (job.coalesce, job.max_instances, job.misfire_grace_time), (True, 1, 3600)
        )
        self.assertEqual(job.next_run_time, NOW + timedelta(hours=1))
        self.assertTrue(job.signature)

    def test_a_second_time_changes_nothing(self):
        self.declare()
        synchronise()
        before = DjangoJob.objects.values().get()
        self.clock.advance(600)
        self.assertEqual(synchronise(), sync.Report(unchanged=["r"]))
        self.assertEqual(DjangoJob.objects.values().get(), before)

    def test_a_dry_run_tells_the_same_and_does_nothing(self):
        self.declare()
        self.assertEqual(synchronise(dry_run=True), sync.Report(added=["r"]))
        self.assertFalse(DjangoJob.objects.exists())

    def test_a_one_off_whose_time_has_passed_is_not_added(self):
        self.declare(trigger="date", run_date="2026-05-30 10:59:59", id="past")
        self.declare(trigger="date", run_date="2026-05-30 11:00:01", id="late")
        self.declare(trigger="date", run_date="2026-06-01", id="ahead")
        self.assertEqual(
            synchronise(), sync.Report(added=["ahead", "late"], past=["past"])
        )

    def test_one_job_that_could_not_run_stops_it_all(self):
        self.declare()
        self.declare(clean_up, id="wrong", args=[1])
        with self.assertRaisesMessage(registry.DeclarationError, "wrong ("):
            synchronise()
        self.assertFalse(DjangoJob.objects.exists())

    def test_a_job_of_that_id_that_code_had_added_becomes_the_declared_one(self):
        registry.get_scheduler().add_job(clean_up, "interval", hours=2, id="r")
        self.declare()
        found = synchronise()
        self.assertEqual(found, sync.Report(changed={"r": ["func", "trigger", "name"]}))
        self.assertEqual(self.job().func, f"{__name__}:report")
        self.assertEqual(self.job().next_run_time, NOW + timedelta(hours=1))

    def test_jobs_that_are_not_declared_are_left_alone(self):
        registry.get_scheduler().add_job(clean_up, "interval", hours=2, id="own")
        self.assertEqual(synchronise(), sync.Report())
        self.assertEqual(self.job("own").state, "active")


class Changing(SyncCase):
    def setUp(self):
        super().setUp()
        self.declare()
        synchronise()
        self.clock.advance(600)

    def test_a_changed_schedule_counts_from_now(self):
        self.declare(hours=2)
        self.assertEqual(synchronise(), sync.Report(changed={"r": ["trigger"]}))
        self.assertEqual(self.job().next_run_time, NOW + timedelta(minutes=130))

    def test_another_change_leaves_the_next_run_time(self):
        self.declare(max_instances=3, kwargs={"days": 1})
        self.assertEqual(
            synchronise(), sync.Report(changed={"r": ["kwargs", "max_instances"]})
        )
        job = self.job()
        self.assertEqual(job.next_run_time, NOW + timedelta(hours=1))
        self.assertEqual((job.max_instances, job.kwargs), (3, '{"days":1}'))
        # Signed anew, so that a scheduler runs it.
        self.assertIsNotNone(registry.get_scheduler().get_job("r"))

    def test_a_changed_default_is_a_change(self):
        with override_settings(APSCHEDULER={"job_defaults": {"max_instances": 2}}):
            self.assertEqual(
                synchronise(), sync.Report(changed={"r": ["max_instances"]})
            )
        self.assertEqual(self.job().max_instances, 2)

    def test_a_pause_stays(self):
        registry.get_scheduler().pause_job("r")
        self.declare(hours=2)
        synchronise()
        job = self.job()
        self.assertEqual((job.state, job.next_run_time), ("paused", None))

    def test_what_staff_overrode_stays_until_reverted(self):
        scheduler = registry.get_scheduler()
        scheduler.reschedule_job("r", trigger="interval", minutes=5)
        scheduler.modify_job("r", name="Ours")
        sync.override("r", ["trigger", "name", "next_run_time"])
        self.assertEqual(self.job().overrides, '["name","trigger"]')
        self.declare(hours=2, max_instances=2)
        self.assertEqual(
            synchronise(),
            sync.Report(
                changed={"r": ["max_instances"]}, overridden={"r": ["trigger"]}
            ),
        )
        self.assertEqual(self.job().next_run_time, NOW + timedelta(minutes=15))

        self.assertEqual(sync.revert("r"), ["name", "trigger"])
        job = self.job()
        self.assertEqual((job.name, job.overrides), ("report", "[]"))
        self.assertEqual(job.next_run_time, NOW + timedelta(minutes=130))
        self.assertEqual(synchronise(), sync.Report(unchanged=["r"]))

    def test_a_field_changed_by_hand_stays_while_the_code_says_the_same(self):
        DjangoJob.objects.update(max_instances=9)
        self.declare(hours=2)
        synchronise()
        self.assertEqual(self.job().max_instances, 9)


class Disabling(SyncCase):
    def setUp(self):
        super().setUp()
        self.declare()
        synchronise()
        self.clock.advance(600)

    def test_a_job_gone_from_the_code_is_disabled_and_comes_back(self):
        self.drop()
        self.assertEqual(synchronise(), sync.Report(disabled=["r"]))
        job = self.job()
        self.assertEqual((job.state, job.next_run_time), ("disabled", None))
        self.assertEqual(synchronise(), sync.Report())

        self.clock.advance(600)
        self.declare()
        self.assertEqual(synchronise(), sync.Report(enabled=["r"]))
        job = self.job()
        self.assertEqual(job.state, "active")
        self.assertGreater(job.next_run_time, clock.now())

    def test_it_comes_back_as_it_is_declared_then(self):
        self.drop()
        synchronise()
        self.declare(hours=3)
        found = synchronise()
        self.assertEqual(found, sync.Report(enabled=["r"], changed={"r": ["trigger"]}))
        self.assertEqual(self.job().next_run_time, clock.now() + timedelta(hours=3))

    def test_a_paused_one_comes_back_paused(self):
        registry.get_scheduler().pause_job("r")
        self.drop()
        synchronise()
        self.assertEqual(self.job().state, "disabled")
        self.declare()
        synchronise()
        self.assertEqual((self.job().state, self.job().next_run_time), ("paused", None))

    def test_a_one_off_that_has_run_is_not_added_again(self):
        self.declare(trigger="date", run_date="2026-06-01", id="once")
        synchronise()
        DjangoJob.objects.filter(id="once").update(state="finished", next_run_time=None)
        self.assertEqual(synchronise(), sync.Report(unchanged=["once", "r"]))
        self.assertEqual(self.job("once").state, "finished")
        self.declare(trigger="date", run_date="2026-07-01", id="once")
        self.assertEqual(synchronise().added, ["once"])
        self.assertEqual(
            self.job("once").next_run_time, datetime(2026, 7, 1, tzinfo=timezone.utc)
        )


class Deploys(SyncCase):
    """Old and new releases at once."""

    def process(
        self, release, declared, *, started=NOW, lease=60, state="alive", pk=None
    ):
        now = database_now(connection.alias)
        return SchedulerProcess.objects.create(
            pk=pk,
            host="elsewhere",
            pid=1,
            state=state,
            lease_until=now + timedelta(seconds=lease),
            started_time=started,
            release=release,
            declarations=serialization.canonical(declared),
        )

    def synchronise(self, release="", started=NOW, **columns):
        """Synchronise as a process that started then."""
        own = self.process(release, [], started=started, **columns)
        own.host, own.pid = socket.gethostname(), os.getpid()
        own.save()
        try:
            with override_settings(APSCHEDULER={"release": release}):
                return synchronise()
        finally:
            own.delete()

    def test_the_higher_release_has_the_say(self):
        self.process("1.10", ["r"])
        self.declare()
        self.assertEqual(self.synchronise("1.9"), sync.Report(newer=["r"]))
        self.assertEqual(self.synchronise("1.11").added, ["r"])

    def test_of_equal_releases_the_one_that_started_last(self):
        self.process("", ["r"], started=NOW + timedelta(seconds=1))
        self.declare()
        self.assertEqual(self.synchronise(started=NOW).newer, ["r"])
        later = NOW + timedelta(seconds=2)
        self.assertEqual(self.synchronise(started=later).added, ["r"])

    def test_of_two_that_started_at_one_moment_one_has_the_say(self):
        self.declare()
        first = self.process("", ["r"])
        self.assertEqual(self.synchronise().added, ["r"])
        self.assertEqual(self.synchronise(pk=first.pk - 1).newer, ["r"])

    def test_a_wrong_clock_makes_no_process_older_than_it_is(self):
        """Its row tells when it started, and that is by the database's clock."""
        self.declare()
        self.process("", ["r"], started=NOW - timedelta(seconds=1))
        with mock.patch.object(clock, "_clock", clock.SystemClock(-3600)):
            self.assertEqual(self.synchronise().added, ["r"])

    def test_a_command_is_the_latest_of_its_release(self):
        self.declare()
        self.process("", ["r"], started=database_now(connection.alias))
        self.assertEqual(synchronise().added, ["r"])

    def test_what_the_newer_one_does_not_declare_is_the_older_ones(self):
        self.process("2", ["new"])
        self.declare()
        self.assertEqual(self.synchronise("1").added, ["r"])

    def test_a_job_that_somebody_still_declares_is_not_disabled(self):
        self.declare()
        self.synchronise("1")
        old = self.process("1", ["r"])
        self.drop()
        self.assertEqual(self.synchronise("2"), sync.Report())
        self.assertEqual(self.job().state, "active")
        old.state = "dead"
        old.save()
        self.assertEqual(self.synchronise("2").disabled, ["r"])

    def test_a_process_whose_lease_ran_out_has_no_say(self):
        self.process("2", ["r"], lease=-1)
        self.declare()
        self.assertEqual(self.synchronise("1").added, ["r"])

    def test_the_own_row_is_not_a_rival(self):
        row = self.process("", ["r"], started=NOW + timedelta(seconds=1))
        SchedulerProcess.objects.filter(pk=row.pk).update(
            host=socket.gethostname(), pid=os.getpid()
        )
        self.declare()
        self.assertEqual(self.synchronise().added, ["r"])
        with override_settings(APSCHEDULER={"release": "7"}):
            sync.publish()
        row.refresh_from_db()
        self.assertEqual((row.release, row.declarations), ("7", '["r"]'))


class UnreadableRows(SyncCase):
    """Rows whose signature does not hold, as after a new SECRET_KEY."""

    def test_a_job_gone_from_the_code_is_disabled_all_the_same(self):
        self.declare()
        synchronise()
        DjangoJob.objects.update(signature="")
        self.drop()
        self.assertEqual(synchronise().disabled, ["r"])
        self.assertEqual(self.job().state, "disabled")

    def test_a_change_in_the_code_makes_the_row_good_again(self):
        self.declare()
        synchronise()
        DjangoJob.objects.update(signature="")
        self.declare(max_instances=7)
        self.assertEqual(synchronise().changed, {"r": ["max_instances", "signature"]})
        self.assertEqual(self.job().max_instances, 7)
        self.assertIsNotNone(registry.get_scheduler().get_job("r"))

    def test_a_broken_one_is_as_declared_again(self):
        self.declare()
        synchronise()
        DjangoJob.objects.update(signature="", state="broken", next_run_time=None)
        self.assertEqual(synchronise().changed, {"r": ["signature"]})
        self.assertEqual(self.job().state, "active")

    def test_a_paused_one_stays_paused(self):
        self.declare()
        synchronise()
        registry.get_scheduler().pause_job("r")
        DjangoJob.objects.update(signature="")
        self.declare(max_instances=7)
        synchronise()
        self.assertEqual((self.job().state, self.job().max_instances), ("paused", 7))


@pytest.mark.django_db(transaction=True)
def test_processes_that_synchronise_at_once_take_turns():
    together = threading.Barrier(6)

    def synchronise_often():
        try:
            for _ in range(20):
                together.wait(60)
                with sync._editing("default"):
                    DjangoJob.objects.exists()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as pool:
        done = [pool.submit(synchronise_often) for _ in range(6)]
    assert [future.exception() for future in done] == [None] * 6


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        ("", "1"),
        ("1.9", "1.10"),
        ("2026-05-30", "2026-06-01"),
        ("v1.2.3", "v1.2.4"),
        ("1.0rc1", "1.0.1"),
        ("build 99", "build 100"),
    ],
)
def test_releases_are_ordered_by_their_numbers(lower, higher):
    assert sync.release_key(lower) < sync.release_key(higher)


@pytest.mark.skipif(
    connection.vendor != "postgresql", reason="needs PostgreSQL: TEST_DB=postgres"
)
@pytest.mark.django_db(transaction=True)
def test_a_process_frozen_in_the_middle_does_not_hide_its_jobs_for_ever():
    def limit():
        with connection.cursor() as cursor:
            cursor.execute("SHOW idle_in_transaction_session_timeout")
            return cursor.fetchone()[0]

    with sync._editing("default"):
        assert limit() == "5s"
    assert limit() == "0"
