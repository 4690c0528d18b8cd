"""What the failure tests share: a ledger, a fleet of processes, and the scale."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest

from tests.chaos import LONG
from tests.chaos.fleet import Fleet
from tests.chaos.ledger import Ledger

T = TypeVar("T")

FIGURES = "figures"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name == "chaos":
            item.add_marker(pytest.mark.chaos)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Any:
    outcome = yield
    report = outcome.get_result()
    fleet = getattr(item, "funcargs", {}).get("fleet")
    if report.failed and report.when == "call" and fleet is not None:
        report.sections.append(("schedulers", fleet.tails()))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [
        report
        for kind in ("passed", "failed")
        for report in terminalreporter.stats.get(kind, [])
        if dict(report.user_properties).get(FIGURES)
    ]
    if not reports or not LONG:
        return
    terminalreporter.section("what was found")
    for report in reports:
        terminalreporter.write_line(report.nodeid.rpartition("::")[2])
        terminalreporter.write_line(f"    {dict(report.user_properties)[FIGURES]}")


@pytest.fixture
def scale() -> Callable[[T, T], T]:
    """Return ``scale(short, long)``, which chooses the number for this run."""
    return lambda short, long: long if LONG else short


@pytest.fixture
def tell(record_property: Any) -> Callable[..., None]:
    """Return ``tell(kills=3, …)``, which notes figures for the end of `make chaos`."""

    def tell(**figures: Any) -> None:
        words = (
            f"{name.replace('_', ' ')}: {value}" for name, value in figures.items()
        )
        record_property(FIGURES, ", ".join(words))

    return tell


@pytest.fixture
def ledger(tmp_path: Any) -> Ledger:
    """A ledger on disk, of this test alone."""
    return Ledger(tmp_path / "ledger.jsonl")


@pytest.fixture
def fleet(ledger: Ledger, transactional_db: None) -> Iterator[Fleet]:
    """Schedulers to start; none of them outlives the test."""
    fleet = Fleet(ledger)
    yield fleet
    fleet.close()
