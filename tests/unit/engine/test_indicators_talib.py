"""Indicators against TA-Lib, and where it has none against pandas; and why TA-Lib does not compute them here."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import pytest
import talib

from quantbot_pipeline.engine.candles import Candles, FloatArray
from quantbot_pipeline.engine.fast_indicators import compute_indicator_fast
from quantbot_pipeline.engine.indicators import compute_indicator

# The kernels are compiled by the first test where numba's cache is empty.
pytestmark = pytest.mark.timeout(900)

Outputs = Mapping[str, FloatArray]


def ordinary(n: int, seed: int = 3) -> Candles:
    """Return candles of a token near a price of 20 that moves by a percent a candle."""
    random = np.random.default_rng(seed)
    close = 20 * np.exp(np.cumsum(random.normal(0, 0.01, n)))
    open_ = np.concatenate([[20.0], close])[:n]
    high = np.maximum(open_, close) * (1 + random.uniform(0, 0.01, n))
    low = np.minimum(open_, close) * (1 - random.uniform(0, 0.01, n))
    return Candles(60, np.arange(n) * 60, open_, high, low, close, random.uniform(1, 9, n)).validate()


def flat(price: float, n: int = 600) -> Candles:
    """Return candles whose price does not move."""
    return Candles(60, np.arange(n) * 60, *[np.full(n, price)] * 4, np.ones(n))


def talib_bands(c: Candles, p: Mapping[str, float]) -> Outputs:
    upper, middle, lower = talib.BBANDS(c.close, int(p["period"]), p["deviations"], p["deviations"])
    return {
        "upper": upper,
        "middle": middle,
        "lower": lower,
        "percent_b": (c.close - lower) / (upper - lower),
        "bandwidth": (upper - lower) / middle,
    }


def talib_middle(c: Candles, period: float) -> FloatArray:
    middle: FloatArray = (talib.MAX(c.high, int(period)) + talib.MIN(c.low, int(period))) / 2
    return middle


def pandas_ichimoku(c: Candles, p: Mapping[str, float]) -> Outputs:
    high, low, back = pd.Series(c.high), pd.Series(c.low), int(p["displacement"])

    def middle(key: str) -> pd.Series:
        return (high.rolling(int(p[key])).max() + low.rolling(int(p[key])).min()) / 2

    return {
        "tenkan": middle("conversion").to_numpy(),
        "kijun": middle("base").to_numpy(),
        "senkou_a": ((middle("conversion") + middle("base")) / 2).shift(back).to_numpy(),
        "senkou_b": middle("span").shift(back).to_numpy(),
    }


def talib_ichimoku(c: Candles, p: Mapping[str, float]) -> Outputs:
    return {"tenkan": talib_middle(c, p["conversion"]), "kijun": talib_middle(c, p["base"])}


def pandas_vwma(c: Candles, p: Mapping[str, float]) -> Outputs:
    traded, volume = pd.Series(c.close * c.volume), pd.Series(c.volume)
    period = int(p["period"])
    return {"value": (traded.rolling(period).sum() / volume.rolling(period).sum()).to_numpy()}


YARDSTICKS: list[tuple[str, Mapping[str, float], Callable[[Candles, Mapping[str, float]], Outputs]]] = [
    *(("sma", {"period": k}, lambda c, p: {"value": talib.SMA(c.close, p["period"])}) for k in (2, 14, 20, 200)),
    *(("ema", {"period": k}, lambda c, p: {"value": talib.EMA(c.close, p["period"])}) for k in (2, 14, 200)),
    *(("rsi", {"period": k}, lambda c, p: {"value": talib.RSI(c.close, p["period"])}) for k in (2, 14, 50)),
    *(("atr", {"period": k}, lambda c, p: {"value": talib.ATR(c.high, c.low, c.close, p["period"])}) for k in (2, 14)),
    *(
        (
            "macd",
            {"fast": fast, "slow": slow, "signal": signal},
            lambda c, p: dict(
                zip(
                    ("line", "signal", "histogram"), talib.MACD(c.close, p["fast"], p["slow"], p["signal"]), strict=True
                )
            ),
        )
        for fast, slow, signal in ((12, 26, 9), (3, 10, 16))
    ),
    *(("bbands", {"period": k, "deviations": d}, talib_bands) for k, d in ((5, 2.0), (20, 2.0), (50, 1.5))),
    *(("highest", {"period": k}, lambda c, p: {"value": talib.MAX(c.high, p["period"])}) for k in (2, 52, 300)),
    *(("lowest", {"period": k}, lambda c, p: {"value": talib.MIN(c.low, p["period"])}) for k in (2, 52, 300)),
    *(("price_change", {"periods": k}, lambda c, p: {"value": talib.ROCP(c.close, p["periods"])}) for k in (1, 30)),
    *(("volume_change", {"periods": k}, lambda c, p: {"value": talib.ROCP(c.volume, p["periods"])}) for k in (1, 30)),
    ("ichimoku", {"conversion": 9, "base": 26, "span": 52, "displacement": 26}, talib_ichimoku),
    ("ichimoku", {"conversion": 9, "base": 26, "span": 52, "displacement": 26}, pandas_ichimoku),
    ("ichimoku", {"conversion": 3, "base": 2, "span": 30, "displacement": 0}, pandas_ichimoku),
    *(("vwma", {"period": k}, pandas_vwma) for k in (2, 20, 200)),
]


@pytest.mark.parametrize("compute", [compute_indicator, compute_indicator_fast], ids=["reference", "kernels"])
@pytest.mark.parametrize("n", [10, 60, 3000])
@pytest.mark.parametrize(("name", "params", "yardstick"), YARDSTICKS)
def test_indicators_agree_with_another_library(
    name: str,
    params: Mapping[str, float],
    yardstick: Callable[[Candles, Mapping[str, float]], Outputs],
    n: int,
    compute: Callable[[Candles, str, Mapping[str, float]], dict[str, FloatArray]],
) -> None:
    market = ordinary(n)
    found = compute(market, name, params)
    for field, expected in yardstick(market, params).items():
        assert np.isnan(found[field]).tolist() == np.isnan(expected).tolist()
        # 1e-12 of the price is what rounding leaves of a difference that is near 0.
        np.testing.assert_allclose(found[field], expected, rtol=1e-9, atol=2e-11, equal_nan=True)


def test_averages_stand_still_where_talib_s_drift() -> None:
    """TA-Lib carries its sums along: ten closes of 0.1 sum to less than 1, so the token is above its own average."""
    market = flat(0.1)
    assert (talib.SMA(market.close, 10)[9:] != market.close[9:]).any()
    ours = compute_indicator_fast(market, "sma", {"period": 10})["value"][9:]
    assert (ours == market.close[9:]).all()


def test_averages_keep_their_digits_after_a_millionfold_fall() -> None:
    close = np.concatenate([np.full(50, 1.0), np.full(50, 1.1e-6)])
    market = Candles(60, np.arange(100) * 60, close, close, close, close, np.ones(100))
    ours = compute_indicator_fast(market, "sma", {"period": 10})["value"]
    assert (ours[60:] == 1.1e-6).all()
    assert (np.abs(talib.SMA(close, 10)[60:] / 1.1e-6 - 1) > 1e-11).all()


@pytest.mark.parametrize("scale", [1.0, 1e-15, 1e-100])
def test_strength_of_tiny_prices_is_that_of_others(scale: float) -> None:
    """Older versions of TA-Lib took movements below 1e-14 for none."""
    zigzag = np.where(np.arange(100) % 2, 2.0, 1.0) * scale
    tiny = Candles(60, np.arange(100) * 60, *[zigzag] * 4, np.ones(100))
    ours = compute_indicator_fast(tiny, "rsi", {"period": 14})["value"]
    np.testing.assert_allclose(ours, talib.RSI(zigzag, 14), rtol=1e-9, equal_nan=True)


def test_strength_is_not_forgotten_on_a_long_flat_stretch() -> None:
    moved_once = np.where(np.arange(900) < 20, np.arange(900) * 0.01 + 1.0, 1.2)
    calm = Candles(60, np.arange(900) * 60, *[moved_once] * 4, np.ones(900))
    assert compute_indicator_fast(calm, "rsi", {"period": 14})["value"][-1] == 100


@pytest.mark.parametrize("function", [talib.RSI, talib.MAX, talib.MIN, talib.BBANDS], ids=lambda f: f.__name__)
def test_talib_does_not_know_every_period_that_a_strategy_may_ask_for(function: Callable[..., object]) -> None:
    with pytest.raises(Exception, match="Bad Parameter"):
        function(ordinary(50).close, 1)


@pytest.mark.parametrize("power", [-40, 40])
@pytest.mark.parametrize(
    ("name", "params", "field"),
    [
        ("sma", {"period": 7}, "value"),
        ("ema", {"period": 7}, "value"),
        ("atr", {"period": 7}, "value"),
        ("macd", {"fast": 3, "slow": 7, "signal": 4}, "histogram"),
        ("bbands", {"period": 7, "deviations": 1.5}, "upper"),
        ("ichimoku", {"conversion": 3, "base": 7, "span": 9, "displacement": 2}, "senkou_a"),
    ],
)
def test_scaling_all_prices_by_a_power_of_two_scales_the_values(
    name: str, params: Mapping[str, float], field: str, power: int
) -> None:
    market = ordinary(500)
    factor = 2.0**power
    prices = [values * factor for values in (market.open, market.high, market.low, market.close)]
    scaled = Candles(60, market.timestamp, *prices, market.volume)
    expected = compute_indicator_fast(market, name, params)[field] * factor
    assert compute_indicator_fast(scaled, name, params)[field].tobytes() == expected.tobytes()
