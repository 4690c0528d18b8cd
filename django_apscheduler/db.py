"""
What the database stores: instants in UTC, keys compared byte by byte, its own clock.

This module alone knows how Django and the databases treat time zones. The rest of the
package sees aware datetimes in UTC, whatever ``USE_TZ``, ``TIME_ZONE`` and the
connection's own zone say.
"""

from __future__ import annotations

import copy
import logging
import os
import random
import socket
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import date, datetime, timedelta, timezone
from typing import Any, TypeVar

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import OperationalError, connections, models, router
from django.db.backends.signals import connection_created
from django.dispatch import receiver
from django.utils import timezone as django_timezone

from django_apscheduler import clock
from django_apscheduler.offhub import off_hub_class, stops_greenlets

logger = logging.getLogger(__name__)

utc = timezone.utc

Result = TypeVar("Result")

#: Seconds within which a server must take a connection of the engine's.
CONNECT_SECONDS = 5
#: Seconds without an answer after which a connection of the engine's is given up: twice
#: as long as the server lets a statement of ours wait for a lock.
SILENT_SECONDS = 8
#: Options of the engine's own connections, by vendor: a server, or a network, that has
#: vanished without a word is noticed before others take over and go on.
SILENCE_OPTIONS: dict[str, dict[str, int]] = {
    "postgresql": {
        "connect_timeout": CONNECT_SECONDS,
        "keepalives": 1,
        "keepalives_idle": 3,
        "keepalives_interval": 1,
        "keepalives_count": 3,
        "tcp_user_timeout": 5000,
    },
    "mysql": {
        "connect_timeout": CONNECT_SECONDS,
        "read_timeout": SILENT_SECONDS,
        "write_timeout": SILENT_SECONDS,
    },
}


#: What the engine's own PostgreSQL connections are called, unless OPTIONS name them.
APPLICATION_NAME = "django_apscheduler"


def current_zone():
    """Return the zone people read times in: the active one, else ``TIME_ZONE``."""
    if settings.USE_TZ:
        return django_timezone.get_current_timezone()
    return django_timezone.get_default_timezone()


class UTCDateTimeFormField(forms.DateTimeField):
    """A form field that reads and shows wall-clock times and yields aware ones."""

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, datetime) and django_timezone.is_aware(value):
            return value.astimezone(current_zone()).replace(tzinfo=None)
        return super().prepare_value(value)

    def to_python(self, value: Any) -> datetime | None:
        moment = super().to_python(value)
        if moment is not None and django_timezone.is_naive(moment):
            moment = moment.replace(tzinfo=current_zone())
        return moment


