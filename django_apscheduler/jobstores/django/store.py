"""The job store in Django's database: its life, and what schedulers call."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections

from django_apscheduler import clock, util
from django_apscheduler.connections import leave_to_parent
from django_apscheduler.db import (
    PrivateConnection,
    ensure_usable,
    resolve_alias,
)
from django_apscheduler.job import ACTIVE, FINISHED, Job
from django_apscheduler.jobstores.base import (
    BaseJobStore,
    Batch,
    Cancellation,
    Lost,
    Outcome,
    Run,
)
from django_apscheduler.jobstores.django import fitness, orphans, rows, settle
from django_apscheduler.jobstores.django.access import DatabaseAccess
from django_apscheduler.jobstores.django.claim import Claim
from django_apscheduler.jobstores.django.commands import Commands
from django_apscheduler.jobstores.django.guard import Guard
from django_apscheduler.jobstores.django.heart import Heart
from django_apscheduler.jobstores.django.inflight import InFlight
from django_apscheduler.jobstores.django.membership import LeaseLost, Membership
from django_apscheduler.jobstores.django.mending import Mending
from django_apscheduler.jobstores.django.postgresql import TOLD_SECONDS
from django_apscheduler.jobstores.django.rows import COLUMNS, Row
from django_apscheduler.jobstores.django.sql import statements
from django_apscheduler.jobstores.django.timing import DatabaseClock
from django_apscheduler.jobstores.django.upkeep import Upkeep
from django_apscheduler.jobstores.django.wakeup import Watch
from django_apscheduler.models import DjangoJob

logger = logging.getLogger(__name__)

#: Seconds for which a process leaves alone a job whose callable it cannot import.
UNRESOLVED_SECONDS = 60.0
#: Seconds between polls at most: what is due later than that nobody need be told of.
MOST_POLL_SECONDS = TOLD_SECONDS / 2


class DjangoJobStore(DatabaseAccess, DatabaseClock, BaseJobStore):
    """
    Keeps jobs and the log of their runs in Django's database.

    Any number of schedulers may share it, on any number of machines: each occurrence is
    claimed by exactly one of them, and what a dead one was running is taken over.
    Plugin alias: ``django``

    :param using: alias of the database; the routers decide when None
    :param listen_using: alias to listen on for edits, where ``using`` goes through a
        pooler that does not pass notifications on
    :param lease: seconds after which a scheduler that shows no sign of life is dead
    :param heartbeat: seconds between its signs of life
    :param poll: longest time, in seconds, until a change that nothing told of is seen;
        300 at most
    :param allow_pickle: whether arguments that JSON cannot carry are pickled; None for
        what ``settings.APSCHEDULER["allow_pickle"]`` says
    """

    shared = True
    blocking = True
    logs = True
    transactional = True

    def __init__(
        self,
        using: str | None = None,
        listen_using: str | None = None,
        lease: float = 6.0,
        heartbeat: float = 1.5,
        poll: float = 1.0,
        allow_pickle: bool | None = None,
    ):
        super().__init__()
        lease, heartbeat, poll = float(lease), float(heartbeat), float(poll)
        if not 0 < heartbeat * 2 <= lease:
            raise ValueError(
                "heartbeat must be more than 0 seconds, and lease at least twice as "
                f"long; got heartbeat={heartbeat}, lease={lease}"
            )
        if not 0 < poll <= MOST_POLL_SECONDS:
            raise ValueError(
                f"poll must be more than 0 and at most {MOST_POLL_SECONDS:.0f} seconds; "
                f"got {poll}"
            )
        self._using = using
        self._running_using: str | None = None
        self._listen_using = listen_using
        self._allow_pickle = (
            allow_pickle if allow_pickle is None else util.asbool(allow_pickle)
        )
        self.lease = timedelta(seconds=lease)
        self.heartbeat = heartbeat
        self.poll = poll
        self.running = False
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self.claiming: PrivateConnection | None = None
        self.settling: PrivateConnection | None = None
        self.beating: PrivateConnection | None = None
        self.membership = Membership(self)
        self._edits = Mending(self)
        self._heart: Heart | None = None
        self._watch: Watch | None = None
        self._guard: Guard | None = None
        self._upkeep: Upkeep | None = None
        self.commands = Commands(self)
        self.here = InFlight()
        self._ignored: dict[str, float] = {}
        self._callables: dict[str, Any] = {}
        self._lost: list[Lost] = []
        self._cancelled: list[tuple[str, datetime, int]] = []
        self._state_lock = threading.RLock()

    # Life.

    def start(self, scheduler: Any, alias: str, run: bool = False) -> None:
        """
        Get ready: for edits only, or to run jobs as one of the schedulers.

        :param run: whether the scheduler runs jobs; then it takes part with a row and a
            lease of its own
        :raises ImproperlyConfigured: for running on a database that cannot be shared
        """
        super().start(scheduler, alias)
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self.__dict__.pop("allow_pickle", None)
        if not run:
            return
        fitness.refuse_memory(self.using)
        self._running_using = self.using
        # Imports what it needs: a fork while a thread imports would lock the child's.
        statements(connections[self.using])
        self.claiming = PrivateConnection(self.using)
        self.settling = PrivateConnection(self.using)
        self.beating = PrivateConnection(self.using)
        self.membership = Membership(self)
        self.here.clear()
        self._ignored.clear()
        self._expected = None
        self._watch = Watch(self)
        self._guard = Guard(
            self.alias,
            (self.claiming, self.settling, self.beating, self._watch.connection),
        )
        self._guard.start()
        try:
            with self.private(self.beating) as connection, self.writers(connection):
                self.membership.register(self.given_now(None))
        except BaseException as error:
            using = self.using
            self._close_connections()
            if isinstance(error, DatabaseError):
                fitness.refuse_missing_tables(using, error)
            raise
        self.running = True
        self._heart = Heart(self)
        self._heart.start()
        self._watch.start()
        self._upkeep = Upkeep(self)
        self._upkeep.start()

    def shutdown(self) -> None:
        """Stop taking part; runs that were not settled are taken over by others."""
        if not self.running:
            return
        for part in (self._upkeep, self._watch, self._heart):
            if part is not None:
                part.stop()
        self._upkeep = self._watch = self._heart = None
        try:
            with self.private(self.beating), self.writers(connections[self.using]):
                self.membership.leave()
        except Exception:
            # The lease runs out by itself.
            logger.exception("The scheduler could not sign off from %s", self.using)
        self.running = False
        self._close_connections()

    def _close_connections(self) -> None:
        own = (self.claiming, self.settling, self.beating)
        for connection in (*own, *self._take_spare()):
            if connection is not None:
                connection.close()
        if self._guard is not None:
            self._guard.stop()
            self._guard = None
        self.claiming = self.settling = self.beating = self._running_using = None

    def disown(self) -> None:
        """Leave connections, threads and row to the parent; open for edits only."""
        super().disown()
        self._state_lock = threading.RLock()
        if not self.running:
            return
        self.running = False
        watching = self._watch and self._watch.connection
        own = (self.claiming, self.settling, self.beating, watching, self._heart)
        leave_to_parent(self.using, (*own, *self._take_spare()))
        self.claiming = self.settling = self.beating = self._running_using = None
        self._heart = self._watch = self._guard = self._upkeep = None
        self.membership, self.here, self._lost = Membership(self), InFlight(), []

    def wake(self) -> None:
        """Have the scheduler look for due jobs."""
        if self.running and self._scheduler is not None:
            self._scheduler.wakeup()

    def doubt(self) -> None:
        """Have the heart look soon for rows that are ours without our knowing."""
        if self._heart is not None:
            self._heart.doubt()

    def hear(self) -> None:
        """Take note that somebody has edited jobs, or given a command."""
        self.wake()
        # Commands are for runs here, and somebody may be adding thousands of jobs.
        if self._heart is not None and self.here:
            self._heart.hear()

    # Surroundings.

    @property
    def using(self) -> str:
        """The alias of the database with the jobs."""
        # A scheduler stays with what the routers said when it started.
        return self._running_using or resolve_alias(self._using)

    @property
    def listening_alias(self) -> str:
        return self._listen_using or self.using

    @property
    def alias(self) -> str:
        """The store's alias in its scheduler."""
        return self._alias or ""

    @cached_property
    def allow_pickle(self) -> bool:
        """Whether arguments may be pickled; settings are asked once per start."""
        if self._allow_pickle is not None:
            return self._allow_pickle
        return bool(getattr(self._settings(), "allow_pickle", False))

    @property
    def release_label(self) -> str:
        """What settings say which release of the project this is."""
        return str(getattr(self._settings(), "release", ""))

    @property
    def retention(self) -> dict[str, Any] | None:
        """What settings say the log keeps; None where they are faulty."""
        return getattr(self._settings(), "retention", None)

    @staticmethod
    def _settings() -> Any:
        from django_apscheduler import conf

        try:
            return conf.configuration()
        except ImproperlyConfigured:
            # A check names the faults; a scheduler of one's own need not care.
            return None

    # Runs.

    def claim_due(self, free: dict[str, int], now: datetime | None = None) -> Batch:
        """
        Take due jobs for the executors with room; one transaction, or only reads.

        :param free: free slots by executor alias; others' jobs are left alone
        :param now: aware; the database's clock when None, a value overrides it
        """
        given = self.given_now(now)
        membership = self.membership
        lost: list[Lost] = []
        if membership.id is None or self._heart is None:
            with self.private(self.claiming) as connection:
                if membership.id is None:
                    with self.writers(connection):
                        membership.register(given)
                if orphans.anything_to_do(self, given):
                    lost = orphans.sweep(self, given)
        owner = membership.id
        try:
            batch = Claim(self, free, given).run()
        except LeaseLost:
            self.rejoin(owner, given)
            # On a connection of ours, which never waits for ever.
            with self.private(self.claiming):
                now = self.now()
            batch = Batch(next_run_time=now, now=now)
        membership.ticked = clock.monotonic()
        with self._state_lock:
            batch.lost, self._lost = [*lost, *self._lost], []
            batch.cancelled, self._cancelled = self._cancelled, []
        return batch

    def turned(self) -> None:
        """Note that the scheduler's loop goes round, though it claims nothing."""
        self.membership.ticked = clock.monotonic()

    def retire(self) -> None:
        """Show as draining from the next heartbeat on; waits for no database."""
        self.membership.draining = True

    def rejoin(self, owner: int | None, now: datetime | None = None) -> None:
        """Begin a new life after others have declared this scheduler dead."""
        # In this order, for the heart takes the one lock while it holds the other.
        with self.private(self.beating) as connection, self._state_lock:
            if self.membership.id != owner:
                return
            logger.error(
                "This scheduler was taken for dead, because it showed no sign of life "
                "for %s s; what it was running is taken over by others, and results "
                "of %d runs will be refused. It goes on under a new identity",
                self.lease.total_seconds(),
                len(self.here),
            )
            self.here.clear()
            with self.writers(connection):
                self.membership.register(now)

    def still_ours(self) -> bool:
        """Tell whether nobody can have taken over what this scheduler has claimed."""
        membership = self.membership
        if membership.trusted:
            return True
        attempt = clock.monotonic()
        try:
            with self.private(self.beating) as connection, self.writers(connection):
                # Others may have asked while this thread waited for its turn.
                if not membership.trusted:
                    membership.renew(self.given_now(None))
                    membership.trust(attempt)
        except LeaseLost:
            return False
        return True

    def may_start(self, run: Run) -> bool:
        """
        Tell whether the body of a claimed run may begin.

        Cheap while the lease surely holds. After a stop (of the process, the machine,
        the network) that outlasted it, the database is asked first.
        """
        if run.claim.owner_id != self.membership.id or not self.still_ours():
            return False
        run.start_before = self.membership.trusted_until
        return True

    def can_write(self) -> bool:
        """Tell whether the database takes writes; a standby answers reads only."""
        try:
            with self.private(self.settling) as connection, self.writers(connection):
                self.membership.renew(self.given_now(None))
        except LeaseLost:
            return True
        except Exception:
            # Not only DatabaseError: of a connection that has gone, drivers say
            # InterfaceError as well.
            return False
        return True

    def settle(self, outcomes: list[Outcome]) -> list[Outcome]:
        """Write how runs ended; return the outcomes of those that were still ours."""
        return settle.settle(self, outcomes)

    def confirm_starts(self, runs: list[Run]) -> list[Run]:
        """Write that bodies begin; return the runs that are still ours."""
        return settle.confirm_starts(self, [run for run in runs if self.may_start(run)])

    def release(self, runs: list[Run]) -> None:
        """Hand back claimed runs that have not begun; any scheduler may take them."""
        settle.release(self, runs)

    def remember(self, run: Run) -> None:
        """Note a claimed run as one that this process knows of."""
        self.here.remember(run)

    def forget(self, run: Run) -> None:
        """Note that a run is over, or somebody else's."""
        self.here.forget(run)

    def note_lost(self, lost: list[Lost]) -> None:
        """Have the next claim tell of executions that were given up."""
        with self._state_lock:
            self._lost += lost

    def note_cancelled(
        self, job_id: str, run_time: datetime, execution_id: int
    ) -> None:
        """
        Have the next claim tell of an execution that was cancelled while it waited.

        Not at once: a listener may take long, and this is said by the heart.
        """
        with self._state_lock:
            self._cancelled.append((job_id, run_time, execution_id))
        self.wake()

    # What claims need to know.

    def executors_json(self) -> str:
        """Return the scheduler's executors and their sizes, as JSON."""
        executors = getattr(self._scheduler, "_executors", {})
        sizes = {
            alias: getattr(executor, "max_workers", None)
            for alias, executor in tuple(executors.items())
        }
        return json.dumps(sizes, sort_keys=True)

    def to_job(self, row: Row) -> Job:
        """Return a row's job, of this store."""
        job = rows.to_job(row, allow_pickle=self.allow_pickle)
        job._scheduler, job._jobstore_alias = self._scheduler, self._alias
        return job

    def resolve(self, reference: str) -> Any:
        """
        Return the callable behind a reference.

        :raises Exception: whatever importing its module raises
        """
        func = self._callables.get(reference)
        if func is None:
            func = util.ref_to_obj(reference)
            if not callable(func):
                raise LookupError(f"{reference!r} is not callable, but {func!r}")
            self._callables[reference] = func
        return func

    def ignore(self, job_id: str) -> None:
        """Leave a job alone for a while that cannot be run here."""
        self._ignored[job_id] = clock.monotonic() + UNRESOLVED_SECONDS

    def still_unresolved(self) -> set[str]:
        """Return the ids of jobs that are being left alone."""
        now = clock.monotonic()
        self._ignored = {
            id: until for id, until in self._ignored.items() if until > now
        }
        return set(self._ignored)

    # Jobs.

    def lookup_job(self, job_id: str) -> Job | None:
        """Return a job, or None if there is none, it has finished or cannot be read."""
        row = self._rows().filter(pk=job_id).first()
        return None if row is None else self.readable(Row._make(row))

    def _rows(self) -> Any:
        ensure_usable(connections[self.using])
        jobs = DjangoJob.objects.using(self.using).exclude(state=FINISHED)
        return jobs.values_list(*COLUMNS)

    def readable(self, row: Row) -> Job | None:
        """Return a row's job as people see it, or None when it cannot be restored."""
        try:
            return rows.for_people(self.to_job(row))
        except Exception as error:
            # Reading never writes: the next claim parks it, where it can be seen.
            logger.warning("Job %s cannot be restored: %s", row.id, error)
            return None

    def get_all_jobs(self) -> list[Job]:
        """Return the jobs by next run time, paused ones last; broken ones are left out."""
        found = map(Row._make, self._rows().order_by("next_run_time", "id"))
        jobs = [job for job in map(self.readable, found) if job is not None]
        self._fix_paused_jobs_sorting(jobs)
        return jobs

    def get_due_jobs(self, now: datetime) -> list[Job]:
        """Return active jobs that are due, oldest first."""
        due = self._rows().filter(state=ACTIVE, next_run_time__lte=now)
        found = map(Row._make, due.order_by("next_run_time", "id"))
        return [job for job in map(self.readable, found) if job is not None]

    def get_next_run_time(self) -> datetime | None:
        """Return the earliest next run time of all active jobs, or None."""
        ensure_usable(connections[self.using])
        active = DjangoJob.objects.using(self.using).filter(
            state=ACTIVE, next_run_time__isnull=False
        )
        times: list[datetime] = []
        executor = ""
        while True:
            # From executor to executor by the index, which begins with it.
            rows = active.order_by("executor", "next_run_time", "id")
            row = (
                rows.filter(executor__gt=executor)
                .values_list("executor", "next_run_time")
                .first()
            )
            if row is None:
                return min(times, default=None)
            executor, time = row
            assert time is not None
            times.append(time)

    def add_job(self, job: Job, replace_existing: bool = False) -> None:
        """
        Add a job.

        :raises ConflictingIdError: when the id is taken, and not to be replaced
        :raises SerializationError: naming the argument that cannot be stored
        """
        self._edits.add([job], replace_existing)

    def add_jobs(self, jobs: list[Job], replace_existing: bool = False) -> None:
        """Add many jobs in one transaction, all or none; otherwise as `add_job`."""
        self._edits.add(jobs, replace_existing)

    def update_job(self, job: Job) -> None:
        """
        Write what changed in a job since it was loaded.

        :raises JobLookupError: when it is not there any more
        """
        self._edits.update(job)

    def change_job(self, job_id: str, change: Callable[[Job], None]) -> Job:
        """
        Load a job, have ``change`` change it, and write that; no other edit in between.

        :raises JobLookupError: when it is not there, or cannot be restored
        """
        return self._edits.change(job_id, change)

    def remove_job(self, job_id: str) -> None:
        """
        Remove a job; its running bodies go on, and its log stays.

        :raises JobLookupError: when there is none
        """
        self._edits.remove(job_id)

    def remove_all_jobs(self) -> None:
        """Remove all jobs; the log stays."""
        self._edits.remove_all()

    # Running by hand, and everything at once.

    def run_job_now(
        self,
        job_id: str,
        token: str | None = None,
        requested_by: str = "",
        retry_of: int | None = None,
    ) -> int:
        """
        Queue a run beside the schedule; paused and finished jobs can be run too.

        It waits for the job's other instances, at most five minutes.

        :param token: a text that makes asking again with the same one harmless
        :param retry_of: id of an execution of the job that is over and tried again
        :return: id of the execution
        :raises JobLookupError: when there is no such job
        :raises ExecutionLookupError: when there is no execution ``retry_of``
        :raises ValueError: when the job is broken, or ``retry_of`` not over or another
            job's
        """
        return self.commands.run_now(job_id, token, requested_by, retry_of)

    def cancel_execution(
        self, execution_id: int, token: str | None = None, requested_by: str = ""
    ) -> Cancellation:
        """Cancel an execution at once, or ask the scheduler that runs it to."""
        return self.commands.cancel(execution_id, token, requested_by)

    def pause_all(self, by: str = "", reason: str = "") -> None:
        """Have no scheduler of this database claim anything, until `resume_all`."""
        self._edits.set_paused(True, by, reason)

    def resume_all(self) -> None:
        """Undo `pause_all`."""
        self._edits.set_paused(False, "", "")

    def resign(self, job_ids: list[str] | None = None) -> list[str]:
        """
        Sign jobs as their rows are now; for after a look at them.

        :param job_ids: None for all
        :return: ids of the jobs whose signature had not held
        """
        return self._edits.resign(job_ids)

    def retry_broken(self) -> list[str]:
        """Put broken jobs back that can be restored by now; return their ids."""
        return self._edits.retry_broken()

    def resume_due(self) -> list[str]:
        """Resume paused jobs whose time to resume has come; return their ids."""
        return self._edits.resume_due()
