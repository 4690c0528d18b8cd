"""For servers with a lifespan, which starts and stops the scheduler."""

from __future__ import annotations

from django.core.asgi import get_asgi_application

from django_apscheduler.asgi import with_scheduler

application = with_scheduler(get_asgi_application())
