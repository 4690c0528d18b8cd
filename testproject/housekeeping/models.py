"""What the demo's jobs measure, count and make."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class HostReading(models.Model):
    """Disk and memory of this host at one moment, in bytes."""

    time = models.DateTimeField(default=timezone.now, db_index=True)
    disk_total = models.BigIntegerField()
    disk_free = models.BigIntegerField()
    memory_total = models.BigIntegerField(null=True, help_text="None where unknown.")
    memory_available = models.BigIntegerField(null=True)

    class Meta:
        ordering = ["-time"]

    def __str__(self) -> str:
        return f"{self.time:%Y-%m-%d %H:%M:%S}: {self.disk_free >> 20} MiB free"


class ResponseTime(models.Model):
    """How long the demo's own site took to answer."""

    time = models.DateTimeField(default=timezone.now, db_index=True)
    address = models.CharField(max_length=100)
    milliseconds = models.FloatField()

    class Meta:
        ordering = ["-time"]

    def __str__(self) -> str:
        return f"{self.address}: {self.milliseconds:.1f} ms"


class Backup(models.Model):
    """A copy of the database that was read back and found sound."""

    time = models.DateTimeField(default=timezone.now)
    path = models.CharField(max_length=500)
    size = models.BigIntegerField(help_text="In bytes.")

    class Meta:
        ordering = ["-time", "-pk"]

    def __str__(self) -> str:
        return self.path


class LogPosition(models.Model):
    """How far a log file has been read, so that each line is counted once."""

    path = models.CharField(max_length=500, unique=True)
    inode = models.BigIntegerField(help_text="Changes when the file is rotated.")
    offset = models.BigIntegerField(help_text="Bytes read.")

    def __str__(self) -> str:
        return f"{self.path}: {self.offset}"


class LogCount(models.Model):
    """Lines of one level in the log on one day."""

    day = models.DateField()
    level = models.CharField(max_length=10)
    lines = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["-day", "level"]
        constraints = [
            models.UniqueConstraint(fields=["day", "level"], name="one_count_per_day")
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.level}: {self.lines}"


class PrimeCount(models.Model):
    """How many primes there are up to a number, itself included."""

    upto = models.BigIntegerField(unique=True)
    primes = models.BigIntegerField()
    seconds = models.FloatField(help_text="Processor time of the last stretch.")

    class Meta:
        ordering = ["-upto"]

    def __str__(self) -> str:
        return f"{self.primes} primes up to {self.upto}"


class ExchangeRate(models.Model):
    """What one euro buys of a currency, as the supplier's last good file says."""

    currency = models.CharField(max_length=3, unique=True)
    rate = models.DecimalField(max_digits=14, decimal_places=6)
    imported_time = models.DateTimeField(default=timezone.now)
    source = models.CharField(max_length=100)

    class Meta:
        ordering = ["currency"]

    def __str__(self) -> str:
        return f"1 EUR = {self.rate} {self.currency}"


class Report(models.Model):
    """A report that somebody ordered, made by a job of its own a moment later."""

    ordered_time = models.DateTimeField(default=timezone.now)
    ready_time = models.DateTimeField(null=True, blank=True)
    path = models.CharField(max_length=500, blank=True)
    rows = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"Report {self.pk}"
