"""Features of candles: what the candles said that were closed at the signal.

A candle is known once it is closed (open time + interval <= signal). Windows in time are those of candles that
closed in them; an indicator reads a fixed number of candles before the call, so that its value does not depend on
what else was loaded. Where candles of several intervals are stored, a call reads the finest interval that has a
candle closed in the day before, else the one whose last candle closed last.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quantbot_pipeline.engine.candles import Candles, FloatArray, IntArray
from quantbot_pipeline.engine.fast_indicators import addresses_of, compute_on_markets, contiguous
from quantbot_pipeline.engine.indicators import indicator_warm_up
from quantbot_pipeline.engine.kernels.market import LENGTH
from quantbot_pipeline.learning.feature_registry import INDICATOR_FEATURES, RETURN_SECONDS, names_from
from quantbot_pipeline.learning.windows import WindowMaxima, positive_log, window_sums
from quantbot_pipeline.strategy.indicator_catalogue import INDICATORS

_HOUR = 3_600
_DAY = 86_400
_WEEK = 7 * _DAY

LOOK_BACK_SECONDS = _WEEK
"""How far before a call candles are read by time; the return over it also reads the last candle before."""

LOOK_BACK_CANDLES = 2 + max(indicator_warm_up(each.indicator, dict(each.parameters)) for each in INDICATOR_FEATURES)
"""How many candles before a call are read whatever their times: the longest warm-up, the last one, and one more."""

CANDLE_COLUMNS = names_from("candles")
"""Features that candles are needed for."""

# Address columns of one candle row are eight bytes wide, whether times or prices.
_BYTES_PER_VALUE = 8


@dataclass(frozen=True, slots=True)
class CandleSeries:
    """Candles of one token and interval, and when the series began.

    Attributes:
        candles: At least those that the calls look back on; they may run past the calls.
        first_opened_at: Open time of the first candle of all that exist, seconds; at or before the first one here.
    """

    candles: Candles
    first_opened_at: int

    @classmethod
    def whole(cls, candles: Candles) -> "CandleSeries":
        """Return the series of all candles that exist; there is at least one."""
        return cls(candles, int(candles.timestamp[0]))


def candle_columns(series: Sequence[CandleSeries], signal: IntArray, log_price: FloatArray) -> dict[str, FloatArray]:
    """Return every feature of `CANDLE_COLUMNS` for calls on one token, shape (n_calls,) each.

    Args:
        series: The token's candles by interval, in any order; may be empty.
        signal: Signal times, seconds.
        log_price: ln of the price that each alert states, NaN without one.
    """
    columns = {name: np.full(len(signal), np.nan) for name in CANDLE_COLUMNS}
    usable = sorted((each for each in series if len(each.candles)), key=lambda each: each.candles.interval_seconds)
    if not usable or not len(signal):
        return columns
    chosen = _chosen_series(usable, signal)
    began_at = np.full(len(signal), np.iinfo(np.int64).max)
    for number, each in enumerate(usable):
        has_closed = each.first_opened_at + each.candles.interval_seconds <= signal
        began_at = np.where(has_closed, np.minimum(began_at, each.first_opened_at), began_at)
        rows = np.flatnonzero(chosen == number)
        if len(rows):
            _fill(columns, rows, signal[rows], log_price[rows], each)
    is_known = chosen >= 0
    columns["token_age_hours"][is_known] = (signal[is_known] - began_at[is_known]) / _HOUR
    return columns


def _chosen_series(series: Sequence[CandleSeries], signal: IntArray) -> IntArray:
    """Return which series each call reads, -1 where no candle is closed."""
    last_closed = np.full((len(series), len(signal)), np.iinfo(np.int64).min)
    for number, each in enumerate(series):
        closed_at = each.candles.timestamp + each.candles.interval_seconds
        known = np.searchsorted(closed_at, signal, side="right")
        last_closed[number] = np.where(known > 0, closed_at[np.maximum(known - 1, 0)], np.iinfo(np.int64).min)
    is_recent = last_closed > signal - _DAY
    # The first of equals: series are ordered by interval.
    latest = np.argmax(last_closed, axis=0)
    chosen = np.where(is_recent.any(axis=0), np.argmax(is_recent, axis=0), latest)
    is_known = last_closed.max(axis=0) > np.iinfo(np.int64).min
    return np.where(is_known, chosen, -1).astype(np.int64)


def _fill(
    columns: dict[str, FloatArray], rows: IntArray, signal: IntArray, log_price: FloatArray, series: CandleSeries
) -> None:
    """Fill the features of calls that read this series; each of them knows a candle of it."""
    interval = series.candles.interval_seconds
    closed_at = series.candles.timestamp + interval
    # Candle rows [0, known) are closed at the signal; [opened(w), known) closed in the w seconds that end with it.
    known = np.asarray(np.searchsorted(closed_at, signal, side="right"), dtype=np.int64)
    # What closes later is cut off before anything is computed.
    candles = contiguous(series.candles.slice(0, int(known.max())))
    closed_at = closed_at[: len(candles)]
    last_close = candles.close[known - 1]

    def since(seconds: int) -> IntArray:
        return np.asarray(np.searchsorted(closed_at, signal - seconds, side="right"), dtype=np.int64)

    day, week = since(_DAY), since(_WEEK)
    for name, seconds in RETURN_SECONDS.items():
        if seconds >= interval:
            before = since(seconds)
            earlier_close = np.where(before > 0, candles.close[np.maximum(before - 1, 0)], np.nan)
            columns[name][rows] = last_close / earlier_close - 1

    squared_return = np.concatenate([[0.0], np.diff(np.log(candles.close)) ** 2])
    for name, start in (("volatility_6h", since(6 * _HOUR)), ("volatility_24h", day)):
        # The first return of the window needs the close before the window; a series' first candle has none.
        first = np.maximum(start, 1)
        summed = np.sqrt(window_sums(squared_return, first, known))
        columns[name][rows] = np.where(known - first >= 2, summed, np.nan)

    quote_volume = candles.volume * candles.close
    volume_day = window_sums(quote_volume, day, known)
    columns["log_quote_volume_24h"][rows] = np.log1p(volume_day)
    columns["quote_volume_change_24h"][rows] = positive_log(volume_day) - positive_log(
        window_sums(quote_volume, since(2 * _DAY), day)
    )
    if interval <= _HOUR:
        volume_hour = window_sums(quote_volume, since(_HOUR), known)
        columns["log_quote_volume_1h"][rows] = np.log1p(volume_hour)
        columns["quote_volume_change_1h"][rows] = positive_log(volume_hour) - positive_log(volume_day / 24)

    highest, lowest = WindowMaxima(candles.high, len(candles)), WindowMaxima(-candles.low, len(candles))
    for span, start in (("24h", day), ("7d", week)):
        columns[f"drawdown_{span}"][rows] = 1 - last_close / highest.over(start, known)
        columns[f"rise_from_low_{span}"][rows] = last_close / -lowest.over(start, known) - 1

    present = (known - day).astype(np.float64)
    idle = window_sums((candles.volume == 0).astype(np.float64), day, known)
    columns["idle_candle_share_24h"][rows] = idle / np.where(present > 0, present, np.nan)
    age = (signal - series.first_opened_at).astype(np.float64)
    expected = np.floor(np.minimum(age, _DAY) / interval)
    columns["missing_candle_share_24h"][rows] = np.where(
        expected >= 1, np.maximum(0.0, 1 - present / np.maximum(expected, 1)), np.nan
    )
    columns["last_candle_age_seconds"][rows] = signal - closed_at[known - 1]
    columns["alert_price_over_last_close"][rows] = log_price - positive_log(last_close)
    _fill_indicators(columns, rows, candles, known, last_close)


def _fill_indicators(
    columns: dict[str, FloatArray], rows: IntArray, candles: Candles, known: IntArray, last_close: FloatArray
) -> None:
    """Fill the indicators at the last closed candle.

    Every call is a market of its own for the kernels: a stretch of the candles that ends with its last closed one.
    """
    one = np.array(addresses_of(candles), dtype=np.int64)
    offsets = np.arange(len(known) + 1, dtype=np.int64)
    computed: dict[tuple[str, tuple[tuple[str, float], ...]], FloatArray] = {}
    for feature in INDICATOR_FEATURES:
        key = (feature.indicator, feature.parameters)
        if key not in computed:
            parameters = dict(feature.parameters)
            length = np.minimum(known, indicator_warm_up(feature.indicator, parameters) + 1)
            markets = np.tile(one, (len(known), 1))
            markets[:, :LENGTH] += (_BYTES_PER_VALUE * (known - length))[:, None]
            markets[:, LENGTH] = length
            computed[key] = compute_on_markets(markets, feature.indicator, parameters, length - 1, length, offsets)
        values = computed[key][INDICATORS[feature.indicator].fields.index(feature.output)]
        if feature.form == "over_close":
            values = values / last_close
        elif feature.form == "close_over":
            values = last_close / values - 1
        columns[feature.name][rows] = np.where(np.isfinite(values), values, np.nan)
