"""Edits touch what was changed, see claims whole, and join the caller's transaction."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.db import transaction

from django_apscheduler.jobstores.base import (
    ConflictingIdError,
    ExecutionLookupError,
    JobLookupError,
    TransientJobError,
)
from django_apscheduler.models import (
    DjangoJob,
    DjangoJobExecution,
    SchedulerCommand,
)
from django_apscheduler.serialization import SerializationError, resolve_arguments
from django_apscheduler.triggers.base import BaseTrigger
from django_apscheduler.triggers.cron import CronTrigger
from django_apscheduler.triggers.interval import IntervalTrigger
from tests.jobstores.django import bodies
from tests.jobstores.django.support import (
    MINUTE,
    NOON,
    UTC,
    add,
    finish,
    log,
    make_job,
    make_store,
    once,
    real_now,
    row,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def store():
    return make_store()


@pytest.fixture
def future():
    """A whole minute an hour from now, by the database's clock."""
    return real_now().replace(second=0, microsecond=0) + timedelta(hours=1)


def test_a_row_reads_well(store):
    add(store, args=(1, "a"), kwargs={"when": NOON}, name="Nightly", max_instances=3)
    stored = row()
    assert (stored.id, stored.name, stored.state) == ("job", "Nightly", "active")
    assert stored.func == "tests.jobstores.django.bodies:note"
    assert stored.args == '[1,"a"]'
    assert stored.kwargs == '{"when":{"$datetime":"2026-05-30T12:00:00+00:00"}}'
    assert stored.trigger == (
        '{"args":{"minutes":1,"start_date":{"$datetime":"2026-05-30T12:00:00+00:00"},'
        '"timezone":{"$timezone":"UTC"}},"type":"interval"}'
    )
    assert (stored.max_instances, stored.revision) == (3, 1)
    assert (stored.next_run_time, stored.nominal_time) == (NOON, NOON)
    assert stored.declaration is None


def test_a_job_comes_back_as_it_was_added(store):
    job = add(store, args=(1,), kwargs={"a": {2}}, misfire_grace_time=7, on_lost="mark")
    loaded = store.lookup_job("job")
    for name in ("id", "uid", "name", "func", "args", "kwargs", "trigger", "executor",
                 "coalesce", "misfire_grace_time", "max_instances", "on_lost",
                 "transactional", "next_run_time", "nominal_time", "state"):  # fmt: skip
        assert getattr(loaded, name) == getattr(job, name), name
    assert loaded.changes == set()


def test_an_id_is_taken_once(store):
    add(store)
    with pytest.raises(ConflictingIdError, match=r"Job identifier \(job\) conflicts"):
        add(store)
    with pytest.raises(ConflictingIdError, match=r"\(twice\)"):
        store.add_jobs([make_job("twice"), make_job("twice")])
    assert DjangoJob.objects.count() == 1


def test_what_cannot_be_stored_is_refused_by_name(store):
    with pytest.raises(SerializationError, match=r"kwargs\['thing'\] is a object"):
        add(store, kwargs={"thing": object()})
    with pytest.raises(TransientJobError, match=r"Job \(job\) cannot be added"):
        add(store, func=lambda: None)
    assert not DjangoJob.objects.exists()


def test_pickle_is_opt_in(store):
    pickling = make_store(allow_pickle=True)
    add(pickling, args=(complex(1, 2),))
    assert pickling.lookup_job("job").args == (complex(1, 2),)
    assert store.lookup_job("job") is None
    assert [id for id, _ in store.claim_due({"default": 1}, NOON).broken] == ["job"]


def test_the_setting_allows_pickle(settings):
    settings.APSCHEDULER = {"allow_pickle": True}
    add(make_store(), args=(complex(1, 2),))
    assert row().args.startswith('[{"$pickle":"')


def test_a_model_instance_loads_when_the_body_needs_it(store):
    user = get_user_model().objects.create(username="ann")
    add(store, args=(user,))
    assert row().args == f'[{{"$model":{{"model":"auth.user","pk":"{user.pk}"}}}}]'
    (run,) = store.claim_due({"default": 1}, NOON).runs
    assert resolve_arguments(run.job.args, {}) == ((user,), {})
    user.delete()
    with pytest.raises(LookupError, match=r"the auth.User with primary key '\d+'"):
        resolve_arguments(run.job.args, {})


