"""Metrics of chunks by hand: edges, and what totals keep of candles that lie far apart."""

import gc
import tracemalloc
import weakref

import numpy as np
import pytest
from engine_cases import candles, strategy, trade

from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.engine.compilation import compile_engine
from quantbot_pipeline.engine.events import Trade
from quantbot_pipeline.engine.fast import StrategyRun, iterate_runs
from quantbot_pipeline.engine.metrics import run_metrics
from quantbot_pipeline.engine.prepared_markets import PreparedMarkets
from quantbot_pipeline.engine.run_totals import LARGEST_GRID, RunTotals, ValueChanges

# The kernels are compiled by the first test where numba's cache is empty.
pytestmark = pytest.mark.timeout(900)

DAY = 86_400
YEAR = 365 * DAY
HELD = strategy(horizon_seconds=DAY)


@pytest.fixture(autouse=True, scope="module")
def _kernels_are_loaded() -> None:
    """Loading the kernels takes memory too."""
    compile_engine()


def fast_run(*markets: Candles) -> StrategyRun:
    """Return the run of one call at the first candle of each market, held for a day."""
    calls = {k: [Call(k, 1, int(market.timestamp[0]))] for k, market in enumerate(markets)}
    (run,) = iterate_runs(PreparedMarkets(dict(enumerate(markets)), calls), [HELD])
    return run


def trades_of(run: StrategyRun) -> list[Trade]:
    return [of_call for of_token in run.trades().values() for of_call in of_token]


def sums_of(changes: ValueChanges) -> dict[int, float]:
    """Return the sums by close, without those that are 0."""
    return {
        time: total
        for time, total in zip(changes.closes_at.tolist(), changes.close_sums.tolist(), strict=True)
        if total
    }


def seconds_from(begin: int, closes: list[float]) -> Candles:
    """Return flat candles of one second, each of which opens at its close."""
    return candles(*[[begin + k, c, c, c, c] for k, c in enumerate(closes)], interval=1)


def test_totals_of_nothing_are_the_metrics_of_nothing() -> None:
    totals = RunTotals()
    assert totals.metrics() == run_metrics([])
    totals.add_trades([])
    totals.add(fast_run())
    assert totals.metrics() == run_metrics([])


def test_chunks_that_never_bought_count_their_skipped_calls_only() -> None:
    totals = RunTotals()
    skipped = trade(candles([0, 1, 1, 1, 1]), entry={"type": "dip", "drop": 0.5})
    totals.add_trades([skipped])
    assert totals.metrics().skipped_count == 1
    totals.add_trades([trade(candles([0, 1, 1, 1, 1], [60, 2, 2, 2, 2])), skipped])
    metrics = totals.metrics()
    assert (metrics.trade_count, metrics.skipped_count, metrics.final_pnl) == (1, 2, 1.0)
    # One trade that only rose: nothing adverse, though the skipped ones come with 0 too.
    assert (metrics.max_adverse_excursion, metrics.max_favourable_excursion) == (0.0, 1.0)


def test_one_trade_of_one_day_by_hand() -> None:
    totals = RunTotals()
    totals.add(fast_run(candles([0, 1, 1, 1, 1], [60, 1, 4, 0.5, 3], [120, 3, 3, 1.5, 1.5])))
    metrics = totals.metrics()
    # Bought at 1, sold at 1.5. Wealth at the closes 1, 3, 1.5: a fall by half. One day has no deviation.
    assert (metrics.total_pnl, metrics.max_drawdown, metrics.average_holding_minutes) == (0.5, 0.5, 3.0)
    assert (metrics.max_adverse_excursion, metrics.max_favourable_excursion) == (-0.5, 3.0)
    # The only daily change is 0.5.
    assert metrics.calmar == pytest.approx(0.5 * 365 / 0.5)
    assert metrics.sharpe_ratio is metrics.sortino_ratio is metrics.volatility is metrics.sqn is None


def test_without_losses_there_is_no_profit_factor() -> None:
    totals = RunTotals()
    for last in (2, 3, 5):
        totals.add(fast_run(candles([0, 1, 1, 1, 1], [60, last, last, last, last])))
    metrics = totals.metrics()
    # Results 1, 2 and 4.
    assert (metrics.win_rate, metrics.median_trade_return, metrics.total_pnl) == (1.0, 2.0, 7.0)
    assert metrics.profit_factor is metrics.calmar is metrics.sortino_ratio is None
    assert metrics.max_drawdown == 0.0


def test_totals_may_be_asked_before_the_last_chunk() -> None:
    totals = RunTotals()
    totals.add(fast_run(candles([0, 1, 1, 1, 1], [60, 2, 2, 2, 2])))
    assert totals.metrics().final_pnl == 1.0
    totals.add(fast_run(candles([0, 1, 1, 1, 1], [60, 0.5, 0.5, 0.5, 0.5])))
    # 1 and -0.5 over 2.
    assert totals.metrics().final_pnl == 0.25


