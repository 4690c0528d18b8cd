"""The store on SQLAlchemy: what is its own."""

from __future__ import annotations

import os
import pickle
import threading
from datetime import datetime, timedelta, timezone

import pytest

sqlalchemy = pytest.importorskip(
    "sqlalchemy",
    reason="needs SQLAlchemy: pip install django-apscheduler[sqlalchemy]",
)

from sqlalchemy.pool import NullPool, SingletonThreadPool, StaticPool  # noqa: E402

from django_apscheduler.jobstores.base import BaseJobStore  # noqa: E402
from django_apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore  # noqa: E402
from django_apscheduler.schedulers.background import BackgroundScheduler  # noqa: E402
from tests.jobstores.places import SQLAlchemyPlace, server_url  # noqa: E402
from tests.jobstores.test_persistent import Owner, claimed, ids, make  # noqa: E402

pytestmark = pytest.mark.database

UTC = timezone.utc
NOON = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)

shared_metadata = sqlalchemy.MetaData()


@pytest.fixture
def here(tmp_path):
    here = SQLAlchemyPlace(tmp_path)
    yield here
    here.clear()


@pytest.fixture
def engine(here):
    engine = sqlalchemy.create_engine(here.url)
    yield engine
    engine.dispose()


def start(store):
    store.start(Owner(), "default")
    return store


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, 'needs either "url" or "engine"; got neither'),
        ({"url": "sqlite://", "engine": "os:name"}, "got both"),
        ({"url": "sqlite://", "tablename": ""}, '"tablename" must not be empty'),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SQLAlchemyJobStore(**options)


def test_a_url_that_is_none_is_refused_when_the_store_is_made():
    with pytest.raises(
        sqlalchemy.exc.ArgumentError, match="Could not parse SQLAlchemy URL"
    ):
        SQLAlchemyJobStore("no url at all")


def test_engine_options_go_with_a_url(engine):
    with pytest.raises(ValueError, match='"engine_options" goes with "url"'):
        SQLAlchemyJobStore(engine=engine, engine_options={"echo": True})
    store = SQLAlchemyJobStore("sqlite://", engine_options={"poolclass": NullPool})
    assert isinstance(store.engine.pool, NullPool)


def test_an_engine_that_was_given_stays_open_and_one_that_was_made_does_not(
    here, engine
):
    given = start(SQLAlchemyJobStore(engine=engine, tablename=here.table))
    pool = engine.pool
    given.shutdown()
    assert engine.pool is pool and pool.checkedin() > 0
    own = start(here.make())
    assert own.engine.pool.checkedin() > 0
    own.shutdown()
    assert own.engine.pool.checkedin() == 0


def test_an_engine_may_be_named_by_reference(here, engine, monkeypatch):
    monkeypatch.setitem(globals(), "the_engine", engine)
    store = SQLAlchemyJobStore(engine=f"{__name__}:the_engine", tablename=here.table)
    start(store).add_job(make("a"))
    assert here.read("a")["id"] == "a"
    store.shutdown()


def test_metadata_may_be_the_projects_own(here):
    metadata = sqlalchemy.MetaData()
    one = here.make(metadata=metadata)
    assert metadata.tables[here.table] is one.jobs_t
    # A second store on the same table, as after a reload, has the same one.
    assert here.make(metadata=metadata).jobs_t is one.jobs_t
    assert here.make(metadata=f"{__name__}:shared_metadata").jobs_t is not one.jobs_t


def test_the_table_may_be_in_a_schema(here, engine):
    if engine.dialect.name != "postgresql":
        pytest.skip("only PostgreSQL has schemas beside its databases")
    schema = f"schema_{here.table}"
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(f"CREATE SCHEMA {schema}"))
    try:
        store = start(SQLAlchemyJobStore(engine=engine, tableschema=schema))
        store.add_job(make("a"))
        with engine.connect() as connection:
            query = f"SELECT id FROM {schema}.apscheduler_jobs"
            assert connection.execute(sqlalchemy.text(query)).scalar_one() == "a"
        store.shutdown()
    finally:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text(f"DROP SCHEMA {schema} CASCADE"))


def test_claims_find_due_jobs_by_an_index(here, engine):
    start(here.make()).shutdown()
    found = sqlalchemy.inspect(engine).get_indexes(here.table)
    columns = [index["column_names"] for index in found]
    assert ["executor", "next_run_time", "id"] in columns


def test_stores_that_start_together_make_one_table(here):
    barrier = threading.Barrier(4)
    errors = []

    def begin():
        store = here.make()
        try:
            barrier.wait(20)
            start(store)
        except Exception as error:
            errors.append(error)
        finally:
            store.shutdown()

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def old_table(here, engine):
    """Make the table that APScheduler 3 documents, with a job in it."""
    table = sqlalchemy.Table(
        here.table,
        sqlalchemy.MetaData(),
        sqlalchemy.Column("id", sqlalchemy.String(191), primary_key=True),
        sqlalchemy.Column("next_run_time", sqlalchemy.Float(25), index=True),
        sqlalchemy.Column("job_state", sqlalchemy.LargeBinary, nullable=False),
    )
    table.create(engine)
    with engine.begin() as connection:
        state = pickle.dumps({"id": "old"})
        connection.execute(
            table.insert(), {"id": "old", "next_run_time": 1.5, "job_state": state}
        )


def test_the_table_of_apscheduler_is_refused_with_the_remedy_and_left_alone(
    here, engine
):
    old_table(here, engine)
    store = here.make()
    with pytest.raises(ValueError, match="APScheduler's own.*another tablename"):
        start(store)
    row = here.read("old")
    assert (row["next_run_time"], pickle.loads(row["job_state"])["id"]) == (1.5, "old")


