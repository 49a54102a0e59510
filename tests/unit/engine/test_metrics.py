"""Metrics against hand-worked numbers and against empyrical; marks and excursions of trades."""

import math

import empyrical
import numpy as np
import pytest
from engine_cases import candles, simulate, strategy, trade

from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.engine.events import EventType, Trade
from quantbot_pipeline.engine.metrics import (
    equity_curve,
    fall_from_peak,
    max_drawdown,
    return_deployed,
    run_metrics,
)

DAY = 86_400


def daily(*closes: float, volume: float = 1.0) -> Candles:
    """Return one flat candle per day; each opens at its close."""
    return candles(*[[DAY * k, c, c, c, c] for k, c in enumerate(closes)], interval=DAY, volume=volume)


def hourly_walk(seed: int, n: int) -> Candles:
    random = np.random.default_rng(seed)
    close = np.exp(np.cumsum(random.normal(0, 0.02, n)))
    open_ = np.concatenate([[1.0], close[:-1]])
    return Candles(
        3600, np.arange(n) * 3600, open_, np.maximum(open_, close), np.minimum(open_, close), close, np.ones(n)
    )


def test_metrics_of_nothing_are_zero_or_undefined() -> None:
    metrics = run_metrics([])
    assert (metrics.final_pnl, metrics.total_pnl, metrics.max_drawdown, metrics.trade_count) == (0, 0, 0, 0)
    assert metrics.win_rate is metrics.sharpe_ratio is metrics.profit_factor is metrics.sqn is None


def test_skipped_calls_count_nowhere_else() -> None:
    market = candles([0, 1, 1, 1, 1], [60, 2, 2, 2, 2])
    trades = simulate(market, [Call(1, 1, 0), Call(2, 1, 9_999_999)], strategy())
    metrics = run_metrics(trades)
    assert (metrics.trade_count, metrics.skipped_count) == (1, 1)
    assert metrics.final_pnl == metrics.win_rate == 1.0
    assert len(equity_curve(trades).day) == 1


def test_trade_statistics_by_hand() -> None:
    # Three calls, sold at the last close 2: bought at 1, 4 and 1.6: +1, -0.5, +0.25.
    market = candles([0, 1, 1, 1, 1], [60, 4, 4, 4, 4], [120, 1.6, 1.6, 1.6, 1.6], [180, 2, 2, 2, 2])
    trades = simulate(market, [Call(k, 1, 60 * k) for k in range(3)], strategy())
    metrics = run_metrics(trades)
    assert [result.pnl for result in trades] == pytest.approx([1, -0.5, 0.25])
    assert metrics.total_pnl == pytest.approx(0.75)
    assert metrics.final_pnl == metrics.avg_trade_return == metrics.expectancy == pytest.approx(0.25)
    assert metrics.median_trade_return == pytest.approx(0.25)
    assert metrics.win_rate == pytest.approx(2 / 3)
    assert metrics.profit_factor == pytest.approx(2.5)
    # Deviation of 1, -0.5, 0.25: sqrt((0.5625 + 0.5625 + 0) / 2) = 0.75.
    assert metrics.sqn == pytest.approx(math.sqrt(3) * 0.25 / 0.75)
    # Held 240, 180, 120 s.
    assert metrics.average_holding_minutes == pytest.approx(3)
    assert metrics.max_holding_minutes == pytest.approx(4)
    assert return_deployed(trades[1]) == pytest.approx(-0.5)


def test_counts_of_ladders_targets_and_re_entries() -> None:
    legs = [{"id": "a", "size": 0.5, "offset": 0.0}, {"id": "b", "size": 0.5, "offset": -0.5}]
    result = trade(
        candles([0, 1, 1, 0.5, 1], [60, 1, 4, 1, 4], [120, 2, 2, 2, 2]),
        entry={"type": "ladder", "legs": legs},
        exits={"targets": [{"multiple": 2, "size": 0.5}, {"multiple": 3, "size": 0.5}]},
        re_entry={"after": ["target"], "retrace": 0.5, "size": 0.25},
    )
    metrics = run_metrics([result])
    assert (metrics.ladder_entries_used, metrics.ladder_exits_used, metrics.reentry_count) == (1, 2, 1)
    assert metrics.profit_factor is None
    assert metrics.average_return_deployed == pytest.approx(result.pnl / 1.25)


