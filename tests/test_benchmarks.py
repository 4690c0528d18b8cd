"""The benchmarks' own arithmetic, tables and comparison of answers."""

from __future__ import annotations

import re
import sys
import tempfile
from datetime import date, datetime, timezone
from importlib import import_module
from pathlib import Path

import django
import pytest

from benchmarks import (
    adding,
    admin,
    cron,
    edits,
    endurance,
    idle,
    intervals,
    latency,
    persistent,
    postgresql,
    processes,
    schedulers,
)
from benchmarks.__main__ import ours_is_sound, parse
from benchmarks.conversation import conversations
from benchmarks.databases import Databases, Options
from benchmarks.environments import CATALOGUE, CONTENDERS, Environment
from benchmarks.report import Result, Row, align, behind, render
from benchmarks.rounds import (
    ContenderFailed,
    Series,
    alternate,
    ask,
    geometric_mean,
)

BERLIN = "Europe/Berlin"
DAILY = cron.Expression("30 2 * * *", 0, 0, (30,), (2,))
START = datetime(2024, 3, 29, 0, 0, 30)


def environment(key: str, version: str = "1.0") -> Environment:
    contender = CATALOGUE[key]
    versions = {contender.distribution.lower(): version}
    return Environment(contender, Path(sys.executable), versions)


def result(rows: list[Row], **options) -> Result:
    return Result(
        name="cron",
        title="A title",
        unit="Things a second",
        explanation="What was done.",
        contenders=[environment("apscheduler"), environment("croniter")],
        rows=rows,
        **options,
    )


def test_geometric_mean_weighs_ratios_alike():
    assert geometric_mean([2, 8]) == pytest.approx(4)
    assert geometric_mean([1, 10, 100]) == pytest.approx(10)


@pytest.mark.parametrize("figures", [[], [1.0, 0.0], [-1.0]])
def test_geometric_mean_refuses_what_has_none(figures):
    with pytest.raises(ValueError, match="expected figures greater than 0"):
        geometric_mean(figures)


def test_series_is_summed_up_by_its_median_and_range():
    assert Series([5.0, 1.0, 3.0]).as_json() == {
        "median": 3.0,
        "min": 1.0,
        "max": 5.0,
        "figures": [5.0, 1.0, 3.0],
        "errors": [],
    }


def test_contenders_take_turns_and_every_second_round_the_other_way():
    calls = []

    def run(key):
        calls.append(key)
        return [float(len(calls)), 0.0]

    gathered = alternate(["a", "b"], 3, run)
    assert calls == ["a", "b", "b", "a", "a", "b"]
    assert [series.figures for series in gathered["a"]] == [[1.0, 4.0, 5.0], [0.0] * 3]
    assert [series.figures for series in gathered["b"]] == [[2.0, 3.0, 6.0], [0.0] * 3]


def test_contender_that_fails_twice_is_reported_and_not_tried_again():
    calls = []

    def run(key):
        calls.append(key)
        if key == "b":
            raise ContenderFailed("database is locked")
        return [7.0]

    gathered = alternate(["a", "b"], 4, run)
    assert calls.count("a") == 4
    assert calls.count("b") == 2
    assert gathered["b"] == [Series([], ["database is locked"] * 2)]
    assert gathered["a"] == [Series([7.0] * 4, [])]


def test_figures_of_the_rounds_that_succeeded_are_kept_beside_the_error():
    outcomes = iter([[3.0], ContenderFailed("out of luck"), [5.0]])

    def run(key):
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    assert alternate(["a"], 3, run) == {"a": [Series([3.0, 5.0], ["out of luck"])]}


