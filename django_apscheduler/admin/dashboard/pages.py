"""
The dashboard: what is wrong, what comes next, how it went, on one page.

The page is whole without script. The same series are to be had as JSON, for monitoring
and for pages of one's own.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from django.core.exceptions import PermissionDenied
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    JsonResponse,
)
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, URLPattern, path, reverse
from django.utils.cache import get_conditional_response
from django.utils.formats import number_format
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext

from django_apscheduler import clock, rollups
from django_apscheduler.admin import badges, stats, words
from django_apscheduler.admin.base import Addresses, banner, link
from django_apscheduler.admin.dashboard import figures, lanes, tables
from django_apscheduler.admin.dashboard import timeline as timelines
from django_apscheduler.admin.dashboard.calendar import calendar
from django_apscheduler.admin.dashboard.drawing import count
from django_apscheduler.admin.dashboard.figures import SPANS, Day, Slot, Span
from django_apscheduler.admin.dashboard.lengths import lengths
from django_apscheduler.admin.dashboard.throughput import throughput
from django_apscheduler.models import DjangoJob, DjangoJobExecution, SchedulerProcess

#: Parameters of the series: name -> (smallest, largest, default).
BOUNDS = {
    "weeks": (1, 52, figures.CALENDAR_WEEKS),
    "lanes": (1, 100, timelines.LANES),
}


class Tile(NamedTuple):
    """A number that leads to the list of what it counts."""

    key: str
    label: str
    number: str
    tone: str
    icon: SafeString
    url: str
    detail: str = ""


class BadParameter(ValueError):
    """A parameter of a series is not what was expected."""


class Series(NamedTuple):
    """
    Numbers that are to be had as JSON.

    :ivar parameter: the one it takes; "" for none
    :ivar runs: whether only those who may view executions may have it
    """

    read: Callable[..., Any]
    parameter: str = ""
    runs: bool = True


class Dashboard:
    """The page and its series, beside the pages of the jobs' admin."""

    opts: Any
    admin_site: Any

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path(
                "dashboard/",
                view(self.dashboard_view),
                name="django_apscheduler_dashboard",
            ),
            path(
                "dashboard/<slug:series>.json",
                # Revalidated each time, which the entity tag makes cheap.
                view(self.series_view, cacheable=True),
                name="django_apscheduler_dashboard_series",
            ),
            *super().get_urls(),  # type: ignore[misc]
        ]

    # The page

    def dashboard_view(self, request: HttpRequest) -> HttpResponse:
        """Show the page, to those who may view jobs."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        if not self.has_view_permission(request):  # type: ignore[attr-defined]
            raise PermissionDenied
        span = SPANS.get(request.GET.get("range", ""), SPANS["24h"])
        page = Page(self, request, span)
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Dashboard"),
            "opts": self.opts,
            "media": self.media,  # type: ignore[attr-defined]
            **page.context(),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(
            request, "admin/django_apscheduler/dashboard.html", context
        )

    # The series

    def series_view(self, request: HttpRequest, series: str) -> HttpResponse:
        """Answer with one series as JSON, or with what is wrong with the request."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        chosen = SERIES.get(series)
        allowed = self.has_view_permission(request) and (  # type: ignore[attr-defined]
            chosen is None or not chosen.runs or self.sees_runs(request)  # type: ignore[attr-defined]
        )
        if not allowed:
            needed = ["django_apscheduler.view_djangojob"]
            if chosen is not None and chosen.runs:
                needed.append("django_apscheduler.view_djangojobexecution")
            return _refusal(403, f"this needs the permissions {', '.join(needed)}")
        if chosen is None:
            names = ", ".join(SERIES)
            return _refusal(404, f"series must be one of {names}; got {series!r}")
        using = self.get_queryset(request).db  # type: ignore[attr-defined]
        try:
            parameter = read_parameter(request, chosen.parameter)
        except BadParameter as error:
            return _refusal(400, str(error))
        arguments = () if parameter is None else (parameter,)
        body = {"series": series, **chosen.read(using, clock.now(), *arguments)}
        response = JsonResponse(body, json_dumps_params={"sort_keys": True})
        tag = f'"{hashlib.sha256(response.content).hexdigest()[:32]}"'
        response["ETag"] = tag
        response["Cache-Control"] = "private, no-cache"
        answer = get_conditional_response(request, etag=tag, response=response)
        return response if answer is None else answer

    # Addresses

    def dashboard_address(self, name: str, *args: Any) -> str:
        """Return the address of one of this app's pages; "" where it has none."""
        try:
            return reverse(
                f"admin:django_apscheduler_{name}",
                args=args,
                current_app=self.admin_site.name,
            )
        except NoReverseMatch:
            return ""

    def jobs_in(self, **parameters: str) -> str:
        """Return the address of the list of jobs with filters."""
        return link("djangojob", self.admin_site.name, parameters)


