"""However time is split into windows, the trades are those of one simulation over everything."""

import math
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
from hypothesis import given, settings

from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.engine.events import Trade
from quantbot_pipeline.engine.reference import simulate_reference, warm_up_candles
from quantbot_pipeline.strategy.model import Strategy
from quantbot_pipeline.workflows.simulation_inputs import trade_reach_seconds
from tests.property.strategy_space import random_calls, random_market, random_strategy, seeds
from tests.workflows.stored_history import TOKEN, StoredHistory, at, rows_of, scores_of, second

# Half an hour before a month ends, so that most markets have the edge of a month inside.
MARKET_START = datetime.fromisoformat("2025-03-31T23:30:00+00:00")

many = settings(max_examples=250, deadline=None, derandomize=True)


def world(random: Random) -> tuple[StoredHistory, Strategy, Candles, list[Call]]:
    """Return random candles with some gaps of hours to weeks, random calls on them, and a strategy."""
    market = random_market(random)
    gaps = np.zeros(len(market), dtype=np.int64)
    for _ in range(random.choice([0, 1, 3])):
        gaps[random.randrange(len(market))] += random.choice([3600, 86_400, 40 * 86_400])
    calls = random_calls(random, market)
    shift = np.cumsum(gaps)
    placed = []
    for call in calls:
        # Before the gap of the candle that it comes before, or anywhere within it.
        i = int(np.searchsorted(market.timestamp, call.signal_timestamp))
        before = int(shift[i - 1]) if i else 0
        within = random.randint(0, int(gaps[i])) if i < len(market) else 0
        placed.append(replace(call, signal_timestamp=call.signal_timestamp + before + within + second(MARKET_START)))
    candles = replace(market, timestamp=market.timestamp + shift + second(MARKET_START)).validate()
    history = StoredHistory(rows_of(placed), {candles.interval_seconds: candles}, scores_of(placed))
    return history, random_strategy(random), candles, placed


def random_edges(random: Random, candles: Candles, calls: list[Call]) -> list[datetime]:
    """Return edges of windows that together hold every call: month edges, times of calls, any others."""
    times = [call.signal_timestamp for call in calls]
    first, last = min(times), max(times) + 1
    anywhere = random.choices([*times, *candles.timestamp.tolist(), second(MARKET_START) + 1800], k=4)
    inside = {time + random.choice([0, 0, 1, -1]) for time in anywhere}
    return [at(time) for time in sorted({first, last} | {time for time in inside if first < time < last})]


def run_windows(history: StoredHistory, strategy: Strategy, edges: list[datetime]) -> dict[int, Trade]:
    trades: dict[int, Trade] = {}
    for start, end in pairwise(edges):
        cut = history.cut(start, end, strategy)
        if cut is not None:
            found = simulate_reference(cut.candles, cut.calls, strategy, report_call_ids=cut.reported_call_ids)
            assert not {trade.call_id for trade in found} & trades.keys()
            trades |= {trade.call_id: trade for trade in found}
    return trades


def flat(value: Any) -> list[Any]:
    """Return the leaves of nested events, in a fixed order."""
    if isinstance(value, dict):
        return [leaf for key in sorted(value) for leaf in [key, *flat(value[key])]]
    return [leaf for part in value for leaf in flat(part)] if isinstance(value, list | tuple) else [value]


def leaves(trade: Trade) -> list[Any]:
    events = [
        (e.seq, e.event_time, str(e.event_type), e.price, e.size, e.pnl_so_far, dict(e.indicators), dict(e.metadata))
        for e in trade.events
    ]
    marks = trade.mark_timestamp.tolist(), trade.mark_value.tolist()
    return flat([trade.pnl, trade.cash_spent, trade.done_at, trade.holding_seconds, events, marks])


