"""
The demo's jobs, found by `runapscheduler` because the module is named `jobs`.

Intervals are shorter than in real life, so that all run within a minute or so.
"""

from __future__ import annotations

import asyncio
import csv
import logging
import time
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from django_apscheduler import current_run, scheduled_job

from . import work
from .models import (
    Backup,
    ExchangeRate,
    HostReading,
    LogCount,
    LogPosition,
    PrimeCount,
    Report,
    ResponseTime,
)

logger = logging.getLogger(__name__)

STRETCH = 20_000_000


@scheduled_job("interval", seconds=5, id="measure-disk-and-memory")
def measure() -> None:
    """Note how full the disk and the memory of this host are."""
    disk_total, disk_free = work.measure_disk(settings.VAR)
    memory = work.measure_memory() or (None, None)
    HostReading.objects.create(
        disk_total=disk_total,
        disk_free=disk_free,
        memory_total=memory[0],
        memory_available=memory[1],
    )


@scheduled_job("interval", seconds=10, id="measure-response-time", executor="asyncio")
async def measure_response_time() -> None:
    """Ask the demo's own site for its front page and note how long that takes."""
    host, _, port = settings.SITE_ADDRESS.rpartition(":")
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(
            f"GET / HTTP/1.0\r\nHost: {settings.SITE_ADDRESS}\r\n\r\n".encode()
        )
        await writer.drain()
        answer = await asyncio.wait_for(reader.readline(), timeout=5)
        await reader.read()
    finally:
        writer.close()
    milliseconds = (time.perf_counter() - began) * 1000
    if b" 200 " not in answer:
        raise ConnectionError(f"{settings.SITE_ADDRESS} answered {answer!r}")
    await ResponseTime.objects.acreate(
        address=settings.SITE_ADDRESS, milliseconds=milliseconds
    )


@scheduled_job("interval", seconds=15, id="digest-log")
def digest_log() -> int:
    """Count the new lines of the log by day and level; answer how many there were."""
    path = Path(settings.LOG_FILE)
    if not path.exists():
        return 0
    status = path.stat()
    with transaction.atomic():
        position, _ = LogPosition.objects.select_for_update().get_or_create(
            path=str(path), defaults={"inode": status.st_ino, "offset": 0}
        )
        if position.inode != status.st_ino or position.offset > status.st_size:
            # Rotated or cut since the last time: begin with the new file.
            position.inode, position.offset = status.st_ino, 0
        counts, position.offset = work.count_lines(path, position.offset)
        position.save()
        for (day, level), lines in counts.items():
            LogCount.objects.get_or_create(day=day, level=level)
            LogCount.objects.filter(day=day, level=level).update(
                lines=F("lines") + lines
            )
    return sum(counts.values())


@scheduled_job("cron", second="*/20", id="count-primes", executor="processpool")
def count_primes() -> int:
    """Count the primes among the next numbers, in a process of its own."""
    last = PrimeCount.objects.order_by("-upto").first()
    upto, primes = (last.upto, last.primes) if last else (0, 0)
    began = time.process_time()
    primes += work.count_primes(upto, upto + STRETCH)
    PrimeCount.objects.create(
        upto=upto + STRETCH, primes=primes, seconds=time.process_time() - began
    )
    return primes


@scheduled_job("interval", seconds=30, id="back-up-database")
def back_up_database() -> str:
    """Copy the database while it is in use; keep the last few copies."""
    moment = timezone.now()
    path = Path(settings.BACKUPS) / f"db-{moment:%Y%m%d-%H%M%S-%f}.sqlite3"
    source = Path(connection.settings_dict["NAME"])
    size = work.back_up(source, path)
    Backup.objects.create(path=str(path), size=size, time=moment)
    for old in Backup.objects.all()[settings.BACKUPS_KEPT :]:
        Path(old.path).unlink(missing_ok=True)
        old.delete()
    return str(path)


@scheduled_job("cron", second=40, id="clear-expired-sessions")
def clear_expired_sessions() -> int:
    """Delete the sessions of people who left; answer how many there were."""
    return Session.objects.filter(expire_date__lt=timezone.now()).delete()[0]


@scheduled_job("cron", second="*/15", id="import-exchange-rates", coalesce=True)
def import_exchange_rates() -> int:
    """
    Import the file that the supplier has on offer.

    One of the supplier's four files is malformed, so each fourth run fails.
    """
    run = current_run()
    path = work.rates_file(settings.RATES, run.run_time if run else timezone.now())
    return import_rates_from(path)


def import_rates_from(path: Path) -> int:
    """Replace the rates by those of a file, all or none; answer how many."""
    rates = work.read_rates(path)
    with transaction.atomic():
        for currency, rate in rates.items():
            ExchangeRate.objects.update_or_create(
                currency=currency,
                defaults={
                    "rate": rate,
                    "imported_time": timezone.now(),
                    "source": path.name,
                },
            )
    logger.info("%s rates imported from %s", len(rates), path.name)
    return len(rates)


@scheduled_job("cron", hour=3, minute=30, id="forget-old-readings")
def forget_old_readings() -> int:
    """Delete readings older than a week; answer how many there were."""
    limit = timezone.now() - timedelta(days=7)
    readings = HostReading.objects.filter(time__lt=limit).delete()[0]
    return readings + ResponseTime.objects.filter(time__lt=limit).delete()[0]


def build_report(report_id: int) -> None:
    """Write the report that a view ordered; it is scheduled there, for one date."""
    report = Report.objects.get(pk=report_id)
    path = Path(settings.REPORTS) / f"report-{report.pk}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["time", "disk free", "memory available"])
        rows = 0
        for reading in HostReading.objects.order_by("time").iterator():
            writer.writerow(
                [reading.time.isoformat(), reading.disk_free, reading.memory_available]
            )
            rows += 1
    report.path, report.rows, report.ready_time = str(path), rows, timezone.now()
    report.save()
    logger.info("report %s written, %s rows", report.pk, rows)
