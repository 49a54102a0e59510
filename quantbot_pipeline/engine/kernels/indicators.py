"""Indicators: the operations of `quantbot_pipeline.engine.indicators`, in their order, on plain loops.

Every function with suffix `_1d_nb` reads candles of one token, oldest first, and writes the values of all but the
first `skip` of them: `out[0]` belongs to candle `skip`. Sums and extremes of windows are built by doubling, like
those of the reference, for a block of windows at a time, so that the passes stay in the processor's cache;
a pass reads one buffer and writes another, which lets it take vector instructions.
"""

# mypy: disable-error-code="no-any-return"
# (numpy's stubs type an element of an array as Any.)

import numpy as np
from numba import carray

from quantbot_pipeline.engine.candles import FloatArray, IntArray
from quantbot_pipeline.engine.kernels.compiling import inner, outer
from quantbot_pipeline.engine.kernels.market import float_pointer_nb, market_at_nb

# Kinds of indicators.
SMA, EMA, VWMA, RSI, MACD, BBANDS, ATR, ICHIMOKU, PRICE_CHANGE, VOLUME_CHANGE, HIGHEST, LOWEST = range(12)

BLOCK = 512
"""Windows that are taken together, at least: their buffers fit the processor's cache."""


@inner
def _divide_nb(numerator: float, denominator: float) -> float:
    """Return the quotient, NaN where it is not finite, as by 0."""
    quotient = numerator / denominator
    return quotient if np.isfinite(quotient) else np.nan


@inner
def _write_unknown_nb(out: FloatArray, known_from: int, skip: int) -> None:
    """Write NaN for the candles before `known_from`."""
    out[: max(min(known_from - skip, out.shape[0]), 0)] = np.nan


@inner
def _block_of_nb(windows: int, period: int) -> int:
    """Return how many windows are taken together: longer windows overlap more."""
    return max(min(max(BLOCK, 2 * period), windows), 0)


@inner
def _sma_1d_nb(values: FloatArray, period: int, skip: int, out: FloatArray) -> None:
    _write_unknown_nb(out, period - 1, skip)
    windows = values.shape[0] - period + 1
    begin = max(skip - period + 1, 0)
    block = _block_of_nb(windows - begin, period)
    # Sums of `width` values less the first of them, and of the values of each window that were covered so far.
    sums, wider = np.empty(block + period), np.empty(block + period)
    total = np.empty(block)
    divisor = float(period)
    for s in range(begin, windows, max(block, 1)):
        count = min(block, windows - s)
        length = count + period - 1
        first = values[s:]
        sums[:length] = 0.0
        total[:count] = 0.0
        width, covered = 1, 0
        while True:
            weight = float(width)
            if period & width != 0:
                behind, added = first[covered:], sums[covered:]
                for i in range(count):
                    total[i] = total[i] + (added[i] + weight * (behind[i] - first[i]))
                covered += width
            if 2 * width > period:
                break
            length -= width
            behind, added = first[width:], sums[width:]
            for i in range(length):
                wider[i] = sums[i] + (added[i] + weight * (behind[i] - first[i]))
            sums, wider = wider, sums
            width *= 2
        means = out[s + period - 1 - skip :]
        for i in range(count):
            means[i] = first[i] + _divide_nb(total[i], divisor)


@inner
def _vwma_1d_nb(values: FloatArray, weights: FloatArray, period: int, skip: int, out: FloatArray) -> None:
    _write_unknown_nb(out, period - 1, skip)
    windows = values.shape[0] - period + 1
    begin = max(skip - period + 1, 0)
    block = _block_of_nb(windows - begin, period)
    sums, wider = np.empty(block + period), np.empty(block + period)
    weight, wider_weight = np.empty(block + period), np.empty(block + period)
    total, total_weight = np.empty(block), np.empty(block)
    for s in range(begin, windows, max(block, 1)):
        count = min(block, windows - s)
        length = count + period - 1
        first = values[s:]
        sums[:length] = 0.0
        weight[:length] = weights[s : s + length]
        total[:count] = 0.0
        total_weight[:count] = 0.0
        width, covered = 1, 0
        while True:
            if period & width != 0:
                behind, added, added_weight = first[covered:], sums[covered:], weight[covered:]
                for i in range(count):
                    total[i] = total[i] + (added[i] + added_weight[i] * (behind[i] - first[i]))
                    total_weight[i] = total_weight[i] + added_weight[i]
                covered += width
            if 2 * width > period:
                break
            length -= width
            behind, added, added_weight = first[width:], sums[width:], weight[width:]
            for i in range(length):
                wider[i] = sums[i] + (added[i] + added_weight[i] * (behind[i] - first[i]))
                wider_weight[i] = weight[i] + added_weight[i]
            sums, wider = wider, sums
            weight, wider_weight = wider_weight, weight
            width *= 2
        means = out[s + period - 1 - skip :]
        for i in range(count):
            means[i] = first[i] + _divide_nb(total[i], total_weight[i])


