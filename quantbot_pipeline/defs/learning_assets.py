"""Assets of learning: features per call, and a registered model."""

from typing import Literal

import dagster as dg

from quantbot_pipeline.defs.ingest_assets import OWNERS
from quantbot_pipeline.settings import Settings
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore


class ModelConfig(dg.Config):
    """Which model to train: label, features, kind and seed.

    `strategy` is whose trades are the label and the caller's record; `all` is the mean over all strategies, whose
    caller's record is then that of `record_strategy`. `by_strategy` trains one model per stored strategy, each named
    after it. `label` is a definition of docs/features.md as JSON; without it, the label is a pnl above `threshold`.
    """

    name: str = "take-the-call"
    strategy: str = "conservative-24h"
    record_strategy: str = "conservative-24h"
    by_strategy: bool = False
    threshold: float = 0.0
    label: str = ""
    model_type: Literal["hist_gbm", "logistic", "ridge", "random_forest", "ranking"] = "hist_gbm"
    seed: int = 7
    search: int = 0
    class_weight: Literal["none", "balanced"] = "none"
    calibration: Literal["sigmoid", "none"] = "sigmoid"
    attributes: list[str] = []


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
    code_version="2",
)
def ml_models(
    config: ModelConfig,
    state_store: dg.ResourceParam[StateStore],
    history_store: dg.ResourceParam[HistoryStore],
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult[None]:
    """Registered models. Grain: one row per (name, version); `ready` is one that beats its baselines."""
    from quantbot_pipeline.workflows.model_cards import write_model_card
    from quantbot_pipeline.workflows.train_models import (
        find_model,
        model_plans,
        train_and_register,
    )  # scikit-learn is slow to import

    trained = []
    for plan in model_plans(state_store, **config.model_dump()):
        outcome = train_and_register(plan, state_store, history_store, settings.models_folder)
        row = find_model(state_store, plan.name, outcome.version)
        trained.append((plan, outcome, write_model_card(row, settings.reports_directory)))
    plan, outcome, card = trained[0]
    return dg.MaterializeResult(
        metadata={
            "models": len(trained),
            "model_id": outcome.model_id,
            "version": outcome.version,
            "status": outcome.status,
            "beats_baseline": outcome.result.beats_baseline,
            "verdict": outcome.result.reason,
            "scored_calls": outcome.scored_calls,
            "card": dg.MetadataValue.path(card),
            "all": dg.MetadataValue.json({each.name: found.result.reason for each, found, _ in trained}),
        }
    )
