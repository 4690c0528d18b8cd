"""Its views: what a team's own would do with ``get_scheduler()``."""

from __future__ import annotations

import os

from django.http import HttpRequest, JsonResponse
from django.urls import path

from django_apscheduler import get_scheduler
from tests.web.shop import tasks


def who(request: HttpRequest) -> JsonResponse:
    scheduler = get_scheduler()
    return JsonResponse(
        {
            "pid": os.getpid(),
            "scheduler": type(scheduler).__name__,
            "running": scheduler.running,
        }
    )


def add(request: HttpRequest) -> JsonResponse:
    job = get_scheduler().add_job(tasks.beat, "interval", seconds=1, id="beat")
    return JsonResponse({"id": job.id})


def add_by_own(request: HttpRequest) -> JsonResponse:
    from tests.web.shop.wsgi_own import scheduler

    job = scheduler.add_job(tasks.beat, "interval", seconds=1, id="beat")
    return JsonResponse({"id": job.id})


async def add_slow(request: HttpRequest) -> JsonResponse:
    seconds = float(request.GET["seconds"])
    job = await get_scheduler().aadd_job(tasks.slow, args=[seconds])
    return JsonResponse({"id": job.id})


def pause(request: HttpRequest) -> JsonResponse:
    get_scheduler().pause_job("beat")
    return JsonResponse({})


def resume(request: HttpRequest) -> JsonResponse:
    get_scheduler().resume_job("beat")
    return JsonResponse({})


urlpatterns = [
    path("who", who),
    path("add", add),
    path("add-by-own", add_by_own),
    path("add-slow", add_slow),
    path("pause", pause),
    path("resume", resume),
]
