"""Training: one model, measured walk-forward and on a last window that nothing was chosen by, against baselines.

The stored model is the one that was tested on the last window: it is not fitted again with it. Walk-forward folds lie
before that window; each fits its own model by the same recipe (`fitting.fit_model`).
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from quantbot_pipeline.engine.candles import FloatArray, IntArray
from quantbot_pipeline.errors import LearningError, TooFewCallsError
from quantbot_pipeline.learning.baselines import Comparison, baseline_scores, compare, verdict
from quantbot_pipeline.learning.drift import SCORE, profile_of
from quantbot_pipeline.learning.fitting import (
    Calibration,
    FittedModel,
    LabelledRows,
    Recipe,
    fit_model,
    join_rows,
    pair_loss,
    walk_forward,
)
from quantbot_pipeline.learning.hindsight import refuse_outcome_columns
from quantbot_pipeline.learning.model_kinds import ClassWeight, ModelTask, ModelType, task_of_model
from quantbot_pipeline.learning.model_metrics import curves, metrics_of, uplift
from quantbot_pipeline.learning.past_trades import float_column, integer_column
from quantbot_pipeline.learning.splits import split_by_time

TRAINING_VERSION = 3
"""Changed with whatever makes another model of the same data and plan."""

MIN_LABELLED_CALLS = 30
"""Fewer labelled calls than this are not trained on."""

_MIN_SCORED_ROWS = 10

# Labels of numbers are cut at these quantiles of the training rows: one call that went a hundredfold would decide all.
_CUT = (0.01, 0.99)

_MAX_IMPORTANCE_ROWS = 2_000


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """How to train and to test.

    Attributes:
        model_type: Kind of model.
        label_task: What kind of label it learns.
        seed: Seed of everything random: the same data and seed give the same model.
        search: How many settings are tried beside the defaults, inside the training rows.
        class_weight: `balanced` weighs the rarer class up.
        calibration: `sigmoid` or `none`; of classification alone.
        test_share: Share of the labelled calls, the latest, that the model is tested on, in (0, 1).
        fold_count: Walk-forward windows before that; 0 for none.
        embargo_seconds: Time between the last training label and a test, >= 0.
        group_by: `token` leaves tokens that are tested out of training.
        is_higher_better: Whether a high label is what one wants; not so of a time to a target.
        importance_repeats: How often each feature is shuffled to see what it is worth; 0 for never.
    """

    model_type: ModelType = "hist_gbm"
    label_task: Literal["classification", "regression"] = "classification"
    seed: int = 0
    search: int = 0
    class_weight: ClassWeight = "none"
    calibration: Calibration = "sigmoid"
    test_share: float = 0.25
    fold_count: int = 4
    embargo_seconds: int = 0
    group_by: Literal["none", "token"] = "none"
    is_higher_better: bool = True
    importance_repeats: int = 5


@dataclass(frozen=True, slots=True)
class FoldModel:
    """The model of one walk-forward window: what would have been in use then.

    Attributes:
        pipeline: Fitted scikit-learn pipeline; it knows its features by name.
        trained_until: When the last label was known that anything in it was fitted to, seconds since the epoch, UTC.
        test_start: Signal time from which on it was tested, until the next one's, seconds.
    """

    pipeline: Pipeline
    trained_until: int
    test_start: int


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """A trained model and what the test said about it.

    Attributes:
        pipeline: Fitted scikit-learn pipeline; it knows its features by name.
        trained_until: When the last label was known that anything in it was fitted to (settings, calibration, scales
            and weights alike), seconds since the epoch, UTC. What it says of calls until then is no forecast.
        folds: The walk-forward models, oldest first; empty where none could be fitted.
        feature_names: Columns that it reads, in order; features that are known for no training row are left
            out, and named in `metrics["features_without_values"]`.
        metrics: JSON-ready numbers of the last window and of the data, baselines included; below `out_of_fold` the
            same of the walk-forward folds; below `curves` what pictures are drawn from, below `profiles` what drift
            is measured against. None where a number is not defined.
        beats_baseline: Whether it is better than the constant and the caller's record, by more than luck explains.
        status: `ready` when it beats the baselines, else `failed`.
        reason: The comparison in one sentence.
    """

    pipeline: Pipeline
    trained_until: int
    folds: tuple[FoldModel, ...]
    feature_names: tuple[str, ...]
    metrics: dict[str, Any]
    beats_baseline: bool
    status: Literal["ready", "failed"]
    reason: str


def train_model(
    features: pa.Table, labels: pa.Table, plan: TrainingPlan | None = None, *, tokens: pa.Table | None = None
) -> TrainingResult:
    """Train a model on the earlier labelled calls and test it on the later ones.

    Args:
        features: `call_id` and float columns, one row per call; rows without a label are not used.
        labels: Table of `labels.LABEL_SCHEMA`; labels without features are not used.
        plan: How; the defaults without it.
        tokens: `call_id` and `token`, a number that is the same for the same token; needed to group by token.

    Raises:
        LearningError: a feature is known only afterwards, is infinite or is not a number; none is known for
            any training row; there are fewer than `MIN_LABELLED_CALLS` labelled calls; training or test rows
            are all of one class or value, or there are none; the model can't learn such a label.
    """
    plan = plan or TrainingPlan()
    task = task_of_model(plan.model_type, plan.label_task)
    feature_names = tuple(name for name in features.column_names if name != "call_id")
    refuse_outcome_columns(feature_names)
    rows = _labelled_rows(features, labels, feature_names, tokens, plan)
    _require_label_of(plan.label_task, rows.target)
    recipe = Recipe(
        plan.model_type,
        task,
        plan.seed,
        plan.search,
        plan.class_weight,
        plan.calibration,
        plan.embargo_seconds,
        plan.group_by,
    )
    split = split_by_time(rows.signal, rows.label_end, plan.test_share, embargo_seconds=plan.embargo_seconds)
    train_rows = split.train
    if plan.group_by == "token":
        train_rows = train_rows[~np.isin(rows.token[train_rows], rows.token[split.test])]
    for chosen, window in ((train_rows, "training"), (split.test, "test")):
        _require_both(rows.target[chosen], window, plan.label_task)
    cut = _with_cut_target(rows, rows.target[train_rows], plan.label_task)
    train, test = cut.take(train_rows), cut.take(split.test)

    # One thread: a sum over several threads may differ in its last bit from run to run, and the same data
    # and seed are to give the same bytes.
    with threadpool_limits(limits=1):
        fitted = fit_model(train, recipe)
        test_score = fitted.score(test.frame)
        measured, comparisons = _measure(task, train, test, test_score, plan)
        # What lies before the last window, purged rows included: they are as good as any to walk over.
        before = rows.take(np.flatnonzero(rows.signal < split.test_start))
        out_of_fold, folds = _walk(task, before, recipe, plan)
        importance = _importance(task, fitted, test, plan)
    beats_baseline, reason = verdict(task, comparisons, len(test.target))
    metrics: dict[str, Any] = {
        "n_labelled": len(rows.target),
        "n_train": len(train.target),
        "n_test": len(test.target),
        "n_purged": split.purged_count,
        "train_start": int(train.signal[0]),
        "train_end": int(train.signal[-1]),
        "test_start": split.test_start,
        "test_end": int(test.signal[-1]),
        "trained_until": fitted.trained_until,
        "features_without_values": [name for name in feature_names if name not in fitted.feature_names],
        "task": task,
        **_shares(plan.label_task, cut, train, test),
        **measured,
        "comparisons": [asdict(each) | {"is_beaten": each.is_beaten} for each in comparisons],
        "out_of_fold": out_of_fold,
        "importance": importance,
        "profiles": _profiles(train, test_score, fitted.feature_names),
        "recipe": asdict(plan) | fitted.facts,
    }
    return TrainingResult(
        pipeline=fitted.pipeline,
        trained_until=fitted.trained_until,
        folds=folds,
        feature_names=fitted.feature_names,
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


def _labelled_rows(
    features: pa.Table, labels: pa.Table, feature_names: tuple[str, ...], tokens: pa.Table | None, plan: TrainingPlan
) -> LabelledRows:
    """Return the calls that have both features and a label, in the order of their signals and ids."""
    if not feature_names:
        raise LearningError("the features hold no column beside call_id; allowed is at least one feature")
    feature_call = integer_column(features, "call_id")
    label_call = integer_column(labels, "call_id")
    if len(np.unique(feature_call)) < len(feature_call) or len(np.unique(label_call)) < len(label_call):
        raise LearningError("a call occurs twice among the features or the labels; allowed is one row per call")
    place, has_features = _places(feature_call, label_call)
    if int(has_features.sum()) < MIN_LABELLED_CALLS:
        raise TooFewCallsError(
            f"found {int(has_features.sum())} calls with features and a label (of {len(feature_call)} with "
            f"features and {len(label_call)} with a label); allowed are at least {MIN_LABELLED_CALLS}: "
            "ingest more alerts, or simulate the label's strategy on more of them"
        )
    token = np.zeros(len(label_call), dtype=np.int64)
    if tokens is not None:
        token_place, has_token = _places(integer_column(tokens, "call_id"), label_call)
        if not has_token[has_features].all():
            raise LearningError(f"{int((~has_token).sum())} labelled calls have no token; give one for each")
        token[has_token] = integer_column(tokens, "token")[token_place[has_token]]
    elif plan.group_by == "token":
        raise LearningError("group_by is 'token' and no tokens were given; give the token of each call")
    frame = feature_frame(features, feature_names)
    signal = integer_column(labels, "signal_timestamp")
    kept = np.flatnonzero(has_features)
    kept = kept[np.lexsort((label_call[kept], signal[kept]))]
    return LabelledRows(
        frame=frame.iloc[place[kept]].reset_index(drop=True),
        target=float_column(labels, "label")[kept],
        signal=signal[kept],
        label_end=integer_column(labels, "label_end")[kept],
        token=token[kept],
        pnl=float_column(labels, "pnl")[kept],
    )


def _places(known: IntArray, wanted: IntArray) -> tuple[IntArray, "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]"]:
    """Return where each wanted key is among the known ones, and whether it is there."""
    order = np.argsort(known, kind="stable")
    if not len(order):
        return np.zeros(len(wanted), dtype=np.int64), np.zeros(len(wanted), dtype=np.bool_)
    found = np.minimum(np.searchsorted(known[order], wanted), len(order) - 1)
    return order[found].astype(np.int64), known[order][found] == wanted


def _require_label_of(label_task: str, target: FloatArray) -> None:
    strange = sorted(set(np.unique(target).tolist()) - {0.0, 1.0}) if label_task == "classification" else []
    if strange:
        raise LearningError(
            f"the label has the values {', '.join(f'{value:g}' for value in strange[:5])}; a classifier learns 0 and "
            "1: choose classes 'upper' for a triple barrier"
        )


def _require_both(target: FloatArray, window: str, label_task: str) -> None:
    if len(np.unique(target)) > 1:
        return
    if not len(target):
        raise TooFewCallsError(f"no {window} row is left; label more calls, or do not group by token")
    if label_task == "regression":
        raise TooFewCallsError(f"all {len(target)} {window} rows have the label {target[0]:g}; nothing can be learned")
    positive = int(target.sum())
    raise TooFewCallsError(
        f"all {len(target)} {window} rows have the label {int(target[0])} ({positive} positive, "
        f"{len(target) - positive} negative); a model needs both: choose another label threshold, another "
        "test_share, or label more calls"
    )


def _with_cut_target(rows: LabelledRows, train_target: FloatArray, label_task: str) -> LabelledRows:
    if label_task == "classification":
        return rows
    low, high = np.quantile(train_target, _CUT)
    return rows._replace(target=np.clip(rows.target, low, high))


def _shares(label_task: str, rows: LabelledRows, train: LabelledRows, test: LabelledRows) -> dict[str, float]:
    if label_task != "classification":
        return {"mean_label_train": float(train.target.mean()), "mean_label_test": float(test.target.mean())}
    return {
        "positive_share": float(rows.target.mean()),
        "positive_share_train": float(train.target.mean()),
        "positive_share_test": float(test.target.mean()),
    }


def _threshold(task: ModelTask, train: LabelledRows) -> float:
    """Return the score above which a call is taken: better than the average training call."""
    return 0.5 if task == "ranking" else float(train.target.mean())


def _measure(
    task: ModelTask, train: LabelledRows, test: LabelledRows, score: FloatArray, plan: TrainingPlan
) -> tuple[dict[str, Any], list[Comparison]]:
    """Return metrics of rows that the model did not see, beside the baselines', and the comparisons."""
    metrics: dict[str, Any] = dict(metrics_of(task, test, score))
    baselines: dict[str, Any] = {}
    comparisons = []
    for name, said in baseline_scores(task, train, test.frame).items():
        baselines[f"baseline_{name}"] = own = metrics_of(task, test, said)
        comparisons.append(compare(task, test, score, name, said, metrics, own, seed=plan.seed))
    threshold = _threshold(task, train)
    sign = 1.0 if plan.is_higher_better else -1.0
    # A label of which less is better takes calls that score below the threshold.
    taken = uplift(test, sign * score, sign * threshold, seed=plan.seed) | {"score_threshold": threshold}
    drawn = curves(task, test, score, is_higher_better=plan.is_higher_better)
    return metrics | taken | {"curves": drawn} | baselines, comparisons


