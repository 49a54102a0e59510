"""Calls and candles of some tokens, read once in bulk and cut to what each run may see.

A run over the window `[start, end)` of a token reads

- the entry calls of the window, and those other calls that its strategy listens to;
- under `overlap` other than `independent`, also the calls before the window whose trades may still be
  open in it;
- the candles of one interval (the finest stored in the window), from the strategy's warm-up before the
  first of these calls to the horizon candle of the last.

The fingerprint covers exactly these rows: it changes when, and only when, something that the run reads changes.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Self

import numpy as np

from quantbot_pipeline.engine.calls import Call, Side, SignalType
from quantbot_pipeline.engine.candles import INTERVAL_SECONDS, Candles
from quantbot_pipeline.engine.reference import warm_up_candles
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.storage.records import CallRow
from quantbot_pipeline.strategy.model import Strategy
from quantbot_pipeline.workflows.token_months import month_of, next_month

# A horizon may end inside a gap of the data; the candle after the gap is still found when the gap is shorter.
_LONGEST_GAP_SECONDS = 31 * 86_400

# Candles before the window are asked for by time; a series with gaps needs a longer stretch for the same count.
_WARM_UP_GAP_ALLOWANCE = 4

_INTERVAL_NAMES = {seconds: name for name, seconds in INTERVAL_SECONDS.items()}


@dataclass(frozen=True, slots=True)
class TokenInput:
    """What one run reads of one token.

    Attributes:
        token: The token.
        candles: The candles that the run may see.
        calls: The calls that it needs, ordered by (signal_timestamp, call_id).
        reported_call_ids: Those whose trades belong to the window.
        fingerprint: sha256 hex over candles and calls.
    """

    token: TokenKey
    candles: Candles
    calls: tuple[Call, ...]
    reported_call_ids: frozenset[int]
    fingerprint: str


def trade_reach_seconds(strategy: Strategy) -> int:
    """Return the longest time from a call to the horizon of its trade."""
    return strategy.costs.latency_seconds + strategy.max_staleness_seconds + strategy.horizon_seconds


@dataclass(frozen=True, slots=True)
class _Extent:
    """How far around its window a strategy reads."""

    reach_seconds: int
    warm_up_candles: int
    has_overlap: bool

    @classmethod
    def of(cls, strategies: Iterable[Strategy]) -> Self:
        every = list(strategies)
        return cls(
            reach_seconds=max((trade_reach_seconds(strategy) for strategy in every), default=0),
            warm_up_candles=max((warm_up_candles(strategy) for strategy in every), default=0) + 1,
            has_overlap=any(strategy.overlap != "independent" for strategy in every),
        )

    def covers(self, other: "_Extent") -> bool:
        return (
            self.reach_seconds >= other.reach_seconds
            and self.warm_up_candles >= other.warm_up_candles
            and self.has_overlap >= other.has_overlap
        )


class SimulationInputs:
    """Calls and candles of some tokens over some time, ready to be cut for runs."""

    def __init__(
        self,
        calls: Mapping[TokenKey, Sequence[CallRow]],
        intervals: Mapping[TokenKey, Mapping[str, Collection[int]]],
        candles: Mapping[tuple[TokenKey, int], Candles],
        extent: "_Extent",
    ) -> None:
        self._calls = calls
        self._intervals = intervals
        self._candles = candles
        self._extent = extent

    @classmethod
    def load(
        cls,
        state: StateStore,
        history: HistoryStore,
        windows: Mapping[TokenKey, tuple[datetime, datetime]],
        strategies: Iterable[Strategy],
    ) -> Self:
        """Read what runs of `strategies` need that lie within a window per token.

        Args:
            state: Where calls are.
            history: Where candles are.
            windows: Per token, `[start, end)`.
            strategies: All strategies that will be cut for.
        """
        extent = _Extent.of(strategies)
        calls: dict[TokenKey, list[CallRow]] = defaultdict(list)
        for call in state.load_calls(tokens=list(windows)):
            calls[call.token].append(call)
        intervals = _stored_intervals(history, windows)
        candles: dict[tuple[TokenKey, int], Candles] = {}
        for interval in sorted({s for by_month in intervals.values() for found in by_month.values() for s in found}):
            ranges = {}
            for token, (start, end) in windows.items():
                if any(interval in found for found in intervals[token].values()):
                    first = _seconds(start) - extent.warm_up_candles * interval * _WARM_UP_GAP_ALLOWANCE
                    if extent.has_overlap and calls[token]:
                        earliest = _seconds(calls[token][0].signal_timestamp)
                        first = min(first, earliest - extent.warm_up_candles * interval)
                    ranges[token] = (first, _seconds(end) + extent.reach_seconds + _LONGEST_GAP_SECONDS)
            for token, found in history.load_candles(ranges, interval=_INTERVAL_NAMES[interval]).items():
                candles[token, interval] = found
        return cls(calls, intervals, candles, extent)

    def covers(self, strategy: Strategy) -> bool:
        """Return whether what was read suffices for runs of `strategy`."""
        return self._extent.covers(_Extent.of([strategy]))

    def tokens(self) -> list[TokenKey]:
        """Return the tokens that have calls, in a fixed order."""
        return sorted(token for token, calls in self._calls.items() if calls)

    def cut(self, token: TokenKey, start: datetime, end: datetime, strategy: Strategy) -> TokenInput | None:
        """Return what a run over `[start, end)` of `token` reads, or None if no call asks for anything."""
        start_s, end_s = _seconds(start), _seconds(end)
        calls, reported = _cut_calls(self._calls.get(token, ()), start_s, end_s, strategy)
        if not reported:
            return None
        candles = self._candles_for(token, start, end_s + trade_reach_seconds(strategy), end)
        candles = _cut_candles(candles, calls, strategy)
        return TokenInput(token, candles, calls, reported, _fingerprint(candles, calls, reported))

    def _candles_for(self, token: TokenKey, start: datetime, last_s: int, end: datetime) -> Candles:
        """Return the candles of the finest interval stored in the window, else in the months that trades reach."""
        by_month = self._intervals.get(token, {})
        window_months = [month for month in by_month if month_of(start) <= month < _month_after(end)]
        later_months = [month for month in by_month if month >= month_of(start) and _month_start_s(month) < last_s]
        for months in (window_months, later_months):
            found = [seconds for month in months for seconds in by_month[month]]
            if found:
                return self._candles.get((token, min(found)), Candles.empty(min(found)))
        return Candles.empty(60)


def _month_after(end: datetime) -> str:
    """Return the first month that a window with this exclusive end does not touch."""
    month = month_of(end)
    return month if _month_start_s(month) == _seconds(end) else next_month(month)


def _month_start_s(month: str) -> int:
    return int(np.datetime64(month, "s").astype(np.int64))


def _stored_intervals(history: HistoryStore, tokens: Collection[TokenKey]) -> dict[TokenKey, dict[str, list[int]]]:
    """Return, per token and month, the intervals (seconds) of which candles are stored."""
    found: dict[TokenKey, dict[str, list[int]]] = {token: {} for token in tokens}
    for row in history.load_coverage().to_pylist():
        token = TokenKey(row["chain"], row["token_address"])
        if token in found:
            found[token].setdefault(row["month"], []).append(INTERVAL_SECONDS[row["interval"]])
    return found


def _cut_calls(
    calls: Sequence[CallRow], start_s: int, end_s: int, strategy: Strategy
) -> tuple[tuple[Call, ...], frozenset[int]]:
    reach = trade_reach_seconds(strategy)
    wanted = {SignalType.ENTRY}
    if strategy.overlap == "scale_in":
        wanted.add(SignalType.SCALE_IN)
    listened = [_engine_call(call) for call in calls]
    reporting = [call for call in listened if call.signal_type in wanted and call.side is Side.BUY]
    reported = frozenset(call.call_id for call in reporting if start_s <= call.signal_timestamp < end_s)
    if not reported:
        return (), frozenset()
    first = start_s
    if strategy.overlap != "independent":
        # A trade can only matter to a later call within its reach: walk back while calls are that close.
        for call in reversed(reporting):
            if call.signal_timestamp < first and first - call.signal_timestamp <= reach:
                first = call.signal_timestamp
    kept = []
    for call in listened:
        acts = call.signal_type in (SignalType.EXIT, SignalType.SCALE_OUT) or call.side is Side.SELL
        if (acts and strategy.exits.on_exit_call) or (
            not acts and call.signal_type is SignalType.SCALE_IN and strategy.overlap == "scale_in"
        ):
            is_kept = first <= call.signal_timestamp < end_s + reach
        else:
            is_kept = not acts and call.signal_type in wanted and first <= call.signal_timestamp < end_s
        if is_kept:
            kept.append(call)
    kept.sort(key=lambda call: (call.signal_timestamp, call.call_id))
    return tuple(kept), reported


def _cut_candles(candles: Candles, calls: Sequence[Call], strategy: Strategy) -> Candles:
    timestamps = candles.timestamp
    latency = strategy.costs.latency_seconds
    # One candle before the first decision is always kept: volume-dependent slippage looks at it.
    first = int(np.searchsorted(timestamps, calls[0].signal_timestamp + latency)) - warm_up_candles(strategy) - 1
    entries = [call for call in calls if call.signal_type in (SignalType.ENTRY, SignalType.SCALE_IN)]
    entry = int(np.searchsorted(timestamps, entries[-1].signal_timestamp + latency))
    stop = len(candles)
    if entry < len(candles):
        stop = int(np.searchsorted(timestamps, timestamps[entry] + strategy.horizon_seconds)) + 1
    return candles.slice(max(first, 0), min(stop, len(candles)))


def _engine_call(call: CallRow) -> Call:
    return Call(
        call_id=call.call_id,
        caller_id=call.caller_id,
        signal_timestamp=ceil(call.signal_timestamp.timestamp()),
        signal_type=call.signal_type,
        side=call.side,
    )


def _seconds(instant: datetime) -> int:
    return int(instant.timestamp())


def _fingerprint(candles: Candles, calls: Sequence[Call], reported: frozenset[int]) -> str:
    digest = hashlib.sha256(str(candles.interval_seconds).encode())
    for column in (candles.timestamp, candles.open, candles.high, candles.low, candles.close, candles.volume):
        digest.update(np.ascontiguousarray(column).tobytes())
    for call in calls:
        seen = (
            call.call_id,
            call.caller_id,
            call.signal_timestamp,
            call.signal_type,
            call.side,
            call.call_id in reported,
        )
        digest.update(",".join(str(value) for value in seen).encode() + b";")
    return digest.hexdigest()
