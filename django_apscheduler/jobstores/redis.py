"""The job store in Redis."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django_apscheduler.job import ACTIVE, BROKEN
from django_apscheduler.jobstores.base import ConflictingIdError
from django_apscheduler.jobstores.fields import (
    Fields,
    chunks,
    parsed_time,
    plain,
)
from django_apscheduler.jobstores.persistent import PersistentJobStore
from django_apscheduler.jobstores.rows import Row
from django_apscheduler.serialization import canonical
from django_apscheduler.util import asint, maybe_ref, utc

try:
    from redis import Redis
except ImportError as error:
    raise ImportError(
        "RedisJobStore needs redis: pip install django-apscheduler[redis]"
    ) from error

EPOCH = datetime(1970, 1, 1, tzinfo=utc)
MICROSECOND = timedelta(microseconds=1)
#: Jobs of the hash that `open` looks at.
SAMPLE = 100


class RedisJobStore(PersistentJobStore):
    """
    Keeps jobs in a hash, and their run times in sorted sets, for one scheduler at a time.

    Plugin alias: ``redis``

    :param db: number of the database
    :param jobs_key: key of the hash: id → JSON of the job. The set of broken jobs has
        the same with ``:broken``
    :param run_times_key: key of the sorted set: id by run time, in microseconds since
        1970. Each executor has such a set as well, whose key ends in ``:`` and its alias
    :param pickle_protocol: what arguments are pickled with, if ``allow_pickle``
    :param client: a ``redis.Redis``, or a reference to one (``module:name``); it stays
        open, and ``db`` is its own
    :param allow_pickle: whether arguments that JSON cannot carry are pickled
    :param secret_key: what to sign jobs with, see `PersistentJobStore`
    :param connect_args: arguments of ``redis.Redis``, such as ``host`` and ``port``
    """

    def __init__(
        self,
        db: int | str = 0,
        jobs_key: str = "apscheduler.jobs",
        run_times_key: str = "apscheduler.run_times",
        pickle_protocol: int | str = pickle.HIGHEST_PROTOCOL,
        client: Any = None,
        allow_pickle: bool | str = False,
        secret_key: Any = None,
        **connect_args: Any,
    ):
        super().__init__(pickle_protocol, allow_pickle, secret_key)
        for name, value in (("jobs_key", jobs_key), ("run_times_key", run_times_key)):
            if not value or not isinstance(value, str):
                raise ValueError(f'"{name}" must be a nonempty key; got {value!r}')
        if jobs_key == run_times_key:
            raise ValueError('"jobs_key" and "run_times_key" must differ')
        if client is not None and connect_args:
            raise ValueError(
                "RedisJobStore takes a client or arguments to connect with, not both; "
                f"got {', '.join(sorted(connect_args))} beside the client"
            )
        self.jobs_key, self.run_times_key = jobs_key, run_times_key
        self.broken_key = f"{jobs_key}:broken"
        self._client = maybe_ref(client)
        if "port" in connect_args:
            connect_args["port"] = int(connect_args["port"])
        self._connect_args = {"db": asint(db), **connect_args}
        self.redis: Any = self._client

    def _executor_key(self, executor: str) -> str:
        return f"{self.run_times_key}:{executor}"

    # Life.

    def open(self, forked: bool) -> None:
        if self._client is None:
            self.redis = Redis(**self._connect_args)
        for key, wanted in ((self.jobs_key, "hash"), (self.run_times_key, "zset")):
            found = _text(self.redis.type(key))
            if found not in (wanted, "none"):
                raise ValueError(
                    f"the key {key!r} holds a {found}, so it is not one of this job "
                    "store; choose other keys. Nothing in it was changed"
                )
        _, sample = self.redis.hscan(self.jobs_key, count=SAMPLE)
        for job_id, stored in sample.items():
            if not _text(stored).startswith("{"):
                raise ValueError(
                    f"the hash {self.jobs_key!r} holds what is no JSON, as for "
                    f"{_text(job_id)!r}. If its jobs are pickles of APScheduler, which "
                    "this store does not load, choose another jobs_key and run_times_key "
                    "and add the jobs again; nothing in it was changed"
                )

    def close(self) -> None:
        if self._client is None and self.redis is not None:
            self.redis.close()
            self.redis = None

    # Reading.

    def fetch(self, job_ids: Sequence[str]) -> list[Fields]:
        found: list[Fields] = []
        for some in chunks(job_ids):
            stored = self.redis.hmget(self.jobs_key, some)
            found += [
                _fields(job_id, text)
                for job_id, text in zip(some, stored)
                if text is not None
            ]
        return found

    def fetch_all(self) -> list[Fields]:
        stored = self.redis.hgetall(self.jobs_key)
        return [_fields(_text(job_id), text) for job_id, text in stored.items()]

    def fetch_due(self, executor: str | None, now: datetime, most: int) -> list[Fields]:
        key = self.run_times_key if executor is None else self._executor_key(executor)
        due = self.redis.zrangebyscore(key, "-inf", _score(now), start=0, num=most)
        ids = [_text(job_id) for job_id in due]
        found = self.fetch(ids)
        gone = set(ids) - {fields["id"] for fields in found}
        if gone:
            # Somebody took them out of the hash only; they would hide others for ever.
            self.redis.zrem(key, *gone)
            return self.fetch_due(executor, now, most)
        return found

    def fetch_broken(self, most: int) -> list[Fields]:
        broken = self.redis.sscan_iter(self.broken_key)
        ids = [_text(job_id) for job_id, _ in zip(broken, range(most))]
        return self.fetch(ids)

    def earliest(self, executors: Sequence[str] | None) -> datetime | None:
        with self.redis.pipeline(transaction=False) as pipe:
            for key in (
                [self.run_times_key]
                if executors is None
                else map(self._executor_key, executors)
            ):
                pipe.zrange(key, 0, 0, withscores=True)
            first = [score for found in pipe.execute() for _, score in found]
        return EPOCH + min(first) * MICROSECOND if first else None

    # Writing.

    def write(self, new: Sequence[Fields], replaced: Sequence[Fields]) -> None:
        ids = [fields["id"] for fields in (*new, *replaced)]

        def change(pipe: Any) -> None:
            stored = dict(zip(ids, pipe.hmget(self.jobs_key, ids)))
            for fields in new:
                if stored[fields["id"]] is not None:
                    raise ConflictingIdError(fields["id"])
            where = {
                fields["id"]: _executor(stored[fields["id"]]) for fields in replaced
            }
            keys = self._by_executor(where)
            pipe.multi()
            self._unschedule(pipe, where, keys)
            self._put(pipe, [plain(fields) for fields in (*new, *replaced)])

        if ids:
            # Begins anew when somebody else changes the hash meanwhile.
            self.redis.transaction(change, self.jobs_key)

    def advance(self, moved: Sequence[Row], ended: Sequence[str]) -> None:
        where: dict[str, str | None] = {row.id: row.executor for row in moved}
        where.update({job_id: self._claimed[job_id].executor for job_id in ended})
        with self.redis.pipeline() as pipe:
            self._unschedule(pipe, where, self._by_executor(where))
            self._put(pipe, [plain(row) for row in moved])
            if ended:
                pipe.hdel(self.jobs_key, *ended)
            pipe.execute()

    def park(self, job_id: str, error: str) -> None:
        def change(pipe: Any) -> None:
            before = pipe.hget(self.jobs_key, job_id)
            fields = _parsed(before)
            where = {job_id: _executor(before)}
            keys = self._by_executor(where)
            pipe.multi()
            self._unschedule(pipe, where, keys)
            pipe.sadd(self.broken_key, job_id)
            # What is no object has no room for the state; it stays as it is.
            if fields is not None:
                broken = {"state": BROKEN, "next_run_time": None, "error": error}
                pipe.hset(self.jobs_key, job_id, canonical({**fields, **broken}))

        self.redis.transaction(change, self.jobs_key)

    def remove(self, job_ids: Sequence[str]) -> int:
        ids = list(job_ids)

        def change(pipe: Any) -> None:
            where = dict(zip(ids, map(_executor, pipe.hmget(self.jobs_key, ids))))
            keys = self._by_executor(where)
            pipe.multi()
            self._unschedule(pipe, where, keys)
            pipe.hdel(self.jobs_key, *ids)

        return self.redis.transaction(change, self.jobs_key)[-1] if ids else 0

    def remove_all_jobs(self) -> None:
        keys = self._executor_keys()
        self.redis.delete(self.jobs_key, self.run_times_key, self.broken_key, *keys)

    def _unschedule(
        self, pipe: Any, job_ids: Iterable[str], keys: Mapping[str, list[str]]
    ) -> None:
        """
        Take jobs out of all sets.

        :param keys: of the executors' sets, with the ids of the jobs that may be there
        """
        ids = list(job_ids)
        if not ids:
            return
        pipe.srem(self.broken_key, *ids)
        pipe.zrem(self.run_times_key, *ids)
        for key, some in keys.items():
            pipe.zrem(key, *some)

    def _by_executor(self, executors: Mapping[str, str | None]) -> dict[str, list[str]]:
        """
        Return the keys of executors' sets with the ids of jobs.

        :param executors: job id → alias; None where what is stored tells none, so that
            the job may be in any of the sets
        """
        found: dict[str, list[str]] = {}
        lost = [job_id for job_id, executor in executors.items() if executor is None]
        if lost:
            found = {key: list(lost) for key in self._executor_keys()}
        for job_id, executor in executors.items():
            if executor is not None:
                found.setdefault(self._executor_key(executor), []).append(job_id)
        return found

    def _executor_keys(self) -> list[str]:
        """Return the keys of all executors' sets that there are."""
        pattern = re.sub(r"([*?\[\]\\^])", r"\\\1", self.run_times_key)
        return [_text(key) for key in self.redis.scan_iter(f"{pattern}:*")]

    def _put(self, pipe: Any, jobs: Sequence[Fields]) -> None:
        """Write jobs that no set has."""
        if not jobs:
            return
        pipe.hset(
            self.jobs_key, mapping={fields["id"]: canonical(fields) for fields in jobs}
        )
        broken = [fields["id"] for fields in jobs if fields["state"] == BROKEN]
        if broken:
            pipe.sadd(self.broken_key, *broken)
        scores = {
            fields["id"]: _score(parsed_time(fields["next_run_time"]))
            for fields in jobs
            if fields["state"] == ACTIVE and fields["next_run_time"] is not None
        }
        if not scores:
            return
        pipe.zadd(self.run_times_key, scores)
        executors = {
            fields["id"]: fields["executor"]
            for fields in jobs
            if fields["id"] in scores
        }
        for key, ids in self._by_executor(executors).items():
            pipe.zadd(key, {job_id: scores[job_id] for job_id in ids})

    def __repr__(self) -> str:
        return f"<{type(self).__name__} ({self.jobs_key})>"


def _score(time: datetime) -> int:
    # Sorted sets have floats, which hold each microsecond until the year 2255.
    return (time - EPOCH) // MICROSECOND


def _text(value: Any) -> str:
    # Clients may have been told to decode.
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _parsed(stored: Any) -> dict[str, Any] | None:
    """Return the object that a stored text is, None when it is none."""
    if stored is None:
        return None
    try:
        fields = json.loads(_text(stored))
    except ValueError:
        return None
    return fields if isinstance(fields, dict) else None


def _executor(stored: Any) -> str | None:
    """Return the executor of a stored text, None if it says none."""
    executor = (_parsed(stored) or {}).get("executor")
    return executor if isinstance(executor, str) else None


def _fields(job_id: str, stored: Any) -> Fields:
    return {**(_parsed(stored) or {}), "id": job_id}
