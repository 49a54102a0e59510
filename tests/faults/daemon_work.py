"""Dagster's daemon as a victim: what it runs, and the backfill that it has under way.

Both functions are called in forked processes only (see `victim.py`): they change what Dagster does in the process.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

from tests.faults.moments import Announcer

# What the daemon asks of the instance: each is one step of a backfill's or a run's life.
_STEPS = ("update_backfill", "create_run", "submit_run", "report_dagster_event")
_SECONDS_BETWEEN_TICKS = 1


def request_backfill(*, name: str, months: list[str], strategies: list[str], file: str) -> int:
    """Ask for a backfill of the simulation of all tokens with calls, as the UI does; return an exit code."""
    import dagster as dg
    from dagster._core.execution.backfill import PartitionBackfill

    from quantbot_pipeline.definitions import build_definitions
    from quantbot_pipeline.defs.partitions import register_tokens, token_month_key
    from quantbot_pipeline.defs.simulation_assets import SIMULATION_ASSETS
    from quantbot_pipeline.servers.dagster_ui import prepare_dagster_home
    from quantbot_pipeline.servers.embedded import ensure_servers
    from quantbot_pipeline.settings import load_settings
    from quantbot_pipeline.storage.postgres import PostgresStore
    from quantbot_pipeline.workflows.store_strategies import store_strategies
    from quantbot_pipeline.workflows.token_months import TokenMonth

    settings = load_settings()
    urls = ensure_servers(settings)
    prepare_dagster_home(settings)
    with PostgresStore(urls.postgres) as state:
        store_strategies(state, [Path(file)])
        tokens = {call.token for call in state.load_calls()}
    keys = sorted(TokenMonth(token, month) for token in tokens for month in months)
    graph = build_definitions(settings=settings).resolve_asset_graph()
    with dg.DagsterInstance.get() as instance:
        register_tokens(instance, keys)
        instance.add_backfill(
            PartitionBackfill.from_asset_partitions(
                backfill_id=name,
                asset_graph=graph,
                partition_names=[str(token_month_key(key)) for key in keys],
                asset_selection=[dg.AssetKey(name) for name in SIMULATION_ASSETS],
                backfill_timestamp=time.time(),
                tags={},
                dynamic_partitions_store=instance,
                all_partitions=False,
                title=None,
                description=None,
                run_config={"ops": {"simulate_token_months": {"config": {"strategies": strategies}}}},
            )
        )
    return 0


def run_daemon(*, workspace: str, listener: str | None) -> int:
    """Run the daemon until it is told to end; its steps are announced."""
    import dagster._daemon.controller as controller
    from dagster import DagsterInstance
    from dagster._core.launcher import DefaultRunLauncher
    from dagster._daemon import daemon
    from dagster._daemon.cli import run_command

    # The daemon looks every half minute; a test has no use for the time in between.
    controller.DEFAULT_DAEMON_INTERVAL_SECONDS = _SECONDS_BETWEEN_TICKS
    initialise = daemon.IntervalDaemon.__init__

    def often(self: Any, *_: Any, **__: Any) -> None:
        initialise(self, interval_seconds=_SECONDS_BETWEEN_TICKS)

    daemon.IntervalDaemon.__init__ = often  # type: ignore[method-assign]
    os.environ.pop("FAULT_LISTENER", None)
    if listener is not None:
        announcer = Announcer(listener)
        announcer.step = "daemon"
        for name in _STEPS:
            setattr(
                DagsterInstance, name, announcer.wrapped(getattr(DagsterInstance, name), _named(f"instance.{name}"))
            )
        launch = announcer.wrapped(DefaultRunLauncher.launch_run, _named("launcher.launch_run"))
        DefaultRunLauncher.launch_run = launch  # type: ignore[method-assign]
        # Read by the processes of runs, which announce their stores, see `announced_definitions`.
        os.environ["FAULT_LISTENER"] = listener
    sys.argv = ["dagster-daemon"]
    try:
        run_command.main(args=["-w", workspace], standalone_mode=False)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    return 0


def _named(name: str) -> Any:
    def name_of_call(*_: Any, **__: Any) -> str:
        return name

    return name_of_call


def write_workspace(folder: Path) -> Path:
    """Write the workspace that the daemon loads; return its file."""
    path = folder / "workspace.yaml"
    path.write_text(
        "load_from:\n  - python_module:\n      module_name: tests.faults.announced_definitions\n"
        "      location_name: quantbot\n"
    )
    return path
