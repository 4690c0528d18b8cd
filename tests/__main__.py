"""
Run the whole suite on SQLite, then what touches the database on PostgreSQL and MariaDB.

    python -m tests [arguments for pytest]

Without a MariaDB server that run is left out, and the end says how to get one; with
`REQUIRE_ALL=1` that is a failure. The last line adds all runs up; the exit status is that
of the first run that failed.
`TEST_RUNS` names the databases when not all are wanted, as in `TEST_RUNS=sqlite,postgres`.
`TEST_WORKERS` sets the number of processes that share the tests (0 for one without
xdist); the default is twice the number of processors, at most four.
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
NOTHING_COLLECTED = 5
WIDTH = 80


def count(report: Path) -> Counter[str]:
    """Read what tests/conftest.py noted of a run: how many passed, failed, skipped."""
    return Counter(json.loads(report.read_text())) if report.exists() else Counter()


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
    missing = {"mariadb": databases.missing_for_mariadb()}
    with tempfile.TemporaryDirectory(prefix="apscheduler-reports-") as folder:
        for name, database, options in runs:
            if missing.get(database):
                totals[name] = Counter()
                status = status or int(bool(os.environ.get("REQUIRE_ALL")))
                continue
            print(f"\n{f' {name} ':=^{WIDTH}}", flush=True)
            report = Path(folder, f"{database}.json")
            done = subprocess.run(
                [
                    *(sys.executable, "-m", "pytest"),
                    *(*workers(), *options, *arguments),
                ],
                cwd=ROOT,
                env={**os.environ, "TEST_DB": database, "TEST_COUNTS": str(report)},
            )
            totals[name] = count(report)
            if done.returncode == NOTHING_COLLECTED and options and arguments:
                continue  # the tests asked for do not touch the database
            status = status or done.returncode
    print(f"\n{' all databases ':=^{WIDTH}}")
    for name, database, _ in runs:
        why = missing.get(database)
        none = f"not tested: it {why}" if why else "no tests ran"
        print(f"{name:11}{words(totals[name]) or none}")
    seconds = time.monotonic() - began
    summary = words(sum(totals.values(), Counter())) or "no tests ran"
    print(f"{f' {summary} in {seconds:.2f}s ':=^{WIDTH}}", flush=True)
    return status


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
