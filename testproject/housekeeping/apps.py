from __future__ import annotations

from django.apps import AppConfig


class HousekeepingConfig(AppConfig):
    name = "testproject.housekeeping"
    verbose_name = "Housekeeping"
