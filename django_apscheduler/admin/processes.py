"""The schedulers: every start of one, where it runs and whether it is alive."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_apscheduler import clock
from django_apscheduler.admin import badges, words
from django_apscheduler.admin.base import SchedulerAdmin
from django_apscheduler.db import database_now
from django_apscheduler.models import SchedulerProcess


@admin.register(SchedulerProcess)
class ProcessAdmin(SchedulerAdmin):
    """Scheduler processes, the latest first; to be read only."""

    list_display = (
        "condition",
        "node",
        "started",
        "heartbeat",
        "slots",
        "release_name",
        "version_number",
    )
    search_fields = ("host", "release", "version")
    search_help_text = _("Search by host, release or version")
    fields = (
        "condition",
        "node",
        "started",
        "heartbeat",
        "slots",
        "release",
        "version",
        "missing",
    )
    readonly_fields = ("condition", "node", "started", "heartbeat", "slots", "missing")
    actions = None

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # A deleted row would look like a death to its process, which would stop.
        return False

    def prepare_rows(self, request: HttpRequest, rows: list[SchedulerProcess]) -> None:
        now = clock.now()
        # Leases are written with the database's clock, so they are judged by it.
        present = database_now(self.get_queryset(request).db)
        for row in rows:
            row.shown_at = now
            row.is_silent = row.lease_until < present

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> SchedulerProcess | None:
        process = super().get_object(request, object_id, from_field)
        if process is not None:
            self.prepare_rows(request, [process])
        return process

    @admin.display(description=_("state"))
    def condition(self, process: SchedulerProcess) -> SafeString:
        state = process.state
        if state != SchedulerProcess.State.DEAD and process.is_silent:
            state = "silent"
        return badges.badge(badges.PROCESSES.get(state, badges.PROCESSES["dead"]))

    @admin.display(description=_("host and process"), ordering="host")
    def node(self, process: SchedulerProcess) -> SafeString:
        return format_html("<code>{}</code>", str(process))

    @words.column(_("started"), ordering="started_time")
    def started(self, process: SchedulerProcess) -> SafeString | str:
        return words.moment_cell(process.started_time, process.shown_at)

    @words.column(_("last tick"), ordering="tick_time")
    def heartbeat(self, process: SchedulerProcess) -> SafeString | str:
        return words.moment_cell(process.tick_time, process.shown_at, seconds=True)

    @words.column(_("release"), ordering="release")
    def release_name(self, process: SchedulerProcess) -> str:
        return process.release or words.NOTHING

    @words.column(_("version"), ordering="version")
    def version_number(self, process: SchedulerProcess) -> str:
        return process.version or words.NOTHING

    @words.column(_("executors"))
    def slots(self, process: SchedulerProcess) -> SafeString | str:
        try:
            slots = json.loads(process.executors or "{}")
        except ValueError:
            return process.executors
        if not isinstance(slots, dict) or not slots:
            return words.NOTHING
        names = format_html_join(
            ", ", "<code>{}</code> ({})", ((k, v) for k, v in sorted(slots.items()))
        )
        # One element, for a card lays out each part of a cell by itself.
        return format_html("<span>{}</span>", names)

    @admin.display(description=_("cannot import"))
    def missing(self, process: SchedulerProcess) -> SafeString | str:
        try:
            references = json.loads(process.unresolved or "[]")
        except ValueError:
            return process.unresolved
        if not references:
            return gettext("Nothing is missing.")
        names = references if isinstance(references, (list, dict)) else [references]
        return format_html_join(", ", "<code>{}</code>", ((name,) for name in names))
