"""Fitting one model on training rows: settings, calibration and weights are all chosen inside of these rows.

`fit_model` is the whole recipe. Every walk-forward fold and the stored model go through it, each with its own training
rows, so that what is measured on later rows is what the recipe is worth, searching and calibrating included.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from quantbot_pipeline.engine.candles import FloatArray, IntArray
from quantbot_pipeline.errors import LearningError
from quantbot_pipeline.learning.calibration import SigmoidCalibrated, fit_sigmoid
from quantbot_pipeline.learning.model_kinds import (
    ClassWeight,
    ModelTask,
    ModelType,
    Settings,
    candidate_settings,
    competing_pairs,
    fit_pipeline,
    new_pipeline,
    predict,
)
from quantbot_pipeline.learning.splits import LabelledSplit, WalkForward, split_rows

INNER_FOLDS = 3
"""Walk-forward windows inside the training rows, for choosing settings and calibrating."""

MIN_FOLD_ROWS = 20
"""A fold with fewer training rows than this is left out."""

Calibration = Literal["sigmoid", "none"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is fitted.

    Attributes:
        model_type: Kind of model.
        task: What it is for.
        seed: Seed of everything random.
        search: How many settings are tried beside the defaults.
        class_weight: `balanced` weighs the rarer class up; calibration brings the probabilities back.
        calibration: `sigmoid`, or `none`; of classification alone.
        embargo_seconds: Time between the last label of training and a test, in every split.
        group_by: `token` leaves tested tokens out of training, in every split.
    """

    model_type: ModelType
    task: ModelTask
    seed: int = 0
    search: int = 0
    class_weight: ClassWeight = "none"
    calibration: Calibration = "sigmoid"
    embargo_seconds: int = 0
    group_by: Literal["none", "token"] = "none"


class LabelledRows(NamedTuple):
    """Labelled calls, ordered by signal time.

    Attributes:
        frame: Features.
        target: What is learned; 0 or 1 for classification.
        signal: Signal times, seconds.
        label_end: When each label was known, seconds.
        token: A number per token.
        pnl: What taking the call earned.
    """

    frame: pd.DataFrame
    target: FloatArray
    signal: IntArray
    label_end: IntArray
    token: IntArray
    pnl: FloatArray

    def take(self, rows: IntArray) -> "LabelledRows":
        """Return some of the rows."""
        return LabelledRows(
            self.frame.iloc[rows].reset_index(drop=True),
            self.target[rows],
            self.signal[rows],
            self.label_end[rows],
            self.token[rows],
            self.pnl[rows],
        )


def join_rows(parts: Sequence[LabelledRows]) -> LabelledRows:
    """Return the rows of several parts, at least one, in their order."""
    return LabelledRows(
        pd.concat([part.frame for part in parts], ignore_index=True),
        *(np.concatenate(columns) for columns in zip(*(part[1:] for part in parts), strict=True)),
    )


@dataclass(frozen=True, slots=True)
class FittedModel:
    """A fitted pipeline and how it came about.

    Attributes:
        pipeline: Knows its features by name.
        feature_names: Features that it reads, in order; those that no training row knows are left out.
        facts: Settings, what the search tried, and the calibration; JSON-ready.
        trained_until: When the last label was known of the rows that all of it was fitted to, seconds.
    """

    pipeline: Pipeline
    feature_names: tuple[str, ...]
    facts: dict[str, Any]
    trained_until: int

    def score(self, frame: pd.DataFrame) -> FloatArray:
        """Return the score of each row."""
        return predict(self.pipeline, frame[list(self.feature_names)])


