"""The most one-second interval jobs that a scheduler keeps up with, and what then."""

from __future__ import annotations

from .databases import Options, Place
from .environments import Environment
from .report import Result, Row
from .rounds import ContenderFailed, Series, alternate, ask

CONTENDERS = ("ours", "apscheduler", "earlier")

EXPLANATION = """\
One-second interval jobs whose phases are spread evenly over the second, on ten threads,
for 10 s after 2 s that do not count; misfire_grace_time=None, coalesce=True,
max_instances=1. An occurrence is bad when no body started for it within a second
(missed, coalesced or late) or more than one did. The number of jobs rises until 1 % or
more are bad; the last level before that counts, and each level is a process of its own
on an empty database. Then 1.5 and 2 times as many jobs are given: a scheduler that
degrades in proportion goes on with as many runs a second as it can do (67 and 50 % good
when that is just the level)."""

#: Levels to try, upwards.
LEVELS = {
    "ours": (1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_000, 8_500, 10_000, 12_000),
    "apscheduler": (500, 1_000, 1_300, 1_600, 2_000, 2_500, 3_000, 4_000, 5_000),
    "earlier": (100, 200, 350, 500, 700, 1_000),
}
QUICK_LEVELS = (20, 40)
SECONDS, QUICK_SECONDS = 10, 1
BAD_PERCENT = 1.0
OVERLOADS = (1.5, 2.0)


def run_intervals(
    environment: Environment, place: Place, jobs: int, quick: bool, idle: int = 0
) -> dict:
    """
    Let a contender run so many one-second jobs; answer what it answers.

    :param idle: jobs beside them that are not due
    """
    key = environment.contender.key
    request = {
        "contender": key,
        "jobs": jobs,
        "warm_up": 0.5 if quick else 2.0,
        "seconds": QUICK_SECONDS if quick else SECONDS,
        "idle": idle,
        "database": place.make_for(key),
    }
    return ask(environment, "intervals.py", request)


class Search:
    """The search of one contender for its most jobs; keeps what each level gave."""

    def __init__(self, environment: Environment, place: Place, quick: bool):
        self.environment = environment
        self.place = place
        self.levels = QUICK_LEVELS if quick else LEVELS[environment.contender.key]
        self.quick = quick
        self.bad: dict[int, Series] = {}
        self.notes: list[str] = []

    def run(self) -> list[float]:
        """
        Search upwards once.

        :return: the last good level; then for each overload runs a second and percent
            bad, while there is a good level
        """
        best = self._climb()
        for part in (2, 4, 8):
            # Not even the first level was good: the machine is slow, or busy.
            best = best or self._good(self.levels[0] // part)
        if not best:
            least = self.levels[0] // 8
            raise ContenderFailed(
                f"{least:,} jobs were too many; none fewer were tried"
            )
        if best == self.levels[-1]:
            title = self.environment.contender.title
            self.notes.append(f"{title}: no more than {best:,} jobs were tried")
        figures = [float(best)]
        for factor in OVERLOADS:
            answer = self._try(round(best * factor))
            figures += [answer["runs_a_second"], answer["bad_percent"]]
        return figures

    def _climb(self) -> int:
        """Answer the last good level before the first that is not; 0 without any."""
        best = 0
        for level in self.levels:
            try:
                if not self._good(level):
                    break
            except ContenderFailed as failure:
                if self.environment.contender.is_ours or not best:
                    raise
                title = self.environment.contender.title
                self.notes.append(f"{title} failed at {level:,}: {failure}")
                break
            best = level
        return best

    def _good(self, jobs: int) -> int:
        """Answer the number of jobs when few enough are bad, else 0."""
        bad = self._try(jobs)["bad_percent"]
        self.bad.setdefault(jobs, Series()).figures.append(bad)
        return jobs if bad < BAD_PERCENT else 0

    def _try(self, jobs: int) -> dict:
        return run_intervals(self.environment, self.place, jobs, self.quick)


def search_on(
    place: Place, keys: list[str], environments: dict, options: Options
) -> tuple[list[Row], list[str]]:
    """Search with each contender on one database; answer rows and notes."""
    searches = {key: Search(environments[key], place, options.quick) for key in keys}
    gathered = alternate(keys, options.rounds, lambda key: searches[key].run())
    notes = [note for search in searches.values() for note in search.notes]
    return rows_of(place.label, gathered, searches), notes


def run(environments: dict[str, Environment], options: Options) -> list[Result]:
    """Search on PostgreSQL, or on the only database wanted."""
    keys = [key for key in CONTENDERS if key in environments]
    rows: list[Row] = []
    notes: list[str] = []
    for place in options.databases.first():
        found, said = search_on(place, keys, environments, options)
        rows += found
        notes += said
    return [
        Result(
            name="intervals",
            title="One-second interval jobs",
            unit="As each line says",
            explanation=EXPLANATION,
            contenders=[environments[key] for key in keys],
            rows=rows,
            notes=notes + options.databases.notes,
        )
    ]


def rows_of(label: str, gathered: dict, searches: dict[str, Search]) -> list[Row]:
    """The search's outcome, the overloads, then percent bad by level."""
    cases = ["most jobs with less than 1 % bad"]
    for factor in OVERLOADS:
        cases += [
            f"{factor:g} × as many: runs a second",
            f"{factor:g} × as many: % bad",
        ]
    rows = []
    for place, case in enumerate(cases):
        # One that never succeeded has a single series, which holds its errors.
        series = {
            key: found[place] if len(found) > 1 else found[0]
            for key, found in gathered.items()
            if len(found) > 1 or place == 0
        }
        percent = case.endswith(": % bad")
        better = "" if percent else "more"
        rows.append(Row(label, case, series, better=better, digits=1 if percent else 0))
    for level in sorted(
        {level for search in searches.values() for level in search.bad}
    ):
        series = {
            key: search.bad[level]
            for key, search in searches.items()
            if level in search.bad
        }
        rows.append(Row("% bad, by jobs", f"{level:,}", series, better="", digits=2))
    return rows