def _refusal(status: int, error: str) -> JsonResponse:
    return JsonResponse({"error": error}, status=status)


def read_parameter(request: HttpRequest, name: str) -> Any:
    """
    Return the parameter of a series, checked; None when the series takes none.

    :raises BadParameter: when it is something else, or one that the series lacks
    """
    unknown = sorted(set(request.GET) - {name})
    if unknown:
        expected = f"only the parameter {name}" if name else "no parameter"
        raise BadParameter(f"expected {expected}; got {', '.join(unknown)}")
    if not name:
        return None
    given = request.GET.get(name)
    if name == "range":
        if given is None:
            return SPANS["24h"]
        if given not in SPANS:
            raise BadParameter(
                f"range must be one of {', '.join(SPANS)}; got {given!r}"
            )
        return SPANS[given]
    least, most, default = BOUNDS[name]
    if given is None:
        return default
    number = int(given) if given.isdecimal() and len(given) < 6 else -1
    if not least <= number <= most:
        raise BadParameter(
            f"{name} must be a whole number from {least} to {most}; got {given!r}"
        )
    return number


def _until(tail: figures.Tail) -> str | None:
    return None if tail.until is None else tail.until.isoformat()


def _bars(using: str, now: datetime, span: Span) -> tuple[list[Slot], dict[str, Any]]:
    tail = figures.read_tail(using)
    bars = figures.read_slots(using, span, now, tail)
    releases = figures.read_releases(using, bars[0].start)
    return bars, {
        "range": span.name,
        "counted_until": _until(tail),
        "releases": figures.releases_json(releases),
    }


def _throughput(using: str, now: datetime, span: Span) -> dict[str, Any]:
    bars, answer = _bars(using, now, span)
    return {**answer, "bars": figures.slots_json(bars)}


def _durations(using: str, now: datetime, span: Span) -> dict[str, Any]:
    bars, answer = _bars(using, now, span)
    return {**answer, "bars": figures.percentiles_json(bars, "durations")}


def _lateness(using: str, now: datetime, span: Span) -> dict[str, Any]:
    bars, answer = _bars(using, now, span)
    return {**answer, "bars": figures.percentiles_json(bars, "lateness")}


def _calendar(using: str, now: datetime, weeks: int) -> dict[str, Any]:
    tail = figures.read_tail(using)
    past = figures.read_past(using, now, tail, weeks)
    return {
        "counted_until": _until(tail),
        "days": figures.days_json(past.days),
    }


def _timeline(using: str, now: datetime, most: int) -> dict[str, Any]:
    counts = tables.count_jobs(using, now, most)
    jobs = timelines.read_jobs(using, now, most, counts.horizon)
    known = rollups.durations(
        using,
        [job.pk for job in jobs],
        now - timelines.MEDIAN_DAYS * 24 * timelines.HOUR,
    )
    timeline = timelines.build(jobs, known, now, coming=counts.coming)
    return timelines.timeline_json(timeline)


def _jobs(using: str, now: datetime) -> dict[str, Any]:
    counts = tables.count_jobs(using, now)._asdict()
    del counts["horizon"]
    return counts


#: The series by the names that their addresses bear.
SERIES = {
    "jobs": Series(_jobs, runs=False),
    "timeline": Series(_timeline, "lanes"),
    "throughput": Series(_throughput, "range"),
    "durations": Series(_durations, "range"),
    "lateness": Series(_lateness, "range"),
    "calendar": Series(_calendar, "weeks"),
}


