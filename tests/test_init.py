"""What `import django_apscheduler` gives, and what it leaves alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

import django_apscheduler

BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "django":
            raise ImportError("django was imported")

sys.meta_path.insert(0, Blocked())
import {module}
print([name for name in sys.modules if name.partition(".")[0] == "django"])
"""


def _import_without_django(module: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED.format(module=module)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    "module",
    [
        "django_apscheduler",
        "django_apscheduler.describe",
        "django_apscheduler.schedulers.background",
        "django_apscheduler.schedulers.blocking",
        "django_apscheduler.schedulers.asyncio",
        "django_apscheduler.schedulers.tornado",
        "django_apscheduler.schedulers.twisted",
    ],
)
def test_importing_the_engine_imports_no_django(module):
    assert _import_without_django(module) == "[]"


@pytest.mark.parametrize(
    ("module", "library"),
    [("sqlalchemy", "sqlalchemy"), ("mongodb", "pymongo"), ("redis", "redis")],
)
def test_importing_a_job_store_imports_its_library_and_no_django(module, library):
    pytest.importorskip(
        library, reason=f"needs {library}: pip install django-apscheduler[{module}]"
    )
    assert _import_without_django(f"django_apscheduler.jobstores.{module}") == "[]"


@pytest.mark.parametrize(
    ("alias", "library"),
    [("sqlalchemy", "sqlalchemy"), ("mongodb", "pymongo"), ("redis", "redis")],
)
def test_a_missing_library_is_named_with_the_extra_that_brings_it(alias, library):
    program = (
        f"import sys; sys.modules[{library!r}] = None\n"
        "from django_apscheduler.schedulers.background import BackgroundScheduler\n"
        f"BackgroundScheduler(jobstores={{'default': {{'type': {alias!r}}}}})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert f"pip install django-apscheduler[{alias}]" in done.stderr.splitlines()[-1]


def test_the_version_is_a_release_number():
    assert [part.isdigit() for part in django_apscheduler.__version__.split(".")] == [
        True,
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("name", "home"),
    [
        ("scheduled_job", "django_apscheduler.registry"),
        ("register_job", "django_apscheduler.registry"),
        ("get_scheduler", "django_apscheduler.registry"),
        ("current_run", "django_apscheduler.executors.base"),
    ],
)
def test_names_of_the_django_layer_load_on_first_use(name, home):
    assert getattr(django_apscheduler, name).__module__ == home
    assert name in dir(django_apscheduler)


def test_an_unknown_name_is_an_attribute_error_that_names_it():
    with pytest.raises(
        AttributeError, match="module 'django_apscheduler' has no attribute 'nothing'"
    ):
        django_apscheduler.nothing  # noqa: B018
