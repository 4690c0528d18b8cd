"""Settings of a project with two databases, local times and a router."""

from __future__ import annotations

import os

from tests.settings import *  # noqa: F403

FOLDER = os.environ["ELSEWHERE"]
DATABASES = {
    alias: {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": f"{FOLDER}/{alias}.sqlite3",
        "OPTIONS": {"timeout": 20},
    }
    for alias in ("default", "jobs")
}
DATABASE_ROUTERS = ["tests.jobstores.django.elsewhere.Router"]
USE_TZ = False
TIME_ZONE = "Europe/Berlin"


class Router:
    """Keeps jobs in a database of their own."""

    def db_for_read(self, model, **hints):
        """Read jobs from "jobs"."""
        return "jobs" if model._meta.app_label == "django_apscheduler" else None

    db_for_write = db_for_read

    def allow_migrate(self, db, app_label, **hints):
        """Have the tables of jobs in "jobs" only."""
        return (db == "jobs") == (app_label == "django_apscheduler")
