"""
A whole Django project in one file, whose two web workers also run its jobs.

Needs uvicorn. Each second one of the workers says so; the page http://127.0.0.1:8000/
tells which worker has answered, and what the job's last runs were.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import threading
from pathlib import Path

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.management import call_command
from django.http import HttpRequest, JsonResponse
from django.urls import path

from django_apscheduler.asgi import with_scheduler

if not settings.configured:
    # The workers find the database that the first process has made.
    folder = os.environ.setdefault("EXAMPLE_FOLDER", tempfile.mkdtemp())
    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": f"{folder}/db.sqlite3",
                "OPTIONS": {"timeout": 20},
            }
        },
        INSTALLED_APPS=["django_apscheduler"],
        ROOT_URLCONF="web_workers",
        SECRET_KEY="an example's, which guards nothing",
        ALLOWED_HOSTS=["*"],
        USE_TZ=True,
    )


def tick() -> None:
    """Say which of the workers runs the job; its body."""
    print(f"Tick! In worker {os.getpid()}", flush=True)


def home(request: HttpRequest) -> JsonResponse:
    from django_apscheduler.models import DjangoJobExecution

    runs = DjangoJobExecution.objects.order_by("-run_time")[:5]
    lines = [f"{run.run_time:%H:%M:%S} {run.status}" for run in runs]
    return JsonResponse({"worker": os.getpid(), "runs": lines})


urlpatterns = [path("", home)]
application = with_scheduler(get_asgi_application())


def main(seconds: float | None = None, port: int = 8000) -> None:
    import uvicorn

    from django_apscheduler import get_scheduler

    # What a deploy does, once.
    django.setup()
    call_command("migrate", verbosity=0)
    get_scheduler().add_job(
        "web_workers:tick", "interval", seconds=1, id="tick", replace_existing=True
    )
    if seconds is not None:
        timer = threading.Timer(seconds, os.kill, [os.getpid(), signal.SIGINT])
        timer.daemon = True
        timer.start()
    print("Press Ctrl-C to stop")
    uvicorn.run(
        "web_workers:application",
        app_dir=str(Path(__file__).parent),
        workers=2,
        port=port,
        log_level="warning",
    )
    shutil.rmtree(os.environ["EXAMPLE_FOLDER"])


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:3]))
