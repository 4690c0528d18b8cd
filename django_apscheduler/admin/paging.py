"""
The pages of the execution log: by place, not by number, and never over the whole table.

A page begins beyond a row, which its address names; so it costs the same however far
back it lies, and rows that arrive meanwhile neither repeat nor hide others. Conditions
that no index serves are looked for in a window of so many rows at a time: a page says
how far it has looked, and its link goes on from there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db import connections
from django.db.models import Max, Q, QuerySet
from django.http import HttpRequest
from django.utils.formats import number_format
from django.utils.functional import cached_property
from django.utils.http import urlencode
from django.utils.translation import gettext, ngettext

from django_apscheduler import clock
from django_apscheduler.admin import base, filters, words

#: The query parameter that names a page's place.
PARAMETER = "cursor"

#: Parameters of the questions that an open page asks.
QUESTIONS = ("after", "runs")

#: New rows that an open page is told of; more are "100+".
FRESH_ROWS = 100

#: Rows that one page looks through for conditions that no index serves.
SCANNED_ROWS = 50_000

#: Jobs that a search suggests.
SUGGESTED_JOBS = 5

OLDER, NEWER = "older", "newer"

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
_FORM = re.compile(r"(older|newer)\.(-?[0-9]{1,18})\.([0-9]{1,18})", re.ASCII)


class BadCursor(ValueError):
    """An address names no place in the log."""


@dataclass(frozen=True)
class Place:
    """A row's place in the order of the log, or one between two rows."""

    moment: datetime
    id: int

    @classmethod
    def of(cls, row: Any) -> Place:
        """Return where an execution stands."""
        return cls(row.run_time, row.pk)

    def just_older(self) -> Place:
        """Return the place right behind this one: what is newer includes this row."""
        return Place(self.moment, self.id - 1)

    def just_newer(self) -> Place:
        """Return the place right before this one: what is older includes this row."""
        return Place(self.moment, self.id + 1)

    # The first comparison of each condition is the one an index can seek by; with "or"
    # on top, databases would read the index from its end.

    def older(self) -> Q:
        """Return the condition of the rows that are older."""
        return Q(run_time__lte=self.moment) & (
            Q(run_time__lt=self.moment) | Q(id__lt=self.id)
        )

    def newer(self) -> Q:
        """Return the condition of the rows that are newer."""
        return Q(run_time__gte=self.moment) & (
            Q(run_time__gt=self.moment) | Q(id__gt=self.id)
        )


