"""
A network between schedulers and their database that can be made to fail.

The proxy understands just enough of PostgreSQL's and MySQL's protocols to lose the one
reply that matters most: the one that says that a transaction was committed.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

CHUNK = 65536
#: Requests of PostgreSQL's protocol that are answered by a single byte, not a message.
ENCRYPTION_REQUESTS = (80877103, 80877104)
#: A bit in the status of MySQL's OK packets: a transaction is open.
IN_TRANSACTION = 1


@dataclass
class Swallow:
    """
    A reply to be lost: that to the end of the transaction with a certain statement.

    :ivar pattern: found in the statement, whatever the case of its letters
    :ivar left: how many more replies are to be lost
    :ivar done: set when the last of them has been
    """

    pattern: re.Pattern[str]
    left: int
    done: threading.Event = field(default_factory=threading.Event)


class Postgres:
    """What goes on in one connection, by the messages of PostgreSQL's protocol."""

    def __init__(self, said: Callable[[str], None]):
        self._said = said
        self._requests = b""
        self._replies = b""
        self._begun = False
        self._single_bytes = 0
        self._rolled_back = False

    def request(self, data: bytes) -> None:
        """Take bytes of the client's; each statement in them is said."""
        self._requests += data
        while True:
            header = 5 if self._begun else 4
            if len(self._requests) < header:
                return
            (length,) = struct.unpack("!I", self._requests[header - 4 : header])
            end = header - 4 + length
            if len(self._requests) < end:
                return
            message, self._requests = self._requests[:end], self._requests[end:]
            if not self._begun:
                (code,) = struct.unpack("!I", message[4:8])
                if code in ENCRYPTION_REQUESTS:
                    self._single_bytes += 1
                else:
                    self._begun = True
            elif message[:1] in b"QP":
                self._said(message[5:].decode("utf-8", "replace"))

    def replies(self, data: bytes) -> Iterator[tuple[bytes, bool | None]]:
        """
        Take bytes of the server's; yield its messages.

        With each comes whether it says that a transaction was committed: None for a
        message that says nothing of the kind, and what follows will.
        """
        self._replies += data
        while self._single_bytes and self._replies:
            self._single_bytes -= 1
            message, self._replies = self._replies[:1], self._replies[1:]
            yield message, False
        while len(self._replies) >= 5:
            (length,) = struct.unpack("!I", self._replies[1:5])
            if len(self._replies) < length + 1:
                return
            message = self._replies[: length + 1]
            self._replies = self._replies[length + 1 :]
            kind = message[:1]
            if kind == b"Z":
                yield message, message[5:6] == b"I" and not self._rolled_back
                self._rolled_back = False
            else:
                if kind == b"C" and message[5:].startswith(b"ROLLBACK"):
                    self._rolled_back = True
                yield message, None


class MySQL:
    """What goes on in one connection, by the packets of MySQL's protocol."""

    def __init__(self, said: Callable[[str], None]):
        self._said = said
        self._requests = b""
        self._replies = b""
        self._rolling_back = False

    @staticmethod
    def _packets(data: bytes) -> tuple[list[bytes], bytes]:
        packets = []
        while len(data) >= 4:
            end = 4 + int.from_bytes(data[:3], "little")
            if len(data) < end:
                break
            packets.append(data[:end])
            data = data[end:]
        return packets, data

    def request(self, data: bytes) -> None:
        """Take bytes of the client's; each statement in them is said."""
        packets, self._requests = self._packets(self._requests + data)
        for packet in packets:
            # A command begins a sequence. 3 and 22: COM_QUERY and COM_STMT_PREPARE.
            if packet[3] == 0 and packet[4:5] in (b"\x03", b"\x16"):
                text = packet[5:].decode("utf-8", "replace")
                self._rolling_back = text.strip().upper() == "ROLLBACK"
                self._said(text)

    def replies(self, data: bytes) -> Iterator[tuple[bytes, bool | None]]:
        """Take bytes of the server's; yield its packets, as `Postgres.replies` does."""
        packets, self._replies = self._packets(self._replies + data)
        for packet in packets:
            # The first packet of an answer, and OK: without rows, so of a write.
            committed = packet[3] == 1 and packet[4:5] == b"\x00"
            if committed:
                committed = not (self._status(packet) & IN_TRANSACTION)
            yield packet, committed and not self._rolling_back

    @staticmethod
    def _status(packet: bytes) -> int:
        at = 5
        for _ in range(2):  # affected rows and last id, as integers of varying length
            at += {0xFC: 3, 0xFD: 4, 0xFE: 9}.get(packet[at], 1)
        return int.from_bytes(packet[at : at + 2], "little")


PROTOCOLS: dict[str, Any] = {"postgresql": Postgres, "mysql": MySQL}


