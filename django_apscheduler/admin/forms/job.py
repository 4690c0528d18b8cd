"""The form of a job: what is asked, what was changed, and whether it may be saved."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import slugify
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_apscheduler import serialization
from django_apscheduler.admin.forms import calls, conflicts, describing
from django_apscheduler.admin.triggers import schedules
from django_apscheduler.admin.triggers.editor import TriggerEditor
from django_apscheduler.admin.triggers.fields import NumberField
from django_apscheduler.db import resolve_alias
from django_apscheduler.job import FINISHED
from django_apscheduler.jobstores.django.rows import LARGEST
from django_apscheduler.models import DjangoJob

ARGUMENTS = ("args", "kwargs")
#: Lines of arguments that are in sight at a time.
HIGHEST_BOX = 20
#: Fields that only the form for a new job has.
ONLY_NEW = ("id", "paused", "duplicate")


@dataclass(frozen=True)
class Access:
    """
    What a user may do with the form of a job.

    :ivar editable: names of the fields that are offered; no other is ever read
    :ivar may_see: whether arguments are shown
    :ivar source: the job that a new one is a duplicate of
    :ivar executors: alias -> whether a live scheduler offers it
    :ivar redisplay: show the form again, whatever it says; nothing is saved
    :ivar refusal: why saving what the form says was refused
    """

    editable: frozenset[str]
    may_see: bool = False
    source: DjangoJob | None = None
    executors: dict[str, bool] = field(default_factory=dict)
    redisplay: bool = False
    refusal: str = ""


class TriggerWidget(forms.Widget):
    """Shows an editor, which reads its own data."""

    def __init__(self, editor: TriggerEditor):
        super().__init__()
        self.editor = editor

    def value_from_datadict(self, data: Any, files: Any, name: str) -> Any:
        return self.editor

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return False

    def id_for_label(self, id_: str) -> str:
        return ""

    def render(
        self, name: str, value: Any, attrs: Any = None, renderer: Any = None
    ) -> SafeString:
        return self.editor.__html__()


class TriggerField(forms.Field):
    """The trigger of a job; its value is the editor, checked."""

    def clean(self, value: Any) -> Any:
        if not value.is_valid():
            raise ValidationError(list(value.errors))
        return value

    def has_changed(self, initial: Any, data: Any) -> bool:
        return data.changed


class JobForm(forms.ModelForm):
    """
    A job, new or existing.

    Nothing is written to the instance: what the form says goes through the scheduler.

    :ivar changes: after `is_valid`, column -> new value as the row would have it
    :ivar conflicts: what two changed differently; then the form is not valid
    """

    access: ClassVar[Access]

    id = forms.CharField(
        label=_("Id"),
        required=False,
        max_length=255,
        widget=forms.TextInput(attrs={"class": "vTextField", "autocomplete": "off"}),
        help_text=_(
            "Stays for ever; code and logs know the job by it. Empty: made of the name."
        ),
    )
    name = forms.CharField(
        label=_("Name"),
        required=False,
        max_length=255,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text=_("For people."),
    )
    func = forms.ChoiceField(
        label=_("Callable"),
        error_messages={
            "required": _("choose one."),
            "invalid_choice": _("“%(value)s” is not one of those that are offered."),
        },
    )
    args = forms.CharField(
        label=_("Arguments"),
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 2, "cols": 60, "spellcheck": "false"}),
        help_text=_('By place, as a JSON list, such as [1, "monthly"].'),
    )
    kwargs = forms.CharField(
        label=_("Keyword arguments"),
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 3, "cols": 60, "spellcheck": "false"}),
        help_text=_('By name, as a JSON object, such as {"days": 30}.'),
    )
    trigger = TriggerField(label=_("Schedule"), required=False)
    paused = forms.BooleanField(
        label=_("Create it paused"),
        required=False,
        help_text=_("It runs when somebody resumes it or presses Run now."),
    )
    misfire_grace_time = NumberField(
        label=_("Grace time in seconds"),
        whole=True,
        least=1,
        largest=LARGEST,
        help_text=_(
            "If up to this late, still run; later than that, the run counts as missed. "
            "Empty: run however late."
        ),
    )
    coalesce = forms.BooleanField(
        label=_("Coalesce"),
        required=False,
        help_text=_(
            "If several runs are due at once, as after a standstill, run once instead "
            "of once for each."
        ),
    )
    max_instances = NumberField(
        label=_("Max instances"),
        required=True,
        whole=True,
        least=1,
        largest=LARGEST,
        help_text=_(
            "At most this many runs of the job go on at a time; a run that is due "
            "meanwhile is skipped, and the log says so."
        ),
    )
    executor = forms.ChoiceField(
        label=_("Executor"),
        error_messages={
            "invalid_choice": _("“%(value)s” is not one of those that are offered.")
        },
        help_text=_("Only schedulers that have this executor run the job."),
    )
    on_lost = forms.ChoiceField(
        label=_("If its scheduler dies"),
        widget=forms.RadioSelect,
        choices=(
            ("rerun", _("run again: what the job does may happen twice")),
            ("mark", _("mark as lost: it happens once at most")),
        ),
    )
    transactional = forms.BooleanField(
        label=_("Transactional"),
        required=False,
        help_text=_(
            "What the job writes to the database and the record of its success are one "
            "transaction: all or nothing."
        ),
    )
    base = forms.CharField(required=False, widget=forms.HiddenInput)
    duplicate = forms.CharField(required=False, widget=forms.HiddenInput)

    class Meta:
        model = DjangoJob
        fields: tuple[str, ...] = ()

    def __init__(self, data: Any = None, *args: Any, **options: Any):
        instance = options.get("instance")
        self.job: DjangoJob | None = instance
        self.shown = shown_arguments(instance or self.access.source)
        self.changes: dict[str, Any] = {}
        self.conflicts: list[conflicts.Conflict] = []
        self.known: conflicts.Base | None = None
        if instance is not None:
            self.known = conflicts.base_of(instance, self.shown)
            options["initial"] = self.initial_of(instance)
            if data is not None:
                given = conflicts.read_base(data.get("base") or "", instance.pk)
                if given is not None:
                    data = self.give_up(data, given)
        super().__init__(data, *args, **options)
        for name in list(self.fields):
            if name not in self.access.editable and name not in ("base", "duplicate"):
                del self.fields[name]
        unused = "duplicate" if instance is not None else "base"
        del self.fields[unused]
        self.offer_choices()
        self.fit_arguments()
        self.set_editor(self.make_editor())

    # What is shown.

    def initial_of(self, job: DjangoJob) -> dict[str, Any]:
        """Return what the form shows of a job."""
        assert self.known is not None
        shown = {name: getattr(job, name) for name in conflicts.COLUMNS}
        return {**shown, **self.shown, "base": self.known.dump()}

    def offer_choices(self) -> None:
        """Fill in what depends on the project: callables and executors."""
        if "func" in self.fields:
            offered = [
                (choice.ref, f"{choice.label} – {choice.ref}")
                for choice in calls.choices()
            ]
            self.fields["func"].help_text = told_callables()
            stored = self.job.func if self.job is not None else ""
            if stored and stored not in dict(offered):
                words = gettext("%(ref)s (not offered by this project; kept)")
                offered.insert(0, (stored, words % {"ref": stored}))
            elif not stored:
                offered.insert(0, ("", gettext("Choose what is to run")))
            self.fields["func"].choices = offered  # type: ignore[attr-defined]
        if "executor" in self.fields:
            executors = dict(self.access.executors)
            if self.job is not None:
                executors.setdefault(self.job.executor, False)
            nobody = gettext("%(executor)s (no live scheduler offers it)")
            self.fields["executor"].choices = [  # type: ignore[attr-defined]
                (alias, alias if live else nobody % {"executor": alias})
                for alias, live in sorted(executors.items())
            ]

    def fit_arguments(self) -> None:
        """Make the boxes of arguments as high as what they show, within reason."""
        for name in ARGUMENTS:
            if name in self.fields:
                field = self.fields[name]
                attributes = field.widget.attrs
                initial = self.get_initial_for_field(field, name)
                text = self.data.get(name) if self.is_bound else initial
                lines = str(text or "").count("\n") + 1
                attributes["rows"] = min(max(attributes["rows"], lines), HIGHEST_BOX)

    def make_editor(self, data: Any = None) -> TriggerEditor:
        """Return the editor of the trigger as it was when the form was first shown."""
        job = self.job or self.access.source
        sent = data if data is not None else (self.data if self.is_bound else None)
        if job is None:
            return TriggerEditor(sent, new=True)
        if self.job is None and not conflicts.loadable(job.trigger):
            return TriggerEditor(sent, new=True)
        schedule = schedules.schedule_of(job)
        if self.known is not None and self.known.trigger not in ("", job.trigger):
            then = DjangoJob(trigger=self.known.trigger, anchor_time=job.anchor_time)
            schedule = schedules.schedule_of(then)
        if schedule.trigger is None:
            words = f"{schedule.text}: {schedule.error}".rstrip(": ")
            return TriggerEditor(sent, kept=words if job.trigger else "")
        return TriggerEditor(sent, trigger=schedule.trigger, new=self.job is None)

    def set_editor(self, editor: TriggerEditor) -> None:
        self.editor = editor
        if "trigger" in self.fields:
            self.fields["trigger"].widget = TriggerWidget(editor)

    # Whether it is valid.

    @property
    def is_redisplayed(self) -> bool:
        """Whether a button asks for no more than to see the form again."""
        return self.access.redisplay or self.editor.restructured

    def full_clean(self) -> None:
        if self.is_bound and self.editor.restructured:
            # Somebody added a trigger to fill in: nothing to complain of yet.
            self._errors = forms.utils.ErrorDict()
            self.cleaned_data = {}
            return
        super().full_clean()

    def is_valid(self) -> bool:
        return super().is_valid() and not self.is_redisplayed

    def _post_clean(self) -> None:
        """Leave the instance alone: it is what is stored."""

    def clean_id(self) -> str:
        job_id = self.cleaned_data["id"]
        taken = DjangoJob.objects.using(resolve_alias()).exclude(state=FINISHED)
        if job_id and taken.filter(pk=job_id).exists():
            raise ValidationError(
                gettext("“%(id)s” is the id of another job; choose another one.")
                % {"id": job_id}
            )
        if re.search(r"[\x00-\x1f\x7f]", job_id):
            raise ValidationError(gettext("expected no line breaks or control signs."))
        return job_id

    def clean_name(self) -> str:
        name = self.cleaned_data["name"]
        if not name and self.job is not None:
            raise ValidationError(gettext("is needed."))
        return name

    def clean(self) -> dict[str, Any]:
        if self.access.refusal:
            self.add_error(None, self.access.refusal)
        if self.job is None and "id" in self.fields and not self.errors:
            self.cleaned_data["id"] = self.cleaned_data["id"] or self.proposed_id()
        values = self.values()
        if not self.errors and self.job is not None:
            self.merge(self.job, values)
        elif self.job is None:
            self.changes = values
        return self.cleaned_data

    def values(self) -> dict[str, Any]:
        """Return the columns that the user changed, or all of a new job."""
        found: dict[str, Any] = {}
        for name in conflicts.COLUMNS:
            if name in self.cleaned_data and name not in (*ARGUMENTS, "trigger"):
                value = self.cleaned_data[name]
                if self.job is None or self.differs(name, value):
                    found[name] = value
        if "trigger" in self.cleaned_data:
            editor = self.cleaned_data["trigger"]
            if self.job is None or editor.changed:
                found["trigger"] = serialization.dump_trigger(editor.trigger)
        self.check_call(found)
        return found

    def differs(self, name: str, value: Any) -> bool:
        """Tell whether a value is another than the form was shown with."""
        assert self.known is not None
        return self.known.digests.get(name) != conflicts.digest(value)

    def check_call(self, found: dict[str, Any]) -> None:
        """Read and check the arguments if they or the callable are new."""
        if self.job is None:
            func = self.cleaned_data.get("func") or ""
            old, new_call = self.access.source, True
        else:
            func = found.get("func", self.job.func)
            old, new_call = self.job, "func" in found
        new = [
            name
            for name in ARGUMENTS
            if name in self.fields
            and (new_call or self.differs(f"shown_{name}", self.text(name)))
        ]
        if not func or not (new or new_call):
            return
        # Hidden values are not handed to a callable that might tell them.
        known = old if old is not None and old.func == func else None
        try:
            args, kwargs = self.read_arguments(func, known, new)
        except ValidationError:
            return
        for name, errors in calls.check(func, args, kwargs).items():
            place = name if name in self.fields else None
            self.add_error(place, errors)  # type: ignore[arg-type]
        if self.job is None:
            new = list(ARGUMENTS)
        for name, values in zip(ARGUMENTS, (args, kwargs)):
            if name in new:
                found[name] = serialization.dump_arguments(values)

    def read_arguments(
        self, func: str, known: DjangoJob | None, new: list[str]
    ) -> tuple[tuple, dict[str, Any]]:
        """Return the arguments that the call would have; errors are added, and raised."""
        found: list[Any] = []
        for name in ARGUMENTS:
            stored = getattr(known, name) if known is not None else ""
            try:
                if name not in new:
                    text = getattr(self.job, name) if self.job else ""
                    found.append(serialization.load_arguments(text) if text else None)
                elif name == "args":
                    names = calls.parameter_names(func)
                    found.append(calls.parse_args(self.text(name), stored, names))
                else:
                    found.append(calls.parse_kwargs(self.text(name), stored))
            except ValidationError as error:
                self.add_error(name, error)
                raise
            except serialization.SerializationError as error:
                self.add_error(None, str(error))
                raise ValidationError(str(error)) from None
        return found[0] or (), found[1] or {}

    def text(self, name: str) -> str:
        """Return a field's text with the line ends in which it was shown."""
        return (self.cleaned_data.get(name) or "").replace("\r\n", "\n")

    def proposed_id(self) -> str:
        """Return a free id, made of the name or else of the callable."""
        given = self.cleaned_data.get("name") or self.cleaned_data.get("func") or ""
        stem = slugify(given.rpartition(":")[2])[:200] or "job"
        jobs = DjangoJob.objects.using(resolve_alias())
        taken = set(jobs.filter(pk__startswith=stem).values_list("pk", flat=True))
        number, proposed = 1, stem
        while proposed in taken:
            number += 1
            proposed = f"{stem}-{number}"
        return proposed

    # What two do at once.

    def give_up(self, data: Any, base: conflicts.Base) -> Any:
        """Return the data with what somebody else saved where the user chose that."""
        self.known = base
        names = [n for n in conflicts.given_up(data) if n in self.access.editable]
        if names:
            data = self.with_stored(data, names)
        return data

    def with_stored(self, data: Any, names: Iterable[str]) -> Any:
        """Return the data with fields as the row has them, counted as untouched."""
        job = self.job
        assert job is not None
        assert self.known is not None
        data = data.copy()
        now = conflicts.base_of(job, self.shown)
        digests = dict(self.known.digests)
        trigger = self.known.trigger
        for name in names:
            digests[name] = now.digests[name]
            if name in ARGUMENTS:
                digests[f"shown_{name}"] = now.digests[f"shown_{name}"]
            if name == "trigger":
                trigger = now.trigger
            write(data, name, {**self.shown}.get(name, getattr(job, name)))
        self.known = conflicts.Base(
            job.pk, self.known.revision, self.known.moment, trigger, digests
        )
        if "trigger" in names:
            for key in [key for key in data if key.startswith("trigger-")]:
                del data[key]
            schedule = schedules.schedule_of(job)
            fresh = TriggerEditor(
                trigger=schedule.trigger,
                kept="" if schedule.trigger is not None else schedule.text,
            )
            data.update(fresh.values())
        data["base"] = self.known.dump()
        return data

    def merge(self, job: DjangoJob, values: dict[str, Any]) -> None:
        """Take the user's changes, unless somebody else made others of the same field."""
        assert self.known is not None
        others = conflicts.changed_since(self.known, job)
        clashing = [
            name
            for name in values
            if name in others and values[name] != getattr(job, name)
        ]
        if not clashing:
            self.changes = {
                name: value
                for name, value in values.items()
                if value != getattr(job, name)
            }
            return
        since = self.known.moment
        for name in clashing:
            self.conflicts.append(
                conflicts.Conflict(
                    name,
                    str(self.fields[name].label),
                    describing.value(name, values[name], values.get("func", job.func)),
                    describing.value(name, getattr(job, name), job.func),
                    conflicts.who(job.pk, describing.log_names(name), since),
                )
            )
        self.add_error(
            None,
            gettext(
                "Somebody else saved other values meanwhile. Nothing of yours is lost "
                "and nothing was saved: choose below, and save again."
            ),
        )
        self.show_both(job, others - set(clashing), clashing)

    def show_both(
        self, job: DjangoJob, merged: Iterable[str], clashing: Iterable[str]
    ) -> None:
        """Have the form show the user's values, and others' where he has none."""
        merged = [name for name in merged if name in self.fields]
        data = self.with_stored(self.data, merged)
        # What is on the page now is known; saving again is done knowingly.
        self.known = conflicts.base_of(job, self.shown)
        data["base"] = self.known.dump()
        self.data = data
        if "trigger" in merged:
            self.set_editor(self.make_editor(data))
        for name in clashing:
            data.pop(conflicts.choice_name(name), None)


