"""Metrics of a run that comes in chunks: what has to be kept of trades once they are gone.

`RunTotals` takes the trades of one strategy chunk by chunk, in the order of the run, and gives the metrics of all of
them, equal to the last bit to those of all trades at once: every sum is either correctly rounded or keeps
its running value, so that a chunk's trades are added to it as if they had come with the others.

What it keeps: 24 bytes per trade that bought; 8 bytes per UTC day between the first and the last; and per
candle close with a mark 8 bytes on a grid that is mostly full, 16 bytes in a sorted list otherwise.
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import gcd
from typing import TYPE_CHECKING

import numpy as np

from quantbot_pipeline.engine.candles import FloatArray, IntArray
from quantbot_pipeline.engine.events import Trade
from quantbot_pipeline.engine.metrics import (
    DAY_SECONDS,
    Metrics,
    Results,
    TradeResults,
    metrics_of_results,
    results_of,
)

if TYPE_CHECKING:
    # The fast engine takes numba with it, which the reference engine's totals do without.
    from quantbot_pipeline.engine.fast import StrategyRun

SMALL_GRID = 2**18
"""Closes on a grid (2 MB) that is taken however few of them have marks: sorting takes longer."""

LARGEST_GRID = 8_000_000
"""Closes on a grid (64 MB, 15 years of minutes) that may be taken for the number of marks alone."""

SLOTS_PER_MARK = 4
"""A grid of more closes per mark than these is mostly empty."""

MARKS_PER_BATCH = 2**20
"""Marks that are worked on at once where they are listed (some 60 MB), but for a trade that has more."""

CLOSES_PER_BLOCK = 2**15
"""Closes that are worked on at once where a drawdown is looked for: arrays that fit the processor's cache."""


@dataclass(frozen=True, slots=True)
class MarksExtent:
    """When trades have marks, and how far apart.

    Attributes:
        first_close: Close time of the first mark, seconds.
        last_close: Close time of the last mark, seconds.
        grid_seconds: Every close is a whole number of these after the first; divides the candles' lengths; >= 1.
        first_day: UTC day of the candle of the first mark, days since the epoch.
        last_day: UTC day of the last event.
        marks: How many marks there are.
    """

    first_close: int
    last_close: int
    grid_seconds: int
    first_day: int
    last_day: int
    marks: int

    @property
    def slots(self) -> int:
        """How many closes the grid has."""
        return (self.last_close - self.first_close) // self.grid_seconds + 1

    def joined(self, other: "MarksExtent") -> "MarksExtent":
        """Return the extent of the marks of both."""
        return MarksExtent(
            min(self.first_close, other.first_close),
            max(self.last_close, other.last_close),
            gcd(self.grid_seconds, other.grid_seconds, self.first_close - other.first_close),
            min(self.first_day, other.first_day),
            max(self.last_day, other.last_day),
            self.marks + other.marks,
        )


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks of some trades, one trade after the other; every trade has some.

    Attributes:
        ends: Where in the other arrays each trade's marks end, int64, shape (n_trades,).
        interval_seconds: Length of each trade's candles, int64, shape (n_trades,).
        timestamp: Open times, int64 seconds, shape (n_marks,).
        value: Fractions of the capital, float64, shape (n_marks,).
    """

    ends: IntArray
    interval_seconds: IntArray
    timestamp: IntArray
    value: FloatArray

    @property
    def begins(self) -> IntArray:
        """Where each trade's marks begin."""
        return np.concatenate([np.zeros(1, dtype=np.int64), self.ends[:-1]])

    def closes_at(self) -> IntArray:
        """Return the close time of each mark."""
        closes_at: IntArray = self.timestamp + np.repeat(self.interval_seconds, self.ends - self.begins)
        return closes_at


