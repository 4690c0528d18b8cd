"""The buttons of executions, retry and cancel, and the same for many at once."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from django_apscheduler import clock
from django_apscheduler.admin import badges, words
from django_apscheduler.admin.levers import cancelling, retrying
from django_apscheduler.admin.levers.asking import Asking, Button
from django_apscheduler.admin.levers.levers import (
    DONE,
    GONE,
    REFUSED,
    TOKEN_LENGTH,
    new_token,
    obstacles,
    pack,
    reason_of,
    tell_counts,
)
from django_apscheduler.models import DjangoJob, DjangoJobExecution

#: Runs that the page of a bulk action names.
NAMED_RUNS = 20


@admin.action(description=_("Retry selected runs"), permissions=["run"])
def retry_selected(modeladmin: Any, request: HttpRequest, queryset: Any) -> Any:
    return modeladmin.ask_to_retry(request, queryset)


@admin.action(description=_("Cancel selected runs"), permissions=["cancel"])
def cancel_selected(modeladmin: Any, request: HttpRequest, queryset: Any) -> Any:
    return modeladmin.ask_to_cancel(request, queryset)


class ExecutionLevers(Asking):
    """The part of the executions' admin that does things to runs."""

    actions = (retry_selected, cancel_selected)

    # Rights

    def has_run_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "run_job")

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "cancel_execution")

    # Buttons

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        name = "django_apscheduler_djangojobexecution"
        return [
            path(
                "_selected/retry/",
                view(self.retry_selected_view),
                name=f"{name}_retry_selected",
            ),
            path(
                "_selected/cancel/",
                view(self.cancel_selected_view),
                name=f"{name}_cancel_selected",
            ),
            path(
                "<path:object_id>/retry/", view(self.retry_view), name=f"{name}_retry"
            ),
            path(
                "<path:object_id>/cancel/",
                view(self.cancel_view),
                name=f"{name}_cancel",
            ),
            *super().get_urls(),
        ]

    def buttons_of(
        self, request: HttpRequest, row: DjangoJobExecution, job: DjangoJob | None
    ) -> list[Button]:
        """Return what this user may do to this run and what makes sense for it."""
        buttons = []
        if self.has_run_permission(request) and retrying.retryable(row, job) == DONE:
            buttons.append(
                Button(
                    self.own_address("retry", row),
                    badges.icon("play"),
                    gettext("Retry"),
                )
            )
        if (
            self.has_cancel_permission(request)
            and row.status in DjangoJobExecution.ACTIVE
        ):
            buttons.append(
                Button(
                    self.own_address("cancel", row),
                    badges.icon("slash"),
                    gettext("Cancel"),
                    # One that waits just never begins; there is nothing to explain.
                    posts=row.status == DjangoJobExecution.QUEUED,
                )
            )
        return buttons

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        *args: Any,
        obj: DjangoJobExecution | None = None,
        **kwargs: Any,
    ) -> HttpResponse:
        if obj is not None:
            job = self.job_of(obj)
            context["token"] = new_token()
            context["levers"] = self.buttons_of(request, obj, job)
            if (
                job is not None
                and self.has_run_permission(request)
                and retrying.retryable(obj, job) == DONE
            ):
                context["lever_note"] = retrying.changed_since(obj, job, clock.now())
        return super().render_change_form(request, context, *args, obj=obj, **kwargs)

    def job_of(self, row: DjangoJobExecution) -> DjangoJob | None:
        """Return the job of a run, None if it was deleted."""
        if row.job_id is None:
            return None
        return DjangoJob.objects.using(row._state.db).filter(pk=row.job_id).first()

    # Retry

    def retry_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Queue a retry of a run and lead to it."""
        row = self.row_for(request, object_id, "run_job", ("POST",))
        if not isinstance(row, DjangoJobExecution):
            return row
        token = request.POST.get("token", "")[:TOKEN_LENGTH]
        outcomes, new = retrying.retry(request, [row], token)
        job = self.job_of(row)
        if not new or job is None:
            self.tell_refused(request, outcomes, job)
            return self.back(request)
        tell_counts(request, retrying.COUNTED, outcomes)
        note = retrying.changed_since(row, job, clock.now())
        for text in (note, *obstacles(job, new[0])):
            if text:
                messages.warning(request, text)
        return HttpResponseRedirect(
            self.own_address("change", DjangoJobExecution(pk=new[0]))
        )

    def tell_refused(
        self, request: HttpRequest, outcomes: Counter[str], job: DjangoJob | None
    ) -> None:
        if outcomes[GONE]:
            text = gettext("Not retried: its job was deleted.")
        elif outcomes[REFUSED]:
            text = gettext("Not retried: its job is broken. %(error)s") % {
                "error": reason_of(job) if job is not None else ""
            }
        else:
            text = gettext("Not retried: the run is not over yet.")
        messages.error(request, text.strip())

    def ask_to_retry(self, request: HttpRequest, queryset: Any) -> HttpResponse:
        """Show which of the selected runs would be tried again."""
        now = clock.now()
        rows = list(queryset.order_by("-run_time", "-pk"))
        jobs = DjangoJob.objects.using(queryset.db).in_bulk(
            list({row.job_id for row in rows if row.job_id is not None})
        )
        outcomes = Counter(
            retrying.retryable(row, jobs.get(row.job_id)) for row in rows
        )
        listed = rows[:NAMED_RUNS]
        entries = retrying.entries_since(listed)
        for row in listed:
            job = jobs.get(row.job_id)
            outcome = retrying.retryable(row, job)
            row.verdict = (
                retrying.changed_since(row, job, now, entries)
                if outcome == DONE and job is not None
                else self.verdicts()[outcome]
            )
        return self.runs_page(
            request,
            "retry_selected",
            listed,
            {row.pk: 0 for row in rows},
            {
                "address": self.own_address("retry_selected"),
                "possible": outcomes[DONE],
                "title": ngettext(
                    "Retry %(count)s run", "Retry %(count)s runs", outcomes[DONE]
                )
                % {"count": outcomes[DONE]},
                "token": new_token(),
            },
        )

    def verdicts(self) -> dict[str, str]:
        return {
            retrying.OPEN: gettext("Left out: it is not over yet."),
            GONE: gettext("Left out: its job was deleted."),
            REFUSED: gettext("Left out: its job is broken."),
        }

    def retry_selected_view(self, request: HttpRequest) -> HttpResponse:
        """Queue retries of the runs that a page showed."""
        shown = self.shown_rows(request, "run_job")
        if not isinstance(shown, dict):
            return shown
        token = request.POST.get("token", "")[:TOKEN_LENGTH]
        rows = self.selected(request, shown)
        outcomes, _new = retrying.retry(request, rows, token)
        tell_counts(request, retrying.COUNTED, outcomes)
        return self.back(request)

    # Cancel

    def cancel_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Say what cancelling a run means (GET), and cancel it (POST)."""
        row = self.row_for(request, object_id, "cancel_execution")
        if not isinstance(row, DjangoJobExecution):
            return row
        if request.method == "POST":
            self.tell_cancelled(request, row, cancelling.cancel(request, [row]))
            return HttpResponseRedirect(self.own_address("change", row))
        if row.status not in DjangoJobExecution.ACTIVE:
            self.tell_cancelled(request, row, Counter({cancelling.OVER: 1}))
            return HttpResponseRedirect(self.own_address("change", row))
        job = self.job_of(row)
        return self.runs_page(
            request,
            "cancel",
            [row],
            {row.pk: 0},
            {
                "address": "",
                "title": gettext("Cancel the run of %(job)s")
                % {"job": row.job_name or row.job_id},
                "label": gettext("Cancel this run"),
                "waiting": int(row.status == DjangoJobExecution.QUEUED),
                "going": int(row.status in DjangoJobExecution.RUNNING),
                "remedies": [cancelling.remedy(row.executor)]
                if row.status in DjangoJobExecution.RUNNING
                else [],
                "undone": job is not None and job.transactional,
            },
        )

    def tell_cancelled(
        self, request: HttpRequest, row: DjangoJobExecution, outcomes: Counter[str]
    ) -> None:
        if outcomes[DONE]:
            messages.success(request, gettext("The run is cancelled."))
        elif outcomes[cancelling.ASKED]:
            messages.success(
                request, gettext("Its scheduler was asked to end the run.")
            )
        elif outcomes[GONE]:
            messages.warning(request, gettext("The run was deleted meanwhile."))
        else:
            messages.warning(request, gettext("The run was over already."))

    def ask_to_cancel(self, request: HttpRequest, queryset: Any) -> HttpResponse:
        """Show what becomes of the selected runs when they are cancelled."""
        rows = list(queryset.order_by("-run_time", "-pk"))
        active = [row for row in rows if row.status in DjangoJobExecution.ACTIVE]
        going = [row for row in active if row.status in DjangoJobExecution.RUNNING]
        return self.runs_page(
            request,
            "cancel",
            active[:NAMED_RUNS],
            {row.pk: 0 for row in active},
            {
                "address": self.own_address("cancel_selected"),
                "title": ngettext(
                    "Cancel %(count)s run", "Cancel %(count)s runs", len(active)
                )
                % {"count": len(active)},
                "label": gettext("Cancel these runs"),
                "waiting": len(active) - len(going),
                "going": len(going),
                "over": len(rows) - len(active),
                "remedies": [
                    cancelling.remedy(alias)
                    for alias in sorted({row.executor for row in going})
                ],
            },
        )

    def cancel_selected_view(self, request: HttpRequest) -> HttpResponse:
        """Cancel the runs that a page showed."""
        shown = self.shown_rows(request, "cancel_execution")
        if not isinstance(shown, dict):
            return shown
        outcomes = cancelling.cancel(request, self.selected(request, shown))
        good = (DONE, cancelling.ASKED)
        tell_counts(request, cancelling.COUNTED, outcomes, good)
        return self.back(request)

    # Pages

    def selected(self, request: HttpRequest, shown: dict[str, int]) -> Any:
        ids = [int(pk) for pk in shown]
        return self.get_queryset(request).filter(pk__in=ids).order_by("pk")

    def runs_page(
        self,
        request: HttpRequest,
        name: str,
        rows: list[DjangoJobExecution],
        shown: dict[int, int],
        context: dict[str, Any],
    ) -> HttpResponse:
        now = clock.now()
        for row in rows:
            row.badge = badges.status_badge(row.status)
            row.when = words.moment_cell(row.run_time, now, seconds=True)
        return self.asking_page(
            request,
            name,
            {
                "rows": rows,
                "more": len(shown) - len(rows),
                "packed": pack(self.opts.model_name, {str(pk): 0 for pk in shown}),
                **context,
            },
        )
