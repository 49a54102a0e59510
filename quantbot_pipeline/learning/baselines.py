"""What a model has to beat: a constant, and what the caller's own record says; and the test whether it does.

The baselines learn from the same training rows as the model. The caller's record goes through a curve of two numbers
that is fitted there, so that it is as well calibrated as a model is: a record of one win in one trade does not count as
certainty, and a model gets no credit for knowing that.

A model beats a baseline when its loss per call is lower, on calls that neither learned from, by more than chance
explains (p < 0.05). Calls of the same time share the market, so blocks of time are resampled, not calls. It has to beat
each baseline, which needs no correction: all tests must reject, not one of them.

Source of the projection: Hoeffding (1948), "A Class of Statistics with Asymptotically Normal Distribution", Annals of
Mathematical Statistics 19.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression, LogisticRegression

from quantbot_pipeline.engine.candles import FloatArray
from quantbot_pipeline.learning.fitting import LabelledRows, pair_loss
from quantbot_pipeline.learning.model_kinds import ModelTask
from quantbot_pipeline.optimization.honesty.dependent_bootstrap import mean_result, periods_of_calls

MAX_P_VALUE = 0.05
"""Below this, a model counts as better than a baseline."""

MIN_TEST_CALLS = 30
"""With fewer calls to test on, no model counts as better."""

MIN_TEST_PERIODS = 10
"""The same of periods with calls: resampling fewer blocks of time says nothing."""

_BOOTSTRAP_DRAWS = 1_999

# Losses are about 0.25, or squares of a pnl of some percent.
_ROUNDING = 1e-12

# What a caller's record is called, and the columns that say it: the shrunk one where there is one.
_RECORDS: Mapping[ModelTask, tuple[str, tuple[str, ...]]] = {
    "classification": ("caller_win_rate", ("caller_win_rate_shrunk", "caller_win_rate")),
    "regression": ("caller_mean_pnl", ("caller_mean_pnl_shrunk", "caller_mean_pnl")),
    "ranking": ("caller_mean_pnl", ("caller_mean_pnl_shrunk", "caller_mean_pnl")),
}

_DECISIVE: Mapping[ModelTask, tuple[str, str]] = {
    "classification": ("Brier score", "roc_auc"),
    "regression": ("squared error", "spearman"),
    "ranking": ("share of pairs in the wrong order", "pair_accuracy"),
}
"""The loss that is compared, and the metric of order that must not be worse."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A model against one baseline.

    Attributes:
        baseline: Name of the baseline.
        gain: Mean loss of the baseline less that of the model, per call; above 0 the model is better.
        low: With 95 % confidence, the true gain is above this.
        high: And below this.
        p_value: How often a model that is no better shows such a gain; 1 where the calls are too few to say.
        model_order: The model's metric of order (ROC AUC, Spearman, pairs in the right order).
        baseline_order: The baseline's.
    """

    baseline: str
    gain: float
    low: float | None
    high: float | None
    p_value: float
    model_order: float | None
    baseline_order: float | None

    @property
    def is_beaten(self) -> bool:
        """Return whether the model is better than the baseline, in loss beyond chance and in order."""
        is_ordered_better = (self.model_order or 0.0) > (self.baseline_order or 0.0)
        return self.p_value < MAX_P_VALUE and self.gain > 0 and is_ordered_better


def baseline_scores(task: ModelTask, train: LabelledRows, frame: pd.DataFrame) -> dict[str, FloatArray]:
    """Return what each baseline says of new rows, having learned from training rows.

    Args:
        task: What is predicted.
        train: Training rows; their features hold the caller's record, or there is only the constant.
        frame: Features of the new rows.
    """
    mean = float(train.target.mean())
    found = {"constant": np.full(len(frame), mean)}
    name, columns = _RECORDS[task]
    column = next((each for each in columns if each in train.frame.columns), None)
    if column is None:
        return found
    record = train.frame[column].to_numpy(dtype=np.float64)
    known = record[np.isfinite(record)]
    if not len(known):
        return found
    # Callers without a record are taken to be like the others.
    filled = np.where(np.isfinite(record), record, known.mean())
    new = frame[column].to_numpy(dtype=np.float64)
    new = np.where(np.isfinite(new), new, known.mean())
    if task == "ranking":
        found[name] = new
    elif task == "classification":
        curve = LogisticRegression(C=1e3, max_iter=1_000).fit(filled[:, None], train.target.astype(np.int64))
        found[name] = np.asarray(curve.predict_proba(new[:, None])[:, 1], dtype=np.float64)
    else:
        line = LinearRegression().fit(filled[:, None], train.target)
        found[name] = np.asarray(line.predict(new[:, None]), dtype=np.float64)
    return found


def compare(
    task: ModelTask,
    rows: LabelledRows,
    score: FloatArray,
    baseline: str,
    baseline_score: FloatArray,
    metrics: Mapping[str, Any],
    baseline_metrics: Mapping[str, Any],
    *,
    seed: int,
) -> Comparison:
    """Return how a model compares with a baseline on rows that neither learned from.

    Args:
        task: What is predicted.
        rows: The rows.
        score: The model's scores.
        baseline: Name of the baseline.
        baseline_score: What the baseline says.
        metrics: The model's metrics on these rows.
        baseline_metrics: The baseline's.
        seed: Seed of the resamples.
    """
    signal, label_end = rows.signal, rows.label_end
    if task == "ranking":
        compared, own = pair_loss(rows.target, score, signal)
        _, other = pair_loss(rows.target, baseline_score, signal)
        # Each call is in many pairs, so that pairs are not independent calls: the mean over pairs varies by twice what
        # the calls' own means do (Hoeffding's projection of a statistic of pairs).
        gain = 2 * (other - own) - (other - own).mean() if len(own) else own
        signal, label_end = signal[compared], label_end[compared]
    else:
        gain = (baseline_score - rows.target) ** 2 - (score - rows.target) ** 2
    # Two constants of the same rows differ in their last bits, and always in the same direction.
    gain = np.where(np.abs(gain) < _ROUNDING, 0.0, gain)
    order = _DECISIVE[task][1]
    result = None
    if len(gain) >= MIN_TEST_CALLS:
        periods = periods_of_calls(signal, label_end)
        if periods.count >= MIN_TEST_PERIODS:
            result = mean_result(gain, periods, seed=seed, draws=_BOOTSTRAP_DRAWS)
    return Comparison(
        baseline=baseline,
        gain=float(gain.mean()) if len(gain) else 0.0,
        low=None if result is None else result.low,
        high=None if result is None else result.high,
        p_value=1.0 if result is None else result.p_value,
        model_order=metrics[order],
        baseline_order=baseline_metrics[order],
    )


def _change(gain: float) -> str:
    return f"{'lower' if gain >= 0 else 'higher'} by {abs(gain):.4g}"


def verdict(task: ModelTask, comparisons: list[Comparison], test_count: int) -> tuple[bool, str]:
    """Return whether the model beats every baseline, and the comparison in a sentence."""
    loss, order = _DECISIVE[task]
    told = "; ".join(
        f"{each.baseline.replace('_', ' ')}: {loss} {_change(each.gain)} (p {each.p_value:.3f}), "
        f"{order.replace('_', ' ')} {_shown(each.model_order)} against {_shown(each.baseline_order)}"
        for each in comparisons
    )
    told = f"{told}; on {test_count} later calls, p < {MAX_P_VALUE:g} is asked for"
    if all(each.is_beaten for each in comparisons):
        return True, f"beats the baselines: {told}"
    if test_count < MIN_TEST_CALLS:
        told = f"{told}, and at least {MIN_TEST_CALLS} calls"
    return False, f"does not beat the baselines: {told}"


def _shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"
