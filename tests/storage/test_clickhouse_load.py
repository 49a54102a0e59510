"""The embedded ClickHouse under sixteen clients that insert and read at once."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.conftest import PROJECT_ROOT

pytestmark = pytest.mark.server

OWNER_MEMORY_MB = 4_000


def _load(seconds: int, processes: int) -> dict[str, Any]:
    """Run the benchmark; it counts every acknowledged row at its end, and starts and stops an owner of its own."""
    arguments = ["--seconds", str(seconds), "--clients", "16", "--processes", str(processes), "--json"]
    ended = subprocess.run(
        [sys.executable, "benchmarks/measure_clickhouse_load.py", *arguments],
        cwd=PROJECT_ROOT,
        env=os.environ | {"PYTHONPATH": str(PROJECT_ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    assert (ended.returncode == 0) == (not found["errors"] and not found["lost_or_double"])
    return found


@pytest.mark.parametrize(
    ("seconds", "processes"),
    [(3, 1), pytest.param(120, 4, marks=[pytest.mark.deep, pytest.mark.timeout(600)])],
)
def test_sixteen_clients_at_once_get_no_error_and_lose_no_row(seconds: int, processes: int) -> None:
    found = _load(seconds, processes)
    assert found["errors"] == []
    assert found["lost_or_double"] == []
    assert found["owner_peak_mb"] < OWNER_MEMORY_MB
    # Work was done: each client inserted something, and all kinds of reading happened.
    assert found["events_inserted"] >= 16 * 64 * 50 // 4
    assert found["kinds"]["read a token-month"]["count"] > 0
