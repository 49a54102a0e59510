"""Metrics of a run: what `docs/engine.md` section 8 defines, over trades of one or many tokens.

Equal capital of 1 per trade; *n* is the number of trades that bought at least once, and a call that never
bought appears in `skipped_count` alone. Curves are read from the marks of the trades: their value at every
candle close, after exit costs.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from quantbot_pipeline.engine.candles import FloatArray, IntArray
from quantbot_pipeline.engine.events import EventType, Trade

DAY_SECONDS = 86_400
DAYS_PER_YEAR = 365

SQN_TRADES = 100
"""Trades above this number do not raise the system quality number."""

NO_SPREAD = 1e-12
"""A deviation below this share of the largest value is 0: what rounding leaves of equal values."""


@dataclass(frozen=True, slots=True)
class EquityCurve:
    """Result per trade at the end of each UTC day, from the first fill's day to the last event's.

    Attributes:
        day: Days since the epoch, int64, consecutive, shape (n_days,).
        equity: Cash in - cash out so far + open positions, divided by n; float64, shape (n_days,).
    """

    day: IntArray
    equity: FloatArray


@dataclass(frozen=True, slots=True)
class Metrics:
    """Every metric of a run; None where it isn't defined.

    Attributes:
        final_pnl: Mean net result per trade, fraction of its capital; 0 without trades.
        total_pnl: Sum of the results.
        win_rate: Share of trades with a result above 0.
        stop_out_rate: Share of trades that the initial stop ended in some cycle.
        avg_trade_return: Mean result.
        median_trade_return: Median result.
        profit_factor: Gains / losses; None without losses.
        expectancy: Mean result.
        sqn: sqrt(min(n, 100)) · mean / deviation of the results; None below 2 trades or without deviation.
        volatility: Deviation of the daily equity changes · sqrt(365); None below 2 days.
        sharpe_ratio: Mean / deviation of the daily changes · sqrt(365); None below 2 days or without deviation.
        sortino_ratio: The same with the downside deviation; None below 2 days or without a falling day.
        max_drawdown: Largest fall of (1 + equity) from its running peak, which starts at 1, as a fraction.
        calmar: Mean daily change · 365 / max_drawdown; None without a drawdown.
        trade_count: Trades that bought.
        skipped_count: Calls that never bought.
        reentry_count: `re_entry` events.
        ladder_entries_used: `ladder_entry` events.
        ladder_exits_used: `target_hit` events.
        average_holding_minutes: Mean holding time of a trade.
        max_holding_minutes: Longest holding time of a trade.
        average_return_deployed: Mean of result / cash spent.
        max_adverse_excursion: Worst of all trades, at most 0.
        max_favourable_excursion: Best of all trades, at least 0.
    """

    final_pnl: float
    total_pnl: float
    win_rate: float | None
    stop_out_rate: float | None
    avg_trade_return: float | None
    median_trade_return: float | None
    profit_factor: float | None
    expectancy: float | None
    sqn: float | None
    volatility: float | None
    sharpe_ratio: float | None
    sortino_ratio: float | None
    max_drawdown: float
    calmar: float | None
    trade_count: int
    skipped_count: int
    reentry_count: int
    ladder_entries_used: int
    ladder_exits_used: int
    average_holding_minutes: float | None
    max_holding_minutes: float | None
    average_return_deployed: float | None
    max_adverse_excursion: float | None
    max_favourable_excursion: float | None


def return_deployed(trade: Trade) -> float | None:
    """Return a trade's result per cash spent; None if it never bought."""
    return trade.pnl / trade.cash_spent if trade.has_bought else None


def equity_curve(trades: Sequence[Trade]) -> EquityCurve:
    """Return the daily equity of a run; empty when nothing was bought.

    A candle belongs to the UTC day in which it opens; days without candles carry the value forward.
    """
    bought = [trade for trade in trades if trade.has_bought]
    if not bought:
        return EquityCurve(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float64))
    first = min(int(trade.mark_timestamp[0]) for trade in bought) // DAY_SECONDS
    last = max(trade.done_at for trade in bought) // DAY_SECONDS
    days = np.arange(first, last + 1, dtype=np.int64)
    changes = np.zeros(len(days))
    for trade in bought:
        mark_days = trade.mark_timestamp // DAY_SECONDS
        is_last_of_day = np.append(mark_days[1:] != mark_days[:-1], [True])
        values = trade.mark_value[is_last_of_day]
        changes[mark_days[is_last_of_day] - first] += np.diff(values, prepend=0.0)
    return EquityCurve(days, np.cumsum(changes) / len(bought))


def max_drawdown(trades: Sequence[Trade]) -> float:
    """Return the largest fall of (1 + equity) from its running peak on all candle closes, as a fraction.

    The peak starts at 1. Trades of other tokens or intervals keep their last value between their closes.
    """
    bought = [trade for trade in trades if trade.has_bought]
    if not bought:
        return 0.0
    closes_at = np.concatenate([trade.mark_timestamp + trade.interval_seconds for trade in bought])
    changes = np.concatenate([np.diff(trade.mark_value, prepend=0.0) for trade in bought])
    times, position = np.unique(closes_at, return_inverse=True)
    change = np.bincount(position, weights=changes, minlength=len(times))
    return fall_from_peak(np.cumsum(change) / len(bought))


