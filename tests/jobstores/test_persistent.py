"""What the stores in other people's databases do alike: keep, refuse, park and resume."""

from __future__ import annotations

import base64
import json
import logging
import threading
from datetime import datetime, timedelta, timezone
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from django_apscheduler import clock
from django_apscheduler.job import Job
from django_apscheduler.jobstores import signing
from django_apscheduler.jobstores.base import (
    ConflictingIdError,
    JobLookupError,
    TransientJobError,
)
from django_apscheduler.planning import first_fire
from django_apscheduler.serialization import SerializationError
from django_apscheduler.triggers.cron import CronTrigger
from django_apscheduler.triggers.date import DateTrigger
from django_apscheduler.triggers.interval import IntervalTrigger

UTC = timezone.utc
NOON = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
MICROSECOND = timedelta(microseconds=1)


class Owner:
    """As much of a scheduler as a store and a job need."""

    timezone = UTC


class Cargo:
    """What JSON cannot carry."""

    def __eq__(self, other):
        return type(other) is Cargo

    __hash__ = None


def body(*args, **kwargs):
    pass


def make(id="job", due=NOON, trigger=None, **options):
    """Return a job as a scheduler hands it to a store."""
    trigger = trigger or IntervalTrigger(minutes=1, start_date=NOON, timezone=UTC)
    defaults = {
        "func": body,
        "executor": "default",
        "coalesce": True,
        "misfire_grace_time": None,
        "max_instances": 1,
        "args": (),
        "kwargs": {},
    }
    job = Job(
        Owner(), id=id, trigger=trigger, next_run_time=due, **{**defaults, **options}
    )
    job.changes.clear()
    return job


@pytest.fixture
def manual():
    with clock.use(clock.ManualClock(NOON)) as manual:
        yield manual


@pytest.fixture
def start(here, manual):
    """Start a store at the test's place; what it knew of the one before is gone."""
    started = []

    def start(**options):
        for store in started:
            store.shutdown()
        store = here.make(**options)
        store.start(Owner(), "default")
        started.append(store)
        return store

    yield start
    for store in started:
        store.shutdown()


@pytest.fixture
def store(start):
    # Without signatures, so that tests can change what is stored.
    return start(secret_key=False)


def ids(jobs):
    return [job.id for job in jobs]


def claimed(store, now=NOON, slots=9):
    return [run.job.id for run in store.claim_due({"default": slots}, now).runs]


# What is kept.


def test_everything_of_a_job_survives_a_restart(start):
    berlin = ZoneInfo("Europe/Berlin")
    due = datetime(2026, 10, 25, 2, 30, 0, 123457, tzinfo=berlin, fold=1)
    job = make(
        "nightly",
        due,
        CronTrigger(hour="2", minute=30, timezone=berlin, jitter=5),
        args=(1, "zwei", {"drei": [due]}),
        kwargs={"since": timedelta(hours=1)},
        name="Nachts",
        executor="other",
        coalesce=False,
        misfire_grace_time=90,
        max_instances=4,
        on_lost="mark",
    )
    job.nominal_time = due - MICROSECOND
    start().add_job(job)
    found = start().lookup_job("nightly")
    names = (
        "id", "uid", "name", "func_ref", "args", "kwargs", "executor", "coalesce",
        "misfire_grace_time", "max_instances", "on_lost", "transactional", "state",
        "trigger", "error",
    )  # fmt: skip
    assert {n: getattr(found, n) for n in names} == {n: getattr(job, n) for n in names}
    assert found.next_run_time.astimezone(UTC) == due.astimezone(UTC)
    assert found.nominal_time.astimezone(UTC) == (due - MICROSECOND).astimezone(UTC)
    assert str(found.next_run_time.tzinfo) == "Europe/Berlin"
    assert found.func is body


def test_what_is_stored_can_be_read_by_people(here, store):
    store.add_job(make("a", args=(1, "x"), kwargs={"k": None}))
    stored = here.read("a")
    assert stored["func"] == f"{__name__}:body"
    assert json.loads(stored["trigger"])["type"] == "interval"
    assert json.loads(stored["args"]) == [1, "x"]
    assert json.loads(stored["kwargs"]) == {"k": None}
    assert stored["state"] == "active"
    assert str(stored["next_run_time"])[:16].replace("T", " ") == "2026-06-01 12:00"
    assert UUID(stored["uid"])


def test_an_interval_without_a_start_keeps_its_phase_across_restarts(start):
    store = start()
    trigger = IntervalTrigger(minutes=10, timezone=UTC)
    job = make("a", None, trigger)
    job.next_run_time, job.nominal_time = first_fire(trigger, job.uid, NOON)
    first = job.next_run_time
    store.add_job(job)
    late = first + timedelta(minutes=3)
    # A restart in between, and a claim that comes late: the next one is still in step.
    batch = start().claim_due({"default": 2}, late)
    assert batch.runs[0].run_times == [first]
    assert batch.next_run_time == first + timedelta(minutes=10)


