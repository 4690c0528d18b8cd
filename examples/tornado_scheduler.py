"""Run a coroutine every second in a Tornado application, until Ctrl-C."""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime

from tornado.web import Application, RequestHandler

from django_apscheduler.schedulers.tornado import TornadoScheduler


async def tick() -> None:
    print(f"Tick! The time is {datetime.now().astimezone():%H:%M:%S}", flush=True)


class Jobs(RequestHandler):
    async def get(self) -> None:
        # With a job store in a database, the methods that begin with "a" are for loops.
        jobs = await self.settings["scheduler"].aget_jobs()
        self.write({"jobs": [str(job) for job in jobs]})


async def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else None
    scheduler = TornadoScheduler()
    scheduler.add_job(tick, "interval", seconds=1)
    scheduler.start()
    server = Application([("/jobs", Jobs)], scheduler=scheduler).listen(0, "127.0.0.1")
    print("Press Ctrl-C to stop", flush=True)
    try:
        await asyncio.wait_for(asyncio.Event().wait(), seconds)
    except asyncio.TimeoutError:
        pass
    finally:
        server.stop()
        await scheduler.ashutdown()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
