"""Collects what the report's pages show, by the named queries in `sql/*/queries/report/`.

What grows with the data is bounded here, and the content says how many there are in all.
"""

import json
import shlex
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from quantbot_pipeline.errors import DataError
from quantbot_pipeline.report.collect import FROM_THE_FIRST_S, collect_report, moment, standing_of
from quantbot_pipeline.report.content import Standing
from quantbot_pipeline.report.search_collect import collect_search
from quantbot_pipeline.report.search_content import SearchContent
from quantbot_pipeline.report.site_content import (
    CallerName,
    FailureLine,
    HealthLine,
    Narrowing,
    QualityCount,
    RunDetail,
    RunLine,
    SiteContent,
    StrategyDocument,
    StrategyName,
    TokenName,
    TokenPrices,
    TradeList,
)
from quantbot_pipeline.report.site_rows import (
    caller_month,
    caller_of,
    exit_line,
    gap_line,
    run_line,
    search_line,
    strategy_of,
    token_line,
    token_of,
    trade_line,
)
from quantbot_pipeline.report.stored_rows import rows_of
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore

LISTED_ROWS = 2_000
"""Rows of a table at most: a browser sorts and filters them at once."""

STRATEGY_RUNS = 200
"""Runs on the page of a strategy version at most."""

TOKEN_RUNS = 100
"""Runs on the page of a token at most."""

PAGE_TRADES = 500
"""Trades on the page of a caller or token at most."""

STRATEGY_PAGES = 60
CALLER_PAGES = 60
RUN_PAGES = 60
SEARCH_PAGES = 12
TOKEN_PAGES = 60