def test_trades_that_the_initial_stop_ended_are_counted_once_each() -> None:
    # Bought at 1, stopped at 0.5, bought again at 0.5 and stopped at 0.25: one trade of two that was stopped out.
    market = candles([0, 1, 1, 0.4, 0.5], [60, 0.5, 0.5, 0.2, 0.3], [120, 4, 4, 4, 4], [180, 4, 4, 4, 4])
    trades = simulate(
        market,
        [Call(1, 1, 0), Call(2, 1, 120)],
        strategy(exits={"stop_loss": {"initial": 0.5}}, re_entry={"after": ["stop"], "retrace": 0.5, "size": 1}),
    )
    assert run_metrics(trades).stop_out_rate == pytest.approx(0.5)
    assert run_metrics([]).stop_out_rate is None


def test_a_stop_that_moved_to_break_even_is_no_stop_out() -> None:
    market = candles([0, 1, 2, 1, 2], [60, 2, 2, 0.9, 1], [120, 1, 1, 1, 1])
    exits = {"stop_loss": {"initial": 0.5}, "break_even": {"gain": 0.5, "offset": 0.0}}
    [result] = simulate(market, [Call(1, 1, 0)], strategy(exits=exits))
    assert [event.event_type for event in result.events][-1] is EventType.STOP_LOSS
    assert run_metrics([result]).stop_out_rate == 0.0


def test_equity_is_the_marked_value_at_the_end_of_each_day() -> None:
    trades = simulate(daily(1, 2, 4, 2), [Call(1, 1, 0), Call(2, 1, DAY)], strategy())
    curve = equity_curve(trades)
    # Call 1 bought at 1: 0, 1, 3, 1. Call 2 bought at 2: -, 0, 1, 0. Divided by 2; the final exit is at 00:00
    # of day 4, which carries the value forward.
    assert curve.day.tolist() == [0, 1, 2, 3, 4]
    assert curve.equity == pytest.approx([0, 0.5, 2, 0.5, 0.5])


def test_days_without_candles_are_carried_forward() -> None:
    market = candles(*[[DAY * k, c, c, c, c] for k, c in ((0, 1), (1, 2), (4, 3))], interval=DAY)
    assert equity_curve([trade(market)]).equity == pytest.approx([0, 1, 1, 1, 2, 2])


def test_marks_are_after_exit_costs() -> None:
    result = trade(daily(1, 2), costs={"fee": 0.5, "slippage": {"type": "fixed", "fraction": 0.5}})
    # Quantity 1 / (1.5·1.5) = 4/9; at 1: 4/9·0.5·0.5 - 1; at 2 twice that.
    assert result.mark_value == pytest.approx([1 / 9 - 1, 2 / 9 - 1])
    assert result.mark_timestamp.tolist() == [0, DAY]
    assert result.pnl == pytest.approx(result.mark_value[-1])


def test_marks_use_the_volume_of_the_candle_before() -> None:
    slippage = {"type": "volume_share", "base": 0, "impact": 1, "cap": 0.5, "capital_quote": 1}
    result = trade(daily(1, 1, 1, volume=4), at=DAY, costs={"slippage": slippage})
    # Bought with 1 of 4: 1.25, quantity 0.8. Sold 0.8 of 4 would slip 0.2: worth 0.64.
    assert result.mark_value == pytest.approx([-0.36, -0.36])


def test_drawdown_sees_every_close_and_starts_from_1() -> None:
    # Wealth 1, 1, 4, 2, 3: a fall from 4 to 2. As daily values there would be none.
    market = candles([0, 1, 1, 1, 1], [60, 4, 4, 4, 4], [120, 2, 2, 2, 2], [180, 3, 3, 3, 3])
    assert max_drawdown([trade(market)]) == pytest.approx(0.5)
    assert max_drawdown([trade(candles([0, 1, 1, 0.5, 0.75]))]) == pytest.approx(0.25)


