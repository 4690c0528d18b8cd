"""The profile of ours as text."""

from __future__ import annotations

from .report import align


def render_profile(label: str, profile: dict) -> str:
    """Tables of threads, SQL and functions, for the answer of a profiled burst."""
    runs, seconds = profile["runs"], profile["seconds"]
    rate = f"{runs / seconds:,.0f} a second (slowed down by the profiling)"
    lines = [
        f"Where the time goes: {label}, {runs:,} runs in {seconds:.2f} s, {rate}",
        "",
    ]
    table = [["thread", "CPU s", "% of time", "in SQL s", "µs CPU a run"]]
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
