"""`quantbot runs` and `quantbot runs show`."""

import json
from typing import Annotated, Any, Literal

import typer

from quantbot_pipeline.cli.console import print_error, print_json, print_line, print_rows
from quantbot_pipeline.cli.help_text import flowing
from quantbot_pipeline.cli.result_lists import (
    AsJson,
    ByStrategy,
    ByToken,
    Descending,
    Limit,
    ListColumn,
    ResultList,
    Row,
    Since,
    SortBy,
    day_text,
    fresh_rows,
    gain_text,
    json_row,
    minute_text,
    share_text,
    since_seconds,
    strategy_text,
    token_text,
)

_HELP = flowing(
    """List simulation runs, the best ranked first, or show one.

Without options, completed and current backtests: those that every other list counts. --status shows runs that failed,
are not finished or were superseded by a later run; --type shows the trials of searches and other kinds. --since keeps
runs whose window ends after that day.

Examples:
  quantbot runs --strategy conservative-24h --limit 50
  quantbot runs --sort drawdown --desc
  quantbot runs --status failed
  quantbot runs --type optimization --status all --json
  quantbot runs show 343
"""
)

_SHOW_HELP = flowing(
    """Show one run: what it simulated, on which data, and what came of it.

Examples:
  quantbot runs show 343
  quantbot runs show 343 --json
"""
)

Status = Literal["completed", "superseded", "running", "pending", "failed", "all"]
RunType = Literal["backtest", "optimization", "what_if", "live_eval", "all"]
_STATUSES = ("completed", "superseded", "running", "pending", "failed")
_RUN_TYPES = ("backtest", "optimization", "what_if", "live_eval")
# Enough of the reason of a failure to tell it from others.
_LONGEST_REASON = 200

_RUN = ListColumn("run", lambda row: str(row["simulation_run_id"]), is_key=True)
_STRATEGY = ListColumn("strategy", strategy_text, is_key=True)
_TOKEN = ListColumn("token", token_text, is_key=True)
_TRADES = ListColumn("trades", lambda row: row["trade_count"])
_MEAN = ListColumn("mean", lambda row: gain_text(row["mean_pnl"]), is_key=True)
_FURTHER = (
    ListColumn("drawdown", lambda row: share_text(row["max_drawdown"]), is_further=True),
    ListColumn("sum", lambda row: _sum_text(row["total_pnl"]), is_further=True),
    ListColumn("sharpe", lambda row: _ratio_text(row["sharpe_ratio"]), is_further=True),
    ListColumn("quality", lambda row: row["data_quality"], is_further=True),
    ListColumn("changed", lambda row: minute_text(row["changed_s"]), is_further=True),
)
_LIST = ResultList(
    title="Runs",
    plural="runs",
    columns=(
        ListColumn("rank", lambda row: row["run_rank"]),
        _RUN,
        _STRATEGY,
        _TOKEN,
        ListColumn("from", lambda row: day_text(row["window_start_s"])),
        _TRADES,
        ListColumn("win", lambda row: share_text(row["win_rate"])),
        _MEAN,
        *_FURTHER,
    ),
    if_none="no runs are stored; 'quantbot backfill' simulates the stored calls, 'quantbot demo' shows how",
    database="postgres",
    query="lists/list_runs",
    mart="mart_runs_ranked",
)
_UNRANKED = ResultList(
    title="Runs",
    plural="runs",
    columns=(
        _RUN,
        ListColumn("status", lambda row: row["status"]),
        _STRATEGY,
        _TOKEN,
        _TRADES,
        _MEAN,
        ListColumn("why", lambda row: (row["error_message"] or "")[:_LONGEST_REASON], is_key=True, is_sortable=False),
        ListColumn("type", lambda row: row["run_type"].replace("_", " "), is_further=True, is_sortable=False),
        ListColumn("from", lambda row: day_text(row["window_start_s"]), is_further=True),
        *_FURTHER,
    ),
    if_none=_LIST.if_none,
    database="postgres",
    query="lists/list_runs",
    mart="mart_runs_ranked",
)


def register(app: typer.Typer) -> None:
    """Add the command group to `app`."""
    group = typer.Typer(help=_HELP, invoke_without_command=True)
    app.add_typer(group, name="runs")
    group.callback(help=_HELP)(runs)
    group.command("show", help=_SHOW_HELP)(show)


