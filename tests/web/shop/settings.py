"""Its settings."""

from __future__ import annotations

import os

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, *os.environ.get("SHOP_APPS", "").split()]
ROOT_URLCONF = "tests.web.shop.urls"
WSGI_APPLICATION = "tests.web.shop.wsgi_starting.application"
# runserver looks for changes of the code where settings live, and for static files.
DEBUG = os.environ.get("SHOP_DEBUG") == "1"

APSCHEDULER = {
    "executors": {"default": {"type": "threadpool", "max_workers": 3}},
    # Whatever this machine is busy with, each due time is to be run.
    "job_defaults": {"coalesce": False, "max_instances": 5},
    "drain_timeout": 20,
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"django_apscheduler": {"handlers": ["console"], "level": "INFO"}},
}
