"""
Adding and changing jobs in the admin.

A job is changed under its row's lock, in one transaction: what was submitted is held
against what the row is by then, and either all of it is saved or nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import flatten_fieldsets, unquote
from django.core.exceptions import PermissionDenied
from django.db import connections, transaction
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    JsonResponse,
)
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, override
from django.utils.translation import gettext_lazy as _

from django_apscheduler import audit, clock, conf, serialization, sync
from django_apscheduler.admin.base import NOUGHT
from django_apscheduler.admin.forms import conflicts, describing
from django_apscheduler.admin.forms.job import ARGUMENTS, ONLY_NEW, Access, JobForm
from django_apscheduler.admin.levers import reverting
from django_apscheduler.admin.triggers import previews, schedules
from django_apscheduler.admin.triggers.editor import TriggerEditor
from django_apscheduler.db import database_now, repeat_deadlocks, resolve_alias
from django_apscheduler.job import FINISHED
from django_apscheduler.jobstores.base import ConflictingIdError, JobLookupError
from django_apscheduler.jobstores.django.sql import begin_to_write
from django_apscheduler.models import DjangoJob, SchedulerProcess
from django_apscheduler.triggers.cron.fields import FIELD_NAMES

RELIABILITY = (
    "misfire_grace_time",
    "coalesce",
    "max_instances",
    "executor",
    "on_lost",
    "transactional",
)


class Refused(Exception):
    """Raised when the scheduler refuses what a form says; undoes the transaction."""


class JobEditing:
    """The pages on which a job is added or changed."""

    form = JobForm
    change_form_template = "admin/django_apscheduler/djangojob/change_form.html"
    add_form_template = change_form_template

    # Rights

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "add_djangojob")

    def has_change_permission(
        self, request: HttpRequest, obj: DjangoJob | None = None
    ) -> bool:
        if obj is not None and obj.state == FINISHED:
            return False
        return self.may(request, "change_djangojob") or self.may(
            request, "reschedule_job"
        )

    def has_view_permission(
        self, request: HttpRequest, obj: DjangoJob | None = None
    ) -> bool:
        return self.sees_jobs(request)

    def access(self, request: HttpRequest, obj: DjangoJob | None) -> Access:
        """Return what this user may do with the form of this job, or of a new one."""
        # Asked several times for one page, and it takes queries.
        known = request.__dict__.setdefault("dja_access", {})
        key = None if obj is None else obj.pk
        if key not in known:
            known[key] = self.new_access(request, obj)
        return replace(known[key], refusal=getattr(request, "dja_refusal", ""))

    def new_access(self, request: HttpRequest, obj: DjangoJob | None) -> Access:
        may_see = self.may(request, "view_sensitive")
        editable: set[str] = set()
        if obj is None or self.may(request, "change_djangojob"):
            editable = {"name", "trigger", *RELIABILITY}
            if may_see:
                editable |= set(ARGUMENTS)
            if obj is None:
                editable |= {"func", *ONLY_NEW}
            elif may_see and obj.declaration is None:
                # Who cannot see the arguments cannot tell what they would be given to.
                editable.add("func")
        elif self.may(request, "reschedule_job"):
            editable = {"trigger"}
        if obj is not None and not self.has_change_permission(request, obj):
            editable = set()
        return Access(
            editable=frozenset(editable),
            may_see=may_see,
            source=self.source(request) if obj is None else None,
            executors=self.executors() if "executor" in editable else {},
            redisplay="_preview" in request.POST,
        )

    def source(self, request: HttpRequest) -> DjangoJob | None:
        """Return the job that a new one is to be a duplicate of, if one was named."""
        named = request.POST.get("duplicate") or request.GET.get("duplicate")
        if not named:
            return None
        job = self.get_object(request, named)
        return job if job and self.has_view_permission(request, job) else None

    def executors(self) -> dict[str, bool]:
        """Return the known executors: alias -> whether a live scheduler offers it."""
        using = resolve_alias()
        found = dict.fromkeys(("default", *conf.configuration().executors), False)
        alive = SchedulerProcess.objects.using(using).filter(
            state=SchedulerProcess.State.ALIVE, lease_until__gt=database_now(using)
        )
        for offered in alive.values_list("executors", flat=True):
            found.update(dict.fromkeys(json.loads(offered or "{}"), True))
        return found

    # The form

    def get_form(
        self,
        request: HttpRequest,
        obj: DjangoJob | None = None,
        change: bool = False,
        **options: Any,
    ) -> type[JobForm]:
        access = self.access(request, obj)
        return type("AllowedJobForm", (JobForm,), {"access": access})

    def get_fieldsets(self, request: HttpRequest, obj: DjangoJob | None = None) -> Any:
        editable = self.access(request, obj).editable
        if not editable:
            return super().get_fieldsets(request, obj)
        if obj is None:
            what = ["id", "name", "func", *ARGUMENTS]
            when = ["trigger", "preview", "paused"]
            sets = [
                (_("What"), {"fields": [n for n in what if n != "preview"]}),
                (_("When"), {"fields": when}),
                (_("Reliability"), {"fields": list(RELIABILITY)}),
            ]
            hidden = set(ARGUMENTS) - editable
            for _name, options in sets:
                options["fields"] = [n for n in options["fields"] if n not in hidden]
            return sets
        return self.change_fieldsets(request, obj, editable)

    def change_fieldsets(
        self, request: HttpRequest, obj: DjangoJob, editable: frozenset[str]
    ) -> Any:
        """Return the form's fieldsets: fields where they may be edited, else texts."""

        def one(name: str, text: str) -> str:
            return name if name in editable else text

        arguments = ARGUMENTS if "args" in editable else ("arguments",)
        what = (one("name", "name"), "identity", one("func", "callable"), *arguments)
        shown = dict.fromkeys(RELIABILITY)
        if "executor" not in editable:
            shown = dict.fromkeys(
                (*RELIABILITY[:3], "executor_name", "on_lost_text"),
            )
        sets = [
            (_("What"), {"fields": (*what, "declared", "dates")}),
            (
                _("When"),
                {"fields": ("condition", "schedule", "next_run", "trigger", "preview")},
            ),
            (_("Reliability"), {"fields": tuple(shown)}),
            (_("Recent runs"), {"fields": ("latest_runs", "run_table")}),
        ]
        if obj.error or obj.state == DjangoJob.State.BROKEN:
            sets.insert(0, (_("Trouble"), {"fields": ("trouble",)}))
        return sets

    def get_readonly_fields(
        self, request: HttpRequest, obj: DjangoJob | None = None
    ) -> Any:
        editable = self.access(request, obj).editable
        names = flatten_fieldsets(self.get_fieldsets(request, obj))
        return tuple(name for name in names if name not in editable)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        defaults = conf.configuration().job_defaults
        initial = {
            "executor": "default",
            "on_lost": "rerun",
            **{name: defaults[name] for name in RELIABILITY if name in defaults},
        }
        job = self.source(request)
        if job is None:
            return {**initial, "name": request.GET.get("name", "")}
        form = type("Shown", (JobForm,), {"access": self.access(request, None)})
        names = (*RELIABILITY, "func", "name")
        initial.update({name: getattr(job, name) for name in names})
        if self.may(request, "view_sensitive"):
            initial.update(form(instance=None).shown)
        initial["name"] = gettext("Copy of %(job)s") % {"job": job.name or job.pk}
        return {**initial, "duplicate": job.pk, "paused": True}

    # The pages

    def get_urls(self) -> list[Any]:
        own = path(
            "preview/",
            self.admin_site.admin_view(self.preview_view),
            name="django_apscheduler_djangojob_preview",
        )
        return [own, *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> Any:
        rows = super().get_queryset(request)
        # What decides about a change must not be read from a replica.
        return rows.using(resolve_alias()) if request.method == "POST" else rows

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if request.method != "POST" or NOUGHT in unquote(object_id or ""):
            return super().changeform_view(request, object_id, form_url, extra_context)
        page = super().changeform_view

        def attempt() -> HttpResponse:
            with transaction.atomic(using=resolve_alias()):
                begin_to_write(resolve_alias())
                if object_id is not None and not locked(unquote(object_id)):
                    return self.deleted(request, unquote(object_id), extra_context)
                return page(request, object_id, form_url, extra_context)

        try:
            return repeat_deadlocks(resolve_alias(), attempt)
        except Refused as error:
            request.dja_refusal = gettext("Nothing was saved: %(error)s") % {
                "error": error
            }
        # Again, to show what was typed beside the reason; now nothing is saved.
        return super().changeform_view(request, object_id, form_url, extra_context)

    def deleted(
        self, request: HttpRequest, job_id: str, extra_context: dict[str, Any] | None
    ) -> HttpResponse:
        """Say that the job of a form is gone, and keep what was typed."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        note = conflicts.deleted_note(job_id)
        if not self.may(request, "add_djangojob"):
            context = {
                **self.admin_site.each_context(request),
                "title": note,
                "opts": self.opts,
                "typed": typed(request.POST),
            }
            template = "admin/django_apscheduler/djangojob/deleted.html"
            return TemplateResponse(request, template, context, status=410)
        data = request.POST.copy()
        data["id"] = job_id
        request.POST = data  # type: ignore[assignment]
        request.dja_refusal = note + " " + gettext("Save to add it as a new job.")
        address = self.form_address("add")
        return super().changeform_view(request, None, address, extra_context)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **options: Any
    ) -> HttpResponse:
        form = context["adminform"].form
        if isinstance(form, JobForm):
            job = form.instance
            job.shown_preview = self.shown_preview(form)
            context["job_form"] = form
            context["sentences"] = sentences(form)
            if form.job is not None and form.access.editable:
                self.note_overrides(form, form.job)
        return super().render_change_form(request, context, *args, **options)

    def note_overrides(self, form: JobForm, job: DjangoJob) -> None:
        """Say beneath each field that staff changed what the code has."""
        for changed in reverting.overrides_of(job, form.access.may_see):
            field = form.fields.get(changed.field)
            if field is not None:
                field.help_text = format_html(
                    '{} <span class="dja-in-code">{}</span>',
                    field.help_text,
                    gettext("Changed by staff; in code: %(value)s")
                    % {"value": changed.in_code},
                )

    # The preview

    @admin.display(description=_("preview"))
    def preview(self, job: DjangoJob) -> SafeString:
        """The region of the page that the script keeps up to date."""
        button = gettext("Preview")
        return format_html(
            '<div class="dja-preview-region" id="dja-preview" aria-live="polite" '
            'data-address="{}">{}</div><button type="submit" class="dja-button" '
            'name="_preview" value="1" formnovalidate>{}</button>',
            self.form_address("preview"),
            getattr(job, "shown_preview", ""),
            button,
        )

    def form_address(self, name: str) -> str:
        return reverse(
            f"admin:django_apscheduler_djangojob_{name}",
            current_app=self.admin_site.name,
        )

    def shown_preview(self, form: JobForm) -> SafeString | str:
        """Return the preview of the schedule that the form shows."""
        editor, job = form.editor, form.job
        if form.is_bound:
            if editor.restructured or not editor.is_valid():
                return ""
            if editor.changed or job is None:
                return self.preview_of(editor, None)
        elif job is None and form.access.source is None:
            return ""
        trigger = editor.original
        if trigger is None:
            return ""
        if job is None:
            return previews.render(previews.preview(trigger, clock.now()))
        return self.next_times(job)

    def preview_of(self, editor: TriggerEditor, job: DjangoJob | None) -> SafeString:
        found = previews.preview(
            editor.trigger, clock.now(), raw_crontab=editor.raw_crontab
        )
        return previews.render(found)

    def preview_view(self, request: HttpRequest) -> HttpResponse:
        """
        Answer what a schedule that is being edited would do: HTML, and cron fields.

        Nothing is stored. Takes the fields of the trigger editor, and the form's base.
        """
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        allowed = ("add_djangojob", "change_djangojob", "reschedule_job")
        if not any(self.may(request, codename) for codename in allowed):
            raise PermissionDenied
        base = conflicts.read_base(request.POST.get("base", ""))
        original = None
        if base is not None and base.trigger:
            then = DjangoJob(trigger=base.trigger)
            original = schedules.schedule_of(then).trigger
        kept = "" if original is not None or base is None else "–"
        editor = TriggerEditor(request.POST, trigger=original, kept=kept)
        answer: dict[str, Any] = {"errors": [], "html": "", "cron": {}, "meant": {}}
        if not editor.is_valid():
            answer["errors"] = editor.errors
            answer["html"] = error_list(editor.errors)
        elif editor.trigger is not None:
            answer["html"] = self.preview_of(editor, None)
            answer["cron"] = expressed(editor)
            answer["meant"] = meant(editor)
        return JsonResponse(answer)

    # Saving

    def save_model(
        self, request: HttpRequest, obj: DjangoJob, form: Any, change: bool
    ) -> None:
        """Hand what the form says to the scheduler."""
        try:
            if change:
                self.save_changes(obj, form)
            else:
                self.save_new(request, obj, form)
        except (LookupError, ConflictingIdError, ValueError, TypeError) as error:
            raise Refused(error) from error

    def save_changes(self, job: DjangoJob, form: JobForm) -> None:
        from django_apscheduler import get_scheduler

        form.before = {name: getattr(job, name) for name in form.changes}
        if not form.changes:
            return
        try:
            get_scheduler().modify_job(job.pk, **options(form.changes))
        except JobLookupError:
            # Its row is locked and there, so it is the reading that failed.
            raise Refused(
                gettext(
                    "the job cannot be read as it is stored; its page tells why under "
                    "Trouble."
                )
            ) from None
        if job.declaration is not None:
            # Else the next deploy would change it back.
            sync.override(job.pk, form.changes)

    def save_new(self, request: HttpRequest, obj: DjangoJob, form: JobForm) -> None:
        from django_apscheduler import get_scheduler

        new = options(form.changes)
        if not new.get("name"):
            new.pop("name", None)
        if form.cleaned_data.get("paused"):
            new["next_run_time"] = None
        added = get_scheduler().add_job(
            id=form.cleaned_data["id"], jobstore=store_alias(), **new
        )
        obj.pk = added.id
        rows = DjangoJob.objects.using(resolve_alias())
        if form.cleaned_data.get("paused"):
            # Who paused it is a note that no scheduler reads.
            rows.filter(pk=obj.pk).update(paused_by=request.user.get_username())
        obj.refresh_from_db(using=resolve_alias())
        obj._state.adding = False

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> Any:
        if add:
            return super().construct_change_message(request, form, formsets, add)
        with override(None):
            return audit.changed(
                (
                    describing.LABELS[name],
                    describing.value(name, form.before[name]),
                    describing.value(name, form.changes[name]),
                )
                for name in conflicts.COLUMNS
                if name in form.changes
            )

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        if message == "[]":
            # Saved as it was: nothing to tell.
            return None
        return super().log_change(request, obj, message)

    def response_add(
        self, request: HttpRequest, obj: DjangoJob, *args: Any
    ) -> HttpResponse:
        self.warn_of_executor(request, obj)
        return super().response_add(request, obj, *args)

    def response_change(self, request: HttpRequest, obj: DjangoJob) -> HttpResponse:
        obj.refresh_from_db(using=resolve_alias())
        self.warn_of_executor(request, obj)
        return super().response_change(request, obj)

    def warn_of_executor(self, request: HttpRequest, job: DjangoJob) -> None:
        """Say that a job waits for a scheduler, when there are others."""
        executors = self.executors()
        if any(executors.values()) and not executors.get(job.executor):
            messages.warning(
                request,
                gettext(
                    "No live scheduler offers the executor “%(executor)s”: the job "
                    "runs once one does."
                )
                % {"executor": job.executor},
            )


def locked(job_id: str) -> bool:
    """Lock a job's row against claims and other edits; tell whether there is one."""
    using = resolve_alias()
    rows = DjangoJob.objects.using(using).filter(pk=job_id)
    if connections[using].features.has_select_for_update:
        rows = rows.select_for_update()
    return rows.first() is not None


def options(columns: dict[str, Any]) -> dict[str, Any]:
    """Return columns as arguments of the scheduler's methods."""
    found = dict(columns)
    for name in ARGUMENTS:
        if name in found:
            found[name] = serialization.load_arguments(found[name])
    if "trigger" in found:
        found["trigger"] = serialization.load_trigger(found["trigger"])
    return found


def store_alias() -> str:
    """Return the alias of the job store whose jobs the admin shows."""
    stores = sync.django_stores(conf.configuration())
    return min(stores.get(resolve_alias(), {"default"}))


def expressed(editor: TriggerEditor) -> dict[str, str]:
    """Return, by id of the box, what expressions fill into the fields beneath them."""
    found: dict[str, str] = {}
    if editor.raw_crontab:
        form = editor.cron_form
        for name in (*FIELD_NAMES, "day_or"):
            found[str(form[name].auto_id)] = form[name].value() or ""
    for child in editor.children:
        if child.is_bound:
            found.update(expressed(child))
    return found


def meant(editor: TriggerEditor) -> dict[str, str]:
    """Return, by id of the box, what cron fields that are left empty mean."""
    found: dict[str, str] = {}
    if editor.chosen == "cron" and editor.trigger is not None:
        form = editor.cron_form
        for name, text in form.filled_in(editor.trigger).items():
            found[str(form[name].auto_id)] = text
    for child in editor.children:
        if child.is_bound:
            found.update(meant(child))
    return found


def sentences(form: JobForm) -> list[tuple[str, str]]:
    """Return the form's errors as sentences, each with the id of its field."""
    found = []
    places = {problem.text: problem.place for problem in form.editor.problems}
    for name, errors in form.errors.items():
        for error in errors:
            if name == "__all__":
                found.append(("", str(error)))
            elif name == "trigger":
                text = str(error)
                found.append((places.get(text, form.editor.place), text))
            else:
                label = str(form.fields[name].label)
                text = str(error)
                # What is said of arguments names them already.
                if not text.startswith(label):
                    text = gettext("%(field)s: %(problem)s") % {
                        "field": label,
                        "problem": text,
                    }
                found.append((str(form[name].auto_id), text))
    return found


def error_list(errors: list[str]) -> SafeString:
    items = format_html_join("", "<li>{}</li>", ((error,) for error in errors))
    return format_html('<ul class="dja-problems">{}</ul>', items)


def typed(data: Any) -> Iterator[tuple[str, str]]:
    """Yield what was typed into a form that cannot be shown any more."""
    for name, value in data.items():
        if value and name not in ("csrfmiddlewaretoken", "base") and name[0] != "_":
            yield name, value
