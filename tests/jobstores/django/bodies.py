"""Callables for the jobs of these tests; each leaves its traces in a list or a file."""

from __future__ import annotations

import os
import time

calls: list[tuple] = []


def note(*args: object, **kwargs: object) -> None:
    """Remember the call."""
    calls.append((args, kwargs))


def other(*args: object, **kwargs: object) -> None:
    """Be another callable than `note`."""


def append(path: str, text: str) -> None:
    """Add a line to a file: the ledger that real processes write."""
    with open(path, "a") as ledger:
        ledger.write(f"{text} {os.getpid()}\n")


def append_and_hang(path: str, text: str) -> None:
    """Add a line to a file, then take a minute."""
    append(path, text)
    time.sleep(60)
