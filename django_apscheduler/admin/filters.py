"""
The filters of the lists: choices as menus, ranges as labelled forms.

All of them work as plain links and GET forms, without script and under any content
security policy. Ranges are django-admin-rangefilter's, whose own templates carry inline
script and style, leave the inputs without labels and answer an invalid date with every
row there is; here an invalid range lists nothing and says why.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import DurationField, ExpressionWrapper, F, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from rangefilter.filters import DateTimeRangeFilter, NumericRangeFilter

from django_apscheduler import clock
from django_apscheduler.admin import badges, stats, words
from django_apscheduler.db import UTCDateTimeFormField, current_zone
from django_apscheduler.models import DjangoJob, DjangoJobExecution, SchedulerProcess

#: Job ids offered as completions; any other may be typed.
OFFERED_JOBS = 200

#: Jobs found for what is being typed.
SUGGESTED_JOBS = 20

#: Jobs whose callables and time zones are offered; any other may be typed.
OFFERED_FROM = 500

#: Hosts offered, and processes of a host that are looked for: the newest.
OFFERED_NODES, LISTED_PROCESSES = 100, 1000

#: A time zone in a stored trigger.
NAMED_ZONE = re.compile(r'"timezone":\s*"([^"\\]+)"')

#: The longest duration that can be asked for, some thirty years.
LONGEST_SECONDS = 1e9

#: Query parameters of the list itself that a new filter value makes meaningless.
DROPPED_PARAMETERS = ("p", "e", "cursor")


def other_parameters(
    request: HttpRequest, own: Sequence[str | None]
) -> list[tuple[str, str]]:
    """Return the other query parameters, which a filter's form keeps as hidden inputs."""
    return [
        (name, value)
        for name, values in request.GET.lists()
        for value in values
        if name not in own and name not in DROPPED_PARAMETERS
    ]


class MenuFilter(admin.SimpleListFilter):
    """A choice of one, shown as a menu whose closed form names the choice made."""

    template = "admin/django_apscheduler/filter_menu.html"

    def has_output(self) -> bool:
        return True


