"""
Brings the job store in line with the jobs declared in code.

What changed in code changes in the store, unless staff overrode it; what did not is left
alone, ``next_run_time`` and pauses included. A job gone from the code is disabled and
keeps its history; it comes back with its declaration.

Several releases may run at once during a deploy. For each job the newest process that
declares it has the say: the one with the highest (release, start time). A job is
disabled only when no living process declares it.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from math import inf
from typing import Any

from django.db import connections, transaction
from django.db.models import Q

from django_apscheduler import clock, conf, registry, serialization, util
from django_apscheduler.db import database_now, repeat_deadlocks, resolve_alias
from django_apscheduler.job import BROKEN, DISABLED, FINISHED, PAUSED
from django_apscheduler.jobstores.base import ConflictingIdError
from django_apscheduler.jobstores.django.sql import begin_to_write, statements
from django_apscheduler.models import DjangoJob, SchedulerControl, SchedulerProcess
from django_apscheduler.registry import Declaration

logger = logging.getLogger(__name__)


@dataclass
class Report:
    """
    What a synchronisation did, or would do: ids of jobs.

    :ivar changed: id → names of the changed fields
    :ivar overridden: id → names of fields changed in code that staff overrode
    :ivar newer: ids left to a newer release that declares them as well
    """

    added: list[str] = field(default_factory=list)
    changed: dict[str, list[str]] = field(default_factory=dict)
    enabled: list[str] = field(default_factory=list)
    disabled: list[str] = field(default_factory=list)
    overridden: dict[str, list[str]] = field(default_factory=dict)
    past: list[str] = field(default_factory=list)
    newer: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)

    def add(self, other: Report) -> None:
        """Add what was done in another database."""
        for name, found in vars(other).items():
            mine = getattr(self, name)
            mine.update(found) if isinstance(found, dict) else mine.extend(found)

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.enabled or self.disabled)


class _DryRun(Exception):
    """Rolls a transaction back that was only tried out."""


def synchronise(
    scheduler: Any = None,
    *,
    dry_run: bool = False,
) -> Report:
    """
    Apply the declarations of this process's code to the Django job stores.

    :param scheduler: writes the jobs; `get_scheduler()` by default
    :param dry_run: tell what would be done and do nothing
    :raises DeclarationError: naming every declared job that could not run; nothing is
        changed then
    """
    declared = registry.declarations()
    _refuse_faulty(declared.values())
    settings = conf.configuration()
    scheduler = scheduler or registry.get_scheduler()
    release = release_key(settings.release)
    report = Report()
    for using, aliases in django_stores(settings).items():
        own = [d for d in declared.values() if d.jobstore in aliases]
        sync = _Sync(scheduler, using, min(aliases), release, settings.job_defaults)
        report.add(repeat_deadlocks(using, partial(sync.run, own, dry_run)))
    return report


def publish() -> None:
    """List this process's declarations in its rows, for other processes to heed."""
    settings = conf.configuration()
    declared = registry.declarations().values()
    for using, aliases in django_stores(settings).items():
        own = sorted(d.id for d in declared if d.jobstore in aliases)
        _own_processes(using).update(
            declarations=serialization.canonical(own), release=settings.release
        )


def declare_elsewhere(scheduler: Any, settings: conf.Configuration) -> None:
    """
    Give declared jobs to those of a scheduler's stores that are not Django's.

    They begin empty, or serve this scheduler alone, so that nobody need synchronise them.

    :param scheduler: of these settings, not started
    :raises DiscoveryError: when an app's ``jobs`` module cannot be imported
    :raises DeclarationError: for a job whose store the settings lack
    """
    for declaration in registry.declarations().values():
        store = settings.jobstores.get(declaration.jobstore)
        if store is None:
            raise registry.DeclarationError(
                f"The job {declaration.id!r} declared at {declaration.place} names "
                f"the job store {declaration.jobstore!r}; APSCHEDULER has "
                f"{', '.join(settings.jobstores)}"
            )
        if not is_django(store):
            scheduler.add_job(
                jobstore=declaration.jobstore,
                replace_existing=True,
                **declaration.job_options(),
            )


def django_stores(settings: conf.Configuration) -> dict[str, set[str]]:
    """Return database alias → aliases of the job stores in it."""
    stores: dict[str, set[str]] = {}
    for alias, store in settings.jobstores.items():
        if is_django(store):
            stores.setdefault(resolve_alias(_using(store)), set()).add(alias)
    return stores


