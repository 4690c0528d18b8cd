"""
Schedule jobs in Django: APScheduler's user guide, kept in Django's database.

The names below load on first use, so that the engine (triggers, executors, job stores,
schedulers) can be imported where Django is not configured, or not installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "1.0.0"

_HOMES = {
    "RunCancelled": "django_apscheduler.executors.base",
    "current_run": "django_apscheduler.executors.base",
    "get_scheduler": "django_apscheduler.registry",
    "register_job": "django_apscheduler.registry",
    "scheduled_job": "django_apscheduler.registry",
}

__all__ = [  # noqa: PLE0604 (loaded by __getattr__)
    "RunCancelled",
    "__version__",
    "current_run",
    "get_scheduler",
    "register_job",
    "scheduled_job",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
