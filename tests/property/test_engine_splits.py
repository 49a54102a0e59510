"""However calls are split, ordered, named or accompanied, each gets the same trade."""

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from engines import ENGINES, Simulate, as_text, on_both_engines
from hypothesis import given, settings
from separate_process import simulate_share
from strategy_space import any_market, random_calls, random_case, random_document, random_strategy, seeds

from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.engine.events import Trade
from quantbot_pipeline.engine.fast import simulate_many
from quantbot_pipeline.engine.reference import warm_up_candles
from quantbot_pipeline.strategy.model import Strategy, parse_strategy
from quantbot_pipeline.strategy.signals import walk_indicators

# The kernels are compiled by the first test where numba's cache is empty: about a minute, more on a busy machine.
pytestmark = pytest.mark.timeout(900)

many = settings(max_examples=200, deadline=None, derandomize=True)

REMEMBER_EVERYTHING = {"ema", "macd", "rsi", "atr"}
"""Indicators that depend, however little, on every candle before; all others on a window."""


def texts(trades: Sequence[Trade]) -> list[str]:
    return [as_text(trade) for trade in trades]


@on_both_engines
@settings(many, max_examples=80)
@given(seeds())
def test_independent_calls_do_not_know_of_each_other(simulate: Simulate, random: Random) -> None:
    market = any_market(random)
    strategy = parse_strategy({**random_document(random), "overlap": "independent"})
    asked = random_calls(random, market, only_entries=True)
    together = simulate(market, asked, strategy)
    apart = {call.call_id: simulate(market, [call], strategy)[0] for call in asked}
    assert texts(together) == [as_text(apart[trade.call_id]) for trade in together]


@on_both_engines
@many
@given(seeds())
def test_calls_of_other_callers_change_nothing_for_independent_trades(simulate: Simulate, random: Random) -> None:
    market = any_market(random)
    document = random_document(random)
    exits = {**document.get("exits", {}), "on_exit_call": True}
    strategy = parse_strategy({**document, "exits": exits, "overlap": "independent"})
    asked = random_calls(random, market)
    together = simulate(market, asked, strategy)
    for caller in (1, 2):
        alone = simulate(market, [call for call in asked if call.caller_id == caller], strategy)
        assert texts(alone) == texts([trade for trade in together if trade.caller_id == caller])


@on_both_engines
@many
@given(seeds())
def test_order_and_selection_of_calls_change_nothing(simulate: Simulate, random: Random) -> None:
    market = any_market(random)
    strategy = random_strategy(random)
    asked = random_calls(random, market)
    trades = simulate(market, asked, strategy)
    reported = {call.call_id for call in asked[::2]}
    shuffled = random.sample(asked, len(asked))
    again = simulate(market, shuffled, strategy, report_call_ids=reported)
    assert texts(again) == texts([trade for trade in trades if trade.call_id in reported])


@on_both_engines
@many
@given(seeds())
def test_ids_are_names_that_decide_nothing_but_the_order_within_a_second(simulate: Simulate, random: Random) -> None:
    market = any_market(random)
    strategy = random_strategy(random)
    asked = random_calls(random, market)
    fresh = random.sample(range(10**12), len(asked))
    new_ids: dict[int, int] = {}
    for time in {call.signal_timestamp for call in asked}:
        together = sorted(call.call_id for call in asked if call.signal_timestamp == time)
        new_ids |= dict(zip(together, sorted(fresh.pop() for _ in together), strict=True))
    renamed = [replace(call, call_id=new_ids[call.call_id]) for call in asked]

    def rename(trade: Trade) -> Trade:
        events = tuple(
            replace(
                event,
                call_id=new_ids[event.call_id],
                metadata={k: new_ids[v] if k.endswith("_call_id") else v for k, v in event.metadata.items()},
            )
            for event in trade.events
        )
        return replace(trade, call_id=new_ids[trade.call_id], events=events)

    expected = [rename(trade) for trade in simulate(market, asked, strategy)]
    assert texts(simulate(market, renamed, strategy)) == texts(expected)


def windows_of(random: Random, asked: Sequence[Call]) -> list[list[Call]]:
    """Return the calls by windows of time, as months part them: every call in exactly one."""
    times = sorted(call.signal_timestamp for call in asked)
    edges = [times[0], *sorted(random.choices(times, k=random.randint(0, 3))), times[-1] + 1]
    return [[call for call in asked if start <= call.signal_timestamp < end] for start, end in pairwise(edges)]