def test_table_shows_medians_ratios_spread_and_what_failed():
    rows = [
        Row(
            "", "easy", {"ours": Series([2000.0, 3000.0]), "croniter": Series([500.0])}
        ),
        Row("", "hard", {"ours": Series([10.0]), "croniter": Series([], ["it died"])}),
    ]
    shown = result(rows, notes=["a note"], faults=["a fault"])
    shown.contenders = [environment("ours"), environment("croniter", "7.0")]
    text = render(shown)
    version = shown.contenders[0].version
    lines = text.splitlines()
    assert lines[:3] == ["A title", "=======", "What was done."]
    assert lines[4] == (
        "Things a second, median of 2 round(s), and how many times as good ours is"
    )
    cells = [line.split() for line in lines[6:]]
    assert cells[:4] == [
        ["ours", "croniter"],
        [version, "7.0"],
        ["easy", "2,500", "500", "(5.0×)"],
        ["hard", "10", "failed"],
    ]
    assert ["easy", "2,000–3,000", "500–500"] in cells
    assert lines[-3:] == [
        "! croniter failed in hard: it died",
        "! WRONG: a fault",
        "- a note",
    ]


def test_columns_are_aligned():
    assert align([["", "a", "bcd"], ["group"], ["x", "1,000", "1"], []]) == [
        "       a  bcd",
        "group",
        "x  1,000    1",
        "",
    ]


def test_cases_in_which_ours_is_behind_a_peer_are_named():
    row = {"ours": Series([90.0]), "apscheduler": Series([10.0])}
    row["croniter"] = Series([120.0])
    shown = result([Row("UTC", "* * * * *", row)])
    shown.contenders = [environment(key) for key in row]
    assert behind(shown) == ["croniter in * * * * * (UTC): 0.75×"]
    assert "! ours is behind croniter in * * * * * (UTC): 0.75×" in render(shown)


def test_less_is_better_where_the_row_says_so():
    row = {"ours": Series([2.5]), "apscheduler": Series([10.0])}
    row["croniter"] = Series([2.0])
    rows = [
        Row("", "lateness, ms", row, better="less", digits=1),
        Row("", "seconds of warm-up", row, better=""),
    ]
    shown = result(rows)
    shown.contenders = [environment(key) for key in row]
    cells = [line.split() for line in render(shown).splitlines()]
    assert ["lateness,", "ms", "2.5", "10.0", "(4.0×)", "2.0", "(0.8×)"] in cells
    assert ["seconds", "of", "warm-up", "2", "10", "2"] in cells
    assert behind(shown) == ["croniter in lateness, ms: 0.80×"]


def test_being_below_the_ceiling_is_shown_but_no_fault():
    row = {"ours": Series([50.0]), "handwritten500": Series([100.0])}
    shown = result([Row("", "SQLite", row)])
    shown.contenders = [environment(key) for key in row]
    assert "100   (0.5×)" in render(shown)
    assert behind(shown) == []


def test_geometric_means_are_shown_only_where_no_figure_is_missing():
    rows = [
        Row("", "a", {"ours": Series([20.0]), "apscheduler": Series([1.0])}),
        Row("", "b", {"ours": Series([80.0]), "apscheduler": Series([4.0])}),
    ]
    rows[0].series["croniter"] = Series([5.0])
    shown = result(rows, means=True)
    shown.contenders = [environment(k) for k in ("ours", "apscheduler", "croniter")]
    means = [line for line in render(shown).splitlines() if "geometric" in line]
    assert [line.split() for line in means] == [
        ["geometric", "mean", "40", "2", "(20.0×)", "–"]
    ]
    assert shown.as_json()["geometric_means"]["croniter"] is None


def test_a_fault_or_a_failed_round_of_ours_makes_the_command_fail():
    good = [Row("", "a", {"ours": Series([1.0])})]
    assert ours_is_sound(result(good))
    assert not ours_is_sound(result(good, faults=["wrong"]))
    assert not ours_is_sound(result([Row("", "a", {"ours": Series([1.0], ["died"])})]))


def test_days_on_which_the_clocks_change_are_not_compared():
    assert cron.is_quiet(date(2024, 3, 30), BERLIN)
    assert not cron.is_quiet(date(2024, 3, 31), BERLIN)
    assert not cron.is_quiet(date(2024, 10, 27), BERLIN)
    assert cron.is_quiet(date(2024, 10, 27), "UTC")


RIGHT = [
    "2024-03-29T02:30:00+01:00",
    "2024-03-30T02:30:00+01:00",
    "2024-03-31T03:30:00+02:00",
    "2024-04-01T02:30:00+02:00",
    "2024-04-02T02:30:00+02:00",
]


