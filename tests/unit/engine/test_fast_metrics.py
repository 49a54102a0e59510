"""Marks that are added by the piece: the same sums, bit by bit, as those of marks one after the other."""

from dataclasses import asdict, fields

import numpy as np
import pytest

from quantbot_pipeline.engine.candles import Candles, FloatArray
from quantbot_pipeline.engine.fast import ReportedResults
from quantbot_pipeline.engine.fast_metrics import MarkedTrades
from quantbot_pipeline.engine.kernels import layout
from quantbot_pipeline.engine.kernels.marks import VALUES_AT_ONCE, fall_of_sums_nb
from quantbot_pipeline.engine.metrics import (
    KnownCurves,
    Metrics,
    TradeResults,
    metric_values,
    metrics_of_results,
)
from quantbot_pipeline.engine.prepared_markets import addresses_of
from quantbot_pipeline.engine.run_totals import ValueChanges
from quantbot_pipeline.strategy.compile import Choice, compile_strategy
from quantbot_pipeline.strategy.presets import load_preset

MINUTE = 60
COUNT = 4_000
MIDNIGHT = 1_735_689_600  # 2025-01-01 UTC


def marked_trades(candles: Candles) -> MarkedTrades:
    """Return two trades with volume slippage: over all candles in three pieces of position, and one within a day."""
    compiled = compile_strategy(load_preset("laddered-dip-with-re-entry"))
    assert compiled.choices[Choice.HAS_VOLUME_SLIPPAGE] == 1
    return MarkedTrades(
        addresses=np.array([addresses_of(candles)], dtype=np.int64),
        choices=compiled.choices,
        quantities=compiled.quantities,
        trades=np.array([[0, 0, 4], [0, 4, 2]], dtype=np.int64),
        fill_amounts=np.array([[0.5, -0.6], [0.2, -0.2], [0.7, -0.9], [0.0, 0.1], [0.9, -1.0], [0.0, 0.2]]),
        fill_candles=np.array([0, 1_500, 1_503, COUNT - 1, 1_441, 2_870], dtype=np.int64),
    )


@pytest.fixture(scope="module")
def candles() -> Candles:
    """A random walk of minutes, with candles that nothing was traded in."""
    rng = np.random.default_rng(5)
    close = np.exp(np.cumsum(rng.normal(0, 0.01, COUNT)))
    return Candles(
        timestamp=MIDNIGHT + MINUTE * np.arange(COUNT, dtype=np.int64),
        open=close.copy(),
        high=close * 1.01,
        low=close * 0.99,
        close=close,
        volume=np.where(rng.random(COUNT) < 0.2, 0.0, rng.uniform(1.0, 1e5, COUNT)),
        interval_seconds=MINUTE,
    )


def changes_of(marked: MarkedTrades) -> ValueChanges:
    """Return the changes of the trades by the kernel that adds them by the piece."""
    changes = ValueChanges()
    marked.add_to(changes, MIDNIGHT + MINUTE * COUNT)
    return changes


def test_pieces_with_volume_slippage_add_the_marks_bit_by_bit(candles: Candles) -> None:
    # A day of minutes is one piece, longer than what is worked out at once.
    assert VALUES_AT_ONCE < 1_440
    marked = marked_trades(candles)
    changes = changes_of(marked)
    expected = np.zeros(COUNT)
    for timestamp, value in marked.marks_per_trade():
        begin = int(timestamp[0] - MIDNIGHT) // MINUTE
        expected[begin : begin + len(value)] += np.diff(value, prepend=0.0)
    assert changes.close_sums.tobytes() == expected.tobytes()


def test_drawdown_in_one_pass_is_that_of_the_blocks(candles: Candles) -> None:
    changes = changes_of(marked_trades(candles))
    assert changes.max_drawdown(2) > 0.0
    assert fall_of_sums_nb(changes.close_sums, 2) == changes.max_drawdown(2)
    assert fall_of_sums_nb(np.empty(0), 0) == 0.0


RESULTS = TradeResults(
    pnl=np.random.default_rng(2).normal(0, 1, 101),
    cash_spent=np.random.default_rng(3).uniform(0.5, 1, 101),
    holding_seconds=np.random.default_rng(4).integers(60, 9_000, 101),
    max_adverse_excursion=-0.5,
    max_favourable_excursion=2.0,
    done_at=MIDNIGHT,
    skipped_count=3,
    re_entries=1,
    ladder_entries=2,
    target_hits=4,
    stopped_out=7,
)
EQUITY = np.cumsum(np.random.default_rng(5).normal(0, 0.1, 9))


class NoCurves:
    """Curves that nobody may ask for."""

    def daily_equity(self) -> FloatArray:
        raise AssertionError("the daily equity was asked for")

    def drawdown(self) -> float:
        raise AssertionError("the drawdown was asked for")


def test_a_metric_is_the_same_whatever_others_are_asked_for() -> None:
    every = asdict(metrics_of_results(RESULTS, EQUITY, 0.25))
    assert None not in every.values()
    assert list(metric_values(RESULTS, KnownCurves(EQUITY, 0.25))) == [field.name for field in fields(Metrics)]
    for name, value in every.items():
        assert metric_values(RESULTS, KnownCurves(EQUITY, 0.25), [name]) == {name: value}


def test_metrics_without_curves_ask_for_no_curve() -> None:
    of_curves = {"volatility", "sharpe_ratio", "sortino_ratio", "max_drawdown", "calmar"}
    for field in fields(Metrics):
        if field.name in of_curves:
            with pytest.raises(AssertionError, match="was asked for"):
                metric_values(RESULTS, NoCurves(), [field.name])
        else:
            assert metric_values(RESULTS, NoCurves(), [field.name])[field.name] is not None


def test_results_of_some_rows_are_those_of_these_trades_alone() -> None:
    rng = np.random.default_rng(6)
    amounts = rng.normal(0, 1, (50, layout.RESULT_AMOUNTS))
    marks = rng.integers(0, 3, (50, layout.RESULT_MARKS))
    rows = rng.random(50) < 0.5
    assert (marks[rows, layout.RESULT_FILLS] == 0).any()
    for kept in (rows, np.zeros(50, dtype=np.bool_)):
        some = metric_values(ReportedResults(amounts, marks, kept), KnownCurves(EQUITY, 0.25))
        assert some == metric_values(ReportedResults(amounts[kept], marks[kept]), KnownCurves(EQUITY, 0.25))
    # 50 calls, of which none is meant: none is skipped either.
    assert (some["trade_count"], some["skipped_count"], some["max_adverse_excursion"]) == (0, 0, None)
