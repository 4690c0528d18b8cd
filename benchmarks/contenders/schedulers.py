"""The schedulers that are measured, each with its database store and ten threads."""

from __future__ import annotations

from collections import Counter
from importlib import import_module


def sqlalchemy_store(database: dict):
    """APScheduler's SQLAlchemyJobStore on the given database."""
    sqlalchemy = import_module("sqlalchemy")

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


def make_durable(connection, **kwargs) -> None:
    """Have SQLite wait for the disk; a receiver, for Django 4.2 has no init_command."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA synchronous=FULL")


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
            "OPTIONS": {"timeout": 20, **database.get("options", {})},
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
    connection_created = import_module("django.db.backends.signals").connection_created
    connection_created.connect(make_durable)
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


def events_of(contender: str):
    """The module with the contender's event codes."""
    return import_module(f"{package_of(contender)}.events")


def add_all(scheduler, jobs: list[dict]) -> None:
    """Add jobs in the fastest way the scheduler has."""
    if hasattr(scheduler, "add_jobs"):
        scheduler.add_jobs(jobs)
    else:
        for options in jobs:
            scheduler.add_job(**options)


def logged(contender: str) -> Counter:
    """How many executed runs the log holds, by job id; empty without a log."""
    if contender == "apscheduler":
        return Counter()
    model = import_module("django_apscheduler.models").DjangoJobExecution
    executions = model.objects.filter(status="Executed")
    return Counter(executions.values_list("job_id", flat=True))
