"""Runs jobs in a project with two databases and without time zones."""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime, timedelta, timezone


def main(path: str) -> None:
    """Add jobs in and out of transactions, run them, and print what became of them."""
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import transaction

    for alias in ("default", "jobs"):
        call_command("migrate", database=alias, verbosity=0)
    from django_apscheduler.models import DjangoJob, DjangoJobExecution
    from django_apscheduler.schedulers.background import BackgroundScheduler
    from tests.jobstores.django import bodies

    scheduler = BackgroundScheduler(jobstores={"default": {"type": "django"}})
    scheduler.start()
    with transaction.atomic(using="jobs"):
        scheduler.add_job(bodies.append, args=(path, "rolled back"), id="no")
        transaction.set_rollback(True, using="jobs")
    with transaction.atomic():
        # On another database: takes effect at once, with a warning.
        scheduler.add_job(bodies.append, args=(path, "warned"), id="warned")
        transaction.set_rollback(True)
    # A wall time, in TIME_ZONE: naive, as projects without time zones have them.
    wall = (datetime.now() + timedelta(days=1)).replace(microsecond=0)
    scheduler.add_job(
        bodies.append, "date", run_date=wall, args=(path, "later"), id="l"
    )
    until = time.monotonic() + 20
    while not DjangoJobExecution.objects.filter(status="Executed").exists():
        assert time.monotonic() < until, "the job did not run"
        time.sleep(0.05)
    scheduler.shutdown()
    execution = DjangoJobExecution.objects.get()
    later = DjangoJob.objects.get(pk="l").next_run_time
    print(
        json.dumps(
            {
                "jobs": sorted(DjangoJob.objects.values_list("id", flat=True)),
                "database": execution._state.db,
                "age": abs(
                    (datetime.now(timezone.utc) - execution.run_time).total_seconds()
                ),
                "started": (
                    execution.started_time - execution.run_time
                ).total_seconds(),
                "later": later.isoformat(),
                "wall": wall.astimezone(timezone.utc).isoformat(),
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1])
