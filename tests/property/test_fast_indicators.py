"""The kernels' indicators are those of the reference, to the last bit; and neither looks at anything it may not."""

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from strategy_space import seeds

from quantbot_pipeline.engine.candles import Candles, FloatArray
from quantbot_pipeline.engine.fast_indicators import addresses_of, compute_indicator_fast, compute_on_markets
from quantbot_pipeline.engine.indicators import compute_indicator, indicator_warm_up
from quantbot_pipeline.engine.kernels.market import MARKET_COLUMNS
from quantbot_pipeline.strategy.indicator_catalogue import INDICATORS

# The kernels are compiled by the first test where numba's cache is empty.
pytestmark = pytest.mark.timeout(900)

many = settings(max_examples=400, deadline=None, derandomize=True)


def any_candles(random: Random) -> Candles:
    """Return candles of every kind: wild, flat, tiny, huge, falling a millionfold, without volume, or none at all."""
    n = random.choice([0, 1, 2, 5, 30, 100, 100, 700, 1600])
    numbers = np.random.default_rng(random.getrandbits(64))
    steps = numbers.normal(0, random.choice([0.001, 0.05, 0.5]), n)
    # Stretches without any movement.
    steps[numbers.random(n) < random.choice([0.0, 0.5, 0.97])] = 0.0
    if n and random.random() < 0.3:
        steps[random.randrange(n)] = random.choice([-14.0, 14.0])
    close = random.choice([1e-14, 1e-6, 0.1, 1.0, 7e4, 1e12]) * np.exp(np.cumsum(np.clip(steps, -14, 14)))
    if random.random() < 0.2:
        close = np.full(n, random.choice([0.1, 0.3, 1.8e-12, 7.7e5]))
    open_ = np.concatenate([close[:1], close[:-1]])
    spread = random.choice([0.0, 0.01, 0.3])
    high = np.maximum(open_, close) * (1 + numbers.uniform(0, spread, n))
    low = np.minimum(open_, close) * (1 - numbers.uniform(0, spread, n))
    volume = np.where(numbers.random(n) < random.choice([0.0, 0.5, 1.0]), 0.0, numbers.uniform(0, 1e6, n))
    return Candles(60, np.arange(n, dtype=np.int64) * 60, open_, high, low, close, volume).validate()


def any_indicator(random: Random) -> tuple[str, dict[str, float]]:
    """Return an indicator and its parameters, from period 1 to some hundreds."""
    name = random.choice(list(INDICATORS))
    params: dict[str, float] = {
        key: random.choice([0.5, 1.0, 2.0, 2.7])
        if key == "deviations"
        else random.choice([1, 1, 2, 3, 4, 5, 7, 8, 14, 20, 31, 32, 33, 200, 600]) - (key == "displacement")
        for key in INDICATORS[name].parameters
    }
    if name == "macd":
        params["slow"] = params["fast"] + random.choice([1, 2, 14])
    return name, params


def as_bits(values: FloatArray) -> bytes:
    """Return the bits of all values, with one kind of NaN."""
    return np.where(np.isnan(values), np.nan, values).tobytes()


@many
@given(seeds())
def test_kernels_give_the_bits_of_the_reference(random: Random) -> None:
    market = any_candles(random)
    name, params = any_indicator(random)
    expected, found = compute_indicator(market, name, params), compute_indicator_fast(market, name, params)
    assert list(found) == list(expected)
    for field, values in expected.items():
        assert as_bits(found[field]) == as_bits(values), (name, params, field)


@many
@given(seeds())
def test_values_of_a_range_are_those_of_the_whole(random: Random) -> None:
    """Candles after a range, and before the window of its first value, are not read at all: they are NaN here."""
    name, params = any_indicator(random)
    markets = [any_candles(random) for _ in range(random.randint(1, 3))]
    cuts = [sorted(random.randint(0, len(market)) for _ in range(2)) for market in markets]
    begins, ends = (np.array([cut[side] for cut in cuts], dtype=np.int64) for side in (0, 1))
    hidden = []
    for market, (begin, end) in zip(markets, cuts, strict=True):
        columns = []
        is_recursive = name in ("ema", "macd", "rsi", "atr")
        read_from = 0 if is_recursive else max(begin - indicator_warm_up(name, params), 0)
        for values in (market.open, market.high, market.low, market.close, market.volume):
            seen = np.full(len(values), np.nan)
            seen[read_from:end] = values[read_from:end]
            columns.append(seen)
        hidden.append(Candles(60, market.timestamp, *columns))
    addresses = np.array([addresses_of(market) for market in hidden], dtype=np.int64).reshape(-1, MARKET_COLUMNS)
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(ends - begins)])
    found = compute_on_markets(addresses, name, params, begins, ends, offsets)
    for t, market in enumerate(markets):
        expected = compute_indicator(market, name, params)
        for row, values in zip(found, expected.values(), strict=True):
            part = row[offsets[t] : offsets[t + 1]]
            assert as_bits(part) == as_bits(values[begins[t] : ends[t]]), (name, params)


@many
@given(seeds())
def test_cutting_candles_changes_no_value_before_the_cut(random: Random) -> None:
    market = any_candles(random)
    name, params = any_indicator(random)
    cut = random.randint(0, len(market))
    for compute in (compute_indicator, compute_indicator_fast):
        whole, part = compute(market, name, params), compute(market.slice(0, cut), name, params)
        for field, values in part.items():
            assert as_bits(values) == as_bits(whole[field][:cut]), (name, params, field)
