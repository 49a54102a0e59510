"""Barriers are met as a trade without costs meets its target, its stop and its horizon."""

import numpy as np
import pytest

from quantbot_pipeline.engine.calls import Call, Side, SignalType
from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.engine.events import EventType
from quantbot_pipeline.engine.reference import simulate_reference
from quantbot_pipeline.learning.barrier_labels import END_OF_TIME, LOWER, UPPER, first_touches
from quantbot_pipeline.strategy.model import parse_strategy

HORIZON = 1_800
STALENESS = 600
OUTCOMES = {EventType.TARGET_HIT: UPPER, EventType.STOP_LOSS: LOWER, EventType.TIME_EXIT: END_OF_TIME}


def wild_candles(generator: np.random.Generator) -> Candles:
    """Return minutes with gaps in time and in price."""
    minute = np.flatnonzero(generator.random(200) < 0.8)
    close = np.exp(np.cumsum(0.05 * generator.standard_t(2, len(minute))))
    opens = np.concatenate([[1.0], close[:-1]]) * np.exp(0.05 * generator.standard_t(2, len(minute)))
    high = np.maximum(opens, close) * np.exp(np.abs(generator.normal(0, 0.05, len(minute))))
    low = np.minimum(opens, close) * np.exp(-np.abs(generator.normal(0, 0.05, len(minute))))
    return Candles(60, minute * 60, opens, high, low, close, np.ones(len(minute))).validate()


@pytest.mark.parametrize("seed", range(40))
def test_barriers_are_those_of_a_trade(seed: int) -> None:
    generator = np.random.default_rng(seed)
    candles = wild_candles(generator)
    signal = np.sort(generator.integers(0, 200 * 60, 30)).astype(np.int64)
    strategy = parse_strategy(
        {
            "name": "barriers",
            "entry": {"type": "immediate"},
            "exits": {"targets": [{"multiple": 1.25, "size": 1.0}], "stop_loss": {"initial": 0.125}},
            "horizon_seconds": HORIZON,
            "max_staleness_seconds": STALENESS,
        }
    )
    calls = [Call(k, 1, int(second), SignalType.ENTRY, Side.BUY) for k, second in enumerate(signal)]
    expected = {}
    for trade in simulate_reference(candles, calls, strategy):
        last = trade.events[-1]
        start = int(candles.timestamp[min(np.searchsorted(candles.timestamp, signal[trade.call_id]), len(candles) - 1)])
        if last.event_type in OUTCOMES and start + HORIZON <= candles.timestamp[-1]:
            expected[trade.call_id] = (OUTCOMES[last.event_type], last.event_time, trade.pnl)

    found = first_touches(
        candles, signal, upper=0.25, lower=0.125, horizon_seconds=HORIZON, max_staleness_seconds=STALENESS
    )

    assert expected
    assert found.row.tolist() == sorted(expected)
    for row, outcome, known_at, fraction in zip(
        found.row.tolist(), found.outcome.tolist(), found.known_at.tolist(), found.fraction.tolist(), strict=True
    ):
        event_outcome, event_time, pnl = expected[row]
        assert outcome == event_outcome
        assert fraction == pytest.approx(pnl, rel=1e-9)
        # An event inside a candle bears its open time and is known at its close.
        assert known_at in (event_time, event_time + 60)