def test_an_unsaved_instance_is_refused(store):
    with pytest.raises(SerializationError, match=r"args\[0\]: the auth.User has not"):
        add(store, args=(get_user_model()(),))


def test_many_jobs_are_added_or_none(store):
    add(store, "job7")
    jobs = [make_job(f"job{number}") for number in range(20)]
    with pytest.raises(ConflictingIdError, match=r"\(job7\)"):
        store.add_jobs(jobs)
    assert DjangoJob.objects.count() == 1
    store.add_jobs(jobs, replace_existing=True)
    assert DjangoJob.objects.count() == 20


def test_adding_joins_the_callers_transaction(store):
    with transaction.atomic():
        add(store)
        assert row().state == "active"
        transaction.set_rollback(True)
    assert not DjangoJob.objects.exists()


def test_replacing_with_the_same_leaves_the_schedule_alone(store):
    add(store)
    store.claim_due({"default": 1}, NOON)
    before = DjangoJob.objects.values().get()
    same = make_job(now=NOON, next_run_time=None)
    same.changes.clear()
    store.add_job(same, replace_existing=True)
    assert DjangoJob.objects.values().get() == before
    assert same.next_run_time == NOON + MINUTE


def test_replacing_leaves_a_pause_alone(store):
    add(store)
    job = store.lookup_job("job")
    job._modify(next_run_time=None)
    store.update_job(job)
    store.add_job(make_job(), replace_existing=True)
    assert (row().state, row().next_run_time) == ("paused", None)


def test_replacing_brings_changes_in_and_keeps_the_schedule(store):
    add(store)
    uid = row().uid
    store.claim_due({"default": 1}, NOON)
    store.add_job(make_job(func=bodies.other, args=(2,)), replace_existing=True)
    changed = row()
    assert (changed.func, changed.args) == (f"{bodies.__name__}:other", "[2]")
    assert (changed.next_run_time, changed.uid) == (NOON + MINUTE, uid)
    assert changed.revision == 2
    assert len(store.claim_due({"default": 1}, NOON + 2 * MINUTE).broken) == 0


def test_replacing_with_another_trigger_starts_its_schedule(store, future):
    add(store)
    new = make_job(trigger=once(future), now=real_now())
    store.add_job(new, replace_existing=True)
    assert row().next_run_time == future


def test_replacing_with_a_given_time_uses_it(store):
    add(store)
    new = make_job(next_run_time=NOON + 5 * MINUTE)
    store.add_job(new, replace_existing=True)
    assert row().next_run_time == NOON + 5 * MINUTE


def test_replacing_leaves_what_staff_overrode(store):
    add(store)
    DjangoJob.objects.update(overrides='["max_instances"]', max_instances=4)
    store.add_job(make_job(max_instances=2, name="New"), replace_existing=True)
    assert (row().max_instances, row().name) == (4, "New")


def test_replacing_mends_a_broken_job(store):
    add(store)
    DjangoJob.objects.update(state="broken", error="why", next_run_time=None, func="")
    store.add_job(make_job(), replace_existing=True)
    assert (row().state, row().error, row().next_run_time) == ("active", "", NOON)


def test_the_id_of_a_finished_job_is_free(store):
    add(store, trigger=once())
    finish(store, *store.claim_due({"default": 1}, NOON).runs)
    old = row().uid
    add(store, trigger=once())
    assert (row().state, row().next_run_time, row().finished_time) == (
        "active",
        NOON,
        None,
    )
    assert row().uid != old
    assert len(store.claim_due({"default": 1}, NOON).runs) == 1
    assert [status for status, _, _ in log()] == ["Executed", "Claimed"]


def test_a_stale_job_writes_only_what_it_changes(store):
    add(store)
    stale = store.lookup_job("job")
    store.claim_due({"default": 1}, NOON)
    other = store.lookup_job("job")
    other._modify(max_instances=5)
    store.update_job(other)
    stale._modify(name="Renamed")
    store.update_job(stale)
    changed = row()
    assert (changed.name, changed.max_instances) == ("Renamed", 5)
    assert changed.next_run_time == NOON + MINUTE
    assert changed.revision == 3
    assert stale.next_run_time == NOON + MINUTE


