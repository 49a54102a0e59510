"""Features that need no candles: the caller's record and activity, the crowd on the token, the alert, the clock.

A trade counts once it is known (`known_at <= signal`), a call once it is earlier than the signal: which of two calls
of the same second came first is not known, so neither counts for the other.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from quantbot_pipeline.engine.candles import FloatArray, IntArray
from quantbot_pipeline.errors import LearningError
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.learning.feature_registry import ATTRIBUTE_PREFIX, PRIOR_TRADES, RECENT_TRADES
from quantbot_pipeline.learning.past_trades import PastTrade, float_column, integer_column, past_trade_table
from quantbot_pipeline.learning.windows import positive_log, rows_by_key, window_sums

_HOUR = 3_600
_DAY = 86_400
_WEEK = 7 * _DAY
# The epoch was a Thursday: three days after a Monday.
_EPOCH_AFTER_MONDAY = 3 * _DAY


@dataclass(frozen=True, slots=True)
class FeatureCall:
    """One entry call, as far as features are built from it.

    Attributes:
        call_id: Identity; unique among the calls given.
        token: The token called.
        caller_id: Who made it.
        signal_timestamp: When it was made, whole seconds since the epoch, UTC.
        alert_price: Price that the alert states, quote currency; None or <= 0 is unknown.
        alert_market_cap: Market cap that the alert states, USD; None or <= 0 is unknown.
        attributes: What a user's own columns say of the alert, by column; one that is absent is unknown.
    """

    call_id: int
    token: TokenKey
    caller_id: int
    signal_timestamp: int
    alert_price: float | None
    alert_market_cap: float | None
    attributes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CallArrays:
    """Calls as arrays, in the order given.

    Attributes:
        call_id: Identities.
        signal: Signal times, seconds.
        caller: Callers.
        token: Places in `tokens`.
        tokens: The tokens, in the order of their first call here.
        log_price: ln of the stated price, NaN where there is none.
        log_market_cap: ln of the stated market cap, NaN where there is none.
    """

    call_id: IntArray
    signal: IntArray
    caller: IntArray
    token: IntArray
    tokens: tuple[TokenKey, ...]
    log_price: FloatArray
    log_market_cap: FloatArray

    def __len__(self) -> int:
        return len(self.call_id)

    def rows_by_token(self) -> Iterator[tuple[TokenKey, IntArray]]:
        """Yield each token with the rows of its calls, ascending."""
        for position, rows in rows_by_key(self.token):
            yield self.tokens[position], rows


def call_arrays(calls: Sequence[FeatureCall]) -> CallArrays:
    """Return calls as arrays.

    Raises:
        LearningError: a call id occurs twice.
    """
    call_id = np.array([call.call_id for call in calls], dtype=np.int64)
    unique, counts = np.unique(call_id, return_counts=True)
    if len(unique) < len(call_id):
        raise LearningError(
            f"call {int(unique[counts > 1][0])} is given {int(counts.max())} times; allowed is one feature row per call"
        )
    position: dict[TokenKey, int] = {}
    return CallArrays(
        call_id=call_id,
        signal=np.array([call.signal_timestamp for call in calls], dtype=np.int64),
        caller=np.array([call.caller_id for call in calls], dtype=np.int64),
        token=np.array([position.setdefault(call.token, len(position)) for call in calls], dtype=np.int64),
        tokens=tuple(position),
        log_price=_stated_log([call.alert_price for call in calls]),
        log_market_cap=_stated_log([call.alert_market_cap for call in calls]),
    )


def call_columns(
    calls: CallArrays, trades: pa.Table | Sequence[PastTrade], attributes: Mapping[str, FloatArray]
) -> dict[str, FloatArray]:
    """Return every feature that needs no candles, shape (n_calls,) each.

    Args:
        calls: All entry calls: they are also what "earlier calls" are counted among.
        trades: Trades of one strategy.
        attributes: Values of a user's own columns per call, by the feature's name; NaN is unknown.

    Raises:
        LearningError: the table of trades is not one of past trades, or a value is infinite.
    """
    columns = dict(_caller_record(calls, past_trade_table(trades)))
    columns |= _caller_activity(calls)
    columns |= _crowd(calls)
    columns["log_alert_price"] = calls.log_price
    columns["log_market_cap"] = calls.log_market_cap
    columns["log_stated_supply"] = calls.log_market_cap - calls.log_price
    for name, seconds, offset in (("hour", _DAY, 0), ("weekday", _WEEK, _EPOCH_AFTER_MONDAY)):
        angle = 2 * np.pi * ((calls.signal + offset) % seconds) / seconds
        columns[f"{name}_sin"] = np.sin(angle)
        columns[f"{name}_cos"] = np.cos(angle)
    for name, values in attributes.items():
        if np.isinf(values).any():
            raise LearningError(f"feature {name!r} holds infinite values; allowed are numbers and NaN")
        columns[name] = values
    return columns


def attribute_columns(calls: Sequence[FeatureCall], names: Sequence[str]) -> dict[str, FloatArray]:
    """Return a user's own columns by the feature's name, `attribute:<column>`; NaN where a call has none."""
    columns = {}
    for name in names:
        key = name.removeprefix(ATTRIBUTE_PREFIX)
        columns[name] = np.array([call.attributes.get(key, np.nan) for call in calls], dtype=np.float64)
    return columns


def _stated_log(values: Sequence[float | None]) -> FloatArray:
    return positive_log(np.array([np.nan if value is None else value for value in values], dtype=np.float64))


def _caller_record(calls: CallArrays, trades: pa.Table) -> dict[str, FloatArray]:
    pnl = float_column(trades, "pnl")
    bought = np.flatnonzero(np.isfinite(pnl))
    known_at, trade_call = integer_column(trades, "known_at")[bought], integer_column(trades, "call_id")[bought]
    caller, pnl = integer_column(trades, "caller_id")[bought], pnl[bought]
    # Ties in time are ordered by call, so that later trades never change the order of earlier ones and with it the
    # last bit of a sum. A sum from the first trade on is the same whatever follows.
    order = np.lexsort((trade_call, known_at))
    known_at, caller, pnl = known_at[order], caller[order], pnl[order]
    count = len(calls)
    everyone = np.searchsorted(known_at, calls.signal, side="right")
    of_everyone = np.where(everyone > 0, everyone, np.nan)
    everyone_wins = _sums_from_first(pnl > 0)[everyone] / of_everyone
    everyone_mean = _sums_from_first(pnl)[everyone] / of_everyone

    finished, wins, total = np.zeros(count), np.zeros(count), np.zeros(count)
    recent = np.full(count, np.nan)
    trades_of = dict(rows_by_key(caller))
    for caller_id, call_row in rows_by_key(calls.caller):
        trade_row = trades_of.get(caller_id)
        if trade_row is None:
            continue
        own_pnl = pnl[trade_row]
        known = np.asarray(np.searchsorted(known_at[trade_row], calls.signal[call_row], side="right"), dtype=np.int64)
        finished[call_row] = known
        wins[call_row] = _sums_from_first(own_pnl > 0)[known]
        total[call_row] = _sums_from_first(own_pnl)[known]
        first_recent = np.maximum(known - RECENT_TRADES, 0)
        recent[call_row] = _ratio(window_sums(own_pnl, first_recent, known), (known - first_recent).astype(np.float64))
    return {
        "caller_win_rate": _ratio(wins, finished),
        "caller_mean_pnl": _ratio(total, finished),
        "caller_win_rate_shrunk": (wins + PRIOR_TRADES * everyone_wins) / (finished + PRIOR_TRADES),
        "caller_mean_pnl_shrunk": (total + PRIOR_TRADES * everyone_mean) / (finished + PRIOR_TRADES),
        "caller_recent_mean_pnl": recent,
        "caller_finished_trades": finished,
        "everyone_win_rate": everyone_wins,
        "everyone_mean_pnl": everyone_mean,
    }


def _caller_activity(calls: CallArrays) -> dict[str, FloatArray]:
    count = len(calls)
    before, day, week = np.zeros(count), np.zeros(count), np.zeros(count)
    since_first, since_last = np.full(count, np.nan), np.full(count, np.nan)
    for _, call_row in rows_by_key(calls.caller):
        signal = calls.signal[call_row]
        times = np.sort(signal)
        earlier = np.searchsorted(times, signal, side="left")
        before[call_row] = earlier
        day[call_row] = earlier - np.searchsorted(times, signal - _DAY, side="left")
        week[call_row] = earlier - np.searchsorted(times, signal - _WEEK, side="left")
        has_earlier = earlier > 0
        since_first[call_row] = np.where(has_earlier, signal - times[0], np.nan)
        since_last[call_row] = np.where(has_earlier, signal - times[np.maximum(earlier - 1, 0)], np.nan)
    days = since_first / _DAY
    return {
        "caller_calls_before": before,
        "caller_calls_24h": day,
        "caller_calls_7d": week,
        "caller_calls_per_day": before / np.maximum(days, 1.0),
        "caller_days_since_first_call": days,
        "caller_hours_since_last_call": since_last / _HOUR,
    }


def _crowd(calls: CallArrays) -> dict[str, FloatArray]:
    count = len(calls)
    others, own, hour, day = np.zeros(count), np.zeros(count), np.zeros(count), np.zeros(count)
    since_first = np.zeros(count)
    since_last, between = np.full(count, np.nan), np.full(count, np.nan)
    for _, call_row in rows_by_key(calls.token):
        signal = calls.signal[call_row]
        times = np.sort(signal)
        earlier = np.searchsorted(times, signal, side="left")
        hour[call_row] = earlier - np.searchsorted(times, signal - _HOUR, side="left")
        day[call_row] = earlier - np.searchsorted(times, signal - _DAY, side="left")
        since_first[call_row] = signal - times[0]
        since_last[call_row] = np.where(earlier > 0, signal - times[np.maximum(earlier - 1, 0)], np.nan)
        first_times = []
        for _, of_caller in rows_by_key(calls.caller[call_row]):
            own_times = np.sort(signal[of_caller])
            first_times.append(own_times[0])
            own[call_row[of_caller]] = np.searchsorted(own_times, signal[of_caller], side="left")
        first = np.sort(np.array(first_times, dtype=np.int64))
        callers = np.searchsorted(first, signal, side="left")
        others[call_row] = callers - (own[call_row] > 0)
        last_first = first[np.maximum(callers - 1, 0)]
        between[call_row] = np.where(callers > 1, (last_first - first[0]) / np.maximum(callers - 1, 1), np.nan)
    everyone = np.sort(calls.signal)
    all_hour = np.searchsorted(everyone, calls.signal) - np.searchsorted(everyone, calls.signal - _HOUR)
    return {
        "other_callers_on_token": others,
        "calls_on_token_1h": hour,
        "calls_on_token_24h": day,
        "caller_calls_on_token": own,
        "hours_since_first_call_on_token": since_first / _HOUR,
        "hours_since_last_call_on_token": since_last / _HOUR,
        "hours_between_callers": between / _HOUR,
        "all_calls_1h": all_hour.astype(np.float64),
    }


def _sums_from_first(values: FloatArray | np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> FloatArray:
    """Return the sums of the first 0, 1, 2, … values."""
    return np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Return the quotient, NaN where the denominator is 0."""
    return numerator / np.where(denominator > 0, denominator, np.nan)
