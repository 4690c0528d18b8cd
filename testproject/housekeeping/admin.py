"""The demo's own rows in the admin, to look at."""

from __future__ import annotations

from django.contrib import admin

from . import models


@admin.register(models.HostReading)
class HostReadingAdmin(admin.ModelAdmin):
    list_display = ["time", "disk_free", "memory_available"]


@admin.register(models.ResponseTime)
class ResponseTimeAdmin(admin.ModelAdmin):
    list_display = ["time", "address", "milliseconds"]


@admin.register(models.Backup)
class BackupAdmin(admin.ModelAdmin):
    list_display = ["time", "path", "size"]


@admin.register(models.LogCount)
class LogCountAdmin(admin.ModelAdmin):
    list_display = ["day", "level", "lines"]


@admin.register(models.PrimeCount)
class PrimeCountAdmin(admin.ModelAdmin):
    list_display = ["upto", "primes", "seconds"]


@admin.register(models.ExchangeRate)
class ExchangeRateAdmin(admin.ModelAdmin):
    list_display = ["currency", "rate", "source", "imported_time"]


@admin.register(models.Report)
class ReportAdmin(admin.ModelAdmin):
    list_display = ["__str__", "ordered_time", "ready_time", "rows"]
