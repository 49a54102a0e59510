"""Calls and candles of some tokens, read once in bulk and cut to what each run may see.

A run over the window `[start, end)` of a token reads

- the entry calls of the window, and those other calls that its strategy listens to while a trade may be open;
- under `overlap` other than `independent`, also the earlier calls whose trades may still be open;
- the candles of one interval (the finest stored in the window), from the strategy's warm-up before the
  first of these calls to the horizon candle of the last;
- where its strategy asks for scores, those of these entry calls by models that had learned before the call.

The cut depends on what is stored and on nothing else: not on what was planned and loaded with it. Its trades
are those of a simulation over the token's whole history. The fingerprint covers exactly these rows: it changes
when, and only when, something that the run reads changes.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from math import ceil, floor
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa

from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.engine.candles import INTERVAL_SECONDS, Candles
from quantbot_pipeline.engine.reference import is_entry_call, is_exit_call, is_scale_in_call, warm_up_candles
from quantbot_pipeline.errors import DataError, SimulationError
from quantbot_pipeline.ingest.candles.interval_names import NAME_OF_SECONDS
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.learning.score_choice import ChosenScore
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.storage.records import CallRow
from quantbot_pipeline.strategy.model import Strategy
from quantbot_pipeline.workflows.call_scores import NO_CALL_SCORES, CallScoreReader, CallScores
from quantbot_pipeline.workflows.token_months import format_token, month_of, next_month

# Candles before the window are first asked for by time, this many times longer than a series without gaps
# needs; only sparser series are asked for again.
_WARM_UP_STRETCH = 4

# Stamps of strategies that ask for scores have two halves: the first says nothing of scores.
STAMP_HALF = 32

# Of candles that are not there.
_INTERVAL_OF_NOTHING = 60

# Changed when stamps mean something else, so that those from before match no more.
_STAMP_FORM = 1


@dataclass(frozen=True, slots=True)
class TokenInput:
    """What one run reads of one token.

    Attributes:
        token: The token.
        candles: The candles that the run may see, views of what was loaded.
        calls: The calls that it needs, ordered by (signal_timestamp, call_id).
        reported_call_ids: Those whose trades belong to the window.
        fingerprint: sha256 hex over candles, calls and scores.
        scores: What the models that the strategy names say of these calls, by call and model; the calls carry the
            numbers.
    """

    token: TokenKey
    candles: Candles
    calls: tuple[Call, ...]
    reported_call_ids: frozenset[int]
    fingerprint: str
    scores: Mapping[int, Mapping[str, ChosenScore]] = field(default_factory=dict)


def trade_reach_seconds(strategy: Strategy) -> int:
    """Return the longest time from a call to the horizon of its trade, gaps aside."""
    return strategy.costs.latency_seconds + strategy.max_staleness_seconds + strategy.horizon_seconds


def reading_key(strategy: Strategy) -> tuple[object, ...]:
    """Return all that decides which calls, candles and scores runs of a strategy read: equal keys give equal cuts."""
    return (
        strategy.costs.latency_seconds,
        strategy.max_staleness_seconds,
        strategy.horizon_seconds,
        warm_up_candles(strategy),
        strategy.overlap,
        strategy.exits.on_exit_call,
        strategy.score_names(),
    )


@dataclass(frozen=True, slots=True)
class _Extent:
    """How far around its window a strategy reads."""

    reach_seconds: int
    warm_up_candles: int
    has_overlap: bool
    score_names: frozenset[str]

    @classmethod
    def of(cls, strategies: Iterable[Strategy]) -> Self:
        every = list(strategies)
        return cls(
            reach_seconds=max((trade_reach_seconds(strategy) for strategy in every), default=0),
            warm_up_candles=max((warm_up_candles(strategy) for strategy in every), default=0),
            has_overlap=any(strategy.overlap != "independent" for strategy in every),
            score_names=frozenset(name for strategy in every for name in strategy.score_names()),
        )

    def covers(self, other: "_Extent") -> bool:
        return (
            self.reach_seconds >= other.reach_seconds
            and self.warm_up_candles >= other.warm_up_candles
            and self.has_overlap >= other.has_overlap
            and self.score_names >= other.score_names
        )


class StoredMonth(NamedTuple):
    """Candles of one interval that are stored of one token in one month.

    Attributes:
        month: `YYYY-MM`.
        candle_count: How many candles there are.
        first_s: Open time of the first one, seconds.
        last_s: Open time of the last one, seconds.
        content: Hash of the candles, whatever their order; empty where it was not asked for.
        imported: A number that no import leaves as it is; 0 where it was not asked for.
    """

    month: str
    candle_count: int
    first_s: int
    last_s: int
    content: str = ""
    imported: int = 0


class _KnownCall(NamedTuple):
    """A call as the engine reads it, and the instant that says to which window it belongs.

    The engine's time is the instant rounded up to a second; in the last second of a month these are two months.
    """

    instant: datetime
    call: Call


_Series = tuple[TokenKey, int]
"""A token and an interval in seconds."""


class StoredInputs:
    """What is stored of some tokens, but for the candles themselves: their calls with scores, and months of intervals.

    It says what runs would read, and by a stamp whether that may have changed.
    """

    def __init__(
        self,
        calls: Iterable[CallRow],
        months: Mapping[_Series, Sequence[StoredMonth]],
        scores: CallScores = NO_CALL_SCORES,
    ) -> None:
        by_token: dict[TokenKey, list[CallRow]] = defaultdict(list)
        for call in calls:
            by_token[call.token].append(call)
        self.calls = {token: _known_calls(rows) for token, rows in by_token.items()}
        self.months = months
        self.scores = scores
        self._intervals: dict[TokenKey, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for (token, interval), found in months.items():
            for month in found:
                self._intervals[token][month.month].append(interval)

    @classmethod
    def load(
        cls,
        state: StateStore,
        history: HistoryStore,
        tokens: Collection[TokenKey],
        scores: CallScoreReader | None = None,
    ) -> Self:
        """Read calls, and which months are stored; without the contents of months there are no stamps."""
        calls = state.load_calls(tokens=list(tokens))
        read = NO_CALL_SCORES if scores is None else scores.read(calls)
        return cls(calls, _stored_months(history.load_coverage(), tokens), read)

    @classmethod
    def load_stamped(
        cls,
        state: StateStore,
        history: HistoryStore,
        tokens: Collection[TokenKey],
        scores: CallScoreReader | None = None,
    ) -> Self:
        """Read calls, and months with their contents."""
        # Calls and scores last: they go from here to the runs, while candles are read again, later than their stamps.
        months = _stored_months(history.load_contents(tokens), tokens)
        calls = state.load_calls(tokens=list(tokens))
        return cls(calls, months, NO_CALL_SCORES if scores is None else scores.read(calls))

    def interval(self, token: TokenKey, start: datetime, end: datetime, strategy: Strategy) -> int | None:
        """Return the finest interval stored in the window, else in the months that trades reach; None without any."""
        by_month = self._intervals.get(token, {})
        last_s = _end_s(end) + trade_reach_seconds(strategy)
        window_months = [month for month in by_month if month_of(start) <= month < _month_after(end)]
        later_months = [month for month in by_month if month >= month_of(start) and _month_start_s(month) < last_s]
        for months in (window_months, later_months):
            found = [seconds for month in months for seconds in by_month[month]]
            if found:
                return min(found)
        return None

    def stamp(self, token: TokenKey, start: datetime, end: datetime, strategy: Strategy) -> str | None:
        """Return a hash over all that a run over `[start, end)` can read, and no more of it than that needs.

        Whole months stand for the candles in them, so two equal stamps are two equal readings, while a reading may be
        the same under another stamp. What is not stored counts too: a month that comes between others changes it.

        Returns:
            sha256 hex, or None if no call asks for anything. Of a strategy that asks for scores, half of the hash over
            all else and half of that over scores.
        """
        known = self.calls.get(token, ())
        reported = [k for k in known if start <= k.instant < end and _is_reported(k.call, strategy)]
        if not reported:
            return None
        has_overlap = strategy.overlap != "independent"
        # A trade of any earlier call may, through others, decide whether one of the window is opened.
        first = known[0] if has_overlap else reported[0]
        interval = self.interval(token, start, end, strategy)
        months = self.months.get((token, interval), ()) if interval is not None else ()
        first_s = floor(first.instant.timestamp())
        begin_s = _start_of_warm_up(months, first_s, warm_up_candles(strategy))
        end_s = _end_of_reach(months, reported[-1].call.signal_timestamp + trade_reach_seconds(strategy))
        if has_overlap or strategy.exits.on_exit_call:
            seen = [k for k in known if k.instant >= first.instant and k.call.signal_timestamp < end_s]
        else:
            seen = reported
        document = [
            _STAMP_FORM,
            interval,
            [[m.month, m.candle_count, m.content] for m in months if m.last_s >= begin_s and m.first_s < end_s],
            [
                [c.call_id, c.caller_id, c.signal_timestamp, c.signal_type, c.side, start <= instant < end]
                for instant, c in seen
            ],
        ]
        stamp = hashlib.sha256(json.dumps(document, separators=(",", ":")).encode()).hexdigest()
        names = strategy.score_names()
        if not names:
            return stamp
        chosen = self.scores_of([call for _, call in seen], names)
        return stamp[:STAMP_HALF] + hashlib.sha256(_score_text(chosen, names).encode()).hexdigest()[:STAMP_HALF]

    def scores_of(self, calls: Iterable[Call], names: Sequence[str]) -> dict[int, dict[str, ChosenScore]]:
        """Return what models say of the entry calls among some calls, by call and model.

        Raises:
            SimulationError: the scores of a model were not read.
        """
        if unread := sorted(set(names) - self.scores.names):
            raise SimulationError(f"scores of model {unread[0]!r} were not read; read those that all strategies name")
        entries = [call.call_id for call in calls if is_entry_call(call)]
        return {call_id: self.scores.of_call(call_id, names) for call_id in entries}

    def imported(self, token: TokenKey) -> dict[tuple[str, str], int]:
        """Return the numbers that no import leaves as they are, by month and name of the interval."""
        return {
            (month.month, NAME_OF_SECONDS[interval]): month.imported
            for interval in {seconds for by_month in self._intervals.get(token, {}).values() for seconds in by_month}
            for month in self.months[token, interval]
        }

    def count_candles(self, token: TokenKey, month: str) -> int:
        """Return how many candles of all intervals a month of a token has."""
        return sum(
            found.candle_count
            for interval in self._intervals.get(token, {}).get(month, ())
            for found in self.months[token, interval]
            if found.month == month
        )


class SimulationInputs:
    """Calls and candles of some tokens over some time, ready to be cut for runs."""

    def __init__(self, stored: StoredInputs, candles: Mapping[_Series, Candles], extent: "_Extent") -> None:
        self._stored = stored
        self._candles = candles
        self._extent = extent

    @classmethod
    def load(
        cls,
        state: StateStore,
        history: HistoryStore,
        windows: Mapping[TokenKey, tuple[datetime, datetime]],
        strategies: Iterable[Strategy],
        *,
        stored: StoredInputs | None = None,
    ) -> Self:
        """Read what runs of `strategies` need that lie within a window per token.

        Args:
            state: Where calls are.
            history: Where candles are.
            windows: Per token, `[start, end)`.
            strategies: All strategies that will be cut for.
            stored: What is stored of these tokens, where it was read before.
        """
        strategies = list(strategies)
        extent = _Extent.of(strategies)
        if stored is None:
            stored = StoredInputs.load(state, history, windows, CallScoreReader.of(strategies, state, history))
        spans = {}
        for token, (start, end) in windows.items():
            earliest = start
            calls = stored.calls.get(token)
            if extent.has_overlap and calls:
                # A trade of any earlier call may, through others, decide whether one of the window is opened.
                earliest = min(start, calls[0].instant)
            spans[token] = (int(earliest.timestamp()), _end_s(end) + extent.reach_seconds)
        candles: dict[_Series, Candles] = {}
        of_windows = {series: months for series, months in stored.months.items() if series[0] in windows}
        for interval in sorted({interval for _, interval in of_windows}):
            months = {token: found for (token, seconds), found in of_windows.items() if seconds == interval}
            needed = {token: spans[token] for token in months}
            found = _load_candles(history, interval, needed, months, extent.warm_up_candles)
            candles |= {(token, interval): loaded for token, loaded in found.items()}
        return cls(stored, candles, extent)

    @classmethod
    def of_loaded(
        cls, stored: StoredInputs, candles: Mapping[_Series, Candles], strategies: Iterable[Strategy]
    ) -> Self:
        """Return the inputs of these strategies where the candles are in memory already.

        Args:
            stored: Calls, and the months of the candles.
            candles: By token and interval in seconds.
            strategies: All strategies that will be cut for.
        """
        return cls(stored, candles, _Extent.of(strategies))

    def covers(self, strategy: Strategy) -> bool:
        """Return whether what was read suffices for runs of `strategy`."""
        return self._extent.covers(_Extent.of([strategy]))

    def tokens(self) -> list[TokenKey]:
        """Return the tokens that have calls, in a fixed order."""
        return sorted(token for token, calls in self._stored.calls.items() if calls)

    def candle_count(self) -> int:
        """Return how many candles were read."""
        return sum(map(len, self._candles.values()))

    def validate(self, token: TokenKey) -> None:
        """Check every rule of candles on all that was read of a token.

        Raises:
            DataError: a rule is broken; the message names the token, the interval, the candle and its values.
        """
        for (owner, interval), candles in self._candles.items():
            if owner == token:
                validate_candles(token, candles, interval)

    def cut(self, token: TokenKey, start: datetime, end: datetime, strategy: Strategy) -> TokenInput | None:
        """Return what a run over `[start, end)` of `token` reads, or None if no call asks for anything."""
        interval = self._stored.interval(token, start, end, strategy)
        # Candles beyond the reach of trades may be in memory for others: this run reads none, of whatever interval.
        loaded = Candles.empty(_INTERVAL_OF_NOTHING)
        if interval is not None:
            loaded = self._candles.get((token, interval), Candles.empty(interval))
        calls, reported, candles = _cut(self._stored.calls.get(token, ()), loaded, start, end, strategy)
        if not reported:
            return None
        names = strategy.score_names()
        if not names:
            return TokenInput(token, candles, calls, reported, _fingerprint(candles, calls, reported))
        scores = self._stored.scores_of(calls, names)
        scored = tuple(
            replace(call, scores={name: found.score for name, found in scores[call.call_id].items()})
            if scores.get(call.call_id)
            else call
            for call in calls
        )
        fingerprint = _fingerprint(candles, calls, reported, _score_text(scores, names))
        return TokenInput(token, candles, scored, reported, fingerprint, scores)


def validate_candles(token: TokenKey, candles: Candles, interval_seconds: int) -> None:
    """Check every rule of candles.

    Raises:
        DataError: a rule is broken; the message names the token, the interval, the candle and its values.
    """
    try:
        candles.validate()
    except DataError as error:
        raise DataError(
            f"{format_token(token)}: stored {NAME_OF_SECONDS[interval_seconds]} candles can't be simulated: {error}; "
            "import good candles of this time"
        ) from error


# --- loading ---


def _stored_months(rows: pa.Table, tokens: Collection[TokenKey]) -> dict[_Series, list[StoredMonth]]:
    """Return the months of which candles are stored, oldest first, by token and interval."""
    stored: dict[_Series, list[StoredMonth]] = defaultdict(list)
    for row in rows.to_pylist():
        token = TokenKey(row["chain"], row["token_address"])
        if token in tokens:
            found = StoredMonth(
                row["month"],
                row["candle_count"],
                row["first_s"],
                row["last_s"],
                row.get("content", ""),
                row.get("imported", 0),
            )
            stored[token, INTERVAL_SECONDS[row["interval"]]].append(found)
    for months in stored.values():
        months.sort()
    return stored


def _load_candles(
    history: HistoryStore,
    interval: int,
    spans: Mapping[TokenKey, tuple[int, int]],
    stored: Mapping[TokenKey, Sequence[StoredMonth]],
    warm_up: int,
) -> dict[TokenKey, Candles]:
    """Return candles from `warm_up` candles before each span up to the first one at or after its end."""
    name = NAME_OF_SECONDS[interval]
    ranges = {
        token: (start - warm_up * interval * _WARM_UP_STRETCH, _end_of_reach(stored[token], end))
        for token, (start, end) in spans.items()
    }
    loaded = history.load_candles(ranges, interval=name)
    again = {}
    for token, (first, last) in ranges.items():
        start = spans[token][0]
        found = loaded.get(token, Candles.empty(interval))
        earlier = _start_of_warm_up(stored[token], start, warm_up)
        if np.searchsorted(found.timestamp, start) < warm_up and earlier < first:
            again[token] = (earlier, last)
    return loaded | (history.load_candles(again, interval=name) if again else {})


def _start_of_warm_up(months: Sequence[StoredMonth], start_s: int, warm_up: int) -> int:
    """Return a time from which on at least `warm_up` candles, or all there are, lie before `start_s`."""
    count = 0
    for month in reversed(months):
        if count >= warm_up:
            break
        if month.first_s < start_s:
            # Of a month that the span starts in, it isn't known how many candles lie before.
            count += month.candle_count if month.last_s < start_s else 0
            start_s = month.first_s
    return start_s


def _end_of_reach(months: Sequence[StoredMonth], last_s: int) -> int:
    """Return a time before which the first candle at or after `last_s` opens, if there is one."""
    for month in months:
        if month.last_s >= last_s:
            return (month.first_s if month.first_s >= last_s else month.last_s) + 1
    return last_s


def _month_after(end: datetime) -> str:
    """Return the first month that a window with this exclusive end does not touch."""
    month = month_of(end)
    return month if _month_start_s(month) == end.timestamp() else next_month(month)


def _month_start_s(month: str) -> int:
    return int(np.datetime64(month, "s").astype(np.int64))


def _known_calls(rows: Iterable[CallRow]) -> tuple[_KnownCall, ...]:
    known = [_KnownCall(row.signal_timestamp, _engine_call(row)) for row in rows]
    return tuple(sorted(known, key=lambda k: (k.call.signal_timestamp, k.call.call_id)))


def _engine_call(call: CallRow) -> Call:
    return Call(
        call_id=call.call_id,
        caller_id=call.caller_id,
        signal_timestamp=ceil(call.signal_timestamp.timestamp()),
        signal_type=call.signal_type,
        side=call.side,
    )


def _end_s(end: datetime) -> int:
    """Return the latest time that the engine reads for calls before `end`."""
    return ceil(end.timestamp())


# --- cutting ---


def _is_reported(call: Call, strategy: Strategy) -> bool:
    """Return whether a run reports a trade, or the lack of one, for a call of its window."""
    return is_entry_call(call) or (strategy.overlap == "scale_in" and is_scale_in_call(call))


class _PlacedCall(NamedTuple):
    """A call on its candles.

    Attributes:
        instant: When it was made.
        call: The call.
        acts_in: Index of the candle at whose open it acts; the number of candles if there is none.
        horizon_in: For an entry call that opens a trade, index of the trade's horizon candle (the number of
            candles if there is none); None for all others.
    """

    instant: datetime
    call: Call
    acts_in: int
    horizon_in: int | None


def _place(known: Sequence[_KnownCall], candles: Candles, strategy: Strategy) -> list[_PlacedCall]:
    times = candles.timestamp
    signal = np.array([call.signal_timestamp for _, call in known], dtype=np.int64)
    acts_in = np.searchsorted(times, signal + strategy.costs.latency_seconds)
    # A call behind the last candle opens nothing: it gets a time that is never too late, and no horizon.
    start = np.append(times, np.iinfo(np.int64).max // 2)[acts_in]
    horizon_in = np.searchsorted(times, start + strategy.horizon_seconds)
    opens = (acts_in < len(times)) & (start - signal <= strategy.max_staleness_seconds)
    placed = zip(known, acts_in.tolist(), horizon_in.tolist(), opens.tolist(), strict=True)
    return [
        _PlacedCall(instant, call, acts, horizon if is_open and is_entry_call(call) else None)
        for (instant, call), acts, horizon, is_open in placed
    ]


def _cut(
    known: Sequence[_KnownCall], candles: Candles, start: datetime, end: datetime, strategy: Strategy
) -> tuple[tuple[Call, ...], frozenset[int], Candles]:
    """Return the calls that a run reads, the ids of those that it reports, and the candles that it reads."""
    scales_in = strategy.overlap == "scale_in"
    reported_ids = frozenset(
        call.call_id for instant, call in known if start <= instant < end and _is_reported(call, strategy)
    )
    if not reported_ids:
        return (), reported_ids, candles.slice(0, 0)
    placed = _place(known, candles, strategy)
    reported = [p for p in placed if p.call.call_id in reported_ids]
    trades = [p for p in reported if p.horizon_in is not None]
    scale_ins = [p for p in reported if is_scale_in_call(p.call) and p.acts_in < len(candles)]
    reading = trades + scale_ins
    kept_ids = set(reported_ids)
    if not reading:
        # Each call is skipped for want of candles, whatever else there is.
        return tuple(p.call for p in reported), reported_ids, candles.slice(0, 0)

    first = min(p.acts_in for p in reading)
    if strategy.overlap != "independent":
        for p in reversed(placed):
            if p.horizon_in is None or p.instant >= start:
                continue
            if p.horizon_in < first:
                break
            # Its trade may be open when the next one wants to begin.
            trades.append(p)
            first = p.acts_in
    last = max((p.horizon_in for p in trades if p.horizon_in is not None), default=first)
    last_scale_in = max((p.acts_in for p in scale_ins), default=-1)
    for p in placed:
        if is_entry_call(p.call):
            # An entry after the window takes up a scale-in of the window that acts at the same open.
            is_kept = p.horizon_in is not None and p.instant >= end and p.acts_in <= last_scale_in
        elif is_scale_in_call(p.call):
            is_kept = scales_in and first <= p.acts_in < last
        else:
            is_kept = is_exit_call(p.call) and strategy.exits.on_exit_call and first < p.acts_in < last
        if is_kept:
            kept_ids.add(p.call.call_id)
    kept_ids.update(p.call.call_id for p in trades)
    stop = max(last, last_scale_in) + 1
    calls = tuple(p.call for p in placed if p.call.call_id in kept_ids)
    begin = max(first - warm_up_candles(strategy), 0)
    return calls, reported_ids, candles.slice(begin, min(stop, len(candles)))


def _score_text(scores: Mapping[int, Mapping[str, ChosenScore]], names: Sequence[str]) -> str:
    """Return which models say what of calls, as a text that is the same for the same scores only."""
    rows = [
        [call_id, [[found.model_id, repr(found.score)] if (found := of_call.get(name)) else None for name in names]]
        for call_id, of_call in sorted(scores.items())
    ]
    return json.dumps([list(names), rows], separators=(",", ":"))


def _fingerprint(candles: Candles, calls: Sequence[Call], reported: frozenset[int], scores: str = "") -> str:
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
    digest.update(scores.encode())
    return digest.hexdigest()
