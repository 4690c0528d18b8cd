"""Let ours work once more under the profiler, and show what it found as text."""

from __future__ import annotations

from .databases import Options, Place
from .environments import Environment
from .report import align
from .rounds import ask


def profile_of(
    ours: Environment,
    place: Place,
    options: Options,
    script: str,
    request: dict,
    unit: str = "run",
) -> tuple[str, dict]:
    """
    Ask a script for a profile; answer the tables and the figures.

    :param request: what the script is asked to do, all but the database
    :param unit: what it does so many times
    """
    asked = {
        **request,
        "database": place.make(),
        "profile": {
            "py_spy": options.py_spy,
            "postmaster": place.server.postmaster() if place.server else None,
        },
    }
    answer = ask(ours, script, asked)["profile"]
    text = render_profile(place.label, answer, unit)
    return text, {"database": place.label, **answer}


def render_profile(label: str, profile: dict, unit: str = "run") -> str:
    """Tables of threads, SQL and functions, for the answer of a profiled burst."""
    runs, seconds = profile["runs"], profile["seconds"]
    rate = f"{runs / seconds:,.0f} a second (slowed down by the profiling)"
    lines = [
        f"Where the time goes: {label}, {runs:,} {unit}s in {seconds:.2f} s, {rate}",
        "",
    ]
    table = [["thread", "CPU s", "% of time", "in SQL s", f"µs CPU a {unit}"]]
    for role, spent in profile["threads"].items():
        if spent["cpu"] or spent["sql"]:
            table.append(_thread(role, spent["cpu"], runs, seconds, spent["sql"]))
    if profile["server_cpu"] is not None:
        table.append(_thread("database server", profile["server_cpu"], runs, seconds))
    lines += [*align(table), ""]
    table = [["SQL (waiting for the interpreter included)", "a 1,000 runs", "s", "ms"]]
    for role, what, per_thousand, spent in profile["statements"]:
        each = 1_000_000 * spent / (per_thousand * runs) if per_thousand else 0.0
        table.append(
            [f"{role}: {what}", f"{per_thousand:.1f}", f"{spent:.3f}", f"{each:.2f}"]
        )
    count = sum(row[2] for row in profile["statements"])
    table.append(["all", f"{count:.1f}", "", ""])
    lines += [*align(table), ""]
    if "failure" in profile:
        return "\n".join([*lines, f"! {profile['failure']}", ""])
    lines.append(f"Holding the interpreter, % of {profile['samples']:,} samples")
    for title, key in (
        ("by thread", "roles"),
        ("functions themselves", "own"),
        ("functions with what they call", "total"),
    ):
        lines += ["", title]
        lines += [f"{share:6.1f}  {name}" for name, share in profile[key]]
    return "\n".join([*lines, ""])


def _thread(
    role: str, cpu: float, runs: int, seconds: float, sql: float | None = None
) -> list[str]:
    return [
        role,
        f"{cpu:.2f}",
        f"{100 * cpu / seconds:.0f}",
        "" if sql is None else f"{sql:.2f}",
        f"{1_000_000 * cpu / runs:.1f}",
    ]
