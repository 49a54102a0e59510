"""Models and scores: from stored features and past trades to a registered model."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from quantbot_pipeline.errors import LearningError
from quantbot_pipeline.learning.labels import PnlAbove
from quantbot_pipeline.learning.model_files import load_model, save_model
from quantbot_pipeline.learning.scoring import score_calls
from quantbot_pipeline.learning.training import ModelType, TrainingResult, train_model
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.storage.records import NewModel
from quantbot_pipeline.workflows.build_features import FeaturePlan, load_features
from quantbot_pipeline.workflows.build_labels import load_labels


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """Which model to train.

    Attributes:
        name: Name of the model.
        strategy: The strategy whose trades are the label, and the caller's record.
        threshold: Net pnl above which a trade is a success, fraction of capital.
        model_type: Kind of model.
        seed: Seed of everything random.
    """

    name: str = "take-the-call"
    strategy: str = "conservative-24h"
    threshold: float = 0.0
    model_type: ModelType = "hist_gbm"
    seed: int = 7


@dataclass(frozen=True, slots=True)
class ModelOutcome:
    """A model that was trained, stored, loaded again and used."""

    model_id: int
    version: str
    result: TrainingResult
    scored_calls: int


def train_and_register(
    plan: ModelPlan, state: StateStore, history: HistoryStore, models_directory: Path
) -> ModelOutcome:
    """Train a model on the stored features, register it, load it again and score every call with it.

    `ready` says that the stored file was verified, loaded and used; whether the model is better than its
    baselines is in the metrics (`beats_baseline`, `verdict`) and shown wherever the model is.

    Raises:
        LearningError: there are no features, too few labelled calls, or the loaded model scores otherwise.
    """
    features = load_features(FeaturePlan(plan.strategy), history)
    if not features.num_rows:
        raise LearningError("no features are stored; build them first (asset ml_features)")
    label = PnlAbove(name=f"pnl_above_{plan.threshold:g}", strategy=plan.strategy, threshold=plan.threshold)
    labels = load_labels(label, state, history)
    result = train_model(features, labels, model_type=plan.model_type, seed=plan.seed)
    version = _version(plan, features, labels)
    uri, sha256 = save_model(result.pipeline, models_directory, plan.name, version)
    scores = score_calls(load_model(uri, sha256), features)
    if not scores.equals(score_calls(result.pipeline, features)):
        raise LearningError(f"model {plan.name} {version}: the stored file gives other scores than the trained model")
    metrics: dict[str, Any] = result.metrics | {
        "beats_baseline": result.beats_baseline,
        "verdict": result.reason,
    }
    model = NewModel(
        name=plan.name,
        version=version,
        model_type=plan.model_type,
        input_features=result.feature_names,
        label_definition=label.model_dump(mode="json"),
        storage_uri=uri,
        sha256=sha256,
        metrics=metrics,
        status="ready",
    )
    # Whoever sees a model that is ready finds its scores: a death in between leaves one that is in training.
    is_ready = any(row.version == version and row.status == "ready" for row in state.load_models(plan.name))
    model_id = state.register_model(model if is_ready else replace(model, status="training"))
    model_column = pa.array(np.full(scores.num_rows, model_id, dtype=np.int64))
    history.insert_scores(scores.add_column(0, "model_id", model_column))
    if not is_ready:
        state.register_model(model)
    return ModelOutcome(model_id, version, result, scores.num_rows)


def _version(plan: ModelPlan, features: pa.Table, labels: pa.Table) -> str:
    """Return a name for the model that is the same for the same plan and the same data."""
    digest = hashlib.sha256(
        json.dumps([plan.strategy, plan.threshold, plan.model_type, plan.seed, features.column_names]).encode()
    )
    for table in (features, labels):
        for column in table.columns:
            digest.update(np.ascontiguousarray(column.to_numpy()).tobytes())
    return digest.hexdigest()[:12]
