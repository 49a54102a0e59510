"""Finds trades in the stores and collects what is drawn of them, one or many at a time."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from quantbot_pipeline.engine.candles import INTERVAL_SECONDS, Candles
from quantbot_pipeline.engine.events import Event
from quantbot_pipeline.engine.reference import warm_up_candles
from quantbot_pipeline.errors import InputError, StrategyError
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.report.stored_rows import rows_of
from quantbot_pipeline.report.trade_content import TradeContent, TradedCall, event_from_row, indicator_lines
from quantbot_pipeline.report.trade_words import plot_small_trade
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.strategy.model import Strategy, parse_strategy

# Share of the trade's length that is drawn before the call and after the last event, and the least of it.
_MARGIN = 0.15
_LEAST_MARGIN_CANDLES = 20
_LEAST_MARGIN_SECONDS = 3600

# How many times the length of a warm-up without gaps is looked through for its candles.
_WARM_UP_STRETCHES = (2, 40)

_INTERVAL_NAMES = {seconds: name for name, seconds in INTERVAL_SECONDS.items()}
_UNKNOWN_INTERVAL = 60

_NAMES_SHOWN = 8

# Of `lists/list_trades`: the first one by pnl, whatever it is of.
_EVERY_TRADE = {
    "sort": "pnl",
    "is_descending": 0,
    "row_limit": 1,
    "strategy": "",
    "caller": "",
    "token": "",
    "since_s": 0,
    "run_id": 0,
    "outcome": "traded",
}


class TradeKey(NamedTuple):
    """What a run reports of a call.

    Attributes:
        run_id: The run.
        call_id: The call.
    """

    run_id: int
    call_id: int


@dataclass(frozen=True, slots=True)
class _Found:
    """What the databases say of a trade, without its candles."""

    run: Mapping[str, Any]
    call: TradedCall
    strategy: Strategy
    interval_seconds: int | None
    events: tuple[Event, ...]

    @property
    def token(self) -> TokenKey:
        return TokenKey(self.call.chain, self.call.token_address)

    def drawn_span(self) -> tuple[int, int]:
        """Return from when to when candles are drawn, seconds."""
        first, last = self.call.signal_at, max(self.call.signal_at, self.events[-1].event_time)
        least = max(_LEAST_MARGIN_CANDLES * (self.interval_seconds or _UNKNOWN_INTERVAL), _LEAST_MARGIN_SECONDS)
        margin = max(int(_MARGIN * (last - first)), least)
        return first - margin, last + margin


def find_trade(
    state: StateStore,
    history: HistoryStore,
    call_id: int,
    strategy: str | None = None,
    *,
    run_id: int | None = None,
) -> TradeKey:
    """Return the trade of a call under a strategy: that of the current backtest, or of the run that is asked for.

    Args:
        state: Postgres.
        history: ClickHouse.
        call_id: The call.
        strategy: `NAME` or `NAME@VERSION`; may be left out with a run, or where one strategy alone reports on the call.
        run_id: The run; of any type, superseded or not.

    Raises:
        InputError: there is no such call, strategy, run or trade; the message says what there is and what to do.
    """
    found = rows_of(history, "trades/find_call", call_id=call_id)
    if not found:
        raise InputError(f"call {call_id} is unknown; 'quantbot trades' lists those that were simulated")
    call = found[0]
    runs = rows_of(
        history,
        "trades/list_runs_of_call",
        call_id=call_id,
        chain=call["chain"],
        token_address=call["token_address"],
        signal_s=call["signal_s"],
    )
    if run_id is not None:
        return _of_run(state, runs, call_id, strategy, run_id)
    current = [run for run in runs if run["is_current"] and run["run_type"] == "backtest"]
    if strategy is None:
        names = sorted({run["strategy_name"] for run in current})
        if len(names) == 1:
            return TradeKey(current[0]["simulation_run_id"], call_id)
        if names:
            raise InputError(f"call {call_id} was simulated under {_some(names)}; choose one with --strategy NAME")
        raise InputError(_why_nothing(call, None))
    matching = [run for run in current if _is_named(run, strategy)]
    if matching:
        return TradeKey(matching[0]["simulation_run_id"], call_id)
    raise InputError(_why_no_trade(state, call, strategy, runs))


def collect_trade(state: StateStore, history: HistoryStore, key: TradeKey) -> TradeContent:
    """Return one trade.

    Raises:
        InputError: the run is not completed, or does not report on the call.
        StrategyError: the strategy of the run, as it was stored, is none for this version.
    """
    unreadable: dict[int, StrategyError] = {}
    found = collect_trades(state, history, [key], unreadable=unreadable)
    if key.run_id in unreadable:
        raise unreadable[key.run_id]
    if not found:
        raise InputError(f"run {key.run_id} does not report on call {key.call_id}, or is not completed")
    return found[0]


def collect_trades(
    state: StateStore,
    history: HistoryStore,
    keys: Sequence[TradeKey],
    *,
    unreadable: dict[int, StrategyError] | None = None,
) -> list[TradeContent]:
    """Return trades in the order of their keys; those that no completed run reports on are left out.

    Left out are also trades of runs whose strategy, as it was stored, is none for this version: one of them must not
    be in the way of the others. Candles are read once per token and interval: trades on few tokens cost little more
    than one.

    Args:
        state: Postgres.
        history: ClickHouse.
        keys: The trades.
        unreadable: Takes, by run, why its strategy can't be read.
    """
    found = _load(state, history, list(dict.fromkeys(keys)), {} if unreadable is None else unreadable)
    candles = _load_candles(history, list(found.values()))
    return [_content(key, found[key], candles[key]) for key in keys if key in found]


def plot_extreme_trades(state: StateStore, history: HistoryStore) -> dict[str, str]:
    """Return the best and the worst trade as small plots in Markdown, by `best_trade` and `worst_trade`; none without.

    The marts must have been built.
    """
    chosen: dict[str, TradeKey] = {}
    for name, direction in (("best_trade", -1), ("worst_trade", 1)):
        found = rows_of(history, "lists/list_trades", **_EVERY_TRADE, direction=direction)
        for row in found:
            chosen[name] = TradeKey(row["simulation_run_id"], row["call_id"])
    trades = {
        TradeKey(each.run_id, each.call.call_id): each for each in collect_trades(state, history, [*chosen.values()])
    }
    return {name: plot_small_trade(trades[key]) for name, key in chosen.items() if key in trades}


# Finding


def _of_run(
    state: StateStore, runs: Sequence[Mapping[str, Any]], call_id: int, strategy: str | None, run_id: int
) -> TradeKey:
    for run in runs:
        if run["simulation_run_id"] == run_id:
            if strategy is not None and not _is_named(run, strategy):
                raise InputError(f"run {run_id} is of strategy {_version_name(run)}, not of {strategy}")
            return TradeKey(run_id, call_id)
    stored = rows_of(state, "trades/find_run", simulation_run_id=run_id)
    if not stored:
        raise InputError(f"run {run_id} is unknown; 'quantbot runs' lists them")
    if stored[0]["status"] != "completed":
        raise InputError(_not_completed(stored[0]))
    others = f"; runs that do: {_some([str(run['simulation_run_id']) for run in runs])}" if runs else ""
    raise InputError(f"run {run_id} does not report on call {call_id}{others}")


def _is_named(run: Mapping[str, Any], strategy: str) -> bool:
    # A name may hold an @ itself, so the whole text may be one.
    return strategy in (run["strategy_name"], _version_name(run))


def _version_name(run: Mapping[str, Any]) -> str:
    return f"{run['strategy_name']}@{run['strategy_version']}"


def _why_no_trade(state: StateStore, call: Mapping[str, Any], strategy: str, runs: Sequence[Mapping[str, Any]]) -> str:
    """Return why a strategy has no trade to show for a call, and what to do."""
    call_id = call["call_id"]
    stored = [(row.name, row.version) for row in state.load_strategies()]
    names = {strategy, strategy.rpartition("@")[0]}
    known = [name for name, _ in stored if name in names]
    others = [run for run in runs if _is_named(run, strategy)]
    if others:
        run = others[0]
        kind = "superseded" if not run["is_current"] else f"of type {run['run_type']}"
        shown = f"run {run['simulation_run_id']}, which is {kind}, has one: --run {run['simulation_run_id']}"
        return f"no current backtest of {strategy} reports on call {call_id}; {shown}"
    if not known and not any(run["strategy_name"] in names for run in runs):
        there_are = _some(sorted({name for name, _ in stored})) or "none yet ('quantbot backfill' stores the presets)"
        return f"strategy {strategy!r} is unknown; there are {there_are}"
    versions = sorted({run["strategy_version"] for run in runs if run["strategy_name"] in names and run["is_current"]})
    if versions and strategy not in {run["strategy_name"] for run in runs}:
        return f"call {call_id} was not simulated under {strategy}, but under version {_some(versions)}"
    for name in known:
        unfinished = rows_of(state, "trades/load_unfinished_runs_of_call", call_id=call_id, strategy_name=name)
        if unfinished:
            return _not_completed(unfinished[0])
    return _why_nothing(call, strategy)


def _why_nothing(call: Mapping[str, Any], strategy: str | None) -> str:
    call_id = call["call_id"]
    if call["side"] != "buy" or call["signal_type"] != "entry":
        kind = f"{call['signal_type'].replace('_', ' ')} call to {call['side']}"
        article = "an" if kind[:1] in "aeiou" else "a"
        return (
            f"call {call_id} is {article} {kind}: it opens no trade of its own; 'quantbot trades' lists those that do"
        )
    under = "any strategy" if strategy is None else strategy
    return f"call {call_id} was not simulated under {under} yet; 'quantbot backfill' does it"


def _not_completed(run: Mapping[str, Any]) -> str:
    reason = f": {run['error_message']}" if run["error_message"] else ""
    return (
        f"run {run['simulation_run_id']} is {run['status']}{reason}; 'quantbot backfill' computes it"
        f"{' again' if run['status'] == 'failed' else ''}"
    )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more


# Collecting


def _load(
    state: StateStore, history: HistoryStore, keys: Sequence[TradeKey], unreadable: dict[int, StrategyError]
) -> dict[TradeKey, _Found]:
    if not keys:
        return {}
    run_ids = sorted({key.run_id for key in keys})
    runs = {row["simulation_run_id"]: row for row in rows_of(history, "trades/load_trade_runs", run_ids=run_ids)}
    configs = {row["simulation_run_id"]: row for row in rows_of(state, "trades/load_run_configs", run_ids=run_ids)}
    strategies: dict[int, Strategy] = {}
    for run_id, row in configs.items():
        try:
            strategies[run_id] = parse_strategy(json.loads(row["config_json"]), source=f"run {run_id}")
        except StrategyError as error:
            unreadable[run_id] = error
    events: dict[TradeKey, list[Event]] = defaultdict(list)
    for row in rows_of(
        history,
        "trades/load_trade_events",
        run_ids=[key.run_id for key in keys],
        call_ids=[key.call_id for key in keys],
    ):
        events[TradeKey(row["simulation_run_id"], row["call_id"])].append(event_from_row(row))
    call_ids = sorted({key.call_id for key in keys})
    calls = {row["call_id"]: _call(row) for row in rows_of(history, "trades/load_traded_calls", call_ids=call_ids)}
    return {
        key: _Found(
            run=runs[key.run_id],
            call=calls[key.call_id],
            strategy=strategies[key.run_id],
            interval_seconds=_interval(configs[key.run_id], calls[key.call_id].token),
            events=tuple(events[key]),
        )
        for key in keys
        # What no completed run reports, and what was not published yet, is not there for readers.
        if events[key] and key.run_id in runs and key.run_id in strategies and key.call_id in calls
    }


def _load_candles(history: HistoryStore, every: Sequence[_Found]) -> dict[TradeKey, tuple[Candles, int]]:
    """Return each trade's candles with those of the warm-up, and the position of the first one to draw."""
    by_series: dict[tuple[TokenKey, int | None], list[_Found]] = defaultdict(list)
    for found in every:
        by_series[found.token, found.interval_seconds].append(found)
    loaded: dict[TradeKey, tuple[Candles, int]] = {}
    for (token, interval), trades in by_series.items():
        spans = [found.drawn_span() for found in trades]
        warm_up = max(warm_up_candles(found.strategy) for found in trades)
        series = _load_series(history, token, interval, (min(s for s, _ in spans), max(e for _, e in spans)), warm_up)
        for found, (start, end) in zip(trades, spans, strict=True):
            first, stop = (int(k) for k in np.searchsorted(series.timestamp, [start, end]))
            begin = max(first - warm_up_candles(found.strategy), 0)
            key = TradeKey(found.run["simulation_run_id"], found.call.call_id)
            loaded[key] = (series.slice(begin, stop), first - begin)
    return loaded


