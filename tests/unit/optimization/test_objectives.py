"""Objectives: their text form, and scores."""

from dataclasses import fields

import pytest

from quantbot_pipeline.engine.metrics import Metrics
from quantbot_pipeline.errors import ConfigError
from quantbot_pipeline.optimization.objectives import METRIC_DIRECTIONS, Objective, parse_objective


@pytest.mark.parametrize(
    ("text", "metric", "direction", "min_trades"),
    [
        ("final_pnl", "final_pnl", "max", 1),
        ("max_drawdown", "max_drawdown", "min", 1),
        ("max_drawdown:max", "max_drawdown", "max", 1),
        (" sharpe_ratio , min_trades = 20 ", "sharpe_ratio", "max", 20),
        ("average_holding_minutes:min,min_trades=0", "average_holding_minutes", "min", 0),
    ],
)
def test_objective_is_read(text: str, metric: str, direction: str, min_trades: int) -> None:
    objective = parse_objective(text)

    assert (objective.metric, objective.direction, objective.min_trades) == (metric, direction, min_trades)
    assert parse_objective(str(objective)) == objective


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("profit", "unknown metric 'profit'; allowed are final_pnl, total_pnl, win_rate"),
        ("trade_count", "found direction None for trade_count; allowed are max and min"),
        ("final_pnl:up", "found direction 'up'"),
        ("final_pnl,trades=3", "can't be read"),
        ("final_pnl,min_trades=-1", "can't be read"),
        ("", "can't be read"),
    ],
)
def test_objective_that_can_not_be_meant_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_objective(text)


def test_metric_that_is_minimised_scores_higher_when_it_is_lower() -> None:
    objective = parse_objective("max_drawdown")

    assert objective.score({"max_drawdown": 0.25, "trade_count": 3}) == -0.25
    # Not -0.0, which reads as a mistake in a table.
    assert str(objective.score({"max_drawdown": 0.0, "trade_count": 3})) == "0.0"


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_metric_without_a_value_has_no_score(value: float | None) -> None:
    assert parse_objective("sharpe_ratio").score({"sharpe_ratio": value, "trade_count": 9}) is None


def test_too_few_trades_have_no_score() -> None:
    objective = Objective(metric="final_pnl", direction="max", min_trades=10)

    assert objective.score({"final_pnl": 1.5, "trade_count": 9}) is None
    assert objective.score({"final_pnl": 1.5, "trade_count": 10}) == 1.5


def test_metric_that_the_run_lacks_is_an_error_not_a_missing_score() -> None:
    with pytest.raises(ConfigError, match="no metric 'sqn'; found final_pnl, trade_count"):
        parse_objective("sqn").score({"final_pnl": 1.0, "trade_count": 3})


def test_every_objective_is_a_metric_of_a_run() -> None:
    assert set(METRIC_DIRECTIONS) <= {field.name for field in fields(Metrics)}


def test_every_metric_has_a_direction_or_asks_for_one() -> None:
    for metric, direction in METRIC_DIRECTIONS.items():
        text = metric if direction else f"{metric}:max"
        assert parse_objective(text).metric == metric
