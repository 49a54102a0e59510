"""The same work as plain Python would do it: loops over lists, for comparison.

Written as one would by hand, without tricks and without detours. The order of what happens inside a candle is that of
docs/engine.md section 5.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quantbot_pipeline.bench.markets import BenchMarket
from quantbot_pipeline.bench.works import FEE, HORIZON_SECONDS, LADDER, document_of

Targets = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class ListedCall:
    """A call with the candles of its token as lists; `end` is the row after the last one before its horizon."""

    open: list[float]
    high: list[float]
    low: list[float]
    close: list[float]
    first: int
    end: int


def listed_calls(market: BenchMarket) -> list[ListedCall]:
    """Return the calls of a market; calls of one token share its lists."""
    calls = []
    for key, candles in market.candles.items():
        open_, high = candles.open.tolist(), candles.high.tolist()
        low, close = candles.low.tolist(), candles.close.tolist()
        for call in market.calls[key]:
            first = int(np.searchsorted(candles.timestamp, call.signal_timestamp))
            end = int(np.searchsorted(candles.timestamp, candles.timestamp[first] + HORIZON_SECONDS))
            calls.append(ListedCall(open_, high, low, close, first, end))
    return calls


def total_pnl_of(work: str, calls: Sequence[ListedCall]) -> float:
    """Return the sum of pnl of one of `works.SHARED_WORKS` over calls."""
    exits = document_of(work)["exits"]
    stop = exits["stop_loss"]["initial"]
    targets = [(target["multiple"], target["size"]) for target in exits["targets"]]
    if work == LADDER:
        return sum(pnl_of_ladder(call, stop, targets) for call in calls)
    return sum(pnl_of_stop_and_target(call, stop, targets[0][0]) for call in calls)


def pnl_of_stop_and_target(call: ListedCall, stop_fraction: float, multiple: float) -> float:
    """Return the pnl of one call with a stop, one target for all and a time exit."""
    open_, high, low = call.open, call.high, call.low
    entry = open_[call.first]
    quantity = 1 / (entry * (1 + FEE))
    stop, target = entry * (1 - stop_fraction), entry * multiple
    for i in range(call.first, call.end):
        if open_[i] <= stop or open_[i] >= target:
            price = open_[i]
            break
        if low[i] <= stop:
            price = stop
            break
        if high[i] >= target:
            price = target
            break
    else:
        price = open_[call.end] if call.end < len(open_) else call.close[-1]
    return quantity * price * (1 - FEE) - 1


def pnl_of_ladder(call: ListedCall, stop_fraction: float, targets: Targets) -> float:
    """Return the pnl of one call with several targets, a time exit, and a stop that the first target moves to entry."""
    open_, high, low = call.open, call.high, call.low
    entry = open_[call.first]
    bought = left = 1 / (entry * (1 + FEE))
    stop = entry * (1 - stop_fraction)
    levels = [(entry * multiple, size * bought) for multiple, size in targets]
    hit = 0
    cash = 0.0
    for i in range(call.first, call.end):
        if open_[i] <= stop:
            cash += left * open_[i]
            left = 0.0
            break
        before = hit
        while hit < len(levels) and open_[i] >= levels[hit][0]:
            part = min(left, levels[hit][1])
            cash += part * open_[i]
            left -= part
            hit += 1
        if low[i] <= stop:
            cash += left * stop
            left = 0.0
            break
        while hit < len(levels) and high[i] >= levels[hit][0]:
            part = min(left, levels[hit][1])
            cash += part * levels[hit][0]
            left -= part
            hit += 1
        if left <= 1e-12 * bought:
            left = 0.0
            break
        if before == 0 and hit > 0:
            stop = max(stop, entry)
    if left > 0:
        cash += left * (open_[call.end] if call.end < len(open_) else call.close[-1])
    return cash * (1 - FEE) - 1
