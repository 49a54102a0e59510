"""Features of calls: what was known at `signal_timestamp`, and nothing else.

A candle is known once it is closed (open time + interval <= signal), a trade once it is done
(`done_at` <= signal), a call once it is earlier than the signal (the same second does not count: which of
two came first is not known). The tests change everything after a time T and expect the features of calls
at or before T to stay the same, bit by bit; for this every value is computed from its own window of known
rows, never from a sum that runs on.

Arrays: `call_row` counts the calls that were given, in their order; every feature is float64 of shape
(n_calls,), NaN where it is unknown.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from quantbot_pipeline.engine.candles import Candles, FloatArray, IntArray
from quantbot_pipeline.errors import LearningError
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.learning.past_trades import PastTrade, float_column, integer_column, past_trade_table

FEATURE_SET = "call_v1"
"""Name of this set of features; a change of any meaning below needs a new name."""

_HOUR = 3_600
_DAY = 86_400
_WEEK = 7 * _DAY


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """What a feature is.

    Attributes:
        name: Column name.
        meaning: One sentence; says when it is NaN.
        unit: Unit of the values.
        dtype: Type of the column.
        source: Where it comes from: candles, trades, calls, alert or clock.
    """

    name: str
    meaning: str
    unit: str
    source: str
    dtype: str = "float64"


FEATURES: tuple[FeatureSpec, ...] = (
    FeatureSpec(
        "return_1h",
        "Last known close over the close known 1 h before the signal, less 1; NaN without one of them.",
        "fraction",
        "candles",
    ),
    FeatureSpec("return_6h", "The same over 6 h.", "fraction", "candles"),
    FeatureSpec("return_24h", "The same over 24 h.", "fraction", "candles"),
    FeatureSpec(
        "volatility_24h",
        "Root of the sum of squared log returns from close to close of the candles that closed in the 24 h "
        "before; NaN with fewer than two of them.",
        "log return per day",
        "candles",
    ),
    FeatureSpec(
        "log_quote_volume_24h",
        "ln(1 + sum of volume times close) of the candles that closed in the 24 h before; NaN without one.",
        "ln quote currency",
        "candles",
    ),
    FeatureSpec(
        "quote_volume_change_24h",
        "ln of the quote volume of the last 24 h over that of the 24 h before; NaN where either is 0.",
        "ln ratio",
        "candles",
    ),
    FeatureSpec(
        "drawdown_24h",
        "1 - last close over the highest high of candles that closed in the 24 h before; NaN without one.",
        "fraction",
        "candles",
    ),
    FeatureSpec("drawdown_7d", "The same over 7 days.", "fraction", "candles"),
    FeatureSpec(
        "token_age_hours",
        "Time since the token's first candle that was given opened; NaN without a closed candle.",
        "hours",
        "candles",
    ),
    FeatureSpec(
        "missing_candle_share_24h",
        "Share of candles that are absent among those that fit into the last 24 h, or into the token's age "
        "if that is shorter; NaN where not one fits.",
        "fraction",
        "candles",
    ),
    FeatureSpec(
        "last_candle_age_seconds",
        "Time since the last known candle closed; NaN without one.",
        "seconds",
        "candles",
    ),
    FeatureSpec(
        "caller_win_rate",
        "Share with pnl > 0 of the caller's trades that were done; NaN without one.",
        "fraction",
        "trades",
    ),
    FeatureSpec(
        "caller_mean_pnl",
        "Mean pnl of the caller's trades that were done; NaN without one.",
        "fraction of capital",
        "trades",
    ),
    FeatureSpec("caller_finished_trades", "Number of the caller's trades that were done.", "count", "trades"),
    FeatureSpec("caller_calls_24h", "Number of calls by the caller in the 24 h before.", "count", "calls"),
    FeatureSpec("caller_calls_7d", "Number of calls by the caller in the 7 days before.", "count", "calls"),
    FeatureSpec(
        "other_callers_on_token",
        "Number of other callers with an earlier call on the token.",
        "count",
        "calls",
    ),
    FeatureSpec(
        "hours_since_first_call_on_token",
        "Time since the first call of anyone on the token; 0 for that call itself.",
        "hours",
        "calls",
    ),
    FeatureSpec("log_alert_price", "ln of the price that the alert states; NaN without one.", "ln price", "alert"),
    FeatureSpec(
        "alert_price_over_last_close",
        "ln of the alert's price over the last known close; NaN without one of them.",
        "ln ratio",
        "alert, candles",
    ),
    FeatureSpec(
        "log_market_cap",
        "ln of the market cap that the alert states; NaN without one.",
        "ln quote currency",
        "alert",
    ),
    FeatureSpec("hour_sin", "Sine of the signal's time of day, UTC.", "-1 to 1", "clock"),
    FeatureSpec("hour_cos", "Cosine of the signal's time of day, UTC.", "-1 to 1", "clock"),
)
"""Every feature of the set, in the order of the columns."""

FEATURE_NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)

_OUTCOME_NAMES = frozenset(
    {
        "ath",
        "ath_multiple",
        "average_holding_minutes",
        "avg_trade_return",
        "cash_spent",
        "done_at",
        "drawdown_after",
        "exit_price",
        "exit_time",
        "exited_at",
        "final_pnl",
        "final_price",
        "gain",
        "gains",
        "gains_count",
        "highest_gain",
        "holding_minutes",
        "holding_seconds",
        "is_win",
        "label",
        "label_end",
        "max_adverse_excursion",
        "max_drawdown",
        "max_favourable_excursion",
        "max_gain",
        "max_gains",
        "max_multiple",
        "max_price",
        "max_return",
        "median_trade_return",
        "outcome",
        "peak_multiple",
        "peak_price",
        "pnl",
        "pnl_so_far",
        "profit",
        "realised_pnl",
        "realized_pnl",
        "result",
        "return_deployed",
        "roi",
        "sharpe_ratio",
        "sortino_ratio",
        "target",
        "targets_hit",
        "time_to_target",
        "total_pnl",
        "win",
        "win_rate",
        "y",
    }
)
_OUTCOME_PREFIXES = (
    "future_",
    "forward_",
    "next_",
    "after_",
    "max_gain",
    "gains_",
    "label_",
    "exit_",
    "pnl_",
    "ath_",
)


@dataclass(frozen=True, slots=True)
class FeatureCall:
    """One entry call, as far as features are built from it.

    Attributes:
        call_id: Identity; unique among the calls given.
        token: The token called.
        caller_id: Who made it.
        signal_timestamp: When it was made, whole seconds since the epoch, UTC.
        alert_price: Price that the alert states, quote currency; None or <= 0 is unknown.
        alert_market_cap: Market cap that the alert states, quote currency; None or <= 0 is unknown.
    """

    call_id: int
    token: TokenKey
    caller_id: int
    signal_timestamp: int
    alert_price: float | None
    alert_market_cap: float | None


def build_features(
    calls: Sequence[FeatureCall],
    candles: Mapping[TokenKey, Candles],
    trades: pa.Table | Sequence[PastTrade],
) -> pa.Table:
    """Return the features of every call.

    Args:
        calls: All entry calls, in any order: they are also what "earlier calls" are counted among.
        candles: Candles per token, valid, with at least 7 days before the first call where they exist;
            they may run past the calls. A token may be absent.
        trades: Trades of earlier simulations; trades that never bought (pnl null) are left out of the
            caller's record. Give one strategy's trades for a record under that strategy.

    Returns:
        A table with `call_id` (int64) and one float64 column per feature of `FEATURES`, NaN where it is
        unknown, never infinite; one row per call in the order given.

    Raises:
        LearningError: a call id occurs twice, or the table of trades is not one of past trades.
    """
    call_id = np.array([call.call_id for call in calls], dtype=np.int64)
    unique, counts = np.unique(call_id, return_counts=True)
    if len(unique) < len(call_id):
        raise LearningError(
            f"call {int(unique[counts > 1][0])} is given {int(counts.max())} times; allowed is one feature row per call"
        )
    signal = np.array([call.signal_timestamp for call in calls], dtype=np.int64)
    caller = np.array([call.caller_id for call in calls], dtype=np.int64)
    token_position: dict[TokenKey, int] = {}
    token = np.array([token_position.setdefault(call.token, len(token_position)) for call in calls], dtype=np.int64)

    columns: dict[str, FloatArray] = {name: np.full(len(calls), np.nan) for name in FEATURE_NAMES}
    last_close = np.full(len(calls), np.nan)
    tokens = list(token_position)
    for position, call_row in _groups(token):
        token_candles = candles.get(tokens[position])
        if token_candles is not None and len(token_candles):
            last_close[call_row] = _fill_candle_features(columns, call_row, signal[call_row], token_candles)
    _fill_caller_record(columns, caller, signal, past_trade_table(trades))
    _fill_call_features(columns, caller, token, signal)
    _fill_alert_features(columns, calls, last_close)
    angle = 2 * np.pi * (signal % _DAY) / _DAY
    columns["hour_sin"][:] = np.sin(angle)
    columns["hour_cos"][:] = np.cos(angle)
    return pa.table({"call_id": pa.array(call_id), **{name: pa.array(values) for name, values in columns.items()}})


def refuse_outcome_columns(names: Sequence[str]) -> None:
    """Refuse columns that are known only after a call, such as `max_gain`.

    Raises:
        LearningError: a name is that of an outcome; the message lists all of them.
    """
    outcomes = [
        name
        for name in names
        if (plain := "_".join(name.casefold().replace("-", " ").split())) in _OUTCOME_NAMES
        or plain.startswith(_OUTCOME_PREFIXES)
    ]
    if outcomes:
        raise LearningError(
            f"columns {', '.join(outcomes)} are known only after the call, so a model that reads them looks "
            "into the future; allowed are features known at the signal, such as those of the feature set "
            f"{FEATURE_SET}: {', '.join(FEATURE_NAMES)}"
        )


def _groups(keys: IntArray) -> Iterator[tuple[int, IntArray]]:
    """Yield each key with the rows that hold it, ascending."""
    if not len(keys):
        return
    order = np.argsort(keys, kind="stable")
    sorted_keys = keys[order]
    starts = np.flatnonzero(np.concatenate([[True], sorted_keys[1:] != sorted_keys[:-1]]))
    for start, rows in zip(starts, np.split(order, starts[1:]), strict=True):
        yield int(sorted_keys[start]), rows


def _fill_candle_features(
    columns: dict[str, FloatArray], call_row: IntArray, signal: IntArray, candles: Candles
) -> FloatArray:
    """Fill the features of one token's calls from its candles; return the last known close per call."""
    interval = candles.interval_seconds
    closed_at = candles.timestamp + interval
    # Candle rows [0, known) are closed at the signal; [known_before(w), known) closed in the window of w
    # seconds that ends with it.
    known = np.searchsorted(closed_at, signal, side="right")
    has_candle = known > 0
    last = np.maximum(known - 1, 0)
    last_close = np.where(has_candle, candles.close[last], np.nan)

    def known_before(seconds: int) -> IntArray:
        return np.asarray(np.searchsorted(closed_at, signal - seconds, side="right"), dtype=np.int64)

    for name, seconds in (("return_1h", _HOUR), ("return_6h", 6 * _HOUR), ("return_24h", _DAY)):
        before = known_before(seconds)
        earlier_close = np.where(before > 0, candles.close[np.maximum(before - 1, 0)], np.nan)
        columns[name][call_row] = last_close / earlier_close - 1

    day_start = known_before(_DAY)
    squared_log_return = np.concatenate([[0.0], np.diff(np.log(candles.close)) ** 2])
    # The first return of the window needs the close before the window; a token's first candle has none.
    first_return = np.maximum(day_start, 1)
    columns["volatility_24h"][call_row] = np.where(
        known - first_return >= 2, np.sqrt(_window_sums(squared_log_return, first_return, known)), np.nan
    )

    quote_volume = candles.volume * candles.close
    volume_now = _window_sums(quote_volume, day_start, known)
    volume_before = _window_sums(quote_volume, known_before(2 * _DAY), day_start)
    columns["log_quote_volume_24h"][call_row] = np.where(has_candle, np.log1p(volume_now), np.nan)
    columns["quote_volume_change_24h"][call_row] = _log(volume_now) - _log(volume_before)

    for name, start in (("drawdown_24h", day_start), ("drawdown_7d", known_before(_WEEK))):
        columns[name][call_row] = 1 - last_close / _window_maxima(candles.high, start, known)

    age = (signal - candles.timestamp[0]).astype(np.float64)
    columns["token_age_hours"][call_row] = np.where(has_candle, age / _HOUR, np.nan)
    expected = np.floor(np.minimum(age, _DAY) / interval)
    present = (known - day_start).astype(np.float64)
    columns["missing_candle_share_24h"][call_row] = np.where(
        has_candle & (expected >= 1), np.maximum(0.0, 1 - present / np.maximum(expected, 1)), np.nan
    )
    columns["last_candle_age_seconds"][call_row] = np.where(has_candle, signal - closed_at[last], np.nan)
    return last_close