class UTCDateTimeField(models.DateTimeField):
    """
    An instant, stored in UTC on every database and read as an aware UTC datetime.

    Django's own field stores local wall time when ``USE_TZ`` is off or the connection
    names a zone, and so loses the hour that repeats in autumn. Saving a naive datetime
    is an error. A naive value in a lookup is refused too, except with ``USE_TZ`` off,
    where Django's filters know no other: there it is read in ``TIME_ZONE``.
    """

    def formfield(self, **kwargs: Any) -> forms.Field | None:
        return super().formfield(**{"form_class": UTCDateTimeFormField, **kwargs})

    def to_python(self, value: Any) -> datetime | None:
        if isinstance(value, str):
            value = super().to_python(value)
        if value is None or (isinstance(value, datetime) and value.tzinfo is not None):
            return value
        if isinstance(value, date) and not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day)
        if isinstance(value, datetime):
            # Reached from full_clean() and texts; saving stays strict below.
            return value.replace(tzinfo=current_zone())
        raise ValidationError(
            self.error_messages["invalid"], code="invalid", params={"value": value}
        )

    def get_prep_value(self, value: Any) -> Any:
        if isinstance(value, datetime):
            if django_timezone.is_naive(value):
                if settings.USE_TZ:
                    raise ValueError(self._naive_message(value))
                value = value.replace(tzinfo=django_timezone.get_default_timezone())
            return value.astimezone(utc)
        if isinstance(value, (str, date)):
            moment = self.to_python(value)
            return None if moment is None else moment.astimezone(utc)
        return models.Field.get_prep_value(self, value)

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        if isinstance(value, datetime) and django_timezone.is_naive(value):
            raise ValueError(self._naive_message(value))
        return super().get_db_prep_save(value, connection)

    def _naive_message(self, value: datetime) -> str:
        return (
            f"{self.name or 'a time'} must be an aware datetime; got the naive "
            f"{value!r}; give it a time zone, for example with "
            "django.utils.timezone.make_aware()"
        )

    def get_db_prep_value(
        self, value: Any, connection: Any, prepared: bool = False
    ) -> Any:
        if not prepared:
            value = self.get_prep_value(value)
        if not isinstance(value, datetime):
            return value
        if connection.vendor == "postgresql":
            # "timestamp with time zone" holds the instant itself.
            return connection.ops.adapt_datetimefield_value(value)
        # Elsewhere the column holds a wall time, and an aware value would be turned
        # into the connection's zone.
        return connection.ops.adapt_datetimefield_value(value.replace(tzinfo=None))

    def select_format(self, compiler: Any, sql: str, params: Any) -> tuple[str, Any]:
        if (
            compiler.connection.vendor == "postgresql"
            and not settings.USE_TZ
            # Inside a subquery the value is compared in the database, as it is.
            and not compiler.query.subquery
        ):
            # The driver would answer a naive wall time in the session's zone, and
            # that is ambiguous for an hour each autumn.
            return f"({sql} AT TIME ZONE 'UTC')", params
        return sql, params

    def get_db_converters(self, connection: Any) -> list[Any]:
        if connection.vendor == "postgresql" and connection.timezone == utc:
            # What the driver answers is that already, and a dashboard reads thousands.
            return []
        return super().get_db_converters(connection)

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if value.tzinfo is not None and connection.vendor == "postgresql":
            return value.astimezone(utc)
        # A wall time: UTC, whatever zone Django has labelled it with.
        return value.replace(tzinfo=utc)


class KeyField(models.CharField):
    """
    A short text that is a key: compared byte by byte on every database.

    MySQL and MariaDB would by default take "Report" and "report" for one, and with most
    collations "report" and "report " as well.
    """

    def db_parameters(self, connection: Any) -> dict[str, Any]:
        parameters = super().db_parameters(connection)
        if connection.vendor == "mysql":
            parameters["collation"] = _key_collation(connection)
        return parameters


def _key_collation(connection: Any) -> str:
    if connection.mysql_is_mariadb:
        return "utf8mb4_nopad_bin"
    if connection.mysql_version >= (8, 0, 17):
        return "utf8mb4_0900_bin"
    return "utf8mb4_bin"


class UidField(models.UUIDField):
    """
    A UUID that stays readable when Django is upgraded.

    On MariaDB Django's own field is char(32) up to 4.2 and of the type uuid from 5.0
    on; tables that the one made cannot be written by the other. Here it is char(32).
    """

    def db_type(self, connection: Any) -> str | None:
        if connection.vendor == "mysql":
            return "char(32)"
        return super().db_type(connection)

    def get_db_prep_value(
        self, value: Any, connection: Any, prepared: bool = False
    ) -> Any:
        if connection.vendor == "mysql":
            uid = self.to_python(value)
            return None if uid is None else uid.hex
        return super().get_db_prep_value(value, connection, prepared)


class WrittenIn(models.Lookup):
    """Whether a column is one of some words, which stand in the SQL and are no parameters."""

    lookup_name = "written_in"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        column, params = self.process_lhs(compiler, connection)
        words = ", ".join(f"'{word}'" for word in self.rhs)
        return f"{column} IN ({words})", params