def test_an_equal_trigger_keeps_the_schedule_running(store):
    add(store)
    job = store.lookup_job("job")
    store.claim_due({"default": 1}, NOON)
    job._modify(trigger=IntervalTrigger(minutes=1, start_date=NOON, timezone=UTC))
    store.update_job(job)
    assert (row().next_run_time, row().revision) == (NOON + MINUTE, 1)


def test_another_trigger_is_computed_from_now(store):
    add(store)
    job = store.lookup_job("job")
    job._modify(trigger=CronTrigger(year=2199, timezone=UTC))
    store.update_job(job)
    assert row().next_run_time.isoformat() == "2199-01-01T00:00:00+00:00"
    assert log() == [("Cancelled", NOON, 1)]


def test_a_due_run_that_a_pause_overtakes_leaves_a_row(store):
    add(store)
    job = store.lookup_job("job")
    job._modify(next_run_time=None)
    store.update_job(job)
    assert (row().state, row().next_run_time) == ("paused", None)
    assert row().paused_time is not None
    assert log() == [("Cancelled", NOON, 1)]
    assert DjangoJobExecution.objects.get().note == (
        "Was due, but the job was paused before it could be claimed."
    )
    job._modify(next_run_time=NOON + MINUTE)
    store.update_job(job)
    assert (row().state, row().paused_time) == ("active", None)


def test_a_run_that_is_not_due_leaves_none(store, future):
    add(store, next_run_time=future)
    job = store.lookup_job("job")
    job._modify(next_run_time=None)
    store.update_job(job)
    store.remove_job("job")
    assert log() == []


def test_an_edit_does_not_sign_what_somebody_slipped_in(store):
    add(store)
    DjangoJob.objects.update(func="os:abort")
    job = make_job()
    job.changes.clear()
    job._modify(trigger=CronTrigger(year=2199, timezone=UTC))
    store.update_job(job)
    assert row().signature == ""
    DjangoJob.objects.update(next_run_time=NOON)
    assert len(store.claim_due({"default": 1}, NOON).broken) == 1


def test_removing_keeps_the_log_and_cancels_what_waits(store):
    add(store)
    finish(store, *store.claim_due({"default": 1}, NOON).runs)
    execution_id = store.run_job_now("job")
    store.remove_job("job")
    assert not DjangoJob.objects.exists()
    assert log(job_id="job", run_time__lte=NOON + MINUTE) == [
        ("Executed", NOON, 1),
        ("Cancelled", NOON + MINUTE, 1),
    ]
    waiting = DjangoJobExecution.objects.get(pk=execution_id)
    assert (waiting.status, waiting.note) == (
        "Cancelled",
        "The job was removed before it could run.",
    )
    with pytest.raises(JobLookupError, match="No job by the id of job was found"):
        store.remove_job("job")


def test_what_is_not_there_cannot_be_changed_or_run(store):
    job = make_job()
    with pytest.raises(JobLookupError):
        store.update_job(job)
    with pytest.raises(JobLookupError):
        store.run_job_now("job")


def test_removing_all_leaves_the_log(store):
    add(store, "one")
    add(store, "two", trigger=once())
    store.claim_due({"default": 5}, NOON)
    store.remove_all_jobs()
    assert not DjangoJob.objects.exists()
    assert [status for status, _, _ in log()][:2] == ["Claimed", "Claimed"]


def test_a_removed_and_added_job_is_another_one(store):
    add(store)
    store.claim_due({"default": 1}, NOON)
    store.remove_job("job")
    add(store)
    # The old run still occupies its instance; its occurrence's key is no obstacle.
    DjangoJob.objects.update(max_instances=2)
    assert len(store.claim_due({"default": 1}, NOON).runs) == 1


