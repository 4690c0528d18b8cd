"""What all lists of this app share: the heartbeat banner, the style, the cheap count."""

from __future__ import annotations

from functools import cache, wraps
from typing import Any
from urllib.parse import quote as url_quote

from django.contrib import admin, messages
from django.contrib.admin.utils import quote
from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.core.paginator import Paginator
from django.db import router, transaction
from django.db.models import DO_NOTHING, Count, IntegerField, QuerySet, Window
from django.db.models.constants import LOOKUP_SEP
from django.db.models.fields.reverse_related import ForeignObjectRel
from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch, reverse
from django.utils.formats import number_format
from django.utils.functional import cached_property
from django.utils.html import escape, format_html
from django.utils.http import RFC3986_SUBDELIMS, urlencode
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import get_language, gettext, ngettext

from django_apscheduler.admin import badges, stats, words
from django_apscheduler.db import repeat_deadlocks
from django_apscheduler.jobstores.django.sql import begin_to_write

#: Rows of the log that are counted, and that one action may take: counting millions
#: takes a database minutes.
LISTED_ROWS = 10_000

#: Digits of a page's number; databases do not count as far as an address can.
PAGE_DIGITS = 9

#: A character that no stored text has.
NOUGHT = "\x00"

#: Digits of an id that every database's columns of numbers hold.
MOST_DIGITS = 18

COMMAND = "manage.py runapscheduler"


#: A key in whose place others are put; no part of an address is called so.
STAND_IN = "stand-in-for-a-key"


class Addresses:
    """
    Addresses of the pages of rows; Django is asked once for each view.

    A list has hundreds of them, and Django looks through its patterns for each.

    :param site: name of the admin site
    """

    def __init__(self, site: str):
        self._site = site
        self._around: dict[str, tuple[str, str]] = {}

    def of(self, view: str, key: Any) -> str:
        """
        Return the address of a view of a row, as ``reverse()`` does.

        :param view: as in "djangojob_change"
        """
        if view not in self._around:
            address = reverse(
                f"admin:django_apscheduler_{view}",
                args=(STAND_IN,),
                current_app=self._site,
            )
            before, _, after = address.rpartition(STAND_IN)
            self._around[view] = before, after
        before, after = self._around[view]
        escaped = url_quote(str(quote(key)), safe=RFC3986_SUBDELIMS + "/~:@")
        return f"{before}{escaped}{after}"

    @cached_property
    def _log(self) -> str:
        return link("djangojobexecution", self._site, {})

    def log(self, **parameters: str) -> str:
        """Return the address of the log with filters; "" where the site has none."""
        return f"{self._log}?{urlencode(parameters)}" if self._log else ""


class KeyPaginator(Paginator):
    """
    Pages through rows by their keys.

    The keys of a page come with the count of all rows, in one query: conditions are
    evaluated once, and rows are sorted by the little that sorting needs.

    :ivar all_rows: the rows without the conditions, to be read by their keys; None for
        the rows that were given
    :ivar expected: number of the page that will be asked for
    """

    all_rows: QuerySet | None = None
    expected = 1

    @cached_property
    def _expected_rows(self) -> tuple[int, list[Any], int]:
        """Where the expected page begins, its keys, and how many rows there are."""
        start = (self.expected - 1) * self.per_page
        counted = self.object_list.annotate(rows_in_all=Window(Count("*")))
        found = list(
            counted.values_list("pk", "rows_in_all")[start : start + self.per_page]
        )
        if found:
            return start, [key for key, _count in found], found[0][1]
        return start, [], self.object_list.order_by().count() if start else 0

    @cached_property
    def count(self) -> int:
        return self._expected_rows[2]

    def rows(self, start: int, end: int) -> list[Any]:
        """Return the rows at these places of the list."""
        known, keys, count = self._expected_rows
        if start != known or min(end, count) > known + len(keys):
            keys = list(self.object_list.values_list("pk", flat=True)[start:end])
        if not keys:
            return []
        rows = self.object_list if self.all_rows is None else self.all_rows
        found = {row.pk: row for row in rows.order_by().filter(pk__in=keys)}
        # One that has gone since its key was read is left out.
        return [found[key] for key in keys if key in found]

    def page(self, number: Any) -> Any:
        number = self.validate_number(number)
        start = (number - 1) * self.per_page
        return self._get_page(self.rows(start, start + self.per_page), number, self)


