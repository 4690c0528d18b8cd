"""
Run the whole suite on SQLite, then what touches the database on PostgreSQL and MariaDB.

    python -m tests [arguments for pytest]

Without a MariaDB server that run is left out, and the end says how to get one; with
`REQUIRE_ALL=1` that is a failure. The last line adds all runs up; the exit status is that
of the first run that failed.
`TEST_RUNS` names the databases when not all are wanted, as in `TEST_RUNS=sqlite,postgres`.
`TEST_WORKERS` sets the number of processes that share the tests (0 for one without
xdist); the default is twice the number of processors, at most four.

Four processes with real servers, browsers and schedulers are more than two processors
can serve in time, now and then. So a few failed tests are run once more, one after the
other and with the machine to themselves: what fails again has failed. What passes is
named at the end, for it may as well be a race that is to be found.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests import databases

ROOT = Path(__file__).resolve().parent.parent
#: Pages look the same on every database: those that only look at them ask SQLite.
LOOKS = ("--ignore-glob=*/test_*browser.py",)
#: What forms make of input and who may do what asks no database for its dialect.
FORMS = tuple(
    f"--ignore=tests/admin/{name}"
    for name in (
        "forms",
        "triggers",
        "test_audit_trail.py",
        "test_bad_input.py",
        "test_roles.py",
        "test_translations.py",
    )
)
#: What people do in browsers, and schedulers inside web servers: two databases suffice.
FLOWS = ("--ignore=tests/admin/flows", "--ignore=tests/web")
RUNS = (
    ("SQLite", "sqlite", ()),
    ("PostgreSQL", "postgres", ("-m", "database", *LOOKS, *FORMS)),
    ("MariaDB", "mariadb", ("-m", "database", *LOOKS, *FORMS, *FLOWS)),
)
FAILED, NOTHING_COLLECTED = 1, 5
#: Failed tests that are run once more; where there are more, something is broken.
MOST_AGAIN = 6
WIDTH = 80


def count(report: Path) -> Counter[str]:
    """Read what tests/conftest.py noted of a run: how many passed, failed, skipped."""
    return Counter(json.loads(report.read_text())["counts"] if report.exists() else {})


def failed_in(report: Path) -> list[str]:
    """Read which tests failed in a run."""
    return json.loads(report.read_text())["failed"] if report.exists() else []


def run(database: str, report: Path, arguments: list[str]) -> int:
    """Run pytest on one database; answer its status."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=ROOT,
        env={**os.environ, "TEST_DB": database, "TEST_COUNTS": str(report)},
    )
    return done.returncode


def run_again(
    database: str, report: Path, options: tuple[str, ...], total: Counter[str]
) -> list[str]:
    """
    Run a few failed tests once more, alone; answer them if all passed now.

    :param options: those of the run
    :param total: what the run came to, brought up to date
    """
    failed = failed_in(report)
    if not 0 < len(failed) <= MOST_AGAIN:
        return []
    print(f"\n{' what failed, once more and alone ':-^{WIDTH}}", flush=True)
    if run(database, report, [*options, *failed]) != 0:
        return []
    del total["failed"], total["error"]
    total.update(count(report))
    return failed


def words(total: Counter[str]) -> str:
    """Put the counts as pytest's closing line does."""
    names = {name: name for name in ("failed", "passed", "skipped", "xfailed")}
    names["error"] = "error" if total["error"] == 1 else "errors"
    return ", ".join(
        f"{total[key]} {name}" for key, name in names.items() if total[key]
    )


def workers() -> list[str]:
    # Two for each processor: tests of real processes mostly wait for them.
    number = os.environ.get("TEST_WORKERS") or str(min(2 * (os.cpu_count() or 1), 4))
    return ["-n", number, "--dist", "worksteal"] if number != "0" else []


def chosen() -> list[tuple[str, str, tuple[str, ...]]]:
    """
    Return the runs that `TEST_RUNS` names, else all.

    :raises SystemExit: when it names a database that there is no run for
    """
    known = [database for _, database, _ in RUNS]
    named = [name.strip() for name in os.environ.get("TEST_RUNS", "").split(",")]
    unknown = sorted({name for name in named if name} - set(known))
    if unknown:
        raise SystemExit(
            f"TEST_RUNS must name some of {', '.join(known)}, separated by commas; "
            f"got {', '.join(unknown)}"
        )
    return [run for run in RUNS if run[1] in named] or list(RUNS)


def main(arguments: list[str]) -> int:
    """Run pytest once per database; answer the first status that is not success."""
    began = time.monotonic()
    status = 0
    runs = chosen()
    totals: dict[str, Counter[str]] = {}
    alone: list[str] = []
    missing = {"mariadb": databases.missing_for_mariadb()}
    with tempfile.TemporaryDirectory(prefix="apscheduler-reports-") as folder:
        for name, database, options in runs:
            if missing.get(database):
                totals[name] = Counter()
                status = status or int(bool(os.environ.get("REQUIRE_ALL")))
                continue
            print(f"\n{f' {name} ':=^{WIDTH}}", flush=True)
            report = Path(folder, f"{database}.json")
            status_here = run(database, report, [*workers(), *options, *arguments])
            totals[name] = count(report)
            if status_here == NOTHING_COLLECTED and options and arguments:
                continue  # the tests asked for do not touch the database
            if status_here == FAILED:
                passed = run_again(database, report, options, totals[name])
                alone += [f"{name}: {test}" for test in passed]
                if passed:
                    continue
            status = status or status_here
    print(f"\n{' all databases ':=^{WIDTH}}")
    for name, database, _ in runs:
        why = missing.get(database)
        none = f"not tested: it {why}" if why else "no tests ran"
        print(f"{name:11}{words(totals[name]) or none}")
    if alone:
        print("failed beside other tests, and passed alone:")
        print("\n".join(f"    {test}" for test in alone))
    seconds = time.monotonic() - began
    summary = words(sum(totals.values(), Counter())) or "no tests ran"
    print(f"{f' {summary} in {seconds:.2f}s ':=^{WIDTH}}", flush=True)
    return status


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
