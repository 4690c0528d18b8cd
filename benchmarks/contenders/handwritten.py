"""
Measure a loop of hand-written SQL that does the work of a run, and nothing else.

It is the ceiling: the same tables and indexes as ours, and for each run the same
durable steps. A claim in one transaction renews the own process's lease and stops when
somebody declared it dead, takes due jobs with SKIP LOCKED, counts their running
instances, moves them on, and writes a claimed row with a unique key into the log. The
bodies run on ten threads. A second transaction, in a thread and on a connection of its
own, writes the outcomes of those that are still ours. What a scheduler does beside that
is left out: triggers, arguments, signatures, misfires, events, other executors, edits.
Reads the request as JSON on standard input, answers with JSON on standard output.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

from schedulers import logged, set_up_django
from workload import bodies, body

HOUR = timedelta(hours=1)
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
RUNNING = ("Claimed", "Started execution")
JOB, EXECUTION = "django_apscheduler_djangojob", "django_apscheduler_djangojobexecution"
PROCESS = "django_apscheduler_schedulerprocess"

#: Columns of the log that a claim fills for each run, and those alike for all runs.
CLAIMED = ("job_id", "job_name", "run_time", "nominal_time", "fire_key", "claim_id")
CONSTANT = {
    "status": "Claimed", "occurrences": 1, "executor": "default", "attempt": 1,
    "losses": 0, "origin": "schedule", "requested_by": "", "note": "",
}  # fmt: skip
#: Columns that an outcome fills.
ENDED = ("status", "started_time", "finished_time", "duration", "finished")

DUE = f"""SELECT id, name, uid, revision, max_instances, next_run_time FROM {JOB}
    WHERE executor = 'default' AND state = 'active' AND next_run_time <= {{now}}
    ORDER BY executor, next_run_time, id LIMIT {{size}}"""
COUNT = f"""SELECT job_id, COUNT(DISTINCT claim_id) FROM {EXECUTION}
    WHERE job_id {{among}} AND status IN {RUNNING!r} GROUP BY job_id"""


def seed(first: int, jobs: int) -> None:
    """Put jobs into the table that are due now."""
    from django_apscheduler.models import DjangoJob

    now = datetime.now(timezone.utc)
    DjangoJob.objects.bulk_create(
        DjangoJob(
            id=f"job-{number}",
            name="body",
            func="workload:body",
            next_run_time=now,
            nominal_time=now,
            max_instances=3,
        )
        for number in range(first, first + jobs)
    )


def enter(lease: datetime) -> int:
    """Put this process's row into the table; answer its id."""
    from django_apscheduler.models import SchedulerProcess

    row = SchedulerProcess.objects.create(
        host="by hand", pid=0, lease_until=lease, started_time=lease, tick_time=lease
    )
    return row.pk


