"""What users do with jobs through a scheduler: add, change, list and remove them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from typing import IO, Any

from django_apscheduler import clock
from django_apscheduler.events import (
    EVENT_ALL_JOBS_REMOVED,
    EVENT_JOB_CANCELLED,
    EVENT_JOB_MISSED,
    EVENT_JOB_MODIFIED,
    EVENT_JOB_REMOVED,
    JobEvent,
    JobExecutionEvent,
    SchedulerEvent,
)
from django_apscheduler.job import Job
from django_apscheduler.jobstores.base import (
    BaseJobStore,
    ExecutionLookupError,
    JobLookupError,
)
from django_apscheduler.planning import first_fire
from django_apscheduler.schedulers.adding import AddingMethods, NeverFiresError
from django_apscheduler.util import undefined


class JobMethods(AddingMethods):
    """The methods of a scheduler that concern jobs."""

    # Changing.

    def modify_job(
        self,
        job_id: str,
        jobstore: str | None = None,
        _job: Job | None = None,
        **changes: Any,
    ) -> Job:
        """
        Change attributes of a job, any but its id.

        :raises JobLookupError: when there is no such job
        """
        return self._edit(job_id, jobstore, _job, lambda job: job._modify(**changes))

    def reschedule_job(
        self,
        job_id: str,
        jobstore: str | None = None,
        trigger: Any = None,
        _job: Job | None = None,
        **trigger_args: Any,
    ) -> Job:
        """
        Give a job a new trigger, and compute its next run time from that.

        A paused job stays paused.

        :param trigger: a trigger, or the alias of one whose arguments follow
        :raises JobLookupError: when there is no such job
        :raises NeverFiresError: when the trigger will never fire
        """
        new = self._create_trigger(trigger, trigger_args)
        return self._edit(
            job_id,
            jobstore,
            _job,
            lambda job: job._modify(trigger=new),
            "reschedule_job",
        )

    def pause_job(
        self, job_id: str, jobstore: str | None = None, _job: Job | None = None
    ) -> Job:
        """
        Stop running a job until it is resumed.

        :raises JobLookupError: when there is no such job
        """
        return self._edit(
            job_id,
            jobstore,
            _job,
            lambda job: job._modify(next_run_time=None),
            "pause_job",
        )

    def resume_job(
        self, job_id: str, jobstore: str | None = None, _job: Job | None = None
    ) -> Job | None:
        """
        Run a paused job again, from the next time its trigger names after now.

        A one-off whose date passed during the pause was missed, and is removed.

        :return: None when the schedule has ended meanwhile, and the job is removed
        :raises JobLookupError: when there is no such job
        """

        passed: list[datetime | None] = []

        def resume(job: Job) -> None:
            if job.next_run_time is not None:
                return
            now = self._present(job)
            run_time, nominal = first_fire(job.trigger, job.uid, now)
            if run_time is None or run_time < now:
                passed.append(run_time)
                raise NeverFiresError(job.trigger)
            job._modify(next_run_time=run_time)
            job.nominal_time = nominal

        try:
            return self._edit(job_id, jobstore, _job, resume, "resume_job")
        except NeverFiresError:
            if passed[0] is not None:
                alias, store = self._find_store(job_id, jobstore)
                event = JobExecutionEvent(EVENT_JOB_MISSED, job_id, alias, passed[0])
                self._announce(store, event)
            self.remove_job(job_id, jobstore)
            return None

    def _edit(
        self,
        job_id: str,
        jobstore: str | None,
        held: Job | None,
        change: Callable[[Job], None],
        method: str = "modify_job",
    ) -> Job:
        """
        Apply ``change`` to the stored job, and to the caller's copy of it.

        The stored job is read anew, so that an old copy overwrites nothing but what
        the caller changes.

        :param method: what the caller is called, for who must not wait
        """
        pending = self._find_pending(job_id, jobstore)
        if pending is not None:
            change(pending)
            return pending
        alias, store = self._find_store(job_id, jobstore)
        self._check_off_loop(store, method)
        job = store.change_job(
            job_id, lambda job: self._change(self._adopt(job, alias), alias, change)
        )
        job.changes.clear()
        if held is not None and held is not job:
            _copy(job, held)
            job = held
        self._announce(store, JobEvent(EVENT_JOB_MODIFIED, job_id, alias))
        return job

    def _change(self, job: Job, alias: str, change: Callable[[Job], None]) -> None:
        """Apply ``change`` to a job whole or, if what comes of it is no good, not."""
        saved = {name: getattr(job, name) for name in _STATE if hasattr(job, name)}
        saved["changes"] = set(job.changes)
        try:
            self._change_unsaved(job, alias, change)
        except BaseException:
            # A store may hold this very object.
            for name, value in saved.items():
                setattr(job, name, value)
            raise

    def _change_unsaved(
        self, job: Job, alias: str, change: Callable[[Job], None]
    ) -> None:
        before = job.trigger
        change(job)
        if job.changes & {"transactional", "executor", "func_ref"}:
            self._check_transactional(job, alias)
        if "trigger" not in job.changes or "next_run_time" in job.changes:
            return
        if job.trigger == before:
            # The same schedule declared again keeps its anchor and its timing.
            job.trigger = before
            return
        run_time, nominal = first_fire(job.trigger, job.uid, self._present(job))
        if run_time is None:
            raise NeverFiresError(job.trigger)
        if job.next_run_time is not None:
            job.next_run_time, job.nominal_time = run_time, nominal

    def _present(self, job: Job) -> datetime:
        """Return the present by the clock of the job's store, exactly."""
        store = self._jobstores.get(job._jobstore_alias or "")
        now = clock.now() if store is None else store.now()
        return now.astimezone(self.timezone)

    # Finding.

    def get_jobs(self, jobstore: str | None = None, pending: Any = None) -> list[Job]:
        """
        Return the jobs, by next run time with paused ones last.

        :param jobstore: alias of the only store to look in, None for all
        :param pending: True for tentative jobs only, False for stored ones only
        """
        jobs: list[Job] = []
        if not self._opens_stores() or pending:
            with self._lock:
                jobs += [
                    job
                    for job, alias, _ in self._pending_jobs
                    if jobstore in (None, alias)
                ]
        if self._opens_stores() and not pending:
            for alias, store in tuple(self._jobstores.items()):
                if jobstore in (None, alias):
                    self._check_off_loop(store, "get_jobs")
                    for job in store.get_all_jobs():
                        jobs.append(self._adopt(job, alias))
        return jobs

    def get_job(self, job_id: str, jobstore: str | None = None) -> Job | None:
        """Return the job with the given id, or None."""
        pending = self._find_pending(job_id, jobstore)
        if pending is not None:
            return pending
        try:
            alias, store = self._find_store(job_id, jobstore)
            self._check_off_loop(store, "get_job")
            return self._load(store, alias, job_id)
        except JobLookupError:
            return None

    def _adopt(self, job: Job, alias: str) -> Job:
        job._scheduler, job._jobstore_alias = self, alias
        return job

    def _load(self, store: BaseJobStore, alias: str, job_id: str) -> Job:
        job = store.lookup_job(job_id)
        if job is None:
            raise JobLookupError(job_id)
        return self._adopt(job, alias)

    def _find_pending(self, job_id: str, jobstore: str | None) -> Job | None:
        with self._lock:
            for job, alias, _ in self._pending_jobs:
                if job.id == job_id and jobstore in (None, alias):
                    return job
        return None

    def _find_store(
        self, job_id: str, jobstore: str | None
    ) -> tuple[str, BaseJobStore]:
        if not self._opens_stores():
            raise JobLookupError(job_id)
        if jobstore is not None:
            return jobstore, self._lookup_jobstore(jobstore)
        stores = tuple(self._jobstores.items())
        if len(stores) == 1:
            return stores[0]
        for alias, store in stores:
            self._check_off_loop(store, "get_job")
            if store.lookup_job(job_id) is not None:
                return alias, store
        raise JobLookupError(job_id)

    def print_jobs(self, jobstore: str | None = None, out: IO | None = None) -> None:
        """
        Print a list of the jobs, their triggers and next run times.

        :param out: a text file, standard output when None
        """
        out = out or sys.stdout
        if not self._opens_stores():
            print("Pending jobs:", file=out)
            self._print(self.get_jobs(jobstore), out)
            return
        for alias in sorted(self._jobstores):
            if jobstore in (None, alias):
                print(f"Jobstore {alias}:", file=out)
                self._print(self.get_jobs(alias), out)

    @staticmethod
    def _print(jobs: list[Job], out: IO) -> None:
        for job in jobs:
            print(f"    {job}", file=out)
        if not jobs:
            print("    No scheduled jobs", file=out)

    # Removing.

    def remove_job(self, job_id: str, jobstore: str | None = None) -> None:
        """
        Remove a job; it will not run any more, though running bodies go on.

        :raises JobLookupError: when there is no such job
        """
        with self._lock:
            for item in self._pending_jobs:
                if item[0].id == job_id and jobstore in (None, item[1]):
                    self._pending_jobs.remove(item)
                    alias, store = item[1], None
                    break
            else:
                store = undefined
        if store is undefined:
            alias, found = self._find_store(job_id, jobstore)
            self._check_off_loop(found, "remove_job")
            with found.lock:
                found.remove_job(job_id)
            self._announce(found, JobEvent(EVENT_JOB_REMOVED, job_id, alias))
        else:
            self._dispatch_event(JobEvent(EVENT_JOB_REMOVED, job_id, alias))
        self._logger.info("Removed job %s", job_id)

    def remove_all_jobs(self, jobstore: str | None = None) -> None:
        """
        Remove all jobs.

        :param jobstore: alias of the only store to empty, None for all
        """
        stores = []
        with self._lock:
            self._pending_jobs = [
                item for item in self._pending_jobs if jobstore not in (None, item[1])
            ]
        if self._opens_stores():
            for alias, store in tuple(self._jobstores.items()):
                if jobstore in (None, alias):
                    self._check_off_loop(store, "remove_all_jobs")
                    with store.lock:
                        store.remove_all_jobs()
                    stores.append(store)
        event = SchedulerEvent(EVENT_ALL_JOBS_REMOVED, jobstore)
        if stores:
            # The last of them: with several there is no moment at which all is durable.
            self._announce(stores[-1], event)
        else:
            self._dispatch_event(event)

    # Running by hand.

    def run_job_now(
        self,
        job_id: str,
        jobstore: str | None = None,
        token: str | None = None,
        requested_by: str = "",
        retry_of: int | None = None,
    ) -> int | None:
        """
        Run a job once, at once, and leave its schedule alone.

        Paused jobs run as well; ``max_instances`` is waited for.

        :param token: a text that makes asking again with the same one harmless
        :param requested_by: who asks, for the execution log
        :param retry_of: id of an execution of this job that is over, and that the new
            one is to be shown as a retry of; the job runs as it is now
        :return: the id of the run in the execution log; None for stores without one
        :raises JobLookupError: when there is no such job
        :raises ExecutionLookupError: when there is no execution ``retry_of``
        :raises ValueError: when the job is broken, or ``retry_of`` not over or another
            job's
        """
        _, store = self._find_store(job_id, jobstore)
        self._check_off_loop(store, "run_job_now")
        asked: dict[str, Any] = {"token": token, "requested_by": requested_by}
        if retry_of is not None:
            # Stores of others, whose jobs nobody can retry, need not know the word.
            asked["retry_of"] = retry_of
        execution_id = store.run_job_now(job_id, **asked)
        self._announce(store)
        return execution_id

    def cancel_execution(
        self,
        execution_id: int,
        jobstore: str | None = None,
        token: str | None = None,
        requested_by: str = "",
    ) -> str:
        """
        Cancel an execution, whichever scheduler has it.

        One that waits is cancelled at once, one that a scheduler has taken does not
        begin, and one whose body runs is ended there as its executor can.

        :param token: a text that makes asking again with the same one harmless
        :param requested_by: who asks, for the execution log
        :return: the execution's status now: Cancelled; Claimed or Started execution,
            when its scheduler was told; another one, when it was over already
        :raises ExecutionLookupError: when there is no such execution
        """
        stores = tuple(self._jobstores.items()) if self._opens_stores() else ()
        for alias, store in stores:
            if jobstore not in (None, alias):
                continue
            self._check_off_loop(store, "cancel_execution")
            try:
                answer = store.cancel_execution(
                    execution_id, token=token, requested_by=requested_by
                )
            except ExecutionLookupError:
                continue
            events = []
            if answer.at_once:
                events.append(
                    JobExecutionEvent(
                        EVENT_JOB_CANCELLED,
                        answer.job_id,
                        alias,
                        answer.run_time,
                        execution_id=execution_id,
                    )
                )
            self._announce(store, *events)
            return answer.status
        raise ExecutionLookupError(execution_id)

    # Export and import.

    def export_jobs(self, outfile: Any, jobstore: str | None = None) -> None:
        """
        Write the jobs as JSON.

        :param outfile: a path or a writable text file
        :param jobstore: alias of the only store to export, None for all
        """
        from django_apscheduler.schedulers.transfer import dump_jobs

        dump_jobs(self.get_jobs(jobstore), outfile)

    def import_jobs(self, infile: Any, jobstore: str = "default") -> None:
        """
        Add the jobs that `export_jobs` wrote; those with the same ids are replaced.

        :param infile: a path or a readable text file
        """
        from django_apscheduler.schedulers.transfer import load_jobs

        self._add(load_jobs(self, infile), jobstore, replace_existing=True)


#: The attributes that make up a job.
_STATE = tuple(name for name in Job.__slots__ if name != "__weakref__")


def _copy(source: Job, target: Job) -> None:
    for name in _STATE:
        if hasattr(source, name):
            setattr(target, name, getattr(source, name))


def _twin(name: str) -> Callable:
    def twin(self: Any, *args: Any, **kwargs: Any) -> Any:
        return self._off_loop(getattr(self, name), *args, **kwargs)

    twin.__name__ = twin.__qualname__ = f"a{name}"
    twin.__doc__ = f"Call `{name}` in a thread; for use on an event loop, with await."
    return twin


for _name in (
    "add_job",
    "add_jobs",
    "add_jobstore",
    "cancel_execution",
    "drain",
    "export_jobs",
    "get_job",
    "get_jobs",
    "import_jobs",
    "modify_job",
    "pause_job",
    "print_jobs",
    "remove_all_jobs",
    "remove_executor",
    "remove_job",
    "remove_jobstore",
    "reschedule_job",
    "resume_job",
    "run_job_now",
):
    setattr(JobMethods, f"a{_name}", _twin(_name))
