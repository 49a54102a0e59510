"""Objectives: their text and JSON forms, scores, limits, and fronts."""

from dataclasses import fields

import pytest

from quantbot_pipeline.engine.metrics import Metrics
from quantbot_pipeline.errors import ConfigError
from quantbot_pipeline.optimization.objectives import METRIC_DIRECTIONS, METRIC_RANGES, parse_objective


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("final_pnl", "max:final_pnl"),
        ("max_drawdown", "min:max_drawdown"),
        ("max_drawdown:max", "max:max_drawdown"),
        ("max:trade_count", "max:trade_count"),
        (" sharpe_ratio , min_trades = 20 ", "max:sharpe_ratio subject to trade_count >= 20"),
        ("average_holding_minutes:min,min_trades=0", "min:average_holding_minutes subject to trade_count >= 0"),
        ("max:sharpe_ratio,min:max_drawdown", "max:sharpe_ratio, min:max_drawdown"),
        ("0.7*final_pnl - 0.3*max_drawdown", "max:0.7*final_pnl - 0.3*max_drawdown"),
        ("min: max_drawdown + volatility*2", "min:max_drawdown + 2*volatility"),
        ("final_pnl/0.2+sharpe_ratio", "max:5*final_pnl + sharpe_ratio"),
        ("-final_pnl", "max:-final_pnl"),
        ("sqn subject to trade_count >= 30", "max:sqn subject to trade_count >= 30"),
        (
            "sqn subject to trade_count>30 and max_drawdown <= 4e-1, final_pnl >= -.5",
            "max:sqn subject to trade_count > 30 and max_drawdown <= 0.4 and final_pnl >= -0.5",
        ),
    ],
)
def test_objective_is_read(text: str, meaning: str) -> None:
    objective = parse_objective(text)

    assert str(objective) == meaning
    assert parse_objective(str(objective)) == objective
    assert parse_objective(objective.document()) == objective


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("profit", "position 1: unknown metric 'profit'; allowed are final_pnl, total_pnl, win_rate"),
        ("trade_count", "position 1: found 'trade_count'; allowed is a direction for trade_count, max or min"),
        ("final_pnl:up", "position 11: found 'up'; allowed is max or min"),
        ("final_pnl,trades=3", "position 11: unknown metric 'trades'"),
        ("final_pnl,min_trades=-1", "position 22: found '-'; allowed is a whole number"),
        ("final_pnl,min_trades=1.5", "position 22: found '1.5'"),
        ("", "position 1: found the end; allowed is a metric"),
        ("final_pnl subject trade_count >= 3", "position 19: found 'trade_count'; allowed is 'to'"),
        ("final_pnl subject to trade_count = 3", "position 34: found '='; allowed is one of >=, <="),
        ("final_pnl subject to trade_count >= many", "position 37: found 'many'; allowed is a number"),
        ("2 final_pnl", "position 3: found 'final_pnl'; allowed is '\\*'"),
        ("final_pnl - final_pnl", "position 13: found 'final_pnl'; allowed is each metric once"),
        ("0*final_pnl", "position 1: found '0'; allowed is a weight above 0"),
        ("final_pnl/0", "position 11: found '0'; allowed is a number above 0"),
        ("1e999*final_pnl", "position 1: found '1e999'; allowed is a finite number"),
        ("__import__('os')", "position 11: found '\\('"),
        ("final_pnl sqn", "position 11: found 'sqn'; allowed is 'subject to'"),
        ("final_pnl subject to win_rate >= 1.5", "no run can meet win_rate >= 1.5; win_rate lies between 0 and 1"),
        ("final_pnl subject to win_rate > 1", "no run can meet win_rate > 1"),
        ("final_pnl subject to max_drawdown < 0", "no run can meet max_drawdown < 0"),
        ("final_pnl subject to max_drawdown <= -1", "no run can meet max_drawdown <= -1; max_drawdown is at least 0"),
        ("sqn, final_pnl, max:sqn", "found the goal max:sqn 2 times; allowed is each goal once"),
        (
            "final_pnl subject to trade_count >= 30 and trade_count <= 10",
            "no run can meet trade_count >= 30 and trade_count <= 10",
        ),
        (
            "final_pnl subject to max_drawdown < 0.3 and max_drawdown >= 0.3",
            "no run can meet max_drawdown < 0.3 and max_drawdown >= 0.3",
        ),
        ("final_pnl subject to sqn < 1 and sqn <= 1 and sqn == 1", "no run can meet sqn < 1 and sqn <= 1 and sqn == 1"),
    ],
)
def test_objective_that_can_not_be_meant_is_refused_with_its_position(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_objective(text)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "found nothing; allowed is a text, or an object with goals"),
        ({"goals": []}, "goals: found an empty list; allowed is at least one item"),
        ({"goals": [{"terms": {"final_pnl": 1}}]}, "goals.0.direction: found nothing"),
        ({"goals": [{"terms": {"pnl": 1}, "direction": "max"}]}, "unknown metric 'pnl'"),
        (
            {
                "goals": [{"terms": {"sqn": 1}, "direction": "max"}],
                "subject_to": [{"metric": "sqn", "comparison": "=>", "bound": 1}],
            },
            "subject_to.0.comparison: found '=>'",
        ),
        ({"goals": "final_pnl"}, "goals: found 'final_pnl'; allowed is a list"),
        (
            {"goals": [{"terms": {"sqn": "1"}, "direction": "max"}]},
            "goals.0.terms.sqn: found '1'; allowed is a valid number",
        ),
        ({"goals": [{"terms": {"sqn": True}, "direction": "max"}]}, "goals.0.terms.sqn: found True"),
        (
            {"goals": [{"terms": {"sqn": 0}, "direction": "max"}]},
            "found the weight 0 of 'sqn'; allowed is another weight",
        ),
    ],
)
def test_json_form_that_can_not_be_meant_is_refused(document: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_objective(document)


def test_metric_that_is_minimised_scores_higher_when_it_is_lower() -> None:
    objective = parse_objective("max_drawdown")

    assert objective.score({"max_drawdown": 0.25, "trade_count": 3}) == -0.25
    # Not -0.0, which reads as a mistake in a table.
    assert str(objective.score({"max_drawdown": 0.0, "trade_count": 3})) == "0.0"


def test_weighted_sum_adds_metrics_as_they_are() -> None:
    # 0.7 * 0.5 - 0.3 * 0.25 = 0.35 - 0.075
    objective = parse_objective("0.7*final_pnl - 0.3*max_drawdown")

    assert objective.score({"final_pnl": 0.5, "max_drawdown": 0.25, "trade_count": 3}) == pytest.approx(0.275)


def test_several_goals_have_one_value_each_in_their_directions() -> None:
    objective = parse_objective("max:sharpe_ratio, min:max_drawdown")

    evaluation = objective.evaluate({"sharpe_ratio": 1.5, "max_drawdown": 0.2, "trade_count": 3})

    assert evaluation.values == (1.5, -0.2)
    assert evaluation.score == 1.5


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_metric_without_a_value_has_no_score(value: float | None) -> None:
    for text in ("sharpe_ratio", "final_pnl + sharpe_ratio", "final_pnl, sharpe_ratio"):
        evaluation = parse_objective(text).evaluate({"sharpe_ratio": value, "final_pnl": 1.0, "trade_count": 9})
        assert evaluation.values is None
        assert evaluation.violation > 0
        assert "no value: max:" in evaluation.reason


def test_run_without_trades_has_no_score_unless_that_is_asked_for() -> None:
    empty = {"final_pnl": 0.0, "trade_count": 0}

    assert parse_objective("final_pnl").score(empty) is None
    assert parse_objective("final_pnl").evaluate(empty).reason == "trade_count = 0; allowed is trade_count >= 1"
    assert parse_objective("final_pnl subject to trade_count >= 0").score(empty) == 0.0


def test_limits_say_how_far_a_run_is_from_them() -> None:
    objective = parse_objective("final_pnl subject to trade_count >= 40 and max_drawdown <= 0.5")

    # (40 - 30) / 40 = 0.25, and (0.7 - 0.5) / 1 = 0.2: bounds below 1 are in units of 1.
    missed = objective.evaluate({"final_pnl": 1.0, "trade_count": 30, "max_drawdown": 0.7})
    assert missed.values is None
    assert missed.violation == pytest.approx(0.45)
    assert missed.reason == (
        "trade_count = 30, max_drawdown = 0.7; allowed is trade_count >= 40 and max_drawdown <= 0.5"
    )
    # On their bounds they are met.
    assert objective.score({"final_pnl": 1.0, "trade_count": 40, "max_drawdown": 0.5}) == 1.0


@pytest.mark.parametrize(("comparison", "met"), [(">=", [2, 3]), (">", [3]), ("<=", [1, 2]), ("<", [1]), ("==", [2])])
def test_every_comparison_is_met_where_it_says(comparison: str, met: list[int]) -> None:
    objective = parse_objective(f"final_pnl subject to reentry_count {comparison} 2")
    scores = {k: objective.score({"final_pnl": 1.0, "trade_count": 9, "reentry_count": k}) for k in (1, 2, 3)}

    assert [k for k, score in scores.items() if score is not None] == met


def test_metric_without_a_value_misses_its_limit_by_more_than_any_value() -> None:
    objective = parse_objective("final_pnl subject to sqn >= 2")

    unknown = objective.evaluate({"final_pnl": 1.0, "trade_count": 9, "sqn": None})
    low = objective.evaluate({"final_pnl": 1.0, "trade_count": 9, "sqn": -1000.0})
    assert unknown.violation > low.violation > 0


def test_limits_on_counts_shrink_with_the_share_of_calls_seen() -> None:
    # A tenth of 35 trades is 3.5, of which 3 must be there; a drawdown does not shrink.
    objective = parse_objective("final_pnl subject to trade_count >= 35 and max_drawdown <= 0.4").at_share(0.1)

    assert str(objective) == "max:final_pnl subject to trade_count >= 3 and max_drawdown <= 0.4"


@pytest.mark.parametrize("metric", [name for name in METRIC_DIRECTIONS if name.endswith(("_count", "_used"))])
def test_limits_on_every_count_shrink_with_the_share_of_calls_seen(metric: str) -> None:
    objective = parse_objective(f"final_pnl subject to {metric} >= 30").at_share(0.1)

    assert str(objective) == f"max:final_pnl subject to {metric} >= 3"


@pytest.mark.parametrize(
    ("limit", "shrunk"),
    [
        ("trade_count >= 3", "trade_count >= 1"),
        ("trade_count > 3", "trade_count > 0"),
        ("trade_count >= 0", "trade_count >= 0"),
        ("reentry_count >= 3", "reentry_count >= 0"),
    ],
)
def test_a_limit_that_asks_for_trades_asks_for_one_of_any_share(limit: str, shrunk: str) -> None:
    """Three of all calls were none of a tenth: trials that bought nothing had a score, above all that lost."""
    objective = parse_objective(f"final_pnl subject to {limit}").at_share(0.1)

    assert str(objective) == f"max:final_pnl subject to {shrunk}"


def test_objective_that_asks_for_more_trades_than_calls_is_refused() -> None:
    objective = parse_objective("final_pnl subject to trade_count >= 30")

    objective.require_reachable(30)
    with pytest.raises(ConfigError, match=r"found the limit trade_count >= 30, but there are 29 calls"):
        objective.require_reachable(29)


def test_metric_that_the_run_lacks_is_an_error_not_a_missing_score() -> None:
    with pytest.raises(ConfigError, match="no metric 'sqn'; found final_pnl, trade_count"):
        parse_objective("sqn").score({"final_pnl": 1.0, "trade_count": 3})


def test_every_metric_of_a_run_can_be_an_objective_and_no_other() -> None:
    assert set(METRIC_DIRECTIONS) == {field.name for field in fields(Metrics)}
    assert set(METRIC_RANGES) <= set(METRIC_DIRECTIONS)


def test_every_metric_has_a_direction_or_asks_for_one() -> None:
    for metric, direction in METRIC_DIRECTIONS.items():
        text = metric if direction else f"{metric}:max"
        assert list(parse_objective(text).goals[0].terms) == [metric]