def _load_series(
    history: HistoryStore, token: TokenKey, interval: int | None, span: tuple[int, int], warm_up: int
) -> Candles:
    start, end = span
    name = None if interval is None else _INTERVAL_NAMES.get(interval)
    seconds = interval or _UNKNOWN_INTERVAL
    series = Candles.empty(seconds)
    for stretch in _WARM_UP_STRETCHES:
        window = (start - warm_up * seconds * stretch, end)
        series = history.load_candles({token: window}, interval=name).get(token, Candles.empty(seconds))
        if int(np.searchsorted(series.timestamp, start)) >= warm_up:
            break
    return series


def _content(key: TradeKey, found: _Found, candles: tuple[Candles, int]) -> TradeContent:
    loaded, first = candles
    return TradeContent(
        call=found.call,
        strategy_name=found.run["strategy_name"],
        strategy_version=found.run["strategy_version"],
        strategy=found.strategy,
        run_id=key.run_id,
        run_type=found.run["run_type"],
        is_current=found.run["is_current"],
        data_quality=found.run["data_quality"],
        candles=loaded.slice(first, len(loaded)),
        events=found.events,
        indicators=indicator_lines(found.strategy, loaded, first),
    )


def _call(row: Mapping[str, Any]) -> TradedCall:
    return TradedCall(
        call_id=row["call_id"],
        caller_source=row["caller_source"],
        caller_handle=row["caller_handle"],
        chain=row["chain"],
        token_address=row["token_address"],
        symbol=row["symbol"] or None,
        signal_at=row["signal_s"],
    )


def _interval(config: Mapping[str, Any], token: str) -> int | None:
    """Return the length of the candles that a run read of a token, seconds; None where it does not say."""
    tokens, intervals = json.loads(config["tokens"] or "[]"), json.loads(config["intervals_seconds"] or "[]")
    # One list per run, equally long; what was stored otherwise says nothing.
    lengths = dict(zip(tokens, intervals, strict=False))
    found = lengths.get(token)
    return found if isinstance(found, int) and found in _INTERVAL_NAMES else None