def test_declaring_a_job_again_after_a_restart_keeps_its_timing_and_identity(start):
    trigger = IntervalTrigger(minutes=10, timezone=UTC)
    job = make("a", None, trigger)
    job.next_run_time, job.nominal_time = first_fire(trigger, job.uid, NOON)
    uid, first = job.uid, job.next_run_time
    start().add_job(job)
    again = make("a", NOON + 3 * MINUTE, IntervalTrigger(minutes=10, timezone=UTC))
    store = start()
    store.add_jobs([again], replace_existing=True)
    found = store.lookup_job("a")
    assert (found.uid, found.next_run_time) == (uid, first)
    assert again.next_run_time == first


def test_times_order_by_the_microsecond(store):
    for order in (2, 0, 3, 1):
        store.add_job(make(f"j{order}", NOON + order * MICROSECOND))
    assert ids(store.get_all_jobs()) == ["j0", "j1", "j2", "j3"]
    assert claimed(store, NOON + MICROSECOND) == ["j0", "j1"]
    assert store.get_next_run_time() == NOON + 2 * MICROSECOND


def test_ids_that_differ_in_case_or_accents_are_different(store):
    names = ["a", "A", "á", "straße", "strasse", "日本 ☃ 😀"]
    store.add_jobs([make(id) for id in names])
    assert sorted(ids(store.get_all_jobs())) == sorted(names)
    store.remove_job("A")
    assert store.lookup_job("a").id == "a"
    assert store.lookup_job("A") is None


def test_a_large_argument_comes_back_whole(store):
    text = "ä" * 300_000
    store.add_job(make("a", args=(text,)))
    assert store.lookup_job("a").args == (text,)


def test_a_store_can_be_stopped_and_started_again(store):
    store.add_job(make("a"))
    store.shutdown()
    store.start(Owner(), "default")
    assert claimed(store) == ["a"]


@pytest.mark.django_db
def test_model_instances_are_kept_by_primary_key_in_a_django_project(here, store):
    from django.contrib.auth.models import Group

    from django_apscheduler.serialization import resolve_arguments

    group = Group.objects.create(name="editors")
    store.add_job(make("a", args=(group,)))
    assert json.loads(here.read("a")["args"]) == [
        {"$model": {"model": "auth.group", "pk": str(group.pk)}}
    ]
    assert resolve_arguments(store.lookup_job("a").args, {}) == ((group,), {})


# What is refused.


def test_what_json_cannot_carry_is_refused_by_name_and_nothing_is_stored(store):
    with pytest.raises(
        SerializationError, match=r"args\[0\] is a .*Cargo.*allow_pickle"
    ):
        store.add_job(make("a", args=(Cargo(),)))
    with pytest.raises(SerializationError, match=r"job 1 \('b'\): kwargs\['x'\]"):
        store.add_jobs([make("a"), make("b", kwargs={"x": Cargo()})])
    with pytest.raises(TransientJobError):
        store.add_job(make("a", func=lambda: None))
    assert store.get_all_jobs() == []


def test_pickle_is_opt_in_for_writing_and_for_reading(start, here):
    pickling = start(allow_pickle=True, pickle_protocol=2)
    pickling.add_job(make("a", args=(Cargo(),)))
    stored = json.loads(here.read("a")["args"])[0]["$pickle"]
    assert base64.b64decode(stored)[:2] == b"\x80\x02"
    assert pickling.lookup_job("a").args == (Cargo(),)
    strict = start()
    assert claimed(strict) == []
    assert "give the store allow_pickle=True" in strict.broken_jobs()["a"]


@pytest.mark.parametrize("protocol", [-1, 99])
def test_a_pickle_protocol_that_does_not_exist_is_refused(here, protocol):
    with pytest.raises(ValueError, match="pickle_protocol must be between 0 and"):
        here.make(pickle_protocol=protocol)


def test_options_may_be_texts_as_configuration_files_have_them(here):
    store = here.make(pickle_protocol="4", allow_pickle="no")
    assert (store.pickle_protocol, store.allow_pickle) == (4, False)


def test_of_a_batch_with_one_id_twice_nothing_is_stored(store):
    with pytest.raises(ConflictingIdError):
        store.add_jobs([make("a"), make("b"), make("a")])
    assert store.get_all_jobs() == []


