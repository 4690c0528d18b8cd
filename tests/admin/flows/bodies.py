"""What the jobs of the flows run. They write what they do into a ledger file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from django_apscheduler import current_run


def note(text: str) -> None:
    """Append a line; one write, so that lines of several runs do not mix."""
    run = current_run()
    with open(os.environ["LEDGER"], "a") as ledger:
        ledger.write(f"{run.job_id} {text}\n")


def quick() -> None:
    """Count the orders."""
    note("quick")


def unnoted() -> None:
    """Leave nothing behind."""


def punctual() -> None:
    """Note when this run was due."""
    note(f"due {current_run().run_time.isoformat()}")


def failing() -> None:
    """Fetch a rate that nobody offers."""
    note("failing")
    raise ValueError("no rate for XAU")


def hold() -> None:
    """Go on until the test says that it is enough, by a file."""
    note("hold begins")
    while not os.path.exists(os.environ["LEDGER"] + ".enough"):
        time.sleep(0.02)
    note("hold ends")


def patient() -> None:
    """Go on until somebody cancels the run."""
    note("patient begins")
    while True:
        run = current_run()
        if run.cancelled:
            note("patient is told")
            run.raise_if_cancelled()
        time.sleep(0.02)


#: What the forms offer.
CALLABLES: tuple[Callable[..., None], ...] = (
    quick,
    unnoted,
    punctual,
    failing,
    hold,
    patient,
)
