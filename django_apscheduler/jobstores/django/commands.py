"""Commands from anywhere: run a job now, cancel an execution wherever it runs."""

from __future__ import annotations

import logging
import uuid
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django_apscheduler.job import BROKEN
from django_apscheduler.jobstores.base import (
    CANCELLED,
    Cancellation,
    ExecutionLookupError,
    JobLookupError,
)
from django_apscheduler.jobstores.django import rows
from django_apscheduler.jobstores.django.edits import Edits, repeated
from django_apscheduler.jobstores.django.sql import added_note
from django_apscheduler.models import DjangoJobExecution, SchedulerCommand

if TYPE_CHECKING:
    from django_apscheduler.jobstores.django.store import DjangoJobStore

logger = logging.getLogger(__name__)

#: How long a run-now waits for a scheduler and for the job's other instances.
RUN_NOW_EXPIRES = timedelta(minutes=5)
#: Open commands looked at in one go.
MOST_COMMANDS = 500


class Commands(Edits):
    """
    One store's commands.

    A running execution can be ended only where it runs. So a wish to cancel it is a row
    that stays open until the execution is over, and each scheduler looks for those that
    concern its own runs: no message is lost, whatever dies meanwhile.
    """

    def __init__(self, store: DjangoJobStore):
        super().__init__(store)
        #: Commands passed on to executors here, each with the claim it was for.
        self._delivered: set[tuple[int, UUID]] = set()

    @property
    def commands(self) -> Any:
        return SchedulerCommand.objects.using(self.store.using)

    def earlier(self, token: str | None, **same: Any) -> Any:
        """
        Return the command that was given with a token before, if any.

        :raises ValueError: when that one asked for something else
        """
        known = self.commands.filter(token=token).first() if token else None
        for name, value in same.items():
            if known is not None and getattr(known, name) != value:
                raise ValueError(
                    f"the token {token!r} was used for the {name.removesuffix('_id')} "
                    f"{getattr(known, name)!r}; use another one for each"
                )
        return known

    @repeated
    def run_now(
        self,
        job_id: str,
        token: str | None,
        requested_by: str,
        retry_of: int | None,
    ) -> int:
        """
        Queue a run of a job beside its schedule.

        :param token: asking twice with the same token is asking once
        :param retry_of: id of an execution of the job that is over
        :return: id of the execution
        :raises JobLookupError: when there is no such job
        :raises ExecutionLookupError: when there is no execution ``retry_of``
        :raises ValueError: when the job is broken, the token another job's, or
            ``retry_of`` not over or another job's; or when a text is too long
        """
        rows.check_room({"token": token or "", "requested_by": requested_by})
        with self.editing():
            row, now, _ = self.lock([job_id]).get(job_id) or (None, None, None)
            if row is None or now is None:
                raise JobLookupError(job_id)
            known = self.earlier(token, job_id=job_id)
            if known is not None:
                return known.execution_id
            if row.state == BROKEN:
                raise ValueError(f"The job {job_id!r} is broken. {row.error}")
            if retry_of is not None:
                self.check_over(retry_of, job_id)
            execution = DjangoJobExecution(
                job_id=row.id,
                job_name=row.name,
                status=DjangoJobExecution.QUEUED,
                run_time=now,
                executor=row.executor,
                origin=DjangoJobExecution.Origin.MANUAL
                if retry_of is None
                else DjangoJobExecution.Origin.RETRY,
                retry_of_id=retry_of,
                requested_by=requested_by,
                expires_time=now + RUN_NOW_EXPIRES,
            )
            execution.save(using=self.store.using, force_insert=True)
            self.commands.create(
                kind=SchedulerCommand.Kind.RUN,
                token=token or uuid.uuid4().hex,
                job_id=row.id,
                execution_id=execution.pk,
                requested_by=requested_by,
                created_time=now,
                expires_time=now + RUN_NOW_EXPIRES,
                done_time=now,
            )
            return execution.pk

    def check_over(self, execution_id: int, job_id: str) -> None:
        """
        Check that an execution may be retried as one of a job.

        :raises ExecutionLookupError: when there is no such execution
        :raises ValueError: when it is another job's, or not over
        """
        found = self.executions.filter(pk=execution_id).values_list("job_id", "status")
        other_id, status = found.first() or (None, None)
        if status is None:
            raise ExecutionLookupError(execution_id)
        if other_id != job_id:
            raise ValueError(
                f"the execution {execution_id} is one of the job {other_id!r}, not of "
                f"{job_id!r}"
            )
        # Outcomes are final: what is over now stays so.
        if status in DjangoJobExecution.ACTIVE:
            raise ValueError(
                f"the execution {execution_id} is not over ({status}); cancel it, or "
                "wait for its end"
            )

    @repeated
    def cancel(
        self, execution_id: int, token: str | None, requested_by: str
    ) -> Cancellation:
        """
        Cancel an execution that nobody has claimed, or ask for the end of another one.

        :param token: asking twice with the same token is asking once
        :raises ExecutionLookupError: when there is no such execution
        :raises ValueError: when a text is too long
        """
        rows.check_room({"token": token or "", "requested_by": requested_by})
        with self.editing():
            # Locked, so that whoever asks at the same moment sees that we have.
            found = self.executions.filter(pk=execution_id)
            row = self.store.locked(found, wait=True).first()
            if row is None:
                raise ExecutionLookupError(execution_id)
            known = self.earlier(token, execution_id=execution_id)
            open_ones = self.commands.filter(
                kind=SchedulerCommand.Kind.CANCEL,
                execution_id=execution_id,
                done_time=None,
            )
            answer = Cancellation(row.job_id or "", row.run_time, row.status)
            over = row.status not in DjangoJobExecution.ACTIVE
            if over or known is not None or open_ones.exists():
                return answer
            now = self.store.now()
            by = f" by {requested_by}" if requested_by else ""
            if row.status == DjangoJobExecution.QUEUED:
                answer = answer._replace(
                    status=CANCELLED,
                    at_once=self.cancel_queued(row.pk, requested_by, now),
                )
            else:
                note = f"{now:%Y-%m-%d %H:%M:%S} UTC: asked to end{by}."
                found.update(note=added_note(note))
            self.commands.create(
                kind=SchedulerCommand.Kind.CANCEL,
                token=token or uuid.uuid4().hex,
                job_id=row.job_id or "",
                execution_id=row.pk,
                requested_by=requested_by,
                created_time=now,
                done_time=now if answer.at_once else None,
                note="Cancelled." if answer.at_once else "",
            )
            return answer

    def cancel_queued(
        self, execution_id: int, requested_by: str, now: datetime
    ) -> bool:
        """Cancel an execution that waits for a scheduler; tell whether it still did."""
        by = f" by {requested_by}" if requested_by else ""
        note = f"{now:%Y-%m-%d %H:%M:%S} UTC: cancelled{by} before it began."
        # The rival is a claim, which expects the row to be queued as well.
        return bool(
            self.executions.filter(
                pk=execution_id, status=DjangoJobExecution.QUEUED
            ).update(
                status=DjangoJobExecution.CANCELLED,
                note=added_note(note),
                finished_time=now,
            )
        )

    # In schedulers.

    def deliver(self) -> None:
        """Pass open commands on to the runs here; close those that have come to an end."""
        asked = self.commands.filter(kind=SchedulerCommand.Kind.CANCEL, done_time=None)
        waiting = list(asked.order_by("id")[:MOST_COMMANDS])
        if len(waiting) < MOST_COMMANDS:
            # Other schedulers close commands, too, and they are never heard of again.
            known = {command.pk for command in waiting}
            self._delivered = {key for key in self._delivered if key[0] in known}
        if not waiting:
            return
        ids = {command.execution_id for command in waiting}
        names = ("id", "job_id", "run_time", "status", "owner_id", "claim_id")
        found = self.executions.filter(id__in=ids).values_list(*names, named=True)
        executions = {row.id: row for row in found}
        for command in waiting:
            self.attend(command, executions.get(command.execution_id))

    def attend(self, command: SchedulerCommand, row: Any) -> None:
        """Do what can be done here and now about a wish to cancel."""
        if row is None:
            self.close(command, "There is no such execution any more.")
        elif row.status == DjangoJobExecution.CANCELLED:
            self.close(command, "Cancelled.")
        elif row.status not in DjangoJobExecution.ACTIVE:
            self.close(command, f"Came too late: it had ended as {row.status!r}.")
        elif row.status == DjangoJobExecution.QUEUED:
            # Handed back since, or its scheduler has died.
            with self.editing():
                now = self.store.now()
                done = self.cancel_queued(row.id, command.requested_by, now)
            if done:
                self.close(command, "Cancelled.")
                self.store.note_cancelled(row.job_id or "", row.run_time, row.id)
        elif row.owner_id == self.store.membership.id:
            self.pass_on(command, row)

    def pass_on(self, command: SchedulerCommand, row: Any) -> None:
        """Have the executor here end a run, once for each claim of it."""
        key = (command.pk, row.claim_id)
        run = self.store.here.find(row.claim_id)
        if key in self._delivered or run is None or run.execution_ids is None:
            return
        # First, for as soon as the run has ended others may close the command.
        self.write_command(command, claimed_by=row.owner_id)
        self._delivered.add(key)
        try:
            self.store._scheduler.cancel_run(run, run.execution_ids.index(row.id))
        except Exception:
            # The executor may be anybody's, and the heart has others to look after.
            logger.exception(
                "Job %s: its executor could not cancel its run of %s (execution %d)",
                row.job_id,
                row.run_time,
                row.id,
            )
            return
        logger.info(
            "Job %s: its run of %s (execution %d) is being cancelled%s",
            row.job_id,
            row.run_time,
            row.id,
            f" for {command.requested_by}" if command.requested_by else "",
        )

    def close(self, command: SchedulerCommand, note: str) -> None:
        self.write_command(command, done_time=self.store.now(), note=note)

    def write_command(self, command: SchedulerCommand, **columns: Any) -> None:
        # The rivals are other schedulers that see the same end; one of them writes it.
        with self.store.transaction():
            self.commands.filter(pk=command.pk, done_time=None).update(**columns)
