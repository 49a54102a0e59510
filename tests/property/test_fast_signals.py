"""Prepared markets say what the reference says, wherever a call can see and whatever was asked before."""

import ctypes
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from strategy_space import random_calls, random_market, random_signal, seeds

from quantbot_pipeline.engine import fast_signals
from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.engine.conditions import SignalEvaluator
from quantbot_pipeline.engine.fast_signals import Truths
from quantbot_pipeline.engine.prepared_markets import PreparedMarkets
from quantbot_pipeline.engine.reference import is_entry_call, is_scale_in_call
from quantbot_pipeline.strategy.model import parse_strategy
from quantbot_pipeline.strategy.signals import SignalNode, walk_indicators

# The kernels are compiled by the first test where numba's cache is empty.
pytestmark = pytest.mark.timeout(900)

many = settings(max_examples=300, deadline=None, derandomize=True)


def parsed(document: dict[str, object]) -> SignalNode:
    strategy = parse_strategy(
        {"name": "signals", "entry": {"type": "immediate"}, "exits": {"when": document}, "horizon_seconds": 60}
    )
    assert strategy.exits.when is not None
    return strategy.exits.when


def reach_of(market: Candles, asked: list[Call], latency: int, horizon: int) -> list[tuple[int, int]]:
    """Return the closes that each call can see, by the document: from before candle a to before the horizon candle."""
    ranges = []
    for call in asked:
        a = int(np.searchsorted(market.timestamp, call.signal_timestamp + latency))
        if a < len(market) and (is_entry_call(call) or is_scale_in_call(call)):
            end = int(np.searchsorted(market.timestamp, market.timestamp[a] + horizon)) if is_entry_call(call) else a
            ranges.append((max(a - 1, 0), end))
    return ranges


def truth_at(truths: Truths, token: int, slot: int, close: int) -> int:
    """Read a truth as the kernels do: by its address."""
    return ctypes.c_uint8.from_address(int(truths.addresses[token, slot]) + close).value


def check_asked(
    random: Random, prepared: PreparedMarkets, candles: dict[str, Candles], signals: list[SignalNode]
) -> None:
    """Ask for the truth of signals with a drawn latency and horizon, and for their indicators."""
    latency, horizon = random.choice([0, 0, 60, 100]), random.choice([1, 60, 300, 900, 7200])
    truths = prepared.truths(signals, latency_seconds=latency, horizon_seconds=horizon)
    for token, key in enumerate(prepared.keys):
        asked = prepared.calls[prepared.call_ends[token] : prepared.call_ends[token + 1]]
        market = candles[str(key)]
        evaluator = SignalEvaluator(market)
        ranges = reach_of(market, asked, latency, horizon)
        closes = sorted({close for begin, end in ranges for close in range(begin, end)})
        for slot, signal in enumerate(signals):
            expected = evaluator.evaluate(signal)
            found = [truth_at(truths, token, slot, close) for close in closes]
            assert found == [int(expected[close]) for close in closes], (signal, closes)
            for operand in walk_indicators(signal):
                values = prepared.indicator_values(
                    operand, np.full(len(closes) + 1, token), np.array([-1, *closes], dtype=np.int64)
                )
                wanted = [np.nan, *evaluator.indicator(operand)[closes].tolist()]
                assert repr(values.tolist()) == repr(wanted), operand


@many
@given(seeds())
def test_what_a_call_can_see_is_what_the_reference_says(random: Random) -> None:
    candles = {f"token-{k}": random_market(random) for k in range(random.randint(1, 5))}
    calls = {key: random_calls(random, market) for key, market in candles.items()}
    with pytest.MonkeyPatch.context() as patch:
        # Batches of one token and of several, and a cache that holds nothing, little and everything.
        patch.setattr(fast_signals, "BATCH_CANDLES", random.choice([1, 100, 2**20]))
        prepared = PreparedMarkets(candles, calls, cache_bytes=random.choice([0, 2_000, 2**20]))
    signals = [parsed(random_signal(random)) for _ in range(random.randint(1, 4))]
    for _ in range(4):
        check_asked(random, prepared, candles, random.sample(signals, random.randint(1, len(signals))))
