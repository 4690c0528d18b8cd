"""
The admin's own log: who did what to which job, by the admin or the command line.

Whatever staff change leaves one `LogEntry` per object and operation, which the *History*
of an object and the *Recent actions* of the admin show. Where ``django.contrib.admin`` is
not installed nothing is written. Arguments of jobs are never written here: whoever may
open a job's history need not have the permission to see them.
"""

from __future__ import annotations

import getpass
import json
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import DatabaseError, models, router, transaction

from django_apscheduler.models import SchedulerControl

#: As in Django's `LogEntry.action_flag`.
ADDED, CHANGED, DELETED = 1, 2, 3

#: The user in whose name the command line acts when nobody else is found.
COMMAND_LINE_USER = "apscheduler command line"

#: Characters of a value that a message shows.
VALUE_LENGTH = 120
#: Columns whose values are not shown.
REDACTED = frozenset({"args", "kwargs"})

logger = logging.getLogger(__name__)


class UnknownUser(ValueError):
    """Raised when there is no user of the name that the command line was given."""


def is_kept() -> bool:
    """Tell whether there is a log to write to."""
    return apps.is_installed("django.contrib.admin")


def log(
    user_id: Any,
    objects: Sequence[models.Model],
    flag: int = CHANGED,
    message: str | Sequence[str] = "",
) -> None:
    """
    Write one line per object, in one statement.

    :param user_id: primary key of who did it
    :param objects: of one model
    :param flag: `ADDED`, `CHANGED` or `DELETED`
    :param message: plain text or what `changed` returns, one for all or one per object
    """
    if not objects or not is_kept():
        return
    # Not at the top: without the admin there is no such table.
    from django.contrib.admin.models import LogEntry
    from django.contrib.contenttypes.models import ContentType

    messages = [message] * len(objects) if isinstance(message, str) else message
    content_type = ContentType.objects.get_for_model(objects[0])
    LogEntry.objects.using(router.db_for_write(LogEntry)).bulk_create(
        LogEntry(
            user_id=user_id,
            content_type_id=content_type.pk,
            object_id=str(each.pk),
            object_repr=_shown(each)[:200],
            action_flag=flag,
            change_message=text,
        )
        for each, text in zip(objects, messages, strict=True)
    )


def changed(changes: Iterable[tuple[str, Any, Any]]) -> str:
    """
    Return a message that tells fields before and after, worded by Django when shown.

    :param changes: name of the field for people, old value, new value; the values of
        arguments are left out
    """
    fields = [_change(*change) for change in changes]
    return json.dumps([{"changed": {"fields": fields}}]) if fields else "[]"


def log_command(
    user_id: Any,
    objects: Sequence[models.Model],
    message: str | Sequence[str],
    flag: int = CHANGED,
) -> None:
    """
    Write what a command did; as `log`, unless there is nobody to name as its author.

    :param user_id: as `command_user` returns it
    """
    if user_id is not None:
        log(user_id, objects, flag, message)


def command_user(name: str | None = None) -> Any:
    """
    Return the primary key of the user in whose name a command acts.

    That is the named one, else the one named like the operating system's account, else
    an inactive one without password, made on demand. None where nothing is logged.

    :raises UnknownUser: when there is nobody of the given name
    """
    if not is_kept():
        return None
    model = get_user_model()
    if name is not None:
        user = _find(model, name)
        if user is None:
            raise UnknownUser(
                f"there is no user {name!r}; --user expects the "
                f"{model.USERNAME_FIELD} of a user of this project"
            )
        return user.pk
    account = os_account()
    user = (_find(model, account) if account else None) or _find(
        model, COMMAND_LINE_USER
    )
    return _made(model) if user is None else user.pk


def os_account() -> str:
    """Return the name of the operating system's account, "" where it has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container's user need not have a name.
        return ""


def _find(model: Any, name: str) -> Any:
    return model._default_manager.filter(**{model.USERNAME_FIELD: name}).first()


def _made(model: Any) -> Any:
    """Make the command line's user; None where a user needs more than a name."""
    user = model(**{model.USERNAME_FIELD: COMMAND_LINE_USER})
    user.is_active = False
    user.set_unusable_password()
    try:
        with transaction.atomic(using=router.db_for_write(model)):
            user.save()
    except (DatabaseError, ValueError, TypeError) as error:
        # Another command may have made it at this very moment.
        user = _find(model, COMMAND_LINE_USER)
        if user is None:
            logger.warning(
                "The admin's log has no line of this command, since no user %r could "
                "be made (%s); name one by --user",
                COMMAND_LINE_USER,
                error,
            )
            return None
    return user.pk


def _change(name: str, old: Any, new: Any) -> str:
    if name.lower() in REDACTED:
        return name
    return f"{name} ({_cut(old)} → {_cut(new)})"


def _cut(value: Any) -> str:
    text = "–" if value in (None, "") else str(value)
    return text if len(text) <= VALUE_LENGTH else f"{text[: VALUE_LENGTH - 1]}…"


def _shown(each: models.Model) -> str:
    # Its own text is its state, which says nothing of what was done.
    return "all jobs" if isinstance(each, SchedulerControl) else str(each)