_PRICE_POINTS = 400
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
    narrowed = _parameters(narrowing)
    overview = collect_report(state, history, generated_at=generated_at, narrowed=narrowed)
    strategies = tuple(row for row in overview.strategies if narrowing.has_strategy(row.strategy, row.version))
    _check_strategy(narrowing, overview.strategies)
    caller_rows = _callers(history, narrowing, strategies)
    callers = tuple(standing_of(row, "caller_rank") for row in caller_rows)
    caller_pages = (narrowing.caller,) if narrowing.caller else _best_callers(callers)[:CALLER_PAGES]
    of_callers = {
        "strategy": narrowed["strategy"],
        "version": narrowed["version"],
        "since_s": narrowed["since_s"],
        "caller_sources": [source for source, _ in caller_pages],
        "caller_handles": [handle for _, handle in caller_pages],
    }
    token_rows = rows_of(
        history,
        "report/list_tokens",
        strategy=narrowing.strategy,
        version=narrowing.version,
        row_limit=LISTED_ROWS,
        token_limit=TOKEN_PAGES,
    )
    most_hangs_on = dict.fromkeys(token_of(row) for row in token_rows if row["token_place"] <= TOKEN_PAGES)
    of_tokens = {
        "chains": [chain for chain, _ in most_hangs_on],
        "token_addresses": [address for _, address in most_hangs_on],
    }
    token_trades = _trade_lists(
        rows_of(history, "report/list_token_trades", **narrowed, **of_tokens, trade_limit=PAGE_TRADES), token_of
    )
    run_rows = _runs(state, history, narrowing, of_tokens)
    runs = tuple(run_line(row) for row in run_rows)
    gap_rows = rows_of(history, "report/list_gaps", row_limit=_GAP_ROWS)
    search_rows = rows_of(state, "report/list_searches", job_limit=LISTED_ROWS)
    return SiteContent(
        overview=overview,
        narrowing=narrowing,
        callers=callers,
        caller_pages=caller_pages,
        caller_total=caller_rows[0]["caller_count"] if caller_rows else 0,
        version_callers={strategy_of(row): row["version_caller_count"] for row in caller_rows},
        caller_months=_grouped(rows_of(history, "report/list_caller_months", **of_callers), caller_of, caller_month),
        caller_trades=_trade_lists(
            rows_of(history, "report/list_caller_trades", **of_callers, trade_limit=PAGE_TRADES), caller_of
        ),
        strategy_trades=_trade_lists(
            rows_of(
                history,
                "report/list_strategy_trades",
                **narrowed,
                strategy_names=[row.strategy for row in strategies[:STRATEGY_PAGES]],
                strategy_versions=[row.version for row in strategies[:STRATEGY_PAGES]],
                trade_limit=LISTED_ROWS,
            ),
            strategy_of,
        ),
        strategy_documents=_documents(state, strategies[:STRATEGY_PAGES]),
        exits=_grouped(rows_of(history, "report/list_exits"), strategy_of, exit_line),
        runs=runs,
        run_total=run_rows[0]["run_count"] if run_rows else 0,
        version_runs={strategy_of(row): row["version_run_count"] for row in run_rows},
        token_runs={token_of(row): row["token_run_count"] for row in run_rows},
        run_pages=_run_pages(runs, narrowing),
        tokens=tuple(token_line(row) for row in token_rows),
        token_total=token_rows[0]["row_count"] if token_rows else 0,
        token_pages=tuple(name for name in most_hangs_on if name in token_trades),
        token_count=token_rows[0]["token_count"] if token_rows else 0,
        token_trades=token_trades,
        token_prices=_token_prices(rows_of(history, "report/load_token_prices", **of_tokens, cell_limit=_PRICE_POINTS)),
        searches=tuple(search_line(row) for row in search_rows),
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
        gaps=tuple(gap_line(row) for row in gap_rows),
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


def _parameters(narrowing: Narrowing) -> dict[str, str | int]:
    """Return what queries are asked with that are narrowed."""
    source, handle = narrowing.caller or ("", "")
    since = narrowing.since
    return {
        "strategy": narrowing.strategy,
        "version": narrowing.version,
        "caller_source": source,
        "caller_handle": handle,
        "since_s": FROM_THE_FIRST_S if since is None else int(since.timestamp()),
    }


def _check_strategy(narrowing: Narrowing, strategies: Sequence[Standing]) -> None:
    if narrowing.strategy and not any(narrowing.has_strategy(row.strategy, row.version) for row in strategies):
        names = sorted({f"{row.strategy}@{row.version}" if narrowing.version else row.strategy for row in strategies})
        known = ", ".join(names[:10]) or "none"
        raise DataError(
            f"strategy '{narrowing.strategy_text}' has no completed, current backtest to report on; strategies that "
            f"have: {known}; simulate it with 'quantbot backfill --strategies {shlex.quote(narrowing.strategy)}'"
        )


def _callers(history: HistoryStore, narrowing: Narrowing, strategies: Sequence[Standing]) -> list[Mapping[str, Any]]:
    """Return rows of the caller leaderboard, by the rank of the strategy version and then the caller's."""
    source, handle = narrowing.caller or ("", "")
    found = rows_of(
        history,
        "report/list_callers",
        strategy=narrowing.strategy,
        version=narrowing.version,
        caller_source=source,
        caller_handle=handle,
        # The same number for each strategy version, so that none is left out.
        caller_limit=max(LISTED_ROWS // max(len(strategies), 1), 25),
    )
    if narrowing.caller and not found:
        raise DataError(
            f"caller '{source}/{handle}' has no call in a completed, current backtest"
            f"{f' of strategy {narrowing.strategy_text}' if narrowing.strategy else ''}; "
            "'quantbot callers list' shows source and handle of all callers"
        )
    order = {(row.strategy, row.version): row.rank for row in strategies}
    known = (row for row in found if strategy_of(row) in order)
    return sorted(known, key=lambda row: (order[strategy_of(row)], row["caller_rank"]))


def _best_callers(standings: Iterable[Standing]) -> tuple[CallerName, ...]:
    """Return callers by their best rank under any strategy version."""
    best: dict[CallerName, int] = {}
    for row in standings:
        # Calls that were not published yet have no caller to make a page of.
        if row.caller_name and row.caller_name[1]:
            best[row.caller_name] = min(row.rank, best.get(row.caller_name, row.rank))
    return tuple(sorted(best, key=lambda name: (best[name], name)))


def _runs(
    state: StateStore, history: HistoryStore, narrowing: Narrowing, of_tokens: Mapping[str, list[str]]
) -> list[dict[str, Any]]:
    found = rows_of(
        history,
        "report/list_runs",
        **_parameters(narrowing),
        **of_tokens,
        run_limit=LISTED_ROWS,
        version_limit=STRATEGY_RUNS,
        token_limit=TOKEN_RUNS,
        latest_limit=RUN_PAGES,
        run_ids=list(narrowing.run_ids),
    )
    listed = {row["simulation_run_id"] for row in found}
    missing = [run_id for run_id in narrowing.run_ids if run_id not in listed]
    if missing:
        raise DataError(_why_not_shown(state, missing[0], narrowing))
    return found


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
        "leave out --strategy, --caller and --since, or build the views with 'quantbot views build'"
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
    return {name: TradeList(trades, totals[name]) for name, trades in _grouped(rows, key, trade_line).items()}


def _token_prices(rows: Iterable[Mapping[str, Any]]) -> dict[TokenName, TokenPrices]:
    prices = {}
    for name, points in _grouped(rows, token_of, lambda row: row).items():
        prices[name] = TokenPrices(
            at=tuple(moment(row["cell_s"]) for row in points),
            close=tuple(row["close"] for row in points),
            stretch_minutes=points[0]["cell_seconds"] / 60,
        )
    return prices
