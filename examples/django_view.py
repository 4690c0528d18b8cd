"""
A reminder that a view schedules inside its transaction, and one that it takes back.

For a Django project with `django_apscheduler` in INSTALLED_APPS: nothing is started
here; `manage.py runapscheduler`, in a process of its own, sends the reminders.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.http import require_POST

from django_apscheduler import current_run, get_scheduler

logger = logging.getLogger(__name__)


def remind(user_id: int, text: str) -> str:
    """Send a reminder; the job's body."""
    run = current_run()
    # The same for every attempt at this run, so a mail gateway can drop repetitions.
    key = None if run is None else run.execution_id
    message = f"reminding user {user_id}: {text}"
    logger.info("%s (execution %s)", message, key)
    return message


@require_POST
def schedule_reminder(request: HttpRequest, user_id: int) -> JsonResponse:
    """Have a user reminded in an hour; asking again moves the reminder."""
    with transaction.atomic():
        # Whatever else the view writes belongs here: both happen, or neither.
        job = get_scheduler().add_job(
            remind,
            "date",
            run_date=timezone.now() + timedelta(hours=1),
            args=[user_id, request.POST.get("text", "")],
            id=f"reminder-{user_id}",
            name=f"Remind user {user_id}",
            replace_existing=True,
        )
    return JsonResponse({"id": job.id, "next_run_time": job.next_run_time})


@require_POST
def cancel_reminder(request: HttpRequest, user_id: int) -> JsonResponse:
    """Take the reminder back."""
    scheduler = get_scheduler()
    job = scheduler.get_job(f"reminder-{user_id}")
    if job is not None:
        job.remove()
    return JsonResponse({"cancelled": job is not None})