def _fill_caller_record(columns: dict[str, FloatArray], caller: IntArray, signal: IntArray, trades: pa.Table) -> None:
    """Fill the caller's record from trades that were done at the signal."""
    pnl = float_column(trades, "pnl")
    bought = np.flatnonzero(np.isfinite(pnl))
    done_at, trade_call = integer_column(trades, "done_at")[bought], integer_column(trades, "call_id")[bought]
    trade_caller, pnl = integer_column(trades, "caller_id")[bought], pnl[bought]
    trades_of = dict(_groups(trade_caller))
    columns["caller_finished_trades"][:] = 0.0
    for caller_id, call_row in _groups(caller):
        trade_row = trades_of.get(caller_id)
        if trade_row is None:
            continue
        # Ties in time are ordered by call, so that later trades never change the order of earlier ones
        # and with it the last bit of a sum.
        trade_row = trade_row[np.lexsort((trade_call[trade_row], done_at[trade_row]))]
        count = np.searchsorted(done_at[trade_row], signal[call_row], side="right")
        wins = np.concatenate([[0.0], np.cumsum(pnl[trade_row] > 0)])[count]
        total = np.concatenate([[0.0], np.cumsum(pnl[trade_row])])[count]
        divisor = np.where(count > 0, count, np.nan)
        columns["caller_finished_trades"][call_row] = count
        columns["caller_win_rate"][call_row] = wins / divisor
        columns["caller_mean_pnl"][call_row] = total / divisor


