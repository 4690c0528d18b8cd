"""The form of cron triggers: a crontab expression beside the fields it stands for."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_apscheduler.admin.triggers.fields import (
    CronPartField,
    EditorField,
    MomentField,
    cron_problem,
    cut,
)
from django_apscheduler.admin.triggers.kinds import (
    TriggerForm,
    jitter_field,
    zone_field,
)
from django_apscheduler.triggers.cron import CronTrigger
from django_apscheduler.triggers.cron.crontab import parse_crontab
from django_apscheduler.triggers.cron.fields import (
    FIELD_NAMES,
    WEEKDAYS,
    complete,
    parse_days,
    parse_numbers,
)


class CronForm(TriggerForm):
    """
    A crontab expression, or the fields of a cron trigger.

    Whichever of the two the user touched since they were last shown decides. Without
    script both may have been touched; then they must say the same.
    """

    kind = CronTrigger
    label = _("Cron")
    hint = _("Runs whenever the clock matches all fields.")
    layout = (
        ("expression",),
        ("minute", "hour", "day", "month", "day_of_week"),
        ("second", "week", "year", "day_or"),
        ("timezone", "dst"),
        ("start_date", "end_date", "jitter"),
    )
    aside = frozenset({"expression", "shown_before"})

    expression = EditorField(
        label=_("Crontab expression"),
        help_text=_(
            "Minute, hour, day, month and weekday (0 and 7 are Sunday), or @daily and "
            "the like. Fills in the fields below."
        ),
    )
    shown_before = forms.CharField(
        required=False, max_length=3000, widget=forms.HiddenInput
    )
    minute = CronPartField("minute", label=_("Minute"))
    hour = CronPartField("hour", label=_("Hour"))
    day = CronPartField("day", label=_("Day of month"))
    month = CronPartField("month", label=_("Month"))
    day_of_week = CronPartField(
        "day_of_week", label=_("Weekday"), help_text=_("mon–sun, or 0–6 from Monday")
    )
    second = CronPartField("second", label=_("Second"))
    week = CronPartField("week", label=_("ISO week"))
    year = CronPartField("year", label=_("Year"))
    day_or = forms.ChoiceField(
        label=_("Day and weekday"),
        required=False,
        choices=(("", _("both must match")), ("or", _("one of them is enough"))),
    )
    timezone = zone_field()
    dst = forms.ChoiceField(
        label=_("When the clock changes"),
        required=False,
        choices=(
            (
                "once",
                _("run once: after a skipped hour, and not again in a repeated one"),
            ),
            ("wall", _("follow the clock: skip and repeat with it")),
        ),
    )
    start_date = MomentField(label=_("Start"), help_text=_("No run is earlier."))
    end_date = MomentField(label=_("End"), help_text=_("No run is later."))
    jitter = jitter_field()

    #: the expression that decided, as typed; for warnings about how crontabs differ
    raw_crontab = ""
    #: whether what expression and fields say has been made one
    settled = False

    def __init__(self, data: Any, prefix: str, original: Any = None):
        super().__init__(data, prefix, original)
        for name, text in self.filled_in(original).items():
            self.fields[name].widget.attrs["placeholder"] = text
        self.fields["expression"].widget.attrs.update(
            {
                "placeholder": "30 9 * * mon-fri",
                "autocomplete": "off",
                "spellcheck": "false",
                "autocapitalize": "none",
            }
        )

    def shown(self) -> dict[str, str]:
        texts = super().shown()
        if self.original is None:
            texts["dst"] = "once"
        else:
            texts["dst"] = self.original.dst
            texts["day_or"] = "or" if self.original.day_or else ""
            texts["expression"] = crontab_of(self.original)
        boxes = [texts.get(name, "") for name in ("expression", *FIELD_NAMES)]
        texts["shown_before"] = json.dumps(boxes)
        return texts

    @staticmethod
    def filled_in(trigger: Any) -> dict[str, str]:
        """Return what the fields that are left empty mean, by name."""
        if trigger is None:
            return dict.fromkeys(FIELD_NAMES, "")
        return {
            field.name: field.text if field.is_default else ""
            for field in trigger.fields
        }

    def boxes(self) -> list[str]:
        """Return the texts of expression and fields as they were last shown."""
        given = self.data.get(self.add_prefix("shown_before")) or ""
        try:
            boxes = json.loads(given)
        except (ValueError, RecursionError):
            boxes = None
        if not isinstance(boxes, list) or len(boxes) != len(FIELD_NAMES) + 1:
            boxes = json.loads(self.initial["shown_before"])
        return [str(box) for box in boxes]

    def clean_day_or(self) -> bool:
        return self.cleaned_data["day_or"] == "or"

    def clean_dst(self) -> str:
        # Nothing chosen is what jobs made in the admin default to.
        return self.cleaned_data["dst"] or "once"

    def clean(self) -> dict[str, Any]:
        before, *fields_before = self.boxes()
        typed = self.normal("expression")
        touched = [self.normal(name) for name in FIELD_NAMES] != [
            text.strip().lower() for text in fields_before
        ]
        if typed and typed != before.strip():
            self.apply_expression(typed, touched)
        elif touched:
            self.rewrite({"expression": ""})
        self.settled = "expression" not in self.errors
        return super().clean()

    def normal(self, name: str) -> str:
        value = self.data.get(self.add_prefix(name)) or ""
        if name == "expression":
            return value.strip()
        return self.fields[name].normal(value)  # type: ignore[attr-defined]

    def apply_expression(self, typed: str, touched: bool) -> None:
        """Have an expression decide, or say why it cannot."""
        if "expression" in self.errors:
            return
        try:
            parsed = parse_crontab(typed)
            CronTrigger(**parsed)
        except ValueError as error:
            self.add_error("expression", expression_problem(str(error)))
            return
        texts = {name: parsed.get(name, "") for name in FIELD_NAMES}
        if touched and not self.agrees(texts):
            self.add_error(
                "expression",
                gettext(
                    "“%(value)s” and the fields below say different things. Empty the "
                    "expression to use the fields, or the fields to use the expression."
                )
                % {"value": cut(typed)},
            )
            return
        self.raw_crontab = typed
        for name in FIELD_NAMES:
            self.errors.pop(name, None)
            self.cleaned_data[name] = texts[name] or None
        self.cleaned_data["day_or"] = parsed.get("day_or", False)
        self.rewrite({**texts, "day_or": "or" if parsed.get("day_or") else ""})

    def agrees(self, texts: dict[str, str]) -> bool:
        """Tell whether the fields, if any is filled in, say what an expression says."""
        filled = {n: self.normal(n) for n in FIELD_NAMES if self.normal(n)}
        given = {name: text for name, text in texts.items() if text}
        return not filled or complete(filled) == complete(given)

    def rewrite(self, texts: dict[str, str]) -> None:
        """Have the form show other texts than were sent."""
        self.data = self.data.copy()
        for name, text in texts.items():
            self.data[self.add_prefix(name)] = text
        # What is compared with the original follows what is shown.
        self.__dict__.pop("changed_data", None)

    def check(self) -> None:
        super().check()
        if not any(self.cleaned_data.get(name) for name in FIELD_NAMES):
            self.add_error(
                None,
                gettext(
                    "Cron: expected an expression such as 30 9 * * mon-fri, or at least "
                    "one field; all of them are empty."
                ),
            )

    def arguments(self) -> dict[str, Any]:
        arguments = super().arguments()
        if not arguments.get("day_or"):
            arguments.pop("day_or", None)
        return arguments

    def remember(self) -> None:
        """
        Note what the form shows, so that the next submission tells what changed.

        Not while the expression has had no say: it was refused, or nobody looked at it.
        """
        if not self.settled:
            return
        names = ("expression", *FIELD_NAMES)
        boxes = [self.data.get(self.add_prefix(name)) or "" for name in names]
        self.data = self.data.copy()
        self.data[self.add_prefix("shown_before")] = json.dumps(boxes)


def expression_problem(message: str) -> str:
    """Return what the engine says of an expression, for people."""
    part, colon, _rest = message.partition(": ")
    if colon and part in CronForm.base_fields:
        label = CronForm.base_fields[part].label
        return gettext("%(field)s: %(problem)s") % {
            "field": label,
            "problem": cron_problem(part, message),
        }
    return f"{message[0].upper()}{message[1:].rstrip('.')}."


def crontab_of(trigger: CronTrigger) -> str:
    """Return the crontab expression that means what a cron trigger does, or ""."""
    texts = {field.name: field.text for field in trigger.fields}
    if (texts["year"], texts["week"], texts["second"]) != ("*", "*", "0"):
        return ""
    weekdays = texts["day_of_week"]
    if weekdays != "*":
        numbers = parse_numbers("day_of_week", weekdays)
        if not weekdays.replace("-", ",").replace(",", "").isalpha():
            weekdays = ",".join(WEEKDAYS[number] for number in sorted(numbers))
    parts = [texts[name] for name in ("minute", "hour", "day", "month")]
    expression = " ".join((*parts, weekdays))
    try:
        twin = CronTrigger(**parse_crontab(expression))
    except ValueError:
        return ""
    theirs = {field.name: field.text for field in twin.fields}
    same = all(
        parse_numbers(name, texts[name]) == parse_numbers(name, theirs[name])
        for name in FIELD_NAMES
        if name != "day"
    ) and parse_days(texts["day"]) == parse_days(theirs["day"])
    both = texts["day"] != "*" and texts["day_of_week"] != "*"
    return expression if same and (not both or twin.day_or == trigger.day_or) else ""