@inner
def _bbands_1d_nb(
    values: FloatArray,
    period: int,
    deviations: float,
    skip: int,
    upper: FloatArray,
    middle: FloatArray,
    lower: FloatArray,
    percent_b: FloatArray,
    bandwidth: FloatArray,
) -> None:
    for out in (upper, middle, lower, percent_b, bandwidth):
        _write_unknown_nb(out, period - 1, skip)
    windows = values.shape[0] - period + 1
    begin = max(skip - period + 1, 0)
    block = _block_of_nb(windows - begin, period)
    sums, wider = np.empty(block + period), np.empty(block + period)
    squares, wider_squares = np.empty(block + period), np.empty(block + period)
    total, total_squares = np.empty(block), np.empty(block)
    divisor = float(period)
    for s in range(begin, windows, max(block, 1)):
        count = min(block, windows - s)
        length = count + period - 1
        first = values[s:]
        sums[:length] = 0.0
        squares[:length] = 0.0
        width, covered = 1, 0
        while True:
            weight = float(width)
            if period & width != 0:
                behind, added, added_squares = first[covered:], sums[covered:], squares[covered:]
                if covered == 0:
                    total[:count] = sums[:count]
                    total_squares[:count] = squares[:count]
                else:
                    before = float(covered)
                    factor = before * weight / (before + weight)
                    for i in range(count):
                        step = behind[i] - first[i]
                        apart = step + (added[i] / weight - total[i] / before)
                        total_squares[i] = (total_squares[i] + added_squares[i]) + apart * apart * factor
                        total[i] = total[i] + (added[i] + weight * step)
                covered += width
            if 2 * width > period:
                break
            length -= width
            factor = weight * weight / (weight + weight)
            # Exact, for powers of two: the same bits as dividing.
            inverse = 1.0 / weight
            behind, added, added_squares = first[width:], sums[width:], squares[width:]
            for i in range(length):
                step = behind[i] - first[i]
                apart = step + (added[i] * inverse - sums[i] * inverse)
                wider_squares[i] = (squares[i] + added_squares[i]) + apart * apart * factor
                wider[i] = sums[i] + (added[i] + weight * step)
            sums, wider = wider, sums
            squares, wider_squares = wider_squares, squares
            width *= 2
        last, at = values[s + period - 1 :], s + period - 1 - skip
        uppers, middles, lowers = upper[at:], middle[at:], lower[at:]
        shares, widths = percent_b[at:], bandwidth[at:]
        for i in range(count):
            mean = first[i] + _divide_nb(total[i], divisor)
            reach = deviations * np.sqrt(total_squares[i] / divisor)
            uppers[i] = mean + reach
            middles[i] = mean
            lowers[i] = mean - reach
        for i in range(count):
            shares[i] = _divide_nb(last[i] - lowers[i], uppers[i] - lowers[i])
            widths[i] = _divide_nb(uppers[i] - lowers[i], middles[i])


@inner
def _highest_of_four_nb(values: FloatArray, second: int, third: int, fourth: int, count: int, out: FloatArray) -> None:
    """Write the highest of each value and the three that lie so many candles behind it."""
    b, c, d = values[second:], values[third:], values[fourth:]
    for i in range(count):
        low_half = values[i] if values[i] > b[i] else b[i]
        high_half = c[i] if c[i] > d[i] else d[i]
        out[i] = low_half if low_half > high_half else high_half


