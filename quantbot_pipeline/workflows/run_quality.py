"""How good the candles were that a simulated run read."""

import numpy as np

from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.engine.fast import StrategyRun
from quantbot_pipeline.engine.kernels.marks import MARKED_FILLS, MARKED_FIRST_FILL
from quantbot_pipeline.ingest.run_quality import HeldSpans, ReadCandles, measure_read_candles


def read_candles_of(candles: Candles, run: StrategyRun) -> ReadCandles:
    """Measure what a run read of one token.

    Args:
        candles: All that it read.
        run: What came of it, with these candles alone in its markets or beside others.
    """
    return measure_read_candles(
        candles.interval_seconds, candles.timestamp, candles.close, candles.volume, candles.flags, _held_spans(run)
    )


def _held_spans(run: StrategyRun) -> HeldSpans:
    marked = run.marked
    steps = marked.trades[:, MARKED_FILLS] - 1
    trade = np.repeat(np.arange(len(steps)), steps)
    # The fills of a trade follow each other; each but the last is followed by another.
    fill = marked.trades[trade, MARKED_FIRST_FILL] + np.arange(len(trade)) - (np.cumsum(steps) - steps)[trade]
    is_held = marked.fill_amounts[fill, 0] > 0
    fill, trade = fill[is_held], trade[is_held]
    return HeldSpans(trade, marked.fill_candles[fill], marked.fill_candles[fill + 1], len(steps))
