"""The jobs and the history of a shop, as a dashboard shows them."""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta
from typing import NamedTuple

from django_apscheduler import rollups
from django_apscheduler.models import DjangoJob, DjangoJobExecution
from django_apscheduler.triggers.cron import CronTrigger
from tests.admin import rows


class Work(NamedTuple):
    """One job: its crontab fields, how many seconds it takes, how often it fails."""

    pk: str
    name: str
    fields: dict[str, str]
    seconds: float
    fails: float = 0.0
    error: str = ""


SHOP = (
    Work(
        "import-orders", "Import orders", {"minute": "*/5"}, 9, 0.0001, "Timeout: 30 s"
    ),
    Work(
        "sync-stock",
        "Synchronise stock",
        {"day_of_week": "mon-fri", "minute": "*/20"},
        45,
        0.0003,
        "KeyError: 'sku'",
    ),
    Work(
        "send-invoices",
        "Send invoices",
        {"minute": "10"},
        140,
        0.002,
        "SMTPServerDisconnected: Connection unexpectedly closed",
    ),
    Work("cleanup-carts", "Clean up carts", {"minute": "40"}, 3.2),
    Work(
        "price-feed",
        "Price feed",
        {"day_of_week": "mon-sat", "hour": "6-20/2", "minute": "5"},
        260,
        0.004,
        "HTTP 502",
    ),
    Work("nightly-backup", "Nightly backup", {"hour": "1", "minute": "30"}, 2700),
    Work("sales-report", "Sales report", {"hour": "2", "minute": "0"}, 1500),
    Work("rebuild-search", "Rebuild search index", {"hour": "2", "minute": "15"}, 2300),
    Work(
        "supplier-catalogue",
        "Supplier catalogue",
        {"hour": "3", "minute": "0"},
        4100,
        0.03,
        "ParseError: line 88121: mismatched tag",
    ),
    Work(
        "currency-rates",
        "Currency rates",
        {"hour": "6,12,18", "minute": "0"},
        2,
        0.002,
        "HTTPError: 503 Server Error for rates.example.com",
    ),
    Work("payouts", "Payouts to suppliers", {"hour": "23", "minute": "0"}, 1100),
    Work(
        "newsletter",
        "Newsletter",
        {"day_of_week": "mon,thu", "hour": "9", "minute": "0"},
        720,
    ),
)


def fill(now: datetime, days: int = 84, zone: str = "UTC", seed: int = 7) -> None:
    """
    Store the jobs, their executions of so many days before ``now``, and the sums.

    Currency rates fail since yesterday; loyalty points are paused, and a job is broken.
    """
    chance = random.Random(seed)
    made = []
    for work in SHOP:
        fields = {**work.fields, "timezone": zone}
        trigger = CronTrigger(**fields)
        following = trigger.get_next_fire_time(None, now)
        rows.job(
            work.pk,
            name=work.name,
            func=f"shop.jobs:{work.pk.replace('-', '_')}",
            trigger=json.dumps({"type": "cron", "args": fields}),
            next_run_time=following,
            nominal_time=following,
            created_time=now - timedelta(days=days),
        )
        moment = trigger.get_next_fire_time(None, now - timedelta(days=days))
        while moment is not None and moment < now - timedelta(seconds=90):
            made.append(_execution(work, moment, now, chance))
            moment = trigger.get_next_fire_time(moment, moment)
    made.sort(key=lambda execution: execution.run_time)
    DjangoJobExecution.objects.bulk_create(made, batch_size=2000)
    rows.job(
        "loyalty-points",
        name="Loyalty points",
        state=DjangoJob.State.PAUSED,
        paused_by="ben",
        pause_reason="waiting for the new tariff",
        paused_time=now - timedelta(days=12),
        created_time=now - timedelta(days=days),
    )
    rows.job(
        "geo-lookup",
        name="Geo lookup",
        state=DjangoJob.State.BROKEN,
        error="ModuleNotFoundError: No module named 'geo'",
        created_time=now - timedelta(days=2),
    )
    DjangoJobExecution.objects.create(
        job_id="price-feed",
        job_name="Price feed",
        status="Started execution",
        run_time=now - timedelta(seconds=70),
        started_time=now - timedelta(seconds=70),
        executor="default",
        origin="manual",
        requested_by="ana",
    )
    list(rollups.steps("default", now - timedelta(minutes=3)))
    list(rollups.steps("default", now))


def _execution(
    work: Work, moment: datetime, now: datetime, chance: random.Random
) -> DjangoJobExecution:
    run_time = moment.astimezone(rows.UTC)
    values = {
        "job_id": work.pk,
        "job_name": work.name,
        "run_time": run_time,
        "executor": "default",
    }
    if chance.random() < 0.0002:
        return DjangoJobExecution(status="Missed!", **values)
    # Mornings are busy, and releases of last week made things faster.
    busy = 1.5 if 8 <= moment.hour < 11 else 1.0
    late = chance.lognormvariate(-3.6, 1.0) * busy
    took = work.seconds * chance.lognormvariate(0, 0.25) * busy
    failed = chance.random() < work.fails
    if work.pk == "currency-rates" and run_time > now - timedelta(hours=20):
        failed = True
    if failed:
        took *= chance.random()
    started = run_time + timedelta(seconds=late)
    finished = started + timedelta(seconds=took)
    if finished > now:
        return DjangoJobExecution(
            status="Started execution", started_time=started, **values
        )
    return DjangoJobExecution(
        status="Error!" if failed else "Executed",
        started_time=started,
        finished_time=finished,
        exception=work.error if failed else None,
        **values,
    )
