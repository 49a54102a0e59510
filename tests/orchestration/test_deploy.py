"""The production configuration in `deploy/`: Dagster loads it, and it says what its comments say."""

import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.run_coordinator import QueuedRunCoordinator
from dagster._core.scheduler.instigation import TickStatus
from dagster_postgres import PostgresEventLogStorage

from quantbot_pipeline.servers.status import ServerUrls
from tests.conftest import PROJECT_ROOT

DEPLOY = PROJECT_ROOT / "deploy"


@pytest.fixture
def instance(server_urls: ServerUrls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """The production instance: its configuration in a folder of its own, servers by URL."""
    monkeypatch.setenv("QUANTBOT_POSTGRES_URL", server_urls.postgres)
    monkeypatch.setenv("QUANTBOT_CLICKHOUSE_URL", server_urls.clickhouse)
    monkeypatch.setenv("QUANTBOT_HOME", str(tmp_path / "home"))
    folder = tmp_path / "dagster"
    folder.mkdir()
    shutil.copy(DEPLOY / "dagster.yaml", folder)
    with dg.DagsterInstance.from_config(str(folder)) as loaded:
        yield loaded
    # Whoever is given URLs starts no server, so makes no home.
    assert not (tmp_path / "home").exists()


@dg.op
def answer() -> int:
    return 42


@dg.job
def answering() -> None:
    answer()


@pytest.mark.server
def test_the_production_instance_records_runs_in_the_postgres_that_its_url_names(
    instance: dg.DagsterInstance, server_urls: ServerUrls
) -> None:
    events = instance.event_log_storage
    assert isinstance(events, PostgresEventLogStorage)
    assert events.postgres_url == server_urls.dagster_postgres
    result = answering.execute_in_process(instance=instance)
    assert instance.get_run_by_id(result.run_id).status is dg.DagsterRunStatus.SUCCESS  # type: ignore[union-attr]
    instance.delete_run(result.run_id)


@pytest.mark.server
def test_the_production_instance_limits_retries_and_forgets_as_its_file_says(instance: dg.DagsterInstance) -> None:
    assert isinstance(instance.run_coordinator, QueuedRunCoordinator)
    queue = instance.get_concurrency_config().run_queue_config
    assert queue is not None
    assert queue.max_concurrent_runs == 4
    assert queue.tag_concurrency_limits == [{"key": "dagster/backfill", "limit": 3}]
    assert queue.max_user_code_failure_retries == 2
    assert instance.global_op_concurrency_default_limit == 1
    assert instance.run_monitoring_enabled
    assert instance.run_monitoring_poll_interval_seconds == 60
    assert instance.run_monitoring_start_timeout_seconds == 300
    assert instance.run_monitoring_max_runtime_seconds == 12 * 3600
    assert instance.run_retries_enabled
    assert instance.run_retries_max_retries == 1
    assert not instance.run_retries_retry_on_asset_or_op_failure
    assert not instance.telemetry_enabled
    assert not instance.nux_enabled
    assert instance.get_tick_retention_settings(InstigatorType.SENSOR) == {
        TickStatus.SKIPPED: 2,
        TickStatus.FAILURE: 30,
        TickStatus.SUCCESS: 30,
        TickStatus.STARTED: 2,
    }
    assert set(instance.get_tick_retention_settings(InstigatorType.SCHEDULE).values()) == {90}


def _keys_without_reason(path: Path) -> list[str]:
    """Return keys of the two upper levels above which no comment stands, nor above the key that they belong to."""
    found = []
    reasons: dict[int, bool] = {}
    is_after_comment = True
    for line in path.read_text().splitlines():
        text = line.strip()
        if not text:
            continue
        if text.startswith("#"):
            is_after_comment = True
            continue
        depth = len(line) - len(line.lstrip(" -"))
        reasons = {level: told for level, told in reasons.items() if level < depth}
        if not (is_after_comment or any(reasons.values())):
            found.append(text)
        reasons[depth] = is_after_comment
        is_after_comment = False
    return found


@pytest.mark.parametrize("name", ["dagster.yaml", "workspace.yaml"])
def test_every_setting_of_production_has_its_reason(name: str) -> None:
    assert _keys_without_reason(DEPLOY / name) == []


def test_a_setting_without_reason_is_found(tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    path.write_text("# why\none:\n  two: 1\nthree: 2\n")
    assert _keys_without_reason(path) == ["three: 2"]


def test_no_file_of_production_holds_a_password() -> None:
    for path in sorted(DEPLOY.rglob("*")):
        if path.is_file():
            for password in re.findall(r"://[^:/\s]+:([^@\s]+)@", path.read_text()):
                assert password in ("PASSWORD",), path


def test_units_and_workspace_name_one_address_and_one_location() -> None:
    [location] = yaml.safe_load((DEPLOY / "workspace.yaml").read_text())["load_from"]
    server = location["grpc_server"]
    unit = (DEPLOY / "systemd" / "quantbot-code.service").read_text()
    assert f"--host {server['host']} --port {server['port']} " in unit
    assert f"--location-name {server['location_name']}\n" in unit
    [local] = yaml.safe_load((PROJECT_ROOT / "workspace.yaml").read_text())["load_from"]
    assert local["python_module"]["location_name"] == server["location_name"]
    assert f"--module-name {local['python_module']['module_name']} " in unit


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    """With programs that exist, for it looks for them."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not here")
    for path in (DEPLOY / "systemd").glob("quantbot-*"):
        text = re.sub(r"/opt/quantbot/\.venv/bin/\S+", "/bin/true", path.read_text())
        (tmp_path / path.name).write_text(text)
    units = sorted(str(path) for path in tmp_path.iterdir())
    answer = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    ours = [line for line in answer.stderr.splitlines() if "quantbot-" in line]
    assert ours == []
    assert len(units) == 6


@contextmanager
def _code_server(port: int, log: Path) -> Iterator[None]:
    """The process that the unit starts, on another port."""
    unit = (DEPLOY / "systemd" / "quantbot-code.service").read_text()
    [command] = re.findall(r"^ExecStart=/opt/quantbot/\.venv/bin/dagster (.*)$", unit, re.MULTILINE)
    arguments = re.sub(r"--port \d+", f"--port {port}", command).split()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("dagster")), *arguments], stdout=output, stderr=output
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)


@pytest.mark.deep
@pytest.mark.server
def test_a_code_server_serves_the_graph_through_the_workspace(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    workspace = tmp_path / "workspace.yaml"
    workspace.write_text((DEPLOY / "workspace.yaml").read_text().replace("port: 4266", f"port: {port}"))
    folder = instance.root_directory
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    list_jobs = [str(Path(sys.executable).with_name("dagster")), "job", "list", "--workspace", str(workspace)]
    deadline = datetime.now(UTC) + timedelta(seconds=180)
    with _code_server(port, tmp_path / "code.log"):
        while True:
            answer = subprocess.run(list_jobs, capture_output=True, text=True, check=False)
            if answer.returncode == 0 or datetime.now(UTC) > deadline:
                break
            time.sleep(2)
    assert answer.returncode == 0, answer.stderr + (tmp_path / "code.log").read_text()
    assert "Job: train_job" in answer.stdout
