"""What the page of one execution shows: when, how, why, and what lies around it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import DEFAULT_DB_ALIAS
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext, pgettext
from django.utils.translation import gettext_lazy as _

from django_apscheduler.admin import (
    badges,
    charts,
    explanations,
    live,
    outcomes,
    paging,
    words,
)
from django_apscheduler.admin.base import link
from django_apscheduler.admin.forms import calls
from django_apscheduler.models import DjangoJob, DjangoJobExecution

#: Later executions of a job among which retries are looked for, and those listed.
RETRY_ROWS, LISTED_RETRIES = 5000, 20


class ExecutionDetails:
    """The fields of an execution's page; all of them are read."""

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
        "arguments",
        "retries",
        "neighbours",
    )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fields that have something to say about this execution."""
        if obj is None:
            return ()
        summary = ["outcome", "job_column"]
        if outcomes.explain(obj, obj.shown_at):
            summary.append("explanation")
        if obj.exception:
            summary.append("error_line")
        if obj.note:
            summary.append("note_text")
        when = ["timeline"]
        if obj.started_time is not None:
            when += ["late", "took"]
        trace = [(_("Traceback"), {"fields": ("trace",)})] if obj.traceback else []
        where = ["source", "executor", "node", "attempt_text"]
        if obj.may_see and obj.job_exists:
            where.append("arguments")
        around = ["neighbours"]
        if obj.found_retries:
            around.insert(0, "retries")
        return [
            (None, {"fields": summary}),
            *trace,
            (_("When"), {"fields": when}),
            (_("Where and why"), {"fields": where}),
            (_("Around it"), {"fields": around}),
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
            context["live"] = live.watch(obj, self.live_address(obj.pk))
        return super().render_change_form(request, context, *args, obj=obj, **kwargs)

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> DjangoJobExecution | None:
        execution = super().get_object(request, object_id, from_field)
        if execution is not None:
            self.prepare_rows(request, [execution])
            execution.found_retries = self._find_retries(execution)
        return execution

    def _find_retries(self, row: DjangoJobExecution) -> list[DjangoJobExecution]:
        """Return the retries of an execution among those that followed it."""
        if row.job_id is None:
            return []
        # No index leads from a run to its retries; they come soon, if at all.
        following = self._of_same_job(row)
        start = paging.Cursor(paging.NEWER, paging.Place(row.run_time, 0))
        end = paging.window_end(following, start, RETRY_ROWS)
        found = start.beyond(following).filter(retry_of_id=row.pk)
        if end is not None:
            found = found.filter(start.until(end))
        return list(found[:LISTED_RETRIES])

    def _of_same_job(self, row: DjangoJobExecution) -> QuerySet:
        executions = DjangoJobExecution.objects.using(row._state.db)
        return executions.filter(job_id=row.job_id).defer("traceback")

    # The page of one execution

    @admin.display(description=_("explanation"))
    def explanation(self, row: DjangoJobExecution) -> SafeString | str:
        using = row._state.db or DEFAULT_DB_ALIAS
        job = DjangoJob.objects.using(using).filter(pk=row.job_id).first()
        reasons = explanations.of_execution(row, job, row.shown_at, using)
        text = " ".join([outcomes.explain(row, row.shown_at), *reasons])
        if row.status != DjangoJobExecution.COALESCED or row.job_id is None:
            return text
        following = (
            DjangoJobExecution.objects.using(using)
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

    @admin.display(description=_("arguments of the job, as they are now"))
    def arguments(self, row: DjangoJobExecution) -> SafeString | str:
        func, args, kwargs = row.job_call
        told = (calls.shown_args(args, func), calls.shown_kwargs(kwargs))
        shown = [(text,) for text in told if text]
        if not shown:
            return pgettext("arguments", "None")
        return format_html_join("", '<pre class="dja-json">{}</pre>', shown)

    @admin.display(description=_("retries"))
    def retries(self, row: DjangoJobExecution) -> SafeString:
        return format_html(
            '<ul class="dja-links">{}</ul>',
            format_html_join(
                "",
                '<li><a href="{}">{}</a> {}</li>',
                (
                    (
                        self._address(retry.pk),
                        words.wall(
                            retry.started_time or retry.run_time,
                            row.shown_at,
                            seconds=True,
                        ),
                        badges.status_badge(retry.status),
                    )
                    for retry in row.found_retries
                ),
            ),
        )

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
            '{}<ol class="dja-timeline">{}</ol>',
            charts.run_timeline(row, row.shown_at),
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

    def live_address(self, pk: int) -> str:
        """Return where the page asks whether the execution has moved on."""
        return reverse(
            "admin:django_apscheduler_djangojobexecution_live",
            args=(pk,),
            current_app=self.admin_site.name,
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
        same = self._of_same_job(row)
        place = paging.Place.of(row)
        before, after = (
            paging.Cursor(way, place).beyond(same).first()
            for way in (paging.OLDER, paging.NEWER)
        )
        links = [
            (self._address(other.pk), label, badges.status_badge(other.status))
            for label, other in (
                (gettext("Previous run"), before),
                (gettext("Next run"), after),
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