@pytest.mark.parametrize("day_of_change", [[RIGHT[2]], []])
def test_right_answers_agree_whatever_happens_when_clocks_change(day_of_change):
    answers = RIGHT[:2] + day_of_change + RIGHT[3:]
    assert cron.disagreement(DAILY, BERLIN, START, answers) is None


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([*RIGHT[:1], *RIGHT[2:]], "leaves out 2024-03-30T02:30:00+01:00 (1 of 3)"),
        (
            [RIGHT[0], "2024-03-30T02:31:00+01:00", *RIGHT[3:]],
            (
                "leaves out 2024-03-30T02:30:00+01:00 (1 of 3) and has "
                "2024-03-30T02:31:00+01:00, which does not match (1)"
            ),
        ),
        (
            [*RIGHT[:3], "2024-04-01T02:30:00+01:00", RIGHT[4]],
            (
                "leaves out 2024-04-01T02:30:00+02:00 (1 of 3) and has "
                "2024-04-01T02:30:00+01:00, which does not match (1)"
            ),
        ),
        ([RIGHT[0], RIGHT[0], *RIGHT[1:]], "gives the right times in the wrong order"),
    ],
    ids=["missing", "wrong minute", "wrong offset", "twice"],
)
def test_comparison_catches_a_disagreement(answers, said):
    assert cron.disagreement(DAILY, BERLIN, START, answers) == said


def test_expected_times_match_a_calendar():
    leap = cron.Expression("0 0 29 2 *", 0, 0, (0,), (0,), day=29, month=2)
    fires = cron.expected(leap, "UTC", datetime(2095, 1, 1), date(2105, 1, 1))
    assert [fire.isoformat() for fire in fires] == [
        "2096-02-29T00:00:00+00:00",
        "2104-02-29T00:00:00+00:00",
    ]
    weekdays = cron.EXPRESSIONS[2]
    fires = cron.expected(weekdays, BERLIN, datetime(2024, 5, 3, 9), date(2024, 5, 8))
    assert [fire.isoformat() for fire in fires] == [
        "2024-05-06T09:00:00+02:00",
        "2024-05-07T09:00:00+02:00",
    ]


def test_ours_gives_the_right_fire_times():
    assert cron.compare(environment("ours")) == []


def test_ours_is_measured_in_a_process_of_its_own():
    request = {
        "contender": "ours",
        "task": "rates",
        "seconds": 0.001,
        "cases": [{"expression": "30 2 * * *", "zone": BERLIN, "length": 20}],
    }
    (rate,) = ask(environment("ours"), "cron.py", request)["answer"]
    assert rate > 0


def test_every_due_job_runs_once_in_memory():
    request = {"contender": "ours", "jobs": 20, "waves": 2}
    answer = ask(environment("ours"), "memory.py", request)
    assert answer["runs"] == 40
    assert answer["answer"] > 0


FRAMEWORKS = {"tornado": "tornado", "twisted": "twisted", "qt": "PySide6.QtCore"}


@pytest.mark.parametrize("case", schedulers.CASES, ids=lambda case: case.label)
def test_each_scheduler_is_measured_on_its_loop(case):
    needed = FRAMEWORKS.get(case.kind, case.kind)
    if case.kind in {*FRAMEWORKS, "gevent"}:
        pytest.importorskip(
            needed, reason=f"needs pip install django-apscheduler[{case.kind}]"
        )
    runs, p50, p99 = schedulers.measure(environment("ours"), case, quick=True)
    assert runs > 0
    # No body begins before it is due, and an occurrence without one is a second late.
    assert 0 <= p50 <= p99
    assert p50 < 1_000


