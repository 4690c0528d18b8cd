"""The jobs: what they are, when they run next, how they fared, and the levers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.db.models import F
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_apscheduler import clock, sync
from django_apscheduler.admin import badges, charts, filters, schedules, stats, words
from django_apscheduler.admin.base import SchedulerAdmin, link
from django_apscheduler.admin.job_details import JobDetails
from django_apscheduler.admin.levers import (
    LEVERS,
    TOKEN_LENGTH,
    Lever,
    new_token,
    pull,
)
from django_apscheduler.jobstores.base import JobLookupError
from django_apscheduler.models import DjangoJob

#: Fields of a job that its page can change; none of them names code.
EDITABLE = ("name", "coalesce", "max_instances", "misfire_grace_time")


def _bulk_action(lever: Lever) -> Callable[..., None]:
    """Return the admin action that pulls a lever on all selected jobs."""

    @admin.action(
        description=lever.bulk_label, permissions=[lever.permission.split("_")[0]]
    )
    def act(modeladmin: JobAdmin, request: HttpRequest, queryset: Any) -> None:
        pull(lever, queryset.order_by("pk"), request)

    act.__name__ = f"{lever.name}_selected"
    return act


@admin.register(DjangoJob)
class JobAdmin(JobDetails, SchedulerAdmin):
    """Jobs, listed by what comes next."""

    list_display = (
        "job",
        "condition",
        "schedule",
        "next_run",
        "last_run",
        "latest_runs",
        "executor_name",
        "levers",
    )
    list_filter = (
        filters.ConditionFilter,
        filters.ExecutorFilter,
        ("next_run_time", filters.ComingRangeFilter),
    )
    search_fields = ("id", "name", "func")
    search_help_text = _("Search by id, name or callable")
    ordering = (F("next_run_time").asc(nulls_last=True),)
    actions = tuple(_bulk_action(lever) for lever in LEVERS.values())

    # Rights

    def has_run_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "run_job")

    def has_pause_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "pause_job")

    # The list

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        if any(self.may(request, lever.permission) for lever in LEVERS.values()):
            return self.list_display
        return tuple(name for name in self.list_display if name != "levers")

    def prepare_rows(self, request: HttpRequest, rows: list[DjangoJob]) -> None:
        now = clock.now()
        found = stats.recent_runs(rows, self.get_queryset(request).db)
        allowed = {
            name
            for name, lever in LEVERS.items()
            if self.may(request, lever.permission)
        }
        for job in rows:
            job.shown_at = now
            job.recent = found[job.pk]
            job.allowed_levers = allowed
            job.shown_schedule = schedules.schedule_of(job)

    @admin.display(description=_("job"), ordering="id")
    def job(self, job: DjangoJob) -> SafeString:
        identity = format_html('<span class="dja-sub">{}</span>', job.pk)
        return format_html(
            '<span class="dja-main">{}</span>{}<code class="dja-sub">{}</code>',
            job.name or job.pk,
            identity if job.name and job.name != job.pk else "",
            job.func,
        )

    @admin.display(description=_("state"))
    def condition(self, job: DjangoJob) -> SafeString:
        return self.condition_badges(job)

    @admin.display(description=_("schedule"))
    def schedule(self, job: DjangoJob) -> SafeString:
        shown = job.shown_schedule
        raw = format_html('<code class="dja-sub">{}</code>', shown.error or shown.raw)
        return format_html(
            '<span class="dja-main">{}</span>{}',
            shown.text,
            raw if (shown.error or shown.raw) != shown.text else "",
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
        address = self.execution_address(last.id)
        took = "" if last.seconds is None else words.duration(last.seconds)
        return format_html(
            '<a class="dja-main" href="{}">{}</a><span class="dja-sub">{}{}</span>',
            address,
            badges.status_badge(last.status),
            age,
            format_html(" · {}", took) if took else "",
        )

    @admin.display(description=_("last 20 runs"))
    def latest_runs(self, job: DjangoJob) -> SafeString:
        strip = charts.run_strip(job.recent.runs, job.shown_at)
        return format_html('<a href="{}">{}</a>', self.log_address(job), strip)

    @words.column(_("executor"), ordering="executor")
    def executor_name(self, job: DjangoJob) -> SafeString:
        return format_html("<code>{}</code>", job.executor)

    @admin.display(description=_("actions"))
    def levers(self, job: DjangoJob) -> SafeString:
        return format_html_join(
            " ",
            # A button of the list's own form, which carries the CSRF token; formaction
            # sends it to the job's own address, without script.
            '<button type="submit" class="dja-button" formaction="{}" '
            'name="token" value="{}" aria-label="{}">{}{}</button>',
            (
                (
                    self.lever_address(job, lever),
                    new_token(),
                    f"{lever.label}: {job.name or job.pk}",
                    badges.icon(lever.icon),
                    lever.label,
                )
                for lever in self.levers_of(job)
            ),
        )

    # Addresses

    def get_urls(self) -> list[URLPattern]:
        own = [
            path(
                f"<path:object_id>/{name}/",
                self.admin_site.admin_view(self.lever_view),
                {"lever": name},
                name=f"django_apscheduler_djangojob_{name}",
            )
            for name in LEVERS
        ]
        return own + super().get_urls()

    def lever_address(self, job: DjangoJob, lever: Lever) -> str:
        return reverse(
            f"admin:django_apscheduler_djangojob_{lever.name}",
            args=(quote(job.pk),),
            current_app=self.admin_site.name,
        )

    def log_address(self, job: DjangoJob) -> str:
        return link("djangojobexecution", self.admin_site.name, {"job": job.pk})

    def execution_address(self, pk: int) -> str:
        return reverse(
            "admin:django_apscheduler_djangojobexecution_change",
            args=(pk,),
            current_app=self.admin_site.name,
        )

    # Changes

    def lever_view(
        self, request: HttpRequest, object_id: str, lever: str
    ) -> HttpResponse:
        """Pull a lever on one job and go back to where the button stood."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        chosen = LEVERS[lever]
        if not self.may(request, chosen.permission):
            raise PermissionDenied
        job = self.get_object(request, unquote(object_id))
        if job is None:
            return self._get_obj_does_not_exist_redirect(
                request, self.opts, unquote(object_id)
            )
        if not self.has_view_permission(request, job):
            raise PermissionDenied
        token = request.POST.get("token", "")[:TOKEN_LENGTH]
        done = pull(chosen, [job], request, token or None)
        if done and done[0].execution_id is not None:
            self.link_run(request, done[0].execution_id)
        back = request.META.get("HTTP_REFERER", "")
        if not url_has_allowed_host_and_scheme(
            back, {request.get_host()}, request.is_secure()
        ):
            back = link("djangojob", self.admin_site.name, {})
        return HttpResponseRedirect(back)

    def link_run(self, request: HttpRequest, execution_id: int) -> None:
        """Lead the user to the run that was queued."""
        if request.user.has_perm("django_apscheduler.view_djangojobexecution"):
            messages.info(
                request,
                format_html(
                    '<a href="{}">{}</a>',
                    self.execution_address(execution_id),
                    gettext("See what becomes of the run"),
                ),
            )

    def save_model(
        self, request: HttpRequest, obj: DjangoJob, form: Any, change: bool
    ) -> None:
        """Hand the changed fields, and only those, to the scheduler."""
        from django_apscheduler import get_scheduler

        changes = {
            name: form.cleaned_data[name]
            for name in form.changed_data
            if name in EDITABLE
        }
        if changes:
            get_scheduler().modify_job(obj.pk, **changes)
            # Else the next deploy would change a declared job back.
            sync.override(obj.pk, changes)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except (JobLookupError, ValueError, TypeError) as error:
            if request.method != "POST":
                raise
            # The transaction around the save has been rolled back.
            messages.error(
                request,
                gettext("Nothing was changed: %(error)s") % {"error": error},
            )
            return HttpResponseRedirect(request.get_full_path())

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
