"""What loading the app hooks up, and what it leaves alone."""

from __future__ import annotations

import os
import subprocess
import sys
from zoneinfo import ZoneInfo

import pytest
from asgiref.sync import sync_to_async
from django.apps import apps
from django.db import connection
from django.test import override_settings

from django_apscheduler import connections, events, signals, util
from django_apscheduler.executors import base, children


def test_the_engine_has_djangos_time_zone():
    with override_settings(TIME_ZONE="Asia/Kolkata"):
        assert util.default_timezone() == ZoneInfo("Asia/Kolkata")


def test_hooks_are_registered_once_however_often_the_app_loads():
    apps.get_app_config("django_apscheduler").ready()
    assert events._hooks.count(signals.send) == 1
    assert base._before_run.count(connections.before_work) == 1
    assert base._after_run.count(connections.after_work) == 1
    reference = "django_apscheduler.apps:set_up_child"
    assert children.child_initializers.count(reference) == 1
    assert callable(util.ref_to_obj(reference))


LOAD = """
import sqlite3, threading
def refuse(*args, **kwargs):
    raise AssertionError("the database was touched")
sqlite3.connect = refuse
sqlite3.dbapi2.connect = refuse

from django.conf import settings
settings.configure(
    SECRET_KEY="x",
    INSTALLED_APPS=["django_apscheduler"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "x"}},
)
import django
django.setup()
from django.core.management import call_command
call_command("check")
print(threading.active_count())
"""


def test_loading_and_checking_run_no_query_and_start_nothing():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LOAD],
        capture_output=True,
        text=True,
        timeout=60,
        env={k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "1"


@pytest.mark.django_db(transaction=True)
def test_the_connection_of_async_bodies_is_closed_after_them():
    import asyncio

    async def body():
        connections.before_work()
        try:
            await sync_to_async(lambda: connection.ensure_connection())()
            return await sync_to_async(lambda: connection.connection is not None)()
        finally:
            connections.after_work()

    async def both():
        opened = await body()
        # The closing was queued behind whatever that thread still had to do.
        return opened, await sync_to_async(lambda: connection.connection is None)()

    assert asyncio.run(both()) == (True, True)
