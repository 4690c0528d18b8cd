"""What the admin's log tells of changes, by the admin and by the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command

from django_apscheduler import audit, get_scheduler, registry
from django_apscheduler.models import (
    DjangoJob,
    DjangoJobExecution,
    SchedulerControl,
)

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parent.parent


def work():
    pass


@pytest.fixture(autouse=True)
def nothing_declared(monkeypatch):
    monkeypatch.setattr(registry, "_declarations", {})
    monkeypatch.setattr(registry, "_discovered", True)
    yield
    registry.set_scheduler(None)


@pytest.fixture
def ana():
    return get_user_model().objects.create_user("ana")


def jobs(*ids):
    for id in ids:
        get_scheduler().add_job(work, "interval", hours=1, id=id)
    return list(DjangoJob.objects.filter(id__in=ids).order_by("id"))


def apscheduler(*arguments):
    call_command("apscheduler", *arguments, verbosity=0)


def entries():
    """Return (user, object, text, message) of each line, oldest first."""
    return [
        (
            entry.user.get_username(),
            entry.object_id,
            entry.object_repr,
            entry.get_change_message(),
        )
        for entry in LogEntry.objects.order_by("pk").select_related("user")
    ]


def test_one_line_an_object_in_one_statement(ana, django_assert_num_queries):
    objects = jobs("a", "b", "c")
    audit.log(ana.pk, objects[:1], message="x")
    with django_assert_num_queries(1):
        audit.log(ana.pk, objects[1:], audit.ADDED, ["One.", "Two."])
    assert entries()[1:] == [("ana", "b", "work", "One."), ("ana", "c", "work", "Two.")]
    assert LogEntry.objects.filter(action_flag=audit.ADDED).count() == 2
    assert LogEntry.objects.get(object_id="b").get_edited_object() == objects[1]


def test_nothing_changed_is_no_line(ana):
    audit.log(ana.pk, [], message="x")
    assert entries() == []


def test_a_diff_tells_before_and_after_but_no_arguments(ana):
    message = audit.changed(
        [
            ("schedule", "every hour", "every 2 hours"),
            ("name", "", "x" * 500),
            ("kwargs", '{"password":"old-secret"}', '{"password":"new-secret"}'),
        ]
    )
    assert "secret" not in message
    audit.log(ana.pk, jobs("a"), message=message)
    assert entries()[0][3] == (
        "Changed schedule (every hour → every 2 hours), "
        f"name (– → {'x' * 119}…) and kwargs."
    )
    assert json.loads(message)[0]["changed"]["fields"][2] == "kwargs"


def test_no_line_without_the_admin(ana, settings):
    objects = jobs("a", "b")
    settings.INSTALLED_APPS = [
        name for name in settings.INSTALLED_APPS if name != "django.contrib.admin"
    ]
    audit.log(ana.pk, objects, message="x")
    apscheduler("pause", "a", "--user", "whoever")
    assert DjangoJob.objects.get(id="a").paused_by == "whoever (command line)"
    assert DjangoJob.objects.get(id="a").state == "paused"
    assert entries() == []
    assert get_user_model().objects.count() == 1


class TestWhoeverTypesTheCommand:
    def test_is_the_named_user(self, ana):
        jobs("a")
        apscheduler("pause", "a", "--user", "ana", "--reason", "stock-taking")
        assert entries() == [("ana", "a", "work", "Paused: stock-taking")]
        assert DjangoJob.objects.get().paused_by == "ana (command line)"

    def test_is_nobody_if_the_named_user_is_unknown_and_nothing_is_done(self):
        jobs("a")
        with pytest.raises(CommandError) as raised:
            apscheduler("pause", "a", "--user", "annn")
        assert str(raised.value) == (
            "there is no user 'annn'; --user expects the username of a user of this "
            "project"
        )
        assert DjangoJob.objects.get().state == "active"
        assert entries() == []

    def test_is_the_user_named_like_the_account(self, ana, monkeypatch):
        monkeypatch.setattr("getpass.getuser", lambda: "ana")
        jobs("a")
        apscheduler("pause", "a")
        assert [entry[0] for entry in entries()] == ["ana"]

    @pytest.mark.parametrize("account", ["deploy", None])
    def test_is_else_a_user_made_on_demand_who_cannot_sign_in(
        self, monkeypatch, account
    ):
        def getuser():
            if account is None:
                raise KeyError("no such uid")
            return account

        monkeypatch.setattr("getpass.getuser", getuser)
        jobs("a", "b")
        apscheduler("pause", "a")
        apscheduler("pause", "b")
        user = get_user_model().objects.get()
        assert user.get_username() == "apscheduler command line"
        assert (user.is_active, user.is_staff, user.has_usable_password()) == (
            False,
            False,
            False,
        )
        assert [entry[:2] for entry in entries()] == [
            ("apscheduler command line", "a"),
            ("apscheduler command line", "b"),
        ]


class TestEachCommand:
    @pytest.fixture(autouse=True)
    def signed_in(self, ana, monkeypatch):
        monkeypatch.setattr("getpass.getuser", lambda: "ana")

    def said(self):
        return [(id, message) for _user, id, _repr, message in entries()]

    def test_pause_and_resume_tell_each_job_and_only_what_was_done(self):
        jobs("a", "b")
        with pytest.raises(CommandError, match="There is no job none"):
            apscheduler("pause", "a", "none", "b")
        apscheduler("resume", "b")
        assert self.said() == [("a", "Paused."), ("b", "Paused."), ("b", "Resumed.")]

    def test_everything_at_once_is_one_line_about_all_jobs(self):
        jobs("a", "b")
        apscheduler("pause", "--all", "--reason", "new server")
        apscheduler("resume", "--all")
        assert [entry[2:] for entry in entries()] == [
            ("all jobs", "Paused all jobs: new server"),
            ("all jobs", "Resumed all jobs."),
        ]
        model = LogEntry.objects.first().content_type.model_class()
        assert model is SchedulerControl

    def test_run_and_cancel(self):
        jobs("a")
        apscheduler("run", "a")
        run = DjangoJobExecution.objects.get()
        apscheduler("cancel", str(run.pk))
        going_on = get_scheduler().run_job_now("a")
        DjangoJobExecution.objects.filter(pk=going_on).update(
            status="Started execution"
        )
        apscheduler("cancel", str(going_on))
        assert self.said() == [
            ("a", f"Queued to run now (execution {run.pk})."),
            (str(run.pk), "Cancelled."),
            (str(going_on), "Asked its scheduler to end it."),
        ]

    def test_resign(self):
        jobs("a", "b")
        DjangoJob.objects.filter(id="a").update(func=f"{__name__}:jobs")
        apscheduler("resign")
        assert self.said() == [("a", "Signed anew.")]

    def test_sync_typed_by_somebody_and_not_by_a_scheduler(self):
        from django_apscheduler import sync

        registry.scheduled_job("cron", hour=3, id="nightly")(work)
        apscheduler("sync", "--dry-run")
        assert entries() == []
        apscheduler("sync")
        assert self.said() == [("nightly", "Added as declared in code.")]
        assert LogEntry.objects.get().action_flag == audit.ADDED
        registry._declarations.clear()
        registry.scheduled_job("cron", hour=4, id="nightly")(work)
        sync.synchronise()
        assert len(entries()) == 1
        registry._declarations.clear()
        apscheduler("sync")
        assert self.said()[1:] == [("nightly", "Disabled: no longer in the code.")]

    def test_a_change_and_its_line_are_kept_or_undone_together(self, monkeypatch):
        jobs("a")

        def fail(*args, **kwargs):
            raise RuntimeError("no room for the log")

        monkeypatch.setattr(LogEntry.objects, "using", fail)
        with pytest.raises(RuntimeError):
            apscheduler("pause", "a")
        assert DjangoJob.objects.get().state == "active"


PEOPLE = """
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.db import models