class ConditionFilter(MenuFilter):
    """Jobs by condition: state as stored, or as seen from their runs."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request, model_admin):
        return [(key, look.word) for key, look in badges.CONDITIONS.items()]

    def queryset(self, request, queryset):
        condition = self.value()
        if condition is None:
            return queryset
        return stats.with_condition(queryset, condition, clock.now())


class ExecutorFilter(MenuFilter):
    """Rows by executor; the choices are those that jobs use."""

    title = _("executor")
    parameter_name = "executor"

    def lookups(self, request, model_admin):
        # Jobs, not executions: distinct values of a table of millions are slow to find.
        used = DjangoJob.objects.order_by("executor").values_list("executor", flat=True)
        return [(alias, alias) for alias in used.distinct()]

    def queryset(self, request, queryset):
        if self.value() is None:
            return queryset
        return queryset.filter(executor=self.value())


class StatusFilter(MenuFilter):
    """Executions by status, or all that somebody may want to look into."""

    title = _("status")
    parameter_name = "status"
    PROBLEMS = "problems"

    @property
    def few(self) -> bool:
        """Whether an index of their own leads to the few rows there are."""
        return self.value() in DjangoJobExecution.ACTIVE

    def lookups(self, request, model_admin):
        return [
            (self.PROBLEMS, _("All problems")),
            *((status, look.word) for status, look in badges.STATUSES.items()),
        ]

    def queryset(self, request, queryset):
        if self.value() is None:
            return queryset
        if self.value() == self.PROBLEMS:
            return queryset.filter(status__in=stats.PROBLEMS)
        if self.few:
            queryset = queryset.active()
        return queryset.filter(status=self.value())


class OriginFilter(MenuFilter):
    """Executions by what caused them."""

    title = _("origin")
    parameter_name = "origin"

    def lookups(self, request, model_admin):
        return DjangoJobExecution.Origin.choices

    def queryset(self, request, queryset):
        if self.value() is None:
            return queryset
        return queryset.filter(origin=self.value())


class NodeFilter(MenuFilter):
    """Executions by the host whose scheduler claimed them; deep links name a process."""

    title = _("node")
    parameter_name = "node"

    def lookups(self, request, model_admin):
        hosts = SchedulerProcess.objects.order_by("host").values_list("host", flat=True)
        found = list(hosts.distinct()[:OFFERED_NODES])
        # A value from a link is one of the choices, so that the menu names it.
        given = request.GET.get(self.parameter_name, "")
        if given and given not in found:
            found.append(given)
        return [(host, str(host)) for host in found]

    def queryset(self, request, queryset):
        if self.value() is None:
            return queryset
        host, _colon, pid = str(self.value()).rpartition(":")
        named = Q(host=self.value())
        if host and pid.isascii() and pid.isdigit() and len(pid) < 10:
            named |= Q(host=host, pid=int(pid))
        processes = SchedulerProcess.objects.using(queryset.db).filter(named)
        ids = processes.order_by("-id").values_list("pk", flat=True)
        return queryset.filter(owner_id__in=list(ids[:LISTED_PROCESSES]))


def matching_jobs(
    text: str, using: str, most: int = SUGGESTED_JOBS
) -> list[dict[str, str]]:
    """Return jobs whose id or name contains a text: dictionaries of "id" and "name"."""
    jobs = DjangoJob.objects.using(using).order_by("id")
    if "\x00" in text:
        # PostgreSQL knows no such texts.
        return []
    contains = Q(id__icontains=text) | Q(name__icontains=text)
    found = jobs.filter(contains).values_list("id", "name")[:most]
    return [{"id": pk, "name": name} for pk, name in found]


class TypedFilter(admin.SimpleListFilter):
    """A text that is typed; some values are offered for completion."""

    template = "admin/django_apscheduler/filter_typed.html"
    label: Promise | str = ""
    #: Where script asks for completions of what is typed; "" where all are offered.
    completions = ""

    def __init__(self, request, params, model, model_admin):
        super().__init__(request, params, model, model_admin)
        self.request = request  # Django before 5.0 does not keep it
        self.site = model_admin.admin_site.name

    def has_output(self) -> bool:
        return True

    def typed(self) -> str:
        """Return what was typed; "" when there is nothing to look for."""
        return (self.value() or "").strip()

    def choices(self, changelist) -> Iterator[dict[str, Any]]:
        yield {
            "query_string": changelist.get_query_string(
                remove=self.expected_parameters()
            ),
            "name": self.parameter_name,
            "label": self.label,
            "value": self.value() or "",
            "hidden": other_parameters(self.request, self.expected_parameters()),
            "offered": [value for value, _label in self.lookup_choices],
            "completions": self.completions
            and reverse(self.completions, current_app=self.site),
        }


class JobFilter(TypedFilter):
    """Executions of one job, by its id; jobs deleted since can be typed as well."""

    title = _("job")
    label = _("Job id")
    parameter_name = "job"
    completions = "admin:django_apscheduler_djangojobexecution_jobs"
    indexed, looks = True, False

    def lookups(self, request, model_admin):
        ids = DjangoJob.objects.order_by("id").values_list("id", flat=True)
        return [(pk, pk) for pk in ids[:OFFERED_JOBS]]

    def queryset(self, request, queryset):
        return queryset.filter(job_id=self.typed()) if self.typed() else queryset


class CallableFilter(TypedFilter):
    """Jobs by what they call, or by the beginning of it: a module."""

    title = _("callable")
    label = _("Callable, or its beginning")
    parameter_name = "callable"

    def lookups(self, request, model_admin):
        some = DjangoJob.objects.order_by("id").values_list("func", flat=True)
        return [(func, func) for func in sorted(set(some[:OFFERED_FROM])) if func]

    def queryset(self, request, queryset):
        return (
            queryset.filter(func__startswith=self.typed()) if self.typed() else queryset
        )


class TimezoneFilter(TypedFilter):
    """Jobs whose schedule names a time zone."""

    title = _("time zone")
    label = _("Time zone, as in Europe/Berlin")
    parameter_name = "timezone"

    def lookups(self, request, model_admin):
        some = DjangoJob.objects.order_by("id").values_list("trigger", flat=True)
        zones = {
            zone
            for trigger in some[:OFFERED_FROM]
            for zone in NAMED_ZONE.findall(trigger)
        }
        return [(zone, zone) for zone in sorted(zones)]

    def queryset(self, request, queryset):
        if not self.typed():
            return queryset
        named = json.dumps(self.typed(), ensure_ascii=False)
        # As this package writes it, and as people do by hand.
        return queryset.filter(
            Q(trigger__contains=f'"timezone":{named}')
            | Q(trigger__contains=f'"timezone": {named}')
        )


class TriggerFilter(MenuFilter):
    """Jobs by the type of their trigger."""

    title = _("trigger")
    parameter_name = "trigger"

    def lookups(self, request, model_admin):
        return [
            ("cron", _("cron")),
            ("interval", _("interval")),
            ("calendarinterval", _("calendar interval")),
            ("date", _("date")),
            ("and", _("and")),
            ("or", _("or")),
            (self.OTHER, _("other")),
        ]

    OTHER = "other"

    def queryset(self, request, queryset):
        chosen = self.value()
        known = {value for value, _label in self.lookup_choices} - {self.OTHER}
        if chosen is None:
            return queryset
        if chosen == self.OTHER:
            for name in known:
                queryset = queryset.exclude(self.of_type(name))
            return queryset
        return (
            queryset.filter(self.of_type(chosen))
            if chosen in known
            else queryset.none()
        )

    @staticmethod
    def of_type(name: str) -> Q:
        """Return the condition of a trigger's own type, not that of one within it."""
        # Keys are written in the order of the alphabet; people write the type first.
        return (
            Q(trigger__endswith=f'"type":"{name}"}}')
            | Q(trigger__startswith=f'{{"type":"{name}"')
            | Q(trigger__startswith=f'{{"type": "{name}"')
        )


