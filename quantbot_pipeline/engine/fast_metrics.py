"""The metrics of `docs/engine.md` section 8 from columns of trades, for the fast engine.

The same numbers as `run_metrics` gives for the same trades: sums run in the same order, and curves are added up on
a grid of candle closes in place of a sorted list of them.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from quantbot_pipeline.engine.candles import FloatArray, IntArray
from quantbot_pipeline.engine.kernels.market import INTERVAL
from quantbot_pipeline.engine.kernels.marks import (
    DAY_SECONDS,
    MARKED_FILLS,
    MARKED_FIRST_FILL,
    MARKED_TOKEN,
    add_changes_nb,
    mark_trades_nb,
)
from quantbot_pipeline.engine.metrics import (
    DAYS_PER_YEAR,
    SQN_TRADES,
    Metrics,
    deviation,
    fall_from_peak,
    ratio,
)

LARGEST_GRID = 32_000_000
"""Closes that a grid may hold (256 MB); longer spans are sorted instead."""


@dataclass(frozen=True, slots=True)
class TradeColumns:
    """Results of the trades of a run that bought, one value per trade; counts over all of them.

    Attributes:
        pnl: Result, fraction of the capital.
        cash_spent: Cash of all buys.
        adverse: Largest adverse excursion.
        favourable: Largest favourable excursion.
        done_at: Time of the last event, seconds.
        holding_seconds: Sum over cycles.
        skipped_count: Calls that never bought.
        re_entries: `re_entry` events.
        ladder_entries: `ladder_entry` events.
        target_hits: `target_hit` events.
    """

    pnl: FloatArray
    cash_spent: FloatArray
    adverse: FloatArray
    favourable: FloatArray
    done_at: IntArray
    holding_seconds: IntArray
    skipped_count: int
    re_entries: int
    ladder_entries: int
    target_hits: int


@dataclass(frozen=True)
class MarkedTrades:
    """What the marks of trades follow from; arguments of the kernels in `kernels.marks`.

    Attributes:
        addresses: The markets.
        choices: Of the compiled strategy.
        quantities: The same.
        trades: Token, first fill and number of fills of each trade that bought, shape (n, 3).
        fill_amounts: Quantity and cash after each fill.
        fill_candles: Candle of each fill.
        first_times: Open time of the candle of each trade's first fill, seconds.
        last_times: The same of its last fill.
    """

    addresses: IntArray
    choices: IntArray
    quantities: FloatArray
    trades: IntArray
    fill_amounts: FloatArray
    fill_candles: IntArray
    first_times: IntArray
    last_times: IntArray

    @property
    def first_candles(self) -> IntArray:
        """Candle of each trade's first fill."""
        candles: IntArray = self.fill_candles[self.trades[:, MARKED_FIRST_FILL]]
        return candles

    @property
    def last_candles(self) -> IntArray:
        """Candle of each trade's last fill."""
        candles: IntArray = self.fill_candles[self.trades[:, MARKED_FIRST_FILL] + self.trades[:, MARKED_FILLS] - 1]
        return candles

    def marks(self) -> tuple[IntArray, IntArray, FloatArray]:
        """Return where each trade's marks end, and open time and value of all marks, trade by trade."""
        ends = np.cumsum(self.last_candles - self.first_candles + 1)
        total = int(ends[-1]) if len(ends) else 0
        timestamp = np.empty(total, dtype=np.int64)
        value = np.empty(total, dtype=np.float64)
        mark_trades_nb(
            self.addresses,
            self.choices,
            self.quantities,
            self.trades,
            self.fill_amounts,
            self.fill_candles,
            ends,
            timestamp,
            value,
        )
        return ends, timestamp, value

    def marks_per_trade(self) -> Iterator[tuple[IntArray, FloatArray]]:
        """Yield open times and values of each trade's marks."""
        ends, timestamp, value = self.marks()
        begin = 0
        for end in ends.tolist():
            yield timestamp[begin:end], value[begin:end]
            begin = end


@dataclass(frozen=True, slots=True)
class _Curves:
    """Daily equity and the largest fall of a run."""

    equity: FloatArray
    max_drawdown: float


