"""System checks."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from django.conf import settings
from django.core.checks import run_checks
from django.db import connection, connections
from django.db.backends.sqlite3.base import DatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder
from django.test import override_settings

from django_apscheduler import checks, registry


@pytest.fixture(autouse=True)
def _nothing_declared(monkeypatch):
    monkeypatch.setattr(registry, "_declarations", {})
    monkeypatch.setattr(registry, "_callables", {})
    monkeypatch.setattr(registry, "_discovered", True)


def job(days=1):
    pass


def ids(messages):
    return [message.id.removeprefix("django_apscheduler.") for message in messages]


def test_a_project_in_order_has_nothing_to_be_told():
    assert [m for m in run_checks() if m.id.startswith("django_apscheduler")] == []


def test_checks_make_no_query_unless_databases_are_named(django_assert_num_queries):
    # No database mark: a query would fail.
    assert checks.check_databases(databases=None) == []
    assert checks.check_databases(databases=[]) == []


def test_e001_each_mistake_in_the_dictionary():
    with override_settings(APSCHEDULER={"timezone": "Mars", "workers": 3}):
        found = checks.check_settings()
    assert ids(found) == ["E001", "E001"]
    assert found[0].msg.startswith("settings.APSCHEDULER: unknown key 'workers'; known")
    assert found[1].msg.startswith("settings.APSCHEDULER: timezone must be the name of")


def test_e010_what_hides_arguments_is_a_list_of_texts():
    assert checks.check_redaction() == []
    for wrong, got in (("token", "'token'"), (["token", 3], "3"), (["_"], "'_'")):
        with override_settings(APSCHEDULER_REDACT_ARGUMENTS=wrong):
            (found,) = checks.check_redaction()
        assert ids([found]) == ["E010"]
        assert found.msg.startswith("settings.APSCHEDULER_REDACT_ARGUMENTS must ")
        assert found.msg.endswith(f"; got {got}.")


def test_e002_aliases_and_references_that_name_nothing():
    mistakes = {
        "executors": {"a": {"type": "treadpool"}, "b": {"class": "nowhere:Pool"}},
        "jobstores": {"c": {"type": "djngo"}},
    }
    with override_settings(APSCHEDULER=mistakes):
        found = checks.check_settings()
    assert ids(found) == ["E002", "E002", "E002"]
    texts = [message.msg for message in found]
    assert texts[0].startswith(
        'settings.APSCHEDULER: jobstores.c: No job store by the name "djngo" was found'
    )
    assert texts[1].startswith(
        'settings.APSCHEDULER: executors.a: No executor by the name "treadpool"'
    )
    assert "could not import 'nowhere'" in texts[2]


def test_w001_the_admins_filters_without_their_templates():
    installed = [app for app in settings.INSTALLED_APPS if app != "rangefilter"]
    with override_settings(INSTALLED_APPS=installed):
        assert ids(checks.check_installed_apps()) == ["W001"]
    with override_settings(INSTALLED_APPS=["django_apscheduler"]):
        assert checks.check_installed_apps() == []


def test_e003_a_jobs_module_that_fails(monkeypatch):
    def fail():
        raise registry.DiscoveryError("Could not import shop.jobs: NameError: x")

    monkeypatch.setattr(registry, "autodiscover", fail)
    (found,) = checks.check_declared_jobs()
    assert (ids([found]), found.msg) == (
        ["E003"],
        "Could not import shop.jobs: NameError: x",
    )


def test_e004_jobs_that_could_not_run():
    registry.scheduled_job("cron", month=2, day=30, id="never")(job)
    registry.scheduled_job("cron", hour=1, id="wrong", args=[1, 2])(job)
    found = checks.check_declared_jobs()
    assert ids(found) == ["E004", "E004"]
    assert f"The job 'never', declared at {__file__}:" in found[0].msg
    assert "its trigger never fires" in found[0].msg
    assert "too many positional arguments" in found[1].msg


def test_e005_and_w002_jobs_with_nowhere_to_go():
    registry.scheduled_job("cron", hour=1, id="a", jobstore="redis")(job)
    registry.scheduled_job("cron", hour=1, id="b", executor="gpu")(job)
    found = checks.check_declared_jobs()
    assert ids(found) == ["E005", "W002"]
    assert (
        "names the job store 'redis'; settings.APSCHEDULER has default" in found[0].msg
    )
    assert "names the executor 'gpu'" in found[1].msg


@pytest.mark.parametrize(
    ("pool", "problem"),
    [
        (None, []),
        (True, ["W003"]),
        ({"max_size": 9}, ["W003"]),
        ({"max_size": 10}, []),
        ({"min_size": 12}, []),
    ],
)
def test_w003_a_pool_smaller_than_the_workers(monkeypatch, pool, problem):
    databases = {
        "default": {**settings.DATABASES["default"], "OPTIONS": {"pool": pool}}
    }
    monkeypatch.setattr(checks, "settings", SimpleNamespace(DATABASES=databases))
    assert ids(checks.check_pools()) == problem


@pytest.mark.django_db
class TestSQLite:
    @pytest.fixture
    def look(self, monkeypatch, tmp_path):
        """Have the check look at a SQLite file in a given journal mode."""

        def look(mode, schedulers=1):
            path = str(tmp_path / "db.sqlite3")
            settings = {**connections.settings["default"], "NAME": path, "OPTIONS": {}}
            connection = DatabaseWrapper(settings, "default")
            with connection.cursor() as cursor:
                cursor.execute(f"PRAGMA journal_mode={mode}")
                if schedulers is not None:
                    cursor.execute(
                        "CREATE TABLE django_apscheduler_schedulerprocess (id)"
                    )
                    for number in range(schedulers):
                        cursor.execute(
                            "INSERT INTO django_apscheduler_schedulerprocess VALUES (%s)",
                            [number],
                        )
            monkeypatch.setattr(checks, "connections", {"default": connection})
            try:
                return list(checks._check_sqlite("default"))
            finally:
                connection.close()

        return look

    def test_w004_without_wal(self, look):
        (found,) = look("DELETE")
        assert ids([found]) == ["W004"]
        assert "in the journal mode DELETE" in found.msg
        assert found.hint.endswith("db.sqlite3 'PRAGMA journal_mode=WAL'")

    def test_wal_is_fine(self, look):
        assert look("WAL") == []

    @pytest.mark.parametrize("schedulers", [None, 0])
    def test_a_new_project_is_not_warned_with_its_first_migrate(self, look, schedulers):
        assert look("DELETE", schedulers) == []


@pytest.mark.parametrize(
    ("mariadb", "version", "problem"),
    [
        (False, (8, 0, 0), ["E007"]),
        (False, (8, 0, 1), []),
        (True, (10, 5, 20), ["E007"]),
        (True, (10, 6, 0), []),
    ],
)
def test_e007_servers_that_cannot_skip_locked_rows(
    monkeypatch, mariadb, version, problem
):
    fake = SimpleNamespace(
        mysql_is_mariadb=mariadb,
        mysql_version=version,
        display_name="MariaDB" if mariadb else "MySQL",
    )
    monkeypatch.setattr(checks, "connections", {"default": fake})
    found = list(checks._check_mysql("default"))
    assert ids(found) == problem
    if problem:
        assert ".".join(map(str, version)) in found[0].msg


@pytest.mark.django_db
class TestLineage:
    EARLIER = (
        "0001_initial",
        "0002_auto_20180412_0758",
        "0003_auto_20200716_1632",
        "0004_auto_20200717_1043",
        "0005_migrate_name_to_id",
        "0006_remove_djangojob_name",
        "0007_auto_20200717_1404",
        "0008_remove_djangojobexecution_started",
        "0009_djangojobexecution_unique_job_executions",
    )

    def _check(self, *applied):
        recorder = MigrationRecorder(connection)
        recorder.migration_qs.filter(app="django_apscheduler").delete()
        for name in applied:
            recorder.record_applied("django_apscheduler", name)
        return checks.check_databases(databases=["default"])

    def test_this_releases_own_state_is_fine(self):
        assert checks.check_databases(databases=["default"]) == []

    def test_an_empty_database_is_fine(self):
        assert self._check() == []

    def test_the_end_of_the_earlier_packages_migrations_is_fine(self):
        assert self._check(*self.EARLIER) == []

    def test_e009_half_way_through_the_earlier_packages_migrations(self):
        (found,) = self._check(*self.EARLIER[:5])
        assert ids([found]) == ["E009"]
        assert "it stands at 0005_migrate_name_to_id" in found.msg
        assert "0009_djangojobexecution_unique_job_executions" in found.msg

    def test_e008_migrations_of_somebody_else(self):
        (found,) = self._check(*self.EARLIER, "0010_add_owner")
        assert ids([found]) == ["E008"]
        assert found.msg.endswith("does not know: 0010_add_owner.")

    def test_databases_without_jobs_are_not_looked_at(self):
        self._check("0010_add_owner")
        assert checks.check_databases(databases=["other"]) == []
