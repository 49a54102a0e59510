"""`quantbot tokens`: what tokens brought."""

import typer

from quantbot_pipeline.cli.help_text import flowing
from quantbot_pipeline.cli.result_lists import (
    AsJson,
    ByStrategy,
    ByToken,
    Descending,
    Limit,
    ListColumn,
    ResultList,
    Since,
    SortBy,
    day_text,
    gain_text,
    share_text,
    since_seconds,
    strategy_text,
    token_text,
)

_HELP = flowing(
    """List what tokens brought under each strategy, the most first.

Of current, completed backtests. SUM adds up the pnl of all trades, each on a capital of 1. --since keeps tokens that
were called from that day on; their numbers are those of all calls.

Examples:
  quantbot tokens --strategy conservative-24h
  quantbot tokens --sort worst --limit 10
  quantbot tokens --token BONK --json
"""
)

_LIST = ResultList(
    title="Tokens",
    plural="tokens",
    columns=(
        ListColumn("rank", lambda row: row["token_rank"], title="rank in\nstrategy"),
        ListColumn("token", token_text, is_key=True),
        ListColumn("strategy", strategy_text, is_key=True),
        ListColumn("trades", lambda row: row["trade_count"]),
        ListColumn("win", lambda row: share_text(row["win_rate"])),
        ListColumn("mean", lambda row: gain_text(row["mean_pnl"])),
        ListColumn("sum", lambda row: f"{row['total_pnl']:+.2f}", is_key=True),
        ListColumn("best", lambda row: gain_text(row["best_pnl"]), is_further=True),
        ListColumn("worst", lambda row: gain_text(row["worst_pnl"]), is_further=True),
        ListColumn("median", lambda row: gain_text(row["median_pnl"]), is_further=True),
        ListColumn("calls", lambda row: row["call_count"], is_further=True),
        ListColumn("callers", lambda row: row["caller_count"], is_further=True),
        ListColumn("last", lambda row: day_text(row["last_call_s"]), is_further=True),
    ),
    if_none="no results are stored; 'quantbot backfill' simulates the stored calls, 'quantbot demo' shows how",
    database="clickhouse",
    query="lists/list_tokens",
    mart="mart_token_results",
)


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(help=_HELP)(tokens)


def tokens(
    *,
    strategy: ByStrategy = "",
    token: ByToken = "",
    since: Since = "",
    sort: SortBy = "",
    descending: Descending = False,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List tokens."""
    _LIST.print_stored(
        {"strategy": strategy, "token": token, "since_s": since_seconds(since)},
        sort=sort,
        descending=descending,
        limit=limit,
        as_json=as_json,
    )
