"""Indicators on candles, in TA-Lib's conventions of seeding and warm-up.

Every function takes and returns float64 arrays of one value per candle, oldest first; a value that isn't
known yet (warm-up) or isn't defined (division by zero) is NaN. Value i depends on candles 0 … i only, and is
computed by the same operations in the same order however many candles follow, so cutting the candles changes
no bit.

Two rules differ from TA-Lib's code on purpose: nothing is compared with a fixed epsilon (TA-Lib takes price
changes below 1e-14 for none, which is wrong for tokens priced at 1e-12), and a sum over a window is made of the
window's values alone instead of carried along (a carried sum loses the digits of a price that fell a
millionfold).

These are the readable ones: the reference engine computes by them, and the fast engine's kernels
(`quantbot_pipeline.engine.kernels.indicators`) do the same operations in the same order.

Source: TA-Lib's C code, `ta_SMA.c`, `ta_EMA.c`, `ta_MACD.c`, `ta_RSI.c`, `ta_ATR.c`, `ta_BBANDS.c` (classic
compatibility, unstable period 0).
"""

from collections.abc import Callable, Mapping

import numpy as np

from quantbot_pipeline.engine.candles import Candles, FloatArray
from quantbot_pipeline.errors import SimulationError
from quantbot_pipeline.strategy.indicator_catalogue import SINGLE_FIELD


def _nan_like(values: FloatArray) -> FloatArray:
    return np.full(len(values), np.nan)


def shift(values: FloatArray, candles: int) -> FloatArray:
    """Return the value `candles` candles earlier, NaN for the first ones."""
    shifted = _nan_like(values)
    shifted[candles:] = values[: len(values) - candles] if candles <= len(values) else []
    return shifted


def _rolling_mean(values: FloatArray, weights: FloatArray, period: int) -> FloatArray:
    """Return the weighted mean of the last `period` values; NaN where their weights sum to 0.

    Values count by their difference from the window's first one, so that the mean of equal values is that value
    to the last bit: the rounding of a plain sum makes a token whose price stands still cross its own averages.

    Sums are built by doubling: that of `2 width` values from those of both halves, and that of the window from those
    whose widths are the powers of two in `period`, the narrowest first. So the window alone decides the bits.
    """
    means = _nan_like(values)
    windows = len(values) - period + 1
    if windows <= 0:
        return means
    first = values[:windows]
    # Of the `width` values from each value on: Σ weight · (value - the first of them), and Σ weight.
    width, sums, weight = 1, np.zeros(len(values)), weights
    # The same of the values of each window that are covered so far.
    covered, total, total_weight = 0, np.zeros(windows), np.zeros(windows)
    while True:
        if period & width:
            added = slice(covered, covered + windows)
            total = total + (sums[added] + weight[added] * (values[added] - first))
            total_weight = total_weight + weight[added]
            covered += width
        if 2 * width > period:
            break
        left, right = slice(0, len(sums) - width), slice(width, len(sums))
        sums = sums[left] + (sums[right] + weight[right] * (values[right] - values[left]))
        weight = weight[left] + weight[right]
        width *= 2
    means[period - 1 :] = first + _divide(total, total_weight)
    return means


def _rolling_deviation(values: FloatArray, period: int) -> FloatArray:
    """Return the population deviation of the last `period` values, built by doubling as in `_rolling_mean`.

    Source: Chan, Golub & LeVeque (1979), "Updating formulae and a pairwise algorithm for computing sample
    variances": the squares of two samples together are those of both, and their means' difference squared
    times n m / (n + m).
    """
    deviations = _nan_like(values)
    windows = len(values) - period + 1
    if windows <= 0:
        return deviations
    first = values[:windows]
    # Σ (value - first) as above, and Σ (value - mean)².
    width, sums, squares = 1, np.zeros(len(values)), np.zeros(len(values))
    covered, total, total_squares = 0, np.zeros(windows), np.zeros(windows)
    while True:
        if period & width:
            added = slice(covered, covered + windows)
            if covered == 0:
                total, total_squares = sums[added], squares[added]
            else:
                step = values[added] - first
                apart = step + (sums[added] / width - total / covered)
                factor = covered * width / (covered + width)
                total_squares = (total_squares + squares[added]) + apart * apart * factor
                total = total + (sums[added] + width * step)
            covered += width
        if 2 * width > period:
            break
        left, right = slice(0, len(sums) - width), slice(width, len(sums))
        step = values[right] - values[left]
        apart = step + (sums[right] / width - sums[left] / width)
        squares = (squares[left] + squares[right]) + apart * apart * (width * width / (width + width))
        sums = sums[left] + (sums[right] + width * step)
        width *= 2
    deviations[period - 1 :] = np.sqrt(total_squares / period)
    return deviations


