"""
The trigger editor: the only place that turns form input into a trigger.

It needs no script: the kind of trigger is a group of radio buttons, combining triggers
hold editors of their own, and buttons of the form add and remove them. No class is ever
looked up by what a form says; triggers of the project's own classes are shown and kept.
"""

from __future__ import annotations

import re
from typing import Any

from django.forms.utils import ErrorDict
from django.template.loader import render_to_string
from django.utils.functional import cached_property
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from django_apscheduler import clock, serialization
from django_apscheduler.admin.triggers import traps
from django_apscheduler.admin.triggers.cron import CronForm
from django_apscheduler.admin.triggers.fields import ZONE_LIST, zone_names
from django_apscheduler.admin.triggers.kinds import (
    AndForm,
    CalendarIntervalForm,
    CombiningForm,
    DateForm,
    IntervalForm,
    OrForm,
    Problem,
    TriggerForm,
)
from django_apscheduler.triggers.base import describe, in_utc
from django_apscheduler.triggers.combining import CombiningTrigger
from django_apscheduler.triggers.date import DateTrigger

#: alias -> the form of that kind of trigger, in the order in which they are offered
FORMS: dict[str, type[TriggerForm]] = {
    "cron": CronForm,
    "interval": IntervalForm,
    "calendarinterval": CalendarIntervalForm,
    "date": DateForm,
    "and": AndForm,
    "or": OrForm,
}
#: How deep combining triggers may be nested in the editor.
MAX_DEPTH = 3
#: Triggers that one combining trigger may have, and that an editor has in all.
MAX_CHILDREN = 10
MAX_TRIGGERS = 20
#: The choice that leaves a trigger as it is which the editor cannot show.
KEEP = "keep"

_BUTTON = r"((?:-\d+)*)-(add|remove)$"


