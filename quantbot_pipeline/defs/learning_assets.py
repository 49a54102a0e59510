"""Assets of learning: features per call, registered models, scores of calls, and whether calls drift from them."""

from pathlib import Path
from typing import Literal

import dagster as dg

from quantbot_pipeline.defs.automation import scores_are_due
from quantbot_pipeline.defs.ingest_assets import OWNERS
from quantbot_pipeline.settings import Settings
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore

# Of so many columns a picture shows the drift, the largest first.
_COLUMNS_DRAWN = 20


class ModelConfig(dg.Config):
    """Which model to train: label, features, kind and seed.

    `strategy` is whose trades are the label and the caller's record; `all` is the mean over all strategies of calls
    that each of them traded, whose caller's record is then that of `record_strategy`. `by_strategy` trains one model
    per stored strategy that has enough calls, each named after it; the metadata says which were skipped. `label` is a
    definition of docs/features.md as JSON; without it, the label is a pnl above `threshold`.
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
        ModelOutcome,
        ModelPlan,
        find_model,
        model_plans,
        train_and_register,
        train_each,
    )  # scikit-learn is slow to import

    def train_one(plan: ModelPlan) -> tuple[ModelPlan, ModelOutcome, Path]:
        outcome = train_and_register(plan, state_store, history_store, settings.models_folder)
        row = find_model(state_store, plan.name, outcome.version)
        return plan, outcome, write_model_card(row, settings.reports_directory)

    trained, skipped = train_each(model_plans(state_store, **config.model_dump()), train_one)
    _, outcome, card = trained[0]
    return dg.MaterializeResult(
        metadata={
            "models": len(trained),
            "skipped": dg.MetadataValue.json(skipped),
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


class ScoreConfig(dg.Config):
    """Which model scores: without a name all that are in use. A version that is out of use is refused."""

    name: str = ""
    version: str = ""


@dg.asset(
    deps=["calls", "ohlcv_candles", "ml_features", "ml_models"],
    group_name="learning",
    kinds={"clickhouse", "scikitlearn"},
    owners=OWNERS,
    code_version="1",
    automation_condition=scores_are_due(),
)
def ml_scores(
    config: ScoreConfig,
    state_store: dg.ResourceParam[StateStore],
    history_store: dg.ResourceParam[HistoryStore],
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult[None]:
    """What models say of calls that came after their training. Grain: one row per (model, call, trained until).

    Builds the features that are missing. Without a model in use it does nothing: a training that failed is no failure
    of the calls.
    """
    from quantbot_pipeline.workflows.model_cards import drift_for_card, write_model_card
    from quantbot_pipeline.workflows.score_calls import score_stored_calls  # scikit-learn is slow to import

    ready = {row.model_id: row for row in state_store.load_models() if row.status == "ready"}
    if not ready and not config.name:
        return dg.MaterializeResult(metadata={"dagster/row_count": 0, "models": 0, "note": "no model is in use"})
    counts = score_stored_calls(state_store, history_store, name=config.name or None, version=config.version or None)
    for each in counts:
        # The card of a model says how the calls of now differ from those that it learned from.
        if (row := ready.get(each.model_id)) is not None:
            write_model_card(row, settings.reports_directory, drift_for_card(row, state_store, history_store))
    total = {
        name: sum(getattr(each, name) for each in counts)
        for name in ("calls", "scored", "renewed", "already_scored", "before_training", "without_features")
    }
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": total["scored"] + total["renewed"] + total["already_scored"],
            "models": len(counts),
            **total,
            "all": dg.MetadataValue.json({f"{each.name} {each.version}": each.scored for each in counts}),
        }
    )


_DRIFT_DESCRIPTION = """\
The calls that models in use scored lately look like those that they learned from. A warning: a model says nothing of
calls that are unlike its own, and does not know it. What to do: look at the columns that are named. Where a source
changed what it writes, mend the import; where the market or the callers changed, train again.
`quantbot drift` shows all columns; `docs/models.md` says how it is measured, and what it can't tell.
"""


@dg.asset_check(asset="ml_scores", description=_DRIFT_DESCRIPTION)
def calls_have_not_drifted(
    state_store: dg.ResourceParam[StateStore], history_store: dg.ResourceParam[HistoryStore]
) -> dg.AssetCheckResult:
    """Compare the calls of now with those that each model in use learned from."""
    from quantbot_pipeline.report.small_plots import plot_bars
    from quantbot_pipeline.workflows.model_cards import drift_for_card

    rows = sorted((row for row in state_store.load_models() if row.status == "ready"), key=lambda row: row.name)
    reports = [found for row in rows if (found := drift_for_card(row, state_store, history_store)) is not None]
    told = [report for report in reports if report.told]
    sentences = [report.sentence() for report in told or reports]
    metadata: dict[str, dg.MetadataValue | int | str] = {
        "models": len(rows),
        "models_without_profiles": len(rows) - len(reports),
    }
    for report in reports:
        metadata[f"{report.name}: calls"] = report.calls
        metadata[f"{report.name}: verdict"] = report.verdict
        if report.columns:
            shown = {column.name: column.psi for column in report.columns[:_COLUMNS_DRAWN]}
            metadata[f"{report.name}: picture"] = dg.MetadataValue.md(
                plot_bars(shown, title=f"Population stability index, {report.name}, largest first")
            )
            metadata[f"{report.name}: columns"] = dg.MetadataValue.json(
                {
                    column.name: [round(column.psi, 4), round(column.chance, 4), column.verdict]
                    for column in report.columns
                }
            )
    return dg.AssetCheckResult(
        passed=not told,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(sentences) or "no model is in use that says what it learned from",
        metadata=metadata,
    )