@on_both_engines
@many
@given(seeds())
def test_windows_that_report_their_own_calls_give_all_trades_once(simulate: Simulate, random: Random) -> None:
    market = any_market(random)
    strategy = random_strategy(random)
    asked = random_calls(random, market)
    whole = simulate(market, asked, strategy)
    parts = [
        trade
        for window in windows_of(random, asked)
        for trade in simulate(market, asked, strategy, report_call_ids={call.call_id for call in window})
    ]
    assert texts(parts) == texts(whole)


def candles_within_reach(market: Candles, calls: Sequence[Call], strategy: Strategy) -> Candles:
    """Return the candles from the warm-up of the first call to the horizon candle of the last."""
    acts_at = [call.signal_timestamp + strategy.costs.latency_seconds for call in calls]
    first, last = np.searchsorted(market.timestamp, [min(acts_at), max(acts_at)]).tolist()
    if last == len(market):
        return market.slice(max(first - warm_up_candles(strategy), 0), last)
    horizon = np.searchsorted(market.timestamp, market.timestamp[last] + strategy.horizon_seconds)
    return market.slice(max(first - warm_up_candles(strategy), 0), int(horizon) + 1)


@on_both_engines
@many
@given(seeds())
def test_windows_need_no_candles_beyond_warm_up_and_horizon(simulate: Simulate, random: Random) -> None:
    market = any_market(random)
    strategy = parse_strategy({**random_document(random), "overlap": "independent"})
    named = {operand.indicator for signal in strategy.signals() for operand in walk_indicators(signal)}
    if named & REMEMBER_EVERYTHING:
        # Equal to 1e-12 only; tests/workflows/test_window_split.py holds them to that.
        strategy = parse_strategy({"name": "plain", "entry": {"type": "immediate"}})
    asked = random_calls(random, market, only_entries=True)
    parts = [
        trade
        for window in windows_of(random, asked)
        if window
        for trade in simulate(candles_within_reach(market, window, strategy), window, strategy)
    ]
    assert texts(parts) == texts(simulate(market, asked, strategy))


def shares_of(pool: Executor, engine: str, seed: int, shares: int) -> dict[int, str]:
    """Return the trades of a case by call id, simulated in shares that the pool spreads over its workers."""
    parts = pool.map(simulate_share, [engine] * shares, [seed] * shares, range(shares), [shares] * shares)
    merged: dict[int, str] = {}
    for part in parts:
        assert not part.keys() & merged.keys()
        merged |= part
    return merged


def whole_of(engine: str, seed: int) -> dict[int, str]:
    case = random_case(Random(seed))  # noqa: S311 - cases, not secrets
    return {trade.call_id: as_text(trade) for trade in ENGINES[engine](case.market, case.calls, case.strategy)}


@pytest.mark.parametrize("engine", list(ENGINES))
def test_threads_that_share_the_calls_give_the_same_trades(engine: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        for seed in range(60):
            assert shares_of(pool, engine, seed, 4) == whole_of(engine, seed), f"Random({seed})"


@pytest.mark.slow
def test_processes_that_share_the_calls_give_the_same_trades() -> None:
    # Fresh interpreters (spawn): nothing is inherited, and each has its own seed of hashes.
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        for engine in ENGINES:
            for seed in range(20):
                assert shares_of(pool, engine, seed, 2) == whole_of(engine, seed), f"{engine}, Random({seed})"


@settings(many, max_examples=60)
@given(seeds())
def test_unrelated_tokens_change_nothing(random: Random) -> None:
    strategy = random_strategy(random)
    keys = [f"token-{k}" for k in range(4)]
    candles = {key: any_market(random) for key in keys}
    calls = {key: random_calls(random, candles[key]) for key in keys}
    (together,) = simulate_many(candles, calls, [strategy])
    for key in keys:
        (alone,) = simulate_many({key: candles[key]}, {key: calls[key]}, [strategy])
        assert texts(together.trades()[key]) == texts(alone.trades()[key])
        assert texts(alone.trades()[key]) == texts(ENGINES["reference"](candles[key], calls[key], strategy))
    # Tokens in another order, and one that has candles and no calls.
    order = random.sample(keys, 3)
    (fewer,) = simulate_many(
        {key: candles[key] for key in [*order, "idle"] if key in candles} | {"idle": candles[keys[0]]},
        {key: calls[key] for key in order},
        [strategy],
    )
    for key in order:
        assert texts(fewer.trades()[key]) == texts(together.trades()[key])
