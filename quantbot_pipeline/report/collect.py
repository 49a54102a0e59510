"""Collects the report's content from the stores, by the named queries in `sql/*/queries/report/`.

Nothing is computed here that a view or query can say; what is left is choosing, cutting and naming.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import accumulate
from typing import Any

import numpy as np

from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.report.content import (
    CallerTable,
    DataWindow,
    EquityCurve,
    ExampleCandle,
    ExampleEvent,
    ExampleTrade,
    Headline,
    ModelMetric,
    ModelStanding,
    QuarantineReason,
    ReportContent,
    Standing,
)
from quantbot_pipeline.report.coverage import collect_coverage
from quantbot_pipeline.report.model_card import card_path_of
from quantbot_pipeline.report.search_collect import collect_search
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore

CALLERS_PER_STRATEGY = 25
"""Callers that a table shows; thousands of handles would make the page unusable."""

EQUITY_CURVES = 6
"""Curves that are drawn at most: as many as there are colours that can be told apart."""

MODELS = 5
QUARANTINE_REASONS = 15

EXAMPLE_CANDLES = 400
"""Candles that are drawn at most; more of them melt into a band on a screen of usual width."""

# Share of the trade's length that is drawn before the call and after the last event.
_MARGIN = 0.15

_BASELINE_PREFIX = "baseline_"


def collect_report(state: StateStore, history: HistoryStore, *, generated_at: datetime) -> ReportContent:
    """Return what the stores say now; the views must have been applied.

    Args:
        state: Postgres.
        history: ClickHouse.
        generated_at: The time that the page carries, tz-aware UTC.

    Raises:
        StorageError: a query fails, a view that is not there for one.
    """
    state_counts = state.read("report/count_rows").to_pylist()[0]
    history_counts = history.read("report/count_rows").to_pylist()[0]
    strategies = tuple(_standing(row, "strategy_rank") for row in _rows(history, "report/rank_strategies"))
    return ReportContent(
        generated_at=generated_at,
        headline=_headline(state_counts, history_counts),
        window=_window(state_counts, history_counts),
        strategies=strategies,
        callers=_caller_tables(_rows(history, "report/rank_callers", caller_limit=CALLERS_PER_STRATEGY), strategies),
        equity=_equity(_rows(history, "report/load_daily_pnl"), strategies),
        example=_example(state, history),
        search=collect_search(state),
        models=tuple(_model(row) for row in _rows(state, "report/list_models", model_limit=MODELS)),
        quarantine=tuple(
            _quarantine_reason(row)
            for row in _rows(state, "report/count_quarantine_reasons", reason_limit=QUARANTINE_REASONS)
        ),
        coverage=collect_coverage(history),
    )


def _rows(store: StateStore | HistoryStore, query: str, **parameters: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = store.read(query, **parameters).to_pylist()
    return rows


def _headline(state: Mapping[str, Any], history: Mapping[str, Any]) -> Headline:
    return Headline(
        candles=history["candles"],
        tokens_with_candles=history["tokens_with_candles"],
        alerts=state["alerts"],
        duplicates=state["duplicates"],
        calls=state["calls"],
        callers=state["callers"],
        quarantined=state["quarantined"],
        runs_completed=state["runs_completed"],
        runs_current=state["runs_current"],
        runs_failed=state["runs_failed"],
        runs_unfinished=state["runs_unfinished"],
        trades=history["trades"],
        skipped=history["skipped"],
    )


def _window(state: Mapping[str, Any], history: Mapping[str, Any]) -> DataWindow:
    has_candles = history["candles"] > 0
    return DataWindow(
        first_candle_at=_moment(history["first_candle_s"]) if has_candles else None,
        last_candle_at=_moment(history["last_candle_s"]) if has_candles else None,
        intervals=tuple(history["intervals"].split()),
        first_call_at=_optional_moment(state["first_call_s"]),
        last_call_at=_optional_moment(state["last_call_s"]),
        engine_versions=tuple(history["engine_versions"].split()),
    )


def _standing(row: Mapping[str, Any], rank: str) -> Standing:
    caller = _caller(row) if "caller_handle" in row else None
    return Standing(
        rank=row[rank],
        strategy=row["strategy_name"],
        version=row["strategy_version"],
        caller=caller,
        trade_count=row["trade_count"],
        skipped_count=row["skipped_count"],
        token_count=row["token_count"],
        win_rate=_finite(row["win_rate"]),
        win_rate_lower=_finite(row["win_rate_lower"]),
        mean_pnl=_finite(row["mean_pnl"]),
        mean_pnl_lower=_finite(row["mean_pnl_lower"]),
        median_pnl=_finite(row["median_pnl"]),
        total_pnl=row["total_pnl"],
        is_small_sample=bool(row["is_small_sample"]),
    )


def _caller(row: Mapping[str, Any]) -> str:
    """Return who called; trades of a call that was not published yet have an empty handle."""
    return f"{row['caller_source']} / {row['caller_handle']}" if row["caller_handle"] else "(not published yet)"


def _caller_tables(rows: Iterable[Mapping[str, Any]], strategies: Sequence[Standing]) -> tuple[CallerTable, ...]:
    by_strategy: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        by_strategy[row["strategy_name"], row["strategy_version"]].append(row)
    return tuple(
        CallerTable(
            strategy=standing.strategy,
            version=standing.version,
            standings=tuple(_standing(row, "caller_rank") for row in found),
            caller_count=found[0]["caller_count"],
        )
        for standing in strategies
        if (found := by_strategy[standing.strategy, standing.version])
    )


def _equity(rows: Iterable[Mapping[str, Any]], strategies: Sequence[Standing]) -> tuple[EquityCurve, ...]:
    by_strategy: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        by_strategy[row["strategy_name"], row["strategy_version"]].append(row)
    curves = []
    for standing in strategies:
        days = by_strategy[standing.strategy, standing.version]
        if not days:
            continue
        trade_count = sum(row["trade_count"] for row in days)
        curves.append(
            EquityCurve(
                strategy=standing.strategy,
                version=standing.version,
                trade_count=trade_count,
                days=tuple(date.fromisoformat(row["day"]) for row in days),
                values=tuple(total / trade_count for total in accumulate(row["pnl"] for row in days)),
            )
        )
    return tuple(curves[:EQUITY_CURVES])


def _example(state: StateStore, history: HistoryStore) -> ExampleTrade | None:
    chosen = _rows(history, "report/choose_trade")
    if not chosen:
        return None
    trade = chosen[0]
    run_id, call_id = trade["simulation_run_id"], trade["call_id"]
    rows = _rows(history, "report/load_trade_events", simulation_run_id=run_id, call_id=call_id)
    events = tuple(_example_event(row) for row in rows)
    token = TokenKey(trade["chain"], trade["token_address"])
    stored = _load_candles_around(history, token, trade["signal_s"], rows)
    drawn = _thinned(stored)
    return ExampleTrade(
        strategy=trade["strategy_name"],
        version=trade["strategy_version"],
        run_id=run_id,
        call_id=call_id,
        caller=_caller(trade),
        token=f"{token.chain}:{token.address}",
        symbol=trade["symbol"] or None,
        signal_at=_moment(trade["signal_s"]),
        pnl=trade["pnl"],
        seconds_per_candle=drawn.interval_seconds,
        seconds_per_stored_candle=stored.interval_seconds,
        candles=_example_candles(drawn),
        events=events,
        target_multiples=_target_multiples(_rows(state, "report/load_run_config", simulation_run_id=run_id)),
    )


def _load_candles_around(
    history: HistoryStore, token: TokenKey, signal_s: int, events: Sequence[Mapping[str, Any]]
) -> Candles:
    first, last = signal_s, events[-1]["event_s"]
    # A trade within one candle still gets surroundings to be seen in.
    margin = max(int(_MARGIN * (last - first)), 3600)
    found = history.load_candles({token: (first - margin, last + margin)})
    return found.get(token) or Candles.empty(60)


def _thinned(candles: Candles) -> Candles:
    """Return at most `EXAMPLE_CANDLES` candles: several neighbours in one where there are more.

    Neighbours are those within the same stretch of time, so that gaps stay gaps.
    """
    if len(candles) <= EXAMPLE_CANDLES:
        return candles
    length = int(candles.timestamp[-1] - candles.timestamp[0]) + candles.interval_seconds
    seconds = candles.interval_seconds * math.ceil(length / candles.interval_seconds / EXAMPLE_CANDLES)
    stretch = candles.timestamp // seconds
    starts = np.flatnonzero(np.concatenate([[True], np.diff(stretch) > 0]))
    ends = np.concatenate([starts[1:], [len(candles)]]) - 1
    return Candles(
        interval_seconds=seconds,
        timestamp=stretch[starts] * seconds,
        open=candles.open[starts],
        high=np.maximum.reduceat(candles.high, starts),
        low=np.minimum.reduceat(candles.low, starts),
        close=candles.close[ends],
        volume=np.add.reduceat(candles.volume, starts),
    )


def _example_candles(candles: Candles) -> tuple[ExampleCandle, ...]:
    columns = (candles.timestamp, candles.open, candles.high, candles.low, candles.close)
    return tuple(
        ExampleCandle(_moment(opened_s), opening, high, low, close)
        for opened_s, opening, high, low, close in zip(*(column.tolist() for column in columns), strict=True)
    )


def _example_event(row: Mapping[str, Any]) -> ExampleEvent:
    position = json.loads(row["position_state_json"])
    return ExampleEvent(
        seq=row["seq"],
        at=_moment(row["event_s"]),
        kind=row["event_type"],
        price=_finite(row["price"]),
        size=row["size"],
        remaining_position=row["remaining_position"],
        pnl_so_far=row["pnl_so_far"],
        stop=_finite(position.get("stop")),
        average_entry=_finite(position.get("average_entry")),
        reason=_reason(json.loads(row["metadata_json"])),
    )


def _reason(metadata: Mapping[str, Any]) -> str:
    """Return an event's metadata in words, such as `stop order, initial stop, at a gap`."""
    words = []
    if "order" in metadata:
        words.append(f"{metadata['order']} order")
    if "stop" in metadata:
        words.append(f"{metadata['stop']} stop")
    if "target" in metadata:
        words.append(f"target {metadata['target']}")
    if "leg" in metadata:
        words.append(f"leg {metadata['leg']}")
    if "reason" in metadata:
        words.append(str(metadata["reason"]))
    if metadata.get("gap"):
        words.append("at a gap")
    return ", ".join(words).replace("_", " ")


