"""
Let one-second interval jobs run with one package, in a process of its own.

The jobs' phases are spread evenly over the second. Each start of a body is noted with
its time, and nothing else is asked of the package: an occurrence is good when the body
started within the second after it was due, and once. Beside the active jobs there may
be idle ones, due in a year. Reads the request as JSON on standard input, answers with
JSON on standard output.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections import defaultdict
from datetime import datetime, timedelta, timezone

from schedulers import add_all, logged, make_scheduler
from workload import Faults, starts

#: Jobs a second that packages surely add, so that all are there when the first is due.
ADDED_A_SECOND = {"ours": 4_000, "apscheduler": 1_000, "earlier": 1_000}

TABLES = {"apscheduler": "apscheduler_jobs"}
DJANGO_TABLE = "django_apscheduler_djangojob"


def seed_idle(scheduler, contender: str, database: dict, idle: int) -> None:
    """Add an idle job through the package, the others as copies of its row."""
    try:
        import psycopg
    except ImportError:
        import psycopg2 as psycopg

    far = datetime.now(timezone.utc) + timedelta(days=365)
    scheduler.add_job("workload:body", "interval", hours=1, start_date=far, id="idle-0")
    table = TABLES.get(contender, DJANGO_TABLE)
    connection = psycopg.connect(
        dbname=database["name"], user=database["user"], host=database["host"]
    )
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table} LIMIT 0")
        columns = [column.name for column in cursor.description]
        second = "1" if contender == "apscheduler" else "interval '1 second'"
        values = {
            "id": "'idle-' || n",
            "uid": "gen_random_uuid()",
            "next_run_time": f"next_run_time + n * {second}",
            "nominal_time": f"nominal_time + n * {second}",
        }
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) "
            f"SELECT {', '.join(values.get(name, name) for name in columns)} "
            f"FROM {table}, generate_series(1, {idle - 1}) AS n WHERE id = 'idle-0'"
        )
        cursor.execute(f"ANALYZE {table}")
    connection.close()


def add_active(
    scheduler, contender: str, jobs: int, body: str = "workload:note"
) -> float:
    """Add the one-second jobs; answer when the first is due, in seconds since 1970."""
    first = time.time() + 0.5 + jobs / ADDED_A_SECOND[contender]
    options = [
        {
            "func": body,
            "trigger": "interval",
            "seconds": 1,
            "start_date": datetime.fromtimestamp(first + number / jobs, timezone.utc),
            "id": f"job-{number}",
            "args": [number],
            "misfire_grace_time": None,
            "coalesce": True,
            "max_instances": 1,
        }
        for number in range(jobs)
    ]
    add_all(scheduler, options)
    return first


def judge(noted: list, first: float, jobs: int, begin: float, seconds: int) -> dict:
    """
    Judge the occurrences due within so many seconds from ``begin``.

    :param noted: number of the job and time of each start
    :param first: when the first job is due first
    """
    by_job = defaultdict(list)
    for number, moment in noted:
        by_job[number].append(moment)
    unserved = doubled = 0
    lateness = []
    for number in range(jobs):
        phase = first + number / jobs
        earliest = phase + math.ceil(begin - phase)
        in_second: list[list[float]] = [[] for _ in range(seconds)]
        for moment in by_job[number]:
            second = math.floor(moment - earliest)
            if 0 <= second < seconds:
                in_second[second].append(moment - earliest - second)
        found = sum(map(len, in_second))
        unserved += sum(not late for late in in_second)
        # One that came late is in the second of the next, and bad only once.
        doubled += max(0, found - seconds)
        # One without a start was no less than a second late.
        lateness += [min(late, default=1.0) for late in in_second]
    lateness.sort()
    due = jobs * seconds
    begun = sum(begin <= moment < begin + seconds for _, moment in noted)
    answer = {
        "due": due,
        "unserved": unserved,
        "doubled": doubled,
        "bad_percent": 100 * (unserved + doubled) / due,
        "runs_a_second": begun / seconds,
    }
    for percent in (50, 99):
        place = math.ceil(len(lateness) * percent / 100) - 1
        answer[f"p{percent}_ms"] = 1000 * lateness[place]
    return answer


def main() -> None:
    request = json.load(sys.stdin)
    contender, database = request["contender"], request["database"]
    jobs, seconds = request["jobs"], request["seconds"]
    faults = Faults()
    scheduler = make_scheduler(contender, database)
    scheduler.start(paused=True)
    if request["idle"]:
        seed_idle(scheduler, contender, database, request["idle"])
    first = add_active(scheduler, contender, jobs)
    scheduler.resume()
    begin = max(first, time.time()) + request["warm_up"]
    # A second more, in which the last occurrences may still be served.
    time.sleep(begin + seconds + 1.2 - time.time())
    answer = judge(list(starts), first, jobs, begin, seconds)
    scheduler.shutdown()
    if contender == "ours":
        rows = sum(logged(contender).values())
        if rows != len(starts) or answer["doubled"]:
            raise AssertionError(
                f"{len(starts)} bodies began, {answer['doubled']} of them twice for one "
                f"occurrence, and the log has {rows} executed runs; first error: "
                f"{faults.first or 'none'}"
            )
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
