"""The job store that keeps jobs in the process's memory."""

from __future__ import annotations

import heapq
import threading
from datetime import datetime
from itertools import count
from typing import TYPE_CHECKING

from django_apscheduler.jobstores.base import (
    BaseJobStore,
    ConflictingIdError,
    JobLookupError,
)

if TYPE_CHECKING:
    from django_apscheduler.job import Job

#: When a job is due, in seconds since 1970; a serial; the job's id. Not a datetime:
#: those that share a zone compare by wall clock, which an autumn night shows twice.
Entry = tuple[float, int, str]


class MemoryJobStore(BaseJobStore):
    """
    Stores jobs in memory, without serialising them; they end with the process.

    Plugin alias: ``memory``
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._jobs: dict[str, Job] = {}
        # One heap of entries per executor, so that the jobs of a
        # full executor are not walked over again and again. An entry counts only while
        # it is the job's current one; the others are dropped when they come up.
        self._heaps: dict[str, list[Entry]] = {}
        self._entries: dict[str, Entry] = {}
        self._serial = count()

    def disown(self) -> None:
        super().disown()
        self._lock = threading.RLock()

    def lookup_job(self, job_id: str) -> Job | None:
        return self._jobs.get(job_id)

    def get_claimable_jobs(self, free: dict[str, int], now: datetime) -> list[Job]:
        taken: list[Entry] = []
        moment = now.timestamp()
        with self._lock:
            for executor, room in free.items():
                heap = self._heaps.get(executor)
                # Claimed jobs get a new entry when they are updated, so the old ones
                # may leave the heap right here.
                while heap and room > 0 and heap[0][0] <= moment:
                    entry = heapq.heappop(heap)
                    if self._entries.get(entry[2]) is entry:
                        taken.append(entry)
                        room -= 1
            taken.sort()
            return [self._jobs[job_id] for _, _, job_id in taken]

    def get_due_jobs(self, now: datetime) -> list[Job]:
        moment = now.timestamp()
        with self._lock:
            due = sorted(item for item in self._entries.values() if item[0] <= moment)
            return [self._jobs[job_id] for _, _, job_id in due]

    def get_next_run_time(self) -> datetime | None:
        return self.get_next_claimable_time(list(self._heaps))

    def get_next_claimable_time(self, executors: list[str]) -> datetime | None:
        with self._lock:
            earliest: Entry | None = None
            for executor in executors:
                heap = self._heaps.get(executor, [])
                while heap and self._entries.get(heap[0][2]) is not heap[0]:
                    heapq.heappop(heap)
                if heap and (earliest is None or heap[0] < earliest):
                    earliest = heap[0]
            return None if earliest is None else self._jobs[earliest[2]].next_run_time

    def get_all_jobs(self) -> list[Job]:
        with self._lock:
            waiting = [self._jobs[entry[2]] for entry in sorted(self._entries.values())]
            paused = [
                job for job_id, job in self._jobs.items() if job_id not in self._entries
            ]
        return waiting + paused

    def add_job(self, job: Job) -> None:
        with self._lock:
            if job.id in self._jobs:
                raise ConflictingIdError(job.id)
            self._jobs[job.id] = job
            self._enter(job)

    def update_job(self, job: Job) -> None:
        with self._lock:
            if job.id not in self._jobs:
                raise JobLookupError(job.id)
            self._jobs[job.id] = job
            self._enter(job)

    def remove_job(self, job_id: str) -> None:
        with self._lock:
            if self._jobs.pop(job_id, None) is None:
                raise JobLookupError(job_id)
            self._entries.pop(job_id, None)

    def remove_all_jobs(self) -> None:
        with self._lock:
            self._jobs.clear()
            self._heaps.clear()
            self._entries.clear()

    def shutdown(self) -> None:
        self.remove_all_jobs()

    def _enter(self, job: Job) -> None:
        if job.next_run_time is None:
            self._entries.pop(job.id, None)
            return
        entry = (job.next_run_time.timestamp(), next(self._serial), job.id)
        self._entries[job.id] = entry
        heap = self._heaps.setdefault(job.executor, [])
        heapq.heappush(heap, entry)
        # Jobs that are edited far more often than they run would pile up old entries.
        if len(heap) > 2 * len(self._entries) + 100:
            current = self._entries
            heap[:] = [item for item in heap if current.get(item[2]) is item]
            heapq.heapify(heap)
