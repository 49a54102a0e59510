"""Assets of simulation: runs, events, aggregates and summaries, partitioned by token and month."""

from collections.abc import Iterator

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
from quantbot_pipeline.workflows.backfill import BackfillCounts, BackfillListener, MonthOutcome, run_backfill
from quantbot_pipeline.workflows.token_months import format_token

SIMULATION_ASSETS = (
    "simulation_runs",
    "simulation_events",
    "simulation_aggregates",
    "simulation_results_summary",
)

_FAILURES_SHOWN = 20

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
        outcomes: list[MonthOutcome] = []
        listener = BackfillListener(on_months=outcomes.extend, on_message=context.log.info)
        counts = run_backfill(keys, rows, state_store, history_store, force=config.force, listener=listener)
        for warning in counts.scores.warnings():
            context.log.warning(warning)
        for outcome in outcomes:
            partition, metadata = token_month_key(outcome.key), month_metadata(outcome)
            if counts.failed and outcome.reason is None:
                # The step is about to fail for the broken keys: the good ones count all the same.
                for name in reversed(SIMULATION_ASSETS):
                    context.log_event(dg.AssetMaterialization(name, partition=partition, metadata=metadata))
            elif not counts.failed:
                # On the runs alone: each (asset, partition) that gets metadata costs some six milliseconds.
                context.add_asset_metadata(metadata, asset_key="simulation_runs", partition_key=partition)
        if counts.failed:
            raise dg.Failure(failure_text(counts))
        # The runs last: where they are recorded, the other three are.
        for name in reversed(SIMULATION_ASSETS):
            yield dg.MaterializeResult(asset_key=name)

    return simulate_token_months


def month_metadata(outcome: MonthOutcome) -> dict[str, int | float]:
    """Return what is shown of a token-month: counts, and the mean result of its runs as a fraction of the capital."""
    counts: dict[str, int | float] = {
        "runs_computed": outcome.computed,
        "runs_reused": outcome.reused,
        "new_events": outcome.new_events,
        "trades": outcome.trade_count,
    }
    return counts if outcome.final_pnl is None else counts | {"mean_final_pnl": outcome.final_pnl}


def failure_text(counts: BackfillCounts) -> str:
    """Return what is told of a backfill with failures: how many, and the first ones."""
    shown = [f"{format_token(key.token)} {key.month}: {reason}" for key, reason in counts.failures[:_FAILURES_SHOWN]]
    more = counts.months_failed - len(shown)
    lines = [f"{counts.failed} failures in {counts.months_failed} token-months, the others are stored:", *shown]
    return "\n".join([*lines, f"and {more} more"] if more else lines)
