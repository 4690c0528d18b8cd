"""
One process that edits jobs as fast as it can: ``python -m tests.chaos.writer``.

Arguments: the path of its journal, its number, and for how many seconds. It does what
views and shells do, through `get_scheduler()`, and in part through
``QuerySet.update()``. Each line of the journal is an edit that has returned, as JSON;
an edit that failed in a way it must not is a line too.
"""

from __future__ import annotations

import json
import random
import sys
import time
from datetime import timedelta
from typing import Any

import django

#: Jobs that all writers change, each its own option of them.
SHARED = ("shared-0", "shared-1")
#: A job that all writers change whole: callable, arguments, executor and trigger.
WHOLE = "whole"
#: A paused job that is only run by hand.
ASKED = "asked"
#: A job that all writers add and remove.
CONTESTED = "contested"

#: The option that the writer of this number owns of the shared jobs, and its values.
OPTIONS: list[tuple[str, Any]] = [
    # Of one call, so that who writes more than was changed undoes the other.
    ("kwargs", lambda n: {"n": n}),
    ("name", lambda n: f"name {n}"),
    ("misfire_grace_time", lambda n: n + 1000),
    ("max_instances", lambda n: n % 50 + 1),
]

#: Seconds between the fires of the job that is changed whole. What is left of its run
#: times, in microseconds, tells which edit made its trigger.
SPAN = 0.25


class Writer:
    """The edits of one process."""

    def __init__(self, number: int, journal: Any):
        from django_apscheduler import get_scheduler
        from django_apscheduler.db import database_now

        self.number = number
        self.journal = journal
        self.scheduler = get_scheduler()
        self.random = random.Random(number)
        self.count = 0
        #: Shared job → what this writer has last made of its option.
        self.words: dict[str, Any] = {}
        self.start = database_now("default").replace(microsecond=0)

    def run(self, seconds: float) -> None:
        """Edit until the time is over."""
        edits = [
            self.share, self.share, self.share_by_query, self.change_whole,
            self.change_whole, self.come_and_go, self.contest, self.toggle,
            self.ask, self.swing,
        ]  # fmt: skip
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.count += 1
            edit = self.random.choice(edits)
            try:
                told = edit()
            except Exception as error:
                told = {"fault": f"{edit.__name__}: {type(error).__name__}: {error}"}
            if told:
                self.note(told)

    def note(self, told: dict[str, Any]) -> None:
        self.journal.write(json.dumps({"edit": self.count, **told}) + "\n")
        self.journal.flush()

    def share(self) -> dict[str, Any]:
        """Change this writer's option of a shared job."""
        return self._share(
            lambda job_id, **changes: self.scheduler.modify_job(job_id, **changes)
        )

    def share_by_query(self) -> dict[str, Any] | None:
        """Change it as a shell does, past the scheduler."""
        from django_apscheduler.models import DjangoJob

        if OPTIONS[self.number][0] == "kwargs":
            # Signed, so not to be changed by hand.
            return None
        return self._share(
            lambda job_id, **changes: DjangoJob.objects.filter(pk=job_id).update(
                **changes
            )
        )

    def _share(self, change: Any) -> dict[str, Any]:
        job_id = self.random.choice(SHARED)
        name, make = OPTIONS[self.number]
        value, before = make(self.count), self.words.get(job_id)
        present = getattr(self.scheduler.get_job(job_id), name)
        if before is not None and present != before:
            return {"fault": f"{name} of {job_id} was {present!r} after {before!r}"}
        change(job_id, **{name: value})
        self.words[job_id] = value
        return {"job": job_id, "option": name, "value": value}

    def change_whole(self) -> dict[str, Any]:
        """Change everything of the common job to what bears one number."""
        from django_apscheduler.triggers.interval import IntervalTrigger
        from tests.chaos import storm

        n = self.number * 20_000 + self.count % 20_000
        self.scheduler.modify_job(
            WHOLE,
            func=(storm.even, storm.odd)[n % 2],
            args=(n,),
            kwargs={"again": n},
            executor=("even", "odd")[n % 2],
            trigger=IntervalTrigger(
                seconds=SPAN,
                start_date=self.start + timedelta(microseconds=n),
                timezone="UTC",
            ),
        )
        return {"job": WHOLE, "option": "n", "value": n}

    def come_and_go(self) -> dict[str, Any]:
        """Add a job of one's own, or remove it."""
        job_id = f"mine-{self.number}"
        if self.scheduler.get_job(job_id) is None:
            self.scheduler.add_job(
                "tests.chaos.bodies:note", "interval", seconds=0.2, id=job_id
            )
            return {"job": job_id, "option": "there", "value": True}
        self.scheduler.remove_job(job_id)
        return {"job": job_id, "option": "there", "value": False}

    def contest(self) -> None:
        """Add or remove a job that others add and remove at the same time."""
        from django_apscheduler.jobstores.base import JobLookupError

        if self.random.random() < 0.5:
            self.scheduler.add_job(
                "tests.chaos.bodies:note", "interval", seconds=0.2, id=CONTESTED,
                replace_existing=True,
            )  # fmt: skip
            return
        try:
            self.scheduler.remove_job(CONTESTED)
        except JobLookupError:
            # Somebody else was first.
            return

    def toggle(self) -> dict[str, Any]:
        """Pause a job of one's own, or resume it."""
        job_id = f"toggled-{self.number}"
        paused = self.scheduler.get_job(job_id).next_run_time is None
        if paused:
            self.scheduler.resume_job(job_id)
        else:
            self.scheduler.pause_job(job_id)
        return {"job": job_id, "option": "paused", "value": not paused}

    def swing(self) -> dict[str, Any]:
        """Reschedule a job back and forth between triggers that share instants."""
        seconds = self.random.choice((0.2, 0.4))
        job_id = f"swung-{self.number}"
        self.scheduler.reschedule_job(
            job_id, trigger="interval", seconds=seconds, start_date=self.start
        )
        return {"job": job_id, "option": "seconds", "value": seconds}

    def ask(self) -> dict[str, Any]:
        """Have a job run by hand, and ask once more, as an impatient browser does."""
        token = f"{self.number}-{self.count}"
        first = self.scheduler.run_job_now(ASKED, token=token)
        if self.scheduler.run_job_now(ASKED, token=token) != first:
            return {"fault": f"the token {token} got two executions"}
        return {"job": ASKED, "option": token, "value": first}


def main(path: str, number: str, seconds: str) -> None:
    """Edit for a while, and tell of it."""
    django.setup()
    with open(path, "w") as journal:
        writer = Writer(int(number), journal)
        print("ready", flush=True)
        writer.run(float(seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])
