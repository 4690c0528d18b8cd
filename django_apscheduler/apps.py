"""The Django app: what is hooked up when Django has loaded, which is little."""

from __future__ import annotations

import logging
import os
import sys
from datetime import tzinfo
from typing import Any

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

logger = logging.getLogger(__name__)

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
        from django_apscheduler.jobstores import signing
        from django_apscheduler.jobstores.django import (
            arguments,  # noqa: F401 (teaches the serialiser model instances)
        )
        from django_apscheduler.jobstores.django.signing import keys

        util.set_default_timezone(default_timezone)
        signing.set_default_keys(keys)
        base.add_run_hooks(
            connections.before_work, connections.after_work, connections.end_worker
        )
        if SET_UP_CHILD not in children.child_initializers:
            children.child_initializers.append(SET_UP_CHILD)
        events.add_hook(signals.send)
        signals.scheduler_started.connect(
            warn_of_reloader, dispatch_uid="django_apscheduler.apps"
        )
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


def warn_of_reloader(**kwargs: Any) -> None:
    """Log that a scheduler has been started in the parent of Django's autoreloader."""
    if not in_reloader_parent():
        return
    logger.warning(
        "This process (%d) is the parent of runserver's autoreloader, whose child runs "
        "the same code: the scheduler that was started here is started a second time "
        "there, and a job store that is not shared runs every job twice. Start it in "
        "wsgi.py, which only the child imports, or use `runserver --noreload`",
        os.getpid(),
    )


def in_reloader_parent() -> bool:
    """Tell whether this process only starts ``runserver`` again when code changes."""
    return (
        sys.argv[1:2] == ["runserver"]
        and "--noreload" not in sys.argv
        and os.environ.get("RUN_MAIN") != "true"
    )
