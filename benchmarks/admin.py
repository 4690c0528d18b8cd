"""How fast the admin's pages are above a log of millions."""

from __future__ import annotations

from .databases import Options
from .environments import Environment
from .report import Result, Row, align, number
from .rounds import Series, alternate, ask

CONTENDERS = ("ours",)

EXPLANATION = """\
Each page of the admin above 10,000,000 executions of 50,000 jobs and their sums, and
above a tenth of both, through Django's test client: median and worst of several
requests, and the first, which finds caches cold; of the median's time, what statements
took, and the processor time of Django and of the database server, which tell on a
machine that others use; and the number of statements, which must not grow with the
rows. --executions N takes another number; --keep FOLDER keeps the databases there, and
uses them when they are there already. On PostgreSQL only."""

EXECUTIONS, QUICK_EXECUTIONS = 10_000_000, 100_000
#: Executions per job, and the most jobs.
PER_JOB, MOST_JOBS = 200, 50_000
REPEAT, QUICK_REPEAT = 9, 1

#: Milliseconds that a page should not exceed.
BUDGET_MS = 300


#: Figures of a page -> heads of their columns.
FIGURES = {
    "median_ms": "median",
    "worst_ms": "worst",
    "first_ms": "first",
    "sql_ms": "SQL",
    "cpu_ms": "CPU",
    "server_cpu_ms": "server CPU",
    "queries": "statements",
}

Pages = dict[str, dict[str, float]]


def run(environments: dict[str, Environment], options: Options) -> list[Result]:
    """Measure on PostgreSQL, the smaller log first."""
    ours = environments["ours"]
    most = options.executions or (QUICK_EXECUTIONS if options.quick else EXECUTIONS)
    notes: list[str] = []
    rows: list[Row] = []
    measured: dict[str, Pages] = {}
    for place in options.databases.places():
        if place.engine != "postgresql":
            continue
        for executions in (most // 10, most):
            jobs = max(10, min(executions // PER_JOB, MOST_JOBS))
            names: list[str] = []

            def one(
                key: str, place=place, executions=executions, jobs=jobs, names=names
            ) -> list[float]:
                request = {
                    "database": place.make_named(f"admin_{executions}"),
                    "executions": executions,
                    "jobs": jobs,
                    "repeat": QUICK_REPEAT if options.quick else REPEAT,
                }
                pages = ask(ours, "admin_pages.py", request, seconds=4 * 3600)["pages"]
                names[:] = pages
                return [page[key] for page in pages.values() for key in FIGURES]

            series = alternate(["ours"], options.rounds, one)["ours"]
            group = f"{executions:,} executions, {jobs:,} jobs"
            rows += page_rows(group, names, series)
            measured[group] = figures_of(names, series)
    if not rows:
        notes.append("measured on PostgreSQL only, which was not there or not wanted")
    return [
        Result(
            name="admin",
            title="Pages of the admin above a long log",
            unit="Milliseconds",
            explanation=EXPLANATION,
            contenders=[ours],
            rows=rows,
            notes=notes + remarks(measured) + options.databases.notes,
            appendix="\n\n".join(table(*part) for part in measured.items()),
            details={"pages": measured},
        )
    ]


def page_rows(group: str, names: list[str], series: list[Series]) -> list[Row]:
    """Return a row for each page of one log: its median. Less is better."""
    medians = series[:: len(FIGURES)] if names else series
    return [
        Row(group, name, {"ours": one}, better="less")
        for name, one in zip(names or ["pages"], medians)
    ]


def figures_of(names: list[str], series: list[Series]) -> Pages:
    """Return all figures of the pages of one log, each the median of the rounds."""
    figures = iter(series)
    return {
        name: {key: next(figures).median or 0.0 for key in FIGURES} for name in names
    }


def table(group: str, pages: Pages) -> str:
    """Return the figures of one log as text."""
    lines = [[group, *FIGURES.values()]]
    for name, page in pages.items():
        lines.append([name, *(number(page[key]) for key in FIGURES)])
    return "\n".join(align(lines))


def remarks(measured: dict[str, Pages]) -> list[str]:
    """Return what needs saying: pages over the budget, statements that grow."""
    notes = []
    counts: dict[str, set[float]] = {}
    for group, pages in measured.items():
        for name, page in pages.items():
            counts.setdefault(name, set()).add(page["queries"])
            if page["median_ms"] > BUDGET_MS:
                notes.append(f"more than {BUDGET_MS} ms: {name} ({group})")
    for name, different in counts.items():
        if len(different) > 1:
            told = " and ".join(f"{count:.0f}" for count in sorted(different))
            notes.append(f"{name}: {told} statements")
    return notes
