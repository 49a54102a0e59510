"""The main job as a user runs it: in processes of its own, on real servers, also when the plug is pulled."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import clickhouse_connect
import psycopg
import pytest

from quantbot_pipeline.servers.embedded import ensure_servers, server_status
from quantbot_pipeline.settings import Settings
from tests.end_to_end.conftest import Home

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("demo")]

COUNTS = (
    "candles",
    "alerts",
    "duplicates",
    "quarantined",
    "calls",
    "runs_completed",
    "runs_failed",
    "events",
    "aggregates",
    "trials",
    "models_ready",
)


def test_every_count_is_true_in_both_databases(home: Home, first: dict[str, Any]) -> None:
    urls = ensure_servers(home.settings)
    with psycopg.connect(urls.postgres) as postgres:

        def count(query: str) -> int:
            row = postgres.execute(query).fetchone()  # type: ignore[call-overload]  # plain text of this test
            assert row is not None
            return int(row[0])

        found = {
            "alerts": count("select count(*) from alerts"),
            "calls": count("select count(*) from calls"),
            "duplicates": count("select sum(rows_duplicate) from imports"),
            "quarantined": count("select count(*) from quarantine"),
            "runs_completed": count("select count(*) from simulation_runs where status = 'completed'"),
            "runs_failed": count("select count(*) from simulation_runs where status = 'failed'"),
            "trials": count("select count(*) from optimization_trials"),
            "models_ready": count("select count(*) from ml_models where status = 'ready'"),
        }
        assert count("select count(*) from simulation_results_summary") == found["runs_completed"]
        assert count("select count(*) from optimization_trials where simulation_run_id is null") == 0
        # A sample this small may hold too little to be better than the baselines; the model is registered either way.
        assert count("select count(*) from ml_models") == 1
    client = clickhouse_connect.get_client(dsn=urls.clickhouse)
    for name, table in {
        "candles": "ohlcv_candles",
        "events": "simulation_events",
        "aggregates": "simulation_aggregates",
    }.items():
        found[name] = int(client.command(f"select count() from {table} final"))  # noqa: S608 - names of this test
    client.close()
    assert found == {name: first[name] for name in COUNTS}
    assert first["runs_failed"] == 0
    assert min(first[name] for name in COUNTS if name not in ("runs_failed", "models_ready")) > 0
    assert Path(first["report"]).stat().st_size > 20_000
    # The overview, seven lists, what is left out, six strategies, and pages of callers, runs and the search.
    assert len(list(Path(first["report"]).parent.rglob("*.html"))) > 25


def test_running_it_again_changes_no_count(home: Home, first: dict[str, Any]) -> None:
    second = home.demo()
    assert {name: second[name] for name in COUNTS} == {name: first[name] for name in COUNTS}


def test_materialisations_are_in_the_lineage(home: Home, first: dict[str, Any]) -> None:
    script = (
        "import dagster as dg, json\n"
        "from quantbot_pipeline.definitions import defs\n"
        "with dg.DagsterInstance.get() as instance:\n"
        "    keys = defs.resolve_asset_graph().get_all_asset_keys()\n"
        "    missing = [key for key in keys if instance.get_latest_materialization_event(key) is None]\n"
        "print(json.dumps([key.to_user_string() for key in missing]))\n"
    )
    environment = os.environ | {
        "QUANTBOT_HOME": str(home.settings.home),
        "DAGSTER_HOME": str(home.settings.dagster_home),
    }
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert first["calls"] > 0
    assert json.loads(done.stdout.splitlines()[-1]) == []


@pytest.mark.deep
@pytest.mark.parametrize("victim", ["clickhouse", "postgres"])
def test_killed_in_the_middle_and_run_again_gives_the_same_counts(
    victim: str, other_home: Home, first: dict[str, Any]
) -> None:
    """The owner of ClickHouse, or Postgres, dies by SIGKILL while the main job writes."""
    process = other_home.start(*other_home.demo_arguments)
    _wait_for_candles(other_home.settings)
    for status in server_status(other_home.settings):
        if status.name == victim:
            assert status.pid is not None
            os.kill(status.pid, signal.SIGKILL)
    _, stderr = process.communicate(timeout=500)
    assert process.returncode in {0, 3, 4}, stderr
    assert "Traceback" not in stderr
    again = other_home.demo()
    assert {name: again[name] for name in COUNTS} == {name: first[name] for name in COUNTS}


def _wait_for_candles(settings: Settings) -> None:
    """Wait until the main job has stored its first candles."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        states = {status.name: status.state for status in server_status(settings)}
        if states["clickhouse"] == "running" and states["postgres"] == "running":
            client = clickhouse_connect.get_client(dsn=ensure_servers(settings).clickhouse)
            try:
                if int(client.command("exists table ohlcv_candles")) and int(
                    client.command("select count() from ohlcv_candles")
                ):
                    return
            finally:
                client.close()
        time.sleep(0.2)
    pytest.fail("the main job stored no candles in five minutes")