def _rolling_extreme(
    values: FloatArray, period: int, choose: Callable[[FloatArray, FloatArray], FloatArray]
) -> FloatArray:
    """Return `choose` (maximum or minimum) over the last `period` values."""
    extremes = _nan_like(values)
    windows = len(values) - period + 1
    if windows > 0:
        # Doubling: an extreme over `width` values is that of two overlapping narrower windows.
        width, best = 1, values
        while 2 * width <= period:
            best = choose(best[: len(best) - width], best[width:])
            width *= 2
        rest = period - width
        extremes[period - 1 :] = choose(best[: len(best) - rest], best[rest:])
    return extremes


def sma(values: FloatArray, period: int) -> FloatArray:
    """Return the simple moving average; known from value `period - 1` on."""
    return _rolling_mean(values, np.ones(len(values)), period)


def ema(values: FloatArray, period: int, first: int = 0) -> FloatArray:
    """Return the exponential moving average with k = 2 / (period + 1).

    Args:
        values: One per candle.
        period: Length, candles.
        first: Index of the first value used; the seed is the mean of `period` values from there.

    Returns:
        Known from value `first + period - 1` on.
    """
    averages = _nan_like(values)
    seed_at = first + period - 1
    if seed_at >= len(values):
        return averages
    source = values.tolist()
    # From the first value on, for the reason of `_rolling_mean`.
    origin = source[first]
    total = 0.0
    for value in source[first : seed_at + 1]:
        total += value - origin
    average = origin + total / period
    factor = 2.0 / (period + 1)
    known = [average]
    for value in source[seed_at + 1 :]:
        average = (value - average) * factor + average
        known.append(average)
    averages[seed_at:] = known
    return averages


def vwma(close: FloatArray, volume: FloatArray, period: int) -> FloatArray:
    """Return the volume-weighted mean close; NaN while no volume was traded."""
    return _rolling_mean(close, volume, period)


