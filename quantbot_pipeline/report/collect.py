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

from quantbot_pipeline.report.content import (
    DataWindow,
    EquityCurve,
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
from quantbot_pipeline.report.stored_rows import rows_of
from quantbot_pipeline.report.trade_collect import TradeKey, collect_trades
from quantbot_pipeline.report.trade_content import TradeContent
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore

EQUITY_POINTS = 400
"""Days of a curve that are drawn at most."""

MODELS = 5
QUARANTINE_REASONS = 15

_BASELINE_PREFIX = "baseline_"


FROM_THE_FIRST_S = -(2**40)
"""A time before every call, seconds since the epoch."""

EVERY_CALL: Mapping[str, str | int] = {
    "strategy": "",
    "version": "",
    "caller_source": "",
    "caller_handle": "",
    "since_s": FROM_THE_FIRST_S,
}
"""Parameters of queries that are narrowed to nothing."""


def collect_report(
    state: StateStore,
    history: HistoryStore,
    *,
    generated_at: datetime,
    narrowed: Mapping[str, str | int] = EVERY_CALL,
) -> ReportContent:
    """Return what the stores say now; the views must have been applied.

    Args:
        state: Postgres.
        history: ClickHouse.
        generated_at: The time that the page carries, tz-aware UTC.
        narrowed: Which calls the trade that is drawn is chosen from; all else is of everything.

    Raises:
        StorageError: a query fails, a view that is not there for one.
    """
    state_counts = state.read("report/count_rows").to_pylist()[0]
    history_counts = history.read("report/count_rows").to_pylist()[0]
    strategies = tuple(standing_of(row, "strategy_rank") for row in rows_of(history, "report/rank_strategies"))
    return ReportContent(
        generated_at=generated_at,
        headline=_headline(state_counts, history_counts),
        window=_window(state_counts, history_counts),
        strategies=strategies,
        equity=_equity(rows_of(history, "report/load_daily_pnl"), strategies),
        example=_example(state, history, narrowed),
        search=collect_search(state),
        models=tuple(_model(row) for row in rows_of(state, "report/list_models", model_limit=MODELS)),
        quarantine=tuple(
            _quarantine_reason(row)
            for row in rows_of(state, "report/count_quarantine_reasons", reason_limit=QUARANTINE_REASONS)
        ),
        coverage=collect_coverage(history),
    )


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
        first_candle_at=moment(history["first_candle_s"]) if has_candles else None,
        last_candle_at=moment(history["last_candle_s"]) if has_candles else None,
        intervals=tuple(history["intervals"].split()),
        first_call_at=_optional_moment(state["first_call_s"]),
        last_call_at=_optional_moment(state["last_call_s"]),
        engine_versions=tuple(history["engine_versions"].split()),
    )


def standing_of(row: Mapping[str, Any], rank: str) -> Standing:
    """Return a row of a leaderboard.

    Args:
        row: As the report's queries select it.
        rank: Name of the column with its place.
    """
    caller = _caller(row) if "caller_handle" in row else None
    return Standing(
        rank=row[rank],
        strategy=row["strategy_name"],
        version=row["strategy_version"],
        caller=caller,
        caller_name=(row["caller_source"], row["caller_handle"]) if caller else None,
        trade_count=row["trade_count"],
        skipped_count=row["skipped_count"],
        token_count=row["token_count"],
        win_rate=finite(row["win_rate"]),
        win_rate_lower=finite(row["win_rate_lower"]),
        mean_pnl=finite(row["mean_pnl"]),
        mean_pnl_lower=finite(row["mean_pnl_lower"]),
        median_pnl=finite(row["median_pnl"]),
        total_pnl=row["total_pnl"],
        is_small_sample=bool(row["is_small_sample"]),
        good_data_trade_count=row["good_data_trade_count"],
    )


def _caller(row: Mapping[str, Any]) -> str:
    """Return who called; trades of a call that was not published yet have an empty handle."""
    return f"{row['caller_source']} / {row['caller_handle']}" if row["caller_handle"] else "(not published yet)"


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
        values = [total / trade_count for total in accumulate(row["pnl"] for row in days)]
        drawn = _drawn_positions(len(days))
        curves.append(
            EquityCurve(
                strategy=standing.strategy,
                version=standing.version,
                trade_count=trade_count,
                days=tuple(date.fromisoformat(days[k]["day"]) for k in drawn),
                values=tuple(values[k] for k in drawn),
                is_sampled=len(drawn) < len(days),
            )
        )
    return tuple(curves)


def _drawn_positions(count: int) -> list[int]:
    """Return the positions of the days that are drawn: the first, the last, and evenly those between."""
    if count <= EQUITY_POINTS:
        return list(range(count))
    return [round(k * (count - 1) / (EQUITY_POINTS - 1)) for k in range(EQUITY_POINTS)]


def _example(state: StateStore, history: HistoryStore, narrowed: Mapping[str, str | int]) -> TradeContent | None:
    chosen = rows_of(history, "report/choose_trade", **narrowed)
    keys = [TradeKey(int(row["simulation_run_id"]), row["call_id"]) for row in chosen]
    return next(iter(collect_trades(state, history, keys)), None)


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
                finite(metrics[name]),
                tuple(finite(baselines[baseline].get(name)) for baseline in sorted(baselines)),
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
        return f"{moment(value):%Y-%m-%d %H:%M} UTC"
    return _text(value)


def _quarantine_reason(row: Mapping[str, Any]) -> QuarantineReason:
    line = row["example_line"]
    return QuarantineReason(
        kind=row["kind"],
        field=row["field"],
        row_count=row["row_count"],
        example=row["example"],
        example_place=row["example_file"] if line is None else f"{row['example_file']}, line {line}",
        resolved_count=row["resolved_count"],
    )


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(_text(part) for part in value) or "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def finite(value: Any) -> float | None:
    """Return a finite number, or None for null, NaN, infinities and their spellings in JSON."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def moment(seconds: int) -> datetime:
    """Return seconds since the epoch as a UTC time."""
    return datetime.fromtimestamp(seconds, UTC)


def _optional_moment(seconds: int | None) -> datetime | None:
    return None if seconds is None else moment(seconds)