class PartialIndex(models.Index):
    """
    An index over ``key`` for the few rows whose ``column`` is one of ``values``.

    On SQLite it is over (column, key), which its planner prefers to reading the table
    even without statistics. Databases without partial indexes (MySQL, MariaDB) get one
    over (column, key) of all rows.
    """

    def __init__(self, *, key: str, column: str, values: list[str], name: str):
        super().__init__(fields=[column, key], name=name)
        self.key = key
        self.column = column
        self.values = values

    @property
    def condition_written_out(self) -> models.Lookup:
        """
        The index's condition, for the filters of queries that are to use it.

        SQLite uses a partial index only where a query repeats its condition word for
        word, and parameters are no words; it would read the whole table instead.
        """
        return WrittenIn(models.F(self.column), tuple(self.values))

    def _options(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "column": self.column,
            "values": self.values,
            "name": self.name,
        }

    def deconstruct(self):
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, (), self._options()

    def clone(self):
        return type(self)(**self._options())

    def create_sql(self, model, schema_editor, using="", **kwargs):
        connection = schema_editor.connection
        fields = [self.column, self.key]
        if connection.features.supports_partial_indexes:
            index = models.Index(
                fields=fields if connection.vendor == "sqlite" else [self.key],
                name=self.name,
                condition=models.Q(**{f"{self.column}__in": self.values}),
            )
        else:
            index = models.Index(fields=fields, name=self.name)
        return index.create_sql(model, schema_editor, using=using, **kwargs)


class DatabaseNow(models.Func):
    """
    The present moment by the database's clock, in UTC.

    Microseconds on PostgreSQL and MySQL, milliseconds on SQLite. The moment is that of
    the statement, not of the transaction: a transaction may have waited for a lock.
    """

    template = "CURRENT_TIMESTAMP"
    output_field = UTCDateTimeField()

    def as_postgresql(self, compiler, connection, **context):
        # Stable within the statement, unlike clock_timestamp(), so that comparisons
        # with it can use an index.
        return self.as_sql(
            compiler, connection, template="STATEMENT_TIMESTAMP()", **context
        )

    def as_mysql(self, compiler, connection, **context):
        return self.as_sql(compiler, connection, template="UTC_TIMESTAMP(6)", **context)

    def as_sqlite(self, compiler, connection, **context):
        # Six digits, as Django writes them: the column is compared as text.
        return self.as_sql(
            compiler,
            connection,
            template="(STRFTIME('%%%%Y-%%%%m-%%%%d %%%%H:%%%%M:%%%%f', 'now') || '000')",
            **context,
        )


_NOW_SQL = {
    "postgresql": "SELECT EXTRACT(EPOCH FROM CLOCK_TIMESTAMP()) * 1000000",
    "mysql": "SELECT UTC_TIMESTAMP(6)",
    "sqlite": "SELECT STRFTIME('%Y-%m-%d %H:%M:%f', 'now')",
}


def database_now(using: str) -> datetime:
    """Return the present moment by the clock of the database ``using``, aware UTC."""
    connection = connections[using]
    with connection.cursor() as cursor:
        cursor.execute(_NOW_SQL.get(connection.vendor, "SELECT CURRENT_TIMESTAMP"))
        (value,) = cursor.fetchone()
    if connection.vendor == "postgresql":
        seconds, microseconds = divmod(int(value), 1_000_000)
        return datetime.fromtimestamp(seconds, utc).replace(microsecond=microseconds)
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return value.replace(tzinfo=utc)


def moment(now: datetime | None, later: timedelta = timedelta(0)) -> Any:
    """
    Return an expression for the present plus ``later``.

    :param now: aware; the database's clock when None
    """
    if now is not None:
        return now + later
    return DatabaseNow() + later if later else DatabaseNow()


def resolve_alias(using: str | None = None) -> str:
    """
    Return the alias of the database that holds the jobs.

    :param using: an alias named in settings, or None to ask the routers
    :raises django.db.utils.ConnectionDoesNotExist: when settings have no such database
    """
    if using is None:
        from django_apscheduler.models import DjangoJob

        using = router.db_for_write(DjangoJob)
    return connections[using].alias


