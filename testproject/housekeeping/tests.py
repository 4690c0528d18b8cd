"""The demo's own tests: each job function, called directly, on real input."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import tempfile
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import connection
from django.test import SimpleTestCase, TestCase, TransactionTestCase, override_settings
from django.urls import reverse

from django_apscheduler.models import DjangoJob, DjangoJobExecution

from . import jobs, work
from .models import (
    Backup,
    ExchangeRate,
    HostReading,
    LogCount,
    PrimeCount,
    Report,
    ResponseTime,
)


class FolderMixin:
    """A folder of the test's own."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(tempfile.mkdtemp(prefix="housekeeping-"))
        self.addCleanup(shutil.rmtree, self.folder)


class WorkTests(FolderMixin, SimpleTestCase):
    def test_counts_primes_like_the_tables_say(self) -> None:
        # OEIS A006880: the number of primes below 10^n.
        for upto, primes in [(10, 4), (100, 25), (1000, 168), (10**6, 78498)]:
            with self.subTest(upto=upto):
                self.assertEqual(work.count_primes(0, upto), primes)
        self.assertEqual(work.count_primes(9 * 10**6, 10**7), 664579 - 602489)

    def test_a_stretch_begins_behind_its_first_number(self) -> None:
        self.assertEqual(work.count_primes(7, 13), 2)
        self.assertEqual(work.count_primes(13, 13), 0)

    def test_memory_is_read_in_bytes(self) -> None:
        meminfo = self.folder / "meminfo"
        meminfo.write_text("MemTotal:  2048 kB\nMemFree: 1 kB\nMemAvailable:  512 kB\n")
        self.assertEqual(work.measure_memory(meminfo), (2097152, 524288))
        self.assertIsNone(work.measure_memory(self.folder / "absent"))

    def test_a_line_still_being_written_is_left_for_the_next_time(self) -> None:
        log = self.folder / "log"
        whole = "2026-05-30 10:00:00,123 INFO web started\nTraceback:\n"
        log.write_text(whole + "2026-05-30 10:00:01,0")
        counts, offset = work.count_lines(log, 0)
        self.assertEqual(counts, {(date(2026, 5, 30), "INFO"): 1})
        self.assertEqual(offset, len(whole))

    def test_the_suppliers_files_follow_each_other_every_15_seconds(self) -> None:
        noon = datetime(2026, 5, 30, 12, tzinfo=timezone.utc)
        names = [
            work.rates_file(settings.RATES, noon + timedelta(seconds=second)).name
            for second in (0, 14, 15, 30, 45, 60)
        ]
        first = names.index("1-morning.csv")
        self.assertEqual(names[0], names[1])
        self.assertEqual(names[0], names[5])
        self.assertEqual(len(set(names)), 4, first)

    def test_a_malformed_rate_is_reported_with_its_file_and_line(self) -> None:
        with self.assertRaisesMessage(
            work.RatesError,
            "3-afternoon.csv, line 4: the rate of CHF must be a number such as 1.0845; "
            "got 'n/a'",
        ):
            work.read_rates(settings.RATES / "3-afternoon.csv")


class JobTests(FolderMixin, TestCase):
    def test_measuring_notes_disk_and_memory_of_this_host(self) -> None:
        jobs.measure()
        reading = HostReading.objects.get()
        self.assertEqual(reading.disk_total, shutil.disk_usage(settings.VAR).total)
        self.assertLessEqual(reading.disk_free, reading.disk_total)
        if os.path.exists("/proc/meminfo"):
            self.assertGreater(reading.memory_total, reading.memory_available)

    def test_the_log_is_counted_once_even_when_read_twice(self) -> None:
        log = self.folder / "demo.log"
        with override_settings(LOG_FILE=log):
            self.assertEqual(jobs.digest_log(), 0)
            log.write_text(
                "2026-05-30 10:00:00,123 INFO web one\n"
                "2026-05-30 10:00:00,123 ERROR web two\n"
                "2026-05-31 10:00:00,123 INFO web three\n"
            )
            self.assertEqual(jobs.digest_log(), 3)
            with log.open("a") as file:
                file.write("2026-05-31 11:00:00,123 INFO web four\n")
            self.assertEqual(jobs.digest_log(), 1)
            self.assertEqual(jobs.digest_log(), 0)
        self.assertEqual(
            set(LogCount.objects.values_list("day", "level", "lines")),
            {
                (date(2026, 5, 30), "INFO", 1),
                (date(2026, 5, 30), "ERROR", 1),
                (date(2026, 5, 31), "INFO", 2),
            },
        )

    def test_a_rotated_log_is_read_from_its_beginning(self) -> None:
        log = self.folder / "demo.log"
        with override_settings(LOG_FILE=log):
            log.write_text("2026-05-30 10:00:00,123 INFO web one\n" * 3)
            jobs.digest_log()
            log.rename(self.folder / "demo.log.1")
            log.write_text("2026-05-30 10:00:00,123 INFO web one\n" * 5)
            self.assertEqual(jobs.digest_log(), 5)
        self.assertEqual(LogCount.objects.get().lines, 8)

    def test_each_run_goes_on_where_the_last_one_ended(self) -> None:
        self.assertEqual(jobs.count_primes(), 1270607)
        self.assertEqual(jobs.count_primes(), 2433654)
        self.assertEqual(
            list(PrimeCount.objects.values_list("upto", "primes")),
            [(40_000_000, 2433654), (20_000_000, 1270607)],
        )

    def test_only_expired_sessions_are_cleared(self) -> None:
        for age in (-60, 60):
            session = SessionStore()
            session.set_expiry(datetime.now(timezone.utc) + timedelta(seconds=age))
            session.save()
        self.assertEqual(jobs.clear_expired_sessions(), 1)
        self.assertGreater(
            Session.objects.get().expire_date, datetime.now(timezone.utc)
        )

    def test_rates_are_replaced_by_those_of_the_next_file(self) -> None:
        self.assertEqual(jobs.import_rates_from(settings.RATES / "1-morning.csv"), 5)
        self.assertEqual(jobs.import_rates_from(settings.RATES / "2-noon.csv"), 5)
        dollar = ExchangeRate.objects.get(currency="USD")
        self.assertEqual(
            (dollar.rate, dollar.source), (Decimal("1.0861"), "2-noon.csv")
        )

    def test_a_malformed_file_leaves_the_last_good_rates(self) -> None:
        jobs.import_rates_from(settings.RATES / "2-noon.csv")
        with self.assertRaises(work.RatesError):
            jobs.import_rates_from(settings.RATES / "3-afternoon.csv")
        sources = ExchangeRate.objects.values_list("source", flat=True)
        self.assertEqual(set(sources), {"2-noon.csv"})

    def test_readings_are_forgotten_after_a_week(self) -> None:
        now = datetime.now(timezone.utc)
        for days in (6, 8):
            HostReading.objects.create(
                time=now - timedelta(days=days), disk_total=1, disk_free=1
            )
            ResponseTime.objects.create(
                time=now - timedelta(days=days), address="x", milliseconds=1
            )
        self.assertEqual(jobs.forget_old_readings(), 2)
        self.assertEqual(HostReading.objects.count(), 1)

    def test_a_report_lists_the_readings_so_far(self) -> None:
        jobs.measure()
        jobs.measure()
        report = Report.objects.create()
        with override_settings(REPORTS=self.folder):
            jobs.build_report(report.pk)
        report.refresh_from_db()
        lines = Path(report.path).read_text().splitlines()
        self.assertEqual((report.rows, len(lines)), (2, 3))
        self.assertEqual(lines[0], "time,disk free,memory available")
        self.assertIsNotNone(report.ready_time)