def test_drawdown_of_several_tokens_adds_them_at_each_close() -> None:
    up = trade(candles([0, 1, 1, 1, 1], [120, 3, 3, 3, 3]))
    down = trade(candles([0, 1, 1, 1, 1], [60, 0.5, 0.5, 0.5, 0.5], [180, 0.5, 0.5, 0.5, 0.5]))
    # Closes at 60: 0, 0; 120: -0.5 (down); 180: 2 (up); 240: the same. Wealth 1, 0.75, 1.75.
    assert max_drawdown([up, down]) == pytest.approx(0.25)


@pytest.mark.parametrize("seed", range(5))
def test_risk_ratios_agree_with_empyrical(seed: int) -> None:
    market = hourly_walk(seed, 24 * 60)
    calls = [Call(k, 1, 3600 * 97 * k) for k in range(12)]
    trades = simulate(market, calls, strategy(horizon_seconds=7 * DAY, costs={"fee": 0.003}))
    metrics = run_metrics(trades)
    equity = equity_curve(trades).equity
    changes = np.diff(equity, prepend=0.0)
    assert metrics.sharpe_ratio == pytest.approx(empyrical.sharpe_ratio(changes, annualization=365))
    assert metrics.sortino_ratio == pytest.approx(empyrical.sortino_ratio(changes, annualization=365))
    assert metrics.volatility == pytest.approx(empyrical.annual_volatility(changes, annualization=365))
    # Empyrical compounds returns: give it those of the wealth 1 + equity.
    wealth = np.concatenate([[1.0], 1.0 + equity])
    returns = wealth[1:] / wealth[:-1] - 1.0
    assert -fall_from_peak(equity) == pytest.approx(empyrical.max_drawdown(returns))
    assert metrics.max_drawdown >= fall_from_peak(equity) - 1e-12
    assert metrics.calmar == pytest.approx(changes.mean() * 365 / metrics.max_drawdown)


def test_ratios_are_undefined_below_two_days_and_without_spread() -> None:
    one_day = run_metrics([trade(candles([0, 1, 1, 1, 1], [60, 2, 2, 2, 2]))])
    assert one_day.sharpe_ratio is one_day.sortino_ratio is one_day.volatility is None
    flat = run_metrics([trade(daily(1, 1, 1))])
    assert flat.sharpe_ratio is flat.sortino_ratio is flat.calmar is None
    assert flat.volatility == 0


def excursions(of: Trade) -> tuple[float, float]:
    return of.max_adverse_excursion, of.max_favourable_excursion


def test_excursions_are_from_the_lows_and_highs_held() -> None:
    result = trade(candles([0, 1, 1.5, 0.75, 1], [60, 1, 3, 0.5, 1]))
    assert excursions(result) == pytest.approx((-0.5, 2.0))


def test_candle_in_which_a_cycle_ended_counts_its_fills_only() -> None:
    result = trade(candles([0, 1, 1, 1, 1], [60, 1, 9, 0.1, 1]), exits={"stop_loss": {"initial": 0.25}})
    assert excursions(result) == pytest.approx((-0.25, 0.0))


def test_candle_inside_which_a_cycle_began_counts_its_fill_and_close_only() -> None:
    result = trade(candles([0, 1, 9, 0.1, 1], [60, 1, 1, 1, 1]), entry={"type": "dip", "drop": 0.5})
    # Bought at 0.5 inside candle 0, closes at 1.
    assert excursions(result) == pytest.approx((0.0, 1.0))


def test_trade_that_never_bought_has_no_excursions_and_no_marks() -> None:
    result = trade(candles([0, 1, 1, 1, 1]), entry={"type": "dip", "drop": 0.5})
    assert excursions(result) == (0.0, 0.0)
    assert len(result.mark_value) == 0
    assert return_deployed(result) is None