#: How MySQL and PostgreSQL call a transaction that they ended for the sake of another.
DEADLOCKS = {1213, "40P01", "40001"}
#: How often such a transaction begins again, and after how many seconds at most the
#: first time; then after up to twice as many each time, but no more than a second.
#: Of several that add one id again and again, InnoDB lets a single one through.
REPEATS, REPEAT_SECONDS = 15, 0.01


def repeat_deadlocks(using: str, act: Callable[[], Result]) -> Result:
    """
    Return what ``act`` does, which begins again when the database ended it as a deadlock.

    Databases may do so with any two transactions that write, and undo the whole of it.
    Inside a transaction of the caller's it is for the caller to begin again.

    :param act: one transaction, which leaves nothing behind when it fails
    """
    for repeat in range(REPEATS):
        try:
            return act()
        except OperationalError as error:
            cause = error.__cause__
            code = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
            if (code or next(iter(error.args), None)) not in DEADLOCKS:
                raise
            if connections[using].in_atomic_block:
                raise
            logger.info("The database ended a deadlock; beginning again: %s", error)
            time.sleep(random.uniform(0, min(REPEAT_SECONDS * 2**repeat, 1.0)))
    return act()


#: Seconds for which a connection that has answered is not asked again.
FRESH_SECONDS = 5.0


def ensure_usable(connection: Any) -> None:
    """
    Drop a connection that has died, so that the next query opens another.

    Outside of requests nobody else does: a thread that edits a job once a day would
    meet the connection that the server closed at night. Inside a transaction it is left
    alone, for it belongs to whoever began that.
    """
    if connection.connection is None or connection.in_atomic_block:
        return
    now = clock.monotonic()
    checked = getattr(connection, "apscheduler_checked", float("-inf"))
    if not connection.errors_occurred and now - checked < FRESH_SECONDS:
        return
    if connection.is_usable():
        connection.errors_occurred = False
        connection.apscheduler_checked = now
    else:
        connection.close()


#: One lock per SQLite file. Threads of this process that write take turns here; SQLite
#: itself would have them sleep and try again, up to its time-out.
_writers: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)

# A fork has only one thread, and nobody there would release what another one held.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_writers.clear)


def writer_lock(connection: Any) -> AbstractContextManager[Any]:
    """Return what this process's writers to a database hold in turn, if anything."""
    if connection.vendor != "sqlite":
        return nullcontext()
    return _writers[str(connection.settings_dict["NAME"])]


