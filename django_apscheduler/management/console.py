"""What ``runapscheduler`` shows: a banner, the jobs, and one line per state change."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Any

from django.utils.termcolors import make_style

#: Columns of the lines that tell of runs.
WORD_WIDTH = 9
NAME_WIDTH_MAX = 40

_STYLES: dict[str, dict[str, Any]] = {
    "good": {"fg": "green"},
    "bad": {"fg": "red", "opts": ("bold",)},
    "doubtful": {"fg": "yellow"},
    "quiet": {"fg": "cyan"},
    "title": {"opts": ("bold",)},
}


def wants_colour(stream: Any, no_color: bool = False) -> bool:
    """
    Tell whether to colour: on a terminal, unless the user says no.

    Source: https://no-color.org (any value of NO_COLOR that is not empty).
    """
    if no_color or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return bool(getattr(stream, "isatty", lambda: False)())


class Console:
    """
    Writes lines, one thread at a time, coloured or not.

    :param verbosity: 0 shows only what goes wrong, 1 every state change, 2 also edits
        of jobs
    """

    def __init__(self, stream: Any, colour: bool, verbosity: int, zone: tzinfo):
        self.stream = stream
        self.colour = colour
        self.verbosity = verbosity
        self.zone = zone
        self.name_width = 12
        self._lock = threading.Lock()
        self._styles = {
            name: make_style(**style) if colour else str
            for name, style in _STYLES.items()
        }

    def styled(self, style: str, text: str) -> str:
        return self._styles[style](text) if style else text

    def write(self, text: str = "", style: str = "") -> None:
        """Write a line at once, whoever else is writing; a closed pipe is no error."""
        with self._lock:
            try:
                self.stream.write(self.styled(style, text) + "\n")
                self.stream.flush()
            except (BrokenPipeError, ValueError):
                # The reader went away (`| head`); jobs go on running.
                pass

    def say(self, text: str = "", style: str = "") -> None:
        """Write a line that quiet users do without."""
        if self.verbosity >= 1:
            self.write(text, style)

    def fields(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Write names and values in two columns."""
        pairs = list(pairs)
        width = max((len(name) for name, _ in pairs), default=0)
        for name, value in pairs:
            self.say(f"  {name:<{width}}  {value}")

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Write rows in aligned columns; the last column may be of any width."""
        widths = [
            max(len(row[column]) for row in (headings, *rows))
            for column in range(len(headings))
        ]
        for index, row in enumerate((headings, *rows)):
            cells = [text.ljust(width) for text, width in zip(row, widths)]
            self.say(f"  {'  '.join(cells)}".rstrip(), "quiet" if not index else "")

    def make_room(self, names: Iterable[str]) -> None:
        """Make the column of job names wide enough for ``names``, within limits."""
        widest = max(map(len, names), default=0)
        self.name_width = max(self.name_width, min(widest, NAME_WIDTH_MAX))

    def event(
        self, now: datetime, word: str, name: str, text: str = "", style: str = ""
    ) -> None:
        """Write one line that tells of a job: time, what happened, job, details."""
        self.make_room([name])
        time = f"{now.astimezone(self.zone):%H:%M:%S}"
        shown = self.styled(style, f"{word:<{WORD_WIDTH}}")
        line = f"{time}  {shown}  {name:<{self.name_width}}  {text}"
        self.write(line.rstrip())


def moment(value: datetime | None, now: datetime, zone: tzinfo) -> str:
    """Return a time to come for people: today's without date, the near one with delay."""
    if value is None:
        return "never"
    local, today = value.astimezone(zone), now.astimezone(zone)
    if local.date() == today.date():
        text = f"{local:%H:%M:%S}"
    elif abs(local - today) < timedelta(days=6):
        text = f"{local:%a %H:%M:%S}"
    else:
        text = f"{local:%Y-%m-%d %H:%M:%S}"
    delay = (value - now).total_seconds()
    if delay < 0:
        return f"{text} (overdue)"
    return f"{text} (in {span(delay)})"


def span(seconds: float) -> str:
    """Return a length of time in one or two units: 5 s, 2 min, 3 h 20 min, 4 d."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours and days < 7 else f"{days} d"


def duration(seconds: float) -> str:
    """Return how long something took, with as many digits as matter."""
    if seconds < 0.001:
        return "< 1 ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 100:
        return f"{seconds:.1f} s"
    return span(seconds)


def first_line(error: BaseException | None) -> str:
    """Return an exception in one line, as the last line of its traceback would."""
    if error is None:
        return ""
    text = " ".join(str(error).split())
    name = type(error).__name__
    line = f"{name}: {text}" if text else name
    return line if len(line) <= 200 else f"{line[:199]}…"