def test_figures_of_each_scheduler_are_beside_its_counterparts(monkeypatch):
    answers = {"ours": [900.0, 1.0, 5.0], "apscheduler": [300.0, 2.0, 4.0]}

    def measure(environment, case, quick):
        if case.kind == "qt" and environment.contender.key == "apscheduler":
            raise ContenderFailed("no such loop")
        return answers[environment.contender.key]

    monkeypatch.setattr(schedulers, "measure", measure)
    cases = [case for case in schedulers.CASES if case.kind in ("blocking", "qt")]
    monkeypatch.setattr(schedulers, "CASES", cases)
    environments = {key: environment(key, "3.11") for key in schedulers.CONTENDERS}
    with Databases([]) as databases:
        (shown,) = schedulers.run(environments, Options(2, True, databases))
    cells = [line.split() for line in render(shown).splitlines()]
    place = cells.index(["BlockingScheduler"])
    assert cells[place : place + 8] == [
        ["BlockingScheduler"],
        ["runs", "a", "second", "900", "300", "(3.0×)"],
        ["lateness", "p50,", "ms", "1.00", "2.00", "(2.0×)"],
        ["lateness", "p99,", "ms", "5.00", "4.00", "(0.8×)"],
        ["QtScheduler"],
        ["runs", "a", "second", "900", "failed"],
        ["lateness", "p50,", "ms", "1.00", "–"],
        ["lateness", "p99,", "ms", "5.00", "–"],
    ]
    behind_in = "APScheduler in lateness p99, ms (BlockingScheduler): 0.80×"
    assert f"! ours is behind {behind_in}" in render(shown)
    assert "! APScheduler failed in runs a second: no such loop" in render(shown)


def test_a_wave_in_which_a_job_runs_twice_or_not_at_all_is_refused(monkeypatch):
    every = contender("every_scheduler")
    scheduler = type("Scheduler", (), {"get_jobs": lambda self: []})()
    now = datetime.now(timezone.utc)
    for starts, wrong in (
        ([(0, 1.0), (1, 1.0), (1, 1.1)], "[1]"),
        ([(0, 1.0), (0, 1.1)], "[0, 1]"),
    ):
        monkeypatch.setattr(every, "starts", starts)
        with pytest.raises(AssertionError, match=re.escape(f"not so: {wrong}")):
            every.check_wave(scheduler, 2, now)
    monkeypatch.setattr(every, "starts", [(1, 1.0), (0, 1.0)])
    every.check_wave(scheduler, 2, now)
    job = type("Job", (), {"id": "stays", "next_run_time": now})
    monkeypatch.setattr(type(scheduler), "get_jobs", lambda self: [job])
    with pytest.raises(AssertionError, match="to have moved on, not so: .'stays'"):
        every.check_wave(scheduler, 2, now)


def contender(name: str):
    """The module of that name among the contenders' scripts."""
    sys.path.insert(0, str(CONTENDERS))
    try:
        return import_module(name)
    finally:
        sys.path.remove(str(CONTENDERS))


def measure(section, databases=("sqlite",), **options) -> list[Result]:
    """What the section answers when ours and the ceiling are measured on SQLite."""
    environments = {key: environment(key) for key in CATALOGUE if "ours" in (
        key, CATALOGUE[key].borrows)}  # fmt: skip
    with Databases(databases) as opened:
        return section.run(environments, Options(1, True, opened, **options))


def figures(result: Result, label: str) -> dict[str, float]:
    """A row's medians by contender; none may have failed."""
    (row,) = [row for row in result.rows if row.label == label]
    assert [series.errors for series in row.series.values() if series.errors] == []
    return {key: series.median or 0 for key, series in row.series.items()}


def test_every_due_job_runs_once_from_a_database_as_does_the_loop_by_hand():
    (shown,) = measure(persistent)
    medians = figures(shown, "SQLite")
    assert medians.keys() == {"ours", "handwritten500", "handwritten100"}
    assert min(medians.values()) > 0
    if django.VERSION >= (5, 1):  # which brought the option
        assert figures(shown, "SQLite, transaction_mode IMMEDIATE").keys() == {"ours"}


