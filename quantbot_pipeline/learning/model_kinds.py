"""Which models there are: their pipelines, what each can learn, and the settings that a search tries.

Everything that is learned from rows (medians, scales, weights, trees) is a step of one scikit-learn pipeline, so
that it is fitted on training rows alone.

A `ranking` model says which of two calls is better. It learns from pairs of calls that follow each other closely and
compete for the same capital: a logistic regression on the difference of their features, without an intercept (RankNet
with a linear score). Its score is the probability that a call is better than the average call of the training rows.

Source: Burges et al. (2005), "Learning to Rank using Gradient Descent", ICML.
"""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from quantbot_pipeline.engine.candles import FloatArray, IntArray
from quantbot_pipeline.errors import LearningError

ModelType = Literal["hist_gbm", "logistic", "ridge", "random_forest", "ranking"]
ModelTask = Literal["classification", "regression", "ranking"]
ClassWeight = Literal["none", "balanced"]

COMPETING_CALLS = 10
"""How many of the calls that follow a call, in time, compete with it for the same capital."""

# Shallow and slow, weak weights, few leaves: the data sets are small and noisy, and what is tested is the probability.
_DEFAULTS: dict[str, dict[str, float | int]] = {
    "hist_gbm": {"learning_rate": 0.05, "max_iter": 100, "max_leaf_nodes": 8, "min_samples_leaf": 20, "l2": 1.0},
    "logistic": {"C": 0.1},
    "ridge": {"alpha": 100.0},
    "random_forest": {"n_estimators": 100, "max_depth": 6, "min_samples_leaf": 10, "max_features": 0.3},
    "ranking": {"C": 0.01},
}
_CHOICES: dict[str, dict[str, tuple[float | int, ...]]] = {
    "hist_gbm": {
        "learning_rate": (0.02, 0.05, 0.1),
        "max_iter": (50, 100, 200),
        "max_leaf_nodes": (4, 8, 16),
        "min_samples_leaf": (10, 20, 40),
        "l2": (0.1, 1.0, 10.0),
    },
    "logistic": {"C": (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)},
    "ridge": {"alpha": (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0)},
    "random_forest": {
        "n_estimators": (100, 200),
        "max_depth": (3, 6, 10),
        "min_samples_leaf": (5, 10, 20, 40),
        "max_features": (0.1, 0.3, 0.6),
    },
    "ranking": {"C": (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)},
}

Settings = Mapping[str, float | int]


def task_of_model(model_type: str, label_task: Literal["classification", "regression"]) -> ModelTask:
    """Return what a model of this type does with a label.

    Raises:
        LearningError: the type is unknown, or can't learn such a label.
    """
    if model_type not in get_args(ModelType):
        raise LearningError(f"model type {model_type!r} is unknown; allowed are {', '.join(get_args(ModelType))}")
    if model_type == "ranking":
        return "ranking"
    if model_type == "logistic" and label_task == "regression":
        raise LearningError(
            "model type 'logistic' learns labels that are 0 or 1, found one of numbers; choose the label pnl_above or "
            "triple_barrier, or the model ridge, hist_gbm, random_forest or ranking"
        )
    if model_type == "ridge" and label_task == "classification":
        raise LearningError(
            "model type 'ridge' learns labels that are numbers, found one of 0 and 1; choose the label pnl or "
            "time_to_target, or the model logistic, hist_gbm, random_forest or ranking"
        )
    return label_task


def candidate_settings(model_type: ModelType, search: int, seed: int) -> list[Settings]:
    """Return the settings to try: the defaults, and `search` others drawn at random, each once.

    Fewer come back where there are not so many.
    """
    found: list[Settings] = [_DEFAULTS[model_type]]
    generator = np.random.default_rng(seed)
    choices = _CHOICES[model_type]
    others = int(np.prod([len(values) for values in choices.values()]))
    # The defaults may be among the choices; drawing goes on until all are found or as many as wanted.
    for place in generator.permutation(others).tolist():
        if len(found) > search:
            break
        drawn: dict[str, float | int] = {}
        rest = place
        for name, values in choices.items():
            rest, index = divmod(rest, len(values))
            drawn[name] = values[index]
        if drawn != _DEFAULTS[model_type]:
            found.append(drawn)
    return found


