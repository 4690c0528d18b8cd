"""Bodies that tell what they were called with, for the storm of edits."""

from __future__ import annotations

import json
import os
import pathlib

from django_apscheduler import current_run
from tests.chaos import ledger


def even(n: int, again: int) -> None:
    """Be what runs for even numbers."""
    _tell("even", n, again)


def odd(n: int, again: int) -> None:
    """Be what runs for odd numbers."""
    _tell("odd", n, again)


def _tell(body: str, n: int, again: int) -> None:
    ledger.write(ledger.BEGAN)
    run = current_run()
    assert run is not None
    line = json.dumps({"id": run.execution_id, "body": body, "n": n, "again": again})
    descriptor = os.open(told(), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)
    ledger.write(ledger.ENDED)


def told() -> pathlib.Path:
    """Return the file beside the ledger in which these bodies write their arguments."""
    return pathlib.Path(os.environ[ledger.VARIABLE]).with_suffix(".told")
