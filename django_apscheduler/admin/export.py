"""
The execution log as CSV: what the filters and the search match, newest first.

Rows are read along an index in parts and written as they come, so that memory does not
grow with their number. Texts that a spreadsheet would take for formulas are disarmed.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

from django.http import HttpRequest, StreamingHttpResponse
from django.utils.translation import gettext

from django_apscheduler import clock
from django_apscheduler.admin import outcomes, paging, stats
from django_apscheduler.models import DjangoJobExecution

#: Rows that one download holds at most.
MOST_ROWS = 100_000

#: Rows read by one query.
PART_ROWS = 2000

#: A text beginning with one of these is a formula to spreadsheets; of the wide forms,
#: those that are set for East Asian languages.
FORMULA = (*"=+-@", *"\t\r\n", *"＝＋－＠")

COLUMNS = (
    "id",
    "job_id",
    "job_name",
    "status",
    "origin",
    "requested_by",
    "attempt",
    "retry_of",
    "executor",
    "node",
    "run_time",
    "last_run_time",
    "occurrences",
    "claimed_time",
    "started_time",
    "finished_time",
    "lateness_seconds",
    "duration_seconds",
    "error",
    "note",
)


def disarm(text: str | None) -> str:
    """Return a text as it is, with an apostrophe before it if it may be a formula."""
    text = text or ""
    # Leading blanks do not keep a spreadsheet from calculating.
    return f"'{text}" if text.lstrip(" ").startswith(FORMULA) else text


def moment(value: datetime | None) -> str:
    """Return a moment in UTC by ISO 8601, as in 2026-06-03T12:00:00.000000Z."""
    if value is None:
        return ""
    utc = value.astimezone(timezone.utc).replace(tzinfo=None)
    return f"{utc.isoformat(timespec='microseconds')}Z"


def seconds(value: float | None) -> str:
    """Return a length of time in seconds, to the microsecond."""
    return "" if value is None else f"{value:.6f}"


def record(row: DjangoJobExecution, sensitive: bool) -> list[str]:
    """Return the fields of one execution, in the order of COLUMNS."""
    fields = [
        str(row.pk),
        disarm(row.job_id),
        disarm(row.job_name),
        row.status,
        row.origin,
        disarm(row.requested_by),
        str(row.attempt),
        str(row.retry_of_id or ""),
        disarm(row.executor),
        disarm(str(row.owner) if row.owner else str(row.owner_id or "")),
        moment(row.run_time),
        moment(row.last_run_time),
        str(row.occurrences or ""),
        moment(row.claimed_time),
        moment(row.started_time),
        moment(row.finished_time),
        seconds(outcomes.lateness(row)),
        seconds(stats.run_seconds(row.started_time, row.finished_time)),
        disarm(row.exception),
        disarm(row.note),
    ]
    return [*fields, disarm(row.traceback)] if sensitive else fields


def walk(matching: Any, indexed: Any) -> Iterator[DjangoJobExecution]:
    """
    Give all matching rows, the newest first.

    :param matching: the rows
    :param indexed: the rows narrowed by what an index serves alone; those between two
        matching ones are passed in windows, so that no statement takes long
    """
    cursor = paging.Cursor()
    while True:
        end = paging.window_end(indexed, cursor, paging.SCANNED_ROWS)
        window = matching if end is None else matching.filter(cursor.until(end))
        while True:
            rows = list(cursor.beyond(window)[:PART_ROWS])
            yield from rows
            if len(rows) < PART_ROWS:
                break
            cursor = paging.Cursor(paging.OLDER, paging.Place.of(rows[-1]))
        if end is None:
            return
        cursor = paging.Cursor(paging.OLDER, end)


class _Echo:
    """A file that hands back what is written to it."""

    def write(self, text: str) -> str:
        return text


def lines(
    rows: Iterator[DjangoJobExecution], sensitive: bool, more: str
) -> Iterator[str]:
    """
    Give the lines of the file.

    :param more: what the last line says when there are more rows than MOST_ROWS
    """
    writer = csv.writer(_Echo())
    # The mark by which spreadsheets know UTF-8 from the code page of the day.
    yield "\ufeff" + writer.writerow(
        [*COLUMNS, "traceback"] if sensitive else [*COLUMNS]
    )
    for number, row in enumerate(rows):
        if number == MOST_ROWS:
            yield writer.writerow([more])
            return
        yield writer.writerow(record(row, sensitive))


def response(
    shown: paging.LogList, request: HttpRequest, sensitive: bool
) -> StreamingHttpResponse:
    """Return the download; tracebacks only for those who may see them."""
    # Said now: as the lines are written, the language of the request is gone.
    more = gettext(
        "More than %(count)s executions match. Narrow the filters to export the rest."
    ) % {"count": MOST_ROWS}
    matching = shown.matching.select_related("owner")
    if sensitive:
        matching = matching.defer(None)
    rows = walk(matching, shown.indexed_rows(request))
    answer = StreamingHttpResponse(
        lines(rows, sensitive, more), content_type="text/csv; charset=utf-8"
    )
    name = f"executions-{clock.now():%Y-%m-%dT%H%M%SZ}.csv"
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    answer["X-Accel-Buffering"] = "no"
    return answer