class LastStatusFilter(MenuFilter):
    """Jobs by the outcome of their latest run, whether or not that began."""

    title = _("last status")
    parameter_name = "last"

    def lookups(self, request, model_admin):
        return [(status, look.word) for status, look in badges.STATUSES.items()]

    def queryset(self, request, queryset):
        if self.value() is None:
            return queryset
        return stats.with_last_status(queryset, str(self.value()), clock.now())


class RangeForm(forms.Form):
    """Two ends of a range; the fields are set by the filter."""

    ends: tuple[str, str]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        low, high = (cleaned.get(name) for name in self.ends)
        if low is not None and high is not None and low > high:
            raise forms.ValidationError(
                gettext(
                    "“From” must not be greater than “to”; got %(low)s and %(high)s."
                )
                % {
                    "low": self.data.get(self.ends[0]),
                    "high": self.data.get(self.ends[1]),
                }
            )
        return cleaned


class RangeMixin:
    """What the ranges share: labelled fields, errors that show, no row on error."""

    template = "admin/django_apscheduler/filter_range.html"
    unit: Promise | str = ""

    def expected_parameters(self) -> list[str]:
        return [self.lookup_kwarg_gte, self.lookup_kwarg_lte]

    @property
    def looks(self) -> bool:
        """Whether the range is in force, so that rows must be looked through for it."""
        return bool(self.shown())

    def get_form(self, _request: HttpRequest) -> forms.Form:
        given = {}
        for name, value in self.used_parameters.items():
            given[name] = value[-1] if isinstance(value, list) else value
        self.used_parameters.update(given)
        low, high = self.range_fields()
        form_class = type(
            "RangeForm",
            (RangeForm,),
            {
                "ends": (self.lookup_kwarg_gte, self.lookup_kwarg_lte),
                self.lookup_kwarg_gte: low,
                self.lookup_kwarg_lte: high,
            },
        )
        return form_class(given or None, auto_id="id_filter_%s")

    def range_fields(self) -> Sequence[forms.Field]:
        raise NotImplementedError

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if not self.form.is_bound:
            return queryset
        if not self.form.is_valid():
            return queryset.none()
        return queryset.filter(
            **self._make_query_filter(request, self.form.cleaned_data)
        )

    def choices(self, changelist) -> Iterator[dict[str, Any]]:
        yield {
            "query_string": changelist.get_query_string(
                remove=self.expected_parameters()
            ),
            "hidden": other_parameters(self.request, self.expected_parameters()),
            "shown": self.shown(),
            "unit": self.unit,
            "picks": [
                {
                    "display": text,
                    "query_string": changelist.get_query_string(
                        parameters, remove=self.expected_parameters()
                    ),
                }
                for text, parameters in self.picks()
            ],
        }

    def shown(self) -> str:
        """Return the range in force, in a few words; empty when there is none."""
        if not self.form.is_bound:
            return ""
        low, high = (self.form.data.get(n, "") for n in self.expected_parameters())
        if not (low or high):
            return ""
        if not self.form.is_valid():
            return gettext("not valid")
        return "{} – {}".format(low.replace("T", " "), high.replace("T", " ")).strip()

    def picks(self) -> list[tuple[str, dict[str, str]]]:
        """Return ranges offered as links: (text, query parameters)."""
        return []


