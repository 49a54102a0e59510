"""Short ways to write candles, strategies and runs of the engine's hand-worked tests.

Everything is simulated by both engines, which have to tell the same to the last bit: what a test says of a trade by
hand, it says of both.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.engine.events import EventType, Trade
from quantbot_pipeline.engine.fast import simulate_fast
from quantbot_pipeline.engine.reference import simulate_reference
from quantbot_pipeline.strategy.model import Strategy, parse_strategy


def candles(*rows: list[float], interval: int = 60, volume: float = 1.0) -> Candles:
    """Return candles of rows `[t, o, h, l, c]` or `[t, o, h, l, c, v]`."""
    table = np.array([row if len(row) == 6 else [*row, volume] for row in rows], dtype=np.float64)
    return Candles(interval, table[:, 0].astype(np.int64), *(table[:, k].copy() for k in range(1, 6))).validate()


def strategy(**document: Any) -> Strategy:
    """Return a strategy; `entry` defaults to immediate."""
    return parse_strategy({"name": "case", "entry": {"type": "immediate"}, **document})


def simulate(market: Candles, calls: Sequence[Call], of: Strategy) -> list[Trade]:
    """Return the trades of both engines, which are the same."""
    trades = simulate_reference(market, calls, of)
    assert [_as_text(trade) for trade in simulate_fast(market, calls, of)] == [_as_text(trade) for trade in trades]
    return trades


def _as_text(of: Trade) -> str:
    """Return all of a trade as text, in which NaN is the same as NaN; arrays in full, which their own text is not."""
    return repr((of, of.mark_timestamp.tolist(), of.mark_value.tolist()))


def trade(market: Candles, *, at: int = 0, calls: tuple[Call, ...] = (), **document: Any) -> Trade:
    """Return the trade of one entry call of caller 1 at time `at`, with other calls beside it."""
    return simulate(market, [Call(1, 1, at), *calls], strategy(**document))[0]


def story(of: Trade) -> list[tuple[str, int, float]]:
    """Return type, time and price of each event; prices rounded to 12 digits."""
    return [(event.event_type.value, event.event_time, round(event.price, 12)) for event in of.events]


def reasons(of: Trade) -> list[Any]:
    """Return each event's reason, or its stop kind, or None."""
    return [event.metadata.get("reason", event.metadata.get("stop")) for event in of.events]


def count(of: Trade, event_type: EventType) -> int:
    """Return how many events of a type a trade has."""
    return sum(event.event_type is event_type for event in of.events)
