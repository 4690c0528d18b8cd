"""A scheduler that a team starts on its own, where many do: at import."""

from __future__ import annotations

import atexit

from django.core.wsgi import get_wsgi_application

from django_apscheduler.schedulers.background import BackgroundScheduler

application = get_wsgi_application()

scheduler = BackgroundScheduler(
    jobstores={"default": {"type": "django"}}, job_defaults={"coalesce": False}
)
scheduler.start()
atexit.register(scheduler.shutdown)