class BackupTests(FolderMixin, TransactionTestCase):
    def test_the_copy_holds_what_the_database_holds_and_old_copies_go(self) -> None:
        with override_settings(BACKUPS=self.folder, BACKUPS_KEPT=2):
            jobs.measure()
            paths = [jobs.back_up_database() for _ in range(3)]
        self.assertEqual(
            sorted(str(path) for path in self.folder.iterdir()), sorted(paths[1:])
        )
        self.assertEqual(Backup.objects.count(), 2)
        copy = sqlite3.connect(paths[-1])
        self.addCleanup(copy.close)
        table = HostReading._meta.db_table
        self.assertEqual(copy.execute(f"SELECT count(*) FROM {table}").fetchone(), (1,))


class ResponseTimeTests(TransactionTestCase):
    async def serve(self, status: str) -> None:
        async def answer(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(f"HTTP/1.0 {status}\r\n\r\nhello".encode())
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            with override_settings(SITE_ADDRESS=f"127.0.0.1:{port}"):
                await jobs.measure_response_time()

    async def test_an_answer_is_timed(self) -> None:
        await self.serve("200 OK")
        timed = await ResponseTime.objects.aget()
        self.assertGreater(timed.milliseconds, 0)

    async def test_a_site_that_answers_with_an_error_fails_the_job(self) -> None:
        with self.assertRaisesMessage(ConnectionError, "500 Broken"):
            await self.serve("500 Broken")
        self.assertEqual(await ResponseTime.objects.acount(), 0)


class ViewTests(TransactionTestCase):
    def test_the_front_page_shows_what_jobs_have_done(self) -> None:
        self.assertContains(self.client.get("/"), "None imported yet")
        jobs.import_rates_from(settings.RATES / "1-morning.csv")
        DjangoJobExecution.objects.create(
            job_name="Count", status="Executed", run_time=datetime.now(timezone.utc)
        )
        response = self.client.get("/")
        self.assertContains(response, "USD 1.0845")
        self.assertContains(response, "<td>Executed</td>")

    def test_ordering_a_report_schedules_its_job_for_one_date(self) -> None:
        response = self.client.post(reverse("order-report"))
        self.assertRedirects(response, "/")
        report = Report.objects.get()
        job = DjangoJob.objects.get()
        self.assertEqual(job.id, f"report-{report.pk}")
        self.assertGreater(job.next_run_time, report.ordered_time)
        self.assertEqual(
            self.client.get(reverse("download-report", args=[report.pk])).status_code,
            404,
        )

    def test_an_order_that_is_rolled_back_leaves_no_job(self) -> None:
        Report.objects.create(pk=1)
        # The next report gets the id of this job: adding it a second time is refused.
        self.client.post(reverse("order-report"))
        taken = DjangoJob.objects.get().id
        Report.objects.filter(pk=2).delete()
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE sqlite_sequence SET seq = 1 WHERE name LIKE '%report'"
            )
        self.client.raise_request_exception = False
        self.assertEqual(self.client.post(reverse("order-report")).status_code, 500)
        self.assertEqual([job.id for job in DjangoJob.objects.all()], [taken])
        self.assertEqual([report.pk for report in Report.objects.all()], [1])


class ProjectTests(TestCase):
    def test_models_and_migrations_agree(self) -> None:
        call_command("makemigrations", check=True, dry_run=True, verbosity=0)
        self.assertEqual(LogCount.objects.count(), 0)
