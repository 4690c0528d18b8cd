"""Where a framework is not installed, its scheduler and executor say what to install."""

import subprocess
import sys

import pytest

LACKING = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {lacking!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}")

sys.meta_path.insert(0, Block())
{code}
"""


def last_line(code, *lacking):
    done = subprocess.run(
        [sys.executable, "-c", LACKING.format(code=code, lacking=lacking)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    return (done.stdout or done.stderr).strip().splitlines()[-1]


@pytest.mark.parametrize("name", ["gevent", "tornado", "twisted"])
@pytest.mark.parametrize("kind", ["schedulers", "executors"])
def test_a_missing_framework_is_named_with_the_remedy(name, kind):
    assert last_line(f"import django_apscheduler.{kind}.{name}", name) == (
        f"ImportError: {name} is not installed; install it with: "
        f"pip install django-apscheduler[{name}]"
    )


def test_a_plugin_alias_says_the_same():
    code = (
        "from django_apscheduler.schedulers.background import BackgroundScheduler\n"
        "try:\n"
        "    BackgroundScheduler(executors={'default': {'type': 'tornado'}})\n"
        "except LookupError as error: print(error)"
    )
    assert last_line(code, "tornado").endswith(
        "tornado is not installed; install it with: "
        "pip install django-apscheduler[tornado]"
    )


def test_without_any_binding_of_qt_all_are_named():
    bindings = ("PySide6", "PyQt6", "PySide2", "PyQt5")
    assert last_line("import django_apscheduler.schedulers.qt", *bindings) == (
        "ImportError: a binding of Qt (PySide6, PyQt6, PySide2, PyQt5) is not installed; "
        "install it with: pip install django-apscheduler[qt]"
    )
