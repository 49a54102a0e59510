"""What all kernels share: candles as a struct of arrays, and slippage.

Candles reach the kernels as the addresses of their arrays, so that many tokens of different lengths go into
one call without being copied together. Whoever passes addresses keeps the arrays alive and contiguous.
"""

# mypy: disable-error-code="no-any-return"
# (numpy's stubs type an element of an array as Any.)

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from numba import carray, njit, types
from numba.extending import intrinsic

from quantbot_pipeline.engine.candles import FloatArray, IntArray
from quantbot_pipeline.strategy import compile as compile_module
from quantbot_pipeline.strategy.compile import Choice, Quantity

_Kernel = TypeVar("_Kernel", bound=Callable[..., Any])


def inner(function: _Kernel) -> _Kernel:
    """Compile a function that only kernels call.

    Nothing is built for calls from Python, which halves the time to compile. Division by zero gives infinity as
    in numpy; `fastmath` stays off, it would change results.
    """
    compiled: _Kernel = njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)
    return compiled


def inner_without_nan(function: _Kernel) -> _Kernel:
    """Compile an inner function that only compares numbers which are never NaN nor -0.0.

    Knowing so lets minima and maxima be vectorised; which number is smaller does not depend on it.
    """
    compiled: _Kernel = njit(
        error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, fastmath={"nnan", "nsz"}
    )(function)
    return compiled


def _digest_of_shared_sources() -> str:
    """Return what tells versions of the files apart that kernels include from outside of their own file."""
    sources = (Path(__file__), Path(compile_module.__file__))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]


_SHARED_SOURCES = _digest_of_shared_sources()


def outer(function: _Kernel) -> _Kernel:
    """Compile a function that Python calls, with all it calls, and keep it in numba's cache.

    numba looks at the function's own file alone to see whether its cache is stale; the name under which it is kept
    says the rest, so that an upgrade never runs kernels with the slots of another version.
    """
    function.__qualname__ = f"{function.__qualname__}_{_SHARED_SOURCES}"
    compiled: _Kernel = njit(error_model="numpy", cache=True, nogil=True)(function)
    return compiled


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
