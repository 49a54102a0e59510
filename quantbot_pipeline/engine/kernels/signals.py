"""Conditions, persistence and reach: what the fast engine evaluates before it simulates.

A *state* is what a node of a signal tree says at one close, one byte: bit 0 (`HOLDS`) where it is true, bit 1
(`HAS_NAN`) where a NaN is inside. States of many tokens lie in one buffer, a range of candles of each.
"""

# mypy: disable-error-code="no-any-return"
# (numpy's stubs type an element of an array as Any.)

import numpy as np
import numpy.typing as npt
from numba import carray

from quantbot_pipeline.engine.candles import IntArray
from quantbot_pipeline.engine.kernels.compiling import inner, outer
from quantbot_pipeline.engine.kernels.market import first_candle_at_nb, float_pointer_nb, market_at_nb

ByteArray = npt.NDArray[np.uint8]

HOLDS, HAS_NAN = 1, 2

# How two numbers compare, as bits, so that every comparison is a set of them; none holds where one is NaN.
GREATER, LESS, EQUAL = 1, 2, 4


@inner
def _order_nb(left: float, right: float) -> np.uint8:
    greater, less, equal = left > right, left < right, left == right
    return np.uint8(greater) | np.uint8(less) << np.uint8(1) | np.uint8(equal) << np.uint8(2)


@inner
def _state_nb(order: np.uint8, wanted: np.uint8, before: np.uint8, wanted_before: np.uint8) -> np.uint8:
    """Return the state of a comparison; plain ones pass an `order` that is wanted as the one before."""
    none = np.uint8(0)
    holds = (order & wanted != none) & (before & wanted_before != none)
    has_nan = (order == none) | (before == none)
    return np.uint8(holds) | np.uint8(has_nan) << np.uint8(1)


@outer
def compare_nb(
    left: IntArray,
    left_shift: int,
    right: IntArray,
    right_shift: int,
    number: float,
    wanted: int,
    wanted_before: int,
    begins: IntArray,
    ends: IntArray,
    offsets: IntArray,
    states: ByteArray,
) -> None:
    """Compare two operands at each close of a range of candles of each token.

    Args:
        left: Address that the left operand's value at candle 0 has or would have, shape (n_tokens,).
        left_shift: How many candles earlier its values are taken.
        right: The same of the right operand, shape (n_tokens,); shape (0,) where it is a number.
        right_shift: The same.
        number: The right operand where it is a number.
        wanted: Orders in which the comparison holds.
        wanted_before: Orders that a crossing wants one candle earlier; 0 for what is not a crossing.
        begins: First candle of each token's range, shape (n_tokens,).
        ends: End of the range.
        offsets: Where in `states` each range lies.
        states: Filled in.
    """
    now, before = np.uint8(wanted), np.uint8(wanted_before)
    any_order = np.uint8(GREATER | LESS | EQUAL)
    is_crossing = wanted_before != 0
    has_right = right.shape[0] > 0
    earliest = max(left_shift, right_shift if has_right else 0) + (1 if is_crossing else 0)
    for t in range(begins.shape[0]):
        begin, end = begins[t], ends[t]
        if begin >= end:
            continue
        # Before the first candle there is nothing to compare.
        known = min(max(begin, earliest), end)
        out = states[offsets[t] : offsets[t] + end - begin]
        out[: known - begin] = HAS_NAN
        n = end - known
        if n == 0:
            continue
        out = out[known - begin :]
        x = carray(float_pointer_nb(left[t] + 8 * (known - left_shift)), (n,))
        if has_right:
            y = carray(float_pointer_nb(right[t] + 8 * (known - right_shift)), (n,))
            if is_crossing:
                x_before = carray(float_pointer_nb(left[t] + 8 * (known - left_shift - 1)), (n,))
                y_before = carray(float_pointer_nb(right[t] + 8 * (known - right_shift - 1)), (n,))
                for i in range(n):
                    out[i] = _state_nb(_order_nb(x[i], y[i]), now, _order_nb(x_before[i], y_before[i]), before)
            else:
                for i in range(n):
                    out[i] = _state_nb(_order_nb(x[i], y[i]), now, any_order, any_order)
        elif is_crossing:
            x_before = carray(float_pointer_nb(left[t] + 8 * (known - left_shift - 1)), (n,))
            for i in range(n):
                out[i] = _state_nb(_order_nb(x[i], number), now, _order_nb(x_before[i], number), before)
        else:
            for i in range(n):
                out[i] = _state_nb(_order_nb(x[i], number), now, any_order, any_order)


@outer
def persist_nb(
    inside: ByteArray,
    inside_offsets: IntArray,
    lookback: int,
    min_true: int,
    begins: IntArray,
    ends: IntArray,
    offsets: IntArray,
    states: ByteArray,
) -> None:
    """Write where a node held at `min_true` of the last `lookback` closes at least.

    Args:
        inside: States of the node itself, of ranges that begin `lookback - 1` candles earlier (or at candle 0).
        inside_offsets: Where in `inside` each range lies, shape (n_tokens,).
        lookback: Closes that count.
        min_true: How many of them have to hold.
        begins: First candle of each token's range, shape (n_tokens,).
        ends: End of the range.
        offsets: Where in `states` each range lies.
        states: Filled in.
    """
    for t in range(begins.shape[0]):
        begin, end = begins[t], ends[t]
        if begin >= end:
            continue
        inside_begin = max(begin - (lookback - 1), 0)
        source = inside[inside_offsets[t] : inside_offsets[t] + end - inside_begin]
        out = states[offsets[t] : offsets[t] + end - begin]
        holding, unknown = 0, 0
        for k in range(source.shape[0]):
            state = source[k]
            holding += state & HOLDS
            unknown += state >> 1
            if k >= lookback:
                left = source[k - lookback]
                holding -= left & HOLDS
                unknown -= left >> 1
            i = inside_begin + k
            if i >= begin:
                # Candles before the first one count as NaN.
                has_nan = unknown > 0 or i < lookback - 1
                out[i - begin] = (HOLDS if holding >= min_true else 0) | (HAS_NAN if has_nan else 0)


@outer
def find_reach_nb(
    markets: IntArray,
    token: IntArray,
    timestamp: IntArray,
    is_entry: IntArray,
    latency: int,
    horizon: int,
    begins: IntArray,
    ends: IntArray,
) -> None:
    """Write which closes of each token can matter to a call: from the one before its first candle to its horizon.

    Args:
        markets: Addresses, length and interval of each token's candles, shape (n_tokens, MARKET_COLUMNS).
        token: Of the calls that may make a trade, shape (n_calls,).
        timestamp: The same.
        is_entry: 0 for a call that is over at its own open.
        latency: Seconds.
        horizon: Seconds.
        begins: First candle of the range, shape (n_tokens,); filled in, as 0 where no call has candles.
        ends: End of the range, 0 the same.
    """
    begins[:] = 0
    ends[:] = 0
    for call in range(token.shape[0]):
        t = token[call]
        market = market_at_nb(markets[t])
        start = first_candle_at_nb(market.time, timestamp[call] + latency)
        if start == market.n:
            continue
        begin, end = max(start - 1, 0), start
        if is_entry[call] != 0:
            end = first_candle_at_nb(market.time, market.time[start] + horizon)
        begins[t] = min(begins[t], begin) if ends[t] > 0 else begin
        ends[t] = max(ends[t], end)
