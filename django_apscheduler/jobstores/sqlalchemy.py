"""The job store in a table that SQLAlchemy reaches."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from typing import Any

from django_apscheduler.job import ACTIVE, BROKEN
from django_apscheduler.jobstores.base import ConflictingIdError
from django_apscheduler.jobstores.fields import (
    FIELDS,
    SCHEDULE,
    Fields,
    chunks,
    parsed_time,
)
from django_apscheduler.jobstores.persistent import PersistentJobStore
from django_apscheduler.jobstores.rows import Row
from django_apscheduler.util import maybe_ref, utc

try:
    import sqlalchemy as sa
    from sqlalchemy.dialects import mysql, postgresql
    from sqlalchemy.exc import DBAPIError, IntegrityError
    from sqlalchemy.pool import SingletonThreadPool, StaticPool
except ImportError as error:
    raise ImportError(
        "SQLAlchemyJobStore needs SQLAlchemy 2: pip install "
        "django-apscheduler[sqlalchemy]"
    ) from error

#: Seconds that SQLite waits for another writer.
SQLITE_TIMEOUT = 20


class UTCTime(sa.TypeDecorator):
    """
    An aware time as an exact one in UTC, in a form that sorts as time does.

    PostgreSQL has such times; elsewhere they are kept without zone. SQLite keeps texts,
    so a text that is no time comes back as it is and spoils nothing but its own row.
    """

    impl = sa.DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Any) -> Any:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.TIMESTAMP(timezone=True))
        if dialect.name in ("mysql", "mariadb"):
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        if dialect.name == "sqlite":
            return dialect.type_descriptor(sa.String(26))
        return dialect.type_descriptor(sa.DateTime())

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        if value is None:
            return None
        moment = value.astimezone(utc)
        if dialect.name == "postgresql":
            return moment
        moment = moment.replace(tzinfo=None)
        if dialect.name == "sqlite":
            return moment.isoformat(sep=" ", timespec="microseconds")
        return moment

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        if isinstance(value, datetime):
            return value.astimezone(utc) if value.tzinfo else value.replace(tzinfo=utc)
        try:
            return None if value is None else parsed_time(value)
        except (TypeError, ValueError):
            return value


class SQLAlchemyJobStore(PersistentJobStore):
    """
    Keeps jobs in a table, for one scheduler at a time; the table is made when missing.

    Plugin alias: ``sqlalchemy``

    :param url: of the database, as SQLAlchemy writes it; an engine is made and closed
    :param engine: an engine, or a reference to one (``module:name``), instead of ``url``;
        it stays open
    :param tablename: of the table
    :param metadata: the MetaData that the table belongs to, or a reference to it
    :param pickle_protocol: what arguments are pickled with, if ``allow_pickle``
    :param tableschema: database schema of the table
    :param engine_options: further arguments of ``create_engine()``
    :param allow_pickle: whether arguments that JSON cannot carry are pickled
    :param secret_key: what to sign jobs with, see `PersistentJobStore`
    """

    def __init__(
        self,
        url: Any = None,
        engine: Any = None,
        tablename: str = "apscheduler_jobs",
        metadata: Any = None,
        pickle_protocol: int | str = pickle.HIGHEST_PROTOCOL,
        tableschema: str | None = None,
        engine_options: Mapping[str, Any] | None = None,
        allow_pickle: bool | str = False,
        secret_key: Any = None,
    ):
        super().__init__(pickle_protocol, allow_pickle, secret_key)
        if (url is None) == (engine is None):
            raise ValueError(
                'SQLAlchemyJobStore needs either "url" or "engine"; got '
                f"{'neither' if url is None else 'both'}"
            )
        if not tablename:
            raise ValueError('"tablename" must not be empty')
        self._owns_engine = engine is None
        if engine is None:
            engine = _make_engine(url, dict(engine_options or {}))
        elif engine_options:
            raise ValueError('"engine_options" goes with "url", not with "engine"')
        self.engine: sa.Engine = maybe_ref(engine)
        self.jobs_t = _table(
            maybe_ref(metadata) or sa.MetaData(), tablename, tableschema
        )
        # A pool of one connection is one transaction for all threads.
        single = isinstance(self.engine.pool, StaticPool)
        self._turn: AbstractContextManager = (
            threading.RLock() if single else nullcontext()
        )

    # Life.

    def open(self, forked: bool) -> None:
        if forked and self._owns_engine:
            self.engine.dispose(close=False)
        if isinstance(self.engine.pool, SingletonThreadPool):
            raise ValueError(
                "the engine gives each thread an in-memory SQLite database of its own, "
                "so the scheduler would not see its jobs; make it with poolclass="
                'StaticPool and connect_args={"check_same_thread": False}, or give '
                'url="sqlite://" instead of an engine'
            )
        with self._turn:
            self._check_table(create=True)

    def _check_table(self, create: bool) -> None:
        """
        See to it that the table is there and is ours.

        :raises ValueError: telling what it is instead
        """
        table = self.jobs_t
        inspector = sa.inspect(self.engine)
        if not inspector.has_table(table.name, table.schema):
            try:
                table.create(self.engine)
            except DBAPIError:
                # Another process that starts may have made it just now.
                if not create or not sa.inspect(self.engine).has_table(
                    table.name, table.schema
                ):
                    raise
                self._check_table(create=False)
            return
        columns = {
            column["name"] for column in inspector.get_columns(table.name, table.schema)
        }
        missing = sorted({column.name for column in table.columns} - columns)
        if "job_state" in columns and missing:
            raise ValueError(
                f"the table {table.fullname!r} is APScheduler's own: its jobs are pickles, "
                "which this store does not load. Give the store another tablename and "
                "add the jobs again, or rename that table; nothing in it was changed"
            )
        if missing:
            raise ValueError(
                f"the table {table.fullname!r} lacks the columns {', '.join(missing)}, so "
                "it is not one of this job store; give the store another tablename, or "
                "rename that table. Nothing in it was changed"
            )

    def close(self) -> None:
        if self._owns_engine:
            self.engine.dispose()

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with self._turn, self.engine.connect() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        with self._turn, self.engine.begin() as connection:
            yield connection

    # Reading.

    def _read(self, query: Any) -> list[Fields]:
        with self._reading() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def fetch(self, job_ids: Sequence[str]) -> list[Fields]:
        table = self.jobs_t
        found: list[Fields] = []
        for some in chunks(job_ids):
            found += self._read(sa.select(table).where(table.c.id.in_(some)))
        return found

    def fetch_all(self) -> list[Fields]:
        return self._read(sa.select(self.jobs_t))

    def fetch_due(self, executor: str | None, now: datetime, most: int) -> list[Fields]:
        jobs = self.jobs_t.c
        query = sa.select(self.jobs_t).where(
            jobs.state == ACTIVE, jobs.next_run_time <= now
        )
        if executor is not None:
            query = query.where(jobs.executor == executor)
        return self._read(query.order_by(jobs.next_run_time, jobs.id).limit(most))

    def fetch_broken(self, most: int) -> list[Fields]:
        jobs = self.jobs_t.c
        query = sa.select(self.jobs_t).where(jobs.state == BROKEN)
        return self._read(query.order_by(jobs.id).limit(most))

    def earliest(self, executors: Sequence[str] | None) -> datetime | None:
        jobs = self.jobs_t.c
        first = (
            sa.select(jobs.next_run_time)
            .where(jobs.state == ACTIVE, jobs.next_run_time.is_not(None))
            .order_by(jobs.next_run_time)
            .limit(1)
        )
        if executors is None:
            queries = [first.scalar_subquery()]
        else:
            # One step into the index for each executor.
            queries = [
                first.where(jobs.executor == executor).scalar_subquery()
                for executor in executors
            ]
        with self._reading() as connection:
            times = connection.execute(sa.select(*queries)).one()
        return min((time for time in times if isinstance(time, datetime)), default=None)

    # Writing.

    def write(self, new: Sequence[Fields], replaced: Sequence[Fields]) -> None:
        table = self.jobs_t
        try:
            with self._writing() as connection:
                if new:
                    connection.execute(table.insert(), [_columns(job) for job in new])
                if replaced:
                    connection.execute(self._update(FIELDS), _bound(replaced, FIELDS))
        except IntegrityError:
            for taken in self.fetch([fields["id"] for fields in new]):
                raise ConflictingIdError(taken["id"]) from None
            raise

    def advance(self, moved: Sequence[Row], ended: Sequence[str]) -> None:
        with self._writing() as connection:
            if moved:
                fields = [row._asdict() for row in moved]
                connection.execute(self._update(SCHEDULE), _bound(fields, SCHEDULE))
            self._delete(connection, ended)

    def _update(self, names: Sequence[str]) -> Any:
        table = self.jobs_t
        values: dict[str, Any] = {
            name: sa.bindparam(f"new_{name}") for name in names if name != "id"
        }
        return table.update().where(table.c.id == sa.bindparam("which")).values(values)

    def park(self, job_id: str, error: str) -> None:
        table = self.jobs_t
        with self._writing() as connection:
            connection.execute(
                table.update()
                .where(table.c.id == job_id)
                .values(state=BROKEN, next_run_time=None, error=error)
            )

    def remove(self, job_ids: Sequence[str]) -> int:
        with self._writing() as connection:
            return self._delete(connection, job_ids)

    def _delete(self, connection: sa.Connection, job_ids: Sequence[str]) -> int:
        table = self.jobs_t
        return sum(
            connection.execute(table.delete().where(table.c.id.in_(some))).rowcount
            for some in chunks(job_ids)
        )

    def remove_all_jobs(self) -> None:
        with self._writing() as connection:
            connection.execute(self.jobs_t.delete())

    def __repr__(self) -> str:
        url = self.engine.url.render_as_string(hide_password=True)
        return f"<{type(self).__name__} (url={url})>"


def _make_engine(url: Any, options: dict[str, Any]) -> sa.Engine:
    url = sa.make_url(url)
    # A connection that a restart of the server has ended is noticed before its use.
    options.setdefault("pool_pre_ping", True)
    if url.get_backend_name() == "sqlite":
        arguments = options["connect_args"] = dict(options.get("connect_args", {}))
        arguments.setdefault("timeout", SQLITE_TIMEOUT)
        if url.database in (None, "", ":memory:") or "mode=memory" in str(url):
            # The threads of a scheduler share it, so they share the connection.
            options.setdefault("poolclass", StaticPool)
            arguments.setdefault("check_same_thread", False)
    elif url.get_backend_name() == "postgresql" and url.get_driver_name() == "psycopg2":
        # Many updates in one round trip.
        options.setdefault("executemany_mode", "values_plus_batch")
    return sa.create_engine(url, **options)


def _table(metadata: sa.MetaData, name: str, schema: str | None) -> sa.Table:
    known = metadata.tables.get(f"{schema}.{name}" if schema else name)
    if known is not None:
        return known
    long = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
    return sa.Table(
        name,
        metadata,
        sa.Column("id", sa.String(255), primary_key=True),
        sa.Column("uid", sa.String(36), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("func", sa.String(500), nullable=False),
        sa.Column("trigger", long, nullable=False),
        sa.Column("args", long, nullable=False),
        sa.Column("kwargs", long, nullable=False),
        sa.Column("signature", sa.String(100), nullable=False),
        sa.Column("executor", sa.String(100), nullable=False),
        sa.Column("coalesce", sa.Boolean, nullable=False),
        sa.Column("misfire_grace_time", sa.Integer),
        sa.Column("max_instances", sa.Integer, nullable=False),
        sa.Column("on_lost", sa.String(20), nullable=False),
        sa.Column("state", sa.String(20), nullable=False, index=True),
        sa.Column("next_run_time", UTCTime),
        sa.Column("nominal_time", UTCTime),
        sa.Column("anchor_time", UTCTime),
        sa.Column("error", long, nullable=False),
        # What a claim goes by: the due jobs of an executor, oldest first.
        sa.Index(f"ix_{name}_due", "executor", "next_run_time", "id"),
        schema=schema,
        # Ids that differ in case or accents alone are different ids.
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mariadb_charset="utf8mb4",
        mariadb_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
        mariadb_engine="InnoDB",
    )


def _columns(fields: Fields) -> dict[str, Any]:
    return {**fields, "uid": str(fields["uid"])}


def _bound(many: Sequence[Fields], names: Sequence[str]) -> list[dict[str, Any]]:
    bound = []
    for fields in map(_columns, many):
        values = {f"new_{name}": fields[name] for name in names if name != "id"}
        bound.append({**values, "which": fields["id"]})
    return bound