def runs(
    context: typer.Context,
    *,
    strategy: ByStrategy = "",
    token: ByToken = "",
    since: Since = "",
    status: Annotated[Status, typer.Option(help="Only runs of this status.")] = "completed",
    run_type: Annotated[RunType, typer.Option("--type", help="Only runs of this kind.")] = "backtest",
    sort: SortBy = "",
    descending: Descending = False,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List runs."""
    if context.invoked_subcommand is not None:
        return
    is_ranked = (status, run_type) == ("completed", "backtest")
    shown = _LIST if is_ranked else _UNRANKED
    shown.print_stored(
        {
            "strategy": strategy,
            "token": token,
            "since_s": since_seconds(since),
            "statuses": list(_STATUSES) if status == "all" else [status],
            "run_types": list(_RUN_TYPES) if run_type == "all" else [run_type],
        },
        sort=sort,
        descending=descending,
        limit=limit,
        as_json=as_json,
        is_filtered=bool(strategy or token or since or not is_ranked),
    )


def show(
    run_id: Annotated[int, typer.Argument(help="Id of the run, as in 'quantbot runs'.", metavar="ID")],
    *,
    as_json: AsJson = False,
) -> None:
    """Show a run."""
    from quantbot_pipeline.cli.stores import open_stores
    from quantbot_pipeline.errors import InputError

    with open_stores() as stores:
        found = fresh_rows(stores, "postgres", "lists/load_run", ["mart_runs_ranked"], simulation_run_id=run_id)
    if not found:
        raise InputError(f"run {run_id} is unknown; 'quantbot runs --status all --type all' lists them")
    row = found[0]
    selection = json.loads(row.pop("data_selection_json"))
    if as_json:
        print_json(json_row(row) | {"selection": selection})
    else:
        _print_run(row, selection)


def _print_run(row: Row, selection: dict[str, Any]) -> None:
    kind = row["run_type"].replace("_", " ")
    status = row["status"] if row["superseded_by"] is None else f"superseded by run {row['superseded_by']}"
    rank = "" if row["run_rank"] is None else f", rank {row['run_rank']:,}"
    print_line(f"run {row['simulation_run_id']}: {strategy_text(row)}, {kind}, {status}{rank}")
    token = f"{row['chain']}:{row['token_address']}" if row["token_address"] else "several tokens"
    facts = {
        "token": f"{row['token_symbol']} {token}" if row["token_symbol"] else token,
        "window": f"{minute_text(row['window_start_s'])} to {minute_text(row['window_end_s'])} UTC",
        "read": f"{selection.get('candle_count', 0):,} candles, {selection.get('call_count', 0):,} calls",
        "data quality": row["data_quality"],
        "engine": f"version {row['engine_version']}, attempt {row['attempt']}",
        "completed": minute_text(row["completed_s"]),
        "configuration": row["config_hash"][:16],
    }
    print_rows("What it is", [{"what": name, "value": value} for name, value in facts.items()])
    if row["error_message"]:
        print_error(row["error_message"])
    if row["trade_count"] is None:
        return
    results = {
        "trades": f"{row['trade_count']:,}",
        "mean pnl": gain_text(row["final_pnl"] if row["trade_count"] else None),
        "median pnl": gain_text(row["median_trade_return"]),
        "win rate": share_text(row["win_rate"]),
        "largest drawdown": share_text(row["max_drawdown"]),
        "sharpe ratio": _ratio_text(row["sharpe_ratio"]),
        "sortino ratio": _ratio_text(row["sortino_ratio"]),
        "holding, minutes": _ratio_text(row["average_holding_minutes"]),
        "re-entries": row["reentry_count"],
        "ladder buys, target sells": f"{row['ladder_entries_used']:,}, {row['ladder_exits_used']:,}",
    }
    print_rows("What came of it", [{"what": name, "value": value} for name, value in results.items()])
    if row["status"] == "completed" and row["run_type"] == "backtest":
        print_line(f"its trades: quantbot trades --run {row['simulation_run_id']}")


def _sum_text(value: float | None) -> str | None:
    return None if value is None else f"{value:+.2f}"


def _ratio_text(value: float | None) -> str | None:
    return None if value is None else f"{value:,.2f}"
