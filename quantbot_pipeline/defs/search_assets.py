"""Assets of optimization jobs and their trials."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal

import dagster as dg

from quantbot_pipeline.defs.ingest_assets import OWNERS
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore


class OptimizationConfig(dg.Config):
    """A search: template strategy, space, objective and the calls to search on.

    Attributes:
        template: Name of a stored strategy.
        space: Search space document; the default space of the template when empty.
        objective: Metric to optimise, such as `final_pnl`.
        trials: Number of trials.
        seed: Seed of the sampler.
        sampler: tpe, random or grid.
        start: First instant, ISO 8601; the first call when empty.
        end: Instant after the last, ISO 8601; when empty, after 70 % of the calls: the rest stays unseen.
    """

    template: str = "conservative-24h"
    space: dict[str, Any] = {}
    objective: str = "final_pnl"
    trials: int = 12
    seed: int = 7
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    start: str = ""
    end: str = ""


_SPECS = [
    dg.AssetSpec(
        name,
        description=description,
        deps=["ohlcv_candles", "calls", "strategies"],
        group_name="optimization",
        kinds={"postgres", "optuna"},
        owners=OWNERS,
    )
    for name, description in {
        "optimization_jobs": "Searches over strategy parameters. Grain: one row per job.",
        "optimization_trials": "Trials of searches. Grain: one row per (job, trial index); each links to its run.",
    }.items()
]


@dg.multi_asset(specs=_SPECS, name="optimize")
def optimize(
    config: OptimizationConfig,
    state_store: dg.ResourceParam[StateStore],
    history_store: dg.ResourceParam[HistoryStore],
) -> Iterator[dg.MaterializeResult[None]]:
    """Search the space of a template strategy; a job that ran already is reused."""
    # Optuna is slow to import.
    from quantbot_pipeline.workflows.run_optimization import plan_optimization, run_optimization

    plan = plan_optimization(
        state_store,
        template_name=config.template,
        space_document=config.space or None,
        objective=config.objective,
        trial_count=config.trials,
        seed=config.seed,
        sampler=config.sampler,
        start=_instant(config.start),
        end=_instant(config.end),
    )
    outcome = run_optimization(plan, state_store, history_store)
    metadata: dict[str, Any] = {"job_id": outcome.job_id, "is_known": outcome.is_known}
    yield dg.MaterializeResult(asset_key="optimization_jobs", metadata=metadata)
    yield dg.MaterializeResult(asset_key="optimization_trials", metadata=metadata | {"trials": outcome.trial_count})


def _instant(text: str) -> datetime | None:
    if not text:
        return None
    instant = datetime.fromisoformat(text)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