def test_jobs_are_listed_by_time_with_paused_ones_last(store):
    add(store, "late", next_run_time=NOON + MINUTE)
    add(store, "paused", next_run_time=None)
    add(store, "early")
    add(store, "broken")
    DjangoJob.objects.filter(pk="broken").update(args="?", state="broken")
    before = list(DjangoJob.objects.order_by("id").values())
    assert [job.id for job in store.get_all_jobs()] == ["early", "late", "paused"]
    assert [job.id for job in store.get_due_jobs(NOON)] == ["early"]
    assert store.get_next_run_time() == NOON
    assert list(DjangoJob.objects.order_by("id").values()) == before


def test_run_now_runs_beside_the_schedule(store):
    add(store, next_run_time=NOON + MINUTE)
    execution_id = store.run_job_now("job", requested_by="ann")
    execution = DjangoJobExecution.objects.get(pk=execution_id)
    assert (execution.status, execution.origin, execution.requested_by) == (
        "Queued",
        "manual",
        "ann",
    )
    (run,) = store.claim_due({"default": 1}, NOON).runs
    assert (run.execution_ids, run.run_times) == ([execution_id], [execution.run_time])
    assert row().next_run_time == NOON + MINUTE
    finish(store, run)
    assert DjangoJobExecution.objects.get().status == "Executed"


def test_asking_twice_with_one_token_is_asking_once(store):
    add(store)
    first = store.run_job_now("job", token="abc")
    assert store.run_job_now("job", token="abc") == first
    assert store.run_job_now("job", token="def") != first
    assert SchedulerCommand.objects.count() == 2


def test_a_retry_is_a_new_run_that_names_the_one_it_repeats(store):
    add(store)
    (run,) = store.claim_due({"default": 5}, NOON).runs
    finish(store, run, status="Error!")
    failed = DjangoJobExecution.objects.get()
    new = store.run_job_now("job", token="t", requested_by="ann", retry_of=failed.pk)
    again = store.run_job_now("job", token="t", requested_by="ann", retry_of=failed.pk)
    assert again == new
    retry = DjangoJobExecution.objects.get(pk=new)
    assert (retry.origin, retry.retry_of_id, retry.requested_by, retry.status) == (
        "retry",
        failed.pk,
        "ann",
        "Queued",
    )
    assert DjangoJobExecution.objects.count() == 2
    (claimed,) = store.claim_due({"default": 5}, NOON + timedelta(seconds=1)).runs
    assert claimed.execution_ids == [new]
    finish(store, claimed)
    statuses = DjangoJobExecution.objects.order_by("pk").values_list("status")
    assert list(statuses) == [("Error!",), ("Executed",)]


def test_what_cannot_be_retried_is_refused_with_the_reason(store):
    add(store)
    add(store, id="other")
    waiting = store.run_job_now("job")
    over = DjangoJobExecution.objects.create(
        job_id="other", status="Error!", run_time=NOON
    )
    with pytest.raises(ValueError, match=f"execution {waiting} is not over .Queued"):
        store.run_job_now("job", retry_of=waiting)
    with pytest.raises(ValueError, match="is one of the job 'other', not of 'job'"):
        store.run_job_now("job", retry_of=over.pk)
    with pytest.raises(ExecutionLookupError, match="No execution by the id of 987"):
        store.run_job_now("job", retry_of=987)
    store.remove_job("other")
    with pytest.raises(JobLookupError):
        store.run_job_now("other", retry_of=over.pk)
    DjangoJob.objects.filter(id="job").update(state="broken", error="Because.")
    DjangoJobExecution.objects.filter(pk=waiting).update(status="Error!")
    with pytest.raises(ValueError, match="The job 'job' is broken. Because."):
        store.run_job_now("job", retry_of=waiting)
    assert not DjangoJobExecution.objects.filter(origin="retry").exists()


def test_run_now_waits_for_the_other_instances(store):
    add(store)
    (run,) = store.claim_due({"default": 5}, NOON).runs
    execution_id = store.run_job_now("job")
    now = NOON + timedelta(seconds=1)
    assert store.claim_due({"default": 5}, now).runs == []
    finish(store, run)
    (waited,) = store.claim_due({"default": 5}, now).runs
    assert waited.execution_ids == [execution_id]


