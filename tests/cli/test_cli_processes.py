"""The installed command in a process of its own: signals, outputs kept apart."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from conftest import Databases
from psycopg import sql

from quantbot_pipeline.sample.generate import SampleFiles

pytestmark = [pytest.mark.server, pytest.mark.slow]

QUANTBOT = Path(sys.executable).with_name("quantbot")
DEADLINE_SECONDS = 120


def _take_signals() -> None:
    # A test run in the background ignores Ctrl-C, and its children would too.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def _started(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [QUANTBOT, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ.copy(),
        preexec_fn=_take_signals,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def _wait_for_rows(databases: Databases, table: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    with psycopg.connect(databases.postgres, autocommit=True) as connection:
        while time.monotonic() < deadline:
            there = connection.execute("select to_regclass(%s) is not null", [table]).fetchone()
            if there == (True,):
                row = connection.execute(
                    sql.SQL("select exists (select from {})").format(sql.Identifier(table))
                ).fetchone()
                if row == (True,):
                    return
            time.sleep(0.02)
    pytest.fail(f"the demo stored nothing in {table} in {DEADLINE_SECONDS} s")


@pytest.mark.parametrize("table", ["alerts", "simulation_runs"])
def test_ctrl_c_during_the_demo_is_one_line_and_130(
    table: str, fresh_databases: Databases, sample: SampleFiles
) -> None:
    """Dagster takes an interrupted run for a failed one; the command said 'failed without a step', code 1."""
    alerts = [argument for file in sample.alert_files for argument in ("--alerts", file)]
    with _started("demo", "--json", "--candles", sample.candle_files[0].parent, *alerts) as process:
        _wait_for_rows(fresh_databases, table)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert "error" not in err
    assert err.splitlines()[-1] == "stopped; what was finished is stored, run the command again to go on"


@pytest.mark.deep
def test_progress_of_the_demo_goes_to_standard_error(fresh_databases: Databases, sample: SampleFiles) -> None:
    alerts = [argument for file in sample.alert_files for argument in ("--alerts", file)]
    with _started("demo", "--json", "--candles", sample.candle_files[0].parent, *alerts) as process:
        out, err = process.communicate(timeout=2 * DEADLINE_SECONDS)
    assert process.returncode == 0, err
    summary = json.loads(out)
    assert summary["candles"] == sample.expected["candles"]
    assert summary["runs_failed"] == 0
    assert set(summary["stages"]) >= {"servers and schema", "simulations", "views and report"}
    assert "\x1b" not in out + err, "colours and cursor movements are for terminals"
