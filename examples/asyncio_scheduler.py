"""Run a coroutine every second on an application's event loop, until Ctrl-C."""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime

from django_apscheduler.schedulers.asyncio import AsyncIOScheduler


async def tick() -> None:
    print(f"Tick! The time is {datetime.now().astimezone():%H:%M:%S}", flush=True)


async def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else None
    scheduler = AsyncIOScheduler()
    scheduler.add_job(tick, "interval", seconds=1)
    scheduler.start()
    print("Press Ctrl-C to stop", flush=True)
    try:
        # The rest of the application; here it only waits.
        await asyncio.wait_for(asyncio.Event().wait(), seconds)
    except asyncio.TimeoutError:
        pass
    finally:
        scheduler.shutdown()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
