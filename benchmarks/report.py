"""Results as a plain text table that is nice to read, and as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field

from .environments import Environment
from .rounds import Series, geometric_mean

ABSENT = "–"


@dataclass
class Row:
    """
    One case: the figures of each contender that took part in it.

    :param better: "more" or "less", whichever is better; "" for figures that merely
        inform, which are not compared
    :param digits: decimals to show
    """

    group: str
    label: str
    series: dict[str, Series]
    better: str = "more"
    digits: int = 0


@dataclass
class Result:
    """
    What one section measured.

    :param explanation: what was done and what is and is not compared
    :param means: whether a geometric mean over the rows makes sense
    :param notes: what else the reader must know
    :param faults: wrong answers of ours; they make the command fail
    :param appendix: text to show below everything
    :param details: more figures, for the JSON alone
    """

    name: str
    title: str
    unit: str
    explanation: str
    contenders: list[Environment]
    rows: list[Row]
    means: bool = False
    notes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    appendix: str = ""
    details: dict = field(default_factory=dict)

    @property
    def keys(self) -> list[str]:
        return [environment.contender.key for environment in self.contenders]

    def as_json(self) -> dict:
        return {
            "title": self.title,
            "unit": self.unit,
            "explanation": self.explanation,
            "rows": [
                {
                    "group": row.group,
                    "label": row.label,
                    "contenders": {
                        key: {
                            **series.as_json(),
                            "ours_is_times_as_good": ratio(row, key),
                        }
                        for key, series in row.series.items()
                    },
                    "better": row.better,
                }
                for row in self.rows
            ],
            "geometric_means": mean_figures(self.rows, self.keys)
            if self.means
            else None,
            "behind": behind(self),
            "notes": self.notes,
            "faults": self.faults,
            **self.details,
        }


def ratio(row: Row, key: str) -> float | None:
    """
    How many times as good as the contender ours is.

    None where a figure is missing, or nothing can be compared.
    """
    ours = row.series["ours"].median if "ours" in row.series else None
    theirs = row.series[key].median if key in row.series else None
    if not row.better or not ours or not theirs:
        return None
    return ours / theirs if row.better == "more" else theirs / ours


def mean_figures(rows: list[Row], keys: list[str]) -> dict[str, float | None]:
    """Each contender's geometric mean over the rows; None where a figure is missing."""
    means: dict[str, float | None] = {}
    for key in keys:
        medians = [row.series[key].median for row in rows if key in row.series]
        known = [median for median in medians if median is not None]
        means[key] = geometric_mean(known) if len(known) == len(rows) else None
    return means


def behind(result: Result) -> list[str]:
    """The cases in which ours is behind a peer, in words."""
    slower = []
    for row in result.rows:
        for environment in result.contenders[1:]:
            if environment.contender.ceiling:
                continue
            times = ratio(row, environment.contender.key)
            if times is not None and times < 1:
                where = f"{row.label} ({row.group})" if row.group else row.label
                slower.append(f"{environment.contender.title} in {where}: {times:.2f}×")
    return slower


def number(figure: float | None, digits: int = 0) -> str:
    return ABSENT if figure is None else f"{figure:,.{digits}f}"


def cell(row: Row, key: str) -> str:
    """A contender's median, with our ratio to it in brackets."""
    if key not in row.series:
        return ABSENT
    median = row.series[key].median
    if median is None:
        return "failed"
    if key == "ours":
        return number(median, row.digits)
    return f"{number(median, row.digits)} {bracket(ratio(row, key))}"


def bracket(times: float | None) -> str:
    return f"({times:.1f}×)".rjust(8) if times is not None else " " * 8


def spread(row: Row, key: str) -> str:
    if key not in row.series or not row.series[key].figures:
        return ABSENT
    figures = row.series[key].figures
    return f"{number(min(figures), row.digits)}–{number(max(figures), row.digits)}"


def render(result: Result) -> str:
    """The result as text: explanation, medians with ratios, spread, notes."""
    head = [
        ["", *(environment.contender.title for environment in result.contenders)],
        ["", *(environment.version for environment in result.contenders)],
    ]
    medians = [*head, *grouped(result, cell)]
    if result.means:
        means = mean_figures(result.rows, result.keys)
        line = ["geometric mean"]
        for key in result.keys:
            text = number(means[key])
            ours, theirs = means.get("ours"), means[key]
            if key != "ours":
                text += f" {bracket(ours / theirs if ours and theirs else None)}"
            line.append(text)
        medians += [[], line]
    rounds = max(
        (len(series.figures) for row in result.rows for series in row.series.values()),
        default=0,
    )
    lines = [
        result.title,
        "=" * len(result.title),
        result.explanation,
        "",
        f"{result.unit}, median of {rounds} round(s), and how many times as good ours is",
        "",
        *align(medians),
        "",
        *spreads(result, head, rounds),
        *remarks(result),
        "",
        result.appendix,
    ]
    return "\n".join(lines).rstrip() + "\n"


def spreads(result: Result, head: list[list[str]], rounds: int) -> list[str]:
    """The table of the least and the greatest figures, where there was a choice."""
    if rounds < 2:
        return []
    return ["least–greatest", "", *align([*head[:1], *grouped(result, spread)]), ""]


def grouped(result: Result, show) -> list[list[str]]:
    """The rows as cells, with a line for each new group."""
    lines: list[list[str]] = []
    group = ""
    for row in result.rows:
        if row.group != group:
            group = row.group
            lines.append([f"{group}"])
        indent = "  " if group else ""
        lines.append([indent + row.label, *(show(row, key) for key in result.keys)])
    return lines


def remarks(result: Result) -> list[str]:
    """Everything that went wrong or needs saying, one line each."""
    lines = []
    for environment in result.contenders:
        failures: dict[str, list[str]] = {}
        for row in result.rows:
            for error in row.series.get(environment.contender.key, Series()).errors:
                failures.setdefault(error, []).append(row.label)
        for error, labels in failures.items():
            cases = ", ".join(dict.fromkeys(labels))
            lines.append(f"! {environment.contender.title} failed in {cases}: {error}")
    lines += [f"! WRONG: {fault}" for fault in result.faults]
    slower = behind(result)
    if slower:
        lines.append("! ours is behind " + "; ".join(slower))
    return lines + [f"- {note}" for note in result.notes]


def align(lines: list[list[str]]) -> list[str]:
    """Cells in columns: the first to the left, the others to the right."""
    full = [line for line in lines if len(line) > 1]
    widths = [max(len(cell) for cell in column) for column in zip(*full, strict=True)]
    aligned = []
    for line in lines:
        cells = [
            text.ljust(width) if place == 0 else text.rjust(width)
            for place, (text, width) in enumerate(zip(line, widths))
        ]
        aligned.append("  ".join(cells).rstrip())
    return aligned
