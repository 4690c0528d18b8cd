"""
Keep jobs in a database, so that they outlive the program.

    python examples/persistent_store.py [folder]

Run it twice: the second run finds the job that the first one has added, and goes on with
it. The jobs are in an SQLite file; for MongoDB or Redis exchange the store:

    MongoDBJobStore(host="localhost")
    RedisJobStore(host="localhost")
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from django_apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from django_apscheduler.schedulers.background import BackgroundScheduler

ticked = threading.Event()


# The store keeps the name of the function, so it has one that can be imported.
def tick(who: str) -> None:
    print(f"Tick, {who}!", flush=True)
    ticked.set()


def main() -> None:
    # Run as a program this module is "__main__", which a later run would import as
    # another one. A real program has its jobs in a module of their own.
    sys.path.insert(0, str(Path(__file__).parent))
    from persistent_store import tick, ticked

    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    store = SQLAlchemyJobStore(url=f"sqlite:///{folder / 'jobs.sqlite'}")
    scheduler = BackgroundScheduler(jobstores={"default": store})
    scheduler.start()
    try:
        if scheduler.get_job("tick") is None:
            print("Nothing is stored yet", flush=True)
        else:
            print("The job is still there", flush=True)
        # With an id of its own it is added once; declared again, it keeps its timing.
        scheduler.add_job(
            tick,
            "interval",
            seconds=1,
            args=["tock"],
            id="tick",
            replace_existing=True,
        )
        ticked.wait(10)
    finally:
        scheduler.shutdown()


if __name__ == "__main__":
    main()
