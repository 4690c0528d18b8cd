"""Triggers: when jobs run."""

from __future__ import annotations

#: where the built-in triggers are, by the names that ``add_job(trigger=...)`` knows
TRIGGERS = {
    "date": "django_apscheduler.triggers.date:DateTrigger",
    "interval": "django_apscheduler.triggers.interval:IntervalTrigger",
    "cron": "django_apscheduler.triggers.cron:CronTrigger",
    "calendarinterval": (
        "django_apscheduler.triggers.calendarinterval:CalendarIntervalTrigger"
    ),
    "and": "django_apscheduler.triggers.combining:AndTrigger",
    "or": "django_apscheduler.triggers.combining:OrTrigger",
}
