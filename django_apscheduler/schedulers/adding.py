"""Adding jobs to a scheduler."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any

from django_apscheduler import clock
from django_apscheduler.events import EVENT_JOB_ADDED, JobEvent, SchedulerEvent
from django_apscheduler.job import Job, say_which
from django_apscheduler.jobstores.base import BaseJobStore, ConflictingIdError
from django_apscheduler.planning import first_fire
from django_apscheduler.schedulers import STATE_STOPPED
from django_apscheduler.schedulers.plugins import load_plugin
from django_apscheduler.schedulers.state import SchedulerState
from django_apscheduler.triggers.base import BaseTrigger
from django_apscheduler.triggers.date import DateTrigger
from django_apscheduler.util import iscoroutinefunction, undefined

#: Arguments of ``add_job`` that are the job's own; others are its trigger's.
_JOB_OPTIONS = (
    "name",
    "misfire_grace_time",
    "coalesce",
    "max_instances",
    "next_run_time",
    "on_lost",
    "transactional",
)

#: A job that is due no later than this after it was added wakes its scheduler itself.
SOON = timedelta(seconds=1)


class NeverFiresError(ValueError):
    """Raised when a job is given a trigger that will never fire."""

    def __init__(self, trigger: Any):
        super().__init__(
            f"the trigger {trigger} will never fire: its fields name no date that "
            "exists, or its end has passed; correct the trigger"
        )


class AddingMethods(SchedulerState):
    """The methods of a scheduler that add jobs."""

    def add_job(
        self,
        func: Any,
        trigger: Any = None,
        args: Iterable | None = None,
        kwargs: Mapping | None = None,
        id: str | None = None,
        name: str | None = None,
        misfire_grace_time: Any = undefined,
        coalesce: Any = undefined,
        max_instances: Any = undefined,
        next_run_time: Any = undefined,
        jobstore: str = "default",
        executor: str = "default",
        replace_existing: bool = False,
        on_lost: Any = undefined,
        transactional: Any = undefined,
        **trigger_args: Any,
    ) -> Job:
        """
        Add a job; without a trigger it runs once, at once.

        A scheduler that has not been started keeps the job tentatively and computes its
        first run time when it starts.

        :param func: a callable, or a reference to one (``module:name``)
        :param trigger: a trigger, or the alias of one whose arguments follow
        :param id: explicit id, for changing or replacing the job later
        :param misfire_grace_time: seconds that a run may be late, None for any
        :param coalesce: whether several due runs are rolled into one
        :param max_instances: how many runs of the job may be going on at once
        :param next_run_time: when to run it first, instead of when the trigger says;
            None adds the job paused
        :param jobstore: alias of the job store
        :param executor: alias of the executor
        :param replace_existing: whether a job that has the id already is replaced; its
            next run time and pause stay if the trigger is the same
        :param on_lost: what becomes of a run whose scheduler died: "rerun" or "mark"
        :param transactional: whether body and outcome share one database transaction
        :raises ConflictingIdError: when the id is taken
        :raises NeverFiresError: when the trigger will never fire
        """
        job = self._make_job(
            func,
            trigger,
            args=args,
            kwargs=kwargs,
            id=id,
            name=name,
            misfire_grace_time=misfire_grace_time,
            coalesce=coalesce,
            max_instances=max_instances,
            next_run_time=next_run_time,
            executor=executor,
            on_lost=on_lost,
            transactional=transactional,
            **trigger_args,
        )
        self._add([job], jobstore, replace_existing)
        return job

    def add_jobs(
        self,
        jobs: Iterable[Mapping[str, Any]],
        jobstore: str = "default",
        replace_existing: bool = False,
    ) -> list[Job]:
        """
        Add many jobs in one go, all or none.

        An error says which job it is about: its place, counted from 0, and its id.

        :param jobs: dictionaries of `add_job`'s arguments, except for these two
        :param jobstore: alias of the job store for all of them
        :param replace_existing: whether jobs that have the ids already are replaced
        :raises ConflictingIdError: when an id is taken, or two of the jobs have it
        """
        made: list[Job] = []
        places: dict[str, int] = {}
        for index, options in enumerate(jobs):
            try:
                job = self._make_job(**_own_options(options))
                first = places.setdefault(job.id, index)
                if first != index:
                    raise _same_id(job.id, first)
            except Exception as error:
                given = options.get("id") if isinstance(options, Mapping) else None
                say_which(error, index, given)
                raise
            made.append(job)
        try:
            self._add(made, jobstore, replace_existing)
        except ConflictingIdError as error:
            if error.job_id in places:
                say_which(error, places[error.job_id], error.job_id)
            raise
        return made

    def _make_job(
        self,
        func: Any,
        trigger: Any = None,
        args: Iterable | None = None,
        kwargs: Mapping | None = None,
        id: str | None = None,
        executor: str = "default",
        **options: Any,
    ) -> Job:
        given = {
            key: options.pop(key)
            for key in _JOB_OPTIONS
            if options.get(key, undefined) is not undefined
        }
        trigger_args = {k: v for k, v in options.items() if k not in _JOB_OPTIONS}
        if trigger is None:
            # "Run it now" has no time that it could be late for.
            given.setdefault("misfire_grace_time", None)
        return Job(
            self,
            id=id,
            func=func,
            args=() if args is None else args,
            kwargs={} if kwargs is None else kwargs,
            trigger=self._create_trigger(trigger, trigger_args),
            executor=executor,
            **given,
        )

    def scheduled_job(
        self,
        trigger: Any,
        args: Iterable | None = None,
        kwargs: Mapping | None = None,
        id: str | None = None,
        name: str | None = None,
        misfire_grace_time: Any = undefined,
        coalesce: Any = undefined,
        max_instances: Any = undefined,
        next_run_time: Any = undefined,
        jobstore: str = "default",
        executor: str = "default",
        on_lost: Any = undefined,
        transactional: Any = undefined,
        **trigger_args: Any,
    ) -> Callable[[Callable], Callable]:
        """Schedule the decorated function; arguments as for `add_job`."""

        def decorate(func: Callable) -> Callable:
            self.add_job(
                func,
                trigger,
                args,
                kwargs,
                id,
                name,
                misfire_grace_time,
                coalesce,
                max_instances,
                next_run_time,
                jobstore,
                executor,
                replace_existing=True,
                on_lost=on_lost,
                transactional=transactional,
                **trigger_args,
            )
            return func

        return decorate

    def _create_trigger(self, trigger: Any, trigger_args: dict[str, Any]) -> Any:
        if isinstance(trigger, BaseTrigger) or (
            not isinstance(trigger, (str, type(None)))
            and callable(getattr(trigger, "get_next_fire_time", None))
        ):
            if trigger_args:
                raise TypeError(
                    f"a trigger object takes no further arguments; got {trigger_args!r}"
                )
            return trigger
        if trigger is None:
            trigger = "date"
        if not isinstance(trigger, str):
            raise TypeError(
                "Expected a trigger instance, the alias of a trigger or None; "
                f"got {type(trigger).__name__}"
            )
        cls = load_plugin("triggers", trigger)
        arguments = dict(trigger_args)
        if trigger not in ("and", "or"):
            arguments.setdefault("timezone", self.timezone)
        return cls(**arguments)

    def _add(self, jobs: list[Job], alias: str, replace_existing: bool) -> None:
        if self._opens_stores():
            self._real_add(jobs, alias, replace_existing)
            self._forked()
            return
        now = clock.now(self.timezone)
        for index, job in enumerate(jobs):
            if "next_run_time" in job.changes:
                continue
            # A trigger that is asked here for the first time takes its anchor from
            # now, but as long as the job is only tentative the start decides.
            anchor = getattr(job.trigger, "anchor", None)
            if job.trigger.get_next_fire_time(None, now) is None:
                raise _never_fires(jobs, index)
            if hasattr(job.trigger, "anchor"):
                job.trigger.anchor = anchor
        self._logger.info(
            "Adding %d job(s) tentatively -- they will be properly scheduled when "
            "the scheduler starts",
            len(jobs),
        )
        with self._lock:
            self._pending_jobs.extend((job, alias, replace_existing) for job in jobs)
        if self._opens_stores():
            # Started meanwhile, by another thread.
            self._add_pending_jobs()

    def _add_pending_jobs(self) -> None:
        """Put tentative jobs whose store has come up into it."""
        with self._lock:
            pending, self._pending_jobs = self._pending_jobs, []
        for job, alias, replace_existing in pending:
            try:
                self._real_add([job], alias, replace_existing)
            except NeverFiresError:
                self._logger.warning("Job %s has ended before it could start", job.id)

    def _check_places(self, executor: str, jobstore: str) -> None:
        """
        Check that a job's store and executor exist.

        :raises LookupError: naming those that do
        """
        if jobstore not in self._jobstores:
            raise LookupError(
                f'No such job store: "{jobstore}"; this scheduler has '
                f"{', '.join(sorted(self._jobstores))}; add it with add_jobstore()"
            )
        if executor not in self._executors:
            problem = (
                f'No such executor: "{executor}"; this scheduler has '
                f"{', '.join(sorted(self._executors))}; add it with add_executor()"
            )
            if not self._jobstores[jobstore].shared:
                raise LookupError(problem)
            # Of the schedulers that share the store, another one may have it.
            self._logger.warning("%s, or run a scheduler that has it", problem)

    def _check_transactional(self, job: Job, alias: str) -> None:
        """
        Check that body and outcome of a job can share a transaction, if they are to.

        :raises ValueError: telling what stands in the way
        """
        if not job.transactional:
            return
        executor = self._executors.get(job.executor)
        if not self._jobstores[alias].transactional:
            obstacle = f'job store "{alias}" keeps no log in a database'
        elif executor is not None and not getattr(executor, "encloses", False):
            obstacle = (
                f'executor "{job.executor}" does not run bodies in a thread or process '
                "of their own"
            )
        elif iscoroutinefunction(job.func):
            obstacle = f"{job.name} is an async def, whose queries run elsewhere"
        else:
            return
        raise ValueError(
            f"job {job.id!r} cannot have transactional=True: {obstacle}; use a plain "
            "function, a thread, process or debug executor and the Django job store"
        )

    def _real_add(self, jobs: list[Job], alias: str, replace_existing: bool) -> None:
        for executor in dict.fromkeys(job.executor for job in jobs):
            self._check_places(executor, alias)
        store: BaseJobStore = self._jobstores[alias]
        self._check_off_loop(store, "add_job" if len(jobs) == 1 else "add_jobs")
        present, now = clock.now(), store.present().astimezone(self.timezone)
        for index, job in enumerate(jobs):
            self._check_transactional(job, alias)
            for option, value in self._job_defaults.items():
                if not hasattr(job, option):
                    setattr(job, option, value)
            if "next_run_time" not in job.changes:
                if isinstance(job.trigger, DateTrigger):
                    job.trigger.correct_now(now - present)
                run_time, nominal = first_fire(job.trigger, job.uid, now)
                if run_time is None:
                    raise _never_fires(jobs, index)
                job.next_run_time, job.nominal_time = run_time, nominal
        with store.lock:
            store.add_jobs(jobs, replace_existing)
        for job in jobs:
            job._jobstore_alias = alias
            job.changes.clear()
        if len(jobs) == 1:
            self._logger.info('Added job "%s" to job store "%s"', jobs[0].name, alias)
        else:
            self._logger.info('Added %d jobs to job store "%s"', len(jobs), alias)
        events = []
        if self._wants(EVENT_JOB_ADDED):
            events = [JobEvent(EVENT_JOB_ADDED, job.id, alias) for job in jobs]
        # A shared store tells all its schedulers of edits, this one too; only what is
        # due by then must not wait for that.
        soon = now + SOON
        urgent = not store.shared or any(
            job.next_run_time is not None and job.next_run_time <= soon for job in jobs
        )
        self._announce(store, *events, wake=urgent)

    def _announce(
        self, store: BaseJobStore, *events: SchedulerEvent, wake: bool = True
    ) -> None:
        """Send events of an edit, and wake the scheduler, once the edit is durable."""
        if not events and not wake:
            return

        def tell() -> None:
            for event in events:
                self._dispatch_event(event)
            if wake and self.state != STATE_STOPPED:
                self.wakeup()

        store.on_commit(tell)

    def _opens_stores(self) -> bool:
        """Tell whether jobs can be read and written, rather than kept tentatively."""
        # In a fork, the parent's stores are open for writing.
        return self.state != STATE_STOPPED or self._is_fork()

    def _check_off_loop(self, store: BaseJobStore, method: str) -> None:
        """
        Refuse to block an event loop.

        :raises RuntimeError: naming the method to await instead
        """
        if getattr(store, "blocking", False) and self._on_loop():
            raise RuntimeError(
                f"{method}() waits for a database and must not be called on an event "
                f"loop; use: {self._instead(method)}"
            )

    def _instead(self, method: str) -> str:
        """Return how the twin of ``method`` for event loops is called."""
        return f"await scheduler.a{method}(...)"


def _own_options(options: Any) -> Mapping[str, Any]:
    """
    Return the options of one of many jobs.

    :raises TypeError: when they are no dictionary, or name what holds for all jobs
    """
    if not isinstance(options, Mapping):
        raise TypeError(
            "expected a dictionary of add_job()'s arguments; got "
            f"{type(options).__name__}"
        )
    shared = options.keys() & {"jobstore", "replace_existing"}
    if shared:
        raise TypeError(
            f"{' and '.join(sorted(shared))} must be given to add_jobs() itself, for "
            "all jobs"
        )
    return options


def _same_id(job_id: str, first: int) -> ConflictingIdError:
    error = ConflictingIdError(job_id)
    error.args = (
        f"job {first} of the same call has this id as well; choose another id",
    )
    return error


def _never_fires(jobs: list[Job], index: int) -> NeverFiresError:
    error = NeverFiresError(jobs[index].trigger)
    if len(jobs) > 1:
        say_which(error, index, jobs[index].id)
    return error
