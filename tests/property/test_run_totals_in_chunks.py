"""Metrics of a run that comes in chunks are those of the run at once, to the last bit, whatever the chunks."""

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from strategy_space import random_calls, random_market, random_strategy, seeds

from quantbot_pipeline.engine import run_totals
from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.engine.events import Trade
from quantbot_pipeline.engine.fast import iterate_runs
from quantbot_pipeline.engine.metrics import run_metrics
from quantbot_pipeline.engine.prepared_markets import PreparedMarkets
from quantbot_pipeline.engine.reference import simulate_reference
from quantbot_pipeline.engine.run_totals import RunTotals, ValueChanges

# The kernels are compiled by the first test where numba's cache is empty.
pytestmark = pytest.mark.timeout(900)

many = settings(max_examples=300, deadline=None, derandomize=True)

YEAR_SECONDS = 365 * 86_400


def moved(market: Candles, seconds: int, scale: int, jitter: int, random: Random) -> Candles:
    """Return candles of another interval and phase; with jitter a gap leads off every grid of more than a second."""
    timestamp = market.timestamp * scale + seconds
    if jitter:
        timestamp[random.randint(0, len(timestamp)) :] += jitter
    return Candles(
        market.interval_seconds * scale, timestamp, market.open, market.high, market.low, market.close, market.volume
    ).validate()


def random_tokens(random: Random) -> list[tuple[Candles, list[Call]]]:
    """Return candles and calls of some tokens: of one grid, of several, of none, together or years apart."""
    kind = random.choice(["one grid", "intervals", "phases", "jitter", "years", "all"])
    # Sums differ by their order only where several trades of several tokens are open at one close.
    is_crowded = random.random() < 0.5
    tokens = []
    for token in range(random.randint(1, 6)):
        years = random.choice([0, 0, 10]) * YEAR_SECONDS if kind in ("years", "all") else 0
        market = moved(
            random_market(random, candles=40 if is_crowded else None),
            years + (random.randint(0, 90) if kind in ("phases", "all") else 0),
            random.choice([1, 5, 60]) if kind in ("intervals", "all") else 1,
            random.randint(0, 7) if kind in ("jitter", "all") else 0,
            random,
        )
        calls = [
            Call(100 * token + call.call_id, call.caller_id, call.signal_timestamp, call.signal_type, call.side)
            for call in random_calls(random, market, only_entries=is_crowded)
        ]
        tokens.append((market, calls))
    return tokens


def random_chunks(random: Random, tokens: int) -> list[range]:
    """Return neighbouring tokens in chunks; some are empty."""
    cuts = sorted(random.choices(range(tokens + 1), k=random.randint(0, 4)))
    return [range(begin, end) for begin, end in zip([0, *cuts], [*cuts, tokens], strict=True)]


def change_limits(random: Random, patch: pytest.MonkeyPatch) -> None:
    """Let small cases do what large ones do: leave the grid, return to it, and work in batches and blocks."""
    patch.setattr(run_totals, "SMALL_GRID", random.choice([0, 0, 50, 2**18]))
    patch.setattr(run_totals, "LARGEST_GRID", random.choice([0, 100, 8_000_000]))
    patch.setattr(run_totals, "SLOTS_PER_MARK", random.choice([1, 4]))
    patch.setattr(run_totals, "MARKS_PER_BATCH", random.choice([1, 30, 2**20]))
    patch.setattr(run_totals, "CLOSES_PER_BLOCK", random.choice([1, 7, 2**15]))


@many
@given(seeds())
def test_chunks_change_no_metric_of_either_engine(random: Random) -> None:
    tokens = random_tokens(random)
    strategy = random_strategy(random)
    trades = [simulate_reference(market, calls, strategy) for market, calls in tokens]
    expected = run_metrics([trade for of_token in trades for trade in of_token])
    fast, reference, mixed = RunTotals(), RunTotals(), RunTotals()
    with pytest.MonkeyPatch.context() as patch:
        change_limits(random, patch)
        for chunk in random_chunks(random, len(tokens)):
            markets = PreparedMarkets({k: tokens[k][0] for k in chunk}, {k: tokens[k][1] for k in chunk})
            (run,) = iterate_runs(markets, [strategy], threads=random.choice([1, 2]), trace=False)
            fast.add(run)
            of_chunk = [trade for k in chunk for trade in trades[k]]
            reference.add_trades(of_chunk)
            if random.random() < 0.5:
                mixed.add(run)
            else:
                mixed.add_trades(of_chunk)
            if random.random() < 0.2:
                # Asking in between changes nothing.
                fast.metrics()
        assert fast.metrics() == expected
        assert reference.metrics() == expected
        assert mixed.metrics() == expected


