"""
Rescheduling many jobs: what is wanted, a table of old and new, and then the doing.

The table's page carries the new triggers, signed, with the revisions of the jobs that it
showed. So exactly what was shown is done, and a job that was changed meanwhile is left
alone and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from typing import Any

from django import forms
from django.contrib import messages
from django.core import signing
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext, ngettext, ngettext_lazy
from django.utils.translation import gettext_lazy as _

from django_apscheduler import audit, clock, describe, planning, serialization, sync
from django_apscheduler.admin import words
from django_apscheduler.admin.levers.levers import (
    CHANGED,
    CHANGED_COUNT,
    DONE,
    GONE,
    GONE_COUNT,
    REFUSED,
    SAME,
    Request,
    Wish,
    pack,
    still_there,
    tell_counts,
)
from django_apscheduler.admin.triggers import previews, schedules
from django_apscheduler.admin.triggers.editor import TriggerEditor
from django_apscheduler.admin.triggers.fields import ZoneField
from django_apscheduler.admin.triggers.shifts import CannotMove, rezone, shift
from django_apscheduler.db import repeat_deadlocks, resolve_alias
from django_apscheduler.jobstores.base import JobLookupError
from django_apscheduler.models import DjangoJob

#: Jobs that are rescheduled at once; their table is to be read by somebody.
MOST_JOBS = 500
#: Units by which schedules are moved at most, whatever the unit.
MOST_UNITS = 10_000

TRIGGER, SHIFT, ZONE = "trigger", "shift", "zone"
UNITS = {
    "minutes": timedelta(minutes=1),
    "hours": timedelta(hours=1),
    "days": timedelta(days=1),
}
_PLAN = "django_apscheduler.reschedule"

COUNTED = {
    DONE: ngettext_lazy("%(count)s rescheduled", "%(count)s rescheduled", "count"),
    SAME: ngettext_lazy(
        "%(count)s had this schedule already",
        "%(count)s had this schedule already",
        "count",
    ),
    CHANGED: CHANGED_COUNT,
    REFUSED: ngettext_lazy(
        "%(count)s could not be rescheduled",
        "%(count)s could not be rescheduled",
        "count",
    ),
    GONE: GONE_COUNT,
}


class RescheduleForm(forms.Form):
    """What is to become of the schedules; a trigger comes from the editor beside it."""

    how = forms.ChoiceField(
        label=_("What to change"),
        choices=(
            (SHIFT, _("Move them by an amount of time")),
            (ZONE, _("Give them another time zone, by the same clock times")),
            (TRIGGER, _("Give them all one new schedule")),
        ),
        widget=forms.RadioSelect,
        initial=SHIFT,
    )
    amount = forms.IntegerField(
        label=_("Amount"),
        required=False,
        min_value=-MOST_UNITS,
        max_value=MOST_UNITS,
        help_text=_("Negative for earlier."),
    )
    unit = forms.ChoiceField(
        label=_("Unit"),
        required=False,
        choices=(
            ("minutes", _("minutes")),
            ("hours", _("hours")),
            ("days", _("days")),
        ),
    )
    zone = ZoneField(label=_("Time zone"), help_text=_("Such as Europe/Berlin."))

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        how = data.get("how")
        if how == SHIFT and not data.get("amount") and "amount" not in self.errors:
            self.add_error("amount", gettext("Say by how much, such as 15 or -15."))
        if how == ZONE and data.get("zone") is None and "zone" not in self.errors:
            self.add_error("zone", gettext("Name a time zone, such as Europe/Berlin."))
        return data


@dataclass
class Row:
    """
    One job of the table.

    :ivar reason: why it is left out; "" for one that is rescheduled
    """

    job: DjangoJob
    old: str
    old_next: str
    new: str = ""
    new_next: str = ""
    reason: str = ""
    trigger: Any = None


@dataclass
class Change:
    """What was chosen: a new trigger, an amount, or a zone."""

    trigger: Any = None
    by: timedelta = field(default_factory=timedelta)
    zone: tzinfo | None = None

    def apply(self, trigger: Any) -> Any:
        """:raises CannotMove: with the reason"""
        if self.trigger is not None:
            # Each job has its own, which remembers what it counts from.
            text = serialization.dump_trigger(self.trigger)
            return serialization.load_trigger(text)
        if self.zone is not None:
            return rezone(trigger, self.zone)
        return shift(trigger, self.by)


def table_row(
    job: DjangoJob, change: Change, now: datetime, tell: Callable[[datetime], str]
) -> Row:
    """
    Return what becomes of one job.

    :param tell: says when, see `words.teller`
    """
    shown = schedules.schedule_of(job)
    next_time = job.next_run_time
    row = Row(job, shown.text, words.NOTHING if next_time is None else tell(next_time))
    if job.state not in (DjangoJob.State.ACTIVE, DjangoJob.State.PAUSED):
        row.reason = gettext("It is %(state)s.") % {"state": job.get_state_display()}
        return row
    try:
        trigger = change.apply(shown.trigger)
        text = serialization.dump_trigger(trigger)
        copy = serialization.load_trigger(text)
        run_time, _nominal = planning.first_fire(copy, job.uid, now)
    except (CannotMove, ValueError, TypeError, OverflowError) as error:
        row.reason = str(error)
        return row
    if shown.trigger is not None and trigger == shown.trigger:
        row.reason = gettext("It has this schedule already.")
    elif run_time is None or run_time < now:
        row.reason = gettext("It would never run again.")
    else:
        row.trigger = trigger
        row.new = schedules.in_words(trigger)
        row.new_next = (
            gettext("paused")
            if job.next_run_time is None
            else f"{tell(run_time)} ({words.relative(run_time, now)})"
        )
    return row


class Rescheduling:
    """The part of the jobs' admin that reschedules many at once."""

    def has_reschedule_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "reschedule_job")

    def rescheduling_urls(self) -> list[URLPattern]:
        return [
            path(
                "_selected/reschedule/",
                self.admin_site.admin_view(self.reschedule_view),
                name="django_apscheduler_djangojob_reschedule_selected",
            )
        ]

    def ask_to_reschedule(self, request: HttpRequest, queryset: Any) -> Any:
        """Show the page that asks what to change."""
        shown = dict(
            queryset.order_by("pk").values_list("pk", "revision")[: MOST_JOBS + 1]
        )
        if len(shown) > MOST_JOBS:
            messages.error(
                request,
                gettext("Select at most %(count)s jobs to reschedule at once.")
                % {"count": MOST_JOBS},
            )
            return None
        return self.choice_page(request, shown, RescheduleForm(), TriggerEditor())

    def choice_page(
        self,
        request: HttpRequest,
        shown: dict[str, int],
        form: RescheduleForm,
        editor: TriggerEditor,
    ) -> HttpResponse:
        return self.asking_page(
            request,
            "reschedule",
            {
                "form": form,
                "editor": editor,
                "packed": pack(self.opts.model_name, shown),
                "address": self.own_address("reschedule_selected"),
                "title": ngettext(
                    "Reschedule %(count)s job", "Reschedule %(count)s jobs", len(shown)
                )
                % {"count": len(shown)},
            },
        )

    def reschedule_view(self, request: HttpRequest) -> HttpResponse:
        """Show what a choice means for each job, or do what was shown."""
        shown = self.shown_rows(request, "reschedule_job")
        if not isinstance(shown, dict):
            return shown
        if "plan" in request.POST:
            return self.carry_out(request)
        form = RescheduleForm(request.POST)
        how = request.POST.get("how")
        editor = TriggerEditor(request.POST if how == TRIGGER else None)
        chosen = form.is_valid()
        if how == TRIGGER:
            chosen = editor.is_valid() and chosen
        if not chosen:
            return self.choice_page(request, shown, form, editor)
        data = form.cleaned_data
        change = Change()
        if how == TRIGGER:
            change.trigger = editor.trigger
        elif how == ZONE:
            change.zone = data["zone"]
        else:
            change.by = data["amount"] * UNITS[data["unit"] or "minutes"]
        return self.table_page(request, shown, change)

    def table_page(
        self, request: HttpRequest, shown: dict[str, int], change: Change
    ) -> HttpResponse:
        now = clock.now()
        jobs = self.get_queryset(request).filter(pk__in=list(shown)).order_by("pk")
        tell = words.teller(now)
        table = [table_row(job, change, now, tell) for job in jobs]
        going = [row for row in table if row.trigger is not None]
        plan = {
            row.job.pk: [row.job.revision, serialization.dump_trigger(row.trigger)]
            for row in going
        }
        preview = ""
        if change.trigger is not None:
            preview = previews.render(previews.preview(change.trigger, now))
        return self.asking_page(
            request,
            "reschedule_table",
            {
                "table": table,
                "going": len(going),
                "left_out": len(table) - len(going),
                "preview": preview,
                "packed": pack(self.opts.model_name, shown),
                "plan": signing.dumps(plan, salt=_PLAN, compress=True),
                "address": self.own_address("reschedule_selected"),
                "title": ngettext(
                    "Reschedule %(count)s job", "Reschedule %(count)s jobs", len(going)
                )
                % {"count": len(going)},
            },
        )

    def carry_out(self, request: HttpRequest) -> HttpResponse:
        """Give the jobs of a table the triggers that it showed."""
        try:
            plan = signing.loads(request.POST["plan"], salt=_PLAN)
        except signing.BadSignature:
            messages.error(
                request,
                gettext("Nothing was done: the form named no rows. Select them anew."),
            )
            return self.to_list()
        jobs = self.get_queryset(request).filter(pk__in=list(plan)).order_by("pk")
        outcomes = reschedule(request, list(jobs), plan)
        tell_counts(request, COUNTED, outcomes)
        return self.back(request)