def fall_from_peak(equity: FloatArray) -> float:
    """Return the largest fall of (1 + equity) from its running peak, which starts at 1, as a fraction."""
    wealth = np.concatenate([[1.0], 1.0 + equity])
    peak = np.maximum.accumulate(wealth)
    return float(((peak - wealth) / peak).max())


def deviation(values: FloatArray) -> float:
    """Return std(ddof=1), and 0 for values that only rounding tells apart."""
    spread = float(np.std(values, ddof=1))
    return 0.0 if spread <= NO_SPREAD * float(np.abs(values).max()) else spread


def ratio(numerator: float, denominator: float) -> float | None:
    """Return the quotient, None where the denominator is 0."""
    return numerator / denominator if denominator != 0 else None


class Results(Protocol):
    """What metrics need of trades besides their curves: of those that bought, counts over all.

    `TradeResults` knows all of it; others may find each of it when it is asked for.
    """

    @property
    def pnl(self) -> FloatArray:
        """Result of each, fraction of the capital, in the order of the run; float64, contiguous, shape (n,)."""

    @property
    def cash_spent(self) -> FloatArray:
        """Cash of all buys of each, float64, shape (n,)."""

    @property
    def holding_seconds(self) -> IntArray:
        """Sum over the cycles of each, int64, shape (n,)."""

    @property
    def max_adverse_excursion(self) -> float:
        """Worst of all; of no meaning without trades, like the next two."""

    @property
    def max_favourable_excursion(self) -> float:
        """Best of all."""

    @property
    def done_at(self) -> int:
        """Time of the last event of all, seconds."""

    @property
    def skipped_count(self) -> int:
        """Calls that never bought."""

    @property
    def re_entries(self) -> int:
        """`re_entry` events."""

    @property
    def ladder_entries(self) -> int:
        """`ladder_entry` events."""

    @property
    def target_hits(self) -> int:
        """`target_hit` events."""

    @property
    def stopped_out(self) -> int:
        """Trades that the initial stop ended in some cycle."""


@dataclass(frozen=True, slots=True)
class TradeResults:
    """`Results` that are all known; it describes the attributes."""

    pnl: FloatArray
    cash_spent: FloatArray
    holding_seconds: IntArray
    max_adverse_excursion: float
    max_favourable_excursion: float
    done_at: int
    skipped_count: int
    re_entries: int
    ladder_entries: int
    target_hits: int
    stopped_out: int


def results_of(trades: Sequence[Trade]) -> TradeResults:
    """Return the results of trades."""
    bought = [trade for trade in trades if trade.has_bought]
    counts = Counter(event.event_type for trade in bought for event in trade.events)
    return TradeResults(
        pnl=np.array([trade.pnl for trade in bought], dtype=np.float64),
        cash_spent=np.array([trade.cash_spent for trade in bought], dtype=np.float64),
        holding_seconds=np.array([trade.holding_seconds for trade in bought], dtype=np.int64),
        max_adverse_excursion=min((trade.max_adverse_excursion for trade in bought), default=0.0),
        max_favourable_excursion=max((trade.max_favourable_excursion for trade in bought), default=0.0),
        done_at=max((trade.done_at for trade in bought), default=0),
        skipped_count=len(trades) - len(bought),
        re_entries=counts[EventType.RE_ENTRY],
        ladder_entries=counts[EventType.LADDER_ENTRY],
        target_hits=counts[EventType.TARGET_HIT],
        stopped_out=sum(any(event.metadata.get("stop") == "initial" for event in trade.events) for trade in bought),
    )


class Curves(Protocol):
    """What metrics need of the value of all trades together; either may take longer than simulating them."""

    def daily_equity(self) -> FloatArray:
        """Return the result per trade at the end of each UTC day, as in `EquityCurve`."""

    def drawdown(self) -> float:
        """Return what `max_drawdown` returns."""


@dataclass(frozen=True, slots=True)
class KnownCurves:
    """Curves that were found already.

    Attributes:
        equity: What `daily_equity` returns.
        fall: What `drawdown` returns.
    """

    equity: FloatArray
    fall: float

    def daily_equity(self) -> FloatArray:
        """Return the result per trade at the end of each UTC day."""
        return self.equity

    def drawdown(self) -> float:
        """Return the largest fall."""
        return self.fall


