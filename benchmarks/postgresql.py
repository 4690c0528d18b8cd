"""
A PostgreSQL server of our own for a benchmark, with the durability of its defaults.

It is started from the installed binaries in a temporary folder, listens on a socket
there only, and is gone afterwards.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

#: Where Linux distributions, Homebrew and the PostgreSQL packages put the binaries.
PLACES = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/usr/local/pgsql/bin",
)

USER = "benchmark"


class NoServer(Exception):
    """There is no PostgreSQL to measure with; the message says what to do."""


@dataclass(frozen=True)
class Server:
    """A running server: its binaries, its socket's folder and the user it runs as."""

    binaries: Path
    folder: str
    account: str | None

    def run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [str(self.binaries / program), *arguments],
            capture_output=True,
            text=True,
            user=self.account,
            cwd=self.folder,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
        )
        if done.returncode:
            # Not in NoServer's sense: there is one, but it does not work.
            raise NoServer(f"{program} failed: {(done.stderr or done.stdout).strip()}")
        return done.stdout.strip()

    def ask(self, sql: str) -> str:
        return self.run(
            "psql", "-h", self.folder, "-U", USER, "-d", "postgres", "-Atc", sql
        )

    def new_database(self, name: str) -> dict:
        """Make an empty database and answer how contenders reach it."""
        self.ask(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        return self.kept_database(name)

    def kept_database(self, name: str) -> dict:
        """Make a database unless it is there; answer how contenders reach it."""
        if not self.ask(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"):
            self.ask(f'CREATE DATABASE "{name}"')
        return {
            "engine": "postgresql",
            "name": name,
            "host": self.folder,
            "user": USER,
        }

    def postmaster(self) -> int:
        """Answer the id of the process that all of the server's are children of."""
        path = Path(self.folder, "data", "postmaster.pid")
        return int(path.read_text().splitlines()[0])

    def facts(self) -> dict[str, str]:
        """Version and the settings that decide about durability."""
        names = ("server_version", "fsync", "synchronous_commit", "full_page_writes")
        return {name: self.ask(f"SHOW {name}") for name in names}


def tree_cpu_seconds(pid: int) -> float:
    """The processor time of a process and its children, the ended ones included."""
    ticks = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # The name before the bracket may hold anything.
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        # state, parent, ..., utime, stime, and those of children that have ended
        if int(folder.name) == pid:
            ticks += sum(map(int, fields[11:15]))
        elif int(fields[1]) == pid:
            ticks += sum(map(int, fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def find_binaries() -> Path:
    """
    The folder of the newest installed PostgreSQL server.

    Raises NoServer when there is none.
    """
    on_path = shutil.which("postgres")
    if on_path:
        return Path(on_path).resolve().parent
    found = [
        Path(folder)
        for place in PLACES
        for folder in glob.glob(place)
        if Path(folder, "postgres").exists() and Path(folder, "initdb").exists()
    ]
    if not found:
        raise NoServer(
            "no PostgreSQL server is installed here; install one (on Debian: "
            "apt install postgresql), or leave it out with --databases sqlite"
        )
    return max(found, key=lambda path: [int(n) for n in re.findall(r"\d+", str(path))])


@contextmanager
def folder_of(data: str | None, keep: str | None) -> Iterator[str]:
    """Make the server's folder, which is deleted at the end unless it is to be kept."""
    if keep:
        Path(keep).mkdir(parents=True, exist_ok=True)
        yield str(Path(keep).resolve())
        return
    with tempfile.TemporaryDirectory(prefix="bench-pg-", dir=data) as folder:
        yield folder


@contextmanager
def server(data: str | None = None, keep: str | None = None) -> Iterator[Server]:
    """
    Start a server, stop and delete it at the end.

    :param data: folder to put its data in; it should lie on the disk that matters
    :param keep: folder of a server that is used when it is there, and never deleted
    Raises NoServer when that is impossible.
    """
    binaries = find_binaries()
    # PostgreSQL refuses to run as root.
    account = None
    if os.name == "posix" and os.geteuid() == 0:
        account = "postgres" if has_account("postgres") else "nobody"
    with folder_of(data, keep) as folder:
        if account:
            shutil.chown(folder, account)
        running = Server(binaries, folder, account)
        cluster = f"{folder}/data"
        if not Path(cluster).exists():
            running.run(
                "initdb", "-D", cluster, "-U", USER, "-A", "trust", "-E", "UTF8",
                "--no-locale",
            )  # fmt: skip
        running.run(
            "pg_ctl", "-D", cluster, "-w", "-l", f"{folder}/log",
            "-o", f"-c listen_addresses='' -c unix_socket_directories={folder}",
            "start",
        )  # fmt: skip
        try:
            yield running
        finally:
            # A database that is kept must not begin with a recovery.
            how = "fast" if keep else "immediate"
            running.run("pg_ctl", "-D", cluster, "-w", "-m", how, "stop")


def has_account(name: str) -> bool:
    import pwd

    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
