"""What somebody gets who installs the package, with pip and from an empty environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import django_apscheduler

ROOT = Path(django_apscheduler.__file__).parent.parent
PACKAGE = "django_apscheduler"
DATA = (".html", ".css", ".js", ".svg", ".po", ".mo", "py.typed")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def clean_environment() -> dict[str, str]:
    """The environment without what would lead Python to this checkout."""
    hidden = ("PYTHON", "DJANGO", "TEST_", "COVERAGE", "PYTEST")
    return {k: v for k, v in os.environ.items() if not k.startswith(hidden)}


def run(*command: object, cwd: Path) -> str:
    """Run a command; answer its output, both streams; fail with it."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, (
        f"{command} ended with {done.returncode}:\n{done.stdout}"
    )
    return done.stdout


def pip(python: Path, *arguments: object) -> None:
    """Let this environment's pip work in another one."""
    run(sys.executable, "-m", "pip", "--python", python, *arguments, cwd=ROOT)


def reach_index(folder: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "-d",
            folder,
            "pytz",
        ],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(
            "needs PyPI, or PIP_INDEX_URL for a mirror: pip found no pytz there"
        )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the source, because building leaves files beside it."""
    reach_index(tmp_path / "index")
    ignored = shutil.ignore_patterns(
        *(".*", "build", "dist", "*.egg-info", "__pycache__", "var", "_build")
    )
    return Path(shutil.copytree(ROOT, tmp_path / "source", ignore=ignored))


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """The Python of an empty environment."""
    venv.create(tmp_path / "empty", symlinks=True)
    return tmp_path / "empty" / "bin" / "python"


def wanted_files() -> set[str]:
    """The files of the package that are not code, and must be installed with it."""
    return {
        str(path.relative_to(ROOT))
        for path in (ROOT / PACKAGE).rglob("*")
        if path.is_file() and path.name.endswith(DATA)
    }


def test_wheel_and_source_distribution_hold_templates_texts_and_types(
    source: Path, python: Path, tmp_path: Path
) -> None:
    pip(python, "install", "-q", "setuptools>=77")
    build = f"from setuptools import build_meta as b; b.build_sdist({str(tmp_path)!r})"
    run(python, "-c", build, cwd=source)
    (archive,) = tmp_path.glob("django_apscheduler-*.tar.gz")
    with tarfile.open(archive) as file:
        inside = {name.partition("/")[2] for name in file.getnames()}
    (tmp_path / "unpacked").mkdir()
    run("tar", "-xzf", archive, "-C", tmp_path / "unpacked", cwd=tmp_path)
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    # From the unpacked source distribution, so that it is seen to be complete.
    run(python, "-c", build.replace("sdist", "wheel"), cwd=unpacked)
    (wheel,) = tmp_path.glob("django_apscheduler-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())

    files = wanted_files()
    assert f"{PACKAGE}/py.typed" in files
    assert any(name.endswith(".html") for name in files)
    assert f"{PACKAGE}/locale/de/LC_MESSAGES/django.mo" in files
    assert files - names == set()
    assert files - inside == set()
    assert {"LICENSE", "README.md", "CHANGELOG.md"} <= inside
    code = {str(p.relative_to(ROOT)) for p in (ROOT / PACKAGE).rglob("*.py")}
    assert code - names == set()
    assert {name.split("/")[0].split("-")[0] for name in names} == {PACKAGE}


def test_a_new_project_migrates_and_checks_without_a_warning(
    source: Path, python: Path, tmp_path: Path
) -> None:
    pip(python, "install", "-q", source)
    run(python, "-m", "django", "startproject", "mini", cwd=tmp_path)
    project = tmp_path / "mini"
    with (project / "mini" / "settings.py").open("a") as settings:
        settings.write('\nINSTALLED_APPS += ["rangefilter", "django_apscheduler"]\n')

    def manage(*arguments: str) -> str:
        return run(python, "-W", "error", "manage.py", *arguments, cwd=project)

    before = manage("check")
    migrated = manage("migrate")
    after = manage("check", "--database", "default")
    drift = manage("makemigrations", "--check", "--dry-run")
    version = run(
        *(
            python,
            "-c",
            f"from importlib.metadata import version as v; print(v({PACKAGE!r}))",
        ),
        cwd=project,
    )

    nothing = "System check identified no issues (0 silenced).\n"
    assert before == nothing
    assert after == nothing
    assert drift == "No changes detected\n"
    assert "Applying django_apscheduler." in migrated
    assert "warning" not in migrated.lower()
    assert version.strip() == django_apscheduler.__version__


# Prints how often a job ran, in a Python in which `import django` fails.
WITHOUT_DJANGO = """
import sys, threading

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "django":
            raise ImportError(f"the engine imported {name}")

sys.meta_path.insert(0, Block())
import django_apscheduler.schedulers.asyncio
import django_apscheduler.schedulers.background
import django_apscheduler.schedulers.blocking
import django_apscheduler.triggers.calendarinterval
import django_apscheduler.triggers.combining
import django_apscheduler.triggers.cron
import django_apscheduler.triggers.date
from django_apscheduler.schedulers.background import BackgroundScheduler

ran = threading.Event()
scheduler = BackgroundScheduler()
scheduler.add_job(ran.set, misfire_grace_time=None)
scheduler.start()
happened = ran.wait(20)
scheduler.shutdown()
loaded = sorted(n for n in sys.modules if n.partition(".")[0] == "django")
print(happened, loaded)
"""


def test_the_engine_runs_jobs_where_django_cannot_be_imported(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT_DJANGO],
        cwd=tmp_path,
        env={**clean_environment(), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("True []\n", "")
