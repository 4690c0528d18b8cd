"""The store on Redis: what is its own."""

from __future__ import annotations

import pickle
from datetime import datetime, timedelta, timezone

import pytest

redis = pytest.importorskip(
    "redis", reason="needs redis: pip install django-apscheduler[redis]"
)

from django_apscheduler.jobstores.redis import RedisJobStore  # noqa: E402
from tests.jobstores.places import RedisPlace  # noqa: E402
from tests.jobstores.test_persistent import Owner, claimed, ids, make  # noqa: E402

NOON = datetime(2026, 6, 1, 12, 0, tzinfo=timezone.utc)


@pytest.fixture
def here(redis_server):
    here = RedisPlace(redis_server)
    yield here
    here.clear()


@pytest.fixture
def keys(here):
    return {name: here.options[name] for name in ("jobs_key", "run_times_key")}


@pytest.fixture
def store(here):
    store = here.make(secret_key=False)
    store.start(Owner(), "default")
    yield store
    store.shutdown()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"jobs_key": ""}, '"jobs_key" must be a nonempty key'),
        ({"run_times_key": None}, '"run_times_key" must be a nonempty key; got None'),
        ({"jobs_key": "a", "run_times_key": "a"}, "must differ"),
        ({"client": "os:name", "host": "x"}, "not both; got host beside the client"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        RedisJobStore(**options)


def test_numbers_may_be_texts(redis_server):
    store = RedisJobStore(db="3", port="6380")
    assert store._connect_args == {"db": 3, "port": 6380}


def test_each_database_has_jobs_of_its_own(here):
    one, two = here.make(db=0), here.make(db="1")
    for store in (one, two):
        store.start(Owner(), "default")
    one.add_job(make("a"))
    assert two.get_all_jobs() == []
    for store in (one, two):
        store.shutdown()


@pytest.mark.parametrize("decode", [False, True])
def test_a_client_that_was_given_stays_open(here, keys, redis_server, decode):
    client = redis.Redis(unix_socket_path=redis_server.socket, decode_responses=decode)
    store = RedisJobStore(client=client, **keys)
    store.start(Owner(), "default")
    store.add_jobs([make("a"), make("b", NOON + timedelta(minutes=1))])
    assert claimed(store, NOON) == ["a"]
    store.remove_job("b")
    store.shutdown()
    assert client.connection_pool._available_connections
    assert client.hkeys(keys["jobs_key"]) == (["a"] if decode else [b"a"])
    client.close()


def test_a_client_may_be_named_by_reference(here, keys, monkeypatch):
    monkeypatch.setitem(globals(), "the_client", here.client)
    store = RedisJobStore(client=f"{__name__}:the_client", **keys)
    store.start(Owner(), "default")
    assert store.redis is here.client
    store.shutdown()


def test_jobs_of_apscheduler_are_refused_with_the_remedy_and_left_alone(here, keys):
    state = pickle.dumps({"id": "old"})
    here.client.hset(keys["jobs_key"], "old", state)
    here.client.zadd(keys["run_times_key"], {"old": 1.5})
    with pytest.raises(ValueError, match="pickles of APScheduler.*another jobs_key"):
        here.make().start(Owner(), "default")
    assert here.client.hgetall(keys["jobs_key"]) == {b"old": state}


def test_a_key_that_is_something_else_is_refused(here, keys):
    here.client.set(keys["jobs_key"], "a text")
    with pytest.raises(ValueError, match="holds a string, so it is not one of this"):
        here.make().start(Owner(), "default")


def test_what_is_no_json_is_parked_as_it_is_and_hides_nobody(here, store, keys):
    store.add_jobs([make("bad"), make("good")])
    here.client.hset(keys["jobs_key"], "bad", "{no json")
    batch = store.claim_due({"default": 1}, NOON)
    assert ids(run.job for run in batch.runs) == ["good"]
    assert [id for id, _ in batch.broken] == ["bad"]
    assert here.client.hget(keys["jobs_key"], "bad") == b"{no json"
    assert store.claim_due({"default": 1}, NOON).broken == []
    store.remove_job("bad")
    assert ids(store.get_all_jobs()) == ["good"]


def test_a_run_time_without_its_job_hides_nobody(here, store, keys):
    store.add_jobs([make("gone"), make("here", NOON + timedelta(seconds=1))])
    here.client.hdel(keys["jobs_key"], "gone")
    assert claimed(store, NOON + timedelta(seconds=1), slots=1) == ["here"]


def test_nothing_is_left_behind(here, store):
    store.add_jobs([make("a"), make("b", executor="other"), make("c", None)])
    job = store.lookup_job("a")
    job._modify(executor="third")
    store.update_job(job)
    for id in "abc":
        store.remove_job(id)
    assert list(here.client.scan_iter(f"{here.name}.*")) == []
    store.add_jobs([make("a"), make("b", executor="other"), make("c", None)])
    store.remove_all_jobs()
    assert list(here.client.scan_iter(f"{here.name}.*")) == []


def test_a_job_that_changes_executors_is_claimed_by_the_new_one_only(store):
    store.add_job(make("a", executor="old"))
    job = store.lookup_job("a")
    job._modify(executor="new")
    store.update_job(job)
    assert store.claim_due({"old": 1}, NOON).runs == []
    assert ids(run.job for run in store.claim_due({"new": 1}, NOON).runs) == ["a"]
