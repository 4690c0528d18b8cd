"""
Where ours spends its time while it works: threads, SQL, functions, database server.

Processor time by thread and of the server comes from ``/proc``; SQL is counted and
timed on the way to the driver; functions are sampled from outside by py-spy, which
counts only the thread that holds the interpreter.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path

from benchmarks.postgresql import tree_cpu_seconds

#: Samples of py-spy a second, and how long it takes until it samples.
RATE, ATTACH_SECONDS = 500, 1.5

#: What threads with these names do, by the beginning of the name.
ROLES = {
    "apscheduler-settle": "settle",
    "apscheduler-default": "workers",
    "apscheduler-heart": "heartbeat",
    "apscheduler-watch": "watch for edits",
    "apscheduler-guard": "guard of connections",
    "APScheduler": "claim and submit",
    "MainThread": "main",
}

TICKS = os.sysconf("SC_CLK_TCK")


def role_of(name: str) -> str:
    """What the thread with that name does."""
    for beginning, role in ROLES.items():
        if name.startswith(beginning):
            return role
    return name or "others"


def shorten(sql: str) -> str:
    """A statement without what differs from call to call, at most a line long."""
    text = re.sub(r"(%s|\?|\d+)(, (%s|\?|\d+))+", "...", " ".join(sql.split()))
    text = re.sub(r"\bIN \(\d+\)", "IN (...)", text)
    text = re.sub(r'"?django_apscheduler_(\w+)"?\.?', r"\1.", text)
    listed = re.match(r"SELECT (.{24}.*?) FROM ", text)
    if listed:
        text = text.replace(listed[1], "...", 1)
    return text[:100]


class Profile:
    """
    One profile; made before the scheduler starts, so that it sees all connections.

    :param py_spy: path of the program; None leaves the functions out
    :param postmaster: process id of the PostgreSQL server; None leaves it out
    """

    def __init__(self, py_spy: str | None, postmaster: int | None):
        from django.db.backends.signals import connection_created

        self._py_spy = py_spy
        self._postmaster = postmaster
        self._active = False
        self._times: dict[tuple[str, str], list[float]] = defaultdict(list)
        connection_created.connect(self._watch, weak=False)

    def _watch(self, connection, **kwargs) -> None:
        connection.execute_wrappers.append(self._execute)
        commit = connection.commit

        def timed_commit() -> None:
            begun = time.perf_counter()
            commit()
            self._note("COMMIT", begun)

        connection.commit = timed_commit

    def _execute(self, execute, sql, params, many, context):
        begun = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            self._note(sql, begun)

    def _note(self, what: str, begun: float) -> None:
        if self._active:
            thread = threading.current_thread().name
            self._times[thread, what].append(time.perf_counter() - begun)

    def start(self) -> None:
        """Begin to measure."""
        self._spy, self._folder = None, tempfile.TemporaryDirectory()
        self._stacks = Path(self._folder.name, "stacks")
        if self._py_spy:
            self._spy = subprocess.Popen(
                [self._py_spy, "record", "--pid", str(os.getpid()), "--gil",
                 "--threads", "--format", "raw", "--rate", str(RATE),
                 "--output", str(self._stacks)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )  # fmt: skip
            time.sleep(ATTACH_SECONDS)
        self._server = self._server_seconds()
        self._threads = thread_seconds()
        self._active = True

    def stop(self, runs: int, seconds: float) -> dict:
        """End, and answer everything for that many runs in so many seconds."""
        self._active = False
        threads: Counter = Counter()
        for key, used in thread_seconds().items():
            threads[key[1]] += used - self._threads.get(key, 0.0)
        server = self._server_seconds()
        sql: Counter = Counter()
        statements: dict[tuple[str, str], list[float]] = defaultdict(list)
        for (thread, what), times in self._times.items():
            statements[role_of(thread), shorten(what)] += times
            sql[role_of(thread)] += sum(times)
        answer = {
            "runs": runs,
            "seconds": seconds,
            "threads": {
                role: {"cpu": round(threads[role], 3), "sql": round(sql[role], 3)}
                for role in sorted(set(threads) | set(sql), key=lambda r: -threads[r])
            },
            "server_cpu": None if server is None else server - self._server,
            "statements": sorted(
                (
                    [*what, 1000 * len(times) / runs, sum(times)]
                    for what, times in statements.items()
                ),
                key=lambda row: -row[3],
            ),
            **self._functions(),
        }
        self._folder.cleanup()
        return answer

    def _server_seconds(self) -> float | None:
        if self._postmaster is None:
            return None
        return tree_cpu_seconds(self._postmaster)

    def _functions(self) -> dict:
        """Shares of the samples: by role, of functions themselves and with callees."""
        if self._spy is None:
            return {"failure": "functions are left out: there is no py-spy"}
        self._spy.send_signal(signal.SIGINT)
        _, said = self._spy.communicate(timeout=30)
        if not self._stacks.exists():
            return {"failure": f"py-spy did not answer: {said.strip()[-300:]}"}
        roles: Counter = Counter()
        own: Counter = Counter()
        total: Counter = Counter()
        for line in self._stacks.read_text().splitlines():
            stack, _, count = line.rpartition(" ")
            thread, *frames = stack.split(";")
            name = re.sub(r'^thread \(\w+\): ?"?|"$', "", thread)
            # Lines of one function count together.
            names = [re.sub(r":\d+\)$", ")", frame) for frame in frames]
            roles[role_of(name)] += int(count)
            if names:
                own[names[-1]] += int(count)
            for frame in set(names):
                if not frame.endswith(" (threading.py)"):
                    total[frame] += int(count)
        samples = sum(roles.values())
        if not samples:
            return {"failure": "py-spy took no samples"}

        def shares(counts: Counter, most: int) -> list:
            return [
                [name, 100 * count / samples]
                for name, count in counts.most_common(most)
            ]

        return {
            "samples": samples,
            "roles": shares(roles, 10),
            "own": shares(own, 30),
            "total": shares(total, 60),
        }


def thread_seconds() -> dict[tuple[int, str], float]:
    """Processor time of this process's threads so far, by thread id and role."""
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    seconds = {}
    for folder in Path("/proc/self/task").glob("*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        name = names.get(int(folder.name), "")
        seconds[int(folder.name), role_of(name)] = sum(map(int, fields[11:13])) / TICKS
    return seconds