class PostgreSQL:
    """The statements with psycopg2: arrays of columns, so one round trip a batch."""

    def __init__(self, database: dict, owner: int):
        import psycopg2
        import psycopg2.extras

        psycopg2.extras.register_uuid()
        self.owner = owner
        self.connections = [
            psycopg2.connect(
                dbname=database["name"], user=database["user"], host=database["host"]
            )
            for _ in range(2)
        ]

    @contextmanager
    def transaction(self, number: int):
        with self.connections[number], self.connections[number].cursor() as cursor:
            cursor.execute(
                "SET LOCAL lock_timeout = '4s'; "
                "SET LOCAL idle_in_transaction_session_timeout = '5s'; "
                # Without statistics of the new rows all that is due would be sorted.
                "SET LOCAL enable_sort = off"
            )
            yield cursor

    def renew(self, cursor) -> None:
        cursor.execute(
            f"UPDATE {PROCESS} SET lease_until = now() + interval '6 s', "
            "tick_time = now() WHERE id = %s AND state <> 'dead'",
            [self.owner],
        )
        if not cursor.rowcount:
            raise RuntimeError("this process was declared dead")

    def due(self, cursor, size: int) -> list:
        text = DUE.format(now="now()", size=size) + " FOR UPDATE SKIP LOCKED"
        cursor.execute(text)
        return cursor.fetchall()

    def running(self, cursor, ids: list[str]) -> dict[str, int]:
        cursor.execute(COUNT.format(among="= ANY(%s)"), [ids])
        return dict(cursor.fetchall())

    def advance(self, cursor, rows: list[tuple]) -> None:
        cursor.execute(
            f"UPDATE {JOB} AS job SET next_run_time = new.time, nominal_time = new.time "
            "FROM unnest(%s::text[], %s::timestamptz[]) AS new(id, time) "
            "WHERE job.id = new.id",
            [list(column) for column in zip(*rows)],
        )

    def insert(self, cursor, rows: list[tuple], now: datetime) -> dict[str, int]:
        names = ", ".join(CLAIMED)
        cursor.execute(
            f"INSERT INTO {EXECUTION} ({names}, owner_id, claimed_time, "
            f"{', '.join(CONSTANT)}) SELECT {names}, %s, %s, "
            f"{', '.join(['%s'] * len(CONSTANT))} FROM unnest(%s::text[], %s::text[], "
            "%s::timestamptz[], %s::timestamptz[], %s::text[], %s::uuid[]) "
            f"AS new({names}) ON CONFLICT (fire_key) DO NOTHING RETURNING fire_key, id",
            [self.owner, now, *CONSTANT.values(), *map(list, zip(*rows))],
        )
        return dict(cursor.fetchall())

    def finish(self, cursor, rows: list[tuple]) -> int:
        changes = ", ".join(f"{name} = new.{name}" for name in ENDED)
        cursor.execute(
            f"UPDATE {EXECUTION} AS run SET {changes}, exception = NULL, "
            "traceback = NULL FROM unnest(%s::text[], %s::timestamptz[], "
            "%s::timestamptz[], %s::numeric[], %s::numeric[], %s::bigint[]) "
            f"AS new({', '.join(ENDED)}, id) WHERE run.id = new.id "
            "AND run.owner_id = %s AND run.attempt = 1 AND run.status IN %s "
            "RETURNING run.id",
            [*map(list, zip(*rows)), self.owner, RUNNING],
        )
        return len(cursor.fetchall())


class SQLite:
    """The statements with sqlite3; its writers take turns."""

    def __init__(self, database: dict, owner: int):
        import sqlite3

        self.owner = owner
        self.lock = threading.Lock()
        self.connections = [
            sqlite3.connect(
                database["name"], isolation_level=None, check_same_thread=False
            )
            for _ in range(2)
        ]
        for connection in self.connections:
            connection.execute("PRAGMA synchronous=FULL")

    @contextmanager
    def transaction(self, number: int):
        connection = self.connections[number]
        with self.lock:
            cursor = connection.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    @staticmethod
    def text(time: datetime) -> str:
        return time.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")

    def renew(self, cursor) -> None:
        now = datetime.now(timezone.utc)
        cursor.execute(
            f"UPDATE {PROCESS} SET lease_until = ?, tick_time = ? "
            "WHERE id = ? AND state <> 'dead'",
            [self.text(now + timedelta(seconds=6)), self.text(now), self.owner],
        )
        if not cursor.rowcount:
            raise RuntimeError("this process was declared dead")

    def due(self, cursor, size: int) -> list:
        now = self.text(datetime.now(timezone.utc))
        rows = cursor.execute(DUE.format(now="?", size=size), [now])
        return [
            (*row[:-1], datetime.fromisoformat(row[-1] + "+00:00"))
            for row in rows.fetchall()
        ]

    def running(self, cursor, ids: list[str]) -> dict[str, int]:
        marks = f"IN ({', '.join('?' * len(ids))})"
        return dict(cursor.execute(COUNT.format(among=marks), ids).fetchall())

    def advance(self, cursor, rows: list[tuple]) -> None:
        cursor.executemany(
            f"UPDATE {JOB} SET next_run_time = ?, nominal_time = ? WHERE id = ?",
            [(self.text(time), self.text(time), id) for id, time in rows],
        )

    def insert(self, cursor, rows: list[tuple], now: datetime) -> dict[str, int]:
        names = [*CLAIMED, "owner_id", "claimed_time", *CONSTANT]
        moment = self.text(now)
        cursor.executemany(
            f"INSERT OR IGNORE INTO {EXECUTION} ({', '.join(names)}) "
            f"VALUES ({', '.join('?' * len(names))})",
            [
                (id, name, self.text(run), self.text(run), key, claim.hex,
                 self.owner, moment, *CONSTANT.values())
                for id, name, run, _, key, claim in rows
            ],
        )  # fmt: skip
        keys = [row[4] for row in rows]
        written = cursor.execute(
            f"SELECT fire_key, id, claim_id FROM {EXECUTION} "
            f"WHERE fire_key IN ({', '.join('?' * len(keys))})",
            keys,
        )
        claims = {row[4]: row[5].hex for row in rows}
        return {key: id for key, id, claim in written if claims[key] == claim}

    def finish(self, cursor, rows: list[tuple]) -> int:
        changes = ", ".join(f"{name} = ?" for name in ENDED)
        cursor.executemany(
            f"UPDATE {EXECUTION} SET {changes}, exception = NULL, traceback = NULL "
            f"WHERE id = ? AND owner_id = {self.owner} AND attempt = 1 "
            f"AND status IN {RUNNING!r}",
            [
                (status, self.text(started), self.text(finished), *rest)
                for status, started, finished, *rest in rows
            ],
        )
        return cursor.rowcount


