"""Assets of learning: features per call, and a registered model."""

from typing import Literal

import dagster as dg

from quantbot_pipeline.defs.ingest_assets import OWNERS
from quantbot_pipeline.settings import Settings
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore


class ModelConfig(dg.Config):
    """Which model to train: label strategy, success threshold (net pnl), kind and seed."""

    name: str = "take-the-call"
    strategy: str = "conservative-24h"
    threshold: float = 0.0
    model_type: Literal["hist_gbm", "logistic"] = "hist_gbm"
    seed: int = 7


class FeatureConfig(dg.Config):
    """Whose finished trades are a caller's record, and further features from the alerts' columns."""

    strategy: str = "conservative-24h"
    attributes: list[str] = []


@dg.asset(
    deps=["calls", "ohlcv_candles", "simulation_events"],
    group_name="learning",
    kinds={"clickhouse"},
    owners=OWNERS,
    code_version="2",
)
def ml_features(
    config: FeatureConfig,
    state_store: dg.ResourceParam[StateStore],
    history_store: dg.ResourceParam[HistoryStore],
) -> dg.MaterializeResult[None]:
    """Features known at the time of each call. Grain: one row per (feature set, call)."""
    from quantbot_pipeline.workflows.build_features import (
        FeaturePlan,
        build_stored_features,
    )  # its kernels are slow to import

    plan = FeaturePlan(config.strategy, tuple(config.attributes))
    counts = build_stored_features(plan, state_store, history_store)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": counts.calls,
            "feature_set": counts.feature_set,
            "features": len(plan.names),
            "built": counts.built,
            "up_to_date": counts.up_to_date,
        }
    )


@dg.asset(
    deps=["ml_features", "simulation_results_summary"],
    group_name="learning",
    kinds={"postgres", "scikitlearn"},
    owners=OWNERS,
    code_version="1",
)
def ml_models(
    config: ModelConfig,
    state_store: dg.ResourceParam[StateStore],
    history_store: dg.ResourceParam[HistoryStore],
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult[None]:
    """Registered models. Grain: one row per (name, version); metrics hold the comparison with the baselines."""
    from quantbot_pipeline.workflows.learn import (
        ModelPlan,
        train_and_register,
    )  # scikit-learn is slow to import

    plan = ModelPlan(config.name, config.strategy, config.threshold, config.model_type, config.seed)
    outcome = train_and_register(plan, state_store, history_store, settings.models_directory)
    return dg.MaterializeResult(
        metadata={
            "model_id": outcome.model_id,
            "version": outcome.version,
            "beats_baseline": outcome.result.beats_baseline,
            "verdict": outcome.result.reason,
            "scored_calls": outcome.scored_calls,
        }
    )
