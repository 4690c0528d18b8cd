"""
Compute cron fire times with one library, in a process of its own.

Run by the benchmark with the Python of that library's environment; reads a request
as JSON on standard input and answers with one JSON object on standard output. Each
library is driven as its documentation shows, in the fastest documented way found for
the same task: aware datetime in, the chain of the following fire times out, each an
aware datetime in the zone asked for.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from importlib import import_module
from itertools import count, islice, pairwise
from zoneinfo import ZoneInfo

#: Takes how many fire times to compute, answers them in order.
Chain = Callable[[int], list[datetime]]


def trigger_chain(package: str) -> Callable[[str, str, datetime], Chain]:
    """Drive ``CronTrigger.from_crontab`` of APScheduler, or of the package here."""
    trigger_class = import_module(f"{package}.triggers.cron").CronTrigger

    def prepare(expression: str, zone: str, start: datetime) -> Chain:
        trigger = trigger_class.from_crontab(expression, timezone=ZoneInfo(zone))

        def chain(length: int) -> list[datetime]:
            advance = trigger.get_next_fire_time
            moment = advance(None, start)
            moments = [moment]
            for _ in range(length - 1):
                moment = advance(moment, moment)
                moments.append(moment)
            return moments

        return chain

    return prepare


def croniter_chain(expression: str, zone: str, start: datetime) -> Chain:
    iterator = import_module("croniter").croniter(expression, start, datetime)

    def chain(length: int) -> list[datetime]:
        advance = iterator.get_next
        return [advance() for _ in range(length)]

    return chain


def cronsim_chain(expression: str, zone: str, start: datetime) -> Chain:
    iterator = import_module("cronsim").CronSim(expression, start)
    return lambda length: list(islice(iterator, length))


def celery_chain() -> Callable[[str, str, datetime], Chain]:
    """
    Drive Celery's ``crontab.remaining_estimate``, the time left after a given run.

    ``nowfun`` answers that run's time, so that the estimate counts from it. What it
    answers is elapsed time, so it is added in UTC.
    """
    Celery = import_module("celery").Celery
    crontab = import_module("celery.schedules").crontab
    applications: dict = {}

    def prepare(expression: str, zone: str, start: datetime) -> Chain:
        if zone not in applications:
            applications[zone] = Celery(set_as_current=False)
            applications[zone].conf.update(timezone=zone, enable_utc=True)
        minute, hour, day, month, weekday = expression.split()
        moment = start
        schedule = crontab(
            minute=minute,
            hour=hour,
            day_of_month=day,
            month_of_year=month,
            day_of_week=weekday,
            app=applications[zone],
            nowfun=lambda: moment,
        )

        def chain(length: int) -> list[datetime]:
            nonlocal moment
            remaining = schedule.remaining_estimate
            moment = start
            tz = start.tzinfo
            moments = []
            for _ in range(length):
                elapsed = remaining(moment)
                moment = (moment.astimezone(timezone.utc) + elapsed).astimezone(tz)
                moments.append(moment)
            return moments

        return chain

    return prepare


def preparation(contender: str) -> Callable[[str, str, datetime], Chain]:
    if contender == "ours":
        return trigger_chain("django_apscheduler")
    if contender == "apscheduler":
        return trigger_chain("apscheduler")
    if contender == "celery":
        return celery_chain()
    return {"croniter": croniter_chain, "cronsim": cronsim_chain}[contender]


def start_moment(zone: str, number: int) -> datetime:
    """
    Where the given pass starts.

    Every pass starts elsewhere, so that remembering the answers of an earlier pass
    helps nobody.
    """
    start = datetime(2001, 1, 1, 0, 0, 30) + timedelta(days=37.13 * (number % 150))
    return start.replace(tzinfo=ZoneInfo(zone))


def measure(prepare, case: dict, seconds: float) -> float:
    """
    How many fire times a second the library computes in one case.

    Only the chains are timed; parsing the expression is not, nor checking the answers.
    """
    spent = 0.0
    fires = 0
    for number in count():
        chain = prepare(
            case["expression"], case["zone"], start_moment(case["zone"], number)
        )
        begun = time.perf_counter()
        moments = chain(case["length"])
        ended = time.perf_counter()
        # The first pass warms up caches, which a long-lived scheduler has warm too.
        if number == 0:
            check(moments, case)
            continue
        fires += len(moments)
        spent += ended - begun
        if spent >= seconds:
            break
    check(moments, case)
    return fires / spent


def check(moments: list[datetime], case: dict) -> None:
    if len(moments) != case["length"]:
        raise AssertionError(
            f"expected {case['length']} fire times for {case}, got {len(moments)}"
        )
    for earlier, later in pairwise(moments):
        if earlier.utcoffset() is None or not earlier.timestamp() < later.timestamp():
            raise AssertionError(
                f"expected aware, increasing fire times for {case}, got {earlier} "
                f"then {later}"
            )


def sequence(prepare, case: dict) -> list[str]:
    """The fire times of one case as ISO 8601 texts, to be compared."""
    start = datetime.fromisoformat(case["start"]).replace(tzinfo=ZoneInfo(case["zone"]))
    moments = prepare(case["expression"], case["zone"], start)(case["length"])
    return [moment.isoformat() for moment in moments]


def main() -> None:
    request = json.load(sys.stdin)
    prepare = preparation(request["contender"])
    answer: list = []
    for case in request["cases"]:
        if request["task"] == "sequences":
            answer.append(sequence(prepare, case))
        else:
            answer.append(measure(prepare, case, request["seconds"]))
    json.dump({"answer": answer}, sys.stdout)


if __name__ == "__main__":
    main()
