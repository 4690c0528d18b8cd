"""
``settings.APSCHEDULER``: read when asked for, checked, and completed with defaults.

The dictionary is the guide's, nested or flat, with or without the ``apscheduler.``
prefix, mixed as you like::

    APSCHEDULER = {
        "executors": {"default": {"type": "threadpool", "max_workers": 20}},
        "apscheduler.job_defaults.coalesce": "false",
        "release": "2026-05-30",
    }

It configures ``runapscheduler``, ``get_scheduler()`` and the admin. Schedulers that you
make yourself take what you give them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver

from django_apscheduler import util

PREFIX = "apscheduler."

#: Seconds for which ``runapscheduler`` waits for running jobs before it gives up.
DRAIN_TIMEOUT_SECONDS = 30.0

JOBSTORES: dict[str, Any] = {"default": {"type": "django"}}

EXECUTORS: dict[str, Any] = {
    "default": {"type": "threadpool", "max_workers": 10},
    "processpool": {"type": "processpool", "max_workers": max(2, os.cpu_count() or 1)},
    "asyncio": {"type": "asyncio"},
}

#: Where the engine's own defaults (guide: coalesce off, one second of grace) would
#: surprise somebody whose jobs matter.
JOB_DEFAULTS: dict[str, Any] = {
    "coalesce": True,
    "max_instances": 1,
    "misfire_grace_time": 3600,
}

RETENTION: dict[str, Any] = {
    "days": 30,
    "rows": 10_000,
    "finished_job_days": 7,
    "rollup_days": 400,
}

#: What each key of the dictionary must be. The first group is the guide's.
KEYS: dict[str, str] = {
    "jobstores": "a dictionary of alias → options",
    "executors": "a dictionary of alias → options",
    "job_defaults": "a dictionary of options for new jobs",
    "timezone": "the name of a time zone or a tzinfo object",
    "jobstore_retry_interval": "a number of seconds, 0 or more",
    "logger": "the name of a logger, or a logger",
    "using": "an alias of DATABASES",
    "listen_using": "an alias of DATABASES",
    "release": "a text or number that grows with each deploy",
    "retention": "a dictionary with days, rows, finished_job_days and rollup_days",
    "drain_timeout": "a number of seconds, 0 or more",
    "allow_pickle": "true or false",
}

_GROUPS = ("jobstores", "executors", "job_defaults", "retention")


@dataclass(frozen=True, slots=True)
class Configuration:
    """
    The settings, completed with defaults.

    Not to be changed: it is the same object for all who ask.

    :ivar jobstores: alias → job store object, or options with ``type`` or ``class``
    :ivar executors: alias → executor object, or options with ``type`` or ``class``
    :ivar job_defaults: options for jobs that do not say otherwise
    :ivar timezone: for schedules that name none; Django's ``TIME_ZONE`` by default
    :ivar engine: the guide's other options, for ``configure()``
    :ivar using: database alias of the jobs; None leaves it to the database routers
    :ivar listen_using: database alias to listen on for changes; None for the same one
    :ivar release: what ``release`` says, as text; "" when it is not given
    :ivar retention: days and rows per job that the execution log keeps, days that a
        finished job stays, and days of the roll-ups; None in place of a number keeps
        everything
    :ivar drain_timeout: seconds that a stopping scheduler waits for running jobs
    :ivar allow_pickle: whether arguments that JSON cannot carry may be pickled
    """

    jobstores: dict[str, Any]
    executors: dict[str, Any]
    job_defaults: dict[str, Any]
    timezone: tzinfo
    engine: dict[str, Any] = field(default_factory=dict)
    using: str | None = None
    listen_using: str | None = None
    release: str = ""
    retention: dict[str, Any] = field(default_factory=lambda: dict(RETENTION))
    drain_timeout: float = DRAIN_TIMEOUT_SECONDS
    allow_pickle: bool = False

    def scheduler_options(self) -> dict[str, Any]:
        """Return fresh keyword arguments for a scheduler's ``configure()``."""
        return {
            "jobstores": copied(self.jobstores),
            "executors": copied(self.executors),
            "job_defaults": dict(self.job_defaults),
            "timezone": self.timezone,
            **self.engine,
        }


def copied(options: Mapping[str, Any]) -> dict[str, Any]:
    """Copy dictionaries of options; whatever else they hold stays the same object."""
    return {
        key: copied(value) if isinstance(value, Mapping) else value
        for key, value in options.items()
    }