def is_django(store: Any) -> bool:
    """Tell whether the configuration of a job store means the Django one."""
    if isinstance(store, dict):
        kind = store.get("type") or store.get("class")
        return kind in ("django", "django_apscheduler.jobstores.django:DjangoJobStore")
    return bool(getattr(store, "shared", False))


def _using(store: Any) -> str | None:
    return (
        store.get("using") if isinstance(store, dict) else getattr(store, "using", None)
    )


def _refuse_faulty(declared: Iterable[Declaration]) -> None:
    faults = [
        f"{declaration.id} ({declaration.place}): {fault}"
        for declaration in declared
        for fault in registry.faults(declaration)
    ]
    if faults:
        raise registry.DeclarationError(
            "These declared jobs could not run: " + "; ".join(faults)
        )


def release_key(release: str) -> list[tuple[int, Any]]:
    """Return what orders releases: numbers as numbers, so that 1.10 is after 1.9."""
    parts = re.findall(r"\d+|[^\d.\-_+ ]+", release)
    return [(1, int(part)) if part.isdigit() else (0, part) for part in parts]


def as_declared(
    declaration: Declaration, job_defaults: dict[str, Any]
) -> dict[str, Any]:
    """
    Return a declaration's options as `DjangoJob` has them in its columns.

    Options that are not given have their default, so that a new default is a change.
    """
    options = {**job_defaults, **declaration.options}
    name = options.get("name") or util.get_callable_name(declaration.func)
    return {
        "func": declaration.func_ref,
        "trigger": serialization.dump_trigger(declaration.trigger),
        "args": serialization.dump_arguments(options.get("args", ())),
        "kwargs": serialization.dump_arguments(options.get("kwargs", {})),
        "name": name,
        "executor": options.get("executor", "default"),
        "coalesce": bool(options["coalesce"]),
        "max_instances": options["max_instances"],
        "misfire_grace_time": options["misfire_grace_time"],
        "on_lost": options.get("on_lost", "rerun"),
        "transactional": bool(options.get("transactional", False)),
    }


def override(job_id: str, fields: Iterable[str], using: str | None = None) -> None:
    """
    Note that staff changed fields of a declared job: code does not change them back.

    :param fields: names of columns of `DjangoJob`; others than a declaration's, and jobs
        that are not declared, are passed over
    """
    alias = resolve_alias(using)
    with _editing(alias):
        row = _locked(alias).filter(id=job_id, declaration__isnull=False).first()
        if row is None:
            return
        known = json.loads(row.declaration)
        merged = {
            *json.loads(row.overrides or "[]"),
            *(f for f in fields if f in known),
        }
        DjangoJob.objects.using(alias).filter(id=job_id).update(
            overrides=serialization.canonical(sorted(merged))
        )


def revert(job_id: str, scheduler: Any = None, using: str | None = None) -> list[str]:
    """
    Undo what staff changed in a declared job: it is again as declared in code.

    :return: names of the fields that changed
    """
    alias = resolve_alias(using)
    scheduler = scheduler or registry.get_scheduler()
    jobstore = min(django_stores(conf.configuration()).get(alias, ()), default=None)
    with _editing(alias):
        row = _locked(alias).filter(id=job_id, declaration__isnull=False).first()
        if row is None:
            return []
        declared = json.loads(row.declaration)
        # A declaration that a later release wrote may have columns unknown to this one.
        known = {field.attname for field in DjangoJob._meta.concrete_fields}
        overridden = json.loads(row.overrides or "[]")
        fields = [name for name in overridden if name in declared and name in known]
        changed = [name for name in fields if getattr(row, name) != declared[name]]
        _change(scheduler, jobstore, row, {name: declared[name] for name in changed})
        DjangoJob.objects.using(alias).filter(id=job_id).update(overrides="[]")
    return changed


@contextmanager
def _editing(using: str) -> Iterator[None]:
    """
    Run the block in a transaction that may read first and write later.

    Processes that start at the same moment take turns: a row that is not there yet
    cannot be locked, so they would all find a new job missing and all add it.
    """
    control = SchedulerControl.objects.using(using).filter(pk=SchedulerControl.ROW)
    # Before the transaction: where the row is there, InnoDB has an INSERT share it, and
    # two that share a row deadlock as soon as both lock it.
    if not control.exists():
        only = SchedulerControl(pk=SchedulerControl.ROW)
        control.bulk_create([only], ignore_conflicts=True)
    outermost = not connections[using].in_atomic_block
    with transaction.atomic(using=using):
        begin_to_write(using)
        if outermost:
            statements(connections[using]).limit_idling()
        if connections[using].vendor != "sqlite":
            control.select_for_update().get()
        yield


