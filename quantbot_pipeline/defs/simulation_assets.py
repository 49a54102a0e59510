"""Assets of simulation: runs, events, aggregates and summaries, partitioned by token and month."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

import dagster as dg

from quantbot_pipeline.defs.automation import simulations_are_due
from quantbot_pipeline.defs.ingest_assets import OWNERS
from quantbot_pipeline.defs.partitions import (
    parse_token_month_key,
    simulation_deps,
    token_month_key,
    token_month_partitions,
)
from quantbot_pipeline.engine.version import ENGINE_VERSION
from quantbot_pipeline.settings import Settings
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.workflows.run_simulations import RunOutcome, RunStatus, plan_backtests, run_simulations
from quantbot_pipeline.workflows.token_months import TokenMonth

SIMULATION_ASSETS = (
    "simulation_runs",
    "simulation_events",
    "simulation_aggregates",
    "simulation_results_summary",
)

_DESCRIPTIONS = {
    "simulation_runs": "Runs. Grain: one row per run key; for a partition, one current run per strategy with calls.",
    "simulation_events": "Events of trades. Grain: one row per (run, call, seq). Quote currency; sizes as shares.",
    "simulation_aggregates": "Metrics per run and token. Ratios as fractions.",
    "simulation_results_summary": "Metrics per completed run. Ratios as fractions, times in minutes.",
}
_KINDS = {
    "simulation_runs": "postgres",
    "simulation_events": "clickhouse",
    "simulation_aggregates": "clickhouse",
    "simulation_results_summary": "postgres",
}


class SimulationConfig(dg.Config):
    """Which strategies to simulate (all active ones without names), and whether to compute known runs anew."""

    strategies: list[str] = []
    force: bool = False


def build_simulation_assets(settings: Settings) -> dg.AssetsDefinition:
    """Return the assets of simulation: one step writes all four tables."""

    @dg.multi_asset(
        specs=[
            dg.AssetSpec(
                name,
                description=_DESCRIPTIONS[name],
                deps=simulation_deps(),
                group_name="simulation",
                kinds={_KINDS[name]},
                owners=OWNERS,
                code_version=ENGINE_VERSION,
                partitions_def=token_month_partitions(settings),
                # One step writes all four: what asks for the runs asks for the others.
                automation_condition=simulations_are_due() if name == "simulation_runs" else None,
            )
            for name in SIMULATION_ASSETS
        ],
        name="simulate_token_months",
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def simulate_token_months(
        context: dg.AssetExecutionContext,
        config: SimulationConfig,
        state_store: dg.ResourceParam[StateStore],
        history_store: dg.ResourceParam[HistoryStore],
    ) -> Iterator[dg.MaterializeResult[None]]:
        """Simulate every strategy on the calls of each token-month; runs that are complete are reused."""
        keys = [parse_token_month_key(key) for key in context.partition_keys]
        rows = state_store.load_strategies(config.strategies or None)
        requests = plan_backtests(keys, rows, state_store, history_store)
        outcomes = run_simulations(requests, state_store, history_store, force=config.force)
        by_key = group_by_token_month(outcomes)
        broken = {key for key, found in by_key.items() if any(o.status is RunStatus.FAILED for o in found)}
        for key in keys:
            metadata = _metadata(by_key.get(key, []))
            if broken and key not in broken:
                # The step is about to fail for the broken keys: the good ones count all the same.
                for name in SIMULATION_ASSETS:
                    context.log_event(dg.AssetMaterialization(name, partition=token_month_key(key), metadata=metadata))
            elif not broken:
                # On the runs alone: each (asset, partition) that gets metadata costs some six milliseconds.
                context.add_asset_metadata(metadata, asset_key="simulation_runs", partition_key=token_month_key(key))
        if broken:
            raise dg.Failure(_failure_text(outcomes))
        for name in SIMULATION_ASSETS:
            yield dg.MaterializeResult(asset_key=name)

    return simulate_token_months


def group_by_token_month(outcomes: Iterable[RunOutcome]) -> dict[TokenMonth, list[RunOutcome]]:
    """Return the outcomes of backtests by the token-month that they cover."""
    grouped: dict[TokenMonth, list[RunOutcome]] = defaultdict(list)
    for outcome in outcomes:
        request = outcome.request
        grouped[TokenMonth(request.inputs[0].token, f"{request.window_start:%Y-%m}")].append(outcome)
    return grouped


def _metadata(outcomes: list[RunOutcome]) -> dict[str, int]:
    statuses = [outcome.status for outcome in outcomes]
    return {
        "runs_computed": statuses.count(RunStatus.COMPUTED),
        "runs_reused": statuses.count(RunStatus.REUSED),
        "new_events": sum(outcome.event_count for outcome in outcomes),
    }


def _failure_text(outcomes: Iterable[RunOutcome]) -> str:
    broken = [outcome for outcome in outcomes if outcome.status is RunStatus.FAILED]
    lines = [f"run {outcome.run_id}, {outcome.request.strategy_row.name}: {outcome.error}" for outcome in broken[:20]]
    return "\n".join([f"{len(broken)} runs failed, the others are stored:", *lines])
