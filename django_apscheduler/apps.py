"""The Django app: what is hooked up when Django has loaded, which is little."""

from __future__ import annotations

from datetime import tzinfo

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DjangoApschedulerConfig(AppConfig):
    """
    Ties the engine to Django.

    Runs no query and starts nothing: it also loads for ``migrate``, in every web worker
    and in every child of a process pool.
    """

    name = "django_apscheduler"
    verbose_name = _("Scheduled jobs")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django_apscheduler import util

        util.set_default_timezone(default_timezone)


def default_timezone() -> tzinfo:
    """Return the zone of Django's ``TIME_ZONE``, read each time."""
    from django.utils import timezone

    return timezone.get_default_timezone()
