"""
Tells systemd that the scheduler has started, that it works, and that it stops.

Source: sd_notify(3) and sd_watchdog_enabled(3). Without ``NOTIFY_SOCKET`` in the
environment nothing is told.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import MutableMapping, Sequence
from datetime import tzinfo
from typing import Any

from django_apscheduler import clock

logger = logging.getLogger(__name__)

#: Seconds between looks at the loop until it has gone round for the first time.
FIRST_SECONDS = 0.05
#: Seconds between status lines.
STATUS_SECONDS = 5.0
#: Looks at the loop within the watchdog's time, so that one slow tick is forgiven.
LOOKS = 3
#: Jobs that the status line names.
NAMED_JOBS = 5


class Systemd:
    """
    The service manager's end of the line.

    :param address: path of a Unix datagram socket; with ``@`` in front an abstract one
    :param watchdog: seconds within which it wants signs of life; None: it does not
    :param zone: for the times in the status line
    """

    def __init__(self, address: str, watchdog: float | None, zone: tzinfo):
        self.address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog = watchdog
        self.pause = min(
            STATUS_SECONDS, watchdog / LOOKS if watchdog else STATUS_SECONDS
        )
        self._zone = zone
        self._stop = threading.Event()
        self._deaf = False

    @classmethod
    def from_environment(
        cls, environ: MutableMapping[str, str], zone: tzinfo
    ) -> Systemd | None:
        """Return who is to be told, if anybody; children of this process shall not."""
        address = environ.pop("NOTIFY_SOCKET", "")
        microseconds = environ.pop("WATCHDOG_USEC", "")
        pid = environ.pop("WATCHDOG_PID", "")
        if not address.startswith(("/", "@")):
            return None
        wanted = microseconds.isdecimal() and pid in ("", str(os.getpid()))
        watchdog = int(microseconds) / 1e6 if wanted else 0.0
        return cls(address, watchdog or None, zone)

    def watch(self, scheduler: Any) -> None:
        """
        Tell that the scheduler is ready once its loop goes round, and then that it does.

        In a thread of its own, for the main thread has other duties. When the loop
        hangs the watchdog is no longer fed, and systemd ends the process.
        """
        threading.Thread(
            target=self._watch,
            args=(scheduler, scheduler.turns),
            name="apscheduler-systemd",
            daemon=True,
        ).start()

    def _watch(self, scheduler: Any, seen: int) -> None:
        ready = False
        since = clock.now()
        while not self._stop.wait(self.pause if ready else FIRST_SECONDS):
            lines = []
            if scheduler.turns != seen:
                seen, since = scheduler.turns, clock.now()
                lines = ["WATCHDOG=1"] if ready else ["READY=1", "WATCHDOG=1"]
                ready = True
                at = f"last tick {since.astimezone(self._zone):%H:%M:%S}"
                lines.append(f"STATUS={_jobs(scheduler.running_jobs())}; {at}")
            elif ready:
                at = f"{since.astimezone(self._zone):%H:%M:%S}"
                lines.append(f"STATUS=The loop hangs: no tick since {at}")
            if lines and not self._stop.is_set():
                self.tell(*lines)
            # It may rightly wait for hours; only when woken can it show that it hangs.
            scheduler.wakeup()

    def stopping(self, why: str) -> None:
        """Tell that the scheduler stops, and feed the watchdog no more."""
        self._stop.set()
        self.tell("STOPPING=1", f"STATUS={why}")

    def tell(self, *lines: str) -> None:
        """Send assignments such as ``READY=1``; that nobody hears them is no error."""
        message = "\n".join(" ".join(line.split("\n")) for line in lines)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(1.0)
                sender.sendto(message.encode(), self.address)
        except OSError as error:
            if not self._deaf:
                logger.warning("systemd could not be told %r: %s", message, error)
            self._deaf = True
        else:
            self._deaf = False


def _jobs(running: Sequence[str]) -> str:
    if not running:
        return "Running; no job under way"
    names = ", ".join(running[:NAMED_JOBS])
    more = f" and {len(running) - NAMED_JOBS} more" if len(running) > NAMED_JOBS else ""
    jobs = "job" if len(running) == 1 else "jobs"
    return f"Running; {len(running)} {jobs} under way: {names}{more}"
