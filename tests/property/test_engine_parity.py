"""The fast engine gives the reference engine's trades, events and metrics, to the last bit, whatever is asked of it."""

from dataclasses import replace
from random import Random
from unittest import mock

import pytest
from engines import as_text
from hypothesis import given, settings
from strategy_space import any_market, calm_market, random_calls, random_strategy, seeds

from quantbot_pipeline.engine import simulation_work
from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.engine.events import Trade
from quantbot_pipeline.engine.events_table import events_to_arrow
from quantbot_pipeline.engine.fast import iterate_runs, simulate_fast, simulate_many
from quantbot_pipeline.engine.metrics import run_metrics
from quantbot_pipeline.engine.prepared_markets import PreparedMarkets
from quantbot_pipeline.engine.reference import simulate_reference
from quantbot_pipeline.strategy.model import Strategy

# The kernels are compiled by the first test where numba's cache is empty: about a minute, more on a busy machine.
pytestmark = pytest.mark.timeout(900)

many = settings(max_examples=400, deadline=None, derandomize=True)
DEEP_CASES = 20_000


def check_parity(random: Random, market: Candles) -> None:
    """Draw a strategy and calls; require the same trades, event table and metrics of both engines."""
    strategy = random_strategy(random)
    asked = random_calls(random, market)
    expected = simulate_reference(market, asked, strategy)
    (run,) = simulate_many({"token": market}, {"token": asked}, [strategy])
    found = run.trades()["token"]
    assert [as_text(trade) for trade in found] == [as_text(trade) for trade in expected]
    table, expected_table = run.events_table(), events_to_arrow(expected)
    assert table.schema == expected_table.schema
    # As text: NaN is the same as NaN.
    assert repr(table.to_pylist()) == repr(expected_table.to_pylist())
    assert run.metrics() == run_metrics(expected)


@many
@given(seeds())
def test_both_engines_give_the_same_bits(random: Random) -> None:
    check_parity(random, any_market(random))


@settings(many, max_examples=150)
@given(seeds())
def test_both_engines_give_the_same_bits_where_little_happens(random: Random) -> None:
    check_parity(random, calm_market(random))


@pytest.mark.deep
@pytest.mark.slow
def test_both_engines_give_the_same_bits_in_many_cases() -> None:
    for seed in range(DEEP_CASES):
        try:
            random = Random(seed)  # noqa: S311 - cases, not secrets
            check_parity(random, calm_market(random) if seed % 4 == 0 else any_market(random))
        except AssertionError as error:
            raise AssertionError(f"the case of Random({seed}) differs") from error


def _markets_of(random: Random) -> tuple[dict[str, Candles], dict[str, list[Call]]]:
    candles = {f"token-{k}": any_market(random) for k in range(random.randint(1, 4))}
    calls: dict[str, list[Call]] = {}
    for key, market in candles.items():
        first_id = 100 * len(calls)
        calls[key] = [replace(call, call_id=first_id + call.call_id) for call in random_calls(random, market)]
    return candles, calls


def _reference_of(
    candles: dict[str, Candles], calls: dict[str, list[Call]], strategy: Strategy, reported: set[int] | None
) -> list[Trade]:
    return [
        trade
        for key, market in candles.items()
        for trade in simulate_reference(market, calls[key], strategy, report_call_ids=reported)
    ]


@many
@given(seeds())
def test_many_tokens_strategies_and_threads_change_nothing(random: Random) -> None:
    candles, calls = _markets_of(random)
    strategies = [random_strategy(random) for _ in range(random.randint(1, 3))]
    ids = [call.call_id for asked in calls.values() for call in asked]
    reported = None if random.random() < 0.5 else set(random.sample(ids, len(ids) // 2))
    threads = random.choice([1, 2, 5])
    # Pieces of one call: otherwise so few calls would never be parted.
    with mock.patch.object(simulation_work, "CALLS_PER_PIECE", 1):
        runs = simulate_many(candles, calls, strategies, threads=threads, report_call_ids=reported)
    for strategy, run in zip(strategies, runs, strict=True):
        expected = _reference_of(candles, calls, strategy, reported)
        found = [trade for of_token in run.trades().values() for trade in of_token]
        assert [as_text(trade) for trade in found] == [as_text(trade) for trade in expected]
        assert run.metrics() == run_metrics(expected)


@many
@given(seeds())
def test_metrics_are_the_same_without_events(random: Random) -> None:
    candles, calls = _markets_of(random)
    strategies = [random_strategy(random) for _ in range(3)]
    runs = iterate_runs(PreparedMarkets(candles, calls), strategies, trace=False)
    for strategy, run in zip(strategies, runs, strict=True):
        assert run.metrics() == run_metrics(_reference_of(candles, calls, strategy, None))


@many
@given(seeds())
def test_simulate_fast_takes_the_place_of_the_reference(random: Random) -> None:
    market = any_market(random)
    strategy = random_strategy(random)
    asked = random_calls(random, market)
    reported = {call.call_id for call in asked[::2]}
    found = simulate_fast(market, random.sample(asked, len(asked)), strategy, report_call_ids=reported)
    expected = simulate_reference(market, asked, strategy, report_call_ids=reported)
    assert [as_text(trade) for trade in found] == [as_text(trade) for trade in expected]