class _RunFacts:
    """What formulas share, each found when a formula asks for it, and once: so none depends on which others ask."""

    def __init__(self, results: Results, curves: Curves) -> None:
        self.results = results
        self._curves = curves

    @cached_property
    def pnl(self) -> FloatArray:
        return self.results.pnl

    @property
    def n(self) -> int:
        return len(self.pnl)

    # Sums are correctly rounded, so they do not depend on the order of the trades; lists are summed thrice as fast.
    @cached_property
    def total(self) -> float:
        return math.fsum(self.pnl.tolist())

    @property
    def mean(self) -> float | None:
        return self.total / self.n if self.n else None

    @cached_property
    def minutes(self) -> FloatArray:
        return self.results.holding_seconds / 60.0

    @cached_property
    def drawdown(self) -> float:
        return self._curves.drawdown()

    @cached_property
    def daily_changes(self) -> FloatArray:
        return np.diff(self._curves.daily_equity(), prepend=0.0)

    @property
    def has_days(self) -> bool:
        return len(self.daily_changes) >= 2

    @cached_property
    def daily_mean(self) -> float:
        return float(self.daily_changes.mean()) if len(self.daily_changes) else 0.0

    @cached_property
    def daily_deviation(self) -> float:
        return deviation(self.daily_changes) if self.has_days else 0.0

    def profit_factor(self) -> float | None:
        losses = -math.fsum(self.pnl[self.pnl < 0].tolist())
        return ratio(math.fsum(self.pnl[self.pnl > 0].tolist()), losses)

    def sqn(self) -> float | None:
        spread = deviation(self.pnl) if self.n > 1 else 0.0
        return ratio(math.sqrt(min(self.n, SQN_TRADES)) * (self.mean or 0.0), spread)

    def sortino_ratio(self) -> float | None:
        downside = math.sqrt(float(np.mean(np.minimum(self.daily_changes, 0.0) ** 2))) if self.has_days else 0.0
        return ratio(self.daily_mean * _ROOT_OF_YEAR, downside)

    def mean_of(self, values: FloatArray) -> float | None:
        return math.fsum(values.tolist()) / self.n if self.n else None


_ROOT_OF_YEAR = math.sqrt(DAYS_PER_YEAR)

_FORMULAS: dict[str, Callable[[_RunFacts], float | int | None]] = {
    "final_pnl": lambda run: run.mean if run.mean is not None else 0.0,
    "total_pnl": lambda run: run.total,
    "win_rate": lambda run: np.count_nonzero(run.pnl > 0) / run.n if run.n else None,
    "stop_out_rate": lambda run: run.results.stopped_out / run.n if run.n else None,
    "avg_trade_return": lambda run: run.mean,
    "median_trade_return": lambda run: float(np.median(run.pnl)) if run.n else None,
    "profit_factor": lambda run: run.profit_factor(),
    "expectancy": lambda run: run.mean,
    "sqn": lambda run: run.sqn(),
    "volatility": lambda run: run.daily_deviation * _ROOT_OF_YEAR if run.has_days else None,
    "sharpe_ratio": lambda run: ratio(run.daily_mean * _ROOT_OF_YEAR, run.daily_deviation),
    "sortino_ratio": lambda run: run.sortino_ratio(),
    "max_drawdown": lambda run: run.drawdown,
    "calmar": lambda run: ratio(run.daily_mean * DAYS_PER_YEAR, run.drawdown),
    "trade_count": lambda run: run.n,
    "skipped_count": lambda run: run.results.skipped_count,
    "reentry_count": lambda run: run.results.re_entries,
    "ladder_entries_used": lambda run: run.results.ladder_entries,
    "ladder_exits_used": lambda run: run.results.target_hits,
    "average_holding_minutes": lambda run: run.mean_of(run.minutes),
    "max_holding_minutes": lambda run: float(run.minutes.max()) if run.n else None,
    "average_return_deployed": lambda run: run.mean_of(run.pnl / run.results.cash_spent) if run.n else None,
    "max_adverse_excursion": lambda run: run.results.max_adverse_excursion if run.n else None,
    "max_favourable_excursion": lambda run: run.results.max_favourable_excursion if run.n else None,
}
"""Every formula of `docs/engine.md` section 8 for a run, in the order of `Metrics`."""


def metric_values(results: Results, curves: Curves, names: Iterable[str] | None = None) -> dict[str, Any]:
    """Return metrics of a run by name; only what they need is worked out, and others change none of them.

    Args:
        results: Of the trades of the run.
        curves: Of the same trades.
        names: Fields of `Metrics`; None: all of them.
    """
    run = _RunFacts(results, curves)
    return {name: _FORMULAS[name](run) for name in (_FORMULAS if names is None else names)}


def metrics_of_results(results: Results, daily_equity: FloatArray, drawdown: float) -> Metrics:
    """Return every metric of a run whose curves are known.

    Args:
        results: Of the trades of the run.
        daily_equity: Result per trade at the end of each UTC day, as in `EquityCurve`.
        drawdown: As `max_drawdown` returns it.
    """
    return Metrics(**metric_values(results, KnownCurves(daily_equity, drawdown)))


def run_metrics(trades: Sequence[Trade]) -> Metrics:
    """Return the metrics of all trades of a run, of one or many tokens and intervals."""
    return metrics_of_results(results_of(trades), equity_curve(trades).equity, max_drawdown(trades))
