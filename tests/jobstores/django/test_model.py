"""Whatever schedulers, users and accidents do in whatever order, the promises hold."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from django.test import TestCase
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from django_apscheduler.models import (
    DjangoJob,
    DjangoJobExecution,
    SchedulerCommand,
    SchedulerControl,
    SchedulerProcess,
)
from tests.jobstores.django.support import MINUTE, NOON, add, finish, make_store

IDS = ("a", "b", "c")
LEASE = timedelta(seconds=90)


class Cluster(RuleBasedStateMachine):
    """Three schedulers, three jobs that run every minute, and a clock that moves on."""

    def __init__(self):
        super().__init__()
        self.now = NOON
        self.stores = [self.new_store() for _ in range(3)]
        self.held = [[], [], []]
        self.begun = set()
        self.handed_out = Counter()
        for id, limit in zip(IDS, (1, 2, 3)):
            add(self.stores[0], id, max_instances=limit, coalesce=id != "b")

    def new_store(self):
        return make_store(lease=LEASE.total_seconds())

    @rule(step=st.sampled_from([1, 30, 60, 61, 200]))
    def time_passes(self, step):
        self.now += timedelta(seconds=step)

    @rule(which=st.integers(0, 2), slots=st.integers(1, 4))
    def a_scheduler_claims(self, which, slots):
        batch = self.stores[which].claim_due({"default": slots}, self.now)
        assert len(batch.runs) <= slots
        for run in batch.runs:
            self.held[which].append(run)
            if not run.confirm_start:
                self.count(run, 1)

    def count(self, run, times):
        """Count the bodies that may have begun."""
        for execution_id in run.execution_ids:
            self.handed_out[execution_id, run.attempt] += times

    @rule(which=st.integers(0, 2), data=st.data())
    def a_body_begins(self, which, data):
        waiting = [run for run in self.held[which] if id(run) not in self.begun]
        if waiting:
            run = data.draw(st.sampled_from(waiting))
            if self.stores[which].confirm_starts([run]):
                self.begun.add(id(run))
                if run.confirm_start:
                    self.count(run, 1)
            else:
                self.held[which].remove(run)

    @rule(which=st.integers(0, 2), data=st.data())
    def a_body_ends(self, which, data):
        running = [
            run
            for run in self.held[which]
            if id(run) in self.begun or not run.confirm_start
        ]
        if running:
            run = data.draw(st.sampled_from(running))
            finish(self.stores[which], run)
            self.held[which].remove(run)

    @rule(which=st.integers(0, 2))
    def a_scheduler_hands_back(self, which):
        waiting = [run for run in self.held[which] if id(run) not in self.begun]
        self.stores[which].release(waiting)
        for run in waiting:
            self.held[which].remove(run)
            if not run.confirm_start:
                # It never ran, so the attempt is handed out again.
                self.count(run, -1)

    @rule(which=st.integers(0, 2))
    def a_scheduler_dies(self, which):
        self.stores[which] = self.new_store()
        self.held[which] = []

    @rule(id=st.sampled_from(IDS), by=st.sampled_from(["", "token"]))
    def somebody_runs_a_job(self, id, by):
        self.stores[0].run_job_now(id, token=by and by + id)

    @rule(id=st.sampled_from(IDS), limit=st.integers(3, 5))
    def somebody_edits_a_job(self, id, limit):
        job = self.stores[0].lookup_job(id)
        job._modify(max_instances=limit)
        self.stores[0].update_job(job)

    @rule(paused=st.booleans())
    def everything_is_paused_or_resumed(self, paused):
        if paused:
            self.stores[0].pause_all()
        else:
            self.stores[0].resume_all()

    @invariant()
    def no_attempt_runs_twice(self):
        assert not [key for key, count in self.handed_out.items() if count > 1]

    @invariant()
    def every_minute_is_accounted_for_exactly_once(self):
        for job in DjangoJob.objects.all():
            minute = NOON
            log = DjangoJobExecution.objects.filter(job=job, origin="schedule")
            for execution in log.order_by("run_time"):
                assert execution.run_time == minute
                minute = (execution.last_run_time or execution.run_time) + MINUTE
            assert job.next_run_time == minute

    @invariant()
    def no_job_has_more_instances_than_it_may(self):
        running = DjangoJobExecution.objects.filter(
            status__in=DjangoJobExecution.RUNNING
        )
        claims = {(row.job_id, row.claim_id) for row in running}
        counts = Counter(job_id for job_id, _ in claims)
        assert all(count <= 5 for count in counts.values())

    @invariant()
    def later_attempts_come_after_a_recorded_loss(self):
        for execution in DjangoJobExecution.objects.filter(attempt__gt=1):
            assert "was lost" in execution.note

    def teardown(self):
        for model in (
            DjangoJob,
            DjangoJobExecution,
            SchedulerCommand,
            SchedulerControl,
            SchedulerProcess,
        ):
            model.objects.all().delete()


class TestCluster(TestCase):
    """The machine above, on the test's database."""

    def test_the_promises_hold_in_any_order_of_events(self):
        run_state_machine_as_test(
            Cluster,
            settings=settings(max_examples=15, stateful_step_count=30, deadline=None),
        )