def test_a_batch_with_replacements_is_stored_whole_or_not(store):
    store.add_job(make("old"))
    with pytest.raises(SerializationError):
        store.add_jobs(
            [make("old", name="new name"), make("bad", args=(Cargo(),))],
            replace_existing=True,
        )
    assert store.lookup_job("old").name == "body"
    store.add_jobs([make("old", name="new name"), make("b")], replace_existing=True)
    assert store.lookup_job("old").name == "new name"
    assert ids(store.get_all_jobs()) == ["b", "old"]


# What cannot be restored.

DAMAGES = {
    "trigger": ("{", "trigger must be JSON"),
    "args": ('{"$pickle":"gASVBgAAAAAAAACMAnJtlC4="}', "allow_pickle=True"),
    "func": ("nowhere.to_be:found", "could not import 'nowhere.to_be'"),
    "uid": ("no uuid", "what is stored as uid is not what a job has: 'no uuid'"),
}


@pytest.mark.parametrize("field", DAMAGES)
def test_a_damaged_job_is_parked_kept_and_hides_nobody(here, store, caplog, field):
    value, reason = DAMAGES[field]
    store.add_jobs([make("bad"), make("good", NOON + MICROSECOND)])
    before = here.read("bad")
    here.write("bad", **{field: value})
    with caplog.at_level(logging.ERROR):
        batch = store.claim_due({"default": 1}, NOON + MINUTE)
    assert ids(run.job for run in batch.runs) == ["good"]
    ((id, told),) = batch.broken
    assert id == "bad" and reason in told
    assert [r for r in caplog.records if "bad" in r.getMessage()][
        0
    ].levelname == "ERROR"
    stored = here.read("bad")
    assert (stored["state"], stored["next_run_time"]) == ("broken", None)
    assert stored[field] == value and stored["name"] == before["name"]
    assert reason in store.broken_jobs()["bad"]
    # It is not due again, is told of once, and others go on.
    caplog.clear()
    batch = store.claim_due({"default": 9}, NOON + 2 * MINUTE)
    assert ids(run.job for run in batch.runs) == ["good"] or batch.runs == []
    assert batch.broken == [] and "bad" not in caplog.text


def test_a_parked_job_goes_on_where_it_stood_once_it_can_be_restored(
    here, store, manual, caplog
):
    store.add_job(make("bad", coalesce=False))
    func = here.read("bad")["func"]
    here.write("bad", func="nowhere.to_be:found")
    batch = store.claim_due({"default": 9}, NOON)
    assert batch.runs == []
    assert batch.next_run_time == NOON + MINUTE, "it is looked at again by itself"
    here.write("bad", func=func)
    assert claimed(store, NOON + MINUTE) == [], "it is not looked at each time"
    manual.advance(61)
    (run,) = store.claim_due({"default": 9}, NOON + MINUTE).runs
    assert run.run_times == [NOON, NOON + MINUTE]
    stored = here.read("bad")
    assert (stored["state"], stored["error"]) == ("active", "")


def test_a_job_that_cannot_be_restored_can_be_replaced_and_removed(here, store):
    store.add_jobs([make("a"), make("b")])
    for id in "ab":
        here.write(id, trigger="{")
    assert claimed(store) == []
    store.add_jobs([make("a")], replace_existing=True)
    assert claimed(store) == ["a"]
    store.remove_job("b")
    with pytest.raises(JobLookupError):
        store.remove_job("b")


def test_a_broken_job_is_not_run_by_hand(here, store):
    store.add_job(make("bad"))
    here.write("bad", func="nowhere.to_be:found")
    claimed(store)
    with pytest.raises(
        ValueError, match="'bad' is broken and cannot be run: LookupErr"
    ):
        store.run_job_now("bad")


def test_pausing_a_broken_job_keeps_it_from_coming_back(here, store, manual):
    store.add_job(make("bad"))
    func = here.read("bad")["func"]
    here.write("bad", func="nowhere.to_be:found")
    claimed(store)
    here.write("bad", func=func)
    store.change_job("bad", lambda job: job._modify(next_run_time=None))
    manual.advance(61)
    assert claimed(store, NOON + 2 * MINUTE) == []
    assert here.read("bad")["state"] == "paused"


def test_a_row_can_have_nothing_called_by_being_looked_at(here, store, tmp_path):
    store.add_job(make("bad"))
    touched = tmp_path / "touched"
    call = {"args": ["touch", str(touched)]}
    here.write("bad", trigger=json.dumps({"type": "subprocess:call", "args": call}))
    assert store.get_all_jobs() == [] and claimed(store) == []
    here.write("bad", trigger=json.dumps({"type": "subprocess:Popen", "args": call}))
    assert store.get_all_jobs() == []
    assert not touched.exists()


# Signatures.


