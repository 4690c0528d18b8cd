"""``manage.py apscheduler``: look at the jobs and steer them, from any machine."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable
from functools import partial
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, transaction

from django_apscheduler import (
    audit,
    clock,
    conf,
    housekeeping,
    registry,
    rollups,
    sync,
)
from django_apscheduler.db import repeat_deadlocks, resolve_alias
from django_apscheduler.jobstores.base import ExecutionLookupError, JobLookupError
from django_apscheduler.jobstores.django.sql import begin_to_write
from django_apscheduler.management import health, listing, preflight
from django_apscheduler.management.commands.runapscheduler import seconds, show_report
from django_apscheduler.management.console import Console, moment, wants_colour
from django_apscheduler.models import DjangoJob, DjangoJobExecution, SchedulerControl
from django_apscheduler.sync import Report

#: Jobs that a list shows unless told otherwise; there may be a million.
LISTED_JOBS = 200

#: Subcommands whose changes the admin's log records.
LOGGED = ("sync", "pause", "resume", "run", "cancel", "resign")


class Command(BaseCommand):
    help = (
        "Lists and steers the stored jobs. Running schedulers, on whatever machine, "
        "notice at once. Exit status: 0 done, 1 not done."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(
            dest="command", required=True, metavar="COMMAND"
        )

        def add(name: str, text: str, act: Callable[..., None]) -> CommandParser:
            command = commands.add_parser(name, help=text, description=text)
            command.set_defaults(act=act)
            if name in LOGGED:
                command.add_argument(
                    "--user",
                    metavar="NAME",
                    help="the user of the project in whose name the admin's log has it; "
                    "by default the one named like the account that runs the command",
                )
            return command

        self.add_readers(add)
        self.add_levers(add)
        self.add_upkeep(add)

    def add_readers(self, add: Callable[..., CommandParser]) -> None:
        """Add the subcommands that look and change nothing."""
        listed = add(
            "list", "List the jobs, those that run next first.", self.list_jobs
        )
        listed.add_argument("--all", action="store_true", help="finished jobs, too")
        listed.add_argument(
            "--limit",
            type=_limit,
            default=LISTED_JOBS,
            metavar="N",
            help="how many jobs at most, 0 for all (default: %(default)s)",
        )
        checked = add(
            "check",
            "Tell whether the scheduler on this host works: exit status 0 when it has "
            "finished a tick lately, 1 when not, and a line that says why.",
            self.check_health,
        )
        checked.add_argument(
            "--any",
            action="store_true",
            help="any scheduler of the database will do, not only one on this host",
        )
        checked.add_argument(
            "--max-age",
            type=seconds,
            metavar="SECONDS",
            help="how long ago the last tick may have ended (default: "
            f"{health.MAX_AGE_SECONDS:g})",
        )
        checked.add_argument(
            "--timeout",
            type=seconds,
            default=health.TIMEOUT_SECONDS,
            metavar="SECONDS",
            help="how long to wait for the database (default: %(default)g)",
        )

    def add_levers(self, add: Callable[..., CommandParser]) -> None:
        """Add the subcommands that steer jobs and their runs."""
        for name, text, act in (
            ("pause", "Pause jobs, or everything.", self.pause),
            ("resume", "Resume paused jobs, or everything.", self.resume),
        ):
            command = add(name, text, act)
            command.add_argument("ids", nargs="*", metavar="ID")
            command.add_argument(
                "--all",
                action="store_true",
                help="the one switch for all jobs; single pauses stay as they are",
            )
            if name == "pause":
                command.add_argument("--reason", default="", help="shown in the admin")
        run = add(
            "run", "Run a job now, once; its schedule stays as it is.", self.run_now
        )
        run.add_argument("id", metavar="ID")
        cancel = add(
            "cancel",
            "Cancel executions: one that waits never begins, and one that runs is ended "
            "where it runs, as its executor can.",
            self.cancel,
        )
        cancel.add_argument("executions", nargs="+", type=int, metavar="EXECUTION")

    def add_upkeep(self, add: Callable[..., CommandParser]) -> None:
        """Add the subcommands that keep rows in order."""
        synced = add(
            "sync",
            "Bring the stored jobs in line with those declared in code.",
            self.sync,
        )
        synced.add_argument(
            "--dry-run",
            action="store_true",
            help="tell what would change, change nothing",
        )
        resign = add(
            "resign",
            "Sign jobs anew whose signature does not verify: after a change of "
            "SECRET_KEY, or when their rows were edited by hand on purpose.",
            self.resign,
        )
        resign.add_argument(
            "ids", nargs="*", metavar="ID", help="all jobs when omitted"
        )
        cleanup = add(
            "cleanup",
            "Delete what APSCHEDULER['retention'] does not keep, at once; running "
            "schedulers do the same each hour.",
            self.cleanup,
        )
        cleanup.add_argument(
            "--days",
            type=float,
            help="executions older than this, instead of what the settings say",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            settings = conf.configuration()
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        if options["act"] != self.check_health:
            # Not for a probe, which must be quick, and must not wait for ever.
            preflight.check_databases(settings)
        self.settings = settings
        self.console = Console(
            self.stdout._out,
            options["force_color"] or wants_colour(self.stdout, options["no_color"]),
            max(options["verbosity"], 1),
            settings.timezone,
        )
        try:
            if options["command"] in LOGGED:
                self._identify(options["user"])
            options["act"](options)
        except audit.UnknownUser as error:
            raise CommandError(str(error)) from error
        except (registry.DeclarationError, registry.DiscoveryError) as error:
            raise CommandError(str(error)) from error
        except DatabaseError as error:
            raise CommandError(f"The database says: {error}") from error

    def list_jobs(self, options: dict[str, Any]) -> None:
        limit = options["limit"] or None
        entries, total = listing.stored_jobs(self.settings, limit, options["all"])
        if total:
            more = "manage.py apscheduler list --limit 0"
            listing.show(self.console, entries, total, more)
        else:
            self.console.say("No jobs")

    def check_health(self, options: dict[str, Any]) -> None:
        line = health.check(
            self.settings, options["any"], options["max_age"], options["timeout"]
        )
        self.console.say(f"Healthy: {line}")

    def sync(self, options: dict[str, Any]) -> None:
        report = sync.synchronise(dry_run=options["dry_run"])
        show_report(self.console, report)
        if not options["dry_run"]:
            self._log_sync(report)
        if options["dry_run"]:
            self.console.say("Nothing was changed: this was a dry run")
        elif not report:
            self.console.say(
                f"Nothing to change; {len(report.unchanged)} declared jobs are as they "
                "should be"
            )

    def pause(self, options: dict[str, Any]) -> None:
        if options["all"]:
            self._none(options["ids"])
            stores = self._stores()
            if all(self._paused()):
                self.console.say("Everything is paused already")
                return
            for store in stores:
                store.pause_all(by=self.by, reason=options["reason"])
            self._log_all(said("Paused all jobs", options["reason"]))
            self.console.say("Everything is paused; running jobs go on to their end")
            return
        scheduler = registry.get_scheduler()

        def pause(job_id: str) -> str:
            if self._state(job_id) == DjangoJob.State.PAUSED:
                # Who paused it, and why, stays as it is.
                self.console.say(f"Paused already: {job_id}")
                return ""
            scheduler.pause_job(job_id)
            for using in sync.django_stores(self.settings):
                DjangoJob.objects.using(using).filter(id=job_id).update(
                    paused_by=self.by, pause_reason=options["reason"][:255]
                )
            self.console.say(f"Paused: {job_id}")
            return said("Paused", options["reason"])

        self._each(options["ids"], pause)

    def resume(self, options: dict[str, Any]) -> None:
        if options["all"]:
            self._none(options["ids"])
            stores = self._stores()
            if not any(self._paused()):
                self.console.say("Nothing to resume: the switch for all jobs is on")
                return
            for store in stores:
                store.resume_all()
            self._log_all("Resumed all jobs.")
            self.console.say("Resumed; jobs that were paused by themselves stay paused")
            return
        scheduler = registry.get_scheduler()

        def resume(job_id: str) -> str:
            if self._state(job_id) == DjangoJob.State.ACTIVE:
                self.console.say(f"Not paused: {job_id}")
                return ""
            job = scheduler.resume_job(job_id)
            if job is None:
                self.console.say(f"Ended while it was paused: {job_id}", "doubtful")
                return "Resumed; its schedule had ended during the pause."
            when = moment(job.next_run_time, clock.now(), self.console.zone)
            self.console.say(f"Resumed: {job_id}, next run {when}")
            return "Resumed."

        self._each(options["ids"], resume)

    def run_now(self, options: dict[str, Any]) -> None:
        def run(job_id: str) -> str:
            execution = registry.get_scheduler().run_job_now(
                job_id, requested_by=self.by
            )
            self.console.say(f"Asked for: {job_id} (execution {execution})")
            return f"Queued to run now (execution {execution})."

        self._each([options["id"]], run)

    def cancel(self, options: dict[str, Any]) -> None:
        undone = []
        for execution in options["executions"]:
            try:
                status = registry.get_scheduler().cancel_execution(
                    execution, requested_by=self.by
                )
            except ExecutionLookupError as error:
                undone.append(str(error))
                continue
            if status == DjangoJobExecution.CANCELLED:
                self.console.say(f"Cancelled: execution {execution}")
                self._log_execution(execution, "Cancelled.")
            elif status in DjangoJobExecution.RUNNING:
                self.console.say(
                    f"Its scheduler was asked to end execution {execution}"
                )
                self._log_execution(execution, "Asked its scheduler to end it.")
            else:
                undone.append(f"Execution {execution} was over already: {status}")
        if undone:
            raise CommandError("; ".join(undone))

    def resign(self, options: dict[str, Any]) -> None:
        signed: list[str] = []
        for store in self._stores():
            signed += store.resign(options["ids"] or None)
        self._log_jobs(dict.fromkeys(signed, "Signed anew."))
        count = len(signed)
        self.console.say(f"Signed anew: {count} job{'' if count == 1 else 's'}")

    def cleanup(self, options: dict[str, Any]) -> None:
        retention = dict(self.settings.retention)
        if options["days"] is not None:
            if options["days"] < 0:
                raise CommandError(f"--days must be 0 or more; got {options['days']:g}")
            retention["days"] = options["days"]
        for using in sync.django_stores(self.settings):
            for _ in rollups.steps(using):
                pass
            deleted = housekeeping.prune(using, retention)
            self.console.say(
                f"Deleted from {using}: executions {deleted.executions}, finished jobs "
                f"{deleted.jobs}, dead schedulers {deleted.processes}"
            )

    def _identify(self, name: str | None) -> None:
        """Find out in whose name the command acts."""
        self.user_id = audit.command_user(name)
        account = name or audit.os_account()
        self.by = f"{account} (command line)" if account else "command line"

    def _log_jobs(self, messages: dict[str, str], flag: int = audit.CHANGED) -> None:
        """Write to the admin's log; ``messages`` by job id."""
        rows = DjangoJob.objects.using(resolve_alias()).in_bulk(list(messages))
        # One that ended with the change has no row any more.
        jobs = [rows.get(id) or DjangoJob(id=id) for id in messages]
        audit.log_command(self.user_id, jobs, list(messages.values()), flag)

    def _log_sync(self, report: Report) -> None:
        self._log_jobs(
            dict.fromkeys(report.added, "Added as declared in code."), audit.ADDED
        )
        self._log_jobs(
            {
                **dict.fromkeys(report.enabled, "Enabled: declared in code again."),
                **dict.fromkeys(report.disabled, "Disabled: no longer in the code."),
                **{
                    job_id: f"Changed as declared in code: {', '.join(fields)}."
                    for job_id, fields in report.changed.items()
                },
            }
        )

    def _log_all(self, message: str) -> None:
        control = SchedulerControl(pk=SchedulerControl.ROW)
        audit.log_command(self.user_id, [control], message)

    def _log_execution(self, pk: int, message: str) -> None:
        rows = DjangoJobExecution.objects.using(resolve_alias()).filter(pk=pk)
        audit.log_command(self.user_id, list(rows), message)

    def _stores(self) -> list[Any]:
        """Return the Django stores, open for edits."""
        stores = registry.shared_stores()
        if not stores:
            raise CommandError("APSCHEDULER has no Django job store")
        return stores

    def _none(self, ids: list[str]) -> None:
        if ids:
            raise CommandError(f"give --all or ids, not both; got {', '.join(ids)}")

    def _each(self, ids: list[str], act: Callable[[str], str]) -> None:
        """
        Do something to each job; name those that do not exist, after the others.

        :param act: does it, and returns what the admin's log says of it; "" when there
            was nothing to do
        """
        if not ids:
            raise CommandError("name at least one job, or --all")
        unknown = []
        using = resolve_alias()
        for job_id in ids:
            try:
                repeat_deadlocks(using, partial(self._one, using, job_id, act))
            except JobLookupError:
                unknown.append(job_id)
            except ValueError as error:
                raise CommandError(str(error)) from error
        if unknown:
            raise CommandError(
                f"There is no job {', '.join(unknown)}; manage.py apscheduler list "
                "shows the ids"
            )

    def _one(self, using: str, job_id: str, act: Callable[[str], str]) -> None:
        with transaction.atomic(using=using):
            begin_to_write(using)
            done = act(job_id)
            if done:
                self._log_jobs({job_id: done})

    def _state(self, job_id: str) -> str | None:
        """Return the stored state of a job; None if the admin's database has none."""
        rows = DjangoJob.objects.using(resolve_alias()).filter(id=job_id)
        return rows.values_list("state", flat=True).first()

    def _paused(self) -> list[bool]:
        """Return of each database of the settings whether all its jobs are paused."""
        return [
            SchedulerControl.objects.using(using).filter(paused=True).exists()
            for using in sync.django_stores(self.settings)
        ]


def _limit(text: str) -> int:
    if not text.isdecimal():
        raise ArgumentTypeError(f"expected a whole number, 0 or more; got {text!r}")
    return int(text)


def said(what: str, reason: str) -> str:
    """Return what was done, with the reason if one was given."""
    return f"{what}: {reason}" if reason else f"{what}."