class RunsChangeList(ChangeList):
    """A change list whose pages are read by keys, and lead to the rows at less cost."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if not isinstance(self.result_list, list):
            # Not a page but all there are, which the paginator knows already.
            self.result_list = self.paginator.rows(0, self.result_count)

    @cached_property
    def addresses(self) -> Addresses:
        return Addresses(self.model_admin.admin_site.name)

    def url_for_result(self, result: Any) -> str:
        return self.addresses.of(f"{self.opts.model_name}_change", result.pk)


class _StandIn:
    """A row in whose place others are put."""

    pk = STAND_IN

    def __str__(self) -> str:
        return "stand-in-for-a-name"


def _goes_alone(model: Any) -> bool:
    """Tell whether nothing refers to rows of a model that would be deleted with them."""
    return all(
        field.on_delete is DO_NOTHING
        for field in model._meta.get_fields(include_hidden=True)
        if isinstance(field, ForeignObjectRel)
    )


@cache
def _checkbox(language: str | None) -> tuple[SafeString, ...]:
    """
    Return what Django puts before the key, between key and name, and after the name of
    a row that its box selects.

    :param language: the active one
    """
    row = _StandIn()
    # It looks at the row alone.
    draw: Any = admin.ModelAdmin.action_checkbox
    box = draw(None, row)
    before, _, rest = box.partition(row.pk)
    # Django 4.2 does not name the row.
    between, _, after = rest.partition(str(row))
    return SafeString(before), SafeString(between), SafeString(after)


class SchedulerAdmin(admin.ModelAdmin):
    """Base of the pages: banner, style sheet, capped counts, no facets."""

    paginator = KeyPaginator
    show_full_result_count = False
    # Facets count the whole table once for each choice.
    if hasattr(admin, "ShowFacets"):  # since Django 5.0
        show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    list_max_show_all = 200
    actions_on_top = True
    #: Columns by which no address may filter: what matches would tell their contents.
    kept_secret: frozenset[str] = frozenset()

    class Media:
        css = {"all": ["django_apscheduler/admin.css"]}
        js = ["django_apscheduler/admin.js"]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return RunsChangeList

    def get_paginator(
        self, request: HttpRequest, queryset: QuerySet, *args: Any, **options: Any
    ) -> Any:
        paginator = super().get_paginator(request, queryset, *args, **options)
        # Django pages through an object's history with it as well.
        if queryset.model is self.model:
            paginator.all_rows = self.get_queryset(request)
        page = request.GET.get(PAGE_VAR, "")
        if page.isdecimal() and len(page) <= PAGE_DIGITS:
            paginator.expected = max(int(page), 1)
        return paginator

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        # Kept for actions, which ask how many rows it has.
        request.changelist = super().get_changelist_instance(request)
        return request.changelist

    def prepare_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        """Attach to the rows of a page what their columns show beyond their fields."""

    @wraps(admin.ModelAdmin.action_checkbox)
    def action_checkbox(self, obj: Any) -> SafeString:
        # Django renders templates for each, which is a tenth of a list's time.
        before, between, after = _checkbox(get_language())
        name = escape(obj) if after else SafeString("")
        return before + escape(obj.pk) + between + name + after

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def lookup_allowed(
        self, lookup: str, value: Any, request: HttpRequest | None = None
    ) -> bool:
        # Django lets addresses filter by any column: "?kwargs__startswith=a", "…=b",
        # and so on would spell out what the pages hide.
        if lookup.partition(LOOKUP_SEP)[0] in self.kept_secret:
            return False
        # PostgreSQL has no such text, and its drivers refuse to ask for it.
        if NOUGHT in str(value):
            return False
        # Django 4.2 does not hand over the request.
        given = (value,) if request is None else (value, request)
        return super().lookup_allowed(lookup, *given)

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        if NOUGHT in object_id:
            return None
        # Django before 5.0 asks for it, and databases answer with an error.
        if isinstance(self.opts.pk, IntegerField) and len(object_id) > MOST_DIGITS:
            return None
        return super().get_object(request, object_id, from_field)

    def may(self, request: HttpRequest, codename: str) -> bool:
        """Return whether the user has one of this app's permissions."""
        return request.user.has_perm(f"{self.opts.app_label}.{codename}")

    def sees_jobs(self, request: HttpRequest) -> bool:
        """Return whether the user may look at jobs: so may who may change them."""
        sufficient = ("view_djangojob", "change_djangojob", "reschedule_job")
        return any(self.may(request, codename) for codename in sufficient)

    def sees_runs(self, request: HttpRequest) -> bool:
        """Return whether the user may look at executions."""
        return self.may(request, "view_djangojobexecution")

    def heartbeat_banner(self, request: HttpRequest) -> dict[str, Any]:
        """Return what the banner shows to this user."""
        using = self.get_queryset(request).db
        context = banner(stats.heartbeat(using), self.admin_site.name)
        if self.sees_jobs(request):
            context["dashboard_url"] = dashboard_link(self.admin_site.name)
        else:
            context["overdue_url"] = ""
        return context

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {
            "title": capfirst(self.opts.verbose_name_plural),
            **(extra_context or {}),
        }
        if request.method == "GET":
            context["heartbeat"] = self.heartbeat_banner(request)
        response = super().changelist_view(request, context)
        # An action has a list as well, but shows none of its rows.
        shown = getattr(response, "context_data", None) or {}
        if "cl" in shown:
            self.prepare_rows(request, shown["cl"].result_list)
        return response

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        # Read once: Django would ask for the first of them, and then for all.
        rows = list(objs)
        if not rows or not _goes_alone(self.model):
            return super().get_deleted_objects(objs, request)
        # As Django does, which takes a tenth of a second for a thousand of them.
        name = capfirst(self.opts.verbose_name)
        addresses = Addresses(self.admin_site.name)
        view = f"{self.opts.model_name}_change"
        shown = [
            format_html(
                '{}: <a href="{}">{}</a>', name, addresses.of(view, row.pk), row
            )
            for row in rows
        ]
        refused = any(not self.has_delete_permission(request, row) for row in rows)
        needed = {self.opts.verbose_name} if refused else set()
        return shown, {self.opts.verbose_name_plural: len(rows)}, needed, []

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **options: Any
    ) -> HttpResponse:
        context["heartbeat"] = self.heartbeat_banner(request)
        return super().render_change_form(request, context, *args, **options)

    def delete_view(
        self,
        request: HttpRequest,
        object_id: str,
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        page = super().delete_view
        if request.method != "POST":
            return page(request, object_id, extra_context)
        using = router.db_for_write(self.model)

        def attempt() -> HttpResponse:
            with transaction.atomic(using=using):
                begin_to_write(using)
                return page(request, object_id, extra_context)

        return repeat_deadlocks(using, attempt)

    def response_action(
        self, request: HttpRequest, queryset: Any, **options: Any
    ) -> Any:
        # Django 6.1 says in an option which page the action was chosen on.
        if request.POST.get("select_across", "0") == "1":
            if request.changelist.result_count >= LISTED_ROWS:
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
        act = super().response_action
        if request.POST.get("action") != "delete_selected":
            return act(request, queryset, **options)
        using = router.db_for_write(self.model)

        def attempt() -> Any:
            # Django writes the lines of its log first, and then deletes.
            with transaction.atomic(using=using):
                begin_to_write(using)
                return act(request, queryset, **options)

        return repeat_deadlocks(using, attempt)


def banner(heartbeat: stats.Heartbeat, site: str) -> dict[str, Any]:
    """Return what the banner template shows."""
    details: list[str] = []
    context: dict[str, Any] = {"details": details, "paused": heartbeat.paused}
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
        return gettext("%(n)s s") % {"n": number_format(round(seconds, 1), 1)}
    return words.coarse(seconds)


def _paused_text(heartbeat: stats.Heartbeat) -> str:
    if heartbeat.paused_by and heartbeat.pause_reason:
        text = gettext("all jobs paused by %(user)s: %(reason)s")
    elif heartbeat.paused_by:
        text = gettext("all jobs paused by %(user)s")
    else:
        text = gettext("all jobs paused")
    return text % {"user": heartbeat.paused_by, "reason": heartbeat.pause_reason}


def dashboard_link(site: str) -> str:
    """Return the address of the dashboard; "" where the site has none."""
    try:
        return reverse("admin:django_apscheduler_dashboard", current_app=site)
    except NoReverseMatch:
        return ""


def link(model: str, site: str, parameters: dict[str, Any]) -> str:
    """Return the address of a list of this app with filters; "" where it has none."""
    try:
        address = reverse(
            f"admin:django_apscheduler_{model}_changelist", current_app=site
        )
    except NoReverseMatch:
        return ""
    return f"{address}?{urlencode(parameters)}" if parameters else address
