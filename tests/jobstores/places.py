"""Where the tests of persistent job stores have them keep jobs: real servers, and files."""

from __future__ import annotations

import importlib.util
import os
import uuid
from typing import Any

import pytest

from tests import databases

#: Seconds after which a client gives up on a server that is away.
AWAY_SECONDS = 5


class Place:
    """
    A place of one test's own, as job stores are told of it.

    :ivar alias: plugin alias of the store
    :ivar options: of the store's constructor, to connect by itself
    :ivar server: behind it, None for a file
    """

    alias = ""
    server: Any = None

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}

    def make(self, **options: Any) -> Any:
        """Return a store here that has not been started."""
        from django_apscheduler.schedulers.plugins import make_plugin

        return make_plugin("jobstores", self.alias, {**self.options, **options})

    def write(self, job_id: str, **fields: Any) -> None:
        """Change what is stored of a job, past the store."""
        raise NotImplementedError

    def read(self, job_id: str) -> dict[str, Any]:
        """Return what is stored of a job, as the server has it."""
        raise NotImplementedError

    def clear(self) -> None:
        """Remove everything that is here."""


class SQLAlchemyPlace(Place):
    """A table of its own on the test database's server, or in a file of its own."""

    alias = "sqlalchemy"

    def __init__(self, folder: Any) -> None:
        super().__init__()
        pytest.importorskip(
            "sqlalchemy",
            reason="needs SQLAlchemy: pip install django-apscheduler[sqlalchemy]",
        )
        import sqlalchemy

        self.url = server_url(folder)
        self.table = f"jobs_{uuid.uuid4().hex[:12]}"
        self.options = {"url": self.url, "tablename": self.table}
        self.engine = sqlalchemy.create_engine(self.url, poolclass=sqlalchemy.NullPool)

    def _execute(self, text: str, **values: Any) -> Any:
        import sqlalchemy

        with self.engine.begin() as connection:
            result = connection.execute(sqlalchemy.text(text), values)
            return result.mappings().all() if result.returns_rows else None

    def write(self, job_id: str, **fields: Any) -> None:
        changes = ", ".join(f"{self.quoted(name)} = :{name}" for name in fields)
        text = f"UPDATE {self.table} SET {changes} WHERE id = :which"
        self._execute(text, which=job_id, **fields)

    def quoted(self, name: str) -> str:
        return self.engine.dialect.identifier_preparer.quote(name)

    def read(self, job_id: str) -> dict[str, Any]:
        text = f"SELECT * FROM {self.table} WHERE id = :which"
        return dict(self._execute(text, which=job_id)[0])

    def clear(self) -> None:
        self._execute(f"DROP TABLE IF EXISTS {self.table}")


class MongoDBPlace(Place):
    """A database of its own."""

    alias = "mongodb"

    def __init__(self, server: Any) -> None:
        super().__init__()
        import pymongo

        self.server = server
        self.name = f"test_{uuid.uuid4().hex[:12]}"
        self.options = {
            "host": server.uri,
            "database": self.name,
            "serverSelectionTimeoutMS": AWAY_SECONDS * 1000,
        }
        self.client: Any = pymongo.MongoClient(server.uri)
        self.collection = self.client[self.name]["jobs"]

    def write(self, job_id: str, **fields: Any) -> None:
        self.collection.update_one({"_id": job_id}, {"$set": fields})

    def read(self, job_id: str) -> dict[str, Any]:
        document = self.collection.find_one({"_id": job_id})
        assert document is not None
        return document

    def clear(self) -> None:
        self.client.drop_database(self.name)
        self.client.close()


class RedisPlace(Place):
    """Keys of its own."""

    alias = "redis"

    def __init__(self, server: Any) -> None:
        super().__init__()
        import redis

        self.server = server
        self.name = f"test-{uuid.uuid4().hex[:12]}"
        self.options = {
            "unix_socket_path": server.socket,
            "jobs_key": f"{self.name}.jobs",
            "run_times_key": f"{self.name}.times",
        }
        self.client: Any = redis.Redis(unix_socket_path=server.socket)

    def write(self, job_id: str, **fields: Any) -> None:
        import json

        stored = {**self.read(job_id), **fields}
        self.client.hset(self.options["jobs_key"], job_id, json.dumps(stored))

    def read(self, job_id: str) -> dict[str, Any]:
        import json

        return json.loads(self.client.hget(self.options["jobs_key"], job_id))

    def clear(self) -> None:
        keys = list(self.client.scan_iter(f"{self.name}.*"))
        if keys:
            self.client.delete(*keys)
        self.client.close()


def server_url(folder: Any) -> str:
    """Return the URL of the database that TEST_DB chooses: a file's, or the server's."""
    vendor = databases.wanted()
    if vendor == "sqlite":
        return f"sqlite:///{folder}/jobs.sqlite"
    import sqlalchemy

    if vendor == "postgresql":
        driver = "psycopg" if importlib.util.find_spec("psycopg") else "psycopg2"
        return sqlalchemy.URL.create(
            f"postgresql+{driver}",
            username=os.environ.get("TEST_PG_USER", "postgres"),
            password=os.environ.get("TEST_PG_PASSWORD") or None,
            database="postgres",
            query={
                "host": os.environ["TEST_PG_HOST"],
                "port": os.environ.get("TEST_PG_PORT") or "5432",
            },
        ).render_as_string(hide_password=False)
    driver = "mysqldb" if importlib.util.find_spec("MySQLdb") else "pymysql"
    host = os.environ["TEST_MYSQL_HOST"]
    on_socket = host.startswith("/")
    server = sqlalchemy.URL.create(
        f"mysql+{driver}",
        username=os.environ.get("TEST_MYSQL_USER", "root"),
        password=os.environ.get("TEST_MYSQL_PASSWORD") or None,
        host=None if on_socket else host,
        port=int(os.environ.get("TEST_MYSQL_PORT") or 0) or None,
        query={"unix_socket": host, "charset": "utf8mb4"} if on_socket else {},
    )
    engine = sqlalchemy.create_engine(server)
    with engine.begin() as connection:
        connection.execute(
            sqlalchemy.text("CREATE DATABASE IF NOT EXISTS sqlalchemy_jobs")
        )
    engine.dispose()
    return server.set(database="sqlalchemy_jobs").render_as_string(hide_password=False)


def place(alias: str, request: Any) -> Place:
    """
    Return a place for a test's jobs, with the server behind it running.

    :param request: the test's ``request`` fixture
    """
    if alias == "sqlalchemy":
        return SQLAlchemyPlace(request.getfixturevalue("tmp_path"))
    if alias == "mongodb":
        return MongoDBPlace(request.getfixturevalue("mongodb_server"))
    return RedisPlace(request.getfixturevalue("redis_server"))