def _walk(
    task: ModelTask, rows: LabelledRows, recipe: Recipe, plan: TrainingPlan
) -> tuple[dict[str, Any] | None, tuple[FoldModel, ...]]:
    """Return the metrics of walk-forward folds, and the model of each; None and none where no fold can be fitted."""
    splits = walk_forward(rows, recipe, plan.fold_count) if plan.fold_count else ()
    scores, said, above, tests, folds = [], [], [], [], []
    for split in splits:
        # Where labels are cut is fitted too: each fold cuts them by what it knew.
        cut = _with_cut_target(rows, rows.target[split.train], plan.label_task)
        train, test = cut.take(split.train), cut.take(split.test)
        fitted = fit_model(train, recipe)
        score = fitted.score(test.frame)
        scores.append(score)
        said.append(baseline_scores(task, train, test.frame))
        # Each fold's own threshold is taken off, so that one of 0 serves them all.
        above.append(score - _threshold(task, train))
        tests.append(test)
        folds.append(FoldModel(fitted.pipeline, fitted.trained_until, split.test_windows[0][0]))
    if sum(map(len, scores)) < _MIN_SCORED_ROWS:
        return None, tuple(folds)
    tested, score = join_rows(tests), np.concatenate(scores)
    sign = 1.0 if plan.is_higher_better else -1.0
    taken = uplift(tested, sign * np.concatenate(above), 0.0, seed=plan.seed)
    del taken["score_threshold"]
    found = {
        "n_folds": len(splits),
        "n_calls": len(score),
        **metrics_of(task, tested, score),
        **taken,
        "curves": curves(task, tested, score, is_higher_better=plan.is_higher_better),
    }
    for name in set.intersection(*(set(each) for each in said)):
        found[f"baseline_{name}"] = metrics_of(task, tested, np.concatenate([each[name] for each in said]))
    return dict(sorted(found.items())), tuple(folds)


