"""What all lists of this app share: the heartbeat banner, the style, the cheap count."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch, reverse
from django.utils.functional import cached_property
from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext

from django_apscheduler.admin import badges, stats, words

#: Rows that a list counts and pages through. Counting and skipping millions of rows
#: takes a database minutes; beyond this, filters lead to the rows.
LISTED_ROWS = 10_000

COMMAND = "manage.py runapscheduler"


class CappedPaginator(Paginator):
    """Pages through the first LISTED_ROWS rows and counts no further."""

    @cached_property
    def count(self) -> int:
        return self.object_list.order_by()[:LISTED_ROWS].count()


class RunsChangeList(ChangeList):
    """A change list that hands its rows to the admin before they are shown."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.capped = self.result_count >= LISTED_ROWS
        # Where nothing was counted nothing need be looked for again.
        self.result_list = list(self.result_list) if self.result_count else []
        self.model_admin.prepare_rows(request, self.result_list)


class SchedulerAdmin(admin.ModelAdmin):
    """Base of the pages: banner, style sheet, capped counts, no facets."""

    paginator = CappedPaginator
    show_full_result_count = False
    # Facets count the whole table once for each choice.
    if hasattr(admin, "ShowFacets"):  # since Django 5.0
        show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    list_max_show_all = 200
    actions_on_top = True

    class Media:
        css = {"all": ["django_apscheduler/admin.css"]}
        js = ["django_apscheduler/admin.js"]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return RunsChangeList

    def prepare_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        """Attach to the rows of a page what their columns show beyond their fields."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def may(self, request: HttpRequest, codename: str) -> bool:
        """Return whether the user has one of this app's permissions."""
        return request.user.has_perm(f"{self.opts.app_label}.{codename}")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {
            "title": capfirst(self.opts.verbose_name_plural),
            "listed_rows": LISTED_ROWS,
            **(extra_context or {}),
        }
        if request.method == "GET":
            using = self.get_queryset(request).db
            context["heartbeat"] = banner(stats.heartbeat(using), self.admin_site.name)
        return super().changelist_view(request, context)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **options: Any
    ) -> HttpResponse:
        using = self.get_queryset(request).db
        context["heartbeat"] = banner(stats.heartbeat(using), self.admin_site.name)
        return super().render_change_form(request, context, *args, **options)

    def response_action(
        self, request: HttpRequest, queryset: Any, **options: Any
    ) -> Any:
        # Django 6.1 says in an option which page the action was chosen on.
        if request.POST.get("select_across", "0") == "1":
            if CappedPaginator(queryset, 1).count >= LISTED_ROWS:
                # The page said "all 10,000"; there may be millions.
                messages.error(
                    request,
                    gettext(
                        "More than %(count)s rows match. Narrow the list with its "
                        "filters before you act on all of them; nothing was changed."
                    )
                    % {"count": LISTED_ROWS},
                )
                return None
        return super().response_action(request, queryset, **options)


def banner(heartbeat: stats.Heartbeat, site: str) -> dict[str, Any]:
    """Return what the banner template shows."""
    details: list[str] = []
    context: dict[str, Any] = {"details": details}
    if heartbeat.alive:
        context["tone"] = "ok"
        context["headline"] = ngettext(
            "%(count)s scheduler alive", "%(count)s schedulers alive", heartbeat.alive
        ) % {"count": heartbeat.alive}
    else:
        context["tone"] = "fail"
        context["headline"] = gettext("No scheduler is running.")
        context["command"] = COMMAND
    if heartbeat.age is not None:
        details.append(
            gettext("last heartbeat %(duration)s ago")
            % {"duration": _age(heartbeat.age)}
        )
    if heartbeat.draining:
        details.append(
            ngettext("%(count)s stopping", "%(count)s stopping", heartbeat.draining)
            % {"count": heartbeat.draining}
        )
    if heartbeat.silent:
        context["tone"] = "warn" if heartbeat.alive else "fail"
        details.append(
            ngettext(
                "%(count)s without heartbeat",
                "%(count)s without heartbeat",
                heartbeat.silent,
            )
            % {"count": heartbeat.silent}
        )
    if heartbeat.paused:
        context["tone"] = "warn" if heartbeat.alive else "fail"
        details.append(_paused_text(heartbeat))
    if heartbeat.overdue:
        if context["tone"] == "ok":
            context["tone"] = "warn"
        context["overdue_text"] = ngettext(
            "%(count)s job overdue", "%(count)s jobs overdue", heartbeat.overdue
        ) % {"count": heartbeat.overdue}
        context["overdue_url"] = link("djangojob", site, {"state": "overdue"})
    icons = {"ok": "check", "warn": "alarm", "fail": "cross"}
    context["icon"] = badges.icon(icons[context["tone"]])
    return context


def _age(seconds: float) -> str:
    # Heartbeats are seconds apart; milliseconds would only flicker.
    if seconds < 10:
        return gettext("%(n)s s") % {"n": f"{seconds:.1f}"}
    return words.coarse(seconds)


def _paused_text(heartbeat: stats.Heartbeat) -> str:
    if heartbeat.paused_by and heartbeat.pause_reason:
        text = gettext("all jobs paused by %(user)s: %(reason)s")
    elif heartbeat.paused_by:
        text = gettext("all jobs paused by %(user)s")
    else:
        text = gettext("all jobs paused")
    return text % {"user": heartbeat.paused_by, "reason": heartbeat.pause_reason}


def link(model: str, site: str, parameters: dict[str, Any]) -> str:
    """Return the address of a list of this app with filters; "" where it has none."""
    from django.utils.http import urlencode

    try:
        address = reverse(
            f"admin:django_apscheduler_{model}_changelist", current_app=site
        )
    except NoReverseMatch:
        return ""
    return f"{address}?{urlencode(parameters)}" if parameters else address
