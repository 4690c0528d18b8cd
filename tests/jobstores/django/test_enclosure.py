"""Jobs with transactional=True: body and outcome are one transaction."""

from __future__ import annotations

import pickle

import pytest
from django.contrib.auth.models import Group
from django.db import transaction

from django_apscheduler.executors.asyncio import AsyncIOExecutor
from django_apscheduler.executors.base import CurrentRun, run_body
from django_apscheduler.executors.children import TAKEN_OVER, Call, run_call
from django_apscheduler.executors.debug import DebugExecutor
from django_apscheduler.models import DjangoJobExecution, SchedulerProcess
from django_apscheduler.schedulers.plugins import load_plugin
from django_apscheduler.schedulers.remote import RemoteScheduler
from tests.jobstores.django.support import NOON, add, log, make_store

pytestmark = pytest.mark.django_db


def write(name, then=None):
    Group.objects.create(name=name)
    if then == "fail":
        raise ValueError("no such account")
    if then == "lose":
        # What a sweep leaves when this process was stopped for too long.
        with transaction.atomic():
            other = SchedulerProcess.objects.create(
                host="other", pid=1, started_time=NOON, lease_until=NOON
            )
            DjangoJobExecution.objects.update(owner=other, attempt=2)
    return name


async def write_later():
    pass


@pytest.fixture
def store():
    return make_store()


def claim(store, *args):
    add(store, func=write, args=args, transactional=True)
    (run,) = store.claim_due({"default": 5}, NOON).runs
    assert run.confirm_start, "its start is durable before its transaction begins"
    assert store.confirm_starts([run]) == [run]
    return run


def groups():
    return list(Group.objects.values_list("name", flat=True))


def test_what_the_body_writes_and_its_outcome_are_there_together(store):
    run = claim(store, "paid")
    outcome = run_body(run, 0)
    assert (outcome.status, outcome.retval, outcome.settled) == (
        "Executed",
        "paid",
        True,
    )
    assert groups() == ["paid"]
    # Before anybody settles: the body's own transaction has written it.
    execution = DjangoJobExecution.objects.get()
    assert execution.status == "Executed"
    assert execution.finished_time >= execution.started_time
    assert store.settle([outcome]) == [outcome]
    assert store.here.jobs() == []


def test_a_body_that_fails_leaves_nothing_but_its_failure(store):
    run = claim(store, "paid", "fail")
    outcome = run_body(run, 0)
    assert outcome.settled is False
    assert groups() == []
    assert store.settle([outcome]) == [outcome]
    execution = DjangoJobExecution.objects.get()
    assert (execution.status, execution.exception) == (
        "Error!",
        "ValueError: no such account",
    )


def test_a_run_that_was_taken_over_leaves_nothing_at_all(store, caplog):
    run = claim(store, "paid", "lose")
    assert run_body(run, 0) is None
    assert groups() == []
    assert log() == [("Started execution", NOON, 1)]
    assert "has been undone" in caplog.text


@pytest.mark.parametrize(
    ("then", "status", "kept"),
    [(None, "Executed", ["paid"]), ("fail", "Error!", []), ("lose", TAKEN_OVER, [])],
)
def test_processes_of_a_pool_keep_to_it_as_well(store, then, status, kept):
    run = claim(store, "paid", then)
    # As it travels to the process, whose part is played here.
    current = CurrentRun("job", NOON, 1, run.execution_ids[0])
    call = Call(write, run.job.args, {}, current, run.enclose)
    assert run_call(pickle.loads(pickle.dumps(call))).status == status
    assert groups() == kept


def scheduler(**executors):
    return RemoteScheduler(
        jobstores={"default": "django", "memory": "memory"},
        executors={"default": DebugExecutor(), **executors},
        timezone="UTC",
    )


@pytest.mark.parametrize(
    ("options", "obstacle"),
    [
        ({"executor": "loop"}, 'executor "loop" does not run bodies in a thread'),
        ({"jobstore": "memory"}, 'job store "memory" keeps no log'),
        ({"func": write_later, "args": ()}, "write_later is an async def"),
    ],
)
def test_what_cannot_be_kept_is_refused_when_the_job_is_added(options, obstacle):
    remote = scheduler(loop=AsyncIOExecutor())
    given = {"func": write, "args": ["x"], "trigger": "interval", "minutes": 1}
    with pytest.raises(ValueError, match=rf"transactional=True: {obstacle}"):
        remote.add_job(**{**given, **options}, transactional=True)


@pytest.mark.parametrize("kind", ["tornado", "twisted"])
def test_loops_of_other_frameworks_cannot_keep_it_either(kind):
    pytest.importorskip(kind)
    cls = load_plugin("executors", kind)
    with pytest.raises(ValueError, match='executor "loop" does not run bodies'):
        scheduler(loop=cls()).add_job(
            write,
            "interval",
            args=["x"],
            minutes=1,
            executor="loop",
            transactional=True,
        )


def test_what_cannot_be_kept_is_refused_when_the_job_is_changed():
    remote = scheduler(loop=AsyncIOExecutor())
    job = remote.add_job(
        write, "interval", minutes=1, args=["x"], transactional=True, id="a"
    )
    with pytest.raises(ValueError, match='executor "loop"'):
        job.modify(executor="loop")
    assert remote.get_job("a").executor == "default"
    remote.modify_job("a", executor="loop", transactional=False)
    with pytest.raises(ValueError, match='executor "loop"'):
        remote.modify_job("a", transactional=True)
    assert remote.get_job("a").transactional is False