def test_another_table_of_that_name_is_refused_naming_what_it_lacks(here):
    here._execute(f"CREATE TABLE {here.table} (id varchar(20), func varchar(20))")
    with pytest.raises(ValueError, match="lacks the columns anchor_time, args, "):
        start(here.make())


def test_a_scheduler_whose_store_cannot_start_leaves_the_others_closed(here, engine):
    old_table(here, engine)
    good = SQLAlchemyJobStore(here.url, tablename=f"{here.table}x")
    scheduler = BackgroundScheduler(jobstores={"default": good, "old": here.make()})
    with pytest.raises(ValueError, match="APScheduler's own"):
        scheduler.start()
    assert not scheduler.running
    assert good.engine.pool.checkedin() == 0
    here._execute(f"DROP TABLE {here.table}x")


def test_times_are_in_utc_whatever_the_connections_zone(here, engine):
    if engine.dialect.name == "postgresql":
        setting = "SET TIME ZONE 'Asia/Kolkata'"
    elif engine.dialect.name == "mysql":
        setting = "SET time_zone = '+05:30'"
    else:
        pytest.skip("SQLite knows no zones")

    @sqlalchemy.event.listens_for(engine, "connect")
    def set_zone(connection, record):
        with connection.cursor() as cursor:
            cursor.execute(setting)

    first = start(here.make())
    first.add_job(make("a", NOON + timedelta(microseconds=7)))
    first.shutdown()
    store = start(SQLAlchemyJobStore(engine=engine, tablename=here.table))
    assert store.get_next_run_time() == NOON + timedelta(microseconds=7)
    assert claimed(store, NOON) == []
    assert claimed(store, NOON + timedelta(microseconds=7)) == ["a"]
    store.shutdown()


def test_a_connection_that_the_server_has_closed_is_replaced_unnoticed(here):
    store = start(here.make())
    if store.engine.dialect.name == "sqlite":
        store.shutdown()
        pytest.skip("a file closes no connections")
    store.add_job(make("a"))
    kill = {
        "postgresql": "SELECT pg_terminate_backend({})",
        "mysql": "KILL {}",
    }[store.engine.dialect.name]
    own = {
        "postgresql": "SELECT pg_backend_pid()",
        "mysql": "SELECT connection_id()",
    }[store.engine.dialect.name]
    with store.engine.connect() as connection:
        number = connection.execute(sqlalchemy.text(own)).scalar_one()
    here._execute(kill.format(number))
    assert store.lookup_job("a").id == "a"
    store.shutdown()


class TestSQLite:
    """SQLite in memory and in a file, from the threads of a scheduler."""

    def test_in_memory_all_threads_see_the_same_jobs(self):
        store = start(SQLAlchemyJobStore("sqlite://"))
        thread = threading.Thread(target=store.add_job, args=(make("a"),))
        thread.start()
        thread.join()
        assert ids(store.get_all_jobs()) == ["a"]
        store.shutdown()

    def test_an_engine_with_a_database_for_each_thread_is_refused(self):
        engine = sqlalchemy.create_engine("sqlite://", poolclass=SingletonThreadPool)
        with pytest.raises(ValueError, match="poolclass=StaticPool"):
            start(SQLAlchemyJobStore(engine=engine))
        engine.dispose()

    def test_an_engine_with_one_connection_serves_all_threads_in_turn(self):
        engine = sqlalchemy.create_engine(
            "sqlite://",
            poolclass=StaticPool,
            connect_args={"check_same_thread": False},
        )
        store = start(SQLAlchemyJobStore(engine=engine))
        errors = []

        def use(thread):
            try:
                for number in range(40):
                    store.add_job(make(f"{thread}-{number}"))
                    store.get_all_jobs()
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=use, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert len(store.get_all_jobs()) == 160
        store.shutdown()
        engine.dispose()

    def test_a_relative_path_is_in_the_working_directory(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        store = start(SQLAlchemyJobStore("sqlite:///jobs.sqlite"))
        store.shutdown()
        assert os.listdir(tmp_path) == ["jobs.sqlite"]

    def test_a_time_that_is_none_hides_nobody(self, tmp_path):
        here = SQLAlchemyPlace(tmp_path)
        if here.engine.dialect.name != "sqlite":
            here.clear()
            pytest.skip("other databases refuse such times themselves")
        store = start(here.make())
        store.add_jobs([make("bad"), make("good")])
        here.write("bad", next_run_time="2020 or so")
        assert claimed(store, NOON) == ["good"]
        reason = "what is stored as next_run_time is not what a job has: '2020 or so'"
        assert reason in here.read("bad")["error"]
        store.shutdown()


def test_the_store_is_shown_without_its_password():
    store = SQLAlchemyJobStore("sqlite:///jobs.sqlite")
    assert repr(store) == "<SQLAlchemyJobStore (url=sqlite:///jobs.sqlite)>"
    engine = sqlalchemy.create_engine("mysql+pymysql://user:secret@db/jobs")
    assert "secret" not in repr(SQLAlchemyJobStore(engine=engine))


def test_it_is_a_job_store_of_ours_with_the_documented_defaults(tmp_path):
    store = SQLAlchemyJobStore(url=server_url(tmp_path))
    assert isinstance(store, BaseJobStore)
    assert store.jobs_t.name == "apscheduler_jobs"
    assert (store.shared, store.logs, store.blocking) == (False, False, True)