@inner
def _extremes_of_block_nb(
    values: FloatArray, sign: float, period: int, count: int, best: FloatArray, wider: FloatArray, out: FloatArray
) -> None:
    """Write the highest of `sign` times the values of each of the first `count` windows.

    Every pass makes windows four times as wide; the last one takes four that overlap. Extremes have no rounding, so
    the steps are free to differ from the reference's.
    """
    length = count + period - 1
    for i in range(length):
        best[i] = sign * values[i]
    width = 1
    while 4 * width <= period:
        length -= 3 * width
        _highest_of_four_nb(best, width, 2 * width, 3 * width, length, wider)
        best, wider = wider, best
        width *= 4
    last = period - width
    _highest_of_four_nb(best, min(width, last), min(2 * width, last), last, count, out)


@inner
def _extreme_1d_nb(values: FloatArray, sign: float, period: int, skip: int, out: FloatArray) -> None:
    """Write the highest (sign 1) or lowest (sign -1) value of each window."""
    _write_unknown_nb(out, period - 1, skip)
    windows = values.shape[0] - period + 1
    begin = max(skip - period + 1, 0)
    block = _block_of_nb(windows - begin, period)
    best, wider, extremes = np.empty(block + period), np.empty(block + period), np.empty(block)
    for s in range(begin, windows, max(block, 1)):
        count = min(block, windows - s)
        _extremes_of_block_nb(values[s:], sign, period, count, best, wider, extremes)
        written = out[s + period - 1 - skip :]
        for i in range(count):
            written[i] = sign * extremes[i]


@inner
def _middle_1d_nb(high: FloatArray, low: FloatArray, period: int, skip: int, out: FloatArray) -> None:
    """Write the middle between the highest high and the lowest low of each window."""
    _write_unknown_nb(out, period - 1, skip)
    windows = high.shape[0] - period + 1
    begin = max(skip - period + 1, 0)
    block = _block_of_nb(windows - begin, period)
    best, wider = np.empty(block + period), np.empty(block + period)
    highest, lowest = np.empty(block), np.empty(block)
    for s in range(begin, windows, max(block, 1)):
        count = min(block, windows - s)
        _extremes_of_block_nb(high[s:], 1.0, period, count, best, wider, highest)
        _extremes_of_block_nb(low[s:], -1.0, period, count, best, wider, lowest)
        written = out[s + period - 1 - skip :]
        for i in range(count):
            written[i] = (highest[i] - lowest[i]) / 2.0


@inner
def _ichimoku_1d_nb(
    high: FloatArray,
    low: FloatArray,
    conversion: int,
    base: int,
    span: int,
    displacement: int,
    skip: int,
    tenkan: FloatArray,
    kijun: FloatArray,
    senkou_a: FloatArray,
    senkou_b: FloatArray,
) -> None:
    n = high.shape[0]
    _middle_1d_nb(high, low, conversion, skip, tenkan)
    _middle_1d_nb(high, low, base, skip, kijun)
    _write_unknown_nb(senkou_a, displacement, skip)
    _write_unknown_nb(senkou_b, displacement, skip)
    # The spans of candles from `shown` on were computed `displacement` candles earlier.
    shown = max(displacement, skip)
    if shown >= n:
        return
    computed = shown - displacement
    end = n - displacement
    _middle_1d_nb(high[:end], low[:end], span, computed, senkou_b[shown - skip :])
    a = senkou_a[shown - skip :]
    # Candles that are not written themselves are computed apart.
    apart = max(min(skip, end) - computed, 0)
    if apart > 0:
        tenkan_apart, kijun_apart = np.empty(apart), np.empty(apart)
        _middle_1d_nb(high[: computed + apart], low[: computed + apart], conversion, computed, tenkan_apart)
        _middle_1d_nb(high[: computed + apart], low[: computed + apart], base, computed, kijun_apart)
        for i in range(apart):
            a[i] = (tenkan_apart[i] + kijun_apart[i]) / 2.0
    begin = computed + apart
    tenkans, kijuns, written = tenkan[begin - skip :], kijun[begin - skip :], a[apart:]
    for i in range(end - begin):
        written[i] = (tenkans[i] + kijuns[i]) / 2.0