@pytest.mark.parametrize("state", ["paused", "finished"])
def test_paused_and_finished_jobs_can_be_run(store, state):
    add(store)
    DjangoJob.objects.update(state=state, next_run_time=None)
    store.run_job_now("job")
    assert len(store.claim_due({"default": 1}, NOON).runs) == 1
    assert row().state == state


def test_a_broken_job_cannot_be_run(store):
    add(store)
    DjangoJob.objects.update(state="broken", error="Because.")
    with pytest.raises(ValueError, match="The job 'job' is broken. Because."):
        store.run_job_now("job")


def test_a_run_now_that_nobody_took_expires(store):
    add(store, executor="gpu", next_run_time=None)
    store.run_job_now("job")
    late = real_now() + timedelta(minutes=6)
    assert store.claim_due({"default": 1}, late).runs == []
    execution = DjangoJobExecution.objects.get()
    assert (execution.status, execution.note) == (
        "Cancelled",
        "No scheduler could start it before it expired.",
    )


def test_a_date_that_passes_during_a_pause_is_a_missed_row(store):
    add(store, trigger=once(NOON + MINUTE), next_run_time=None)
    DjangoJob.objects.update(paused_time=NOON)
    store.remove_job("job")
    assert log() == [("Missed!", NOON + MINUTE, 1)]
    assert DjangoJobExecution.objects.get().note == "Passed while the job was paused."


def test_a_recurring_job_leaves_none_for_its_pause(store):
    add(store, next_run_time=None)
    DjangoJob.objects.update(paused_time=NOON)
    store.remove_job("job")
    assert log() == []


def test_a_one_off_that_resumes_too_late_is_finished(store):
    add(store, trigger=once(NOON + MINUTE), next_run_time=None)
    DjangoJob.objects.update(paused_time=NOON, resume_time=NOON + 2 * MINUTE)
    assert store.resume_due() == ["job"]
    assert (row().state, row().next_run_time) == ("finished", None)
    assert log() == [("Missed!", NOON + MINUTE, 1)]


def test_a_paused_job_resumes_when_its_time_has_come(store):
    add(store, trigger=CronTrigger(year="2199", timezone=UTC), next_run_time=None)
    DjangoJob.objects.update(resume_time=real_now() + timedelta(hours=1))
    assert store.resume_due() == []
    DjangoJob.objects.update(resume_time=real_now())
    assert store.resume_due() == ["job"]
    assert (row().state, row().next_run_time.year, row().resume_time) == (
        "active",
        2199,
        None,
    )


def test_a_paused_job_that_cannot_be_restored_is_broken_when_it_resumes(store):
    add(store, next_run_time=None)
    DjangoJob.objects.update(resume_time=NOON, args="?")
    assert store.resume_due() == []
    assert (row().state, row().resume_time) == ("broken", None)
    assert store.resume_due() == []


class Faulty(BaseTrigger):
    """A trigger that cannot say when it fires."""

    def get_next_fire_time(self, previous_fire_time, now):
        raise RuntimeError("out of order")

    def get_arguments(self):
        return {}


def test_a_faulty_trigger_keeps_no_other_job_from_resuming(store):
    add(store, "faulty", trigger=Faulty(), next_run_time=None)
    add(store, "good", next_run_time=None)
    DjangoJob.objects.update(resume_time=NOON)
    assert store.resume_due() == ["good"]
    assert (row("faulty").state, row("good").state) == ("broken", "active")
    assert "RuntimeError: out of order" in row("faulty").error
    assert store.retry_broken() == []


def test_a_broken_job_that_is_mended_after_its_end_has_finished(store):
    trigger = IntervalTrigger(minutes=1, start_date=NOON, end_date=NOON, timezone=UTC)
    add(store, trigger=trigger, next_run_time=None)
    DjangoJob.objects.update(state="broken", error="why")
    assert store.retry_broken() == ["job"]
    assert (row().state, row().error) == ("finished", "")
    assert row().finished_time is not None


def test_a_token_belongs_to_one_job(store):
    add(store)
    add(store, "other")
    store.run_job_now("job", token="abc")
    with pytest.raises(ValueError, match="'abc' was used for the job 'job'"):
        store.run_job_now("other", token="abc")