def configuration() -> Configuration:
    """
    Return the present configuration.

    :raises ImproperlyConfigured: naming every fault in ``settings.APSCHEDULER``
    """
    found, faults = _read()
    if faults:
        raise ImproperlyConfigured(
            "settings.APSCHEDULER cannot be used: " + "; ".join(faults)
        )
    return found


def problems() -> list[str]:
    """Return the faults in ``settings.APSCHEDULER`` as sentences, for the checks."""
    return list(_read()[1])


def datetime_format() -> str:
    """Return ``APSCHEDULER_DATETIME_FORMAT``: how the admin writes run times."""
    return getattr(settings, "APSCHEDULER_DATETIME_FORMAT", "N j, Y, f:s a")


def run_now_timeout() -> float:
    """Return ``APSCHEDULER_RUN_NOW_TIMEOUT``: seconds the admin waits for a result."""
    return float(getattr(settings, "APSCHEDULER_RUN_NOW_TIMEOUT", 25))


def normalise(raw: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the dictionary nested and without prefixes, whatever way it was written.

    :raises ValueError: when an option is given in two places
    :raises TypeError: when a key is not text
    """
    nested: dict[str, Any] = {}
    for key, value in raw.items():
        if not isinstance(key, str):
            raise TypeError(f"keys must be text; got {key!r}")
        if key == PREFIX.rstrip(".") and isinstance(value, Mapping):
            for inner, option in normalise(value).items():
                _place(nested, [inner], option, f"{key}.{inner}")
            continue
        _place(nested, key.removeprefix(PREFIX).split("."), value, key)
    return nested


def _place(into: dict[str, Any], path: list[str], value: Any, key: str) -> None:
    *parents, last = path
    for parent in parents:
        inner = into.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise ValueError(f"{key!r} and {parent!r} contradict each other")  # noqa: TRY004
        into = inner
    if isinstance(value, Mapping):
        branch = into.setdefault(last, {})
        if not isinstance(branch, dict):
            raise ValueError(f"{key!r} is given twice")  # noqa: TRY004
        for inner_key, inner_value in value.items():
            _place(branch, [str(inner_key)], inner_value, f"{key}.{inner_key}")
    elif last in into:
        raise ValueError(f"{key!r} is given twice")
    else:
        into[last] = value


# The last answer, with what it was made from: job stores ask for each row they read.
_last: tuple[Any, str, Configuration, list[str]] | None = None


@receiver(setting_changed)
def _forget(**kwargs: Any) -> None:
    global _last
    _last = None


def _read() -> tuple[Configuration, list[str]]:
    global _last
    raw, zone = getattr(settings, "APSCHEDULER", None), settings.TIME_ZONE
    last = _last
    if last is None or last[0] is not raw or last[1] != zone:
        _last = last = (raw, zone, *_parse(raw))
    return last[2:]


def _parse(raw: Any) -> tuple[Configuration, list[str]]:
    faults: list[str] = []
    options: dict[str, Any] = {}
    if raw is not None and not isinstance(raw, Mapping):
        faults.append(f"it must be a dictionary; got {type(raw).__name__}")
    elif raw:
        try:
            options = normalise(raw)
        except (TypeError, ValueError) as error:
            faults.append(str(error))
    for key in sorted(set(options) - set(KEYS)):
        faults.append(f"unknown key {key!r}; known are {', '.join(KEYS)}")
    for key in _GROUPS:
        if key in options and not isinstance(options[key], dict):
            faults.append(_expected(key, options.pop(key)))
    found = Configuration(
        jobstores=_jobstores(options, faults),
        executors=_executors(options, faults),
        job_defaults=_job_defaults(options, faults),
        timezone=_timezone(options, faults),
        engine=_engine(options, faults),
        using=_database("using", options, faults),
        listen_using=_database("listen_using", options, faults),
        release=_release(options, faults),
        retention=_retention(options, faults),
        drain_timeout=_seconds("drain_timeout", options, faults, DRAIN_TIMEOUT_SECONDS),
        allow_pickle=_boolean("allow_pickle", options, faults),
    )
    return found, faults


def _expected(key: str, value: Any) -> str:
    return f"{key} must be {KEYS[key]}; got {value!r}"


def _jobstores(options: dict[str, Any], faults: list[str]) -> dict[str, Any]:
    stores = _plugins("jobstores", options, faults)
    stores = {**copied(JOBSTORES), **stores}
    for store in stores.values():
        # The database of the jobs is said once, for the admin and the stores alike.
        if isinstance(store, dict) and store.get("type") == "django":
            for key in ("using", "listen_using"):
                if options.get(key) is not None:
                    store.setdefault(key, options[key])
    return stores


def _executors(options: dict[str, Any], faults: list[str]) -> dict[str, Any]:
    if "executors" not in options:
        return copied(EXECUTORS)
    executors = _plugins("executors", options, faults)
    return {"default": dict(EXECUTORS["default"]), **executors}


def _plugins(group: str, options: dict[str, Any], faults: list[str]) -> dict[str, Any]:
    plugins = {}
    for alias, plugin in options.get(group, {}).items():
        if isinstance(plugin, str):
            # {"default": "threadpool"} is short for {"default": {"type": …}}.
            plugin = {"class" if ":" in plugin else "type": plugin}
        if isinstance(plugin, dict) and ("type" in plugin) == ("class" in plugin):
            faults.append(
                f"{group}.{alias} must have either 'type' (an alias) or 'class' "
                f"(a reference like 'module:Class'); got {plugin!r}"
            )
            continue
        plugins[alias] = plugin
    return plugins


def _job_defaults(options: dict[str, Any], faults: list[str]) -> dict[str, Any]:
    given = options.get("job_defaults", {})
    defaults = dict(JOB_DEFAULTS)
    for key, value in given.items():
        if key not in JOB_DEFAULTS:
            known = ", ".join(JOB_DEFAULTS)
            faults.append(f"unknown key 'job_defaults.{key}'; known are {known}")
            continue
        try:
            defaults[key] = _job_default(key, value)
        except (TypeError, ValueError) as error:
            faults.append(f"job_defaults.{key}: {error}")
    return defaults


def _job_default(key: str, value: Any) -> Any:
    if key == "coalesce":
        return util.asbool(value)
    if key == "misfire_grace_time" and value in (None, "None", "none"):
        return None
    number = int(value)
    if isinstance(value, bool) or number <= 0 or number != float(value):
        raise ValueError(f"expected a whole number greater than 0; got {value!r}")
    return number


def _timezone(options: dict[str, Any], faults: list[str]) -> tzinfo:
    value = options.get("timezone")
    try:
        zone = util.astimezone(value)
    except (TypeError, ValueError):
        faults.append(_expected("timezone", value))
        zone = None
    return zone or util.default_timezone()


def _engine(options: dict[str, Any], faults: list[str]) -> dict[str, Any]:
    engine: dict[str, Any] = {}
    if "jobstore_retry_interval" in options:
        engine["jobstore_retry_interval"] = _seconds(
            "jobstore_retry_interval", options, faults, 1.0
        )
    logger = options.get("logger")
    if isinstance(logger, (str, logging.Logger)):
        engine["logger"] = logger
    elif logger is not None:
        faults.append(_expected("logger", logger))
    return engine


def _seconds(
    key: str, options: dict[str, Any], faults: list[str], default: float
) -> float:
    value = options.get(key, default)
    try:
        seconds = float(value)
        if isinstance(value, bool) or not 0 <= seconds < float("inf"):
            raise ValueError(value)
    except (TypeError, ValueError):
        faults.append(_expected(key, value))
        return default
    return seconds


def _boolean(key: str, options: dict[str, Any], faults: list[str]) -> bool:
    value = options.get(key, False)
    try:
        return util.asbool(value)
    except ValueError:
        faults.append(_expected(key, value))
        return False


def _database(key: str, options: dict[str, Any], faults: list[str]) -> str | None:
    value = options.get(key)
    if value is not None and value not in settings.DATABASES:
        known = ", ".join(settings.DATABASES)
        faults.append(f"{_expected(key, value)}; known are {known}")
        return None
    return value


def _release(options: dict[str, Any], faults: list[str]) -> str:
    value = options.get("release", "")
    if not isinstance(value, (str, int, float)) or isinstance(value, bool):
        faults.append(_expected("release", value))
        return ""
    return str(value)


def _retention(options: dict[str, Any], faults: list[str]) -> dict[str, Any]:
    retention = dict(RETENTION)
    for key, value in options.get("retention", {}).items():
        if key not in RETENTION:
            faults.append(
                f"unknown key 'retention.{key}'; known are {', '.join(RETENTION)}"
            )
        elif value is not None and (not isinstance(value, int) or value < 0):
            faults.append(
                f"retention.{key} must be a whole number, 0 or more, or None to keep "
                f"everything; got {value!r}"
            )
        else:
            retention[key] = value
    return retention
