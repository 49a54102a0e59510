"""What all kernels share: candles as a struct of arrays, and slippage.

Candles reach the kernels as the addresses of their arrays, so that many tokens of different lengths go into
one call without being copied together. Whoever passes addresses keeps the arrays alive and contiguous.
"""

# mypy: disable-error-code="no-any-return"
# (numpy's stubs type an element of an array as Any.)

from collections.abc import Callable
from typing import Any, NamedTuple

from numba import carray, types
from numba.extending import intrinsic

from quantbot_pipeline.engine.candles import FloatArray, IntArray
from quantbot_pipeline.engine.kernels.compiling import inner
from quantbot_pipeline.strategy.compile import Choice, Quantity

# Columns of the addresses of one token, and what stands after them.
TIMESTAMP, OPEN, HIGH, LOW, CLOSE, VOLUME, LENGTH, INTERVAL = range(8)
MARKET_COLUMNS = 8


class Market(NamedTuple):
    """The candles of one token, shape (n,) each; prices and times as in `Candles`."""

    time: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray
    n: int
    interval: int


def _pointer_to(element: types.Type) -> Callable[..., Any]:
    pointer = types.CPointer(element)

    def cast(typing_context: Any, address: Any) -> Any:  # noqa: ARG001 - numba asks for both by position
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001 - the same
            return builder.inttoptr(arguments[0], context.get_value_type(pointer))

        return pointer(types.int64), generate

    pointer_cast: Callable[..., Any] = intrinsic(cast)
    return pointer_cast


float_pointer_nb = _pointer_to(types.float64)
int_pointer_nb = _pointer_to(types.int64)
byte_pointer_nb = _pointer_to(types.uint8)


@inner
def market_at_nb(row: IntArray) -> Market:
    """Return the candles whose addresses a row holds."""
    n = row[LENGTH]
    return Market(
        carray(int_pointer_nb(row[TIMESTAMP]), (n,)),
        carray(float_pointer_nb(row[OPEN]), (n,)),
        carray(float_pointer_nb(row[HIGH]), (n,)),
        carray(float_pointer_nb(row[LOW]), (n,)),
        carray(float_pointer_nb(row[CLOSE]), (n,)),
        carray(float_pointer_nb(row[VOLUME]), (n,)),
        n,
        row[INTERVAL],
    )


@inner
def first_candle_at_nb(time: IntArray, wanted: int) -> int:
    """Return the index of the first candle with t >= wanted; n if there is none."""
    low, high = 0, time.shape[0]
    while low < high:
        middle = (low + high) >> 1
        if time[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@inner
def slippage_nb(market: Market, choices: IntArray, quantities: FloatArray, i: int, order_notional: float) -> float:
    """Return how much worse than its raw price a market or stop order fills in candle i."""
    if choices[Choice.HAS_VOLUME_SLIPPAGE] == 0:
        return quantities[Quantity.SLIPPAGE]
    cap = quantities[Quantity.SLIPPAGE_CAP]
    if i == 0:
        return cap
    quote_volume = market.volume[i - 1] * market.close[i - 1]
    if quote_volume == 0.0:
        return cap
    share = order_notional * quantities[Quantity.CAPITAL_QUOTE] / quote_volume
    slippage = quantities[Quantity.SLIPPAGE] + quantities[Quantity.SLIPPAGE_IMPACT] * share
    return slippage if slippage < cap else cap
