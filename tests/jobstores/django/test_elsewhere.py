"""Jobs in a database of their own, in a project without time zones."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.databases import child_environment

pytestmark = pytest.mark.processes


def test_jobs_live_where_the_router_says_in_a_project_without_time_zones(tmp_path):
    """A process of its own, because Django reads such settings once."""
    path = tmp_path / "ledger"
    done = subprocess.run(
        [sys.executable, "-m", "tests.jobstores.django.elsewhere_run", str(path)],
        env={
            **child_environment(),
            "DJANGO_SETTINGS_MODULE": "tests.jobstores.django.elsewhere",
            "ELSEWHERE": str(tmp_path),
        },
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["jobs"] == ["l", "warned"]
    assert told["database"] == "jobs"
    assert told["age"] < 60
    assert -1 < told["started"] < 10
    assert told["later"] == told["wall"]
    assert "Use atomic(using='jobs')" in done.stderr
    assert [line.split()[0] for line in path.read_text().splitlines()] == ["warned"]
