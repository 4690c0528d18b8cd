"""
Two who edit one job: what each changed is merged, and only a true conflict is asked about.

The form carries, signed, what the job was when the form was shown: its trigger and a
digest of each column. What a scheduler writes while it claims runs is not among them, so
a job that runs each second can be edited in peace.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core import signing
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext

from django_apscheduler import clock
from django_apscheduler.admin import words
from django_apscheduler.models import DjangoJob
from django_apscheduler.serialization import SerializationError, trigger_classes

SALT = "django_apscheduler.admin.forms.conflicts"

#: Columns that forms change.
COLUMNS = (
    "name",
    "func",
    "args",
    "kwargs",
    "trigger",
    "coalesce",
    "misfire_grace_time",
    "max_instances",
    "executor",
    "on_lost",
    "transactional",
)
#: Lines of the admin's log that are searched for who changed what.
SEARCHED_LINES = 50


@dataclass(frozen=True)
class Base:
    """
    What a job was when a form for it was shown.

    :ivar moment: when that was
    :ivar trigger: its trigger as stored; "" when it has one of the project's own classes
    :ivar digests: column -> digest of its value; of arguments as they are shown, too
    """

    job_id: str
    revision: int
    moment: datetime
    trigger: str
    digests: dict[str, str] = field(default_factory=dict)

    def dump(self) -> str:
        """Return it signed, for a hidden field."""
        told = [
            self.job_id,
            self.revision,
            self.moment.isoformat(),
            self.trigger,
            self.digests,
        ]
        return signing.dumps(told, salt=SALT, compress=True)


def digest(value: Any) -> str:
    """
    Return a short text that tells values apart and does not tell them.

    Keyed, as the values may be secrets that somebody might guess.
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return salted_hmac(SALT, text, algorithm="sha256").hexdigest()[:20]


def base_of(job: DjangoJob, shown: dict[str, str]) -> Base:
    """
    Return what a job is now.

    :param shown: the texts of its arguments as the form shows them, by column
    """
    digests = {name: digest(getattr(job, name)) for name in COLUMNS}
    digests.update({f"shown_{name}": digest(text) for name, text in shown.items()})
    return Base(job.pk, job.revision, clock.now(), loadable(job.trigger), digests)


def loadable(trigger: str) -> str:
    """Return a stored trigger if loading it imports no class of the project's, or ""."""
    try:
        return "" if trigger_classes(trigger) else trigger
    except SerializationError:
        return ""


def read_base(text: str, job_id: str | None = None) -> Base | None:
    """Return what `Base.dump` wrote, for this job if one is named; else None."""
    try:
        told_id, revision, moment, trigger, digests = signing.loads(text, salt=SALT)
        base = Base(told_id, revision, datetime.fromisoformat(moment), trigger, digests)
    except (signing.BadSignature, ValueError, TypeError):
        return None
    return base if job_id in (None, base.job_id) else None


def changed_since(base: Base, job: DjangoJob) -> set[str]:
    """Return the columns that somebody else changed since the form was shown."""
    if job.revision == base.revision:
        return set()
    return {
        name for name in COLUMNS if base.digests.get(name) != digest(getattr(job, name))
    }


def who(job_id: str, names: Iterable[str], since: datetime) -> str:
    """
    Say who changed a field last: "saved by ana at 14:05 CET".

    :param names: what the admin's log calls the field, untranslated
    """
    lines = _log_of(job_id).filter(action_time__gte=_as_logged(since))
    any_name = "|".join(map(re.escape, names))
    # A line lists the fields as texts that begin with their names.
    listed = re.compile(rf'"(?:{any_name})["( ]', re.IGNORECASE)
    for entry in lines[:SEARCHED_LINES]:
        if listed.search(entry.change_message):
            return gettext("saved by %(user)s at %(moment)s") % _by_whom(entry)
    return gettext("saved meanwhile")


def deleted_note(job_id: str) -> str:
    """Say that a job was deleted, by whom and when as far as the admin's log knows."""
    entry = _log_of(job_id).first()
    if entry is None or entry.action_flag != DELETION:
        return gettext("The job “%(id)s” was deleted meanwhile.") % {"id": job_id}
    return gettext(
        "The job “%(id)s” was deleted meanwhile, by %(user)s at %(moment)s."
    ) % {"id": job_id, **_by_whom(entry)}


def _log_of(job_id: str) -> QuerySet[LogEntry]:
    """Return a job's lines in the admin's log, the latest first."""
    return (
        LogEntry.objects.filter(
            content_type=ContentType.objects.get_for_model(DjangoJob),
            object_id=job_id,
        )
        .select_related("user")
        .order_by("-action_time", "-id")
    )


def _by_whom(entry: LogEntry) -> dict[str, str]:
    moment = entry.action_time
    if timezone.is_naive(moment):
        moment = timezone.make_aware(moment)
    return {"user": str(entry.user), "moment": words.wall(moment, clock.now())}


def _as_logged(moment: datetime) -> datetime:
    """Return a moment as the admin's log, which is Django's, compares it."""
    return moment if settings.USE_TZ else timezone.make_naive(moment)


@dataclass(frozen=True)
class Conflict:
    """
    A column that two changed to different values.

    :ivar name: of the column and of its form field
    :ivar who: who saved the other value and when
    """

    name: str
    label: str
    mine: str
    theirs: str
    who: str

    @property
    def choice_name(self) -> str:
        return choice_name(self.name)


def choice_name(column: str) -> str:
    """Return the name of the radio buttons that choose between the two values."""
    return f"choose-{column}"


def given_up(data: Any) -> Iterable[str]:
    """Return the columns of which the user prefers what somebody else saved."""
    return [name for name in COLUMNS if data.get(choice_name(name)) == "theirs"]