@many
@given(seeds())
def test_forms_of_closes_change_no_metric_of_a_run_at_once(random: Random) -> None:
    tokens = random_tokens(random)
    strategy = random_strategy(random)
    markets = PreparedMarkets(
        {k: market for k, (market, _) in enumerate(tokens)}, {k: calls for k, (_, calls) in enumerate(tokens)}
    )
    expected = run_metrics([trade for market, calls in tokens for trade in simulate_reference(market, calls, strategy)])
    with pytest.MonkeyPatch.context() as patch:
        change_limits(random, patch)
        (run,) = iterate_runs(markets, [strategy], trace=False)
        assert run.metrics() == expected


def sums_one_by_one(trades: list[Trade]) -> tuple[dict[int, float], dict[int, float]]:
    """Return the changes of value by close and by day, added trade after trade."""
    closes: dict[int, float] = {}
    days: dict[int, float] = {}
    for trade in trades:
        before = 0.0
        lasts: dict[int, float] = {}
        for timestamp, value in zip(trade.mark_timestamp.tolist(), trade.mark_value.tolist(), strict=True):
            close = timestamp + trade.interval_seconds
            closes[close] = closes.get(close, 0.0) + (value - before)
            before = lasts[timestamp // 86_400] = value
        before = 0.0
        for day, value in lasts.items():
            days[day] = days.get(day, 0.0) + (value - before)
            before = value
    return closes, days


def without_zeros(times: list[int], sums: list[float]) -> dict[int, float]:
    return {time: value for time, value in zip(times, sums, strict=True) if value}


@many
@given(seeds())
def test_every_sum_runs_in_the_order_of_the_trades(random: Random) -> None:
    """A drawdown hides sums that round differently, or stand at another close, away from its peak and trough."""
    tokens = random_tokens(random)
    strategy = random_strategy(random)
    trades = [simulate_reference(market, calls, strategy) for market, calls in tokens]
    closes, days = sums_one_by_one([trade for of_token in trades for trade in of_token])
    fast, reference = ValueChanges(), ValueChanges()
    with pytest.MonkeyPatch.context() as patch:
        change_limits(random, patch)
        for chunk in random_chunks(random, len(tokens)):
            markets = PreparedMarkets({k: tokens[k][0] for k in chunk}, {k: tokens[k][1] for k in chunk})
            (run,) = iterate_runs(markets, [strategy], trace=False)
            run.marked.add_to(fast, run.results.done_at)
            reference.add_trades([trade for k in chunk for trade in trades[k]])
    for changes in (fast, reference):
        if not closes:
            assert len(changes.close_sums) == len(changes.day_sums) == 0
            continue
        first_day = changes.extent.first_day
        day_numbers = list(range(first_day, changes.extent.last_day + 1))
        assert without_zeros(changes.closes_at.tolist(), changes.close_sums.tolist()) == without_zeros(
            list(closes), list(closes.values())
        )
        assert without_zeros(day_numbers, changes.day_sums.tolist()) == without_zeros(list(days), list(days.values()))


def test_long_trades_with_few_gaps_change_no_metric() -> None:
    """Pieces without a gap are added by another loop than candles with gaps, and long ones several at a time."""
    for seed in range(60):
        random = Random(seed)  # noqa: S311 - cases, not secrets
        market = random_market(random, candles=2000)
        numbers = np.random.default_rng(seed)
        is_gap = numbers.random(2000) < random.choice([0, 0.0005, 0.002, 0.02])
        steps = np.where(is_gap, 60 * numbers.integers(2, 900, 2000) + random.choice([0, 0, 7]), 60)
        market = Candles(
            60, np.cumsum(steps), *(getattr(market, name) for name in ("open", "high", "low", "close", "volume"))
        )
        calls = random_calls(random, market, only_entries=True)
        strategy = random_strategy(random)
        (run,) = iterate_runs(PreparedMarkets({0: market}, {0: calls}), [strategy], trace=False)
        assert run.metrics() == run_metrics(simulate_reference(market, calls, strategy))
