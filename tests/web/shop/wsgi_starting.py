"""For uWSGI and ``runserver``: each worker starts a scheduler by itself."""

from __future__ import annotations

from django.core.wsgi import get_wsgi_application

from django_apscheduler import web

application = get_wsgi_application()
web.start()
