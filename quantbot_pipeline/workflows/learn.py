"""Features, models and scores: from calls and past trades to a registered model."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from quantbot_pipeline.engine.calls import SignalType
from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.errors import LearningError
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.learning.features import FEATURE_SET, FeatureCall, build_features
from quantbot_pipeline.learning.labels import LabelDefinition, build_labels
from quantbot_pipeline.learning.model_files import load_model, save_model
from quantbot_pipeline.learning.past_trades import PastTrade
from quantbot_pipeline.learning.scoring import score_calls
from quantbot_pipeline.learning.training import ModelType, TrainingResult, train_model
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.storage.records import CallRow, NewModel


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


def store_features(strategy: str, state: StateStore, history: HistoryStore) -> pa.Table:
    """Build the features of all entry calls, store them in `ml_features` and return them.

    Args:
        strategy: The strategy whose finished trades are a caller's record.
        state: Where calls are.
        history: Where candles, trades and features are.
    """
    calls = [call for call in state.load_calls() if call.signal_type is SignalType.ENTRY]
    features = build_features(
        [_feature_call(call) for call in calls],
        _load_candles(calls, history),
        _load_trades(calls, history, strategy),
    )
    names = [name for name in features.column_names if name != "call_id"]
    stored = pa.table(
        {
            "feature_set": pa.array([FEATURE_SET] * len(calls), pa.string()),
            "call_id": features["call_id"],
            "chain": pa.array([call.token.chain for call in calls], pa.string()),
            "token_address": pa.array([call.token.address for call in calls], pa.string()),
            "signal_timestamp": pa.array([_second(call) for call in calls], pa.int64()),
            "values": pa.array(
                [list(row.items()) for row in features.select(names).to_pylist()],
                pa.map_(pa.string(), pa.float64()),
            ),
        }
    )
    history.insert_features(stored)
    return features


def train_and_register(
    plan: ModelPlan, state: StateStore, history: HistoryStore, models_directory: Path
) -> ModelOutcome:
    """Train a model on the stored features, register it, load it again and score every call with it.

    `ready` says that the stored file was verified, loaded and used; whether the model is better than its
    baselines is in the metrics (`beats_baseline`, `verdict`) and shown wherever the model is.

    Raises:
        LearningError: there are no features, too few labelled calls, or the loaded model scores otherwise.
    """
    features = _read_features(history)
    if not features.num_rows:
        raise LearningError("no features are stored; build them first (asset ml_features)")
    calls = state.load_calls()
    label = LabelDefinition(name=f"pnl_above_{plan.threshold:g}", strategy=plan.strategy, threshold=plan.threshold)
    labels = build_labels(label, _load_trades(calls, history, plan.strategy))
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


def _feature_call(call: CallRow) -> FeatureCall:
    return FeatureCall(call.call_id, call.token, call.caller_id, _second(call), call.alert_price, call.alert_market_cap)


def _second(call: CallRow) -> int:
    return ceil(call.signal_timestamp.timestamp())


def _load_candles(calls: Sequence[CallRow], history: HistoryStore) -> dict[TokenKey, Candles]:
    """Return each token's candles from its first one on (a token's age counts from there) to its last call."""
    last: dict[TokenKey, int] = {}
    for call in calls:
        last[call.token] = max(last.get(call.token, 0), _second(call))
    return history.load_candles({token: (0, end + 1) for token, end in last.items()})


def _load_trades(calls: Sequence[CallRow], history: HistoryStore, strategy: str) -> list[PastTrade]:
    # Only entry calls trade; a scale-in that found nothing to scale leaves an event that is no trade.
    callers = {call.call_id: call.caller_id for call in calls if call.signal_type is SignalType.ENTRY}
    return [
        PastTrade(
            call_id=row["call_id"],
            caller_id=callers[row["call_id"]],
            strategy=row["strategy_name"],
            signal_timestamp=row["signal_timestamp"],
            done_at=row["done_at"],
            pnl=row["pnl"] if row["has_bought"] else None,
        )
        for row in history.read("trades/load_trades").to_pylist()
        if row["strategy_name"] == strategy and row["call_id"] in callers
    ]


def _read_features(history: HistoryStore) -> pa.Table:
    rows = history.read("features/load_features", feature_set=FEATURE_SET).to_pylist()
    values = [dict(row["values"]) for row in rows]
    names = list(values[0]) if values else []
    columns = {name: pa.array([row[name] for row in values], pa.float64()) for name in names}
    return pa.table({"call_id": pa.array([row["call_id"] for row in rows], pa.int64()), **columns})


def _version(plan: ModelPlan, features: pa.Table, labels: pa.Table) -> str:
    """Return a name for the model that is the same for the same plan and the same data."""
    digest = hashlib.sha256(
        json.dumps([plan.strategy, plan.threshold, plan.model_type, plan.seed, features.column_names]).encode()
    )
    for table in (features, labels):
        for column in table.columns:
            digest.update(np.ascontiguousarray(column.to_numpy()).tobytes())
    return digest.hexdigest()[:12]
