"""Trades of the reference engine on candles of one's own, as they would be collected for drawing."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.engine.reference import simulate_reference
from quantbot_pipeline.report.trade_content import TradeContent, TradedCall, indicator_lines
from quantbot_pipeline.strategy.model import Strategy, parse_strategy

INTERVAL = 60


def strategy_of(**parts: Any) -> Strategy:
    return parse_strategy({"name": "mine", "entry": {"type": "immediate"}, **parts})


def candles_of(*rows: Sequence[float], volume: float = 1.0) -> Candles:
    """Return candles of a minute, from rows of time, open, high, low and close."""
    table = np.array(rows, dtype=np.float64)
    return Candles(
        INTERVAL,
        table[:, 0].astype(np.int64),
        *(np.ascontiguousarray(table[:, k]) for k in range(1, 5)),
        np.full(len(rows), volume),
    )


def wild_candles(seed: int, count: int = 300) -> Candles:
    """Return a walk with gaps in price and in time."""
    random = np.random.default_rng(seed)
    close = np.exp(np.cumsum(random.normal(0, 0.06, count)))
    opened = np.concatenate([[1.0], close[:-1]]) * np.exp(random.normal(0, 0.02, count))
    high = np.maximum(opened, close) * np.exp(np.abs(random.normal(0, 0.03, count)))
    low = np.minimum(opened, close) * np.exp(-np.abs(random.normal(0, 0.03, count)))
    steps = random.choice([1, 1, 1, 1, 5], count) * INTERVAL
    return Candles(
        INTERVAL,
        np.cumsum(steps).astype(np.int64),
        opened,
        high,
        low,
        close,
        np.abs(random.normal(100, 40, count)),
    ).validate()


def content_of(candles: Candles, strategy: Strategy, *, signal_at: int = 0, **changes: Any) -> TradeContent:
    """Return what became of one call."""
    (trade,) = simulate_reference(candles, [Call(17, 1, signal_at)], strategy)
    parts: dict[str, Any] = {
        "call": TradedCall(17, "test", "bob", "binance", "BONK_USDT", "BONK", signal_at),
        "strategy_name": strategy.name,
        "strategy_version": strategy.version,
        "strategy": strategy,
        "run_id": 7,
        "run_type": "backtest",
        "is_current": True,
        "data_quality": "good",
        "candles": candles,
        "events": trade.events,
        "indicators": indicator_lines(strategy, candles, 0),
    }
    return TradeContent(**parts | changes)
