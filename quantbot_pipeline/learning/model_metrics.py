"""What scores of calls were worth: metrics, calibration, and the pnl of the calls that a score would have taken."""

from typing import Any

import numpy as np
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, log_loss, precision_recall_curve, roc_auc_score

from quantbot_pipeline.engine.candles import FloatArray, IntArray
from quantbot_pipeline.learning.fitting import LabelledRows, pair_loss
from quantbot_pipeline.learning.model_kinds import ModelTask
from quantbot_pipeline.optimization.honesty.dependent_bootstrap import (
    block_correction,
    periods_of_calls,
    stationary_bootstrap_counts,
    sum_by_period,
)

CALIBRATION_BINS = 10
SCORE_GROUPS = 10
_LEAST_ROWS_PER_GROUP = 5
_CURVE_POINTS = 60

_UPLIFT_DRAWS = 999
_UPLIFT_TAIL = 0.05


def metrics_of(task: ModelTask, rows: LabelledRows, score: FloatArray) -> dict[str, float | None]:
    """Return the metrics of a task, None where one is not defined (one class alone, no comparable pair)."""
    if task == "classification":
        return _classification_metrics(rows.target, score)
    order = {"spearman": rank_correlation(rows.target, score), "pair_accuracy": _pair_accuracy(rows, score)}
    if task == "ranking":
        return order
    error = score - rows.target
    spread = float(np.sum((rows.target - rows.target.mean()) ** 2))
    return {
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt(np.mean(error**2))),
        "r2": 1 - float(np.sum(error**2)) / spread if spread > 0 else None,
        **order,
    }


def rank_correlation(first: FloatArray, second: FloatArray) -> float | None:
    """Return Spearman's correlation, 0 where one side is constant, None below two rows."""
    if len(first) < 2:
        return None
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(spearmanr(first, second).statistic)


def reliability(label: FloatArray, score: FloatArray) -> list[dict[str, float]]:
    """Return mean score and share of positives in bins of equally many rows, lowest scores first.

    Equal scores stay together, so there may be fewer bins.
    """
    return [
        {"rows": len(rows), "mean_score": float(score[rows].mean()), "positive_share": float(label[rows].mean())}
        for rows in _groups(score, CALIBRATION_BINS)
    ]


def expected_calibration_error(label: FloatArray, score: FloatArray) -> float:
    """Return how far, on average over rows, the share of positives of a bin is from its mean score.

    Source: Naeini, Cooper & Hauskrecht (2015), "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI;
    here with bins of equally many rows.
    """
    return sum(
        each["rows"] / len(label) * abs(each["mean_score"] - each["positive_share"])
        for each in reliability(label, score)
    )


def precision_recall_points(label: FloatArray, score: FloatArray) -> list[dict[str, float]]:
    """Return points of the precision-recall curve, at most some sixty, by falling recall."""
    if len(np.unique(label)) < 2:
        return []
    precision, recall, _ = precision_recall_curve(label, score)
    chosen = np.unique(np.linspace(0, len(recall) - 1, min(_CURVE_POINTS, len(recall))).round().astype(np.int64))
    return [{"recall": float(recall[place]), "precision": float(precision[place])} for place in chosen]


