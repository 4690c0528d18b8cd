"""What every job store does, run over each of them."""

from datetime import datetime, timedelta, timezone

import pytest

from django_apscheduler import clock
from django_apscheduler.job import Job
from django_apscheduler.jobstores.base import (
    ConflictingIdError,
    JobLookupError,
    Outcome,
)
from django_apscheduler.jobstores.memory import MemoryJobStore
from django_apscheduler.triggers.cron import CronTrigger
from django_apscheduler.triggers.date import DateTrigger
from django_apscheduler.triggers.interval import IntervalTrigger
from tests.jobstores.conftest import PERSISTENT
from tests.jobstores.django.support import make_store
from tests.jobstores.places import place

UTC = timezone.utc
NOON = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def body(*args):
    pass


class FakeScheduler:
    """As much of a scheduler as a job needs."""

    timezone = UTC


@pytest.fixture(
    params=[
        "memory",
        pytest.param("django", marks=pytest.mark.django_db),
        *PERSISTENT,
    ],
)
def store(request):
    here = None
    with clock.use(clock.ManualClock(NOON)):
        if request.param == "memory":
            store = MemoryJobStore()
            store.start(FakeScheduler(), "default")
        elif request.param == "django":
            # Claims on the test's own connection, without threads of its own.
            store = make_store()
        else:
            here = place(request.param, request)
            store = here.make()
            store.start(FakeScheduler(), "default")
        yield store
        store.shutdown()
    if here is not None:
        here.clear()


def make(id, due=NOON, trigger=None, **options):
    defaults = {
        "executor": "default",
        "coalesce": True,
        "misfire_grace_time": None,
        "max_instances": 1,
    }
    job = Job(
        FakeScheduler(),
        id=id,
        func=body,
        trigger=trigger or IntervalTrigger(minutes=1, start_date=NOON, timezone=UTC),
        next_run_time=due,
        **{**defaults, **options},
    )
    job.changes.clear()
    return job


def ids(jobs):
    return [job.id for job in jobs]


def test_a_job_is_found_by_its_id(store):
    store.add_job(make("a"))
    assert store.lookup_job("a").id == "a"
    assert store.lookup_job("b") is None


def test_an_id_can_be_had_once(store):
    store.add_job(make("a"))
    with pytest.raises(ConflictingIdError, match=r"^Job identifier \(a\) conflicts"):
        store.add_job(make("a"))


def test_jobs_come_by_next_run_time_and_paused_ones_last(store):
    store.add_job(make("paused", None))
    store.add_job(make("later", NOON + MINUTE))
    store.add_job(make("sooner"))
    assert ids(store.get_all_jobs()) == ["sooner", "later", "paused"]
    assert store.get_next_run_time() == NOON


def test_due_jobs_are_those_whose_time_has_come(store):
    store.add_job(make("later", NOON + MINUTE))
    store.add_job(make("now"))
    store.add_job(make("paused", None))
    assert ids(store.get_due_jobs(NOON - timedelta(microseconds=1))) == []
    assert ids(store.get_due_jobs(NOON)) == ["now"]
    assert ids(store.get_due_jobs(NOON + MINUTE)) == ["now", "later"]


def test_an_update_moves_a_job(store):
    store.add_job(make("a"))
    store.add_job(make("b", NOON + MINUTE))
    job = store.lookup_job("a")
    job._modify(next_run_time=NOON + 2 * MINUTE, max_instances=6)
    store.update_job(job)
    assert ids(store.get_all_jobs()) == ["b", "a"]
    assert store.lookup_job("a").max_instances == 6
    assert store.get_next_run_time() == NOON + MINUTE


def test_unknown_jobs_are_an_error_that_names_them(store):
    with pytest.raises(JobLookupError, match="^No job by the id of nope was found$"):
        store.remove_job("nope")
    with pytest.raises(JobLookupError, match="nope"):
        store.update_job(make("nope"))
    with pytest.raises(JobLookupError, match="nope"):
        store.run_job_now("nope")


