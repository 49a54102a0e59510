"""Collects what the report's pages show, by the named queries in `sql/*/queries/report/`.

What grows with the data is bounded here, and the content says how many there are in all.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from quantbot_pipeline.errors import DataError
from quantbot_pipeline.report.collect import collect_report, finite, moment, standing_of
from quantbot_pipeline.report.content import Standing
from quantbot_pipeline.report.search_collect import collect_search
from quantbot_pipeline.report.search_content import SearchContent
from quantbot_pipeline.report.site_content import (
    CallerMonth,
    CallerName,
    ExitLine,
    FailureLine,
    GapLine,
    HealthLine,
    Narrowing,
    QualityCount,
    RunDetail,
    RunLine,
    SearchLine,
    SiteContent,
    StrategyDocument,
    StrategyName,
    TokenLine,
    TradeLine,
    TradeList,
)
from quantbot_pipeline.report.stored_rows import rows_of
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore

LISTED_ROWS = 2_000
"""Rows of a table at most: a browser sorts and filters them at once."""

CALLER_PAGES = 60
RUN_PAGES = 60
SEARCH_PAGES = 12
CALLER_TRADES = 500

_FAILURE_REASONS = 50
_GAP_ROWS = 500

_Key = TypeVar("_Key", bound=Hashable)
_Line = TypeVar("_Line")


def collect_site(
    state: StateStore,
    history: HistoryStore,
    *,
    generated_at: datetime,
    narrowing: Narrowing | None = None,
) -> SiteContent:
    """Return what the stores say now, without the pages of runs; the views must have been built.

    Args:
        state: Postgres.
        history: ClickHouse.
        generated_at: The time that the pages carry, tz-aware UTC.
        narrowing: What to narrow the pages to; everything without it.

    Raises:
        DataError: the strategy, caller or run that was asked for is not there to be shown; the message says why.
        StorageError: a query fails.
    """
    narrowing = narrowing or Narrowing()
    overview = collect_report(state, history, generated_at=generated_at)
    strategies = tuple(row for row in overview.strategies if narrowing.strategy in ("", row.strategy))
    _check_strategy(narrowing, overview.strategies)
    callers = _callers(history, narrowing, strategies)
    caller_names = _best_callers(callers)
    wanted = (narrowing.caller,) if narrowing.caller else caller_names[:CALLER_PAGES]
    trades_since = {"strategy": narrowing.strategy, "since_s": _seconds(narrowing.since)}
    asked = {"caller_sources": [name[0] for name in wanted], "caller_handles": [name[1] for name in wanted]}
    runs, run_total = _runs(state, history, narrowing)
    token_rows = rows_of(history, "report/list_tokens", strategy=narrowing.strategy, row_limit=LISTED_ROWS)
    gap_rows = rows_of(history, "report/list_gaps", row_limit=_GAP_ROWS)
    search_rows = rows_of(state, "report/list_searches", job_limit=LISTED_ROWS)
    return SiteContent(
        overview=overview,
        narrowing=narrowing,
        callers=callers,
        caller_pages=wanted,
        caller_total=len(caller_names),
        caller_months=_grouped(
            rows_of(history, "report/list_caller_months", **trades_since, **asked), _caller_of, _caller_month
        ),
        caller_trades=_trade_lists(
            rows_of(history, "report/list_caller_trades", **trades_since, **asked, trade_limit=CALLER_TRADES),
            _caller_of,
        ),
        strategy_trades=_trade_lists(
            rows_of(history, "report/list_strategy_trades", **trades_since, trade_limit=LISTED_ROWS), _strategy_of
        ),
        strategy_documents=_documents(state, strategies),
        exits=_grouped(rows_of(history, "report/list_exits"), _strategy_of, _exit_line),
        runs=runs,
        run_total=run_total,
        run_pages=_run_pages(runs, narrowing),
        tokens=tuple(_token_line(row) for row in token_rows),
        token_total=token_rows[0]["row_count"] if token_rows else 0,
        searches=tuple(_search_line(row) for row in search_rows),
        search_total=search_rows[0]["job_count"] if search_rows else 0,
        search_pages=_searches(state, [row["job_id"] for row in search_rows[:SEARCH_PAGES]]),
        qualities=tuple(
            QualityCount(
                row["strategy_name"],
                row["strategy_version"],
                row["data_quality"],
                row["run_count"],
                row["trade_count"],
            )
            for row in rows_of(state, "report/count_run_quality")
        ),
        failures=tuple(
            FailureLine(
                row["area"],
                row["reason"],
                row["failure_count"],
                row["last_at"].astimezone(UTC),
                row["example"],
            )
            for row in rows_of(state, "report/list_failures", reason_limit=_FAILURE_REASONS)
        ),
        health=tuple(
            HealthLine(
                row["area"],
                row["measure"],
                int(row["value"]),
                None if row["latest_at"] is None else row["latest_at"].astimezone(UTC),
                row["is_problem"],
                row["what_it_means"],
            )
            for row in rows_of(state, "report/list_health")
        ),
        gaps=tuple(_gap_line(row) for row in gap_rows),
        gap_total=gap_rows[0]["row_count"] if gap_rows else 0,
    )


def collect_run_trades(history: HistoryStore, run_ids: Sequence[int]) -> dict[int, TradeList]:
    """Return the calls of runs and what became of them, by run, where the run speaks for the call."""
    found = rows_of(history, "report/list_run_trades", run_ids=list(run_ids), trade_limit=LISTED_ROWS)
    return {run_id: TradeList() for run_id in run_ids} | _trade_lists(found, _run_of)


def collect_run_details(state: StateStore, run_ids: Sequence[int]) -> dict[int, RunDetail]:
    """Return what is known of runs besides their lines, by run."""
    return {
        row["run_id"]: RunDetail(
            quality=json.loads(row["data_quality_json"]),
            selection=json.loads(row["data_selection_json"]),
            config_hash=row["config_hash"],
            events_digest=row["events_digest"] or "",
            attempt=row["attempt"],
        )
        for row in rows_of(state, "report/load_run_quality", run_ids=list(run_ids))
    }


def _seconds(since: datetime | None) -> int:
    # Before every call that there is.
    return -(2**40) if since is None else int(since.timestamp())


def _check_strategy(narrowing: Narrowing, strategies: Sequence[Standing]) -> None:
    names = sorted({row.strategy for row in strategies})
    if narrowing.strategy and narrowing.strategy not in names:
        known = ", ".join(names[:10]) or "none"
        raise DataError(
            f"strategy '{narrowing.strategy}' has no completed, current backtest to report on; strategies that have: "
            f"{known}; simulate it with 'quantbot backfill --strategy {narrowing.strategy}'"
        )


def _callers(history: HistoryStore, narrowing: Narrowing, strategies: Sequence[Standing]) -> tuple[Standing, ...]:
    sources, handles = ([narrowing.caller[0]], [narrowing.caller[1]]) if narrowing.caller else ([], [])
    found = rows_of(
        history,
        "report/list_callers",
        # The same number for each strategy version, so that none is left out.
        caller_limit=max(LISTED_ROWS // max(len(strategies), 1), 25),
        caller_sources=sources,
        caller_handles=handles,
    )
    order = {(row.strategy, row.version): row.rank for row in strategies}
    standings = [
        standing_of(row, "caller_rank")
        for row in found
        if _strategy_of(row) in order and narrowing.caller in (None, _caller_of(row))
    ]
    if narrowing.caller and not standings:
        raise DataError(
            f"caller '{'/'.join(narrowing.caller)}' has no call in a completed, current backtest"
            f"{f' of strategy {narrowing.strategy}' if narrowing.strategy else ''}; "
            "'quantbot callers list' shows source and handle of all callers"
        )
    standings.sort(key=lambda row: (order[row.strategy, row.version], row.rank))
    return tuple(standings)


def _best_callers(standings: Iterable[Standing]) -> tuple[CallerName, ...]:
    """Return callers by their best rank under any strategy version."""
    best: dict[CallerName, int] = {}
    for row in standings:
        # Calls that were not published yet have no caller to make a page of.
        if row.caller_name and row.caller_name[1]:
            best[row.caller_name] = min(row.rank, best.get(row.caller_name, row.rank))
    return tuple(sorted(best, key=lambda name: (best[name], name)))


def _runs(state: StateStore, history: HistoryStore, narrowing: Narrowing) -> tuple[tuple[RunLine, ...], int]:
    found = rows_of(
        history,
        "report/list_runs",
        strategy=narrowing.strategy,
        since_s=_seconds(narrowing.since),
        run_limit=LISTED_ROWS,
        run_ids=list(narrowing.run_ids),
    )
    listed = {row["simulation_run_id"] for row in found}
    missing = [run_id for run_id in narrowing.run_ids if run_id not in listed]
    if missing:
        raise DataError(_why_not_shown(state, missing[0], narrowing))
    return tuple(_run_line(row) for row in found), found[0]["run_count"] if found else 0


def _why_not_shown(state: StateStore, run_id: int, narrowing: Narrowing) -> str:
    found = rows_of(state, "report/load_run_quality", run_ids=[run_id])
    if not found:
        return f"there is no run {run_id}; 'quantbot runs' lists those that can be shown"
    run = found[0]
    if run["status"] != "completed":
        why = f": {run['error_message']}" if run["error_message"] else ""
        return f"run {run_id} is {run['status']}{why}; a report shows completed runs, simulate it again"
    if run["superseded_by"]:
        return (
            f"run {run_id} was superseded by run {run['superseded_by']}, which read newer data; "
            f"ask for --run {run['superseded_by']}"
        )
    if run["run_type"] != "backtest":
        return f"run {run_id} is of type {run['run_type']}; a report has pages of backtests alone"
    return (
        f"run {run_id} of strategy {run['strategy_name']} is not among {narrowing.words() or 'the published runs'}; "
        "leave out --strategy and --since, or build the views with 'quantbot views build'"
    )


def _run_pages(runs: Sequence[RunLine], narrowing: Narrowing) -> tuple[int, ...]:
    """Return which runs get a page: those asked for, then the best and the latest that traded, half of each."""
    traded = [run for run in runs if run.trade_count]
    best = [run.run_id for run in traded[: RUN_PAGES // 2]]
    latest = [run.run_id for run in sorted(traded, key=lambda run: (run.window_start, run.run_id), reverse=True)]
    chosen = dict.fromkeys([*narrowing.run_ids, *best])
    for run_id in latest:
        if len(chosen) >= RUN_PAGES + len(narrowing.run_ids):
            break
        chosen[run_id] = None
    return tuple(chosen)


def _documents(state: StateStore, strategies: Sequence[Standing]) -> dict[StrategyName, StrategyDocument]:
    if not strategies:
        return {}
    return {
        (row.name, row.version): StrategyDocument(row.category, row.config, row.config_hash)
        for row in state.load_strategies({row.strategy for row in strategies})
    }


def _searches(state: StateStore, job_ids: Iterable[int]) -> tuple[SearchContent, ...]:
    found = (collect_search(state, job_id) for job_id in job_ids)
    return tuple(search for search in found if search is not None)


def _strategy_of(row: Mapping[str, Any]) -> StrategyName:
    return row["strategy_name"], row["strategy_version"]


def _caller_of(row: Mapping[str, Any]) -> CallerName:
    return row["caller_source"], row["caller_handle"]


def _run_of(row: Mapping[str, Any]) -> int:
    run_id: int = row["run_id"]
    return run_id


def _grouped(
    rows: Iterable[Mapping[str, Any]],
    key: Callable[[Mapping[str, Any]], _Key],
    line: Callable[[Mapping[str, Any]], _Line],
) -> dict[_Key, tuple[_Line, ...]]:
    found: dict[_Key, list[_Line]] = defaultdict(list)
    for row in rows:
        found[key(row)].append(line(row))
    return {name: tuple(lines) for name, lines in found.items()}


def _trade_lists(rows: Sequence[Mapping[str, Any]], key: Callable[[Mapping[str, Any]], _Key]) -> dict[_Key, TradeList]:
    totals = {key(row): int(row["trade_total"]) for row in rows}
    return {name: TradeList(trades, totals[name]) for name, trades in _grouped(rows, key, _trade_line).items()}


def _trade_line(row: Mapping[str, Any]) -> TradeLine:
    return TradeLine(
        strategy=row["strategy_name"],
        version=row["strategy_version"],
        run_id=row["run_id"],
        call_id=row["call_id"],
        caller=_caller_of(row),
        chain=row["chain"],
        token_address=row["token_address"],
        symbol=row["symbol"] or "",
        signal_at=moment(row["signal_s"]),
        entered_at=None if row["entered_s"] is None else moment(row["entered_s"]),
        holding_minutes=row["holding_minutes"],
        exit_event=row["exit_event"] or "",
        end_reason=row["end_reason"] or "",
        pnl=None if row["outcome"] == "skipped" else row["pnl"],
        action_count=row["buy_count"] + row["sell_count"] + row["target_count"] + row["reentry_count"],
        data_quality=row["data_quality"],
    )


def _run_line(row: Mapping[str, Any]) -> RunLine:
    return RunLine(
        rank=row["run_rank"],
        run_id=row["simulation_run_id"],
        strategy=row["strategy_name"],
        version=row["strategy_version"],
        engine_version=row["engine_version"],
        chain=row["chain"],
        token_address=row["token_address"],
        window_start=moment(row["window_start_s"]),
        window_end=moment(row["window_end_s"]),
        completed_at=moment(row["completed_s"]),
        trade_count=row["trade_count"],
        win_rate=finite(row["win_rate"]),
        mean_pnl=finite(row["mean_pnl"]),
        total_pnl=row["total_pnl"],
        max_drawdown=finite(row["max_drawdown"]),
        sharpe_ratio=finite(row["sharpe_ratio"]),
        is_small_sample=bool(row["is_small_sample"]),
        data_quality=row["data_quality"],
    )


def _caller_month(row: Mapping[str, Any]) -> CallerMonth:
    return CallerMonth(
        strategy=row["strategy_name"],
        version=row["strategy_version"],
        month=row["month_name"],
        trade_count=row["trade_count"],
        skipped_count=row["skipped_count"],
        win_rate=finite(row["win_rate"]),
        mean_pnl=finite(row["mean_pnl"]),
        mean_pnl_lower=finite(row["mean_pnl_lower"]),
        total_pnl=row["total_pnl"],
        is_small_sample=bool(row["is_small_sample"]),
    )


def _exit_line(row: Mapping[str, Any]) -> ExitLine:
    return ExitLine(
        outcome=row["outcome"],
        exit_event=row["exit_event"],
        exit_reason=row["exit_reason"],
        call_count=row["call_count"],
        share_of_calls=row["share_of_calls"],
        win_rate=finite(row["win_rate"]),
        mean_pnl=finite(row["mean_pnl"]),
        median_pnl=finite(row["median_pnl"]),
        total_pnl=row["total_pnl"],
        mean_holding_minutes=finite(row["mean_holding_minutes"]),
    )


def _token_line(row: Mapping[str, Any]) -> TokenLine:
    return TokenLine(
        rank=row["token_rank"],
        strategy=row["strategy_name"],
        version=row["strategy_version"],
        chain=row["chain"],
        token_address=row["token_address"],
        symbol=row["symbol"] or "",
        trade_count=row["trade_count"],
        skipped_count=row["skipped_count"],
        caller_count=row["caller_count"],
        win_rate=finite(row["win_rate"]),
        mean_pnl=finite(row["mean_pnl"]),
        median_pnl=finite(row["median_pnl"]),
        total_pnl=row["total_pnl"],
    )


def _gap_line(row: Mapping[str, Any]) -> GapLine:
    return GapLine(
        chain=row["chain"],
        token_address=row["token_address"],
        month=row["month_name"],
        interval=row["interval_name"],
        candle_count=row["candle_count"],
        missing_count=row["missing_count"],
        coverage=row["coverage"],
        gap_count=row["gap_count"],
        longest_gap_minutes=row["longest_gap_candles"] * row["interval_seconds"] / 60,
        silent_hours=row["silent_hours"],
        distorted_count=row["distorted_count"],
    )


def _search_line(row: Mapping[str, Any]) -> SearchLine:
    counts = json.loads(row["counts_json"]) if row["counts_json"] else {}
    verdict = json.loads(row["verdict_json"]) if row["verdict_json"] else {}
    return SearchLine(
        job_id=row["job_id"],
        name=row["name"],
        status=row["status"],
        template=row["template"],
        objective=row["objective"],
        answer=str(verdict.get("answer") or ""),
        trial_count=sum(counts.values()) or row["stored_count"],
        created_at=row["created_at"].astimezone(UTC),
        completed_at=None if row["completed_at"] is None else row["completed_at"].astimezone(UTC),
    )