def _profiles(train: LabelledRows, test_score: FloatArray, feature_names: tuple[str, ...]) -> dict[str, Any]:
    """Return what drift is later measured against: the features that were learned from, and the score.

    The score's is that of the last window: of the calls that it learned from, a model is more certain than of others.
    """
    columns = {name: train.frame[name].to_numpy() for name in feature_names} | {SCORE: test_score}
    return {name: profile_of(values).document() for name, values in columns.items()}


def _importance(
    task: ModelTask, fitted: FittedModel, test: LabelledRows, plan: TrainingPlan
) -> list[dict[str, float | str]]:
    """Return by how much the loss on the last window rises when a feature is shuffled, most important first.

    Features that say the same share their importance: shuffling one of them leaves the other.

    Source: Breiman (2001), "Random Forests", Machine Learning 45, section 10.
    """
    repeats = plan.importance_repeats
    if not repeats:
        return []
    generator = np.random.default_rng(plan.seed)
    if len(test.target) > _MAX_IMPORTANCE_ROWS:
        test = test.take(np.sort(generator.choice(len(test.target), _MAX_IMPORTANCE_ROWS, replace=False)))
    frame = test.frame[list(fitted.feature_names)]

    def loss(score: FloatArray) -> float:
        if task != "ranking":
            return float(np.mean((score - test.target) ** 2))
        _, wrong = pair_loss(test.target, score, test.signal)
        return float(wrong.mean()) if len(wrong) else 0.5

    before = loss(fitted.score(frame))
    found: list[dict[str, float | str]] = []
    shuffles = [generator.permutation(len(frame)) for _ in range(repeats)]
    stacked = pd.concat([frame] * repeats, ignore_index=True)
    for name in fitted.feature_names:
        values = frame[name].to_numpy()
        if np.isnan(values).all():
            rises = np.zeros(repeats)
        else:
            changed = stacked.assign(**{name: np.concatenate([values[shuffle] for shuffle in shuffles])})
            rises = np.array([loss(each) - before for each in np.split(fitted.score(changed), repeats)])
        deviation = float(rises.std(ddof=1)) if repeats > 1 else 0.0
        found.append({"feature": name, "rise": float(rises.mean()), "deviation": deviation})
    return sorted(found, key=lambda each: -float(each["rise"]))
