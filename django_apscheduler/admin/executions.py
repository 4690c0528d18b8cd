"""The execution log: every occurrence of every job, and what became of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from django_apscheduler import clock
from django_apscheduler.admin import badges, filters, stats, words
from django_apscheduler.admin.base import SchedulerAdmin, link
from django_apscheduler.models import DjangoJob, DjangoJobExecution

#: Characters of an error or a note that a line of the list shows.
LINE_LENGTH = 110

#: A start this many seconds after the run time is marked as late.
LATE_SECONDS = 5.0


def explain(execution: DjangoJobExecution, now: datetime) -> str:
    """Say why occurrences did not run or still wait; empty for those that ran."""
    count = execution.occurrences
    many = gettext("more than 1,000") if count is None else str(count)
    plural = 1001 if count is None else count
    first = words.wall(execution.run_time, now, seconds=True)
    last = words.wall(execution.last_run_time or execution.run_time, now, seconds=True)
    said = {"count": many, "first": first, "last": last}
    if execution.status == DjangoJobExecution.COALESCED:
        return (
            ngettext(
                "The occurrence of %(first)s was coalesced into the run that followed.",
                "%(count)s occurrences from %(first)s to %(last)s were coalesced into "
                "the run that followed.",
                plural,
            )
            % said
        )
    if execution.status == DjangoJobExecution.MISSED:
        return (
            ngettext(
                "The occurrence of %(first)s was missed: too late to start it.",
                "%(count)s occurrences from %(first)s to %(last)s were missed: too late "
                "to start them.",
                plural,
            )
            % said
        )
    if execution.status == DjangoJobExecution.MAX_INSTANCES:
        return (
            ngettext(
                "The occurrence of %(first)s was skipped: as many instances as allowed "
                "were running.",
                "%(count)s occurrences from %(first)s to %(last)s were skipped: as many "
                "instances as allowed were running.",
                plural,
            )
            % said
        )
    if execution.status == DjangoJobExecution.CANCELLED:
        return (
            ngettext(
                "The occurrence of %(first)s was cancelled.",
                "%(count)s occurrences from %(first)s to %(last)s were cancelled.",
                plural,
            )
            % said
        )
    if execution.status == DjangoJobExecution.QUEUED:
        if execution.expires_time is None:
            return gettext("Waits for a scheduler to claim it.")
        return gettext("Waits for a scheduler to claim it; expires %(when)s.") % {
            "when": words.relative(execution.expires_time, now)
        }
    if execution.status == DjangoJobExecution.LOST:
        return gettext("Its scheduler stopped without reporting how this run ended.")
    return ""


def lateness(execution: DjangoJobExecution) -> float | None:
    """Return how many seconds after its run time a run started; None if it did not."""
    if execution.started_time is None:
        return None
    return max((execution.started_time - execution.run_time).total_seconds(), 0.0)


def first_line(text: str) -> str:
    """Return as much of a text as a line of the list shows."""
    lines = text.strip().splitlines()
    line = lines[0] if lines else ""
    return line if len(line) <= LINE_LENGTH else line[: LINE_LENGTH - 1] + "…"


@admin.register(DjangoJobExecution)
class ExecutionAdmin(SchedulerAdmin):
    """The log, newest first; rows are read and, with permission, deleted."""

    list_display = (
        "outcome",
        "job_column",
        "due",
        "started",
        "late",
        "took",
        "story",
        "source",
        "node",
    )
    list_filter = (
        filters.StatusFilter,
        filters.JobFilter,
        filters.ExecutorFilter,
        filters.OriginFilter,
        ("run_time", filters.PastRangeFilter),
        ("duration", filters.DurationRangeFilter),
    )
    # Not "job": filtered by job, Django makes that an inner join, and the history of
    # deleted jobs would be missing.
    list_select_related = ("owner",)
    # The order of an index; any other column would sort the whole table.
    ordering = ("-run_time", "-id")
    search_fields = ("job__id", "job_name", "exception")
    search_help_text = _("Search by job id, name or error")
    readonly_fields = (
        "outcome",
        "job_column",
        "explanation",
        "error_line",
        "timeline",
        "late",
        "took",
        "source",
        "node",
        "attempt_text",
        "note_text",
        "trace",
        "neighbours",
    )

    # Rights: a log is not edited.

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        # The list shows no traceback; they may be long.
        return super().get_queryset(request).defer("traceback")

    def prepare_rows(
        self, request: HttpRequest, rows: list[DjangoJobExecution]
    ) -> None:
        now = clock.now()
        ids = {row.job_id for row in rows if row.job_id is not None}
        jobs = DjangoJob.objects.using(self.get_queryset(request).db)
        names = dict(jobs.filter(pk__in=ids).values_list("pk", "name"))
        for row in rows:
            row.shown_at = now
            row.may_see = self.may(request, "view_sensitive")
            row.job_exists = row.job_id in names
            row.shown_name = (
                row.job_name
                or names.get(row.job_id or "")
                or row.job_id
                or words.NOTHING
            )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fields that have something to say about this execution."""
        if obj is None:
            return ()
        summary = ["outcome", "job_column"]
        if explain(obj, obj.shown_at):
            summary.append("explanation")
        if obj.exception:
            summary.append("error_line")
        if obj.note:
            summary.append("note_text")
        when = ["timeline"]
        if obj.started_time is not None:
            when += ["late", "took"]
        trace = [(_("Traceback"), {"fields": ("trace",)})] if obj.traceback else []
        return [
            (None, {"fields": summary}),
            *trace,
            (_("When"), {"fields": when}),
            (
                _("Where and why"),
                {"fields": ("source", "executor", "node", "attempt_text")},
            ),
            (_("Around it"), {"fields": ("neighbours",)}),
        ]

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        *args: Any,
        obj: Any = None,
        **kwargs: Any,
    ) -> Any:
        if obj is not None:
            context["subtitle"] = gettext("%(job)s, %(moment)s") % {
                "job": obj.shown_name,
                "moment": words.wall(obj.run_time, obj.shown_at, seconds=True),
            }
        return super().render_change_form(request, context, *args, obj=obj, **kwargs)

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> DjangoJobExecution | None:
        execution = super().get_object(request, object_id, from_field)
        if execution is not None:
            self.prepare_rows(request, [execution])
        return execution

    # Columns

    @admin.display(description=_("status"))
    def outcome(self, row: DjangoJobExecution) -> SafeString:
        return badges.status_badge(row.status)

    @admin.display(description=_("job"))
    def job_column(self, row: DjangoJobExecution) -> SafeString | str:
        name = row.shown_name
        if not row.job_exists:
            return words.two_lines(
                name,
                gettext("%(id)s, deleted") % {"id": row.job_id}
                if row.job_id
                else gettext("deleted"),
            )
        address = reverse(
            "admin:django_apscheduler_djangojob_change",
            args=(quote(row.job_id or ""),),
            current_app=self.admin_site.name,
        )
        return format_html(
            '<a class="dja-main" href="{}">{}</a>{}',
            address,
            name,
            format_html('<span class="dja-sub">{}</span>', row.job_id)
            if name != row.job_id
            else "",
        )

    @words.column(_("run time"), ordering="run_time")
    def due(self, row: DjangoJobExecution) -> SafeString:
        return words.two_lines(
            words.time_element(
                row.run_time, words.wall(row.run_time, row.shown_at, seconds=True)
            ),
            words.relative(row.run_time, row.shown_at),
        )

    @words.column(_("started"))
    def started(self, row: DjangoJobExecution) -> SafeString | str:
        if row.started_time is None:
            return words.NOTHING
        return words.time_element(
            row.started_time, f"{words.local(row.started_time):%H:%M:%S}"
        )

    @words.column(_("lateness"))
    def late(self, row: DjangoJobExecution) -> SafeString | str:
        seconds = lateness(row)
        if seconds is None:
            return words.NOTHING
        text = words.duration(seconds)
        if seconds < LATE_SECONDS:
            return text
        return format_html(
            '<span class="dja-late">{}{}</span>', badges.icon("clock"), text
        )

    @words.column(_("duration"))
    def took(self, row: DjangoJobExecution) -> SafeString | str:
        seconds = stats.run_seconds(row.started_time, row.finished_time)
        if seconds is None and row.status == DjangoJobExecution.STARTED:
            if row.started_time is not None:
                so_far = (row.shown_at - row.started_time).total_seconds()
                return words.two_lines(words.duration(so_far), gettext("so far"))
        return words.duration(seconds)

    @words.column(_("origin"))
    def source(self, row: DjangoJobExecution) -> SafeString | str:
        by = ""
        if row.requested_by:
            by = format_html(
                '<span class="dja-sub">{}</span>',
                gettext("by %(user)s") % {"user": row.requested_by},
            )
        attempt = ""
        if row.attempt > 1:
            attempt = format_html(
                '<span class="dja-sub">{}</span>',
                gettext("attempt %(number)s") % {"number": row.attempt},
            )
        return format_html("{}{}{}", row.get_origin_display(), by, attempt)

    @words.column(_("node"))
    def node(self, row: DjangoJobExecution) -> SafeString | str:
        if row.owner is None:
            return words.NOTHING
        return format_html("<code>{}</code>", str(row.owner))

    @admin.display(description=_("what happened"))
    def story(self, row: DjangoJobExecution) -> SafeString | str:
        style = "dja-error" if row.exception else "dja-story"
        text = row.exception or explain(row, row.shown_at)
        return format_html(
            '<span class="{}">{}</span>{}',
            style,
            first_line(text),
            format_html('<span class="dja-sub">{}</span>', first_line(row.note))
            if row.note
            else "",
        )

    # The page of one execution

    @admin.display(description=_("explanation"))
    def explanation(self, row: DjangoJobExecution) -> SafeString | str:
        text = explain(row, row.shown_at)
        if row.status != DjangoJobExecution.COALESCED or row.job_id is None:
            return text
        following = (
            DjangoJobExecution.objects.using(row._state.db)
            .filter(job_id=row.job_id, run_time__gt=row.last_run_time or row.run_time)
            .exclude(status=DjangoJobExecution.COALESCED)
            .order_by("run_time", "id")
            .first()
        )
        if following is None:
            return text
        return format_html(
            '{}<p class="dja-help"><a href="{}">{}</a></p>',
            text,
            self._address(following.pk),
            gettext("The run of %(moment)s")
            % {"moment": words.wall(following.run_time, row.shown_at, seconds=True)},
        )

    @admin.display(description=_("error"))
    def error_line(self, row: DjangoJobExecution) -> SafeString | str:
        return format_html('<span class="dja-error">{}</span>', row.exception)

    @admin.display(description=_("timeline"))
    def timeline(self, row: DjangoJobExecution) -> SafeString:
        steps = (
            (gettext("due"), row.run_time),
            (gettext("claimed"), row.claimed_time),
            (gettext("started"), row.started_time),
            (gettext("finished"), row.finished_time),
            (gettext("expires"), row.expires_time),
        )
        lines = []
        previous = None
        for name, moment in steps:
            if moment is None:
                continue
            gap = ""
            if previous is not None:
                apart = (moment - previous).total_seconds()
                sign = "+" if apart >= 0 else "−"
                gap = f"{sign}{words.duration(abs(apart))}"
            lines.append((name, words.time_element(moment, words.exact(moment)), gap))
            previous = moment
        return format_html(
            '<ol class="dja-timeline">{}</ol>',
            format_html_join(
                "",
                '<li><b>{}</b> <span>{}</span> <span class="dja-sub">{}</span></li>',
                lines,
            ),
        )

    @admin.display(description=_("attempt"))
    def attempt_text(self, row: DjangoJobExecution) -> str:
        text = str(row.attempt)
        if row.losses:
            text += ", " + ngettext(
                "%(count)s loss before it", "%(count)s losses before it", row.losses
            ) % {"count": row.losses}
        return text

    @admin.display(description=_("note"))
    def note_text(self, row: DjangoJobExecution) -> str:
        return row.note

    @admin.display(description=_("traceback"))
    def trace(self, row: DjangoJobExecution) -> SafeString | str:
        if not row.may_see:
            return gettext("You may not see tracebacks.")
        text = (row.traceback or "").strip()
        return format_html(
            '<details class="dja-traceback" open><summary>{}</summary><pre>{}</pre>'
            "</details>",
            text[text.rfind("\n") + 1 :][:200],
            text,
        )

    def _address(self, pk: int) -> str:
        return reverse(
            "admin:django_apscheduler_djangojobexecution_change",
            args=(pk,),
            current_app=self.admin_site.name,
        )

    @admin.display(description=_("runs"))
    def neighbours(self, row: DjangoJobExecution) -> SafeString | str:
        if row.job_id is None:
            return words.NOTHING
        same = DjangoJobExecution.objects.using(row._state.db).filter(job_id=row.job_id)
        before = Q(run_time__lt=row.run_time) | Q(run_time=row.run_time, id__lt=row.pk)
        after = Q(run_time__gt=row.run_time) | Q(run_time=row.run_time, id__gt=row.pk)
        links = [
            (self._address(other.pk), label, badges.status_badge(other.status))
            for label, other in (
                (
                    gettext("Previous run"),
                    same.filter(before).order_by("-run_time", "-id").first(),
                ),
                (
                    gettext("Next run"),
                    same.filter(after).order_by("run_time", "id").first(),
                ),
                (
                    gettext("First try"),
                    same.filter(pk=row.retry_of_id).first()
                    if row.retry_of_id
                    else None,
                ),
            )
            if other is not None
        ]
        listed = format_html_join("", '<li><a href="{}">{}</a> {}</li>', links)
        return format_html(
            '<ul class="dja-links">{}<li><a href="{}">{}</a></li></ul>',
            listed,
            link("djangojobexecution", self.admin_site.name, {"job": row.job_id}),
            gettext("All runs of this job"),
        )
