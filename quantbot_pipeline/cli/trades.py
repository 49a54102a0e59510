"""`quantbot trades`: what became of calls."""

from typing import Annotated, Literal

import typer

from quantbot_pipeline.cli.help_text import flowing
from quantbot_pipeline.cli.option_values import LARGEST_ID
from quantbot_pipeline.cli.result_lists import (
    AsJson,
    ByCaller,
    ByStrategy,
    ByToken,
    Descending,
    Limit,
    ListColumn,
    ResultList,
    Since,
    SortBy,
    caller_text,
    gain_text,
    minute_text,
    moment_text,
    since_seconds,
    strategy_text,
    token_text,
)

_HELP = flowing(
    """List what became of calls under the strategies that were simulated, the newest call first.

Of current, completed backtests. WHY is the reason of the last sell, or why a call was skipped. --sort takes a heading;
further columns are shown where there is room, and all of them with --json.

Examples:
  quantbot trades --strategy conservative-24h --limit 50
  quantbot trades --sort pnl --desc
  quantbot trades --caller telegram/brook --status lost --since 2025-03-01
  quantbot trades --token BONK --json
"""
)

_LIST = ResultList(
    title="Trades",
    plural="trades",
    columns=(
        ListColumn("call", lambda row: str(row["call_id"]), is_key=True),
        ListColumn("called", lambda row: moment_text(row["signal_s"])),
        ListColumn("token", token_text, is_key=True),
        ListColumn("caller", caller_text),
        ListColumn("strategy", strategy_text, is_key=True),
        ListColumn("pnl", lambda row: gain_text(row["trade_pnl"]) or "skipped", is_key=True),
        ListColumn("why", lambda row: (row["reason"] or row["exit_event"] or "").replace("_", " ")),
        ListColumn("entered", lambda row: minute_text(row["entered_s"]), is_further=True),
        ListColumn("exited", lambda row: minute_text(row["exited_s"]), is_further=True),
        ListColumn("run", lambda row: str(row["simulation_run_id"]), is_further=True),
    ),
    if_none="no trades are stored; 'quantbot backfill' simulates the stored calls, 'quantbot demo' shows how",
    database="clickhouse",
    query="lists/list_trades",
    mart="mart_trades",
)


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(help=_HELP)(trades)


def trades(
    *,
    strategy: ByStrategy = "",
    caller: ByCaller = "",
    token: ByToken = "",
    since: Since = "",
    status: Annotated[
        Literal["won", "lost", "even", "skipped", "traded"] | None,
        typer.Option(help="Only trades that ended so; traded leaves skipped calls out."),
    ] = None,
    run: Annotated[int | None, typer.Option(max=LARGEST_ID, help="Only of this run.", metavar="ID")] = None,
    sort: SortBy = "",
    descending: Descending = False,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List trades."""
    _LIST.print_stored(
        {
            "strategy": strategy,
            "caller": caller,
            "token": token,
            "since_s": since_seconds(since),
            "outcome": status or "",
            # The query takes 0 for no filter, and no run has a number below 1.
            "run_id": 0 if run is None else run or -1,
        },
        sort=sort,
        descending=descending,
        limit=limit,
        as_json=as_json,
    )