def test_late_missed_and_doubled_runs_of_a_job_are_bad_once_each():
    judge = contender("intervals").judge
    # Job 0 is due on the second, job 1 half a second later.
    on_time = [(0, 100.002), (0, 101.003), (0, 102.004), (0, 103.001)]
    assert judge(on_time + [(1, moment + 0.5) for _, moment in on_time], 100, 2, 100, 4) == {
        "due": 8, "unserved": 0, "doubled": 0, "bad_percent": 0.0, "runs_a_second": 2.0,
        "p50_ms": pytest.approx(2), "p99_ms": pytest.approx(4)}  # fmt: skip
    late = [(0, 100.002), (0, 102.2), (0, 102.3), (0, 103.001)]
    assert judge(late, 100, 1, 100, 4)["unserved"] == 1
    assert judge(late, 100, 1, 100, 4)["doubled"] == 0
    assert judge(late, 100, 1, 100, 4)["p99_ms"] == 1_000
    twice = [*on_time, (0, 103.002)]
    assert judge(twice, 100, 1, 100, 4)["doubled"] == 1
    assert judge(twice, 100, 1, 100, 4)["bad_percent"] == 25
    # What comes before the counted seconds does not count.
    assert judge(on_time, 100, 1, 102, 2)["due"] == 2
    assert judge(on_time, 100, 1, 102, 2)["runs_a_second"] == 1


@pytest.mark.parametrize(
    ("capacity", "best", "failing", "tried"),
    [
        (1_700, 1_600, 2_000, [500, 1_000, 1_300, 1_600, 2_000, 2_400, 3_200]),
        (200, 125, 500, [500, 250, 125, 188, 250]),
    ],
    ids=["between two levels", "below the first level"],
)
def test_search_goes_up_to_the_first_bad_level_or_down_from_it(
    monkeypatch, capacity, best, failing, tried
):
    asked = []

    def run(environment, place, jobs, quick):
        asked.append(jobs)
        bad = 0.9 if jobs <= capacity else 60.0
        return {"bad_percent": bad, "runs_a_second": min(jobs, capacity)}

    monkeypatch.setattr(intervals, "run_intervals", run)
    search = intervals.Search(environment("apscheduler"), None, False)
    found, *overloads = search.run()
    assert found == best
    assert asked == tried
    assert overloads[0] == min(tried[-2], capacity)
    assert overloads[2:] == [capacity, 60.0]
    assert search.bad[best] == Series([0.9])
    assert search.bad[failing] == Series([60.0])


def test_one_second_jobs_run_beside_idle_ones():
    (shown,) = measure(intervals)
    bad = figures(shown, "20")["ours"]
    assert 0 <= bad <= 100
    (shown,) = measure(latency)
    assert 0 < figures(shown, "p50")["ours"] <= figures(shown, "p99")["ours"]


def test_two_processes_share_the_jobs_of_one_database():
    (shown,) = measure(processes)
    alone = figures(shown, "one process")["ours"]
    together = figures(shown, "2 processes")["ours"]
    times = figures(shown, "2 processes : one")["ours"]
    assert times == pytest.approx(together / alone)


def test_jobs_added_and_edited_elsewhere_start_after_their_call_began():
    (shown,) = measure(edits)
    for kind in ("added", "edited"):
        median = figures(shown, f"{kind}, p50")["ours"]
        assert 0 < median <= figures(shown, f"{kind}, p99")["ours"]
    assert edits.percentile([5.0, 1.0, 3.0, 2.0, 4.0], 50) == 3
    assert edits.percentile([5.0, 1.0, 3.0, 2.0, 4.0], 99) == 5


def test_a_process_that_dies_in_a_conversation_is_reported_with_its_error():
    with (
        conversations(environment("ours"), "member.py", 1) as (member,),
        pytest.raises(ContenderFailed, match="AttributeError"),
    ):
        member.ask({"do": "dance"})


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc")
def test_memory_is_read_while_runs_go_on():
    (shown,) = measure(endurance, runs=2_000)
    labels = [row.label for row in shown.rows]
    assert labels[:3] == [
        "runs a second",
        "growth, KiB per 100,000 runs",
        "KiB after 0 runs",
    ]
    assert labels[-1] == "KiB after 2,000 runs"
    assert figures(shown, "KiB after 2,000 runs")["ours"] > 1_000


def test_growth_is_the_slope_of_the_line_with_the_least_squares():
    slope = contender("endurance").slope
    assert slope([(0, 10), (100, 30), (200, 50)]) == pytest.approx(0.2)
    assert slope([(0, 1), (1, 0), (2, 1), (3, 0)]) == pytest.approx(-0.2)