def walk_forward(rows: LabelledRows, recipe: Recipe, fold_count: int) -> tuple[LabelledSplit, ...]:
    """Return about `fold_count` windows of equal length, each with the rows known before it to learn from.

    Windows with too few training rows, with training rows of one class, or without any known feature are left out.
    """
    span = int(rows.signal[-1] - rows.signal[0]) + 1
    plan = WalkForward(
        test_seconds=max(1, -(-span // (fold_count + 1))),
        embargo_seconds=recipe.embargo_seconds,
        group_by=recipe.group_by,
    )
    try:
        found = split_rows(plan, rows.signal, rows.label_end, rows.token)
    except LearningError:
        return ()
    return tuple(
        split
        for split in found
        if len(split.train) >= MIN_FOLD_ROWS
        and len(np.unique(rows.target[split.train])) > 1
        and rows.frame.iloc[split.train].notna().to_numpy().any()
    )


def fit_model(rows: LabelledRows, recipe: Recipe) -> FittedModel:
    """Fit a model on training rows, all of them.

    Raises:
        LearningError: no feature is known for any row, or no two calls can be compared.
    """
    candidates = candidate_settings(recipe.model_type, recipe.search, recipe.seed)
    is_calibrated = recipe.task == "classification" and recipe.calibration == "sigmoid"
    splits = walk_forward(rows, recipe, INNER_FOLDS) if is_calibrated or len(candidates) > 1 else ()
    tried: list[dict[str, Any]] = []
    chosen, unseen = candidates[0], np.empty(0)
    # Without a split, nothing can be compared, and the defaults stay.
    for settings in candidates if splits else ():
        scores = np.concatenate([_score_split(rows, split, settings, recipe) for split in splits])
        loss = _unseen_loss(rows, splits, scores, recipe.task)
        if not tried or loss < min(each["loss"] for each in tried):
            chosen, unseen = settings, scores
        tried.append({"settings": dict(settings), "loss": loss})
    pipeline, names = _fit(rows, chosen, recipe)
    facts: dict[str, Any] = {"settings": dict(chosen), "searched": tried if len(candidates) > 1 else []}
    if is_calibrated:
        tested = np.concatenate([split.test for split in splits]) if splits else np.empty(0, dtype=np.int64)
        curve = fit_sigmoid(unseen, rows.target[tested]) if splits else None
        facts["calibration"] = {"kind": "none", "rows": len(tested)}
        if curve is not None:
            slope, intercept = curve
            facts["calibration"] = {"kind": "sigmoid", "rows": len(tested), "slope": slope, "intercept": intercept}
            pipeline = Pipeline([*pipeline.steps[:-1], ("model", SigmoidCalibrated(pipeline[-1], slope, intercept))])
    return FittedModel(pipeline, names, facts, int(rows.label_end.max()))


def pair_loss(target: FloatArray, score: FloatArray, signal: IntArray) -> tuple[IntArray, FloatArray]:
    """Return rows that compete with others, and the share of their pairs that the score puts in the wrong order.

    Equal scores are half wrong.
    """
    earlier, later = competing_pairs(target, signal)
    better = np.sign(target[earlier] - target[later]) * np.sign(score[earlier] - score[later])
    wrong = (1 - better) / 2
    rows, place = np.unique(np.concatenate([earlier, later]), return_inverse=True)
    return rows.astype(np.int64), np.bincount(place, weights=np.tile(wrong, 2)) / np.maximum(np.bincount(place), 1)


def _score_split(rows: LabelledRows, split: LabelledSplit, settings: Settings, recipe: Recipe) -> FloatArray:
    pipeline, names = _fit(rows.take(split.train), settings, recipe)
    return predict(pipeline, rows.frame.iloc[split.test][list(names)])


def _fit(rows: LabelledRows, settings: Settings, recipe: Recipe) -> tuple[Pipeline, tuple[str, ...]]:
    # A feature that is nowhere known has nothing to learn from, and boosted trees can't bin it.
    known = rows.frame.notna().any()
    names = tuple(str(name) for name in rows.frame.columns if known[name])
    if not names:
        raise LearningError(
            f"none of the features {', '.join(map(str, rows.frame.columns))} is known for any of the "
            f"{len(rows.target)} training rows; load the candles before these calls, or choose other features"
        )
    pipeline = new_pipeline(
        recipe.model_type, recipe.task, settings, seed=recipe.seed, class_weight=recipe.class_weight
    )
    fit_pipeline(pipeline, recipe.task, rows.frame[list(names)], rows.target, rows.signal)
    return pipeline, names


def _unseen_loss(rows: LabelledRows, splits: tuple[LabelledSplit, ...], scores: FloatArray, task: ModelTask) -> float:
    """Return the loss on rows that were not trained on: squared error, or wrongly ordered pairs."""
    tested = np.concatenate([split.test for split in splits])
    if task != "ranking":
        return float(np.mean((scores - rows.target[tested]) ** 2))
    _, loss = pair_loss(rows.target[tested], scores, rows.signal[tested])
    return float(loss.mean()) if len(loss) else 0.5
