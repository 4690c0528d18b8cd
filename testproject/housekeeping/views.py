"""The demo's front page, and the view that schedules a job of its own."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from django_apscheduler import get_scheduler
from django_apscheduler.models import DjangoJobExecution

from . import jobs
from .models import (
    Backup,
    ExchangeRate,
    HostReading,
    LogCount,
    PrimeCount,
    Report,
    ResponseTime,
)

REPORT_DELAY = timedelta(seconds=5)


@require_GET
def home(request: HttpRequest) -> HttpResponse:
    """Show what the jobs have done so far."""
    return render(
        request,
        "housekeeping/home.html",
        {
            "reading": HostReading.objects.first(),
            "response_time": ResponseTime.objects.first(),
            "backup": Backup.objects.first(),
            "primes": PrimeCount.objects.first(),
            "rates": ExchangeRate.objects.all(),
            "log_counts": LogCount.objects.all()[:5],
            "reports": Report.objects.all()[:5],
            "executions": DjangoJobExecution.objects.order_by("-run_time", "-id")[:12],
        },
    )


@require_POST
def order_report(request: HttpRequest) -> HttpResponse:
    """
    Order a report: its row and the job that makes it appear together, or neither does.

    The job joins the transaction, so the scheduler cannot see it before the row is there.
    """
    with transaction.atomic():
        report = Report.objects.create()
        get_scheduler().add_job(
            jobs.build_report,
            "date",
            run_date=timezone.now() + REPORT_DELAY,
            args=[report.pk],
            id=f"report-{report.pk}",
            name=f"Build report {report.pk}",
        )
    return redirect("home")


@require_GET
def download_report(request: HttpRequest, pk: int) -> FileResponse:
    """Send a report that is ready."""
    report = get_object_or_404(Report, pk=pk)
    if not report.path:
        raise Http404(f"Report {pk} is not ready yet")
    path = settings.REPORTS / f"report-{report.pk}.csv"
    return FileResponse(path.open("rb"), as_attachment=True, filename=path.name)