def pnl_by_score(score: FloatArray, pnl: FloatArray, *, groups: int = SCORE_GROUPS) -> list[dict[str, float]]:
    """Return the mean pnl of calls by tenths of their score, lowest first; fewer groups where calls are few."""
    return [
        {
            "rows": len(rows),
            "lowest_score": float(score[rows].min()),
            "highest_score": float(score[rows].max()),
            "mean_pnl": float(pnl[rows].mean()),
        }
        for rows in _groups(score, max(2, min(groups, len(score) // _LEAST_ROWS_PER_GROUP)))
    ]


def uplift(rows: LabelledRows, score: FloatArray, threshold: float, *, seed: int) -> dict[str, float | int | None]:
    """Return what taking only the calls that score above the threshold would have changed.

    The interval comes of resampling blocks of time, in which calls share the market; its ends are those that 5 % of
    the resamples lie beyond, each.
    """
    taken = score > threshold
    found: dict[str, float | int | None] = {
        "score_threshold": threshold,
        "n_above_threshold": int(taken.sum()),
        "mean_pnl_all": float(rows.pnl.mean()),
        "mean_pnl_above_threshold": None,
        "pnl_uplift": None,
        "pnl_uplift_low": None,
        "pnl_uplift_high": None,
    }
    if not taken.any():
        return found
    difference = float(rows.pnl[taken].mean() - rows.pnl.mean())
    found |= {"mean_pnl_above_threshold": float(rows.pnl[taken].mean()), "pnl_uplift": difference}
    periods = periods_of_calls(rows.signal, rows.label_end)
    if periods.count < 2:
        return found
    columns = np.column_stack([rows.pnl, np.ones(len(taken)), rows.pnl * taken, taken.astype(np.float64)])
    sums = sum_by_period(columns, periods)
    counts = stationary_bootstrap_counts(
        periods.count, draws=_UPLIFT_DRAWS, block_rows=periods.block_rows, rng=np.random.default_rng(seed)
    )
    drawn = counts @ sums
    drawn = drawn[drawn[:, 3] > 0]
    if len(drawn) < _UPLIFT_DRAWS // 2:
        return found
    resampled = drawn[:, 2] / drawn[:, 3] - drawn[:, 0] / drawn[:, 1]
    low, high = np.quantile(resampled, [_UPLIFT_TAIL, 1 - _UPLIFT_TAIL])
    widened = block_correction(periods.count, periods.block_rows)
    found["pnl_uplift_low"] = difference + widened * (float(low) - difference)
    found["pnl_uplift_high"] = difference + widened * (float(high) - difference)
    return found


def curves(task: ModelTask, rows: LabelledRows, score: FloatArray, *, is_higher_better: bool) -> dict[str, Any]:
    """Return what the pictures of a model card are drawn from; JSON-ready."""
    groups = pnl_by_score(score if is_higher_better else -score, rows.pnl)
    means = np.array([each["mean_pnl"] for each in groups])
    found: dict[str, Any] = {
        "pnl_by_score": groups,
        "pnl_by_score_spearman": rank_correlation(np.arange(len(means), dtype=np.float64), means),
    }
    if task == "classification":
        found["reliability"] = reliability(rows.target, score)
        found["precision_recall"] = precision_recall_points(rows.target, score)
    return found


def _classification_metrics(label: FloatArray, score: FloatArray) -> dict[str, float | None]:
    has_both = len(np.unique(label)) > 1
    # A win rate of 0 or 1 from a handful of trades would make the log loss infinite.
    clipped = np.clip(score, 0.01, 0.99)
    return {
        "roc_auc": float(roc_auc_score(label, score)) if has_both else None,
        "pr_auc": float(average_precision_score(label, score)) if has_both else None,
        "brier": float(np.mean((score - label) ** 2)),
        "log_loss": float(log_loss(label, clipped, labels=[0, 1])),
        "calibration_error": expected_calibration_error(label, score),
    }


def _pair_accuracy(rows: LabelledRows, score: FloatArray) -> float | None:
    _, loss = pair_loss(rows.target, score, rows.signal)
    return 1 - float(loss.mean()) if len(loss) else None


def _groups(score: FloatArray, count: int) -> list[IntArray]:
    """Return rows in groups of about equal size by rising score; equal scores are in one group."""
    order = np.argsort(score, kind="stable")
    ordered = score[order]
    edges = sorted({int(np.searchsorted(ordered, ordered[len(score) * k // count])) for k in range(count)})
    ends = [*edges[1:], len(score)]
    return [order[begin:end].astype(np.int64) for begin, end in zip(edges, ends, strict=True) if end > begin]