def _locked(using: str) -> Any:
    rows = DjangoJob.objects.using(using)
    # Two processes that start at once take turns; SQLite has one writer anyway.
    if connections[using].features.has_select_for_update:
        rows = rows.select_for_update()
    return rows.order_by("id")


def _own_processes(using: str) -> Any:
    return (
        SchedulerProcess.objects.using(using)
        .filter(host=socket.gethostname(), pid=os.getpid())
        .exclude(state=SchedulerProcess.State.DEAD)
    )


def _change(
    scheduler: Any, alias: str | None, row: DjangoJob, values: dict[str, Any]
) -> None:
    """Give a job columns' values as a declaration has them, through the scheduler."""
    if not values:
        return
    changes = dict(values)
    trigger = changes.pop("trigger", None)
    for name in ("args", "kwargs"):
        if name in changes:
            changes[name] = serialization.load_arguments(changes[name])
    if changes:
        scheduler.modify_job(row.id, alias, **changes)
    if trigger is not None:
        scheduler.modify_job(row.id, alias, trigger=serialization.load_trigger(trigger))


class _Sync:
    """Synchronisations with one database."""

    def __init__(
        self,
        scheduler: Any,
        using: str,
        alias: str,
        release: list[tuple[int, Any]],
        job_defaults: dict[str, Any],
    ):
        self.scheduler = scheduler
        self.using = using
        # Of several job stores in one database any will do for an edit.
        self.alias = alias
        self.release = release
        self.job_defaults = job_defaults
        self.report = Report()

    def run(self, declared: list[Declaration], dry_run: bool) -> Report:
        """Synchronise in one transaction, which is undone when it was a trial."""
        self.report = Report()
        try:
            with _editing(self.using):
                self.compare(declared)
                if dry_run:
                    raise _DryRun
        except _DryRun:
            pass
        return self.report

    def compare(self, declared: list[Declaration]) -> None:
        newer, elsewhere = self.other_processes()
        mine = {d.id: d for d in declared if d.id not in newer}
        self.report.newer += sorted({d.id for d in declared} & newer)
        known = {d.id for d in declared}
        rows = {
            row.id: row
            for row in _locked(self.using).filter(
                Q(id__in=known) | Q(declaration__isnull=False)
            )
        }
        for job_id, declaration in sorted(mine.items()):
            self.apply(declaration, rows.get(job_id))
        for job_id, row in rows.items():
            if job_id not in known and job_id not in elsewhere:
                self.disable(row)

    def other_processes(self) -> tuple[set[str], set[str]]:
        """Return ids that newer processes declare, and ids that any other declares."""
        now = database_now(self.using)
        own = dict(_own_processes(self.using).values_list("id", "started_time"))
        # As others see it: were it by this process's own clock, two that start at one
        # moment could each take the other for newer, and neither would add a job. Who
        # has no row is a command, and the latest of all.
        rank = (self.release, max(own.values(), default=now), max(own, default=inf))
        newer: set[str] = set()
        every: set[str] = set()
        living = SchedulerProcess.objects.using(self.using).exclude(
            state=SchedulerProcess.State.DEAD
        )
        for process in living.filter(lease_until__gt=now).exclude(id__in=own):
            declared = set(json.loads(process.declarations or "[]"))
            every |= declared
            theirs = (release_key(process.release), process.started_time, process.pk)
            if theirs > rank:
                newer |= declared
        return newer, every

    def apply(self, declaration: Declaration, row: DjangoJob | None) -> None:
        wanted = as_declared(declaration, self.job_defaults)
        text = serialization.canonical(wanted)
        if row is None:
            self.add(declaration, text)
        elif row.state == DISABLED:
            self.enable(row, declaration, text)
        elif row.state == BROKEN and self.is_unreadable(row):
            self.write_anew(row, declaration, wanted, text)
        elif row.declaration == text:
            self.report.unchanged.append(row.id)
        elif row.state == FINISHED:
            # Its schedule ended. A new schedule makes it a new job.
            old = json.loads(row.declaration or "{}")
            if old.get("trigger") == wanted["trigger"]:
                self.save(row.id, declaration=text)
                self.report.unchanged.append(row.id)
            else:
                self.add(declaration, text)
        else:
            self.change(row, declaration, wanted, text)

    def add(self, declaration: Declaration, text: str) -> None:
        if self.is_past(declaration):
            self.report.past.append(declaration.id)
            return
        try:
            self.scheduler.add_job(
                jobstore=declaration.jobstore, **declaration.job_options()
            )
        except ConflictingIdError:
            # Another process that starts at this moment was first.
            logger.info("Job %s was added by another process", declaration.id)
        self.save(declaration.id, declaration=text, overrides="[]")
        self.report.added.append(declaration.id)

    def is_unreadable(self, row: DjangoJob) -> bool:
        """Tell whether nobody can make a job of a row, as after a new SECRET_KEY."""
        return self.scheduler.get_job(row.id, self.alias) is None

    def write_anew(
        self,
        row: DjangoJob,
        declaration: Declaration,
        wanted: dict[str, Any],
        text: str,
    ) -> None:
        """Put a job that cannot be read in the place of its row, as it is declared."""
        paused = row.state == PAUSED
        changed = [name for name in wanted if getattr(row, name) != wanted[name]]
        self.save(row.id, state=BROKEN)
        self.scheduler.add_job(
            jobstore=declaration.jobstore,
            replace_existing=True,
            **declaration.job_options(),
        )
        if paused:
            self.scheduler.pause_job(row.id, self.alias)
        # What staff made of it may be the very part that cannot be read.
        self.save(row.id, declaration=text, overrides="[]")
        self.report.changed[row.id] = [*changed, "signature"]

    def change(
        self,
        row: DjangoJob,
        declaration: Declaration,
        wanted: dict[str, Any],
        text: str,
    ) -> None:
        old = json.loads(row.declaration or "{}")
        if self.is_unreadable(row):
            self.write_anew(row, declaration, wanted, text)
            return
        overrides = set(json.loads(row.overrides or "[]"))
        in_code = [n for n in wanted if n not in old or old[n] != wanted[n]]
        held = [name for name in in_code if name in overrides]
        changed = [
            name
            for name in in_code
            if name not in overrides and getattr(row, name) != wanted[name]
        ]
        _change(
            self.scheduler, self.alias, row, {name: wanted[name] for name in changed}
        )
        self.save(row.id, declaration=text)
        if changed:
            self.report.changed[row.id] = changed
        else:
            self.report.unchanged.append(row.id)
        if held:
            self.report.overridden[row.id] = held

    def enable(self, row: DjangoJob, declaration: Declaration, text: str) -> None:
        """Put a job back that had gone from the code; it counts from now."""
        if self.is_past(declaration):
            self.report.past.append(row.id)
            return
        wanted = as_declared(declaration, self.job_defaults)
        self.change(row, declaration, wanted, text)
        if row.paused_time is not None:
            self.save(row.id, state=PAUSED)
        else:
            self.scheduler.resume_job(row.id, self.alias)
        if row.id in self.report.unchanged:
            self.report.unchanged.remove(row.id)
        self.report.enabled.append(row.id)

    def disable(self, row: DjangoJob) -> None:
        if row.state in (DISABLED, FINISHED):
            return
        if self.is_unreadable(row):
            self.save(row.id, state=DISABLED, next_run_time=None, nominal_time=None)
        elif row.state == PAUSED:
            # `paused_time` stays, and says that it comes back paused.
            self.save(row.id, state=DISABLED)
        else:
            self.scheduler.pause_job(row.id, self.alias)
            self.save(row.id, state=DISABLED, paused_time=None)
        self.report.disabled.append(row.id)

    def is_past(self, declaration: Declaration) -> bool:
        """Tell whether a one-off's time has passed: it ran, or missed its time."""
        grace = declaration.options.get(
            "misfire_grace_time", self.job_defaults["misfire_grace_time"]
        )
        now = clock.now()
        first = declaration.trigger.get_next_fire_time(None, now)
        return first is None or bool(grace and first < now - timedelta(seconds=grace))

    def save(self, job_id: str, **columns: Any) -> None:
        DjangoJob.objects.using(self.using).filter(id=job_id).update(**columns)
