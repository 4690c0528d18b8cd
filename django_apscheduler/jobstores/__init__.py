"""Job stores: where jobs wait for their time."""

from typing import Any

from django_apscheduler.util import ref_to_obj

#: Plugin alias → reference of the class.
JOBSTORES = {
    "memory": "django_apscheduler.jobstores.memory:MemoryJobStore",
    "django": "django_apscheduler.jobstores.django:DjangoJobStore",
    "sqlalchemy": "django_apscheduler.jobstores.sqlalchemy:SQLAlchemyJobStore",
    "mongodb": "django_apscheduler.jobstores.mongodb:MongoDBJobStore",
    "redis": "django_apscheduler.jobstores.redis:RedisJobStore",
}


#: Names of the Django layer that the earlier django-apscheduler had here.
_DJANGO_NAMES = {
    "DjangoJobStore": "django_apscheduler.jobstores.django:DjangoJobStore",
    "register_job": "django_apscheduler.registry:register_job",
}


def __getattr__(name: str) -> Any:
    # Loaded only when asked for: the engine works without Django, and this package is
    # imported before models may be.
    if name in _DJANGO_NAMES:
        return ref_to_obj(_DJANGO_NAMES[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
