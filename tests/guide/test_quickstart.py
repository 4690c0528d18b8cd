"""The quickstart leads where it says: a new project, its ``jobs.py``, the commands."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SETTINGS = """
SECRET_KEY = "a key for the quickstart"
USE_TZ = True
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}
}
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
"""


def block(page: str, beginning: str) -> str:
    """Return the Python block of a page that begins with a text."""
    text = (ROOT / page).read_text(encoding="utf-8")
    (found,) = [
        code
        for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        if code.startswith(beginning)
    ]
    return found


class Project:
    """A project in a folder of its own."""

    def __init__(self, folder: Path):
        self.folder = folder
        (folder / "shop").mkdir()
        (folder / "shop" / "__init__.py").touch()
        (folder / "shop" / "settings.py").write_text(
            SETTINGS + block("docs/quickstart.md", "INSTALLED_APPS = [")
        )

    def manage(self, *arguments: str) -> str:
        """Run a management command; return what it printed."""
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "shop.settings",
            "PYTHONPATH": os.pathsep.join([str(self.folder), str(ROOT)]),
            "NO_COLOR": "1",
        }
        done = subprocess.run(
            [sys.executable, "-m", "django", *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def rows(self, query: str) -> list[tuple]:
        connection = sqlite3.connect(self.folder / "db.sqlite3")
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()


@pytest.fixture
def project(tmp_path) -> Project:
    return Project(tmp_path)


@pytest.mark.slow
def test_the_quickstart_from_an_empty_folder(project):
    """Settings, migrate, check, ``jobs.py``, ``runapscheduler``: each as shown."""
    jobs = project.folder / "shop" / "jobs.py"
    jobs.write_text(block("docs/quickstart.md", "# shop/jobs.py"))
    project.manage("migrate", "-v", "0")
    assert "no issues" in project.manage("check")
    shown = project.manage("runapscheduler", "--run-for", "1")
    assert "+ clear-sessions: added" in shown
    assert "+ stock-levels: added" in shown
    listed = project.manage("apscheduler", "list")
    assert re.search(r"clear-sessions +at 03:30 every day", listed)
    assert re.search(r"stock-levels +every 10 minutes", listed)

    # Run now waits for a scheduler, and the next one takes it.
    project.manage("apscheduler", "run", "clear-sessions")
    shown = project.manage("runapscheduler", "--run-for", "2")
    assert re.search(r"finished +clear-sessions", shown)
    executions = project.rows(
        "select job_id, status, origin from django_apscheduler_djangojobexecution"
    )
    assert executions == [("clear-sessions", "Executed", "manual")]


@pytest.mark.slow
def test_the_readmes_job_is_found_and_scheduled(project):
    """The first lines of the README, in a project that is otherwise empty."""
    jobs = project.folder / "shop" / "jobs.py"
    jobs.write_text(block("README.md", "# shop/jobs.py"))
    project.manage("migrate", "-v", "0")
    shown = project.manage("runapscheduler", "--run-for", "0.5")
    assert re.search(r"nightly-report +at 03:00 every day", shown)
    assert project.rows("select id, func from django_apscheduler_djangojob") == [
        ("nightly-report", "shop.jobs:nightly_report")
    ]