class Link:
    """One client's connection, and the one to the server that belongs to it."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: Any):
        self.proxy = proxy
        self.client = client
        self.server: socket.socket | None = server
        self.deaf = self.dumb = False
        self.swallow: Swallow | None = None
        self.protocol = PROTOCOLS[proxy.vendor](self.said)
        pumps = [self._from_client, *([self._from_server] if server else [])]
        for pump in pumps:
            threading.Thread(target=self._guarded, args=(pump,), daemon=True).start()

    def _guarded(self, pump: Callable[[], None]) -> None:
        with contextlib.suppress(OSError):
            pump()
        # In a hole nobody learns of anything, the end of the other side included.
        if not (self.deaf or self.dumb):
            self.cut()

    def said(self, statement: str) -> None:
        """Look at a statement of the client's before it is passed on."""
        self.swallow = self.swallow or self.proxy.wanted(statement)

    def _from_client(self) -> None:
        while data := self.client.recv(CHUNK):
            if self.deaf or self.server is None:
                continue
            self.protocol.request(data)
            self.server.sendall(data)

    def _from_server(self) -> None:
        assert self.server is not None
        held = b""
        while data := self.server.recv(CHUNK):
            swallow, complete = self.swallow, False
            for message, committed in self.protocol.replies(data):
                if swallow is not None and committed and self.proxy.may_lose(swallow):
                    return
                held += message
                complete = committed is not None
            if swallow is None or complete:
                if self.proxy.delay:
                    time.sleep(self.proxy.delay)
                if not self.dumb:
                    self.client.sendall(held)
                held = b""

    def cut(self) -> None:
        """End both connections as a crash or a firewall does: with a reset."""
        self.proxy.forget(self)
        for end in (self.client, self.server):
            if end is not None:
                with contextlib.suppress(OSError):
                    now = struct.pack("ii", 1, 0)
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
                with contextlib.suppress(OSError):
                    # Wakes the thread that waits for data, which closing does not.
                    end.shutdown(socket.SHUT_RD)
                end.close()


class Proxy:
    """
    Listens on a port of localhost and passes connections on to a database server.

    :param upstream: the server: (host, port), or the path of its Unix socket
    :param vendor: whose protocol it speaks, as Django names it
    :ivar delay: seconds for which each reply of the server is held back
    """

    delay = 0.0

    def __init__(self, upstream: tuple[str, int] | str, vendor: str):
        self.upstream = upstream
        self.vendor = vendor
        self._lock = threading.Lock()
        self._links: set[Link] = set()
        self._swallows: list[Swallow] = []
        self._deaf = self._dumb = False
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.host, self.port = self._listener.getsockname()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @classmethod
    def before(cls, connection: Any) -> Proxy:
        """Return a proxy for the server that a connection of Django's goes to."""
        settings, vendor = connection.settings_dict, connection.vendor
        host, port = settings["HOST"], settings["PORT"]
        if not host.startswith("/"):
            default = {"postgresql": 5432, "mysql": 3306}[vendor]
            return cls((host, int(port or default)), vendor)
        if vendor == "postgresql":
            host = f"{host}/.s.PGSQL.{port or 5432}"
        return cls(host, vendor)

    @property
    def database(self) -> dict[str, Any]:
        """What is different in the settings of a connection that goes through it."""
        # What it shall understand must not be encrypted.
        plain = {"sslmode": "disable", "gssencmode": "disable"}
        options = {"OPTIONS": plain} if self.vendor == "postgresql" else {}
        return {"HOST": self.host, "PORT": str(self.port), **options}

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def connections(self) -> int:
        """How many connections are open."""
        with self._lock:
            return len(self._links)

    def drop(self) -> int:
        """Reset all connections; new ones pass. Return how many there were."""
        with self._lock:
            links = list(self._links)
        for link in links:
            link.cut()
        return len(links)

    def hole(self, *, requests: bool = True, replies: bool = True) -> None:
        """
        Go silent without closing anything, for present connections and new ones.

        :param requests: swallow what clients send
        :param replies: swallow what the server sends
        """
        with self._lock:
            self._deaf, self._dumb = requests, replies
            for link in self._links:
                link.deaf, link.dumb = requests, replies

    def heal(self) -> None:
        """Pass new connections on; those that fell into the hole stay there."""
        with self._lock:
            self._deaf = self._dumb = False

    def swallow(self, pattern: str, times: int = 1) -> Swallow:
        """
        Lose replies: the transaction commits, the client sees its connection cut.

        :param pattern: a regular expression that a statement of the transaction contains
        :param times: how often
        """
        swallow = Swallow(re.compile(pattern, re.IGNORECASE | re.DOTALL), times)
        with self._lock:
            self._swallows.append(swallow)
        return swallow

    def wanted(self, statement: str) -> Swallow | None:
        """Return what is to be swallowed of the transaction with this statement."""
        with self._lock:
            for swallow in self._swallows:
                if swallow.left and swallow.pattern.search(statement):
                    return swallow
        return None

    def may_lose(self, swallow: Swallow) -> bool:
        """Tell whether this reply is to be lost, and count it."""
        with self._lock:
            if not swallow.left:
                return False
            swallow.left -= 1
            if not swallow.left:
                self._swallows.remove(swallow)
                swallow.done.set()
            return True

    def forget(self, link: Link) -> None:
        with self._lock:
            self._links.discard(link)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                deaf, dumb = self._deaf, self._dumb
            server = None
            if not deaf:
                try:
                    server = self._connect()
                except OSError:
                    client.close()
                    continue
            with self._lock:
                if self._closed:
                    for end in filter(None, (client, server)):
                        end.close()
                    return
                link = Link(self, client, server)
                link.deaf, link.dumb = deaf or self._deaf, dumb or self._dumb
                self._links.add(link)

    def _connect(self) -> socket.socket:
        if isinstance(self.upstream, tuple):
            return socket.create_connection(self.upstream, 5)
        server = socket.socket(socket.AF_UNIX)
        server.connect(self.upstream)
        return server

    def close(self) -> None:
        """Reset all connections and accept no more."""
        with self._lock:
            self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop()
        self._thread.join(5)
