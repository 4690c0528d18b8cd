"""
Measure adding jobs to a database with one package, in a process of its own.

The scheduler has been started and is paused. Each call of ``add_job`` is one durable
transaction; ``batch`` adds all jobs in one call, where the package has one. Afterwards
the rows are counted. Reads the request as JSON on standard input, answers with JSON on
standard output.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib import import_module

from schedulers import make_scheduler, set_up_django
from workload import Faults


def job_options(number: int) -> dict:
    """The arguments of ``add_job`` for an hourly job with arguments."""
    return {
        "func": "workload:body_of",
        "trigger": "interval",
        "hours": 1,
        "id": f"job-{number}",
        "args": [number],
        "kwargs": {"report": "monthly"},
    }


def with_scheduler(request: dict) -> tuple[float, int, dict | None]:
    """Add with a scheduler; answer the seconds, how many jobs there are, a profile."""
    faults = Faults()
    profile = found = None
    if "profile" in request:
        from profile_of_ours import Profile

        profile = Profile(**request["profile"])
    scheduler = make_scheduler(request["contender"], request["database"])
    scheduler.start(paused=True)
    warm_up, jobs = request["warm_up"], request["jobs"]
    for number in range(warm_up):
        scheduler.add_job(**job_options(number))
    wanted = [job_options(number) for number in range(warm_up, warm_up + jobs)]
    if profile is not None:
        profile.start()
    begun = time.perf_counter()
    if request["batch"]:
        scheduler.add_jobs(wanted)
    else:
        for options in wanted:
            scheduler.add_job(**options)
    seconds = time.perf_counter() - begun
    if profile is not None:
        found = profile.stop(jobs, seconds)
    stored = len(scheduler.get_jobs())
    scheduler.shutdown()
    if faults.number:
        raise AssertionError(f"{faults.number} errors logged; first: {faults.first}")
    return seconds, stored, found


def with_inserts(request: dict) -> tuple[float, int, None]:
    """Write ready rows by SQL; answer the seconds and how many there are."""
    set_up_django(request["database"])
    from datetime import datetime, timezone

    from django.db import connection

    from django_apscheduler.models import DjangoJob

    fields = DjangoJob._meta.concrete_fields
    now = datetime.now(timezone.utc)

    def row(number: int) -> list:
        job = DjangoJob(
            id=f"job-{number}",
            name="body_of",
            func="workload:body_of",
            trigger='{"args":{"hours":1},"type":"interval"}',
            args=f"[{number}]",
            kwargs='{"report":"monthly"}',
            signature="s" * 64,
            next_run_time=now,
            nominal_time=now,
            anchor_time=now,
            created_time=now,
            changed_time=now,
        )
        return [
            field.get_db_prep_save(getattr(job, field.attname), connection)
            for field in fields
        ]

    table = connection.ops.quote_name(DjangoJob._meta.db_table)
    names = ", ".join(connection.ops.quote_name(field.column) for field in fields)
    insert = f"INSERT INTO {table} ({names}) VALUES"
    marks = f"({', '.join(['%s'] * len(fields))})"
    warm_up, jobs = request["warm_up"], request["jobs"]
    with connection.cursor() as cursor:
        cursor.executemany(f"{insert} {marks}", [row(n) for n in range(warm_up)])
        rows = [row(number) for number in range(warm_up, warm_up + jobs)]
        begun = time.perf_counter()
        if not request["batch"]:
            for values in rows:
                cursor.execute(f"{insert} {marks}", values)
        elif connection.vendor == "postgresql":
            from psycopg2.extras import execute_values

            execute_values(cursor.cursor, f"{insert} %s", rows, page_size=1000)
        else:
            connection.set_autocommit(False)
            cursor.executemany(f"{insert} {marks}", rows)
            connection.commit()
            connection.set_autocommit(True)
        seconds = time.perf_counter() - begun
    return seconds, DjangoJob.objects.count(), None


def with_procrastinate(request: dict) -> tuple[float, int, None]:
    """Defer tasks; answer the seconds and how many there are."""
    procrastinate = import_module("procrastinate")
    database = request["database"]
    connector = procrastinate.SyncPsycopgConnector(
        conninfo=f"host={database['host']} user={database['user']} "
        f"dbname={database['name']}"
    )
    app = procrastinate.App(connector=connector)

    @app.task(name="body_of")
    def body_of(number: int, report: str) -> None:
        pass

    warm_up, jobs = request["warm_up"], request["jobs"]
    with app.open():
        app.schema_manager.apply_schema()
        for number in range(warm_up):
            body_of.defer(number=number, report="monthly")
        wanted = [{"number": number, "report": "monthly"} for number in range(jobs)]
        begun = time.perf_counter()
        if request["batch"]:
            body_of.batch_defer(*wanted)
        else:
            for options in wanted:
                body_of.defer(**options)
        seconds = time.perf_counter() - begun
        stored = len(list(app.job_manager.list_jobs()))
    return seconds, stored, None


def main() -> None:
    request = json.load(sys.stdin)
    add: Callable = with_scheduler
    if request["contender"] == "procrastinate":
        add = with_procrastinate
    elif request["contender"] == "inserts":
        add = with_inserts
    seconds, stored, profile = add(request)
    expected = request["warm_up"] + request["jobs"]
    if stored != expected:
        raise AssertionError(f"expected {expected} jobs in the database, got {stored}")
    answer = {
        "answer": request["jobs"] / seconds,
        "jobs": request["jobs"],
        "profile": profile,
    }
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