def write(data: Any, name: str, value: Any) -> None:
    """Put a field's value into data as a browser would send it."""
    if value is None or value is False:
        data[name] = ""
        if value is False:
            # An unchecked box is not sent.
            del data[name]
    elif value is True:
        data[name] = "on"
    else:
        data[name] = str(value)


def told_callables() -> SafeString:
    """Return what the offered callables do, and why some may be missing."""
    offer = calls.offer()
    items = format_html_join(
        "",
        "<dt><b>{}</b> <code>{}{}</code></dt><dd>{}</dd>",
        (
            (choice.label, choice.ref, choice.signature, choice.doc or "–")
            for choice in offer.choices
        ),
    )
    problem = ""
    if offer.problem:
        problem = format_html('<p class="dja-error">{}</p>', offer.problem)
    return format_html(
        '<details class="dja-callables"><summary>{}</summary><dl>{}</dl></details>{}',
        gettext("What each of them does, and what it takes"),
        items,
        problem,
    )


def shown_arguments(job: DjangoJob | None) -> dict[str, str]:
    """Return the texts of a job's arguments as the form shows them."""
    if job is None:
        return {}
    args, kwargs = calls.shown_args(job.args, job.func), calls.shown_kwargs(job.kwargs)
    return {"args": args, "kwargs": kwargs}
