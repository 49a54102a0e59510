"""Indicators by compiled kernels, for many tokens in one call: `quantbot_pipeline.engine.indicators`, bit for bit."""

from collections.abc import Mapping

import numpy as np

from quantbot_pipeline.engine.candles import Candles, FloatArray, IntArray
from quantbot_pipeline.engine.indicators import indicator_warm_up
from quantbot_pipeline.engine.kernels import indicators as kernels
from quantbot_pipeline.engine.kernels.market import MARKET_COLUMNS
from quantbot_pipeline.errors import SimulationError
from quantbot_pipeline.strategy.indicator_catalogue import INDICATORS

_KINDS: Mapping[str, int] = {
    "sma": kernels.SMA,
    "ema": kernels.EMA,
    "vwma": kernels.VWMA,
    "rsi": kernels.RSI,
    "macd": kernels.MACD,
    "bbands": kernels.BBANDS,
    "atr": kernels.ATR,
    "ichimoku": kernels.ICHIMOKU,
    "price_change": kernels.PRICE_CHANGE,
    "volume_change": kernels.VOLUME_CHANGE,
    "highest": kernels.HIGHEST,
    "lowest": kernels.LOWEST,
}

_FOREVER = 2**62
"""More candles than any token has."""

_RECURSIVE = frozenset({"ema", "macd", "rsi", "atr"})
"""Indicators whose values depend on all candles before them, to the last bit."""


def contiguous(candles: Candles) -> Candles:
    """Return candles whose arrays lie in one piece and have the kernels' types."""
    return Candles(
        candles.interval_seconds,
        np.ascontiguousarray(candles.timestamp, dtype=np.int64),
        *(
            np.ascontiguousarray(values, dtype=np.float64)
            for values in (candles.open, candles.high, candles.low, candles.close, candles.volume)
        ),
    )


def addresses_of(candles: Candles) -> list[int]:
    """Return the row of `market_at_nb` of one token; whoever uses it keeps the candles alive."""
    arrays = (candles.timestamp, candles.open, candles.high, candles.low, candles.close, candles.volume)
    return [*(values.ctypes.data for values in arrays), len(candles), candles.interval_seconds]


def compute_on_markets(
    markets: IntArray, name: str, params: Mapping[str, float], begins: IntArray, ends: IntArray, offsets: IntArray
) -> FloatArray:
    """Return every output of an indicator on a range of candles of each token.

    Candles after the range are not read, nor those before it that no value of it depends on.

    Args:
        markets: Addresses of each token's candles, shape (n_tokens, MARKET_COLUMNS); the arrays are alive.
        name: A name of the catalogue.
        params: All of its parameters.
        begins: First candle of each token's range, shape (n_tokens,).
        ends: End of the range.
        offsets: Where each range lies in the result, and where the last one ends, shape (n_tokens + 1,).

    Returns:
        One row per output, in the catalogue's order, shape (n_outputs, offsets[-1]).

    Raises:
        SimulationError: the name is not in the catalogue.
    """
    kind = _KINDS.get(name)
    if kind is None:
        raise SimulationError(f"indicator {name!r} is unknown; allowed are {', '.join(_KINDS)}")
    whole = np.zeros(4, dtype=np.int64)
    number = 0.0
    for slot, key in enumerate(INDICATORS[name].parameters):
        if key == "deviations":
            number = float(params[key])
        else:
            whole[slot] = int(params[key])
    warm_up = _FOREVER if name in _RECURSIVE else indicator_warm_up(name, params)
    firsts = np.maximum(begins - warm_up, 0)
    outputs = np.empty((len(INDICATORS[name].fields), int(offsets[-1])), dtype=np.float64)
    kernels.compute_indicator_nb(kind, whole, number, markets, firsts, begins, ends, offsets, outputs)
    return outputs


def compute_indicator_fast(candles: Candles, name: str, params: Mapping[str, float]) -> dict[str, FloatArray]:
    """Return every output of an indicator, shape (n,) each: `compute_indicator`, quicker.

    Args:
        candles: Candles of one token and interval.
        name: A name of the catalogue (`quantbot_pipeline.strategy.indicator_catalogue`).
        params: All of its parameters.

    Returns:
        Output by field name; `value` for an indicator with one output.

    Raises:
        SimulationError: the name is not in the catalogue.
    """
    kept = contiguous(candles)
    n = len(kept)
    markets = np.array(addresses_of(kept), dtype=np.int64).reshape(1, MARKET_COLUMNS)
    one = np.zeros(1, dtype=np.int64)
    outputs = compute_on_markets(markets, name, params, one, one + n, np.array([0, n], dtype=np.int64))
    return dict(zip(INDICATORS[name].fields, outputs, strict=True))