@inner
def _seed_nb(values: FloatArray, first: int, period: int) -> float:
    """Return the mean of `period` values, taken from the first of them on."""
    origin = values[first]
    total = 0.0
    for i in range(first, first + period):
        total += values[i] - origin
    return origin + total / period


@inner
def _ema_1d_nb(values: FloatArray, period: int, skip: int, out: FloatArray) -> None:
    n = values.shape[0]
    _write_unknown_nb(out, period - 1, skip)
    if period > n:
        return
    average = _seed_nb(values, 0, period)
    factor = 2.0 / (period + 1)
    if period - 1 >= skip:
        out[period - 1 - skip] = average
    for i in range(period, min(skip, n)):
        average = (values[i] - average) * factor + average
    for i in range(max(period, skip), n):
        average = (values[i] - average) * factor + average
        out[i - skip] = average


@inner
def _macd_1d_nb(
    close: FloatArray,
    fast: int,
    slow: int,
    signal: int,
    skip: int,
    line: FloatArray,
    average: FloatArray,
    histogram: FloatArray,
) -> None:
    n = close.shape[0]
    known_from = slow + signal - 2
    for out in (line, average, histogram):
        _write_unknown_nb(out, known_from, skip)
    if known_from >= n:
        return
    quick, calm = _seed_nb(close, slow - fast, fast), _seed_nb(close, 0, slow)
    quick_factor, calm_factor, factor = 2.0 / (fast + 1), 2.0 / (slow + 1), 2.0 / (signal + 1)
    difference = quick - calm
    origin = difference
    total = 0.0
    total += difference - origin
    for i in range(slow, known_from + 1):
        quick = (close[i] - quick) * quick_factor + quick
        calm = (close[i] - calm) * calm_factor + calm
        difference = quick - calm
        total += difference - origin
    smooth = origin + total / signal
    if known_from >= skip:
        line[known_from - skip] = difference
        average[known_from - skip] = smooth
        histogram[known_from - skip] = difference - smooth
    for i in range(known_from + 1, n):
        quick = (close[i] - quick) * quick_factor + quick
        calm = (close[i] - calm) * calm_factor + calm
        difference = quick - calm
        smooth = (difference - smooth) * factor + smooth
        if i >= skip:
            line[i - skip] = difference
            average[i - skip] = smooth
            histogram[i - skip] = difference - smooth


@inner
def _strength_nb(gain: float, loss: float) -> float:
    moved = gain + loss
    return 100.0 * (gain / moved) if moved != 0.0 else 0.0


@inner
def _rsi_1d_nb(close: FloatArray, period: int, skip: int, out: FloatArray) -> None:
    n = close.shape[0]
    _write_unknown_nb(out, period, skip)
    if n <= period:
        return
    gain, loss = 0.0, 0.0
    for i in range(1, period + 1):
        change = close[i] - close[i - 1]
        gain += max(change, 0.0)
        loss += max(-change, 0.0)
    gain /= period
    loss /= period
    if period >= skip:
        out[period - skip] = _strength_nb(gain, loss)
    before = float(period - 1)
    for i in range(period + 1, n):
        change = close[i] - close[i - 1]
        gain = (gain * before + max(change, 0.0)) / period
        loss = (loss * before + max(-change, 0.0)) / period
        if i >= skip:
            out[i - skip] = _strength_nb(gain, loss)


@inner
def _true_range_nb(high: float, low: float, close_before: float) -> float:
    return max(high - low, max(abs(high - close_before), abs(low - close_before)))


@inner
def _atr_1d_nb(high: FloatArray, low: FloatArray, close: FloatArray, period: int, skip: int, out: FloatArray) -> None:
    n = close.shape[0]
    _write_unknown_nb(out, period, skip)
    if n <= period:
        return
    average = 0.0
    for i in range(1, period + 1):
        average += _true_range_nb(high[i], low[i], close[i - 1])
    average /= period
    if period >= skip:
        out[period - skip] = average
    before = float(period - 1)
    for i in range(period + 1, n):
        average = (average * before + _true_range_nb(high[i], low[i], close[i - 1])) / period
        if i >= skip:
            out[i - skip] = average


