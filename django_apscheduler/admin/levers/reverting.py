"""Taking back what staff changed in a job that code declares."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext

from django_apscheduler import audit, sync
from django_apscheduler.admin import badges, words
from django_apscheduler.admin.forms import describing
from django_apscheduler.admin.levers.levers import Request, Wish, still_there
from django_apscheduler.admin.triggers import schedules
from django_apscheduler.db import repeat_deadlocks, resolve_alias
from django_apscheduler.jobstores.base import JobLookupError
from django_apscheduler.models import DjangoJob


class Override(NamedTuple):
    """A field that staff changed: its name, what it says now, what the code says."""

    field: str
    label: str
    now: str
    in_code: str


def overridden(job: DjangoJob) -> list[str]:
    """Return the names of the fields of a declared job that staff changed."""
    try:
        names = json.loads(job.overrides or "[]")
        declared = json.loads(job.declaration or "{}")
    except ValueError:
        return []
    # People edit rows by hand; the page must show.
    if not isinstance(names, list) or not isinstance(declared, dict):
        return []
    known = {field.attname for field in DjangoJob._meta.concrete_fields}
    return [name for name in names if name in declared and name in known]


def overrides_of(job: DjangoJob, may_see: bool) -> list[Override]:
    """
    Return what staff changed in a declared job, beside what the code says.

    :param may_see: whether arguments may be shown
    """
    declared = json.loads(job.declaration or "{}")
    labels = {f.attname: str(f.verbose_name) for f in DjangoJob._meta.concrete_fields}
    found = []
    for name in overridden(job):
        values = (getattr(job, name), declared[name])
        label = labels[name]
        shown = [_shown(job, name, value, may_see) for value in values]
        found.append(Override(name, capfirst(label), *shown))
    return found


def _shown(job: DjangoJob, name: str, value: Any, may_see: bool) -> str:
    if name in audit.REDACTED and not may_see:
        return gettext("(hidden)")
    if name in audit.REDACTED:
        return describing.value(name, value, job.func)
    if name == "trigger":
        return schedules.schedule_of(
            DjangoJob(id=job.pk, trigger=value, anchor_time=job.anchor_time)
        ).text
    if value is True:
        return gettext("yes")
    if value is False:
        return gettext("no")
    return words.NOTHING if value in (None, "") else str(value)


class Reverting:
    """The part of the jobs' admin that reverts overrides."""

    def reverting_urls(self) -> list[URLPattern]:
        return [
            path(
                "<path:object_id>/revert/",
                self.admin_site.admin_view(self.revert_view),
                name="django_apscheduler_djangojob_revert",
            )
        ]

    def may_revert(self, request: HttpRequest, job: DjangoJob) -> bool:
        """Return whether there is something to revert, and the user may."""
        fields = overridden(job)
        if not fields or not self.has_change_permission(request, job):
            return False
        # Who may only reschedule may take back no more than a schedule.
        return self.may(request, "change_djangojob") or fields == ["trigger"]

    def revert_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show what a revert would change (GET), and revert (POST)."""
        job = self.row_for(request, object_id)
        if not isinstance(job, DjangoJob):
            return job
        if not self.has_change_permission(request, job):
            raise PermissionDenied
        found = overrides_of(job, self.may(request, "view_sensitive"))
        if not found:
            messages.warning(request, gettext("Nothing of this job is overridden."))
            return self.back(request)
        if not self.may_revert(request, job):
            raise PermissionDenied
        if request.method == "POST":
            self.revert(request, job)
            return self.back(request)
        return self.asking_page(
            request,
            "revert",
            {
                "job": job,
                "overrides": found,
                "revision": job.revision,
                "icon": badges.icon("merge"),
                "title": gettext("Revert %(job)s to what the code says") % {"job": job},
            },
        )

    def revert(self, request: HttpRequest, job: DjangoJob) -> None:
        """Undo the overrides, unless the job was changed since they were shown."""
        using = resolve_alias()
        before = {each.field: each for each in overrides_of(job, may_see=False)}
        shown = request.POST.get("revision", "")
        revision = int(shown) if shown.isdecimal() else job.revision
        held = Request(
            None, job, Wish(request.user.get_username(), shown={job.pk: revision})
        )

        def attempt() -> list[str] | None:
            with transaction.atomic(using=using):
                if not held.hold():
                    return None
                changed = sync.revert(job.pk, using=using)
                audit.log(
                    request.user.pk,
                    [job],
                    message=audit.changed(
                        (name, before[name].now, before[name].in_code)
                        for name in before
                    ),
                )
                return changed

        try:
            changed = repeat_deadlocks(using, attempt)
        except (JobLookupError, ValueError, TypeError) as error:
            messages.error(
                request,
                gettext("Nothing was changed: %(error)s") % {"error": error},
            )
            return
        if changed is None:
            messages.warning(
                request,
                gettext("Nothing was changed: the job was changed meanwhile.")
                if still_there(job)
                else gettext("Nothing was changed: the job was deleted meanwhile."),
            )
            return
        messages.success(
            request,
            ngettext(
                "%(count)s field is again as the code says.",
                "%(count)s fields are again as the code says.",
                len(before),
            )
            % {"count": len(before)},
        )
