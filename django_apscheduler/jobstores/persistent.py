"""What the job stores in other people's databases have in common."""

from __future__ import annotations

import os
import pickle
from abc import abstractmethod
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django_apscheduler import clock, planning, util
from django_apscheduler.job import ACTIVE, BROKEN, Job, say_which
from django_apscheduler.jobstores import rows, signing
from django_apscheduler.jobstores.base import (
    BaseJobStore,
    Batch,
    ConflictingIdError,
    JobLookupError,
)
from django_apscheduler.jobstores.fields import FIELDS, Fields, checked, printable
from django_apscheduler.jobstores.rows import Row, in_utc

#: Seconds between attempts at jobs that could not be restored.
RETRY_SECONDS = 60.0
#: Jobs that one such attempt looks at.
RETRIED = 100

INVALID = (
    "The job's signature does not match its callable and arguments: they were changed "
    "or added other than through a job store with this secret_key. List an older key "
    "after the present one (secret_key=[new, old]), or add the job again with "
    "replace_existing=True."
)


class Unsigned(ValueError):
    """Raised for a job that says to run what nobody with the key has written."""

    def __init__(self) -> None:
        super().__init__(INVALID)


class PersistentJobStore(BaseJobStore):
    """
    A job store whose jobs outlive the process; for one scheduler at a time.

    A subclass moves fields: mappings of `FIELDS` to text, numbers, a UUID or its text,
    and aware times or their ISO texts. What they mean is decided here.

    :param pickle_protocol: what arguments are pickled with, if ``allow_pickle``
    :param allow_pickle: whether arguments that JSON cannot carry are pickled
    :param secret_key: key to sign jobs with, or several, the one to sign with first;
        None for Django's ``SECRET_KEY`` where Django runs, and no signatures elsewhere;
        False for no signatures
    """

    blocking = True

    def __init__(
        self,
        pickle_protocol: int | str = pickle.HIGHEST_PROTOCOL,
        allow_pickle: bool | str = False,
        secret_key: Any = None,
    ):
        protocol = util.asint(pickle_protocol)
        if protocol is None or not 0 <= protocol <= pickle.HIGHEST_PROTOCOL:
            raise ValueError(
                f"pickle_protocol must be between 0 and {pickle.HIGHEST_PROTOCOL}; got "
                f"{pickle_protocol!r}"
            )
        self.pickle_protocol = protocol
        self.allow_pickle = util.asbool(allow_pickle)
        self._secret_key = secret_key
        self._callables: dict[str, Any] = {}
        self._opened = False
        self._opened_by = 0
        self._forget()

    def _forget(self) -> None:
        #: The fields of the jobs that are being claimed, by id.
        self._claimed: dict[str, Row] = {}
        self._newly_broken: list[tuple[str, str]] = []
        #: What has been said about jobs that cannot be restored, by id.
        self._told: dict[str, str] = {}
        self._retry_at = 0.0
        self._any_broken = False

    # Life.

    def start(self, scheduler: Any, alias: str) -> None:
        """
        Connect, and make what the store needs there.

        :raises ValueError: when something else than this store's jobs is there
        """
        super().start(scheduler, alias)
        self._forget()
        forked = self._opened and self._opened_by != os.getpid()
        self._opened, self._opened_by = True, os.getpid()
        try:
            self.open(forked)
        except BaseException:
            self.shutdown()
            raise

    def shutdown(self) -> None:
        """Close what the store has opened; it can be started again."""
        if not self._opened:
            return
        self._opened = False
        for claim in self._in_doubt:
            if claim.run is not None:
                self._logger.error(
                    "Whether the run of job %s at %s was claimed is not known; if the "
                    "store does not show it as due, it is lost",
                    claim.job.id,
                    claim.due,
                )
        for run in self._confirmed:
            self._logger.error(
                "The run of job %s at %s cannot begin any more and is lost",
                run.job.id,
                run.run_times[-1],
            )
        for run in (
            *self._confirmed,
            *(claim.run for claim in self._in_doubt if claim.run is not None),
        ):
            self._leave(run.job.id)
        self._in_doubt, self._confirmed = [], []
        self.close()

    # What a subclass brings.

    @abstractmethod
    def open(self, forked: bool) -> None:
        """
        Connect and prepare.

        :param forked: whether connections that this process inherited must be left alone
        """

    @abstractmethod
    def close(self) -> None:
        """Close what `open` has opened, and nothing that was given."""

    @abstractmethod
    def fetch(self, job_ids: Sequence[str]) -> list[Fields]:
        """Return what there is of the given jobs."""

    @abstractmethod
    def fetch_all(self) -> list[Fields]:
        """Return all jobs, in any order."""

    @abstractmethod
    def fetch_due(self, executor: str | None, now: datetime, most: int) -> list[Fields]:
        """
        Return active jobs whose run time has come, oldest first.

        :param executor: None for all executors
        """

    @abstractmethod
    def fetch_broken(self, most: int) -> list[Fields]:
        """Return jobs in the state "broken"."""

    @abstractmethod
    def earliest(self, executors: Sequence[str] | None) -> datetime | None:
        """Return the earliest run time of active jobs of the executors, None for all."""

    @abstractmethod
    def write(self, new: Sequence[Fields], replaced: Sequence[Fields]) -> None:
        """
        Add new jobs, and put others in the place of those with their ids; all or none.

        :raises ConflictingIdError: when the id of a new one is taken
        """

    @abstractmethod
    def advance(self, moved: Sequence[Row], ended: Sequence[str]) -> None:
        """
        Write `SCHEDULE` of jobs that are there, and remove others, in one go.

        :param moved: what they are from now on
        """

    @abstractmethod
    def park(self, job_id: str, error: str) -> None:
        """Set the state "broken" with its error, and no next run time."""

    @abstractmethod
    def remove(self, job_ids: Sequence[str]) -> int:
        """Remove jobs; return how many of them there were."""

    # From fields to jobs and back.

    @property
    def _keys(self) -> tuple[signing.Key, ...]:
        given = self._secret_key
        if given is None:
            return signing.default_keys()
        if isinstance(given, (str, bytes)):
            return (given,) if given else ()
        return tuple(given) if given else ()

    def _to_row(self, fields: Fields) -> Row:
        """
        Return what is stored as a row.

        :raises Damaged: naming the field that is not what it should be
        """
        values = {name: checked(name, fields.get(name)) for name in FIELDS}
        return Row(transactional=False, revision=0, **values)

    def _to_job(self, fields: Fields) -> tuple[Row, Job]:
        """
        Return what is stored as a job.

        :raises ValueError: when that cannot be, telling why
        """
        row = self._to_row(fields)
        keys = self._keys
        if keys and not signing.verify(
            keys, row.signature, row.id, row.func, row.args, row.kwargs, row.trigger
        ):
            raise Unsigned
        job = rows.to_job(row, allow_pickle=self.allow_pickle)
        job._scheduler, job._jobstore_alias = self._scheduler, self._alias
        return row, job

    def _resolve(self, job: Job) -> None:
        """
        Find a job's callable.

        :raises Exception: whatever importing its module raises
        """
        reference = job.func_ref or ""
        func = self._callables.get(reference)
        if func is None:
            func = util.ref_to_obj(reference)
            if not callable(func):
                raise LookupError(f"{reference!r} is not callable, but {func!r}")
            self._callables[reference] = func
        job._func = func

    def _from_job(self, job: Job) -> dict[str, Any]:
        """
        Return what to store of a job.

        :raises TransientJobError: when the callable has no importable name
        :raises SerializationError: naming the argument that cannot be stored
        """
        fields = rows.new_columns(
            job, allow_pickle=self.allow_pickle, protocol=self.pickle_protocol
        )
        del fields["transactional"]
        stays = job.state == BROKEN and "next_run_time" not in job.changes
        if job.next_run_time is None and stays:
            fields["state"] = BROKEN
            fields["nominal_time"] = in_utc(job.nominal_time)
        keys = self._keys
        names = ("func", "args", "kwargs", "trigger")
        fields["signature"] = (
            signing.sign(keys[0], job.id, *(fields[name] for name in names))
            if keys
            else ""
        )
        fields["error"] = job.error if fields["state"] == BROKEN else ""
        return fields

    @staticmethod
    def _adopt(job: Job, fields: Fields) -> None:
        """Let the caller's job tell what is stored."""
        job.state, job.error = fields["state"], fields["error"]

    def _readable(self, fields: Fields) -> Job | None:
        """Return a job for people to see, or None when it cannot be restored."""
        try:
            _, job = self._to_job(fields)
        except Exception as error:
            # Reading never writes: the next claim parks it.
            self._tell(fields["id"], error)
            return None
        return rows.for_people(job)

    def _tell(self, job_id: str, error: Exception) -> bool:
        """Log why a job cannot be restored, unless that is known; tell whether it was."""
        reason = f"{type(error).__name__}: {error}"
        if self._told.get(job_id) == reason:
            return False
        self._told[job_id] = reason
        self._logger.error("Job %s cannot be restored: %s", job_id, reason)
        return True

    # Claiming.

    def claim_due(self, free: dict[str, int], now: datetime | None = None) -> Batch:
        """
        Take the due jobs that there is room for, and move their schedules on.

        :param free: free slots by executor alias; others' jobs are left alone
        :param now: aware; the present when None
        """
        if clock.monotonic() >= self._retry_at:
            with self.lock:
                self.retry_broken(now)
            self._retry_at = clock.monotonic() + RETRY_SECONDS
        batch = super().claim_due(free, now)
        batch.broken += self._newly_broken
        self._newly_broken = []
        self._any_broken = self._any_broken or bool(batch.broken)
        if self._any_broken:
            # Nothing else may be due for long, or ever.
            wait = max(0.0, self._retry_at - clock.monotonic())
            again = (now or clock.now()) + timedelta(seconds=wait)
            batch.next_run_time = min(batch.next_run_time or again, again)
        return batch

    def get_claimable_jobs(self, free: dict[str, int], now: datetime) -> list[Job]:
        self._claimed = {}
        jobs: list[Job] = []
        for executor, slots in free.items():
            if slots <= 0:
                continue
            out: set[str] = set()
            while True:
                found, parked = self._restored(self.fetch_due(executor, now, slots))
                if not parked - out:
                    break
                # They had the places of others, who come up now.
                out |= parked
            jobs += found
        jobs.sort(key=_by_run_time)
        return jobs

    def _restored(self, found: list[Fields]) -> tuple[list[Job], set[str]]:
        """Return jobs that can be run, and the ids of those that have been parked."""
        jobs = []
        parked = set()
        for fields in found:
            try:
                row, job = self._to_job(fields)
                self._resolve(job)
            except Exception as error:
                self._tell(fields["id"], error)
                told = (
                    str(error) if isinstance(error, Unsigned) else rows.explain(error)
                )
                self.park(fields["id"], printable(told))
                self._newly_broken.append((fields["id"], told))
                parked.add(fields["id"])
                continue
            self._claimed[job.id] = row
            jobs.append(job)
        return jobs, parked

    def get_next_claimable_time(self, executors: list[str]) -> datetime | None:
        return self.earliest(executors) if executors else None

    def advance_jobs(self, moved: list[Job], ended: list[Job]) -> None:
        self.advance(
            [self._claimed[job.id]._replace(**_schedule(job)) for job in moved],
            [job.id for job in ended],
        )

    def stored_run_times(self, job_ids: list[str]) -> dict[str, datetime | None]:
        return {
            fields["id"]: checked("next_run_time", fields.get("next_run_time"))
            for fields in self.fetch(job_ids)
        }

    def retry_broken(self, now: datetime | None = None) -> list[str]:
        """Put jobs back that can be restored by now, where they stood; their ids."""
        now = now or clock.now()
        mended = []
        broken = self.fetch_broken(RETRIED)
        for fields in broken:
            try:
                row, job = self._to_job(fields)
                self._resolve(job)
                job.next_run_time = row.nominal_time
                if job.next_run_time is not None:
                    planning.plan(job, now)
                else:
                    job.next_run_time, job.nominal_time = planning.first_fire(
                        job.trigger, job.uid, now
                    )
            except Exception:
                continue
            if job.next_run_time is not None:
                job.state, job.error = ACTIVE, ""
                mended.append(row._replace(**_schedule(job)))
        if mended:
            self.advance(mended, [])
        for row in mended:
            self._told.pop(row.id, None)
            self._logger.info("Job %s can be restored again", row.id)
        self._any_broken = len(broken) > len(mended)
        return [row.id for row in mended]

    def broken_jobs(self) -> dict[str, str]:
        """Return the reasons of jobs that are broken or cannot be restored, by id."""
        reasons: dict[str, str] = {}
        for fields in self.fetch_all():
            try:
                row, _ = self._to_job(fields)
                reason = row.error if row.state == BROKEN else None
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
            if reason is not None:
                reasons[fields["id"]] = reason
        return reasons

    # APScheduler's interface.

    def lookup_job(self, job_id: str) -> Job | None:
        """Return a job, or None if there is none, or it cannot be restored."""
        found = self.fetch([job_id])
        return self._readable(found[0]) if found else None

    def get_due_jobs(self, now: datetime) -> list[Job]:
        due = self.fetch_due(None, now, 2**31 - 1)
        return [job for job in map(self._readable, due) if job is not None]

    def get_next_run_time(self) -> datetime | None:
        return self.earliest(None)

    def get_all_jobs(self) -> list[Job]:
        """Return the jobs, paused ones last; what cannot be restored is left out."""
        found = map(self._readable, self.fetch_all())
        jobs = sorted((job for job in found if job is not None), key=_by_run_time)
        self._fix_paused_jobs_sorting(jobs)
        return jobs

    def add_job(self, job: Job) -> None:
        """
        Add a job.

        :raises ConflictingIdError: when the id is taken
        :raises SerializationError: naming the argument that cannot be stored
        """
        self.add_jobs([job])

    def add_jobs(self, jobs: list[Job], replace_existing: bool = False) -> None:
        """Add many jobs in one go, all or none; otherwise as `add_job`."""
        existing: dict[str, Fields] = {}
        if replace_existing:
            found = self.fetch([job.id for job in jobs])
            existing = {fields["id"]: fields for fields in found}
        made: dict[str, dict[str, Any]] = {}
        for index, job in enumerate(jobs):
            if job.id in made:
                raise ConflictingIdError(job.id)
            if job.id in existing:
                self._keep_timing(job, existing[job.id])
            try:
                made[job.id] = self._from_job(job)
            except Exception as error:
                if len(jobs) > 1:
                    say_which(error, index, job.id)
                raise
        self.write(
            [fields for job_id, fields in made.items() if job_id not in existing],
            [fields for job_id, fields in made.items() if job_id in existing],
        )
        for job in jobs:
            self._adopt(job, made[job.id])
            self._told.pop(job.id, None)

    def _keep_timing(self, job: Job, fields: Fields) -> None:
        """Let a job that replaces one with the same trigger go on where that stands."""
        try:
            _, existing = self._to_job(fields)
        except Exception:
            return
        job.uid = existing.uid
        if existing.trigger != job.trigger or "next_run_time" in job.changes:
            return
        job.trigger = existing.trigger
        if existing.state != BROKEN:
            job.next_run_time = existing.next_run_time
            job.nominal_time = existing.nominal_time

    def update_job(self, job: Job) -> None:
        """
        Write a job as it is.

        :raises JobLookupError: when the store does not have it
        """
        fields = self._from_job(job)
        if not self.fetch([job.id]):
            raise JobLookupError(job.id)
        self.write([], [fields])
        self._adopt(job, fields)

    def change_job(self, job_id: str, change: Callable[[Job], None]) -> Job:
        with self.lock:
            return super().change_job(job_id, change)

    def run_job_now(
        self,
        job_id: str,
        token: str | None = None,
        requested_by: str = "",
        retry_of: int | None = None,
    ) -> int | None:
        """
        Have the next claim run a job, whatever its schedule says.

        :raises JobLookupError: when there is no such job, or it cannot be restored
        :raises ValueError: when it is broken
        """
        job = self.lookup_job(job_id)
        if job is not None and job.state == BROKEN:
            raise ValueError(
                f"job {job_id!r} is broken and cannot be run: "
                f"{job.error.partition(chr(10))[0]}"
            )
        return super().run_job_now(job_id, token, requested_by, retry_of)

    def remove_job(self, job_id: str) -> None:
        """
        Remove a job; its running bodies go on.

        :raises JobLookupError: when the store does not have it
        """
        if not self.remove([job_id]):
            raise JobLookupError(job_id)


def _schedule(job: Job) -> dict[str, Any]:
    """Return `SCHEDULE` of a job as its claim leaves it."""
    return {
        "state": job.state,
        "next_run_time": in_utc(job.next_run_time),
        "nominal_time": in_utc(job.nominal_time),
        "anchor_time": in_utc(getattr(job.trigger, "anchor", None)),
        "error": printable(job.error),
    }


def _by_run_time(job: Job) -> tuple[float, str]:
    time = job.next_run_time
    return (float("inf") if time is None else time.timestamp(), job.id)