def _fill_call_features(columns: dict[str, FloatArray], caller: IntArray, token: IntArray, signal: IntArray) -> None:
    """Fill what earlier calls tell: the caller's activity and the crowd on the token."""
    for _, call_row in _groups(caller):
        times = np.sort(signal[call_row])
        earlier = np.searchsorted(times, signal[call_row], side="left")
        for name, seconds in (("caller_calls_24h", _DAY), ("caller_calls_7d", _WEEK)):
            columns[name][call_row] = earlier - np.searchsorted(times, signal[call_row] - seconds, side="left")
    for _, call_row in _groups(token):
        first_call: IntArray = np.empty(len(call_row), dtype=np.int64)
        first_times = []
        for _, of_caller in _groups(caller[call_row]):
            first = signal[call_row[of_caller]].min()
            first_call[of_caller] = first
            first_times.append(first)
        callers_before = np.searchsorted(np.sort(first_times), signal[call_row], side="left")
        columns["other_callers_on_token"][call_row] = callers_before - (first_call < signal[call_row])
        columns["hours_since_first_call_on_token"][call_row] = (signal[call_row] - min(first_times)) / _HOUR


def _fill_alert_features(columns: dict[str, FloatArray], calls: Sequence[FeatureCall], last_close: FloatArray) -> None:
    """Fill what the alert states."""
    price = np.array([np.nan if call.alert_price is None else call.alert_price for call in calls], dtype=np.float64)
    market_cap = np.array(
        [np.nan if call.alert_market_cap is None else call.alert_market_cap for call in calls],
        dtype=np.float64,
    )
    columns["log_alert_price"][:] = _log(price)
    columns["alert_price_over_last_close"][:] = _log(price) - _log(last_close)
    columns["log_market_cap"][:] = _log(market_cap)


