"""Processes for the tests of the commands."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.management.processes import Command


@pytest.fixture
def ledger(tmp_path):
    return tmp_path / "ledger.txt"


@pytest.fixture
def run(child_environment, ledger) -> Callable[..., Command]:
    """Start ``manage.py …`` on the test's database; upper-case keywords are variables."""
    started: list[Command] = []

    def run(*arguments: str, **variables: str) -> Command:
        environment = {**child_environment, **variables}
        command = Command(*arguments, environment=environment, ledger=ledger)
        started.append(command)
        return command

    yield run
    for command in started:
        command.kill()