@inner
def _change_1d_nb(values: FloatArray, periods: int, skip: int, out: FloatArray) -> None:
    _write_unknown_nb(out, periods, skip)
    begin = max(periods, skip)
    if begin >= values.shape[0]:
        return
    now, earlier, written = values[begin:], values[begin - periods :], out[begin - skip :]
    for i in range(now.shape[0]):
        written[i] = _divide_nb(now[i], earlier[i]) - 1.0


@inner
def _row_nb(outputs: FloatArray, row: int, begin: int, count: int) -> FloatArray:
    """Return a part of an output's row, known to lie in one piece."""
    return carray(float_pointer_nb(outputs.ctypes.data + 8 * (row * outputs.shape[1] + begin)), (count,))


@outer
def compute_indicator_nb(
    kind: int,
    whole: IntArray,
    number: float,
    markets: IntArray,
    firsts: IntArray,
    begins: IntArray,
    ends: IntArray,
    offsets: IntArray,
    outputs: FloatArray,
) -> None:
    """Compute one indicator on many tokens.

    Args:
        kind: Which one.
        whole: Its parameters that are whole numbers, in the catalogue's order, shape (4,).
        number: Its parameter that is not (the deviations of Bollinger bands).
        markets: Addresses, length and interval of each token's candles, shape (n_tokens, MARKET_COLUMNS).
        firsts: First candle that is read of each token, shape (n_tokens,).
        begins: First candle that is written, at least the first one read.
        ends: End of the candles that are read and written.
        offsets: Where in the rows of `outputs` a token's first written candle lies.
        outputs: One row per output in the catalogue's order; filled in.
    """
    period = whole[0]
    for t in range(markets.shape[0]):
        first, end = firsts[t], ends[t]
        if begins[t] >= end:
            continue
        skip = begins[t] - first
        market = market_at_nb(markets[t])
        high, low = market.high[first:end], market.low[first:end]
        close, volume = market.close[first:end], market.volume[first:end]
        count = end - begins[t]
        if kind == SMA:
            _sma_1d_nb(close, period, skip, _row_nb(outputs, 0, offsets[t], count))
        elif kind == EMA:
            _ema_1d_nb(close, period, skip, _row_nb(outputs, 0, offsets[t], count))
        elif kind == VWMA:
            _vwma_1d_nb(close, volume, period, skip, _row_nb(outputs, 0, offsets[t], count))
        elif kind == RSI:
            _rsi_1d_nb(close, period, skip, _row_nb(outputs, 0, offsets[t], count))
        elif kind == MACD:
            _macd_1d_nb(
                close,
                period,
                whole[1],
                whole[2],
                skip,
                _row_nb(outputs, 0, offsets[t], count),
                _row_nb(outputs, 1, offsets[t], count),
                _row_nb(outputs, 2, offsets[t], count),
            )
        elif kind == BBANDS:
            _bbands_1d_nb(
                close,
                period,
                number,
                skip,
                _row_nb(outputs, 0, offsets[t], count),
                _row_nb(outputs, 1, offsets[t], count),
                _row_nb(outputs, 2, offsets[t], count),
                _row_nb(outputs, 3, offsets[t], count),
                _row_nb(outputs, 4, offsets[t], count),
            )
        elif kind == ATR:
            _atr_1d_nb(high, low, close, period, skip, _row_nb(outputs, 0, offsets[t], count))
        elif kind == ICHIMOKU:
            _ichimoku_1d_nb(
                high,
                low,
                period,
                whole[1],
                whole[2],
                whole[3],
                skip,
                _row_nb(outputs, 0, offsets[t], count),
                _row_nb(outputs, 1, offsets[t], count),
                _row_nb(outputs, 2, offsets[t], count),
                _row_nb(outputs, 3, offsets[t], count),
            )
        elif kind == PRICE_CHANGE:
            _change_1d_nb(close, period, skip, _row_nb(outputs, 0, offsets[t], count))
        elif kind == VOLUME_CHANGE:
            _change_1d_nb(volume, period, skip, _row_nb(outputs, 0, offsets[t], count))
        elif kind == HIGHEST:
            _extreme_1d_nb(high, 1.0, period, skip, _row_nb(outputs, 0, offsets[t], count))
        else:
            _extreme_1d_nb(low, -1.0, period, skip, _row_nb(outputs, 0, offsets[t], count))
