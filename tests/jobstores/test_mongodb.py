"""The store on MongoDB: what is its own."""

from __future__ import annotations

import pickle
from datetime import datetime, timezone

import pytest

pymongo = pytest.importorskip(
    "pymongo", reason="needs pymongo: pip install django-apscheduler[mongodb]"
)

from django_apscheduler.jobstores.base import ConflictingIdError  # noqa: E402
from django_apscheduler.jobstores.mongodb import MongoDBJobStore  # noqa: E402
from tests.jobstores.places import MongoDBPlace  # noqa: E402
from tests.jobstores.test_persistent import Owner, claimed, ids, make  # noqa: E402

NOON = datetime(2026, 6, 1, 12, 0, tzinfo=timezone.utc)


@pytest.fixture
def here(mongodb_server):
    here = MongoDBPlace(mongodb_server)
    yield here
    here.clear()


@pytest.fixture
def store(here):
    store = here.make(secret_key=False)
    store.start(Owner(), "default")
    yield store
    store.shutdown()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"database": ""}, '"database" must be a nonempty name'),
        ({"collection": None}, '"collection" must be a nonempty name; got None'),
        ({"client": "os:name", "host": "x"}, "not both; got host beside the client"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MongoDBJobStore(**options)


def test_a_client_that_was_given_stays_open_and_one_that_was_made_does_not(here):
    given = MongoDBJobStore(here.name, client=here.client)
    given.start(Owner(), "default")
    given.add_job(make("a"))
    given.shutdown()
    assert here.read("a")["func"]
    own = here.make()
    own.start(Owner(), "default")
    client = own.client
    own.shutdown()
    with pytest.raises(pymongo.errors.InvalidOperation, match="after close"):
        client.admin.command("ping")


def test_a_client_may_be_named_by_reference(here, monkeypatch):
    monkeypatch.setitem(globals(), "the_client", here.client)
    store = MongoDBJobStore(here.name, client=f"{__name__}:the_client")
    store.start(Owner(), "default")
    assert store.client is here.client
    store.shutdown()


def test_without_arguments_it_looks_where_mongodb_is_by_default():
    store = MongoDBJobStore(serverSelectionTimeoutMS=1)
    assert repr(store) == "<MongoDBJobStore (apscheduler.jobs)>"


def test_a_write_concern_that_acknowledges_nothing_is_refused(here):
    with pytest.raises(ValueError, match="write concern is w=0"):
        here.make(w=0).start(Owner(), "default")


def test_what_is_acknowledged_is_in_the_journal(here, store):
    assert store.collection.write_concern.document == {"j": True}
    other = here.make(w=1, journal=False)
    other.start(Owner(), "default")
    assert other.collection.write_concern.document == {"w": 1, "j": False}
    other.shutdown()


def test_the_collection_of_apscheduler_is_refused_with_the_remedy_and_left_alone(here):
    old = {"_id": "old", "next_run_time": 1.5, "job_state": pickle.dumps({"id": "old"})}
    here.collection.insert_one(old)
    with pytest.raises(ValueError, match="APScheduler's own.*another collection"):
        here.make().start(Owner(), "default")
    assert list(here.collection.find()) == [old]
    assert list(here.collection.index_information()) == ["_id_"]


def test_documents_of_others_are_refused(here):
    here.collection.insert_one({"_id": 7, "title": "A book"})
    with pytest.raises(ValueError, match="documents that are not jobs, .* 7; give"):
        here.make().start(Owner(), "default")


def test_a_document_of_others_among_many_jobs_is_found(here, store):
    store.add_jobs([make(f"{number:03}") for number in range(150)])
    here.collection.insert_one({"_id": "zz", "job_state": b""})
    with pytest.raises(ValueError, match="APScheduler's own"):
        here.make().start(Owner(), "default")


def test_of_a_batch_that_conflicts_nothing_stays(here, store):
    store.add_job(make("taken"))
    with pytest.raises(ConflictingIdError) as caught:
        store.add_jobs([make("a"), make("taken"), make("b")])
    assert caught.value.job_id == "taken"
    assert ids(store.get_all_jobs()) == ["taken"]


def test_claims_find_due_jobs_by_an_index(here, store):
    store.add_jobs([make(f"job-{number}") for number in range(50)])
    query = {"executor": "default", "next_run_time": {"$lte": "2026-06-01T12:00:00.0Z"}}
    found = here.collection.find({**query, "state": "active"}).sort(
        [("next_run_time", 1), ("_id", 1)]
    )
    plan = str(found.limit(5).explain()["queryPlanner"]["winningPlan"])
    assert "IXSCAN" in plan and "COLLSCAN" not in plan and "'SORT'" not in plan


def test_a_time_that_is_none_hides_nobody(here, store):
    store.add_jobs([make("bad"), make("good")])
    here.write("bad", next_run_time="2020 or so")
    assert claimed(store, NOON) == ["good"]
    assert here.read("bad")["state"] == "broken"