def _curves(marked: MarkedTrades, done_at: IntArray) -> _Curves:
    n = len(marked.trades)
    if n == 0:
        return _Curves(np.empty(0), 0.0)
    tokens = marked.trades[:, MARKED_TOKEN]
    intervals = marked.addresses[tokens, INTERVAL]
    first_times, last_times = marked.first_times, marked.last_times
    first_day = int(first_times.min()) // DAY_SECONDS
    days = int(done_at.max()) // DAY_SECONDS - first_day + 1
    first_close = int((first_times + intervals).min())
    grid_seconds = int(np.gcd.reduce(np.append(intervals, first_times + intervals - first_close)))
    slots = (int((last_times + intervals).max()) - first_close) // grid_seconds + 1
    held = int((marked.last_candles - marked.first_candles + 1).sum())
    # A grid far longer than the marks on it costs more than sorting them.
    if slots <= min(LARGEST_GRID, 1_000_000 + 8 * held):
        close_changes, day_changes = np.zeros(slots), np.zeros(days)
        if add_changes_nb(
            marked.addresses,
            marked.choices,
            marked.quantities,
            marked.trades,
            marked.fill_amounts,
            marked.fill_candles,
            first_close,
            grid_seconds,
            first_day,
            close_changes,
            day_changes,
        ):
            return _Curves(np.cumsum(day_changes) / n, fall_from_peak(np.cumsum(close_changes) / n))
    return _sorted_curves(marked, intervals, first_day, days)


def _sorted_curves(marked: MarkedTrades, intervals: IntArray, first_day: int, days: int) -> _Curves:
    """Return the curves of trades whose closes lie on no common grid."""
    ends, timestamp, value = marked.marks()
    counts = np.diff(ends, prepend=0)
    day_changes = np.zeros(days)
    changes = np.diff(value, prepend=0.0)
    changes[ends - counts] = value[ends - counts]
    begin = 0
    for end in ends.tolist():
        mark_days = timestamp[begin:end] // DAY_SECONDS
        is_last_of_day = np.append(mark_days[1:] != mark_days[:-1], [True])
        day_changes[mark_days[is_last_of_day] - first_day] += np.diff(value[begin:end][is_last_of_day], prepend=0.0)
        begin = end
    times, position = np.unique(timestamp + np.repeat(intervals, counts), return_inverse=True)
    change = np.bincount(position, weights=changes, minlength=len(times))
    return _Curves(np.cumsum(day_changes) / len(ends), fall_from_peak(np.cumsum(change) / len(ends)))


def metrics_of_columns(trades: TradeColumns, marked: MarkedTrades) -> Metrics:
    """Return the metrics of a run.

    Args:
        trades: The trades that bought, in the order of the run.
        marked: The same trades, for the curves.
    """
    pnl = trades.pnl
    n = len(pnl)
    total = math.fsum(pnl)
    mean = total / n if n else None
    losses = -math.fsum(pnl[pnl < 0])
    pnl_deviation = deviation(pnl) if n > 1 else 0.0

    curves = _curves(marked, trades.done_at)
    changes = np.diff(curves.equity, prepend=0.0)
    has_days = len(changes) >= 2
    daily_mean = float(changes.mean()) if len(changes) else 0.0
    daily_deviation = deviation(changes) if has_days else 0.0
    downside = math.sqrt(float(np.mean(np.minimum(changes, 0.0) ** 2))) if has_days else 0.0
    year = math.sqrt(DAYS_PER_YEAR)

    minutes = trades.holding_seconds / 60.0
    return Metrics(
        final_pnl=mean if mean is not None else 0.0,
        total_pnl=total,
        win_rate=float((pnl > 0).mean()) if n else None,
        avg_trade_return=mean,
        median_trade_return=float(np.median(pnl)) if n else None,
        profit_factor=ratio(math.fsum(pnl[pnl > 0]), losses),
        expectancy=mean,
        sqn=ratio(math.sqrt(min(n, SQN_TRADES)) * (mean or 0.0), pnl_deviation),
        volatility=daily_deviation * year if has_days else None,
        sharpe_ratio=ratio(daily_mean * year, daily_deviation),
        sortino_ratio=ratio(daily_mean * year, downside),
        max_drawdown=curves.max_drawdown,
        calmar=ratio(daily_mean * DAYS_PER_YEAR, curves.max_drawdown),
        trade_count=n,
        skipped_count=trades.skipped_count,
        reentry_count=trades.re_entries,
        ladder_entries_used=trades.ladder_entries,
        ladder_exits_used=trades.target_hits,
        average_holding_minutes=math.fsum(minutes) / n if n else None,
        max_holding_minutes=float(minutes.max()) if n else None,
        average_return_deployed=math.fsum(pnl / trades.cash_spent) / n if n else None,
        max_adverse_excursion=float(trades.adverse.min()) if n else None,
        max_favourable_excursion=float(trades.favourable.max()) if n else None,
    )
