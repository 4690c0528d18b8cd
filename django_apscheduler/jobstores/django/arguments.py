"""Model instances as arguments: kept by primary key, loaded just before the body."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.db import DEFAULT_DB_ALIAS
from django.db.models import Model

from django_apscheduler.serialization import SerializationError, register


def dump_instance(instance: Model) -> dict[str, Any]:
    """
    Return what identifies a model instance.

    :raises SerializationError: when it has not been saved
    """
    # Through _meta, because a SimpleLazyObject such as request.user is not its type.
    options = instance._meta
    if instance.pk is None:
        raise SerializationError(
            f"the {options.label} has not been saved, so it has no primary key to be "
            "found again by; save it first"
        )
    identity = {
        "model": options.label_lower,
        "pk": options.pk.value_to_string(instance),
    }
    database = instance._state.db
    if database not in (None, DEFAULT_DB_ALIAS):
        identity["database"] = database
    return identity


def load_instance(identity: dict[str, Any]) -> Model:
    """
    Return the instance that `dump_instance` described.

    :raises LookupError: when there is no such model or row
    """
    model: Any = apps.get_model(identity["model"])
    rows = model._base_manager.using(identity.get("database"))
    try:
        return rows.get(pk=identity["pk"])
    except model.DoesNotExist:
        raise LookupError(
            f"the {model._meta.label} with primary key {identity['pk']!r}, which is an "
            "argument of this job, does not exist any more"
        ) from None


register(Model, "model", dump_instance, f"{__name__}:load_instance")
