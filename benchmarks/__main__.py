"""``python -m benchmarks``: measure, print the tables, keep the results as JSON."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from . import (
    adding,
    admin,
    cron,
    edits,
    endurance,
    idle,
    intervals,
    latency,
    machine,
    memory,
    persistent,
    processes,
    schedulers,
)
from .databases import DATABASES, Databases, Options
from .environments import (
    CATALOGUE,
    PROFILER,
    ROOT,
    EnvironmentFailed,
    prepare,
)
from .report import Result, render

SECTIONS = {
    "cron": cron,
    "memory": memory,
    "schedulers": schedulers,
    "persistent": persistent,
    "processes": processes,
    "intervals": intervals,
    "adding": adding,
    "latency": latency,
    "edits": edits,
    "idle": idle,
    "endurance": endurance,
    "admin": admin,
}

#: Rounds a section takes unless told otherwise.
ROUNDS = {
    "cron": 5,
    "memory": 5,
    "schedulers": 3,
    "persistent": 3,
    "processes": 3,
    "adding": 3,
}

#: A machine busier than this, in processes that want to run, spoils the figures.
BUSY = 0.5


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure django_apscheduler side by side with its peers, which "
        "are installed from PyPI into environments of their own on the first run.",
    )
    parser.add_argument(
        "sections",
        nargs="*",
        metavar="section",
        help=f"what to measure: {', '.join(SECTIONS)}; all by default",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one short round, only to see that everything works",
    )
    parser.add_argument("--rounds", type=int, help="rounds per case")
    parser.add_argument(
        "--only",
        metavar="NAME[,NAME]",
        help=f"contenders to measure beside ours: {', '.join(list(CATALOGUE)[1:])}",
    )
    parser.add_argument(
        "--databases",
        default=",".join(DATABASES),
        help="databases to measure on; default: %(default)s",
    )
    parser.add_argument(
        "--data", help="folder for the databases; default: the temporary folder"
    )
    parser.add_argument(
        "--profile",
        action="store_true",
        help="show where ours spends its time in adding and persistent",
    )
    parser.add_argument(
        "--runs", type=int, help="runs of the section endurance; default: 200000"
    )
    parser.add_argument(
        "--idle", type=int, help="idle jobs that the section idle tries with ours, too"
    )
    parser.add_argument(
        "--executions",
        type=int,
        help="executions of the section admin; default: 10000000",
    )
    parser.add_argument(
        "--keep",
        metavar="FOLDER",
        help="keep PostgreSQL's data in this folder, and take what is there: the "
        "section admin then fills its databases but once",
    )
    parser.add_argument("--json", type=Path, help="file for the results")
    parser.add_argument(
        "--cache",
        type=Path,
        default=ROOT / ".benchmarks",
        help="folder that keeps environments and results; default: %(default)s",
    )
    parser.add_argument(
        "--rebuild", action="store_true", help="make the environments anew"
    )
    options = parser.parse_args(arguments)
    options.sections = options.sections or list(SECTIONS)
    options.databases = tuple(options.databases.split(","))
    only = options.only.split(",") if options.only else list(CATALOGUE)
    options.only = ["ours", *(key for key in only if key != "ours")]
    for given, known, what in (
        (options.sections, SECTIONS, "section"),
        (options.databases, DATABASES, "database"),
        (options.only, CATALOGUE, "contender"),
    ):
        unknown = [name for name in given if name not in known]
        if unknown:
            parser.error(f"expected a {what} of {', '.join(known)}; got {unknown[0]!r}")
    if options.rounds is not None and options.rounds < 1:
        parser.error(f"--rounds must be at least 1; got {options.rounds}")
    return options


def profiler(options: argparse.Namespace) -> str | None:
    """Answer the path of the sampling profiler; None when it cannot be had."""
    if not options.profile:
        return None
    try:
        environment = prepare(PROFILER, options.cache, options.rebuild)
    except EnvironmentFailed as failure:
        print(f"! functions are left out of the profile: {failure}", file=sys.stderr)
        return None
    return str(environment.python.with_name("py-spy"))


def measure(arguments: argparse.Namespace, environments: dict) -> list[Result]:
    """Measure the wanted sections and print their tables."""
    results = []
    with Databases(arguments.databases, arguments.data, arguments.keep) as databases:
        for name in arguments.sections:
            options = Options(
                rounds=arguments.rounds
                or (1 if arguments.quick else ROUNDS.get(name, 1)),
                quick=arguments.quick,
                databases=databases,
                runs=arguments.runs,
                idle=arguments.idle,
                executions=arguments.executions,
                profile=arguments.profile,
                py_spy=profiler(arguments),
            )
            run: Callable[..., list[Result]] = SECTIONS[name].run
            for result in run(environments, options):
                results.append(result)
                print(render(result), flush=True)
    return results


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when all of ours was measured and right, else 1."""
    options = parse(arguments)
    wanted = {key for name in options.sections for key in SECTIONS[name].CONTENDERS}
    # So that a server started for the measurement is stopped then, too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    environments = {}
    for key, contender in CATALOGUE.items():
        if key not in wanted or key not in options.only:
            continue
        try:
            environments[key] = prepare(contender, options.cache, options.rebuild)
        except EnvironmentFailed as failure:
            print(f"! {contender.title} is left out: {failure}", file=sys.stderr)
            if contender.is_ours:
                return 1
    begun = datetime.now(timezone.utc)
    facts = machine.facts(options.data)
    load = machine.load()
    for name, fact in facts.items():
        print(f"{name + ':':<11} {fact}")
    if load is not None and load > BUSY:
        print(f"! The machine is busy (load {load:.2f}): take no figure as final.")
    if options.quick:
        print("! A quick look: the figures say little.")
    print()
    results = measure(options, environments)
    path = options.json or (
        options.cache / "results" / f"{begun:%Y-%m-%dT%H%M%SZ}.json"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "begun": begun.isoformat(),
        "quick": options.quick,
        "machine": facts,
        "load": load,
        "versions": {
            key: {"version": environment.version, "installed": environment.versions}
            for key, environment in environments.items()
        },
        "sections": {result.name: result.as_json() for result in results},
    }
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    print(f"Results as JSON: {path}")
    return 0 if all(map(ours_is_sound, results)) else 1


def ours_is_sound(result: Result) -> bool:
    """Whether ours gave right answers and failed in no round."""
    failed = any(
        row.series["ours"].errors for row in result.rows if "ours" in row.series
    )
    return not result.faults and not failed


if __name__ == "__main__":
    sys.exit(main())
