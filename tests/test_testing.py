"""What users' own tests are offered."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import TestCase

from django_apscheduler import clock, current_run, get_scheduler, signals
from django_apscheduler.models import DjangoJob, DjangoJobExecution, SchedulerProcess
from django_apscheduler.testing import (
    Ran,
    SchedulerTestMixin,
    apscheduler_clock,  # noqa: F401 (a fixture)
    movable_clock,
    run_due,
)

NOW = datetime(2026, 5, 30, 12, 0, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)


def add_user(name="anna"):
    User.objects.create(username=name)
    return current_run().job_id


def fail():
    raise ValueError("no such currency")


async def add_user_later():
    return (await User.objects.acreate(username="otto")).username


def look_at_the_clock():
    return clock.now()


class RunningWhatIsDue(SchedulerTestMixin, TestCase):
    clock_start = NOW

    def add(self, func, id="job", **options):
        options.setdefault("hours", 1)
        return get_scheduler().add_job(func, "interval", id=id, **options)

    def test_nothing_is_due_before_its_time(self):
        self.add(add_user)
        self.assertEqual(self.run_due(), [])
        self.assertFalse(User.objects.exists())

    def test_a_due_job_runs_in_the_tests_transaction_and_leaves_its_row(self):
        self.add(add_user, args=["eva"])
        self.clock.advance(HOUR)
        (ran,) = self.run_due()
        execution = DjangoJobExecution.objects.get()
        self.assertEqual(
            ran, Ran("job", NOW + HOUR, "Executed", "job", None, execution.pk, 1)
        )
        self.assertEqual(User.objects.get().username, "eva")
        self.assertEqual(
            (execution.status, execution.run_time), ("Executed", NOW + HOUR)
        )
        self.assertTrue(connection.in_atomic_block)
        self.assertEqual(self.run_due(), [])

    def test_the_schedule_moves_on(self):
        self.add(add_user)
        self.clock.advance(HOUR)
        self.run_due()
        self.assertEqual(DjangoJob.objects.get().next_run_time, NOW + 2 * HOUR)

    def test_no_scheduler_is_left_behind(self):
        self.add(add_user)
        self.clock.advance(HOUR)
        self.run_due()
        alive = SchedulerProcess.objects.exclude(state="dead")
        self.assertFalse(alive.exists())

    def test_what_a_job_raises_is_raised(self):
        self.add(fail)
        self.add(add_user, id="other")
        self.clock.advance(HOUR)
        with self.assertRaisesMessage(ValueError, "no such currency"):
            self.run_due()
        self.assertTrue(User.objects.exists())

    def test_or_told(self):
        self.add(fail)
        self.clock.advance(HOUR)
        (ran,) = self.run_due(raise_exceptions=False)
        self.assertEqual(
            (ran.status, str(ran.exception)), ("Error!", "no such currency")
        )
        self.assertIn("no such currency", DjangoJobExecution.objects.get().traceback)

    def test_an_async_body_sees_the_tests_transaction(self):
        self.add(add_user_later)
        self.clock.advance(HOUR)
        self.assertEqual([ran.retval for ran in self.run_due()], ["otto"])
        self.assertEqual(User.objects.get().username, "otto")

    def test_jobs_of_any_executor_run(self):
        self.add(add_user, executor="gpu")
        self.clock.advance(HOUR)
        self.assertEqual([ran.status for ran in self.run_due()], ["Executed"])

    def test_several_due_times_are_coalesced_as_a_scheduler_does(self):
        self.add(look_at_the_clock, misfire_grace_time=None)
        self.clock.advance(5 * HOUR)
        told = [(ran.status, ran.run_time, ran.count) for ran in self.run_due()]
        self.assertCountEqual(
            told,
            [
                ("Executed", NOW + 5 * HOUR, 1),
                ("Coalesced", NOW + HOUR, 4),
            ],
        )

    def test_a_run_beyond_its_grace_is_missed(self):
        get_scheduler().add_job(
            add_user, "date", run_date=NOW + HOUR, id="job", misfire_grace_time=60
        )
        self.clock.advance(2 * HOUR)
        told = [(ran.status, ran.run_time) for ran in self.run_due()]
        self.assertEqual(told, [("Missed!", NOW + HOUR)])
        self.assertFalse(User.objects.exists())

    def test_a_time_may_be_named_and_the_clock_shows_it(self):
        self.add(look_at_the_clock)
        later = NOW + HOUR + timedelta(minutes=1)
        self.assertEqual([ran.retval for ran in run_due(later)], [later])
        self.assertEqual(clock.now(), NOW)

    def test_some_jobs_only(self):
        self.add(add_user, id="a", args=["a"])
        self.add(add_user, id="b", args=["b"])
        self.clock.advance(HOUR)
        self.assertEqual([ran.job_id for ran in self.run_due(ids=["b"])], ["b"])
        self.assertEqual(DjangoJob.objects.get(id="a").next_run_time, NOW + HOUR)
        self.assertEqual([ran.job_id for ran in self.run_due()], ["a"])
        with self.assertRaisesMessage(LookupError, "There is no job c"):
            self.run_due(ids=["c"])

    def test_a_run_asked_for_by_hand_runs_too(self):
        self.add(add_user)
        execution = get_scheduler().run_job_now("job")
        self.assertEqual([ran.execution_id for ran in self.run_due()], [execution])

    def test_signals_are_sent(self):
        received = []

        def receiver(job_id, event, **kwargs):
            received.append((job_id, event.retval))

        signals.job_executed.connect(receiver)
        self.addCleanup(signals.job_executed.disconnect, receiver)
        self.add(add_user)
        self.clock.advance(HOUR)
        self.run_due()
        self.assertEqual(received, [("job", "job")])


@pytest.mark.django_db(transaction=True)
def test_it_works_outside_of_a_transaction():
    with movable_clock(NOW) as moved:
        get_scheduler().add_job(add_user, "interval", hours=1, id="job")
        moved.advance(HOUR)
        assert [ran.status for ran in run_due()] == ["Executed"]
    assert User.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_job_added_in_a_transaction_that_is_rolled_back_is_gone():
    with movable_clock(NOW) as moved:
        with transaction.atomic():
            get_scheduler().add_job(add_user, "interval", hours=1, id="job")
            transaction.set_rollback(True)
        moved.advance(HOUR)
        assert run_due() == []


def test_the_fixtures_clock_moves_only_when_told(apscheduler_clock):  # noqa: F811
    before = clock.now()
    assert clock.now() == before
    apscheduler_clock.advance(5)
    assert clock.now() == before + timedelta(seconds=5)
