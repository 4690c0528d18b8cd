"""The suite's own machinery: the database asked for is the one that is tested."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model

from tests import __main__ as suite
from tests import databases

ROOT = Path(__file__).resolve().parent.parent.parent

TESTS = """
import pytest

def test_passes():
    pass

def test_lacks_a_server():
    pytest.skip("needs Redis: apt install redis-server, or set TEST_REDIS_URL")

@pytest.mark.skipif(True, reason="only where the engine says so")
def test_does_not_apply():
    pass

@pytest.mark.skipif(True, reason="needs MySQL: set TEST_MYSQL_HOST")
def test_lacks_another_server():
    pass
"""


def run_pytest(
    *arguments: object, **variables: str
) -> subprocess.CompletedProcess[str]:
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(("TEST_", "REQUIRE"))
    }
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:randomly", "-p", "no:cacheprovider"]
        + [str(argument) for argument in arguments],
        cwd=ROOT,
        env={**kept, **variables},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def some_tests(tmp_path: Path) -> Path:
    path = tmp_path / "test_some.py"
    path.write_text(TESTS)
    return path


def test_a_session_on_another_database_than_asked_for_is_refused(
    tmp_path: Path, some_tests: Path
) -> None:
    # The demo's settings know SQLite only.
    done = run_pytest(
        *("--ds=testproject.settings", "-p", "tests.conftest", some_tests),
        TEST_DB="postgres",
        DEMO_VAR=str(tmp_path / "var"),
    )
    assert done.returncode != 0
    assert "asked for postgresql, got sqlite" in done.stdout + done.stderr
    assert "passed" not in done.stdout


def test_an_unknown_database_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_DB", "oracle")
    with pytest.raises(
        SystemExit, match="must be 'sqlite', 'postgres' or 'mariadb'; got 'oracle'"
    ):
        databases.wanted()


@pytest.mark.parametrize(
    ("lacking", "remedy"),
    [
        ({"MySQLdb", "pymysql"}, "pip install PyMySQL"),
        ({"mariadbd"}, "apt install mariadb-server, or set TEST_MYSQL_HOST"),
        ({"mariadb-install-db"}, "apt install mariadb-server"),
    ],
)
def test_what_mariadb_needs_is_named(
    monkeypatch: pytest.MonkeyPatch, lacking: set[str], remedy: str
) -> None:
    def find(name: str, **options: object) -> str | None:
        return None if name in lacking else name

    monkeypatch.delenv("TEST_MYSQL_HOST", raising=False)
    monkeypatch.setattr(databases.importlib.util, "find_spec", find)
    monkeypatch.setattr(databases.shutil, "which", find)
    assert remedy in str(databases.missing_for_mariadb())
    with pytest.raises(SystemExit, match="MariaDB was asked for; it needs "):
        databases._mysql()
    lacking.clear()
    assert databases.missing_for_mariadb() is None


@pytest.mark.parametrize(
    ("variables", "ending"),
    [
        ({}, "1 passed, 3 skipped"),
        ({"REQUIRE_ALL": "1"}, "1 failed, 1 passed, 1 skipped, 1 error"),
    ],
)
def test_missing_servers_fail_where_all_is_required(
    some_tests: Path, variables: dict[str, str], ending: str
) -> None:
    done = run_pytest("-p", "tests.conftest", some_tests, **variables)
    assert ending in done.stdout.splitlines()[-1], done.stdout


def test_both_runs_are_added_up(tmp_path: Path, some_tests: Path) -> None:
    report = tmp_path / "counts.json"
    run_pytest("-p", "tests.conftest", some_tests, TEST_COUNTS=str(report))
    total = suite.count(report)
    assert total == Counter(passed=1, skipped=3)
    assert suite.count(tmp_path / "absent.json") == Counter()
    total.update(failed=2, error=1)
    assert suite.words(total) == "2 failed, 1 passed, 3 skipped, 1 error"


def test_some_of_the_databases_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    def databases_of(text: str) -> list[str]:
        monkeypatch.setenv("TEST_RUNS", text)
        return [database for _, database, _ in suite.chosen()]

    assert databases_of("") == ["sqlite", "postgres", "mariadb"]
    assert databases_of("mariadb, sqlite") == ["sqlite", "mariadb"]
    with pytest.raises(SystemExit, match="sqlite, postgres, mariadb, .*; got mysql"):
        databases_of("postgres,mysql")


@pytest.mark.parametrize(("required", "status"), [("", 0), ("1", 1)])
def test_a_run_that_cannot_be_made_says_what_it_needs(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    required: str,
    status: int,
) -> None:
    monkeypatch.setenv("REQUIRE_ALL", required)
    monkeypatch.delenv("TEST_RUNS", raising=False)
    monkeypatch.setattr(suite, "RUNS", (("MariaDB", "mariadb", ()),))
    monkeypatch.setattr(databases, "missing_for_mariadb", lambda: "needs a server: ...")
    assert suite.main([]) == status
    told = capsys.readouterr().out
    assert "MariaDB    not tested: it needs a server: ..." in told
    assert "no tests ran" in told.splitlines()[-1]


@pytest.mark.django_db(transaction=True)
def test_a_child_process_works_on_the_database_of_the_test(
    child_environment: dict[str, str],
) -> None:
    get_user_model().objects.create_user("beside")
    program = (
        "import django; django.setup()\n"
        "from django.contrib.auth.models import User\n"
        "print([user.username for user in User.objects.all()])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=child_environment,
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("['beside']\n", "")
    # The child has ended, and what it was given still stands.
    assert get_user_model().objects.count() == 1


FLAKY = """
from pathlib import Path

def test_fails_at_first():
    tried = Path(__file__).with_name("tried")
    before = tried.exists()
    tried.touch()
    assert before

def test_passes():
    pass
"""


@pytest.mark.parametrize(
    ("extra", "status", "ending"),
    [
        ("", 0, "2 passed"),
        ("def test_fails(): assert False", 1, "2 failed, 1 passed"),
    ],
)
def test_what_fails_is_run_once_more_alone(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    extra: str,
    status: int,
    ending: str,
) -> None:
    path = tmp_path / "test_flaky.py"
    path.write_text(FLAKY + extra)
    for name in ("REQUIRE_ALL", "TEST_RUNS", "TEST_SQLITE_DIR", "TEST_DATABASE_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TEST_WORKERS", "0")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    # Names of tests are relative to the root.
    options = ("-p", "tests.conftest", "-c", f"{ROOT}/setup.cfg", "--rootdir", ".")
    monkeypatch.setattr(suite, "RUNS", (("SQLite", "sqlite", options),))
    monkeypatch.setattr(suite, "ROOT", tmp_path)
    assert suite.main([path.name]) == status
    told = capfd.readouterr().out
    assert f" {ending} in " in told.splitlines()[-1]
    assert ("passed alone:" in told) is (status == 0)
    if status == 0:
        assert told.splitlines()[-2].endswith("test_flaky.py::test_fails_at_first")
