"""Job stores: where jobs wait for their time."""

from typing import Any

#: Plugin alias → reference of the class.
JOBSTORES = {
    "memory": "django_apscheduler.jobstores.memory:MemoryJobStore",
    "django": "django_apscheduler.jobstores.django:DjangoJobStore",
}


def __getattr__(name: str) -> Any:
    # The store of the Django models is loaded only when asked for: the engine works
    # without Django, and this package is imported before models may be.
    if name == "DjangoJobStore":
        from django_apscheduler.jobstores.django import DjangoJobStore

        return DjangoJobStore
    if name == "register_job":
        # Where the earlier django-apscheduler had it.
        from django_apscheduler.registry import register_job

        return register_job
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
