"""
The contenders and the virtual environments they run in.

Each contender has its own environment and its own processes, so that none can get in
another's way: two of them share one import name.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONTENDERS = Path(__file__).resolve().parent / "contenders"

#: Time zone data and the PostgreSQL driver are the same for all who need them.
SHARED = ("tzdata", "psycopg2-binary")

#: What the schedulers of other frameworks run on, the same for all who have them.
#: PySide6 6.12.0 ends Python before 3.12 with "deallocating True or False" sooner or later.
FRAMEWORKS = ("gevent", "tornado", "twisted", "PySide6-Essentials!=6.12.0")


@dataclass(frozen=True)
class Contender:
    """
    One implementation to measure.

    :param key: its environment's folder, and how the contenders' scripts know it
    :param title: its name in the tables
    :param distribution: the distribution whose version is shown; empty for ours
    :param requirements: what pip installs for it
    :param borrows: key of the contender whose environment it uses; empty for its own
    :param ceiling: whether it is no peer but what could be reached without a scheduler
    """

    key: str
    title: str
    distribution: str
    requirements: tuple[str, ...]
    borrows: str = ""
    ceiling: bool = False

    @property
    def is_ours(self) -> bool:
        return self.key == "ours"


OURS = ("Django", "django-admin-rangefilter", "tzlocal", *SHARED, *FRAMEWORKS)

CATALOGUE = {
    contender.key: contender
    for contender in (
        Contender("ours", "ours", "", OURS),
        Contender(
            "apscheduler",
            "APScheduler",
            "APScheduler",
            ("APScheduler==3.11.*", "SQLAlchemy==2.*", *SHARED, *FRAMEWORKS),
        ),
        Contender(
            "earlier",
            "django-apscheduler",
            "django-apscheduler",
            ("django-apscheduler==0.7.*", "Django", *SHARED),
        ),
        Contender(
            "procrastinate",
            "procrastinate",
            "procrastinate",
            ("procrastinate==3.*", "psycopg[binary]==3.*"),
        ),
        *(
            Contender(
                f"handwritten{size}",
                f"SQL by hand, {size}",
                "",
                OURS,
                borrows="ours",
                ceiling=True,
            )
            for size in (500, 100)
        ),
        Contender("inserts", "INSERT by hand", "", OURS, borrows="ours", ceiling=True),
        Contender("croniter", "croniter", "croniter", ("croniter", "tzdata")),
        Contender("cronsim", "cronsim", "cronsim", ("cronsim", "tzdata")),
        Contender("celery", "Celery crontab", "celery", ("celery", "tzdata")),
    )
}

#: What shows where time is spent; no contender.
PROFILER = Contender("profiler", "py-spy", "py-spy", ("py-spy",))


class EnvironmentFailed(Exception):
    """An environment could not be made; the message says why and what to do."""


@dataclass(frozen=True)
class Environment:
    """A ready environment: whose it is, its Python, and what is installed in it."""

    contender: Contender
    python: Path
    versions: dict[str, str]

    @property
    def version(self) -> str:
        """The version to show; of ours the commit, since the checkout is measured."""
        if not self.contender.distribution:
            return checkout_version()
        return self.versions[normalise(self.contender.distribution)]

    def variables(self) -> dict[str, str]:
        """The environment variables of its processes: only ours sees the checkout."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "DJANGO_", "PG"))
        }
        if "ours" in (self.contender.key, self.contender.borrows):
            kept["PYTHONPATH"] = str(ROOT)
        return kept


def normalise(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def checkout_version() -> str:
    """The commit of the checkout, marked when files differ from it."""
    if not shutil.which("git"):
        return "checkout"
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty=+"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    return described.stdout.strip() or "checkout"


def prepare(contender: Contender, cache: Path, rebuild: bool = False) -> Environment:
    """
    Answer the contender's environment, made first where it is missing or outdated.

    :param cache: folder that keeps the environments between runs
    Raises EnvironmentFailed when venv or pip cannot do it.
    """
    folder = cache / "environments" / (contender.borrows or contender.key)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    stamp = folder / "benchmark.json"
    wanted = hashlib.sha256(
        json.dumps([sys.version, contender.requirements]).encode()
    ).hexdigest()
    if not rebuild and stamp.exists():
        made = json.loads(stamp.read_text())
        if made["wanted"] == wanted:
            return Environment(contender, python, made["versions"])
    print(f"Installing {', '.join(contender.requirements)} ...", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    run_or_fail(
        [sys.executable, "-m", "venv", str(folder)],
        "install Python's venv module (on Debian: apt install python3-venv)",
    )
    pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
    run_or_fail(
        [*pip, "install", "--quiet", *contender.requirements],
        "check the network and pip's configuration",
    )
    listed = run_or_fail([*pip, "list", "--format", "json"], "try --rebuild")
    versions = {normalise(item["name"]): item["version"] for item in json.loads(listed)}
    stamp.write_text(json.dumps({"wanted": wanted, "versions": versions}))
    return Environment(contender, python, versions)


def run_or_fail(command: list[str], remedy: str) -> str:
    """Run a command and answer its output, or raise EnvironmentFailed."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise EnvironmentFailed(
            f"{' '.join(command)} failed: {said[-1] if said else 'no message'}. "
            f"Remedy: {remedy}."
        )
    return done.stdout
