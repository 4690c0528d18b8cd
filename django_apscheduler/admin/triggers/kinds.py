"""
One form for each kind of trigger: shows a trigger's arguments and makes one of them.

What a user leaves as it was keeps the very argument that was declared, so that a form
saved unchanged changes nothing, not even a spelling.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar, NamedTuple

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_apscheduler import conf
from django_apscheduler.admin.triggers.fields import (
    DayField,
    EditorField,
    MomentField,
    NumberField,
    TimeField,
    ZoneField,
)
from django_apscheduler.triggers.base import MAX_JITTER, in_utc
from django_apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from django_apscheduler.triggers.combining import AndTrigger, OrTrigger
from django_apscheduler.triggers.date import DateTrigger
from django_apscheduler.triggers.interval import IntervalTrigger

#: The shortest interval that the form accepts; one typed by mistake would keep all
#: schedulers busy. Code may declare shorter ones, which then stay.
SHORTEST = timedelta(seconds=1)
#: No unit of an interval may exceed this.
LARGEST_AMOUNT = 1_000_000


class Problem(NamedTuple):
    """
    What is wrong with a schedule that is being edited.

    :ivar place: id of the element of the page to look at
    :ivar text: a sentence that names the field
    """

    place: str
    text: str


class TriggerForm(forms.Form):
    """
    The fields of one kind of trigger.

    :ivar original: the trigger that is edited, if it is of this kind
    :ivar trigger: what was made, after `is_valid`
    """

    use_required_attribute = False
    kind: ClassVar[Any]
    label: ClassVar[Promise]
    hint: ClassVar[Promise]
    #: rows of the fieldset: names of fields that stand side by side
    layout: ClassVar[tuple[tuple[str, ...], ...]]
    #: fields that are no argument of the trigger by themselves
    aside: ClassVar[frozenset[str]] = frozenset()

    data: Any

    def __init__(self, data: Any, prefix: str, original: Any = None):
        self.original = original
        self.trigger: Any = None
        super().__init__(data, prefix=prefix, initial=self.shown())

    def shown(self) -> dict[str, str]:
        """Return the text of each field for the original, or for a new trigger."""
        if self.original is None:
            return {"timezone": ZoneField().show(conf.configuration().timezone)}
        declared = self.original.get_arguments()
        texts = {}
        for name, field in self.base_fields.items():
            if isinstance(field, MomentField):
                texts[name] = field.show_in(declared.get(name), self.original.timezone)
            elif isinstance(field, ZoneField):
                texts[name] = field.show(self.original.timezone)
            elif isinstance(field, EditorField):
                texts[name] = field.show(declared.get(name))
        return texts

    def rows(self) -> list[list[Any]]:
        """Return the bound fields in the rows of the layout."""
        return [[self[name] for name in row] for row in self.layout]

    def edited(self) -> set[str]:
        """Return the names of the arguments that the user changed."""
        return set(self.changed_data) - self.aside

    def clean(self) -> dict[str, Any]:
        if not self.errors:
            if self.original is not None and not self.edited():
                self.trigger = self.original
            else:
                self.make()
        return self.cleaned_data

    def make(self) -> None:
        """Make the trigger, or add errors."""
        self.check()
        if self.errors:
            return
        try:
            self.trigger = self.kind(**self.arguments())
        except (ValueError, TypeError, OverflowError) as error:
            self.add_error(None, f"{str(error)[:300].rstrip('.')}.")

    def check(self) -> None:
        """Add errors about fields that are right each by itself."""
        start = self.moment("start_date")
        end = self.moment("end_date")
        if start is not None and end is not None and end < start:
            self.add_error(
                "end_date",
                gettext("%(end)s is before the start, %(start)s.")
                % {
                    "end": self["end_date"].value(),
                    "start": self["start_date"].value(),
                },
            )

    def moment(self, name: str) -> datetime | None:
        """Return a field's moment in UTC."""
        value = self.cleaned_data.get(name)
        if not isinstance(value, datetime):
            return None
        if value.tzinfo is None:
            zone = self.cleaned_data.get("timezone") or conf.configuration().timezone
            value = value.replace(tzinfo=zone)
        return in_utc(value)

    def arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments: those changed, and the others as given."""
        declared = {} if self.original is None else self.original.get_arguments()
        edited = self.edited()
        new_zone = "timezone" in edited
        arguments = {}
        for name, field in self.fields.items():
            if name in self.aside:
                continue
            # Wall times are meant in the zone beside them.
            moved = new_zone and isinstance(field, (MomentField, DayField))
            if self.original is not None and name not in edited and not moved:
                if name in declared:
                    arguments[name] = declared[name]
                continue
            value = self.cleaned_data.get(name)
            if isinstance(field, ZoneField) and value is None:
                value = conf.configuration().timezone
            if value is not None and value != "":
                arguments[name] = value
        return arguments

    def problems(self) -> list[Problem]:
        """Return the errors, each beginning with the name of its field."""
        found = []
        for name, errors in self.errors.items():
            for error in errors:
                if name == "__all__":
                    # Of several fields: the first of them is where to begin.
                    place, text = self[self.layout[0][0]].auto_id, str(error)
                else:
                    place = self[name].auto_id
                    text = gettext("%(field)s: %(problem)s") % {
                        "field": self.fields[name].label,
                        "problem": error,
                    }
                found.append(Problem(place, text))
        return found


def jitter_field() -> NumberField:
    return NumberField(
        label=_("Jitter"),
        largest=MAX_JITTER,
        help_text=_("Seconds. Each run is delayed at random by up to this much."),
    )


def zone_field() -> ZoneField:
    return ZoneField(label=_("Time zone"))


class DateForm(TriggerForm):
    """Once, at a moment."""

    kind = DateTrigger
    label = _("Once")
    hint = _("Runs one single time.")
    layout = (("run_date", "timezone"),)

    run_date = MomentField(label=_("Date and time"), required=True)
    timezone = zone_field()


class IntervalForm(TriggerForm):
    """Every so many seconds."""

    kind = IntervalTrigger
    label = _("Interval")
    hint = _(
        "Runs at equal distances of elapsed time; the clock may change without effect."
    )
    layout = (
        ("weeks", "days", "hours", "minutes", "seconds"),
        ("start_date", "end_date"),
        ("timezone", "jitter"),
    )

    weeks = NumberField(label=_("Weeks"), largest=LARGEST_AMOUNT)
    days = NumberField(label=_("Days"), largest=LARGEST_AMOUNT)
    hours = NumberField(label=_("Hours"), largest=LARGEST_AMOUNT)
    minutes = NumberField(label=_("Minutes"), largest=LARGEST_AMOUNT)
    seconds = NumberField(label=_("Seconds"), largest=100 * LARGEST_AMOUNT)
    start_date = MomentField(
        label=_("Start"),
        help_text=_("The first run. Empty: one interval from now."),
    )
    end_date = MomentField(label=_("End"), help_text=_("No run is later than this."))
    timezone = zone_field()
    jitter = jitter_field()

    def check(self) -> None:
        super().check()
        units = {
            unit: self.cleaned_data.get(unit) or 0
            for unit in ("weeks", "days", "hours", "minutes", "seconds")
        }
        length = timedelta(**units)
        if not length:
            self.add_error(
                None,
                gettext(
                    "Interval: expected weeks, days, hours, minutes or seconds; all of "
                    "them are empty or 0."
                ),
            )
        elif length < SHORTEST:
            self.add_error(
                None,
                gettext(
                    "Interval: %(value)s s is shorter than 1 s, the shortest that can "
                    "be given here."
                )
                % {"value": length.total_seconds()},
            )


class CalendarIntervalForm(TriggerForm):
    """Every so many years, months, weeks and days, at a time of day."""

    kind = CalendarIntervalTrigger
    label = _("Calendar interval")
    hint = _(
        "Runs at one time of day, every so many years, months, weeks and days. Dates "
        "that do not exist are left out."
    )
    layout = (
        ("years", "months", "weeks", "days", "time"),
        ("start_date", "end_date"),
        ("timezone", "jitter"),
    )
    aside = frozenset({"time"})

    years = NumberField(label=_("Years"), whole=True, largest=8000)
    months = NumberField(label=_("Months"), whole=True, largest=96_000)
    weeks = NumberField(label=_("Weeks"), whole=True, largest=400_000)
    days = NumberField(label=_("Days"), whole=True, largest=LARGEST_AMOUNT)
    time = TimeField(label=_("Time of day"), help_text=_("Empty: midnight."))
    start_date = DayField(
        label=_("First date"), help_text=_("Empty: counted from today.")
    )
    end_date = DayField(label=_("Last date"))
    timezone = zone_field()
    jitter = jitter_field()

    def shown(self) -> dict[str, str]:
        texts = super().shown()
        if self.original is not None:
            texts["time"] = self.original.time.isoformat()
            texts["start_date"] = str(self.original.start_date or "")
            last = self.original.end_date
            texts["end_date"] = str(last.date()) if last is not None else ""
        return texts

    def edited(self) -> set[str]:
        return set(self.changed_data)

    def check(self) -> None:
        start, end = (
            self.cleaned_data.get("start_date"),
            self.cleaned_data.get("end_date"),
        )
        if start is not None and end is not None and end < start:
            self.add_error(
                "end_date",
                gettext("%(end)s is before the first date, %(start)s.")
                % {"end": end, "start": start},
            )
        if not any(
            self.cleaned_data.get(unit) for unit in ("years", "months", "weeks", "days")
        ):
            self.add_error(
                None,
                gettext(
                    "Calendar interval: expected years, months, weeks or days; all of "
                    "them are empty or 0."
                ),
            )

    def arguments(self) -> dict[str, Any]:
        arguments = super().arguments()
        parts = ("hour", "minute", "second")
        if self.original is not None and "time" not in self.changed_data:
            declared = self.original.get_arguments()
            arguments.update({n: declared[n] for n in parts if n in declared})
        elif self.cleaned_data.get("time") is not None:
            at = self.cleaned_data["time"]
            arguments.update({n: getattr(at, n) for n in parts if getattr(at, n)})
        return arguments


class CombiningForm(TriggerForm):
    """What a combining trigger has beside its triggers."""

    layout = (("jitter",),)
    jitter = jitter_field()

    def shown(self) -> dict[str, str]:
        if self.original is None:
            return {}
        jitter = self.original.get_arguments().get("jitter")
        return {"jitter": NumberField(largest=0).show(jitter)}

    def make(self) -> None:
        """Leave it to the editor, which has the triggers."""

    def clean(self) -> dict[str, Any]:
        return self.cleaned_data


class AndForm(CombiningForm):
    kind = AndTrigger
    label = _("All of several")
    hint = _("Runs at the times on which all of its triggers agree.")


class OrForm(CombiningForm):
    kind = OrTrigger
    label = _("Any of several")
    hint = _("Runs whenever one of its triggers fires.")