@pytest.mark.parametrize("at_once", [True, False])
def test_trades_ten_years_apart_take_room_for_their_own_closes_only(*, at_once: bool) -> None:
    early, late = seconds_from(0, [1, 2, 1]), seconds_from(10 * YEAR, [4, 1, 2])
    runs = [fast_run(early, late)] if at_once else [fast_run(early), fast_run(late)]
    totals, changes = RunTotals(), ValueChanges()
    tracemalloc.start()
    for run in runs:
        totals.add(run)
        run.marked.add_to(changes, run.results.done_at)
    metrics = totals.metrics()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # A grid of seconds would be 2.5 GB. The days are 3 651.
    assert peak < 2_000_000
    # +1, -1 and then -0.75, +0.25, each over 2 trades: wealth 1, 1.5, 1, 1, 0.625, 0.75.
    assert len(changes.close_sums) <= 6
    assert sums_of(changes) == {2: 1, 3: -1, 10 * YEAR + 2: -0.75, 10 * YEAR + 3: 0.25}
    assert metrics.max_drawdown == (1.5 - 0.625) / 1.5
    assert metrics == run_metrics([of_call for run in runs for of_call in trades_of(run)])
    # Days 0 and 3650 change by 0 and -0.25; no other does.
    assert metrics.volatility == pytest.approx(np.std([-0.25, *[0.0] * 3650], ddof=1) * 365**0.5)


def test_seconds_over_five_years_take_room_for_closes_with_marks_only() -> None:
    # 40 markets of 1 000 seconds over 5 years, which have 158 million seconds: 1.3 GB of them as a grid.
    closes = (1 + 0.5 * np.sin(np.arange(1000))).tolist()
    markets = [seconds_from(k * YEAR // 8, closes) for k in range(40)]
    runs = [fast_run(market) for market in markets]
    expected = run_metrics([of_call for run in runs for of_call in trades_of(run)])
    fast, reference = RunTotals(), RunTotals()
    tracemalloc.start()
    for run in runs:
        fast.add(run)
    found = fast.metrics()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000
    assert found == expected
    for run in runs:
        reference.add_trades(trades_of(run))
    assert reference.metrics() == expected


def test_one_run_over_five_years_of_seconds_takes_no_grid_of_them() -> None:
    run = fast_run(*(seconds_from(k * YEAR // 2, [1, 2, 1]) for k in range(10)))
    tracemalloc.start()
    metrics = run.metrics()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000
    assert metrics == run_metrics(trades_of(run))


def test_closes_that_fill_up_become_a_grid_again() -> None:
    # The first two calls are farther apart than grids may be; 400 000 seconds later the grid is taken for its marks.
    changes = ValueChanges()
    one = seconds_from(0, [1, 2])
    other = seconds_from(400_000, [1, 2])
    for market in (one, other):
        run = fast_run(market)
        run.marked.add_to(changes, run.results.done_at)
    assert not changes.is_on_grid
    filling = Candles(1, np.arange(DAY, dtype=np.int64) + 100_000, *([np.ones(DAY)] * 5))
    for _ in range(2):
        run = fast_run(filling)
        run.marked.add_to(changes, run.results.done_at)
    assert changes.is_on_grid
    assert len(changes.close_sums) == 400_002
    # Those of the first two trades are still there: each ends at 2.
    assert np.flatnonzero(changes.close_sums).tolist() == [1, 400_001]


def test_candles_off_the_grid_of_their_interval_are_kept_apart() -> None:
    # One trade whose second minute begins 7 seconds late: closes at 60, 127, 187; another one's at 60, 120.
    late = candles([0, 1, 1, 1, 1], [67, 2, 2, 2, 2], [127, 1, 1, 1, 1])
    even = candles([0, 1, 1, 1, 1], [60, 3, 3, 3, 3])
    changes = ValueChanges()
    run = fast_run(late, even)
    run.marked.add_to(changes, run.results.done_at)
    assert sums_of(changes) == {127: 1.0, 187: -1.0, 120: 2.0}
    # Wealth 1, 2 (120), 2.5 (127), 2 (187).
    assert run.metrics().max_drawdown == 0.5 / 2.5


def test_totals_keep_no_chunk_alive() -> None:
    totals = RunTotals()
    market = candles([0, 1, 1, 1, 1], [60, 2, 2, 2, 2])
    run = fast_run(market)
    totals.add(run)
    gone = weakref.ref(run)
    prices = weakref.ref(run.markets)
    del run
    gc.collect()
    assert gone() is prices() is None


def test_grid_for_marks_alone_is_bounded() -> None:
    assert 8 * LARGEST_GRID <= 64_000_000
