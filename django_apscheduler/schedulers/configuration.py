"""From a configuration dictionary, flat or nested, to what a scheduler needs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any

from django_apscheduler.schedulers.plugins import make_plugin
from django_apscheduler.util import asbool, asint, astimezone, ref_to_obj

#: What a job gets for options that neither it nor ``job_defaults`` names.
JOB_DEFAULTS = {"misfire_grace_time": 1, "coalesce": True, "max_instances": 1}

#: The longest pause, in seconds, before a failed job store is asked again.
RETRY_INTERVAL = 1.0


@dataclass
class Configuration:
    """The options of a scheduler, checked and made."""

    logger: logging.Logger
    timezone: tzinfo | None = None
    jobstore_retry_interval: float = RETRY_INTERVAL
    job_defaults: dict[str, Any] = field(default_factory=lambda: dict(JOB_DEFAULTS))
    executors: dict[str, Any] = field(default_factory=dict)
    jobstores: dict[str, Any] = field(default_factory=dict)
    rest: dict[str, Any] = field(default_factory=dict)


def nest(
    config: Mapping[str, Any], prefix: str | None, options: Mapping[str, Any]
) -> dict[str, Any]:
    """
    Return ``config`` with dotted keys made nested dictionaries and the prefix dropped.

    ``{"apscheduler.executors.default.type": "debug"}`` becomes
    ``{"executors": {"default": {"type": "debug"}}}``. Keys that lack a given prefix
    belong to somebody else and are left out; ``options`` come on top.
    """
    nested: dict[str, Any] = {}
    for key, value in config.items():
        if prefix:
            if not key.startswith(prefix):
                continue
            key = key[len(prefix) :]
        target = nested
        *path, last = key.split(".")
        for part in path:
            target = target.setdefault(part, {})
            if not isinstance(target, dict):
                raise TypeError(
                    f"{key!r} needs {part!r} to be a dictionary; got {target!r}"
                )
        if isinstance(value, Mapping) and isinstance(target.get(last), dict):
            target[last].update(value)
        else:
            target[last] = dict(value) if isinstance(value, Mapping) else value
    nested.update(options)
    return nested


def read(config: dict[str, Any]) -> Configuration:
    """
    Return the configuration that a nested dictionary describes.

    :raises TypeError: for values of the wrong kind
    :raises ValueError: for text that says none of what is expected
    :raises LookupError: for unknown aliases and references
    """
    config = dict(config)
    logger = config.pop("logger", None) or "django_apscheduler.scheduler"
    if isinstance(logger, str):
        logger = ref_to_obj(logger) if ":" in logger else logging.getLogger(logger)
    result = Configuration(logger)
    result.timezone = astimezone(config.pop("timezone", None))
    result.jobstore_retry_interval = float(
        config.pop("jobstore_retry_interval", RETRY_INTERVAL)
    )
    result.job_defaults = _job_defaults(config.pop("job_defaults", None))
    result.executors = _components("executors", config.pop("executors", None))
    result.jobstores = _components("jobstores", config.pop("jobstores", None))
    result.rest = config
    return result


def _job_defaults(given: Any) -> dict[str, Any]:
    if given is None:
        given = {}
    if not isinstance(given, Mapping):
        raise TypeError(f"job_defaults must be a dictionary; got {given!r}")
    given = dict(given)
    defaults: dict[str, Any] = dict(JOB_DEFAULTS)
    try:
        if "misfire_grace_time" in given:
            grace = given.pop("misfire_grace_time")
            if isinstance(grace, str) and grace.strip().lower() == "none":
                grace = None
            defaults["misfire_grace_time"] = asint(grace)
        if "coalesce" in given:
            defaults["coalesce"] = asbool(given.pop("coalesce"))
        if "max_instances" in given:
            defaults["max_instances"] = asint(given.pop("max_instances"))
    except (TypeError, ValueError) as error:
        raise ValueError(f"job_defaults cannot be understood: {error}") from None
    if given:
        raise ValueError(
            "job_defaults may have misfire_grace_time, coalesce and max_instances; "
            f"got {', '.join(sorted(map(str, given)))}"
        )
    return defaults


def _components(kind: str, given: Any) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise TypeError(
            f"{kind} must be a dictionary of alias and {kind[:-1]}; got {given!r}"
        )
    return {alias: make_component(kind, alias, value) for alias, value in given.items()}


def make_component(kind: str, alias: str, value: Any) -> Any:
    """
    Return the executor or job store that a configuration value describes.

    :param value: an instance, an alias, or a dictionary with ``type`` (an alias) or
        ``class`` (``module:Class``) and the options of its constructor
    """
    if isinstance(value, str):
        return make_plugin(kind, value, {})
    if not isinstance(value, Mapping):
        base = "submit_job" if kind == "executors" else "add_job"
        if callable(getattr(value, base, None)) and not isinstance(value, type):
            return value
        raise TypeError(
            f"Expected an instance, a plugin alias or a dictionary for {kind}[{alias!r}]; "
            f"got {value!r}"
        )
    options = dict(value)
    plugin = options.pop("type", None)
    reference = options.pop("class", None)
    if bool(plugin) == bool(reference):
        raise ValueError(
            f'Cannot create {kind[:-1]} "{alias}" -- give either "type" (a plugin '
            f'alias) or "class" (module:Class); got {dict(value)!r}'
        )
    if isinstance(reference, type):
        return reference(**options)
    return make_plugin(kind, plugin or reference, options)
