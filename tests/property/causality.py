"""Proofs that the past does not know the future: cut the candles after a time, or replace them by noise.

`assert_values_are_causal` holds what is computed once per candle (indicators, signals) to it, and
`assert_engine_is_causal` a whole simulation. `test_proofs_can_fail.py` and `test_signals_point_in_time.py` show
that both notice planted leaks.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
from engines import Simulate
from strategy_space import any_market

from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.engine.candles import Candles, FloatArray
from quantbot_pipeline.engine.events import Event, EventType, Trade
from quantbot_pipeline.strategy.model import Strategy

Values = Callable[[Candles], npt.NDArray[Any]]
"""Something with one value per candle."""


class Kept(IntEnum):
    """How much of the candle after the cut is the same in both futures, beside its time."""

    NOTHING = 0
    OPEN = 1
    RANGE = 2
    """Open, high and low; close and volume are others."""


def with_another_future(random: Random, market: Candles, cut: int, kept: Kept = Kept.NOTHING) -> Candles:
    """Return candles 0 … cut as they are, and after them any others: other prices, times, gaps and number.

    Prices after the cut are on the old level or on any other; the first new candle opens at the earliest when
    candle `cut` closes. With `kept`, it opens when and where candle `cut + 1` of the market does.
    """
    noise = any_market(random)
    count = random.randint(1 if kept else 0, len(noise))
    closes_at = int(market.timestamp[cut]) + market.interval_seconds
    begins_at = int(market.timestamp[cut + 1]) if kept else closes_at + random.choice([0, 0, 60, 600, 86_400])
    # Noise of a shorter candle would overlap, so its candles are at least one interval apart.
    steps = np.maximum(np.diff(noise.timestamp, prepend=noise.timestamp[0]), market.interval_seconds)
    factor = market.close[cut] / noise.open[0] * 10.0 ** random.choice([0, 0, 0, -3, 2])
    prices = [values * factor for values in (noise.open, noise.high, noise.low, noise.close)]
    if kept:
        prices = _from_the_open_on(market, cut + 1, prices, kept)
    future = (begins_at + np.cumsum(steps) - steps[0], *prices, noise.volume)
    past = (market.timestamp, market.open, market.high, market.low, market.close, market.volume)
    columns = (np.concatenate([old[: cut + 1], new[:count]]) for old, new in zip(past, future, strict=True))
    return Candles(market.interval_seconds, *columns).validate()


def _from_the_open_on(market: Candles, i: int, prices: list[FloatArray], kept: Kept) -> list[FloatArray]:
    """Return prices whose first candle has the open of candle i, or its open, high and low."""
    open_, high, low, close = (values.copy() for values in prices)
    open_[0] = market.open[i]
    if kept is Kept.RANGE:
        high[0], low[0] = market.high[i], market.low[i]
        close[0] = min(max(close[0], low[0]), high[0])
    else:
        high[0], low[0] = max(high[0], open_[0]), min(low[0], open_[0])
    return [open_, high, low, close]


def futures(random: Random, market: Candles, cut: int) -> list[Candles]:
    """Return markets that are the same up to the close of candle `cut`: one that ends there, one that goes on."""
    return [market.slice(0, cut + 1), with_another_future(random, market, cut)]


def assert_values_are_causal(compute: Values, market: Candles, random: Random) -> None:
    """Check that no value up to a random candle changes a bit when what comes after that candle changes."""
    whole = compute(market)
    assert len(whole) == len(market)
    # Anywhere, in the warm-up, and at the end, after which the scrambled candles go on.
    for cut in {random.randrange(len(market)), random.randrange(min(len(market), 8)), len(market) - 1}:
        for other in futures(random, market, cut):
            found = compute(other)
            assert len(found) == len(other)
            same = found[: cut + 1].tobytes() == whole[: cut + 1].tobytes()
            assert same, f"values up to candle {cut} change with what comes after: {whole!r} and {found!r}"


def _is_known(event: Event, trade: Trade, strategy: Strategy, market: Candles, cut: int, kept: Kept) -> bool:
    """Return whether an event is decided by candles 0 … cut, and by what is kept of the next one."""
    closes_at = int(market.timestamp[cut]) + market.interval_seconds
    last_open = int(market.timestamp[cut + 1] if kept else market.timestamp[cut])
    if event.event_type is EventType.FINAL_EXIT or event.metadata.get("reason") == "end_of_data":
        # It says that the candles ended, not what the market did.
        return False
    if event.event_type is EventType.ENTRY_SKIPPED and math.isnan(event.price):
        # There was no candle to act in, which is known once one opened that could have been it.
        acts_at = trade.signal_timestamp + strategy.costs.latency_seconds
        return event.metadata["reason"] == "no_candles" and acts_at <= last_open
    if event.event_type is EventType.STOP_MOVED:
        return event.event_time <= closes_at
    if kept and event.event_time == last_open:
        # Market orders, and orders that the open jumped over, are filled before anything else of the candle is known.
        is_at_open = event.metadata.get("order") in (None, "market") or event.metadata.get("gap", False)
        return is_at_open or kept is Kept.RANGE
    return event.event_time < closes_at


def known(
    trades: Sequence[Trade], strategy: Strategy, market: Candles, cut: int, kept: Kept = Kept.NOTHING
) -> Mapping[str, list[str]]:
    """Return, as comparable text, all that is decided: events, and the marks of candles before the cut.

    The mark of candle `cut` itself is left out: where the candles end there, it is that of the forced exit. So are
    those of a trade that is flat, for which only a later re-entry tells that there are any.
    """
    events: list[str] = []
    marks: list[str] = []
    for trade in trades:
        known_events = [event for event in trade.events if _is_known(event, trade, strategy, market, cut, kept)]
        events += map(repr, known_events)
        if known_events and known_events[-1].event_type is not EventType.ENTRY_SKIPPED:
            is_held = known_events[-1].remaining_position > 0
            end = int(market.timestamp[cut]) if is_held else known_events[-1].event_time + 1
            marks += [
                repr((trade.call_id, *mark))
                for mark in zip(trade.mark_timestamp.tolist(), trade.mark_value.tolist(), strict=True)
                if mark[0] < min(end, int(market.timestamp[cut]))
            ]
    return {"events": events, "marks": marks}


def assert_engine_is_causal(
    simulate: Simulate, market: Candles, calls: Sequence[Call], strategy: Strategy, random: Random
) -> None:
    """Check that nothing a simulation says about candles up to a random one changes with what comes after it.

    Nor may what it does at the next open depend on more of that candle than its open, nor what it does inside on
    its close or volume: an order of one candle too early would be seen by this alone.
    """
    whole = simulate(market, calls, strategy)
    # Just before something happens is where looking ahead by one candle shows.
    times = [event.event_time for trade in whole for event in trade.events]
    before_events = np.maximum(np.searchsorted(market.timestamp, times) - 1, 0).tolist()
    for cut in {random.randrange(len(market)), *random.sample(before_events, min(2, len(before_events)))}:
        expected = known(whole, strategy, market, cut)
        for other in futures(random, market, cut):
            assert known(simulate(other, calls, strategy), strategy, other, cut) == expected
        for kept in (Kept.OPEN, Kept.RANGE) if cut + 1 < len(market) else ():
            other = with_another_future(random, market, cut, kept)
            found = simulate(other, calls, strategy)
            assert known(found, strategy, other, cut, kept) == known(whole, strategy, market, cut, kept)