def new_pipeline(
    model_type: ModelType, task: ModelTask, settings: Settings, *, seed: int, class_weight: ClassWeight = "none"
) -> Pipeline:
    """Return an unfitted pipeline; one for ranking is fitted by `fit_pipeline` alone."""
    weight = "balanced" if class_weight == "balanced" else None
    if model_type == "hist_gbm":
        named: dict[str, Any] = dict(settings)
        named["l2_regularization"] = named.pop("l2")
        named |= {"early_stopping": False, "random_state": seed}
        if task == "classification":
            return Pipeline([("model", HistGradientBoostingClassifier(**named, class_weight=weight))])
        return Pipeline([("model", HistGradientBoostingRegressor(**named))])
    # A feature that is unknown in all rows keeps its place, as zeros.
    steps: list[tuple[str, Any]] = [("imputer", SimpleImputer(strategy="median", keep_empty_features=True))]
    if model_type == "random_forest":
        # One thread, and trees that do not depend on how many there are.
        named = dict(settings) | {"random_state": seed, "n_jobs": 1}
        model = (
            RandomForestClassifier(**named, class_weight=weight)
            if task == "classification"
            else RandomForestRegressor(**named)
        )
        return Pipeline([*steps, ("model", model)])
    steps.append(("scaler", StandardScaler()))
    if model_type == "ridge":
        return Pipeline([*steps, ("model", Ridge(**settings, random_state=seed))])
    logistic = LogisticRegression(
        **settings,
        max_iter=1_000,
        random_state=seed,
        fit_intercept=task != "ranking",
        class_weight=weight if task == "classification" else None,
    )
    return Pipeline([*steps, ("model", logistic)])


def fit_pipeline(
    pipeline: Pipeline, task: ModelTask, frame: pd.DataFrame, target: FloatArray, signal_timestamp: IntArray
) -> None:
    """Fit a pipeline on training rows.

    Args:
        pipeline: As `new_pipeline` gives it.
        task: What it is for.
        frame: Features.
        target: Label per row; 0 or 1 for classification.
        signal_timestamp: Signal time per row, seconds; decides which calls compete in ranking.

    Raises:
        LearningError: no two calls that compete have different labels.
    """
    if task != "ranking":
        pipeline.fit(frame, target.astype(np.int64) if task == "classification" else target)
        return
    earlier, later = competing_pairs(target, signal_timestamp)
    if len(earlier) < 2:
        raise LearningError(
            f"{len(target)} calls give {len(earlier)} pairs with different labels; ranking needs at least 2: label "
            "more calls, or take a label of numbers, such as pnl"
        )
    scaled = pipeline[:-1].fit_transform(frame)
    # Every other pair is turned around: which call came first must not say which is better.
    is_turned = np.arange(len(earlier)) % 2 == 1
    first, second = np.where(is_turned, later, earlier), np.where(is_turned, earlier, later)
    better = (target[first] > target[second]).astype(np.int64)
    # Both outcomes must occur; when all later calls are better, turning gives both.
    pipeline[-1].fit(scaled[first] - scaled[second], better)


def competing_pairs(target: FloatArray, signal_timestamp: IntArray) -> tuple[IntArray, IntArray]:
    """Return pairs of rows with different labels among calls that follow each other: (earlier, later)."""
    order = np.argsort(signal_timestamp, kind="stable")
    earlier = [order[:-distance] for distance in range(1, min(COMPETING_CALLS, len(order) - 1) + 1)]
    later = [order[distance:] for distance in range(1, min(COMPETING_CALLS, len(order) - 1) + 1)]
    if not earlier:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    first, second = np.concatenate(earlier), np.concatenate(later)
    differs = target[first] != target[second]
    return first[differs].astype(np.int64), second[differs].astype(np.int64)


def predict(pipeline: Pipeline, frame: pd.DataFrame) -> FloatArray:
    """Return the score of each row: a probability, or a number where the model has no probabilities."""
    if not len(frame):
        return np.empty(0)
    if hasattr(pipeline, "predict_proba"):
        return np.asarray(pipeline.predict_proba(frame)[:, 1], dtype=np.float64)
    return np.asarray(pipeline.predict(frame), dtype=np.float64)
