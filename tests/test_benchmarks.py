"""The benchmarks' own arithmetic, tables and comparison of answers."""

from __future__ import annotations

import sys
from datetime import date, datetime
from pathlib import Path

import pytest

from benchmarks import cron
from benchmarks.__main__ import ours_is_sound, parse
from benchmarks.environments import CATALOGUE, Environment
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
        "Things a second, median of 2 round(s), and how many times as fast ours is"
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


def test_cases_in_which_ours_is_slower_are_named():
    row = {"ours": Series([90.0]), "apscheduler": Series([10.0])}
    row["croniter"] = Series([120.0])
    shown = result([Row("UTC", "* * * * *", row)])
    shown.contenders = [environment(key) for key in row]
    assert behind(shown) == ["croniter in * * * * * (UTC): 0.75×"]
    assert "! ours is slower than croniter in * * * * * (UTC): 0.75×" in render(shown)


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


def test_a_contender_that_dies_is_reported_with_its_error():
    with pytest.raises(ContenderFailed, match="KeyError: 'nobody'"):
        ask(environment("ours"), "memory.py", {"contender": "nobody"})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["crons"], "expected a section of cron, memory, persistent; got 'crons'"),
        (["--only", "quartz"], "expected a contender of ours, apscheduler"),
        (["--databases", "oracle"], "expected a database of sqlite, postgresql"),
        (["--rounds", "0"], "--rounds must be at least 1; got 0"),
    ],
)
def test_unknown_arguments_are_refused_with_the_known_ones(arguments, said, capsys):
    with pytest.raises(SystemExit):
        parse(arguments)
    assert said in capsys.readouterr().err
