"""The job store in Django's database, which any number of schedulers share."""

from typing import Any


def __getattr__(name: str) -> Any:
    # Importing this package must not import models: apps may not have loaded yet.
    if name == "DjangoJobStore":
        from django_apscheduler.jobstores.django.store import DjangoJobStore

        return DjangoJobStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
