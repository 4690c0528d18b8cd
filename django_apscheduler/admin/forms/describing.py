"""The fields of a job in words, for the admin's log, conflicts and notes."""

from __future__ import annotations

import json
from typing import Any

from django.utils.translation import gettext, override

from django_apscheduler import serialization
from django_apscheduler.admin import words
from django_apscheduler.admin.forms import calls
from django_apscheduler.admin.triggers import schedules
from django_apscheduler.models import DjangoJob

#: Column -> its name in the admin's log. Untranslated: whoever reads it may have
#: another language than who wrote it. Those of arguments are known there as columns
#: whose values are not told.
LABELS = {
    "name": "Name",
    "func": "Callable",
    "args": "args",
    "kwargs": "kwargs",
    "trigger": "Schedule",
    "coalesce": "Coalesce",
    "misfire_grace_time": "Grace time",
    "max_instances": "Max instances",
    "executor": "Executor",
    "on_lost": "If its scheduler dies",
    "transactional": "Transactional",
}


def log_names(column: str) -> set[str]:
    """Return what lines of the admin's log may call a column."""
    with override(None):
        fields = DjangoJob._meta.concrete_fields
        verbose = {str(f.verbose_name) for f in fields if f.attname == column}
    return {column, LABELS[column], *verbose}


def value(column: str, stored: Any, func: str = "") -> str:
    """
    Return a column's stored value for people; secrets in arguments are hidden.

    :param func: the job's callable, whose parameters name its positional arguments
    """
    if column == "trigger":
        return trigger(stored)
    if column == "args":
        return _in_one_line(calls.shown_args(stored, func) or "[]")
    if column == "kwargs":
        return _in_one_line(calls.shown_kwargs(stored) or "{}")
    if isinstance(stored, bool):
        return gettext("yes") if stored else gettext("no")
    if column == "misfire_grace_time":
        if stored is None:
            return gettext("however late")
        return gettext("%(count)s s") % {"count": stored}
    return str(stored) if stored not in (None, "") else words.NOTHING


def _in_one_line(shown: str) -> str:
    try:
        return json.dumps(json.loads(shown), ensure_ascii=False)
    except ValueError:
        # It says that it cannot be read.
        return shown


def trigger(text: str) -> str:
    """Return a stored trigger in words, as declared where it is one of the project's."""
    try:
        if serialization.trigger_classes(text):
            return text
        loaded = serialization.load_trigger(text)
        return schedules.in_words(loaded)
    except Exception:
        # What cannot be read is told as it is stored.
        return text
