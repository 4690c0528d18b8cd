"""
Run the whole suite on SQLite, then what touches the database again on PostgreSQL.

    python -m tests [arguments for pytest]

The last line adds both runs up; the exit status is that of the first run that failed.
`TEST_WORKERS` sets the number of processes that share the tests (0 for one without
xdist); the default is the number of processors, at most four.
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

ROOT = Path(__file__).resolve().parent.parent
RUNS = (
    ("SQLite", "sqlite", ()),
    ("PostgreSQL", "postgres", ("-m", "database")),
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
    number = os.environ.get("TEST_WORKERS") or str(min(os.cpu_count() or 1, 4))
    return ["-n", number, "--dist", "worksteal"] if number != "0" else []


def main(arguments: list[str]) -> int:
    """Run pytest once per database; answer the first status that is not success."""
    began = time.monotonic()
    status = 0
    totals: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory(prefix="apscheduler-reports-") as folder:
        for name, database, options in RUNS:
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
    print(f"\n{' both databases ':=^{WIDTH}}")
    for name, total in totals.items():
        print(f"{name:11}{words(total) or 'no tests ran'}")
    seconds = time.monotonic() - began
    summary = words(sum(totals.values(), Counter())) or "no tests ran"
    print(f"{f' {summary} in {seconds:.2f}s ':=^{WIDTH}}", flush=True)
    return status


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