class MomentField(UTCDateTimeFormField):
    """A moment as browsers send it; a date alone is its first or its last moment."""

    def __init__(self, *, end_of_day: bool, **kwargs: Any):
        super().__init__(**kwargs)
        self.end_of_day = end_of_day

    def to_python(self, value: Any) -> datetime | None:
        moment = super().to_python(value)
        text = str(value or "").strip()
        if moment is not None and self.end_of_day and ":" not in text:
            return moment + timedelta(days=1, microseconds=-1)
        if moment is not None and self.end_of_day and moment.second == 0:
            if text.count(":") == 1:
                # To 14:05 means all of that minute.
                return moment + timedelta(minutes=1, microseconds=-1)
        return moment


class MomentRangeFilter(RangeMixin, DateTimeRangeFilter):
    """Rows whose moment lies in a range, given in the time zone of the page."""

    def range_fields(self) -> Sequence[forms.Field]:
        return tuple(
            MomentField(
                label=label,
                required=False,
                end_of_day=end_of_day,
                widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
            )
            for label, end_of_day in ((_("From"), False), (_("To"), True))
        )

    def _make_query_filter(self, request, validated_data):
        conditions = {}
        for name, lookup in zip(self.expected_parameters(), ("gte", "lte")):
            if validated_data.get(name) is not None:
                conditions[f"{self.field_path}__{lookup}"] = validated_data[name]
        return conditions

    def _between(self, low: datetime | None, high: datetime | None) -> dict[str, str]:
        form = "%Y-%m-%dT%H:%M"
        zone = current_zone()
        return {
            name: moment.astimezone(zone).strftime(form)
            for name, moment in zip(self.expected_parameters(), (low, high))
            if moment is not None
        }


class PastRangeFilter(MomentRangeFilter):
    """A range of past moments, with quick picks."""

    indexed, looks = True, False

    def picks(self):
        now = clock.now()
        return [
            (text, self._between(now - length, None))
            for text, length in (
                (_("Last hour"), timedelta(hours=1)),
                (_("Last 24 hours"), timedelta(days=1)),
                (_("Last 7 days"), timedelta(days=7)),
            )
        ]


class ComingRangeFilter(MomentRangeFilter):
    """A range of moments to come, with quick picks."""

    def picks(self):
        now = clock.now()
        return [
            (text, self._between(now, now + length))
            for text, length in (
                (_("Next hour"), timedelta(hours=1)),
                (_("Next 24 hours"), timedelta(days=1)),
                (_("Next 7 days"), timedelta(days=7)),
            )
        ]


class DurationRangeFilter(RangeMixin, NumericRangeFilter):
    """Executions by how many seconds the body itself took, lateness not counted."""

    unit = _("seconds")

    def range_fields(self) -> Sequence[forms.Field]:
        return tuple(
            forms.FloatField(
                label=label,
                required=False,
                min_value=0,
                widget=forms.NumberInput(attrs={"step": "any", "min": 0}),
            )
            for label in (_("From, seconds"), _("To, seconds"))
        )

    def queryset(self, request, queryset):
        queryset = queryset.alias(
            body_time=ExpressionWrapper(
                F("finished_time") - F("started_time"), output_field=DurationField()
            )
        )
        return super().queryset(request, queryset)

    def _make_query_filter(self, request, validated_data):
        conditions = {}
        for name, lookup in zip(self.expected_parameters(), ("gte", "lte")):
            if validated_data.get(name) is not None:
                # More than databases can compare matches nothing either way.
                seconds = min(validated_data[name], LONGEST_SECONDS)
                conditions[f"body_time__{lookup}"] = timedelta(seconds=seconds)
        return conditions

    def picks(self):
        return [
            (
                gettext("Longer than %(duration)s")
                % {"duration": words.coarse(seconds)},
                {self.lookup_kwarg_gte: str(seconds)},
            )
            for seconds in (1, 60, 3600)
        ]
