"""
The long forms of the failure tests, on each database that is found here.

    python -m tests.chaos [arguments for pytest]

`CHAOS_DATABASES="sqlite postgres"` chooses some. Each run ends with what was found: how
many occurrences, kills and reruns, and how long the slowest takeover took.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.__main__ import WIDTH
from tests.databases import missing_for_mariadb

ROOT = Path(__file__).resolve().parents[2]
DATABASES = {"sqlite": "SQLite", "postgres": "PostgreSQL", "mariadb": "MariaDB"}
#: For one test: a minute of faults, and time to recover on a slow machine.
TIMEOUT_SECONDS = 600


def chosen() -> list[str]:
    """Return the databases to run on, as `TEST_DB` names them."""
    names = os.environ.get("CHAOS_DATABASES", "").split() or list(DATABASES)
    if unknown := set(names) - set(DATABASES):
        raise SystemExit(
            f"CHAOS_DATABASES must name some of {', '.join(DATABASES)}; "
            f"got {', '.join(sorted(unknown))}"
        )
    return names


def main(arguments: list[str]) -> int:
    """Run pytest once per database; answer the first status that is not success."""
    status = 0
    for name in chosen():
        print(f"\n{f' {DATABASES[name]} ':=^{WIDTH}}", flush=True)
        missing = missing_for_mariadb() if name == "mariadb" else None
        if missing:
            print(f"left out: {missing}")
            continue
        # One test after the other: they measure how long schedulers take.
        command = [sys.executable, "-m", "pytest", "tests/chaos", "-n", "0"]
        done = subprocess.run(
            [*command, f"--timeout={TIMEOUT_SECONDS}", *arguments],
            cwd=ROOT,
            env={**os.environ, "TEST_DB": name, "CHAOS": "long"},
        )
        status = status or done.returncode
    return status


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