def assert_same_trade(found: Trade, expected: Trade) -> None:
    left, right = leaves(found), leaves(expected)
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        if isinstance(one, float) and isinstance(other, float):
            # What is left of an exponential average's seed after its warm-up is below 1e-12 of prices near 1.
            assert math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9) or (math.isnan(one) and math.isnan(other))
        else:
            assert one == other


def is_out_of_reach(trade: Trade, strategy: Strategy) -> bool:
    """Return whether a scale-in that found nothing acts at a candle that no trade of its window reaches.

    A window whose months hold no candle reads none behind its trades' reach: the open that such a scale-in
    reports is then unknown.
    """
    event = trade.events[0]
    waited = event.event_time - trade.signal_timestamp
    return event.metadata.get("reason") == "nothing_to_scale" and waited > trade_reach_seconds(strategy)


@many
@given(seeds())
def test_windows_together_give_the_trades_of_the_whole_history(random: Random) -> None:
    history, strategy, candles, calls = world(random)
    whole = {trade.call_id: trade for trade in simulate_reference(candles, calls, strategy)}
    found = run_windows(history, strategy, random_edges(random, candles, calls))
    assert found.keys() == whole.keys()
    for call_id, trade in whole.items():
        if not is_out_of_reach(trade, strategy):
            assert_same_trade(found[call_id], trade)


@many
@given(seeds())
def test_what_a_run_reads_does_not_depend_on_what_was_loaded_with_it(random: Random) -> None:
    history, strategy, candles, calls = world(random)
    edges = random_edges(random, candles, calls)
    around = timedelta(days=50)
    wide = history.load(edges[0] - around, edges[-1] + around, [strategy, random_strategy(random)])
    for start, end in pairwise(edges):
        one, other = wide.cut(TOKEN, start, end, strategy), history.cut(start, end, strategy)
        assert (one and one.fingerprint) == (other and other.fingerprint)


@many
@given(seeds())
def test_a_fingerprint_changes_when_a_candle_changes_inside_and_only_then(random: Random) -> None:
    history, strategy, candles, calls = world(random)
    edges = random_edges(random, candles, calls)
    start, end = edges[0], edges[1]
    cut = history.cut(start, end, strategy)
    if cut is None:
        return
    i = random.randrange(len(candles))
    volume = candles.volume.copy()
    volume[i] += 1.0
    changed = replace(history, candles={candles.interval_seconds: replace(candles, volume=volume)})
    other = changed.cut(start, end, strategy)
    assert other is not None
    is_read = int(candles.timestamp[i]) in cut.candles.timestamp.tolist()
    assert (other.fingerprint != cut.fingerprint) == is_read


@many
@given(seeds())
def test_candles_that_are_not_read_change_no_trade(random: Random) -> None:
    """What lies outside of a cut may be thrown away: then the cut is the same.

    Under the other kinds of overlap, candles outside also decide that a call before the window does not matter.
    """
    history, strategy, candles, calls = world(random)
    strategy = strategy.model_copy(update={"overlap": "independent"})
    edges = random_edges(random, candles, calls)
    cut = history.cut(edges[0], edges[1], strategy)
    if cut is None or not len(cut.candles):
        return
    first = int(np.searchsorted(candles.timestamp, cut.candles.timestamp[0]))
    kept = candles.slice(first, first + len(cut.candles))
    again = replace(history, candles={candles.interval_seconds: kept}).cut(edges[0], edges[1], strategy)
    assert again is not None
    assert again.fingerprint == cut.fingerprint


def test_the_worlds_are_not_trivial() -> None:
    """Most random worlds buy, some read warm-up, and a good part needs more than one window."""
    bought = warmed = several = 0
    for seed in range(100):
        random = Random(seed)  # noqa: S311 - test cases, no secrets
        _, strategy, candles, calls = world(random)
        bought += any(trade.has_bought for trade in simulate_reference(candles, calls, strategy))
        warmed += warm_up_candles(strategy) > 1
        several += len(random_edges(random, candles, calls)) > 2
    assert min(bought, warmed, several) > 30