def reschedule(
    request: HttpRequest, jobs: list[DjangoJob], plan: dict[str, list[Any]]
) -> Counter[str]:
    """
    Reschedule jobs, all or, on an unexpected error, none.

    :param plan: job id -> its revision as shown, and the trigger's text
    :return: how many of which outcome
    """
    from django_apscheduler import get_scheduler

    scheduler = get_scheduler()
    using = resolve_alias()
    wish = Wish(
        request.user.get_username(),
        shown={pk: revision for pk, (revision, _text) in plan.items()},
    )

    def attempt() -> Counter[str]:
        outcomes: Counter[str] = Counter()
        logged: list[tuple[DjangoJob, str]] = []
        with transaction.atomic(using=using):
            for job in jobs:
                trigger = serialization.load_trigger(plan[job.pk][1])
                before = schedules.schedule_of(job).trigger
                if before is not None and trigger == before:
                    outcomes[SAME] += 1
                    continue
                outcome = _reschedule_one(Request(scheduler, job, wish), trigger)
                outcomes[outcome] += 1
                if outcome == DONE:
                    old = describe.describe(before) if before else job.trigger
                    new = describe.describe(trigger)
                    text = audit.changed([("schedule", old, new)])
                    logged.append((job, text))
            audit.log(
                request.user.pk,
                [job for job, _ in logged],
                message=[message for _, message in logged],
            )
        return outcomes

    outcomes = repeat_deadlocks(using, attempt)
    outcomes[GONE] += len(plan.keys() - {job.pk for job in jobs})
    return outcomes


def _reschedule_one(held: Request, trigger: Any) -> str:
    if not held.hold():
        return CHANGED if still_there(held.job) else GONE
    try:
        held.scheduler.reschedule_job(held.job.pk, trigger=trigger)
    except (JobLookupError, ValueError):
        # Finished, broken, or over meanwhile.
        return REFUSED
    # Else the next deploy would change a declared job back.
    sync.override(held.job.pk, ["trigger"])
    return DONE
