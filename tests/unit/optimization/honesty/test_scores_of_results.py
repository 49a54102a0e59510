"""Objectives on some of the calls, from results per call alone."""

import numpy as np
import pytest

from quantbot_pipeline.engine.metrics import KnownCurves, TradeResults, metric_values
from quantbot_pipeline.optimization.honesty.scores_of_results import METRICS_OF_RESULTS, scores_by
from quantbot_pipeline.optimization.objectives import METRIC_DIRECTIONS, parse_objective

PNL = np.array([0.5, -0.2, 0.1, -0.4, 0.3])


def test_metrics_of_results_are_those_that_nothing_else_changes() -> None:
    results = TradeResults(PNL, np.full(5, 1.0), np.full(5, 60), -0.5, 0.6, 86_400, 1, 1, 1, 1, 1)
    others = TradeResults(PNL, np.full(5, 2.0), np.full(5, 90), -0.7, 0.9, 172_800, 2, 3, 4, 5, 2)
    one = metric_values(results, KnownCurves(np.array([0.1, 0.2, 0.1]), 0.1))
    other = metric_values(others, KnownCurves(np.array([0.3, 0.2, 0.7]), 0.2))
    assert {name for name in METRIC_DIRECTIONS if one[name] == other[name]} == METRICS_OF_RESULTS
    assert set(METRIC_DIRECTIONS) <= set(one)


def test_trials_are_scored_by_the_objective_and_not_by_another() -> None:
    # A earns 0.3 a trade in 2 of 4 calls; B 0.2 in each, evenly; C never buys.
    results = np.array([[0.9, 0.2, 0.0], [-0.3, 0.21, 0.0], [0.0, 0.19, 0.0], [0.0, 0.2, 0.0]])
    mean = scores_by(parse_objective("final_pnl"))
    wins = scores_by(parse_objective("win_rate subject to trade_count >= 3"))
    assert mean is not None
    assert wins is not None
    assert mean(results, results != 0).tolist() == pytest.approx([0.3, 0.2, -np.inf])
    assert wins(results, results != 0).tolist() == [-np.inf, 1.0, -np.inf]


def test_a_trade_that_earned_exactly_nothing_is_a_trade() -> None:
    # Both trials have the same results; the first bought all three calls, the second none of those that earned 0.
    results = np.array([[0.6, 0.6], [0.0, 0.0], [-0.3, -0.3]])
    is_bought = np.array([[True, True], [True, False], [True, True]])
    for text, wanted in (("final_pnl", [0.1, 0.15]), ("win_rate", [1 / 3, 1 / 2]), ("max:trade_count", [3, 2])):
        score = scores_by(parse_objective(text))
        assert score is not None
        assert score(results, is_bought).tolist() == pytest.approx(wanted)


@pytest.mark.parametrize("text", ["sharpe_ratio", "min:max_drawdown, final_pnl", "final_pnl subject to calmar >= 1"])
def test_objectives_that_read_more_than_results_have_no_scores_by_them(text: str) -> None:
    assert scores_by(parse_objective(text)) is None
