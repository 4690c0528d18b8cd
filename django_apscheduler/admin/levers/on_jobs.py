"""The buttons of jobs, what they lead to, and the same for many jobs at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
)
from django.urls import NoReverseMatch, URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_apscheduler.admin import badges
from django_apscheduler.admin.levers.asking import Asking, Button
from django_apscheduler.admin.levers.levers import (
    LEVERS,
    TOKEN_LENGTH,
    Lever,
    Wish,
    new_token,
    obstacles,
    pull,
    reason_of,
)
from django_apscheduler.admin.levers.pausing import Pausing
from django_apscheduler.admin.levers.rescheduling import Rescheduling
from django_apscheduler.admin.levers.reverting import Reverting
from django_apscheduler.models import DjangoJob


def _bulk_action(lever: Lever) -> Callable[..., Any]:
    """Return the admin action that pulls a lever on all selected jobs."""

    @admin.action(
        description=lever.bulk_label, permissions=[lever.permission.split("_")[0]]
    )
    def act(modeladmin: Any, request: HttpRequest, queryset: Any) -> Any:
        if lever.asks:
            return modeladmin.ask_to_pause(request, queryset)
        wish = Wish(request.user.get_username())
        pull(lever, queryset.order_by("pk"), request, wish)
        return None

    act.__name__ = f"{lever.name}_selected"
    return act


@admin.action(description=_("Reschedule selected jobs"), permissions=["reschedule"])
def reschedule_selected(modeladmin: Any, request: HttpRequest, queryset: Any) -> Any:
    return modeladmin.ask_to_reschedule(request, queryset)


class JobLevers(Pausing, Rescheduling, Reverting, Asking):
    """The part of the jobs' admin that does things to jobs."""

    actions = (
        *(_bulk_action(lever) for lever in LEVERS.values()),
        reschedule_selected,
    )

    # Rights

    def has_run_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "run_job")

    def has_pause_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "pause_job")

    # Buttons

    @admin.display(description=_("actions"))
    def levers(self, job: DjangoJob) -> SafeString:
        return format_html_join(
            " ",
            "{}",
            ((self.row_button(job, button),) for button in self.levers_of(job)),
        )

    def row_button(self, job: DjangoJob, button: Button) -> SafeString:
        label = f"{button.label}: {job.name or job.pk}"
        if not button.posts:
            return format_html(
                '<a class="dja-button" href="{}" aria-label="{}">{}{}</a>',
                button.address,
                label,
                button.icon,
                button.label,
            )
        # A button of the list's own form, which carries the CSRF token; formaction
        # sends it to the job's own address, without script.
        return format_html(
            '<button type="submit" class="dja-button" formaction="{}" '
            'name="token" value="{}" aria-label="{}">{}{}</button>',
            button.address,
            new_token(),
            label,
            button.icon,
            button.label,
        )

    def levers_of(self, job: DjangoJob) -> list[Button]:
        """Return what this user may do to this job and what makes sense for it."""
        sensible = []
        if job.state != DjangoJob.State.BROKEN:
            sensible.append("run")
        if job.state == DjangoJob.State.ACTIVE:
            sensible.append("pause")
        if job.state == DjangoJob.State.PAUSED:
            sensible.append("resume")
        return [
            Button(
                job.addresses.of(f"djangojob_{name}", job.pk),
                badges.icon(LEVERS[name].icon),
                str(LEVERS[name].label),
                not LEVERS[name].asks,
            )
            for name in sensible
            if name in job.allowed_levers
        ]

    def buttons_of(self, request: HttpRequest, job: DjangoJob) -> list[Button]:
        """Return the buttons of a job's own page."""
        buttons = self.levers_of(job)
        if self.has_add_permission(request):
            address = reverse(
                "admin:django_apscheduler_djangojob_add",
                current_app=self.admin_site.name,
            )
            buttons.append(
                Button(
                    f"{address}?{urlencode({'duplicate': job.pk})}",
                    badges.icon("stack"),
                    gettext("Duplicate"),
                    posts=False,
                )
            )
        if self.may_revert(request, job):
            buttons.append(
                Button(
                    self.own_address("revert", job),
                    badges.icon("merge"),
                    gettext("Revert to code"),
                    posts=False,
                )
            )
        return buttons

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        *args: Any,
        obj: DjangoJob | None = None,
        **kwargs: Any,
    ) -> HttpResponse:
        if obj is not None:
            context["token"] = new_token()
            context["levers"] = self.buttons_of(request, obj)
        return super().render_change_form(request, context, *args, obj=obj, **kwargs)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {}
        if self.may(request, "pause_job"):
            context["pause_all_address"] = self.own_address("pause_all")
            context["resume_all_address"] = self.own_address("resume_all")
        return super().changelist_view(request, {**context, **(extra_context or {})})

    # Addresses

    def get_urls(self) -> list[URLPattern]:
        own = [
            path(
                f"<path:object_id>/{name}/",
                self.admin_site.admin_view(self.lever_view),
                {"lever": name},
                name=f"django_apscheduler_djangojob_{name}",
            )
            for name, lever in LEVERS.items()
            if not lever.asks
        ]
        return [
            *self.pausing_urls(),
            *self.rescheduling_urls(),
            *self.reverting_urls(),
            *own,
            *super().get_urls(),
        ]

    # Doing

    def lever_view(
        self, request: HttpRequest, object_id: str, lever: str
    ) -> HttpResponse:
        """Pull a lever on one job and go on where that leads."""
        chosen = LEVERS[lever]
        job = self.row_for(request, object_id, chosen.permission, ("POST",))
        if not isinstance(job, DjangoJob):
            return job
        token = request.POST.get("token", "")[:TOKEN_LENGTH]
        wish = Wish(request.user.get_username(), token=token or None)
        done = pull(chosen, [job], request, wish)
        if lever != "run":
            return self.back(request)
        if not done or done[0].execution_id is None:
            if reason_of(job):
                messages.error(
                    request,
                    gettext("The reason: %(error)s") % {"error": reason_of(job)},
                )
            return self.back(request)
        for obstacle in obstacles(job, done[0].execution_id):
            messages.warning(request, obstacle)
        return self.to_run(request, job, done[0].execution_id)

    def to_run(
        self, request: HttpRequest, job: DjangoJob, execution_id: int
    ) -> HttpResponse:
        """Lead the user to a run that was queued, if he may see it."""
        if self.sees_runs(request):
            try:
                return HttpResponseRedirect(self.execution_address(execution_id))
            except NoReverseMatch:
                # A project's own admin may leave the log out.
                pass
        return self.back(request)