class ValueChanges:
    """Sums, over the trades of a run, of their changes of value: at each candle close, and in each UTC day.

    Each sum runs in the order in which the trades come. The closes are slots of a grid while that is the smaller
    form, and a sorted list otherwise; which of them it is changes no sum.
    """

    def __init__(self) -> None:
        """Begin without trades."""
        self._extent: MarksExtent | None = None
        self._day_sums: FloatArray = np.empty(0)
        self._close_sums: FloatArray = np.empty(0)
        # None while the closes are a grid.
        self._closes: IntArray | None = None

    @property
    def extent(self) -> MarksExtent:
        """The extent of all marks that there is room for; there has to be some."""
        if self._extent is None:
            raise ValueError("no trade was added, so there is no extent; make room for marks first")
        return self._extent

    @property
    def is_empty(self) -> bool:
        """Whether there is no room for any marks yet, and so no sum."""
        return self._extent is None

    @property
    def is_on_grid(self) -> bool:
        """Whether the closes are slots of a grid."""
        return self._closes is None

    @property
    def closes_at(self) -> IntArray:
        """Times of all closes on the grid or in the list, ascending, seconds."""
        if self._closes is not None:
            return self._closes
        return self.extent.first_close + self.extent.grid_seconds * np.arange(len(self._close_sums), dtype=np.int64)

    @property
    def close_sums(self) -> FloatArray:
        """Sums at the same closes; 0 at those of the grid that have no marks."""
        return self._close_sums

    @property
    def day_sums(self) -> FloatArray:
        """Sums by UTC day, from the first to the last, shape (n_days,)."""
        return self._day_sums

    def make_room(self, added: MarksExtent) -> None:
        """Prepare for marks that are going to be added.

        Args:
            added: Where they are.
        """
        before = self._extent
        after = added if before is None else before.joined(added)
        days = np.zeros(after.last_day - after.first_day + 1)
        if before is not None:
            begin = before.first_day - after.first_day
            days[begin : begin + len(self._day_sums)] = self._day_sums
        self._day_sums = days
        if self._grid_is_smaller(after):
            self._take_grid(before, after)
        elif before is None:
            self._closes = np.empty(0, dtype=np.int64)
        elif self._closes is None:
            # A sum of 0 is as good as none: 0 + x is x.
            used = np.flatnonzero(self._close_sums)
            self._closes = before.first_close + used * before.grid_seconds
            self._close_sums = self._close_sums[used]
        self._extent = after

    def _grid_is_smaller(self, extent: MarksExtent) -> bool:
        if extent.slots <= max(SMALL_GRID, min(LARGEST_GRID, SLOTS_PER_MARK * extent.marks)):
            return True
        known = len(self._closes) if self._closes is not None else np.count_nonzero(self._close_sums)
        # A close takes 8 bytes on the grid and 16 in the list.
        return bool(extent.slots <= 2 * known)

    def _take_grid(self, before: MarksExtent | None, after: MarksExtent) -> None:
        sums = np.zeros(after.slots)
        if self._closes is not None:
            sums[(self._closes - after.first_close) // after.grid_seconds] = self._close_sums
            self._closes = None
        elif before is not None:
            begin = (before.first_close - after.first_close) // after.grid_seconds
            step = before.grid_seconds // after.grid_seconds
            sums[begin : begin + (len(self._close_sums) - 1) * step + 1 : step] = self._close_sums
        self._close_sums = sums

    def replace_sums(self, close_sums: FloatArray, day_sums: FloatArray) -> None:
        """Take sums to which trades were added elsewhere.

        Args:
            close_sums: In place of `close_sums`, of the same shape.
            day_sums: In place of `day_sums`, of the same shape.
        """
        self._close_sums, self._day_sums = close_sums, day_sums

    def add_trades(self, trades: Sequence[Trade]) -> None:
        """Make room for trades, in the order of the run, and add them."""
        for batch in _batches([trade for trade in trades if trade.has_bought], self.marks_per_batch()):
            marks = _marks_of(batch)
            self.make_room(_extent_of(marks, max(trade.done_at for trade in batch)))
            self.add(marks)

    def add(self, marks: Marks) -> None:
        """Add trades, for which room was made.

        Args:
            marks: Of the trades, in the order of the run.
        """
        begins, value = marks.begins, marks.value
        days = marks.timestamp // DAY_SECONDS
        is_last_of_day = np.empty(len(days), dtype=np.bool_)
        np.not_equal(days[1:], days[:-1], out=is_last_of_day[:-1])
        is_last_of_day[marks.ends - 1] = True
        lasts = np.flatnonzero(is_last_of_day)
        np.add.at(
            self._day_sums,
            days[lasts] - self.extent.first_day,
            _differences(value[lasts], np.searchsorted(lasts, begins)),
        )
        closes_at = marks.closes_at()
        if self._closes is None:
            slots = (closes_at - self.extent.first_close) // self.extent.grid_seconds
        else:
            self._list_closes(np.unique(closes_at))
            slots = np.searchsorted(self._closes, closes_at)
        # One after the other, as they come: adding up the marks of a close first would round differently.
        np.add.at(self._close_sums, slots, _differences(value, begins))

    def _list_closes(self, wanted: IntArray) -> None:
        """Put closes into the sorted list that are not in it."""
        known = self._closes if self._closes is not None else np.empty(0, dtype=np.int64)
        closes = np.union1d(known, wanted)
        if len(closes) > len(known):
            sums = np.zeros(len(closes))
            sums[np.searchsorted(closes, known)] = self._close_sums
            self._closes, self._close_sums = closes, sums

    def marks_per_batch(self) -> int:
        """Return how many marks to list at once: more where each batch has a longer list of closes to go through."""
        return max(MARKS_PER_BATCH, len(self._close_sums) // 8)

    def daily_equity(self, n: int) -> FloatArray:
        """Return the sum of all values at the end of each day / n, from the first day to the last, shape (n_days,).

        Args:
            n: Number of trades; > 0 where there are days.
        """
        return np.cumsum(self._day_sums) / n if n else np.empty(0)

    def max_drawdown(self, n: int) -> float:
        """Return the largest fall of (1 + equity) from its running peak, which starts at 1, as a fraction.

        Args:
            n: Number of trades; > 0 where there are closes.
        """
        carried, peak, largest = 0.0, 1.0, 0.0
        for begin in range(0, len(self._close_sums), CLOSES_PER_BLOCK):
            wealth = self._close_sums[begin : begin + CLOSES_PER_BLOCK].copy()
            wealth[0] += carried
            np.cumsum(wealth, out=wealth)
            carried = float(wealth[-1])
            wealth /= n
            wealth += 1.0
            peaks = np.maximum.accumulate(wealth)
            np.maximum(peaks, peak, out=peaks)
            peak = float(peaks[-1])
            np.subtract(peaks, wealth, out=wealth)
            wealth /= peaks
            largest = max(largest, float(wealth.max()))
        return largest


def _differences(values: FloatArray, begins: IntArray) -> FloatArray:
    """Return each value - the one before it, and the values themselves at `begins`."""
    changes = np.diff(values, prepend=0.0)
    changes[begins] = values[begins]
    return changes


class RunTotals:
    """Metrics of the trades of one strategy that come chunk by chunk, in the order of the run.

    Equal to the last bit to the metrics of the same trades in the same order at once, whatever the chunks. Nothing
    of a chunk is kept alive.
    """

    def __init__(self) -> None:
        """Begin without trades."""
        self._pnl, self._cash_spent = array("d"), array("d")
        self._holding_seconds = array("q")
        self._worst = self._best = 0.0
        self._done_at = 0
        self._skipped_count = self._re_entries = self._ladder_entries = self._target_hits = 0
        self._stopped_out = 0
        self._changes = ValueChanges()

    def add(self, run: "StrategyRun") -> None:
        """Add the reported trades of a run of the fast engine, with or without events."""
        results = run.results
        self._add_results(results)
        run.marked.add_to(self._changes, results.done_at)

    def add_trades(self, trades: Sequence[Trade]) -> None:
        """Add trades of the reference engine, or of `StrategyRun.trades`; of one or many tokens and intervals."""
        self._add_results(results_of(trades))
        self._changes.add_trades(trades)

    def _add_results(self, results: Results) -> None:
        self._pnl.frombytes(results.pnl.tobytes())
        self._cash_spent.frombytes(results.cash_spent.tobytes())
        self._holding_seconds.frombytes(results.holding_seconds.tobytes())
        # Excursions are at most and at least 0, so runs without trades change nothing.
        self._worst = min(self._worst, results.max_adverse_excursion)
        self._best = max(self._best, results.max_favourable_excursion)
        self._done_at = max(self._done_at, results.done_at)
        self._skipped_count += results.skipped_count
        self._re_entries += results.re_entries
        self._ladder_entries += results.ladder_entries
        self._target_hits += results.target_hits
        self._stopped_out += results.stopped_out

    def metrics(self) -> Metrics:
        """Return the metrics of all trades so far; more may be added afterwards."""
        results = TradeResults(
            pnl=np.array(self._pnl, dtype=np.float64),
            cash_spent=np.array(self._cash_spent, dtype=np.float64),
            holding_seconds=np.array(self._holding_seconds, dtype=np.int64),
            max_adverse_excursion=self._worst,
            max_favourable_excursion=self._best,
            done_at=self._done_at,
            skipped_count=self._skipped_count,
            re_entries=self._re_entries,
            ladder_entries=self._ladder_entries,
            target_hits=self._target_hits,
            stopped_out=self._stopped_out,
        )
        n = len(results.pnl)
        return metrics_of_results(results, self._changes.daily_equity(n), self._changes.max_drawdown(n))


def _batches(trades: Sequence[Trade], marks_per_batch: int) -> Iterator[list[Trade]]:
    """Yield trades in order, in lists that have at most so many marks or one trade."""
    batch: list[Trade] = []
    held = 0
    for trade in trades:
        if batch and held + len(trade.mark_value) > marks_per_batch:
            yield batch
            batch, held = [], 0
        batch.append(trade)
        held += len(trade.mark_value)
    if batch:
        yield batch


def _marks_of(trades: Sequence[Trade]) -> Marks:
    return Marks(
        ends=np.cumsum([len(trade.mark_value) for trade in trades]),
        interval_seconds=np.array([trade.interval_seconds for trade in trades], dtype=np.int64),
        timestamp=np.concatenate([trade.mark_timestamp for trade in trades]),
        value=np.concatenate([trade.mark_value for trade in trades]),
    )


def _extent_of(marks: Marks, done_at: int) -> MarksExtent:
    closes_at = marks.closes_at()
    steps = np.unique(np.diff(closes_at))
    return MarksExtent(
        first_close=int(closes_at.min()),
        last_close=int(closes_at.max()),
        grid_seconds=int(np.gcd.reduce(np.concatenate([steps, marks.interval_seconds]))),
        first_day=int(marks.timestamp.min()) // DAY_SECONDS,
        last_day=done_at // DAY_SECONDS,
        marks=len(closes_at),
    )