def test_removed_jobs_are_gone(store):
    for id in "abc":
        store.add_job(make(id))
    store.remove_job("b")
    assert ids(store.get_all_jobs()) == ["a", "c"]
    store.remove_all_jobs()
    assert store.get_all_jobs() == []
    assert store.get_next_run_time() is None


def test_a_claim_takes_due_jobs_and_moves_their_schedules_on(store):
    store.add_job(make("a"))
    store.add_job(make("b", NOON + MINUTE))
    batch = store.claim_due({"default": 5}, NOON)
    assert [(run.job.id, run.run_times) for run in batch.runs] == [("a", [NOON])]
    assert store.lookup_job("a").next_run_time == NOON + MINUTE
    assert batch.next_run_time == NOON + MINUTE
    assert store.claim_due({"default": 5}, NOON).runs == []


def test_a_claim_takes_no_more_than_there_is_room_for_oldest_first(store):
    for minute, id in [(3, "d"), (0, "a"), (2, "c"), (1, "b")]:
        store.add_job(make(id, NOON + minute * MINUTE))
    now = NOON + 3 * MINUTE
    assert ids(run.job for run in store.claim_due({"default": 2}, now).runs) == [
        "a",
        "b",
    ]


def test_a_full_executor_hides_nobodys_jobs(store):
    for i in range(5):
        store.add_job(make(f"full-{i}", executor="full"))
    store.add_job(make("free", NOON + MINUTE, executor="default"))
    batch = store.claim_due({"default": 1}, NOON + MINUTE)
    assert ids(run.job for run in batch.runs) == ["free"]
    assert len(store.get_due_jobs(NOON)) == 5, "the others stay due"


def test_a_job_that_runs_already_is_skipped_at_its_limit_until_it_ends(store):
    store.add_job(make("a", max_instances=2))
    free = {"default": 9}
    first = store.claim_due(free, NOON).runs[0]
    store.claim_due(free, NOON + MINUTE)
    batch = store.claim_due(free, NOON + 2 * MINUTE)
    assert batch.runs == []
    ((job, skipped),) = batch.skipped
    assert (job.id, skipped.status) == ("a", "Max instances!")
    assert skipped.run_times == (NOON + 2 * MINUTE,)
    assert store.lookup_job("a").next_run_time == NOON + 3 * MINUTE
    assert len(store.settle([Outcome(first, 0, "Executed")])) == 1
    assert len(store.claim_due(free, NOON + 3 * MINUTE).runs) == 1


def test_a_skipped_run_takes_no_slot_and_the_next_one_is_known(store):
    store.add_job(make("a", trigger=IntervalTrigger(minutes=1), max_instances=1))
    assert len(store.claim_due({"default": 1}, NOON).runs) == 1
    batch = store.claim_due({"default": 1}, NOON + 10 * MINUTE)
    assert (batch.runs, len(batch.skipped) > 0) == ([], True)
    assert batch.next_run_time == store.lookup_job("a").next_run_time


def test_run_times_in_succession_are_one_instance(store):
    store.add_job(make("a", coalesce=False))
    free = {"default": 9}
    (run,) = store.claim_due(free, NOON + 2 * MINUTE).runs
    assert run.run_times == [NOON, NOON + MINUTE, NOON + 2 * MINUTE]
    store.settle([Outcome(run, 0, "Executed"), Outcome(run, 1, "Executed")])
    assert store.claim_due(free, NOON + 3 * MINUTE).runs == []
    store.settle([Outcome(run, 2, "Error!")])
    assert len(store.claim_due(free, NOON + 4 * MINUTE).runs) == 1


def test_a_job_whose_schedule_ends_is_removed_with_its_last_claim(store):
    store.add_job(make("once", trigger=DateTrigger(NOON, UTC)))
    batch = store.claim_due({"default": 1}, NOON)
    assert ids(run.job for run in batch.runs) == ["once"]
    assert ids(batch.removed) == ["once"]
    assert store.lookup_job("once") is None
    assert store.get_all_jobs() == []
    assert batch.next_run_time is None


