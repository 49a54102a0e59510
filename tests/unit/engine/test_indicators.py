"""Indicators, of the reference and of the kernels, against hand-worked values and a second, naive implementation."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from engine_cases import candles

from quantbot_pipeline.engine.candles import Candles, FloatArray
from quantbot_pipeline.engine.fast_indicators import compute_indicator_fast
from quantbot_pipeline.engine.indicators import compute_indicator, indicator_warm_up
from quantbot_pipeline.errors import SimulationError

NAN = math.nan

Compute = Callable[[Candles, str, Mapping[str, float]], dict[str, FloatArray]]

# The kernels are compiled by the first test where numba's cache is empty.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(params=[compute_indicator, compute_indicator_fast], ids=["reference", "kernels"])
def compute(request: pytest.FixtureRequest) -> Compute:
    """Both implementations of the project."""
    implementation: Compute = request.param
    return implementation


def closes(*values: float) -> Candles:
    """Return candles whose four prices are all the given closes."""
    return candles(*[[60 * k, value, value, value, value] for k, value in enumerate(values)])


def wild(n: int) -> Candles:
    """Return n random candles."""
    random = np.random.default_rng(7)
    close = np.exp(np.cumsum(random.normal(0, 0.1, n)))
    open_ = np.concatenate([[1.0], close[:-1]])
    high, low = np.maximum(open_, close) * 1.01, np.minimum(open_, close) * 0.98
    return Candles(60, np.arange(n) * 60, open_, high, low, close, random.choice([0.0, 1.0, 5.0], n))


def check(values: np.ndarray, expected: list[float]) -> None:
    np.testing.assert_allclose(values, expected, rtol=1e-12, equal_nan=True)


def test_sma_is_known_from_its_period_on(compute: Compute) -> None:
    check(compute(closes(1, 2, 3, 6), "sma", {"period": 3})["value"], [NAN, NAN, 2, 11 / 3])


def test_ema_is_seeded_with_the_mean(compute: Compute) -> None:
    # k = 1/2: seed (1+2+3)/3 = 2; then (6 - 2)/2 + 2 = 4; (0.. 2 - 4)/2 + 4 = 3.
    check(compute(closes(1, 2, 3, 6, 2), "ema", {"period": 3})["value"], [NAN, NAN, 2, 4, 3])


def test_vwma_weighs_by_volume_and_is_unknown_without_any(compute: Compute) -> None:
    market = candles([0, 1, 1, 1, 1, 3], [60, 5, 5, 5, 5, 1], [120, 7, 7, 7, 7, 0], [180, 7, 7, 7, 7, 0])
    # (1·3 + 5·1) / 4 = 2; (5·1 + 0) / 1 = 5; no volume.
    check(compute(market, "vwma", {"period": 2})["value"], [NAN, 2, 5, NAN])


def test_rsi_is_wilder_s(compute: Compute) -> None:
    # Changes +1 -1 +2: seed gain 1/2, loss 1/2: 50. Then gain (1/2 + 2)/2 = 5/4, loss 1/4: 100·5/6.
    check(compute(closes(2, 3, 2, 4), "rsi", {"period": 2})["value"], [NAN, NAN, 50, 100 * 5 / 6])


def test_rsi_without_movement_is_zero_and_without_falls_is_100(compute: Compute) -> None:
    assert compute(closes(2, 2, 2), "rsi", {"period": 2})["value"][-1] == 0
    assert compute(closes(2, 3, 4), "rsi", {"period": 2})["value"][-1] == 100


def test_rsi_of_a_token_worth_1e_15_is_the_same(compute: Compute) -> None:
    tiny = compute(closes(2e-15, 3e-15, 2e-15, 4e-15), "rsi", {"period": 2})["value"]
    check(tiny[2:], [50, 100 * 5 / 6])


def test_macd_averages_end_their_seeds_together(compute: Compute) -> None:
    values = compute(closes(1, 2, 4, 8, 4), "macd", {"fast": 2, "slow": 3, "signal": 2})
    # Slow (k 1/2): seed (1+2+4)/3 = 7/3 at 2, then (8 - 7/3)/2 + 7/3 = 31/6, then 55/12.
    # Fast (k 2/3): seed (2+4)/2 = 3 at 2, not at 1; then (8 - 3)·2/3 + 3 = 19/3, then 43/9.
    # Line at 2, 3, 4: 2/3, 7/6, 7/36; signal (k 2/3): mean 11/12 at 3; then (7/36 - 11/12)·2/3 + 11/12 = 47/108.
    check(values["line"], [NAN, NAN, NAN, 7 / 6, 7 / 36])
    check(values["signal"], [NAN, NAN, NAN, 11 / 12, 47 / 108])
    check(values["histogram"], [NAN, NAN, NAN, 1 / 4, 7 / 36 - 47 / 108])


def test_bbands_use_the_population_deviation(compute: Compute) -> None:
    values = compute(closes(1, 3, 3), "bbands", {"period": 2, "deviations": 2})
    # Mean 2, deviation 1; then mean 3, deviation 0.
    check(values["middle"], [NAN, 2, 3])
    check(values["upper"], [NAN, 4, 3])
    check(values["lower"], [NAN, 0, 3])
    check(values["percent_b"], [NAN, 0.75, NAN])
    check(values["bandwidth"], [NAN, 2, 0])


def test_atr_begins_with_the_second_candle(compute: Compute) -> None:
    market = candles([0, 1, 9, 1, 2], [60, 2, 4, 2, 3], [120, 5, 6, 5, 6], [180, 6, 6, 2, 2])
    # True ranges: 2 (4-2), 3 (6-3), 4 (6-2). Seed (2+3)/2 = 2.5 at 2; then (2.5 + 4)/2 = 3.25.
    check(compute(market, "atr", {"period": 2})["value"], [NAN, NAN, 2.5, 3.25])


def test_ichimoku_spans_are_those_computed_displacement_candles_earlier(compute: Compute) -> None:
    market = closes(1, 3, 5, 2)
    values = compute(market, "ichimoku", {"conversion": 1, "base": 2, "span": 3, "displacement": 1})
    check(values["tenkan"], [1, 3, 5, 2])
    check(values["kijun"], [NAN, 2, 4, 3.5])
    check(values["senkou_a"], [NAN, NAN, 2.5, 4.5])
    check(values["senkou_b"], [NAN, NAN, NAN, 3])


def test_changes_and_extremes(compute: Compute) -> None:
    market = candles([0, 1, 2, 1, 1, 0], [60, 1, 4, 0.5, 2, 5], [120, 2, 3, 2, 3, 10])
    check(compute(market, "price_change", {"periods": 2})["value"], [NAN, NAN, 2])
    # A change from no volume is not defined.
    check(compute(market, "volume_change", {"periods": 1})["value"], [NAN, NAN, 1])
    check(compute(market, "highest", {"period": 2})["value"], [NAN, 4, 4])
    check(compute(market, "lowest", {"period": 2})["value"], [NAN, 0.5, 0.5])


def test_unknown_indicator_is_refused(compute: Compute) -> None:
    with pytest.raises(SimulationError, match="'hull' is unknown"):
        compute(closes(1), "hull", {})


def naive(market: Candles, name: str, params: dict[str, float]) -> dict[str, list[float]]:
    """Compute an indicator value by value from its definition, slowly."""
    close, high, low, volume = (getattr(market, column).tolist() for column in ("close", "high", "low", "volume"))
    n = len(close)

    def window(values: list[float], i: int, period: int) -> list[float]:
        return values[i - period + 1 : i + 1]

    def rolling(values: list[float], period: int, of: object) -> list[float]:
        return [of(window(values, i, period)) if i >= period - 1 else NAN for i in range(n)]  # type: ignore[operator]

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    def smooth(values: list[float], first: int, period: int, k: float) -> list[float]:
        """Exponential average whose seed, the mean of `period` values from `first`, stands at its end."""
        result = [NAN] * n
        for i in range(first + period - 1, n):
            if i == first + period - 1:
                result[i] = mean(values[first : i + 1])
            else:
                result[i] = k * values[i] + (1 - k) * result[i - 1]
        return result

    period = int(params.get("period", params.get("periods", 1)))
    if name == "sma":
        return {"value": rolling(close, period, mean)}
    if name == "ema":
        return {"value": smooth(close, 0, period, 2 / (period + 1))}
    if name == "rsi":
        up = [NAN] + [max(close[i] - close[i - 1], 0) for i in range(1, n)]
        down = [NAN] + [max(close[i - 1] - close[i], 0) for i in range(1, n)]
        gain, loss = smooth(up, 1, period, 1 / period), smooth(down, 1, period, 1 / period)
        return {
            "value": [100 - 100 / (1 + g / d) if d else (100.0 if g else NAN) for g, d in zip(gain, loss, strict=True)]
        }
    if name == "atr":
        ranges = [NAN] + [max(high[i], close[i - 1]) - min(low[i], close[i - 1]) for i in range(1, n)]
        return {"value": smooth(ranges, 1, period, 1 / period)}
    if name == "macd":
        fast, slow, signal = int(params["fast"]), int(params["slow"]), int(params["signal"])
        quick = smooth(close, slow - fast, fast, 2 / (fast + 1))
        line = [a - b for a, b in zip(quick, smooth(close, 0, slow, 2 / (slow + 1)), strict=True)]
        average = smooth(line, slow - 1, signal, 2 / (signal + 1))
        known = [a if not math.isnan(s) else NAN for a, s in zip(line, average, strict=True)]
        return {"line": known, "signal": average, "histogram": [a - s for a, s in zip(known, average, strict=True)]}
    if name == "bbands":
        middle = rolling(close, period, mean)
        width = [params["deviations"] * d for d in rolling(close, period, np.std)]
        return {
            "upper": [m + w for m, w in zip(middle, width, strict=True)],
            "lower": [m - w for m, w in zip(middle, width, strict=True)],
            "percent_b": [(c - m + w) / (2 * w) for c, m, w in zip(close, middle, width, strict=True)],
            "bandwidth": [2 * w / m for m, w in zip(middle, width, strict=True)],
        }
    if name == "vwma":
        return {
            "value": [
                sum(c * v for c, v in zip(window(close, i, period), window(volume, i, period), strict=True))
                / sum(window(volume, i, period))
                if i >= period - 1 and sum(window(volume, i, period))
                else NAN
                for i in range(n)
            ]
        }
    if name == "ichimoku":
        conversion, base, span, back = (int(params[key]) for key in ("conversion", "base", "span", "displacement"))

        def middle_of(length: int, i: int) -> float:
            if i < length - 1:
                return NAN
            return (max(window(high, i, length)) + min(window(low, i, length))) / 2

        return {
            "tenkan": [middle_of(conversion, i) for i in range(n)],
            "kijun": [middle_of(base, i) for i in range(n)],
            "senkou_a": [(middle_of(conversion, i - back) + middle_of(base, i - back)) / 2 for i in range(n)],
            "senkou_b": [middle_of(span, i - back) for i in range(n)],
        }
    if name == "highest":
        return {"value": rolling(high, period, max)}
    return {"value": rolling(low, period, min)}


@pytest.mark.parametrize("n", [0, 1, 13, 14, 15, 40, 200])
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("sma", {"period": 14}),
        ("ema", {"period": 14}),
        ("rsi", {"period": 14}),
        ("atr", {"period": 14}),
        ("macd", {"fast": 12, "slow": 26, "signal": 9}),
        ("bbands", {"period": 20, "deviations": 2.0}),
        ("vwma", {"period": 3}),
        ("ichimoku", {"conversion": 9, "base": 26, "span": 52, "displacement": 26}),
        ("highest", {"period": 7}),
        ("lowest", {"period": 13}),
    ],
)
def test_indicators_agree_with_a_naive_implementation(
    name: str, params: dict[str, float], n: int, compute: Compute
) -> None:
    market = wild(n)
    values = compute(market, name, params)
    for field, expected in naive(market, name, params).items():
        np.testing.assert_allclose(values[field], expected, rtol=1e-9, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("ema", {"period": 14}),
        ("rsi", {"period": 14}),
        ("atr", {"period": 14}),
        ("macd", {"fast": 12, "slow": 26, "signal": 9}),
        ("bbands", {"period": 20, "deviations": 2.0}),
        ("ichimoku", {"conversion": 9, "base": 26, "span": 52, "displacement": 26}),
    ],
)
def test_warm_up_leaves_nothing_of_earlier_candles(name: str, params: dict[str, float], compute: Compute) -> None:
    market = wild(1500)
    first = len(market) - 1 - indicator_warm_up(name, params)
    whole = compute(market, name, params)
    part = compute(market.slice(first, len(market)), name, params)
    for field, values in whole.items():
        assert part[field][-1] == pytest.approx(values[-1], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("price", [0.1, 0.3, 1.8e-12, 7.7e5, 2.1])
def test_averages_of_equal_closes_are_that_close_to_the_last_bit(price: float, compute: Compute) -> None:
    """A sum of equal closes divided by their number was an ulp off: dead-flat tokens then crossed their averages."""
    flat = closes(*[price] * 40)
    volume = np.random.default_rng(5).uniform(0.1, 9.0, len(flat))
    flat = Candles(60, flat.timestamp, flat.open, flat.high, flat.low, flat.close, volume)
    for name in ("sma", "ema", "vwma"):
        for period in (5, 6, 14, 20):
            values = compute(flat, name, {"period": period})["value"][period - 1 :]
            assert set(values.tolist()) == {price}, (name, period)
    bands = compute(flat, "bbands", {"period": 6, "deviations": 1.0})
    assert np.isnan(bands["percent_b"]).all()
    assert (bands["bandwidth"][5:] == 0).all()
