"""The work behind the jobs: plain functions that know nothing of a scheduler."""

from __future__ import annotations

import csv
import os
import re
import shutil
import sqlite3
from collections import Counter
from datetime import date, datetime
from decimal import Decimal
from math import isqrt
from pathlib import Path

LOG_LINE = re.compile(r"(\d{4}-\d\d-\d\d) \S+ (DEBUG|INFO|WARNING|ERROR|CRITICAL) ")


class RatesError(ValueError):
    """Raised when a supplier's file of rates is not what was agreed."""


def measure_disk(path: Path) -> tuple[int, int]:
    """Answer the total and the free bytes of the file system that holds a path."""
    usage = shutil.disk_usage(path)
    return usage.total, usage.free


def measure_memory(meminfo: Path = Path("/proc/meminfo")) -> tuple[int, int] | None:
    """Answer the total and the available bytes of memory; None except on Linux."""
    try:
        text = meminfo.read_text()
    except OSError:
        return None
    found = dict(re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE))
    return int(found["MemTotal"]) * 1024, int(found["MemAvailable"]) * 1024


def back_up(source: Path, target: Path) -> int:
    """
    Copy an SQLite database while it is in use, check the copy, answer its size in bytes.

    Source: SQLite's online backup API. The target appears only when it is complete.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    origin = sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)
    copy = sqlite3.connect(unfinished)
    try:
        origin.backup(copy)
        verdict = copy.execute("PRAGMA quick_check").fetchone()[0]
    finally:
        copy.close()
        origin.close()
    if verdict != "ok":
        raise sqlite3.DatabaseError(f"the copy {unfinished} is damaged: {verdict}")
    os.replace(unfinished, target)
    return target.stat().st_size


def count_lines(path: Path, offset: int) -> tuple[Counter[tuple[date, str]], int]:
    """
    Count the log lines behind an offset by day and level.

    Lines that continue a message (tracebacks) are not counted, and a last line that is
    still being written waits for the next time.

    :return: (day, level) → lines, and the offset to go on from
    """
    counts: Counter[tuple[date, str]] = Counter()
    with open(path, "rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                break
            offset += len(line)
            match = LOG_LINE.match(line.decode("utf-8", "replace"))
            if match:
                counts[date.fromisoformat(match[1]), match[2]] += 1
    return counts, offset


def count_primes(after: int, upto: int) -> int:
    """Count the primes p with after < p <= upto, by a sieve over that stretch."""
    low, high = max(after + 1, 2), upto + 1
    if low >= high:
        return 0
    stretch = bytearray([1]) * (high - low)
    for factor in small_primes(isqrt(upto)):
        first = max(factor * factor, (low + factor - 1) // factor * factor)
        stretch[first - low :: factor] = bytes(
            len(range(first - low, high - low, factor))
        )
    return sum(stretch)


def small_primes(upto: int) -> list[int]:
    sieve = bytearray([1]) * (upto + 1)
    for number in range(2, isqrt(upto) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(
                len(range(number * number, upto + 1, number))
            )
    return [number for number in range(2, upto + 1) if sieve[number]]


def rates_file(folder: Path, moment: datetime) -> Path:
    """Answer the file that the supplier has on offer at a moment: a new one each 15 s."""
    files = sorted(folder.glob("*.csv"))
    if not files:
        raise RatesError(f"the supplier's folder {folder} holds no .csv file")
    return files[int(moment.timestamp() // 15) % len(files)]


def read_rates(path: Path) -> dict[str, Decimal]:
    """
    Read a supplier's file: a header `currency,rate`, then one currency a line.

    :raises RatesError: naming the file and the line that is wrong
    """
    rates: dict[str, Decimal] = {}
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        for row in reader:
            currency, text = row["currency"], row["rate"]
            try:
                rate = Decimal(text)
            except ArithmeticError as error:
                raise RatesError(
                    f"{path.name}, line {reader.line_num}: the rate of {currency} must "
                    f"be a number such as 1.0845; got {text!r}"
                ) from error
            rates[currency] = rate
    return rates
