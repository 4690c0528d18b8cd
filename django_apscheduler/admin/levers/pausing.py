"""The pages that ask why and until when: of one job, of many, and of all at once."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.urls import URLPattern, path
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from django_apscheduler import audit, clock, registry
from django_apscheduler.admin import words
from django_apscheduler.admin.levers.levers import LEVERS, Wish, pack, pull
from django_apscheduler.admin.triggers import schedules
from django_apscheduler.db import (
    UTCDateTimeFormField,
    current_zone,
    repeat_deadlocks,
    resolve_alias,
)
from django_apscheduler.models import DjangoJob, SchedulerControl

#: Jobs that the page of a bulk action names.
NAMED_JOBS = 20
#: "Tomorrow" begins then: before the working day, after the night's jobs.
MORNING = time(8)

BY_HAND, HOUR, TOMORROW, WEEK, MOMENT = "", "hour", "tomorrow", "week", "moment"


def quick_choices(now: datetime) -> dict[str, datetime]:
    """Return the moments that the page offers for the end of a pause."""
    tomorrow = words.local(now).date() + timedelta(days=1)
    return {
        HOUR: now + timedelta(hours=1),
        TOMORROW: datetime.combine(tomorrow, MORNING, tzinfo=current_zone()),
        WEEK: now + timedelta(days=7),
    }


class ReasonForm(forms.Form):
    """Why jobs are paused; it may be left empty."""

    reason = forms.CharField(
        label=_("Reason"),
        max_length=255,
        required=False,
        help_text=_("Shown beside the job. May be empty."),
        widget=forms.TextInput(attrs={"class": "vTextField", "autocomplete": "off"}),
    )


class PauseForm(ReasonForm):
    """
    Why jobs are paused, and until when.

    ``cleaned_data["resume_time"]`` is aware, or None for a pause that somebody ends.
    """

    until = forms.ChoiceField(
        label=_("Resume"), required=False, widget=forms.RadioSelect
    )
    moment = UTCDateTimeFormField(
        label=_("At"),
        required=False,
        widget=forms.DateTimeInput(
            attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"
        ),
    )

    def __init__(self, *args: Any, now: datetime, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.now = now
        self.quick = quick_choices(now)
        self.fields["until"].choices = [
            (BY_HAND, gettext("When somebody resumes it")),
            (
                HOUR,
                gettext("In 1 hour (%(moment)s)")
                % {"moment": words.wall(self.quick[HOUR], now)},
            ),
            (
                TOMORROW,
                gettext("Tomorrow (%(moment)s)")
                % {"moment": words.wall(self.quick[TOMORROW], now)},
            ),
            (
                WEEK,
                gettext("In 7 days (%(moment)s)")
                % {"moment": words.wall(self.quick[WEEK], now)},
            ),
            (MOMENT, gettext("At the moment below")),
        ]
        self.fields["moment"].help_text = gettext("In the time zone %(zone)s.") % {
            "zone": str(current_zone())
        }

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        until, moment = data.get("until", BY_HAND), data.get("moment")
        # A moment that was filled in is meant, whichever button is pressed beside it.
        if until == MOMENT or (until == BY_HAND and moment is not None):
            if moment is None and "moment" not in self.errors:
                self.add_error("moment", gettext("Say when the pause ends."))
            elif moment is not None and moment <= self.now:
                self.add_error(
                    "moment",
                    gettext("This moment has passed: it is %(now)s.")
                    % {"now": words.wall(self.now, self.now)},
                )
            data["resume_time"] = moment
        else:
            data["resume_time"] = self.quick.get(until)
        return data


class Pausing:
    """The part of the jobs' admin that pauses."""

    def pausing_urls(self) -> list[URLPattern]:
        name = "django_apscheduler_djangojob"
        view = self.admin_site.admin_view
        return [
            # An underscore that no two hex digits follow is in no quoted job id.
            path(
                "_selected/pause/",
                view(self.pause_selected_view),
                name=f"{name}_pause_selected",
            ),
            path(
                "_all/pause/",
                view(self.everything_view),
                {"paused": True},
                name=f"{name}_pause_all",
            ),
            path(
                "_all/resume/",
                view(self.everything_view),
                {"paused": False},
                name=f"{name}_resume_all",
            ),
            path(
                "<path:object_id>/pause/",
                view(self.pause_view),
                name=f"{name}_pause",
            ),
        ]

    # One job

    def pause_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask why and until when (GET), and pause a job (POST)."""
        job = self.row_for(request, object_id, "pause_job")
        if not isinstance(job, DjangoJob):
            return job
        now = clock.now()
        form = PauseForm(request.POST if request.method == "POST" else None, now=now)
        if request.method == "POST" and form.is_valid():
            wish = Wish(
                request.user.get_username(),
                reason=form.cleaned_data["reason"],
                resume_time=form.cleaned_data["resume_time"],
            )
            pull(LEVERS["pause"], [job], request, wish)
            return self.back(request)
        return self.pause_page(
            request,
            form,
            [job],
            1,
            title=gettext("Pause %(job)s") % {"job": job},
        )

    # Many jobs

    def ask_to_pause(self, request: HttpRequest, queryset: Any) -> HttpResponse:
        """Show the page on which a pause of the selected jobs is ordered."""
        shown = dict(queryset.order_by("pk").values_list("pk", "revision"))
        return self.pause_selected_page(
            request,
            PauseForm(now=clock.now()),
            pack(self.opts.model_name, shown),
            shown,
        )

    def pause_selected_view(self, request: HttpRequest) -> HttpResponse:
        """Pause the jobs that a page showed."""
        shown = self.shown_rows(request, "pause_job")
        if not isinstance(shown, dict):
            return shown
        form = PauseForm(request.POST, now=clock.now())
        if not form.is_valid():
            packed = request.POST["rows"]
            return self.pause_selected_page(request, form, packed, shown)
        wish = Wish(
            request.user.get_username(),
            reason=form.cleaned_data["reason"],
            resume_time=form.cleaned_data["resume_time"],
            shown=shown,
        )
        jobs = self.get_queryset(request).filter(pk__in=list(shown)).order_by("pk")
        pull(LEVERS["pause"], jobs, request, wish)
        return self.back(request)

    def pause_selected_page(
        self,
        request: HttpRequest,
        form: PauseForm,
        packed: str,
        shown: dict[str, int],
    ) -> HttpResponse:
        jobs = self.get_queryset(request).filter(pk__in=sorted(shown)[:NAMED_JOBS])
        title = ngettext("Pause %(count)s job", "Pause %(count)s jobs", len(shown)) % {
            "count": len(shown)
        }
        return self.pause_page(
            request,
            form,
            jobs.order_by("pk"),
            len(shown),
            title=title,
            packed=packed,
            address=self.own_address("pause_selected"),
        )

    def pause_page(
        self,
        request: HttpRequest,
        form: PauseForm,
        jobs: Any,
        count: int,
        **context: Any,
    ) -> HttpResponse:
        listed = list(jobs)
        for job in listed:
            job.shown_schedule = schedules.schedule_of(job)
            job.shown_next = words.moment_cell(job.next_run_time, form.now)
        return self.asking_page(
            request,
            "pause",
            {
                "form": form,
                "jobs": listed,
                "more": count - len(listed),
                "label": LEVERS["pause"].label,
                **context,
            },
        )

    # All jobs

    def everything_view(self, request: HttpRequest, paused: bool) -> HttpResponse:
        """Ask (GET), and pause or resume all jobs of the database (POST)."""
        if request.method not in ("GET", "HEAD", "POST"):
            return HttpResponseNotAllowed(["GET", "POST"])
        if not self.may(request, "pause_job") or not self.has_view_permission(request):
            raise PermissionDenied
        form = ReasonForm(request.POST if request.method == "POST" else None)
        form.fields["reason"].help_text = gettext("Shown on every page. May be empty.")
        if request.method == "POST" and form.is_valid():
            self.set_all_paused(request, paused, form.cleaned_data["reason"])
            return self.back(request)
        return self.asking_page(
            request,
            "pause_all",
            {
                "form": form if paused else None,
                "paused": paused,
                "title": gettext("Pause all jobs")
                if paused
                else gettext("Resume all jobs"),
            },
        )

    def set_all_paused(self, request: HttpRequest, paused: bool, reason: str) -> None:
        """Pull the one switch, with its line in the admin's log, unless it is so already."""
        using = resolve_alias()
        user = request.user.get_username()

        def switch() -> bool:
            with transaction.atomic(using=using):
                control = SchedulerControl.objects.using(using)
                row = control.filter(pk=SchedulerControl.ROW)
                # The rival is somebody who pulls it at the same moment; the write
                # holds the row until this transaction ends.
                if row.filter(paused=paused).update(paused=paused):
                    return False
                if not paused and not row.exists():
                    return False
                for store in registry.shared_stores():
                    if paused:
                        store.pause_all(by=user, reason=reason)
                    else:
                        store.resume_all()
                said = "Paused all jobs" if paused else "Resumed all jobs"
                audit.log(
                    request.user.pk,
                    [SchedulerControl(pk=SchedulerControl.ROW)],
                    message=f"{said}: {reason}" if reason else f"{said}.",
                )
                return True

        if not repeat_deadlocks(using, switch):
            messages.warning(
                request,
                gettext("All jobs were paused already.")
                if paused
                else gettext("All jobs were not paused."),
            )
        elif paused:
            messages.success(
                request,
                gettext("All jobs are paused. Runs under way go on to their end."),
            )
        else:
            messages.success(
                request,
                gettext("Resumed. Jobs that were paused by themselves stay paused."),
            )
