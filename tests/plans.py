"""How the database under test would find the rows of a query."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection

from django_apscheduler.models import DjangoJob, DjangoJobExecution

#: Tables that may hold millions of rows.
LONG = (DjangoJobExecution._meta.db_table, DjangoJob._meta.db_table)


def plan(sql: str, params: Any) -> list[str]:
    """Return how the database would find the rows, one line for each step."""
    begin = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # A table of a few rows is read as a whole unless that is forbidden.
            cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"{begin} {sql}", params)
        names = [column[0] for column in cursor.description]
        # MySQL and MariaDB answer in many columns, and name what they do not use, too.
        told = names.index("key") if connection.vendor == "mysql" else -1
        return [str(row[told]) for row in cursor.fetchall()]


def whole_tables(lines: list[str]) -> list[str]:
    """Return the steps of a plan that read a long table from its begin to its end."""
    whole = re.compile(rf"(SCAN ({'|'.join(LONG)})\b(?! USING COVERING)|Seq Scan on)")
    return [line for line in lines if whole.search(line)]


@contextmanager
def noting() -> Iterator[list[tuple[str, Any]]]:
    """Note the statements of the block that look for rows in a long table."""
    statements: list[tuple[str, Any]] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        looks = sql.lstrip("(").startswith(("SELECT", "DELETE", "UPDATE"))
        if looks and not many and any(table in sql for table in LONG):
            statements.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        yield statements
