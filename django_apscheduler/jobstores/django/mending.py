"""Putting jobs back: signed again, restorable by now, or paused for long enough."""

from __future__ import annotations

from datetime import datetime

from django_apscheduler import planning
from django_apscheduler.job import BROKEN, FINISHED, PAUSED, Job
from django_apscheduler.jobstores.django import rows
from django_apscheduler.jobstores.django.edits import Edits, repeated
from django_apscheduler.jobstores.django.rows import COLUMNS, Row
from django_apscheduler.jobstores.django.sql import BULK_ROWS
from django_apscheduler.models import HALTED_JOBS


class Mending(Edits):
    """
    The edits that nobody's request makes, but housekeeping or a look at a row.

    The heartbeat's do not begin again after a deadlock: it must not wait, and comes again.
    """

    @repeated
    def resign(self, job_ids: list[str] | None) -> list[str]:
        """Sign jobs as they are now; return the ids of those whose signature was bad."""
        with self.editing():
            found, _ = self.all_rows()
            mended = [
                row
                for row in found
                if (job_ids is None or row.id in job_ids)
                and row.func
                and not row.signed()
            ]
            for row in mended:
                signed = row._replace(signature=rows.sign(row.id, row._asdict()))
                self.jobs.filter(pk=row.id).update(signature=signed.signature)
                if row.state == BROKEN:
                    self.retry(signed)
        return [row.id for row in mended]

    def retry_broken(self) -> list[str]:
        """Put jobs back that can be restored by now, where they stood; their ids."""
        halted = self.jobs.filter(HALTED_JOBS.condition_written_out)
        broken = halted.filter(state=BROKEN).exclude(func="").order_by("id")
        candidates = [
            Row._make(row) for row in broken.values_list(*COLUMNS)[:BULK_ROWS]
        ]
        now = self.store.now()
        if not any(self.mended(row, now) for row in candidates):
            return []
        with self.editing():
            locked = self.lock([row.id for row in candidates])
            return [row.id for row, _, _ in locked.values() if self.retry(row)]

    def mended(self, row: Row, now: datetime) -> Job | None:
        """Return a broken row's job if it can be restored after all."""
        if row.state != BROKEN:
            return None
        try:
            job = self.store.to_job(row)
            self.store.resolve(row.func)
            job.next_run_time = row.nominal_time
            if job.next_run_time is not None:
                planning.plan(job, now)
            else:
                job.next_run_time, job.nominal_time = planning.first_fire(
                    job.trigger, row.uid, now
                )
        except Exception:
            return None
        return job

    def retry(self, row: Row) -> bool:
        now = self.store.now()
        job = self.mended(row, now)
        if job is None:
            return False
        changed = rows.schedule_columns(job)
        if job.next_run_time is None:
            # Its schedule came to an end while it was broken.
            changed.update(state=FINISHED, finished_time=now, error="")
        self.write(row, changed, now, "mended")
        return True

    def resume_due(self) -> list[str]:
        """Resume paused jobs whose ``resume_time`` has come, counted from now."""
        now = self.store.now()
        halted = self.jobs.filter(HALTED_JOBS.condition_written_out)
        due = halted.filter(state=PAUSED, resume_time__lte=now).order_by("id")
        ids = list(due.values_list("id", flat=True)[:BULK_ROWS])
        if not ids:
            return []
        resumed = []
        with self.editing():
            for row, now, _ in self.lock(ids).values():
                if row.state != PAUSED:
                    continue
                try:
                    job = self.store.to_job(row)
                    job.next_run_time, job.nominal_time = planning.first_fire(
                        job.trigger, row.uid, now
                    )
                except Exception as error:
                    self.jobs.filter(pk=row.id).update(
                        state=BROKEN,
                        error=rows.explain(error),
                        resume_time=None,
                        changed_time=now,
                    )
                    continue
                changed = rows.schedule_columns(job)
                if job.next_run_time is None or job.next_run_time < now:
                    # A date that passed during the pause.
                    job.next_run_time = None
                    changed = rows.schedule_columns(job)
                    self.note_missed(row, now)
                    changed.update(state=FINISHED, finished_time=now)
                self.write(row, changed, now, "resumed")
                resumed.append(row.id)
        return resumed