def test_a_missed_run_is_reported_and_the_job_goes_on(store):
    store.add_job(make("a", misfire_grace_time=5))
    batch = store.claim_due({"default": 1}, NOON + timedelta(seconds=6))
    assert batch.runs == []
    assert [(job.id, s.status) for job, s in batch.skipped] == [("a", "Missed!")]
    assert store.lookup_job("a").next_run_time == NOON + MINUTE


class Stuck(IntervalTrigger):
    def get_next_fire_time(self, previous, now):
        return previous


def test_a_broken_trigger_parks_its_own_job_only(store):
    store.add_job(make("bad", trigger=Stuck(minutes=1, start_date=NOON, timezone=UTC)))
    store.add_job(make("good"))
    batch = store.claim_due({"default": 5}, NOON)
    assert ids(run.job for run in batch.runs) == ["good"]
    ((id, reason),) = batch.broken
    assert id == "bad" and "must fire later than" in reason
    assert store.lookup_job("bad").state == "broken"
    assert store.lookup_job("bad").next_run_time is None


def test_run_now_runs_paused_jobs_once_and_leaves_the_schedule_alone(store):
    store.add_job(make("paused", None))
    store.add_job(make("later", NOON + MINUTE))
    for id in ("paused", "later"):
        store.run_job_now(id)
    batch = store.claim_due({"default": 5}, NOON)
    assert sorted(run.job.id for run in batch.runs) == ["later", "paused"]
    assert store.lookup_job("later").next_run_time == NOON + MINUTE
    assert store.lookup_job("paused").next_run_time is None
    assert store.claim_due({"default": 5}, NOON).runs == []


def test_run_now_waits_for_room_and_for_the_running_instance(store):
    store.add_job(make("a"))
    (run,) = store.claim_due({"default": 5}, NOON).runs
    store.run_job_now("a")
    assert store.claim_due({"default": 5}, NOON).runs == []
    store.settle([Outcome(run, 0, "Executed")])
    assert store.claim_due({}, NOON).runs == []
    assert len(store.claim_due({"default": 1}, NOON).runs) == 1


def test_declaring_a_job_again_keeps_its_timing_and_its_pause(store):
    trigger = CronTrigger(hour=3, timezone=UTC)
    store.add_jobs([make("a", NOON, trigger), make("b", None, trigger)])
    for id in "ab":
        again = make(id, NOON + 5 * MINUTE, CronTrigger(hour=3, timezone=UTC))
        again.name = "Renamed"
        store.add_jobs([again], replace_existing=True)
    assert store.lookup_job("a").next_run_time == NOON
    assert store.lookup_job("a").name == "Renamed"
    assert store.lookup_job("b").next_run_time is None


def test_declaring_a_job_again_with_another_trigger_or_time_takes_effect(store):
    store.add_jobs([make("a"), make("b")])
    changed = make("a", NOON + MINUTE, CronTrigger(hour=3, timezone=UTC))
    given = make("b", NOON)
    given._modify(next_run_time=NOON + 2 * MINUTE)
    store.add_jobs([changed, given], replace_existing=True)
    assert store.lookup_job("a").next_run_time == NOON + MINUTE
    assert store.lookup_job("b").next_run_time == NOON + 2 * MINUTE
    with pytest.raises(ConflictingIdError):
        store.add_jobs([make("a")])


def test_many_jobs_are_added_or_none(store):
    store.add_job(make("taken"))
    with pytest.raises(ConflictingIdError) as caught:
        store.add_jobs([make("a"), make("b"), make("taken")])
    assert caught.value.job_id == "taken"
    assert [job.id for job in store.get_all_jobs()] == ["taken"]
    assert [run.job.id for run in store.claim_due({"default": 9}, NOON).runs] == [
        "taken"
    ]
    store.add_jobs([make("a"), make("b")])
    assert len(store.claim_due({"default": 9}, NOON).runs) == 2
