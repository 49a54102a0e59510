"""Short ways to write candles, strategies and runs of the engine's hand-worked tests."""

from typing import Any

import numpy as np

from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.engine.events import EventType, Trade
from quantbot_pipeline.engine.reference import simulate_reference
from quantbot_pipeline.strategy.model import Strategy, parse_strategy


def candles(*rows: list[float], interval: int = 60, volume: float = 1.0) -> Candles:
    """Return candles of rows `[t, o, h, l, c]` or `[t, o, h, l, c, v]`."""
    table = np.array([row if len(row) == 6 else [*row, volume] for row in rows], dtype=np.float64)
    return Candles(interval, table[:, 0].astype(np.int64), *(table[:, k].copy() for k in range(1, 6))).validate()


def strategy(**document: Any) -> Strategy:
    """Return a strategy; `entry` defaults to immediate."""
    return parse_strategy({"name": "case", "entry": {"type": "immediate"}, **document})


def trade(market: Candles, *, at: int = 0, calls: tuple[Call, ...] = (), **document: Any) -> Trade:
    """Return the trade of one entry call of caller 1 at time `at`, with other calls beside it."""
    return simulate_reference(market, [Call(1, 1, at), *calls], strategy(**document))[0]


def story(of: Trade) -> list[tuple[str, int, float]]:
    """Return type, time and price of each event; prices rounded to 12 digits."""
    return [(event.event_type.value, event.event_time, round(event.price, 12)) for event in of.events]


def reasons(of: Trade) -> list[Any]:
    """Return each event's reason, or its stop kind, or None."""
    return [event.metadata.get("reason", event.metadata.get("stop")) for event in of.events]


def count(of: Trade, event_type: EventType) -> int:
    """Return how many events of a type a trade has."""
    return sum(event.event_type is event_type for event in of.events)