def run_one(execution_id: int) -> tuple:
    """Call the body; answer the outcome's columns and the row's id."""
    started = datetime.now(timezone.utc)
    body()
    finished = datetime.now(timezone.utc)
    duration = round((finished - started).total_seconds(), 2)
    moment = round(finished.timestamp(), 2)
    return "Executed", started, finished, duration, moment, execution_id


def claim(store, size: int) -> list[int]:
    """Claim up to this many runs in one transaction; answer their rows' ids."""
    with store.transaction(0) as cursor:
        store.renew(cursor)
        due = store.due(cursor, size)
        if not due:
            return []
        running = store.running(cursor, [row[0] for row in due])
        now = datetime.now(timezone.utc)
        advances, runs = [], []
        for id, name, uid, revision, limit, time_due in due:
            next_time = time_due + HOUR * ((now - time_due) // HOUR + 1)
            advances.append((id, next_time))
            if running.get(id, 0) < limit:
                text = uid if isinstance(uid, str) else uid.hex
                moment = (time_due - EPOCH) // timedelta(microseconds=1)
                key = f"{text}:{revision}:{moment}"
                runs.append((id, name, time_due, time_due, key, uuid.uuid4()))
        store.advance(cursor, advances)
        return list(store.insert(cursor, runs, now).values())


class Loop:
    """Claims in the calling thread, runs bodies on ten, writes outcomes in another."""

    def __init__(self, store, size: int):
        self.store = store
        self.size = size
        self.pool = ThreadPoolExecutor(10)
        self.batches: queue.SimpleQueue = queue.SimpleQueue()

    def finish(self) -> None:
        while (outcomes := self.batches.get()) is not None:
            rows = list(outcomes)
            with self.store.transaction(1) as cursor:
                written = self.store.finish(cursor, rows)
            if written != len(rows):
                raise RuntimeError(f"{written} of {len(rows)} outcomes were ours")

    def run(self) -> float:
        """Run all that is due; answer the seconds until the last outcome is written."""
        finisher = threading.Thread(target=self.finish)
        finisher.start()
        begun = time.perf_counter()
        while ids := claim(self.store, self.size):
            self.batches.put(self.pool.map(run_one, ids))
        self.batches.put(None)
        finisher.join()
        return time.perf_counter() - begun


def main() -> None:
    request = json.load(sys.stdin)
    database, warm_up, jobs = request["database"], request["warm_up"], request["jobs"]
    set_up_django(database)
    owner = enter(datetime.now(timezone.utc) + timedelta(minutes=1))
    kind = PostgreSQL if database["engine"] == "postgresql" else SQLite
    loop = Loop(kind(database, owner), request["batch"])
    seed(0, warm_up)
    loop.run()
    seed(warm_up, jobs)
    seconds = loop.run()
    expected = {f"job-{number}": 1 for number in range(warm_up + jobs)}
    rows = logged("ours")
    if bodies.reached != warm_up + jobs or rows != expected:
        raise AssertionError(
            f"expected {warm_up + jobs} runs, one per job; {bodies.reached} bodies ran "
            f"and the log holds {sum(rows.values())} of {len(rows)} jobs"
        )
    answer = {"answer": jobs / seconds, "runs": jobs, "log_rows": sum(rows.values())}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
