"""The jobs: what they are, when they run next, how they fared, and the levers."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import F
from django.http import (
    HttpRequest,
)
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from django_apscheduler import clock
from django_apscheduler.admin import badges, charts, filters, stats, words
from django_apscheduler.admin.base import Addresses, SchedulerAdmin
from django_apscheduler.admin.dashboard.pages import Dashboard
from django_apscheduler.admin.forms.editing import JobEditing
from django_apscheduler.admin.job_details import JobDetails
from django_apscheduler.admin.levers.levers import LEVERS
from django_apscheduler.admin.levers.on_jobs import JobLevers
from django_apscheduler.admin.triggers import schedules
from django_apscheduler.jobstores.base import JobLookupError
from django_apscheduler.models import DjangoJob


@admin.register(DjangoJob)
class JobAdmin(JobEditing, Dashboard, JobLevers, JobDetails, SchedulerAdmin):
    """Jobs, listed by what comes next."""

    list_display = (
        "job",
        "condition",
        "schedule",
        "next_run",
        "last_run",
        "latest_runs",
        "levers",
    )
    list_filter = (
        filters.ConditionFilter,
        filters.LastStatusFilter,
        filters.TriggerFilter,
        filters.CallableFilter,
        filters.ExecutorFilter,
        filters.TimezoneFilter,
        ("next_run_time", filters.ComingRangeFilter),
    )
    search_fields = ("id", "name", "func")
    search_help_text = _("Search by id, name or callable")
    ordering = (F("next_run_time").asc(nulls_last=True),)
    kept_secret = frozenset(
        ("args", "kwargs", "declaration", "error", "job_state", "signature")
    )

    # The list

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        if any(self.may(request, lever.permission) for lever in LEVERS.values()):
            return self.list_display
        return tuple(name for name in self.list_display if name != "levers")

    def prepare_rows(self, request: HttpRequest, rows: list[DjangoJob]) -> None:
        now = clock.now()
        using = self.get_queryset(request).db
        found = stats.recent_runs(rows, using)
        succeeded = stats.success(list(found), using, now)
        allowed = {
            name
            for name, lever in LEVERS.items()
            if self.may(request, lever.permission)
        }
        sees_runs = self.sees_runs(request)
        addresses = Addresses(self.admin_site.name)
        for job in rows:
            job.shown_at = now
            job.sees_runs = sees_runs
            job.recent = found[job.pk]
            job.succeeded = succeeded.get(job.pk)
            job.allowed_levers = allowed
            job.addresses = addresses
            job.shown_schedule = schedules.schedule_of(job)

    @admin.display(description=_("job"), ordering="id")
    def job(self, job: DjangoJob) -> SafeString:
        identity = format_html('<span class="dja-sub">{}</span>', job.pk)
        # Most jobs have the default executor: a column of its own would say little.
        executor = format_html(
            '<span class="dja-sub">{} <code>{}</code></span>',
            gettext("Executor:"),
            job.executor,
        )
        return format_html(
            '<span class="dja-main">{}</span>{}'
            '<code class="dja-sub dja-cut" title="{}">{}</code>{}',
            job.name or job.pk,
            identity if job.name and job.name != job.pk else "",
            job.func,
            job.func,
            executor if job.executor != "default" else "",
        )

    @admin.display(description=_("state"))
    def condition(self, job: DjangoJob) -> SafeString:
        return self.condition_badges(job)

    @admin.display(description=_("schedule"))
    def schedule(self, job: DjangoJob) -> SafeString:
        shown = job.shown_schedule
        text = shown.error or shown.raw
        raw = format_html(
            '<code class="dja-sub dja-cut" title="{}">{}</code>', text, text
        )
        return format_html(
            '<span class="dja-main">{}</span>{}',
            shown.text,
            raw if text != shown.text else "",
        )

    @words.column(_("next run"), ordering="next_run_time")
    def next_run(self, job: DjangoJob) -> SafeString | str:
        return words.moment_cell(job.next_run_time, job.shown_at)

    @words.column(_("last run"))
    def last_run(self, job: DjangoJob) -> SafeString | str:
        last = job.recent.last
        if last is None:
            return words.NOTHING
        age = words.time_element(
            last.run_time, words.relative(last.run_time, job.shown_at)
        )
        took = "" if last.seconds is None else words.duration(last.seconds)
        badge = badges.status_badge(last.status)
        return format_html(
            '{}<span class="dja-sub">{}{}</span>',
            words.linked(self.run_address(job, last.id), badge, "dja-main"),
            age,
            format_html('<wbr><span class="dja-whole"> · {}</span>', took)
            if took
            else "",
        )

    @admin.display(description=_("last 20 runs"))
    def latest_runs(self, job: DjangoJob) -> SafeString:
        strip = charts.run_strip(job.recent.runs, job.shown_at)
        return format_html(
            "{}{}", words.linked(self.log_address(job), strip), self._success(job)
        )

    def _success(self, job: DjangoJob) -> SafeString | str:
        """Say how many of the runs of 30 days succeeded."""
        if job.succeeded is None:
            return ""
        runs = job.succeeded.runs
        text = ngettext(
            "30 d: %(percent)s %%, %(count)s run",
            "30 d: %(percent)s %%, %(count)s runs",
            runs,
        )
        return format_html(
            '<span class="dja-sub" title="{}">{}</span>',
            gettext("Runs of the last 30 days that succeeded"),
            text
            % {
                "percent": job.succeeded.percent,
                "count": number_format(runs, force_grouping=True),
            },
        )

    @words.column(_("executor"), ordering="executor")
    def executor_name(self, job: DjangoJob) -> SafeString:
        return format_html("<code>{}</code>", job.executor)

    # Addresses

    def log_address(self, job: DjangoJob) -> str:
        """Return the address of a job's runs; "" for those who may not see them."""
        return job.addresses.log(job=job.pk) if job.sees_runs else ""

    def run_address(self, job: DjangoJob, pk: int) -> str:
        """Return the address of a run of a job likewise."""
        if not job.sees_runs:
            return ""
        return job.addresses.of("djangojobexecution_change", pk)

    def execution_address(self, pk: int) -> str:
        return reverse(
            "admin:django_apscheduler_djangojobexecution_change",
            args=(pk,),
            current_app=self.admin_site.name,
        )

    # Changes

    def delete_model(self, request: HttpRequest, obj: DjangoJob) -> None:
        """Remove the job through the scheduler; its executions stay."""
        from django_apscheduler import get_scheduler

        try:
            get_scheduler().remove_job(obj.pk)
        except JobLookupError:
            # A finished job has left the schedule already: only its row remains.
            obj.delete()

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for job in queryset:
            self.delete_model(request, job)
