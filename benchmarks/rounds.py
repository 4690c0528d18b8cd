"""
Run contenders in processes of their own, in alternating rounds, and sum up.

Round after round, each contender gets its turn, so that a machine that slows down or
speeds up meanwhile treats all alike; the median of the rounds is what counts.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .environments import CONTENDERS, Environment

#: Seconds a contender's process may take before it is ended and reported.
PROCESS_SECONDS = 900

#: A contender that failed this often is not tried again.
FAILURES = 2


class ContenderFailed(Exception):
    """A contender's process died, hung or did not do the work; says how."""


def ask(
    environment: Environment,
    script: str,
    request: dict,
    seconds: float = PROCESS_SECONDS,
) -> dict:
    """
    Run a contender's script with a request and answer what it answers.

    :param seconds: how long it may take
    Raises ContenderFailed with the last line the process wrote to standard error.
    """
    try:
        done = subprocess.run(
            [str(environment.python), str(CONTENDERS / script)],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            env=environment.variables(),
            cwd=CONTENDERS,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise ContenderFailed(f"did not finish within {seconds} s") from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise ContenderFailed(said[-1] if said else f"exit status {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


@dataclass
class Series:
    """One contender's figures in one case, a figure a round; larger is better."""

    figures: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def median(self) -> float | None:
        """None when no round succeeded."""
        return statistics.median(self.figures) if self.figures else None

    def as_json(self) -> dict:
        return {
            "median": self.median,
            "min": min(self.figures, default=None),
            "max": max(self.figures, default=None),
            "figures": self.figures,
            "errors": self.errors,
        }


def alternate(
    keys: Sequence[str], rounds: int, run: Callable[[str], list[float]]
) -> dict[str, list[Series]]:
    """
    Let each contender run once a round and gather its figures, case by case.

    :param run: called with a contender's key; answers one figure per case, or raises
        ContenderFailed
    :return: per key one Series per case; one Series holding the errors alone for a
        contender that never succeeded
    """
    gathered: dict[str, list[Series]] = {key: [] for key in keys}
    errors: dict[str, list[str]] = {key: [] for key in keys}
    for number in range(rounds):
        # Every second round the other way round, so that nobody always runs in
        # another's wake.
        for key in keys if number % 2 == 0 else reversed(keys):
            if len(errors[key]) >= FAILURES:
                continue
            try:
                figures = run(key)
            except ContenderFailed as failure:
                errors[key].append(str(failure))
                continue
            gathered[key] = gathered[key] or [Series() for _ in figures]
            for series, figure in zip(gathered[key], figures, strict=True):
                series.figures.append(figure)
    for key in keys:
        gathered[key] = gathered[key] or [Series()]
        for series in gathered[key]:
            series.errors = errors[key]
    return gathered


def geometric_mean(figures: Sequence[float]) -> float:
    """The figure that, multiplied by itself once per figure, gives their product."""
    if not figures or min(figures) <= 0:
        raise ValueError(f"expected figures greater than 0, got {list(figures)}")
    return math.exp(sum(math.log(figure) for figure in figures) / len(figures))
