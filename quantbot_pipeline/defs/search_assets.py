"""Assets of optimization jobs and their trials."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal

import dagster as dg

from quantbot_pipeline.defs.ingest_assets import OWNERS
from quantbot_pipeline.errors import ConfigError
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore


class OptimizationConfig(dg.Config):
    """A search: template strategy, space, objective and the calls to search on.

    Attributes:
        template: Name of a stored strategy.
        space: Search space document; the default space of the template when empty.
        objective: What to improve, such as `sqn subject to trade_count >= 30`.
        trials: Number of trials.
        seed: Seed of everything random.
        sampler: tpe, random, grid, cmaes, nsga2 or qmc.
        tokens: Tokens `chain:address`, names or globs; all when empty.
        months: Months `YYYY-MM`, names, globs or ranges `FIRST..LAST`; all when empty.
        callers: Callers `source/handle`, names or globs; all when empty.
        start: First instant, ISO 8601; the months' first when empty.
        end: Instant after the last, ISO 8601; the months' end when empty.
        threads: Trials that are simulated at once.
        timeout_seconds: When no further trial is begun; 0: never.
        keep: How many of the best trials keep their full trace.
        prune: halving or median; no bad trial is given up early when empty.
        store_all: Whether each trial of a large search has a row.
        shuffles: Most shuffles of the calls' times.
    """

    template: str = "conservative-24h"
    space: dict[str, Any] = {}
    objective: str = "final_pnl"
    trials: int = 12
    seed: int = 7
    sampler: Literal["tpe", "random", "grid", "cmaes", "nsga2", "qmc"] = "tpe"
    tokens: list[str] = []
    months: list[str] = []
    callers: list[str] = []
    start: str = ""
    end: str = ""
    threads: int = 1
    timeout_seconds: float = 0.0
    keep: int = 5
    prune: Literal["", "halving", "median"] = ""
    store_all: bool = False
    shuffles: int = 99


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
    # Optuna is slow to import, and so is what draws.
    from quantbot_pipeline.report.search_collect import collect_search
    from quantbot_pipeline.report.search_metadata import search_metadata
    from quantbot_pipeline.workflows.optimization_plan import parse_data_selection, plan_optimization
    from quantbot_pipeline.workflows.run_optimization import run_optimization

    plan = plan_optimization(
        state_store,
        template_name=config.template,
        space_document=config.space or None,
        objective=config.objective,
        trial_count=config.trials,
        seed=config.seed,
        sampler=config.sampler,
        data=parse_data_selection(
            {"tokens": config.tokens, "months": config.months, "callers": config.callers}
            | {name: _utc(name, text) for name, text in (("start", config.start), ("end", config.end)) if text}
        ),
        pruning={"kind": config.prune} if config.prune else None,
        keep=config.keep,
        store_all=config.store_all,
        shuffles=config.shuffles,
    )
    outcome = run_optimization(
        plan,
        state_store,
        history_store,
        threads=config.threads,
        timeout_seconds=config.timeout_seconds or None,
        warn=dg.get_dagster_logger().warning,
    )
    metadata: dict[str, Any] = {"job_id": outcome.job_id, "is_known": outcome.is_known}
    if outcome.verdict is not None:
        metadata["answer"] = outcome.verdict["answer"]
    search = collect_search(state_store, outcome.job_id)
    if search is not None:
        metadata |= {name: dg.MetadataValue.md(text) for name, text in search_metadata(search).items()}
    if outcome.note is not None:
        metadata["note"] = outcome.note
    if outcome.failure is not None:
        # Trying again leads to the same stored job.
        raise dg.Failure(
            f"search {outcome.job_id} failed: {outcome.failure}",
            metadata=metadata | {"trials": outcome.trial_count},
            allow_retries=False,
        )
    yield dg.MaterializeResult(asset_key="optimization_jobs", metadata=metadata)
    yield dg.MaterializeResult(asset_key="optimization_trials", metadata=metadata | {"trials": outcome.trial_count})


def _utc(name: str, text: str) -> str:
    """Return a time that names its zone; one without is UTC."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{name}: found {text!r}; allowed is a time in ISO 8601, such as 2025-03-01") from error
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).isoformat()
