"""`quantbot strategies`, which ranks them, and `quantbot strategies list|show|validate|schema`."""

import json
from pathlib import Path

import typer

from quantbot_pipeline.cli.console import print_json, print_rows
from quantbot_pipeline.cli.help_text import flowing
from quantbot_pipeline.cli.result_lists import (
    AsJson,
    ByStrategy,
    Descending,
    Limit,
    ListColumn,
    ResultList,
    SortBy,
    gain_text,
    share_text,
    strategy_text,
)

_HELP = flowing(
    """Rank the strategies that were simulated; with a command, list presets and check your own JSON files.

Of current, completed backtests. LEAST is the lower end of the 95 % interval of the mean pnl, by which strategies are
ranked: one lucky trade can't win the first place. Those of fewer than 20 trades or 5 tokens come last, with a mark.

Examples:
  quantbot strategies
  quantbot strategies --sort win --desc --json
  quantbot strategies list
  quantbot strategies show conservative-24h > mine.json
"""
)

_LEADERBOARD = ResultList(
    title="Strategies",
    plural="strategies",
    columns=(
        ListColumn("rank", lambda row: row["strategy_rank"]),
        ListColumn("strategy", strategy_text, is_key=True),
        ListColumn("trades", lambda row: f"{row['trade_count']:,}{' few' if row['is_small_sample'] else ''}"),
        ListColumn("mean", lambda row: gain_text(row["mean_pnl"]), is_key=True),
        ListColumn("least", lambda row: gain_text(row["mean_pnl_lower"])),
        ListColumn("median", lambda row: gain_text(row["median_pnl"])),
        ListColumn("win", lambda row: share_text(row["win_rate"])),
        ListColumn("sum", lambda row: f"{row['total_pnl']:+.2f}"),
        ListColumn("best", lambda row: gain_text(row["best_pnl"]), is_further=True),
        ListColumn("worst", lambda row: gain_text(row["worst_pnl"]), is_further=True),
        ListColumn("tokens", lambda row: row["token_count"], is_further=True),
        ListColumn("callers", lambda row: row["caller_count"], is_further=True),
        ListColumn("calls", lambda row: row["call_count"], is_further=True),
        ListColumn("runs", lambda row: row["run_count"], is_further=True),
    ),
    if_none="no results are stored; 'quantbot backfill' simulates the stored calls, 'quantbot strategies list' lists "
    "presets",
    database="clickhouse",
    query="lists/list_strategies",
    mart="mart_strategy_leaderboard",
)

_SHOW_HELP = flowing(
    """Print a preset as JSON, to copy and change.

Give the copy a name of its own, or a new version.

Example:
  quantbot strategies show conservative-24h > mine.json
"""
)

_VALIDATE_HELP = flowing(
    """Check strategy files; names every field that is wrong and what is allowed. Stores nothing.

Example:
  quantbot strategies validate mine.json
"""
)


def register(app: typer.Typer) -> None:
    """Add the command group to `app`."""
    group = typer.Typer(invoke_without_command=True)
    app.add_typer(group, name="strategies")
    group.callback(help=_HELP)(rank)

    @group.command("list")
    def list_presets(*, as_json: bool = typer.Option(False, "--json", help="Print the result as JSON.")) -> None:
        """List the presets that ship with the project, to simulate as they are or to copy and change."""
        from quantbot_pipeline.strategy.presets import load_preset, preset_names

        presets = [load_preset(name) for name in preset_names()]
        rows = [
            {
                "name": item.name,
                "version": item.version,
                "category": item.category,
                "description": item.description,
            }
            for item in presets
        ]
        if as_json:
            print_json(rows)
        else:
            print_rows("Presets", rows)

    @group.command(help=_SHOW_HELP)
    def show(name: str = typer.Argument(..., help="Name of a preset.", metavar="NAME")) -> None:
        from quantbot_pipeline.errors import StrategyError
        from quantbot_pipeline.strategy.presets import load_preset, preset_names

        if name not in preset_names():
            raise StrategyError(f"preset {name!r} is unknown; there are {', '.join(preset_names())}")
        print_json(load_preset(name).model_dump(mode="json", by_alias=True, exclude_none=True))

    @group.command(help=_VALIDATE_HELP)
    def validate(
        paths: list[Path] = typer.Argument(..., help="Strategy files, JSON.", metavar="FILE"),
        *,
        as_json: bool = typer.Option(False, "--json", help="Print the result as JSON."),
    ) -> None:
        from quantbot_pipeline.errors import StrategyError
        from quantbot_pipeline.strategy.model import config_hash, load_strategy

        checked, refused = [], []
        for path in paths:
            try:
                checked.append((path, load_strategy(path)))
            except StrategyError as error:
                refused.append(str(error))
        if refused:
            head = [f"{len(refused)} of {len(paths)} files are refused"] if len(refused) > 1 else []
            raise StrategyError("\n".join([*head, *refused]))
        rows = [{"file": str(path), "name": item.name, "config_hash": config_hash(item)} for path, item in checked]
        if as_json:
            print_json(rows)
        else:
            print_rows("Valid", rows)

    @group.command()
    def schema() -> None:
        """Print the JSON Schema of strategies, for editors that check while you type."""
        from quantbot_pipeline.strategy.model import strategy_json_schema

        typer.echo(json.dumps(strategy_json_schema(), indent=2))


def rank(
    context: typer.Context,
    *,
    strategy: ByStrategy = "",
    sort: SortBy = "",
    descending: Descending = False,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """Rank strategies."""
    if context.invoked_subcommand is not None:
        return
    _LEADERBOARD.print_stored({"strategy": strategy}, sort=sort, descending=descending, limit=limit, as_json=as_json)