@dataclass(frozen=True)
class Cursor:
    """
    Where a page begins and which way it goes.

    :ivar place: the page begins beyond it; None: at the very end of the log
    """

    way: str = OLDER
    place: Place | None = None

    def __str__(self) -> str:
        if self.place is None:
            return "oldest" if self.way == NEWER else ""
        microseconds = (self.place.moment - _EPOCH) // _MICROSECOND
        return f"{self.way}.{microseconds}.{max(self.place.id, 0)}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """
        Return what an address names; the newest page for an empty text.

        :raises BadCursor: when the text is no place in the log
        """
        if text == "":
            return cls()
        if text == "oldest":
            return cls(NEWER)
        match = _FORM.fullmatch(text)
        if match is None:
            raise BadCursor(text)
        try:
            moment = _EPOCH + int(match[2]) * _MICROSECOND
        except OverflowError:
            raise BadCursor(text) from None
        return cls(match[1], Place(moment, int(match[3])))

    @property
    def order(self) -> tuple[str, str]:
        """The order in which rows are read."""
        if self.way == NEWER:
            return ("run_time", "id")
        return ("-run_time", "-id")

    def beyond(self, rows: QuerySet) -> QuerySet:
        """Return the rows on this way from the place on, in the order of reading."""
        if self.place is not None:
            is_older = self.way == OLDER
            rows = rows.filter(self.place.older() if is_older else self.place.newer())
        return rows.order_by(*self.order)

    def until(self, last: Place) -> Q:
        """Return the condition of rows on this way up to a row, and that row."""
        if self.way == NEWER:
            return last.just_newer().older()
        return last.just_older().newer()


def window_end(rows: QuerySet, cursor: Cursor, size: int) -> Place | None:
    """
    Return the last of so many rows from a place on; None where there are not so many.

    :param rows: narrowed by nothing but what an index serves
    """
    keys = cursor.beyond(rows).values_list("run_time", "id")
    last = list(keys[size - 1 : size])
    return Place(*last[0]) if last else None


def estimated_rows(using: str, table: str) -> int | None:
    """Return how many rows PostgreSQL estimates a table has; None where it cannot."""
    connection = connections[using]
    if connection.vendor != "postgresql":
        return None
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT reltuples FROM pg_class WHERE oid = to_regclass(%s)",
            [connection.ops.quote_name(table)],
        )
        found = cursor.fetchone()
    # Below zero: never analysed.
    return int(found[0]) if found and found[0] >= 0 else None


def rounded(number: int) -> int:
    """Return an estimate with no more digits than it deserves, two."""
    step = 10 ** max(len(str(number)) - 2, 0)
    return round(number / step) * step


class LogList(base.RunsChangeList):
    """
    The change list of the execution log.

    :ivar matching: all rows that match filters and search, unsliced
    :ivar window_until: the last row looked at; None when all could be
    :ivar looks: whether rows are looked through because no index serves a condition
    """

    window_until: Place | None = None
    looks = False
    matching: Any
    queryset: Any
    root_queryset: Any

    def get_ordering(self, request: HttpRequest, queryset: QuerySet) -> list[str]:
        return ["-run_time", "-id"]

    def get_queryset(self, request: HttpRequest, *args: Any, **options: Any) -> Any:
        """
        Return the rows that match, within the window where there is one.

        Actions on "all" rows take them from here, too: all that the page counts.
        """
        # Django before 5.0 has but the one dictionary.
        for parameters in (self.params, getattr(self, "filter_params", {})):
            for name in (PARAMETER, *QUESTIONS):
                parameters.pop(name, None)
        self.cursor = self._read_cursor(request)
        self.matching = super().get_queryset(request, *args, **options)
        self.window_until = None
        self.looks = self._looks()
        if not self.looks:
            return self.matching
        rows = self.indexed_rows(request)
        self.window_until = window_end(rows, self.cursor, SCANNED_ROWS)
        window = self.cursor.beyond(self.matching)
        if self.window_until is not None:
            window = window.filter(self.cursor.until(self.window_until))
        return window.order_by("-run_time", "-id")

    def _read_cursor(self, request: HttpRequest) -> Cursor:
        text = request.GET.get(PARAMETER, "")
        try:
            return Cursor.parse(text)
        except BadCursor:
            messages.error(
                request,
                gettext(
                    "The address names no page of the log: expected the link of a "
                    "page, got “%(text)s”. These are the newest rows."
                )
                % {"text": text[:80]},
            )
            return Cursor()

    def _looks(self) -> bool:
        """Tell whether a condition is in force that rows must be looked through for."""
        if any(getattr(spec, "few", False) for spec in self.filter_specs):
            return False
        known = {
            name for spec in self.filter_specs for name in spec.expected_parameters()
        }
        return (
            bool(self.query)
            or any(
                getattr(spec, "looks", bool(spec.used_parameters))
                for spec in self.filter_specs
            )
            or not known.issuperset(self.get_filters_params())
        )

    def indexed_rows(self, request: HttpRequest) -> QuerySet:
        """Return the rows narrowed by what an index serves alone."""
        rows = self.root_queryset
        for spec in self.filter_specs:
            if getattr(spec, "indexed", False):
                rows = spec.queryset(request, rows)
        return rows

    def get_results(self, request: HttpRequest) -> None:
        size = self.list_per_page
        found = list(self.cursor.beyond(self.queryset)[: size + 1])
        more = len(found) > size
        shown = found[:size]
        beyond = more or self.window_until is not None
        if self.cursor.way == NEWER:
            shown.reverse()
        self.result_list = shown
        self.result_count = self.model_admin.count_capped(self.queryset)
        # The same, so that the search does not show a number that is no total.
        self.full_result_count = self.result_count
        self.show_full_result_count = False
        self.show_admin_actions = True
        self.can_show_all = self.multi_page = False
        self.paginator = Paginator(shown, size)
        last = Place.of(shown[-1 if self.cursor.way == OLDER else 0]) if shown else None
        self.newest_id = self.root_queryset.aggregate(newest=Max("pk"))["newest"] or 0
        self._link_pages(beyond, last if more else self.window_until)
        self.looks_on = beyond and not more

    def _link_pages(self, beyond: bool, last: Place | None) -> None:
        """
        Work out the links to other pages; empty where there is none.

        :param beyond: whether there may be rows beyond this page, on its own way
        :param last: where the page ends, on its own way
        """
        rows, cursor = self.result_list, self.cursor
        ahead = Cursor(cursor.way, last) if beyond else None
        back: Cursor | None = None
        if cursor.place is not None and cursor.way == OLDER:
            # Whoever comes from there has seen the row that the place names.
            start = Place.of(rows[0]) if rows else cursor.place.just_older()
            back = Cursor(NEWER, start)
        elif cursor.place is not None:
            start = Place.of(rows[-1]) if rows else cursor.place.just_newer()
            back = Cursor(OLDER, start)
        older, newer = (ahead, back) if cursor.way == OLDER else (back, ahead)
        self.older_link = self.page_link(older)
        self.newer_link = self.page_link(newer)
        self.newest_link = self.newest_page if newer else ""
        self.oldest_link = self.page_link(Cursor(NEWER)) if older else ""

    def page_link(self, cursor: Cursor | None) -> str:
        """Return the address of a page with the same filters; "" for None."""
        if cursor is None:
            return ""
        return self.get_query_string({PARAMETER: str(cursor) or None})

    @property
    def watch_address(self) -> str:
        """Where the open page asks for what is new since; rows come first or not at all."""
        asked = {}
        if self.cursor == Cursor():
            asked["after"] = self.newest_id
        return f"live/{self.get_query_string(asked)}"

    @property
    def newest_page(self) -> str:
        """The address of the newest page with these filters."""
        return self.page_link(Cursor())

    @property
    def export_address(self) -> str:
        """Where the rows with these filters are downloaded."""
        return f"export/{self.get_query_string()}"

    @cached_property
    def suggested_jobs(self) -> list[tuple[str, str, str]]:
        """Jobs that the search fits, whose whole history is an index away."""
        if not self.query:
            return []
        return [
            (job["id"], job["name"], f"?{urlencode({'job': job['id']})}")
            for job in filters.matching_jobs(
                self.query, self.root_queryset.db, SUGGESTED_JOBS
            )
        ]

    @cached_property
    def count_text(self) -> str:
        """How many rows there are, as far as it is honest to say."""
        count = self.result_count
        said = {"count": number_format(count, force_grouping=True)}
        if self.looks and self.window_until is not None:
            return self._looked_text(count)
        if count < base.LISTED_ROWS:
            return ngettext("%(count)s execution", "%(count)s executions", count) % said
        if not self.get_filters_params() and not self.query:
            using, table = self.root_queryset.db, self.opts.db_table
            estimate = estimated_rows(using, table)
            if estimate is not None and estimate > count:
                said["count"] = number_format(rounded(estimate), force_grouping=True)
                return gettext("about %(count)s executions") % said
        return gettext("%(count)s+ executions") % said

    def _looked_text(self, count: int) -> str:
        assert self.window_until is not None
        said = {
            "count": number_format(count, force_grouping=True),
            "looked": number_format(SCANNED_ROWS, force_grouping=True),
            "moment": words.wall(self.window_until.moment, clock.now(), seconds=True),
        }
        if self.cursor.way == NEWER:
            text = ngettext(
                "%(count)s match among %(looked)s executions, looked through up to "
                "%(moment)s.",
                "%(count)s matches among %(looked)s executions, looked through up to "
                "%(moment)s.",
                count,
            )
        else:
            text = ngettext(
                "%(count)s match among %(looked)s executions, looked through back to "
                "%(moment)s.",
                "%(count)s matches among %(looked)s executions, looked through back to "
                "%(moment)s.",
                count,
            )
        return text % said


class BareList(LogList):
    """The filters and the search without a page, for who reads the rows otherwise."""

    def _looks(self) -> bool:
        # Nothing is read yet, so there need be no window.
        return False

    def get_results(self, request: HttpRequest) -> None:
        self.result_list: list[Any] = []
        self.result_count = self.full_result_count = 0


def fresh_rows(shown: LogList, request: HttpRequest) -> int:
    """
    Count matching rows that were added since a page was made, FRESH_ROWS at most.

    By id, not by run time: a run that was late, or asked for by hand, is news as well.
    """
    after = request.GET.get("after", "")
    if not (after.isascii() and after.isdigit() and len(after) < 19):
        return 0
    new = Q(pk__gt=int(after))
    ids = shown.root_queryset.filter(new).order_by("pk").values_list("pk", flat=True)
    last = list(ids[SCANNED_ROWS - 1 : SCANNED_ROWS])
    if last:
        new &= Q(pk__lte=last[0])
    added = shown.matching.filter(new)
    return added.order_by("pk")[:FRESH_ROWS].count()