def _log(values: FloatArray) -> FloatArray:
    """Return the natural logarithm, NaN where a value is not positive and finite."""
    usable = np.isfinite(values) & (values > 0)
    return np.where(usable, np.log(np.where(usable, values, 1.0)), np.nan)


def _window_sums(values: FloatArray, start: IntArray, stop: IntArray) -> FloatArray:
    """Return the sum of values[start:stop] per window, 0 for an empty one.

    Each window is summed by itself: the difference of two running sums would lose a quiet window behind
    a loud past, and would differ in the last bit between data sets.
    """
    sums = np.zeros(len(start))
    # By start: `reduceat` also sums what lies between one window's end and the next one's start.
    window = np.argsort(start, kind="stable")
    window = window[stop[window] > start[window]]
    if len(window):
        padded = np.append(values, 0.0)  # so that `stop` may be the end of the values
        bounds = np.stack([start[window], stop[window]], axis=1).ravel()
        sums[window] = np.add.reduceat(padded, bounds)[::2]
    return sums


def _window_maxima(values: FloatArray, start: IntArray, stop: IntArray) -> FloatArray:
    """Return the maximum of values[start:stop] per window, NaN for an empty one.

    Doubling widths: `level[i]` is the maximum of `width` values from i on, and two such overlapping
    stretches cover a window, so that long windows cost no more than short ones.
    """
    length = stop - start
    maxima = np.full(len(start), np.nan)
    level, width = values, 1
    while True:
        fits = (length >= width) & (length < 2 * width)
        maxima[fits] = np.maximum(level[start[fits]], level[stop[fits] - width])
        if not (length >= 2 * width).any():
            return maxima
        level = np.maximum(level[:-width], level[width:])
        width *= 2