class PrivateConnection:
    """
    A connection of the engine's own to a database, apart from the user's.

    Inside ``with``, the calling thread's ORM uses it under the ordinary alias, so that
    a claim never joins a transaction that a body or a view has open. It belongs to no
    pool, is kept until `close`, and is replaced when it has broken. One thread at a
    time uses it; others wait.

    :param alias: the database's alias
    :param patience: seconds without an answer after which somebody should `cut` it
    """

    def __init__(self, alias: str, patience: float | None = None):
        self.alias = alias
        self.patience = SILENT_SECONDS if patience is None else patience
        self._lock = threading.RLock()
        self._wrapper: Any = None
        self._depth = 0
        self._ordinary: Any = None
        self._sign: float | None = None

    def __enter__(self) -> Any:
        self._lock.acquire()
        try:
            if self._depth == 0:
                ordinary = connections[self.alias]
                if self._wrapper is None:
                    self._wrapper = private_wrapper(ordinary)
                    self._wrapper.execute_wrappers.append(self._signing)
                self._ordinary = ordinary
                connections[self.alias] = self._wrapper
                self.sign()
            self._depth += 1
        except BaseException:
            self._lock.release()
            raise
        return self._wrapper

    def hold(self, seconds: float) -> bool:
        """Keep other threads from using the connection until `let_go`; tell if that is so."""
        return self._lock.acquire(timeout=seconds)

    def let_go(self) -> None:
        """Undo `hold`."""
        self._lock.release()

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        try:
            self._depth -= 1
            if self._depth == 0:
                connections[self.alias] = self._ordinary
                self._ordinary = self._sign = None
                if error is not None:
                    # Whatever went wrong, the next use begins with a sound connection.
                    self._discard()
        finally:
            self._lock.release()

    @property
    def backend(self) -> int | None:
        """The server's number for the connection, None while there is no such."""
        wrapper = self._wrapper
        if wrapper is None or wrapper.connection is None:
            return None
        return getattr(wrapper, "apscheduler_backend", None)

    def close(self) -> None:
        """Close the connection; a later use opens a new one."""
        with self._lock:
            self._discard()

    def sign(self) -> None:
        """Note that whoever uses the connection is not waiting for an answer."""
        self._sign = time.monotonic()

    def _signing(self, execute: Any, *arguments: Any) -> Any:
        self.sign()
        try:
            return execute(*arguments)
        finally:
            self.sign()

    @property
    def overdue(self) -> bool:
        """Whether somebody has been waiting for an answer for too long."""
        sign = self._sign
        if sign is None or getattr(self._wrapper, "connection", None) is None:
            # Not in use; or connecting, which has a time limit of its own.
            return False
        return time.monotonic() - sign > self.patience

    def cut(self) -> None:
        """
        End the connection under the thread that waits for an answer, which then fails.

        Only PostgreSQL's drivers need that: they wait for ever for a server, or a pooler,
        whose machine still acknowledges what it receives.
        """
        raw = getattr(self._wrapper, "connection", None)
        if raw is None:
            return
        try:
            # Of a duplicate, so that the driver's own descriptor stays its own.
            with socket.socket(fileno=os.dup(raw.fileno())) as duplicate:
                duplicate.shutdown(socket.SHUT_RDWR)
        except Exception:
            # It has just ended by itself, or has no socket.
            logger.debug("There is no connection to cut any more", exc_info=True)
        self.sign()

    def _discard(self) -> None:
        wrapper, self._wrapper = self._wrapper, None
        if wrapper is not None:
            try:
                wrapper.close()
            except Exception:
                # A connection that is broken already may fail to say goodbye.
                logger.debug("Closing a broken connection failed", exc_info=True)


@receiver(connection_created, dispatch_uid="django_apscheduler.db")
def _note_backend(connection: Any, **kwargs: Any) -> None:
    # Here, in the thread that has connected: no other one may touch the driver's.
    if not getattr(connection, "apscheduler_private", False):
        return
    if connection.vendor == "postgresql":
        connection.apscheduler_backend = connection.connection.info.backend_pid
    elif connection.vendor == "mysql":
        connection.apscheduler_backend = connection.connection.thread_id()


def private_wrapper(ordinary: Any) -> Any:
    """Return a new, unconnected wrapper with the settings of ``ordinary``."""
    options = copy.deepcopy(ordinary.settings_dict)
    options["CONN_MAX_AGE"] = None
    options["CONN_HEALTH_CHECKS"] = False
    options["ATOMIC_REQUESTS"] = False
    # A transaction that somebody left open would keep claims from committing.
    options["AUTOCOMMIT"] = True
    extra = options.setdefault("OPTIONS", {})
    extra.pop("pool", None)
    for name, value in SILENCE_OPTIONS.get(ordinary.vendor, {}).items():
        extra.setdefault(name, value)
    if ordinary.vendor == "postgresql":
        from django.db.backends.postgresql.psycopg_any import IsolationLevel

        extra.setdefault("application_name", APPLICATION_NAME)
        # Each statement of a claim has to see what was committed before it.
        extra["isolation_level"] = IsolationLevel.READ_COMMITTED
    elif ordinary.vendor == "mysql":
        extra["isolation_level"] = "read committed"
        # Django 4.2 would take MySQL's old "utf8", to which emoji are an error.
        extra.setdefault("charset", "utf8mb4")
    kind = type(ordinary)
    if stops_greenlets(ordinary):
        kind = off_hub_class(kind)
    wrapper = kind(options, ordinary.alias)
    wrapper.apscheduler_private = True
    # Used by one thread at a time, though not always the same; see PrivateConnection.
    wrapper.inc_thread_sharing()
    # With DEBUG on, Django would remember thousands of the engine's queries.
    wrapper.queries_log = deque(maxlen=0)
    return wrapper
