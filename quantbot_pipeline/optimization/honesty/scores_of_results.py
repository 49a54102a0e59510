"""A job's objective on any of its calls, from nothing but the result of each trial on each call.

That is enough for metrics of the results alone. Those of curves, holding times and counts of events need each trial
simulated or marked anew for every set of calls.
"""

from collections.abc import Callable

import numpy as np

from quantbot_pipeline.engine.candles import BoolArray, FloatArray
from quantbot_pipeline.engine.metrics import KnownCurves, TradeResults, metric_values
from quantbot_pipeline.optimization.objectives import Objective

METRICS_OF_RESULTS = frozenset(
    {
        "final_pnl",
        "total_pnl",
        "win_rate",
        "avg_trade_return",
        "median_trade_return",
        "profit_factor",
        "expectancy",
        "sqn",
        "trade_count",
    }
)
"""Metrics that follow from the results of the trades."""

_NO_CURVES = KnownCurves(np.empty(0), 0.0)


def scores_by(objective: Objective) -> Callable[[FloatArray, BoolArray], FloatArray] | None:
    """Return what scores trials by an objective; None where it reads more than results.

    The function takes results per call and where a trial bought, both of shape (n_calls, n_trials), and returns the
    score of the first goal of each, shape (n_trials,), -inf for trials without one. A trade that ended where it began
    is a trade.
    """
    names = objective.metrics()
    if not METRICS_OF_RESULTS.issuperset(names):
        return None

    def scores(results: FloatArray, is_bought: BoolArray) -> FloatArray:
        found = np.full(results.shape[1], -np.inf)
        for trial, (column, bought) in enumerate(zip(results.T, is_bought.T, strict=True)):
            metrics = metric_values(_results(column[bought]), _NO_CURVES, names)
            score = objective.evaluate(metrics).score
            if score is not None:
                found[trial] = score
        return found

    return scores


def _results(pnl: FloatArray) -> TradeResults:
    nothing = np.zeros(len(pnl))
    return TradeResults(
        pnl=np.ascontiguousarray(pnl),
        cash_spent=nothing,
        holding_seconds=nothing.astype(np.int64),
        max_adverse_excursion=0.0,
        max_favourable_excursion=0.0,
        done_at=0,
        skipped_count=0,
        re_entries=0,
        ladder_entries=0,
        target_hits=0,
        stopped_out=0,
    )
