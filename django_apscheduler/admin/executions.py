"""The execution log: every occurrence of every job, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import quote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, reverse
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from django_apscheduler import clock
from django_apscheduler.admin import (
    badges,
    base,
    charts,
    export,
    filters,
    live,
    outcomes,
    paging,
    stats,
    words,
)
from django_apscheduler.admin.base import SchedulerAdmin
from django_apscheduler.admin.execution_details import ExecutionDetails
from django_apscheduler.admin.levers.on_executions import ExecutionLevers
from django_apscheduler.models import DjangoJob, DjangoJobExecution

#: A start this many seconds after the run time is marked as late.
LATE_SECONDS = 5.0


#: Columns of a row that are brought up to date while its run is under way.
LIVE_COLUMNS = ("outcome", "began", "took", "story", "cause")

#: Runs whose columns one question may ask for.
ASKED_RUNS = 100


@admin.register(DjangoJobExecution)
class ExecutionAdmin(ExecutionLevers, ExecutionDetails, SchedulerAdmin):
    """The log, newest first; rows are read and, with permission, deleted."""

    list_display = (
        "outcome",
        "job_column",
        "due",
        "began",
        "took",
        "story",
        "cause",
    )
    list_filter = (
        filters.StatusFilter,
        filters.JobFilter,
        filters.ExecutorFilter,
        filters.OriginFilter,
        filters.NodeFilter,
        ("run_time", filters.PastRangeFilter),
        ("duration", filters.DurationRangeFilter),
    )
    # Not "job": filtered by job, Django makes that an inner join, and the history of
    # deleted jobs would be missing.
    list_select_related = ("owner",)
    # The order of an index; any other column would sort the whole table.
    ordering = ("-run_time", "-id")
    search_fields = ("job__id", "job_name", "exception")
    search_help_text = _("Search by job id, name or error; newest runs first")
    sortable_by = ()
    kept_secret = frozenset(("traceback",))

    class Media:
        js = ["django_apscheduler/live.js"]

    # Rights: a log is not edited.

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        # The list shows no traceback; they may be long.
        return super().get_queryset(request).defer("traceback")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return getattr(request, "log_list", paging.LogList)

    def count_capped(self, queryset: QuerySet) -> int:
        """Count rows, LISTED_ROWS at most."""
        # In the order of an index. Free to choose, a planner that expects enough rows
        # reads the table from its beginning, and the newest are at its end.
        return queryset.order_by("-run_time", "-id")[: base.LISTED_ROWS].count()

    def prepare_rows(
        self, request: HttpRequest, rows: list[DjangoJobExecution]
    ) -> None:
        now, using = clock.now(), self.get_queryset(request).db
        ids = {row.job_id for row in rows if row.job_id is not None}
        jobs = DjangoJob.objects.using(using).filter(pk__in=ids)
        known = {
            pk: (name, call)
            for pk, name, *call in jobs.values_list(
                "pk", "name", "func", "args", "kwargs"
            )
        }
        usual = stats.usual_durations(ids, using, now)
        may_see = self.may(request, "view_sensitive")
        sees_jobs = self.sees_jobs(request)
        for row in rows:
            name, call = known.get(row.job_id or "", ("", []))
            row.shown_at = now
            row.may_see = may_see
            row.sees_jobs = sees_jobs
            row.job_exists = row.job_id in known
            row.job_call = call
            row.usual = usual.get(row.job_id or "")
            row.shown_name = row.job_name or name or row.job_id or words.NOTHING

    # Columns

    @admin.display(description=_("status"))
    def outcome(self, row: DjangoJobExecution) -> SafeString:
        badge = badges.status_badge(row.status)
        if row.status not in DjangoJobExecution.ACTIVE:
            return badge
        # live.js asks what has become of these.
        return format_html('<span data-run="{}">{}</span>', row.pk, badge)

    @admin.display(description=_("job"))
    def job_column(self, row: DjangoJobExecution) -> SafeString | str:
        name = row.shown_name
        if not row.job_exists:
            return words.two_lines(
                name,
                gettext("%(id)s, deleted") % {"id": row.job_id}
                if row.job_id
                else gettext("deleted"),
            )
        address = ""
        if row.sees_jobs:
            address = reverse(
                "admin:django_apscheduler_djangojob_change",
                args=(quote(row.job_id or ""),),
                current_app=self.admin_site.name,
            )
        return format_html(
            "{}{}",
            words.linked(address, name, "dja-main"),
            format_html('<span class="dja-sub">{}</span>', row.job_id)
            if name != row.job_id
            else "",
        )

    @words.column(_("run time"))
    def due(self, row: DjangoJobExecution) -> SafeString:
        return words.two_lines(
            words.time_element(
                row.run_time, words.wall(row.run_time, row.shown_at, seconds=True)
            ),
            words.relative(row.run_time, row.shown_at),
        )

    @words.column(_("started"))
    def began(self, row: DjangoJobExecution) -> SafeString | str:
        if row.started_time is None:
            return words.NOTHING
        seconds = outcomes.lateness(row) or 0.0
        late = gettext("%(duration)s late") % {"duration": words.duration(seconds)}
        return words.two_lines(
            words.time_element(
                row.started_time, f"{words.local(row.started_time):%H:%M:%S}"
            ),
            late if seconds < LATE_SECONDS else self._marked_late(late),
        )

    def _marked_late(self, text: str) -> SafeString:
        return format_html(
            '<span class="dja-late">{}{}</span>', badges.icon("clock"), text
        )

    @words.column(_("lateness"))
    def late(self, row: DjangoJobExecution) -> SafeString | str:
        seconds = outcomes.lateness(row)
        if seconds is None:
            return words.NOTHING
        text = words.duration(seconds)
        if seconds < LATE_SECONDS:
            return text
        return self._marked_late(text)

    @words.column(_("duration"))
    def took(self, row: DjangoJobExecution) -> SafeString | str:
        seconds = stats.run_seconds(row.started_time, row.finished_time)
        note = ""
        if seconds is None and row.status == DjangoJobExecution.STARTED:
            if row.started_time is not None:
                seconds = (row.shown_at - row.started_time).total_seconds()
                note = format_html('<span class="dja-sub">{}</span>', gettext("so far"))
        if seconds is None:
            return words.NOTHING
        length: SafeString | str = words.duration(seconds)
        if note:
            length = format_html("<span data-so-far>{}</span>", length)
        if row.usual is None:
            return format_html("{}{}", length, note)
        if row.usual.slower(seconds):
            note = format_html(
                '{}<span class="dja-sub dja-late" title="{}">{}{}</span>',
                note,
                gettext("95 of 100 runs take no longer than %(duration)s.")
                % {"duration": words.duration(row.usual.p95)},
                badges.icon("hourglass"),
                gettext("slower than usual"),
            )
        return format_html(
            "{}{}{}",
            length,
            charts.duration_bar(seconds, row.usual.median),
            note,
        )

    @words.column(_("origin"))
    def source(self, row: DjangoJobExecution) -> SafeString:
        return self._source(row)

    def _source(self, row: DjangoJobExecution) -> SafeString:
        by = ""
        if row.requested_by:
            by = format_html(
                '<span class="dja-sub">{}</span>',
                gettext("by %(user)s") % {"user": row.requested_by},
            )
        attempt = ""
        if row.attempt > 1:
            attempt = format_html(
                '<span class="dja-sub">{}</span>',
                gettext("attempt %(number)s") % {"number": row.attempt},
            )
        return format_html("{}{}{}", row.get_origin_display(), by, attempt)

    @words.column(_("node"))
    def node(self, row: DjangoJobExecution) -> SafeString | str:
        return self._node(row)

    def _node(self, row: DjangoJobExecution) -> SafeString | str:
        if row.owner_id is None:
            return words.NOTHING
        if row.owner is None:
            # Rows of schedulers go after as many days as executions, but the last
            # success and failure of a job stay for longer.
            return gettext("no longer recorded (no. %(number)s)") % {
                "number": row.owner_id
            }
        return format_html("<code>{}</code>", str(row.owner))

    @words.column(_("origin"))
    def cause(self, row: DjangoJobExecution) -> SafeString:
        if row.owner_id is None:
            return self._source(row)
        return format_html(
            '{}<span class="dja-sub">{}</span>', self._source(row), self._node(row)
        )

    @admin.display(description=_("what happened"))
    def story(self, row: DjangoJobExecution) -> SafeString | str:
        style = "dja-error" if row.exception else "dja-story"
        text = row.exception or outcomes.explain(row, row.shown_at)
        return format_html(
            '<span class="{}">{}</span>{}',
            style,
            outcomes.first_line(text),
            format_html(
                '<span class="dja-sub">{}</span>', outcomes.first_line(row.note)
            )
            if row.note
            else "",
        )

    # Questions of open pages, and the download

    def get_urls(self) -> list[URLPattern]:
        prefix = "django_apscheduler_djangojobexecution"
        own = [
            path("live/", self._guarded(self.poll_view), name=f"{prefix}_poll"),
            path("jobs/", self._guarded(self.jobs_view), name=f"{prefix}_jobs"),
            path("export/", self._guarded(self.export_view), name=f"{prefix}_export"),
            path(
                "<int:object_id>/live/",
                self._guarded(self.live_view),
                name=f"{prefix}_live",
            ),
        ]
        return own + super().get_urls()

    def _guarded(self, view: Callable[..., HttpResponseBase]) -> Callable[..., Any]:
        """Return a view that answers GET requests of those who may see the log."""

        def guarded(request: HttpRequest, **named: Any) -> HttpResponseBase:
            if not self.has_view_permission(request):
                raise PermissionDenied
            try:
                return view(request, **named)
            except IncorrectLookupParameters:
                # Django's own lists forget such an address, too.
                raise BadRequest("The address asks for what no filter knows.") from None

        return self.admin_site.admin_view(require_safe(guarded))

    def _matching(self, request: HttpRequest) -> paging.LogList:
        request.log_list = paging.BareList  # type: ignore[attr-defined]
        return cast(paging.LogList, self.get_changelist_instance(request))

    def poll_view(self, request: HttpRequest) -> HttpResponse:
        """Answer how many matching runs are new, and how those under way stand."""
        fresh, said = paging.fresh_rows(self._matching(request), request), ""
        if fresh:
            many = f"{fresh}+" if fresh >= paging.FRESH_ROWS else str(fresh)
            said = ngettext(
                "%(count)s new run: show", "%(count)s new runs: show", fresh
            ) % {"count": many}
        asked = request.GET.get("runs", "").split(",")[:ASKED_RUNS]
        ids = [
            int(pk) for pk in asked if pk.isascii() and pk.isdigit() and len(pk) < 19
        ]
        rows = list(
            self.get_queryset(request).select_related("owner").filter(pk__in=ids)
        )
        self.prepare_rows(request, rows)
        runs = {
            row.pk: {name: getattr(self, name)(row) for name in LIVE_COLUMNS}
            for row in rows
        }
        return live.answer(request, {"fresh": fresh, "said": said, "runs": runs})

    def live_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Answer where one execution stands."""
        if len(str(object_id)) > base.MOST_DIGITS:
            raise Http404
        row = self.get_queryset(request).filter(pk=object_id).first()
        if row is None:
            raise Http404
        row.shown_at = clock.now()
        return live.answer(request, live.state_of(row))

    def jobs_view(self, request: HttpRequest) -> HttpResponse:
        """Answer which jobs' ids or names contain a text, for the filter."""
        text = request.GET.get("term", "")[:255]
        found = filters.matching_jobs(text, self.get_queryset(request).db)
        return live.answer(request, {"jobs": found})

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """Answer the matching executions as CSV."""
        if not self.may(request, "export_execution"):
            raise PermissionDenied
        return export.response(
            self._matching(request), request, self.may(request, "view_sensitive")
        )

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {
            "may_export": self.may(request, "export_execution"),
            "export_rows": number_format(export.MOST_ROWS, force_grouping=True),
            "scanned_rows": number_format(paging.SCANNED_ROWS, force_grouping=True),
            **(extra_context or {}),
        }
        return super().changelist_view(request, context)
