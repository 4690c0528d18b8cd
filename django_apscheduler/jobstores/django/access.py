"""How a store reaches its database: connections, transactions, locks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from django.db import connections, transaction

from django_apscheduler.db import PrivateConnection, ensure_usable, writer_lock
from django_apscheduler.jobstores.django.sql import Statements, statements
from django_apscheduler.offhub import stops_greenlets

if TYPE_CHECKING:
    from django_apscheduler.jobstores.django.wakeup import Watch

#: Seconds for which a fork waits at most until a thread has left SQLite.
STILL_SECONDS = 1.0


class DatabaseAccess(ABC):
    """The part of a store that knows on which connection, and how, it reads and writes."""

    running: bool
    claiming: PrivateConnection | None
    settling: PrivateConnection | None
    beating: PrivateConnection | None
    _watch: Watch | None

    def __init__(self) -> None:
        self._held: list[PrivateConnection | Watch] = []
        #: What `aside` has open and nobody is using; empty unless gevent has patched.
        self._spare: list[PrivateConnection] = []

    @property
    @abstractmethod
    def using(self) -> str:
        """The alias of the database with the jobs."""

    @contextmanager
    def private(self, own: PrivateConnection | None) -> Iterator[Any]:
        """
        Have the block use the store's own connection.

        In a store that only edits, or inside a transaction of the caller (a test's),
        it is the thread's ordinary one.
        """
        ordinary = connections[self.using]
        if own is not None and not ordinary.in_atomic_block:
            with own as connection:
                yield connection
            return
        ensure_usable(ordinary)
        yield ordinary

    def in_transaction(self) -> bool:
        """Tell whether what the caller does here is part of a transaction of its own."""
        return connections[self.using].in_atomic_block

    @contextmanager
    def aside(self) -> Iterator[None]:
        """
        Have the block's calls wait without stopping gevent's other greenlets.

        On a connection of the store's own, unless the driver knows of gevent, or the
        caller is in a transaction, which edits have to join.
        """
        ordinary = connections[self.using]
        if ordinary.in_atomic_block or not stops_greenlets(ordinary):
            yield
            return
        try:
            own = self._spare.pop()
        except IndexError:
            own = PrivateConnection(self.using)
        try:
            with own:
                yield
        finally:
            if self.running:
                self._spare.append(own)
            else:
                own.close()

    def _take_spare(self) -> list[PrivateConnection]:
        spare, self._spare = self._spare, []
        return spare

    # SQLite has locks in C, which the child of a fork would find held for ever by a thread
    # that it does not have.

    def hold_still(self) -> None:
        self._held = []
        if not self.running or connections[self.using].vendor != "sqlite":
            return
        own = (self.claiming, self.settling, self.beating, self._watch)
        # One that waits for another process's transaction is not waited for long.
        self._held = [part for part in own if part and part.hold(STILL_SECONDS)]

    def go_on(self) -> None:
        held, self._held = self._held, []
        for part in held:
            part.let_go()

    def writers(self, connection: Any) -> AbstractContextManager:
        """Return what this process's writers hold one after the other, if anything."""
        # In a transaction of the caller's we may hold SQLite's lock already, and must
        # not wait for a thread that waits for that one.
        return nullcontext() if connection.in_atomic_block else writer_lock(connection)

    @contextmanager
    def transaction(self, *, fold: bool = False) -> Iterator[Statements]:
        """
        Run the block in one transaction of the engine's.

        :param fold: whether the block begins with a statement that carries the limits
            on locks along, `Statements.open_claim` or `Statements.settle`
        """
        connection = connections[self.using]
        joined = connection.in_atomic_block
        with self.writers(connection), transaction.atomic(using=self.using):
            sql = statements(connection)
            sql.folded = False
            if not joined:
                (sql.fold_limits if fold else sql.limit_locks)()
            yield sql

    def locked(self, queryset: Any, *, wait: bool = False) -> Any:
        """Return ``queryset`` with its rows locked where the database locks rows."""
        features = connections[self.using].features
        if not features.has_select_for_update:
            return queryset
        skip = features.has_select_for_update_skip_locked and not wait
        return queryset.select_for_update(skip_locked=skip)

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when the edits made so far are durable."""
        transaction.on_commit(callback, using=self.using)
