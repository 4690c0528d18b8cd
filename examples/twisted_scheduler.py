"""Run a coroutine every second on Twisted's reactor, until Ctrl-C."""

from __future__ import annotations

import sys
from datetime import datetime

from twisted.internet import reactor
from twisted.internet.task import deferLater

from django_apscheduler.schedulers.twisted import TwistedScheduler


async def tick() -> None:
    # Bodies that are async def run on the reactor, and await Deferreds.
    await deferLater(reactor, 0.01)
    print(f"Tick! The time is {datetime.now().astimezone():%H:%M:%S}", flush=True)


def main() -> None:
    scheduler = TwistedScheduler()
    scheduler.add_job(tick, "interval", seconds=1)
    scheduler.start()
    # The reactor waits for the Deferred, so running bodies may end.
    reactor.addSystemEventTrigger("before", "shutdown", scheduler.ashutdown)
    if len(sys.argv) > 1:
        reactor.callLater(float(sys.argv[1]), reactor.stop)
    print("Press Ctrl-C to stop", flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
