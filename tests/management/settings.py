"""Settings of the processes that the tests of the commands start."""

from __future__ import annotations

import os

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.management.shop"]
TIME_ZONE = "Europe/Berlin"

APSCHEDULER = {
    "executors": {
        "default": {"type": "threadpool", "max_workers": 3},
        "processpool": {"type": "processpool", "max_workers": 2},
        "asyncio": {"type": "asyncio"},
    },
    "release": os.environ.get("RELEASE", ""),
}
if os.environ.get("JOBSTORE"):
    APSCHEDULER["jobstores"] = {"default": {"type": os.environ["JOBSTORE"]}}
