"""Training: one model, tested on the last window of time, against baselines that it must beat.

The stored model is the one that was tested: it is not fitted again on the test window.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from quantbot_pipeline.engine.candles import FloatArray, IntArray
from quantbot_pipeline.errors import LearningError
from quantbot_pipeline.learning.hindsight import refuse_outcome_columns
from quantbot_pipeline.learning.past_trades import float_column, integer_column
from quantbot_pipeline.learning.splits import split_by_time

ModelType = Literal["hist_gbm", "logistic"]

MIN_LABELLED_CALLS = 30
"""Fewer labelled calls than this are not trained on."""

# One-sided 5 % point of the normal distribution: how sure we want to be that the model's Brier score is
# below the constant's before it counts as better.
_REQUIRED_Z = 1.645

_WIN_RATE_FEATURE = "caller_win_rate"


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """A trained model and what the test said about it.

    Attributes:
        pipeline: Fitted scikit-learn pipeline; it knows its features by name.
        feature_names: Columns that it reads, in order; features that are known for no training row are left
            out, and named in `metrics["features_without_values"]`.
        metrics: JSON-ready numbers of the test window and of the data, baselines included; None where a
            number is not defined.
        beats_baseline: Whether it ranks better than the caller's past win rate and than chance, and its
            probabilities are better than a constant by more than luck explains.
        status: `ready` when it beats the baselines, else `failed`.
        reason: The comparison in one sentence.
    """

    pipeline: Pipeline
    feature_names: tuple[str, ...]
    metrics: dict[str, Any]
    beats_baseline: bool
    status: Literal["ready", "failed"]
    reason: str


def train_model(
    features: pa.Table,
    labels: pa.Table,
    *,
    model_type: ModelType = "hist_gbm",
    seed: int = 0,
    test_share: float = 0.25,
    embargo_seconds: int = 0,
) -> TrainingResult:
    """Train a model on the earlier labelled calls and test it on the later ones.

    Args:
        features: `call_id` and float columns, one row per call; rows without a label are not used.
        labels: Table of `labels.LABEL_SCHEMA`; labels without features are not used.
        model_type: `hist_gbm` (gradient boosted trees, which read NaN as they are) or `logistic` (medians
            for NaN, standardised, logistic regression).
        seed: Seed of everything random: the same data and seed give the same model.
        test_share: Share of the labelled calls, the latest, that the model is tested on, in (0, 1).
        embargo_seconds: Time between the last training label and the test, >= 0.

    Raises:
        LearningError: a feature is known only afterwards, is infinite or is not a number; none is known for
            any training row; there are fewer than `MIN_LABELLED_CALLS` labelled calls; training or test rows
            are all of one class, or there are none.
    """
    if model_type not in get_args(ModelType):
        raise LearningError(f"model type {model_type!r} is unknown; allowed are {', '.join(get_args(ModelType))}")
    feature_names = tuple(name for name in features.column_names if name != "call_id")
    refuse_outcome_columns(feature_names)
    frame, joined = _join(features, labels, feature_names)
    label, pnl = integer_column(joined, "label"), float_column(joined, "pnl")
    split = split_by_time(
        integer_column(joined, "signal_timestamp"),
        integer_column(joined, "label_end"),
        test_share,
        embargo_seconds=embargo_seconds,
    )
    for rows, window in ((split.train, "training"), (split.test, "test")):
        _require_both_classes(label[rows], window)

    # A feature that is nowhere known has nothing to learn from, and boosted trees can't bin it.
    has_values = frame.iloc[split.train].notna().any()
    used_names = tuple(name for name in feature_names if has_values[name])
    if not used_names:
        raise LearningError(
            f"none of the features {', '.join(feature_names)} is known for any of the {len(split.train)} "
            "training rows; load the candles before these calls, or choose other features"
        )
    train, test = frame.iloc[split.train][list(used_names)], frame.iloc[split.test][list(used_names)]
    pipeline = _new_pipeline(model_type, seed)
    # One thread: a sum over several threads may differ in its last bit from run to run, and the same data
    # and seed are to give the same bytes.
    with threadpool_limits(limits=1):
        pipeline.fit(train, label[split.train])
        score = np.asarray(pipeline.predict_proba(test)[:, 1], dtype=np.float64)

    base_rate = float(label[split.train].mean())
    test_label = label[split.test]
    metrics: dict[str, Any] = {
        "n_labelled": len(label),
        "n_train": len(split.train),
        "n_test": len(split.test),
        "n_purged": split.purged_count,
        "test_start": split.test_start,
        "features_without_values": [name for name in feature_names if not has_values[name]],
        "positive_share": float(label.mean()),
        "positive_share_train": base_rate,
        "positive_share_test": float(test_label.mean()),
        **_classification_metrics(test_label, score),
        **_uplift_metrics(pnl[split.test], score, threshold=base_rate),
    }
    constant = np.full(len(test_label), base_rate)
    metrics["baseline_constant"] = _classification_metrics(test_label, constant)
    metrics["baseline_caller_win_rate"] = None
    if _WIN_RATE_FEATURE in feature_names:
        win_rate = frame[_WIN_RATE_FEATURE].iloc[split.test].to_numpy(dtype=np.float64)
        known = np.where(np.isfinite(win_rate), np.clip(win_rate, 0.0, 1.0), base_rate)
        metrics["baseline_caller_win_rate"] = _classification_metrics(test_label, known)
    metrics["brier_gain_z"] = _gain_z((constant - test_label) ** 2 - (score - test_label) ** 2)
    beats_baseline, reason = _compare(metrics)
    return TrainingResult(
        pipeline=pipeline,
        feature_names=used_names,
        metrics=metrics,
        beats_baseline=beats_baseline,
        status="ready" if beats_baseline else "failed",
        reason=reason,
    )


def feature_frame(features: pa.Table, feature_names: tuple[str, ...]) -> pd.DataFrame:
    """Return feature columns as a frame of float64, NaN where a value is null.

    Raises:
        LearningError: a column is absent, not numeric, or holds infinite values.
    """
    if missing := [name for name in feature_names if name not in features.column_names]:
        raise LearningError(
            f"the features lack {', '.join(missing)}; found {', '.join(features.column_names)}: build the "
            "feature set that the model was trained on"
        )
    columns = {}
    for name in feature_names:
        try:
            values = float_column(features, name)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as e:
            raise LearningError(f"feature {name!r} is not a number: found {features.column(name).type}") from e
        if infinite := int(np.isinf(values).sum()):
            raise LearningError(f"feature {name!r} holds {infinite} infinite values; allowed are numbers and NaN")
        columns[name] = values
    return pd.DataFrame(columns)


def _join(features: pa.Table, labels: pa.Table, feature_names: tuple[str, ...]) -> tuple[pd.DataFrame, pa.Table]:
    """Return features and labels of the calls that have both, in the order of the labels."""
    if not feature_names:
        raise LearningError("the features hold no column beside call_id; allowed is at least one feature")
    feature_call = integer_column(features, "call_id")
    order = np.argsort(feature_call, kind="stable")
    label_call = integer_column(labels, "call_id")
    if len(np.unique(feature_call)) < len(feature_call) or len(np.unique(label_call)) < len(label_call):
        raise LearningError("a call occurs twice among the features or the labels; allowed is one row per call")
    place = np.searchsorted(feature_call[order], label_call)
    has_features = place < len(order)
    has_features[has_features] = feature_call[order][place[has_features]] == label_call[has_features]
    if int(has_features.sum()) < MIN_LABELLED_CALLS:
        raise LearningError(
            f"found {int(has_features.sum())} calls with features and a label (of {len(feature_call)} with "
            f"features and {len(label_call)} with a label); allowed are at least {MIN_LABELLED_CALLS}: "
            "ingest more alerts, or simulate the label's strategy on more of them"
        )
    frame = feature_frame(features, feature_names).iloc[order[place[has_features]]].reset_index(drop=True)
    return frame, labels.filter(pa.array(has_features))


def _require_both_classes(label: IntArray, window: str) -> None:
    positive = int(label.sum())
    if positive in (0, len(label)):
        raise LearningError(
            f"all {len(label)} {window} rows have the label {int(label[0])} ({positive} positive, "
            f"{len(label) - positive} negative); a model needs both: choose another label threshold, another "
            "test_share, or label more calls"
        )


def _new_pipeline(model_type: ModelType, seed: int) -> Pipeline:
    if model_type == "hist_gbm":
        # Shallow and slow: the data sets are small and noisy, and what is tested is the probability.
        return Pipeline(
            [
                (
                    "model",
                    HistGradientBoostingClassifier(
                        learning_rate=0.05,
                        max_iter=100,
                        max_leaf_nodes=8,
                        min_samples_leaf=20,
                        l2_regularization=1.0,
                        early_stopping=False,
                        random_state=seed,
                    ),
                )
            ]
        )
    return Pipeline(
        [
            ("imputer", SimpleImputer(strategy="median")),
            ("scaler", StandardScaler()),
            ("model", LogisticRegression(C=0.1, max_iter=1_000, random_state=seed)),
        ]
    )


def _classification_metrics(label: IntArray, score: FloatArray) -> dict[str, float]:
    # A win rate of 0 or 1 from a handful of trades would make the log loss infinite.
    clipped = np.clip(score, 0.01, 0.99)
    return {
        "roc_auc": float(roc_auc_score(label, score)),
        "pr_auc": float(average_precision_score(label, score)),
        "brier": float(brier_score_loss(label, score)),
        "log_loss": float(log_loss(label, clipped, labels=[0, 1])),
    }


def _uplift_metrics(pnl: FloatArray, score: FloatArray, *, threshold: float) -> dict[str, float | int | None]:
    """Return what taking only the calls that score above the threshold would have changed."""
    taken = score > threshold
    mean_all = float(pnl.mean())
    mean_taken = float(pnl[taken].mean()) if taken.any() else None
    return {
        "score_threshold": threshold,
        "n_above_threshold": int(taken.sum()),
        "mean_pnl_all": mean_all,
        "mean_pnl_above_threshold": mean_taken,
        "pnl_uplift": None if mean_taken is None else mean_taken - mean_all,
    }


def _gain_z(gain: FloatArray) -> float:
    """Return the mean gain per row in units of its standard error; 0 when all gains are alike."""
    deviation = float(gain.std(ddof=1)) if len(gain) > 1 else 0.0
    return float(gain.mean()) / (deviation / float(np.sqrt(len(gain)))) if deviation > 0 else 0.0


def _compare(metrics: Mapping[str, Any]) -> tuple[bool, str]:
    """Return whether the model beats its baselines, and the comparison in words."""
    win_rate = metrics["baseline_caller_win_rate"]
    auc_to_beat = max(0.5, win_rate["roc_auc"]) if win_rate else 0.5
    ranks_better = metrics["roc_auc"] > auc_to_beat
    is_surely_better = metrics["brier_gain_z"] >= _REQUIRED_Z
    comparison = (
        f"ROC AUC {metrics['roc_auc']:.3f} against {auc_to_beat:.3f} of the better baseline "
        f"({'caller win rate' if auc_to_beat > 0.5 else 'chance'}); Brier score {metrics['brier']:.4f} "
        f"against {metrics['baseline_constant']['brier']:.4f} of a constant, z {metrics['brier_gain_z']:.2f} "
        f"where {_REQUIRED_Z} is asked for, on {metrics['n_test']} test calls"
    )
    if ranks_better and is_surely_better:
        return True, f"beats the baselines: {comparison}"
    return False, f"does not beat the baselines: {comparison}"
