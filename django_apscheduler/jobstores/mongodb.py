"""The job store in a MongoDB collection."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from django_apscheduler.job import ACTIVE, BROKEN
from django_apscheduler.jobstores.base import ConflictingIdError
from django_apscheduler.jobstores.fields import (
    SCHEDULE,
    Fields,
    chunks,
    parsed_time,
    plain,
    time_text,
)
from django_apscheduler.jobstores.persistent import PersistentJobStore
from django_apscheduler.jobstores.rows import Row
from django_apscheduler.util import maybe_ref

try:
    from pymongo import ASCENDING, DeleteMany, MongoClient, ReplaceOne, UpdateOne
    from pymongo.errors import BulkWriteError, PyMongoError
    from pymongo.write_concern import WriteConcern
except ImportError as error:
    raise ImportError(
        "MongoDBJobStore needs pymongo: pip install django-apscheduler[mongodb]"
    ) from error

DUPLICATE_KEY = 11000
#: How long a server may be away before a call fails. The scheduler calls again, so that
#: nobody needs to wait for half a minute, as is pymongo's custom.
AWAY_MILLISECONDS = 5000
#: Documents of the collection that `open` looks at.
SAMPLE = 100


class MongoDBJobStore(PersistentJobStore):
    """
    Keeps jobs in a collection, for one scheduler at a time.

    Plugin alias: ``mongodb``

    :param database: name of the database
    :param collection: name of the collection
    :param client: a ``pymongo.MongoClient``, or a reference to one (``module:name``); it
        stays open. Without one the store makes its own of ``connect_args``
    :param pickle_protocol: what arguments are pickled with, if ``allow_pickle``
    :param allow_pickle: whether arguments that JSON cannot carry are pickled
    :param secret_key: what to sign jobs with, see `PersistentJobStore`
    :param connect_args: arguments of ``pymongo.MongoClient``, such as ``host``
    """

    def __init__(
        self,
        database: str = "apscheduler",
        collection: str = "jobs",
        client: Any = None,
        pickle_protocol: int | str = pickle.HIGHEST_PROTOCOL,
        allow_pickle: bool | str = False,
        secret_key: Any = None,
        **connect_args: Any,
    ):
        super().__init__(pickle_protocol, allow_pickle, secret_key)
        for name, value in (("database", database), ("collection", collection)):
            if not value or not isinstance(value, str):
                raise ValueError(f'"{name}" must be a nonempty name; got {value!r}')
        if client is not None and connect_args:
            raise ValueError(
                "MongoDBJobStore takes a client or arguments to connect with, not both; "
                f"got {', '.join(sorted(connect_args))} beside the client"
            )
        self._database, self._collection = database, collection
        self._client = maybe_ref(client)
        if "port" in connect_args:
            connect_args["port"] = int(connect_args["port"])
        if "serverselectiontimeoutms" not in repr(connect_args).lower():
            connect_args["serverSelectionTimeoutMS"] = AWAY_MILLISECONDS
        self._connect_args = connect_args
        self.client: Any = self._client
        self.collection: Any = None

    # Life.

    def open(self, forked: bool) -> None:
        if self._client is None:
            self.client = MongoClient(**self._connect_args)
        collection = self.client[self._database][self._collection]
        self.collection = collection.with_options(
            write_concern=_durable(collection.write_concern)
        )
        for document in self.collection.find({}).limit(SAMPLE):
            self._check(document)
        self.collection.create_index(
            [("executor", ASCENDING), ("next_run_time", ASCENDING), ("_id", ASCENDING)]
        )
        self.collection.create_index(
            "state", partialFilterExpression={"state": BROKEN}, name="broken"
        )
        # By the index: documents without the field.
        document = self.collection.find_one({"executor": None})
        if document is not None:
            self._check(document)

    def _check(self, document: dict[str, Any]) -> None:
        """
        Check that a document is one of this store's.

        :raises ValueError: telling what it is instead
        """
        name = f"{self._database}.{self._collection}"
        if "func" in document and "executor" in document:
            return
        if "job_state" in document:
            raise ValueError(
                f"the collection {name} is APScheduler's own: its jobs are pickles, which "
                "this store does not load. Give the store another collection and add the "
                "jobs again, or rename that collection; nothing in it was changed"
            )
        raise ValueError(
            f"the collection {name} has documents that are not jobs, as the one with the "
            f"_id {document['_id']!r}; give the store another collection. Nothing in it "
            "was changed"
        )

    def close(self) -> None:
        if self._client is None and self.client is not None:
            self.client.close()
            self.client = None
        self.collection = None

    # Reading.

    def fetch(self, job_ids: Sequence[str]) -> list[Fields]:
        found: list[Fields] = []
        for some in chunks(job_ids):
            found += map(_fields, self.collection.find({"_id": {"$in": some}}))
        return found

    def fetch_all(self) -> list[Fields]:
        return [_fields(document) for document in self.collection.find({})]

    def fetch_due(self, executor: str | None, now: datetime, most: int) -> list[Fields]:
        due: dict[str, Any] = {
            "next_run_time": {"$lte": time_text(now)},
            "state": ACTIVE,
        }
        if executor is not None:
            due["executor"] = executor
        found = self.collection.find(due)
        found = found.sort([("next_run_time", ASCENDING), ("_id", ASCENDING)])
        return [_fields(document) for document in found.limit(most)]

    def fetch_broken(self, most: int) -> list[Fields]:
        found = self.collection.find({"state": BROKEN}).limit(most)
        return [_fields(document) for document in found]

    def earliest(self, executors: Sequence[str] | None) -> datetime | None:
        if executors is None:
            executors = self.collection.distinct("executor")
        times = []
        for executor in executors:
            first = self.collection.find_one(
                {"executor": executor, "next_run_time": {"$gt": ""}, "state": ACTIVE},
                {"next_run_time": True},
                sort=[("next_run_time", ASCENDING)],
            )
            # What is no time is parked when it seems to be due.
            with suppress(TypeError, ValueError):
                times.append(parsed_time(first["next_run_time"]))
        return min(times, default=None)

    # Writing.

    def write(self, new: Sequence[Fields], replaced: Sequence[Fields]) -> None:
        if new:
            self._insert([_document(fields) for fields in new])
        if replaced:
            documents = map(_document, replaced)
            self.collection.bulk_write(
                [ReplaceOne({"_id": item["_id"]}, item) for item in documents],
                ordered=False,
            )

    def _insert(self, documents: list[dict[str, Any]]) -> None:
        try:
            self.collection.insert_many(documents)
        except PyMongoError as error:
            # There are no transactions without a replica set: what is in is taken back.
            # By the uid, which no other document has, whoever got its id meanwhile.
            with suppress(PyMongoError):
                for some in chunks(documents):
                    self.collection.delete_many(
                        {
                            "_id": {"$in": [item["_id"] for item in some]},
                            "uid": {"$in": [item["uid"] for item in some]},
                        }
                    )
            if isinstance(error, BulkWriteError):
                for problem in error.details["writeErrors"]:
                    if problem["code"] == DUPLICATE_KEY:
                        taken = documents[problem["index"]]["_id"]
                        raise ConflictingIdError(taken) from None
            raise

    def advance(self, moved: Sequence[Row], ended: Sequence[str]) -> None:
        changes: list[Any] = []
        for row in moved:
            fields = plain(row)
            schedule = {name: fields[name] for name in SCHEDULE}
            changes.append(UpdateOne({"_id": row.id}, {"$set": schedule}))
        changes += [DeleteMany({"_id": {"$in": some}}) for some in chunks(ended)]
        if changes:
            self.collection.bulk_write(changes, ordered=False)

    def park(self, job_id: str, error: str) -> None:
        broken = {"state": BROKEN, "next_run_time": None, "error": error}
        self.collection.update_one({"_id": job_id}, {"$set": broken})

    def remove(self, job_ids: Sequence[str]) -> int:
        return sum(
            self.collection.delete_many({"_id": {"$in": some}}).deleted_count
            for some in chunks(job_ids)
        )

    def remove_all_jobs(self) -> None:
        self.collection.delete_many({})

    def __repr__(self) -> str:
        return f"<{type(self).__name__} ({self._database}.{self._collection})>"


def _durable(given: WriteConcern) -> WriteConcern:
    """
    Return a write concern under which what is acknowledged outlives the server's end.

    :raises ValueError: when nothing is to be acknowledged at all
    """
    if not given.acknowledged:
        raise ValueError(
            "the client's write concern is w=0, so nobody would know whether a job was "
            "stored; use w=1 or more"
        )
    document = dict(given.document)
    document.setdefault("j", True)
    return WriteConcern(**document)


def _document(fields: Fields) -> dict[str, Any]:
    document = plain(fields)
    return {"_id": document.pop("id"), **document}


def _fields(document: dict[str, Any]) -> Fields:
    return {**document, "id": document["_id"]}