class TriggerEditor:
    """
    Form fields for one trigger of any kind.

    :param data: what was submitted, None for a page that is first shown
    :param prefix: begins the names of all fields
    :param trigger: the one to edit; None for a new one
    :param kept: words for a trigger that exists but is not to be loaded, such as one of
        the project's own classes; it can be replaced or left alone
    :param new: the trigger is for a job to come, so it must fire even if it is left as
        it was
    :ivar trigger: after `is_valid`, the trigger; the very object given if nothing was
        changed; None when the one that is not to be loaded is left alone
    :ivar problems: after `is_valid`, what is wrong, and where
    :ivar restructured: a button added or removed a trigger, so the form is to be shown
        again and nothing to be saved
    """

    template_name = "admin/django_apscheduler/trigger_editor.html"

    def __init__(
        self,
        data: Any = None,
        *,
        prefix: str = "trigger",
        trigger: Any = None,
        kept: str = "",
        new: bool = False,
        parent: TriggerEditor | None = None,
    ):
        self.prefix = prefix
        self.parent = parent
        self.depth: int = 1 if parent is None else parent.depth + 1
        self.root: TriggerEditor = self if parent is None else parent.root
        self.restructured = False
        if parent is None:
            self.left = MAX_TRIGGERS
            if data is not None:
                data, self.restructured = _restructure(data, prefix)
        self.root.left -= 1
        self.data = data
        self.kept = kept
        self.new = new
        self.original = trigger
        if trigger is not None and not is_editable(trigger, self.depth):
            self.kept = str(trigger)
        self.trigger: Any = None
        self.problems: list[Problem] = []
        self._checked = False

    # What is shown.

    @property
    def is_bound(self) -> bool:
        return self.data is not None

    @cached_property
    def kinds(self) -> list[str]:
        """The kinds of trigger that are offered here."""
        room = self.depth <= MAX_DEPTH
        return [
            kind
            for kind, form in FORMS.items()
            if room or not issubclass(form, CombiningForm)
        ]

    @cached_property
    def chosen(self) -> str:
        """The kind that is chosen: an alias, KEEP, or "" for none."""
        if self.is_bound:
            chosen = self.data.get(f"{self.prefix}-type") or ""
            offered = [*self.kinds, KEEP] if self.kept else self.kinds
            return chosen if chosen in offered else ""
        if self.kept:
            return KEEP
        return "cron" if self.original is None else self.original.alias

    @cached_property
    def forms(self) -> dict[str, TriggerForm]:
        """The form of each kind that is offered."""
        made = {}
        for kind in self.kinds:
            prefix = f"{self.prefix}-{kind}"
            original = None
            if not self.kept and self.original is not None:
                if self.original.alias == kind:
                    original = self.original
            sent = self.is_bound and (
                kind == self.chosen
                or any(name.startswith(f"{prefix}-") for name in self.data)
            )
            form = FORMS[kind](self.data if sent else None, prefix, original)
            if sent and (kind != self.chosen or self.root.restructured):
                # What was typed there is kept, but nobody asked what it means.
                form._errors, form.cleaned_data = ErrorDict(), {}
            made[kind] = form
        return made

    @cached_property
    def children(self) -> list[TriggerEditor]:
        """The editors of the triggers that a combining trigger is made of."""
        if self.depth > MAX_DEPTH:
            return []
        originals = getattr(self.original, "triggers", []) if not self.kept else []
        count = len(originals)
        if self.is_bound:
            count = min(_whole(self.data.get(f"{self.prefix}-count")), MAX_CHILDREN)
        made: list[TriggerEditor] = []
        for number in range(count):
            if self.root.left <= 0:
                break
            prefix = f"{self.prefix}-{number}"
            sent = self.is_bound and f"{prefix}-type" in self.data
            made.append(
                TriggerEditor(
                    self.data if sent else None,
                    prefix=prefix,
                    trigger=originals[number] if number < len(originals) else None,
                    parent=self,
                )
            )
        return made

    @property
    def has_room(self) -> bool:
        """Whether another trigger may be added to this combining one."""
        return len(self.children) < MAX_CHILDREN and self.root.left > 0

    @property
    def number(self) -> int:
        """The place among the triggers of a combining one, from 1."""
        return int(self.prefix.rpartition("-")[2]) + 1

    @property
    def zone_list(self) -> str:
        return ZONE_LIST

    @property
    def zone_names(self) -> tuple[str, ...]:
        return zone_names()

    def choices(self) -> list[dict[str, Any]]:
        """Return what the radio buttons offer."""
        offered = [
            {"value": kind, "label": FORMS[kind].label, "hint": FORMS[kind].hint}
            for kind in self.kinds
        ]
        if self.kept:
            label = gettext("Leave as it is: %(trigger)s") % {"trigger": self.kept}
            offered.insert(0, {"value": KEEP, "label": label, "hint": ""})
        for choice in offered:
            choice["id"] = f"id_{self.prefix}-type-{choice['value']}"
            choice["checked"] = choice["value"] == self.chosen
        return offered

    def __html__(self) -> SafeString:
        for form in self.forms.values():
            if isinstance(form, CronForm) and form.is_bound:
                form.remember()
        return render_to_string(self.template_name, {"editor": self})

    __str__ = __html__

    @property
    def cron_form(self) -> CronForm:
        """The form of cron triggers, which the script fills in for an expression."""
        form = self.forms["cron"]
        assert isinstance(form, CronForm)
        return form

    @property
    def raw_crontab(self) -> str:
        """The crontab expression that decided, as it was typed; "" when none did."""
        return self.cron_form.raw_crontab if self.chosen == "cron" else ""

    def values(self) -> dict[str, str]:
        """
        Return what a browser would submit of this editor as it is first shown.

        For a page that shows again what somebody else saved meanwhile.
        """
        found = {f"{self.prefix}-type": self.chosen}
        for form in self.forms.values():
            for name in form.fields:
                found[form.add_prefix(name)] = str(form.initial.get(name) or "")
        if self.depth <= MAX_DEPTH:
            found[f"{self.prefix}-count"] = str(len(self.children))
        for child in self.children:
            found.update(child.values())
        return found

    # What is made of it.

    def is_valid(self) -> bool:
        """Make the trigger; tell whether there is one and nothing to complain of."""
        if not self._checked:
            self._checked = True
            self.problems = []
            if self.is_bound and not self.restructured:
                self._check()
            if self.problems:
                self.trigger = None
        return self.is_bound and not self.restructured and not self.problems

    @property
    def errors(self) -> list[str]:
        """What is wrong, after `is_valid`, as sentences that name their field."""
        return [problem.text for problem in self.problems]

    @property
    def place(self) -> str:
        """The id of the editor on the page."""
        return f"{self.prefix}-editor"

    def _complain(self, text: str, place: str = "") -> None:
        self.problems.append(Problem(place or self.place, text))

    @property
    def changed(self) -> bool:
        """Whether, after `is_valid`, there is another trigger than before."""
        return self.trigger is not None and self.trigger is not self.original

    def _check(self) -> None:
        if self.chosen == KEEP:
            self.trigger = self.original
            return
        if not self.chosen:
            first = self.choices()[0]["id"]
            self._complain(
                gettext("Kind of trigger: choose one of those offered."), first
            )
            return
        form = self.forms[self.chosen]
        form.is_valid()
        if isinstance(form, CombiningForm):
            self._combine(form)
        self.problems += form.problems()
        if not self.problems:
            self.trigger = form.trigger
        if self.trigger is not None and (self.changed or self.new) and not self.parent:
            self._check_schedule()

    def _combine(self, form: CombiningForm) -> None:
        """Make a combining trigger of the children's, or say what is wrong."""
        for child in self.children:
            if not child.is_bound:
                text = gettext("Trigger %(number)s: is empty.")
                self._complain(text % {"number": child.number}, child.place)
            elif not child.is_valid():
                for problem in child.problems:
                    text = gettext("Trigger %(number)s: %(problem)s") % {
                        "number": child.number,
                        "problem": problem.text,
                    }
                    self._complain(text, problem.place)
        if not self.children:
            self._complain(
                gettext("%(kind)s: expected at least one trigger; add one.")
                % {"kind": form.label}
            )
        if self.problems or form.errors:
            return
        triggers = [child.trigger for child in self.children]
        same = form.original is not None and not form.edited()
        if same and len(triggers) == len(form.original.triggers):
            if all(new is old for new, old in zip(triggers, form.original.triggers)):
                form.trigger = form.original
                return
        try:
            form.trigger = form.kind(triggers=triggers, **form.arguments())
        except (ValueError, TypeError) as error:
            self._complain(f"{error}.")

    def _check_schedule(self) -> None:
        """Complain of a trigger that will never fire."""
        now = clock.now()
        try:
            text = serialization.dump_trigger(self.trigger)
            # A copy: once asked, an interval remembers what it counts from.
            first = serialization.load_trigger(text).get_next_fire_time(None, now)
        except (ValueError, TypeError, OverflowError) as error:
            self._complain(f"{str(error)[:300].rstrip('.')}.")
            return
        if first is None:
            self._complain(traps.why_never(self.trigger, now))
        elif isinstance(self.trigger, DateTrigger) and in_utc(first) < now:
            text = gettext(
                "Date and time: %(moment)s has passed; expected a time to come."
            )
            form = self.forms[self.chosen]
            self._complain(text % {"moment": describe(first)}, form["run_date"].auto_id)


