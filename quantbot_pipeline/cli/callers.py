"""`quantbot callers`, which ranks them, and `quantbot callers list|alias|unalias`."""

from typing import TYPE_CHECKING

import typer

from quantbot_pipeline.cli.console import print_json, print_line, print_rows, waiting
from quantbot_pipeline.cli.help_text import flowing
from quantbot_pipeline.cli.result_lists import (
    AsJson,
    ByCaller,
    ByStrategy,
    Descending,
    Limit,
    ListColumn,
    ResultList,
    Since,
    SortBy,
    caller_text,
    day_text,
    gain_text,
    share_text,
    since_seconds,
    strategy_text,
)

if TYPE_CHECKING:
    from quantbot_pipeline.workflows.callers import AliasOutcome

_HELP = flowing(
    """Rank callers by what their calls earned under each strategy; with a command, say who is whom.

Of current, completed backtests. LEAST is the lower end of the 95 % interval of the mean pnl, by which callers are
ranked: one lucky trade can't win the first place. Those of fewer than 20 trades or 5 tokens come last, with a mark.
--since keeps callers who called from that day on; their numbers are those of all calls.

Examples:
  quantbot callers --strategy conservative-24h
  quantbot callers --sort win --desc --limit 10
  quantbot callers --caller telegram/brook --json
  quantbot callers list
"""
)

_LEADERBOARD = ResultList(
    title="Callers",
    plural="callers",
    columns=(
        ListColumn("rank", lambda row: row["caller_rank"], title="rank in\nstrategy"),
        ListColumn("caller", caller_text, is_key=True),
        ListColumn("strategy", strategy_text, is_key=True),
        ListColumn("trades", lambda row: f"{row['trade_count']:,}{' few' if row['is_small_sample'] else ''}"),
        ListColumn("mean", lambda row: gain_text(row["mean_pnl"]), is_key=True),
        ListColumn("least", lambda row: gain_text(row["mean_pnl_lower"])),
        ListColumn("median", lambda row: gain_text(row["median_pnl"]), is_further=True),
        ListColumn("win", lambda row: share_text(row["win_rate"])),
        ListColumn("best", lambda row: gain_text(row["best_pnl"]), is_further=True),
        ListColumn("worst", lambda row: gain_text(row["worst_pnl"]), is_further=True),
        ListColumn("sum", lambda row: f"{row['total_pnl']:+.2f}", is_further=True),
        ListColumn("calls", lambda row: row["call_count"], is_further=True),
        ListColumn("tokens", lambda row: row["token_count"], is_further=True),
        ListColumn("last", lambda row: day_text(row["last_call_s"]), is_further=True),
    ),
    if_none="no results are stored; 'quantbot backfill' simulates the stored calls, 'quantbot callers list' lists who "
    "called",
    database="clickhouse",
    query="lists/list_callers",
    mart="mart_caller_leaderboard",
)

_ALIAS_HELP = flowing(
    """Say that a caller is another one: calls of both count as one caller's, from the first to the last.

Alerts keep the name that they came under, so that 'quantbot callers unalias' takes it back. Calls are derived anew;
runs that read them are computed anew by the next 'quantbot backfill'. CANONICAL is SOURCE/HANDLE, or the handle alone
where one caller has it.

Examples:
  quantbot callers alias telegram/brook7 telegram/brook
  quantbot callers alias "discord/Brook 🚀" telegram/brook
"""
)


def register(app: typer.Typer) -> None:
    """Add the command group to `app`."""
    group = typer.Typer(invoke_without_command=True)
    app.add_typer(group, name="callers")
    group.callback(help=_HELP)(rank)

    @group.command(name="list", help="List callers with how much they said, and whose aliases they are.")
    def list_callers(
        *,
        as_json: bool = typer.Option(False, "--json", help="Print the callers as JSON."),
    ) -> None:
        from quantbot_pipeline.cli.stores import open_stores
        from quantbot_pipeline.workflows.callers import format_caller

        with open_stores() as stores:
            callers = stores.state.load_callers()
        names = {row.caller_id: format_caller(row.caller) for row in callers}
        if as_json:
            print_json(
                [
                    {
                        "source": row.caller.source,
                        "handle": row.caller.handle,
                        "display_name": row.display_name,
                        "alias_of": None if row.alias_of_id is None else names[row.alias_of_id],
                        "counts_as": names[row.canonical_caller_id],
                        "alerts": row.alert_count,
                        "calls": row.call_count,
                        "first_alert_at": row.first_alert_at,
                        "last_alert_at": row.last_alert_at,
                    }
                    for row in callers
                ]
            )
            return
        print_rows(
            "Callers",
            [
                {
                    "caller": names[row.caller_id],
                    "name": row.display_name,
                    "counts as": None if row.alias_of_id is None else names[row.canonical_caller_id],
                    "alerts": row.alert_count,
                    "calls": row.call_count,
                }
                for row in callers
            ],
            if_none="no caller is stored: 'quantbot ingest alerts' stores them",
        )

    @group.command(help=_ALIAS_HELP)
    def alias(
        caller: str = typer.Argument(..., help="The handle that is another name.", metavar="SOURCE/HANDLE"),
        canonical: str = typer.Argument(..., help="Whose name it is.", metavar="CANONICAL"),
        *,
        as_json: bool = typer.Option(False, "--json", help="Print what changed as JSON."),
    ) -> None:
        from quantbot_pipeline.cli.stores import open_stores
        from quantbot_pipeline.workflows.callers import set_alias

        with open_stores() as stores, waiting("deriving calls"):
            outcome = set_alias(caller, canonical, stores.state, stores.history)
        _print(outcome, as_json=as_json)

    @group.command(help="Take an alias back: the caller counts as itself again.")
    def unalias(
        caller: str = typer.Argument(..., help="The handle that is no other name.", metavar="SOURCE/HANDLE"),
        *,
        as_json: bool = typer.Option(False, "--json", help="Print what changed as JSON."),
    ) -> None:
        from quantbot_pipeline.cli.stores import open_stores
        from quantbot_pipeline.workflows.callers import remove_alias

        with open_stores() as stores, waiting("deriving calls"):
            outcome = remove_alias(caller, stores.state, stores.history)
        _print(outcome, as_json=as_json)


def rank(
    context: typer.Context,
    *,
    strategy: ByStrategy = "",
    caller: ByCaller = "",
    since: Since = "",
    sort: SortBy = "",
    descending: Descending = False,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """Rank callers."""
    if context.invoked_subcommand is not None:
        return
    _LEADERBOARD.print_stored(
        {"strategy": strategy, "caller": caller, "since_s": since_seconds(since)},
        sort=sort,
        descending=descending,
        limit=limit,
        as_json=as_json,
    )


def _print(outcome: "AliasOutcome", *, as_json: bool) -> None:
    from quantbot_pipeline.workflows.callers import format_caller

    caller, canonical = format_caller(outcome.caller), format_caller(outcome.canonical)
    counts = outcome.derivation.counts
    if as_json:
        print_json(
            {
                "caller": caller,
                "counts_as": canonical,
                "is_new": outcome.is_new,
                "calls_changed": counts.changed,
                "calls_active": counts.active,
                "runs_retired": counts.runs_retired,
            }
        )
        return
    who = f"{caller} counts as {canonical}" if caller != canonical else f"{caller} counts as itself"
    print_line(f"{who}{'' if outcome.is_new else ', as before'}; {counts.changed:,} calls changed")
    if counts.changed:
        print_line("'quantbot backfill' computes the runs that read them anew")