def test_idle_jobs_are_many_rows():
    try:
        postgresql.find_binaries()
    except postgresql.NoServer as reason:
        pytest.skip(str(reason))
    (shown,) = measure(idle, databases=["postgresql"])
    groups = [row.group for row in shown.rows]
    assert groups == ["100 idle jobs"] * 2 + ["1,000 idle jobs"] * 2
    assert [row.series["ours"].errors for row in shown.rows] == [[]] * 4
    assert all(row.series["ours"].figures for row in shown.rows)


@pytest.mark.timeout(400)  # hundreds of pages, beside other tests
def test_pages_of_the_admin_are_timed_above_two_logs():
    try:
        postgresql.find_binaries()
    except postgresql.NoServer as reason:
        pytest.skip(str(reason))
    pytest.importorskip("rangefilter", reason="needs django-admin-rangefilter")
    (shown,) = measure(admin, databases=["postgresql"], executions=3_000)
    groups = ["300 executions, 10 jobs", "3,000 executions, 15 jobs"]
    assert list(dict.fromkeys(row.group for row in shown.rows)) == groups
    assert [row.series["ours"].errors for row in shown.rows] == [[]] * len(shown.rows)
    timed = [row for row in shown.rows if row.label == "log, errors"]
    assert [(row.series["ours"].median or 0) > 0 for row in timed] == [True, True]
    page = shown.details["pages"][groups[1]]["log, errors"]
    assert page["cpu_ms"] > 0 and page["sql_ms"] > 0 and page["queries"] > 5
    assert "delete 1 selected execution" in shown.appendix


def test_kept_databases_are_filled_once():
    try:
        postgresql.find_binaries()
    except postgresql.NoServer as reason:
        pytest.skip(str(reason))
    made = []
    # Not in pytest's own folder, which the user that the server runs as cannot enter.
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):
            with Databases(["postgresql"], keep=folder) as databases:
                (place,) = databases.places()
                assert place.server is not None
                database = place.make_named("admin_300")
                psql = ("psql", "-h", database["host"], "-U", "benchmark", "-d")
                ask = (*psql, database["name"], "-Atc")
                exists = "SELECT to_regclass('public.marked') IS NOT NULL"
                made.append(place.server.run(*ask, exists))
                place.server.run(*ask, "CREATE TABLE IF NOT EXISTS marked ()")
    assert made == ["f", "t"]


def test_all_added_jobs_are_in_the_database():
    (shown,) = measure(adding)
    for label in ("one by one", "in one call"):
        medians = figures(shown, label)
        assert medians.keys() == {"ours", "inserts"}
        assert min(medians.values()) > 0


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc")
def test_profile_tells_of_threads_statements_and_their_number():
    (shown,) = measure(persistent, profile=True)
    (profile,) = shown.details["profile"]
    assert profile["runs"] == 200
    claims = [
        count
        for role, sql, count, _ in profile["statements"]
        if role == "claim and submit" and sql.startswith("UPDATE djangojob. SET next")
    ]
    # Each claim takes many of the runs; none of them has a statement for itself.
    assert len(claims) == 1
    assert 0 < claims[0] < 500
    assert profile["threads"]["settle"]["sql"] > 0
    assert "functions are left out" in render(shown)


def test_a_contender_that_dies_is_reported_with_its_error():
    with pytest.raises(ContenderFailed, match="KeyError: 'nobody'"):
        ask(environment("ours"), "memory.py", {"contender": "nobody"})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["crons"], "expected a section of cron, memory, schedulers, persistent"),
        (["--only", "quartz"], "expected a contender of ours, apscheduler"),
        (["--databases", "oracle"], "expected a database of postgresql, sqlite"),
        (["--rounds", "0"], "--rounds must be at least 1; got 0"),
    ],
)
def test_unknown_arguments_are_refused_with_the_known_ones(arguments, said, capsys):
    with pytest.raises(SystemExit):
        parse(arguments)
    assert said in capsys.readouterr().err
