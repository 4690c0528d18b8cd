"""An installation of the earlier package upgrades with `migrate`, and can go back."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from django_apscheduler.jobstores.django.store import DjangoJobStore
from django_apscheduler.models import DjangoJob, DjangoJobExecution, SchedulerControl
from tests.jobstores.django.support import Owner, make_job, make_store

pytestmark = pytest.mark.django_db(transaction=True)

APP = "django_apscheduler"
FIRST = "0001_squashed_0009_djangojobexecution_unique_job_executions"
UTC = timezone.utc

#: The names of the earlier package's migrations, as `django_migrations` has them.
LEGACY = [
    "0001_initial",
    "0002_auto_20180412_0758",
    "0003_auto_20200716_1632",
    "0004_auto_20200717_1043",
    "0005_migrate_name_to_id",
    "0006_remove_djangojob_name",
    "0007_auto_20200717_1404",
    "0008_remove_djangojobexecution_started",
    "0009_djangojobexecution_unique_job_executions",
]

SCHEMA = {
    "sqlite": """
        CREATE TABLE django_apscheduler_djangojob (id varchar(255) NOT NULL PRIMARY
            KEY, next_run_time datetime NULL, job_state BLOB NOT NULL);
        CREATE INDEX django_apscheduler_djangojob_next_run_time_2f022619 ON
            django_apscheduler_djangojob (next_run_time);
        CREATE TABLE django_apscheduler_djangojobexecution (id integer NOT NULL
            PRIMARY KEY AUTOINCREMENT, status varchar(50) NOT NULL, run_time
            datetime NOT NULL, duration decimal NULL, finished decimal NULL,
            exception varchar(1000) NULL, traceback text NULL, job_id varchar(255)
            NOT NULL REFERENCES django_apscheduler_djangojob (id) DEFERRABLE
            INITIALLY DEFERRED, CONSTRAINT unique_job_executions UNIQUE (job_id,
            run_time));
        CREATE INDEX django_apscheduler_djangojobexecution_run_time_16edd96b ON
            django_apscheduler_djangojobexecution (run_time);
        CREATE INDEX django_apscheduler_djangojobexecution_job_id_daf5090a ON
            django_apscheduler_djangojobexecution (job_id);
    """,
    "postgresql": """
        CREATE TABLE django_apscheduler_djangojob (id varchar(255) NOT NULL PRIMARY
            KEY, next_run_time timestamp with time zone NULL, job_state bytea NOT
            NULL);
        CREATE INDEX django_apscheduler_djangojob_next_run_time_2f022619 ON
            django_apscheduler_djangojob (next_run_time);
        CREATE INDEX django_apscheduler_djangojob_id_8b3a6b5e_like ON
            django_apscheduler_djangojob (id varchar_pattern_ops);
        CREATE TABLE django_apscheduler_djangojobexecution (id bigserial NOT NULL
            PRIMARY KEY, status varchar(50) NOT NULL, run_time timestamp with time
            zone NOT NULL, duration numeric(15, 2) NULL, finished numeric(15, 2)
            NULL, exception varchar(1000) NULL, traceback text NULL, job_id
            varchar(255) NOT NULL);
        ALTER TABLE django_apscheduler_djangojobexecution ADD CONSTRAINT
            django_apscheduler_djangojobexecution_job_id_daf5090a_fk FOREIGN KEY
            (job_id) REFERENCES django_apscheduler_djangojob (id) DEFERRABLE
            INITIALLY DEFERRED;
        ALTER TABLE django_apscheduler_djangojobexecution ADD CONSTRAINT
            unique_job_executions UNIQUE (job_id, run_time);
        CREATE INDEX django_apscheduler_djangojobexecution_run_time_16edd96b ON
            django_apscheduler_djangojobexecution (run_time);
        CREATE INDEX django_apscheduler_djangojobexecution_job_id_daf5090a ON
            django_apscheduler_djangojobexecution (job_id);
        CREATE INDEX django_apscheduler_djangojobexecution_job_id_daf5090a_like ON
            django_apscheduler_djangojobexecution (job_id varchar_pattern_ops);
    """,
    "mysql": """
        CREATE TABLE django_apscheduler_djangojob (id varchar(255) NOT NULL PRIMARY
            KEY, next_run_time datetime(6) NULL, job_state longblob NOT NULL);
        CREATE INDEX django_apscheduler_djangojob_next_run_time_2f022619 ON
            django_apscheduler_djangojob (next_run_time);
        CREATE TABLE django_apscheduler_djangojobexecution (id bigint AUTO_INCREMENT
            NOT NULL PRIMARY KEY, status varchar(50) NOT NULL, run_time datetime(6)
            NOT NULL, duration numeric(15, 2) NULL, finished numeric(15, 2) NULL,
            exception varchar(1000) NULL, traceback longtext NULL, job_id
            varchar(255) NOT NULL);
        ALTER TABLE django_apscheduler_djangojobexecution ADD CONSTRAINT
            django_apscheduler_djangojobexecution_job_id_daf5090a_fk FOREIGN KEY
            (job_id) REFERENCES django_apscheduler_djangojob (id);
        ALTER TABLE django_apscheduler_djangojobexecution ADD CONSTRAINT
            unique_job_executions UNIQUE (job_id, run_time);
        CREATE INDEX django_apscheduler_djangojobexecution_run_time_16edd96b ON
            django_apscheduler_djangojobexecution (run_time);
    """,
}


def migrate(*target):
    call_command("migrate", APP, *target, verbosity=0)


def run(sql, *params):
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall()) if cursor.description else None


@pytest.fixture
def legacy():
    """The tables and the migration records as the earlier package leaves them."""
    migrate("zero")
    with connection.schema_editor() as editor:
        for statement in SCHEMA[connection.vendor].strip(" \n;").split(";"):
            editor.execute(statement)
    for name in LEGACY:
        run(
            "INSERT INTO django_migrations (app, name, applied) "
            "VALUES (%s, %s, CURRENT_TIMESTAMP)",
            APP,
            name,
        )
    yield
    migrate("zero")
    migrate()


def fill(due="2026-05-30 12:00:00", ran="2026-05-29 12:00:00"):
    # On PostgreSQL the column holds the instant, so the text needs a zone there.
    zone = "+00" if connection.vendor == "postgresql" else ""
    jobs, log = "django_apscheduler_djangojob", "django_apscheduler_djangojobexecution"
    state = connection.Database.Binary(b"\x80\x04pickle")
    run(f"INSERT INTO {jobs} VALUES (%s, %s, %s)", "nightly", due + zone, state)
    run(f"INSERT INTO {jobs} VALUES (%s, NULL, %s)", "paused", state)
    for status, time in (
        ("Executed", ran),
        ("Error!", ran.replace("29", "28")),
        ("Started execution", ran.replace("29", "27")),
    ):
        run(
            f"INSERT INTO {log} (status, run_time, job_id, duration, finished) "
            "VALUES (%s, %s, %s, %s, %s)",
            status,
            time + zone,
            "nightly",
            "1.50",
            "1780056001.50",
        )


def rows():
    return list(
        DjangoJobExecution.objects.order_by("run_time").values_list(
            "job_id", "job_name", "status", "run_time"
        )
    )


@pytest.mark.usefixtures("legacy")
def test_an_existing_installation_keeps_its_jobs_and_its_log():
    fill()
    migrate()
    nightly, paused = DjangoJob.objects.order_by("id")
    assert (nightly.state, nightly.next_run_time, nightly.name) == (
        "broken",
        None,
        "nightly",
    )
    assert nightly.uid != paused.uid
    assert nightly.error == (
        "This job was written by an earlier version, which kept it as a pickle that is "
        "never read here. Add it again under the same id with replace_existing=True, "
        "or delete it. It was due at 2026-05-30T12:00:00+00:00."
    )
    assert paused.error.endswith("It was paused.")
    assert bytes(nightly.job_state) == b"\x80\x04pickle"
    assert rows() == [
        ("nightly", "nightly", "Lost", datetime(2026, 5, 27, 12, tzinfo=UTC)),
        ("nightly", "nightly", "Error!", datetime(2026, 5, 28, 12, tzinfo=UTC)),
        ("nightly", "nightly", "Executed", datetime(2026, 5, 29, 12, tzinfo=UTC)),
    ]
    assert SchedulerControl.objects.get().paused is False
    assert (FIRST in {name for app, name in applied() if app == APP}) is True
    assert indexes_of("job_id") == ["apscheduler_exec_job"]


def indexes_of(column):
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(
            cursor, "django_apscheduler_djangojobexecution"
        )
    return [
        name
        for name, about in found.items()
        if about["columns"][:1] == [column]
        and (about["index"] or about["foreign_key"])
        # Partial where that is possible, and otherwise over another column first.
        and name != "apscheduler_exec_active"
    ]


def applied():
    return set(MigrationLoader(connection).applied_migrations)


@pytest.mark.usefixtures("legacy")
def test_an_upgraded_job_is_added_again_under_its_id():
    fill()
    migrate()
    store = make_store()
    store.add_job(make_job("nightly"), replace_existing=True)
    assert store.lookup_job("nightly").args == ()
    (run_,) = store.claim_due({"default": 1}, datetime(2026, 6, 1, tzinfo=UTC)).runs
    assert run_.job.id == "nightly"
    assert DjangoJobExecution.objects.filter(job_id="nightly").count() == 5


@pytest.mark.usefixtures("legacy")
def test_times_stored_without_a_zone_are_converted_once(settings):
    if connection.vendor == "postgresql":
        pytest.skip("PostgreSQL stores instants: there is nothing to convert")
    settings.USE_TZ, settings.TIME_ZONE = False, "Europe/Berlin"
    fill(due="2026-05-30 12:00:00")
    migrate()
    assert (
        "It was due at 2026-05-30T10:00:00+00:00"
        in DjangoJob.objects.get(pk="nightly").error
    )
    assert [time.hour for _, _, _, time in rows()] == [10, 10, 10]
    migrate(FIRST)
    assert run("SELECT run_time FROM django_apscheduler_djangojobexecution "
               "WHERE status = 'Executed'") == [(datetime(2026, 5, 29, 12),)]  # fmt: skip


def test_going_back_leaves_what_the_earlier_tables_can_hold():
    store = make_store()
    now = datetime(2026, 6, 1, tzinfo=UTC)
    store.add_job(make_job("kept", now=now))
    store.add_job(make_job("gone", now=now))
    assert len(store.claim_due({"default": 5}, now).runs) == 2
    store.run_job_now("kept")
    DjangoJobExecution.objects.filter(job_id="kept").update(run_time=now)
    store.remove_job("gone")
    try:
        migrate(FIRST)
        log = run("SELECT job_id FROM django_apscheduler_djangojobexecution")
        assert log == [("kept",)]
        states = run("SELECT id, job_state FROM django_apscheduler_djangojob")
        assert [(id, bytes(state)) for id, state in states] == [("kept", b"")]
    finally:
        migrate()


def test_a_new_database_gets_the_same_tables():
    loader = MigrationLoader(connection)
    assert loader.graph.leaf_nodes(APP) == [(APP, "0003_rollups")]
    assert (APP, FIRST) in loader.applied_migrations
    assert indexes_of("job_id") == ["apscheduler_exec_job"]


def test_a_scheduler_without_the_tables_says_how_to_get_them():
    migrate("zero")
    try:
        with pytest.raises(ImproperlyConfigured, match="run `manage.py migrate` first"):
            DjangoJobStore().start(Owner(), "default", run=True)
    finally:
        migrate()


@pytest.mark.skipif(
    connection.vendor != "mysql", reason="only MySQL and MariaDB mix character sets"
)
def test_tables_hold_any_text_whatever_the_character_set_of_the_database():
    def remake(charset):
        migrate("zero")
        run(f"ALTER DATABASE CHARACTER SET {charset}")
        migrate()

    remake("latin1")
    try:
        job = DjangoJob.objects.create(
            id="\N{PILE OF POO}", error="\u2192 \N{PILE OF POO}"
        )
        DjangoJobExecution.objects.create(
            job=job, run_time=datetime(2026, 6, 1, tzinfo=UTC), traceback=job.error
        )
        assert DjangoJob.objects.get().error == "\u2192 \N{PILE OF POO}"
        assert DjangoJobExecution.objects.get().traceback == job.error
        assert indexes_of("job_id") == ["apscheduler_exec_job"]
        collations = run(
            "SELECT column_name FROM information_schema.columns "
            "WHERE table_schema = DATABASE() AND collation_name = 'utf8mb4_nopad_bin' "
            "AND table_name LIKE 'django_apscheduler_djangojob%%'"
        )
        names = sorted(name for (name,) in collations)
        assert names == ["executor", "executor", "fire_key", "id", "job_id"]
    finally:
        remake("utf8mb4")