class Person(AbstractBaseUser):
    email = models.EmailField(unique=True)
    team = models.ForeignKey("people.Team", on_delete=models.CASCADE)
    USERNAME_FIELD = "email"
    objects = BaseUserManager()

    is_staff = is_superuser = False

class Team(models.Model):
    name = models.TextField()
"""
SETTINGS = """
from tests.settings import *
INSTALLED_APPS = ["people", *INSTALLED_APPS]
AUTH_USER_MODEL = "people.Person"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "people.db"}}
SILENCED_SYSTEM_CHECKS = ["auth.E003", "django_apscheduler.W001"]
"""
SCRIPT = """
import django
django.setup()
import contextlib, io, json, logging
from django.core.management import call_command
from django.contrib.admin.models import LogEntry
from django_apscheduler import get_scheduler
from people.models import Person, Team
logging.disable()
call_command("migrate", run_syncdb=True, verbosity=0)
ann = Person.objects.create(email="ann@example.com", team=Team.objects.create())
get_scheduler().add_job("os:getpid", "interval", hours=1, id="a")
call_command("apscheduler", "pause", "a", "--user", "ann@example.com", verbosity=0)
call_command("apscheduler", "resume", "a", verbosity=0)
print(json.dumps([
    list(LogEntry.objects.values_list("user__email", "change_message")),
    Person.objects.count(),
    get_scheduler().get_job("a").next_run_time is not None,
]))
"""


def test_a_user_model_of_the_project(tmp_path):
    """One who cannot be made on demand, too: the command works, and says who is missing."""
    (tmp_path / "people").mkdir()
    (tmp_path / "people" / "__init__.py").touch()
    (tmp_path / "people" / "models.py").write_text(PEOPLE)
    (tmp_path / "people_settings.py").write_text(SETTINGS)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
            "DJANGO_SETTINGS_MODULE": "people_settings",
            "TEST_DB": "",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [
        [["ann@example.com", "Paused."]],
        1,
        True,
    ]
