"""
Settings of the demo project.

SQLite in `testproject/var`, where logs, backups and reports go, too. What a project of
your own needs from here is `rangefilter` and `django_apscheduler` in INSTALLED_APPS;
`APSCHEDULER` shows what can be said beyond the defaults.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import django

ROOT = Path(__file__).resolve().parent
VAR = Path(os.environ.get("DEMO_VAR", ROOT / "var"))
VAR.mkdir(parents=True, exist_ok=True)


def secret_key() -> str:
    """
    Answer the key of this installation, made at the first start.

    Jobs are stored signed with it: web server and scheduler must use the same one.
    """
    path = VAR / "secret-key"
    try:
        with open(path, "x", opener=lambda p, f: os.open(p, f, 0o600)) as file:
            file.write(secrets.token_urlsafe(50))
    except FileExistsError:
        pass
    return path.read_text()


SECRET_KEY = secret_key()
DEBUG = True
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
ROOT_URLCONF = "testproject.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rangefilter",
    "django_apscheduler",
    "testproject.housekeeping",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
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

# Web server and scheduler write to one SQLite file. The write-ahead log lets readers go
# on meanwhile; IMMEDIATE makes a writer wait for its turn at the start of a transaction
# rather than fail in the middle. Django knows both settings since 5.1.
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": VAR / "db.sqlite3",
        "OPTIONS": {"timeout": 20},
        # A file in tests, too: the store works on connections of its own.
        "TEST": {"NAME": VAR / "test.sqlite3"},
    }
}
if django.VERSION >= (5, 1):
    DATABASES["default"]["OPTIONS"] |= {  # type: ignore[operator]
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }

# The job `digest-log` counts what is written here.
LOG_FILE = VAR / "demo.log"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "file": {"format": "{asctime} {levelname} {name} {message}", "style": "{"},
        "console": {"format": "{levelname:7} {message}", "style": "{"},
    },
    "handlers": {
        "file": {
            "class": "logging.FileHandler",
            "filename": LOG_FILE,
            "formatter": "file",
            "delay": True,
        },
        "console": {"class": "logging.StreamHandler", "formatter": "console"},
    },
    "loggers": {
        "django_apscheduler": {"handlers": ["file"], "level": "INFO"},
        "django.request": {"handlers": ["file"], "level": "WARNING"},
        "testproject": {"handlers": ["file"], "level": "INFO"},
    },
}

APSCHEDULER = {
    "executors": {
        "default": {"type": "threadpool", "max_workers": 10},
        "processpool": {"type": "processpool", "max_workers": 2},
        "asyncio": {"type": "asyncio"},
    },
    "job_defaults": {"misfire_grace_time": 60},
}

# What the demo's own jobs use.
BACKUPS = VAR / "backups"
BACKUPS_KEPT = 5
REPORTS = VAR / "reports"
RATES = ROOT / "housekeeping" / "rates"
SITE_ADDRESS = os.environ.get("DEMO_ADDRESS", "127.0.0.1:8000")
