"""The metrics of `docs/engine.md` section 8 of the fast engine's trades, by kernels that mark them.

The same numbers as `run_metrics` gives for the same trades: formulas are shared, and sums run in the same order.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from quantbot_pipeline.engine.candles import FloatArray, IntArray
from quantbot_pipeline.engine.kernels.market import INTERVAL
from quantbot_pipeline.engine.kernels.marks import (
    DAY_SECONDS,
    EXTENT_FIRST_CLOSE,
    EXTENT_FIRST_DAY,
    EXTENT_GRID_SECONDS,
    EXTENT_LAST_CLOSE,
    EXTENT_MARKS,
    EXTENT_SLOTS,
    MARKED_FILLS,
    MARKED_FIRST_FILL,
    MARKED_TOKEN,
    add_changes_nb,
    extent_of_marks_nb,
    fall_of_sums_nb,
    mark_trades_nb,
)
from quantbot_pipeline.engine.metrics import Results
from quantbot_pipeline.engine.run_totals import MARKS_PER_BATCH, Marks, MarksExtent, ValueChanges


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
    """

    addresses: IntArray
    choices: IntArray
    quantities: FloatArray
    trades: IntArray
    fill_amounts: FloatArray
    fill_candles: IntArray

    def add_to(self, changes: ValueChanges, done_at: int) -> None:
        """Add the trades' changes of value to those of a run.

        Args:
            changes: Of the run so far.
            done_at: Time of the trades' last event, seconds.
        """
        if len(self.trades) == 0:
            return
        is_first = changes.is_empty
        # Gaps hardly ever lead off the grid, so they are looked at only after one did, or before the closes are
        # listed: the list may become a grid again, which has to hold all of them.
        for sees_gaps in (False, True):
            extent = self._extent(done_at, sees_gaps=sees_gaps)
            changes.make_room(replace(extent, marks=0) if sees_gaps else extent)
            if changes.is_on_grid and self._add_to_grid(changes, is_first=is_first):
                return
        for marks in self._batches(changes.marks_per_batch()):
            changes.add(marks)

    def _extent(self, done_at: int, *, sees_gaps: bool) -> MarksExtent:
        extent = np.empty(EXTENT_SLOTS, dtype=np.int64)
        extent_of_marks_nb(self.addresses, self.trades, self.fill_candles, sees_gaps, extent)
        found = extent.tolist()
        return MarksExtent(
            first_close=found[EXTENT_FIRST_CLOSE],
            last_close=found[EXTENT_LAST_CLOSE],
            grid_seconds=found[EXTENT_GRID_SECONDS],
            first_day=found[EXTENT_FIRST_DAY],
            last_day=done_at // DAY_SECONDS,
            marks=found[EXTENT_MARKS],
        )

    def _add_to_grid(self, changes: ValueChanges, *, is_first: bool) -> bool:
        """Add the trades to a grid; return whether it holds all their closes, else nothing is added."""
        extent = changes.extent
        close_sums, day_sums = changes.close_sums, changes.day_sums
        # Sums of nothing are brought back without a copy.
        if not is_first:
            close_sums, day_sums = close_sums.copy(), day_sums.copy()
        if not add_changes_nb(
            self.addresses,
            self.choices,
            self.quantities,
            self.trades,
            self.fill_amounts,
            self.fill_candles,
            extent.first_close,
            extent.grid_seconds,
            extent.first_day,
            close_sums,
            day_sums,
        ):
            if is_first:
                close_sums[:] = 0.0
                day_sums[:] = 0.0
            return False
        changes.replace_sums(close_sums, day_sums)
        return True

    def _batches(self, marks_per_batch: int) -> Iterator[Marks]:
        """Yield the trades' marks in order, at most so many at once or those of one trade."""
        first_fills = self.trades[:, MARKED_FIRST_FILL]
        last_fills = first_fills + self.trades[:, MARKED_FILLS] - 1
        ends = np.cumsum(self.fill_candles[last_fills] - self.fill_candles[first_fills] + 1)
        intervals = self.addresses[self.trades[:, MARKED_TOKEN], INTERVAL]
        begin = done = 0
        while begin < len(ends):
            end = max(begin + 1, int(np.searchsorted(ends, done + marks_per_batch, side="right")))
            ends_of_batch = ends[begin:end] - done
            timestamp = np.empty(int(ends_of_batch[-1]), dtype=np.int64)
            value = np.empty(len(timestamp), dtype=np.float64)
            mark_trades_nb(
                self.addresses,
                self.choices,
                self.quantities,
                self.trades[begin:end],
                self.fill_amounts,
                self.fill_candles,
                ends_of_batch,
                timestamp,
                value,
            )
            yield Marks(ends_of_batch, intervals[begin:end], timestamp, value)
            begin, done = end, int(ends[end - 1])

    def marks_per_trade(self) -> Iterator[tuple[IntArray, FloatArray]]:
        """Yield open times and values of each trade's marks."""
        for marks in self._batches(MARKS_PER_BATCH):
            for begin, end in zip(marks.begins.tolist(), marks.ends.tolist(), strict=True):
                yield marks.timestamp[begin:end], marks.value[begin:end]


class MarkedCurves:
    """The curves of marked trades, for which they are marked once, when the first curve is asked for.

    Args:
        results: Of the trades of a run.
        marked: Those of them that bought.
    """

    def __init__(self, results: Results, marked: MarkedTrades) -> None:
        self._results = results
        self._marked = marked

    @cached_property
    def _changes(self) -> ValueChanges:
        changes = ValueChanges()
        self._marked.add_to(changes, self._results.done_at)
        return changes

    def daily_equity(self) -> FloatArray:
        """Return the result per trade at the end of each UTC day."""
        return self._changes.daily_equity(len(self._marked.trades))

    def drawdown(self) -> float:
        """Return the largest fall from the running peak, as a fraction."""
        return fall_of_sums_nb(self._changes.close_sums, len(self._marked.trades))
