"""Check on files whether a strategy knows the future, and how much history it needs.

Reads candle and call files and lets the checks of `quantbot_pipeline.engine.lookahead` and `.warm_up` loose on an
engine. Without calls, calls are made up; without candles, candles are too. What was found is put into words by
`quantbot_pipeline.workflows.describe_lookahead`.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.engine.candles import INTERVAL_SECONDS, BoolArray, Candles, FloatArray
from quantbot_pipeline.engine.events import Trade
from quantbot_pipeline.engine.lookahead import (
    CausalityCheck,
    CausalityReport,
    Market,
    OpenedMarket,
    OpenMarket,
    ReferenceMarket,
)
from quantbot_pipeline.engine.warm_up import (
    WarmUpCheck,
    WarmUpReport,
)
from quantbot_pipeline.errors import DataError, InputError
from quantbot_pipeline.ingest.candles.options import CandleReadOptions
from quantbot_pipeline.ingest.checked_candles import merged
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.strategy.model import Strategy
from quantbot_pipeline.strategy.signals import IndicatorOperand, SignalNode
from quantbot_pipeline.workflows.file_calls import read_calls
from quantbot_pipeline.workflows.file_candles import candle_pieces, no_candles_text
from quantbot_pipeline.workflows.progress import ProgressListener, no_progress

Engine = Literal["fast", "reference"]

MAX_CALLS = 400
"""Calls that take part; of more, as many are taken evenly."""

MEASURED_CALLS = 40
"""Calls whose history is shortened, over all tokens."""

_SAMPLE_TOKENS, _SAMPLE_CANDLES, _SAMPLE_INTERVAL = 3, 12_000, "5m"
_SAMPLE_BEGINS_AT = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp())


@dataclass(frozen=True)
class CheckedData:
    """What a check runs on.

    Attributes:
        markets: Tokens that have calls.
        call_count: Calls found, before some were left out.
        calls_without_candles: Calls on tokens without any candles.
        has_made_up_calls: Whether no calls were given.
        has_made_up_candles: Whether no candles were given.
    """

    markets: tuple[Market, ...]
    call_count: int
    calls_without_candles: int
    has_made_up_calls: bool
    has_made_up_candles: bool

    @property
    def interval_seconds(self) -> int | None:
        """Length of a candle; None where tokens differ."""
        lengths = {market.candles.interval_seconds for market in self.markets}
        return lengths.pop() if len(lengths) == 1 else None


class FastMarket:
    """The fast engine under test."""

    def __init__(self, candles: Candles, calls: Sequence[Call]) -> None:
        from quantbot_pipeline.engine.prepared_markets import PreparedMarkets

        self._has_calls = bool(calls)
        # Markets without calls are not prepared at all, and indicators do not depend on calls.
        self._markets = PreparedMarkets({None: candles}, {None: calls or [Call(0, 0, 0)]})

    def indicator(self, operand: IndicatorOperand) -> FloatArray:
        """Return the values of an indicator output at each close, its shift left aside."""
        return self._markets.indicator(0, operand)

    def truth(self, signal: SignalNode) -> BoolArray:
        """Return whether a condition or group holds at each close."""
        return np.asarray(self._markets.truth(0, signal)).astype(np.bool_)

    def trades(self, strategy: Strategy) -> list[Trade]:
        """Return the trades of the calls."""
        from quantbot_pipeline.engine.fast import iterate_runs

        if not self._has_calls:
            return []
        [run] = iterate_runs(self._markets, [strategy])
        return run.trades()[None]


ENGINES: Mapping[Engine, OpenMarket] = {"fast": FastMarket, "reference": ReferenceMarket}


def read_checked_data(
    candle_files: Sequence[Path],
    call_files: Sequence[Path],
    *,
    interval: str | None = None,
    options: CandleReadOptions | None = None,
    seed: int = 0,
    strategies: Sequence[Strategy] = (),
) -> CheckedData:
    """Read what a check runs on, and make up what is not given.

    Args:
        candle_files: Candles of one or more tokens; none for made-up ones.
        call_files: Calls; none for made-up ones.
        interval: Interval to use; by default the finest one of each token.
        options: What the files do not say; the zone is that of calls too.
        seed: Of made-up candles, calls and scores.
        strategies: What will be checked; made-up calls get the scores that they ask for, call files must have them.

    Raises:
        DataError: a file or one of its rows is wrong.
        InputError: the interval is unknown, calls are given without candles, no call has candles, or a call file lacks
            a column of scores.
    """
    if call_files and not candle_files:
        raise InputError("calls are given without candles; give --candles too, or neither for a made-up data set")
    options = options or CandleReadOptions()
    candles = _read_candles(candle_files, interval, options) if candle_files else _made_up_candles(seed)
    calls: Mapping[TokenKey, Sequence[Call]]
    if call_files:
        calls = read_calls(call_files, options.timezone, strategies).by_token
    else:
        names = sorted({name for strategy in strategies for name in strategy.score_names()})
        calls = _with_made_up_scores(_made_up_calls(candles), names, seed)
    call_count = sum(map(len, calls.values()))
    kept = {token: found for token, found in calls.items() if token in candles and len(candles[token])}
    if not kept:
        asked = next(iter(calls), None)
        raise InputError(
            f"no call is on a token of the candle files; found candles of {_token_name(next(iter(candles)))} and "
            f"{len(candles) - 1} more, calls on {_token_name(asked) if asked else 'nothing'}; "
            "compare chain and token_address of both"
        )
    return CheckedData(
        markets=tuple(
            Market(_token_name(token), candles[token], tuple(found)) for token, found in sorted(_thinned(kept).items())
        ),
        call_count=call_count,
        calls_without_candles=call_count - sum(map(len, kept.values())),
        has_made_up_calls=not call_files,
        has_made_up_candles=not candle_files,
    )


@dataclass(frozen=True)
class LookaheadCheck:
    """What a check found.

    Attributes:
        strategy: What was checked.
        data: On what.
        engine: By which engine it is computed.
        seed: Of the choice of cuts and of the noise.
        causality: What taking the future away said.
        warm_up: What taking the past away said.
    """

    strategy: Strategy
    data: CheckedData
    engine: Engine
    seed: int
    causality: CausalityReport
    warm_up: WarmUpReport

    @property
    def is_clean(self) -> bool:
        """Whether something was compared, and nothing looks ahead, lacks declared history, or is never known."""
        return not self._faults

    @property
    def verdict(self) -> str:
        """What was found, in a few words."""
        if self._faults:
            return ", ".join(self._faults)
        notes = []
        if not self.causality.events.is_shown:
            notes.append("but no event was compared")
        if self.warm_up.short_calls:
            notes.append("with too little history before some calls")
        return ", ".join(["clean", *notes])

    @property
    def _faults(self) -> list[str]:
        found = []
        if self.causality.has_compared_nothing:
            found.append("NOTHING COMPARED")
        if self.causality.looks_ahead:
            found.append("LOOKS AHEAD")
        if self.warm_up.depends_on_history:
            found.append("DEPENDS ON HISTORY")
        if self.warm_up.has_never_known:
            found.append("NEVER KNOWN")
        return found


def check_lookahead(
    strategy: Strategy,
    data: CheckedData,
    *,
    cuts: int,
    seed: int,
    engine: Engine,
    on_progress: ProgressListener = no_progress,
) -> LookaheadCheck:
    """Check a strategy on candles and calls.

    Args:
        strategy: What to check.
        data: On what; `read_checked_data` reads it.
        cuts: At how many places to cut, over all tokens; each token gets one at least.
        seed: Chooses places and noise; the same seed checks the same.
        engine: Which engine to check.
        on_progress: Told after each cut and each call.
    """
    open_market = ENGINES[engine]
    causality = CausalityCheck(strategy, open_market, seed)
    warm_up = WarmUpCheck(strategy, open_market)
    shares = list(zip(_shares(cuts, len(data.markets)), _shares(MEASURED_CALLS, len(data.markets)), strict=True))
    total = sum(map(sum, shares))
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        on_progress(min(done, total), total, "")

    for market, (cuts_here, calls_here) in zip(data.markets, shares, strict=True):
        opened = OpenedMarket(market, strategy, open_market)
        causality.check(opened, cuts_here, step)
        warm_up.check(opened, calls_here, step)
    on_progress(total, total, "")
    return LookaheadCheck(strategy, data, engine, seed, causality.report, warm_up.report)


def _shares(count: int, parts: int) -> list[int]:
    """Return `count` spread over so many parts, each at least 1."""
    return [max(1, count // parts + (k < count % parts)) for k in range(parts)]


# Reading


def _read_candles(files: Sequence[Path], interval: str | None, options: CandleReadOptions) -> dict[TokenKey, Candles]:
    if interval is not None and interval not in INTERVAL_SECONDS:
        raise InputError(f"interval {interval!r} is unknown; allowed are {', '.join(INTERVAL_SECONDS)}")
    tables: dict[TokenKey, dict[str, list[pa.Table]]] = defaultdict(lambda: defaultdict(list))
    others: set[str] = set()
    for path in files:
        file = merged(list(candle_pieces(path, options, interval)))
        if file.quarantined:
            first, count = file.quarantined[0], len(file.quarantined)
            raise DataError(
                f"{first.file}:{first.line}: {first.reason} ({count} bad row{'s' if count > 1 else ''} in this file; "
                "leave bad rows out)"
            )
        rows = file.candles
        for key in rows.group_by(["chain", "token_address", "interval"]).aggregate([]).to_pylist():
            is_key = pc.and_(
                pc.equal(rows["interval"], key["interval"]),
                pc.and_(pc.equal(rows["chain"], key["chain"]), pc.equal(rows["token_address"], key["token_address"])),
            )
            if interval in (None, key["interval"]):
                tables[TokenKey(key["chain"], key["token_address"])][key["interval"]].append(rows.filter(is_key))
            else:
                others.add(key["interval"])
    candles = {}
    for token, by_interval in tables.items():
        finest = min(by_interval, key=INTERVAL_SECONDS.__getitem__)
        candles[token] = _candles_of(pa.concat_tables(by_interval[finest]), token, finest)
    if not candles:
        raise InputError(no_candles_text(files, interval, sorted(others, key=INTERVAL_SECONDS.__getitem__)))
    return candles


def _candles_of(rows: pa.Table, token: TokenKey, interval: str) -> Candles:
    ordered = rows.sort_by("timestamp").combine_chunks()
    timestamp = np.ascontiguousarray(ordered["timestamp"].to_numpy())
    repeated = np.flatnonzero(np.diff(timestamp) == 0)
    if len(repeated):
        at = datetime.fromtimestamp(int(timestamp[repeated[0]]), UTC)
        raise DataError(
            f"candles of {_token_name(token)} {interval}: {at:%Y-%m-%dT%H:%M:%SZ} occurs twice, in two files; "
            "leave one of them out"
        )
    prices = [np.ascontiguousarray(ordered[name].to_numpy()) for name in ("open", "high", "low", "close", "volume")]
    return Candles(INTERVAL_SECONDS[interval], timestamp, *prices)


def _thinned(calls: Mapping[TokenKey, Sequence[Call]]) -> dict[TokenKey, list[Call]]:
    """Return at most about `MAX_CALLS` calls, evenly chosen from each token, at least one."""
    total = sum(map(len, calls.values()))
    thinned = {}
    for token, found in calls.items():
        ordered = sorted(found, key=lambda call: (call.signal_timestamp, call.call_id))
        count = max(1, min(len(ordered), len(ordered) * MAX_CALLS // total))
        thinned[token] = [ordered[k] for k in np.linspace(0, len(ordered) - 1, count).round().astype(int).tolist()]
    return thinned


def _made_up_calls(candles: Mapping[TokenKey, Candles]) -> dict[TokenKey, list[Call]]:
    """Return entry calls spread evenly over each token's candles, none at either end."""
    per_token = max(2, min(40, 200 // max(1, len(candles))))
    calls: dict[TokenKey, list[Call]] = {}
    number = 0
    for token, found in sorted(candles.items()):
        places = ((np.arange(per_token) + 0.5) * len(found) / per_token).astype(int)
        times = np.unique(found.timestamp[places]).tolist() if len(found) else []
        calls[token] = [Call(number + k, 0, time) for k, time in enumerate(times)]
        number += len(times)
    return calls


def _with_made_up_scores(
    calls: Mapping[TokenKey, Sequence[Call]], names: Sequence[str], seed: int
) -> dict[TokenKey, list[Call]]:
    """Return calls of which each model says any number from 0 to 1, and of every fifth call nothing."""
    rng = np.random.default_rng([seed, len(names)])
    scored: dict[TokenKey, list[Call]] = {}
    for token, of_token in calls.items():
        scored[token] = [
            replace(call, scores={name: float(rng.random()) for name in names if rng.random() >= 1 / 5})
            for call in of_token
        ]
    return scored if names else {token: list(of_token) for token, of_token in calls.items()}


def _made_up_candles(seed: int) -> dict[TokenKey, Candles]:
    from quantbot_pipeline.sample.price_paths import make_price_path
    from quantbot_pipeline.sample.random_numbers import RandomNumbers

    seconds = INTERVAL_SECONDS[_SAMPLE_INTERVAL]
    candles = {}
    for number in range(_SAMPLE_TOKENS):
        path = make_price_path(RandomNumbers(seed, number), number, _SAMPLE_CANDLES, seconds)
        there = np.flatnonzero(path.is_present)
        prices = [np.ascontiguousarray(v[there]) for v in (path.open, path.high, path.low, path.close, path.volume)]
        candles[TokenKey("sample", f"TOKEN-{number + 1}")] = Candles(
            seconds, (_SAMPLE_BEGINS_AT + there * seconds).astype(np.int64), *prices
        ).validate()
    return candles


def _token_name(token: TokenKey) -> str:
    return f"{token.chain}:{token.address}"
