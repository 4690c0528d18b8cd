"""``manage.py runapscheduler``: run the jobs until told to stop."""

from __future__ import annotations

import atexit
import logging
import os
import platform
import sys
from argparse import ArgumentTypeError
from collections.abc import Iterable
from typing import Any

from django import get_version
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError
from django.utils import autoreload

import django_apscheduler
from django_apscheduler import conf, registry, schedulers, sync, util
from django_apscheduler.conf import Configuration
from django_apscheduler.describe import describe, zone_name
from django_apscheduler.management import listing, preflight
from django_apscheduler.management.console import Console, wants_colour
from django_apscheduler.management.narrator import Narrator
from django_apscheduler.management.runner import Duty, Runner
from django_apscheduler.management.systemd import Systemd

#: Jobs that the table at the start shows; there may be a million.
LISTED_JOBS = 25

#: Seconds between synchronisations of declared jobs.
SYNC_SECONDS = 60.0

#: Developers wait less than production: seconds for running jobs under --reload.
RELOAD_DRAIN_SECONDS = 3.0

logger = logging.getLogger(__name__)

#: The kinds that can have a process to themselves; Qt's belongs into an application.
SCHEDULERS = ("asyncio", "background", "blocking", "tornado", "twisted")


class Command(BaseCommand):
    help = (
        "Runs the scheduler until SIGTERM or Ctrl-C, then waits for running jobs. A "
        "second signal ends at once. Exit status: 0 stopped; 1 could not start; 3 could "
        "not go on; 4 jobs were still running when the drain timeout was over; 128 + "
        "the signal's number after a second signal."
    )
    # Told apart below, with the remedy; a warning is not enough.
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--scheduler",
            choices=SCHEDULERS,
            default="background",
            help="the kind of scheduler (default: %(default)s)",
        )
        parser.add_argument(
            "--executor",
            action="append",
            default=[],
            type=_executor_size,
            metavar="ALIAS=WORKERS",
            help="workers of an executor, e.g. default=20; may be repeated",
        )
        parser.add_argument(
            "--workers",
            type=_positive,
            metavar="N",
            help="workers of the default executor, short for --executor default=N",
        )
        parser.add_argument(
            "--drain-timeout",
            type=seconds,
            metavar="SECONDS",
            help="how long to wait for running jobs when stopping (default: "
            "APSCHEDULER['drain_timeout'], 30)",
        )
        parser.add_argument(
            "--run-for",
            type=seconds,
            metavar="SECONDS",
            help="stop by itself after so long, for trials",
        )
        parser.add_argument(
            "--no-sync",
            action="store_true",
            help="leave the stored jobs as they are, whatever the code declares",
        )
        parser.add_argument(
            "--reload",
            action="store_true",
            help="start again when the code changes, for development",
        )
        parser.add_argument(
            "--log-level",
            type=_log_level,
            metavar="LEVEL",
            help="show log records of django_apscheduler from this level on: debug, "
            "info, warning, error or critical",
        )
        parser.add_argument(
            "--quiet",
            action="store_true",
            help="print only what goes wrong (the same as --verbosity 0)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["quiet"]:
            options["verbosity"] = 0
        _set_up_logging(options["log_level"])
        if options["reload"]:
            # The reloader takes a thread for this, and its main thread the signals.
            autoreload.run_with_reloader(self.run, **options)
            return
        status = self.run(**options)
        if not status:
            return
        if getattr(self, "_called_from_command_line", False):
            # Threads that hang must not keep the process: whoever supervises it waits.
            sys.stdout.flush()
            sys.stderr.flush()
            logging.shutdown()
            os._exit(status)
        raise CommandError(f"runapscheduler ended with {status}", returncode=status)

    def run(self, **options: Any) -> int:
        """Run a scheduler from its preparation to its end; return the exit status."""
        settings = _configuration()
        console = Console(
            self.stdout._out,
            options["force_color"] or wants_colour(self.stdout, options["no_color"]),
            options["verbosity"],
            settings.timezone,
        )
        databases = preflight.check_databases(settings)
        scheduler = self.make_scheduler(settings, options)
        try:
            sync.declare_elsewhere(scheduler, settings)
        except (registry.DeclarationError, registry.DiscoveryError) as error:
            raise CommandError(str(error)) from error
        narrator = Narrator(console)
        scheduler.add_listener(narrator)

        def synchronise() -> sync.Report:
            return sync.synchronise(scheduler)

        duties = []
        if not options["no_sync"]:
            what = "The synchronisation of declared jobs"
            duties.append(Duty(what, synchronise, SYNC_SECONDS))
        drain_timeout = options["drain_timeout"]
        if drain_timeout is None:
            drain_timeout = settings.drain_timeout
            if options["reload"]:
                drain_timeout = min(drain_timeout, RELOAD_DRAIN_SECONDS)
        runner = Runner(
            scheduler,
            console,
            blocking=options["scheduler"] != "background",
            drain_timeout=drain_timeout,
            run_for=options["run_for"],
            duties=duties,
            # Under --reload the process that systemd knows is the reloader.
            systemd=None
            if options["reload"]
            else Systemd.from_environment(os.environ, settings.timezone),
        )
        if options["reload"]:
            atexit.register(runner.stop_now, "the code changed")
        else:
            runner.install_signal_handlers()
        self.banner(console, scheduler, databases)

        def ready() -> None:
            sync.publish()
            if not options["no_sync"]:
                show_report(console, synchronise())
            self.show_jobs(console, scheduler, settings)
            how = "a change of the code" if options["reload"] else "Ctrl-C or SIGTERM"
            console.say(f"Running; stop with {how}.")

        try:
            status = runner.run(ready)
        except (registry.DeclarationError, LookupError, ValueError, TypeError) as error:
            raise CommandError(str(error)) from error
        except DatabaseError as error:
            raise CommandError(f"The database says: {error}") from error
        finally:
            runner.restore_signal_handlers()
        self.summary(console, narrator)
        return status

    def make_scheduler(self, settings: Configuration, options: dict[str, Any]) -> Any:
        """Return the scheduler of the settings, with the command line's workers."""
        configured = settings.scheduler_options()
        sizes = dict(options["executor"])
        if options["workers"] is not None:
            sizes["default"] = options["workers"]
        for alias, workers in sizes.items():
            executor = configured["executors"].get(alias)
            if executor is None:
                known = ", ".join(configured["executors"])
                raise CommandError(
                    f"There is no executor {alias!r}; APSCHEDULER has {known}"
                )
            if not isinstance(executor, dict):
                raise CommandError(
                    f"The executor {alias!r} is an object in the settings, whose "
                    "workers are set there"
                )
            executor["max_workers"] = workers
        try:
            cls = util.ref_to_obj(schedulers.SCHEDULERS[options["scheduler"]])
        except LookupError as error:
            raise CommandError(str(error)) from error
        try:
            return cls(**configured)
        except (LookupError, TypeError, ValueError) as error:
            raise CommandError(f"APSCHEDULER cannot be used: {error}") from error

    def banner(self, console: Console, scheduler: Any, databases: list[str]) -> None:
        console.say(
            f"django_apscheduler {django_apscheduler.__version__}, "
            f"Django {get_version()}, Python {platform.python_version()}",
            "title",
        )
        console.fields(
            [
                *(("database", line) for line in databases),
                ("executors", ", ".join(_executors(scheduler))),
                ("time zone", zone_name(scheduler.timezone)),
                ("process", f"{platform.node()}:{os.getpid()}"),
            ]
        )
        console.say()

    def show_jobs(
        self, console: Console, scheduler: Any, settings: Configuration
    ) -> None:
        """Print the jobs that run next, with their schedules in words."""
        if console.verbosity < 1:
            return
        entries, total = listing.stored_jobs(settings, LISTED_JOBS)
        others = [
            alias
            for alias, store in settings.jobstores.items()
            if not sync.is_django(store)
        ]
        for alias in others:
            found = scheduler.get_jobs(alias)
            total += len(found)
            entries += [
                listing.Entry(job.id, describe(job.trigger), job.next_run_time, "")
                for job in found[:LISTED_JOBS]
            ]
        if not total:
            console.say(
                "No jobs yet: declare some with @scheduled_job in an app's jobs.py, or "
                "add some with get_scheduler().add_job(...)."
            )
            return
        listing.show(console, entries[:LISTED_JOBS], total)
        console.make_room(entry.id for entry in entries[:LISTED_JOBS])
        console.say()

    def summary(self, console: Console, narrator: Narrator) -> None:
        words = ("finished", "failed", "missed", "skipped", "lost", "cancelled")
        told = [f"{narrator.counts[w]} {w}" for w in words if narrator.counts.get(w)]
        if told:
            console.say(f"Runs: {', '.join(told)}")


def show_report(console: Console, report: sync.Report) -> None:
    """Print what a synchronisation changed, a line for each job."""
    for job_id in report.added:
        console.say(f"  + {job_id}: added, as declared in code", "good")
    for job_id in report.enabled:
        console.say(f"  + {job_id}: declared in code again, enabled", "good")
    for job_id, fields in report.changed.items():
        console.say(f"  ~ {job_id}: changed in code ({', '.join(fields)})", "quiet")
    for job_id in report.disabled:
        console.say(f"  - {job_id}: no longer in the code, disabled", "doubtful")
    for job_id, fields in report.overridden.items():
        console.say(
            f"  ! {job_id}: changed in code, but staff set {', '.join(fields)}; kept",
            "doubtful",
        )
    for job_id in report.newer:
        console.say(f"  · {job_id}: left to a newer release that is running", "quiet")
    if report or report.overridden or report.newer:
        console.say()


def _configuration() -> Configuration:
    try:
        return conf.configuration()
    except ImproperlyConfigured as error:
        raise CommandError(str(error)) from error


def _executors(scheduler: Any) -> Iterable[str]:
    for alias, executor in scheduler._executors.items():
        kind = type(executor).__name__.removesuffix("Executor")
        workers = getattr(executor, "max_workers", None)
        yield f"{alias} ({kind}, {workers})" if workers else f"{alias} ({kind})"


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise ArgumentTypeError(f"expected a whole number greater than 0; got {text!r}")
    return number


def _executor_size(text: str) -> tuple[str, int]:
    alias, equals, workers = text.partition("=")
    if not alias or not equals:
        raise ArgumentTypeError(
            f"expected ALIAS=WORKERS, e.g. default=20; got {text!r}"
        )
    return alias, _positive(workers)


def seconds(text: str) -> float:
    """Return a number of seconds from the command line, for argparse."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise ArgumentTypeError(
            f"expected a number of seconds, 0 or more; got {text!r}"
        )
    return number


def _log_level(text: str) -> int:
    level = logging.getLevelName(text.upper())
    if not isinstance(level, int):
        raise ArgumentTypeError(
            f"expected debug, info, warning, error or critical; got {text!r}"
        )
    return level


def _set_up_logging(level: int | None) -> None:
    """
    Show log records, also where LOGGING has no handler for them.

    :param level: from which level on; None for what LOGGING says, or warnings
    """
    logger = logging.getLogger("django_apscheduler")
    if level is not None:
        logger.setLevel(level)
    if logger.hasHandlers():
        return
    handler = logging.StreamHandler()
    if level is None:
        handler.setLevel(logging.WARNING)
        handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
        handler.addFilter(_not_told_already)
    else:
        handler.setFormatter(
            logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
        )
    logger.addHandler(handler)


def _not_told_already(record: logging.LogRecord) -> bool:
    # The console has its own line for each run that was missed or skipped.
    return record.funcName != "_tell_skipped"
