"""
Measure dispatch from a database with one package, in a process of its own.

A ``BackgroundScheduler`` with its database store and a thread pool of 10. A first
small wave opens threads and connections and is not counted. The clock runs from
``resume()`` until the event of the last run, which each of the packages that keep an
execution log sends after the log was written; the log is then counted. Reads the
request as JSON on standard input, answers with JSON on standard output.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from importlib import import_module

from workload import Faults, Finish, bodies, job_options


def sqlalchemy_store(database: dict):
    """APScheduler's SQLAlchemyJobStore on the given database."""
    import sqlalchemy

    store_class = import_module("apscheduler.jobstores.sqlalchemy").SQLAlchemyJobStore
    if database["engine"] == "postgresql":
        url = sqlalchemy.URL.create(
            "postgresql+psycopg2",
            username=database["user"],
            host=database["host"],
            database=database["name"],
        )
        return store_class(engine=sqlalchemy.create_engine(url))
    engine = sqlalchemy.create_engine(f"sqlite:///{database['name']}")

    @sqlalchemy.event.listens_for(engine, "connect")
    def make_durable(connection, record):
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    return store_class(engine=engine)


def set_up_django(database: dict) -> None:
    """Configure Django with the given database and make the tables."""
    import django
    from django.conf import settings
    from django.core.management import call_command

    if database["engine"] == "postgresql":
        connection = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": database["name"],
            "USER": database["user"],
            "HOST": database["host"],
        }
    else:
        connection = {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": database["name"],
            "OPTIONS": {
                "timeout": 20,
                "init_command": "PRAGMA synchronous=FULL",
                **database.get("options", {}),
            },
        }
    settings.configure(
        DATABASES={"default": connection},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=["django.contrib.contenttypes", "django_apscheduler"],
        SECRET_KEY="only for the benchmark",
        USE_TZ=True,
        TIME_ZONE="UTC",
    )
    django.setup()
    call_command("migrate", verbosity=0)


def package_of(contender: str) -> str:
    """The package whose schedulers and executors the contender uses."""
    return "django_apscheduler" if contender == "ours" else "apscheduler"


def make_scheduler(contender: str, database: dict):
    """A scheduler of the contender with its database store as the default store."""
    package = package_of(contender)
    if contender == "apscheduler":
        store = sqlalchemy_store(database)
    else:
        set_up_django(database)
        store = import_module("django_apscheduler.jobstores").DjangoJobStore()
    scheduler_class = import_module(
        f"{package}.schedulers.background"
    ).BackgroundScheduler
    pool_class = import_module(f"{package}.executors.pool").ThreadPoolExecutor
    return scheduler_class(
        jobstores={"default": store},
        executors={"default": pool_class(10)},
        timezone="UTC",
    )


class Executed:
    """A listener that counts the executed runs of each job."""

    def __init__(self) -> None:
        self.finish = Finish()
        self.jobs: list[str] = []

    def __call__(self, event) -> None:
        self.jobs.append(event.job_id)
        self.finish.count()


def run_all(scheduler, numbers: range, executed: Executed, faults: Faults) -> float:
    """Add one due job per number, let each run once, answer the seconds from resume."""
    scheduler.pause()
    if hasattr(scheduler, "add_jobs"):
        scheduler.add_jobs([job_options(number) for number in numbers])
    else:
        for number in numbers:
            scheduler.add_job(**job_options(number))
    executed.finish.await_more(len(numbers))
    begun = time.perf_counter()
    scheduler.resume()
    executed.finish.wait(faults)
    return executed.finish.time - begun


def logged(contender: str) -> Counter:
    """How many executed runs the log holds, by job id; empty without a log."""
    if contender == "apscheduler":
        return Counter()
    model = import_module("django_apscheduler.models").DjangoJobExecution
    executions = model.objects.filter(status="Executed")
    return Counter(executions.values_list("job_id", flat=True))


def verify(contender: str, total: int, executed: Executed, faults: Faults) -> int:
    """Check that each job ran and was logged exactly once; answer the log's rows."""
    expected = Counter(f"job-{number}" for number in range(total))
    # Without the error that explains it a difference says little.
    because = f"; first error: {faults.first}" if faults.first else ""
    if bodies.reached != total or Counter(executed.jobs) != expected:
        raise AssertionError(
            f"expected {total} runs, one per job; {bodies.reached} bodies ran and "
            f"{len(set(executed.jobs))} jobs were reported executed{because}"
        )
    log = logged(contender)
    if contender != "apscheduler" and log != expected:
        raise AssertionError(
            f"expected {total} executed runs in the log, one per job; it holds "
            f"{sum(log.values())} of {len(log)} jobs{because}"
        )
    return sum(log.values())


def main() -> None:
    request = json.load(sys.stdin)
    faults = Faults()
    contender = request["contender"]
    scheduler = make_scheduler(contender, request["database"])
    events = import_module(f"{package_of(contender)}.events")
    executed = Executed()
    scheduler.start(paused=True)
    # Listeners are called in the order they came, so this one hears of a run after
    # the one that writes the earlier package's log.
    scheduler.add_listener(executed, events.EVENT_JOB_EXECUTED)
    warm_up, jobs = request["warm_up"], request["jobs"]
    run_all(scheduler, range(warm_up), executed, faults)
    seconds = run_all(scheduler, range(warm_up, warm_up + jobs), executed, faults)
    scheduler.shutdown()
    rows = verify(contender, warm_up + jobs, executed, faults)
    json.dump({"answer": jobs / seconds, "runs": jobs, "log_rows": rows}, sys.stdout)


if __name__ == "__main__":
    main()