def _target_multiples(configs: Sequence[Mapping[str, Any]]) -> tuple[float, ...]:
    if not configs:
        return ()
    exits = json.loads(configs[0]["config_json"]).get("exits") or {}
    return tuple(float(target["multiple"]) for target in exits.get("targets") or ())


def _model(row: Mapping[str, Any]) -> ModelStanding:
    metrics = json.loads(row["metrics_json"])
    baselines = {
        name.removeprefix(_BASELINE_PREFIX): value
        for name, value in metrics.items()
        if name.startswith(_BASELINE_PREFIX) and isinstance(value, Mapping)
    }
    # Postgres keeps no order of keys, so the page has its own.
    compared = sorted(name for name in metrics if any(name in baseline for baseline in baselines.values()))
    told = {"verdict", "beats_baseline", *compared}
    # What pictures are drawn from, and what needs a table of its own, is on the model's card.
    facts = sorted(
        name
        for name, value in metrics.items()
        if name not in told and not name.startswith(_BASELINE_PREFIX) and _is_one_line(value)
    )
    return ModelStanding(
        name=row["name"],
        version=row["version"],
        model_type=row["model_type"],
        status=row["status"],
        feature_count=row["feature_count"],
        verdict=metrics.get("verdict"),
        baselines=tuple(sorted(baselines)),
        metrics=tuple(
            ModelMetric(
                name,
                _finite(metrics[name]),
                tuple(_finite(baselines[baseline].get(name)) for baseline in sorted(baselines)),
            )
            for name in compared
        ),
        facts=tuple((_fact_name(name), _fact(name, metrics[name])) for name in facts),
        card=str(card_path_of(row["name"], row["version"])),
    )


def _is_one_line(value: Any) -> bool:
    if isinstance(value, list):
        return not any(isinstance(part, Mapping | list) for part in value)
    return not isinstance(value, Mapping)


def _fact_name(name: str) -> str:
    """Return a metric's name for people; those of counts begin with `n_`."""
    return f"{name.removeprefix('n_')} calls" if name.startswith("n_") else name


def _fact(name: str, value: Any) -> str:
    # Metrics give times as seconds since the epoch.
    if name.endswith(("_start", "_end")) and isinstance(value, int):
        return f"{_moment(value):%Y-%m-%d %H:%M} UTC"
    return _text(value)


def _quarantine_reason(row: Mapping[str, Any]) -> QuarantineReason:
    line = row["example_line"]
    return QuarantineReason(
        kind=row["kind"],
        field=row["field"],
        row_count=row["row_count"],
        example=row["example"],
        example_place=row["example_file"] if line is None else f"{row['example_file']}, line {line}",
    )


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(_text(part) for part in value) or "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _finite(value: Any) -> float | None:
    """Return a finite number, or None for null, NaN, infinities and their spellings in JSON."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _optional_moment(seconds: int | None) -> datetime | None:
    return None if seconds is None else _moment(seconds)
