"""Plugin aliases: from ``"cron"`` to ``CronTrigger``."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any

from django_apscheduler.executors import EXECUTORS
from django_apscheduler.jobstores import JOBSTORES
from django_apscheduler.triggers import TRIGGERS
from django_apscheduler.util import ref_to_obj

_BUILT_IN = {"triggers": TRIGGERS, "jobstores": JOBSTORES, "executors": EXECUTORS}
_WHAT = {"triggers": "trigger", "jobstores": "job store", "executors": "executor"}


def load_plugin(kind: str, alias: str) -> Any:
    """
    Return the class that ``alias`` stands for.

    Built-in aliases first, then the installed packages' entry points in the group
    ``django_apscheduler.<kind>``.

    :param kind: "triggers", "jobstores" or "executors"
    :raises LookupError: when the alias is unknown or a package it needs is missing
    """
    reference = _BUILT_IN[kind].get(alias)
    if reference is not None:
        return _built_in(reference)
    third_party = _entry_points(kind)
    if alias in third_party:
        return third_party[alias].load()
    known = ", ".join(sorted({*_BUILT_IN[kind], *third_party}))
    raise LookupError(
        f'No {_WHAT[kind]} by the name "{alias}" was found; expected one of {known}, '
        f"or a reference like 'module:Class'"
    )


# Asked for each job that is added; what is missing is not remembered.
_built_in = lru_cache(ref_to_obj)


@lru_cache
def _entry_points(kind: str) -> dict[str, Any]:
    group = f"django_apscheduler.{kind}"
    return {point.name: point for point in entry_points(group=group)}


def make_plugin(kind: str, alias_or_ref: str, options: dict[str, Any]) -> Any:
    """Return an instance of the class that an alias or ``module:Class`` names."""
    if ":" in alias_or_ref:
        cls = ref_to_obj(alias_or_ref)
    else:
        cls = load_plugin(kind, alias_or_ref)
    try:
        return cls(**options)
    except TypeError as error:
        raise TypeError(
            f'{_WHAT[kind]} "{alias_or_ref}" cannot be made with the options '
            f"{options!r}: {error}"
        ) from error
