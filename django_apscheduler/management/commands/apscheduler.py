"""``manage.py apscheduler``: look at the jobs and steer them, from any machine."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from django_apscheduler import clock, conf, housekeeping, registry, sync
from django_apscheduler.jobstores.base import JobLookupError
from django_apscheduler.management import listing, preflight
from django_apscheduler.management.commands.runapscheduler import show_report
from django_apscheduler.management.console import Console, moment, wants_colour
from django_apscheduler.models import DjangoJob


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
            return command

        listed = add(
            "list", "List the jobs, those that run next first.", self.list_jobs
        )
        listed.add_argument("--all", action="store_true", help="finished jobs, too")
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
        preflight.check_databases(settings)
        self.settings = settings
        self.console = Console(
            self.stdout._out,
            options["force_color"] or wants_colour(self.stdout, options["no_color"]),
            max(options["verbosity"], 1),
            settings.timezone,
        )
        try:
            options["act"](options)
        except (registry.DeclarationError, registry.DiscoveryError) as error:
            raise CommandError(str(error)) from error
        except DatabaseError as error:
            raise CommandError(f"The database says: {error}") from error

    def list_jobs(self, options: dict[str, Any]) -> None:
        entries, total = listing.stored_jobs(self.settings, None, options["all"])
        if total:
            listing.show(self.console, entries, total)
        else:
            self.console.say("No jobs")

    def sync(self, options: dict[str, Any]) -> None:
        report = sync.synchronise(dry_run=options["dry_run"])
        show_report(self.console, report)
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
            for store in self._stores():
                store.pause_all(by=_user(), reason=options["reason"])
            self.console.say("Everything is paused; running jobs go on to their end")
            return
        scheduler = registry.get_scheduler()

        def pause(job_id: str) -> None:
            scheduler.pause_job(job_id)
            for using in sync.django_stores(self.settings):
                DjangoJob.objects.using(using).filter(id=job_id).update(
                    paused_by=_user(), pause_reason=options["reason"][:255]
                )
            self.console.say(f"Paused: {job_id}")

        self._each(options["ids"], pause)

    def resume(self, options: dict[str, Any]) -> None:
        if options["all"]:
            self._none(options["ids"])
            for store in self._stores():
                store.resume_all()
            self.console.say("Resumed; jobs that were paused by themselves stay paused")
            return
        scheduler = registry.get_scheduler()

        def resume(job_id: str) -> None:
            job = scheduler.resume_job(job_id)
            if job is None:
                self.console.say(f"Ended while it was paused: {job_id}", "doubtful")
                return
            when = moment(job.next_run_time, clock.now(), self.console.zone)
            self.console.say(f"Resumed: {job_id}, next run {when}")

        self._each(options["ids"], resume)

    def run_now(self, options: dict[str, Any]) -> None:
        def run(job_id: str) -> None:
            execution = registry.get_scheduler().run_job_now(
                job_id, requested_by=_user()
            )
            self.console.say(f"Asked for: {job_id} (execution {execution})")

        self._each([options["id"]], run)

    def resign(self, options: dict[str, Any]) -> None:
        signed = 0
        for store in self._stores():
            signed += len(store.resign(options["ids"] or None))
        self.console.say(f"Signed anew: {signed} job{'' if signed == 1 else 's'}")

    def cleanup(self, options: dict[str, Any]) -> None:
        retention = dict(self.settings.retention)
        if options["days"] is not None:
            if options["days"] < 0:
                raise CommandError(f"--days must be 0 or more; got {options['days']:g}")
            retention["days"] = options["days"]
        for using in sync.django_stores(self.settings):
            deleted = housekeeping.prune(using, retention)
            self.console.say(
                f"Deleted from {using}: executions {deleted.executions}, finished jobs "
                f"{deleted.jobs}, dead schedulers {deleted.processes}"
            )

    def _stores(self) -> list[Any]:
        """Return the Django stores, open for edits."""
        scheduler = registry.get_scheduler()
        scheduler._opens_stores()
        stores = [store for store in scheduler._jobstores.values() if store.shared]
        if not stores:
            raise CommandError("APSCHEDULER has no Django job store")
        return stores

    def _none(self, ids: list[str]) -> None:
        if ids:
            raise CommandError(f"give --all or ids, not both; got {', '.join(ids)}")

    def _each(self, ids: list[str], act: Callable[[str], Any]) -> None:
        """Do something to each job; name those that do not exist, after the others."""
        if not ids:
            raise CommandError("name at least one job, or --all")
        unknown = []
        for job_id in ids:
            try:
                act(job_id)
            except JobLookupError:
                unknown.append(job_id)
            except ValueError as error:
                raise CommandError(str(error)) from error
        if unknown:
            raise CommandError(
                f"There is no job {', '.join(unknown)}; manage.py apscheduler list "
                "shows the ids"
            )


def _user() -> str:
    """Return who types the command, for the record."""
    try:
        return f"{getpass.getuser()} (command line)"
    except (KeyError, OSError):
        # A container's user need not have a name.
        return "command line"