def is_editable(trigger: Any, depth: int = 1) -> bool:
    """Tell whether the editor can show a trigger of exactly this kind."""
    form = FORMS.get(type(trigger).__dict__.get("alias") or "")
    if form is None or type(trigger) is not form.kind:
        return False
    if not isinstance(trigger, CombiningTrigger):
        return True
    return (
        depth <= MAX_DEPTH
        and len(trigger.triggers) <= MAX_CHILDREN
        and _count(trigger) <= MAX_TRIGGERS
        and all(is_editable(child, depth + 1) for child in trigger.triggers)
    )


def _count(trigger: Any) -> int:
    return 1 + sum(map(_count, getattr(trigger, "triggers", ())))


def _whole(text: Any) -> int:
    return int(text) if re.fullmatch(r"\d{1,4}", str(text or "")) else 0


def _restructure(data: Any, prefix: str) -> tuple[Any, bool]:
    """Return the data as a button that adds or removes a trigger leaves it."""
    button = re.compile(re.escape(prefix) + _BUTTON)
    for name in data:
        match = button.match(name)
        if match is None:
            continue
        data = data.copy()
        del data[name]
        at = prefix + match[1]
        if match[2] == "add":
            count = _whole(data.get(f"{at}-count"))
            # One trigger alone is nothing to combine.
            data[f"{at}-count"] = str(min(max(count + 1, 2), MAX_CHILDREN))
        elif match[1]:
            _remove(data, *at.rsplit("-", 1))
        return data, True
    return data, False


def _remove(data: Any, parent: str, place: str) -> None:
    """Take one of a combining trigger's triggers out; those after it move up."""
    count = min(_whole(data.get(f"{parent}-count")), MAX_CHILDREN)
    sent = {name: data[name] for name in data if name.startswith(f"{parent}-")}
    for number in range(int(place), count):
        mine, following = f"{parent}-{number}-", f"{parent}-{number + 1}-"
        for name in sent:
            if name.startswith(mine) and name in data:
                del data[name]
        for name, value in sent.items():
            if name.startswith(following) and number + 1 < count:
                data[mine + name.removeprefix(following)] = value
    data[f"{parent}-count"] = str(max(count - 1, 0))
