"""The Django app: what is hooked up when Django has loaded, which is little."""

from __future__ import annotations

from datetime import tzinfo

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

SET_UP_CHILD = "django_apscheduler.apps:set_up_child"


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
        from django_apscheduler import checks, connections, events, signals, util
        from django_apscheduler.executors import base, children

        util.set_default_timezone(default_timezone)
        base.add_run_hooks(connections.before_work, connections.after_work)
        if SET_UP_CHILD not in children.child_initializers:
            children.child_initializers.append(SET_UP_CHILD)
        events.add_hook(signals.send)
        checks.register_checks()


def set_up_child() -> None:
    """
    Set Django up in a child of a process pool, with the parent's settings.

    :raises django.core.exceptions.ImproperlyConfigured: when the parent's settings are
        not a module named by DJANGO_SETTINGS_MODULE
    """
    import django

    django.setup()


def default_timezone() -> tzinfo:
    """Return the zone of Django's ``TIME_ZONE``, read each time."""
    from django.utils import timezone

    return timezone.get_default_timezone()
