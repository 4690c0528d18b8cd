"""What the page of one job shows: what it is, when it runs, how, and how it fared."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, pgettext
from django.utils.translation import gettext_lazy as _

from django_apscheduler.admin import badges, explanations, stats, words
from django_apscheduler.admin.forms import calls
from django_apscheduler.admin.triggers import previews
from django_apscheduler.models import DjangoJob

#: Executions listed on the page of a job.
LISTED_RUNS = 10


class JobDetails:
    """The read-only fields of a job's page, and the badges both pages share."""

    fieldsets = (
        (
            _("What"),
            {
                "fields": (
                    "name",
                    "identity",
                    "callable",
                    "arguments",
                    "declared",
                    "dates",
                )
            },
        ),
        (_("When"), {"fields": ("condition", "schedule", "next_times")}),
        (
            _("Reliability"),
            {
                "fields": (
                    "coalesce",
                    "misfire_grace_time",
                    "max_instances",
                    "executor_name",
                    "on_lost_text",
                )
            },
        ),
        (_("Recent runs"), {"fields": ("latest_runs", "run_table")}),
    )
    readonly_fields = (
        "identity",
        "callable",
        "arguments",
        "declared",
        "dates",
        "condition",
        "schedule",
        "next_times",
        "executor_name",
        "on_lost_text",
        "latest_runs",
        "run_table",
        "trouble",
    )

    def get_fieldsets(self, request: HttpRequest, obj: DjangoJob | None = None) -> Any:
        if obj is not None and (obj.error or obj.state == DjangoJob.State.BROKEN):
            return ((_("Trouble"), {"fields": ("trouble",)}), *self.fieldsets)
        return self.fieldsets

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> DjangoJob | None:
        job = super().get_object(request, object_id, from_field)
        if job is not None:
            self.prepare_rows(request, [job])
            job.may_see = self.may(request, "view_sensitive")
        return job

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        *args: Any,
        obj: DjangoJob | None = None,
        **kwargs: Any,
    ) -> HttpResponse:
        if obj is not None:
            using = self.get_queryset(request).db
            context["why"] = explanations.of_job(obj, obj.shown_at, using)
            context["why_icon"] = badges.icon("alarm")
        return super().render_change_form(request, context, *args, obj=obj, **kwargs)

    def condition_badges(self, job: DjangoJob) -> SafeString:
        """Return the badge of the job's state, and one for failures beside it."""
        condition = stats.condition(job, job.recent, job.shown_at)
        failures = job.recent.failures_in_row
        many = f"×{failures}" if failures > 1 else ""
        if failures >= stats.STRIP_RUNS:
            many += "+"
        parts = []
        if condition == "failing":
            parts.append(badges.condition_badge("failing", many))
        else:
            parts.append(badges.condition_badge(condition))
            if failures and condition in ("running", "overdue", "paused"):
                parts.append(badges.condition_badge("failing", many))
        note = self.pause_note(job) if condition == "paused" else ""
        if condition == "broken" and job.error:
            note = job.error.strip().splitlines()[-1][:120]
        return format_html(
            "{}{}",
            format_html_join(" ", "{}", ((part,) for part in parts)),
            format_html('<span class="dja-sub">{}</span>', note) if note else "",
        )

    def pause_note(self, job: DjangoJob) -> str:
        """Say who paused a job, why and until when, as far as it is known."""
        parts = []
        if job.paused_by:
            parts.append(gettext("by %(user)s") % {"user": job.paused_by})
        if job.paused_time:
            parts.append(words.relative(job.paused_time, job.shown_at))
        if job.resume_time:
            until = words.wall(job.resume_time, job.shown_at)
            parts.append(gettext("until %(moment)s") % {"moment": until})
        text = ", ".join(parts)
        return f"{text}: {job.pause_reason}" if job.pause_reason else text

    # What

    @admin.display(description=_("id"))
    def identity(self, job: DjangoJob) -> SafeString:
        return format_html("<code>{}</code>", job.pk)

    @admin.display(description=_("callable"))
    def callable(self, job: DjangoJob) -> SafeString:
        return format_html("<code>{}</code>", job.func or words.NOTHING)

    @admin.display(description=_("arguments"))
    def arguments(self, job: DjangoJob) -> SafeString | str:
        if not job.may_see:
            return gettext("You may not see the arguments.")
        shown = [
            text
            for text in (
                calls.shown_args(job.args, job.func),
                calls.shown_kwargs(job.kwargs),
            )
            if text
        ]
        if not shown:
            return pgettext("arguments", "None")
        return format_html_join(
            "", '<pre class="dja-json">{}</pre>', ((text,) for text in shown)
        )

    @admin.display(description=_("origin"))
    def declared(self, job: DjangoJob) -> str:
        if job.declaration is None:
            return gettext("Added while running.")
        try:
            overrides = json.loads(job.overrides or "[]")
        except ValueError:
            overrides = []
        if not overrides or not isinstance(overrides, list):
            return gettext("Declared in code.")
        return gettext("Declared in code; changed by staff: %(fields)s.") % {
            "fields": ", ".join(map(str, overrides))
        }

    @admin.display(description=_("dates"))
    def dates(self, job: DjangoJob) -> SafeString | str:
        told = (
            (gettext("created"), job.created_time),
            (gettext("changed"), job.changed_time),
            (gettext("finished"), job.finished_time),
        )
        return (
            format_html_join(
                " · ",
                "{} {}",
                (
                    (
                        name,
                        words.time_element(
                            moment, words.relative(moment, job.shown_at)
                        ),
                    )
                    for name, moment in told
                    if moment is not None
                ),
            )
            or words.NOTHING
        )

    # When

    @admin.display(description=_("next runs"))
    def next_times(self, job: DjangoJob) -> SafeString | str:
        trigger = job.shown_schedule.trigger
        if trigger is None or job.state == DjangoJob.State.FINISHED:
            return gettext("None.")
        shown = previews.of_job(job, trigger, job.shown_at)
        note: SafeString | str = ""
        if job.next_run_time is None and shown.times:
            note = format_html(
                '<p class="dja-help">{}</p>',
                gettext("These are when it would run if it were active."),
            )
        return format_html("{}{}", previews.render(shown, with_text=False), note)

    # Reliability

    @admin.display(description=_("if its scheduler dies"))
    def on_lost_text(self, job: DjangoJob) -> str:
        if job.on_lost == DjangoJob.OnLost.MARK:
            text = gettext("A run cut off is marked as lost and not repeated.")
        else:
            text = gettext("A run cut off is run again by another scheduler.")
        if job.transactional:
            text += " " + gettext("What it does to the database is all or nothing.")
        return text

    # Recent runs

    @admin.display(description=_("runs"))
    def run_table(self, job: DjangoJob) -> SafeString | str:
        runs = job.recent.runs[:LISTED_RUNS]
        if not runs:
            return gettext("No runs yet.")
        rows = format_html_join(
            "",
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            (
                (
                    words.linked(
                        self.run_address(job, run.id), badges.status_badge(run.status)
                    ),
                    words.wall(run.run_time, job.shown_at, seconds=True),
                    words.relative(run.run_time, job.shown_at),
                    words.duration(run.seconds),
                )
                for run in runs
            ),
        )
        more = ""
        if address := self.log_address(job):
            more = format_html(
                '<p><a href="{}">{}</a></p>', address, gettext("All runs of this job")
            )
        return format_html(
            '<div class="dja-scroll"><table class="dja-table"><thead><tr>'
            '<th scope="col">{}</th><th scope="col">{}</th><th scope="col">{}</th>'
            '<th scope="col">{}</th></tr></thead><tbody>{}</tbody></table></div>'
            "{}",
            gettext("Status"),
            gettext("Run time"),
            gettext("Age"),
            gettext("Duration"),
            rows,
            more,
        )

    # Trouble

    @admin.display(description=_("error"))
    def trouble(self, job: DjangoJob) -> SafeString:
        lines = job.error.strip().splitlines() or [gettext("No reason was recorded.")]
        remedy = gettext(
            "Nothing was deleted. Make the callable importable again, or, if the row "
            "was edited by hand and is right, run “manage.py apscheduler resign %(id)s”. "
            "The schedulers try again by themselves."
        ) % {"id": job.pk}
        details = ""
        if len(lines) > 1 and job.may_see:
            details = format_html(
                '<details class="dja-traceback"><summary>{}</summary><pre>{}</pre>'
                "</details>",
                gettext("Traceback"),
                job.error.strip(),
            )
        return format_html(
            '<p class="dja-error">{}</p>{}<p class="dja-help">{}</p>',
            lines[-1],
            details,
            remedy if job.state == DjangoJob.State.BROKEN else "",
        )