def test_with_a_key_what_others_have_written_does_not_run(here, start):
    store = start(secret_key="the key")
    store.add_jobs([make("forged"), make("honest")])
    here.write("forged", args='["rm -rf"]')
    batch = store.claim_due({"default": 9}, NOON)
    assert ids(run.job for run in batch.runs) == ["honest"]
    assert "signature does not match" in batch.broken[0][1]
    assert ids(store.get_all_jobs()) == ["honest"]


def test_schedule_and_options_may_be_edited_under_a_signature(here, start):
    store = start(secret_key="the key")
    store.add_job(make("a"))
    here.write("a", max_instances=7)
    assert store.lookup_job("a").max_instances == 7


def test_keys_can_be_changed_by_listing_the_old_one_after_the_new(here, start):
    start(secret_key="old").add_jobs([make("a"), make("b")])
    rotating = start(secret_key=["new", "old"])
    rotating.change_job("a", lambda job: job._modify(args=(1,)))
    store = start(secret_key=b"new")
    assert ids(store.get_all_jobs()) == ["a"]
    assert ids(start(secret_key=["new", "old"]).get_all_jobs()) == ["a", "b"]


def test_without_a_key_of_its_own_a_store_takes_the_default(here, start, monkeypatch):
    monkeypatch.setattr(signing, "_default_keys", lambda: ("project", "older"))
    start().add_job(make("a"))
    assert here.read("a")["signature"]
    monkeypatch.setattr(signing, "_default_keys", lambda: ("another",))
    assert start().get_all_jobs() == []
    assert ids(start(secret_key="project").get_all_jobs()) == ["a"]
    assert ids(start(secret_key=False).get_all_jobs()) == ["a"]


def test_in_a_django_project_the_default_is_its_secret_key(here, start, settings):
    start().add_job(make("a"))
    assert ids(start(secret_key=settings.SECRET_KEY).get_all_jobs()) == ["a"]
    assert start(secret_key="another").get_all_jobs() == []


# Claims that the store could not confirm.


def test_a_claim_that_was_written_unheard_is_run_and_not_claimed_twice(
    store, monkeypatch
):
    once = DateTrigger(NOON, UTC)
    store.add_jobs([make("many"), make("once", trigger=once), make("late", NOON)])
    real = store.advance

    def written_but_unheard(moved, ended):
        real(moved, ended)
        raise ConnectionError("the answer is lost")

    monkeypatch.setattr(store, "advance", written_but_unheard)
    with pytest.raises(ConnectionError):
        store.claim_due({"default": 9}, NOON)
    monkeypatch.setattr(store, "advance", real)
    batch = store.claim_due({"default": 1}, NOON)
    assert len(batch.runs) == 1 and ids(batch.removed) == ["once"]
    batch.runs += store.claim_due({"default": 9}, NOON).runs
    assert sorted(run.job.id for run in batch.runs) == ["late", "many", "once"]
    assert [run.run_times for run in batch.runs] == [[NOON]] * 3
    assert store.claim_due({"default": 9}, NOON).runs == []


def test_a_claim_that_was_not_written_is_made_again(store, monkeypatch):
    store.add_jobs([make("many"), make("once", trigger=DateTrigger(NOON, UTC))])
    real = store.advance
    monkeypatch.setattr(store, "advance", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        store.claim_due({"default": 9}, NOON)
    monkeypatch.setattr(store, "advance", real)
    batch = store.claim_due({"default": 9}, NOON)
    assert sorted(run.job.id for run in batch.runs) == ["many", "once"]
    # Nothing counts as running of what came to nothing.
    assert (batch.skipped, ids(batch.removed)) == ([], ["once"])


def test_what_was_claimed_is_run_although_the_store_fails_afterwards(
    store, monkeypatch
):
    store.add_job(make("a"))
    monkeypatch.setattr(store, "earliest", lambda executors: 1 / 0)
    batch = store.claim_due({"default": 9}, NOON)
    assert ids(run.job for run in batch.runs) == ["a"]
    assert batch.next_run_time == NOON
    with pytest.raises(ZeroDivisionError):
        store.claim_due({"default": 9}, NOON)


# Threads.


def test_threads_add_change_and_claim_at_once(store):
    names = [f"{thread}-{number}" for thread in range(6) for number in range(15)]
    errors, found = [], []

    def add(thread):
        try:
            for number in range(15):
                id = f"{thread}-{number}"
                once = DateTrigger(NOON, UTC)
                store.add_job(make(id, trigger=once))
                store.lookup_job(id)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=add, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        found += claimed(store, slots=7)
    found += claimed(store, slots=1000)
    assert errors == []
    assert sorted(found) == sorted(names)
    assert store.get_all_jobs() == []