def _divide(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Return the quotient, NaN where the denominator is 0 (also where 0/0 or x/0 would be infinite)."""
    quotient = _nan_like(numerator)
    with np.errstate(over="ignore", invalid="ignore"):
        np.divide(numerator, denominator, out=quotient, where=denominator != 0)
    quotient[~np.isfinite(quotient)] = np.nan
    return quotient


def _wilder(values: list[float], period: int) -> list[float]:
    """Return Wilder's average of `values` from the mean of the first `period` on, one per value."""
    total = 0.0
    for value in values[:period]:
        total += value
    average = total / period
    averages = [average]
    for value in values[period:]:
        average = (average * (period - 1) + value) / period
        averages.append(average)
    return averages


def rsi(close: FloatArray, period: int) -> FloatArray:
    """Return Wilder's relative strength index, 0 … 100, known from `period` on; 0 without any movement."""
    strength = _nan_like(close)
    if len(close) <= period:
        return strength
    changes = np.diff(close)
    gains = np.array(_wilder(np.maximum(changes, 0.0).tolist(), period))
    losses = np.array(_wilder(np.maximum(-changes, 0.0).tolist(), period))
    moved = gains + losses
    index = np.zeros(len(moved))
    np.divide(gains, moved, out=index, where=moved != 0)
    strength[period:] = 100.0 * index
    return strength


def macd(close: FloatArray, fast: int, slow: int, signal: int) -> dict[str, FloatArray]:
    """Return line, signal and histogram, all known from value `slow + signal - 2` on.

    Both averages are seeded so that they end at value `slow - 1`, as in TA-Lib: the fast one with the mean of
    the `fast` closes before it. The signal is the average of the line from there on.
    """
    line = ema(close, fast, first=slow - fast) - ema(close, slow)
    average = ema(line, signal, first=slow - 1)
    line = np.where(np.isnan(average), np.nan, line)
    return {"line": line, "signal": average, "histogram": line - average}


def bbands(close: FloatArray, period: int, deviations: float) -> dict[str, FloatArray]:
    """Return Bollinger bands with the population deviation; `percent_b` is NaN for bands of no width."""
    middle = sma(close, period)
    deviation = _rolling_deviation(close, period)
    upper = middle + deviations * deviation
    lower = middle - deviations * deviation
    return {
        "upper": upper,
        "middle": middle,
        "lower": lower,
        "percent_b": _divide(close - lower, upper - lower),
        "bandwidth": _divide(upper - lower, middle),
    }


def atr(high: FloatArray, low: FloatArray, close: FloatArray, period: int) -> FloatArray:
    """Return Wilder's average true range, known from `period` on: the first true range is candle 1's."""
    average = _nan_like(close)
    if len(close) <= period:
        return average
    before = close[:-1]
    ranges = np.maximum(high[1:] - low[1:], np.maximum(np.abs(high[1:] - before), np.abs(low[1:] - before)))
    average[period:] = _wilder(ranges.tolist(), period)
    return average


def ichimoku(
    high: FloatArray, low: FloatArray, conversion: int, base: int, span: int, displacement: int
) -> dict[str, FloatArray]:
    """Return tenkan, kijun and the spans plotted at each candle: computed `displacement` candles earlier."""

    def middle(period: int) -> FloatArray:
        return (_rolling_extreme(high, period, np.maximum) + _rolling_extreme(low, period, np.minimum)) / 2.0

    tenkan = middle(conversion)
    kijun = middle(base)
    return {
        "tenkan": tenkan,
        "kijun": kijun,
        "senkou_a": shift((tenkan + kijun) / 2.0, displacement),
        "senkou_b": shift(middle(span), displacement),
    }


def change(values: FloatArray, periods: int) -> FloatArray:
    """Return `x_i / x_(i - periods) - 1`; NaN where the earlier value is 0."""
    return _divide(values, shift(values, periods)) - 1.0


_Computation = Callable[[Candles, Mapping[str, float]], dict[str, FloatArray]]

_COMPUTATIONS: Mapping[str, _Computation] = {
    "sma": lambda c, p: {SINGLE_FIELD: sma(c.close, int(p["period"]))},
    "ema": lambda c, p: {SINGLE_FIELD: ema(c.close, int(p["period"]))},
    "vwma": lambda c, p: {SINGLE_FIELD: vwma(c.close, c.volume, int(p["period"]))},
    "rsi": lambda c, p: {SINGLE_FIELD: rsi(c.close, int(p["period"]))},
    "macd": lambda c, p: macd(c.close, int(p["fast"]), int(p["slow"]), int(p["signal"])),
    "bbands": lambda c, p: bbands(c.close, int(p["period"]), p["deviations"]),
    "atr": lambda c, p: {SINGLE_FIELD: atr(c.high, c.low, c.close, int(p["period"]))},
    "ichimoku": lambda c, p: ichimoku(
        c.high, c.low, int(p["conversion"]), int(p["base"]), int(p["span"]), int(p["displacement"])
    ),
    "price_change": lambda c, p: {SINGLE_FIELD: change(c.close, int(p["periods"]))},
    "volume_change": lambda c, p: {SINGLE_FIELD: change(c.volume, int(p["periods"]))},
    "highest": lambda c, p: {SINGLE_FIELD: _rolling_extreme(c.high, int(p["period"]), np.maximum)},
    "lowest": lambda c, p: {SINGLE_FIELD: _rolling_extreme(c.low, int(p["period"]), np.minimum)},
}


def compute_indicator(candles: Candles, name: str, params: Mapping[str, float]) -> dict[str, FloatArray]:
    """Return every output of an indicator, shape (n,) each.

    Args:
        candles: Candles of one token and interval.
        name: A name of the catalogue (`quantbot_pipeline.strategy.indicator_catalogue`).
        params: All of its parameters.

    Returns:
        Output by field name; `value` for an indicator with one output.

    Raises:
        SimulationError: the name is not in the catalogue.
    """
    computation = _COMPUTATIONS.get(name)
    if computation is None:
        raise SimulationError(f"indicator {name!r} is unknown; allowed are {', '.join(_COMPUTATIONS)}")
    return computation(candles, params)


def indicator_warm_up(name: str, params: Mapping[str, float]) -> int:
    """Return how many candles before a candle its indicator value depends on.

    Windows count exactly. An exponential average depends on all candles; 14 (period + 1) candles leave less
    than e^-28 < 1e-12 of the seed (k = 2 / (period + 1), so (1 - k)^m < e^(-k m)), and 28 period candles do so
    for Wilder's average (k = 1 / period).
    """
    match name:
        case "sma" | "vwma" | "bbands" | "highest" | "lowest":
            return int(params["period"]) - 1
        case "ema":
            period = int(params["period"])
            return period - 1 + 14 * (period + 1)
        case "macd":
            slow, signal = int(params["slow"]), int(params["signal"])
            return slow - 1 + 14 * (slow + 1) + signal - 1 + 14 * (signal + 1)
        case "rsi" | "atr":
            period = int(params["period"])
            return period + 28 * period
        case "ichimoku":
            longest = max(int(params["conversion"]), int(params["base"]), int(params["span"]))
            return longest - 1 + int(params["displacement"])
        case "price_change" | "volume_change":
            return int(params["periods"])
        case _:
            raise SimulationError(f"indicator {name!r} is unknown; allowed are {', '.join(_COMPUTATIONS)}")