class Page:
    """One rendering of the dashboard: reads once, and hands over what is shown."""

    def __init__(self, pages: Dashboard, request: HttpRequest, span: Span):
        self.pages = pages
        self.request = request
        self.span = span
        self.using: str = pages.get_queryset(request).db  # type: ignore[attr-defined]
        self.now = clock.now()
        self.sees_runs = pages.sees_runs(request)  # type: ignore[attr-defined]
        self.addresses = Addresses(pages.admin_site.name)

    def context(self) -> dict[str, Any]:
        """Return what the template shows."""
        using, now = self.using, self.now
        counts = tables.count_jobs(using, now)
        few = counts.total <= tables.ALL_JOBS
        since = tables.tables_since(counts, now)
        jobs = timelines.read_jobs(using, now, horizon=counts.horizon)
        context: dict[str, Any] = {
            "heartbeat": banner(stats.heartbeat(using), self.pages.admin_site.name),
            "now": now,
            "clock": words.wall(now, now, seconds=True),
            "sees_runs": self.sees_runs,
            "few_jobs": few,
            "quiet": self.quiet(since),
            "latest_jobs": tables.read_latest_jobs(using) if few else [],
            "lists": self.lists(),
        }
        durations: dict[str, rollups.Histogram] = {}
        if self.sees_runs:
            durations = self.runs(context, counts, since, jobs)
        timeline = timelines.build(jobs, durations, now, coming=counts.coming)
        context["timeline"] = lanes.timeline(
            timeline, self.job_address, self.pages.jobs_in(**_coming(now))
        )
        context["counts"] = counts
        self.schedulers(context)
        if self.request.user.has_perm("django_apscheduler.pause_job"):
            for name in ("pause_all", "resume_all"):
                address = self.pages.dashboard_address(f"djangojob_{name}")
                context[f"{name}_address"] = address
        for job in context["latest_jobs"]:
            job.url = self.job_address(job.pk)
            job.badge = badges.condition_badge(job.state)
            job.age = words.relative(job.created_time, now)
        return context

    def runs(
        self,
        context: dict[str, Any],
        counts: tables.JobCounts,
        since: datetime,
        jobs: list[DjangoJob],
    ) -> dict[str, rollups.Histogram]:
        """Add what only those see who may view executions; return durations by job."""
        using, now = self.using, self.now
        tail = figures.read_tail(using)
        past = figures.read_past(using, now, tail)
        bars = figures.read_slots(using, self.span, now, tail)
        releases = figures.read_releases(using, bars[0].start)
        failing = tables.read_failing(using, counts, since, tail)
        if counts.total <= tables.ALL_JOBS:
            slowest = tables.read_slowest(using, since)
        else:
            slowest = tables.read_slowest_of_latest(using)
        tables.complete_slowest(using, slowest, since)
        durations = rollups.durations(
            using,
            [job.pk for job in jobs],
            now - timelines.MEDIAN_DAYS * 24 * timelines.HOUR,
        )
        chosen = (self.span, releases, now)
        context.update(
            tail=tail,
            counted=""
            if tail.until is None
            else words.wall(tail.until, now, seconds=True),
            past=past,
            failing=failing,
            slowest=slowest,
            latest_runs=tables.read_latest_runs(using),
            spans=self.spans(),
            charts=[
                throughput(bars, *chosen, self.bar_address),
                lengths("durations", gettext("Duration"), bars, *chosen),
                lengths("lateness", gettext("Lateness"), bars, *chosen),
                calendar(past.days, self.day_address),
            ],
        )
        for row in failing.rows:
            row.url = self.address("djangojobexecution_change", row.execution_id)
            row.job_url = self.job_address(row.job_id)
            row.age = words.relative(row.run_time, now)
            row.badge = badges.condition_badge(
                "failing", f"×{row.in_row}" if row.in_row > 1 else ""
            )
        for slow in slowest:
            slow.url = self.addresses.log(job=slow.job_id)
            slow.runs_text = count(slow.runs)
            slow.median_text = words.duration(slow.median)
            slow.p95_text = words.duration(slow.p95)
            slow.longest_text = words.duration(slow.longest)
        for run in context["latest_runs"]:
            run.url = self.address("djangojobexecution_change", run.pk)
            run.badge = badges.status_badge(run.status)
            run.age = words.relative(run.run_time, now)
            run.took = words.duration(
                stats.run_seconds(run.started_time, run.finished_time)
            )
        return durations

    def schedulers(self, context: dict[str, Any]) -> None:
        """Add the schedulers, and how many runs are under way."""
        busy = tables.busy_slots(self.using) if self.sees_runs else Counter()
        context["tiles"] = self.tiles(context["counts"], context, sum(busy.values()))
        if not self.request.user.has_perm("django_apscheduler.view_schedulerprocess"):
            return
        context["processes"] = tables.read_processes(self.using, busy)
        for row in context["processes"]:
            look = badges.PROCESSES.get(row.state, badges.PROCESSES["dead"])
            row.badge = badges.badge(look)
            row.url = self.address("schedulerprocess_change", row.process.pk)
            row.age = words.relative(row.process.started_time, self.now)
            row.beat = words.relative(row.process.tick_time, self.now)
            row.names = ", ".join(
                f"{name} ({slots})" for name, slots in sorted(row.executors.items())
            )

    def tiles(
        self, counts: tables.JobCounts, context: dict[str, Any], running: int
    ) -> list[Tile]:
        """Return the numbers at the top of the page."""

        def jobs(key: str, label: str, number: int, state: str = "") -> Tile:
            look = badges.CONDITIONS[state or key]
            tone = look.tone if number else "quiet"
            return Tile(
                key,
                label,
                count(number),
                tone,
                badges.icon(look.icon),
                self.pages.jobs_in(state=state or key),
            )

        tiles = [jobs("active", gettext("Active"), counts.active)]
        if self.sees_runs:
            running_now = DjangoJobExecution.STARTED
            tile = jobs("running", gettext("Running"), running)
            tiles.append(
                tile._replace(
                    url=link(
                        "djangojobexecution",
                        self.pages.admin_site.name,
                        {"status": running_now},
                    )
                )
            )
        tiles.append(jobs("overdue", gettext("Overdue"), counts.overdue))
        if self.sees_runs:
            failing = context["failing"]
            tile = jobs("failing", gettext("Failing"), failing.count)
            if failing.capped:
                tile = tile._replace(number=f"{tile.number}+")
            tiles.append(tile)
        tiles += [
            jobs("broken", gettext("Broken"), counts.broken),
            jobs("paused", gettext("Paused"), counts.paused),
        ]
        if self.sees_runs:
            tiles += self.past_tiles(context["past"])
        return tiles

    def past_tiles(self, past: figures.Past) -> list[Tile]:
        """Return how many runs there were in the last 24 hours, and how many failed."""
        until = past.since + 24 * figures.HOUR
        detail = gettext("last 24 h")
        share = ""
        if past.failed:
            share = gettext("%(percent)s %% of runs") % {
                "percent": number_format(100 * past.failed / past.runs, 1)
            }
        return [
            Tile(
                "runs",
                gettext("Runs"),
                count(past.runs),
                "quiet",
                badges.icon("check"),
                self.log_between(past.since, until),
                detail,
            ),
            Tile(
                "failures",
                gettext("Failures"),
                count(past.failed),
                "fail" if past.failed else "quiet",
                badges.icon("cross"),
                self.log_between(past.since, until, "problems"),
                share or detail,
            ),
        ]

    def quiet(self, since: datetime) -> list[dict[str, Any]]:
        """Return the jobs that are quiet, with the reason in words."""
        found = tables.read_quiet(self.using, self.now, since, runs=self.sees_runs)
        return [
            {
                "name": job.name,
                "url": self.job_address(job.job_id),
                "badge": badges.condition_badge(
                    "paused" if job.reason == "paused" else "overdue"
                )
                if job.reason != "not run"
                else badges.status_badge("Missed!"),
                "words": _quiet_words(job, self.now),
            }
            for job in found
        ]

    def lists(self) -> list[tuple[str, str]]:
        """Return the app's lists that the user may see: (address, name)."""
        found = []
        for model in (DjangoJob, DjangoJobExecution, SchedulerProcess):
            name = model._meta.model_name or ""
            if self.request.user.has_perm(f"django_apscheduler.view_{name}"):
                address = link(name, self.pages.admin_site.name, {})
                found.append((address, capfirst(str(model._meta.verbose_name_plural))))
        return [(address, name) for address, name in found if address]

    def spans(self) -> list[dict[str, Any]]:
        """Return the lengths of time to choose from."""
        names = {
            "24h": gettext("24 hours"),
            "7d": gettext("7 days"),
            "30d": gettext("30 days"),
        }
        return [
            {"name": name, "label": names[name], "chosen": name == self.span.name}
            for name in SPANS
        ]

    # Addresses

    def address(self, view: str, key: Any) -> str:
        """Return the address of a view of a row; "" where the site has none."""
        try:
            return self.addresses.of(view, key)
        except NoReverseMatch:
            return ""

    def job_address(self, job_id: str) -> str:
        return self.address("djangojob_change", job_id)

    def log_between(self, start: datetime, end: datetime, status: str = "") -> str:
        """Return the address of the log from ``start`` to just before ``end``."""
        last = end - figures.MINUTE
        parameters = {
            "run_time__range__gte": f"{words.local(start):%Y-%m-%dT%H:%M}",
            "run_time__range__lte": f"{words.local(last):%Y-%m-%dT%H:%M}",
        }
        if status:
            parameters["status"] = status
        return self.addresses.log(**parameters)

    def bar_address(self, slot: Slot, status: str) -> str:
        return self.log_between(slot.start, slot.end, status)

    def day_address(self, day: Day) -> str:
        return self.log_between(day.start, day.end)


def _coming(now: datetime) -> dict[str, str]:
    form = "%Y-%m-%dT%H:%M"
    return {
        "next_run_time__range__gte": f"{words.local(now):{form}}",
        "next_run_time__range__lte": f"{words.local(now + 24 * timelines.HOUR):{form}}",
    }


def _quiet_words(job: tables.QuietJob, now: datetime) -> str:
    """Say why a job is among those that are quiet."""
    if job.reason == "overdue":
        return gettext("was due %(when)s") % {"when": words.relative(job.moment, now)}
    if job.reason == "not run":
        return ngettext(
            "%(count)s occurrence did not run, and none did",
            "%(count)s occurrences did not run, and none did",
            job.number,
        ) % {"count": count(job.number)}
    said = {"when": words.relative(job.moment, now), "user": job.by, "note": job.note}
    if job.by and job.note:
        return gettext("since %(when)s, by %(user)s: %(note)s") % said
    if job.by:
        return gettext("since %(when)s, by %(user)s") % said
    return gettext("since %(when)s") % said
